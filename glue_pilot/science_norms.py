"""What the norm of an embedding says of its task: error, classes, sample size."""

from __future__ import annotations

import numpy as np
import pandas as pd

from glue_pilot.siblings import FloatArray, drawn_groups


def norm_table(norms: pd.DataFrame) -> pd.DataFrame:
    """Relate norms to the head's error, its L2 strength and the number of classes, over tasks.

    Returns:
        One row a size, head, layer (0: all) and pair of quantities: Spearman's correlation with
        a 90 % bootstrap interval over corpora; ``given``: what is held fixed (ranks regressed
        on its ranks).
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
        for first, second, given in (
            ("norm", "error", ""),
            ("norm", "classes", ""),
            ("error", "classes", ""),
            ("norm", "strength", ""),
            ("norm", "error", "classes"),
            ("norm", "classes", "error"),
        ):
            found = float(correlation(table, first, second, given)[0])
            low, high = _correlation_interval(table, first, second, given)
            rows.append(
                dict(zip(("n", "head_layer", "layer"), keys, strict=True))
                | {"first": first, "second": second, "given": given, "tasks": len(table)}
                | {"spearman": found, "low": low, "high": high}
            )
    return pd.DataFrame(rows)


def correlation(
    table: pd.DataFrame,
    first: str,
    second: str,
    given: str = "",
    *,
    weights: FloatArray | None = None,
) -> FloatArray:
    """Return Spearman's correlation, partial where ``given`` names a column; NaN if constant.

    Args:
        table: The columns.
        first: A column.
        second: Another.
        given: Held fixed: the ranks of both are regressed on its ranks.
        weights: How often each row counts, (n_cases, n_rows); ranks stay those of the table.

    Returns:
        One value a case, (n_cases,).
    """
    counts = np.ones((1, len(table))) if weights is None else weights
    columns = [c for c in (first, second, given) if c]
    ranks = table[columns].rank().to_numpy(np.float64)
    total = counts.sum(1)[:, None]
    mean = counts @ ranks / total
    products = np.einsum("bn,ni,nj->bij", counts, ranks, ranks) / total[:, :, None]
    covariance = products - mean[:, :, None] * mean[:, None, :]
    spread = np.sqrt(np.maximum(np.einsum("bii->bi", covariance), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = covariance / (spread[:, :, None] * spread[:, None, :])
        found = r[:, 0, 1]
        if given:
            rest = (1 - r[:, 0, 2] ** 2) * (1 - r[:, 1, 2] ** 2)
            found = (found - r[:, 0, 2] * r[:, 1, 2]) / np.sqrt(np.maximum(rest, 0))
    return np.where(np.isfinite(found) & (np.abs(found) < 1 + 1e-6), found, np.nan)


def _correlation_interval(
    table: pd.DataFrame, first: str, second: str, given: str
) -> tuple[float, float]:
    codes, names = pd.factorize(table["corpus"])
    drawn = drawn_groups(len(names), 0)[:, codes]
    found = correlation(table, first, second, given, weights=drawn)
    if np.isnan(found).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(found, [0.05, 0.95])
    return float(low), float(high)


def slope_table(norms: pd.DataFrame) -> pd.DataFrame:
    """Return each task's slope of log norm on log sample size, last head, all layers."""
    last = norms[(norms["head_layer"] == norms["head_layer"].max()) & (norms["layer"] == 0)]
    rows = []
    for (task, corpus), part in last.groupby(["task", "corpus"]):
        mean = part.groupby("n_samples")["l2"].mean()
        if len(mean) > 1 and (mean > 0).all():
            x, y = np.log(mean.index.to_numpy(np.float64)), np.log(mean.to_numpy())
            slope = float(np.polyfit(x, y, 1)[0])
            rows.append({"task": task, "corpus": corpus, "sizes": len(mean), "slope": slope})
    return pd.DataFrame(rows)
