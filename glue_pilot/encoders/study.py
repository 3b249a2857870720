"""The study of encoders: which rule picks, from few labels, the encoder that does best.

A case is a labelled sample of a task under one encoder. Of each case the store keeps the accuracy
of a head on every layer on evaluation rows, what the head makes of each of its own rows left out,
of a fifth held out and of further rows, and scores that need no head. All else is computed
from these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from charkit.config import content_hash, people_name
from charkit.encoders import Encoder, encode_to_store
from charkit.encoders.load import named_apart
from charkit.encoders.stream import open_states
from charkit.errors import DataError, MissingError, UsageError
from charkit.heads.metrics.transferability import h_score, log_evidence
from charkit.heads.sample.out_of_fold import SampleHeads, fit_sample_heads
from charkit.heads.sweep.cost import encode_seconds, heads_seconds, matmul_rate, n_tokens
from charkit.heads.sweep.table import write_table
from charkit.parallel.jobs import threads_limited
from charkit.store.cached import cached
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks import Split, nested_order
from glue_pilot.config import read_toml
from glue_pilot.samples import drawn_sample, load_known_tasks

KIND = "encoder_case"
_FORMAT = 1

# Rows that are encoded at once: a study of more rows reuses the states of a smaller one.
_BLOCK = 512

PARTS = ("left_out", "fifth", "further")
"""Rows that a rule may score heads on: the sample's own, each left out in turn; a fifth of the
sample, the head trained on the rest; rows labelled in addition."""

MEAN_OF_LAYERS = -1
"""Stands in the column ``layer`` for the mean of all layers."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class EncoderStudy:
    """What is compared.

    Attributes:
        name: Names the results: ``results/<name>.json`` and ``.md``.
        encoders: Names or folders; ``random:NAME`` has the shape of NAME and random weights.
        n_train: Training rows of a task, at most; heads are also trained on all of them.
        n_evaluation: Evaluation rows, at most.
        n_further: Rows labelled in addition, at most a quarter of the training rows. No
            sample has them.
        sizes: Sizes of the labelled sample.
        n_seeds: Samples of each size.
        max_length: Most tokens of a text.
        tasks: Tasks.
    """

    name: str
    encoders: tuple[str, ...]
    n_train: int
    n_evaluation: int
    n_further: int
    sizes: tuple[int, ...]
    n_seeds: int
    max_length: int
    tasks: tuple[str, ...]


def read_encoder_study(path: str | Path, encoders: Sequence[str] = ()) -> EncoderStudy:
    """Read a study from a TOML file whose keys are the fields of `EncoderStudy`.

    Args:
        path: The file.
        encoders: In place of the file's.

    Raises:
        MissingError: There is no such file.
        DataError: It is not TOML.
        UnknownNameError: A key is not known.
        UsageError: A value has the wrong type or is out of range, or a needed one is missing.
    """
    study = read_toml(path, EncoderStudy)
    study = replace(study, encoders=tuple(encoders) or study.encoders)
    if len(study.encoders) < 2:
        raise UsageError(
            f"{study.name}: expected at least two encoders, got {list(study.encoders)}. Name "
            'more: ENCODERS="minilm FOLDER".'
        )
    if not study.sizes or min(*study.sizes, study.n_seeds, study.n_further) < 1:
        raise UsageError(
            f"{study.name}: expected sizes, n_seeds and n_further of at least 1, got "
            f"{study.sizes}, {study.n_seeds} and {study.n_further}."
        )
    return study


@dataclass(frozen=True, eq=False)
class Source:
    """A task under one encoder.

    Attributes:
        task: Its name.
        corpus: Tasks that share it share texts.
        n_classes: Classes of the task.
        encoder: The encoder; its name holds no whole path.
        parts: Training rows in blocks, then evaluation rows.
        train: Class codes of the training rows, in a stratified order.
        evaluation: Class codes of the evaluation rows.
    """

    task: str
    corpus: str
    n_classes: int
    encoder: Encoder
    parts: tuple[Split, ...]
    train: IntArray
    evaluation: IntArray

    def n_further(self, study: EncoderStudy) -> int:
        """Return how many of the last training rows are kept out of the samples."""
        return min(study.n_further, len(self.train) // 4)


def load_sources(
    study: EncoderStudy, root: Path | None, encoders: Sequence[Encoder]
) -> list[Source]:
    """Read the tasks of a study, each once for every encoder, the cheapest encoder first.

    Args:
        study: What is compared.
        root: Folder with a folder a task; None for tasks that need none.
        encoders: From `charkit.answers.ranking.encoders.load_choice`.

    Raises:
        MissingError: Tasks lie in a folder, and none is named.
        DataError: A part of a task has no class labels.
        UsageError: Two encoders are the same.
    """
    absent = [name for name in study.tasks if "/" not in name]
    if root is None and absent:
        raise MissingError(
            f"{study.name} needs a folder of tasks: expected one with {absent[0]}/, got none. "
            "Name it with TASKS=... or --tasks."
        )
    distinct = named_apart(encoders)
    if len(distinct) < len(encoders):
        raise UsageError("encoders: expected each of them once, got some twice. Leave them out.")
    ordered = sorted(distinct, key=lambda e: e.operations(np.array([study.max_length])))
    found = []
    for known in load_known_tasks(study.tasks, root):
        sample = drawn_sample(known, n=study.n_train, draw=0, n_eval=study.n_evaluation)
        part, train = sample.evaluation, sample.train
        if train.labels is None or part is None or part.labels is None:
            raise DataError(f"{sample.name}: expected labels in both parts, got some without.")
        blocks = [
            train.take(np.arange(first, min(first + _BLOCK, len(train))))
            for first in range(0, len(train), _BLOCK)
        ]
        codes = [np.array(labels, np.int64) for labels in (train.labels, part.labels)]
        found += [
            Source(
                known.task.name, known.corpus, sample.n_classes, encoder, (*blocks, part), *codes
            )
            for encoder in ordered
        ]
    return found


@dataclass(frozen=True, eq=False)
class Case:
    """A labelled sample of ``n`` rows; with seed -1 all training rows, scored for accuracy only."""

    source: Source
    study: EncoderStudy
    n: int
    seed: int

    @property
    def config(self) -> dict[str, Any]:
        """What determines the case; its `content_hash` is its key in the store."""
        encoder = self.source.encoder
        return {
            "kind": KIND,
            "format": _FORMAT,
            "encoder": encoder.fingerprint,
            "dtype": encoder.dtype,
            "max_length": encoder.text_length(self.study.max_length),
            "texts": [part.text_fingerprint for part in self.source.parts],
            "labels": [self.source.train.tolist(), self.source.evaluation.tolist()],
            "n": self.n,
            "n_further": self.source.n_further(self.study),
            "seed": self.seed,
        }


def all_cases(study: EncoderStudy, sources: Sequence[Source]) -> list[Case]:
    """Return every case of a study: samples of two labels a class and more, then all rows."""
    return [
        Case(source, study, n, seed)
        for source in sources
        for n, seed in [
            *((n, seed) for n in study.sizes for seed in range(study.n_seeds)),
            (len(source.train), -1),
        ]
        if 2 * source.n_classes <= n <= len(source.train) - (seed >= 0) * source.n_further(study)
    ]


def plan_rows(cases: Sequence[Case], store: Store) -> list[dict[str, Any]]:
    """Return what a run would do, one row an encoder: cases, how many are missing, their hours."""
    rows = []
    for encoder in dict.fromkeys(case.source.encoder for case in cases):
        own = [case for case in cases if case.source.encoder is encoder]
        todo = [c for c in own if store.find(KIND, content_hash(c.config)) is None]
        rate = matmul_rate(encoder.device, encoder.dtype)
        parts = {id(p): p for case in todo for p in case.source.parts}.values()
        tokens = sum(n_tokens(p, len(p), max_length=todo[0].study.max_length) for p in parts)
        heads = sum(
            heads_seconds(
                (c.n, c.n) if c.seed >= 0 else (c.n,), n_layers=encoder.n_layers + 1,
                width=encoder.width, n_classes=c.source.n_classes,
            )
            for c in todo
        )  # fmt: skip
        hours = (encode_seconds(encoder, tokens, rate) + heads) / 3600
        name = people_name(encoder.name)
        rows.append({"encoder": name, "cases": len(own), "to do": len(todo), "hours": hours})
    return rows


@dataclass(frozen=True, eq=False)
class Measured:
    """What a case holds.

    Attributes:
        layers: One row a layer: ``layer``, ``accuracy`` on the evaluation rows, ``logme``; with
            layer `MEAN_OF_LAYERS` the ``h_score`` of the mean of layers 1 to L.
        rows: One row a part of `PARTS`, layer and row: ``part``, ``layer``, ``correct``,
            ``log_loss``.
    """

    layers: pd.DataFrame
    rows: pd.DataFrame

    def values(self, part: str, measure: str) -> NDArray[np.float64]:
        """Return a measure of every layer and row of a part, (L + 1, m); the larger the better."""
        own = self.rows[self.rows["part"] == part]
        sign = -1.0 if measure == "log_loss" else 1.0
        return sign * own[measure].to_numpy(np.float64).reshape(own["layer"].nunique(), -1)


def measure(case: Case, store: Store) -> Measured:
    """Return a case from the store, making it when it is absent."""
    encoder = case.source.encoder

    def make(folder: Path) -> dict[str, Any]:
        clock = Clock()
        for name, table in vars(_measure(case, store)).items():
            write_table(table, folder / f"{name}.parquet")
        return run_manifest(
            case.config,
            clock=clock,
            seeds={"sample": case.seed},
            fingerprints={"encoder": encoder.fingerprint},
            device=encoder.device,
            dtype=encoder.dtype,
        )

    def load(folder: Path) -> Measured:
        return Measured(*(pd.read_parquet(folder / f"{k}.parquet") for k in ("layers", "rows")))

    return cached(store, KIND, case.config, make=make, load=load).value


@threads_limited(1)
def _measure(case: Case, store: Store) -> Measured:
    source, study = case.source, case.study
    states = [
        open_states(
            store,
            encode_to_store(source.encoder, part, store=store, max_length=study.max_length).key,
        ).to_numpy()
        for part in source.parts
    ]
    train, test = np.concatenate(states[:-1], axis=1), states[-1]
    codes, n_classes = source.train, source.n_classes
    own = np.arange(len(codes) if case.seed < 0 else len(codes) - source.n_further(study))
    order = nested_order(codes[own], seed=max(case.seed, 0), kind="classification")[: case.n]
    heads = _fit(train[:, order], codes[order], n_classes)
    right = heads.probabilities(_tensor(test)).argmax(2) == source.evaluation
    layers = pd.DataFrame({"layer": range(len(train)), "accuracy": right.mean(1)})
    if case.seed < 0:
        return Measured(layers, pd.DataFrame(columns=["part", "layer", "correct", "log_loss"]))
    layers["logme"] = [log_evidence(layer[order], codes[order]) for layer in train]
    mean = train[1:, order].astype(np.float32).mean(0)
    whole = pd.DataFrame({"layer": [MEAN_OF_LAYERS], "h_score": [h_score(mean, codes[order])]})
    layers = pd.concat([layers, whole], ignore_index=True)
    four = order[: case.n - case.n // 5]
    fifth, further = order[len(four) :], np.arange(len(own), len(codes))
    less = _fit(train[:, four], codes[four], n_classes)
    counted = order[heads.counted]
    scored = [
        _scored("left_out", heads.left_out[:, heads.counted], codes[counted], codes[order]),
        _scored("fifth", less.probabilities(_tensor(train[:, fifth])), codes[fifth], codes[four]),
        _scored(
            "further", heads.probabilities(_tensor(train[:, further])), codes[further], codes[order]
        ),
    ]
    return Measured(layers, pd.concat(scored, ignore_index=True))


def _fit(states: NDArray[np.floating], labels: IntArray, n_classes: int) -> SampleHeads:
    return fit_sample_heads(_tensor(states), torch.from_numpy(labels), n_classes)


def _tensor(states: NDArray[np.floating]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(states, np.float32))


def _scored(
    part: str, probabilities: NDArray[np.float64], labels: IntArray, seen: IntArray
) -> pd.DataFrame:
    """Return whether rows are right and their log loss, every layer, (L + 1) m rows.

    Args:
        part: Of `PARTS`.
        probabilities: (L + 1, m, C).
        labels: Class codes of the rows, (m,).
        seen: Class codes of the training rows. A class without one has the odds 1 : n.
    """
    own = probabilities[:, np.arange(len(labels)), labels]
    own = np.where(np.isin(labels, seen), own, 1 / (1 + len(seen)))
    loss = -np.log(np.maximum(own, np.finfo(np.float64).tiny))
    return pd.DataFrame(
        {
            "part": part,
            "layer": np.repeat(np.arange(len(own)), len(labels)),
            "correct": (probabilities.argmax(2) == labels).ravel(),
            "log_loss": loss.ravel(),
        }
    )


def score_table(cases: Sequence[Case], measured: Sequence[Measured]) -> pd.DataFrame:
    """Return one row a case and layer: accuracy, and each rule's score, the larger the better.

    Columns: ``task``, ``corpus``, ``encoder``, ``n``, ``seed``, ``layer``, ``accuracy``, and those
    of `glue_pilot.encoders.figures.RULES` but ``random``; NaN where a rule does not look. Encoders
    come in the order of their cost, in operations of a text of the longest length.
    """
    tables = []
    for case, found in zip(cases, measured, strict=True):
        source = case.source
        table = found.layers[found.layers["layer"] != MEAN_OF_LAYERS].copy()
        if case.seed >= 0:
            for part in PARTS:
                for measure in ("accuracy", "log_loss"):
                    column = "correct" if measure == "accuracy" else measure
                    table[f"{part}_{measure}"] = found.values(part, column).mean(1)
            left_out = found.values("left_out", "log_loss")
            table["mean_of_layers"] = left_out.mean()
            table["mixed_layers"] = np.log(np.exp(left_out).mean(0)).mean()
            last = table["layer"] == source.encoder.n_layers
            table["last_layer"] = table["left_out_log_loss"].where(last)
            mean = found.layers["layer"] == MEAN_OF_LAYERS
            table["h_score"] = float(found.layers.loc[mean, "h_score"].iloc[0])
        table["largest"] = source.encoder.operations(np.array([case.study.max_length]))
        about: dict[str, Any] = {"task": source.task, "corpus": source.corpus}
        about |= {"encoder": people_name(source.encoder.name), "n": case.n, "seed": case.seed}
        tables.append(table.assign(**about))
    return pd.concat(tables, ignore_index=True)
