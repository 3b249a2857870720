"""What a task's texts are about: the mean of their states, without labels.

A baseline for Fisher embeddings. It separates domains, and cannot separate two tasks on the
same texts.

References:
    Vu, Wang, Munkhdalai, Sordoni, Trischler, Mattarella-Micke, Maji and Iyyer 2020, "Exploring and
    Predicting Transferability across NLP Tasks" (TextEmb: the mean). Dowson and Landau 1982, "The
    Frechet distance between multivariate normal distributions".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.config import Pooling
from charkit.encoders.states import LayerStates
from charkit.errors import UnknownNameError, UsageError
from charkit.fisher.distances.pairwise import labels

FloatArray = NDArray[np.float64]

TextDistance = Literal["cosine", "euclidean", "frechet"]
"""Distances between text embeddings.

    cosine     1 - cosine of the means
    euclidean  length of the difference of the means
    frechet    root of |m - n|^2 + tr(S + T - 2 (S T)^(1/2)), m and n means, S and T covariances:
               the 2-Wasserstein distance between Gaussians
"""

TEXT_DISTANCES: tuple[TextDistance, ...] = ("cosine", "euclidean", "frechet")


@dataclass(frozen=True, eq=False)
class TextEmbedding:
    """The mean of texts' states, and how they vary.

    Attributes:
        mean: (width,).
        root: The square root of the covariance, transposed, (rank, width): covariance =
            root.T @ root, divisor n; rank is at most the number of texts and the width.
        n_samples: Number of texts.
        name: What tables call it.
        layer: The layer of the states, 0 to L.
        encoder: Name of the encoder.
        encoder_fingerprint: Hash of its files.
        pooling: How tokens became one state.
    """

    mean: FloatArray
    root: FloatArray
    n_samples: int
    name: str
    layer: int
    encoder: str
    encoder_fingerprint: str
    pooling: Pooling

    def __repr__(self) -> str:
        return (
            f"TextEmbedding({self.name or 'unnamed'}: {len(self.mean)} numbers of layer "
            f"{self.layer} of {self.encoder}, {self.n_samples} texts)"
        )

    @property
    def covariance(self) -> FloatArray:
        """The covariance of the states, divisor n, (width, width)."""
        return np.asarray(self.root.T @ self.root)


def text_embedding(states: LayerStates, *, layer: int = -1, name: str = "") -> TextEmbedding:
    """Return the mean and the covariance of one layer's states.

    The covariance is not shrunk: the Frechet distance between samples of one domain stays above
    0, and falls with their size; compare samples of equal sizes.

    Args:
        states: Pooled states of texts.
        layer: 0 for the embeddings to L for the last layer; -1 is L.
        name: What tables call it.

    Raises:
        UsageError: There is no such layer, or no text.
    """
    number = states.resolve(layer)
    if not states.n_samples:
        raise UsageError("there is nothing to embed: expected at least one text, got none.")
    values = states.layer(number).astype(np.float64)
    mean = values.mean(0)
    root = np.asarray(np.linalg.qr((values - mean) / len(values) ** 0.5, mode="r"))
    return TextEmbedding(
        mean=mean,
        root=root,
        n_samples=len(values),
        name=name,
        layer=number,
        encoder=states.encoder,
        encoder_fingerprint=states.encoder_fingerprint,
        pooling=states.pooling,
    )


def text_distances(
    embeddings: Sequence[TextEmbedding], *, metric: TextDistance = "cosine"
) -> pd.DataFrame:
    """Return the distances between all pairs of text embeddings.

    Args:
        embeddings: At least one, of one encoder, layer and pooling.
        metric: See `TextDistance`.

    Returns:
        Symmetric; index and columns: the names, repeated ones with a number behind.

    Raises:
        UnknownNameError: The metric is not known.
        UsageError: Embeddings cannot be compared.
    """
    if metric not in TEXT_DISTANCES:
        raise UnknownNameError("distance", metric, TEXT_DISTANCES)
    _check(embeddings)
    means = np.stack([e.mean for e in embeddings])
    if metric == "cosine":
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        unit = means / np.where(lengths > 0, lengths, 1)
        out = np.maximum(1 - unit @ unit.T, 0)
    else:
        centred = means - means.mean(0)
        square = (centred**2).sum(1)
        out = np.maximum(square[:, None] + square - 2 * centred @ centred.T, 0)
        if metric == "frechet":
            out = out + _between_covariances(embeddings)
        out = np.sqrt(out)
    np.fill_diagonal(out, 0)
    names = labels([e.name for e in embeddings])
    return pd.DataFrame(out, index=names, columns=names)


def _between_covariances(embeddings: Sequence[TextEmbedding]) -> FloatArray:
    """Return tr(S + T - 2 (S T)^(1/2)) for all pairs.

    With S = A'A and T = B'B the eigenvalues of S T are the squared singular values of A B', so
    that the trace of its root is the sum of these singular values.
    """
    count = len(embeddings)
    traces = np.array([(e.root**2).sum() for e in embeddings])
    out = traces[:, None] + traces
    for i in range(count):
        for j in range(i, count):
            product = embeddings[i].root @ embeddings[j].root.T
            shared = np.linalg.svd(product, compute_uv=False).sum()
            out[i, j] = out[j, i] = max(out[i, j] - 2 * shared, 0)
    return np.asarray(out)


def _check(embeddings: Sequence[TextEmbedding]) -> None:
    if not embeddings:
        raise UsageError("there is nothing to compare: expected at least one embedding, got none.")
    first = embeddings[0]
    for other in embeddings[1:]:
        for what in ("encoder_fingerprint", "layer", "pooling"):
            ours, theirs = getattr(first, what), getattr(other, what)
            if ours != theirs:
                raise UsageError(
                    f"text embeddings cannot be compared: expected {what} {ours!r} as in "
                    f"{first.name or 'the first'}, got {theirs!r} in {other.name or 'another'}. "
                    "Embed both alike."
                )
