"""What the command line shows: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, ParamSpec

import typer

from charkit import __version__
from charkit.cli.ending import (
    INTERRUPTED,
    Stop,
    explained,
    note_stage,
    program,
    stoppable,
    wants_traceback,
)
from charkit.config import NOTES, Progress, bounded, no_progress
from charkit.errors import CharkitError, MissingError, UsageError
from charkit.escape import csv_text, harmless
from charkit.progress import bar_of
from charkit.progress import lines as progress_lines

Format = Literal["table", "json", "csv"]
P = ParamSpec("P")

_LONGEST_RANGE = 10_000

_log = logging.getLogger(__name__)
"""What the screen shows anyway; it goes to the log file alone."""


@dataclass(frozen=True)
class Output:
    """How a command speaks.

    Attributes:
        format: Form of the result on stdout.
        quiet: No progress, no notes; errors and the result remain.
        verbose: Log lines of level INFO on stderr.
    """

    format: Format = "table"
    quiet: bool = False
    verbose: bool = False

    def note(self, line: str) -> None:
        """Say something on stderr unless asked to be quiet, and in the log file."""
        line = bounded(line)
        _log.info(line)
        if not self.quiet:
            typer.echo(harmless(line), err=True)

    def lines(self, lines: Iterable[str]) -> None:
        """Show lines of the result on stdout."""
        for line in lines:
            typer.echo(harmless(line))

    def rows(
        self, rows: Sequence[Mapping[str, Any]], *, key: str, extra: Mapping[str, Any]
    ) -> None:
        """Show rows on stdout.

        Args:
            rows: The rows, all with the same names.
            key: The name of the list in JSON.
            extra: More top-level values for JSON; lists of lines are shown under a table.
        """
        if self.format == "json":
            whole = {key: [dict(r) for r in rows], **extra}
            typer.echo(json.dumps(_json(whole), indent=2, allow_nan=False))
        elif self.format == "csv":
            sys.stdout.write(csv_text(rows))
        else:
            _table(rows)
            for value in extra.values():
                self.lines(value if isinstance(value, list) else ())


def _json(value: Any) -> Any:
    """Return a value that JSON can hold: a number that is missing or infinite becomes null."""
    if isinstance(value, Mapping):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


def _table(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    names = list(rows[0])
    cells = [[_cell(row[name]) for name in names] for row in rows]
    numeric = [all(_is_number(row[name]) for row in rows) for name in names]
    widths = [max(len(n), *(len(c[i]) for c in cells)) for i, n in enumerate(names)]
    for line in [names, ["-" * w for w in widths], *cells]:
        padded = [
            c.rjust(w) if right else c.ljust(w)
            for c, w, right in zip(line, widths, numeric, strict=True)
        ]
        typer.echo("  ".join(padded).rstrip())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        small = 0 < abs(value) < 0.01
        return "" if value != value else f"{value:.2g}" if small else f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else harmless(str(value)).replace("\n", " ")


class _Bars:
    """Progress for a terminal: one bar a stage, one for several that belong together."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        name, shown = bar_of(stage), harmless(stage)
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(shown, total=total)
        self._progress.update(self._tasks[name], description=shown, completed=done, total=total)


@contextmanager
def progress_shown(output: Output) -> Iterator[Progress]:
    """Give a progress function that suits where stderr goes; the log gets the ends of stages.

    A file or a pipe gets a line every 30 s.
    """
    if output.quiet:
        yield _logged(no_progress)
    elif not sys.stderr.isatty():
        with progress_lines(lambda line: typer.echo(harmless(line), err=True)) as report:
            yield _logged(report)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=Console(stderr=True)) as bars:
            yield _logged(_Bars(bars))


def _logged(progress: Progress) -> Progress:
    begun: dict[str, float] = {}
    ended: set[str] = set()

    def report(stage: str, done: int, total: int) -> None:
        start = begun.setdefault(stage, time.monotonic())
        note_stage(stage)
        if done >= total and stage not in ended:
            ended.add(stage)
            logging.getLogger("charkit").info(
                "%s: %s of %s in %.1f s", stage, f"{done:,}", f"{total:,}", time.monotonic() - start
            )
        progress(stage, done, total)

    return report


class _Screen(logging.Handler):
    """Log lines on whatever stderr is at the moment: above the bars, while there are bars."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(
            harmless(bounded(self.format(record))) + "\n"
        )  # typer.echo would go round the bars


class _LogFile(logging.FileHandler):
    """A file of log lines; a full disk ends it with one message, and not the work."""

    def handleError(self, record: logging.LogRecord) -> None:
        logging.getLogger("charkit").removeHandler(self)
        if self.stream is not None:
            with suppress(OSError):  # what is still to be written finds no room either
                self.stream.close()
        typer.echo(f"the log file {self.baseFilename} cannot be written any more", err=True)


def set_up_logging(output: Output, log_file: Path | None) -> None:
    """Send charkit's log to stderr, and to a file when one is named.

    Raises:
        MissingError: The file cannot be written.
    """
    logger = logging.getLogger("charkit")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    level = logging.ERROR if output.quiet else logging.WARNING
    screen = _Screen()
    screen.addFilter(lambda record: record.name not in (_log.name, NOTES))
    screen.setLevel(logging.INFO if output.verbose else level)
    screen.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.addHandler(screen)
    if not output.quiet:
        notes = _Screen()
        notes.addFilter(lambda record: record.name == NOTES)
        logger.addHandler(notes)
    hidden = output.quiet and log_file is None
    logging.getLogger(NOTES).setLevel(logging.ERROR if hidden else logging.INFO)
    logger.setLevel(logging.INFO if output.verbose or log_file else level)
    logger.propagate = False
    if log_file is not None:
        try:
            written = _LogFile(log_file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise MissingError(
                f"the log file cannot be written: expected a writable place, got {log_file} "
                f"({error.strerror}). Choose another --log-file."
            ) from error
        written.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(written)
    if not output.verbose:  # the hub's client repeats every failed attempt
        os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    _log.info("charkit %s: %s", __version__, shlex.join(sys.argv[1:]))


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """Turn every error into one message on stderr and the right exit code.

    The traceback is shown with ``--debug`` or ``CHARKIT_DEBUG`` only.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        stop = Stop()
        try:
            _require_working_folder()
            with stoppable() as stop:
                command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter, SystemExit):
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or stop.exit_code:
                _show_stopped()
                code = getattr(error, "exit_code", 0) or stop.exit_code or INTERRUPTED
                raise typer.Exit(stop.exit_code or code) from None
            raise typer.Exit(show_error(error)) from None

    return wrapped


def show_error(error: BaseException) -> int:
    """Show an error in one message, with its traceback where asked for; return the exit code."""
    if isinstance(error, CharkitError):
        text, code = str(error), error.exit_code
    else:
        text, code = explained(error)
    _log.error(text)
    if wants_traceback():
        typer.echo("".join(traceback.format_exception(error)), err=True)
    typer.echo(f"error: {harmless(text)}", err=True)
    return code


def _show_stopped() -> None:
    typer.echo(
        "stopped; what was finished is kept. Resume with the same command:\n  "
        + harmless(shlex.join([*program(), *sys.argv[1:]])),
        err=True,
    )


def _require_working_folder() -> None:
    try:
        os.getcwd()
    except OSError:
        raise MissingError(
            "the working directory is gone: expected a folder, got one that was removed. "
            "Change to another folder."
        ) from None


def ready_folder(out: Path | None) -> None:
    """Make the folder for results before the work, so that it cannot fail after it.

    Raises:
        MissingError: It is a file, or may not be written.
    """
    if out is None:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(out, os.W_OK) else "no permission"
    except OSError as error:
        reason = error.strerror
    if reason:
        raise MissingError(
            f"--out cannot be written: expected a folder, got {out} ({reason}). Choose another."
        )


def ready_file(out: Path | None) -> None:
    """Make the folder of a file before the work, so that writing it cannot fail after it.

    Raises:
        MissingError: The file is a folder, or its folder may not be written.
    """
    if out is None:
        return
    reason = "it is a folder" if out.is_dir() else None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(out.parent, os.W_OK):
            reason = "no permission"
    except OSError as error:
        reason = error.strerror
    if reason:
        raise MissingError(
            f"--out cannot be written: expected a file in a writable folder, got {out} "
            f"({reason}). Choose another."
        )


def whole_numbers(text: str | None, option: str) -> tuple[int, ...] | None:
    """Read a list of whole numbers such as ``0,3-6`` or ``16,64,256``.

    Raises:
        UsageError: A part is neither a number nor a range.

    >>> whole_numbers("0,3-5", "--layers")
    (0, 3, 4, 5)
    """
    if text is None:
        return None
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        low, dash, high = part.partition("-") if not part.startswith("-") else (part, "", "")
        try:
            numbers = range(int(low), int(high) + 1) if dash else [int(low)]
            if not len(numbers) <= _LONGEST_RANGE:
                raise ValueError
            found += numbers
        except (ValueError, OverflowError):
            raise UsageError(
                f"{option}: expected whole numbers and ranges such as 0,3-6, got {text!r}."
            ) from None
    return tuple(found)
