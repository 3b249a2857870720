"""Everything that choosing an expert needs: experts, heads on their features, embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from charkit.answers.embedding.cache import embed_cached
from charkit.encoders import Encoder, LayerStates, encode, encode_to_store, load_encoder
from charkit.encoders.device import DeviceChoice
from charkit.errors import DataError, UsageError
from charkit.fisher import FisherOptions, TaskEmbedding, TextEmbedding, text_embedding
from charkit.heads.metrics.transferability import log_evidence
from charkit.heads.sample.out_of_fold import fit_sample_heads
from charkit.store.cached import cached
from charkit.store.durable import write_whole
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks import Task
from glue_pilot.experiments.base import Workspace
from glue_pilot.experiments.parts.experts_tuning import Expert, Tuning, expert_to_store
from glue_pilot.samples import KnownTask, draw_sample

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

KIND = "expert_outcomes"
_FORMAT = 1
_PROBE_LENGTH = 128  # as in the study of embeddings


# -- heads on an expert's features ------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """How heads read features.

    Attributes:
        sizes: Training texts of a head, ascending; each sample holds those before it.
        layers: Whose pooled states heads read, 0 to L or negative from the end.
        max_length: Most tokens of a text.
    """

    sizes: tuple[int, ...]
    layers: tuple[int, ...]
    max_length: int

    def __post_init__(self) -> None:
        if not self.sizes or list(self.sizes) != sorted(set(self.sizes)) or not self.layers:
            raise UsageError(
                f"sizes and layers: expected rising sizes and one layer or more, got "
                f"{self.sizes} and {self.layers}."
            )


@dataclass(frozen=True, eq=False)
class Outcome:
    """What heads of one task did on one encoder's features.

    Attributes:
        right: Whether each evaluation text was classified rightly, (n_layers, n_sizes, n_eval).
        left_out: Accuracy on the training texts, each left out once, (n_layers, n_sizes): what
            a pilot of that size would show.
        log_evidence: LogME of the training texts, (n_layers, n_sizes).
    """

    right: BoolArray
    left_out: FloatArray
    log_evidence: FloatArray

    @property
    def errors(self) -> FloatArray:
        """Share of evaluation texts classified wrongly, (n_layers, n_sizes)."""
        return np.asarray(1 - self.right.mean(2))


def outcome_to_store(sample: Task, encoder: Encoder, reading: Reading, *, store: Store) -> Outcome:
    """Return what heads of a sample do on an encoder's features, from the store or made.

    Args:
        sample: Training texts in a stratified order, evaluation texts, both with labels.
        encoder: The expert, or the encoder that all experts were made from.
        reading: Sizes and layers.
        store: Where outcomes are kept; states of texts are not.

    Raises:
        DataError: There are no evaluation labels.
    """
    from safetensors.numpy import load_file, save

    part = sample.evaluation
    if part is None or part.labels is None or sample.train.labels is None:
        raise DataError(f"{sample.name} cannot be scored: expected labels in both parts, got none.")
    config = {
        "kind": KIND,
        "format": _FORMAT,
        "encoder": encoder.fingerprint,
        "dtype": encoder.dtype,
        "train": sample.train.fingerprint,
        "evaluation": part.fingerprint,
        "n_classes": sample.n_classes,
        "reading": asdict(reading),
    }

    def make(folder: Path) -> dict[str, Any]:
        clock = Clock()
        train, held_out = (
            encode(encoder, split, max_length=reading.max_length) for split in (sample.train, part)
        )
        found = fit_outcome(sample, train, held_out, reading)
        arrays: dict[str, NDArray[Any]] = {
            "right": found.right.astype(np.uint8),
            "left_out": found.left_out,
            "log_evidence": found.log_evidence,
        }
        write_whole(folder / "outcome.safetensors", save(arrays))
        return run_manifest(
            config,
            clock=clock,
            seeds={},
            fingerprints={"encoder": encoder.fingerprint, "train": sample.train.fingerprint},
            device=encoder.device,
            dtype=encoder.dtype,
        )

    def load(folder: Path) -> Outcome:
        kept = load_file(folder / "outcome.safetensors")
        return Outcome(kept["right"].astype(bool), kept["left_out"], kept["log_evidence"])

    return cached(store, KIND, config, make=make, load=load).value


def fit_outcome(
    sample: Task, train: LayerStates, held_out: LayerStates, reading: Reading
) -> Outcome:
    """Fit heads to the first texts of a sample, one a layer and size, and score them.

    Args:
        sample: Its labels are read.
        train: States of its training texts.
        held_out: States of its evaluation texts.
        reading: Sizes and layers. A sample of fewer texts is taken whole.
    """
    assert sample.evaluation is not None
    layers = [train.resolve(layer) for layer in reading.layers]
    rows = torch.from_numpy(np.stack([train.layer(k) for k in layers]))
    others = torch.from_numpy(np.stack([held_out.layer(k) for k in layers]))
    codes = np.array(sample.train.labels, np.int64)
    wanted = np.asarray(sample.evaluation.labels)
    right, left_out, evidence = [], [], []
    for n in reading.sizes:
        labels = codes[:n]
        heads = fit_sample_heads(rows[:, :n], torch.from_numpy(labels), sample.n_classes)
        right.append(heads.probabilities(others).argmax(2) == wanted)
        left_out.append((heads.left_out.argmax(2) == labels).mean(1))
        evidence.append([log_evidence(x, labels) for x in rows[:, :n].numpy()])
    return Outcome(np.stack(right, 1), np.stack(left_out, 1), np.array(evidence).T)


# -- settings, experts, targets ---------------------------------------------------------------


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
        other_layer: The same once more, to see whether the answer depends on it.
        alpha: Sharpness of MODEL2VEC's soft labels.
        seed: Of fine-tuning, and of bootstraps.
    """

    encoder: str = "minilm"
    device: str = "auto"
    tasks: tuple[str, ...] = (
        "mr", "tweeteval_sentiment", "ag_news", "search_snippets", "stackoverflow_titles",
        "banking77", "trec6", "subj", "glue_qqp", "glue_mnli", "tweeteval_hate", "goemotions",
    )  # fmt: skip
    targets: tuple[str, ...] = (
        "clinc150", "mpqa", "hate_davidson", "tweeteval_emotion", "clickbait", "glue_cola",
    )  # fmt: skip
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


def gather(settings: ExpertSettings, workspace: Workspace) -> Gathered:
    """Fine-tune experts, fit heads, embed tasks; what the store has is not made again.

    Raises:
        UsageError: A setting is out of range.
        DataError: A task has no classes, or too few texts.
    """
    encoder = load_encoder(settings.encoder, device=cast(DeviceChoice, settings.device))
    known = workspace.tasks(settings.tasks)
    experts = []
    for done, entry in enumerate(known):
        workspace.progress("experts", done, len(known))
        experts.append(
            expert_to_store(
                entry.task, encoder, settings.tuning, corpus=entry.corpus, store=workspace.store
            )
        )
    entries = [*known, *(workspace.tasks(settings.targets) if settings.targets else ())]
    targets = []
    for done, entry in enumerate(entries):
        workspace.progress("targets", done, len(entries))
        targets.append(_target(entry, experts, encoder, settings, workspace))
    workspace.progress("targets", len(entries), len(entries))
    return Gathered(encoder, tuple(experts), tuple(targets))


def _target(
    known: KnownTask,
    experts: Sequence[Expert],
    encoder: Encoder,
    settings: ExpertSettings,
    workspace: Workspace,
) -> Target:
    sample = _sample(known.task, max(settings.sizes), settings.n_eval)
    outcomes = []
    for done, model in enumerate([encoder, *(expert.encoder for expert in experts)]):
        workspace.progress(f"heads of {known.task.name}", done, len(experts) + 1)
        outcomes.append(outcome_to_store(sample, model, settings.reading, store=workspace.store))
    embeddings, texts = {}, {}
    for n in settings.sizes:
        part = _sample(known.task, n, settings.n_eval)
        # The layers of heads: all where probes are compared, else the last.
        first = 1 if n == settings.n else encoder.n_layers
        layers = tuple(range(first, encoder.n_layers + 1))
        embeddings[n] = embed_probe(part, encoder, layers, workspace)
        states = encode_to_store(
            encoder, part.train, store=workspace.store, max_length=_probe_length(encoder)
        )
        texts[n] = text_embedding(states, name=known.task.name)
    return Target(known, outcomes[0], tuple(outcomes[1:]), embeddings, texts)


def embed_probe(
    sample: Task, probe: Encoder, layers: Sequence[int], workspace: Workspace, *, cls: bool = False
) -> dict[int, TaskEmbedding]:
    """Return a sample's embeddings under a probe, layer of the head -> embedding."""
    options = FisherOptions(
        estimator="sketch", max_length=_probe_length(probe), pooling="cls" if cls else "mean"
    )
    kept = embed_cached(
        sample, probe, head_layers=layers, options=options, store=workspace.store, name=sample.name
    )
    return kept.embeddings


def sample_of(known: KnownTask, n: int) -> Task:
    """Return a task with the first n texts of its order, without evaluation texts."""
    return _sample(known.task, n, 1)


def _sample(task: Task, n: int, n_eval: int) -> Task:
    drawn = draw_sample(task, n=n, draw=0, n_eval=n_eval)
    assert drawn is not None  # draw 0 always is
    return drawn


def _probe_length(encoder: Encoder) -> int:
    return min(_PROBE_LENGTH, encoder.max_length)
