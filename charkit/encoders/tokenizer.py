"""An encoder's tokenizer: read from exactly the files that are hashed, as tokenizer.json says.

transformers 5 makes a tokenizer from its class and takes only the pieces from tokenizer.json. Where
the class cuts texts otherwise than that file, the file is followed, which was written with the
weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from charkit.config import printable
from charkit.encoders.files import (
    CONFIG,
    SENTENCEPIECE,
    TOKENIZER_CONFIG,
    VOCABULARIES,
    log_once,
    only_these,
    read_json,
    tokenizer_files,
)
from charkit.encoders.foreign import AGAIN, foreign
from charkit.encoders.shape import read_config, runnable
from charkit.errors import DataError, MissingError

_WHOLE = "tokenizer.json"
_PLAIN = "PreTrainedTokenizerFast"  # of transformers: it takes tokenizer.json as it is

# Texts on which tokenizers differ: letter case, accents, scripts without spaces, marks, white
# space, contractions, numbers, symbols.
_PROBES = (
    'The QUICK brown fox, 2nd ed. - "it\'s" 100% OK!',
    "Caf\u00e9 na\u00efve \u00dcBER stra\u00dfe e\u0301",
    " two  spaces\tand\nlines ``so'' ",
    "\u6f22\u5b57 \u304b\u306a \ud55c\uae00 \u043c\u0438\u0440",
    "don't re-do e-mail@x.org #tag \U0001f600 \u00bd \ufb01",
)

# Settings that transformers has always put in place of a BERT normalizer's own.
_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


@contextmanager
def quiet_transformers() -> Iterator[None]:
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


def read_tokenizer(folder: Path, family: str) -> Any:
    """Return the tokenizer in a folder; what its files say otherwise is noted once a process.

    Raises:
        MissingError: The folder holds none.
        DataError: It cannot be read.
    """
    names = tokenizer_files(folder)
    if not set(names) & set(VOCABULARIES):
        raise MissingError(
            f"no tokenizer: expected one of {', '.join(VOCABULARIES)} in {folder}, got none. "
            "Copy the tokenizer's files next to the weights."
        )
    _require_sentencepiece(folder, names)
    _require_merges(folder, names)
    settings = _own_settings(folder) if TOKENIZER_CONFIG in names else {}
    if _WHOLE not in names or settings.get("fast_tokenizer_files"):
        return _open(folder, family, names, settings)
    declared, notes = _as_the_file_says(folder, settings)
    tokenizer = _of_class(folder, family, names, settings, declared)
    if tokenizer is None:
        plain = {**settings, "tokenizer_class": _PLAIN}
        tokenizer = _open(folder, family, names, plain)
        if not _cuts_alike(tokenizer, declared, folder):
            raise DataError(
                f"the tokenizer in {folder} contradicts itself: expected that transformers cuts "
                f"texts as {_WHOLE} says, got others. Save it again with transformers' "
                "save_pretrained."
            )
        named = settings.get("tokenizer_class")
        who = f"the class {printable(str(named))}" if named else f"the tokenizer of {family}"
        notes.append(f"{who} cuts texts otherwise than {_WHOLE} says: {_WHOLE} is followed")
    for note in [*notes, *_contradictions(folder, names, declared, tokenizer)]:
        log_once(folder, f"{folder.name}: {note}")
    return tokenizer


def _of_class(
    folder: Path, family: str, names: Sequence[str], settings: Mapping[str, Any], declared: Any
) -> Any:
    """Return the tokenizer that transformers makes; None where tokenizer.json says otherwise."""
    try:
        tokenizer = _open(folder, family, names, settings)
    except DataError:
        if settings.get("tokenizer_class") == _PLAIN:
            raise
        return None  # a class that cannot take the pieces of tokenizer.json
    return tokenizer if _cuts_alike(tokenizer, declared, folder) else None


def _open(folder: Path, family: str, names: Sequence[str], settings: Mapping[str, Any]) -> Any:
    made: dict[str, object] = {CONFIG: runnable(read_config(folder))}
    if settings:
        made[TOKENIZER_CONFIG] = settings
    what = f"the tokenizer in {folder}"
    with (
        foreign(what, expected=f"the files of a {family} tokenizer", advice=AGAIN),
        only_these(folder, names, made) as place,
        quiet_transformers(),
    ):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            str(place), local_files_only=True, trust_remote_code=False
        )
        if not len(tokenizer):
            raise ValueError("a vocabulary without a piece")
    return tokenizer


def _as_the_file_says(folder: Path, settings: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Return what tokenizer.json by itself describes, and notes on settings that overrule it."""
    from tokenizers import Tokenizer
    from tokenizers.normalizers import BertNormalizer

    with foreign(f"{folder / _WHOLE}", expected="a tokenizer", advice=AGAIN):
        declared = Tokenizer.from_file(str(folder / _WHOLE))
    notes = []
    normalizer = declared.normalizer
    if isinstance(normalizer, BertNormalizer):
        for name, field in _NORMALIZER.items():
            value = settings.get(name, getattr(normalizer, field))
            if value != getattr(normalizer, field) and isinstance(value, bool):
                setattr(normalizer, field, value)
                notes.append(
                    f"{TOKENIZER_CONFIG} says {name} {str(value).lower()}, and {_WHOLE} the "
                    "opposite: the former is followed, as transformers does"
                )
        declared.normalizer = normalizer
    return declared, notes


def _cut(tokenizer: Any) -> list[tuple[Any, ...]]:
    """Return how a tokenizer of the package tokenizers cuts the probes, without special tokens.

    What becomes of a text before its pieces are looked up counts too: in a small vocabulary most
    pieces are unknown, whatever they are.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    normalizer, splitter = tokenizer.normalizer, tokenizer.pre_tokenizer
    found = []
    for text in _PROBES:
        plain = normalizer.normalize_str(text) if normalizer is not None else text
        parts = splitter.pre_tokenize_str(plain) if splitter is not None else [(plain, None)]
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        found.append((plain, [part for part, _ in parts], ids))
    return found


def _cuts_alike(tokenizer: Any, declared: Any, folder: Path) -> bool:
    if not tokenizer.is_fast:  # written in Python: it has no tokenizer.json of its own
        return True
    with foreign(f"the tokenizer in {folder}", expected="one that cuts texts", advice=AGAIN):
        return _cut(declared) == _cut(tokenizer.backend_tokenizer)


def _contradictions(folder: Path, names: Sequence[str], declared: Any, tokenizer: Any) -> list[str]:
    """Return notes on other files of pieces that are not those of tokenizer.json."""
    known = {**declared.get_vocab(), **tokenizer.get_added_vocab()}
    kind = type(declared.model).__name__
    others: dict[str, dict[str, Any]] = {}
    if "vocab.txt" in names and kind == "WordPiece":
        text = (folder / "vocab.txt").read_text(encoding="utf-8-sig", errors="replace")
        lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
        others["vocab.txt"] = {piece: i for i, piece in enumerate(lines)}
    if "vocab.json" in names and kind == "BPE":
        others["vocab.json"] = read_json(folder / "vocab.json")
    if "added_tokens.json" in names:
        others["added_tokens.json"] = read_json(folder / "added_tokens.json")
    notes = []
    for name, pieces in others.items():
        wrong = [piece for piece, number in pieces.items() if known.get(piece) != number]
        if wrong:
            notes.append(
                f"{len(wrong):,} of {len(pieces):,} pieces in {name} are not those of {_WHOLE}, "
                f"such as {printable(wrong[0], longest=40)!r}: {_WHOLE} is followed. To use "
                f"{name}, remove {_WHOLE}"
            )
    return notes


def _require_merges(folder: Path, names: Sequence[str]) -> None:
    """Name the file that a byte-pair vocabulary needs as well."""
    if "vocab.json" in names and not set(names) & ({"merges.txt", *VOCABULARIES} - {"vocab.json"}):
        raise MissingError(
            f"the tokenizer in {folder} is incomplete: expected merges.txt next to vocab.json, "
            "got none. Copy that file too."
        )


def _require_sentencepiece(folder: Path, names: list[str]) -> None:
    """Name the packages that turn a sentencepiece model into a tokenizer, where one must be."""
    others = {"tokenizer.json", "vocab.txt", "vocab.json"}
    models = [name for name in names if name in SENTENCEPIECE]
    if not models or others & set(names):
        return
    wanted = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
    missing = [package for package, module in wanted.items() if not _is_installed(module)]
    if missing:
        raise MissingError(
            f"the tokenizer in {folder} cannot be read: expected the packages sentencepiece and "
            f"protobuf, which {models[0]} needs, got no {' and no '.join(missing)}. Run: "
            "pip install sentencepiece protobuf"
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent package
        return False


def _own_settings(folder: Path) -> dict[str, Any]:
    """Return a tokenizer's settings without those that name files, code or chat templates."""
    settings = read_json(folder / TOKENIZER_CONFIG)
    if settings.get("auto_map"):
        raise DataError(
            f"the tokenizer in {folder} needs its own code, which is never run: expected no "
            f"auto_map in {TOKENIZER_CONFIG}, got one. Use another encoder."
        )
    return {
        name: value
        for name, value in settings.items()
        if not name.endswith("_file") and name not in {"chat_template", "name_or_path", "auto_map"}
    }
