"""What is estimated, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charkit.config import Pooling
from charkit.encoders.states import check_pooling
from charkit.errors import UsageError
from charkit.fisher.sites import DEFAULT_PARTS


@dataclass(frozen=True)
class FisherOptions:
    """What is estimated, and how.

    Attributes:
        layers: Whose weights, 1 to L, negative from the end; None for all up to the head.
        parts: Which of their weights, see `charkit.fisher.sites.Part`.
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
