"""What is embedded: a `charkit.tasks.Split`, or anything with texts, pairs and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray


class FisherTexts(Protocol):
    """Texts, optional pairs, optional labels, and a name for the texts."""

    @property
    def texts(self) -> Sequence[str]:
        """The texts, or the first of each pair."""

    @property
    def pairs(self) -> Sequence[str] | None:
        """The second of each pair, or None."""

    @property
    def labels(self) -> NDArray[Any] | None:
        """Class codes or real targets, or None."""

    @property
    def text_fingerprint(self) -> str:
        """Hash of texts and pairs."""
