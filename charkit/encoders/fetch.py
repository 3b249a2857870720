"""Bring an encoder to this machine, so that everything afterwards works offline."""

from __future__ import annotations

from pathlib import Path

from charkit.config import is_offline, listing
from charkit.encoders.files import CONFIG, no_weights, weight_files
from charkit.encoders.source import download, find_source, locate
from charkit.errors import MissingError, OfflineError


def fetch_encoder(name: str, *, revision: str | None = None, offline: bool | None = None) -> Path:
    """Download what an encoder needs and return its folder.

    The bundled encoder and folders are only checked. A hub encoder is looked up again, so
    that a floating revision comes up to date.

    Args:
        name: As for `load_encoder`.
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
