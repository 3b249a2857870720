"""Where the weights of a layer sit in each family, and which output row belongs to which part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from charkit.encoders import Encoder
from charkit.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import torch

Part = Literal[
    "query",
    "key",
    "value",
    "attention_out",
    "ffn_in",
    "ffn_out",
    "layer_norm",
    "bias",
]
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
    "deberta": (
        Site("attention.self.in_proj", _QKV, interleaved=True),
        *_BERT[3:],
    ),
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
