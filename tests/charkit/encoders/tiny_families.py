"""Texts and model configurations for the tests of the encoders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WORDS = "the a cat dog bird man runs sleeps reads likes sees good bad not in on under".split()


@dataclass(frozen=True)
class Texts:
    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None = None

    @property
    def text_fingerprint(self) -> str:
        from charkit.config import content_hash

        return content_hash([self.texts, self.pairs])


def make_texts(n: int, *, seed: int = 0, pairs: bool = False, longest: int = 20) -> Texts:
    rng = np.random.default_rng(seed)

    def draw() -> tuple[str, ...]:
        return tuple(" ".join(rng.choice(WORDS, rng.integers(1, longest))) for _ in range(n))

    return Texts(draw(), draw() if pairs else None)


COMMON = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
}

CONFIGS = {
    "bert": COMMON,
    "roberta": COMMON | {"type_vocab_size": 1, "pad_token_id": 0},
    "xlm-roberta": COMMON | {"type_vocab_size": 1, "pad_token_id": 0},
    "camembert": COMMON | {"type_vocab_size": 1, "pad_token_id": 0},
    "distilbert": {
        "dim": 32,
        "n_layers": 3,
        "n_heads": 4,
        "hidden_dim": 64,
        "max_position_embeddings": 66,
    },
    "albert": COMMON | {"embedding_size": 16, "num_hidden_groups": 1},
    "electra": COMMON | {"embedding_size": 16},
    "deberta": COMMON
    | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0},
    "deberta-v2": COMMON
    | {
        "relative_attention": True,
        "position_buckets": 16,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "type_vocab_size": 0,
        "conv_kernel_size": 3,
    },
    "mpnet": COMMON | {"pad_token_id": 0},
    "modernbert": COMMON
    | {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "local_attention": 8},
}
