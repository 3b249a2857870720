"""Which layer? Heads on every layer, compared on the same rows, with ties and controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import pandas as pd

from charkit.config import EncodeOptions, Progress, no_progress, people_name
from charkit.encoders.load import EncoderChoice
from charkit.errors import DataError, UsageError
from charkit.heads.metrics.selection import LayerChoice, SignalTest
from charkit.heads.sweep.compare import compare_layers
from charkit.heads.sweep.grid import ALL_CONTROLS, Source, SweepPlan, SweepSettings, plan_sweep
from charkit.heads.sweep.result import CUT_SHARE, NO_HELP, SweepResult, cut_words, ties
from charkit.heads.sweep.sweep import announce, run_sweep
from charkit.parallel import ExecutorChoice
from charkit.store.store import Store
from charkit.tasks.card import LazyTask, TaskCard


@dataclass(frozen=True, eq=False)
class LayersAnswer:
    """Which layer serves a task best.

    Attributes:
        card: The task.
        encoder: Name of the encoder.
        n: Labelled training texts.
        choice: The layers compared.
        verdict: Whether there is any signal above the controls.
        metric: What the scores are: the metric asked for, else the task's own;
            ``"correlation"`` for regression.
        training_helps: Whether the encoder is above a random one of the same shape by more than
            chance.
        frac_truncated: Share of texts cut at the maximum length.
        max_length: That length, in tokens.
        beside: Other metrics of each layer where one class has most evaluation texts: name ->
            values in the order of the layers.
    """

    card: TaskCard
    encoder: str
    n: int
    choice: LayerChoice
    verdict: SignalTest
    metric: str
    training_helps: bool
    frac_truncated: float
    max_length: int
    beside: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def best(self) -> int:
        """The layer with the best mean score."""
        return self.choice.best

    @property
    def signal(self) -> bool:
        """Whether the best layer is above the controls by more than chance."""
        return self.verdict.signal

    @property
    def reason(self) -> str:
        """Why `signal` is what it is."""
        return self.verdict.reason

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a layer: score, 90 % interval, and whether it ties with the best."""
        choice = self.choice
        return [
            {
                "layer": layer,
                self.metric: float(choice.score[i]),
                "low": float(choice.low[i]),
                "high": float(choice.high[i]),
                "tied_with_best": bool(choice.tied_with_best[i]),
                **{name: float(values[i]) for name, values in self.beside.items()},
            }
            for i, layer in enumerate(choice.layers)
        ]

    def lines(self) -> list[str]:
        """Return the answer as text."""
        head = f"{self.card.name}, {self.n:,} labels, {people_name(self.encoder)}: "
        best = ties(self.choice) if self.signal else "no layer is above the controls"
        lines = [head + best, self.reason]
        if self.signal and not self.training_helps:
            lines.append(NO_HELP)
        if self.frac_truncated > CUT_SHARE:
            lines.append(cut_words(self.frac_truncated, self.max_length))
        return lines

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a layer."""
        return pd.DataFrame(self.rows())

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in self.lines())
        shown = self.to_pandas().to_html(index=False, float_format="{:.3f}".format)
        return f"<p>{lines}</p>{shown}"


def layers(
    task: Source,
    *,
    n: int | None = None,
    encoder: EncoderChoice = "minilm",
    layers: Sequence[int | float] | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    metric: str | None = None,
    encoding: EncodeOptions | None = None,
    store: Store | None = None,
    executor: ExecutorChoice = None,
    progress: Progress = no_progress,
) -> LayersAnswer:
    """Compare an encoder's layers on a task, and say whether any is above the controls.

    Args:
        task: A source that `charkit.load_task` takes, or a task.
        n: Labelled training texts. Default: all.
        encoder: Name or loaded encoder.
        layers: Layers to compare, 0 = embeddings. Default: all.
        seeds: Draws of the training texts.
        metric: What layers are compared by: ``"accuracy"``, ``"f1"``, ``"macro_f1"``,
            ``"balanced_accuracy"`` or ``"matthews"``. Default: the task's own metric.
        encoding: Pooling and longest text.
        store: Where results are stored. Default: the user's cache, or $CHARKIT_CACHE.
        executor: Where heads are fitted, such as 4 (processes), ``"ray"`` or ``"slurm"``. Default:
            one process a core.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal, or ``n`` exceeds the training sample.
        DataError: The source cannot be used.
        MissingError: An encoder, a file or disk space is missing.
    """
    plan = plan_layers(
        task,
        n=n,
        encoder=encoder,
        layers=layers,
        seeds=seeds,
        metric=metric,
        encoding=encoding,
        store=store,
    )
    announce(plan)
    return answer_from(run_sweep(plan, executor=executor, progress=progress))


def plan_layers(
    task: Source,
    *,
    n: int | None = None,
    encoder: EncoderChoice = "minilm",
    layers: Sequence[int | float] | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    controls: Sequence[str] = ALL_CONTROLS,
    metric: str | None = None,
    encoding: EncodeOptions | None = None,
    store: Store | None = None,
) -> SweepPlan:
    """Return the sweep that answers the question; the arguments are those of `layers`.

    Raises:
        UsageError: ``n`` exceeds the training sample, or another argument is not legal.
        DataError: The source cannot be used.
    """
    lazy = task if isinstance(task, LazyTask) else LazyTask(task, store or Store())
    check_n(lazy.card, n)
    encoding = encoding or EncodeOptions()
    settings = SweepSettings(
        layers=None if layers is None else tuple(layers),
        sizes=(n or lazy.card.n_train,),
        seeds=tuple(seeds),
        controls=tuple(controls),
        metric=metric,
        pooling=encoding.pooling,
        max_length=encoding.max_length,
    )
    return plan_sweep([lazy], encoder=encoder, settings=settings, store=store or lazy.store)


def check_n(card: TaskCard, n: int | None) -> None:
    """Refuse a number of labelled texts that the training sample does not have.

    Raises:
        UsageError: It is too small or too large.
    """
    smallest = max(2, card.n_classes)
    if n is not None and not smallest <= n <= card.n_train:
        raise UsageError(
            f"n out of range: expected {smallest} to {card.n_train:,}, the labelled training "
            f"texts of {card.name} apart from the {card.n_eval:,} for evaluation, got {n:,}. "
            "Leave it out for all."
        )


def answer_from(result: SweepResult) -> LayersAnswer:
    """Return the answer for the largest size of a sweep over one task and one encoder.

    Args:
        result: A sweep with all controls.

    Raises:
        DataError: No draw was finished under every control.
    """
    card = result.cards[0]
    real = result.table[result.table["control"] == "none"]
    probe = next(job.probe for job in result.jobs if job.control == "none")
    compared = compare_layers(result, card.name, probe.encoder)
    if compared is None or compared.verdict is None or compared.training_helps is None:
        raise DataError(
            f"{card.name}: expected a draw that is finished under every control, got none. "
            "Run the sweep again, with all controls."
        )
    return LayersAnswer(
        card=card,
        encoder=probe.encoder,
        n=compared.n,
        choice=compared.choice,
        verdict=compared.verdict,
        metric=compared.metric,
        training_helps=compared.training_helps,
        frac_truncated=float(real["frac_truncated"].max()),
        max_length=probe.max_length,
        beside={name: values.tolist() for name, values in compared.beside.items()},
    )
