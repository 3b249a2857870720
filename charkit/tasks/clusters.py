"""Clusters of texts: TF-IDF, truncated SVD, k-means; no label is looked at."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from charkit.errors import DataError
from charkit.tasks.task import Split, Task

# Dimensions that k-means sees. A choice that was not tuned: clusters serve as subsets only.
_WIDTH = 50


def text_clusters(
    task: Task, *, n_clusters: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cluster the training texts and give every evaluation text to the nearest centre.

    Words are anything between spaces, weighted by TF-IDF; rows have length 1 before and after
    the reduction to 50 dimensions.

    Args:
        task: The task; both texts of a pair count.
        n_clusters: How many clusters.
        seed: Seed of the SVD and of k-means.

    Returns:
        The cluster (0..n_clusters-1) of each training and of each evaluation row.

    Raises:
        DataError: There are fewer different texts than clusters.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    texts = _joined(task.train)
    too_few = DataError(
        f"{task.name}: {len(set(texts))} different training texts for {n_clusters} clusters: "
        "expected more texts than clusters. Ask for fewer clusters."
    )
    if len(set(texts)) < n_clusters:
        raise too_few
    vectoriser = TfidfVectorizer(token_pattern=r"(?u)\S+", sublinear_tf=True)
    counts = vectoriser.fit_transform(texts)
    width = min(_WIDTH, counts.shape[1] - 1, counts.shape[0] - 1)
    svd = TruncatedSVD(max(1, width), random_state=seed)
    means = KMeans(n_clusters, n_init=4, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            train = means.fit_predict(normalize(svd.fit_transform(counts)))
        except ConvergenceWarning as error:
            raise too_few from error
    evaluation = np.zeros(0, dtype=np.int64)
    if task.evaluation is not None and len(task.evaluation):
        rows = vectoriser.transform(_joined(task.evaluation))
        evaluation = means.predict(normalize(svd.transform(rows)))
    return train.astype(np.int64), evaluation.astype(np.int64)


def _joined(part: Split) -> list[str]:
    if part.pairs is None:
        return list(part.texts)
    return [f"{a} {b}" for a, b in zip(part.texts, part.pairs, strict=True)]
