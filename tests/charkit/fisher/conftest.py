"""Tiny random encoders, splits and heads."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "encoders"))

from tiny_families import CONFIGS, make_texts


@pytest.fixture(scope="session")
def family_encoder(tiny_bert, tmp_path_factory):
    """Return a function: family, dtype -> a tiny random encoder of that family."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    from charkit.encoders import load_encoder

    folders, made = {}, {}

    def build(family, changes):
        folder = tmp_path_factory.mktemp("fisher") / family
        tokenizer = AutoTokenizer.from_pretrained(str(tiny_bert))
        facts = CONFIGS[family] | dict(changes)
        config = AutoConfig.for_model(family, vocab_size=len(tokenizer), **facts)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model = AutoModel.from_config(config)
            for parameter in model.parameters():
                parameter.data += 0.15 * torch.randn_like(parameter)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    def make(family, *, dtype="float64", **changes):
        key = (family, tuple(sorted(changes.items())))
        if key not in folders:
            folders[key] = build(family, key[1])
        if (key, dtype) not in made:
            made[key, dtype] = load_encoder(str(folders[key]), device="cpu", dtype=dtype)
        return made[key, dtype]

    return make


@pytest.fixture(scope="session")
def make_split():
    """Return a function: a split of random texts of varied length, labelled."""
    from charkit.tasks.task import Split

    def make(n, *, seed=0, pairs=False, n_classes=2, longest=14):
        made = make_texts(n, seed=seed, pairs=pairs, longest=longest)
        rng = np.random.default_rng(seed)
        labels = rng.standard_normal(n) if not n_classes else rng.integers(0, n_classes, n)
        return Split(made.texts, made.pairs, labels)

    return make


@pytest.fixture(scope="session")
def random_head():
    """Return a function: a head with random weights."""
    from charkit.fisher import make_head

    def make(width=32, *, n_classes=2, seed=0, kind="classification", variance=1.0):
        rng = np.random.default_rng(seed)
        n_out = n_classes if kind == "classification" else 1
        return make_head(
            rng.standard_normal((n_out, width)),
            rng.standard_normal(n_out),
            kind=kind,
            variance=variance,
        )

    return make
