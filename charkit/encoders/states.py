"""Pooled states of every layer, in memory or on disk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from charkit.config import Pooling
from charkit.errors import UsageError, VanishedError

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


def check_pooling(pooling: str) -> None:
    """Raise a UsageError unless the pooling is known."""
    if pooling not in get_args(Pooling):
        raise UsageError(
            f"pooling is not known: expected one of {get_args(Pooling)}, got {pooling!r}."
        )


class StateShard(Protocol):
    """A run of consecutive rows."""

    @property
    def n_samples(self) -> int:
        """Number of rows."""

    def read(self, layer: int) -> NDArray[np.floating]:
        """Return the states of one layer, shape (n_samples, width)."""

    def read_lengths(self) -> tuple[IntArray, IntArray]:
        """Return the tokens of each row as encoded and as they would be uncut."""


@dataclass(frozen=True)
class MemoryShard:
    """Rows held in memory.

    Attributes:
        states: Shape (n_layers + 1, n_samples, width).
        lengths: Tokens of each row as encoded, shape (n_samples,).
        full_lengths: Tokens of each row uncut, shape (n_samples,).
    """

    states: FloatArray
    lengths: IntArray
    full_lengths: IntArray

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return len(self.lengths)

    def read(self, layer: int) -> NDArray[np.floating]:
        """Return the states of one layer, shape (n_samples, width)."""
        return cast(FloatArray, self.states[layer])

    def read_lengths(self) -> tuple[IntArray, IntArray]:
        """Return the tokens of each row as encoded and uncut."""
        return self.lengths, self.full_lengths


@dataclass(frozen=True)
class FileShard:
    """Rows in a safetensors file, mapped into memory while they are read.

    Attributes:
        path: The file.
        n_samples: Number of rows in it.
    """

    path: Path
    n_samples: int

    def read(self, layer: int) -> NDArray[np.floating]:
        """Return the states of one layer, shape (n_samples, width).

        Raises:
            VanishedError: The file was removed.
        """
        with self._opened() as file:
            return cast(NDArray[np.floating], file.get_tensor(f"state_{layer}"))

    def read_lengths(self) -> tuple[IntArray, IntArray]:
        """Return the tokens of each row as encoded and uncut."""
        with self._opened() as file:
            return (
                file.get_tensor("lengths").astype(np.int64),
                file.get_tensor("full_lengths").astype(np.int64),
            )

    def _opened(self) -> safe_open:
        try:
            return safe_open(self.path, framework="numpy")
        except FileNotFoundError as error:
            raise VanishedError(
                f"stored states are gone: expected {self.path}, got no such file. Something "
                "removed them meanwhile; run it again."
            ) from error


@dataclass(frozen=True)
class LayerStates:
    """Pooled states of all layers of one encoder over some texts.

    State 0 is the output of the embeddings, state k that of layer k, state L the last.

    Attributes:
        shards: The rows, in the order of the texts.
        n_layers: L.
        width: Numbers in one state.
        encoder: Name of the encoder.
        encoder_fingerprint: Its fingerprint.
        pooling: How tokens became one vector.
        max_length: Most tokens that a text could keep.
        dtype: What the encoder computed in.
        key: The entry's key in the store; empty for states in memory only.
    """

    shards: tuple[StateShard, ...]
    n_layers: int
    width: int
    encoder: str
    encoder_fingerprint: str
    pooling: Pooling
    max_length: int
    dtype: str
    key: str = ""

    @property
    def n_samples(self) -> int:
        """Number of texts."""
        return sum(shard.n_samples for shard in self.shards)

    def __len__(self) -> int:
        return self.n_samples

    def resolve(self, layer: int) -> int:
        """Return a layer's number from 0 to L; negative ones count from the end.

        Raises:
            UsageError: There is no such layer; the message names the legal range.

        >>> from charkit.encoders.states import LayerStates
        >>> LayerStates((), 6, 384, "minilm", "", "mean", 256, "float32").resolve(-1)
        6
        """
        return resolve_layer(layer, n_layers=self.n_layers)

    def layer(self, k: int) -> FloatArray:
        """Return the states of one layer as float32, shape (n_samples, width).

        Args:
            k: 0 for the embeddings to L for the last layer; -1 is L.

        Raises:
            UsageError: There is no such layer; the message names the legal range.
        """
        number = self.resolve(k)
        out = np.empty((self.n_samples, self.width), np.float32)
        start = 0
        for shard in self.shards:
            out[start : start + shard.n_samples] = shard.read(number)
            start += shard.n_samples
        return out

    def to_numpy(self) -> FloatArray:
        """Return all layers as float32, shape (n_layers + 1, n_samples, width)."""
        return np.stack([self.layer(k) for k in range(self.n_layers + 1)])

    @cached_property
    def _lengths(self) -> tuple[IntArray, IntArray]:
        pairs = [shard.read_lengths() for shard in self.shards]
        if not pairs:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])

    @property
    def n_tokens(self) -> IntArray:
        """Tokens of each text as encoded, special tokens included, shape (n_samples,)."""
        return self._lengths[0]

    @property
    def n_tokens_full(self) -> IntArray:
        """Tokens that each text has uncut, shape (n_samples,)."""
        return self._lengths[1]

    @property
    def n_truncated(self) -> int:
        """Number of texts that were cut at `max_length`."""
        return int((self.n_tokens_full > self.n_tokens).sum())

    @property
    def frac_truncated(self) -> float:
        """Share of texts that were cut at `max_length`, in [0, 1]."""
        return self.n_truncated / self.n_samples if self.n_samples else 0.0

    def describe(self) -> list[str]:
        """Return a few lines that say what this is, lengths and truncation included."""
        lines = [
            f"{self.n_samples} texts, states 0 to {self.n_layers} of {self.encoder}, width "
            f"{self.width}, {self.pooling} pooling, computed in {self.dtype}"
        ]
        if self.n_samples:
            half, most, top = np.percentile(self.n_tokens_full, [50, 95, 100]).astype(int)
            lines.append(f"tokens a text: median {half}, 95 % up to {most}, longest {top}")
        if self.n_truncated:
            lines.append(
                f"{self.n_truncated} texts ({100 * self.frac_truncated:.1f} %) were cut at "
                f"{self.max_length} tokens"
            )
        return lines


def resolve_layer(layer: int, *, n_layers: int) -> int:
    """Return a layer's number from 0 to ``n_layers``; negative ones count from the end.

    Raises:
        UsageError: There is no such layer; the message names the legal range.
    """
    if not -n_layers - 1 <= layer <= n_layers:
        raise UsageError(
            f"layer is out of range: expected 0 (embeddings) to {n_layers} (last), or "
            f"-{n_layers + 1} to -1 from the end, got {layer}."
        )
    return layer % (n_layers + 1)


# -- how far apart two sets of layer states are, layer by layer -----------------------------------


@dataclass(frozen=True)
class StateDifference:
    """The distance between the states of one layer, of the same texts.

    Attributes:
        layer: 0 to L.
        largest_absolute: Largest absolute difference of any number.
        largest_relative: Largest over the texts of ``|a - b| / |b|``, Euclidean norms.
        mean_relative: Mean of the same.
        smallest_cosine: Smallest cosine similarity of a text's two states.
    """

    layer: int
    largest_absolute: float
    largest_relative: float
    mean_relative: float
    smallest_cosine: float


def compare_states(states: LayerStates, reference: LayerStates) -> list[StateDifference]:
    """Measure how far states are from a reference, for instance bfloat16 from float32.

    Args:
        states: The states to compare.
        reference: Those they are measured against: same texts, layers and width.

    Returns:
        One entry a layer, 0 to L.

    Raises:
        UsageError: The two have different shapes, or no rows.
    """
    shapes = [(s.n_layers, s.n_samples, s.width) for s in (states, reference)]
    if shapes[0] != shapes[1] or not shapes[0][1]:
        raise UsageError(
            "states cannot be compared: expected the same layers, texts (at least one) and "
            f"width, got {shapes[0]} and {shapes[1]}."
        )
    return [_difference(states, reference, k) for k in range(states.n_layers + 1)]


def _difference(states: LayerStates, reference: LayerStates, layer: int) -> StateDifference:
    a = states.layer(layer).astype(np.float64)
    b = reference.layer(layer).astype(np.float64)
    tiny = np.finfo(np.float64).tiny
    norm_a, norm_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    relative = np.linalg.norm(a - b, axis=1) / np.maximum(norm_b, tiny)
    cosine = (a * b).sum(axis=1) / np.maximum(norm_a * norm_b, tiny)
    return StateDifference(
        layer=layer,
        largest_absolute=float(np.abs(a - b).max()),
        largest_relative=float(relative.max()),
        mean_relative=float(relative.mean()),
        smallest_cosine=float(cosine.min()),
    )
