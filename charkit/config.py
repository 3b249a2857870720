"""Canonical JSON, content hashes, and the choices that several modules share."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

TaskKind = Literal["classification", "regression"]
"""What the labels are: class names, or real numbers."""

Pooling = Literal["mean", "cls", "max"]
"""How token states become one vector: average, first token, or maximum; padding never counts."""

Control = Literal["none", "random_encoder", "shuffled_labels", "majority"]
"""What a cell measures: the real thing, a randomly initialised encoder of the same shape,
labels permuted within the training sample, or the majority class (mean, for regression)."""

Progress = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)`` while long work goes on."""

NOTES = "charkit.notes"
"""The log of lines for people: what was read, what will take long. A command shows them."""


@dataclass(frozen=True)
class EncodeOptions:
    """What is taken from an encoder.

    Attributes:
        pooling: How token states become one vector.
        max_length: Longest text in tokens; None means the encoder's own choice.
    """

    pooling: Pooling = "mean"
    max_length: int | None = None


def note(line: str) -> None:
    """Log a line for people; the command line shows it on stderr."""
    logging.getLogger(NOTES).info("%s", bounded(line))


def notes_are_shown() -> bool:
    """Return whether a note would reach somebody: what costs time to find out can be left out."""
    logger = logging.getLogger(NOTES)
    return logger.isEnabledFor(logging.INFO) and logger.hasHandlers()


OFFLINE_VARIABLES = (
    "CHARKIT_OFFLINE",
    "HF_HUB_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "TRANSFORMERS_OFFLINE",
)
"""Each of these environment variables puts the network off limits, unless it says no."""


def is_offline(offline: bool | None) -> bool:
    """Return whether the network is off limits: the argument, else `OFFLINE_VARIABLES`."""
    if offline is not None:
        return offline
    off = {"", "0", "false", "no", "off"}
    return any(os.environ.get(v, "").strip().lower() not in off for v in OFFLINE_VARIABLES)


def staged(progress: Progress, stage: str) -> Progress:
    """Return a progress function that reports everything as one stage."""

    def report(_: str, done: int, total: int) -> None:
        progress(stage, done, total)

    return report


def staged_by(progress: Progress, name: str) -> Progress:
    """Return a progress function whose stages carry a name."""

    def report(stage: str, done: int, total: int) -> None:
        progress(f"{stage} {name}", done, total)

    return report


def printable(text: str, *, longest: int = 60) -> str:
    """Return a name from data for a line of text: controls spelled out, the rest cut.

    >>> printable("xyz" * 40, longest=6)
    'xyzxy…'
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def listing(names: Iterable[object], *, most: int = 8, longest: int = 60) -> str:
    """Return names from data in quotes for a line of text: long ones cut, many counted.

    >>> listing(["a", "b", "c"], most=2)
    "'a', 'b', ... (3 in all)"
    """
    every = [str(name) for name in names]
    plain = (name.isprintable() and len(name) <= longest for name in every[:most])
    shown = [
        repr(name) if whole else f"'{printable(name, longest=longest)}'"
        for name, whole in zip(every, plain, strict=False)
    ]
    more = f", ... ({len(every):,} in all)" if len(every) > most else ""
    return ", ".join(shown) + more


# Letters of a message, and those kept of its end: a screen of 80 columns holds about 3,000.
_LONGEST_MESSAGE = 3_000
_KEPT_OF_END = 800


def bounded(message: str) -> str:
    """Return a message of at most about 3,000 letters: names in data may have any length.

    The middle goes: what is wrong stands at the beginning, what to do at the end.
    """
    if len(message) <= _LONGEST_MESSAGE:
        return message
    end = len(message) - _KEPT_OF_END
    begin = _LONGEST_MESSAGE - _KEPT_OF_END
    return f"{message[:begin]}… ({end - begin:,} letters left out) …{message[end:]}"


RANDOM_PREFIX = "random:"
"""Before an encoder's name: the same shape and tokenizer, random weights."""

APART_PREFIX = "apart:"
"""Before an encoder's name: the two texts of a pair are encoded apart and compared."""


def encoder_prefix(encoder: str) -> str:
    """Return what stands before the name of an encoder or the path of its folder.

    >>> encoder_prefix("random:apart:minilm"), encoder_prefix("minilm")
    ('random:apart:', '')
    """
    found = ""
    for prefix in (RANDOM_PREFIX, APART_PREFIX):
        if encoder.removeprefix(found).startswith(prefix):
            found += prefix
    return found


def people_name(encoder: str) -> str:
    """Return an encoder's name for people: of a folder given by its whole path, the last part.

    >>> people_name("/models/tiny-bert"), people_name("random:/models/tiny-bert")
    ('tiny-bert', 'random:tiny-bert')
    """
    prefix = encoder_prefix(encoder)
    place = Path(encoder.removeprefix(prefix))
    return prefix + place.name if place.is_absolute() else encoder


def layer_list(layers: Sequence[int]) -> str:
    """Return ascending layers as ranges.

    >>> layer_list([0, 1, 2, 4])
    '0-2, 4'
    """
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in runs)


def distinct_names(
    names: Sequence[str], parts: Sequence[Sequence[str]], *, apart: Sequence[str] = ()
) -> list[str]:
    """Return names that differ: equal ones become the shortest ends of their paths that differ.

    Args:
        names: What is shown where nothing else has that name.
        parts: The parts of each one's path.
        apart: Kinds; names of different kinds may be equal.

    >>> distinct_names(["best", "best"], [("a", "run1", "best"), ("a", "run2", "best")])
    ['run1/best', 'run2/best']
    """
    kinds = list(apart) or [""] * len(names)
    shown = list(zip(kinds, names, strict=True))
    for depth in range(2, max(map(len, parts), default=0) + 1):
        counts = Counter(shown)
        if max(counts.values()) == 1:
            break
        shown = [
            (kind, "/".join(path[-depth:])) if counts[kind, name] > 1 else (kind, name)
            for (kind, name), path in zip(shown, parts, strict=True)
        ]
    return [name for _, name in shown]


def no_progress(stage: str, done: int, total: int) -> None:
    """Report nothing."""


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", 1) == 0:  # a number of NumPy
        return item()
    raise TypeError(f"not canonical JSON: got {type(value).__name__}")


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values give equal text.

    Args:
        value: Dataclasses, dicts with string keys, lists, tuples, strings, finite numbers.

    Raises:
        TypeError: A value has no canonical form.
        ValueError: A number is not finite.

    >>> canonical_json({"b": 1, "a": (1, 2)})
    '{"a":[1,2],"b":1}'
    """
    return json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
        default=_plain,
    )


def content_hash(value: Any, *, length: int = 24) -> str:
    """Return the first ``length`` hex digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]
