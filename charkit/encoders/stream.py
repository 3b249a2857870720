"""Encode the texts of a split into the store: shard by shard, resumable, memory-mapped.

An entry of kind "states" holds ``index.json`` and the shards ``rows-<first row>.safetensors``,
each with ``state_0`` to ``state_L`` of shape (n_rows, width) and the token counts of its rows.
Rows lie in the order of the texts; only the batches inside a shard are sorted by length.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from charkit.config import Pooling, Progress, content_hash, no_progress, people_name
from charkit.encoders.encoder import Encoder
from charkit.encoders.files import note_declared
from charkit.encoders.states import FileShard, LayerStates, check_pooling
from charkit.encoders.tokens import FingerprintedTexts
from charkit.errors import VanishedError
from charkit.store.cached import cached
from charkit.store.durable import write_whole
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store

if TYPE_CHECKING:
    from charkit.encoders.run import BatchRunner

logger = logging.getLogger(__name__)

KIND = "states"
FORMAT_VERSION = 2
SHARD_ROWS = 2048
"""Rows of one file: a kill loses at most their work, and memory holds no more of them."""

_INDEX = "index.json"
_ABOUT, _DIGEST, _CONDITIONS = "charkit", "sha256", "computed_with"
# float16 ends at 65,504; states above this are kept in float32.
_FLOAT16_LIMIT = 60_000.0


def states_config(
    encoder: Encoder,
    split: FingerprintedTexts,
    *,
    pooling: Pooling = "mean",
    max_length: int | None = None,
) -> dict[str, Any]:
    """Return what determines the states; its `content_hash` is their key in the store.

    Batches, device and shards are left out: they change the states only by rounding.

    Raises:
        UsageError: The pooling is not known, or pairs are expected.
    """
    check_pooling(pooling)
    encoder.check_pairs(split.pairs)
    note_declared(encoder.folder, name=people_name(encoder.name), pooling=pooling)
    return {
        "kind": KIND,
        "format": FORMAT_VERSION,
        "encoder": encoder.fingerprint,
        "texts": split.text_fingerprint,
        "pooling": pooling,
        "max_length": encoder.text_length(max_length),
        "dtype": encoder.dtype,
    }


def encode_to_store(
    encoder: Encoder,
    split: FingerprintedTexts,
    *,
    store: Store,
    pooling: Pooling = "mean",
    max_length: int | None = None,
    token_budget: int | None = None,
    progress: Progress = no_progress,
) -> LayerStates:
    """Return the pooled states of all layers from the store, computing what is missing.

    A second call reads no model and no tokenizer; it only checks the stored files against their
    hashes, and computes damaged ones again. A killed call is taken up at the last finished
    shard. Several processes may call at once; one computes.

    States computed in bfloat16 are kept as float16, which has three more bits than they
    carry; a shard with values beyond its range is kept as float32, as are all others.

    Args:
        encoder: The encoder; its weights are read only if something is missing.
        split: The texts, or pairs of texts.
        store: Where the states are kept.
        pooling: How tokens become one vector; special tokens count, padding never does.
        max_length: Most tokens a text keeps; default `Encoder.text_length`.
        token_budget: Most tokens of a batch, padding included; halved when memory runs out.
        progress: Called as ``progress("encode", done, total)`` with counts of texts.

    Raises:
        UsageError: An argument is out of range.
        MissingError: Memory or disk space does not suffice, or the store cannot be written.
    """
    config = states_config(encoder, split, pooling=pooling, max_length=max_length)
    n_samples, key = len(split.texts), content_hash(config)

    def make(folder: Path) -> dict[str, Any]:
        from charkit.encoders.run import BatchRunner, choose_token_budget

        clock, budget = Clock(), choose_token_budget(encoder, token_budget)
        runner = BatchRunner(encoder, pooling=pooling, token_budget=budget)
        conditions = _ShardWriter(runner, config["max_length"], folder, progress).write(split)
        _write_index(folder, encoder, config, n_samples=n_samples)
        fields = run_manifest(
            config,
            clock=clock,
            seeds={} if encoder.random_seed is None else {"weights": encoder.random_seed},
            fingerprints={"encoder": encoder.fingerprint, "texts": split.text_fingerprint},
            device=encoder.device,
            dtype=encoder.dtype,
        )
        return fields | {"computed_with": _mixture(conditions)}

    return cached(
        store,
        KIND,
        config,
        make=make,
        load=lambda folder: _opened(folder, key),
        resume=[_shard_name(first) for first, _ in _ranges(n_samples)],
        progress=progress,
    ).value


def open_states(store: Store, key: str) -> LayerStates:
    """Return stored states by their key, reading only their index.

    Raises:
        VanishedError: The store has no such entry.
    """
    folder = store.find(KIND, key)
    if folder is None:
        raise VanishedError(
            f"no such states: expected a finished entry {KIND}/{key} in {store.root}, got "
            "none. Encode the texts again."
        )
    return _opened(folder, key)


def _opened(folder: Path, key: str) -> LayerStates:
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    return LayerStates(
        shards=tuple(
            FileShard(folder / _shard_name(first), n_samples=count)
            for first, count in _ranges(index["n_samples"])
        ),
        n_layers=index["n_layers"],
        width=index["width"],
        encoder=index["encoder"],
        encoder_fingerprint=index["encoder_fingerprint"],
        pooling=index["pooling"],
        max_length=index["max_length"],
        dtype=index["dtype"],
        key=key,
    )


def _ranges(n_samples: int) -> list[tuple[int, int]]:
    """Return first row and number of rows of each shard."""
    return [
        (first, min(SHARD_ROWS, n_samples - first)) for first in range(0, n_samples, SHARD_ROWS)
    ]


def _shard_name(first: int) -> str:
    return f"rows-{first:09d}.safetensors"


def _write_index(folder: Path, encoder: Encoder, config: dict[str, Any], *, n_samples: int) -> None:
    index = {
        "n_samples": n_samples,
        "n_layers": encoder.n_layers,
        "width": encoder.width,
        "encoder": encoder.name,
        "encoder_fingerprint": encoder.fingerprint,
        "pooling": config["pooling"],
        "max_length": config["max_length"],
        "dtype": config["dtype"],
    }
    write_whole(folder / _INDEX, json.dumps(index, indent=1, sort_keys=True).encode())


def as_stored(states: NDArray[np.float32], *, dtype: str) -> NDArray[np.floating]:
    """Return states in the format they are kept in.

    Args:
        states: Any shape, float32.
        dtype: What they were computed in.

    Returns:
        float16 for those computed in bfloat16, if they are in its range, else float32.
    """
    if dtype == "bfloat16" and (not states.size or np.abs(states).max() < _FLOAT16_LIMIT):
        return states.astype(np.float16)
    return states


@dataclass(frozen=True)
class _ShardWriter:
    """Fills a folder with shards, except those that are complete."""

    runner: BatchRunner
    max_length: int
    folder: Path
    progress: Progress

    def write(self, split: FingerprintedTexts) -> list[tuple[int, str]]:
        """Return rows of each shard, and the conditions under which they were computed."""
        total = len(split.texts)
        conditions = []
        for first, count in _ranges(total):
            path = self.folder / _shard_name(first)
            made = self._whole(path, count)
            if made is not None:
                conditions.append((count, made))
                self.progress("encode", first + count, total)
                continue
            self._write_shard(path, split, slice(first, first + count), total)
            conditions.append((count, self._conditions()))
        return conditions

    def _conditions(self) -> str:
        """Return what changes states by rounding, as JSON."""
        import torch

        found = {
            "device": self.runner.encoder.device,
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "token_budget": self.runner.token_budget,
            "torch": torch.__version__,
        }
        return json.dumps(found, sort_keys=True)

    def _write_shard(self, path: Path, split: FingerprintedTexts, rows: slice, total: int) -> None:
        from charkit.encoders.run import encode_rows

        done = rows.start

        def advance(n: int) -> None:
            nonlocal done
            done += n
            self.progress("encode", done, total)

        shard = encode_rows(
            self.runner,
            split.texts[rows],
            None if split.pairs is None else split.pairs[rows],
            max_length=self.max_length,
            first=rows.start,
            advance=advance,
        )
        dtype = self.runner.encoder.dtype
        tensors: dict[str, NDArray[Any]] = {
            f"state_{k}": as_stored(layer, dtype=dtype) for k, layer in enumerate(shard.states)
        }
        tensors["lengths"] = shard.lengths.astype(np.int32)
        tensors["full_lengths"] = shard.full_lengths.astype(np.int32)
        about = {_DIGEST: _digest(tensors), _CONDITIONS: self._conditions()}
        # safetensors writes several entries in an order of chance: one keeps the bytes the same
        write_whole(path, save(tensors, {_ABOUT: json.dumps(about, sort_keys=True)}))

    def _whole(self, path: Path, n_rows: int) -> str | None:
        """Return the conditions of a shard that has the right tensors, undamaged; else None."""
        if not path.is_file():
            return None
        encoder = self.runner.encoder
        wanted = {f"state_{k}": [n_rows, encoder.width] for k in range(encoder.n_layers + 1)}
        wanted |= {"lengths": [n_rows], "full_lengths": [n_rows]}
        try:
            with safe_open(path, framework="numpy") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                about = json.loads((file.metadata() or {}).get(_ABOUT, "{}"))
        except (SafetensorError, OSError, ValueError, RecursionError):
            return None
        found = {name: list(tensor.shape) for name, tensor in tensors.items()}
        if found != wanted or not isinstance(about, dict):
            return None
        if about.get(_DIGEST) != _digest(tensors):
            return None
        return str(about.get(_CONDITIONS, "{}"))


def _mixture(conditions: list[tuple[int, str]]) -> list[dict[str, Any]]:
    """Return number of rows and conditions, once for each kind; warn where there are several."""
    rows: dict[str, int] = {}
    for count, made in conditions:
        rows[made] = rows.get(made, 0) + count
    kinds = [{"n_rows": count, **json.loads(made)} for made, count in rows.items()]
    if len(kinds) > 1:
        logger.warning(
            "encoding was stopped and went on under other conditions (%s): the states agree with "
            "those of one run to rounding only; run.json has them under computed_with",
            "; ".join(
                f"{k['n_rows']:,} texts: {k.get('threads', '?')} threads, at most "
                f"{k.get('token_budget', '?')} tokens a batch, torch {k.get('torch', '?')}, "
                f"{k.get('device', '?')}"
                for k in kinds
            ),
        )
    return kinds


def _digest(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return a hash of tensors: work in progress has no run.json that shows damage yet."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        whole.update(name.encode())
        whole.update(np.ascontiguousarray(tensors[name]).tobytes())
    return whole.hexdigest()
