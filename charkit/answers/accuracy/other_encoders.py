"""Encoders that the metamodel was not made for: what is known of answers under them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charkit.answers.accuracy.warnings import Verdict
from charkit.config import people_name

if TYPE_CHECKING:
    from charkit.encoders.encoder import Encoder
    from metamodel.judge.transfer import Transfer

FEWEST, MOST = 2 / 3, 2.0
"""Parts of the smallest, and times the largest, number of layers and width that were measured:
nothing was ever seen of encoders at the first or below it, or beyond the second."""


def other_encoder(encoder: Encoder, transfer: Transfer) -> Verdict:
    """Return the warning about an encoder that the metamodel was not made for.

    Args:
        encoder: The encoder.
        transfer: What was measured with others.
    """
    name = people_name(encoder.name)
    if encoder.random_seed is not None:
        return Verdict(
            "other_encoder",
            f"{name} has random weights, and the metamodel learned from trained encoders: how wide "
            "its intervals must be is not known",
            "refusal",
        )
    if encoder.apart:
        return Verdict(
            "other_encoder",
            f"{name} compares the two texts of a pair, and the metamodel learned from pairs read "
            "as one text: how wide its intervals must be is not known. 'charkit sweep' measures "
            "what the layers reach with the labels you have",
            "refusal",
        )
    sizes = {"n_layers": encoder.n_layers, "width": encoder.width}
    for what, (low, high) in transfer.shapes.items():
        if not FEWEST * low < sizes[what] <= MOST * high:
            words = "layers" if what == "n_layers" else "numbers a token"
            return Verdict(
                "other_encoder",
                f"{name} has {sizes[what]:,} {words}: the metamodel was checked under encoders of "
                f"{low:,} to {high:,}, so how wide its intervals must be is not known. 'charkit "
                "sweep' measures what the layers reach with the labels you have",
                "refusal",
            )
    return Verdict("other_encoder", _measured(name, transfer), "warning")


def _measured(name: str, transfer: Transfer) -> str:
    others = [row for row in transfer.figures if not row["known"]]
    errors = [row["error_8"] for row in others]
    covered = min(row["covered_wide"] for row in others)
    wider = (
        f"intervals are {transfer.widening - 1:.0%} wider than for that one"
        if transfer.widening > 1
        else "intervals needed no widening"
    )
    return (
        f"the metamodel was not made for {name}; under {len(others)} other encoders, on "
        f"{transfer.corpora} corpora that it never saw, it was {min(errors):.1f} to "
        f"{max(errors):.1f} points off at 8 times 64 to 256 labels; {wider}, and held at least "
        f"{covered:.0%} of these predictions"
    )
