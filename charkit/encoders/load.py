"""Load an encoder by name."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from charkit.config import (
    APART_PREFIX,
    distinct_names,
    encoder_prefix,
    is_offline,
    listing,
    people_name,
)
from charkit.encoders.device import DeviceChoice, DtypeChoice, choose_device, choose_dtype
from charkit.encoders.encoder import Encoder, read_shape
from charkit.encoders.files import CONFIG, no_weights, weight_files
from charkit.encoders.known import BUNDLED_NAME
from charkit.encoders.source import download, find_source, locate
from charkit.errors import MissingError, OfflineError, UsageError

__all__ = ["Encoder", "EncoderChoice", "LazyEncoder", "load_encoder", "loaded"]


@dataclass(frozen=True)
class LazyEncoder:
    """An encoder that is found only when it is needed; the arguments are those of `load_encoder`.

    Attributes:
        name: Its name.
        device: Where to compute.
        dtype: What to compute in.
        offline: Never open a connection; None reads CHARKIT_OFFLINE and HF_HUB_OFFLINE.
    """

    name: str = BUNDLED_NAME
    device: DeviceChoice = "auto"
    dtype: DtypeChoice = "auto"
    offline: bool | None = None

    def load(self) -> Encoder:
        """Return the encoder; `load_encoder` names what can go wrong."""
        return load_encoder(self.name, device=self.device, dtype=self.dtype, offline=self.offline)


EncoderChoice = str | os.PathLike[str] | Encoder | LazyEncoder
"""A name, or an encoder from `load_encoder`; one that is still to be loaded."""


def loaded(encoder: EncoderChoice) -> Encoder:
    """Return the encoder that a choice means; `load_encoder` names what can go wrong."""
    if isinstance(encoder, Encoder):
        return encoder
    return encoder.load() if isinstance(encoder, LazyEncoder) else load_encoder(encoder)


def load_encoder(
    name: str | os.PathLike[str] = BUNDLED_NAME,
    *,
    revision: str | None = None,
    device: DeviceChoice = "auto",
    dtype: DtypeChoice = "auto",
    offline: bool | None = None,
) -> Encoder:
    """Return an encoder. Its files are found now, its weights read at the first use.

    Args:
        name: ``minilm`` (bundled), a folder, a name in `KNOWN_ENCODERS`, or an id on the hub,
            the last two also as ``name@revision``. With ``apart:`` before it the two texts of a
            pair are encoded apart (`charkit.encoders.run.compared`).
        revision: Branch, tag or commit on the hub.
        device: Where to compute; what is asked for by name must exist.
        dtype: What to compute in.
        offline: Never open a connection; None reads CHARKIT_OFFLINE and HF_HUB_OFFLINE.

    Raises:
        UnknownNameError: The name is not known; the message lists near misses.
        UsageError: An argument is wrong, or the model is not of a known family.
        MissingError: The device or a file is not there.
        OfflineError: The encoder would have to be downloaded.
        DataError: Files are damaged.
    """
    if not isinstance(name, str | os.PathLike):
        raise UsageError(
            f"encoder: expected a name, a folder or a loaded encoder, got {type(name).__name__}."
        )
    name = str(os.fspath(name))
    device_name, device_reason = choose_device(device)
    dtype_name, dtype_reason = choose_dtype(dtype, device_name)
    source = find_source(name.removeprefix(APART_PREFIX), revision=revision)
    folder = locate(source, offline=offline)
    return Encoder(
        name=name,
        folder=folder,
        shape=read_shape(folder),
        device=device_name,
        dtype=dtype_name,
        device_reason=device_reason,
        dtype_reason=dtype_reason,
        revision=folder.name if source.kind == "hub" else None,
        apart=name.startswith(APART_PREFIX),
    )


# -- bring an encoder to this machine, so that everything afterwards works offline ----------------


def fetch_encoder(name: str, *, revision: str | None = None, offline: bool | None = None) -> Path:
    """Download what an encoder needs and return its folder.

    The bundled encoder and folders are only checked. A hub encoder is looked up again, so
    that a floating revision comes up to date.

    Args:
        name: As for `load_encoder`, ``apart:`` left out.
        revision: Branch, tag or commit on the hub.
        offline: Refuse to use the network; None reads the environment.

    Raises:
        OfflineError: It must come from the hub and the network is off limits.
        MissingError: The hub has no such encoder, or it has no safetensors weights.
    """
    source = find_source(name, revision=revision)
    if source.kind != "hub":
        folder = locate(source, offline=True)
    elif is_offline(offline):
        raise OfflineError(
            f"cannot fetch {name!r}: expected a network, got the order not to use it. Unset "
            "CHARKIT_OFFLINE and HF_HUB_OFFLINE, or leave out --offline."
        )
    else:
        folder = download(source)
    if not (folder / CONFIG).is_file():
        raise MissingError(
            f"encoder {name!r} cannot be used: expected config.json in {folder}, got "
            f"{listing(sorted(p.name for p in folder.iterdir()))}."
        )
    if not weight_files(folder):
        elsewhere = "" if source.kind != "hub" else " Its repository has none at this revision."
        raise MissingError(f"encoder {name!r} cannot be used: {no_weights(folder)}{elsewhere}")
    return folder


# -- what encoders are called where several are compared ------------------------------------------


logger = logging.getLogger(__name__)


def named_apart(encoders: Sequence[Encoder]) -> tuple[Encoder, ...]:
    """Return encoders once each, with names that differ and hold no whole path.

    A folder that is named by its whole path is called by its last part, or by as many of its last
    parts as make it differ from the others. The same folder written in two ways is one encoder.
    """
    kept: dict[tuple[object, ...], Encoder] = {}
    for encoder in encoders:
        key = (encoder.folder.resolve(), encoder.random_seed, encoder.apart)
        first = kept.setdefault(key, encoder)
        if first is not encoder:
            logger.warning(
                "%s and %s are the same encoder: it is used once",
                people_name(first.name),
                people_name(encoder.name),
            )
    found = tuple(kept.values())
    prefixes = [encoder_prefix(e.name) for e in found]
    names = distinct_names(
        [people_name(e.name).removeprefix(p) for e, p in zip(found, prefixes, strict=True)],
        [e.folder.resolve().parts for e in found],
        apart=prefixes,
    )
    return tuple(
        replace(e, name=p + name) if p + name != e.name else e
        for e, p, name in zip(found, prefixes, names, strict=True)
    )
