"""An encoder: cheap facts at once, tokenizer and weights when they are first needed."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from charkit.config import RANDOM_PREFIX
from charkit.encoders.device import torch_dtype
from charkit.encoders.fingerprint import VOCABULARIES, fingerprint_folder
from charkit.encoders.known import BLOCKS
from charkit.encoders.source import weight_files
from charkit.errors import DataError, MissingError, UsageError

DEFAULT_MAX_LENGTH = 256
"""Tokens kept of a text unless asked otherwise: the cost of attention grows with the square of
the length, and the texts of GLUE are shorter. What is cut is counted."""

_SHORTEST = 8


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


def _first(config: dict[str, Any], *names: str) -> int | None:
    for name in names:
        if isinstance(config.get(name), int):
            return int(config[name])
    return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is damaged: expected a JSON object, got {error}.") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} is damaged: expected a JSON object, got {type(value).__name__}.")
    return value


def read_shape(folder: Path) -> Shape:
    """Read family, layers, width and length limit from a folder's config.json.

    The limit is the smallest of the position embeddings, the tokenizer's own limit and, where
    there is one, the limit that sentence-transformers recorded.

    Raises:
        MissingError: There is no config.json.
        DataError: It is damaged or lacks a number.
        UsageError: The model is not of a family that charkit reads.

    """
    path = folder / "config.json"
    if not path.is_file():
        raise MissingError(
            f"no encoder there: expected config.json in {folder}, got no such file. "
            "Name a folder that transformers' save_pretrained has written."
        )
    config = _read_json(path)
    family = str(config.get("model_type", ""))
    if family not in BLOCKS:
        raise UsageError(
            f"encoder family is not supported: expected one of {', '.join(sorted(BLOCKS))}, "
            f"got {family!r} in {path}."
        )
    n_layers = _first(config, "num_hidden_layers", "n_layers")
    width = _first(config, "hidden_size", "dim")
    if n_layers is None or width is None:
        raise DataError(f"{path} lacks a number: expected the count of layers and their width.")
    limits = [_first(config, "max_position_embeddings") or 512]
    if family in {"roberta", "xlm-roberta", "camembert", "mpnet"}:
        limits[0] -= (_first(config, "pad_token_id") or 1) + 1  # positions start after it
    for name, key in (
        ("tokenizer_config.json", "model_max_length"),
        ("sentence_bert_config.json", "max_seq_length"),
    ):
        limit = _first(_read_json(folder / name), key) if (folder / name).is_file() else None
        if limit is not None and limit > 0:
            limits.append(limit)
    return Shape(family, n_layers, width, min(limits))


@dataclass(frozen=True)
class Encoder:
    """A BERT-family encoder. Weights are read at the first use of `model`.

    Attributes:
        name: What the user calls it.
        folder: Where its files are.
        shape: Family, layers, width, length limit.
        device: ``cpu``, ``cuda`` or ``mps``.
        dtype: ``float32``, ``bfloat16`` or ``float64``: what it computes in.
        device_reason: Why this device, in words.
        dtype_reason: Why this number format, in words.
        random_seed: The weights are drawn from this seed instead of read (a control).
        revision: The commit on the hub, where it came from there.

    """

    name: str
    folder: Path
    shape: Shape
    device: str
    dtype: str
    device_reason: str = ""
    dtype_reason: str = ""
    random_seed: int | None = None
    revision: str | None = None

    @property
    def family(self) -> str:
        """The model type, for instance ``bert``."""
        return self.shape.family

    @property
    def n_layers(self) -> int:
        """Number of layers L; states count from 0 (embeddings) to L."""
        return self.shape.n_layers

    @property
    def width(self) -> int:
        """Numbers in one state."""
        return self.shape.width

    @property
    def max_length(self) -> int:
        """Most tokens that the encoder takes, special tokens included."""
        return self.shape.max_length

    @cached_property
    def fingerprint(self) -> str:
        """Hash of configuration, tokenizer and weights (or seed); 24 hex digits."""
        return fingerprint_folder(self.folder, random_seed=self.random_seed)

    def text_length(self, max_length: int | None = None) -> int:
        """Return how many tokens of a text are kept, special tokens included.

        Args:
            max_length: What is asked for; None means 256, or the encoder's limit if smaller.

        Raises:
            UsageError: The number is below 8 or above the encoder's limit.

        """
        if max_length is None:
            return min(DEFAULT_MAX_LENGTH, self.max_length)
        if not _SHORTEST <= max_length <= self.max_length:
            raise UsageError(
                f"max_length is out of range: expected {_SHORTEST} to {self.max_length} for "
                f"{self.name}, got {max_length}."
            )
        return max_length

    def randomised(self, *, seed: int) -> Encoder:
        """Return a control: the same shape and tokenizer, weights drawn at random.

        The weights come from the model's own initialiser and ``seed``; the global generators
        are left as they were. What this encoder can do, training had no part in.

        Raises:
            UsageError: The seed is negative.

        """
        if seed < 0:
            raise UsageError(f"seed is out of range: expected at least 0, got {seed}.")
        return replace(self, name=f"{RANDOM_PREFIX}{self.name}@{seed}", random_seed=seed)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer, of transformers.

        Raises:
            MissingError: The folder holds none.
            DataError: It cannot be read.

        """
        from transformers import AutoTokenizer

        if not any((self.folder / name).is_file() for name in VOCABULARIES):
            raise MissingError(
                f"no tokenizer: expected one of {', '.join(VOCABULARIES)} in {self.folder}, got "
                "none. Copy the tokenizer's files beside the weights."
            )
        try:
            with _quiet_transformers():
                return AutoTokenizer.from_pretrained(
                    str(self.folder), local_files_only=True, trust_remote_code=False
                )
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                f"the tokenizer in {self.folder} cannot be read: expected the files of a "
                f"{self.family} tokenizer, got {_first_line(error)!r}."
            ) from error

    @cached_property
    def model(self) -> torch.nn.Module:
        """The model, in evaluation mode, without gradients, on the device.

        Raises:
            MissingError: There are no safetensors weights, or memory does not suffice.
            DataError: Weights are damaged or incomplete.

        """
        # weights made in a caller's inference mode would never allow a backward pass
        with (
            torch.inference_mode(False),
            torch.random.fork_rng(devices=[]),
            _quiet_transformers(),
        ):
            model = _draw_model(self) if self.random_seed is not None else _read_model(self)
            model.requires_grad_(False)
            return model.eval().to(device=self.device, dtype=torch_dtype(self.dtype))

    @cached_property
    def blocks(self) -> tuple[torch.nn.Module, ...]:
        """The stack of layers (one shared module for ALBERT)."""
        stack = self.model.get_submodule(BLOCKS[self.family])
        return tuple(stack.children())

    @cached_property
    def takes_segments(self) -> bool:
        """Whether pairs carry segment ids (``token_type_ids``)."""
        known = inspect.signature(self.model.forward).parameters
        n_types = getattr(self.model.config, "type_vocab_size", 0) or 0
        return "token_type_ids" in known and n_types > 1


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and load reports off the terminal, then restore."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _read_model(encoder: Encoder) -> torch.nn.Module:
    from safetensors import SafetensorError
    from transformers import AutoModel

    if not weight_files(encoder.folder):
        raise MissingError(
            f"no weights: expected model.safetensors in {encoder.folder}, got none. Weights "
            "in other formats are not read."
        )
    try:
        model, report = AutoModel.from_pretrained(
            str(encoder.folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"the weights in {encoder.folder} cannot be read: expected those of a "
            f"{encoder.family} encoder, got {_first_line(error)!r}. Fetch it again."
        ) from error
    missing = sorted(k for k in report["missing_keys"] if not k.startswith("pooler."))
    if missing:
        raise DataError(
            f"the weights in {encoder.folder} are incomplete: expected a whole "
            f"{encoder.family} encoder, got none for {len(missing)} tensors ({missing[0]}, "
            "...). Fetch it again."
        )
    return _checked_model(model)


def _draw_model(encoder: Encoder) -> torch.nn.Module:
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(
        str(encoder.folder), local_files_only=True, trust_remote_code=False
    )
    assert encoder.random_seed is not None
    torch.manual_seed(encoder.random_seed)  # inside fork_rng: nothing leaks
    return _checked_model(AutoModel.from_config(config))


def _checked_model(model: object) -> torch.nn.Module:
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"not a model: got {type(model).__name__}")
    return model
