"""The Python names of the commands that span several parts of charkit."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charkit.config import Pooling, Progress, no_progress, staged
from charkit.encoders.device import DeviceChoice, DtypeChoice
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import load_encoder
from charkit.encoders.states import LayerStates
from charkit.encoders.stream import encode_to_store
from charkit.entry import StoreProblem
from charkit.store import Store
from charkit.tasks import Task, load_task


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
    task: Task | str | Path,
    *,
    encoder: str | Encoder = "minilm",
    pooling: Pooling = "mean",
    max_length: int | None = None,
    device: DeviceChoice = "auto",
    dtype: DtypeChoice = "auto",
    offline: bool | None = None,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> EncodedTask:
    """Encode a task's texts once; what the store has already is not computed again.

    Args:
        task: A task, or a source that `charkit.load_task` takes.
        encoder: Name or loaded encoder.
        pooling: How token states become one vector.
        max_length: Longest text in tokens. Default: the encoder's own choice.
        device: Where to compute.
        dtype: What to compute in.
        offline: Never open a connection.
        store: Where states are kept. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal.
        DataError: The source cannot be used.
        MissingError: An encoder, a file or disk space is missing.
    """
    opened = task if isinstance(task, Task) else load_task(task, offline=offline)
    store = store or Store()
    if not isinstance(encoder, Encoder):
        encoder = load_encoder(encoder, device=device, dtype=dtype, offline=offline)
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
