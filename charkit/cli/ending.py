"""How a command ends: errors that nobody foresaw, signals, and readers that go away.

Foreign errors become one sentence each and an honest exit code. SIGTERM and SIGHUP end a command as
Ctrl-C does, in good order. A reader that goes away stops the printing, never the work.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

from charkit.config import bounded, printable
from charkit.errors import MissingError
from charkit.store.durable import is_full

UNEXPECTED = 70
"""Exit code of an error that nobody foresaw (EX_SOFTWARE of sysexits.h)."""

DEBUG_VARIABLE = "CHARKIT_DEBUG"
_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")

_doing: list[str] = []


def note_stage(stage: str) -> None:
    """Remember what is being done, for the message of an error that nobody foresaw."""
    _doing[:] = [stage]


def wants_traceback() -> bool:
    """Return whether tracebacks are asked for: ``--debug`` anywhere, or ``CHARKIT_DEBUG``."""
    chosen = os.environ.get(DEBUG_VARIABLE, "").strip().lower()
    return "--debug" in sys.argv or chosen not in {"", "0", "false", "no", "off"}


def explained(error: BaseException) -> tuple[str, int]:
    """Return a sentence for people and the exit code of an error that charkit did not raise.

    What the machine lacks (memory, space, a file, a package) ends with 4, all else with 70.
    """
    said = printable(" ".join(str(error).split()) or "no message", longest=500)
    hint = "--debug shows where."
    if isinstance(error, MemoryError) or any(word in said.lower() for word in _MEMORY):
        text = (
            f"memory does not suffice: expected free memory{_while()}, got {said!r}. Use fewer or "
            f"shorter texts, fewer classes or layers, or a machine with more memory; {hint}"
        )
    elif is_full(error):
        text = (
            f"no space to write: expected free space on the disk{_while()}, got {said!r}. Free "
            "some space ('charkit cache prune' removes old results) and run the same again."
        )
    elif isinstance(error, OSError):
        named = error.filename if error.filename is not None else "a file"
        reason = error.strerror or said
        text = (
            f"a file cannot be used: expected access to {printable(str(named), longest=300)}"
            f"{_while()}, got {reason!r}. Check that it exists and may be read and written; {hint}"
        )
    elif isinstance(error, ImportError):
        text = (
            f"a package cannot be loaded: expected it{_while()}, got {said!r}. 'charkit doctor' "
            f"shows what is installed; {hint}"
        )
    else:
        return bounded(
            f"unexpected {type(error).__name__}{_while()}: {said}. What was finished is kept. "
            f"{hint} If it shows no fault of yours, please report it with that."
        ), UNEXPECTED
    return bounded(text), MissingError.exit_code


def _while() -> str:
    return f" (while at: {printable(_doing[0])})" if _doing else ""


INTERRUPTED = 128 + signal.SIGINT
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


_process = {"ends_with_command": False}


def process_ends_with_command() -> None:
    """Promise that nothing comes after the command: then a second signal ends the process."""
    _process["ends_with_command"] = True


class Stopped(KeyboardInterrupt):
    """A signal asked the process to stop.

    Attributes:
        exit_code: 128 and the signal's number, as shells count.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class Stop:
    """What signals asked for so far.

    Attributes:
        exit_code: That of the first signal; 0 while there was none.
    """

    def __init__(self) -> None:
        self.exit_code = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise `Stopped`: the handler of a signal."""
        self.exit_code = self.exit_code or 128 + number
        raise Stopped(number)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Raise `Stopped` inside the block when a person, a batch system or a terminal says stop.

    A library may turn the exception into another one (an import that is interrupted does): the
    `Stop` that is given knows that it was a signal. One that is ignored (nohup) stays ignored.
    """
    stop, before = Stop(), {}
    if threading.current_thread() is threading.main_thread():
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is None:
                continue
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if stop.exit_code and _process["ends_with_command"]:
            end_quickly()


def end_quickly() -> None:
    """Let a signal from now on end the process at once: what is left is Python's own exit.

    All results are on disk by then, each whole or absent; a traceback would only frighten.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: os._exit(128 + number))


def program() -> list[str]:
    """Return the words with which this process was started: ``charkit``, or ``python -m ...``."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or not sys.argv[0].endswith(".py"):
        return [Path(sys.argv[0]).name]
    return ["python", "-m", spec.name.removesuffix(".__main__")]


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
