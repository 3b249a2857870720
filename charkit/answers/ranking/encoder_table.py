"""What `charkit.rank_encoders` answers: a ranked table of encoders, as text, with ties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from math import isfinite
from typing import Any

import pandas as pd

from charkit.config import RANDOM_PREFIX, people_name
from charkit.errors import CharkitError
from charkit.heads.metrics.selection import SignalTest
from charkit.heads.metrics.transferability import Rivals
from charkit.heads.sweep.result import CUT_SHARE, cut_words
from charkit.heads.sweep.table import metric_name
from charkit.tasks.card import TaskCard

FASTER = 1.5
"""A tied encoder is worth a line when the best takes at least this many times its operations: half
the layers take half of them, and a little more where a tokenizer makes more tokens of a text."""

_RIVAL_NAMES = {"logme": "LogME", "h_score": "H-score", "knn": "nearest neighbours"}


@dataclass(frozen=True)
class RankedEncoder:
    """An encoder at its best layer.

    Attributes:
        encoder: Its name.
        layer: Its best layer, 0 = embeddings; by LogME where that ranks.
        score: Mean over training draws and evaluation rows.
        low: Lower end of the 90 % interval: expected score over other draws and rows.
        high: Upper end.
        tied_with_best: Whether no difference from the best encoder shows on these rows and draws.
        verdict: Whether there is any signal above the controls.
        width: Numbers in one state.
        n_layers: Number of layers L.
        operations: Floating-point operations of encoding an evaluation text, on average.
        frac_truncated: Share of texts cut at the maximum length.
        max_length: That length, in tokens.
        rivals: Scores of the layer without a trained head.
        beside: Other metrics where one class has most evaluation texts, by name.
    """

    encoder: str
    layer: int
    score: float
    low: float
    high: float
    tied_with_best: bool
    verdict: SignalTest
    width: int
    n_layers: int
    operations: float
    frac_truncated: float
    max_length: int
    rivals: Rivals
    beside: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FailedEncoder:
    """An encoder that could not be ranked.

    Attributes:
        encoder: Its name.
        error: Why.
    """

    encoder: str
    error: CharkitError

    def row(self) -> dict[str, str]:
        """Return name and reason."""
        return {"encoder": people_name(self.encoder), "reason": str(self.error)}


@dataclass(frozen=True, eq=False)
class EncodersAnswer:
    """Encoders ranked on one task.

    Attributes:
        card: The task.
        n: Labelled training texts.
        n_draws: Draws of the training texts.
        metric: What the scores are: the metric asked for, else the task's own;
            ``"correlation"`` for regression.
        ranked: The best first.
        failed: Encoders that could not be ranked.
        encoder_notes: What the encoders' folders declare and charkit does not do.
        ranked_by: What the encoders and their layers are ranked by: ``"logme"`` (those that tie on
            held-out texts before the others), ``"log_loss"`` where LogME is not known, or the
            metric.
    """

    card: TaskCard
    n: int
    n_draws: int
    metric: str
    ranked: tuple[RankedEncoder, ...]
    failed: tuple[FailedEncoder, ...]
    encoder_notes: tuple[str, ...] = ()
    ranked_by: str = ""

    @property
    def best(self) -> RankedEncoder:
        """The encoder that ranks first."""
        return self.ranked[0]

    @property
    def signal(self) -> bool:
        """Whether any encoder is above the controls by more than chance."""
        return any(row.verdict.signal for row in self.ranked)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row an encoder, the best first.

        Columns: ``rank``; ``encoder``; ``layer``, its best; the score under the metric's name
        with its 90 % interval ``low`` to ``high``; other metrics where one class has most
        evaluation texts; ``logme`` where it ranks; ``tied_with_best``; ``signal``; ``layers`` and
        ``width``;
        ``gflop_per_text``, billions of operations of encoding an evaluation text; and the
        rivals, which train no head:
        ``rival_logme``, ``rival_h_score``, ``rival_knn``.
        """
        return [
            {
                "rank": place,
                "encoder": people_name(row.encoder),
                "layer": row.layer,
                self.metric: row.score,
                "low": row.low,
                "high": row.high,
                **row.beside,
                **({"logme": row.rivals.logme} if self.ranked_by == "logme" else {}),
                "tied_with_best": row.tied_with_best,
                "signal": row.verdict.signal,
                "layers": row.n_layers,
                "width": row.width,
                "gflop_per_text": row.operations / 1e9,
                **{
                    f"rival_{name}": score
                    for name, score in asdict(row.rivals).items()
                    if name != self.ranked_by
                },
            }
            for place, row in enumerate(self.ranked, 1)
        ]

    def lines(self) -> list[str]:
        """Return the answer as text."""
        head = f"{self.card.name}, {self.n:,} labels, {self.card.n_eval:,} evaluation texts, "
        head += f"ranked by {_RIVAL_NAMES.get(self.ranked_by) or metric_name(self.ranked_by)}: "
        lines = [head + (self._ties() if self.signal else "no encoder is above the controls")]
        if self.signal:
            lines += [*self._no_help(), *self._faster()]
        else:
            lines.append(self.best.verdict.reason)
        lines += self._rival_choice()
        for row in self.ranked:
            if row.frac_truncated > CUT_SHARE:
                cut = cut_words(row.frac_truncated, row.max_length)
                lines.append(f"{people_name(row.encoder)}: {cut}")
        return lines + [f"failed: {f.row()['encoder']}: {f.error}" for f in self.failed]

    def _ties(self) -> str:
        best = self.best
        first = (
            f"{people_name(best.encoder)} comes first, with {metric_name(self.metric)} "
            f"{best.score:.3f} at layer {best.layer} (90 % interval {best.low:.3f} to "
            f"{best.high:.3f})"
        )
        tied = [people_name(r.encoder) for r in self.ranked[1:] if r.tied_with_best]
        if tied:
            return f"{first}; {', '.join(tied)} cannot be distinguished from it"
        return first + (", above all others" if len(self.ranked) > 1 else "")

    def _no_help(self) -> Iterator[str]:
        """Say where random weights do as well as the best."""
        for row in self.ranked:
            if row.tied_with_best and row.encoder.startswith(RANDOM_PREFIX):
                yield (
                    f"{people_name(row.encoder)} has random weights and ties with the best: "
                    "nothing shows that training helps here"
                )

    def _faster(self) -> Iterator[str]:
        """Name a tied encoder that costs much less."""
        tied = [r for r in self.ranked[1:] if r.tied_with_best]
        least = min(tied, key=lambda row: row.operations, default=None)
        if least is not None and self.best.operations >= FASTER * least.operations:
            yield (
                f"{people_name(least.encoder)} ties with the best and takes "
                f"{self.best.operations / least.operations:.1f} times fewer operations to encode "
                "a text"
            )

    def _rival_choice(self) -> Iterator[str]:
        """Say what scores without a trained head would have chosen."""
        chosen = []
        for column, name in _RIVAL_NAMES.items():
            scores = {r.encoder: getattr(r.rivals, column) for r in self.ranked}
            known = {encoder: score for encoder, score in scores.items() if isfinite(score)}
            if known and column != self.ranked_by:
                chosen.append(f"{name} {people_name(max(known, key=known.__getitem__))}")
        if chosen and len(self.ranked) > 1:
            yield f"rivals that train no head would choose: {', '.join(chosen)}"

    def about(self) -> dict[str, Any]:
        """Return what the answer says beside the table, as JSON takes it."""
        return {
            "task": self.card.name,
            "n": self.n,
            "n_draws": self.n_draws,
            "n_eval": self.card.n_eval,
            "metric": self.metric,
            "ranked_by": self.ranked_by,
            "best": people_name(self.best.encoder),
            "signal": self.signal,
            "reasons": {people_name(r.encoder): r.verdict.reason for r in self.ranked},
            "failed": [f.row() for f in self.failed],
            "lines": self.lines(),
            "notes": list(self.card.notes),
            "encoder_notes": list(self.encoder_notes),
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return one row an encoder, the best first."""
        return pd.DataFrame(self.rows())

    def __repr__(self) -> str:
        shown = self.to_pandas().to_string(index=False, float_format="{:.3f}".format)
        return "\n".join([*self.lines(), shown])

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in self.lines())
        shown = self.to_pandas().to_html(index=False, float_format="{:.3f}".format, na_rep="")
        return f"<p>{lines}</p>{shown}"
