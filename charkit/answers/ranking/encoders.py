"""Which encoder? Heads on every layer of each, compared on the same rows and draws."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from charkit.answers.ranking.encoder_table import EncodersAnswer, FailedEncoder, RankedEncoder
from charkit.answers.ranking.layers import check_n, plan_layers
from charkit.config import (
    RANDOM_PREFIX,
    EncodeOptions,
    Progress,
    no_progress,
    people_name,
    staged_by,
)
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import EncoderChoice, LazyEncoder, loaded, named_apart
from charkit.encoders.stream import encode_to_store
from charkit.errors import CellsFailedError, CharkitError, DataError, UsageError
from charkit.heads.metrics.transferability import Rivals, log_evidence, rival_scores
from charkit.heads.sweep.compare import LayerComparison, best_encoders, compare_layers
from charkit.heads.sweep.grid import RANDOM_ENCODER_SEED, Source, SweepPlan
from charkit.heads.sweep.job import rows_used
from charkit.heads.sweep.sweep import announce, run_sweep, train_part
from charkit.parallel import ExecutorChoice
from charkit.store.store import Store
from charkit.tasks.card import LazyTask
from charkit.tasks.nested import nested_order

logger = logging.getLogger(__name__)

DEFAULT_ENCODERS = ("minilm", "random:minilm")
"""The bundled encoder, and its shape with random weights: what training had no part in."""

CONTROLS = ("none", "shuffled_labels", "majority")

RIVAL_TEXTS = 2_000
"""The rivals see at most this number of labelled texts: their cost grows with the square."""


def rank_encoders(
    task: Source,
    *,
    encoder: Sequence[EncoderChoice] = DEFAULT_ENCODERS,
    n: int | None = None,
    layers: Sequence[int | float] | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    metric: str | None = None,
    encoding: EncodeOptions | None = None,
    store: Store | None = None,
    executor: ExecutorChoice = None,
    progress: Progress = no_progress,
) -> EncodersAnswer:
    """Rank encoders by what heads on their best layer make of a task; say which ones tie.

    All are scored on the same held-out texts, by heads trained on the same draws. An encoder
    that fails (not installed, offline, damaged) is named with the reason, and the others are
    ranked all the same.

    Args:
        task: A source that `charkit.load_task` takes, or a task.
        encoder: Names or loaded encoders. ``random:NAME`` has the shape and the tokenizer of
            NAME and random weights.
        n: Labelled training texts. Default: all.
        layers: Layers to compare, 0 = embeddings, -1 = the last; a float is a share of the depth.
            Default: all.
        seeds: Draws of the training texts.
        metric: What encoders and layers are ranked by: ``"accuracy"``, ``"f1"``, ``"macro_f1"``,
            ``"balanced_accuracy"`` or ``"matthews"``. Default: LogME of the labelled texts, among
            those that held-out texts do not tell apart by log loss, which ranks better
            (docs/encoders.md); the task's own metric is shown. Correlation for real numbers.
        encoding: Pooling and longest text. Default: mean, and each encoder's own choice.
        store: Where results are stored. Default: the user's cache, or $CHARKIT_CACHE.
        executor: Where heads are fitted, such as 4 (processes), ``"ray"`` or ``"slurm"``. Default:
            one process a core.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal, or ``n`` exceeds the training sample.
        DataError: The source cannot be used.
        CellsFailedError: Some encoders failed; the answer about the others is its ``partial``.
    """
    plans, failed = plan_encoders(
        task,
        encoder=encoder,
        n=n,
        layers=layers,
        seeds=seeds,
        metric=metric,
        encoding=encoding,
        store=store,
    )
    announce(*plans)
    answer = run_encoders(plans, failed, executor=executor, progress=progress)
    if answer.failed:
        raise some_failed(answer)
    return answer


def plan_encoders(
    task: Source,
    *,
    encoder: Sequence[EncoderChoice] = DEFAULT_ENCODERS,
    n: int | None = None,
    layers: Sequence[int | float] | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    metric: str | None = None,
    encoding: EncodeOptions | None = None,
    store: Store | None = None,
) -> tuple[list[SweepPlan], list[FailedEncoder]]:
    """Return one sweep an encoder, and the encoders that cannot be had; see `rank_encoders`.

    Raises:
        UsageError: ``n`` exceeds the training sample, there is no encoder, or one is named twice.
        DataError: The source cannot be used.
        CharkitError: No encoder can be had; with one reason for all, that error itself.
    """
    lazy = task if isinstance(task, LazyTask) else LazyTask(task, store or Store())
    names = [e.name if isinstance(e, Encoder | LazyEncoder) else str(e) for e in encoder]
    if not names or len(set(names)) < len(names):
        raise UsageError(
            f"encoders: expected at least one, each named once, got {names or 'none'}. Leave "
            "repeats out."
        )
    check_n(lazy.card, n)
    found: list[Encoder] = []
    failed: list[FailedEncoder] = []
    for choice, name in zip(encoder, names, strict=True):
        try:
            found.append(load_choice(choice))
        except CharkitError as error:
            failed.append(FailedEncoder(name, error))
    plans = []
    for one in named_apart(found):
        try:
            plans.append(
                plan_layers(
                    lazy,
                    n=n,
                    encoder=one,
                    layers=layers,
                    seeds=seeds,
                    controls=CONTROLS,
                    metric=metric,
                    encoding=encoding,
                    store=store,
                )
            )
        except CharkitError as error:
            failed.append(FailedEncoder(one.name, error))
    if not plans:
        raise _none_left(failed)
    return plans, failed


def load_choice(encoder: EncoderChoice) -> Encoder:
    """Return the encoder; ``random:NAME`` with random weights.

    Raises:
        CharkitError: It cannot be had; `charkit.encoders.load_encoder` names what can go wrong.
    """
    if isinstance(encoder, str):
        encoder = LazyEncoder(encoder)
    if not isinstance(encoder, LazyEncoder) or not encoder.name.startswith(RANDOM_PREFIX):
        return loaded(encoder)
    found = loaded(replace(encoder, name=encoder.name.removeprefix(RANDOM_PREFIX)))
    return replace(found.randomised(seed=RANDOM_ENCODER_SEED), name=encoder.name)


def run_encoders(
    plans: Sequence[SweepPlan],
    failed: Sequence[FailedEncoder] = (),
    *,
    executor: ExecutorChoice = None,
    progress: Progress = no_progress,
) -> EncodersAnswer:
    """Run the sweeps one after another and rank what was finished.

    Args:
        plans: From `plan_encoders`.
        failed: Encoders that are out already.
        executor: Where heads are fitted, such as 4 (processes), ``"ray"`` or ``"slurm"``. Default:
            one process a core.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        CharkitError: No encoder was finished; with one reason for all, that error itself.
    """
    runs, out = [], list(failed)
    for plan in plans:
        name = plan.encoders[0].name
        try:
            runs.append(_run(plan, executor, staged_by(progress, f"({people_name(name)})")))
        except CharkitError as error:
            out.append(FailedEncoder(name, error))
        except Exception as error:  # a damaged checkpoint can raise anything; the rest goes on
            logger.exception("%s failed", name)
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            out.append(FailedEncoder(name, CharkitError(f"{type(error).__name__}: {reason}")))
    if not runs:
        raise _none_left(out)
    noted = [line for plan in plans for line in plan.encoder_notes()]
    return replace(_ranked(runs, out), encoder_notes=tuple(dict.fromkeys(noted)))


@dataclass(frozen=True, eq=False)
class _Run:
    """An encoder's finished sweep."""

    plan: SweepPlan
    compared: LayerComparison
    frac_truncated: float
    operations: float
    logme_layer: int | None  # where LogME is largest; None where the sample allows none
    rivals: Rivals


def _run(plan: SweepPlan, executor: ExecutorChoice, progress: Progress) -> _Run:
    encoder, task = plan.encoders[0], plan.tasks[0]
    result = run_sweep(plan, executor=executor, progress=progress)
    compared = compare_layers(result, task.card.name, encoder.name)
    if compared is None:
        raise DataError(
            f"{task.card.name}: expected a draw that is finished under every control, got none. "
            "Run it again."
        )
    real = result.table[result.table["control"] == "none"]
    return _Run(
        plan,
        compared,
        float(real["frac_truncated"].max()),
        _operations(plan),
        *_without_heads(plan, compared),
    )


def _operations(plan: SweepPlan) -> float:
    """Return the operations of encoding an evaluation text: the same texts for every encoder."""
    settings, evaluation = plan.settings, plan.tasks[0].open().evaluation
    assert evaluation is not None  # `plan_sweep` asked for evaluation texts
    states = encode_to_store(
        plan.encoders[0],
        evaluation,
        store=plan.store,
        pooling=settings.pooling,
        max_length=settings.max_length,
    )
    return plan.encoders[0].operations(states.n_tokens) / states.n_samples


def _without_heads(plan: SweepPlan, compared: LayerComparison) -> tuple[int | None, Rivals]:
    """Return the layer of the largest LogME, and its scores without a head; else the best layer's.

    They are of the labelled texts of the first draw.
    """
    settings, task = plan.settings, plan.tasks[0].open()
    labels = task.train.labels
    assert labels is not None  # a head was trained
    order = nested_order(labels, seed=settings.seeds[0], kind=task.kind)
    rows = order[: min(compared.n, RIVAL_TEXTS)]
    job = next(job for job in plan.jobs if job.control == "none")
    used = train_part(plan, job, task.train, rows_used(plan, task))
    states = encode_to_store(
        plan.encoders[0],
        used.split,
        store=plan.store,
        pooling=settings.pooling,
        max_length=settings.max_length,
    )
    logme: dict[int, float] = {}
    for layer in compared.choice.layers:
        features = states.layer(layer)[used.places[rows]]
        with suppress(DataError):  # too few rows, or constants: this layer has no LogME
            logme[layer] = log_evidence(features, labels[rows], kind=task.kind)
    best = max(logme, key=logme.__getitem__) if logme else None
    features = states.layer(compared.choice.best if best is None else best)[used.places[rows]]
    return best, rival_scores(features, labels[rows], kind=task.kind)


def _ranked(runs: Sequence[_Run], failed: Sequence[FailedEncoder]) -> EncodersAnswer:
    first = runs[0].compared
    losses = [run.compared.log_loss for run in runs]
    by_loss = runs[0].plan.settings.metric is None and first.log_loss is not None
    choice = best_encoders(
        [-loss for loss in losses if loss is not None]
        if by_loss
        else [run.compared.values for run in runs],
        layers=[run.compared.choice.layers for run in runs],
        bounds=first.bounds,
    )
    by_logme = by_loss and any(run.logme_layer is not None for run in runs)
    rows = []
    for index, run in enumerate(runs):
        encoder, verdict = run.plan.encoders[0], run.compared.verdict
        own, layer = run.compared.choice, choice.layer[index]
        if by_logme and run.logme_layer is not None:
            layer = run.logme_layer
        place = own.layers.index(layer)
        assert verdict is not None  # the majority control is among the controls
        rows.append(
            RankedEncoder(
                encoder=encoder.name,
                layer=layer,
                score=float(own.score[place]),
                low=float(own.low[place]),
                high=float(own.high[place]),
                tied_with_best=bool(choice.tied_with_best[index]),
                verdict=verdict,
                width=encoder.width,
                n_layers=encoder.n_layers,
                operations=run.operations,
                frac_truncated=run.frac_truncated,
                max_length=encoder.text_length(run.plan.settings.max_length),
                rivals=run.rivals,
                beside=_beside(run.compared, place, by_loss=by_loss),
            )
        )
    return EncodersAnswer(
        card=runs[0].plan.tasks[0].card,
        n=first.n,
        n_draws=first.choice.n_draws,
        metric=first.metric,
        ranked=_ordered(rows, choice.score, by_logme=by_logme),
        ranked_by="logme" if by_logme else "log_loss" if by_loss else first.metric,
        failed=tuple(failed),
    )


def _ordered(
    rows: Sequence[RankedEncoder], score: NDArray[np.float64], *, by_logme: bool
) -> tuple[RankedEncoder, ...]:
    """Return the encoders in order; those that tie on held-out texts before the others."""
    order = np.argsort(-score, kind="stable")
    if by_logme:
        logme = np.nan_to_num([row.rivals.logme for row in rows], nan=-np.inf)
        tied = np.array([row.tied_with_best for row in rows])
        order = order[np.lexsort((-logme[order], ~tied[order]))]
    return tuple(rows[i] for i in order)


def _beside(compared: LayerComparison, place: int, *, by_loss: bool) -> dict[str, float]:
    """Return the other metrics of the layer at a place, the log loss where it ranks."""
    own = {name: float(values[place]) for name, values in compared.beside.items()}
    if by_loss and compared.log_loss is not None:
        own["log_loss"] = float(compared.log_loss[:, place].mean())
    return own


def some_failed(answer: EncodersAnswer) -> CellsFailedError:
    """Return the error that names the encoders that failed, the answer on the others attached."""
    n_all = len(answer.failed) + len(answer.ranked)
    reasons = "; ".join(f"{f.encoder}: {f.error}" for f in answer.failed)
    return CellsFailedError(
        f"{len(answer.failed)} of {n_all} encoders failed ({reasons}) The others are ranked.",
        partial=answer,
    )


def _none_left(failed: Sequence[FailedEncoder]) -> CharkitError:
    if len({str(f.error) for f in failed}) == 1:
        return failed[0].error
    reasons = "; ".join(f"{f.encoder}: {f.error}" for f in failed)
    return CellsFailedError(
        f"all {len(failed)} encoders failed ({reasons})",
        exit_codes={f.error.exit_code for f in failed},
    )
