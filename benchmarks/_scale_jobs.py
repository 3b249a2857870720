"""Jobs whose length is known, for the engines; workers find them by this module's name."""

from __future__ import annotations

import time

CELL_S = 0.1


def burn(number: int) -> int:
    """Use a tenth of a second of the processor."""
    end = time.thread_time() + CELL_S
    while time.thread_time() < end:
        pass
    return number


def nothing(number: int) -> int:
    return number
