"""What does the norm say? Of the head's error, of the number of labels, less sampling noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from charkit.encoders import load_encoder
from charkit.errors import UsageError
from glue_pilot.embeddings import norm_rows
from glue_pilot.experiments.base import Bench, Experiment, Found
from glue_pilot.experiments.dots import dots_figure
from glue_pilot.experiments.norm_sizes import (
    KINDS,
    ONE,
    OWN,
    agreement_table,
    one_head_rows,
    resampled_median,
    size_rows,
    slope_of_sizes,
)
from glue_pilot.experiments.samples import embedded_samples, known_tasks, study_of
from glue_pilot.science_figures import error_figure, sizes_figure
from glue_pilot.science_norms import norm_table
from glue_pilot.siblings import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


def run(settings: NormSettings, bench: Bench) -> Found:
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
    known = known_tasks(settings.tasks, bench)
    study = study_of(settings, sizes, (1,) * len(sizes))
    samples = embedded_samples(study, known, encoder, bench)
    held = pd.DataFrame([row for sample in samples for row in norm_rows(sample)])
    related = norm_table(held)
    if related.empty:
        raise UsageError(
            f"too few tasks: expected at least 5 for classification, got {len(known)}."
        )
    by_size = size_rows(held)
    fixed = one_head_rows(samples, study, encoder, bench, n_small=sizes[0], n_large=sizes[1])
    agree = pd.concat(
        [agreement_table(by_size, heads=OWN), agreement_table(fixed, heads=ONE)],
        ignore_index=True,
    )
    slopes = slope_of_sizes(by_size)
    table = pd.concat(
        [
            related.assign(part="correlations"),
            agree.assign(part="agreement"),
            slopes.assign(part="slopes"),
            by_size.assign(part="norms"),
            fixed.assign(part="norms under one head"),
        ],
        ignore_index=True,
    )
    figures = draw(held, related, by_size, agree, settings, n_layers=encoder.n_layers)
    text = finding(related, agree, slopes, settings, n_layers=encoder.n_layers)
    numbers = summary(related, agree, slopes, settings, n_layers=encoder.n_layers)
    return Found(table, figures, text, numbers)


def _related(
    related: pd.DataFrame, n: int, head: int, layer: int, names: tuple[str, str, str]
) -> pd.Series | None:
    rows = related[
        (related["n"] == n)
        & (related["head_layer"] == head)
        & (related["layer"] == layer)
        & (related["first"] == names[0])
        & (related["second"] == names[1])
        & (related["given"] == names[2])
    ]
    return rows.iloc[0] if len(rows) else None


NEGLIGIBLE = 0.01
"""Gaps of logarithms below this are a hundredth of the norm or less."""

ERROR, GIVEN = ("norm", "error", ""), ("norm", "error", "classes")


def summary(
    related: pd.DataFrame,
    agree: pd.DataFrame,
    slopes: pd.DataFrame,
    settings: NormSettings,
    *,
    n_layers: int,
) -> dict[str, float]:
    """Return the correlations with error, the slopes and the gains of the correction."""
    found: dict[str, float] = {}
    for name, key in (("error", ERROR), ("error_given_classes", GIVEN)):
        row = _related(related, settings.shown, n_layers, 0, key)
        if row is not None:
            found[name] = float(row["spearman"])
    found |= {f"slope_{kind}": float(slopes[kind].median()) for kind in KINDS}
    for heads, word in ((OWN, "own"), (ONE, "one")):
        rows = agree[(agree["heads"] == heads) & (agree["kind"] == "difference")]
        if len(rows):
            found[f"gain_{word}_head"] = float(rows["apart"].iloc[0])
    return found


# -- figures ----------------------------------------------------------------------------------


def draw(
    held: pd.DataFrame,
    related: pd.DataFrame,
    by_size: pd.DataFrame,
    agree: pd.DataFrame,
    settings: NormSettings,
    *,
    n_layers: int,
) -> dict[str, Figure]:
    """Return all figures, ending -> figure; error by norm first."""
    n = settings.shown
    rows = held[
        (held["n"] == n)
        & (held["layer"] == 0)
        & (held["head_layer"] == n_layers)
        & held["accuracy"].notna()
    ]
    plain, given = (_related(related, n, n_layers, 0, key) for key in (ERROR, GIVEN))
    title = "Error by norm"
    if plain is not None and given is not None:
        title = (
            f"Error by norm: Spearman {plain['spearman']:.2f}; {given['spearman']:.2f} with the "
            "number of classes held fixed"
        )
    shown = pd.DataFrame(
        rows.assign(error=1 - rows["accuracy"]), columns=["task", "l2", "error", "n_classes"]
    )
    figures = {
        "": error_figure(
            shown,
            title=title,
            caption=f"One mark a task, n = {n:,}, head on layer {n_layers}. Norms next to nought: "
            "heads that found next to nothing, under a large penalty.",
        ),
        "sizes": _sizes_figure(by_size),
        "agreement": dots_figure(
            _agreement_rows(agree),
            title=_agreement_title(agree),
            caption="Median over tasks of the absolute logarithm of two norms' ratio: 0 means "
            "that sizes agree. Bars: 90 % bootstrap intervals over corpora.",
            label="|log ratio of norms of two sizes|",
            chance=0.0,
        ),
    }
    figures["layers"] = _layers_figure(related, n, n_layers)
    return figures


def _sizes_figure(by_size: pd.DataFrame) -> Figure:
    smallest = by_size["n"].min()
    first = by_size[by_size["n"] == smallest].set_index("task")["l2"]
    ratios = by_size.assign(ratio=by_size["l2"] / by_size["task"].map(first))
    return sizes_figure(
        pd.DataFrame(ratios[ratios["ratio"] > 0]),
        title=f"Norm by number of labels, against that of {smallest:,}",
        caption="One thin line a task, the median thick. All layers, last head, fitted to as "
        "many labels.",
    )


def _layers_figure(related: pd.DataFrame, n: int, n_layers: int) -> Figure:
    layers = related[(related["n"] == n) & (related["head_layer"] == n_layers)]
    layers = layers[(layers["first"] == "norm") & (layers["second"] == "error")]
    named = layers.assign(
        method=["all layers" if k == 0 else f"layer {k}" for k in layers["layer"]],
        series=["classes held fixed" if g else "norm and error" for g in layers["given"]],
        value=layers["spearman"],
    )
    return dots_figure(
        named[["method", "series", "value", "low", "high"]],
        title="Norm of each layer and error of the head",
        caption=f"n = {n:,}, head on layer {n_layers}. Bars: 90 % bootstrap intervals over "
        "corpora.",
        label="Spearman with the head's error",
        chance=0.0,
        limits=(-1, 1),
    )


def _agreement_rows(agree: pd.DataFrame) -> pd.DataFrame:
    rows = agree[agree["kind"] != "difference"]
    methods = [
        f"{row.small:,} to {row.large:,}, " + ("one head" if row.heads == ONE else "own heads")
        for row in rows.itertuples()
    ]
    return pd.DataFrame(
        {"method": methods, "series": rows["kind"].map(KINDS).to_numpy()}
        | {"value": rows["apart"].to_numpy(), "low": rows["apart_low"].to_numpy()}
        | {"high": rows["apart_high"].to_numpy()}
    )


def _agreement_title(agree: pd.DataFrame) -> str:
    words: dict[str, list[str]] = {}
    for heads, name in ((ONE, "under one head"), (OWN, "under a head each")):
        rows = agree[(agree["heads"] == heads) & (agree["kind"] == "difference")]
        if len(rows):
            words.setdefault(_helps(rows.iloc[0]), []).append(name)
    said = ", ".join(f"{what} {' and '.join(names)}" for what, names in words.items())
    return f"The noise correction {said}"


def _helps(row: pd.Series) -> str:
    """Return what the correction does to the gap between sizes, in words."""
    if abs(row["apart"]) < NEGLIGIBLE and max(-row["apart_low"], row["apart_high"]) < NEGLIGIBLE:
        return "changes next to nothing"
    if row["apart_low"] > 0:
        return "brings sizes together"
    return "drives sizes apart" if row["apart_high"] < 0 else "is not shown to help"


# -- what was found ---------------------------------------------------------------------------


def finding(
    related: pd.DataFrame,
    agree: pd.DataFrame,
    slopes: pd.DataFrame,
    settings: NormSettings,
    *,
    n_layers: int,
) -> str:
    """Return what the tables say, in words."""
    words = []
    for n in settings.sizes:
        plain, given = (_related(related, n, n_layers, 0, key) for key in (ERROR, GIVEN))
        if plain is not None and given is not None:
            words.append(
                f"At n = {n:,} ({plain['tasks']} tasks) Spearman's correlation of norm and error "
                f"of the head is {_said(plain)}; with the number of classes held fixed "
                f"{_said(given)}: {_direction(given)}."
            )
    words += _layer_words(related, settings.shown, n_layers)
    if len(slopes) > 1:
        words.append(_slope_words(slopes))
    for heads in (ONE, OWN):
        words += _agreement_words(agree, heads)
    return " ".join(words)


def _layer_words(related: pd.DataFrame, n: int, n_layers: int) -> list[str]:
    found = {}
    for layer in range(1, n_layers + 1):
        row = _related(related, n, n_layers, layer, GIVEN)
        if row is not None and np.isfinite(row["spearman"]):
            found[layer] = row
    if not found:
        return []
    best = max(found, key=lambda k: abs(float(found[k]["spearman"])))
    return [
        f"Of single layers (n = {n:,}, classes held fixed) layer {best} goes with the error most: "
        f"{_said(found[best])}; picked among {len(found)}, so a little lucky."
    ]


def _slope_words(slopes: pd.DataFrame) -> str:
    found = {k: resampled_median(slopes[k], slopes["corpus"]) for k in KINDS}
    rises = "rises" if found["l2"].low > 0 else "is not shown to rise"
    return (
        f"The norm {rises} with the number of labels: slope of log norm on log n "
        f"{found['l2']} (median of {len(slopes)} tasks); of the noise-corrected norm "
        f"{found['l2_corrected']}."
    )


def _agreement_words(agree: pd.DataFrame, heads: str) -> list[str]:
    rows = agree[agree["heads"] == heads] if len(agree) else agree
    if rows.empty:
        return []
    first = rows[(rows["small"] == rows["small"].min())].set_index("kind")
    plain, corrected = first.loc["l2"], first.loc["l2_corrected"]
    what = "Under one and the same head, norms of" if heads == ONE else "With a head each, norms of"
    gain = first.loc["difference"]
    verdict = (
        f"the correction {_helps(gain)} ({gain['apart']:+.3f}, {gain['apart_low']:+.3f} to "
        f"{gain['apart_high']:+.3f}; above 0 it helps)"
    )
    return [
        f"{what} {int(plain['small']):,} and {int(plain['large']):,} texts differ by "
        f"{_apart(plain)} in the absolute logarithm (median over tasks), corrected ones "
        f"by {_apart(corrected)}: {verdict}."
    ]


def _apart(row: pd.Series) -> str:
    return f"{row['apart']:.2f} ({row['apart_low']:.2f} to {row['apart_high']:.2f})"


def _said(row: pd.Series) -> str:
    return str(Interval(row["spearman"], row["low"], row["high"]))


def _direction(row: pd.Series) -> str:
    if row["low"] > 0:
        return "larger norms go with larger errors"
    return "larger norms go with smaller errors" if row["high"] < 0 else "no relation is shown"


EXPERIMENT = Experiment(
    name="norm",
    question="What does the norm say?",
    asked_by="the paper on Task2Vec: the norm of an embedding as the difficulty of its task",
    settings=NormSettings,
    run=run,
)
