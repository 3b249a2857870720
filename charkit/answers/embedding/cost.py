"""How long embedding a task will take and how much disk it needs, before it is done.

A layer costs about the same forward, and backward through frozen weights, Gram matrices included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from charkit.answers.embedding.cache import KIND, VARIATIONAL
from charkit.answers.embedding.heads import KIND as HEADS
from charkit.answers.embedding.token_cache import KIND as TOKENS
from charkit.answers.embedding.token_cache import cache_config
from charkit.config import content_hash
from charkit.encoders.stream import KIND as STATES
from charkit.encoders.stream import states_config
from charkit.encoders.tokens import tokenise
from charkit.fisher import VariationalOptions, make_head
from charkit.fisher.forward import choose_budget
from charkit.fisher.labels import LabelPlan, plan_labels
from charkit.heads.sweep.cost import ENCODE_EFFICIENCY, duration, matmul_rate
from charkit.tasks.task import Split

if TYPE_CHECKING:
    from charkit.answers.embedding.embed import EmbedPlan

SAMPLED_TEXTS = 200
"""Texts that are cut into tokens; the rest are taken to be as long on average."""

NOISE_COST = 2.5
"""Cost of a layer under weight noise: one more product a matrix, random signs, small batches."""

HEAD_SECONDS = 0.1
HEAD_SECONDS_PER_ROW = 5e-5
"""Fitting and judging a head; it hardly depends on the number of classes."""


@dataclass(frozen=True)
class SampleEstimate:
    """What embedding one sample will cost.

    Attributes:
        sample: ``train``, ``evaluation`` or ``unlabelled``.
        n_samples: Its texts.
        n_tokens: Their tokens, about.
        estimator: Never ``auto``.
        n_backward: Backward passes over the texts, all heads together.
        n_steps: Steps of the search, all heads together; 0 unless variational.
        found: Whether the store has the embeddings already.
        seconds: Time, heads included where they have to be fitted.
        disk_bytes: New bytes in the store.
    """

    sample: str
    n_samples: int
    n_tokens: int
    estimator: str
    n_backward: int
    n_steps: int
    found: bool
    seconds: float
    disk_bytes: int


@dataclass(frozen=True, eq=False)
class EmbedEstimate:
    """What a plan will cost.

    Attributes:
        plan: The plan.
        samples: One estimate a sample.
    """

    plan: EmbedPlan
    samples: tuple[SampleEstimate, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a sample."""
        config = self.plan.config(self.plan.task.train)
        layers, heads = config["options"]["layers"], config["heads"]["layers"]
        return [
            {
                "sample": s.sample,
                "texts": s.n_samples,
                "tokens": s.n_tokens,
                "layers": ",".join(map(str, layers)),
                "heads": ",".join(map(str, heads)),
                "estimator": s.estimator,
                "forward": 1,
                "backward": s.n_backward,
                "steps": s.n_steps,
                "in store": s.found,
                "seconds": s.seconds,
                "disk MB": s.disk_bytes / 1e6,
            }
            for s in self.samples
        ]

    def total(self) -> dict[str, float]:
        """Return the sums over samples: seconds, bytes."""
        return {
            "seconds": sum(s.seconds for s in self.samples),
            "disk_bytes": sum(s.disk_bytes for s in self.samples),
        }

    def lines(self) -> list[str]:
        """Return the sums, what is not known beforehand, and the device, for people."""
        total, options, encoder = self.total(), self.plan.options, self.plan.encoder
        if all(s.found for s in self.samples):
            first = "all of it is in the store already: nothing would be computed"
        else:
            first = (
                f"about {duration(total['seconds'])} of work, "
                f"{total['disk_bytes'] / 1e6:,.1f} MB of disk"
            )
        lines = [first]
        if isinstance(options, VariationalOptions):
            lines.append(
                f"variational: {options.n_steps:,} steps of a batch each for every head and "
                "sample, after a direct estimate"
            )
        elif options.stop_at is not None:
            lines.append(f"at most: it stops once halves agree to {options.stop_at:g}")
        elif options.relative_error is not None and self.samples[0].estimator != "exact":
            lines.append("at most: the first texts tell how many draws are needed")
        return [*lines, f"{encoder.name}: {encoder.device_reason}; {encoder.dtype_reason}"]


def estimate_embedding(plan: EmbedPlan) -> EmbedEstimate:
    """Estimate what a plan will cost; a fifth of a second of matrix products is timed.

    Times are good to a factor of two on a quiet machine. No weights are read.
    """
    encoder = plan.encoder
    rate = matmul_rate(encoder.device, encoder.dtype)
    rate *= ENCODE_EFFICIENCY.get(encoder.dtype, 0.3)
    found = []
    for name, split in plan.samples:
        found.append(_Cost(plan, split, rate).estimate(name))
    return EmbedEstimate(plan, tuple(found))


class _Cost:
    """What one sample costs; ``rate``: floating-point operations a second."""

    def __init__(self, plan: EmbedPlan, split: Split, rate: float) -> None:
        self.plan, self.split = plan, split
        self.config = plan.config(split)
        self.layers: list[int] = self.config["options"]["layers"]
        self.heads: list[int] = self.config["heads"]["layers"]
        self.n_tokens = _count_tokens(plan, split)
        self.layer_s = 24.0 * plan.encoder.width**2 * self.n_tokens / rate

    def estimate(self, name: str) -> SampleEstimate:
        options, plan = self.plan.options, self._labels()
        n_steps = options.n_steps if isinstance(options, VariationalOptions) else 0
        n_backward = self._passes(plan)
        seconds, disk = 0.0, 0
        found = self._has(KIND, self.config)
        if not found:
            seconds = self._direct_s(n_backward) + (self._search_s(n_backward) if n_steps else 0)
            disk = sum(16 * 9 * self.plan.encoder.width * self._n_below(h) for h in self.heads)
            more = (self._head_cost() if name == "train" else (0.0, 0)), self._cache_cost()
            seconds += sum(s for s, _ in more)
            disk += sum(d for _, d in more)
        return SampleEstimate(
            sample=name,
            n_samples=len(self.split),
            n_tokens=self.n_tokens,
            estimator=VARIATIONAL if n_steps else plan.estimator,
            n_backward=n_backward * len(self.heads),
            n_steps=n_steps * len(self.heads),
            found=found,
            seconds=seconds,
            disk_bytes=disk,
        )

    def _labels(self) -> LabelPlan:
        options = self.plan.options
        how = options.start if isinstance(options, VariationalOptions) else options
        n_out = self.plan.task.n_classes or 1
        kind = self.plan.task.kind
        head = make_head(np.zeros((n_out, 1)), np.zeros(n_out), kind=kind)
        plan = plan_labels(how.estimator, heads=[head], n_draws=how.n_draws)
        return LabelPlan("exact") if how.relative_error and plan.is_drawn else plan

    def _passes(self, plan: LabelPlan) -> int:
        """Return the backward passes a text under one head; the most where draws are chosen."""
        n_columns = max(1, self.plan.task.n_classes - 1)
        return n_columns if plan.estimator == "exact" else plan.n_draws

    def _has(self, kind: str, config: dict[str, Any]) -> bool:
        return self.plan.store.find(kind, content_hash(config)) is not None

    def _n_below(self, head: int) -> int:
        return sum(k <= head for k in self.layers)

    def _first(self) -> int:
        """Return how many layers forward the kept token states save."""
        layer = self.plan.cache_layer
        return 0 if layer is None else layer % (self.plan.encoder.n_layers + 1)

    def _direct_s(self, n_backward: int) -> float:
        back = sum(head - min(self.layers) + 1 for head in self.heads) * n_backward
        return self.layer_s * (max(self.heads) - self._first() + back)

    def _search_s(self, n_backward: int) -> float:
        options = self.plan.options
        assert isinstance(options, VariationalOptions)
        budget = choose_budget(self.plan.encoder, options.token_budget)
        share = min(1.0, budget / max(1, self.n_tokens))
        once = sum(
            head - self._first() + (head - min(self.layers) + 1) * n_backward for head in self.heads
        )
        return NOISE_COST * self.layer_s * options.n_steps * share * once

    def _head_cost(self) -> tuple[float, int]:
        """Return seconds and bytes of the heads and of the pooled states they are fitted to."""
        if self._has(HEADS, self.config["heads"]):
            return 0.0, 0
        encoder, n_rows = self.plan.encoder, len(self.split)
        seconds = len(self.heads) * (HEAD_SECONDS + n_rows * HEAD_SECONDS_PER_ROW)
        options = self.plan.options
        states = states_config(
            encoder, self.split, pooling=options.pooling, max_length=options.max_length
        )
        if self._has(STATES, states):
            return seconds, 0
        itemsize = 2 if encoder.dtype == "bfloat16" else 4
        disk = n_rows * (encoder.n_layers + 1) * encoder.width * itemsize
        return seconds + self.layer_s * encoder.n_layers, disk

    def _cache_cost(self) -> tuple[float, int]:
        """Return seconds and bytes of the token states that are to be kept."""
        plan = self.plan
        if plan.cache_layer is None:
            return 0.0, 0
        wanted = cache_config(
            plan.encoder, self.split, layer=plan.cache_layer, max_length=plan.options.max_length
        )
        if self._has(TOKENS, wanted):
            return 0.0, 0
        itemsize = 2 if plan.encoder.dtype == "bfloat16" else 4
        return self.layer_s * self._first(), self.n_tokens * plan.encoder.width * itemsize


def _count_tokens(plan: EmbedPlan, split: Split) -> int:
    """Return the tokens of all texts, as many texts as are needed for a mean being cut."""
    rows = np.unique(np.linspace(0, len(split) - 1, min(len(split), SAMPLED_TEXTS)).astype(int))
    some = split.take(rows)
    length = plan.encoder.text_length(plan.options.max_length)
    tokens = tokenise(plan.encoder, some.texts, some.pairs, max_length=length)
    return round(float(tokens.lengths.mean()) * len(split))
