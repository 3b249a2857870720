"""An encoder: cheap facts at once, tokenizer and weights when they are first needed."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charkit.config import APART_PREFIX, RANDOM_PREFIX, content_hash, people_name
from charkit.encoders.device import torch_dtype
from charkit.encoders.files import (
    CONFIG,
    declared_notes,
    fingerprint_folder,
    log_once,
)
from charkit.encoders.foreign import AGAIN, foreign
from charkit.encoders.shape import (
    BLOCKS,
    Shape,
    check_architecture,
    first_number,
    read_config,
    read_shape,
    runnable,
)
from charkit.encoders.tokenizer import quiet_transformers, read_tokenizer
from charkit.encoders.weights import (
    check_headers,
    check_report,
    read_headers,
    read_tensors,
    refuse_doubled,
    wrapper_of,
)
from charkit.errors import MissingError, UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["DEFAULT_MAX_LENGTH", "Encoder", "Shape", "read_shape"]

DEFAULT_MAX_LENGTH = 256
"""Tokens kept of a text unless asked otherwise: the cost of attention grows with the square of
the length, and the texts of GLUE are shorter. What is cut is counted."""

APART_VERSION = 1
"""Of the features of a pair whose texts are encoded apart; part of the encoder's fingerprint."""

# Room for the special tokens of a pair and a word of each text.
_SHORTEST = 8


@dataclass(frozen=True)
class Encoder:
    """A BERT-family encoder. Weights are read at the first use of `model`.

    Attributes:
        name: What the user calls it.
        folder: Where its files are.
        shape: Family, layers, width, length limit.
        device: ``cpu``, ``cuda`` or ``mps``.
        dtype: ``float32``, ``bfloat16`` or ``float64``: what it computes in.
        device_reason: Why this device, as text.
        dtype_reason: Why this number format, as text.
        random_seed: The weights are drawn from this seed instead of read (a control).
        revision: The commit on the hub, where it came from there.
        apart: The two texts of a pair are encoded apart and compared, see
            `charkit.encoders.run.compared`; else the tokenizer takes them as one text.
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
    apart: bool = False

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
        """Numbers in one state; the model's own width is ``shape.width``."""
        return 4 * self.shape.width + 1 if self.apart else self.shape.width

    @property
    def max_length(self) -> int:
        """Most tokens that the encoder takes, special tokens included."""
        return self.shape.max_length

    @cached_property
    def fingerprint(self) -> str:
        """Hash of configuration, tokenizer and weights (or seed); 24 hex digits.

        Raises:
            MissingError: There are no safetensors weights.
            DataError: The headers of the weights show that they cannot be used.
        """
        if self.random_seed is None:
            check_headers(read_headers(self.folder), read_config(self.folder), self.folder)
        found = fingerprint_folder(self.folder, random_seed=self.random_seed)
        return content_hash([found, "apart", APART_VERSION]) if self.apart else found

    def notes(self, pooling: str) -> list[str]:
        """Return what the folder declares about its use and charkit does not do."""
        return declared_notes(self.folder, name=people_name(self.name), pooling=pooling)

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

    def check_pairs(self, pairs: Sequence[str] | None) -> None:
        """Refuse single texts where the two texts of a pair are encoded apart.

        Raises:
            UsageError: There are no pairs.
        """
        if self.apart and pairs is None:
            raise UsageError(
                f"{self.name} compares the two texts of a pair: expected pairs of texts, got "
                "single texts. Name the second column with --pair, or leave apart: out."
            )

    def pair_notes(self) -> list[str]:
        """Return what else to try where the texts are pairs that it reads as one text."""
        name = people_name(self.name)
        if self.apart or self.random_seed is not None:
            return []
        return [
            f"{name} reads the texts of a pair as one text; where labels depend on how alike the "
            f"two are, heads do far better on {APART_PREFIX}{name}. 'charkit encoders' compares "
            f"both: -e {name} -e {APART_PREFIX}{name}"
        ]

    def operations(self, n_tokens: NDArray[np.integer[Any]]) -> float:
        """Return the floating-point operations of a forward pass over texts, about.

        Two for each weight of the layers and token, and those of attention, which grow with the
        square of a text's length. Embeddings are looked up and cost none.

        Args:
            n_tokens: Tokens of each text, shape (n_samples,).
        """
        config = read_config(self.folder)
        width = self.shape.width
        inner = first_number(config, "intermediate_size", "hidden_dim") or 4 * width
        matrices = 3 if self.family == "modernbert" else 2  # ModernBERT's are gated
        weights = 4.0 * width**2 + matrices * width * inner
        lengths = n_tokens.astype(np.float64)
        attention = 4.0 * width * (lengths**2).sum()
        return float(self.n_layers * (2.0 * weights * lengths.sum() + attention))

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
        _config_of(self)  # transformers reads it before the tokenizer: name it if it is wrong
        return read_tokenizer(self.folder, self.family)

    @cached_property
    def model(self) -> torch.nn.Module:
        """The model, in evaluation mode, without gradients, on the device.

        Raises:
            MissingError: There are no safetensors weights, or memory does not suffice.
            DataError: Weights are damaged or incomplete.
        """
        import torch

        # weights made in a caller's inference mode would never allow a backward pass
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]), quiet_transformers():
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


def _config_of(encoder: Encoder) -> Any:
    """Return the configuration of transformers, after charkit's own checks."""
    config = read_config(encoder.folder)
    with foreign(
        f"{encoder.folder / CONFIG}",
        expected=f"the configuration of a {encoder.family} encoder",
        advice=AGAIN,
    ):
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        note = check_architecture(config, encoder.folder)
        made = CONFIG_MAPPING[encoder.family].from_dict(runnable(config))
    if note:
        log_once(encoder.folder, note)
    return made


def _read_model(encoder: Encoder) -> torch.nn.Module:
    import torch

    folder = encoder.folder
    headers = read_headers(folder)
    check_headers(headers, read_config(folder), folder)
    config = _config_of(encoder)
    tensors = read_tensors(headers, folder)
    with foreign(
        f"the weights in {folder}", expected=f"those of a {encoder.family} encoder", advice=AGAIN
    ):
        from transformers.models.auto.modeling_auto import MODEL_MAPPING

        family = MODEL_MAPPING[type(config)]
        wrapper = wrapper_of(headers)
        if wrapper and wrapper != f"{family.base_model_prefix}.":  # of its own classes with a head
            log_once(
                folder, f"{folder.name}: {wrapper!r} before the names of all weights is left out"
            )
            headers = {name.removeprefix(wrapper): header for name, header in headers.items()}
            tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
        refuse_doubled(headers, family.base_model_prefix, folder)
        wide = torch.float64 if encoder.dtype == "float64" else torch.float32
        model, report = family.from_pretrained(
            None, config=config, state_dict=tensors, output_loading_info=True, dtype=wide,
            ignore_mismatched_sizes=True,  # check_report refuses them, with their names
        )  # fmt: skip
        checked = _checked_model(model)
    for note in check_report(report, headers, checked, folder):
        log_once(folder, note)
    return checked


def _draw_model(encoder: Encoder) -> torch.nn.Module:
    import torch

    config = _config_of(encoder)
    assert encoder.random_seed is not None
    with foreign(
        f"a random encoder of the shape of {encoder.folder}",
        expected="a configuration that can be built",
        advice="Use another encoder.",
    ):
        from transformers import AutoModel

        _require_memory(config, encoder)
        torch.manual_seed(encoder.random_seed)  # inside fork_rng: nothing leaks
        return _checked_model(AutoModel.from_config(config))


def _require_memory(config: Any, encoder: Encoder) -> None:
    """Refuse a shape whose weights would not fit in this machine's memory.

    Raises:
        MissingError: They would not.
    """
    import torch
    from transformers import AutoModel

    with torch.device("meta"):
        wanted = 4 * sum(p.numel() for p in AutoModel.from_config(config).parameters())
    room = physical_memory()
    if room is not None and wanted > room / 2:  # twice: the copy in another number format
        raise MissingError(
            f"memory does not suffice: expected room for {wanted / 1e9:,.0f} GB of random weights "
            f"in the shape of {encoder.folder}, got {room / 1e9:,.0f} GB in all. Use a smaller "
            "encoder."
        )


def physical_memory() -> int | None:
    """Return this machine's memory in bytes, where the system says it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _checked_model(model: object) -> torch.nn.Module:
    import torch

    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"not a model: got {type(model).__name__}")
    return model
