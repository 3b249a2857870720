"""How far apart are tasks? A matrix of distances between their embeddings, and plots of it.

Some distances are centred: by the library's mean, or by the tasks' own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from charkit.answers.similarity.collect import (
    Comparable,
    Failure,
    Sampling,
    TaskRecord,
    format_layers,
    gather,
)
from charkit.answers.similarity.library import Library, LibraryEntry, shipped_library
from charkit.config import EncodeOptions, Progress, no_progress
from charkit.encoders.load import EncoderChoice
from charkit.errors import CellsFailedError, UnknownNameError, UsageError
from charkit.escape import csv_of
from charkit.fisher.distances.intervals import UNSTEADY, corrected_pairwise
from charkit.fisher.distances.pairwise import MIN_REFERENCE, check_metric, pairwise
from charkit.fisher.embedding import TaskEmbedding
from charkit.fisher.options import FisherOptions
from charkit.fisher.stability import STABLE
from charkit.heads.sweep.result import CUT_SHARE, cut_words
from charkit.store.durable import write_whole
from charkit.store.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


Picture = Literal["matrix", "tree", "map"]
"""The matrix in clustered order; a dendrogram; points in the plane."""


@dataclass(frozen=True, eq=False)
class DistancesAnswer:
    """Distances between tasks.

    Attributes:
        matrix: Index and columns: the names; from the row's task to the column's. Only
            ``asymmetric`` and ``asymmetric_kl`` differ by direction.
        measure: The distance, its reference, and why it was taken.
        tasks: What was compared, in the order of the matrix.
        failures: What was left out, and why.
        corrected: Whether what sampling noise adds was taken off.
    """

    matrix: pd.DataFrame
    measure: Measure
    tasks: tuple[TaskRecord, ...]
    failures: tuple[Failure, ...] = ()
    corrected: bool = False

    @property
    def metric(self) -> str:
        """The distance, one of `charkit.fisher.DISTANCES`."""
        return self.measure.metric

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose weights were compared."""
        return self.tasks[0].embedding.layers

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The names such that near tasks stand together (average linkage)."""
        from charkit.report.figures.distances import leaf_order

        return tuple(leaf_order(self.matrix))

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a task: its name, and its distance to each."""
        names, values = list(map(str, self.matrix.index)), self.matrix.to_numpy().tolist()
        pairs = zip(names, values, strict=True)
        return [{"name": name, **dict(zip(names, row, strict=True))} for name, row in pairs]

    def neighbours(self, k: int = 3) -> list[dict[str, Any]]:
        """Return one row a task, in clustered order: the nearest others and their distances."""
        names, values = list(self.matrix.index), self.matrix.to_numpy()
        found = []
        for name in self.order:
            place = names.index(name)
            near = [int(i) for i in np.argsort(values[place], kind="stable") if i != place]
            row: dict[str, Any] = {"task": name}
            for rank, other in enumerate(near[:k], start=1):
                row[f"nearest_{rank}"] = names[other]
                row[f"distance_{rank}"] = float(values[place, other])
            found.append(row)
        return found

    def lines(self) -> list[str]:
        """Return as text what was compared, how, what is near, and what is to be doubted."""
        first = self.tasks[0].embedding
        sizes = sorted({t.embedding.n_samples for t in self.tasks})
        texts = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        encoder = Path(first.encoder).name
        lines = [
            f"{len(self.tasks)} tasks under {encoder}: head at layer {first.head_layer}, weights "
            f"of {format_layers(self.layers)}, {texts} texts each",
            f"distance: {self.measure.reason}{', less sampling noise' * self.corrected}",
            *self._extremes(),
            *self._doubts(sizes),
        ]
        return lines + [f"left out: {f.source}: {f.error}" for f in self.failures]

    def _doubts(self, sizes: Sequence[int]) -> Iterator[str]:
        """Say what makes the distances unsure."""
        if sizes[-1] > 2 * sizes[0]:
            yield (
                "doubt: samples differ in size by more than twice; the smaller ones are noisier "
                "and lie farther from all. Lower --n to compare alike"
            )
        unsteady = [
            f"{t.name} ({t.embedding.stability.halves:.4f})"
            for t in self.tasks
            if t.embedding.stability.halves < STABLE
        ]
        if unsteady:
            yield (
                f"doubt: random halves of the texts agree to a cosine below {STABLE}: "
                f"{', '.join(unsteady)}. More texts would steady them: raise --n"
            )
        for task in self.tasks:
            embedding = task.embedding
            if embedding.frac_truncated > CUT_SHARE:
                cut = cut_words(embedding.frac_truncated, embedding.max_length)
                yield f"{task.name}: {cut}"

    def _extremes(self) -> list[str]:
        values = self.matrix.to_numpy(copy=True)
        np.fill_diagonal(values, np.nan)
        names = self.matrix.index
        found = []
        for word, index in (("nearest", np.nanargmin(values)), ("farthest", np.nanargmax(values))):
            row, column = np.unravel_index(int(index), values.shape)
            pair = f"{names[int(row)]} and {names[int(column)]}"
            found.append(f"{word}: {pair}, {values[row, column]:.3g}")
        return found[: 1 if len(names) == 2 else 2]

    def about(self) -> dict[str, Any]:
        """Return the matrix and how it was made, as JSON takes it."""
        first = self.tasks[0].embedding
        return {
            "names": [str(name) for name in self.matrix.index],
            "matrix": self.matrix.to_numpy().tolist(),
            "order": list(self.order),
            "metric": self.metric,
            "reason": self.measure.reason,
            "corrected": self.corrected,
            "layers": list(self.layers),
            "head_layer": first.head_layer,
            "encoder": first.encoder,
            "pooling": first.pooling,
            "failures": [f.row() for f in self.failures],
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return the matrix."""
        return self.matrix

    def plot(self, kind: Picture = "matrix") -> Figure:
        """Return a figure.

        Args:
            kind: ``"matrix"``, ``"tree"`` or ``"map"``.

        Raises:
            UnknownNameError: There is no such picture.
            MissingError: matplotlib is not installed.
        """
        from charkit.report.figures.distances import distance_matrix, distance_tree
        from charkit.report.figures.map import distance_map

        if kind not in get_args(Picture):
            raise UnknownNameError("picture", kind, get_args(Picture))
        groups = {t.name: t.corpus for t in self.tasks}
        first = self.tasks[0].embedding
        note = (
            f"Encoder {Path(first.encoder).name}, head at layer {first.head_layer}, "
            f"{format_layers(self.layers)}."
        )
        if self.measure.centre:
            note += f" Centred by {self.measure.centre}."
        if self.corrected:
            note += " Sampling noise is taken off."
        if kind == "map":
            return distance_map(self.matrix, unit=self.measure.unit, groups=groups, note=note)
        draw = distance_tree if kind == "tree" else distance_matrix
        return draw(self.matrix, unit=self.measure.unit, groups=groups, note=note)

    def save(self, folder: str | Path, *, figures: bool = True) -> list[Path]:
        """Write ``distances.csv``, and each picture as .svg, .png and .csv.

        Args:
            folder: Where to; made when missing.
            figures: Write the pictures as well.

        Returns:
            The files.

        Raises:
            MissingError: The folder cannot be written, or matplotlib is not installed.
        """
        place = Path(folder)
        table = csv_of(self.matrix.rename_axis("name"), index=True)
        written = [write_whole(place / "distances.csv", table.encode())]
        if figures:
            from charkit.report.figures.canvas import save_figure

            for kind in get_args(Picture):
                written += save_figure(self.plot(kind), place / kind)
        return written

    def __repr__(self) -> str:
        shown = self.matrix.loc[list(self.order), list(self.order)]
        return "\n".join([*self.lines(), shown.to_string(float_format="{:.3f}".format)])

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in self.lines())
        shown = self.matrix.loc[list(self.order), list(self.order)]
        return f"<p>{lines}</p>{shown.to_html(float_format='{:.3f}'.format, border=0)}"


def compare_tasks(
    tasks: Sequence[Comparable],
    *,
    metric: str | None = None,
    corrected: bool = False,
    layers: Sequence[int] | None = None,
    head_layer: int = -1,
    n: int = 512,
    seed: int = 0,
    encoder: EncoderChoice = "minilm",
    encoding: EncodeOptions | None = None,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> DistancesAnswer:
    """Embed what is not embedded yet, and return the distances between all pairs.

    Args:
        tasks: Two or more: sources that `charkit.load_task` takes, tasks, embeddings, files that
            `charkit.fisher.save_embedding` wrote.
        metric: One of `charkit.fisher.DISTANCES`. Default: ``log_ratio`` where there is a
            reference, see `charkit.answers.similarity.compare.choose_measure`.
        corrected: Take off what sampling noise adds to each distance. The numbers of every text
            are kept for it: 80 kB a text for ``minilm``.
        layers: Whose weights, 1 to L. Default: all up to the head.
        head_layer: The layer that the head reads, 1 to L, or negative from the end.
        n: Training texts drawn from each task; a task with fewer gives all.
        seed: Of the draw.
        encoder: Name or loaded encoder.
        encoding: Pooling and longest text.
        store: Where embeddings are kept. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal.
        MissingError: The encoder or disk space is missing.
        CellsFailedError: Some tasks could not be embedded; the distances between the others, if
            two or more are left, are in its ``partial``.
    """
    chosen = None if layers is None else tuple(layers)
    encoding = encoding or EncodeOptions()
    sampling = Sampling(
        n=n,
        seed=seed,
        head_layer=head_layer,
        options=FisherOptions(
            layers=chosen,
            pooling=encoding.pooling,
            max_length=encoding.max_length,
            keep_rows=corrected,
        ),
        encoder=encoder,
    )
    return compare(tasks, sampling=sampling, metric=metric, store=store, progress=progress)


def compare(
    tasks: Sequence[Comparable],
    *,
    sampling: Sampling,
    metric: str | None = None,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> DistancesAnswer:
    """Do what `compare_tasks` does, with the settings of embedding in one object.

    Distances are corrected where these settings keep the numbers of every text.
    """
    corrected = sampling.options.keep_rows
    if len(tasks) < 2:
        raise UsageError(
            f"one task has no distance: expected two or more, got {len(tasks)}. Name another, or "
            "ask 'charkit nearest' for the known tasks that are near."
        )
    if metric is not None:
        check_metric(metric)
    if corrected and metric in UNSTEADY:
        raise UsageError(
            f"{metric} cannot be corrected for sampling noise: expected another distance, got one "
            "that depends on the reciprocals of the smallest numbers. Leave the correction out."
        )
    found, failures = gather(tasks, sampling=sampling, store=store, progress=progress)
    answer = None
    if len(found) >= 2:
        embeddings = [one.embedding for one in found]
        measure = choose_measure(embeddings, metric)
        between = corrected_pairwise if corrected else pairwise
        matrix = between(embeddings, metric=measure.metric, reference=measure.reference)
        answer = DistancesAnswer(matrix, measure, tuple(found), tuple(failures), corrected)
    if failures:
        raise _some_failed(failures, len(tasks), answer)
    assert answer is not None
    return answer


def _some_failed(
    failures: Sequence[Failure], n_tasks: int, answer: DistancesAnswer | None
) -> CellsFailedError:
    reasons = "; ".join(f"{f.source}: {f.error}" for f in failures)
    kept = (
        " The others were compared."
        if answer
        else " What was embedded is kept; nothing could be compared."
    )
    return CellsFailedError(
        f"{len(failures)} of {n_tasks} tasks failed ({reasons}).{kept}",
        partial=answer,
        exit_codes={f.error.exit_code for f in failures},
    )
