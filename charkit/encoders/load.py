"""Load an encoder by name."""

from __future__ import annotations

import os
from dataclasses import dataclass

from charkit.encoders.device import DeviceChoice, DtypeChoice, choose_device, choose_dtype
from charkit.encoders.encoder import Encoder, read_shape
from charkit.encoders.known import BUNDLED_NAME
from charkit.encoders.source import find_source, locate
from charkit.errors import UsageError

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
            the last two also as ``name@revision``.
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
    source = find_source(name, revision=revision)
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
    )
