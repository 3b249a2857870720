"""What the settings of embeddings change: words and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from glue_pilot.experiments.layers_figures import interval_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLE = "sample"
METRICS = ("log_ratio", "cosine")

_PARTS = {"all": "", "shift": " (shift)", "rest": " (own)"}


def finding_of(table: pd.DataFrame, *, n: int, tasks: int) -> str:
    """Say what the table says.

    Args:
        table: From `sensitivity.distance_table` and `sensitivity.parts_table`.
        n: Labelled texts a sample.
        tasks: How many tasks there are.
    """
    shares = table[table["what"] == "share"]
    task = shares[shares["factor"] == "task"].iloc[0]
    own = shares[shares["level"] == "rest"].sort_values("mean", ascending=False)
    varied = own[own["factor"] != SAMPLE]
    first, last = varied.iloc[0], varied.iloc[-1]
    shift = shares[shares["level"] == "shift"]["mean"].sum()
    sentences = [
        _answer(task, varied) + "\n\n"
        f"{tasks} tasks, {n} texts each; one thing is varied at a time. In brackets: "
        "90 % intervals over tasks.",
        f"Of the variation of log embeddings, tasks hold {_share(task)}; shifts that all tasks "
        f"share hold {shift:.0%} (they do no harm as long as all tasks are embedded alike).",
        f"Of the hyper-parameters, the {first['factor']} moves each task its own way the most, "
        f"{_share(first)}, the {last['factor']}, {_share(last)} the least. Shares depend on how "
        "far each thing was varied.",
        _sample_words(own),
    ]
    for metric in METRICS:
        sentences.append(_nearer_words(table, metric))
    sentences.append(_agreement_words(table))
    return " ".join(sentences)


def _answer(task: pd.Series, own: pd.DataFrame) -> str:
    """Say first whether tasks differ more than any hyper-parameter moves them."""
    most, rest = own.iloc[0], own["mean"].sum()
    if task["low"] > own["high"].max():
        said = "Tasks differ more than any one hyper-parameter moves them"
    elif task["high"] < most["low"]:
        said = f"The {most['factor']} moves embeddings more than tasks differ"
    else:
        said = "It is not shown that tasks differ more than any one hyper-parameter moves them"
    return (
        f"{said}: of the variation, tasks hold {_share(task)}, the {most['factor']} "
        f"{_share(most)}, all hyper-parameters together {rest:.0%}."
    )


def _share(row: pd.Series) -> str:
    return f"{row['mean']:.0%} ({row['low']:.0%} to {row['high']:.0%})"


def _sample_words(own: pd.DataFrame) -> str:
    """Compare hyper-parameters with the draw of texts, which nobody can choose."""
    sample = own[own["factor"] == SAMPLE].iloc[0]
    above = own[own["low"] > sample["high"]]["factor"]
    said = f"Another draw of texts holds {_share(sample)}"
    if len(above):
        return f"{said}; clearly more than it: {', '.join(above)}."
    return f"{said}; no hyper-parameter holds clearly more."


def _nearer_words(table: pd.DataFrame, metric: str) -> str:
    rows = table[(table["what"] == "nearer") & (table["metric"] == metric)]
    worst, none = rows.iloc[int(rows["mean"].argmax())], int((rows["mean"] == 0).sum())
    if none == len(rows):
        return (
            f"By {metric}, no other task is ever nearer than the same task under another setting "
            f"({len(rows)} settings)."
        )
    return (
        f"By {metric}, another task is nearer than the same task under another setting in "
        f"{rows['mean'].mean():.0%} of all cases, never for {none} of {len(rows)} settings; "
        f"most with {worst['factor']} {worst['level']}, "
        f"{_share(worst)}."
    )


def _agreement_words(table: pd.DataFrame) -> str:
    rows = table[(table["what"] == "agreement") & (table["metric"] == "log_ratio")]
    low, high = (rows.iloc[int(k)] for k in (rows["mean"].argmin(), rows["mean"].argmax()))
    return (
        "Where all tasks are embedded alike, the order of a task's distances to the others (by "
        f"log_ratio) keeps a rank correlation with the base setting's of {rows['mean'].mean():.2f} "
        f"on average: least with {low['factor']} {low['level']}, {low['mean']:.2f} "
        f"({low['low']:.2f} to {low['high']:.2f}), most with {high['factor']} {high['level']}, "
        f"{high['mean']:.2f}."
    )


def figures_of(table: pd.DataFrame) -> dict[str, Figure]:
    """Draw the shares of variation, and how far each setting moves a task."""
    shares = table[table["what"] == "share"]
    task = shares[shares["factor"] == "task"].iloc[0]
    own = shares[shares["level"] == "rest"]
    sample = own[own["factor"] == SAMPLE].iloc[0]
    own = own[own["factor"] != SAMPLE]
    most = own.iloc[int(own["mean"].argmax())]
    words = shares["level"].map(_PARTS)
    names = shares["factor"] + words
    parts = interval_rows(
        shares.assign(name=names, group=words),
        title=f"Tasks hold {task['mean']:.0%} of the variation of log embeddings, "
        f"another sample {sample['mean']:.0%}, {most['factor']} {most['mean']:.0%}",
        caption="Share of the variance components' sum: of tasks, and of each thing that was "
        "varied alone. Shift: all tasks move alike; own: each its own way. Bars: 90 % bootstrap "
        "intervals over tasks.",
        across="share of the variation",
    )
    ratio = table[(table["what"] == "ratio") & (table["metric"] == "log_ratio")]
    beyond = int((ratio["low"] > 1).sum())
    names = ratio["factor"] + ": " + ratio["level"]
    moved = interval_rows(
        ratio.assign(name=names, group=ratio["factor"]),
        title=f"{beyond} of {len(ratio)} settings move a task farther than other tasks lie",
        caption="Distance (log_ratio) of a task from itself at the base setting, over the mean "
        "distance of other tasks (dashed). Bars: 90 % bootstrap intervals over corpora.",
        across="distance / distance between tasks",
        levels=(1.0,),
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
