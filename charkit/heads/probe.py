"""A linear probe as a scikit-learn classifier, for pipelines and cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from charkit.heads.solver.softmax import TOLERANCE, fit_softmax
from charkit.parallel.jobs import threads_limited


class LinearProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """L2-regularised softmax regression with its strength chosen by leave-one-out loss.

    The features are centred and divided by one scale factor inside the estimator; coefficients
    apply to the raw features. For the objective see ``charkit.heads.solver.softmax``.

    Args:
        strength: One strength to use as it is; None chooses from ``strengths``.
        strengths: The grid; None is ``charkit.heads.solver.leave_one_out.default_strengths(n)``.
        tolerance: Relative gap to the smallest objective.

    Attributes:
        classes_: The class labels, (C,).
        coef_: Weights on raw features, (C, d); (1, d) for two classes.
        intercept_: (C,); (1,) for two classes.
        strength_: The strength that was used.
        scores_: Leave-one-out loss at each strength of the grid, falling; NaN where not tried.
        n_iter_: Iterations of the last solve.
        converged_: Whether the tolerance was reached.
    """

    def __init__(
        self,
        strength: float | None = None,
        *,
        strengths: Sequence[float] | None = None,
        tolerance: float = TOLERANCE,
    ) -> None:
        self.strength = strength
        self.strengths = strengths
        self.tolerance = tolerance

    @threads_limited(1)
    def fit(self, X: ArrayLike, y: ArrayLike) -> LinearProbe:
        """Fit on rows X (n, d) with class labels y (n,)."""
        rows, labels = validate_data(self, X, y, dtype=[np.float32, np.float64])
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "y has one class: expected labels of at least 2 classes, "
                f"got only {self.classes_[0]!r}"
            )
        import torch

        torch_type = torch.float64 if rows.dtype == np.float64 else torch.float32
        heads = fit_softmax(
            rows[None],
            codes.astype(np.int64),
            len(self.classes_),
            strengths=self.strengths if self.strength is None else (self.strength,),
            tolerance=self.tolerance,
            dtype=torch_type,
        )
        self.coef_, self.intercept_ = heads.weights[0].numpy(), heads.bias[0].numpy()
        if len(self.classes_) == 2:
            self.coef_ = self.coef_[1:] - self.coef_[:1]
            self.intercept_ = self.intercept_[1:] - self.intercept_[:1]
        self.strength_ = float(heads.strength[0])
        self.scores_ = heads.scores[0].numpy()
        self.n_iter_ = int(heads.n_iterations[0])
        self.converged_ = bool(heads.converged[0])
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Return logits (m, C); for two classes the log odds of the second, (m,)."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        logits: NDArray[Any] = rows @ self.coef_.T + self.intercept_
        return logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Return class probabilities (m, C), in the order of ``classes_``."""
        logits = self.decision_function(X)
        if logits.ndim == 1:
            logits = np.stack([-logits / 2, logits / 2], 1)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        probabilities: NDArray[Any] = powers / powers.sum(1, keepdims=True)
        return probabilities

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable class of each row, (m,)."""
        logits = self.decision_function(X)
        codes = (logits > 0).astype(int) if logits.ndim == 1 else logits.argmax(1)
        predicted: NDArray[Any] = self.classes_[codes]
        return predicted
