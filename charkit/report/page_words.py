"""Text that a page may hold: escaped, without controls, numbers as people read them."""

from __future__ import annotations

import re
from html import escape

from charkit.config import printable
from charkit.report.page_answer import Expected, Need, PageAnswer

UNKNOWN = "unknown"
_LONGEST = 2000
_TOGETHER = re.compile(r"(?<=\d) (?=[%×]|to \d)|(?<=\d to) (?=\d)")
"""Spaces at which no line may break."""


def text(value: str, *, longest: int = _LONGEST) -> str:
    r"""Return text for HTML: markup escaped, white space one space, controls spelled out.

    >>> text('<b>"a"</b>\n&')
    '&lt;b&gt;&quot;a&quot;&lt;/b&gt; &amp;'
    """
    shown = escape(printable(" ".join(value.split()), longest=longest))
    return _TOGETHER.sub("\u00a0", shown)


def accuracy(value: float | None) -> str:
    """Return an accuracy in [0, 1] to three places."""
    return UNKNOWN if value is None else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval of accuracies, three places an end.

    >>> interval(0.8, 0.861), interval(None, None)
    ('0.800 to 0.861', 'unknown')
    """
    if low is None and high is None:
        return UNKNOWN
    return f"{accuracy(low)} to {accuracy(high)}"


def labels(n: int) -> str:
    """Return a number of labels in words.

    >>> labels(1), labels(1240)
    ('1 label', '1,240 labels')
    """
    return f"{n:,} label{'' if n == 1 else 's'}"


def need_interval(need: Need, largest: int | None) -> str:
    """Return between how many labels the target is reached, in words."""
    if need.low is None and need.high is None:
        if need.probability is not None:
            return f"probability that it is: {need.probability:.0%}".replace("%", " %")
        return "unknown" if need.reached else "even the upper end of the band stays below it"
    low = f"{need.low:,}" if need.low is not None else "up"
    if need.high is not None:
        return f"{low} to {need.high:,}"
    return f"{low} to more than {largest:,}" if largest else f"{low} or more"


def need_words(need: Need, largest: int | None) -> str:
    """Return how many labels a target needs, or that it is not reached."""
    if need.n is not None:
        return labels(need.n)
    return f"not reached by {largest:,}" if largest else "not reached"


def headline(answer: PageAnswer) -> str:
    """Return the answer in one sentence: its own first one, else one made of its numbers."""
    if answer.sentences:
        return answer.sentences[0]
    if answer.need is not None:
        found = need_words(answer.need, largest(answer))
        return f"Accuracy {answer.need.target:g}: {found}."
    row = answer.at_hand() or next((r for r in answer.accuracy if r.mean is not None), None)
    if row is None or row.mean is None:
        return "No accuracy can be told."
    return (
        f"With {labels(row.n)}, expect an accuracy of {accuracy(row.mean)} "
        f"(90 % interval {interval(row.low, row.high)})."
    )


def largest(answer: PageAnswer) -> int | None:
    """Return the largest size that the answer looks at."""
    if answer.need is not None and answer.need.largest is not None:
        return answer.need.largest
    points: tuple[Expected, ...] = answer.curve or answer.accuracy
    return max((p.n for p in points), default=None)
