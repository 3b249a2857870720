"""What choosing an expert came to, in words chosen by comparison of the numbers."""

from __future__ import annotations

import pandas as pd

from glue_pilot.experiments.experts_gather import ExpertSettings
from glue_pilot.experiments.experts_select import (
    ASYMMETRIC,
    AVERAGE,
    CHANCE,
    COSINE,
    GENERIC,
    HALF,
    LEFT_OUT,
    LOG_RATIO,
    LOGME,
    MODEL2VEC,
    MODEL2VEC_GENERIC,
    TEXT,
    TEXT_CENTRED,
)

Costs = dict[str, dict[str, float]]
"""Way of choosing -> column -> number."""

PROBE = "generic encoder, last layer"

ORDER = (
    CHANCE, GENERIC, COSINE, LOG_RATIO, ASYMMETRIC, MODEL2VEC, MODEL2VEC_GENERIC, TEXT,
    TEXT_CENTRED, AVERAGE, LOGME, LEFT_OUT, HALF,
)  # fmt: skip
"""The ways of choosing, in the order of the story."""

_BAR = (ASYMMETRIC, MODEL2VEC)
_WORDS = ("n", "layer", "probe", "method")


def keyed(rows: pd.DataFrame) -> Costs:
    """Return rows of one size, layer and probe by their way of choosing."""
    return {
        str(row["method"]): {str(k): float(v) for k, v in row.items() if k not in _WORDS}
        for row in rows.to_dict("records")
    }


def percent(share: float) -> str:
    """Return a share as a signed percentage.

    >>> percent(0.074)
    '+7 %'
    """
    return f"{round(100 * share):+d} %"


def costs_at(table: pd.DataFrame, *, n: int, layer: int, probe: str = PROBE) -> Costs:
    """Return the costs at a size, for heads on a layer, under a probe."""
    return keyed(table[(table["n"] == n) & (table["layer"] == layer) & (table["probe"] == probe)])


def finding(
    table: pd.DataFrame,
    main: pd.DataFrame,
    gains: pd.DataFrame,
    settings: ExpertSettings,
    n_layers: int,
) -> str:
    """Return what the table says.

    Args:
        table: One row a size, layer, probe and way of choosing.
        main: The rows of the main answer.
        gains: Points of accuracy above the generic encoder, tasks by experts.
        settings: What was run.
        n_layers: Of the encoder.
    """
    keys = keyed(main)
    said = [
        f"{len(gains.columns)} experts were fine-tuned from {settings.encoder}; each of "
        f"{len(gains)} tasks takes an expert of another corpus and fits a head to {settings.n} "
        f"labelled texts. The best expert's mean error is "
        f"{100 * keys[CHANCE]['optimal_error']:.1f} %.",
        "Relative increase of the error over it (90 % interval over corpora): "
        + "; ".join(f"{method} {_told(keys[method])}" for method in ORDER)
        + ".",
        *(_bar_words(method, keys[method]) for method in _BAR),
        _worth_words(gains, keys),
        _size_words(table, settings, n_layers),
        _probe_words(table),
        _layer_words(table, settings, n_layers),
        f"Search on half of the evaluation texts, scored on the other half, is "
        f"{percent(keys[HALF]['increase'])}: about so much of every increase is the luck of the "
        "best on its own test.",
    ]
    return "\n\n".join(said)


def _told(row: dict[str, float]) -> str:
    ends = f"{100 * row['increase_low']:+.0f} to {100 * row['increase_high']:+.0f}"
    return f"{percent(row['increase'])} ({ends})"


def _bar_words(method: str, row: dict[str, float]) -> str:
    words = []
    for rival, column in (
        ("the generic encoder", "versus_generic"),
        ("the nearest by texts (the better of two ways)", "versus_text"),
    ):
        low, high = row[f"{column}_low"], row[f"{column}_high"]
        verdict = "better than" if high < 0 else "worse than" if low > 0 else "level with"
        words.append(
            f"{verdict} {rival} (difference {percent(row[column])}, {100 * low:+.0f} to "
            f"{100 * high:+.0f})"
        )
    return f"{method} is {' and '.join(words)}."


def _worth_words(gains: pd.DataFrame, keys: Costs) -> str:
    best, middle = gains.max(axis=1), gains.mean(axis=1)
    winners = gains.idxmax(axis=1).value_counts()
    better = (gains.to_numpy() > 0).sum() / gains.notna().to_numpy().sum()
    why = f"{better:.0%} of the pairs of expert and task do better with the expert"
    return (
        f"Against the generic encoder the best expert gains {best.mean():+.1f} points of accuracy "
        f"on average and a random one {middle.mean():+.1f}; {why}. The expert of "
        f"{winners.index[0]} is the best for {int(winners.iloc[0])} of {len(gains)} tasks; taking "
        f"the expert that was best on the other tasks costs {_told(keys[AVERAGE])}."
    )


def _size_words(table: pd.DataFrame, settings: ExpertSettings, n_layers: int) -> str:
    words = []
    for n in settings.sizes:
        costs = costs_at(table, n=n, layer=settings.layer % (n_layers + 1))
        named = ((GENERIC, "generic"), (LOG_RATIO, "log-ratio"), (ASYMMETRIC, "asymmetric"),
                 (MODEL2VEC, "MODEL2VEC"), (TEXT, "texts"))  # fmt: skip
        told = [f"{word} {percent(costs[method]['increase'])}" for method, word in named]
        words.append(f"n = {n}: {', '.join(told)}")
    return f"By size of the task's sample, {'; '.join(words)}."


def _probe_words(table: pd.DataFrame) -> str:
    part = table[(table["probe"] != PROBE) & (table["method"] == LOG_RATIO)]
    words = [f"{probe} {_told(keyed(rows)[LOG_RATIO])}" for probe, rows in part.groupby("probe")]
    return f"Nearest by log-ratio under other probes, both tasks at one size: {'; '.join(words)}."


def _layer_words(table: pd.DataFrame, settings: ExpertSettings, n_layers: int) -> str:
    numbers = [k % (n_layers + 1) for k in (settings.layer, settings.other_layer)]
    main, other = (costs_at(table, n=settings.n, layer=number) for number in numbers)
    told = [f"{method} is {percent(other[method]['increase'])}" for method in (*_BAR, GENERIC)]
    return (
        f"With heads on layer {numbers[1]} instead of {numbers[0]}, the generic encoder errs on "
        f"{100 * other[GENERIC]['mean_error']:.1f} % instead of "
        f"{100 * main[GENERIC]['mean_error']:.1f} %, the best expert on "
        f"{100 * other[GENERIC]['optimal_error']:.1f} % instead of "
        f"{100 * main[GENERIC]['optimal_error']:.1f} %; there {', '.join(told)}."
    )
