"""Token states of one layer, kept in the store for all embeddings of the layers above it.

They take much more room than embeddings: four bytes (two in bfloat16) for each of a token's
numbers. What lies below the layer is then computed once for all heads, labels and estimators.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charkit.config import Progress, no_progress
from charkit.encoders import Encoder
from charkit.encoders.states import resolve_layer
from charkit.encoders.tokens import Tokens
from charkit.fisher.forward import TokenStates, cache_states
from charkit.store.cached import cached
from charkit.store.durable import write_whole
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks.task import Split

if TYPE_CHECKING:
    import torch

KIND = "token_states"
FORMAT_VERSION = 2

_FILE = "tokens.safetensors"


def cache_config(
    encoder: Encoder, split: Split, *, layer: int, max_length: int | None = None
) -> dict[str, Any]:
    """Return what determines token states; its `content_hash` is their key in the store."""
    return {
        "kind": KIND,
        "format": FORMAT_VERSION,
        "encoder": encoder.fingerprint,
        "texts": split.text_fingerprint,
        "layer": resolve_layer(layer, n_layers=encoder.n_layers),
        "max_length": encoder.text_length(max_length),
        "dtype": encoder.dtype,
    }


def cache_to_store(
    encoder: Encoder,
    split: Split,
    *,
    layer: int,
    store: Store,
    max_length: int | None = None,
    token_budget: int | None = None,
    progress: Progress = no_progress,
) -> TokenStates:
    """Return the token states after one layer from the store, computing them when absent.

    Args:
        encoder: The encoder; its weights are read only if something is missing.
        split: The texts, or pairs of texts.
        layer: 0 to L - 1, or negative from the end.
        store: Where the states are kept.
        max_length: Most tokens a text keeps; default `Encoder.text_length`.
        token_budget: Most tokens of a batch, padding included.
        progress: Called as ``progress("cache", done, total)`` with counts of texts.

    Raises:
        UsageError: An argument is out of range.
        MissingError: The store cannot be written.
    """
    config = cache_config(encoder, split, layer=layer, max_length=max_length)

    def make(folder: Path) -> dict[str, Any]:
        clock = Clock()
        states = cache_states(
            encoder,
            split,
            layer=layer,
            max_length=max_length,
            token_budget=token_budget,
            progress=progress,
        )
        _write(folder, states, encoder)
        return run_manifest(
            config,
            clock=clock,
            seeds={} if encoder.random_seed is None else {"weights": encoder.random_seed},
            fingerprints={"encoder": encoder.fingerprint, "texts": config["texts"]},
            device=encoder.device,
            dtype=encoder.dtype,
        )

    return cached(store, KIND, config, make=make, load=_read, progress=progress).value


def _write(folder: Path, states: TokenStates, encoder: Encoder) -> None:
    import torch
    from safetensors.torch import save_file

    tokens = states.tokens
    arrays = {"ids": tokens.ids, "lengths": tokens.lengths, "full_lengths": tokens.full_lengths}
    if tokens.segments is not None:
        arrays["segments"] = tokens.segments
    tensors: dict[str, torch.Tensor] = {k: torch.from_numpy(v) for k, v in arrays.items()}
    tensors["hidden"] = states.hidden.contiguous()
    save_file(tensors, folder / _FILE)
    index = {
        "encoder": encoder.name,
        "encoder_fingerprint": states.encoder_fingerprint,
        "layer": states.layer,
        "max_length": states.max_length,
        "pad_id": tokens.pad_id,
        "n_samples": len(tokens.lengths),
        "text_fingerprint": states.text_fingerprint,
    }
    write_whole(folder / "index.json", json.dumps(index, indent=1, sort_keys=True).encode())


def _read(folder: Path) -> TokenStates:
    from safetensors.torch import load_file

    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / _FILE)
    segments = tensors.get("segments")
    tokens = Tokens(
        ids=tensors["ids"].numpy(),
        segments=None if segments is None else segments.numpy(),
        lengths=tensors["lengths"].numpy(),
        full_lengths=tensors["full_lengths"].numpy(),
        pad_id=index["pad_id"],
    )
    return TokenStates(
        index["layer"],
        tokens,
        tensors["hidden"],
        index["encoder_fingerprint"],
        index["max_length"],
        index["text_fingerprint"],
    )
