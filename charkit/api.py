"""The Python names of the commands that span several parts of charkit."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from charkit.config import Pooling, Progress, TaskKind, no_progress, staged
from charkit.encoders.device import DeviceChoice, DtypeChoice
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import load_encoder
from charkit.encoders.states import LayerStates
from charkit.encoders.stream import encode_to_store
from charkit.entry import StoreProblem
from charkit.heads.findings import CUT_SHARE, cut_words
from charkit.heads.grid import Source
from charkit.store import Store
from charkit.tasks import Task, load_task
from charkit.tasks.rows import OnBadRows

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class EncodedTask:
    """A task's texts as states of every layer.

    Attributes:
        parts: ``"train"`` and, where there is one, ``"evaluation"``.
    """

    parts: dict[str, LayerStates]

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

        Args:
            folder: Where to.
            layers: Which layers. Default: all.

        Raises:
            UsageError: A layer is out of range.
            MissingError: The folder cannot be written.
        """
        from safetensors.numpy import save

        from charkit.durable import write_whole, writing

        place = Path(folder)
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
            for part, states in self.parts.items():
                chosen = range(states.n_layers + 1) if layers is None else layers
                tensors = {f"layer.{states.resolve(k)}": states.layer(k) for k in chosen}
                write_whole(place / f"{part}.safetensors", save(tensors))
        return place


def encode(
    task: Source,
    *,
    encoder: str | Encoder = "minilm",
    pooling: Pooling = "mean",
    max_length: int | None = None,
    device: DeviceChoice = "auto",
    dtype: DtypeChoice = "auto",
    text: str | None = None,
    pair: str | None = None,
    label: str | None = None,
    kind: TaskKind | None = None,
    evaluation: str | Path | None = None,
    eval_frac: float = 0.2,
    on_bad_rows: OnBadRows = "refuse",
    offline: bool | None = None,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> EncodedTask:
    """Encode a task's texts once; what the store has already is not computed again.

    Args:
        task: A source that `charkit.load_task` takes, or a task.
        encoder: Name or loaded encoder.
        pooling: How token states become one vector.
        max_length: Longest text in tokens. Default: the encoder's own choice.
        device: Where to compute.
        dtype: What to compute in.
        text: Column of the texts.
        pair: Column of the second texts.
        label: Column of the labels.
        kind: ``"classification"`` or ``"regression"``; guessed when None.
        evaluation: File with the evaluation rows, or the name of a folder's or data set's part.
        eval_frac: Share of the rows held out when no evaluation rows are given.
        on_bad_rows: Refuse rows without text or label, or drop and count them.
        offline: Never open a connection; None reads CHARKIT_OFFLINE and HF_HUB_OFFLINE.
        store: Where states are kept. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal.
        DataError: The source cannot be used.
        MissingError: An encoder, a file or disk space is missing.
    """
    opened = task
    if not isinstance(task, Task):
        opened = load_task(
            task,
            text=text,
            pair=pair,
            label=label,
            kind=kind,
            evaluation=evaluation,
            eval_frac=eval_frac,
            on_bad_rows=on_bad_rows,
            offline=offline,
        )
    store = store or Store()
    if not isinstance(encoder, Encoder):
        encoder = load_encoder(encoder, device=device, dtype=dtype, offline=offline)
    logger.info("%s: %s; %s", encoder.name, encoder.device_reason, encoder.dtype_reason)
    parts = {}
    for part, split in (("train", opened.train), ("evaluation", opened.evaluation)):
        if split is not None:
            parts[part] = encode_to_store(
                encoder,
                split,
                store=store,
                pooling=pooling,
                max_length=max_length,
                progress=staged(progress, f"encode {opened.name}, {part}"),
            )
    return EncodedTask(parts)


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
    from charkit.encoders.fetch import fetch_encoder

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
