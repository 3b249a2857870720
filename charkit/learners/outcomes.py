"""What each learner reaches on the same training draw and the same evaluation texts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.encoders import Encoder, encode
from charkit.errors import UnknownNameError, UsageError
from charkit.heads.metrics.scores import predicted_classes, row_log_loss
from charkit.heads.sample.out_of_fold import SampleHeads, fit_sample_heads
from charkit.learners.contrastive import SetFitted, check_setfit, fit_setfit
from charkit.learners.tuning import Recipe, Tuned, fine_tune
from charkit.tasks import Split

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BUILT_IN = ("probe", "last_layer", "concat", "tuned")
"""``probe``: linear head on the layer with the lowest leave-one-out log loss; ``last_layer``: on
the last one; ``concat``: on all layers side by side; ``tuned``: full fine-tuning."""

LEARNERS = (*BUILT_IN, "setfit")
"""Those, and ``setfit``, which needs the package of that name."""


def check_learners(learners: Sequence[str]) -> tuple[str, ...]:
    """Return the learners that can be trained here, each once.

    Raises:
        MissingError: One needs a package that is not installed.
        UnknownNameError: One is not known.
        UsageError: There is none.
    """
    known = known_learners(learners)
    if "setfit" in known:
        check_setfit()
    return known


def known_learners(learners: Sequence[str]) -> tuple[str, ...]:
    """Return the learners, each once, whether or not their packages are installed.

    Raises:
        UnknownNameError: One is not known.
        UsageError: There is none.
    """
    for name in learners:
        if name not in LEARNERS:
            raise UnknownNameError("learner", name, LEARNERS)
    if not learners:
        raise UsageError(f"learners: expected at least one of {', '.join(LEARNERS)}, got none.")
    return tuple(dict.fromkeys(learners))


def compare_learners(
    encoder: Encoder,
    train: Split,
    evaluation: Split,
    n_classes: int,
    *,
    learners: Sequence[str] = BUILT_IN,
    seed: int = 0,
    recipe: Recipe | None = None,
    max_length: int | None = None,
) -> list[dict[str, Any]]:
    """Train each learner on the same texts and score it on the same evaluation texts.

    Args:
        encoder: Stays as it is.
        train: Labelled training texts.
        evaluation: Labelled evaluation texts.
        n_classes: Number of classes of the task.
        learners: Of `LEARNERS`.
        seed: Of fine-tuning and of SetFit.
        recipe: Of fine-tuning; default `charkit.learners.default_recipe`.
        max_length: Most tokens of a text.

    Returns:
        One row a learner: ``learner``; ``layer``, the layer read, -1 for all of them;
        ``accuracy`` and ``log_loss`` (nats) on the evaluation texts, NaN for a run that diverged;
        ``left_out_accuracy`` and ``left_out_loss`` of the training texts from heads without them,
        NaN for ``tuned`` and ``setfit``; ``failed`` and ``failure``; ``seconds`` of processor time.

    Raises:
        DataError: Fewer than two classes have a text.
        MissingError: A learner needs a package that is not installed.
        UnknownNameError: A learner is not known.
    """
    names = check_learners(learners)
    labels = np.array(train.labels, np.int64)
    truth = np.array(evaluation.labels, np.int64)
    rows: list[dict[str, Any]] = []
    if set(names) - {"tuned", "setfit"}:
        begun = time.process_time()
        states = _states(encoder, train, max_length)
        held_out = _shared_states(encoder, evaluation, max_length)
        encoding = time.process_time() - begun
        rows = _heads(names, states, labels, held_out, truth, n_classes, encoding)
    for name in [name for name in ("tuned", "setfit") if name in names]:
        begun = time.process_time()
        options: dict[str, Any] = {"seed": seed, "max_length": max_length}
        found: Tuned | SetFitted
        if name == "tuned":
            found = fine_tune(encoder, train, labels, n_classes, recipe=recipe, **options)
        else:
            found = fit_setfit(encoder, train, labels, n_classes, **options)
        scores = {"accuracy": np.nan, "log_loss": np.nan}
        if not found.failure.startswith("diverged"):
            scores = _scores(found.probabilities(evaluation), truth)
        seconds = time.process_time() - begun
        rows.append(_row(name, encoder.n_layers, scores, seconds, failure=found.failure))
    return rows


def _states(encoder: Encoder, split: Split, max_length: int | None) -> Tensor:
    return torch.from_numpy(encode(encoder, split, max_length=max_length).to_numpy())


@lru_cache(maxsize=1)
def _shared_states(encoder: Encoder, split: Split, max_length: int | None) -> Tensor:
    """Return the states of evaluation texts, which draws of a task share."""
    return _states(encoder, split, max_length)


def _heads(
    names: tuple[str, ...],
    states: Tensor,
    labels: IntArray,
    held_out: Tensor,
    truth: IntArray,
    n_classes: int,
    encoding: float,
) -> list[dict[str, Any]]:
    """Return the rows of the learners that are heads."""
    codes = torch.from_numpy(labels)
    rows: list[dict[str, Any]] = []
    if {"probe", "last_layer"} & set(names):
        begun = time.process_time()
        heads = fit_sample_heads(states, codes, n_classes)
        found = heads.probabilities(held_out)
        seconds = encoding + time.process_time() - begun
        losses = [_left_out(heads, k, labels)["left_out_loss"] for k in range(len(states))]
        best = len(states) - 1 if np.isnan(losses).all() else int(np.nanargmin(losses))
        for name, layer in (("probe", best), ("last_layer", len(states) - 1)):
            if name in names:
                scores = _scores(found[layer], truth) | _left_out(heads, layer, labels)
                rows.append(_row(name, layer, scores, seconds))
    if "concat" in names:
        begun = time.process_time()
        inner, outer = side_by_side(states, held_out)
        heads = fit_sample_heads(inner, codes, n_classes)
        scores = _scores(heads.probabilities(outer)[0], truth) | _left_out(heads, 0, labels)
        rows.append(_row("concat", -1, scores, encoding + time.process_time() - begun))
    return rows


def side_by_side(states: Tensor, held_out: Tensor) -> tuple[Tensor, Tensor]:
    """Return all layers as one, (1, n, L * width), each divided by its training rows' spread.

    Args:
        states: Of the training texts, (L, n, width).
        held_out: Of other texts, (L, m, width).
    """
    centred = states - states.mean(1, keepdim=True)
    scale = centred.square().sum(2).mean(1).sqrt()[:, None, None]
    scale = torch.where(scale > 0, scale, 1.0)
    inner, outer = ((part / scale).transpose(0, 1).flatten(1)[None] for part in (states, held_out))
    return inner, outer


def _scores(probabilities: FloatArray, truth: IntArray) -> dict[str, float]:
    found = probabilities[None]
    return {
        "accuracy": float((predicted_classes(found)[0] == truth).mean()),
        "log_loss": float(row_log_loss(found, truth)[0].mean()),
    }


def _left_out(heads: SampleHeads, layer: int, labels: IntArray) -> dict[str, float]:
    """Return what a head makes of the training texts left out; NaN where none counts."""
    counted = heads.counted
    if not counted.any():
        return {"left_out_accuracy": np.nan, "left_out_loss": np.nan}
    found, truth = heads.left_out[layer][counted][None], labels[counted]
    return {
        "left_out_accuracy": float((predicted_classes(found)[0] == truth).mean()),
        "left_out_loss": float(row_log_loss(found, truth)[0].mean()),
    }


def _row(
    learner: str, layer: int, scores: dict[str, float], seconds: float, *, failure: str = ""
) -> dict[str, Any]:
    unknown = {"left_out_accuracy": np.nan, "left_out_loss": np.nan}
    return {
        "learner": learner,
        "layer": layer,
        **unknown,
        **scores,
        "failed": bool(failure),
        "failure": failure,
        "seconds": round(seconds, 3),
    }
