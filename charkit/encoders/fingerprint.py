"""What an encoder is, as a hash of its files."""

from __future__ import annotations

from pathlib import Path

from charkit.config import content_hash
from charkit.durable import sha256_file
from charkit.encoders.source import weight_files

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "spm.model",
                "sentencepiece.bpe.model")  # fmt: skip
"""The files that hold a tokenizer's vocabulary; a folder with none of them has no tokenizer."""

_TOKENIZER = (*VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json",
              "added_tokens.json", "merges.txt")  # fmt: skip

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
    """Return the hash of an encoder's configuration, tokenizer and weights.

    Args:
        folder: Where its files are.
        random_seed: The weights are drawn from this seed, so their file does not count.

    Returns:
        24 hex digits. The folder's place and name do not enter.

    """
    names = ["config.json", *_TOKENIZER]
    parts: dict[str, object] = {n: _hash(folder / n) for n in names if (folder / n).is_file()}
    if random_seed is None:
        parts["weights"] = [_hash(path) for path in weight_files(folder)]
    else:
        parts["random_seed"] = random_seed
    return content_hash(parts)
