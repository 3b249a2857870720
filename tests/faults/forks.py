"""Run charkit's command line in a forked child of a process that did its imports.

A child costs milliseconds, so that kills and damages hit charkit's own work and not the import
of torch. What it writes to stdout and stderr goes to files; a hook may kill it on the way.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_IMPORTS = (
    "torch", "transformers", "pandas", "pyarrow.parquet", "sklearn.linear_model", "lightgbm",
    "matplotlib.figure", "matplotlib.backends.backend_svg", "scipy.optimize", "safetensors.numpy",
    "charkit.cli.app", "charkit.heads.sweep.sweep", "charkit.answers.accuracy.estimate", "charkit.answers.embedding.cache",
    "charkit.answers.labelling.next_labels", "charkit.report.pages.run", "charkit.report.figures",
)  # fmt: skip


def import_all() -> None:
    """Import what commands need, so that children do not."""
    for name in _IMPORTS:
        importlib.import_module(name)


@dataclass(frozen=True)
class Run:
    """How a child ended.

    Attributes:
        code: Its exit code; minus the number of a signal that ended it.
        out: What it wrote to stdout.
        err: What it wrote to stderr.
        seconds: How long it took.
        hung: Whether it had to be ended after the time limit.
    """

    code: int
    out: str
    err: str
    seconds: float
    hung: bool = False

    @property
    def traceback(self) -> bool:
        """Whether a traceback was shown, or an error that nobody foresaw."""
        both = self.out + self.err
        return "Traceback (most recent call last)" in both or self.code == 70 or self.hung


class Commands:
    """Runs commands in forked children, each with its own store.

    Args:
        scratch: A folder for the output of children.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)

    def run(
        self,
        arguments: Sequence[object],
        *,
        store: Path,
        cwd: Path,
        hook: Callable[[], None] | None = None,
        kill_after_s: float | None = None,
        limit_s: float = 300.0,
    ) -> Run:
        """Run one command and wait for its end.

        Args:
            arguments: What follows ``charkit``.
            store: The folder that ``CHARKIT_CACHE`` names.
            cwd: The working directory.
            hook: Called in the child before the command.
            kill_after_s: The child gets SIGKILL after this number of seconds.
            limit_s: It counts as hung after this number.
        """
        out, err = self.scratch / "stdout", self.scratch / "stderr"
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            _become(arguments, store, cwd, out, err, hook)
        hung, status = False, None
        while status is None:
            done, raw = os.waitpid(child, os.WNOHANG)
            passed = time.monotonic() - begun
            if done:
                status = raw
            elif kill_after_s is not None and passed >= kill_after_s:
                os.kill(child, signal.SIGKILL)
                _, status = os.waitpid(child, 0)
            elif passed > limit_s:
                hung = True
                os.kill(child, signal.SIGKILL)
                _, status = os.waitpid(child, 0)
            else:
                time.sleep(0.002)
        return Run(
            os.waitstatus_to_exitcode(status),
            out.read_text(errors="replace"),
            err.read_text(errors="replace"),
            time.monotonic() - begun,
            hung,
        )


def _become(
    arguments: Sequence[object],
    store: Path,
    cwd: Path,
    out: Path,
    err: Path,
    hook: Callable[[], None] | None,
) -> None:
    """Turn this forked child into one run of the command line; never returns."""
    code = 99
    try:
        os.setsid()
        for number, path in ((1, out), (2, err)):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(file, number)
            os.close(file)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        os.chdir(cwd)
        os.environ["CHARKIT_CACHE"] = str(store)
        os.environ["CHARKIT_OFFLINE"] = "1"
        sys.argv = ["charkit", *map(str, arguments)]
        if hook is not None:
            hook()
        from charkit.cli.app import main

        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 98
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def kill_at(number: int) -> Callable[[], None]:
    """Return a hook that kills the child at its ``number``-th operation on files.

    Counted are the moments before and after each mkdir, fsync, rename, replace and unlink, and
    half of each write of `charkit.store.durable.write_whole`.
    """
    return lambda: _watch(lambda count: count == number and os.kill(os.getpid(), signal.SIGKILL))


def count_into(place: Path) -> Callable[[], None]:
    """Return a hook that keeps the number of operations on files in a file."""
    return lambda: _watch(lambda count: _write_count(place, count))


_real_open = open


def _write_count(place: Path, count: int) -> None:
    with _real_open(place, "w") as file:
        file.write(str(count))


def _watch(seen: Callable[[int], object]) -> None:
    from charkit.store import durable

    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        seen(count)

    def watched(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            step()
            result = real(*arguments, **options)
            step()
            return result

        return call

    for name in ("mkdir", "fsync", "rename", "replace", "unlink"):
        setattr(os, name, watched(getattr(os, name)))
    real_open = _real_open

    def opened(path, mode="r", *rest, **options):
        file = real_open(path, mode, *rest, **options)
        return _Halved(file, step) if "w" in mode or "x" in mode else file

    durable.open = opened  # type: ignore[attr-defined]


class _Halved:
    """A file whose writes take place in two halves, with a moment between them."""

    def __init__(self, file: Any, step: Callable[[], None]) -> None:
        self.file = file
        self.step = step

    def __enter__(self) -> _Halved:
        return self

    def __exit__(self, *rest: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        half = len(data) // 2
        first: int = self.file.write(data[:half])
        self.file.flush()
        self.step()
        rest: int = self.file.write(data[half:])
        return first + rest

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def fresh(folder: Path) -> Path:
    """Return a folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
