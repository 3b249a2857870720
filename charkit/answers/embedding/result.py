"""What `charkit.embed` answers: embeddings by layer, with intervals, sentences and doubts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from charkit.answers.embedding.heads import HeadMetrics
from charkit.answers.embedding.variational_fits import FitDiagnostics
from charkit.config import people_name
from charkit.fisher import TaskEmbedding, distance, save_embedding
from charkit.fisher.distances.intervals import group_norm_intervals
from charkit.fisher.stability import STABLE
from charkit.heads.sweep.result import CUT_SHARE, cut_words

METRIC = "cosine"
"""The distance from the training texts to the other sample; see `charkit.fisher.DISTANCES`."""

FEW_LABELS = 64
"""A head of fewer labels is doubted, however well the texts determine the rest."""


@dataclass(frozen=True, eq=False)
class EmbeddedTask:
    """A task's Fisher embeddings, one for each layer that a head reads.

    Attributes:
        name: The task.
        sample: ``"train"``, ``"evaluation"`` or ``"unlabelled"``: what was embedded.
        embeddings: Layer of the head, 1 to L -> the embedding.
        heads: Layer of the head -> how well it does.
        trained: Layer of the head -> the embedding of the training texts; empty where these are
            what was embedded.
        majority: Share of the most common class in training; NaN for regression.
        key: The entry in the store, kind ``"fisher"``.
        found: Whether the store had all of it already.
        fits: Layer of the head -> how far its search came; empty unless variational.
    """

    name: str
    sample: str
    embeddings: dict[int, TaskEmbedding]
    heads: dict[int, HeadMetrics]
    trained: dict[int, TaskEmbedding]
    majority: float
    key: str
    found: bool
    fits: dict[int, FitDiagnostics] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a head, a layer, and ``"all"`` layers together.

        Columns: ``head_layer``; ``layer``; ``norm``, the length of the layer's numbers; ``low``
        and ``high``, its 90 % interval over texts; ``share`` of all the information; ``halves``,
        the cosine of random halves of the texts; where another sample than the training texts
        was embedded, ``distance`` from these.
        """
        found = []
        for head, embedding in self.embeddings.items():
            norms, intervals = embedding.norms(), group_norm_intervals(embedding)
            for layer in norms.index:
                whole = layer == "all"
                own = embedding if whole else embedding.select(layers=(layer,))
                row = {
                    "head_layer": head,
                    "layer": layer,
                    "norm": float(norms["l2"][layer]),
                    "low": float(intervals["low"][layer]),
                    "high": float(intervals["high"][layer]),
                    "share": _share(norms["l1"][layer], norms["l1"]["all"]),
                    "halves": own.stability.halves,
                }
                if self.trained:
                    row["distance"] = self.shift(head, None if whole else layer)
                found.append(row)
        return found

    def shift(self, head_layer: int, layer: int | None = None) -> float:
        """Return the distance from the training texts to the embedded sample.

        Args:
            head_layer: The layer that the head reads.
            layer: Compare only this layer; None for all.

        Returns:
            0 for samples that ask the same of every weight; NaN where nothing but the training
            texts was embedded.
        """
        if not self.trained:
            return float("nan")
        layers = None if layer is None else (layer,)
        pair = self.trained[head_layer], self.embeddings[head_layer]
        return distance(*pair, metric=METRIC, layers=layers)

    def cosine(self, head_layer: int) -> float:
        """Return the cosine of the training texts' numbers and those of the embedded sample."""
        if not self.trained:
            return float("nan")
        one, other = self.trained[head_layer].values, self.embeddings[head_layer].values
        return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))

    def expected_cosine(self, head_layer: int) -> float:
        """Return what `cosine` would be if both samples were drawn from the same texts.

        The geometric mean of the cosines that each is expected to have with another sample of
        its own size; see `charkit.fisher.Stability`. NaN where that is not known, as for
        variational embeddings.
        """
        if not self.trained:
            return float("nan")
        pair = self.trained[head_layer], self.embeddings[head_layer]
        return float(np.sqrt(np.prod([np.maximum(0, e.stability.again) for e in pair])))

    def lines(self) -> list[str]:
        """Return as sentences what was embedded, under which head, and what is to be doubted."""
        return [line for k in self.embeddings for line in (*self._facts(k), *self._doubts(k))]

    def _facts(self, layer: int) -> Iterator[str]:
        embedding = self.embeddings[layer]
        first, last = embedding.layers[0], embedding.layers[-1]
        span = f"layer {last}" if first == last else f"layers {first}-{last}"
        stopped = " seen until halves agreed" if embedding.stopped_early else ""
        how = embedding.estimand if layer in self.fits else embedding.estimator
        draws = "" if embedding.n_draws == 1 else f", {embedding.n_draws} draws a text"
        yield (
            f"{self.name}: {embedding.n_samples:,} {_SAMPLES[self.sample]}{stopped}, "
            f"{len(embedding):,} numbers of {span} of {people_name(embedding.encoder)}, "
            f"{how}{draws}"
        )
        head = self.heads[layer]
        if embedding.kind == "regression":
            words = f"explains {head.score:.0%} of the variance of targets left out of its fit"
        elif head.score == head.score:
            words = (
                f"is right on {head.score:.1%} of texts left out of its fit (the most common "
                f"class: {self.majority:.1%})"
            )
        else:
            words = "could not be tried on texts left out: too few a class"
        yield f"the head at layer {layer}, fitted to {head.n_train:,} labels, {words}"
        if self.trained:
            yield (
                f"from the training texts to these: distance {self.shift(layer):.4f} ({METRIC}; "
                f"0 means alike); as vectors their cosine is {self.cosine(layer):.3f}, and "
                f"{self._unshifted(layer)}"
            )

    def _unshifted(self, layer: int) -> str:
        expected = self.expected_cosine(layer)
        if expected != expected:
            return "what it would be without any shift is not known"
        return f"two samples like these without any shift would be expected to have {expected:.3f}"

    def _doubts(self, layer: int) -> Iterator[str]:
        """Say what makes the numbers unsure."""
        embedding, head = self.embeddings[layer], self.heads[layer]
        level = 0.0 if embedding.kind == "regression" else self.majority
        if not head.converged:
            yield "doubt: the head did not converge"
        if head.score <= level:
            yield (
                "doubt: the head has learnt nothing that holds for other texts; what it asks of "
                "the encoder says little about the task"
            )
        if head.n_train < FEW_LABELS:
            yield f"doubt: a head of fewer than {FEW_LABELS} labels; others may give another one"
        halves = embedding.stability.halves
        if not embedding.stable and halves == halves:
            yield (
                f"doubt: not yet stable; random halves of the texts agree to a cosine of "
                f"{halves:.3f}, {STABLE} is wanted. More texts would help"
            )
        if embedding.frac_truncated > CUT_SHARE:
            yield cut_words(embedding.frac_truncated, embedding.max_length)
        if layer in self.fits:
            yield from self.fits[layer].lines()
        elif embedding.estimand != "fisher":
            yield "empirical: the given labels were read; compare only with empirical ones"

    def about(self) -> dict[str, Any]:
        """Return what holds for all rows, and what is known of each head, for JSON."""
        first = next(iter(self.embeddings.values()))
        return {
            "task": self.name,
            "sample": self.sample,
            "encoder": first.encoder,
            "n": first.n_samples,
            "estimator": first.estimator,
            "estimand": first.estimand,
            "n_draws": first.n_draws,
            "parts": list(first.parts),
            "frac_truncated": first.frac_truncated,
            "key": self.key,
            "heads": [
                asdict(self.heads[k])
                | {
                    "stable": e.stable,
                    "stopped_early": e.stopped_early,
                    "distance": self.shift(k),
                    "cosine": self.cosine(k),
                    "expected_cosine": self.expected_cosine(k),
                    "fit": asdict(self.fits[k]) if k in self.fits else None,
                }
                for k, e in self.embeddings.items()
            ],
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a head and layer; see `rows`."""
        return pd.DataFrame(self.rows())

    def __repr__(self) -> str:
        return "\n".join([*self.lines(), self.to_pandas().to_string(index=False)])

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in self.lines())
        shown = self.to_pandas().to_html(index=False, float_format="{:.4g}".format)
        return f"<p>{lines}</p>{shown}"

    def save(self, path: str | Path) -> list[Path]:
        """Write the embeddings, one file a head.

        Args:
            path: ``NAME.safetensors``; with several heads ``NAME-head3.safetensors`` and so on.

        Returns:
            The files; `charkit.fisher.load_embedding` reads them.

        Raises:
            MissingError: The folder cannot be written.
        """
        place = Path(path)
        several = len(self.embeddings) > 1
        return [
            save_embedding(
                embedding,
                place.with_name(f"{place.stem}-head{layer}{place.suffix}") if several else place,
            )
            for layer, embedding in self.embeddings.items()
        ]


_SAMPLES = {
    "train": "training texts",
    "evaluation": "evaluation texts",
    "unlabelled": "unlabelled texts",
}


def _share(part: float, whole: float) -> float:
    """Return a part of a whole; NaN where the whole is zero: the head asks for no weight at all."""
    return float(part / whole) if whole else float("nan")
