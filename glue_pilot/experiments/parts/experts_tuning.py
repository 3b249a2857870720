"""Experts: copies of an encoder, fine-tuned on one task each and kept as encoders of their own."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from charkit.encoders import Encoder
from charkit.encoders.tokens import tokenise
from charkit.errors import DataError, UsageError
from charkit.learners.tuning import Recipe, copy_to_train, train_steps
from charkit.store.cached import cached
from charkit.store.durable import write_whole
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks import Split, Task, nested_order

KIND = "experts"
_FORMAT = 1
_COPIED = (".json", ".txt", ".model")


@dataclass(frozen=True)
class Tuning:
    """How experts are fine-tuned.

    Attributes:
        n: Texts of the task, at most.
        skip: Texts of the task's stratified order that are left for heads.
        frozen: Layers from below that stay as they are, the embeddings with them.
        epochs: Passes over the texts.
        batch: Texts a step.
        rate: Largest learning rate of the encoder (AdamW, rising, then falling to zero).
        head_rate: The same of the head.
        max_length: Most tokens of a text.
        seed: Of the order of texts and the head's first weights.
    """

    n: int
    skip: int
    frozen: int
    epochs: int
    batch: int
    rate: float
    head_rate: float
    max_length: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("n", "epochs", "batch", "rate", "head_rate"):
            value = getattr(self, name)
            if not value > 0:
                raise UsageError(f"{name}: expected a number above 0, got {value}.")


@dataclass(frozen=True, eq=False)
class Expert:
    """A fine-tuned encoder.

    Attributes:
        task: The task that it was fine-tuned on.
        corpus: Of the task.
        encoder: An encoder like any other.
        n_texts: Texts that it was fine-tuned on.
        losses: Mean log loss of each epoch.
        seconds: What it took.
    """

    task: str
    corpus: str
    encoder: Encoder
    n_texts: int
    losses: tuple[float, ...]
    seconds: float


def tuning_texts(task: Task, tuning: Tuning) -> Split:
    """Return the texts that an expert of a task is fine-tuned on: none that heads are fitted to.

    Raises:
        DataError: The task has no classes, or no text is left.
    """
    labels = task.train.labels
    if labels is None or task.kind != "classification":
        raise DataError(f"{task.name} has no expert: expected class labels, got none.")
    order = nested_order(labels, seed=0, kind="classification")
    rows = order[tuning.skip : tuning.skip + tuning.n]
    if len(np.unique(np.asarray(labels)[rows])) < 2:
        raise DataError(
            f"{task.name} has no expert: expected texts of two classes after the first "
            f"{tuning.skip}, got {len(rows)} texts. Leave it out, or set a smaller n."
        )
    return task.train.take(rows)


def expert_to_store(
    task: Task, encoder: Encoder, tuning: Tuning, *, corpus: str, store: Store
) -> Expert:
    """Return a task's expert from the store, fine-tuning it when it is not there.

    Raises:
        DataError: The task has no classes, or too few texts.
    """
    from safetensors.torch import save

    texts = tuning_texts(task, tuning)
    config = {
        "kind": KIND,
        "format": _FORMAT,
        "encoder": encoder.fingerprint,
        "dtype": encoder.dtype,
        "texts": texts.fingerprint,
        "n_classes": task.n_classes,
        "tuning": asdict(tuning),
    }

    def make(folder: Path) -> dict[str, Any]:
        clock = Clock()
        model, losses = tune(texts, task.n_classes, encoder, tuning)
        for path in sorted(encoder.folder.iterdir()):
            if path.is_file() and path.suffix in _COPIED and path.name != "run.json":
                write_whole(folder / path.name, path.read_bytes())
        weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
        write_whole(folder / "model.safetensors", save(weights))
        record = {"losses": losses, "seconds": round(clock.seconds, 2)}
        write_whole(folder / "tuning.json", json.dumps(record).encode())
        return run_manifest(
            config,
            clock=clock,
            seeds={"order": tuning.seed},
            fingerprints={"texts": texts.fingerprint, "encoder": encoder.fingerprint},
            device=encoder.device,
            dtype=encoder.dtype,
        )

    def load(folder: Path) -> Expert:
        record = json.loads((folder / "tuning.json").read_text(encoding="utf-8"))
        tuned = replace(encoder, name=f"{encoder.name} tuned on {task.name}", folder=folder)
        losses = tuple(record["losses"])
        return Expert(task.name, corpus, tuned, len(texts), losses, float(record["seconds"]))

    return cached(store, KIND, config, make=make, load=load).value


def tune(
    texts: Split, n_classes: int, encoder: Encoder, tuning: Tuning
) -> tuple[torch.nn.Module, list[float]]:
    """Fine-tune a copy of an encoder, mean pooling and a linear head on top.

    The steps are those of `charkit.learners`. The order of the texts and the head's first weights
    differ from `charkit.learners.fine_tune`, and the head's gradient is not clipped: the study's
    experts were made so, and others would be other encoders.

    Returns:
        The encoder's model without the head, and the mean log loss of each epoch.
    """
    copy = copy_to_train(encoder)
    copy.model.requires_grad_(False)
    for block in copy.blocks[tuning.frozen :]:
        block.requires_grad_(True)
    tokens = tokenise(copy, texts.texts, texts.pairs, max_length=tuning.max_length)
    rng = np.random.default_rng(tuning.seed)
    head = torch.nn.Linear(encoder.width, n_classes, device=encoder.device)
    with torch.no_grad():
        drawn = rng.normal(0, 0.02, (n_classes, encoder.width)).astype(np.float32)
        head.weight.copy_(torch.from_numpy(drawn))
        head.bias.zero_()
    batches = []
    for _ in range(tuning.epochs):
        order = rng.permutation(len(texts))
        batches += [order[k : k + tuning.batch] for k in range(0, len(order), tuning.batch)]
    recipe = Recipe(len(batches), tuning.batch, tuning.rate, tuning.head_rate)
    codes = np.array(texts.labels, np.int64)
    losses, _ = train_steps(copy, head, tokens, codes, batches, recipe, clip_head=False)
    sums = losses * [len(rows) for rows in batches]
    means = sums.reshape(tuning.epochs, -1).sum(1) / len(texts)
    return copy.model.requires_grad_(False), means.tolist()
