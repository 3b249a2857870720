"""A library's tasks in the order of their distance to a new one, and whether it is known ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.gather import Gathered, layer_words
from charkit.answers.library import Library, LibraryEntry
from charkit.errors import UsageError
from charkit.fisher.distances import pairwise
from charkit.fisher.embedding import TaskEmbedding
from charkit.heads.findings import CUT_SHARE

FloatArray = NDArray[np.float64]

SAME = 0.01
"""Share of the usual distance between library tasks below which two samples are one."""

TELLING = 0.3
"""A correlation of norm and accuracy below this tells little of a task's difficulty."""

FEWEST_KNOWN = 10
"""From fewer accuracies no correlation with the norm is shown."""


@dataclass(frozen=True, eq=False)
class NearestAnswer:
    """The library's tasks by their distance to a new one.

    Attributes:
        task: The new task.
        library: The library.
        size: The library's sample size that it was compared at.
        metric: The distance, one of `charkit.fisher.DISTANCES`.
        table: One row a library task, the nearest first; columns ``task``, ``distance``,
            ``corpus``, ``domain``, ``kind``, ``classes``, ``n``, ``accuracy``, ``norm_percentile``.
        norm_percentile: Share of library tasks whose norm is smaller than the new task's.
        norm_and_accuracy: Spearman's correlation of norm and accuracy among the library's
            classification tasks; NaN where fewer than ten accuracies are known.
        usual: For each library task the distance to its nearest one of another corpus.
        same: Library tasks that are the very same sample, or nearly.
    """

    task: Gathered
    library: Library
    size: int
    metric: str
    table: pd.DataFrame
    norm_percentile: float
    norm_and_accuracy: float
    usual: FloatArray
    same: tuple[str, ...]

    @property
    def distance(self) -> float:
        """The distance to the nearest library task."""
        return float(self.table["distance"].iloc[0])

    @property
    def outside(self) -> bool:
        """Whether every library task is nearer to one of another corpus than the new task is."""
        return bool(self.distance > self.usual.max())

    def rows(self, k: int | None = None) -> list[dict[str, Any]]:
        """Return one row a library task, the nearest first; the first k, or all."""
        shown = self.table if k is None else self.table.head(k)
        return [{str(key): v for key, v in row.items()} for row in shown.to_dict("records")]

    def lines(self) -> list[str]:
        """Return as sentences what was compared, whether it is known ground, and what to doubt."""
        own = self.task.embedding
        lines = [
            f"{self.task.name}: {own.n_samples:,} texts, {layer_words(own.layers)} under a head at "
            f"layer {own.head_layer}, beside {len(self.table)} tasks of the library "
            f"{self.library.name} at n = {self.size:,}; distance: {self.metric}",
            *(f"the same task as {name}, or nearly: distance 0" for name in self.same),
            self._ground(),
            f"norm: above that of {self.norm_percentile:.0%} of the library's tasks"
            + self._meaning(),
        ]
        if not 0.7 <= own.n_samples / self.size <= 1.4:
            lines.append(
                f"doubt: {own.n_samples:,} texts against {self.size:,} in the library; a smaller "
                "sample is noisier, has a larger norm and lies farther from all"
            )
        if own.frac_truncated > CUT_SHARE:
            lines.append(
                f"{own.frac_truncated:.0%} of the texts were cut at {own.max_length} tokens, the "
                "library's length"
            )
        return lines

    def _ground(self) -> str:
        low, middle, high = np.quantile(self.usual, [0, 0.5, 1])
        usual = (
            f"library tasks lie {low:.2f} to {high:.2f} from their nearest one of another corpus, "
            f"{middle:.2f} in the middle"
        )
        if self.outside:
            return (
                f"outside the known: its nearest task lies {self.distance:.2f} away, farther than "
                f"any of the library's; {usual}. Trust nothing that is inferred from neighbours"
            )
        share = float((self.usual >= self.distance).mean())
        return (
            f"known ground: its nearest task lies {self.distance:.2f} away; {usual} ({share:.0%} "
            "lie as far or farther)"
        )

    def _meaning(self) -> str:
        """Say what the norm tells of difficulty, as far as the library knows."""
        held = self.norm_and_accuracy
        if not np.isfinite(held):
            return ""
        over = f"; over the library, rank correlation of norm and accuracy {held:+.2f}: "
        if abs(held) < TELLING:
            return over + "it says little about difficulty"
        return over + ("the larger, the harder" if held < 0 else "the larger, the easier")

    def about(self) -> dict[str, Any]:
        """Return what the answer says beside the table, as JSON takes it."""
        own = self.task.embedding
        return {
            "task": self.task.row(),
            "library": self.library.name,
            "size": self.size,
            "metric": self.metric,
            "layers": list(own.layers),
            "head_layer": own.head_layer,
            "encoder": own.encoder,
            "norm_percentile": self.norm_percentile,
            "norm_and_accuracy": self.norm_and_accuracy,
            "outside": self.outside,
            "usual_distances": sorted(self.usual.tolist()),
            "same": list(self.same),
            "lines": self.lines(),
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a library task, the nearest first."""
        return self.table

    def __repr__(self) -> str:
        shown = self.table.head(10).to_string(index=False, float_format="{:.3f}".format)
        return "\n".join([*self.lines(), shown])

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in self.lines())
        shown = self.table.head(10).to_html(
            index=False, float_format="{:.3f}".format, border=0, na_rep=""
        )
        return f"<p>{lines}</p>{shown}"


def rank_library(
    gathered: Gathered, library: Library, *, size: int, metric: str = "log_ratio"
) -> NearestAnswer:
    """Rank a library's tasks by their distance to an embedding.

    Several draws of one library task count once, by their mean.

    Args:
        gathered: The new task.
        library: The library.
        size: Which of its sample sizes.
        metric: One of `charkit.fisher.DISTANCES`.

    Raises:
        UsageError: The embedding cannot be compared with the library's.
    """
    entries = library.matching(gathered.embedding, n=size)
    known = [e.embedding for e in entries]
    matrix = pairwise([gathered.embedding, *known], metric=metric, reference=known).to_numpy()
    tasks = list(dict.fromkeys(e.task for e in entries))
    member = np.array([[e.task == task for e in entries] for task in tasks], np.float64)
    member /= member.sum(1, keepdims=True)  # (n_tasks, n_entries): the mean over draws
    to_each = member @ matrix[0, 1:]
    first = {e.task: e for e in reversed(entries)}
    usual = _usual(member @ matrix[1:, 1:] @ member.T, [first[task].corpus for task in tasks])
    norms = member @ np.array([_top_norm(e) for e in known])
    rows = [_row(first[task], entries) for task in tasks]
    table = pd.DataFrame(rows).assign(
        distance=to_each, norm_percentile=[float((norms < norm).mean()) for norm in norms]
    )
    columns = ["task", "distance", "corpus", "domain", "kind", "classes", "n"]
    ordered = table.sort_values("distance", kind="stable")[
        [*columns, "accuracy", "norm_percentile"]
    ]
    near = ordered["distance"] < SAME * float(np.median(usual))
    return NearestAnswer(
        task=gathered,
        library=library,
        size=size,
        metric=metric,
        table=ordered.reset_index(drop=True),
        norm_percentile=float((norms < _top_norm(gathered.embedding)).mean()),
        norm_and_accuracy=_rank_correlation(pd.Series(norms), table["accuracy"]),
        usual=usual,
        same=tuple(ordered.loc[near, "task"]),
    )


def _row(entry: LibraryEntry, entries: Sequence[LibraryEntry]) -> dict[str, Any]:
    known = [e.accuracy for e in entries if e.task == entry.task and e.accuracy is not None]
    return entry.row() | {
        "n": entry.embedding.n_samples,
        "accuracy": float(np.mean(known)) if known else float("nan"),
    }


def _usual(between: FloatArray, corpora: Sequence[str]) -> FloatArray:
    """Return each library task's distance to its nearest one of another corpus."""
    names = np.array(corpora)
    other = names[:, None] != names[None]
    if not other.any():
        raise UsageError(
            f"library is too small: expected tasks of two corpora or more, got only {names[0]!r}."
        )
    return np.asarray(np.where(other, between, np.inf).min(1))


def _top_norm(embedding: TaskEmbedding) -> float:
    """Return the length of the numbers of the topmost layer."""
    return float(embedding.norms()["l2"][embedding.layers[-1]])


def _rank_correlation(one: pd.Series[float], other: pd.Series[float]) -> float:
    known = other.notna()
    if known.sum() < FEWEST_KNOWN:
        return float("nan")
    ranks = one[known].rank(), other[known].rank()
    return float(np.corrcoef(*ranks)[0, 1])
