"""Cases of three samples, of which the first and second belong together: is the second nearer?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.fisher import TaskEmbedding, pairwise
from charkit.fisher.distances import MIN_REFERENCE
from glue_pilot.embeddings import Sample
from glue_pilot.experiments.samples import FISHER_METRICS, NORM
from glue_pilot.relabelled import Relabelled
from glue_pilot.science_matrices import norm_matrix
from glue_pilot.science_tables import label_word, relabelled_cases
from glue_pilot.siblings import resampled, separation

FloatArray = NDArray[np.float64]

TEXTS = "text, any distance"
SAME, OTHER = "the very same texts", "other texts of the same source"


def relabelled_matrices(
    relabelled: Sequence[Relabelled], library: Sequence[TaskEmbedding]
) -> dict[str, FloatArray]:
    """Return distances between samples of texts under several labellings, by method.

    Args:
        relabelled: All of one size.
        library: What ``log_ratio`` takes its centre from; too small a one is not used.
    """
    last = max(relabelled[0].embeddings)
    embeddings = [r.embeddings[last] for r in relabelled]
    reference = list(library) if len(library) >= MIN_REFERENCE else None
    found = {
        name: pairwise(embeddings, metric=metric, reference=reference).to_numpy()
        for name, metric in FISHER_METRICS.items()
    }
    found[NORM] = norm_matrix(embeddings)[1]
    texts = np.array([r.text_fingerprint for r in relabelled])
    found[TEXTS] = (texts[:, None] != texts).astype(np.float64)
    return found


def relabelled_rows(
    relabelled: Sequence[Relabelled],
    matrices: dict[str, FloatArray],
    *,
    about: str,
    all_pairs: bool = False,
) -> pd.DataFrame:
    """Return one row a method, pair of labellings and kind of texts: shares told right.

    Args:
        relabelled: In the order of the matrices.
        matrices: From `relabelled_matrices`.
        about: What the rows are of, for the column ``part``.
        all_pairs: Name both labellings of a pair; else their kind, as in `relabelled_cases`.

    Returns:
        Columns ``part``, ``texts``, ``pair``, ``method``, ``value``, ``low``, ``high``
        (bootstrap over base tasks), ``bases``, ``cases``, ``worst`` (of a base task).
    """
    rows = []
    for method, matrix in matrices.items():
        cases = pd.DataFrame(list(relabelled_cases(matrix, relabelled)))
        if all_pairs:
            cases["pair"] = cases["labellings"]
        for pair in ["all", *sorted(cases["pair"].unique())]:
            kept = cases if pair == "all" else cases[cases["pair"] == pair]
            shares = kept.groupby("base")[["same_texts", "other_texts"]].mean()
            for texts, column in ((SAME, "same_texts"), (OTHER, "other_texts")):
                values = shares[column].to_numpy(np.float64)
                found = resampled(values, [str(base) for base in shares.index])
                rows.append(
                    {"part": about, "texts": texts, "pair": pair, "method": method}
                    | {"value": found.mean, "low": found.low, "high": found.high}
                    | {"bases": len(shares), "cases": len(kept), "worst": float(values.min())}
                )
    return pd.DataFrame(rows)


def collapse_row(relabelled: Sequence[Relabelled], matrix: FloatArray) -> dict[str, float]:
    """Return how far other labels of the very same texts lie, in units of another draw.

    Returns:
        ``ratio`` with ``ratio_low`` and ``ratio_high``: the median over base tasks of (median
        distance to other labels of the same texts) / (median distance to the other draw under
        the same labels), and the ends of the middle 90 % over bootstrapped base tasks.
    """
    ratios = []
    for base in dict.fromkeys(r.base for r in relabelled):
        places = [k for k, r in enumerate(relabelled) if r.base == base]
        apart, drawn = [], []
        for a in places:
            for b in places:
                one, other = relabelled[a], relabelled[b]
                if one.draw == other.draw and one.labelling != other.labelling:
                    apart.append(matrix[a, b])
                if one.draw != other.draw and one.labelling == other.labelling:
                    drawn.append(matrix[a, b])
        ratios.append(float(np.median(apart) / max(float(np.median(drawn)), 1e-300)))
    rng = np.random.default_rng(0)
    values = np.array(ratios)
    medians = np.median(values[rng.integers(0, len(values), (2000, len(values)))], axis=1)
    low, high = np.quantile(medians, [0.05, 0.95])
    return {"ratio": float(np.median(values)), "ratio_low": float(low), "ratio_high": float(high)}


def kind_rows(
    samples: Sequence[Sample], matrices: dict[str, FloatArray], kinds: Sequence[str]
) -> pd.DataFrame:
    """Return how often a task of the same kind of label is nearer than one of another kind.

    All three tasks are of different corpora. A task is an anchor if another corpus has its kind.

    Args:
        samples: In the order of the matrices.
        matrices: Method -> distances.
        kinds: Kinds of labels that are told apart.

    Returns:
        As `relabelled_rows`; bootstrap over the anchors' corpora. No rows where no kind is in two
        corpora while another is there.
    """
    words = np.array([label_word(s.known.label_kind) for s in samples])
    corpora = np.array([s.known.corpus for s in samples])
    chosen = np.isin(words, list(kinds))
    rows = []
    for method, matrix in matrices.items():
        shares, owners, n_cases = [], [], 0
        for a in np.flatnonzero(chosen):
            free = chosen & (corpora != corpora[a])
            near, far = matrix[a, free & (words == words[a])], matrix[a, free & (words != words[a])]
            if len(near) and len(far):
                shares.append(separation(near, far))
                owners.append(str(corpora[a]))
                n_cases += len(near) * len(far)
        if shares:
            values = np.array(shares)
            found = resampled(values, owners)
            rows.append(
                {"part": "kinds of labels", "texts": "other corpora", "pair": "all"}
                | {"method": method, "value": found.mean, "low": found.low, "high": found.high}
                | {"bases": len(set(owners)), "cases": n_cases, "worst": float(values.min())}
            )
    return pd.DataFrame(rows)


def attribute_rows(
    relabelled: Sequence[Relabelled], matrices: dict[str, FloatArray]
) -> pd.DataFrame:
    """Return how often the same attribute of OTHER texts is nearer than another attribute there.

    Anchor and candidates are of different base tasks: no text is shared, the grammar is.

    Returns:
        As `relabelled_rows`; bootstrap over base tasks.
    """
    bases = np.array([r.base for r in relabelled])
    labels = np.array([r.labelling for r in relabelled])
    rows = []
    for method, matrix in matrices.items():
        if method == TEXTS:
            continue
        shares = []
        for a in range(len(relabelled)):
            there = bases != bases[a]
            near, far = (
                matrix[a, there & (labels == labels[a])],
                matrix[a, there & (labels != labels[a])],
            )
            if len(near) and len(far):
                shares.append((bases[a], separation(near, far), len(near) * len(far)))
        if shares:
            table = pd.DataFrame(shares, columns=["base", "share", "cases"])
            by_base = table.groupby("base")["share"].mean()
            found = resampled(by_base.to_numpy(np.float64), [str(b) for b in by_base.index])
            rows.append(
                {"part": "attributes", "texts": "other base tasks", "pair": "all", "method": method}
                | {"value": found.mean, "low": found.low, "high": found.high}
                | {"bases": len(by_base), "cases": int(table["cases"].sum())}
                | {"worst": float(by_base.min())}
            )
    return pd.DataFrame(rows)
