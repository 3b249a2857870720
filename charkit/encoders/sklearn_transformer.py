"""An encoder as a step of a scikit-learn Pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from charkit.config import Pooling
from charkit.encoders.device import DeviceChoice, DtypeChoice
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import load_encoder
from charkit.encoders.run import encode
from charkit.encoders.shape import BUNDLED_NAME
from charkit.encoders.states import resolve_layer
from charkit.errors import DataError
from charkit.tasks.task import Split


class TextEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn texts, or pairs of texts, into the pooled states of one layer.

    Nothing is learned: `fit` loads the encoder and checks the layer.

    Args:
        encoder: Name, folder or hub id (see `load_encoder`), or a loaded `Encoder`.
        layer: 0 for the embeddings to L for the last; -1 is L.
        pooling: How tokens become one vector.
        max_length: Most tokens a text keeps; None means 256 or the encoder's limit.
        device: Where to compute.
        dtype: What to compute in.

    Attributes:
        encoder_: The loaded encoder.
        layer_: The layer, from 0 to L.
        n_features_out_: Width of a state.
        frac_truncated_: Share of the texts of the last `transform` that were cut.
    """

    def __init__(
        self,
        encoder: str | Encoder = BUNDLED_NAME,
        *,
        layer: int = -1,
        pooling: Pooling = "mean",
        max_length: int | None = None,
        device: DeviceChoice = "auto",
        dtype: DtypeChoice = "auto",
    ) -> None:
        self.encoder = encoder
        self.layer = layer
        self.pooling = pooling
        self.max_length = max_length
        self.device = device
        self.dtype = dtype

    def fit(self, X: Iterable[Any], y: object = None) -> TextEncoder:
        """Load the encoder and check the arguments.

        Args:
            X: Texts, or pairs of texts; only looked at for their form.
            y: Not used.

        Raises:
            UsageError: The layer or another argument is out of range.
            DataError: X holds neither texts nor pairs of texts.
        """
        _read_texts(X)
        loaded = self.encoder
        if not isinstance(loaded, Encoder):
            loaded = load_encoder(loaded, device=self.device, dtype=self.dtype)
        self.layer_ = resolve_layer(self.layer, n_layers=loaded.n_layers)
        loaded.text_length(self.max_length)
        self.encoder_ = loaded
        self.n_features_out_ = loaded.width
        return self

    def transform(self, X: Iterable[Any]) -> NDArray[np.float32]:
        """Return one state a text, shape (n_samples, width).

        Args:
            X: Strings, or rows of two strings (a pair).

        Raises:
            DataError: X holds neither texts nor pairs of texts.
        """
        check_is_fitted(self)
        states = encode(
            self.encoder_, _read_texts(X), pooling=self.pooling, max_length=self.max_length
        )
        self.frac_truncated_ = states.frac_truncated
        return states.layer(self.layer_)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return ``layer<k>_<i>`` for each number of a state."""
        check_is_fitted(self)
        names = [f"layer{self.layer_}_{i}" for i in range(self.n_features_out_)]
        return np.asarray(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = True
        return tags


def _read_texts(X: Iterable[Any]) -> Split:
    if isinstance(X, str):
        raise DataError(f"X is one text: expected a list of texts, got {X[:40]!r}.")
    rows = list(X.to_numpy()) if hasattr(X, "to_numpy") else list(X)
    rows = [r.tolist() if isinstance(r, np.ndarray) else r for r in rows]
    singles = [r[0] if isinstance(r, list | tuple) and len(r) == 1 else r for r in rows]
    if all(isinstance(r, str) for r in singles):
        return Split(tuple(singles), None)
    pairs = sum(_is_pair(row) for row in rows)
    kind = "pair" if 2 * pairs > len(rows) else "text"
    for number, row in enumerate(rows):
        problem = _row_problem(row, kind)
        if problem is not None:
            raise DataError(
                f"row {number} of X {problem}: expected {_WANTED[kind]} in every row. Correct the "
                "row, or leave it out (of y too)."
            )
    return Split(tuple(r[0] for r in rows), tuple(r[1] for r in rows))


_WANTED = {"text": "a string", "pair": "two strings"}


def _is_pair(row: Any) -> bool:
    return isinstance(row, list | tuple) and len(row) == 2


def _row_problem(row: Any, kind: str) -> str | None:
    """Return what is wrong with a row where the others are texts, or pairs; None if nothing."""
    single = isinstance(row, list | tuple) and len(row) == 1
    values = list(row) if single or _is_pair(row) else [row]
    for value in values:
        if value is None or (str(value) in ("nan", "<NA>", "NaT") and not isinstance(value, str)):
            return f"is empty ({value})"
        if not isinstance(value, str):
            return f"is no text ({type(value).__name__} {str(value)[:40]})"
    if len(values) != (2 if kind == "pair" else 1):
        other = "pair" if kind == "text" else "single text"
        return f"is a {other}, got {str(row)[:60]!r} among {kind}s"
    return None
