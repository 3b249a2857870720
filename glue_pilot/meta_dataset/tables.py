"""Make the meta-dataset: base tasks, outcomes, Fisher embeddings, evidence, and their tables.

Each stage writes one entry a base task or a variant into the store and skips what is there, so a
stopped run goes on where it was.

Outcomes: how well heads do on a variant's evaluation rows, by layer, size and draw.

The heads are the sweep's: softmax regression on one layer, its strength chosen inside the training
sample. Sizes of a draw are nested. At the size of the whole variant all draws are the same rows,
so there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.config import Progress, content_hash, no_progress
from charkit.encoders.stream import open_states
from charkit.heads.metrics.scores import predicted_classes, row_log_loss
from charkit.heads.solver.softmax import fit_softmax
from charkit.heads.sweep.table import write_table
from charkit.parallel import ExecutorChoice, check_failures, executor_from, run_jobs
from charkit.store.manifest import available_cores
from charkit.store.store import Store
from charkit.tasks import Task
from charkit.tasks.nested import nested_order
from glue_pilot.meta_dataset import study as base_stage
from glue_pilot.meta_dataset.pilots import (
    EVIDENCE_KIND,
    FISHER_KIND,
    EvidenceWork,
    FisherWork,
    blinded,
    by_draw,
    fisher_work,
    pilots_of,
    run_evidence,
    run_fisher,
    work_config,
)
from glue_pilot.meta_dataset.study import Base, BaseWork, MetadataStudy, kept, read_base, run_base
from glue_pilot.meta_dataset.variants import Variant, has_two_classes
from metamodel.schema import check_evidence, check_outcomes

TRUTH_KIND = "metadata_truth"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class TruthWork:
    """The outcomes of one variant.

    Attributes:
        base: Its base task; the variants of it are not needed here.
        variant: Its rows.
        study: Sizes and draws.
        root: The store's folder.
    """

    base: Base
    variant: Variant
    study: MetadataStudy
    root: Path

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Size and draw of every set of heads, small sizes first."""
        return outcome_cells(self.variant, self.study)

    @property
    def config(self) -> dict[str, Any]:
        """What determines the outcomes; its `content_hash` is their key in the store."""
        return work_config(
            TRUTH_KIND,
            _FORMAT,
            self.base,
            self.variant,
            evaluation_states=self.base.evaluation_states,
            cells=[list(cell) for cell in self.cells],
        )

    @property
    def cost(self) -> float:
        """Work in head-rows."""
        n_classes = self.variant.n_classes
        return sum((size + 200.0) * max(2, n_classes) for size, _ in self.cells)


def outcome_cells(variant: Variant, study: MetadataStudy) -> list[tuple[int, int]]:
    """Return size and draw of every set of heads; the whole variant comes last, once.

    Draws of one class are left out: there is no head to train.
    """
    whole = len(variant.train_rows)
    sizes = [n for n in sorted(study.sizes) if max(2, variant.n_classes) <= n < whole]
    cells = [(n, seed) for n in sizes for seed in range(study.n_draws(variant.name, n))]
    labels = variant.train_labels
    kept = [cell for cell in cells if has_two_classes(labels, n=cell[0], seed=cell[1])]
    return [*kept, (whole, 0)]


def run_truth(work: TruthWork) -> str:
    """Compute a variant's outcomes unless the store has them; return their key."""
    store = Store(work.root)
    return kept(
        store, TRUTH_KIND, work.config,
        lambda folder: write_table(compute_outcomes(work, store), folder / "outcomes.parquet"),
        seeds={"draws": max(seed for _, seed in work.cells) + 1},
        fingerprints={"variant": work.variant.fingerprint},
    )  # fmt: skip


def compute_outcomes(work: TruthWork, store: Store) -> pd.DataFrame:
    """Return one row a head: the columns of `metamodel.schema.OUTCOMES`."""
    base, variant = work.base, work.variant
    train = open_states(store, base.train_states)
    features = train.to_numpy()[:, variant.train_rows]
    held_out = open_states(store, base.evaluation_states).to_numpy()[:, variant.evaluation_rows]
    rows: list[dict[str, Any]] = []
    for size, seed in work.cells:
        order = nested_order(variant.train_labels, seed=seed, kind="classification")[:size]
        accuracy, loss = _scores(variant, features[:, order], order, held_out)
        rows += [
            {
                "encoder": train.encoder,
                "control": "none",
                "task": base.task,
                "corpus": base.corpus,
                "subset": variant.name,
                "layer": layer,
                "n_train": size,
                "seed": seed,
                "n_classes": variant.n_classes,
                "n_eval": len(variant.evaluation_rows),
                "score": accuracy[layer],
                "accuracy": accuracy[layer],
                "log_loss": loss[layer],
            }
            for layer in range(len(features))
        ]
    return pd.DataFrame(rows)


def _scores(
    variant: Variant,
    features: NDArray[np.float32],
    order: NDArray[np.int64],
    held_out: NDArray[np.float32],
) -> tuple[list[float], list[float]]:
    """Return accuracy and mean log loss of each layer's head on the evaluation rows."""
    heads = fit_softmax(features, variant.train_labels[order], variant.n_classes)
    labels = variant.evaluation_labels
    accuracy, loss = [], []
    for layer in range(len(features)):
        logits = held_out[layer] @ heads.weights[layer].numpy().T + heads.bias[layer].numpy()
        predicted = np.exp(logits - logits.max(1, keepdims=True))[None]
        predicted /= predicted.sum(2, keepdims=True)
        accuracy.append(float((predicted_classes(predicted)[0] == labels).mean()))
        loss.append(float(row_log_loss(predicted, labels)[0].mean()))
    return accuracy, loss


SORT_EVIDENCE = ["task", "subset", "n0", "seed", "layer"]
SORT_OUTCOMES = ["task", "subset", "n_train", "seed", "layer"]


class _Work(Protocol):
    @property
    def config(self) -> dict[str, Any]:
        """What determines the entry; its `content_hash` is its key in the store."""


W = TypeVar("W", bound=_Work)


@dataclass(frozen=True, eq=False)
class Metadata:
    """The two tables, to be joined on encoder, task, subset and layer.

    Attributes:
        evidence: One row a pilot and layer, columns of `metamodel.schema.EVIDENCE`.
        outcomes: One row a head, columns of `metamodel.schema.OUTCOMES`.
        seconds: Stage -> what its entries took, summed over processes.
    """

    evidence: pd.DataFrame
    outcomes: pd.DataFrame
    seconds: dict[str, float]


def make_metadata(
    study: MetadataStudy,
    tasks: Sequence[Task],
    store: Store,
    *,
    executor: ExecutorChoice = None,
    progress: Progress = no_progress,
) -> Metadata:
    """Return the tables of a study, computing what the store lacks.

    Args:
        study: What is computed.
        tasks: From `glue_pilot.meta_dataset.study.load_bases`.
        store: Where everything is kept.
        executor: Where jobs run, such as 4 (processes), ``"ray"`` or ``"slurm"``. Default: one
            process a core.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        CellsFailedError: Some of it failed; the rest is in the store.
        metamodel.schema.SchemaError: A table does not keep the metamodel's contract.
    """
    work = [BaseWork(task, study, store.root) for task in tasks]
    _run(run_base, work, store, base_stage.KIND, "tasks", executor, progress)
    made = [(w.task, read_base(store, content_hash(w.config))) for w in work]
    kept = [(task, base) for task, base in made if base.variants]
    outcomes = truth_work(study, [base for _, base in kept], store)
    _run(run_truth, outcomes, store, TRUTH_KIND, "outcomes", executor, progress)
    embedded, evidence = pilot_work(study, kept, store)
    _run(run_fisher, embedded, store, FISHER_KIND, "embeddings", executor, progress)
    _run(run_evidence, evidence, store, EVIDENCE_KIND, "evidence", executor, progress)
    return Metadata(
        evidence=check_evidence(read_evidence(store, evidence)),
        outcomes=check_outcomes(read_outcomes(store, outcomes)),
        seconds={
            "tasks": _seconds(store, base_stage.KIND, work),
            "outcomes": _seconds(store, TRUTH_KIND, outcomes),
            "embeddings": _seconds(store, FISHER_KIND, embedded),
            "evidence": _seconds(store, EVIDENCE_KIND, evidence),
        },
    )


def join_metadata(parts: Sequence[Metadata]) -> Metadata:
    """Return the tables of several studies as one.

    Args:
        parts: From `make_metadata`; no task is in two of them.

    Raises:
        metamodel.schema.SchemaError: A task is in two of them.
    """
    evidence: pd.DataFrame = pd.concat([part.evidence for part in parts], ignore_index=True)
    outcomes: pd.DataFrame = pd.concat([part.outcomes for part in parts], ignore_index=True)
    stages = parts[0].seconds
    return Metadata(
        check_evidence(evidence.sort_values(SORT_EVIDENCE, kind="stable", ignore_index=True)),
        check_outcomes(outcomes.sort_values(SORT_OUTCOMES, kind="stable", ignore_index=True)),
        {stage: round(sum(part.seconds[stage] for part in parts), 1) for stage in stages},
    )


def truth_work(study: MetadataStudy, bases: Sequence[Base], store: Store) -> list[TruthWork]:
    """Return the outcomes that a study has, one piece of work a variant."""
    return [
        TruthWork(base.without_variants(), variant, study, store.root)
        for base in bases
        for variant in base.variants
    ]


def pilot_work(
    study: MetadataStudy, kept: Sequence[tuple[Task, Base]], store: Store
) -> tuple[list[FisherWork], list[EvidenceWork]]:
    """Return the embeddings and the evidence that a study has, one piece a variant and draw."""
    fingerprint = study.load_encoder().fingerprint
    embeddings, evidence = [], []
    for task, base in kept:
        for variant in base.variants:
            blind = blinded(variant, study)
            for pilots in by_draw(pilots_of(blind, study)):
                embedded = fisher_work(task, base, blind, pilots, study=study, root=store.root)
                if embedded.pilots:
                    embeddings.append(embedded)
                evidence.append(
                    EvidenceWork(
                        base=base.without_variants(),
                        variant=blind,
                        pilots=pilots,
                        embedded=embedded.pilots,
                        embeddings=content_hash(embedded.config) if embedded.pilots else "",
                        encoder_fingerprint=fingerprint,
                        root=store.root,
                    )
                )
    return embeddings, evidence


def missing(store: Store, kind: str, work: Sequence[W]) -> list[W]:
    """Return the work whose entry the store lacks."""
    return [w for w in work if store.find(kind, content_hash(w.config)) is None]


def _run(
    function: Callable[[W], str],
    work: Sequence[W],
    store: Store,
    kind: str,
    stage: str,
    executor: ExecutorChoice,
    progress: Progress,
) -> None:
    """Do the work of a stage whose entries the store lacks."""
    todo = missing(store, kind, work)
    n_found = len(work) - len(todo)
    found = run_jobs(
        function,
        todo,
        executor=executor_from(executor, default=max(1, min(available_cores(), len(todo)))),
        threads_per_worker=1,
        folders=[store.root],
        progress=lambda done, total: progress(stage, n_found + done, n_found + total),
    )
    check_failures(found, stage=stage)


def read_outcomes(store: Store, work: Sequence[TruthWork]) -> pd.DataFrame:
    """Return the outcomes of all variants as one table; what the store lacks is left out."""
    return _joined(store, work, TRUTH_KIND, "outcomes.parquet", SORT_OUTCOMES)


def read_evidence(store: Store, work: Sequence[EvidenceWork]) -> pd.DataFrame:
    """Return the evidence of all variants as one table; what the store lacks is left out."""
    return _joined(store, work, EVIDENCE_KIND, "evidence.parquet", SORT_EVIDENCE)


def _joined(
    store: Store, work: Sequence[W], kind: str, file: str, order: list[str]
) -> pd.DataFrame:
    folders = [store.find(kind, content_hash(w.config)) for w in work]
    tables = [pd.read_parquet(f / file) for f in folders if f is not None]
    joined = pd.concat(tables, ignore_index=True)
    return joined.sort_values(order, kind="stable", ignore_index=True)


def _seconds(store: Store, kind: str, work: Sequence[W]) -> float:
    manifests = [store.read_manifest(kind, content_hash(w.config)) for w in work]
    return round(sum(float(m["time"]["seconds"]) for m in manifests), 1)


# -- the plan --------------------------------------------------------------------------------


def plan_rows(study: MetadataStudy, tasks: Sequence[Task], store: Store) -> list[dict[str, Any]]:
    """Return what a run would do, one row a stage: entries, how many are missing.

    The variants of a base task that is not made yet are not known; its row says so.
    """
    work = [BaseWork(task, study, store.root) for task in tasks]
    todo = missing(store, base_stage.KIND, work)
    open_keys = {id(w) for w in todo}
    made = [
        (w.task, read_base(store, content_hash(w.config))) for w in work if id(w) not in open_keys
    ]
    kept = [(task, base) for task, base in made if base.variants]
    embedded, evidence = pilot_work(study, kept, store)
    stages: list[tuple[str, str, Sequence[Any]]] = [
        ("outcomes", TRUTH_KIND, truth_work(study, [base for _, base in kept], store)),
        ("embeddings", FISHER_KIND, embedded),
        ("evidence", EVIDENCE_KIND, evidence),
    ]
    unknown = f"and those of {len(todo)} tasks not made yet" if todo else ""
    rows = [_plan_row("tasks", len(work), len(todo), "")]
    rows += [
        _plan_row(stage, len(all_), len(missing(store, kind, all_)), unknown)
        for stage, kind, all_ in stages
    ]
    return rows


def _plan_row(stage: str, total: int, todo: int, more: str) -> dict[str, Any]:
    return {"stage": stage, "entries": total, "to do": todo, "more": more}
