"""Everything that choosing an expert needs: experts, heads on their features, embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from charkit.answers.embed import embed_kept
from charkit.encoders import Encoder, encode_to_store, load_encoder
from charkit.encoders.device import DeviceChoice
from charkit.errors import UsageError
from charkit.fisher import FisherOptions, TaskEmbedding, TextEmbedding, text_embedding
from charkit.tasks import Task
from glue_pilot.embedding_study import KnownTask, draw_sample
from glue_pilot.experiments.base import Bench
from glue_pilot.experiments.experts_outcomes import Outcome, Reading, outcome_to_store
from glue_pilot.experiments.experts_tuning import Expert, Tuning, expert_to_store

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

_PROBE_LENGTH = 128


@dataclass(frozen=True)
class ExpertSettings:
    """Experts, target tasks and what is compared; the defaults are the real size.

    Attributes:
        encoder: What experts are made from; also the probe that tasks are embedded with.
        device: Where to compute, ``auto`` for what is there.
        tasks: Each becomes an expert, and a target of the experts of other corpora.
        targets: Further targets.
        skip: Texts of each task that are left for heads.
        n_tune: Texts after these that an expert is fine-tuned on.
        epochs: Passes over them.
        batch: Texts a step.
        rate: Learning rate of the encoder.
        head_rate: Learning rate of the head while fine-tuning.
        frozen: Layers from below that are not fine-tuned.
        sizes: Labelled texts of the target, rising.
        library_n: Texts that the experts' own tasks are embedded from, one of the sizes.
        n: Labelled texts of the main answer, where other probes are compared too; one of the sizes.
        probe_layers: Heads at these layers are tried as probes.
        n_eval: Evaluation texts a target.
        max_length: Most tokens of a text, for experts.
        layer: Whose states heads read.
        other_layer: The same once more, to see whether the answer hangs on it.
        alpha: Sharpness of MODEL2VEC's soft labels.
        seed: Of fine-tuning, and of bootstraps.
    """

    encoder: str = "minilm"
    device: str = "auto"
    tasks: tuple[str, ...] = (
        "mr",
        "tweeteval_sentiment",
        "ag_news",
        "search_snippets",
        "stackoverflow_titles",
        "banking77",
        "trec6",
        "subj",
        "glue_qqp",
        "glue_mnli",
        "tweeteval_hate",
        "goemotions",
    )
    targets: tuple[str, ...] = (
        "clinc150",
        "mpqa",
        "hate_davidson",
        "tweeteval_emotion",
        "clickbait",
        "glue_cola",
    )
    skip: int = 512
    n_tune: int = 1000
    epochs: int = 2
    batch: int = 32
    rate: float = 2e-4
    head_rate: float = 5e-3
    frozen: int = 2
    sizes: tuple[int, ...] = (32, 128, 512)
    library_n: int = 512
    n: int = 128
    probe_layers: tuple[int, ...] = (2, 4)
    n_eval: int = 500
    max_length: int = 64
    layer: int = -1
    other_layer: int = -3
    alpha: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("library_n", "n"):
            if getattr(self, name) not in self.sizes:
                raise UsageError(
                    f"{name}: expected one of the sizes {self.sizes}, got {getattr(self, name)}."
                )
        if self.skip < max(self.sizes):
            raise UsageError(f"skip: expected {max(self.sizes)} or more, got {self.skip}.")
        if len(set(self.tasks)) < 3 or set(self.tasks) & set(self.targets):
            raise UsageError(
                "tasks and targets: expected at least 3 different tasks and none of them among "
                f"the targets, got {self.tasks} and {self.targets}."
            )

    @property
    def tuning(self) -> Tuning:
        """How experts are fine-tuned."""
        return Tuning(
            n=self.n_tune,
            skip=self.skip,
            frozen=self.frozen,
            epochs=self.epochs,
            batch=self.batch,
            rate=self.rate,
            head_rate=self.head_rate,
            max_length=self.max_length,
            seed=self.seed,
        )

    @property
    def reading(self) -> Reading:
        """How heads read features."""
        return Reading(self.sizes, (self.layer, self.other_layer), self.max_length)


@dataclass(frozen=True, eq=False)
class Target:
    """A task that an expert is wanted for.

    Attributes:
        known: The whole task.
        generic: What heads do on the encoder that experts were made from.
        outcomes: What heads do on each expert's features.
        embeddings: Size -> layer of the head -> embedding under the probe.
        texts: Size -> moments of the states of its texts.
    """

    known: KnownTask
    generic: Outcome
    outcomes: tuple[Outcome, ...]
    embeddings: dict[int, dict[int, TaskEmbedding]]
    texts: dict[int, TextEmbedding]


@dataclass(frozen=True, eq=False)
class Gathered:
    """Experts and targets; the first targets are the experts' own tasks, in their order."""

    encoder: Encoder
    experts: tuple[Expert, ...]
    targets: tuple[Target, ...]

    @property
    def names(self) -> list[str]:
        """Names of the targets."""
        return [target.known.task.name for target in self.targets]

    @property
    def corpora(self) -> list[str]:
        """Corpora of the targets."""
        return [target.known.corpus for target in self.targets]

    @property
    def allowed(self) -> BoolArray:
        """Which experts may be taken for which target: those of other corpora."""
        own = np.array([expert.corpus for expert in self.experts])
        return np.asarray(np.array(self.corpora)[:, None] != own)


def gather(settings: ExpertSettings, bench: Bench) -> Gathered:
    """Fine-tune experts, fit heads, embed tasks; what the store has is not made again.

    Raises:
        UsageError: A setting is out of range.
        DataError: A task has no classes, or too few texts.
    """
    encoder = load_encoder(settings.encoder, device=cast(DeviceChoice, settings.device))
    known = bench.tasks(settings.tasks)
    experts = []
    for done, entry in enumerate(known):
        bench.progress("experts", done, len(known))
        experts.append(
            expert_to_store(
                entry.task, encoder, settings.tuning, corpus=entry.corpus, store=bench.store
            )
        )
    entries = [*known, *(bench.tasks(settings.targets) if settings.targets else ())]
    targets = []
    for done, entry in enumerate(entries):
        bench.progress("targets", done, len(entries))
        targets.append(_target(entry, experts, encoder, settings, bench))
    bench.progress("targets", len(entries), len(entries))
    return Gathered(encoder, tuple(experts), tuple(targets))


def _target(
    known: KnownTask,
    experts: Sequence[Expert],
    encoder: Encoder,
    settings: ExpertSettings,
    bench: Bench,
) -> Target:
    sample = _sample(known.task, max(settings.sizes), settings.n_eval)
    outcomes = []
    for done, model in enumerate([encoder, *(expert.encoder for expert in experts)]):
        bench.progress(f"heads of {known.task.name}", done, len(experts) + 1)
        outcomes.append(outcome_to_store(sample, model, settings.reading, store=bench.store))
    embeddings, texts = {}, {}
    for n in settings.sizes:
        part = _sample(known.task, n, settings.n_eval)
        layers = _probe_layers(settings, encoder, n)
        embeddings[n] = embed_probe(part, encoder, layers, bench)
        states = encode_to_store(
            encoder, part.train, store=bench.store, max_length=_probe_length(encoder)
        )
        texts[n] = text_embedding(states, name=known.task.name)
    return Target(known, outcomes[0], tuple(outcomes[1:]), embeddings, texts)


def embed_probe(
    sample: Task, probe: Encoder, layers: Sequence[int], bench: Bench, *, cls: bool = False
) -> dict[int, TaskEmbedding]:
    """Return a sample's embeddings under a probe, layer of the head -> embedding."""
    options = FisherOptions(
        estimator="sketch", max_length=_probe_length(probe), pooling="cls" if cls else "mean"
    )
    kept = embed_kept(
        sample, probe, head_layers=layers, options=options, store=bench.store, name=sample.name
    )
    return kept.embeddings


def sample_of(known: KnownTask, n: int) -> Task:
    """Return a task with the first n texts of its order, without evaluation texts."""
    return _sample(known.task, n, 1)


def _sample(task: Task, n: int, n_eval: int) -> Task:
    drawn = draw_sample(task, n=n, draw=0, n_eval=n_eval)
    assert drawn is not None  # draw 0 always is
    return drawn


def _probe_layers(settings: ExpertSettings, encoder: Encoder, n: int) -> tuple[int, ...]:
    """Return the layers of heads: all where probes are compared, else the last."""
    first = 1 if n == settings.n else encoder.n_layers
    return tuple(range(first, encoder.n_layers + 1))


def _probe_length(encoder: Encoder) -> int:
    return min(_PROBE_LENGTH, encoder.max_length)
