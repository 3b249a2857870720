"""The diagonal Fisher information of an encoder's weights on some texts, text by text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from charkit.config import Progress, no_progress, staged
from charkit.encoders import Encoder
from charkit.errors import DataError, UsageError
from charkit.fisher.embedding import TaskEmbedding
from charkit.fisher.forward import TokenStates, frozen
from charkit.fisher.labels import Head, LabelPlan, check_labels, plan_labels
from charkit.fisher.layout import chosen_layers, head_layer_number
from charkit.fisher.options import DEFAULT_OPTIONS, FisherOptions, FisherTexts, check_options
from charkit.fisher.passes import Pass, Request, Sums
from charkit.fisher.stability import deal_groups

PILOT_TEXTS = 128
"""Most texts of the pilot."""

# Keeps the pilot's draws apart from those of the estimate itself. Any number does.
_PILOT_SEED = 0x9E3779B9


@dataclass(frozen=True)
class DrawNoise:
    """What one draw a text adds to what is there.

    Attributes:
        within: Variance of one draw's numbers about their text's, summed over numbers.
        between: Variance of the texts' own numbers, summed over numbers.
        length: Squared length of the mean of the texts' numbers.
    """

    within: float
    between: float
    length: float

    def relative_error(self, n_draws: int, *, n_samples: int) -> float:
        """Return the root mean square noise of the draws over the length of the vector."""
        if self.within == 0:
            return 0.0
        if self.length <= 0:
            return math.inf
        return math.sqrt(self.within / (n_samples * n_draws * self.length))

    def least_draws(self, wanted: float, *, n_samples: int) -> float:
        """Return the smallest number of draws with at most the wanted relative error."""
        one = self.relative_error(1, n_samples=n_samples)
        return max(1.0, math.ceil((one / wanted) ** 2)) if math.isfinite(one) else math.inf


def measure_noise(one: NDArray[np.floating], two: NDArray[np.floating]) -> DrawNoise:
    """Return the parts of the noise from two independent draws for each of some texts.

    Args:
        one: Numbers of one draw, (n_samples, size).
        two: Numbers of another, the same shape.
    """
    n_samples = len(one)
    half_gap = (one.astype(np.float64) - two) / 2
    both = (one.astype(np.float64) + two) / 2
    mean = both.mean(0)
    within = 2 * float(np.einsum("ij,ij->", half_gap, half_gap)) / n_samples
    if n_samples < 2:
        return DrawNoise(within, math.nan, float(mean @ mean) - within / 2)
    both -= mean
    total = float(np.einsum("ij,ij->", both, both)) / (n_samples - 1)
    return DrawNoise(within, total - within / 2, float(mean @ mean) - total / n_samples)


def choose_draws(
    request: Request, plan: LabelPlan, *, wanted: float, progress: Progress
) -> tuple[LabelPlan, dict[int, float]]:
    """Return the plan with the least draws that are enough for every head, and their error.

    With D independent draws for each of n texts, the draws add to the mean of the texts' numbers
    the noise W / (n D), W being the mean over texts of the variance, over draws, of one draw's
    numbers, summed over numbers. Two draws for each of some texts give W without bias, and the
    squared length of the mean, less its own noise, gives what the noise is to be compared with:

        D = the least with sqrt(W / (n D)) <= wanted |m|.

    The variance between texts stays, however many draws there are. Where the exact expectation
    takes no more passes than D draws, it is taken: it has no such noise.

    Args:
        request: What is to be estimated; its texts serve for the pilot.
        plan: Whose number of draws is to be chosen.
        wanted: Relative error.
        progress: Called as ``progress("pilot", done, total)``.

    Returns:
        The plan, and the expected relative error of the draws, head layer -> number.
    """
    if not plan.is_drawn:
        return plan, dict.fromkeys(request.heads, 0.0)
    noise = _pilot(request, plan, progress)
    n_samples = len(request.split.texts)
    n_draws = max(n.least_draws(wanted, n_samples=n_samples) for n in noise.values())
    exact = LabelPlan("exact")
    if n_draws >= max(exact.n_passes(head) for head in request.heads.values()):
        return exact, dict.fromkeys(request.heads, 0.0)
    chosen = replace(plan, n_draws=int(n_draws))
    errors = {
        layer: n.relative_error(chosen.n_draws, n_samples=n_samples) for layer, n in noise.items()
    }
    return chosen, errors


def _pilot(request: Request, plan: LabelPlan, progress: Progress) -> dict[int, DrawNoise]:
    """Return the noise under each head from two draws, other ones than the estimate's."""
    options = replace(request.options, keep_rows=True, stop_at=None)
    order, _ = deal_groups(len(request.split.texts), seed=options.seed)
    pilot = replace(request, options=options)
    seeds = np.random.SeedSequence([plan.seed, _PILOT_SEED]).generate_state(2)
    found = []
    for seed in seeds:
        once = replace(plan, n_draws=1, seed=int(seed))
        sums = Pass(pilot, once, order=order[:PILOT_TEXTS]).run(staged(progress, "pilot"))
        found.append({layer: some.rows for layer, some in sums.items()})
    noise = {}
    for layer in request.heads:
        one, two = (rows[layer] for rows in found)
        assert one is not None and two is not None  # noqa: PT018
        noise[layer] = measure_noise(one, two)
    return noise


def fisher_embedding(
    encoder: Encoder,
    split: FisherTexts,
    head: Head,
    *,
    head_layer: int = -1,
    options: FisherOptions = DEFAULT_OPTIONS,
    states: TokenStates | None = None,
    name: str = "",
    progress: Progress = no_progress,
) -> TaskEmbedding:
    """Estimate the diagonal Fisher information of an encoder's weights w under one head.

    The mean over texts x of E_{y ~ p(y | x)} [(d log p(y | x) / dw)^2], squared text by text and
    averaged over the inputs of each output row. Only the empirical estimator
    reads labels: a sample without labels can be embedded under a head that was trained elsewhere.

    Args:
        encoder: The encoder; it is left as it was.
        split: The texts, or pairs of texts.
        head: Reads the pooled states of ``head_layer``.
        head_layer: 1 to L, or negative from the end.
        options: Layers, parts, estimator, lengths.
        states: From `cache_states`, of the same texts, below the lowest chosen layer.
        name: What tables call the result.
        progress: Called as ``progress("fisher", done, total)`` with counts of texts.

    Raises:
        UsageError: An argument is out of range.
        DataError: There are no texts, or labels that are needed are missing.

    References:
        Achille, Lam, Tewari, Ravichandran, Maji, Fowlkes, Soatto and Perona 2019, "Task2Vec:
        Task Embedding for Meta-Learning".
    """
    layer = head_layer_number(head_layer, n_layers=encoder.n_layers)
    found = fisher_embeddings(
        encoder, split, {layer: head}, options=options, states=states, name=name, progress=progress
    )
    return found[layer]


def fisher_embeddings(
    encoder: Encoder,
    split: FisherTexts,
    heads: Mapping[int, Head],
    *,
    options: FisherOptions = DEFAULT_OPTIONS,
    states: TokenStates | None = None,
    name: str = "",
    progress: Progress = no_progress,
) -> dict[int, TaskEmbedding]:
    """Estimate the embeddings under heads at several layers from one forward pass.

    Args:
        encoder: The encoder; it is left as it was.
        split: The texts, or pairs of texts.
        heads: Layer (1 to L, or negative from the end) -> the head that reads it.
        options: As for `fisher_embedding`; of ``layers``, each embedding has those up to its
            head.
        states: From `cache_states`, of the same texts, below the lowest chosen layer.
        name: What tables call the results.
        progress: Called as ``progress("fisher", done, total)`` with counts of texts.

    Returns:
        Layer, 1 to L -> the embedding under its head.

    Raises:
        UsageError: An argument is out of range.
        DataError: There are no texts, or labels that are needed are missing.
    """
    placed = _check_heads(encoder, heads)
    check_options(options)
    if not len(split.texts):
        raise DataError("there are no texts: expected at least 1, got 0. Name another sample.")
    length = encoder.text_length(options.max_length)
    layers = chosen_layers(options.layers, list(placed), n_layers=encoder.n_layers)
    _check_states(states, encoder, layers[0], length, split)
    plan = plan_labels(
        options.estimator, heads=list(placed.values()), n_draws=options.n_draws, seed=options.seed
    )
    if plan.estimator == "empirical":
        check_labels(split.labels, heads=list(placed.values()), n_samples=len(split.texts))
    request = Request(encoder, split, placed, layers, options, length, states)
    errors = dict.fromkeys(placed, float("nan") if plan.is_drawn else 0.0)
    with torch.inference_mode(False), torch.enable_grad(), frozen(encoder):
        if options.relative_error is not None:
            plan, errors = choose_draws(
                request, plan, wanted=options.relative_error, progress=progress
            )
        run = Pass(request, plan)
        sums = run.run(progress)
    return {
        layer: _finished(run, plan, layer, sums[layer], name=name, draw_error=errors[layer])
        for layer in placed
    }


def _check_heads(encoder: Encoder, heads: Mapping[int, Head]) -> dict[int, Head]:
    if not heads:
        raise UsageError("no head is named: expected at least one, got none.")
    placed: dict[int, Head] = {}
    for named, head in heads.items():
        layer = head_layer_number(named, n_layers=encoder.n_layers)
        if head.weights.shape[1] != encoder.width:
            raise UsageError(
                f"head at layer {layer} does not fit: expected weights of width {encoder.width} "
                f"for {encoder.name}, got {head.weights.shape[1]}."
            )
        if layer in placed:
            raise UsageError(
                f"layer {layer} has two heads: expected one a layer, got it from {list(heads)}."
            )
        placed[layer] = head
    return dict(sorted(placed.items()))


def _check_states(
    states: TokenStates | None, encoder: Encoder, lowest: int, length: int, split: FisherTexts
) -> None:
    if states is None:
        return
    if states.layer >= lowest:
        raise UsageError(
            f"cache_layer is too high: expected at most {lowest - 1}, below the lowest chosen "
            f"layer, got {states.layer}."
        )
    theirs = (states.encoder_fingerprint, states.max_length, states.text_fingerprint)
    ours = (encoder.fingerprint, length, split.text_fingerprint)
    if theirs != ours:
        raise UsageError(
            "cached states do not fit: expected those of the same encoder, max_length and texts "
            f"{ours}, got {theirs}. Compute them again."
        )


def _finished(
    run: Pass, plan: LabelPlan, layer: int, sums: Sums, *, name: str, draw_error: float
) -> TaskEmbedding:
    request, options = run.request, run.request.options
    encoder, head = request.encoder, request.heads[layer]
    n_samples = sums.n_done
    mean = sums.groups.sum(0).cpu().numpy() / n_samples
    error: NDArray[np.float64] = np.full(mean.shape, np.nan)
    if n_samples > 1:
        spread = np.maximum(sums.second.cpu().numpy() / n_samples - mean**2, 0)
        error = np.sqrt(spread / (n_samples - 1))
    if not np.isfinite(mean).all():
        raise DataError(
            "the embedding is not finite: expected numbers, got NaN or infinity. Use float32, "
            "and look at the head's weights."
        )
    return TaskEmbedding(
        values=mean,
        standard_error=error,
        slices=run.slices(layer),
        name=name,
        encoder=encoder.name,
        encoder_fingerprint=encoder.fingerprint,
        head_layer=layer,
        head_fingerprint=head.fingerprint,
        pooling=options.pooling,
        max_length=request.max_length,
        dtype=encoder.dtype,
        kind=head.kind,
        n_classes=head.n_classes,
        estimand=plan.estimand,
        estimator=plan.estimator,
        n_draws=plan.n_draws,
        seed=options.seed,
        n_samples=n_samples,
        frac_truncated=run.n_truncated / n_samples,
        text_fingerprint=request.split.text_fingerprint,
        draw_error=draw_error,
        stopped_early=run.stopped_early,
        rows=None if sums.rows is None else sums.rows[:n_samples],
        group_products=run.products(layer, sums),
    )
