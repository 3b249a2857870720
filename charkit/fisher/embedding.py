"""The embedding of a task: named squared gradients, their errors, and how they were made."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.config import Pooling, TaskKind
from charkit.errors import DataError, UsageError
from charkit.fisher.layout import Slice, check_parts
from charkit.fisher.stability import (
    STABLE,
    UNKNOWN,
    Stability,
    products_of_rows,
    resampled_squares,
    stability_of,
)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TaskEmbedding:
    """The diagonal Fisher information of an encoder's weights on a sample of texts.

    ``a + b`` adds the information of two, ``a - b`` takes it off (numbers may be negative),
    ``a * 2`` and ``a / 2`` scale; embeddings of different encoders, head layers, poolings,
    slices or estimands are refused. Samples are taken as independent: errors add in squares.

    Attributes:
        values: The numbers, (size,).
        standard_error: Of each, over texts; NaN for a single text.
        slices: Names of runs of numbers.
        name: What tables call it.
        encoder: Name of the encoder.
        encoder_fingerprint: Hash of its files.
        head_layer: The layer that the head reads.
        head_fingerprint: Hash of the head's numbers; empty after arithmetic.
        pooling: How token states become what the head reads.
        max_length: Most tokens of a text.
        dtype: What the encoder computed in.
        kind: Classification or regression.
        n_classes: 0 for regression.
        estimand: ``fisher``, or ``empirical_fisher`` for given labels.
        estimator: How labels were averaged over.
        n_draws: Draws a text.
        seed: Of the draws.
        n_samples: Number of texts.
        frac_truncated: Share of them that was cut.
        text_fingerprint: Hash of the texts that were offered; empty after arithmetic.
        draw_error: Noise that the draws are expected to add, over the length of the vector; 0
            where there are none, NaN where it was not estimated (see
            `FisherOptions.relative_error`).
        stopped_early: Whether texts were left because halves agreed (see
            `FisherOptions.stop_at`).
        rows: The numbers of every text, (n_samples, size), where they were kept: in the order
            of the texts, or as they were visited if the pass could stop early.
        group_products: What `stability` is computed from, (n_slices, n_groups, n_groups); None
            where it is not known, as after sums of embeddings.
    """

    values: FloatArray
    standard_error: FloatArray
    slices: tuple[Slice, ...]
    name: str
    encoder: str
    encoder_fingerprint: str
    head_layer: int
    head_fingerprint: str
    pooling: Pooling
    max_length: int
    dtype: str
    kind: TaskKind
    n_classes: int
    estimand: str
    estimator: str
    n_draws: int
    seed: int
    n_samples: int
    frac_truncated: float
    text_fingerprint: str
    draw_error: float = float("nan")
    stopped_early: bool = False
    rows: NDArray[np.floating] | None = None
    group_products: FloatArray | None = None

    def __post_init__(self) -> None:
        size = self.slices[-1].stop if self.slices else 0
        shapes = {self.values.shape, self.standard_error.shape}
        if shapes != {(size,)}:
            raise DataError(
                f"embedding is damaged: expected {size} numbers and errors, got {shapes}."
            )
        products = self.group_products
        if products is not None and len(products) != len(self.slices):
            raise DataError(
                f"embedding is damaged: expected products of {len(self.slices)} slices, got "
                f"{len(products)}."
            )
        for array in (self.values, self.standard_error, self.rows, products):
            if array is not None:
                array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        how, halves = self.estimator, self.stability.halves
        if how in ("sketch", "monte_carlo"):
            how += f" of {self.n_draws} draw{'s' if self.n_draws > 1 else ''}"
        verdict = "stability unknown"
        if not np.isnan(halves):
            word = "stable" if self.stable else "not yet stable"
            verdict = f"{word}: halves agree to {np.floor(halves * 1e3) / 1e3:.3f}"
        return (
            f"TaskEmbedding({self.name or 'unnamed'}: {len(self)} numbers of layers "
            f"{self.layers[0]}-{self.layers[-1]} of {self.encoder}, head at layer "
            f"{self.head_layer}, {how}, {self.n_samples} texts"
            f"{' (stopped early)' if self.stopped_early else ''}, {verdict})"
        )

    def _repr_html_(self) -> str:
        table = self.norms().to_html(float_format="{:.4g}".format, border=0)
        return f"<div><b>{html.escape(repr(self))}</b>{table}</div>"

    @cached_property
    def stability(self) -> Stability:
        """Cosines that the embedding is expected to have with halves of itself, and anew."""
        return UNKNOWN if self.group_products is None else stability_of(self.group_products.sum(0))

    @property
    def stable(self) -> bool:
        """Whether disjoint halves of the texts are expected to agree to a cosine of 0.99."""
        return self.stability.halves >= STABLE

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that it has numbers of, rising."""
        return tuple(sorted({s.layer for s in self.slices}))

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that it has numbers of, in the order of `PARTS`."""
        return check_parts([s.part for s in self.slices])

    def select(
        self, *, layers: Sequence[int] | None = None, parts: Sequence[str] | None = None
    ) -> TaskEmbedding:
        """Return the numbers of some layers and parts.

        Args:
            layers: 1 to L; None for all.
            parts: None for all.

        Raises:
            UsageError: The embedding does not have them.
        """
        wanted_layers = self.layers if layers is None else tuple(layers)
        wanted_parts = self.parts if parts is None else check_parts(parts)
        for what, wanted, held in (
            ("layers", wanted_layers, self.layers),
            ("parts", wanted_parts, self.parts),
        ):
            if not wanted or not set(wanted) <= set(held):
                raise UsageError(
                    f"embedding has no such {what}: expected some of {held}, got {wanted}."
                )
        chosen = [
            place
            for place, s in enumerate(self.slices)
            if s.layer in wanted_layers and s.part in wanted_parts
        ]
        kept = [self.slices[place] for place in chosen]
        index = np.concatenate([np.arange(s.start, s.stop) for s in kept])
        ends = np.cumsum([s.size for s in kept])
        slices = tuple(
            Slice(s.layer, s.part, int(end) - s.size, int(end))
            for s, end in zip(kept, ends, strict=True)
        )
        return replace(
            self,
            values=self.values[index],
            standard_error=self.standard_error[index],
            slices=slices,
            rows=None if self.rows is None else self.rows[:, index],
            group_products=None if self.group_products is None else self.group_products[chosen],
        )

    def norms(self) -> pd.DataFrame:
        """Return the size of each layer's numbers, and of all together.

        Returns:
            Index ``layer`` (1 to L, and ``"all"``); columns ``l1`` (their sum), ``l2`` (root
            of the sum of squares), ``l2_corrected`` (the same less what sampling noise adds on
            average: ``sqrt(max(0, l2^2 - sum of squared standard errors))``), ``size``.
        """
        index = self._layer_of_each()
        rows = []
        for layer in (*self.layers, "all"):
            chosen = slice(None) if layer == "all" else index == layer
            values, errors = self.values[chosen], self.standard_error[chosen]
            square = float(values @ values)
            less = np.maximum(0, square - errors @ errors) if self.n_samples > 1 else np.nan
            rows.append((np.abs(values).sum(), square**0.5, less**0.5, values.size))
        names = pd.Index([*self.layers, "all"], name="layer")
        return pd.DataFrame(rows, index=names, columns=["l1", "l2", "l2_corrected", "size"])

    def norm_intervals(
        self, *, n_resamples: int = 1000, level: float = 0.9, seed: int = 0
    ) -> pd.DataFrame:
        """Return bootstrap intervals of each layer's L2 norm, texts drawn with replacement.

        The noise of a sample lengthens its norm (see ``l2_corrected`` in `norms`), and a
        resample carries that noise twice; the quantiles are therefore taken around the
        observed norm: ``norm + (quantile of resamples - mean of resamples)``.

        Args:
            n_resamples: How many resamples.
            level: Share of cases that an interval should hold.
            seed: Of the draws.

        Returns:
            Index ``layer`` (and ``"all"``); columns ``l2``, ``low``, ``high``.

        Raises:
            UsageError: The numbers of every text were not kept, or an argument is illegal.
        """
        if self.rows is None or self.n_samples < 2:
            raise UsageError(
                "intervals need the numbers of every text: expected keep_rows=True and at least "
                f"2 texts, got rows {'kept' if self.rows is not None else 'not kept'} and "
                f"{self.n_samples} texts. Embed again with keep_rows=True."
            )
        check_resampling(n_resamples, level)
        places = [self._layer_of_each() == layer for layer in self.layers]
        squares = resampled_squares(self.rows, places, n_resamples=n_resamples, seed=seed)
        lengths = np.sqrt(squares)
        observed = self.norms()["l2"].to_numpy()
        centre = observed - lengths.mean(0)
        low, high = np.quantile(lengths, [(1 - level) / 2, (1 + level) / 2], axis=0) + centre
        names = pd.Index([*self.layers, "all"], name="layer")
        table = {"l2": observed, "low": np.maximum(low, 0), "high": high}
        return pd.DataFrame(table, index=names)

    def subset(self, rows: Sequence[int] | NDArray[np.int64]) -> TaskEmbedding:
        """Return the embedding of some of the texts under the same head.

        Raises:
            UsageError: The numbers of every text were not kept, or no text is named.
        """
        if self.rows is None or not len(rows):
            raise UsageError(
                "subsets need the numbers of every text, and one text: expected keep_rows=True, "
                f"got rows {'kept' if self.rows is not None else 'not kept'}, {len(rows)} named."
            )
        chosen = self.rows[np.asarray(rows)]
        n_samples = len(chosen)
        wide = chosen.astype(np.float64)
        error = np.full(len(self), np.nan)
        if n_samples > 1:
            error = wide.std(0, ddof=1) / n_samples**0.5
        return replace(
            self,
            values=wide.mean(0),
            standard_error=error,
            rows=chosen,
            group_products=products_of_rows(chosen, self.slices, seed=self.seed),
            n_samples=n_samples,
            frac_truncated=float("nan"),
            text_fingerprint="",
            draw_error=float(self.draw_error * np.sqrt(self.n_samples / n_samples)),
        )

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a number: ``layer``, ``part``, ``row``, ``value``, ``standard_error``."""
        return pd.DataFrame(
            {
                "layer": self._layer_of_each(),
                "part": np.repeat([s.part for s in self.slices], [s.size for s in self.slices]),
                "row": np.concatenate([np.arange(s.size) for s in self.slices]),
                "value": self.values,
                "standard_error": self.standard_error,
            }
        )

    def _layer_of_each(self) -> NDArray[np.int64]:
        sizes = [s.size for s in self.slices]
        return np.repeat(np.array([s.layer for s in self.slices], np.int64), sizes)

    # -- arithmetic ---------------------------------------------------------------------

    def __add__(self, other: TaskEmbedding) -> TaskEmbedding:
        return self._combined(other, 1.0)

    def __sub__(self, other: TaskEmbedding) -> TaskEmbedding:
        return self._combined(other, -1.0)

    def __mul__(self, factor: Any) -> TaskEmbedding:
        if not isinstance(factor, int | float | np.number) or not np.isfinite(factor):
            raise UsageError(f"embeddings scale by a number: expected a finite one, got {factor}.")
        scale = float(factor)
        return replace(
            self,
            values=self.values * scale,
            standard_error=self.standard_error * abs(scale),
            rows=None if self.rows is None else self.rows * self.rows.dtype.type(scale),
            group_products=None if self.group_products is None else self.group_products * scale**2,
            head_fingerprint="",
        )

    __rmul__ = __mul__

    def __truediv__(self, factor: float) -> TaskEmbedding:
        if factor == 0:
            raise UsageError("embeddings scale by a number: expected a divisor other than 0.")
        return self * (1 / factor)

    def _combined(self, other: TaskEmbedding, sign: float) -> TaskEmbedding:
        check_comparable([self, other])
        alike = (self.kind, self.n_classes) == (other.kind, other.n_classes)
        n_samples = self.n_samples + other.n_samples
        cut = self.frac_truncated * self.n_samples + other.frac_truncated * other.n_samples
        return replace(
            self,
            values=self.values + sign * other.values,
            standard_error=np.hypot(self.standard_error, other.standard_error),
            name=f"({self.name} {'+' if sign > 0 else '-'} {other.name})",
            head_fingerprint="",
            text_fingerprint="",
            n_classes=self.n_classes if alike else 0,
            n_samples=n_samples,
            frac_truncated=cut / n_samples,
            draw_error=float("nan"),
            stopped_early=self.stopped_early or other.stopped_early,
            rows=None,
            group_products=None,
        )

    def facts(self) -> dict[str, Any]:
        """Return everything but the arrays and the slices."""
        arrays = {"values", "standard_error", "rows", "slices", "group_products"}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in arrays}


def check_resampling(n_resamples: int, level: float) -> None:
    """Refuse a number of resamples, or a level of an interval, that is not legal.

    Raises:
        UsageError: One of them is not.
    """
    if n_resamples < 2 or not 0 < level < 1:
        raise UsageError(
            "resampling is out of range: expected n_resamples of at least 2 and level between 0 "
            f"and 1, got {n_resamples} and {level}."
        )


def check_comparable(embeddings: Sequence[TaskEmbedding]) -> None:
    """Refuse embeddings whose numbers do not mean the same.

    Raises:
        UsageError: Encoder, head layer, pooling, estimand or slices differ.
    """
    first = embeddings[0]
    for other in embeddings[1:]:
        for what in ("encoder_fingerprint", "head_layer", "pooling", "estimand", "slices"):
            ours, theirs = getattr(first, what), getattr(other, what)
            if ours != theirs:
                shown = ("other", "") if what == "slices" else (repr(theirs), f" {ours!r}")
                raise UsageError(
                    f"embeddings cannot be compared: expected {what}{shown[1]} as in "
                    f"{first.name or 'the first'}, got {shown[0]} in "
                    f"{other.name or 'another'}. Embed both alike, or select the same layers."
                )


# -- one embedding from those of disjoint samples -------------------------------------------------


def merge_embeddings(embeddings: Sequence[TaskEmbedding], *, name: str = "") -> TaskEmbedding:
    """Return the embedding of disjoint samples together, under the head they share.

    Args:
        embeddings: Of parts of a sample; each counts by its number of texts.
        name: What tables call the result.

    Raises:
        UsageError: There are none, they cannot be compared, or their heads differ.
    """
    if not embeddings:
        raise UsageError("there is nothing to merge: expected at least one embedding, got none.")
    check_comparable(embeddings)
    heads = {e.head_fingerprint for e in embeddings}
    if len(heads) > 1:
        raise UsageError(
            f"embeddings cannot be merged: expected one head, got {len(heads)}. Embed the parts "
            "under the same head."
        )
    counts = np.array([e.n_samples for e in embeddings], np.float64)
    share = counts / counts.sum()
    values = sum(w * e.values for w, e in zip(share, embeddings, strict=True))
    spread = sum(  # squares of numbers within and between the parts, about the common mean
        n * (n - 1) * e.standard_error**2 + n * (e.values - values) ** 2
        if n > 1
        else (e.values - values) ** 2
        for n, e in zip(counts, embeddings, strict=True)
    )
    total = counts.sum()
    kept = [e.rows for e in embeddings if e.rows is not None]
    rows = np.concatenate(kept) if len(kept) == len(embeddings) else None
    first = embeddings[0]
    products = None
    if rows is not None:
        products = products_of_rows(rows, first.slices, seed=first.seed)
    return replace(
        first,
        values=np.asarray(values),
        standard_error=np.sqrt(spread / (total * max(total - 1, 1))),
        name=name,
        n_samples=int(total),
        frac_truncated=float(share @ np.array([e.frac_truncated for e in embeddings])),
        text_fingerprint="",
        draw_error=first.draw_error if len(embeddings) == 1 else float("nan"),
        stopped_early=any(e.stopped_early for e in embeddings),
        rows=rows,
        group_products=products,
    )
