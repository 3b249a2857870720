"""Where a command writes: a reader that goes away stops the printing, never the work."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

CLOSED = {errno.EPIPE, errno.ESHUTDOWN, errno.ECONNRESET}
if os.name == "nt":
    CLOSED |= {errno.EINVAL}  # what Windows reports of a pipe whose reader is gone


class Guarded(io.TextIOBase):
    """A stream whose failures are kept for the end instead of raised in the middle of work.

    Args:
        inner: The stream; None when it was closed before the process began.

    Attributes:
        problem: The first failure; None while there was none.
    """

    def __init__(self, inner: TextIO | None) -> None:
        self.inner = inner
        self.problem: OSError | ValueError | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream."""
        return getattr(self.inner, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """What happens to characters that the encoding lacks."""
        return getattr(self.inner, "errors", None) or "backslashreplace"

    @property
    def lost(self) -> str:
        """Why something that was written arrived nowhere; empty where nothing did.

        A reader that has seen enough, such as ``head``, loses nothing that it wanted.
        """
        if isinstance(self.problem, OSError) and self.problem.errno in CLOSED:
            return ""
        if isinstance(self.problem, OSError):
            return self.problem.strerror or str(self.problem)
        return str(self.problem or "")

    def write(self, text: str) -> int:
        """Write a text; after a failure nothing is written any more."""
        if self.problem is None:
            try:
                if self.inner is None:
                    raise OSError(errno.EBADF, "it is closed")
                self.inner.write(text)
            except UnicodeEncodeError:
                raise
            except (OSError, ValueError) as error:
                self.problem = error
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        if self.inner is None or self.problem is not None:
            return
        try:
            self.inner.flush()
        except (OSError, ValueError) as error:
            self.problem = error

    def isatty(self) -> bool:
        """Return whether a person looks at it."""
        with suppress(OSError, ValueError):
            return self.inner is not None and self.inner.isatty()
        return False

    def fileno(self) -> int:
        """Return the number of the file."""
        if self.inner is None:
            raise io.UnsupportedOperation("fileno")
        return self.inner.fileno()

    def writable(self) -> bool:
        """Return True: what cannot be written is dropped, and counted as a problem."""
        return True


@contextmanager
def guarded_streams() -> Iterator[tuple[Guarded, Guarded]]:
    """Guard stdout and stderr inside the block, and give both."""
    before = sys.stdout, sys.stderr
    guards = Guarded(sys.stdout), Guarded(sys.stderr)
    _occupy_standard_files()
    sys.stdout, sys.stderr = guards
    try:
        yield guards
    finally:
        for guard in guards:
            guard.flush()
            if guard.problem is not None and guard.inner is not None:
                _let_go(guard.inner)
        sys.stdout, sys.stderr = before


def _occupy_standard_files() -> None:
    """Open the null device for closed standard files: the next file opened would get the number.

    What a library writes to "stdout" would then end up in a result.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


def _let_go(stream: TextIO) -> None:
    """Send what a broken stream still holds to the null device: Python's exit would complain."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()
