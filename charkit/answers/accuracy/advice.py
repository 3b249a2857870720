"""How adequate a sample is, and what to label next: shown with an estimate's numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.answers.labelling.coverage import Adequacy, adequacy
from charkit.answers.labelling.next_labels import compared_layer
from charkit.answers.labelling.strategies import (
    Strategy,
    choose_rows,
    fresh_rows,
    shipped_bands,
    strategy_for,
)
from charkit.answers.pilot.kept_values import kept_values
from charkit.answers.pilot.pilot import Pilot, looked_at
from charkit.config import Progress, content_hash, no_progress, staged
from charkit.encoders.encoder import Encoder
from charkit.encoders.stream import encode_to_store
from charkit.errors import MissingError
from charkit.store.manifest import package_versions
from charkit.store.store import Store
from charkit.tasks.task import Split, Task

SHOWN = 5
"""Texts to label next that an estimate names: enough to start with. `charkit next` names more."""

KIND = "advice"
FORMAT_VERSION = 1
CHOOSING = "choose what to label next"

WIDER = "'charkit next' writes more of them to a CSV file"
NO_TEXTS = (
    "No file of texts without a label was given. 'charkit next --pool FILE' chooses from one."
)
NOT_KNOWN = "So it is not known how well the labels stand for other texts."


class _NotInstalledError(Exception):
    """The package of a strategy is not installed."""


@dataclass(frozen=True)
class NextTexts:
    """The first texts to label next.

    Attributes:
        strategy: How they were chosen.
        unit: What ``places`` count: ``"line"`` or ``"row"``.
        places: Where they stand in their file, the first to label first; empty where the
            strategy's package is not installed.
        n_pool: Texts to choose from.
        judged: Whether these are the evaluation texts.
    """

    strategy: Strategy
    unit: str
    places: tuple[int, ...]
    n_pool: int
    judged: bool

    @property
    def short(self) -> str:
        """What to do next, in one short line."""
        if not self.places:
            return (
                "Label next: 'charkit next' chooses the texts, after pip install \"charkit[next]\"."
            )
        return f"Label next: {self._where()}."

    @property
    def sentence(self) -> str:
        """How the texts were chosen, and how to get more."""
        if not self.places:
            return (
                f"The strategy {self.strategy!r} chooses best here, and needs the package "
                f'scikit-activeml. Run: pip install "charkit[next]"'
            )
        what = "evaluation texts" if self.judged else "texts without a label"
        aside = ". Do not test on texts that you train on" if self.judged else ""
        return (
            f"Label {self._where()} next, chosen from {self.n_pool:,} {what} by the strategy "
            f"{self.strategy!r}; {WIDER}{aside}."
        )

    def _where(self) -> str:
        unit = self.unit if len(self.places) == 1 else f"{self.unit}s"
        return f"{unit} {', '.join(f'{place:,}' for place in self.places)}"

    def row(self) -> dict[str, Any]:
        """Return the fields as a row."""
        return {**vars(self), "places": list(self.places), "sentence": self.sentence}


@dataclass(frozen=True)
class Advice:
    """How adequate a sample is, and what to label next.

    Attributes:
        adequacy: How well the labels stand for the unlabelled texts; None without such texts, or
            with fewer than two labelled classes.
        next: The first texts to label; None where there are none, or it is not known where
            they stand.
    """

    adequacy: Adequacy | None
    next: NextTexts | None

    @property
    def short(self) -> str:
        """What to do next, in one short line."""
        if self.next is None:
            return (
                "Label next: 'charkit next --pool FILE' chooses texts from a file without labels."
            )
        return self.next.short

    def lines(self) -> list[str]:
        """Return the answer as sentences."""
        if self.next is not None:
            following = self.next.sentence
        else:
            following = NO_TEXTS if self.adequacy is not None else f"{NO_TEXTS} {NOT_KNOWN}"
        return [following] if self.adequacy is None else [self.adequacy.sentence, following]


def advise(
    sample: Task,
    pilot: Pilot,
    encoder: Encoder,
    *,
    store: Store,
    max_length: int | None = None,
    progress: Progress = no_progress,
) -> Advice:
    """Return how adequate a sample is and what to label next, as `charkit next` would.

    Of more than 1,000 texts to choose from the 1,000 are looked at that an estimate looks at,
    so their states are there already.

    Args:
        sample: What was read.
        pilot: The sample as it is used.
        encoder: The encoder.
        store: Where states are kept.
        max_length: Longest text in tokens. Default: the encoder's own choice.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        MissingError: The store cannot be written.
    """

    def states(split: Split, what: str) -> NDArray[np.float32]:
        if not len(split):
            return np.zeros((0, encoder.width), np.float32)
        found = encode_to_store(
            encoder,
            split,
            store=store,
            max_length=max_length,
            progress=staged(progress, f"encode {what}"),
        )
        return found.layer(compared_layer(encoder, None))

    def kept(stage: str, make: Callable[[], Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        config = {
            "kind": KIND,
            "format": FORMAT_VERSION,
            "stage": stage,
            "charkit": package_versions()["charkit"],
            "encoder": encoder.fingerprint,
            "dtype": encoder.dtype,
            "max_length": encoder.text_length(max_length),
            "labelled": pilot.labelled.fingerprint,
            **more,
        }
        return kept_values(
            store, config, make, encoder=encoder, seeds={"choice": 0}, progress=progress
        )

    codes = np.zeros(0, np.int64)
    if pilot.labelled.labels is not None:
        codes = np.array(pilot.labelled.labels, np.int64)
    covered = None
    if pilot.unlabelled is not None and len(np.unique(codes)) > 1:
        others = pilot.unlabelled

        def measure() -> dict[str, Any]:
            found = adequacy(
                states(pilot.labelled, "labelled texts"), codes, states(others, "unlabelled texts")
            )
            return dict(vars(found))

        found = kept("adequacy", measure, unlabelled=others.text_fingerprint)
        found["what"] = "evaluation texts" if pilot.judged else "texts without a label"
        covered = Adequacy(**found)
    pool, judged = _pool(sample)
    rows, _ = ([], 0) if pool is None else fresh_rows(sample.train, pool)
    if pool is None or pool.places is None or not rows:
        return Advice(covered, None)
    strategy = strategy_for(shipped_bands(), codes, pilot.n_classes)

    def choose() -> dict[str, Any]:
        known = states(pilot.labelled, "labelled texts")
        features = states(pool, "texts to choose from")[rows]
        progress(CHOOSING, 0, 1)
        chosen = _chosen(known, codes, features, strategy, pilot.n_classes)
        progress(CHOOSING, 1, 1)
        return {"rows": chosen}

    picked: Sequence[int] = ()
    with suppress(_NotInstalledError):  # nothing is kept: it may be installed next time
        picked = kept(
            "next",
            choose,
            pool=pool.text_fingerprint,
            rows=content_hash([int(i) for i in rows]),
            strategy=strategy,
            n_classes=pilot.n_classes,
        )["rows"]
    numbers = tuple(pool.places.numbers[rows[i]] for i in picked)
    return Advice(covered, NextTexts(strategy, pool.places.unit, numbers, len(rows), judged))


def _pool(sample: Task) -> tuple[Split | None, bool]:
    """Return the texts to choose from, and whether they are the evaluation texts."""
    judged = sample.pool is None
    texts = sample.evaluation if judged else sample.pool
    rows = None if texts is None else looked_at(len(texts))
    return texts if texts is None or rows is None else texts.take(rows), judged


def _chosen(
    known: NDArray[Any],
    codes: NDArray[np.int64],
    features: NDArray[Any],
    strategy: Strategy,
    n_classes: int,
) -> list[int]:
    """Return the rows to label next."""
    try:
        rows, _ = choose_rows(
            known, codes, features, n=SHOWN, strategy=strategy, n_classes=n_classes
        )
    except MissingError as error:
        raise _NotInstalledError from error
    return [int(i) for i in rows]
