"""Which numbers an embedding has, and which module's gradients they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from charkit.encoders import Encoder
from charkit.errors import UsageError

if TYPE_CHECKING:
    import torch


from typing import TYPE_CHECKING, Literal, get_args

from charkit.errors import UnknownNameError

if TYPE_CHECKING:
    import torch


Part = Literal["query", "key", "value", "attention_out", "ffn_in", "ffn_out", "layer_norm", "bias"]
"""``query`` to ``ffn_out``: one number an output row of that weight matrix (gate rows of a gated
network belong to ``ffn_in``); ``layer_norm``: one number an element of the scales; ``bias``: one
number an element of the biases of the six matrices and of the norms, in that order."""

PARTS: tuple[Part, ...] = get_args(Part)
DEFAULT_PARTS: tuple[Part, ...] = PARTS[:6]
"""The weight matrices."""

_QKV: tuple[Part, ...] = ("query", "key", "value")


@dataclass(frozen=True)
class Site:
    """One module of a layer that carries weights.

    Attributes:
        path: Where it sits below the layer's module.
        parts: The parts whose rows it holds: one, or query, key and value fused; none for a
            norm.
        interleaved: The fused rows run query, key, value within each attention head, instead
            of one third each.
    """

    path: str
    parts: tuple[Part, ...] = ()
    interleaved: bool = False

    @property
    def is_norm(self) -> bool:
        """Whether it is a layer norm."""
        return not self.parts

    def rows(self, part: Part, *, n_rows: int, n_heads: int) -> slice | torch.Tensor:
        """Return which of the module's output rows belong to a part.

        Args:
            part: One of `parts`.
            n_rows: Output rows of the module.
            n_heads: Attention heads.
        """
        if len(self.parts) == 1:
            return slice(0, n_rows)
        place = self.parts.index(part)
        third = n_rows // 3
        if not self.interleaved:
            return slice(place * third, (place + 1) * third)
        import torch

        return torch.arange(n_rows).view(n_heads, 3, -1)[:, place].reshape(-1)


def _stack(*paths: str, norms: tuple[str, str]) -> tuple[Site, ...]:
    linear = (Site(path, (part,)) for path, part in zip(paths, DEFAULT_PARTS, strict=True))
    return (*linear, *(Site(norm) for norm in norms))


_BERT_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
_BERT_TAIL = ("attention.output.dense", "intermediate.dense", "output.dense")
_BERT = _stack(
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    *_BERT_TAIL,
    norms=_BERT_NORMS,
)
_ALBERT = "albert_layers.0."

SITES: dict[str, tuple[Site, ...]] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), _BERT),
    "distilbert": _stack(
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
        "ffn.lin1",
        "ffn.lin2",
        norms=("sa_layer_norm", "output_layer_norm"),
    ),
    "albert": _stack(
        *(f"{_ALBERT}attention.{name}" for name in ("query", "key", "value", "dense")),
        f"{_ALBERT}ffn",
        f"{_ALBERT}ffn_output",
        norms=(f"{_ALBERT}attention.LayerNorm", f"{_ALBERT}full_layer_layer_norm"),
    ),
    "mpnet": _stack(
        *(f"attention.attn.{name}" for name in "qkvo"),
        "intermediate.dense",
        "output.dense",
        norms=("attention.LayerNorm", "output.LayerNorm"),
    ),
    "deberta-v2": _stack(
        "attention.self.query_proj",
        "attention.self.key_proj",
        "attention.self.value_proj",
        *_BERT_TAIL,
        norms=_BERT_NORMS,
    ),
    "deberta": (Site("attention.self.in_proj", _QKV, interleaved=True), *_BERT[3:]),
    "modernbert": (
        Site("attn.Wqkv", _QKV),
        Site("attn.Wo", ("attention_out",)),
        Site("mlp.Wi", ("ffn_in",)),
        Site("mlp.Wo", ("ffn_out",)),
        Site("attn_norm"),
        Site("mlp_norm"),
    ),
}
"""Family -> the modules of one layer: the matrices in the order of `PARTS`, then the norms."""


def check_parts(parts: Sequence[str]) -> tuple[Part, ...]:
    """Return the parts in the order of `PARTS`, each once.

    Raises:
        UnknownNameError: A part is not known.
        UsageError: None is named.
    """
    for part in parts:
        if part not in PARTS:
            raise UnknownNameError("part", part, PARTS)
    if not parts:
        raise UsageError(f"no part is named: expected at least one of {PARTS}, got none.")
    return tuple(part for part in PARTS if part in parts)


def sites_of(encoder: Encoder) -> tuple[Site, ...]:
    """Return the modules of one layer of an encoder.

    Raises:
        UsageError: Its layers are built in a way that the row formula does not cover.
    """
    config: Any = encoder.model.config
    if encoder.family == "albert" and config.inner_group_num != 1:
        raise UsageError(
            "encoder is not supported: expected an ALBERT of one layer a group, got "
            f"inner_group_num = {config.inner_group_num}."
        )
    return SITES[encoder.family]


def projects_positions(encoder: Encoder, parts: Sequence[Part]) -> bool:
    """Return whether chosen weights also act on position embeddings that all texts share.

    DeBERTa-v2 and v3 with ``share_att_key`` send the relative positions through the query and
    key matrices: one product for the whole batch. The gradient of one text can then be had
    only from a batch of one.
    """
    config: Any = encoder.model.config
    return (
        encoder.family == "deberta-v2"
        and bool(getattr(config, "relative_attention", False))
        and bool(getattr(config, "share_att_key", False))
        and bool({"query", "key", "bias"} & set(parts))
    )


def splits_rows(encoder: Encoder) -> bool:
    """Return whether the feed-forward network runs in several calls along the tokens."""
    return bool(getattr(encoder.model.config, "chunk_size_feed_forward", 0))


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
                size = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
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


# -- layers whose weights have Fisher information: 1 to L; 0, the embeddings, is none of them -----


def head_layer_number(layer: int, *, n_layers: int) -> int:
    """Return the number, 1 to L, of a layer that a head reads; negative ones count from the end.

    Raises:
        UsageError: There is no such layer, or no layer lies below.
    """
    if not 1 <= abs(layer) <= n_layers:
        raise UsageError(
            f"head_layer is out of range: expected 1 to {n_layers}, or -{n_layers} to -1 from the "
            f"end, got {layer}. A head on the embeddings (0) has no layer below it."
        )
    return layer % (n_layers + 1)


def chosen_layers(
    layers: Sequence[int] | None, heads: Sequence[int], *, n_layers: int
) -> tuple[int, ...]:
    """Return the layers whose weights are wanted, 1 to L, rising.

    Args:
        layers: 1 to L, or negative from the end; None for all up to the highest head.
        heads: The layers that heads read, 1 to L.
        n_layers: The encoder's number of layers L.

    Raises:
        UsageError: There is none, there is no such layer, or a head has none at or below it.
    """
    highest, lowest = max(heads), min(heads)
    if layers is None:
        return tuple(range(1, highest + 1))
    if any(not 1 <= abs(k) <= n_layers for k in layers):
        raise UsageError(
            f"layers are out of range: expected some of 1 to {n_layers}, or -{n_layers} to -1 "
            f"from the end, got {list(layers)}. The embeddings (0) are no layer of weights."
        )
    chosen = sorted({k % (n_layers + 1) for k in layers})
    if not chosen or chosen[-1] > highest or chosen[0] > lowest:
        raise UsageError(
            f"layers are out of range: expected some of 1 to {highest}, with at least one not "
            f"above each head (lowest head: layer {lowest}), got {list(layers)}. Choose lower "
            "layers, or a higher head layer."
        )
    return tuple(chosen)
