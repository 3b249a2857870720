"""The texts that may be labelled next, and those that are labelled already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from charkit.errors import DataError, UsageError
from charkit.heads.grid import Source
from charkit.tasks.card import load_sample
from charkit.tasks.checks import row_keys, without_repeats
from charkit.tasks.task import Split, Task

MOST_POOL = 5_000
"""From larger pools this number of texts is drawn first: strategies compare all pairs, which takes
seconds and 2 GB here, and grows with the square."""

MOST_LABELLED = 2_048
"""Of more labelled texts this number is drawn, as `charkit estimate` does."""

FORMULA = frozenset("=+-@")
"""What a spreadsheet takes for the beginning of a formula."""


def load_pool(
    task: Source, *, pool: str | Path | None = None, n_classes: int | None = None
) -> Task:
    """Read labelled texts, however few, and those to choose from: they become the sample's pool.

    Args:
        task: See `next_labels`.
        pool: File with the pool, or the name of a part. Evaluation rows that a source brings by
            itself are not to be labelled: they play no part.
        n_classes: Number of classes, for texts without any label.

    Raises:
        UsageError: Texts without labels are the pool, and another one is named.
        DataError: The source cannot be used.
        MissingError: A file or package is not there.
    """
    if pool is not None and not isinstance(pool, str | Path):
        raise UsageError(
            f"pool: expected a file or a part's name, got {type(pool).__name__}. Add its rows to "
            "the task, with an empty label, or write them to a file."
        )
    if pool is not None and n_classes is not None:
        raise UsageError(
            "texts without any label are the pool themselves: expected --classes or --pool, got "
            "both. Leave one out."
        )
    sample = load_sample(task, evaluation=pool, labels="few", classes=n_classes)
    if pool is not None and sample.evaluation is not None:
        sample = replace(sample, pool=sample.evaluation)
    return replace(sample, evaluation=None)


def known_labels(sample: Task, seed: int) -> tuple[Split, list[str]]:
    """Return the different labelled texts that are looked at, and what was left out.

    Args:
        sample: From `load_pool`.
        seed: Of the draw where there are too many.
    """
    known = without_repeats(sample.train)
    if len(known) <= MOST_LABELLED:
        return known, []
    rows = np.random.default_rng(seed).permutation(len(known))[:MOST_LABELLED]
    note = f"{MOST_LABELLED:,} of {len(known):,} labelled texts were drawn to be looked at"
    return known.take(np.sort(rows)), [note]


def candidates(
    sample: Task, seed: int, *, most: int | None = None, purpose: str = "to choose from"
) -> tuple[Split, list[str]]:
    """Return the different texts without a label, and what was left out.

    Args:
        sample: From `load_pool`.
        seed: Of the draw where there are too many.
        most: Texts that are drawn from more. Default: `MOST_POOL`.
        purpose: What they are for, in messages.

    Raises:
        DataError: No text is left.
    """
    texts = sample.pool
    if texts is None or not len(texts):
        raise DataError(
            f"{sample.name}: there is nothing {purpose}: expected rows without a label, got "
            "none. Leave labels empty, or give --pool FILE."
        )
    rows, n_known = fresh_rows(sample.train, texts)
    notes = []
    if n_known:
        notes.append(f"{n_known:,} texts of the pool are labelled already: left out")
    if repeated := len(texts) - n_known - len(rows):
        notes.append(f"{repeated:,} texts of the pool repeat others: left out")
    if not rows:
        raise DataError(
            f"{sample.name}: there is nothing {purpose}: expected texts that are not "
            f"labelled yet, got {len(texts):,} that all are. Give --pool FILE with others."
        )
    most = MOST_POOL if most is None else most
    if len(rows) > most:
        notes.append(f"{most:,} of {len(rows):,} texts of the pool were drawn {purpose}")
        keep = np.random.default_rng(seed).permutation(len(rows))[:most]
        rows = [rows[i] for i in np.sort(keep)]
    return texts.take(rows), notes


def fresh_rows(labelled: Split, texts: Split) -> tuple[list[int], int]:
    """Return the first row of each text that is not labelled yet, and how many rows are.

    Args:
        labelled: The labelled texts.
        texts: Those to choose from.
    """
    seen = set(row_words(labelled))
    first: dict[object, int] = {}
    n_known = 0
    for row, key in enumerate(row_words(texts)):
        if key in seen:
            n_known += 1
        else:
            first.setdefault(key, row)
    return sorted(first.values()), n_known


def row_words(split: Split) -> list[object]:
    """Return what makes rows the same: their words, whatever their case and spaces."""
    return list(
        row_keys(
            Split(
                tuple(_plain(text) for text in split.texts),
                None if split.pairs is None else tuple(_plain(pair) for pair in split.pairs),
            )
        )
    )


def _plain(text: str) -> str:
    words = " ".join(text.casefold().split())
    return words[1:] if words[:1] == "'" and words[1:2] in FORMULA else words
