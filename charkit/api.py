"""The Python names of the commands that span several parts of charkit."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from charkit.config import EncodeOptions, Progress, no_progress, staged
from charkit.encoders.load import EncoderChoice, loaded
from charkit.encoders.states import LayerStates
from charkit.encoders.stream import encode_to_store
from charkit.escape import csv_text
from charkit.heads.sweep.grid import Source
from charkit.heads.sweep.result import CUT_SHARE, cut_words
from charkit.store.entry import StoreProblem
from charkit.store.store import Store
from charkit.tasks import Task, load_task
from charkit.tasks.card import LazyTask
from charkit.tasks.texts import TextPart, load_texts, parts_of_task

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class EncodedTask:
    """A task's texts as states of every layer.

    Attributes:
        parts: ``"train"`` and, where there is one, ``"evaluation"``.
        texts: What is known of the rows of each part: where they stand, ids and labels.
        notes: What was guessed, dropped or counted while reading.
    """

    parts: dict[str, LayerStates]
    texts: tuple[TextPart, ...] = ()
    notes: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a part: sizes, tokens, truncation, key in the store."""
        return [
            {
                "part": part,
                "texts": states.n_samples,
                "layers": f"0-{states.n_layers}",
                "width": states.width,
                "tokens": int(states.n_tokens.sum()),
                "truncated": states.n_truncated,
                "dtype": states.dtype,
                "key": states.key,
            }
            for part, states in self.parts.items()
        ]

    def warnings(self) -> list[str]:
        """Return a line a part of which more than one text in a hundred was cut."""
        return [
            f"{part}: {cut_words(states.frac_truncated, states.max_length)}"
            for part, states in self.parts.items()
            if states.frac_truncated > CUT_SHARE
        ]

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a part."""
        return pd.DataFrame(self.rows())

    def __repr__(self) -> str:
        return self.to_pandas().to_string(index=False)

    def _repr_html_(self) -> str:
        return str(self.to_pandas().to_html(index=False))

    def save(self, folder: str | Path, *, layers: Sequence[int] | None = None) -> Path:
        """Write ``<part>.safetensors``, float32 tensors ``layer.<k>`` of (n_texts, width).

        ``<part>.rows.csv`` has one line for each row of the tensors: its position, its line or
        row in the source, its id and its label where the source has them.

        Args:
            folder: Where to.
            layers: Which layers. Default: all.

        Raises:
            UsageError: A layer is out of range.
            MissingError: The folder cannot be written.
        """
        from safetensors.numpy import save

        from charkit.store.durable import os_errors_as_missing, write_whole

        place = Path(folder)
        with os_errors_as_missing(place):
            place.mkdir(parents=True, exist_ok=True)
            for part, states in self.parts.items():
                chosen = range(states.n_layers + 1) if layers is None else layers
                tensors = {f"layer.{states.resolve(k)}": states.layer(k) for k in chosen}
                write_whole(place / f"{part}.safetensors", save(tensors))
            for rows in self.texts:
                text = csv_text(rows.table())
                write_whole(place / f"{rows.name}.rows.csv", text.encode())
        return place


def encode(
    task: Source,
    *,
    encoder: EncoderChoice = "minilm",
    encoding: EncodeOptions | None = None,
    eval_frac: float | None = None,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> EncodedTask:
    """Encode a source's texts once; what the store has already is not computed again.

    Every row that has a text is encoded, labelled or not, in the order of the source.

    Args:
        task: A source that `charkit.load_task` takes, or a task.
        encoder: Name or loaded encoder.
        encoding: Pooling and longest text.
        eval_frac: Share of the rows to hold out as a sweep does (0.2 there), which needs labels;
            None encodes all rows as one part.
        store: Where states are kept. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal.
        DataError: The source cannot be used.
        MissingError: An encoder, a file or disk space is missing.
    """
    store, encoding = store or Store(), encoding or EncodeOptions()
    found = loaded(encoder)  # its files are looked at before the data are read
    name, texts, notes = _texts(task, eval_frac, store)
    logger.info("%s: %s; %s", found.name, found.device_reason, found.dtype_reason)
    parts = {}
    for part in texts:
        parts[part.name] = encode_to_store(
            found,
            part.split,
            store=store,
            pooling=encoding.pooling,
            max_length=encoding.max_length,
            progress=staged(progress, f"encode {name}, {part.name}"),
        )
    return EncodedTask(parts, tuple(texts), notes)


def _texts(
    source: Source, eval_frac: float | None, store: Store
) -> tuple[str, list[TextPart], tuple[str, ...]]:
    """Return what is encoded: all rows of a source, or the parts of a task."""
    lazy = source if isinstance(source, LazyTask) else LazyTask(source, store)
    task, generated = lazy.source, str(lazy.source).startswith("generated/")
    if isinstance(task, Task) or generated or eval_frac is not None:
        if not isinstance(task, Task):
            given = asdict(lazy.options) | ({} if eval_frac is None else {"eval_frac": eval_frac})
            task = load_task(task, **given)
        return task.name, parts_of_task(task), task.notes
    return load_texts(task, reading=lazy.options)


@dataclass(frozen=True)
class Fetched:
    """Something that is now on this machine.

    Attributes:
        name: As it was asked for.
        kind: ``"encoder"`` or ``"task"``.
        place: A folder, or the number of rows read.
    """

    name: str
    kind: str
    place: str

    def row(self) -> dict[str, str]:
        """Return the fields as a row."""
        return {"name": self.name, "kind": self.kind, "place": self.place}


def fetch(names: str | Sequence[str], *, offline: bool | None = None) -> list[Fetched]:
    """Download encoders and tasks, so that later work needs no network.

    Args:
        names: Encoders (``NAME`` or ``NAME@REVISION``), tasks (``glue/NAME``, ``hub:...``).
        offline: Refuse to download; None reads CHARKIT_OFFLINE and HF_HUB_OFFLINE.

    Raises:
        UnknownNameError: A name is not known.
        OfflineError: The network is not to be used.
        MissingError: The hub has no such thing, or does not answer.
    """
    from charkit.encoders.load import fetch_encoder

    done = []
    for name in [names] if isinstance(names, str) else names:
        if re.match(r"(glue/|hub:)", name):
            task = load_task(name, offline=offline)
            n_eval = 0 if task.evaluation is None else len(task.evaluation)
            done.append(Fetched(name, "task", f"{len(task.train)} + {n_eval} rows"))
        else:
            done.append(Fetched(name, "encoder", str(fetch_encoder(name, offline=offline))))
    return done


def verify(
    keys: Collection[str] | None = None,
    *,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> list[StoreProblem]:
    """Check stored results against their manifests: files, sizes, hashes, keys.

    Args:
        keys: Only these. Default: all.
        store: The store. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress("verify", done, total)``.

    Returns:
        The problems found; empty when all is well.
    """
    return (store or Store()).verify(keys, progress=progress)
