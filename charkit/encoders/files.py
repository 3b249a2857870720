"""Which files of an encoder's folder are read: these, and no others.

transformers is shown a folder of links with exactly these files (`only_these`), so that whatever a
configuration points to, nothing is read that the fingerprint does not cover.

What a folder of sentence-transformers declares about its use stands next to the weights.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from charkit.config import content_hash, printable
from charkit.errors import DataError
from charkit.store.durable import sha256_file

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
TOKENIZER_CONFIG = "tokenizer_config.json"

SENTENCEPIECE = ("spiece.model", "spm.model", "sentencepiece.bpe.model")

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", *SENTENCEPIECE)
"""The files that hold a tokenizer's vocabulary; a folder with none of them has no tokenizer."""

_TOKENIZER = (*VOCABULARIES, TOKENIZER_CONFIG, "special_tokens_map.json", "added_tokens.json",
              "merges.txt", "bpe.codes")  # fmt: skip

# Bytes. The largest tokenizers of encoders have 17 MB; one of 100 MB took 4 GB to read.
_LARGEST_JSON = 64 * 2**20

_OTHER_FORMATS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5",
                  "flax_model.msgpack", "model.onnx", "onnx/model.onnx", "rust_model.ot",
                  "openvino_model.xml", "model.ckpt.index")  # fmt: skip


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        DataError: It is too large, unreadable or not an object.
    """
    try:
        _require_bounded(path)
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = printable(str(error) or type(error).__name__, longest=200)
        raise DataError(
            f"{path} is damaged: expected a JSON object, got {reason!r}. Copy it again from where "
            "it came."
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{path} is damaged: expected a JSON object, got {type(value).__name__}.")
    return value


def _require_bounded(path: Path) -> None:
    size = path.stat().st_size
    if size > _LARGEST_JSON:
        raise DataError(
            f"{path} is too large: expected at most {_LARGEST_JSON:,} bytes, got {size:,}."
        )


def tokenizer_files(folder: Path) -> list[str]:
    """Return the names of the tokenizer's files, those for other versions of transformers too.

    Raises:
        DataError: ``fast_tokenizer_files`` names a file elsewhere, or a file is too large.
    """
    names = [name for name in _TOKENIZER if (folder / name).is_file()]
    if TOKENIZER_CONFIG in names:
        versions = read_json(folder / TOKENIZER_CONFIG).get("fast_tokenizer_files") or []
        for name in versions if isinstance(versions, list) else [versions]:
            _require_plain(name, folder / TOKENIZER_CONFIG)
            if name not in names and (folder / name).is_file():
                names.append(name)
    for name in names:
        _require_bounded(folder / name)
    return names


def _require_plain(name: object, where: Path) -> None:
    """Refuse a name that is not that of a file in the same folder."""
    if not isinstance(name, str) or not name or name in {".", ".."} or set(name) & set("/\\:\0"):
        raise DataError(
            f"{where} names a file elsewhere: expected names of files in its own folder, got "
            f"{printable(str(name))!r}. Put the file there, and write its plain name."
        )


def weight_map(folder: Path) -> dict[str, str]:
    """Return which file holds each tensor, as ``model.safetensors.index.json`` says.

    Raises:
        DataError: The index is damaged, names a file elsewhere or one that is not there.
    """
    path = folder / WEIGHTS_INDEX
    named = read_json(path).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise DataError(
            f"{path} is damaged: expected weight_map, the file of each tensor, got "
            f"{type(named).__name__}."
        )
    for name in dict.fromkeys(map(str, named.values())):
        _require_plain(name, path)
        if not name.endswith(".safetensors"):
            raise DataError(
                f"{path} names a file of another format: expected safetensors, got "
                f"{printable(name)!r}."
            )
        if not (folder / name).is_file():
            raise DataError(
                f"the weights in {folder} are incomplete: expected {printable(name)}, which "
                f"{WEIGHTS_INDEX} names, got no such file. Copy it there."
            )
    return {str(tensor): str(name) for tensor, name in named.items()}


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that hold an encoder's weights, sorted by name.

    Raises:
        DataError: The index of several files is wrong.
    """
    single = folder / WEIGHTS
    if single.is_file():
        return [single]
    if (folder / WEIGHTS_INDEX).is_file():
        return [folder / name for name in sorted(set(weight_map(folder).values()))]
    return []


def no_weights(folder: Path) -> str:
    """Return the message for a folder without safetensors weights: what is there, what to do."""
    shards = sorted(p.name for p in folder.glob("model-*-of-*.safetensors"))
    if shards:
        return (
            f"no weights: expected {WEIGHTS_INDEX} in {folder}, which says what {shards[0]} and "
            "the others hold, got none. Copy that file too."
        )
    named = sorted(p.name for p in folder.glob("*.safetensors") if p.is_file())
    if named:
        return (
            f"no weights: expected {WEIGHTS} in {folder}, got {printable(named[0])}. If that holds "
            f"the encoder, rename it to {WEIGHTS}."
        )
    others = [name for name in _OTHER_FORMATS if (folder / name).is_file()]
    for pattern in ("*.gguf", "*.onnx", "onnx/*.onnx", "openvino/*.xml", "coreml/*"):
        others += sorted(str(p.relative_to(folder)) for p in folder.glob(pattern))
    if not others:
        return (
            f"no weights: expected {WEIGHTS} in {folder}, got none. Copy the file there, or name "
            "a folder that transformers' save_pretrained has written."
        )
    return (
        f"no weights that can be read: expected {WEIGHTS} in {folder}; the encoder is here, but "
        f"only as {printable(others[0])}. Weights in other formats are not read, since some can "
        "run code. If it is your own model, save it again with transformers' save_pretrained, "
        "which writes safetensors; on the hub, many such repositories have a revision with "
        "safetensors: use NAME@REVISION."
    )


@contextmanager
def only_these(folder: Path, names: Sequence[str], made: Mapping[str, object]) -> Iterator[Path]:
    """Give a temporary folder that holds some files of a folder, and some made anew.

    Args:
        folder: The encoder's folder.
        names: The files that are shown, as links where the system has them, else as copies.
        made: Name to content, written as JSON, in place of files of these names.
    """
    with tempfile.TemporaryDirectory(prefix="charkit-") as place:
        for name in names:
            if name not in made:
                _link((folder / name).resolve(), Path(place, name))
        for name, content in made.items():
            Path(place, name).write_text(json.dumps(content), encoding="utf-8")
        yield Path(place)


def _link(source: Path, target: Path) -> None:
    try:
        os.symlink(source, target)
    except (OSError, NotImplementedError):  # Windows allows links to administrators only
        shutil.copyfile(source, target)


# -- what an encoder is, as a hash of its files ---------------------------------------------------


_hashes: dict[tuple[Path, int, int], str] = {}


def _hash(path: Path) -> str:
    """Return a file's SHA-256, computed once a process while size and time stay the same."""
    real = path.resolve()
    status = real.stat()
    key = (real, status.st_size, status.st_mtime_ns)
    if key not in _hashes:
        _hashes[key] = sha256_file(real)
    return _hashes[key]


def fingerprint_folder(folder: Path, *, random_seed: int | None = None) -> str:
    """Return the hash of exactly those files of an encoder that are read.

    They are config.json, the tokenizer's files and the weights: ``model.safetensors``, or the
    index and the files that it names. Links count as what they point to.

    Args:
        folder: Where its files are.
        random_seed: The weights are drawn from this seed, so their file does not count.

    Returns:
        24 hex digits. The folder's place and name do not enter.

    Raises:
        DataError: A file names one elsewhere, or one that is not there.
    """
    names = [CONFIG, *tokenizer_files(folder)]
    parts: dict[str, object] = {n: _hash(folder / n) for n in names if (folder / n).is_file()}
    if random_seed is None:
        parts["weights"] = [_hash(path) for path in weight_files(folder)]
        if not (folder / WEIGHTS).is_file():  # which tensor is read from which file
            parts["index"] = _hash(folder / WEIGHTS_INDEX)
    else:
        parts["random_seed"] = random_seed
    return content_hash(parts)


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
