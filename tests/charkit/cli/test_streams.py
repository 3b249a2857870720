"""Streams that break, foreign errors, empty paths: one sentence, an honest exit code, no traceback."""

import errno
import io
import os
import signal
import subprocess
import sys

import pytest
import typer

from charkit.cli.ending import UNEXPECTED, Guarded, explained
from charkit.cli.show import reported
from charkit.config import bounded, listing
from charkit.errors import DataError
from charkit.escape import cell_text, csv_text, harmless


class Broken(io.StringIO):
    """A stream that fails in one way."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    ("inner", "lost"),
    [(Broken(errno.EPIPE), ""), (Broken(errno.ENOSPC), "No space"), (None, "closed")],
)
def test_a_broken_stream_raises_nothing_and_remembers(inner, lost):
    guard = Guarded(inner)
    guard.write("a")
    guard.write("b")
    guard.flush()
    assert guard.problem is not None
    assert guard.lost.startswith(lost) if lost != "closed" else "closed" in guard.lost
    assert bool(guard.lost) == bool(lost)


def end_of(error, monkeypatch, capsys, *, debug=False):
    monkeypatch.setattr(sys, "argv", ["charkit", *(["--debug"] if debug else [])])
    monkeypatch.delenv("CHARKIT_DEBUG", raising=False)

    @reported
    def command():
        raise error

    with pytest.raises(typer.Exit) as end:
        command()
    return end.value.exit_code, capsys.readouterr().err


class PanicException(BaseException):
    """What a library in Rust raises."""


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyError("x"), UNEXPECTED, "unexpected KeyError"),
        (RecursionError("too deep"), UNEXPECTED, "unexpected RecursionError"),
        (PanicException("oh"), UNEXPECTED, "unexpected PanicException"),
        (MemoryError(), 4, "memory does not suffice"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 4, "memory"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 4, "expected access to /x"),
        (OSError(errno.ENOSPC, "No space left on device"), 4, "no space to write"),
        (ImportError("No module named 'peft'"), 4, "a package cannot be loaded"),
        (DataError("d" * 100_000), 3, "letters left out"),
    ],
)
def test_every_error_ends_in_one_sentence(error, code, words, monkeypatch, capsys):
    found, err = end_of(error, monkeypatch, capsys)
    assert found == code
    assert words in err
    assert "Traceback" not in err
    assert len(err) < 4_000
    found, err = end_of(error, monkeypatch, capsys, debug=True)
    assert (found, "Traceback" in err) == (code, True)


def test_a_signal_that_a_library_turns_into_another_error_is_a_stop(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["charkit", "sweep"])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored under nohup

    @reported
    def command():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(10**7):
                pass
        except KeyboardInterrupt:
            raise AttributeError("half an import") from None

    try:
        with pytest.raises(typer.Exit) as end:
            command()
    finally:
        signal.signal(signal.SIGINT, before)
    assert end.value.exit_code == 130
    assert "stopped" in capsys.readouterr().err


def test_names_and_texts_steer_neither_terminals_nor_spreadsheets():
    assert harmless("\u202eabc\x9b") == "\\u202eabc\\x9b"
    assert [cell_text(t) for t in ("=1", " @x", "-2.5", "+a", "\u200d")] == [
        "'=1", "' @x", "-2.5", "'+a", "\u200d",
    ]  # fmt: skip
    assert csv_text([{"a\rb": "x\ry", "n": 1.5}]) == '"a\rb",n\n"x\ry",1.5\n'
    assert csv_text([]) == ""


def test_listings_and_messages_are_bounded():
    assert listing(map(str, range(10**5)), most=3) == "'0', '1', '2', ... (100,000 in all)"
    assert len(listing(["x" * 10**5])) < 70
    assert len(bounded("m" * 10**6)) < 3_200
    assert explained(ValueError("v" * 10**6))[0].count("v") < 600


@pytest.mark.parametrize("option", ["--cache-dir", "--log-file"])
def test_an_empty_path_is_refused(option):
    done = subprocess.run(
        [sys.executable, "-m", "charkit", "cache", "list", option, ""],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "got ''" in done.stderr
