"""The errors that charkit raises on purpose, and their exit codes.

CharkitError              1  anything charkit raises on purpose
├── UsageError            2  an argument is wrong
│   └── UnknownNameError  2  a name is not known; the message lists near misses
├── DataError             3  the data cannot be used as they are
├── MissingError          4  the machine lacks something: a file, a package, space, permission
│   ├── OfflineError      4  it would have to be downloaded
│   └── VanishedError     4  a stored result is gone
├── CellsFailedError      1  some cells of a sweep failed; the others are kept
└── RefusalError          5  an answer would not be trustworthy; carries the partial result

Messages read "<what is wrong>: expected <legal>, got <value>. <what to do>".
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from charkit.config import bounded, listing, printable


class CharkitError(Exception):
    """Base of every error that charkit raises on purpose; its message is never endless."""

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(bounded(str(message)))


class UsageError(CharkitError):
    """An argument is wrong."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name is not known.

    Args:
        what: The kind of thing that was named, for instance ``"encoder"``.
        name: The name that was given.
        known: The names that would have been legal.
        hint: A last sentence that says what to do.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        names = sorted(set(known))
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        if near:
            expected = "did you mean " + " or ".join(listing([n]) for n in near) + "?"
        else:
            shown = ", ".join(map(printable, names[:12])) + (", ..." if len(names) > 12 else "")
            expected = f"expected one of {shown}."
        super().__init__(f"unknown {what} {listing([name])}: {expected} {hint}".rstrip())
        self.name = name
        self.near = tuple(near)


class DataError(CharkitError):
    """The data cannot be used as they are."""

    exit_code = 3


class MissingError(CharkitError):
    """The machine lacks something: a file, a package, disk space, permission."""

    exit_code = 4


class OfflineError(MissingError):
    """Something would have to be downloaded, and the network is not to be used."""


class VanishedError(MissingError):
    """A stored result is gone: it was removed meanwhile, or found damaged and set aside."""


class CellsFailedError(CharkitError):
    """Some cells of a sweep failed; the finished ones are kept in the store.

    Args:
        message: What failed and how to go on.
        partial: The table with the finished rows and the failed ones.
        exit_codes: Those of the failures; when they agree, the whole ends with that code.
    """

    def __init__(
        self, message: str, *, partial: object = None, exit_codes: Iterable[int] = ()
    ) -> None:
        super().__init__(message)
        self.partial = partial
        codes = set(exit_codes)
        if len(codes) == 1:
            self.exit_code = codes.pop()


class RefusalError(CharkitError):
    """An answer would not be trustworthy.

    Args:
        message: Why the answer is refused.
        partial: What could be computed all the same.
    """

    exit_code = 5

    def __init__(self, message: str, *, partial: object = None) -> None:
        super().__init__(message)
        self.partial = partial
