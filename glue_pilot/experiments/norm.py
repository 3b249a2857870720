"""What does the norm say? Of the head's error, of the number of labels, less sampling noise."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from charkit.answers.embedding.cache import embed_cached
from charkit.encoders import Encoder, load_encoder
from charkit.errors import UsageError
from glue_pilot import figures
from glue_pilot.experiments.base import (
    Experiment,
    Workspace,
    embedded_samples,
    known_tasks,
    study_of,
)
from glue_pilot.findings import Finding, blocks, bullets, md_table
from glue_pilot.matrices import norm_rows
from glue_pilot.samples import EmbeddingStudy, Sample
from glue_pilot.stats import Interval, compare, resampled_median, spearman

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {"l2": "norm", "l2_corrected": "noise-corrected norm"}
OWN, ONE = "each its own head", "one head for both"
NEGLIGIBLE = 0.01
"""Gaps of logarithms below this are a hundredth of the norm or less."""

PAIRS = (
    ("norm", "error", ""),
    ("norm", "classes", ""),
    ("error", "classes", ""),
    ("norm", "strength", ""),
    ("norm", "error", "classes"),
    ("norm", "classes", "error"),
    ("norm", "error", "classes and strength"),
)
"""Quantities that are related, and what is held fixed."""

ERROR, GIVEN, PENALTY, BOTH = PAIRS[0], PAIRS[4], PAIRS[3], PAIRS[6]


@dataclass(frozen=True)
class NormSettings:
    """Whose norms are looked at.

    Attributes:
        encoder: Name of the encoder.
        tasks: Names or sources; empty for all of the folder.
        sizes: Labelled texts a sample, rising.
        shown: The size at which error and norm are compared.
        all_heads_up_to: As in the study of embeddings, whose results are used again.
        max_length: Most tokens of a text.
        n_eval: Evaluation texts a task, at most.
    """

    encoder: str = "minilm"
    tasks: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (128, 512, 2048)
    shown: int = 512
    all_heads_up_to: int = 128
    max_length: int = 128
    n_eval: int = 1000


def run(settings: NormSettings, workspace: Workspace) -> Finding:
    """Relate norms to error and classes, and compare sizes.

    Raises:
        UsageError: Sizes do not rise, the shown one is not among them, or there are too few tasks.
    """
    sizes = settings.sizes
    if list(sizes) != sorted(set(sizes)) or len(sizes) < 2 or settings.shown not in sizes:
        raise UsageError(
            "sizes are out of range: expected two or more that rise, the shown one among them, "
            f"got {sizes} and {settings.shown}."
        )
    encoder = load_encoder(settings.encoder)
    known = known_tasks(settings.tasks, workspace)
    study = study_of(settings, sizes, (1,) * len(sizes))
    samples = embedded_samples(study, known, encoder, workspace)
    held = pd.DataFrame([row for sample in samples for row in norm_rows(sample)])
    related = norm_table(held)
    if related.empty:
        raise UsageError(
            f"too few tasks: expected at least 5 for classification, got {len(known)}."
        )
    by_size = size_rows(held)
    fixed = one_head_rows(samples, study, encoder, workspace)
    agree = pd.concat(
        [agreement_table(by_size, heads=OWN), agreement_table(fixed, heads=ONE)], ignore_index=True
    )
    slopes = slope_of_sizes(by_size)
    parts = {
        "correlations": related, "agreement": agree, "slopes": slopes, "norms": by_size,
        "norms under one head": fixed,
    }  # fmt: skip
    table = pd.concat([t.assign(part=k) for k, t in parts.items()], ignore_index=True)
    last = related[related["head_layer"] == encoder.n_layers]
    here = last[last["n"] == settings.shown]
    return Finding(
        table,
        draw(held, here, by_size, agree, settings, n_layers=encoder.n_layers),
        *finding(last, agree, slopes, settings),
        summary(here, agree, slopes),
    )


# -- tables -----------------------------------------------------------------------------------


def norm_table(norms: pd.DataFrame) -> pd.DataFrame:
    """Relate norms to the head's error, its L2 strength and the number of classes, over tasks.

    Returns:
        One row a size, head, layer (0: all) and pair of quantities: Spearman's correlation with
        a 90 % bootstrap interval over corpora; ``given``: what is held fixed.
    """
    tasks = norms[(norms["kind"] == "classification") & (norms["draw"] == 0)]
    rows = []
    for keys, part in tasks.groupby(["n", "head_layer", "layer"]):
        table = pd.DataFrame(
            {
                "norm": np.log(part["l2"].clip(lower=1e-300)),
                "error": 1 - part["accuracy"],
                "classes": np.log(part["n_classes"]),
                "strength": np.log(part["strength"]),
                "corpus": part["corpus"],
            }
        ).dropna()
        if len(table) < 5:
            continue
        for first, second, given in PAIRS:
            found = spearman(table, first, second, given=given)
            rows.append(
                dict(zip(("n", "head_layer", "layer"), keys, strict=True))
                | {"first": first, "second": second, "given": given, "tasks": len(table)}
                | found.row("spearman", ends="")
            )
    return pd.DataFrame(rows)


def size_rows(held: pd.DataFrame) -> pd.DataFrame:
    """Return the norms of every task by sample size, last head, all layers, first draw.

    Args:
        held: From `glue_pilot.matrices.norm_rows`.

    Returns:
        One row a task and size: ``task``, ``corpus``, ``n``, ``n_samples``, ``l2``,
        ``l2_corrected``; tasks with fewer texts than a size have no row for it.
    """
    last = held[
        (held["head_layer"] == held["head_layer"].max())
        & (held["layer"] == 0)
        & (held["draw"] == 0)
        & (held["n_samples"] == held["n"])
    ]
    columns = ["task", "corpus", "n", "n_samples", *KINDS]
    return pd.DataFrame(last, columns=columns).reset_index(drop=True)


def one_head_rows(
    samples: Sequence[Sample], study: EmbeddingStudy, encoder: Encoder, workspace: Workspace
) -> pd.DataFrame:
    """Return norms of as many texts as the smallest size under the head of the second size.

    Returns:
        As `size_rows`, two rows a task.
    """
    n_small, n_large = study.sizes[:2]
    chosen = [s for s in samples if s.n == n_large and s.draw == 0 and len(s.task.train) == n_large]
    last, rows = encoder.n_layers, []
    for done, sample in enumerate(chosen):
        workspace.progress("one head", done, len(chosen))
        kept = embed_cached(
            sample.task,
            encoder,
            head_layers=study.heads_at(n_large, last),
            split=sample.task.train.take(range(n_small)),
            options=study.options,
            store=workspace.store,
            name=sample.known.task.name,
        )
        for n, embedding in ((n_small, kept.embeddings[last]), (n_large, sample.embeddings[last])):
            norms = embedding.norms().loc["all"].to_dict()
            rows.append(
                {"task": sample.known.task.name, "corpus": sample.known.corpus, "n": n}
                | {"n_samples": embedding.n_samples}
                | {kind: float(norms[kind]) for kind in KINDS}
            )
    workspace.progress("one head", len(chosen), len(chosen))
    return pd.DataFrame(rows)


def agreement_table(by_size: pd.DataFrame, *, heads: str) -> pd.DataFrame:
    """Return how far the norms of two sizes are apart, plain and corrected.

    Args:
        by_size: From `size_rows` or `one_head_rows`.
        heads: What the rows are called.

    Returns:
        One row a pair of sizes and kind of norm: ``value``, the median over tasks of
        ``log(norm at the larger size / norm at the smaller)`` with its interval ``low`` to
        ``high`` (bootstrap over corpora), and ``apart``: the median of its absolute value, with
        ``apart_low`` and ``apart_high``. A row with the kind ``difference``: how much nearer
        to zero the corrected norms are, ``apart`` being plain less corrected.
    """
    rows = []
    for small, large in itertools.pairwise(sorted(by_size["n"].unique())):
        logs = _log_ratios(by_size, int(small), int(large))
        if len(logs) < 2:
            continue
        about = {"heads": heads, "small": int(small), "large": int(large), "tasks": len(logs)}
        for kind in KINDS:
            change = resampled_median(logs[kind], logs["corpus"]).row("value", ends="")
            apart = resampled_median(logs[kind].abs(), logs["corpus"]).row("apart")
            rows.append(about | {"kind": kind} | change | apart)
        nearer = logs["l2"].abs() - logs["l2_corrected"].abs()
        gain = resampled_median(nearer, logs["corpus"]).row("apart")
        rows.append(about | {"kind": "difference"} | gain)
    return pd.DataFrame(rows)


def _log_ratios(by_size: pd.DataFrame, small: int, large: int) -> pd.DataFrame:
    """Return log(large / small) of both norms, one row a task that has both and no zero."""
    found = {}
    owners = by_size.drop_duplicates("task").set_index("task")["corpus"]
    for kind in KINDS:
        table = by_size.pivot(index="task", columns="n", values=kind)[[small, large]].dropna()
        table = table[(table > 0).all(axis=1)]
        found[kind] = np.log(table[large] / table[small])
    both = pd.DataFrame(found).dropna()
    return both.assign(corpus=owners[both.index])


def slope_of_sizes(by_size: pd.DataFrame) -> pd.DataFrame:
    """Return each task's slope of log norm on log size, plain and corrected."""
    rows = []
    for (task, corpus), part in by_size.groupby(["task", "corpus"]):
        kept = part[(part["l2"] > 0) & (part["l2_corrected"] > 0)]
        if len(kept) > 1:
            x = np.log(kept["n_samples"].to_numpy(np.float64))
            slopes = {k: float(np.polyfit(x, np.log(kept[k]), 1)[0]) for k in KINDS}
            rows.append({"task": task, "corpus": corpus} | slopes)
    return pd.DataFrame(rows, columns=["task", "corpus", *KINDS])


def _pick(related: pd.DataFrame, names: tuple[str, str, str], *, layer: int = 0) -> pd.DataFrame:
    chosen = related["layer"] == layer
    for column, name in zip(("first", "second", "given"), names, strict=True):
        chosen &= related[column] == name
    return related[chosen]


# -- what was found ---------------------------------------------------------------------------


def summary(here: pd.DataFrame, agree: pd.DataFrame, slopes: pd.DataFrame) -> dict[str, float]:
    """Return the correlations with error, the slopes and the gains of the correction."""
    found: dict[str, float] = {}
    for name, pair in (("error", ERROR), ("error_given_classes", GIVEN)):
        found.update((name, float(v)) for v in _pick(here, pair)["spearman"])
    found |= {f"slope_{kind}": float(slopes[kind].median()) for kind in KINDS}
    for heads, word in ((OWN, "own"), (ONE, "one")):
        rows = agree[(agree["heads"] == heads) & (agree["kind"] == "difference")]
        if len(rows):
            found[f"gain_{word}_head"] = float(rows["apart"].iloc[0])
    return found


def finding(
    last: pd.DataFrame, agree: pd.DataFrame, slopes: pd.DataFrame, settings: NormSettings
) -> tuple[str, str, str]:
    """Return answer, points and details.

    Args:
        last: Correlations under the last layer's head.
        agree: From `agreement_table`.
        slopes: From `slope_of_sizes`.
        settings: Sizes.
    """
    found = [compare(Interval.of(row, "spearman")) for _, row in _pick(last, BOTH).iterrows()]
    words = {"above": "larger", "below": "smaller"}
    shown = [f"{found.count(k)} with {words[k]} errors" for k in words if k in found]
    answer = "With the number of classes and the head's penalty held fixed, " + (
        f"of {len(found)} sizes larger norms go at {' and at '.join(shown)}."
        if shown
        else f"a relation of norm and error is not shown at any of {len(found)} sizes."
    )
    names = {ERROR: "norm and error", GIVEN: "classes fixed", BOTH: "classes and penalty fixed",
             PENALTY: "norm and penalty"}  # fmt: skip
    rows = []
    for n, part in last.groupby("n"):
        cells = {"n": f"{n:,}", "tasks": f"{part['tasks'].iloc[0]}"}
        for pair, name in names.items():
            found_rows = _pick(part, pair).iterrows()
            cells[name] = "".join(f"{Interval.of(row, 'spearman')}" for _, row in found_rows)
        rows.append(cells)
    note = (
        "Spearman's correlations over tasks, 90 % intervals over corpora, without correction for "
        "their number. The penalty is the one that was chosen for the head."
    )
    return answer, blocks(md_table(rows), note), _details(last, agree, slopes, settings)


def _details(
    last: pd.DataFrame, agree: pd.DataFrame, slopes: pd.DataFrame, settings: NormSettings
) -> str:
    here = last[(last["n"] == settings.shown) & (last["layer"] > 0)]
    layers = pd.concat([_pick(here, GIVEN, layer=k) for k in here["layer"].unique()] or [here])
    layers = layers.dropna(subset=["spearman"])
    items = []
    if len(layers):
        best = layers.iloc[int(layers["spearman"].abs().argmax())]
        items.append(
            f"Of single layers (n = {settings.shown:,}, classes fixed) layer {best['layer']} has "
            f"the strongest relation: {best['spearman']:.2f}, picked among {len(layers)}."
        )
    if len(slopes) > 1:
        slope = [resampled_median(slopes[k], slopes["corpus"]) for k in KINDS]
        items.append(
            f"Slope of log norm on log n, median of {len(slopes)} tasks: {slope[0]}; of the "
            f"noise-corrected norm {slope[1]}."
        )
    for heads, what in ((ONE, "Under one head"), (OWN, "Under a head each")):
        rows = agree[agree["heads"] == heads] if len(agree) else agree
        if rows.empty:
            continue
        first = rows[rows["small"] == rows["small"].min()].set_index("kind")
        plain, corrected, gain = (
            Interval.of(first.loc[k], "apart") for k in (*KINDS, "difference")
        )
        sizes = [int(first.iloc[0][k]) for k in ("small", "large")]
        items.append(
            f"{what}, norms of {sizes[0]:,} and {sizes[1]:,} texts differ by {plain} in the "
            f"absolute logarithm (median), corrected ones by {corrected}: the noise correction "
            f"{_helps(gain)} ({gain:+.3f}; above 0 it helps)."
        )
    return bullets(*items)


def _helps(gain: Interval) -> str:
    if abs(gain.mean) < NEGLIGIBLE and max(-gain.low, gain.high) < NEGLIGIBLE:
        return "changes almost nothing"
    words = {"above": "brings sizes together", "below": "drives sizes apart"}
    return words.get(compare(gain), "is not shown to help")


def draw(
    held: pd.DataFrame,
    here: pd.DataFrame,
    by_size: pd.DataFrame,
    agree: pd.DataFrame,
    settings: NormSettings,
    *,
    n_layers: int,
) -> dict[str, Figure]:
    """Return all figures, ending -> figure; error by norm first."""
    n, bars = settings.shown, "Bars: 90 % bootstrap intervals over corpora."
    at = (held["n"] == n) & (held["layer"] == 0) & (held["head_layer"] == n_layers)
    rows = held[at & held["accuracy"].notna()]
    sizes = pd.cut(
        rows["n_classes"], [1, 2, 7, np.inf], labels=["2 classes", "3 to 7", "8 or more"]
    )
    rows = rows.assign(error=1 - rows["accuracy"], group=sizes.astype(str)).sort_values("n_classes")
    values = [float(v) for pair in (ERROR, GIVEN) for v in _pick(here, pair)["spearman"]]
    error = figures.scatter(
        rows,
        x=("l2", "L2 norm of the embedding, all layers"),
        y=("error", "error of the head"),
        names=("task", "n_classes"),
        log_x=True,
        title=f"Error by norm: Spearman {values[0]:.2f}; {values[1]:.2f} with the number of "
        "classes held fixed"
        if len(values) == 2
        else "Error by norm",
        caption=f"One mark a task, n = {n:,}, head on layer {n_layers}. Norms near zero: heads "
        "that found almost nothing, under a large penalty.",
    )
    smallest = by_size["n"].min()
    first = by_size[by_size["n"] == smallest].set_index("task")["l2"]
    ratios = by_size.assign(mean=by_size["l2"] / by_size["task"].map(first), line=by_size["task"])
    ratios = ratios[ratios["mean"] > 0]
    middle = ratios.groupby("n", as_index=False)["mean"].median().assign(line="median")
    both = pd.concat([ratios[["line", "n", "mean"]], middle], ignore_index=True).sort_values("n")
    ends = both["mean"].min() / 1.5, both["mean"].max() * 1.5
    ticks = [t for t in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100) if ends[0] < t < ends[1]]
    growth = figures.lines(
        both.assign(place=[f"{n:,}" for n in both["n"]]),
        title=f"Norm by number of labels, against that of {smallest:,}",
        caption="One thin line a task, the median thick. All layers, last head, fitted to as "
        "many labels.",
        x="labelled texts",
        y=f"norm, against n = {smallest:,}",
        level=1,
        faint=set(ratios["line"]),
        ticks={t: f"{t:g}\u00d7" for t in ticks},
    )
    apart = agree[agree["kind"] != "difference"]
    words = [f"{r.small:,} to {r.large:,}, {'one head' if r.heads == ONE else 'own heads'}"
             for r in apart.itertuples()]  # fmt: skip
    agreement = figures.dots(
        apart.assign(
            method=words, series=apart["kind"].map(KINDS), value=apart["apart"],
            low=apart["apart_low"], high=apart["apart_high"],
        )[["method", "series", "value", "low", "high"]],
        title="Norms of two sizes: how far apart, with and without the noise correction",
        caption=f"Median over tasks of the absolute logarithm of two norms' ratio. {bars}",
        label="|log ratio of norms of two sizes|",
        level=0.0,
    )  # fmt: skip
    layers = here[(here["first"] == "norm") & (here["second"] == "error")]
    by_layer = figures.dots(
        layers.assign(
            method=["all layers" if k == 0 else f"layer {k}" for k in layers["layer"]],
            series=["classes held fixed" if g else "norm and error" for g in layers["given"]],
            value=layers["spearman"],
        )[["method", "series", "value", "low", "high"]],
        title="Norm of each layer and error of the head",
        caption=f"n = {n:,}, head on layer {n_layers}. {bars}",
        label="Spearman with the head's error",
        level=0.0,
        limits=(-1, 1),
    )
    return {"": error, "sizes": growth, "agreement": agreement, "layers": by_layer}


EXPERIMENT = Experiment(
    name="norm",
    question="What does the norm say?",
    motivation="the paper on Task2Vec: the norm of an embedding as the difficulty of its task",
    settings=NormSettings,
    run=run,
)
