"""What reads the evidence of a pilot: the metamodel and the ways of training that are shipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from charkit.answers.accuracy.learner_table import shipped_learners
from charkit.answers.accuracy.other_encoders import other_encoder
from charkit.answers.accuracy.warnings import Verdict
from charkit.encoders.encoder import Encoder
from charkit.errors import DataError, MissingError

if TYPE_CHECKING:
    from metamodel.learners.compare import Learners


class Predictor(Protocol):
    """What a metamodel can be asked; `metamodel.predict.Metamodel` can."""

    def curve(self, evidence: pd.DataFrame, sizes: Sequence[int]) -> pd.DataFrame:
        """Return columns layer, n, mean, low, high, wide_low, wide_high."""

    def labels_for(
        self,
        evidence: pd.DataFrame,
        target: float,
        *,
        layer: int,
        largest: int,
        budgets: Sequence[int],
    ) -> Any:
        """Return target, n, low, high, reached, probability and budgets."""

    def draws(self, evidence: pd.DataFrame, target: float, *, layer: int, largest: int) -> Any:
        """Return draws of the number of labels needed, infinity for never."""

    def layers(self, evidence: pd.DataFrame, n: int) -> pd.DataFrame:
        """Return columns layer, score, low, high, tied_with_best."""

    def evaluation_accuracy(
        self, evidence: pd.DataFrame, *, layer: int
    ) -> tuple[float, float, float]:
        """Return mean, low and high of the accuracy on the unlabelled texts."""

    def outside(self, evidence: pd.DataFrame) -> list[str]:
        """Return as text what the evidence has that was never seen."""

    def contributions(self, evidence: pd.DataFrame, n: int, *, layer: int) -> pd.DataFrame:
        """Return columns feature, value, points."""


@dataclass(frozen=True)
class Shipped:
    """What reads the evidence.

    Attributes:
        model: The metamodel.
        doubt: What speaks against it under an encoder; None where nothing does.
        learners: Ways of training next to the linear head; None where none are known.
    """

    model: Predictor
    doubt: Verdict | None = None
    learners: Learners | None = None


def shipped_models(encoder: Encoder) -> Shipped:
    """Return what comes with the package, as it is for an encoder.

    Raises:
        MissingError: A file is missing.
        DataError: A file is damaged.
    """
    learners = shipped_learners()
    try:
        from metamodel.predict import load_shipped

        model = load_shipped()
        if encoder.fingerprint in model.encoders:
            return Shipped(model, None, learners)
        from metamodel.judge.transfer import load_transfer, under_other_encoders

        transfer = load_transfer()
    except FileNotFoundError as error:
        raise MissingError(
            f"no metamodel: expected the one that comes with charkit, got {str(error)!r}. Install "
            "charkit again, or make one: make metamodel."
        ) from error
    except ValueError as error:
        raise DataError(
            f"the metamodel is damaged or of another version: {error} Install charkit again."
        ) from error
    other = other_encoder(encoder, transfer)
    return Shipped(under_other_encoders(model, transfer), other, learners)
