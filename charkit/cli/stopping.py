"""Requests to stop: SIGTERM and SIGHUP end a command as Ctrl-C does, in good order."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

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
