"""One net around the readers of other libraries: whatever they raise becomes one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from charkit.config import printable
from charkit.errors import CharkitError, DataError, MissingError

# What an error's text matches -> what helps.
_REASONS: tuple[tuple[str, str], ...] = (
    (
        r"untagged enum|unknown variant|missing field|did not match any variant|"
        r"is not (a valid|currently) .*[Tt]okenizer|Unsupported .*version",
        "It may come from a newer version of tokenizers. Run: pip install --upgrade transformers "
        "tokenizers",
    ),
    (
        r"Couldn't instantiate the backend tokenizer",
        "Its files do not suffice for the tokenizer_class in tokenizer_config.json. Correct that "
        "class, or add the tokenizer.json that transformers' save_pretrained writes.",
    ),
    (
        r"HeaderTooLarge|header too large",
        "If it was cloned without Git LFS, it is a pointer of a few lines: run git lfs pull.",
    ),
    (
        r"tiktoken|SPM|sentencepiece_processor|protobuf",
        "Its sentencepiece model is damaged, or of another kind. Copy it again, or add the "
        "tokenizer.json that transformers' save_pretrained writes.",
    ),
)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class, not endless."""
    text = str(error).strip()
    if not text:
        return type(error).__name__
    if isinstance(error, KeyError | IndexError | AssertionError | AttributeError | RecursionError):
        text = f"{type(error).__name__}: {text}"
    return printable(text.splitlines()[0], longest=200)


@contextmanager
def foreign(what: str, *, expected: str, advice: str) -> Iterator[None]:
    """Turn any exception of another library into a DataError of one sentence.

    tokenizers raises bare ``Exception``, and its panics derive from ``BaseException``.

    Args:
        what: What is read, with its place; "cannot be read" follows.
        expected: What was expected there.
        advice: What to do, unless the error itself shows something better.

    Raises:
        MissingError: Memory did not suffice, or a package is missing.
        DataError: Anything else was raised.
    """
    try:
        yield
    except CharkitError:
        raise
    except MemoryError as error:
        raise MissingError(f"{what} cannot be read: memory does not suffice.") from error
    except ImportError as error:
        raise MissingError(
            f"{what} cannot be read: it needs a package that is not installed, got "
            f"{first_line(error)!r}."
        ) from error
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise  # a stop, an exit
        reason = first_line(error)
        better = [hint for pattern, hint in _REASONS if re.search(pattern, reason)]
        raise DataError(
            f"{what} cannot be read: expected {expected}, got {reason!r}. "
            f"{better[0] if better else advice}"
        ) from error


AGAIN = "Copy the folder again from where it came."
"""The advice for a folder whose files are damaged."""
