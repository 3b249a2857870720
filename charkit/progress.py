"""How far long work is: one bar for several stages, on a terminal, in a notebook, in a log.

Long work calls ``progress(stage, done, total)``. Several stages become one by `Whole`, which
calls it as ``progress("estimate: encode labelled texts", 137, 1000)``: before the colon stands
the name of the bar, after it what is being done.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from charkit.config import Progress, no_progress, printable

logger = logging.getLogger(__name__)

ProgressChoice = Progress | bool | None
"""A function ``progress(stage, done, total)``; True and False: a bar, nothing; None: a bar where
someone looks, on a terminal and in a notebook, unless CHARKIT_PROGRESS is 0."""

VARIABLE = "CHARKIT_PROGRESS"
LINE_EVERY_S = 30.0
"""So often a log that shows no bar gets a line."""

PARTS = 1000
"""What `Whole` counts to."""

_MARK = ": "


class Whole:
    """Several stages as one that never falls and ends at its total.

    Args:
        progress: Called for the whole.
        title: Its name.
        costs: Stage -> how long it is expected to take, in any unit, in the order of work. A
            stage that reports nothing, its result being stored, counts as done once a later one
            reports. Of stages that are not named here only the name is shown.
    """

    def __init__(self, progress: Progress, title: str, costs: Mapping[str, float]) -> None:
        self._progress, self._title = progress, title
        total = sum(costs.values()) or 1.0
        self._place: dict[str, tuple[float, float]] = {}
        begun = 0.0
        for stage, cost in costs.items():
            self._place[stage] = (begun / total, cost / total)
            begun += cost
        self._done = 0
        self._begun: dict[str, float] = {}
        self._ended: set[str] = set()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report a stage."""
        start = self._begun.setdefault(stage, time.monotonic())
        if done >= total and stage not in self._ended:
            self._ended.add(stage)
            logger.info("%s: %s in %.1f s", stage, f"{done:,}", time.monotonic() - start)
        if stage in self._place:
            begun, share = self._place[stage]
            part = min(max(done / total, 0.0), 1.0) if total > 0 else 1.0
            # the end is for `finish`: what comes after the last stage is work too
            self._done = max(self._done, min(int(PARTS * (begun + share * part)), PARTS - 1))
        self._progress(f"{self._title}{_MARK}{stage}", self._done, PARTS)

    def finish(self) -> None:
        """Report the end."""
        self._done = PARTS
        self._progress(self._title, PARTS, PARTS)


def bar_of(stage: str) -> str:
    """Return the name of the bar that a stage belongs to.

    >>> bar_of("estimate: look for a signal"), bar_of("encode random:minilm@0")
    ('estimate', 'encode random:minilm@0')
    """
    return stage.partition(_MARK)[0]


@contextmanager
def shown(choice: ProgressChoice) -> Iterator[Progress]:
    """Give the progress function that a choice means.

    Args:
        choice: See `ProgressChoice`. Where nobody looks, the log gets a line every 30 s.
    """
    if callable(choice):
        yield choice
    elif choice is False or (choice is None and _switched_off()):
        yield no_progress
    elif choice or _is_watched():
        bars = _Bars()
        try:
            yield bars
        finally:
            bars.close()
    else:
        with lines(lambda line: logger.info("%s", line)) as report:
            yield report


def _switched_off() -> bool:
    return os.environ.get(VARIABLE, "").strip().lower() in {"0", "no", "off", "false"}


def _is_watched() -> bool:
    """Return whether stderr is a terminal, or this is a notebook."""
    try:
        if sys.stderr.isatty():
            return True
    except (AttributeError, ValueError):  # no stderr, or a closed one
        pass
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


class _Bars:
    """One bar of tqdm a stage; names are shown as text, whatever they hold."""

    def __init__(self) -> None:
        self._bars: dict[str, Any] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        from tqdm.auto import tqdm

        name = bar_of(stage)
        if name not in self._bars:
            self._bars[name] = tqdm(total=total, leave=False, file=sys.stderr)
        bar = self._bars[name]
        bar.total = total
        bar.set_description_str(printable(stage), refresh=False)
        bar.update(done - bar.n)
        bar.refresh()

    def close(self) -> None:
        for bar in self._bars.values():
            bar.close()


class Rate:
    """How fast work goes on, and how long the rest takes at this rate.

    The clock runs from the first report of work that is done: before it, processes start, and
    what an earlier run has finished is counted at once.
    """

    def __init__(self) -> None:
        self._origin: tuple[float, float] | None = None
        self._share = 0.0

    def note(self, now: float, share: float) -> None:
        """Take a report.

        Args:
            now: Time, in seconds.
            share: What is done, in [0, 1].
        """
        self._share = share
        if share > 0 and self._origin is None:
            self._origin = now, share

    def left(self, now: float) -> float | None:
        """Return the seconds that the rest takes; None before a second report of more work."""
        if self._origin is None or self._share <= self._origin[1]:
            return None
        begun, first = self._origin
        return (now - begun) * (1 - self._share) / (self._share - first)


class _Line:
    """What a log says of work that goes on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rates: dict[str, Rate] = {}
        self._now: tuple[str, int, int] | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        with self._lock:
            rate = self._rates.setdefault(bar_of(stage), Rate())
            rate.note(time.monotonic(), done / total if total else 1.0)
            self._now = stage, done, total

    def text(self) -> str | None:
        """Return a line; None before the first report and after the last stage's end."""
        with self._lock:
            if self._now is None:
                return None
            stage, done, total = self._now
            left = self._rates[bar_of(stage)].left(time.monotonic())
        if done >= total:
            return None
        far = f"{done / total:.0%}" if _MARK in stage else f"{done:,} of {total:,}"
        if left is None:
            return f"{printable(stage)}: {far}"
        return f"{printable(stage)}: {far}, about {_duration(left)} left"


def _duration(seconds: float) -> str:
    """Return a time for people.

    >>> _duration(8), _duration(100), _duration(7200)
    ('8 s', '2 min', '2 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"


@contextmanager
def lines(speak: Callable[[str], None], *, every_s: float = LINE_EVERY_S) -> Iterator[Progress]:
    """Give a progress function, and say where it stands every 30 s, whether it is called or not."""
    line, ended = _Line(), threading.Event()

    def watch() -> None:
        while not ended.wait(every_s):
            text = line.text()
            if text is not None:
                speak(text)

    watcher = threading.Thread(target=watch, name="charkit-progress", daemon=True)
    watcher.start()
    try:
        yield line
    finally:
        ended.set()
        watcher.join(timeout=1.0)
