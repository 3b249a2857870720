"""An encoder's weights: checked by their headers, read from exactly the files that are hashed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from charkit.config import printable
from charkit.encoders.files import WEIGHTS, no_weights, weight_files, weight_map
from charkit.encoders.foreign import AGAIN, foreign
from charkit.encoders.shape import BLOCKS, first_number
from charkit.errors import DataError, MissingError

if TYPE_CHECKING:
    import torch

_FLOATS = {"F64", "F32", "F16", "BF16"}
_BUFFERS = ("position_ids", "token_type_ids")
_QUANTISED = re.compile(
    r"\.(SCB|qweight|qzeros|scales|weight_scale|weight_scale_inv|absmax|quant_map|"
    r"nested_absmax|weight_format|zero_point|weight_zero_point|g_idx)$"
)
_ADAPTER = re.compile(r"(^|\.)(lora_[A-Za-z_]+|base_layer|adapters?|prompt_embeddings)(\.|$)")

# Parts of the classes of transformers that stand on top of an encoder: not part of it.
_HEADS = re.compile(
    r"^(cls|classifier|pre_classifier|pooler|qa_outputs|lm_head|predictions|sop_classifier|"
    r"discriminator_predictions|generator_predictions|generator_lm_head|lm_predictions|"
    r"mask_predictions|vocab_transform|vocab_layer_norm|vocab_projector|head|decoder|score|"
    r"dropout|drop|sequence_summary|logits_proj|out_proj|regressor|loss|loss_fct)(\.|$)"
)

_WORDS = ("word_embeddings.weight", "tok_embeddings.weight")


@dataclass(frozen=True)
class Header:
    """What a tensor's header says.

    Attributes:
        file: Where the tensor is.
        dtype: Its number format, as safetensors writes it.
        shape: Its shape.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]


def read_headers(folder: Path) -> dict[str, Header]:
    """Return the headers of an encoder's weights, tensor by tensor; no weight is read.

    Raises:
        MissingError: There are no safetensors weights.
        DataError: A file is damaged, or does not hold what the index says.
    """
    files = weight_files(folder)
    if not files:
        raise MissingError(no_weights(folder))
    headers: dict[str, Header] = {}
    where = {} if (folder / WEIGHTS).is_file() else weight_map(folder)
    for path in files:
        with (
            foreign(f"{path}", expected="a safetensors file", advice=AGAIN),
            safe_open(path, framework="numpy") as file,
        ):
            for name in file.keys():  # noqa: SIM118
                if where.get(name, path.name) == path.name:
                    part = file.get_slice(name)
                    headers[name] = Header(path, part.get_dtype(), tuple(part.get_shape()))
    absent = sorted(set(where) - set(headers))
    if absent:
        raise DataError(
            f"the weights in {folder} are incomplete: expected {printable(absent[0])} in "
            f"{printable(where[absent[0]])}, as the index says, got none. {AGAIN}"
        )
    return headers


# What DataParallel, compilation, sentence-transformers, Lightning, peft, FSDP and classes of one's
# own put before every name.
_WRAPPERS = ("module.", "_orig_mod.", "0.auto_model.", "auto_model.", "model.", "encoder.",
             "base_model.model.", "_fsdp_wrapped_module.", "backbone.", "transformer.")  # fmt: skip


def wrapper_of(names: Iterable[str]) -> str:
    """Return what a wrapper has put before the name of every weight; "" where there is none.

    >>> wrapper_of(["module.embeddings.x", "module.encoder.y"])
    'module.'
    """
    every = [name for name in names if not _HEADS.match(name)]
    for wrapper in _WRAPPERS:
        if every and all(name.startswith(wrapper) for name in every):
            return wrapper + wrapper_of(name.removeprefix(wrapper) for name in every)
    return ""


def refuse_doubled(names: Iterable[str], prefix: str, folder: Path) -> None:
    """Refuse a weight that is there twice, with and without the name of the family before it.

    transformers takes either, and which one it takes cannot be seen.

    Args:
        names: The names of the weights.
        prefix: What transformers' classes with a head put before the encoder's names.
        folder: Where the files are.

    Raises:
        DataError: There is one.
    """
    seen: dict[str, str] = {}
    for name in names:
        plain = name.removeprefix(f"{prefix}.")
        plain = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", plain)
        plain = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", plain)
        if plain in seen and not name.endswith(_BUFFERS) and not _HEADS.match(plain):
            raise DataError(
                f"the weights in {folder} hold two encoders: expected each weight once, got "
                f"{printable(seen[plain])} and {printable(name)}. Save the one that is meant with "
                "transformers' save_pretrained."
            )
        seen[plain] = name


def check_headers(headers: Mapping[str, Header], config: Mapping[str, Any], folder: Path) -> None:
    """Compare the weights' headers with config.json, before anything is allocated.

    Raises:
        DataError: Weights are quantised, are an adapter's, or of another size.
    """
    start = f"the weights in {folder} "
    for name, header in headers.items():
        if _ADAPTER.search(name):
            raise DataError(
                f"{start}hold an adapter: expected a merged encoder, got "
                f"{printable(name)}. Merge it once with merge_and_unload() and save_pretrained()."
            )
        whole = header.dtype not in _FLOATS and not name.endswith(_BUFFERS)
        if whole or _QUANTISED.search(name):
            raise DataError(
                f"{start}are quantised: expected {', '.join(sorted(_FLOATS))}, got "
                f"{printable(name)} as {header.dtype}. Use the encoder that it was made from, or "
                "save it dequantised."
            )
    _check_sizes(headers, config, folder)


def _check_sizes(headers: Mapping[str, Header], config: Mapping[str, Any], folder: Path) -> None:
    start = f"the weights in {folder} do not fit config.json: expected "
    family = str(config["model_type"])
    declared: int | None = first_number(dict(config), "num_hidden_layers", "n_layers")
    if family == "albert":
        declared = first_number(dict(config), "num_hidden_groups") or 1
    found = n_stored_layers(headers, family)
    if found and declared is not None and found != declared:
        raise DataError(
            f"{start}{declared} layers, got those of {found}. Use the config.json that belongs to "
            "them."
        )
    words = [h for name, h in headers.items() if name.endswith(_WORDS) and len(h.shape) == 2]
    rows = first_number(dict(config), "vocab_size")
    if words and rows is not None and all(h.shape[0] != rows for h in words):
        raise DataError(
            f"{start}a vocabulary of {rows} pieces, got {words[0].shape[0]}. Use the config.json "
            "that belongs to them."
        )
    width = first_number(dict(config), "embedding_size", "hidden_size", "dim")
    if words and width is not None and all(h.shape[1] != width for h in words):
        raise DataError(
            f"{start}embeddings of {width} numbers, got {words[0].shape[1]}. Use the config.json "
            "that belongs to them."
        )


def n_stored_layers(names: Iterable[str], family: str) -> int:
    """Return how many layers the names of tensors speak of."""
    pattern = re.compile(r"(?:^|\.)" + re.escape(BLOCKS[family]) + r"\.(\d{1,9})\.")
    numbers = [int(m.group(1)) for m in map(pattern.search, names) if m]
    return max(numbers, default=-1) + 1


def read_tensors(headers: Mapping[str, Header], folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights by name, mapped into memory; buffers of positions are left out.

    Raises:
        DataError: A file is damaged.
    """
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted({h.file for h in headers.values()}):
        with (
            foreign(f"{path}", expected="a safetensors file", advice=AGAIN),
            safe_open(path, framework="pt") as file,
        ):
            for name, header in headers.items():
                if header.file == path and not name.endswith(_BUFFERS):
                    tensors[name] = file.get_tensor(name)
    return tensors


def check_report(
    report: Mapping[str, Any], headers: Mapping[str, Header], model: torch.nn.Module, folder: Path
) -> list[str]:
    """Compare what a model wants with what the files hold.

    Args:
        report: ``missing_keys``, ``unexpected_keys`` and ``mismatched_keys`` of transformers'
            loading.
        headers: What the files hold.
        model: The model, of the family's base class.
        folder: Where the files are.

    Returns:
        Notes about weights that are neither used nor those of a task head.

    Raises:
        DataError: Weights are missing or of another shape, or some inside the encoder are not
            used.
    """
    family = str(getattr(model.config, "model_type", ""))
    for name, got, expected in sorted(report["mismatched_keys"]):
        raise DataError(
            f"the weights in {folder} do not fit config.json: expected {printable(str(name))} of "
            f"shape {tuple(expected)}, got {tuple(got)}. Use the config.json that belongs to them."
        )
    missing = sorted(k for k in report["missing_keys"] if not k.startswith("pooler."))
    if missing:
        unused = sorted(report["unexpected_keys"]) or sorted(headers)
        raise DataError(
            f"the weights in {folder} are incomplete: expected a whole {family} encoder, got none "
            f"for {len(missing)} tensors ({printable(missing[0])}, ...). The files hold "
            f"{len(headers)} tensors, such as {printable(unused[0])}. If those are the encoder "
            "under other names, save it again with transformers' save_pretrained."
        )
    prefix = str(getattr(model, "base_model_prefix", "")) + "."
    inside = {name for name, _ in model.named_children()} - {"pooler"}
    left = [
        name
        for name in sorted(report["unexpected_keys"])
        if not name.endswith(_BUFFERS) and not _HEADS.match(name.removeprefix(prefix))
    ]
    strange = [name for name in left if name.removeprefix(prefix).split(".")[0] in inside]
    if strange:
        raise DataError(
            f"the encoder in {folder} has weights that a plain {family} does not use: expected "
            f"none inside it, got {len(strange)} ({printable(strange[0])}, ...). Its states would "
            "be those of another network. Use another encoder."
        )
    if left:
        return [
            f"{folder.name}: {len(left)} weights are not used, for they are not part of a plain "
            f"{family}: {', '.join(map(printable, left[:3]))}" + (", ..." if left[3:] else "")
        ]
    return []
