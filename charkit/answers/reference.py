"""Which distance, and centred by what: the library's mean, the tasks' own mean, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charkit.answers.library import Library, LibraryEntry, shipped_library
from charkit.errors import UsageError
from charkit.fisher.distances import MIN_REFERENCE, check_metric
from charkit.fisher.embedding import TaskEmbedding

CENTRED = ("log_ratio", "asymmetric")
"""The distances that need a reference."""

UNITS = {
    "cosine": "Task2Vec's cosine distance",
    "plain_cosine": "cosine distance of the numbers",
    "normalized_cosine": "cosine distance of variances",
    "correlation": "1 - correlation of variances",
    "kl": "divergence (nats)",
    "asymmetric_kl": "divergence, row to column (nats)",
    "jsd": "Jensen-Shannon divergence (nats)",
    "entropy": "entropy distance (nats)",
    "aitchison": "Aitchison distance (nats)",
    "asymmetric": "cosine less share of the trivial",
    "log_ratio": "log-ratio distance (0 same, 1 unrelated)",
}
"""What the numbers of a distance are, for a colour bar."""


@dataclass(frozen=True, eq=False)
class Measure:
    """A distance, and what it is measured from.

    Attributes:
        metric: One of `charkit.fisher.DISTANCES`.
        reference: What ``log_ratio`` and ``asymmetric`` take a mean of; None for the compared
            embeddings themselves.
        reason: Which was taken, and why.
        centre: What it is centred by, for a caption; empty where by nothing.
    """

    metric: str
    reference: tuple[TaskEmbedding, ...] | None
    reason: str
    centre: str = ""

    @property
    def unit(self) -> str:
        """What the numbers are, in a few words."""
        return UNITS[self.metric]


def choose_measure(embeddings: Sequence[TaskEmbedding], metric: str | None) -> Measure:
    """Return the distance asked for, or the one that suits, and its reference.

    The default is ``log_ratio``, centred by the shipped library of the encoder, else by the mean
    of the embeddings where there are three or more; only two are compared by ``cosine``.

    Args:
        embeddings: What is compared; all alike in kind.
        metric: One of `charkit.fisher.DISTANCES`; None for the default.

    Raises:
        UnknownNameError: There is no such distance.
        UsageError: It needs a reference, and there is none.
        DataError: The shipped library is damaged.
    """
    if metric is not None:
        check_metric(metric)
    if metric is not None and metric not in CENTRED:
        return Measure(metric, None, f"{metric}, as asked for")
    wanted = metric or "log_ratio"
    library = shipped_library(embeddings[0].encoder_fingerprint)
    entries, lack = _entries(library, embeddings)
    if entries:
        assert library is not None
        n_tasks = len({e.corpus for e in entries})
        reason = (
            f"{wanted}, centred by the mean of the shipped library {library.name} "
            f"({n_tasks} corpora at n = {entries[0].n:,})"
        )
        centre = f"the mean of the library {library.name}"
        return Measure(wanted, tuple(e.embedding for e in entries), reason, centre)
    if len(embeddings) >= MIN_REFERENCE:
        return Measure(
            wanted,
            None,
            f"{wanted}, centred by the mean of these {len(embeddings)} tasks ({lack}): another "
            "choice of tasks changes the numbers",
            "the mean of these tasks",
        )
    if metric is None:
        return Measure("cosine", None, f"cosine: two tasks have no mean to be centred by ({lack})")
    raise UsageError(
        f"{metric} needs a reference: expected at least {MIN_REFERENCE} tasks or a shipped "
        f"library, got {len(embeddings)} tasks and none ({lack}). Take --metric cosine, or "
        "name more tasks."
    )


def _entries(
    library: Library | None, embeddings: Sequence[TaskEmbedding]
) -> tuple[list[LibraryEntry], str]:
    """Return the library's entries at the nearest size, or none and what is lacking."""
    if library is None:
        return [], f"no library is shipped for {embeddings[0].encoder}"
    typical = sorted(e.n_samples for e in embeddings)[len(embeddings) // 2]
    try:
        return library.matching(embeddings[0], n=library.near_size(typical)), ""
    except UsageError as error:
        return [], str(error)
