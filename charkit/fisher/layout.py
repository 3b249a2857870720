"""Which numbers an embedding has, and which module's gradients they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from charkit.encoders import Encoder
from charkit.errors import UsageError
from charkit.fisher.sites import Part, Site, sites_of

if TYPE_CHECKING:
    import torch

Rows: TypeAlias = "slice | torch.Tensor"


@dataclass(frozen=True)
class Slice:
    """A named run of numbers.

    Attributes:
        layer: 1 to L.
        part: What they belong to.
        start: First place.
        stop: One past the last.
    """

    layer: int
    part: Part
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many numbers."""
        return self.stop - self.start


@dataclass(frozen=True)
class Target:
    """Output rows of a module, and where their numbers go."""

    rows: Rows
    place: slice


@dataclass(frozen=True)
class Job:
    """What is wanted from one module in one layer.

    Attributes:
        weights: Row means of a weight matrix.
        scale: Elements of a norm's scale; at most one.
        biases: Elements of a bias.
    """

    weights: tuple[Target, ...]
    scale: tuple[Target, ...]
    biases: tuple[Target, ...]


@dataclass(frozen=True)
class Layout:
    """The numbers of an embedding, layer by layer, in each layer in the order of `PARTS`.

    Attributes:
        slices: All of them, without gaps.
        jobs: (layer, path of the module in the layer) -> what is wanted from it.
    """

    slices: tuple[Slice, ...]
    jobs: dict[tuple[int, str], Job]

    @property
    def size(self) -> int:
        """How many numbers."""
        return self.slices[-1].stop


def block_of(encoder: Encoder, layer: int) -> torch.nn.Module:
    """Return the module of layer 1 to L; ALBERT's layers share one a group."""
    blocks = encoder.blocks
    return blocks[(layer - 1) * len(blocks) // encoder.n_layers]


def make_layout(encoder: Encoder, *, layers: Sequence[int], parts: Sequence[Part]) -> Layout:
    """Lay out the numbers of some layers and parts.

    Args:
        encoder: The encoder.
        layers: 1 to L, rising.
        parts: In the order of `PARTS`.

    Raises:
        UsageError: The encoder has no such part.
    """
    builder = _Builder(encoder)
    for layer in layers:
        for part in parts:
            builder.add(layer, part)
    missing = set(parts) - {s.part for s in builder.slices}
    if missing:
        raise UsageError(
            f"encoder has no such part: expected parts that {encoder.name} ({encoder.family}) "
            f"has, got {sorted(missing)}. Leave them out."
        )
    return Layout(tuple(builder.slices), builder.jobs())


class _Builder:
    """Hands out places one after the other."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.sites = sites_of(encoder)
        config: Any = encoder.model.config
        self.n_heads = int(getattr(config, "num_attention_heads", 0) or config.n_heads)
        self.slices: list[Slice] = []
        self._weights: dict[tuple[int, str], list[Target]] = {}
        self._scales: dict[tuple[int, str], list[Target]] = {}
        self._biases: dict[tuple[int, str], list[Target]] = {}
        self._next = 0

    def add(self, layer: int, part: Part) -> None:
        start = self._next
        for site in self.sites:
            module = block_of(self.encoder, layer).get_submodule(site.path)
            if not hasattr(module, "weight"):
                continue  # ModernBERT's first layer has no norm before its attention
            kind, wanted = self._wanted(site, module, part)
            for rows in wanted:
                size = _length(rows)
                target = Target(rows, slice(self._next, self._next + size))
                kind.setdefault((layer, site.path), []).append(target)
                self._next += size
        if self._next > start:
            self.slices.append(Slice(layer, part, start, self._next))

    def _wanted(
        self, site: Site, module: torch.nn.Module, part: Part
    ) -> tuple[dict[tuple[int, str], list[Target]], list[Rows]]:
        n_rows = int(module.get_parameter("weight").shape[0])
        if part == "layer_norm":
            return self._scales, [slice(0, n_rows)] if site.is_norm else []
        if part != "bias":
            if part not in site.parts:
                return self._weights, []
            return self._weights, [site.rows(part, n_rows=n_rows, n_heads=self.n_heads)]
        if site.interleaved:  # DeBERTa adds q_bias and v_bias after the fused product
            biased: tuple[Part, ...] = ("query", "value")
            found = [site.rows(p, n_rows=n_rows, n_heads=self.n_heads) for p in biased]
            return self._biases, found
        has_bias = getattr(module, "bias", None) is not None
        return self._biases, [slice(0, n_rows)] if has_bias else []

    def jobs(self) -> dict[tuple[int, str], Job]:
        places = {**self._weights, **self._scales, **self._biases}
        return {
            place: Job(
                tuple(self._weights.get(place, ())),
                tuple(self._scales.get(place, ())),
                tuple(self._biases.get(place, ())),
            )
            for place in places
        }


def _length(rows: Rows) -> int:
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)
