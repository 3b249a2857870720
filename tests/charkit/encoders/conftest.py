"""Tiny random encoders of every family."""

from __future__ import annotations

import pytest
from tiny_families import CONFIGS


@pytest.fixture(scope="session")
def tiny_encoder(tiny_bert):
    from charkit.encoders import load_encoder

    return load_encoder(str(tiny_bert), device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def family_folder(tiny_bert, tmp_path_factory):
    """Return a function: family -> folder with a tiny random encoder of that family."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    made = {}

    def make(family: str):
        if family not in made:
            folder = tmp_path_factory.mktemp("family") / family
            tokenizer = AutoTokenizer.from_pretrained(str(tiny_bert))
            config = AutoConfig.for_model(family, vocab_size=len(tokenizer), **CONFIGS[family])
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(1)
                model = AutoModel.from_config(config)
                for parameter in model.parameters():  # biases too, so that nothing is trivial
                    parameter.data += 0.1 * torch.randn_like(parameter)
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            made[family] = folder
        return made[family]

    return make
