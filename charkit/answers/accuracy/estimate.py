"""How many labels, what accuracy? A pilot's evidence, read by the metamodel, as an answer."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.accuracy.advice import advise
from charkit.answers.accuracy.earlier import digests_of
from charkit.answers.accuracy.learner_table import (
    PROBE,
    learner_table,
    learners_under,
    with_zero_shot,
)
from charkit.answers.accuracy.question import Question, ask
from charkit.answers.accuracy.result import EstimateAnswer
from charkit.answers.accuracy.shipped import Predictor, Shipped, shipped_models
from charkit.answers.accuracy.warnings import (
    Case,
    Verdict,
    reach_verdict,
    target_verdict,
    verdicts_of,
)
from charkit.answers.accuracy.zero_shot import ZeroShot, compare_zero_shot, right_predictions
from charkit.answers.pilot.classes import class_outlook, label_quality, left_out_of_layer
from charkit.answers.pilot.costs import costs_of
from charkit.answers.pilot.pilot import Pilot, PilotEvidence, make_pilot, pilot_evidence
from charkit.answers.quantities import Interval, LabelsNeeded, LeftOut, Purchase
from charkit.config import Progress, no_progress, note
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import EncoderChoice, loaded
from charkit.heads.sweep.grid import Source
from charkit.progress import ProgressChoice, Whole, shown
from charkit.store.store import Store
from charkit.tasks.card import load_sample
from charkit.tasks.task import IMBALANCED, Task

if TYPE_CHECKING:
    from metamodel.learners.compare import Learners

logger = logging.getLogger(__name__)

MULTIPLES = (1, 2, 4, 8, 32)
"""The sizes of an answer, in multiples of the available labels."""

BUDGETS = (1, 2, 4, 8, 16, 32)
"""The budgets that a target's probability is given for, in the same multiples."""

CURVE = ["layer", "n", "mean", "low", "high", "wide_low", "wide_high"]
"""Columns of the curve."""

LARGEST_MULTIPLE = 32
FIRST_SIZE = 64
"""Without labels, sizes are multiples of this number, or of four a class."""

_STEP = math.sqrt(2)


def estimate(
    task: Source,
    *,
    target: float | None = None,
    classes: int | None = None,
    cost: float | None = None,
    penalty: float | None = None,
    rounds: int = 1,
    encoder: EncoderChoice = "minilm",
    max_length: int | None = None,
    zero_shot: str | Path | None = None,
    learners: str | Sequence[str] | None = None,
    store: Store | None = None,
    progress: ProgressChoice = None,
) -> EstimateAnswer:
    """Say what accuracy more labels would bring, and how many reach a target.

    All labelled rows are the pilot: none is held out. Rows without a label, or the evaluation
    texts, stand for the texts to come. An answer that is not to be trusted says so
    (`EstimateAnswer.trustworthy`, `EstimateAnswer.verdicts`).

    Args:
        task: A source that `charkit.load_task` takes, or a task: of that, the training part is
            the pilot, and the evaluation part, whose labels are not read, or the pool are the
            texts to come.
        target: An accuracy to reach, as a fraction.
        classes: Number of classes, for texts without labels: then no label is read.
        cost: Price of a label, for a plan of how to buy them.
        penalty: Cost of missing the target, in the same unit.
        rounds: How often labels can be bought.
        encoder: Name or loaded encoder.
        max_length: Longest text in tokens. Default: the encoder's own choice.
        zero_shot: File with a class that needed no training for each labelled row, such as an
            LLM's: how good they are, and how many labels overtake them.
        learners: Ways of training to compare, such as ``("probe", "tuned")`` or
            ``"probe,tuned"``. Default: all that are known.
        store: Where results lie. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``; False for none. Default: a bar on a
            terminal and in a notebook.

    Raises:
        UsageError: An argument is not legal.
        DataError: The source cannot be used, or its labels are not classes.
        MissingError: An encoder, a file or disk space is missing.
    """
    question = ask(target=target, cost=cost, penalty=penalty, rounds=rounds, learners=learners)
    sample = load_sample(task, classes=classes)
    for line in sample.describe_labels():
        note(line)
    right = None if zero_shot is None else right_predictions(zero_shot, sample)
    found = loaded(encoder)
    with shown(progress) as report:
        return answer_of(
            sample,
            question,
            encoder=found,
            max_length=max_length,
            right=right,
            store=store or Store(),
            progress=report,
        )


def answer_of(
    sample: Task,
    question: Question,
    *,
    encoder: Encoder,
    max_length: int | None = None,
    right: NDArray[np.bool_] | None = None,
    store: Store,
    shipped: Shipped | None = None,
    progress: Progress = no_progress,
) -> EstimateAnswer:
    """Answer a question about texts that were read.

    Args:
        sample: The texts.
        question: What is asked.
        encoder: The encoder.
        max_length: Longest text in tokens. Default: the encoder's own choice.
        right: Whether zero-shot predictions of the labelled rows are right, (n_rows,).
        store: Where results lie.
        shipped: What reads the evidence. Default: what comes with the package.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        DataError: The metamodel cannot be used.
        MissingError: Disk space, or a file, is missing.
    """
    pilot = make_pilot(sample)
    known = shipped or shipped_models(encoder)
    logger.info("%s: %s; %s", encoder.name, encoder.device_reason, encoder.dtype_reason)
    whole = Whole(progress, "estimate", costs_of(pilot, encoder, max_length))
    found = pilot_evidence(pilot, encoder, store=store, max_length=max_length, progress=whole)
    reader = _Reader(pilot, found, known.model, question)
    layer = reader.layer
    outside = known.model.outside(found.rows)
    case = Case(pilot, found, encoder.name, known.doubt, outside, layer)
    paired = encoder.pair_notes() if sample.train.pairs is not None else ()
    answer = reader.answer(encoder, case, notes=(*sample.notes, *pilot.notes(), *paired))
    if right is not None:
        answer = replace(answer, zero_shot=reader.zero_shot(right, layer))
    if known.learners is not None:
        answer = reader.with_learners(answer, known.learners, encoder, right)
    advice = advise(sample, pilot, encoder, store=store, max_length=max_length, progress=whole)
    whole.finish()
    return replace(answer, advice=advice, labelled_rows=digests_of(sample))


def sizes_of(pilot: Pilot) -> tuple[int, ...]:
    """Return the sizes that an answer speaks of: multiples of the available labels.

    Args:
        pilot: The sample; where evidence is made from some of the labels, sizes end at 32 times
            those.
    """
    return _sizes(pilot, MULTIPLES)


def budgets_of(pilot: Pilot) -> tuple[int, ...]:
    """Return the numbers of labels that a target's probability is given for."""
    return _sizes(pilot, BUDGETS)


def _sizes(pilot: Pilot, multiples: Sequence[int]) -> tuple[int, ...]:
    base = pilot.n_labels or max(FIRST_SIZE, 4 * pilot.n_classes)
    largest = largest_size(pilot)
    return tuple(size for m in multiples if (size := m * base) <= largest or m == 1)


def largest_size(pilot: Pilot) -> int:
    """Return the largest number of labels that an answer speaks of."""
    base = pilot.n_used or max(FIRST_SIZE, 4 * pilot.n_classes)
    return max(LARGEST_MULTIPLE * base, pilot.n_labels)


@dataclass(frozen=True)
class _Reader:
    """Evidence, and what is to be asked of it."""

    pilot: Pilot
    found: PilotEvidence
    model: Predictor
    question: Question

    @property
    def sizes(self) -> tuple[int, ...]:
        return sizes_of(self.pilot)

    @property
    def layer(self) -> int:
        ranked = self.model.layers(self.found.rows, self.sizes[0])
        return int(ranked.sort_values(["score", "layer"], ascending=[False, True])["layer"].iloc[0])

    def answer(self, encoder: Encoder, case: Case, *, notes: tuple[str, ...]) -> EstimateAnswer:
        rows, sizes, layer = self.found.rows, self.sizes, case.layer
        grid = _grid(sizes)
        curve = self.model.curve(rows, grid)[CURVE]
        need = self._need(layer)
        reach = reach_verdict(need, curve[curve["layer"] == layer])
        reach += target_verdict(self.question.target, self.pilot)
        answer = EstimateAnswer(
            name=self.pilot.name,
            encoder=encoder.name,
            mode=self.pilot.mode,
            n_labels=self.pilot.n_labels,
            n_classes=self.pilot.n_classes,
            sizes=sizes,
            curve=curve.reset_index(drop=True),
            observed=observed_of(case.row, self.pilot.n_used),
            layer=layer,
            layers=self.model.layers(rows, sizes[0]).sort_values("layer").reset_index(drop=True),
            need=need,
            eval_accuracy=self._evaluation(layer),
            eval_what=self._eval_what(),
            verdicts=_ordered((*verdicts_of(case), *reach)),
            contributions=_by_points(self.model.contributions(rows, sizes[0], layer=layer)),
            purchase=self._purchase(layer),
            majority=self.pilot.majority,
            left_out=left_out_of(case.row),
            notes=notes,
            about=self.found.about,
            found=self.found.found,
        )
        return self._looked_closer(answer)

    def _looked_closer(self, answer: EstimateAnswer) -> EstimateAnswer:
        """Add classes and labels that accuracy hides."""
        labelled = self.pilot.labelled
        if self.found.left_out.empty or labelled.labels is None:
            return answer
        own = left_out_of_layer(self.found.left_out, labelled.labels, answer.layer)
        matters = (self.pilot.majority or 0.0) > IMBALANCED
        outlook = class_outlook(own, self.pilot.class_names, answer.rows(), matters=matters)
        return replace(answer, outlook=outlook, quality=label_quality(labelled, own))

    def _need(self, layer: int) -> LabelsNeeded | None:
        target = self.question.target
        if target is None:
            return None
        largest = largest_size(self.pilot)
        needed = self.model.labels_for(
            self.found.rows, target, layer=layer, largest=largest, budgets=budgets_of(self.pilot)
        )
        n = _whole(needed.n) if needed.reached else None
        return LabelsNeeded(
            target=target,
            n=n,
            low=_whole(needed.low),
            high=_whole(needed.high),
            reached=n is not None,
            probability=float(needed.probability),
            largest=largest,
            budgets=tuple((int(n), float(probability)) for n, probability in needed.budgets),
        )

    def zero_shot(self, right: NDArray[np.bool_], layer: int) -> ZeroShot:
        """Compare zero-shot predictions with the heads of a layer."""
        largest = largest_size(self.pilot)
        draws = partial(self.model.draws, self.found.rows, layer=layer, largest=largest)
        return compare_zero_shot(int(right.sum()), len(right), draws, largest=largest)

    def with_learners(
        self,
        answer: EstimateAnswer,
        learners: Learners,
        encoder: Encoder,
        right: NDArray[np.bool_] | None,
    ) -> EstimateAnswer:
        """Return the answer with ways of training side by side, or a note why it has none."""
        asked = self.question.learners or learners.names
        if asked == (PROBE,):
            return answer
        known, remarks = learners_under(learners, asked, encoder, answer.n_labels)
        answer = replace(answer, notes=(*answer.notes, *remarks))
        if known is None:
            return answer
        names = tuple(name for name in asked if name in known.names)
        own = answer.curve[answer.curve["layer"] == answer.layer]
        found = known.at(self.found.rows, own, layer=answer.layer)
        texts = self.found.labelled_texts
        tokens = math.nan if texts is None else texts.tokens
        table = learner_table(found, names, have=answer.n_labels, sizes=answer.sizes, tokens=tokens)
        if right is not None and answer.zero_shot is not None:
            table = with_zero_shot(table, found, answer.zero_shot, right)
        return replace(answer, learners=table)

    def _purchase(self, layer: int) -> Purchase | None:
        costs, target = self.question.costs, self.question.target
        if costs is None or target is None:
            return None
        from metamodel.needs import plan_collection

        plan = plan_collection(
            self.model.draws(
                self.found.rows, target, layer=layer, largest=largest_size(self.pilot)
            ),
            have=self.pilot.n_labels,
            price=costs.price,
            penalty=costs.penalty,
            rounds=costs.rounds,
        )
        return Purchase(plan.totals, plan.cost, plan.missed)

    def _evaluation(self, layer: int) -> Interval | None:
        if self.pilot.unlabelled is None or not self.pilot.n_labels:
            return None
        mean, low, high = self.model.evaluation_accuracy(self.found.rows, layer=layer)
        return Interval(float(mean), float(low), float(high)) if math.isfinite(mean) else None

    def _eval_what(self) -> str:
        count = 0 if self.pilot.unlabelled is None else len(self.pilot.unlabelled)
        what = "evaluation texts" if self.pilot.judged else "unlabelled rows"
        return f"the {count:,} {what}"


def _ordered(verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    order = {"refusal": 0, "warning": 1, "note": 2}
    return tuple(sorted(verdicts, key=lambda verdict: order[verdict.severity]))


def _grid(sizes: tuple[int, ...]) -> list[int]:
    """Return the sizes, and others between them for a smooth curve."""
    steps = int(math.log(sizes[-1] / sizes[0]) / math.log(_STEP)) if sizes[-1] > sizes[0] else 0
    return sorted({*sizes, *(round(sizes[0] * _STEP**k) for k in range(1, steps))})


def _whole(value: object) -> int | None:
    """Return a number of labels, None where it is missing or beyond all bounds."""
    if value is None or not math.isfinite(float(value)):  # type: ignore[arg-type]
        return None
    return math.ceil(float(value))  # type: ignore[arg-type]


OBSERVED = {
    "curve_125": 0.125,
    "curve_250": 0.25,
    "curve_500": 0.5,
    "curve_800": 0.8,
    "curve_1000": 1.0,
}
"""Column of the evidence -> the share of the labels that its heads were trained on."""


def observed_of(row: pd.Series, n_used: int) -> pd.DataFrame:
    """Return what was measured on the sample: columns n, accuracy.

    Args:
        row: The evidence of one layer.
        n_used: Labels that it was made from.
    """
    points = [
        {"n": round(share * n_used), "accuracy": float(row[name])}
        for name, share in OBSERVED.items()
        if name in row.index and np.isfinite(row[name])
    ]
    return pd.DataFrame(points, columns=["n", "accuracy"])


def left_out_of(row: pd.Series) -> LeftOut | None:
    """Return what heads make of each label left out in turn; None where that is not known.

    Args:
        row: The evidence of one layer.
    """
    names = ("oof_accuracy", "oof_macro_f1", "oof_balanced_accuracy")
    values = [float(row.get(name, np.nan)) for name in names]
    return LeftOut(*values) if all(map(math.isfinite, values)) else None


def _by_points(table: pd.DataFrame) -> pd.DataFrame:
    order = table["points"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order, ["feature", "value", "points"]].reset_index(drop=True)
