"""How many draws a text, from the error that is wanted: measured on a small pilot.

With D independent draws for each of n texts, the draws add to the mean of the texts' numbers the
noise W / (n D), W being the mean over texts of the variance, over draws, of one draw's numbers,
summed over numbers. Two draws for each of some texts give W without bias, and the squared length
of the mean, less its own noise, gives what the noise is to be compared with:

    D = the least with sqrt(W / (n D)) <= wanted |m|.

The variance between texts stays, however many draws there are. Where the exact expectation takes
no more passes than D draws, it is taken: it has no such noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from charkit.config import Progress, staged
from charkit.fisher.labels import LabelPlan
from charkit.fisher.passes import Pass, Request
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
