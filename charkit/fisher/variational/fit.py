"""Task2Vec's robust embedding: the precision of the noise that a task's weights can bear.

Weights w are perturbed around what they are, w~ ~ N(w, diag(s^2)), one s_j for each output row j.
Minimised over s and over one prior precision lambda^2 for each layer is

    L = E_w~ [mean cross-entropy] + (beta / 2N) KL(N(w, s^2) || N(0, 1 / lambda^2)),

N texts. With Lambda_j = 1 / s_j^2 and F~_j the row's mean curvature under the noise,

    (beta / 2N) Lambda_j = F~_j + (beta / 2N) lambda^2                              (1)

at the minimum. For little noise F~ is the Fisher information F: this is the equation of the paper's
section 3.1. The left side is the embedding: in units of F, raised by the prior that a task without
information would leave (`VariationalFit.trivial`). The share of the prior in a number,
lambda^2 s_j^2, is also the variance of the noise relative to the weights of the layer: a share of
0.01 means noise of a tenth of the weights' size.

Choices where the paper is silent or contradicts itself:

- Section 6 of its supplement drops a factor 1/2: what (1) says needs the KL term weighted by
  beta / 2N against the mean loss, as here. The evidence bound is beta = 2.
- The prior is centred at zero, as in the supplement: centred at w (main text), a learned
  lambda^2 grows without bound. Learned, it is known at the minimum: the number of weights over
  sum(w^2 + s^2). It is set to that at every step instead of being trained with s. As F goes to
  zero so do lambda^2 and the embedding ("the trivial zero embedding", supplement, 1.2).
- The head is frozen: it has converged already.
- Noise is drawn once a text, not once a token (see `charkit.fisher.variational.noise`).
- The gradient of the first term has two forms, see
  `charkit.fisher.options.Gradient`. The paper's is a random number
  whose deviation is about the root of the number of perturbed rows times its mean.

References:
    Achille, Lam, Tewari, Ravichandran, Maji, Fowlkes, Soatto and Perona 2019, "Task2Vec: Task
    Embedding for Meta-Learning". Khan, Nielsen, Tangkaratt, Lin, Gal and Srivastava 2018, "Fast
    and scalable Bayesian deep learning by weight-perturbation in Adam".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from charkit.config import Progress, no_progress
from charkit.encoders import Encoder
from charkit.encoders.tokens import Tokens, tokenise
from charkit.errors import DataError, RefusalError
from charkit.fisher.distances.pairwise import trivial_embedding
from charkit.fisher.embedding import TaskEmbedding
from charkit.fisher.estimate import fisher_embedding
from charkit.fisher.forward import IntArray, TokenStates, batches, choose_budget, frozen
from charkit.fisher.labels import Head
from charkit.fisher.layout import check_parts, make_layout, projects_positions
from charkit.fisher.options import (
    DEFAULT_VARIATIONAL,
    FisherTexts,
    VariationalOptions,
    check_variational,
)
from charkit.fisher.variational.noise import Curvature, PerturbedRows

UNTRUSTED = 1.0
"""A residual above this is refused: the numbers are wrong by their own size."""

# Relative differences below this take steps in proportion: Adam would blow up rounding.
_SMALL_GAP = 0.1


@dataclass(frozen=True, eq=False)
class VariationalFit:
    """A robust embedding, and how it was reached.

    Attributes:
        embedding: (beta / 2N) / s^2 of each row.
        trivial: Only the prior, (beta / 2N) lambda^2: the embedding of a task without
            information; with a learned prior, as this task has taught it.
        prior_precision: Layer -> lambda^2.
        prior_share: Layer -> mean of lambda^2 s^2: what the prior has in its numbers, and the
            noise's variance relative to the weights'.
        residual: Root mean square, over rows, of the two sides' relative difference in (1),
            averaged over the last half of the steps: how far the result is from the minimum,
            or how noisy the gradient. Above some 0.1, take more steps.
        options: Beta, steps, learning rate, seed and the rest.
    """

    embedding: TaskEmbedding
    trivial: TaskEmbedding
    prior_precision: dict[int, float]
    prior_share: dict[int, float]
    residual: float
    options: VariationalOptions


def fit_variational(
    encoder: Encoder,
    split: FisherTexts,
    head: Head,
    *,
    head_layer: int = -1,
    options: VariationalOptions = DEFAULT_VARIATIONAL,
    states: TokenStates | None = None,
    name: str = "",
    progress: Progress = no_progress,
) -> VariationalFit:
    """Find the precision of the noise that the encoder's weights can bear under one head.

    It starts where (1) holds for little noise, from one pass of the direct estimator.

    Args:
        encoder: The encoder; it is left as it was.
        split: The texts, or pairs of texts; labels are read only for the gradient ``given``.
        head: Reads the pooled states of ``head_layer``.
        head_layer: 1 to L, or negative from the end.
        options: Layers, parts, beta, steps.
        states: From `cache_states`, of the same texts, below the lowest chosen layer.
        name: What tables call the result.
        progress: Called as ``progress("fisher", done, total)`` with counts of texts, then as
            ``progress("variational", done, total)`` with counts of steps.

    Returns:
        The embedding; its ``estimand`` names gradient, prior and beta, its ``n_draws``
        counts draws a text, and its ``standard_error`` is that over texts, or NaN for the
        gradients along the noise, which hide it.

    Raises:
        UsageError: An argument is out of range.
        DataError: There are no texts, labels that are needed are missing, or the result is not
            finite.
        RefusalError: The residual is above `UNTRUSTED`; the fit is attached.
    """
    check_variational(options, labelled=split.labels is not None)
    direct = fisher_embedding(
        encoder,
        split,
        head,
        head_layer=head_layer,
        options=options.start,
        states=states,
        name=name,
        progress=progress,
    )
    layout = make_layout(encoder, layers=direct.layers, parts=check_parts(options.parts))
    rows = PerturbedRows.of(encoder, layout)
    with torch.inference_mode(False), torch.enable_grad(), frozen(encoder):
        tokens = _tokens(encoder, split, direct.max_length) if states is None else states.tokens
        curvature = Curvature(
            encoder,
            tokens,
            head,
            head_layer=direct.head_layer,
            layout=layout,
            facts=rows,
            pooling=options.pooling,
            labels=split.labels if options.gradient == "given" else None,
            exact=options.gradient == "gauss_newton",
            seed=options.seed,
            states=states,
        )
        search = _Search(rows, options, n_samples=direct.n_samples)
        search.start(torch.tensor(direct.values, dtype=torch.float32, device=encoder.device))
        search.run(curvature, _Order(encoder, tokens, options), progress)
    return _trusted(search.finished(direct))


def _trusted(fit: VariationalFit) -> VariationalFit:
    if fit.residual > UNTRUSTED:
        raise RefusalError(
            f"the variational estimate has not converged: expected a residual of at most "
            f"{UNTRUSTED:g}, got {fit.residual:.3g}. Take more steps, fewer layers or the gradient "
            "'gauss_newton'.",
            partial=fit,
        )
    return fit


def _tokens(encoder: Encoder, split: FisherTexts, max_length: int) -> Tokens:
    return tokenise(encoder, split.texts, split.pairs, max_length=max_length)


class _Order:
    """Batches of similar length, all of them in random order, again and again."""

    def __init__(self, encoder: Encoder, tokens: Tokens, options: VariationalOptions) -> None:
        budget = choose_budget(encoder, options.token_budget)
        single = projects_positions(encoder, check_parts(options.parts))
        self.batches = list(batches(tokens, token_budget=budget, single=single))
        self.n_samples = len(tokens.lengths)
        self._rng = np.random.default_rng(options.seed)

    def __iter__(self) -> Iterator[tuple[IntArray, float]]:
        """Yield rows and the weight that makes a random batch's mean that of all texts."""
        while True:
            for place in self._rng.permutation(len(self.batches)):
                rows = self.batches[place]
                yield rows, len(rows) * len(self.batches) / self.n_samples


class _Search:
    """Adam on the logarithms of the variances.

    The gradient of L at ln s_j^2, in units of (beta / 4N) times the row's weights, is

        s_j^2 (F~_j 2N / beta + lambda^2) - 1,

    the relative difference of the two sides of (1): the direction of the natural gradient.
    """

    def __init__(self, rows: PerturbedRows, options: VariationalOptions, *, n_samples: int) -> None:
        self.rows, self.options = rows, options
        self.scale = options.beta / (2 * n_samples)
        self.log_variance = torch.zeros_like(rows.square)
        self._variances, self._gaps, self._first, self._second = (
            torch.zeros(rows.square.shape, dtype=torch.float64) for _ in range(4)
        )
        self._averaged = 0
        self._texts = 0
        self._all_texts = 0

    def start(self, fisher: Tensor) -> None:
        """Solve (1) for little noise, the prior set only by the weights."""
        prior = self.rows.prior(torch.zeros_like(self.rows.square))[self.rows.layer]
        self.log_variance = (self.scale / (fisher + self.scale * prior)).log()

    def run(self, curvature: Curvature, order: _Order, progress: Progress) -> None:
        n_steps = self.options.n_steps
        parameter = torch.nn.Parameter(self.log_variance.clone())
        adam = torch.optim.Adam([parameter], lr=self.options.learning_rate, eps=_SMALL_GAP)
        for step, (rows, weight) in zip(range(n_steps), order, strict=False):
            left = 2 * (n_steps - step) / n_steps
            adam.param_groups[0]["lr"] = self.options.learning_rate * min(1.0, left)
            self.log_variance = parameter.detach()
            found = curvature.of(rows, self.log_variance)
            gap = self._gap(found.mean(0) * weight, weight)
            self._all_texts += len(rows)
            if left <= 1:
                self._average(gap, found)
            parameter.grad = gap.to(parameter.dtype)
            adam.step()
            progress("variational", step + 1, n_steps)

    def _gap(self, curvature: Tensor, weight: float) -> Tensor:
        variance = self.log_variance.exp()
        prior = self._prior(variance)[self.rows.layer]
        return variance * (curvature / self.scale + weight * prior) - weight

    def _prior(self, variance: Tensor) -> Tensor:
        return self.rows.prior(variance if self.options.prior == "learned" else 0 * variance)

    def _average(self, gap: Tensor, found: Tensor) -> None:
        self._averaged += 1
        self._texts += len(found)
        wide = found.cpu().double()
        self._variances += self.log_variance.cpu().double().exp()
        self._gaps += gap.cpu().double()
        self._first += wide.sum(0)
        self._second += wide.square().sum(0)

    def finished(self, direct: TaskEmbedding) -> VariationalFit:
        variance = self._variances / self._averaged  # the gap is linear in it
        values = (self.scale / variance).numpy()
        if not np.isfinite(values).all():
            raise DataError(
                "the embedding is not finite: expected numbers, got NaN or infinity. Take a "
                "smaller beta or learning_rate."
            )
        error = np.full(values.shape, np.nan)
        if self.options.gradient == "gauss_newton" and direct.n_samples > 1:
            spread = self._second / self._texts - (self._first / self._texts) ** 2
            error = (spread.clamp_min(0) / (direct.n_samples - 1)).sqrt().numpy()
        embedding = replace(
            direct,
            values=values,
            standard_error=error,
            estimand=self.options.estimand,
            estimator="variational",
            n_draws=max(1, self._all_texts // direct.n_samples),
            seed=self.options.seed,
            draw_error=float("nan"),
            group_products=None,
        )
        on_device = variance.float().to(self.rows.square.device)
        prior = self._prior(on_device)
        share = self.rows.by_layer(on_device) * prior / self.rows.by_layer(0 * on_device + 1)
        precision = dict(zip(direct.layers, prior.tolist(), strict=True))
        return VariationalFit(
            embedding=embedding,
            trivial=trivial_embedding(
                embedding, precision={k: self.scale * p for k, p in precision.items()}
            ),
            prior_precision=precision,
            prior_share=dict(zip(direct.layers, share.tolist(), strict=True)),
            residual=float((self._gaps / self._averaged).square().mean().sqrt()),
            options=self.options,
        )
