"""What an encoder is, as a hash of its files."""

from __future__ import annotations

from pathlib import Path

from charkit.config import content_hash
from charkit.durable import sha256_file
from charkit.encoders.files import (
    CONFIG,
    WEIGHTS,
    WEIGHTS_INDEX,
    tokenizer_files,
    weight_files,
)

_hashes: dict[tuple[Path, int, int], str] = {}


def _hash(path: Path) -> str:
    """Return a file's SHA-256, computed once a process while size and time stay the same."""
    real = path.resolve()
    status = real.stat()
    key = (real, status.st_size, status.st_mtime_ns)
    if key not in _hashes:
        _hashes[key] = sha256_file(real)
    return _hashes[key]


def fingerprint_folder(folder: Path, *, random_seed: int | None = None) -> str:
    """Return the hash of exactly those files of an encoder that are read.

    They are config.json, the tokenizer's files and the weights: ``model.safetensors``, or the
    index and the files that it names. Links count as what they point to.

    Args:
        folder: Where its files are.
        random_seed: The weights are drawn from this seed, so their file does not count.

    Returns:
        24 hex digits. The folder's place and name do not enter.

    Raises:
        DataError: A file names one elsewhere, or one that is not there.

    """
    names = [CONFIG, *tokenizer_files(folder)]
    parts: dict[str, object] = {n: _hash(folder / n) for n in names if (folder / n).is_file()}
    if random_seed is None:
        parts["weights"] = [_hash(path) for path in weight_files(folder)]
        if not (folder / WEIGHTS).is_file():  # which tensor is read from which file
            parts["index"] = _hash(folder / WEIGHTS_INDEX)
    else:
        parts["random_seed"] = random_seed
    return content_hash(parts)
