"""What a folder of sentence-transformers declares about its use, next to the weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from charkit.config import printable
from charkit.encoders.files import read_json
from charkit.errors import DataError

logger = logging.getLogger(__name__)

_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_OURS = ("mean", "cls", "max")
_OTHER_MODULES = ("Dense", "LayerNorm", "CNN", "LSTM", "WeightedLayerPooling", "StaticEmbedding",
                  "Asym", "Router", "SparseAutoEncoder", "SpladePooling",
                  "MLMTransformer")  # fmt: skip

_noted: set[tuple[str, str]] = set()


def declared_notes(folder: Path, *, name: str, pooling: str) -> list[str]:
    """Return what a folder declares and charkit does not do: pooling, prompts, more modules."""
    notes: list[str] = []
    folder = _whole(folder)
    modules = _modules(folder)
    for module in modules:
        kind = _type_of(module).rpartition(".")[2]
        if kind == "Pooling":
            notes += _pooling_notes(folder, str(module.get("path", "")), name, pooling)
        elif kind in _OTHER_MODULES:
            notes.append(
                f"{name}: its module {printable(kind)} after pooling is not run; charkit reads "
                "the states of the layers before it"
            )
        elif "." in _type_of(module) and not _type_of(module).startswith("sentence_transformers."):
            notes.append(
                f"{name}: its module {printable(_type_of(module))} needs its own code, "
                "which is never run; the encoder is read without it"
            )
    notes += _prompt_notes(folder, name)
    shorter = _optional(folder / "config_sentence_transformers.json").get("truncate_dim")
    if isinstance(shorter, int):
        notes.append(
            f"{name}: it declares vectors of their first {shorter} numbers (truncate_dim); whole "
            "states are used"
        )
    if _optional(folder / "sentence_bert_config.json").get("do_lower_case"):
        notes.append(f"{name}: it declares lower-casing (do_lower_case), which is not applied")
    return notes


def _type_of(module: dict[str, Any]) -> str:
    return str(module.get("type", ""))


def _whole(folder: Path) -> Path:
    """Return the folder that declares how an encoder is used: its own, or the one around it.

    Older versions of sentence-transformers write the encoder into a folder ``0_Transformer``.
    """
    if (folder / "modules.json").is_file():
        return folder
    inside = [str(m.get("path", "")).rstrip("/") for m in _modules(folder.parent)]
    return folder.parent if folder.name in inside else folder


def _modules(folder: Path) -> list[dict[str, Any]]:
    import json

    path = folder / "modules.json"
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        return []
    return [m for m in found if isinstance(m, dict)]


def _optional(path: Path) -> dict[str, Any]:
    """Return a file that only notes are made of: what cannot be read is no reason to stop."""
    try:
        return read_json(path) if path.is_file() else {}
    except DataError:
        return {}


def _pooling_notes(folder: Path, place: str, name: str, pooling: str) -> list[str]:
    if ".." in place or place.startswith(("/", "\\")):
        return []
    config = _optional(folder / place / "config.json")
    modes = [mode for key, mode in _MODES.items() if config.get(key) is True]
    newer = config.get("pooling_mode")
    if isinstance(newer, str):
        modes = [newer]
    if not modes or modes == [pooling]:
        return []
    if len(modes) == 1 and modes[0] in _OURS:
        return [
            f"{name} was trained with {modes[0]} pooling; {pooling} is used. To pool as it was "
            f"trained: --pooling {modes[0]}"
        ]
    return [
        f"{name} was trained with {printable(' and '.join(modes))} pooling, which charkit does "
        f"not have; {pooling} is used"
    ]


def _prompt_notes(folder: Path, name: str) -> list[str]:
    config = _optional(folder / "config_sentence_transformers.json")
    prompts = config.get("prompts")
    texts = prompts if isinstance(prompts, dict) else {}
    shown = [v for v in texts.values() if isinstance(v, str) and v]
    if not shown:
        return []
    default = texts.get(str(config.get("default_prompt_name")))
    first = default if isinstance(default, str) and default else shown[0]
    return [
        f"{name} was trained with prompts such as {printable(first)!r}, which are not put before "
        "the texts. Put it there yourself to compare"
    ]


def note_declared(folder: Path, *, name: str, pooling: str) -> None:
    """Log `declared_notes`, each once a process."""
    for line in declared_notes(folder, name=name, pooling=pooling):
        log_once(folder, line)


def log_once(folder: Path, line: str) -> None:
    """Log a note about a folder as a warning, once a process."""
    if (str(folder), line) not in _noted:
        _noted.add((str(folder), line))
        logger.warning("%s", line)
