"""Where does it fail, and does it say so? Cases made to fail, asked of the shipped tool."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from charkit.answers.estimate import MULTIPLES
from charkit.encoders import Encoder, load_encoder
from charkit.errors import UsageError
from glue_pilot.experiments.base import Bench, Experiment, Found
from glue_pilot.experiments.failures_asked import ask, metamodel_without
from glue_pilot.experiments.failures_cases import (
    KINDS,
    Case,
    Sizes,
    base_of,
    cases_of,
    hard,
    many_classes,
    other_domain,
)
from glue_pilot.experiments.failures_words import draw, finding, scores, title


@dataclass(frozen=True)
class FailureSettings:
    """Which cases are made, of which tasks.

    Attributes:
        encoder: Name of the encoder.
        tasks: Tasks that can be learnt: all that can go wrong is done to each.
        generated: The same, generated ones: no metamodel has learned from them.
        hard: Tasks that show no signal in small samples.
        many: Tasks of many classes.
        shifts: ``task>other``: a task judged on another one's texts, classes alike.
        n: Labels of a sample.
        tiny: Labels of tiny samples.
        noise: Shares of labels that are changed.
        many_sizes: Labels of samples of many classes.
        multiple: Of the labels at hand, at which the truth is measured.
        n_draws: Draws that the truth is the mean of.
        n_eval: Labelled evaluation texts, at most.
        seen: 1: ask the shipped metamodel, which learned from these corpora; 0: fit one without
            them.
    """

    encoder: str = "minilm"
    tasks: tuple[str, ...] = ("subj", "trec6", "sms_spam", "mr")
    generated: tuple[str, ...] = (
        "generated/sentiment?n_train=1200&n_eval=300&difficulty=0.4&seed=3",
        "generated/topic?n_train=1200&n_eval=300&difficulty=0.4&seed=3",
        "generated/entailment?n_train=1200&n_eval=300&difficulty=0.4&seed=3",
    )
    hard: tuple[str, ...] = ("glue_rte", "glue_wnli")
    many: tuple[str, ...] = ("banking77", "clinc150")
    shifts: tuple[str, ...] = ("mr>yelp_small", "mr>imdb_small")
    n: int = 128
    tiny: tuple[int, ...] = (8, 24)
    noise: tuple[float, ...] = (0.2, 0.4)
    many_sizes: tuple[int, ...] = (100, 300)
    multiple: int = 4
    n_draws: int = 3
    n_eval: int = 300
    seen: int = 0


def run(settings: FailureSettings, bench: Bench) -> Found:
    """Ask the tool of every case, measure the truth, and set both side by side.

    Raises:
        UsageError: A setting is out of range.
        DataError: Tasks of a shift do not have the same classes.
    """
    _check(settings)
    encoder = load_encoder(settings.encoder)
    table = case_table(settings, encoder, bench)
    told = scores(table)
    text = finding(table, told, multiple=settings.multiple, seen=bool(settings.seen))
    figures = draw(table, told, title=title(told), multiple=settings.multiple)
    return Found(table, figures, text, _summary(table, told))


def case_table(settings: FailureSettings, encoder: Encoder, bench: Bench) -> pd.DataFrame:
    """Return one row a case: see `glue_pilot.experiments.failures_asked.ask`."""
    cases = list(make_cases(settings, bench))
    real = [case for case in cases if not case.generated and not settings.seen]
    corpora = {name for case in real for name in (case.corpus, case.other_corpus) if name}
    model = metamodel_without(corpora, encoder, bench.store, bench.progress)
    rows = []
    for done, case in enumerate(cases):
        bench.progress("cases", done, len(cases))
        rows.append(
            ask(
                case,
                encoder,
                model,
                multiple=settings.multiple,
                n_draws=settings.n_draws,
                store=bench.store,
            )
        )
    bench.progress("cases", len(cases), len(cases))
    table = pd.DataFrame(rows)
    table["inside"] = table["truth"].between(table["low"], table["high"])
    table["right"] = table["verdict_right"] & (table["warned"] | table["inside"])
    wrong = ~table["inside"] | (table["evaluation_inside"] == 0)
    table["misleading"] = wrong & ~table["warned"]
    order = {kind: place for place, kind in enumerate(KINDS)}
    return table.sort_values("kind", key=lambda kinds: kinds.map(order), kind="stable").reset_index(
        drop=True
    )


def make_cases(settings: FailureSettings, bench: Bench) -> Iterator[Case]:
    """Yield all cases of the settings.

    Raises:
        UsageError: Tasks of a shift do not have the same classes.
    """
    sizes = _sizes(settings, settings.n)

    def bases(names: tuple[str, ...], of: Sizes) -> Iterator[Case]:
        if names:
            yield from (base_of(known.task, known.corpus, of) for known in bench.tasks(names))

    for base in bases((*settings.tasks, *settings.generated), sizes):
        yield from cases_of(base, sizes)
    for base in bases(settings.hard, sizes):
        yield hard(base)
    if settings.many_sizes:
        larger = _sizes(settings, max(settings.many_sizes))
        for base in bases(settings.many, larger):
            yield from many_classes(base, larger)
    for shift in settings.shifts:
        own, other = bases(tuple(shift.split(">")), sizes)
        if own.task.class_names != other.task.class_names:
            raise UsageError(
                f"shift {shift!r}: expected tasks with the same classes, got "
                f"{own.task.class_names} and {other.task.class_names}."
            )
        yield other_domain(own, other)


def _sizes(settings: FailureSettings, n: int) -> Sizes:
    return Sizes(
        n=settings.n,
        pool=2 * settings.multiple * n,
        n_eval=settings.n_eval,
        tiny=settings.tiny,
        noise=settings.noise,
        many=settings.many_sizes,
    )


def _check(settings: FailureSettings) -> None:
    if settings.multiple not in MULTIPLES[1:]:
        raise UsageError(
            f"multiple is out of range: expected one of {MULTIPLES[1:]}, got {settings.multiple}."
        )
    if settings.n < 16 or min(settings.tiny, default=4) < 4 or settings.n_draws < 1:
        raise UsageError(
            "sizes of failure cases are out of range: expected n of at least 16, tiny samples of "
            f"at least 4 and one draw, got n = {settings.n}, tiny = {settings.tiny} and n_draws = "
            f"{settings.n_draws}."
        )
    if not all(0 < share < 1 for share in settings.noise):
        raise UsageError(
            f"noise is out of range: expected shares above 0 and below 1, got {settings.noise}."
        )
    if not all(shift.count(">") == 1 for shift in settings.shifts):
        raise UsageError(f"shifts: expected task>other, got {settings.shifts}.")


def _summary(table: pd.DataFrame, told: pd.DataFrame) -> dict[str, float]:
    by_kind = {
        f"right, {kind}": float(value)
        for kind, value in zip(told["kind"], told["right"], strict=True)
    }
    return {
        "cases": float(len(table)),
        "right": float(table["right"].mean()),
        "misleading": float(table["misleading"].mean()),
        "inside": float(table["inside"].mean()),
        **by_kind,
    }


EXPERIMENT = Experiment(
    name="failures",
    question="Where does it fail, and does it say so?",
    asked_by="the plan of the study: failure cases, what the tool says of them and whether it is "
    "right",
    settings=FailureSettings,
    run=run,
)
