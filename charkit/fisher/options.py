"""What is estimated, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from charkit.config import Pooling
from charkit.encoders.states import check_pooling
from charkit.encoders.tokens import FingerprintedTexts
from charkit.errors import DataError, UsageError
from charkit.fisher.layout import DEFAULT_PARTS, check_parts


class FisherTexts(FingerprintedTexts, Protocol):
    """What is embedded: a `charkit.tasks.Split`, or anything with texts, pairs and labels."""

    @property
    def labels(self) -> NDArray[Any] | None:
        """Class codes or real targets, or None."""


@dataclass(frozen=True)
class FisherOptions:
    """What is estimated, and how.

    Attributes:
        layers: Whose weights, 1 to L, negative from the end; None for all up to the head.
        parts: Which of their weights, see `charkit.fisher.layout.Part`.
        pooling: How token states become what the head reads.
        estimator: How labels are averaged over, see `charkit.fisher.labels.Estimator`.
        n_draws: Draws a text, for the estimators that draw.
        relative_error: Choose the number of draws instead: the root mean square noise that
            they add to the vector, over its length, is to stay below this.
        seed: Of the draws, of the order of texts and of the halves that measure stability.
        max_length: Most tokens a text keeps; default `Encoder.text_length`.
        token_budget: Most tokens of a batch, padding included; default by device. It changes
            speed and memory, and results only by rounding.
        keep_rows: Keep the numbers of every text, for intervals and subsets.
        stop_at: Visit texts in random order and stop as soon as disjoint halves of those
            visited are expected to agree to this cosine, for instance 0.99.
    """

    layers: Sequence[int] | None = None
    parts: Sequence[str] = DEFAULT_PARTS
    pooling: Pooling = "mean"
    estimator: str = "auto"
    n_draws: int = 1
    relative_error: float | None = None
    seed: int = 0
    max_length: int | None = None
    token_budget: int | None = None
    keep_rows: bool = False
    stop_at: float | None = None


DEFAULT_OPTIONS = FisherOptions()


def check_options(options: FisherOptions) -> None:
    """Refuse what cannot be done, whatever the encoder and the texts.

    Raises:
        UsageError: An option is out of range, or two exclude each other.
    """
    check_pooling(options.pooling)
    wanted, stop = options.relative_error, options.stop_at
    if wanted is not None and not 0 < wanted < 1:
        raise UsageError(
            f"relative_error is out of range: expected a number between 0 and 1, got {wanted}."
        )
    if stop is not None and not 0 < stop < 1:
        raise UsageError(f"stop_at is out of range: expected a cosine below 1, got {stop}.")
    if wanted is not None and options.n_draws != 1:
        raise UsageError(
            f"relative_error chooses the draws: expected n_draws left at 1, got "
            f"{options.n_draws}. Name one of the two."
        )
    if wanted is not None and stop is not None:
        raise UsageError(
            "relative_error needs the number of texts, which stop_at leaves open: expected one "
            "of the two, got both. stop_at counts the noise of the draws as well."
        )
    if options.seed < 0:
        raise UsageError(f"seed is out of range: expected at least 0, got {options.seed}.")


# -- what the variational estimator minimises, and how --------------------------------------------


Gradient = Literal["gauss_newton", "given", "model"]
"""``gauss_newton``: F~ is the exact Fisher information at the perturbed weights; reads no labels
and takes few steps; ``given``: the paper's, derivatives of the loss of the given labels along the
noise, drawn in mirrored pairs; ``model``: the same with the labels' expectation under the head
and unperturbed weights, whose curvature is F itself for little noise."""

GRADIENTS: tuple[Gradient, ...] = get_args(Gradient)

Prior = Literal["learned", "weights"]
"""``learned``: lambda^2 of each layer minimises L too, as in the paper; ``weights``: it is one over
the mean square of the layer's weights, the same for all tasks."""

PRIORS: tuple[Prior, ...] = get_args(Prior)


@dataclass(frozen=True)
class VariationalOptions:
    """What is minimised, and how.

    Attributes:
        layers: Whose weights, 1 to L, negative from the end; None for all up to the head.
        parts: Which of their weight matrices.
        pooling: How token states become what the head reads.
        beta: Weight of the prior; embeddings of different betas are not compared.
        prior: Where lambda^2 comes from, see `Prior`.
        gradient: Of the expected loss, see `Gradient`.
        n_steps: Of Adam; the last half is averaged.
        learning_rate: Of the logarithms of s^2, falling to zero over the last half.
        seed: Of the noise and of the order of batches.
        max_length: Most tokens a text keeps; default `Encoder.text_length`.
        token_budget: Most tokens of a batch, padding included; default by device. A batch is a
            step: results depend on it as they do on the seed.
    """

    layers: Sequence[int] | None = None
    parts: Sequence[str] = DEFAULT_PARTS
    pooling: Pooling = "mean"
    beta: float = 1e-6
    prior: Prior = "learned"
    gradient: Gradient = "gauss_newton"
    n_steps: int = 100
    learning_rate: float = 0.1
    seed: int = 0
    max_length: int | None = None
    token_budget: int | None = None

    @property
    def estimand(self) -> str:
        """What is estimated: embeddings of different estimands cannot be compared."""
        return f"variational_fisher({self.gradient}, {self.prior} prior, beta={self.beta:g})"

    @property
    def start(self) -> FisherOptions:
        """The direct estimate that the search starts from."""
        return FisherOptions(
            layers=self.layers,
            parts=self.parts,
            pooling=self.pooling,
            seed=self.seed,
            max_length=self.max_length,
            token_budget=self.token_budget,
        )


DEFAULT_VARIATIONAL = VariationalOptions()


def check_variational(options: VariationalOptions, *, labelled: bool) -> None:
    """Refuse what cannot be done, whatever the encoder.

    Raises:
        UsageError: An option is out of range.
        DataError: Labels are needed, and there are none.
    """
    check_options(options.start)
    for what, known in (("gradient", GRADIENTS), ("prior", PRIORS)):
        if getattr(options, what) not in known:
            raise UsageError(
                f"{what} is not known: expected one of {known}, got {getattr(options, what)!r}."
            )
    for what in ("beta", "learning_rate"):
        value = getattr(options, what)
        if not (np.isfinite(value) and value > 0):
            raise UsageError(f"{what} is out of range: expected above 0, got {value}.")
    if options.n_steps < 2:
        raise UsageError(f"n_steps is out of range: expected at least 2, got {options.n_steps}.")
    extra = set(check_parts(options.parts)) - set(DEFAULT_PARTS)
    if extra:
        raise UsageError(
            f"parts are out of range: expected weight matrices {DEFAULT_PARTS}, got "
            f"{sorted(extra)} as well. Only rows of matrices are perturbed."
        )
    if options.gradient == "given" and not labelled:
        raise DataError(
            "this gradient needs labels: expected one a text, got none. Take gradient "
            "'gauss_newton' or 'model' for texts without labels."
        )
