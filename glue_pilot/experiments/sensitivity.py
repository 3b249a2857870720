"""How sensitive is the embedding to hyper-parameters, against what tasks differ in?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.embedding.cache import embed_cached
from charkit.encoders import Encoder, load_encoder
from charkit.errors import UsageError
from charkit.fisher import FisherOptions, TaskEmbedding
from charkit.fisher.distances.formulas import FORMULAS, Frame, log_shares
from charkit.fisher.distances.pairwise import EPSILON, raised
from charkit.store.store import Store
from glue_pilot import figures
from glue_pilot.experiments.base import Experiment, Workspace, study_of
from glue_pilot.experiments.heads import RULES, embed_under, rule_head
from glue_pilot.findings import Finding, bullets, listed, md_table
from glue_pilot.samples import EmbeddingStudy, KnownTask, drawn_sample, embed_sample
from glue_pilot.stats import Interval, compare, resampled, shares_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

BASE, SAMPLE = "base", "sample"
METRICS = ("log_ratio", "cosine")


@dataclass(frozen=True)
class SensitivitySettings:
    """What is varied, one thing at a time; all else stays at the base setting.

    The base: sample 0, softmax head on the last layer with its L2 strength chosen by left-out
    loss, mean pooling, ``max_length`` tokens, the estimator ``sketch`` with seed 0.

    Attributes:
        encoder: Name of the encoder.
        tasks: Classification tasks.
        n: Labelled texts a sample.
        samples: Samples a task; they share no text.
        penalties: L2 strengths times n.
        poolings: Other poolings.
        lengths: Other limits of a text, in tokens.
        seeds: Other seeds of the sketch; two classes need no sketch and do not feel them.
        estimators: Other estimators of the Fisher information.
        rules: Other learning rules of the head, of `RULES`.
        max_length: Most tokens of a text at the base setting.
        n_eval: Evaluation texts that heads are scored on, at most.
    """

    encoder: str = "minilm"
    tasks: tuple[str, ...] = (
        "mr", "yelp_small", "ag_news", "search_snippets", "tweeteval_hate", "trec6",
        "glue_cola", "glue_rte",
    )  # fmt: skip
    n: int = 128
    samples: int = 3
    penalties: tuple[float, ...] = (10.0, 1.0, 0.1)
    poolings: tuple[str, ...] = ("cls",)
    lengths: tuple[int, ...] = (32, 64)
    seeds: tuple[int, ...] = (1, 2)
    estimators: tuple[str, ...] = ("exact", "monte_carlo", "empirical")
    rules: tuple[str, ...] = RULES
    max_length: int = 128
    n_eval: int = 1000


@dataclass(frozen=True)
class Setting:
    """One way to embed: which thing is varied, and to what.

    Attributes:
        factor: What is varied; ``base`` for nothing.
        level: To what, as text.
        draw: Sample of texts.
        penalty: L2 strength times n; None is chosen by left-out loss.
        rule: Learning rule of the head; empty for softmax.
        options: Pooling, length, estimator, seed.
    """

    factor: str
    level: str
    draw: int
    penalty: float | None
    rule: str
    options: FisherOptions


def settings_of(settings: SensitivitySettings) -> list[Setting]:
    """Return the base setting and every other, one thing varied at a time.

    Raises:
        UsageError: A learning rule or pooling is not known, or there are fewer than two samples.
    """
    if settings.samples < 2 or not set(settings.rules) <= set(RULES):
        raise UsageError(
            f"sensitivity needs two samples and rules of {RULES}: expected samples of at least "
            f"2, got {settings.samples} and {settings.rules}."
        )
    options = _study(settings).options
    base = Setting(BASE, "", 0, None, "", options)
    found = [base]
    found += [
        replace(base, factor=SAMPLE, level=f"draw {k}", draw=k) for k in range(1, settings.samples)
    ]
    found += [
        replace(base, factor="L2 strength", level=f"{p:g} / n", penalty=p)
        for p in settings.penalties
    ]
    found += [replace(base, factor="learning rule", level=r, rule=r) for r in settings.rules]
    changes: list[tuple[str, str, dict[str, Any]]] = [
        *(("pooling", p, {"pooling": p}) for p in settings.poolings),
        *(("maximum length", f"{k} tokens", {"max_length": k}) for k in settings.lengths),
        *(("sketch seed", f"{k}", {"seed": k}) for k in settings.seeds),
        *(("estimator", e.replace("_", " "), {"estimator": e}) for e in settings.estimators),
    ]
    for factor, level, change in changes:
        varied = replace(options, **change)
        found.append(replace(base, factor=factor, level=level, options=varied))
    return found


def _study(settings: SensitivitySettings) -> EmbeddingStudy:
    return study_of(settings, (settings.n,), (settings.samples,))


def run(settings: SensitivitySettings, workspace: Workspace) -> Finding:
    """Embed all tasks under all settings, and compare."""
    varied = settings_of(settings)
    known = workspace.tasks(settings.tasks)
    if len(known) < 3:
        raise UsageError(
            f"sensitivity compares tasks: expected at least 3, got {len(known)}. Name more."
        )
    encoder = load_encoder(settings.encoder)
    rows = []
    for done, entry in enumerate(known):
        workspace.progress("tasks", done, len(known))
        rows.append(list(_embedded(settings, varied, entry, encoder, workspace.store)))
    workspace.progress("tasks", len(known), len(known))
    numbers = np.stack([raised(row, EPSILON) for row in rows])
    table = pd.concat([distance_table(numbers, varied, known), parts_table(numbers, varied)])
    table = table.reset_index(drop=True)
    words = finding(table, n=settings.n, tasks=len(known))
    return Finding(table, draw_figures(table), *words, summary_of(table))


# -- embeddings -------------------------------------------------------------------------------


def _embedded(
    settings: SensitivitySettings,
    varied: list[Setting],
    known: KnownTask,
    encoder: Encoder,
    store: Store,
) -> Iterator[TaskEmbedding]:
    """Yield the embedding of a task under each setting."""
    study, last, name = _study(settings), encoder.n_layers, known.task.name
    for setting in varied:
        draw, options = setting.draw, setting.options
        sample = drawn_sample(known, n=settings.n, draw=draw, n_eval=settings.n_eval)
        if setting.factor in (BASE, SAMPLE):
            yield embed_sample(
                study, known, sample, settings.n, draw, encoder, store
            ).embeddings[last]  # fmt: skip
        elif setting.rule:
            head = rule_head(setting.rule, sample, encoder, options, store)
            yield embed_under(
                head, sample.train, encoder, head_layer=last, options=options, store=store,
                name=name,
            )  # fmt: skip
        else:
            strengths = None if setting.penalty is None else (setting.penalty / settings.n,)
            yield embed_cached(
                sample, encoder, options=options, strengths=strengths, store=store, name=name
            ).embeddings[last]


# -- tables -----------------------------------------------------------------------------------


def distance_table(
    numbers: FloatArray, varied: list[Setting], known: list[KnownTask]
) -> pd.DataFrame:
    """Compare each task under another setting with itself and with the other tasks.

    Args:
        numbers: Embeddings, none with a zero, (tasks, settings, size); the base setting first.
        varied: The settings.
        known: The tasks.

    Returns:
        One row a setting, metric and quantity, with a 90 % interval, tasks drawn by corpus.
        ``ratio``: distance to the same task at the base setting over the mean distance of other
        tasks there; ``nearer``: share of other tasks that are nearer than the task itself;
        ``agreement``: rank correlation of a task's distances to the others with those at the
        base setting.
    """
    t, s, size = numbers.shape
    flat = numbers.reshape(t * s, size)
    frame = Frame(centre=log_shares(numbers[:, 0]).mean(0))
    corpora = [k.corpus for k in known]
    rows = []
    for metric in METRICS:
        matrix = FORMULAS[metric].matrix(flat, frame).reshape(t, s, t, s)
        base = _others(matrix[:, 0, :, 0])
        for place, setting in enumerate(varied[1:], start=1):
            own = matrix[np.arange(t), 0, np.arange(t), place]
            there = _others(matrix[:, place, :, place])
            found = {
                "ratio": own / base.mean(1),
                "nearer": (base < own[:, None]).mean(1),
                "agreement": np.array([_spearman(a, b) for a, b in zip(base, there, strict=True)]),
            }
            for what, values in found.items():
                kept = np.isfinite(values)
                mean = resampled(values[kept], [c for c, k in zip(corpora, kept, strict=True) if k])
                about = {"factor": setting.factor, "level": setting.level, "metric": metric}
                rows.append(about | {"what": what} | mean.row("mean", ends=""))
    return pd.DataFrame(rows)


def _others(matrix: FloatArray) -> FloatArray:
    """Return each row without its diagonal, (count, count - 1)."""
    count = len(matrix)
    return matrix[~np.eye(count, dtype=bool)].reshape(count, count - 1)


def _spearman(one: FloatArray, other: FloatArray) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(pd.Series(one).corr(pd.Series(other), method="spearman"))


def parts_table(numbers: FloatArray, varied: list[Setting]) -> pd.DataFrame:
    """Return the shares of variation of log embeddings; see `shares_of`."""
    logs = log_shares(numbers.reshape(-1, numbers.shape[2])).reshape(numbers.shape)
    factors: dict[str, list[int]] = {}
    for place, setting in enumerate(varied[1:], start=1):
        factors.setdefault(setting.factor, [0]).append(place)
    shares = shares_of(logs, factors, sample=SAMPLE)
    shares = shares.rename(columns={"part": "level", "share": "mean"})
    return shares.assign(metric="variance", what="share")


# -- what was found ---------------------------------------------------------------------------


def finding(table: pd.DataFrame, *, n: int, tasks: int) -> tuple[str, str, str]:
    """Return answer, points and details.

    Args:
        table: From `distance_table` and `parts_table`.
        n: Labelled texts a sample.
        tasks: How many tasks there are.
    """
    shares = table[table["what"] == "share"]
    own = shares[shares["level"] == "rest"].sort_values("mean", ascending=False)
    varied = own[own["factor"] != SAMPLE]
    task, most = (Interval.of(rows.iloc[0], "mean")
                  for rows in (shares[shares["factor"] == "task"], varied))  # fmt: skip
    first = str(varied.iloc[0]["factor"])
    if compare(task, float(varied["high"].max())) == "above":
        claim = "Tasks differ more than any one hyper-parameter moves them"
    elif compare(task, most.low) == "below":
        claim = f"The {first} moves embeddings more than tasks differ"
    else:
        claim = "It is not shown that tasks differ more than any one hyper-parameter moves them"
    answer = f"{claim}: of the variation, tasks hold {task:.0%}, the {first} {most:.0%}."
    shifts = shares[shares["level"] == "shift"].set_index("factor")
    rows = [
        {"what is varied": "task", "each task its own way": f"{task:.0%}", "all tasks alike": ""}
    ]
    rows += [
        {"what is varied": str(row["factor"])}
        | {"each task its own way": f"{Interval.of(row, 'mean'):.0%}"}
        | {"all tasks alike": f"{Interval.of(shifts.loc[row['factor']], 'mean'):.0%}"}
        for _, row in own.iterrows()
    ]
    return answer, md_table(rows), _details(table, own, n=n, tasks=tasks)


def _details(table: pd.DataFrame, own: pd.DataFrame, *, n: int, tasks: int) -> str:
    sample = Interval.of(own[own["factor"] == SAMPLE].iloc[0], "mean")
    above = [str(f) for f in own[own["low"] > sample.high]["factor"]]
    items = [
        f"{tasks} tasks, {n} texts each; one thing is varied at a time. Shares of the variation "
        f"of log embeddings, 90 % intervals over {tasks} tasks; they depend on how far each thing "
        "was varied. A shift that all tasks share does no harm where all are embedded alike.",
        f"All hyper-parameters together hold {own[own['factor'] != SAMPLE]['mean'].sum():.0%}, "
        f"all shifts {table[table['level'] == 'shift']['mean'].sum():.0%}.",
        f"Another draw of texts holds {sample:.0%}; more than it, by intervals: {listed(above)}.",
    ]
    for metric in METRICS:
        rows = table[(table["what"] == "nearer") & (table["metric"] == metric)]
        worst = rows.iloc[int(rows["mean"].argmax())]
        items.append(
            f"By {metric}, another task is nearer than the same task under another setting in "
            f"{rows['mean'].mean():.0%} of all cases, never for {(rows['mean'] == 0).sum()} of "
            f"{len(rows)} settings; most with {worst['factor']} {worst['level']}, "
            f"{Interval.of(worst, 'mean'):.0%}."
        )
    rows = table[(table["what"] == "agreement") & (table["metric"] == "log_ratio")]
    low, high = (rows.iloc[int(k)] for k in (rows["mean"].argmin(), rows["mean"].argmax()))
    items.append(
        "Where all tasks are embedded alike, the order of a task's distances to the others "
        "(log_ratio) keeps a rank correlation with the base setting's of "
        f"{rows['mean'].mean():.2f} on average: least with {low['factor']} {low['level']}, "
        f"{Interval.of(low, 'mean')}, most with {high['factor']} {high['level']}, "
        f"{high['mean']:.2f}."
    )
    return bullets(*items)


def draw_figures(table: pd.DataFrame) -> dict[str, Figure]:
    """Draw the shares of variation, and how far each setting moves a task."""
    shares = table[table["what"] == "share"]
    task = shares[shares["factor"] == "task"].iloc[0]
    own = shares[shares["level"] == "rest"].set_index("factor")["mean"]
    most = str(own.drop(SAMPLE).idxmax())
    words = shares["level"].map({"all": "", "shift": " (shift)", "rest": " (own)"})
    parts = figures.dots(
        shares.assign(method=shares["factor"] + words, series=words, value=shares["mean"])[
            ["method", "series", "value", "low", "high"]
        ],
        title=f"Tasks hold {task['mean']:.0%} of the variation of log embeddings, "
        f"another sample {own[SAMPLE]:.0%}, {most} {own[most]:.0%}",
        caption="Share of the variance components' sum: of tasks, and of each thing, varied one "
        "at a time. Shift: all tasks move alike; own: each its own way. Bars: 90 % bootstrap "
        "intervals over tasks.",
        label="share of the variation",
        key=False,
    )
    ratio = table[(table["what"] == "ratio") & (table["metric"] == "log_ratio")]
    names = ratio["factor"] + ": " + ratio["level"]
    moved = figures.dots(
        ratio.assign(method=names, series=ratio["factor"], value=ratio["mean"])[
            ["method", "series", "value", "low", "high"]
        ],
        title=f"{int((ratio['low'] > 1).sum())} of {len(ratio)} settings move a task farther than "
        "other tasks are",
        caption="Distance (log_ratio) of a task from itself at the base setting, over the mean "
        "distance of other tasks (dashed). Bars: 90 % bootstrap intervals over corpora.",
        label="distance / distance between tasks",
        level=1.0,
        key=False,
    )
    return {"": parts, "distances": moved}


def summary_of(table: pd.DataFrame) -> dict[str, float]:
    """Return the shares, and how often another task is nearer, by metric."""
    shares = table[table["what"] == "share"]
    own = shares[shares["level"] != "shift"].set_index("factor")["mean"]
    nearer = table[table["what"] == "nearer"].groupby("metric")["mean"].mean()
    return {f"share_{str(name).replace(' ', '_')}": float(v) for name, v in own.items()} | {
        f"nearer_{name}": float(v) for name, v in nearer.items()
    }


EXPERIMENT = Experiment(
    name="sensitivity",
    question="How sensitive is the embedding to hyper-parameters?",
    motivation="the seed on meta-features: distances between embeddings of one data set under "
    "other hyper-parameters",
    settings=SensitivitySettings,
    run=run,
)
