"""Which known tasks are similar to mine? The library's tasks ordered by their distance to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.similarity.collect import (
    Sampling,
    TaskRecord,
    embed_one,
    format_layers,
    is_embedding,
    opened,
    read_embedding,
)
from charkit.answers.similarity.library import (
    Library,
    LibraryEntry,
    load_library,
    shipped_library,
    shipped_names,
)
from charkit.config import Progress, no_progress
from charkit.encoders.load import EncoderChoice
from charkit.errors import MissingError, UsageError
from charkit.fisher.distances.pairwise import check_metric, pairwise
from charkit.fisher.embedding import TaskEmbedding
from charkit.fisher.layout import head_layer_number
from charkit.fisher.options import FisherOptions
from charkit.heads.sweep.grid import Source
from charkit.heads.sweep.result import CUT_SHARE
from charkit.store.store import Store

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

    task: TaskRecord
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
            f"{self.task.name}: {own.n_samples:,} texts, {format_layers(own.layers)} under a head "
            f"at layer {own.head_layer}, beside {len(self.table)} tasks of the library "
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
    gathered: TaskRecord, library: Library, *, size: int, metric: str = "log_ratio"
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


def nearest_tasks(
    task: Source | TaskEmbedding,
    *,
    metric: str = "log_ratio",
    layers: Sequence[int] | None = None,
    head_layer: int = -1,
    n: int | None = None,
    seed: int = 0,
    library: str | Path | Library | None = None,
    encoder: EncoderChoice = "minilm",
    store: Store | None = None,
    progress: Progress = no_progress,
) -> NearestAnswer:
    """Embed a task and find the known tasks that lean on the same weights.

    Args:
        task: A source that `charkit.load_task` takes, a task, an embedding or the file of one.
        metric: One of `charkit.fisher.DISTANCES`.
        layers: Whose weights, 1 to L. Default: those that the library has.
        head_layer: The layer that the head reads, 1 to L, or negative from the end.
        n: Training texts. Default: the library's largest size that the task has texts for.
        seed: Of the draw.
        library: Another library than the one shipped for the encoder, or its path.
        encoder: Name or loaded encoder.
        store: Where embeddings are kept. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal, or the library is another encoder's.
        DataError: The source or the library cannot be used.
        MissingError: There is no library for the encoder, or something else is missing.
    """
    sampling = Sampling(
        seed=seed,
        head_layer=head_layer,
        options=FisherOptions(layers=None if layers is None else tuple(layers)),
        encoder=encoder,
    )
    return nearest(
        task,
        n=n,
        sampling=sampling,
        metric=metric,
        library=library,
        store=store,
        progress=progress,
    )


def nearest(
    task: Source | TaskEmbedding,
    *,
    n: int | None,
    sampling: Sampling,
    metric: str = "log_ratio",
    library: str | Path | Library | None = None,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> NearestAnswer:
    """Do what `nearest_tasks` does, with the settings of embedding in one object."""
    check_metric(metric)
    if isinstance(library, str | Path):
        library = load_library(library)
    if is_embedding(task):
        gathered = read_embedding(task, layers=sampling.options.layers)
        library = _fitting(
            library, gathered.embedding.encoder, gathered.embedding.encoder_fingerprint
        )
    else:
        encoder = sampling.load()
        library = _fitting(library, encoder.name, encoder.fingerprint)
        sampling.check(encoder)
        head_layer = head_layer_number(sampling.head_layer, n_layers=encoder.n_layers)
        whole = opened(task)
        fitted = replace(
            sampling,
            n=n or _size_for(library, len(whole.train)),
            head_layer=head_layer,
            options=library_options(library, head_layer, sampling.options.layers),
        )
        gathered = embed_one(
            whole, encoder, sampling=fitted, store=store or Store(), progress=progress
        )
    size = library.near_size(gathered.embedding.n_samples)
    return rank_library(gathered, library, size=size, metric=metric)


def _fitting(library: Library | None, encoder: str, fingerprint: str) -> Library:
    """Return the library if it is the encoder's, else the one shipped for the encoder."""
    found = library or shipped_library(fingerprint)
    if found is None:
        raise MissingError(
            f"no library of known tasks for {encoder}: expected an encoder with a shipped one "
            f"({shipped_names()}), got another. Choose it, or make a library of the study's tasks, "
            "'python -m glue_pilot embeddings SPEC --encoder ENCODER --library FOLDER' in a "
            "checkout, and name that with --library FOLDER."
        )
    if found.encoder_fingerprint != fingerprint:
        raise UsageError(
            f"library {found.name} is another encoder's: expected {found.encoder}, got {encoder}. "
            "Choose that encoder, or another library."
        )
    return found


def _size_for(library: Library, n_texts: int) -> int:
    """Return the library's largest size that a task has texts for; else all its texts."""
    return max((size for size in library.sizes if size <= n_texts), default=max(n_texts, 2))


def library_options(
    library: Library, head_layer: int, layers: Sequence[int] | None
) -> FisherOptions:
    """Return options under which a task's embedding can be compared with a library's.

    Raises:
        UsageError: The library has no such head layer, or layers.
    """
    held = [e.embedding for e in library.entries if e.embedding.head_layer == head_layer]
    if not held:
        raise UsageError(
            f"library {library.name} has no such head layer: expected one of "
            f"{library.head_layers}, got {head_layer}."
        )
    like = held[0] if layers is None else held[0].select(layers=layers)
    return FisherOptions(
        layers=like.layers, parts=like.parts, pooling=like.pooling, max_length=like.max_length
    )
