"""Embeddings on disk: numbers in safetensors, everything else as JSON in its header."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from charkit.config import canonical_json
from charkit.errors import DataError, MissingError
from charkit.fisher.embedding import TaskEmbedding
from charkit.fisher.layout import Slice
from charkit.store.durable import write_whole
from charkit.store.sealed import SEAL, arrays_digest, reading

logger = logging.getLogger(__name__)

FORMAT = "charkit.task_embedding.1"
"""What the header says; it changes when the layout of the file does."""

_KEY = "charkit"
_ARRAYS = ("values", "standard_error", "rows", "group_products")


def save_embedding(embedding: TaskEmbedding, path: str | Path) -> Path:
    """Write an embedding to one file, whole or not at all.

    Args:
        embedding: The embedding.
        path: Where; ``.safetensors`` by custom.

    Returns:
        The path.
    """
    found = {name: getattr(embedding, name) for name in _ARRAYS}
    arrays = {name: array for name, array in found.items() if array is not None}
    slices = [(s.layer, s.part, s.start, s.stop) for s in embedding.slices]
    facts = {k: _plain(v) for k, v in embedding.facts().items()}
    stability = {k: _plain(v) for k, v in asdict(embedding.stability).items()}
    verdict = {"stability": stability, "stable": embedding.stable}  # for readers of the header
    about = {"format": FORMAT, "facts": facts, "slices": slices, **verdict}
    about[SEAL] = arrays_digest(arrays, about)
    header = {_KEY: canonical_json(about)}  # one key: more would be written in random order
    target = Path(path)
    write_whole(target, save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, header))
    return target


def load_embedding(path: str | Path) -> TaskEmbedding:
    """Read an embedding that `save_embedding` wrote.

    Raises:
        MissingError: There is no such file.
        DataError: The file is damaged, was changed, or is something else.
    """
    source = Path(path)
    if not source.is_file():
        raise MissingError(f"no embedding there: expected a file, got none at {source}.")
    advice = "Embed the task again, or take a copy that is whole."
    with reading(str(source), "an embedding", advice=advice):
        with safe_open(source, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about.get("format") != FORMAT:
            raise DataError(
                f"{source} is no embedding: expected the format {FORMAT}, got "
                f"{about.get('format')!r}. Embed the task again."
            )
        _check_seal(source, about, arrays, advice)
        facts: dict[str, Any] = {
            k: (float("nan") if v is None else v) for k, v in about["facts"].items()
        }
        slices = tuple(Slice(*entry) for entry in about["slices"])
        return TaskEmbedding(
            values=arrays["values"],
            standard_error=arrays["standard_error"],
            slices=slices,
            rows=arrays.get("rows"),
            group_products=arrays.get("group_products"),
            **facts,
        )


def _check_seal(
    source: Path, about: dict[str, Any], arrays: dict[str, NDArray[Any]], advice: str
) -> None:
    """Refuse an embedding whose numbers are not those that were written."""
    seal = about.pop(SEAL, None)
    if seal is None:
        logger.warning(
            "%s carries no hash of its numbers (an older version wrote it): damage cannot be seen. "
            "Embed the task again to have one",
            source,
        )
    elif arrays_digest(arrays, about) != seal:
        raise DataError(
            f"{source} is damaged or was changed: its numbers differ from the hash in it. {advice}"
        )


def _plain(value: object) -> object:
    return None if isinstance(value, float) and np.isnan(value) else value
