"""How well heads of a task do on an expert's features, at several sizes of its sample."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from charkit.config import content_hash
from charkit.encoders import Encoder, LayerStates, encode
from charkit.errors import DataError, UsageError
from charkit.heads.out_of_fold import fit_sample_heads
from charkit.heads.transferability import log_evidence
from charkit.manifest import Clock, run_manifest
from charkit.store import Store
from charkit.tasks import Task

KIND = "expert_outcomes"
_FORMAT = 1

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


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
        right: Whether each evaluation text was told right, (n_layers, n_sizes, n_eval).
        left_out: Accuracy on the training texts, each left out once, (n_layers, n_sizes): what
            a pilot of that size would show.
        log_evidence: LogME of the training texts, in nats, (n_layers, n_sizes).
    """

    right: BoolArray
    left_out: FloatArray
    log_evidence: FloatArray

    @property
    def errors(self) -> FloatArray:
        """Share of evaluation texts told wrong, (n_layers, n_sizes)."""
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
    key = content_hash(config)
    place = store.find(KIND, key)
    if place is None:
        clock = Clock()
        train = encode(encoder, sample.train, max_length=reading.max_length)
        held_out = encode(encoder, part, max_length=reading.max_length)
        found = fit_outcome(sample, train, held_out, reading)
        arrays: dict[str, NDArray[Any]] = {
            "right": found.right.astype(np.uint8),
            "left_out": found.left_out,
            "log_evidence": found.log_evidence,
        }
        fields = run_manifest(
            config,
            clock=clock,
            seeds={},
            fingerprints={"encoder": encoder.fingerprint, "train": sample.train.fingerprint},
            device=encoder.device,
            dtype=encoder.dtype,
        )
        place = store.put(KIND, key, {"outcome.safetensors": save(arrays)}, fields)
    kept = load_file(place / "outcome.safetensors")
    return Outcome(kept["right"].astype(bool), kept["left_out"], kept["log_evidence"])


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
        told = heads.left_out.argmax(2) == labels
        left_out.append(told.mean(1))
        evidence.append([log_evidence(x, labels) for x in rows[:, :n].numpy()])
    return Outcome(np.stack(right, 1), np.stack(left_out, 1), np.array(evidence).T)
