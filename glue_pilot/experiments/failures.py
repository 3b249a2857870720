"""Where does it fail, and does it warn? Cases made to fail, asked of the shipped tool."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.accuracy.estimate import MULTIPLES, answer_of
from charkit.answers.accuracy.question import Question
from charkit.answers.accuracy.result import EstimateAnswer
from charkit.answers.accuracy.shipped import Predictor, Shipped
from charkit.encoders import Encoder, encode_to_store, load_encoder
from charkit.errors import UsageError
from charkit.heads.solver.softmax import fit_softmax
from charkit.store.cached import cached
from charkit.store.durable import sha256_file, write_whole
from charkit.store.manifest import Clock, run_manifest
from charkit.tasks import Split
from charkit.tasks.card import load_sample
from glue_pilot import figures
from glue_pilot.experiments.base import Experiment, Workspace
from glue_pilot.experiments.parts.failures_cases import (
    KINDS,
    NOISE,
    PLAIN,
    Case,
    base_of,
    cases_of,
    hard,
    many_classes,
    other_domain,
)
from glue_pilot.findings import Finding, bullets, md_table
from glue_pilot.judging.metamodel_study import SHIPPED_NAME, read_metadata, read_settings
from glue_pilot.stats import Interval, resampled_share
from metamodel.fit.fitting import fit_metamodel
from metamodel.predict import SHIPPED, load_shipped, metamodel_text, read_metamodel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "experiment_metamodel"
MEASURES = {"right": "answer as it should be", "misleading": "misleading"}
"""Column of the table -> what the figure calls it."""


@dataclass(frozen=True)
class FailureSettings:
    """Which cases are made, of which tasks.

    Attributes:
        encoder: Name of the encoder.
        tasks: Tasks that can be learnt: all that can go wrong is done to each.
        generated: The same, generated ones: no metamodel has learned from them.
        hard: Tasks that show no signal in small samples.
        many: Tasks of many classes.
        shifts: ``task>other``: a task evaluated on another one's texts, classes alike.
        n: Labels of a sample.
        tiny: Labels of tiny samples.
        noise: Shares of labels that are changed.
        many_sizes: Labels of samples of many classes.
        multiple: Of the sample's labels, at which the truth is measured.
        n_draws: Draws that the truth is the mean of.
        n_eval: Labelled evaluation texts, at most.
        seen: Ask the shipped metamodel, which learned from these corpora; else fit one without
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
    seen: bool = False


def run(settings: FailureSettings, workspace: Workspace) -> Finding:
    """Ask the tool of every case, measure the truth, and compare both.

    Raises:
        UsageError: A setting is out of range.
        DataError: Tasks of a shift do not have the same classes.
    """
    _check(settings)
    table = case_table(settings, load_encoder(settings.encoder), workspace)
    kinds, multiple = scores(table), settings.multiple
    words = finding(table, kinds, multiple=multiple, seen=settings.seen)
    return Finding(table, draw(table, kinds, multiple=multiple), *words, summary(table, kinds))


def case_table(settings: FailureSettings, encoder: Encoder, workspace: Workspace) -> pd.DataFrame:
    """Return one row a case: see `ask`."""
    cases = list(make_cases(settings, workspace))
    real = [case for case in cases if not case.generated and not settings.seen]
    corpora = {name for case in real for name in (case.corpus, case.other_corpus) if name}
    model = metamodel_without(corpora, encoder, workspace)
    rows = []
    for done, case in enumerate(cases):
        workspace.progress("cases", done, len(cases))
        rows.append(ask(case, encoder, model, settings, workspace))
    workspace.progress("cases", len(cases), len(cases))
    table = pd.DataFrame(rows)
    table["inside"] = table["truth"].between(table["low"], table["high"])
    table["right"] = table["verdict_right"] & (table["warned"] | table["inside"])
    wrong = ~table["inside"] | (table["evaluation_inside"] == 0)
    table["misleading"] = wrong & ~table["warned"]
    table = table.sort_values("kind", key=lambda kinds: kinds.map(KINDS.index), kind="stable")
    return table.reset_index(drop=True)


def make_cases(settings: FailureSettings, workspace: Workspace) -> Iterator[Case]:
    """Yield all cases of the settings.

    Raises:
        UsageError: Tasks of a shift do not have the same classes.
    """

    def bases(names: tuple[str, ...], n: int = settings.n) -> list[Case]:
        about = {"n": settings.n, "pool": 2 * settings.multiple * n, "n_eval": settings.n_eval}
        known = workspace.tasks(names) if names else []
        return [base_of(one.task, one.corpus, **about) for one in known]

    for base in bases((*settings.tasks, *settings.generated)):
        yield from cases_of(base, tiny=settings.tiny, noise=settings.noise)
    for base in bases(settings.hard):
        yield hard(base)
    if settings.many_sizes:
        for base in bases(settings.many, max(settings.many_sizes)):
            yield from many_classes(base, settings.many_sizes)
    for shift in settings.shifts:
        own, other = bases(tuple(shift.split(">")))
        if own.task.class_names != other.task.class_names:
            raise UsageError(
                f"shift {shift!r}: expected tasks with the same classes, got "
                f"{own.task.class_names} and {other.task.class_names}."
            )
        yield other_domain(own, other)


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


# -- what the tool answers, and what is true --------------------------------------------------


def metamodel_without(corpora: set[str], encoder: Encoder, workspace: Workspace) -> Predictor:
    """Return a metamodel fitted to the shipped tables without some corpora, from the store.

    Args:
        corpora: Left out, with all of their tasks and parts; none: the shipped metamodel.
        encoder: What its meta-features are of.
        workspace: Store and progress.

    Raises:
        MissingError: The shipped tables or settings are not there.
    """
    if not corpora:
        return load_shipped()
    settings = read_settings(SHIPPED)
    tables = [SHIPPED / f"{SHIPPED_NAME}_{kind}.parquet" for kind in ("evidence", "outcomes")]
    config = {
        "kind": KIND,
        "without": sorted(corpora),
        "settings": asdict(settings),
        "encoder": encoder.fingerprint,
        "tables": [sha256_file(place) for place in tables],
    }

    def make(folder: Path) -> dict[str, Any]:
        workspace.progress("fit a metamodel without these corpora", 0, 1)
        clock = Clock()
        data = read_metadata([SHIPPED], SHIPPED_NAME)
        kept = data.part(~np.isin(data.corpora.astype(str), sorted(corpora)))
        model = fit_metamodel(kept, settings, encoders=(encoder.fingerprint,))
        write_whole(folder / "metamodel.json", metamodel_text(model).encode())
        workspace.progress("fit a metamodel without these corpora", 1, 1)
        return run_manifest(config, clock=clock, seeds={"rows": settings.seed}, fingerprints={})

    def load(folder: Path) -> Predictor:
        return read_metamodel(folder / "metamodel.json")

    return cached(workspace.store, KIND, config, make=make, load=load).value


def ask(
    case: Case, encoder: Encoder, model: Predictor, settings: FailureSettings, workspace: Workspace
) -> dict[str, Any]:
    """Return a row: what the tool answers for a case, what is true, whether both agree.

    Raises:
        UsageError: There are too few labelled texts to measure the truth.
    """
    store = workspace.store
    answer = answer_of(
        load_sample(case.sample), Question(), encoder=encoder, store=store, shipped=Shipped(model)
    )
    n, later = answer.n_labels, settings.multiple * answer.n_labels
    if later > len(case.train):
        raise UsageError(
            f"{case.task.name}, {case.name}: expected at least {later:,} labelled training texts "
            f"to measure the truth, got {len(case.train):,}. Choose a smaller n, or a larger task."
        )
    train, same, evaluated = (
        encode_to_store(encoder, part, store=store).layer(answer.layer)
        for part in (case.train, case.same, case.evaluated)
    )

    def score(n: int, seed: int, states: NDArray[np.float32], part: Split) -> float:
        """Return the accuracy of a head on a draw of n labels."""
        rows = case.rows(n, seed)
        labels = np.array(case.train.labels, np.int64)[rows]
        heads = fit_softmax(train[rows][None], labels, case.task.n_classes)
        logits = states @ heads.weights[0].numpy().T + heads.bias[0].numpy()
        return float(np.mean(logits.argmax(1) == np.asarray(part.labels)))

    curve = answer.curve[(answer.curve["layer"] == answer.layer) & (answer.curve["n"] == later)]
    predicted = Interval.of(curve.iloc[0], "mean")
    draws = [score(later, seed, same, case.same) for seed in range(settings.n_draws)]
    counts = np.bincount(np.asarray(case.same.labels, np.int64))
    now = score(n, 0, evaluated, case.evaluated)
    row = {
        "kind": case.kind,
        "case": case.name,
        "task": case.task.name,
        "corpus": case.corpus,
        "generated": case.generated,
        "n": n,
        "classes": case.task.n_classes,
        "layer": answer.layer,
        "n_later": later,
        **predicted.row("mean", ends=""),
        "truth": float(np.mean(draws)),
        "n_judged": len(case.same),
        "majority": float(counts.max() / counts.sum()),
        "evaluation_truth": now,
    }
    return row | _on_evaluation(answer, now) | _warnings(case, answer)


def _on_evaluation(answer: EstimateAnswer, truth: float) -> dict[str, Any]:
    found = answer.eval_accuracy
    if found is None:
        names = ("mean", "low", "high", "inside")
        return {f"evaluation_{name}": np.nan for name in names}
    return {
        "evaluation_mean": found.mean,
        "evaluation_low": found.low,
        "evaluation_high": found.high,
        "evaluation_inside": float(found.low <= truth <= found.high),
    }


def _warnings(case: Case, answer: EstimateAnswer) -> dict[str, Any]:
    codes = [v.code for v in answer.verdicts]
    given = any(code in codes for code in case.expected)
    return {
        "verdicts": ", ".join(codes),
        "refused": not answer.trustworthy,
        "expected": " or ".join(case.expected),
        "verdict_right": given if case.expected else answer.trustworthy,
        "warned": given or not answer.trustworthy,
    }


# -- what was found ---------------------------------------------------------------------------


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a kind: cases, corpora, shares, and 90 % intervals over corpora."""
    rows = []
    shares = ("inside", "evaluation_inside", "verdict_right", "refused")
    for kind in KINDS:
        part = table[table["kind"] == kind]
        if part.empty:
            continue
        row: dict[str, Any] = {"kind": kind, "cases": len(part)}
        row |= {"corpora": part["corpus"].nunique()}
        row |= {name: float(part[name].mean()) for name in shares}
        for name in MEASURES:
            found = resampled_share(part[name].to_numpy(bool), list(part["corpus"]))
            row |= found.row(name)
        rows.append(row)
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame, kinds: pd.DataFrame) -> dict[str, float]:
    """Return the number of cases and the shares that matter."""
    whole = {name: float(table[name].mean()) for name in ("right", "misleading", "inside")}
    by_kind = dict(zip("right, " + kinds["kind"], kinds["right"].astype(float), strict=True))
    return {"cases": float(len(table)), **whole, **by_kind}


def finding(
    table: pd.DataFrame, kinds: pd.DataFrame, *, multiple: int, seen: bool
) -> tuple[str, str, str]:
    """Return answer, points and details.

    Args:
        table: One row a case.
        kinds: From `scores`.
        multiple: Of the sample's labels, at which the truth was measured.
        seen: Whether the metamodel had learned from these corpora.
    """
    called = table[table["expected"] != ""]
    warned = f"{called['verdict_right'].mean():.0%} got it" if len(called) else "none was made"
    answer = (
        f"Of {len(called)} cases that call for a warning {warned}; the interval at {multiple} "
        f"times the labels held in {table['inside'].mean():.0%} of {len(table)} cases; "
        f"{table['misleading'].mean():.0%} were misleading."
    )
    rows = [
        {"case": str(row["kind"]), "cases (corpora)": f"{row['cases']} ({row['corpora']})"}
        | {
            "as it should be": f"{Interval.of(row, 'right'):.0%}",
            "refused": f"{row['refused']:.0%}",
        }
        | {f"interval holds at {multiple} times": f"{row['inside']:.0%}"}
        | {"on evaluation texts": f"{row['evaluation_inside']:.0%}"}
        | {"misleading": f"{row['misleading']:.0%}"}
        for _, row in kinds.iterrows()
    ]
    return answer, md_table(rows), _details(table, multiple=multiple, seen=seen)


def _details(table: pd.DataFrame, *, multiple: int, seen: bool) -> str:
    made = table["generated"].astype(bool)
    plain, noise = (table[table["kind"] == kind] for kind in (PLAIN, NOISE))
    drop = 100 * (plain["truth"].mean() - noise["truth"].mean())
    return bullets(
        f"{len(table)} cases of {table['corpus'].nunique()} corpora were made to fail, each in one "
        "known way or in none, and put to `charkit estimate`.",
        "As it should be: the warning that is called for is among those given, even where the "
        "interval then misses; where none is called for, the answer is not refused and its "
        f"interval at {multiple} times the labels holds. These are different questions: compare "
        "the columns, not one total.",
        "90 % intervals over corpora, at least the exact ones of as many cases.",
        "Misleading: a truth is outside its interval, and no warning was given.",
        f"As it should be: {table['right'].mean():.0%} of all; {table['right'][made].mean():.0%} "
        f"of {made.sum()} cases of generated tasks, {table['right'][~made].mean():.0%} of "
        f"{(~made).sum()} of real ones."
        if made.any() and not made.all()
        else f"As it should be: {table['right'].mean():.0%} of all.",
        f"Noise in the labels costs {drop:.0f} points at {multiple} times the labels, measured on "
        f"labels as noisy; {noise['warned'].mean():.0%} of these answers were refused. The tool "
        "cannot separate noise from a hard task, it can only predict what to expect."
        if len(plain) and len(noise)
        else "",
        "The shipped metamodel was asked, which learned from most of these corpora: intervals look "
        "better than they are for new tasks (generated ones are new to it)."
        if seen
        else "The metamodel was fitted anew without any corpus of these cases; the limits of the "
        "warnings were once set on a few of them, and stayed.",
        "The truths are accuracies on a few hundred texts, whose own sampling error counts against "
        "the interval here. Another language is Latin letters changed for others, which is easier "
        "to notice than a language close to English.",
    )


def draw(table: pd.DataFrame, kinds: pd.DataFrame, *, multiple: int) -> dict[str, Figure]:
    """Return the shares by kind, and every case: the prediction against the truth."""
    rows = [
        {"method": row["kind"], "series": words} | Interval.of(row, name).row("value", ends="")
        for _, row in kinds.iterrows()
        for name, words in MEASURES.items()
    ]
    worst = kinds.sort_values(["right", "misleading"], ascending=[True, False]).iloc[0]
    shares = figures.dots(
        pd.DataFrame(rows),
        title=f"The answer is as it should be in {table['right'].mean():.0%} of {len(table)} "
        f"cases, least often for {worst['kind']} ({worst['right']:.0%})",
        caption="Share of cases, 90 % interval over corpora. As it should be: the warning that is "
        "called for was given, or where none is, the interval held. Misleading: a truth outside "
        "its interval, and no warning.",
        label="share of the cases",
        limits=(-0.03, 1.03),
    )
    wrong = ~table["inside"]
    group = np.where(table["warned"].astype(bool), "warned or refused", "no warning")
    cases = figures.scatter(
        table.assign(group=group),
        x=("truth", f"accuracy reached with {multiple} times the labels"),
        y=("mean", "accuracy expected"),
        names=("kind", "case", "task"),
        title=f"{wrong.sum()} of {len(table)} intervals at {multiple} times the labels miss the "
        f"truth, {(wrong & ~table['warned']).sum()} of them unwarned",
        caption="A mark a case: expected accuracy with its 90 % interval, and what heads reached "
        f"with {multiple} times the labels. On the line they agree.",
        diagonal=True,
    )
    return {"": shares, "cases": cases}


EXPERIMENT = Experiment(
    name="failures",
    question="Where does it fail, and does it warn?",
    motivation="the plan of the study: failure cases, what the tool answers and whether it is "
    "right",
    settings=FailureSettings,
    run=run,
)
