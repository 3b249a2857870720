"""From a labelled sample to the evidence that the metamodel reads: one row a layer.

Texts are encoded into the store, once by the encoder and once by a random one of the same shape
as a control; the rest is heads and algebra. The evidence is kept under the hash of all that
determines it, and so is each of its stages (`charkit.answers.pilot.stages`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.pilot.signal import PilotSignal as PilotSignal
from charkit.answers.pilot.text_figures import TextFigures
from charkit.config import Progress, no_progress
from charkit.encoders.encoder import Encoder
from charkit.heads.sweep.grid import RANDOM_ENCODER_SEED
from charkit.store.cached import cached
from charkit.store.durable import write_whole
from charkit.store.entry import read_run
from charkit.store.manifest import Clock, package_versions, run_manifest
from charkit.store.store import Store
from charkit.tasks.assemble import row_keys, without_repeats
from charkit.tasks.nested import nested_order
from charkit.tasks.task import Split, Task

if TYPE_CHECKING:
    from charkit.answers.pilot.stages import Stages

KIND = "evidence"
FORMAT_VERSION = 5

FEW = 64
"""Fewer labels than this are few: the answer leans on other tasks more than on their own curve."""

# What is read of larger files: a bound on time and memory, and a choice. 1,000 texts give a share
# to within 3 points (90 %, 1.645 * sqrt(0.25 / 1,000)).
MOST_LABELLED = 2_048
MOST_UNLABELLED = 1_000


@dataclass(frozen=True, eq=False)
class Pilot:
    """A sample as it is used: no row twice, no larger than needed.

    Attributes:
        name: The task's short name.
        corpus: Tasks with the same corpus share texts.
        labelled: The labelled rows that evidence is made from; may be empty.
        unlabelled: The evaluation texts, else those still to label; None where there are none.
        class_names: By class code; empty without labels.
        n_classes: How many classes there are.
        n_labels: Different labelled rows, of which ``labelled`` are some or all.
        n_repeated: Labelled rows left out because they repeat others.
        n_unlabelled: Texts without labels.
        judged: Whether the unlabelled texts are those to be judged on.
    """

    name: str
    corpus: str
    labelled: Split
    unlabelled: Split | None
    class_names: tuple[str, ...]
    n_classes: int
    n_labels: int
    n_repeated: int
    n_unlabelled: int
    judged: bool

    @property
    def n_used(self) -> int:
        """Labelled rows that evidence is made from."""
        return len(self.labelled)

    @property
    def mode(self) -> str:
        """How much is known: ``"none"``, ``"few"`` or ``"pilot"``."""
        if not self.n_labels:
            return "none"
        return "few" if self.n_labels < FEW else "pilot"

    @cached_property
    def n_shared(self) -> int:
        """Unlabelled texts that are labelled rows too."""
        if self.unlabelled is None or not self.n_used:
            return 0
        known = set(row_keys(self.labelled))
        return sum(key in known for key in row_keys(self.unlabelled))

    @cached_property
    def _counts(self) -> Any:
        return np.bincount(np.asarray(self.labelled.labels, np.int64), minlength=self.n_classes)

    @property
    def majority(self) -> float | None:
        """Share of the largest class among the labels; None without labels."""
        return float(self._counts.max() / self._counts.sum()) if self.n_used else None

    @property
    def n_single(self) -> int:
        """Labels that are the only one of their class."""
        return int((self._counts == 1).sum()) if self.n_used else 0

    @property
    def majority_name(self) -> str:
        """Name of the largest class; empty without labels."""
        return self.class_names[int(self._counts.argmax())] if self.n_used else ""

    def notes(self) -> list[str]:
        """Return a line for whatever was left out."""
        lines = []
        if self.n_used < self.n_labels:
            lines.append(
                f"{self.n_labels:,} labels: evidence is made from a stratified sample of "
                f"{self.n_used:,}; sizes end at what these reach"
            )
        used = 0 if self.unlabelled is None else len(self.unlabelled)
        if used < self.n_unlabelled:
            lines.append(f"{used:,} of {self.n_unlabelled:,} unlabelled texts are looked at")
        return lines


def make_pilot(sample: Task) -> Pilot:
    """Return a sample without repeated rows, cut to what evidence needs.

    Args:
        sample: From `charkit.tasks.card.load_sample`.
    """
    distinct = without_repeats(sample.train)
    labelled, n_labels = distinct, len(distinct)
    if n_labels > MOST_LABELLED:
        assert distinct.labels is not None
        order = nested_order(distinct.labels, seed=0, kind="classification")
        labelled = distinct.take(order[:MOST_LABELLED])
    unlabelled = sample.unlabelled
    n_unlabelled = 0 if unlabelled is None else len(unlabelled)
    rows = looked_at(n_unlabelled)
    if unlabelled is not None and rows is not None:
        unlabelled = unlabelled.take(rows)
    return Pilot(
        name=sample.name,
        corpus=sample.corpus,
        labelled=labelled,
        unlabelled=unlabelled,
        class_names=sample.class_names,
        n_classes=sample.n_classes,
        n_labels=n_labels,
        n_repeated=len(sample.train) - n_labels,
        n_unlabelled=n_unlabelled,
        judged=sample.evaluation is not None,
    )


def looked_at(n: int) -> NDArray[np.int64] | None:
    """Return which of n unlabelled texts are looked at, in order; None: all."""
    if n <= MOST_UNLABELLED:
        return None
    return np.sort(np.random.default_rng(0).permutation(n)[:MOST_UNLABELLED])


@dataclass(frozen=True, eq=False)
class PilotEvidence:
    """What was measured on a pilot.

    Attributes:
        rows: One row a layer, the columns of `metamodel.schema`.
        left_out: What heads make of each label left out, row by row; empty without labels. See
            `charkit.answers.pilot.classes.left_out_table`.
        signal: Whether heads are above the controls; None without labels.
        labelled_texts: How the tokenizer takes the labelled texts; None without.
        unlabelled_texts: The same of the unlabelled ones.
        frac_truncated: Share of all texts that were cut.
        max_length: Where they were cut, in tokens.
        about: What made it: key, versions.
        found: Whether the store had it all.
    """

    rows: pd.DataFrame
    left_out: pd.DataFrame
    signal: PilotSignal | None
    labelled_texts: TextFigures | None
    unlabelled_texts: TextFigures | None
    frac_truncated: float
    max_length: int
    about: Mapping[str, Any]
    found: bool


def pilot_evidence(
    pilot: Pilot,
    encoder: Encoder,
    *,
    store: Store,
    max_length: int | None = None,
    progress: Progress = no_progress,
) -> PilotEvidence:
    """Return a pilot's evidence from the store, making it when it is not there.

    Args:
        pilot: The sample.
        encoder: The encoder.
        store: Where states and evidence are kept.
        max_length: Longest text in tokens. Default: the encoder's own choice.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: ``max_length`` is out of range.
        MissingError: The store cannot be written.
    """
    config = _config(pilot, encoder, max_length)

    def make(folder: Path) -> dict[str, Any]:
        from charkit.answers.pilot.stages import Stages  # torch: not where all is kept

        return _make(Stages(pilot, encoder, store, config, progress), folder)

    kept = cached(
        store,
        KIND,
        config,
        make=make,
        load=lambda folder: _read(folder, pilot),
        progress=progress,
    )
    return replace(kept.value, found=kept.found)


def _config(pilot: Pilot, encoder: Encoder, max_length: int | None) -> dict[str, Any]:
    """Return what determines the evidence."""
    return {
        "kind": KIND,
        "format": FORMAT_VERSION,
        "charkit": package_versions()["charkit"],
        "encoder": encoder.fingerprint,
        "dtype": encoder.dtype,
        "max_length": encoder.text_length(max_length),
        "labelled": pilot.labelled.fingerprint,
        "n_classes": pilot.n_classes,
        "unlabelled": "" if pilot.unlabelled is None else pilot.unlabelled.text_fingerprint,
    }


def _make(stages: Stages, folder: Path) -> dict[str, Any]:
    """Write the evidence into a folder, and return what made it."""
    clock, pilot, encoder = Clock(), stages.pilot, stages.encoder
    names = {"encoder": encoder.name, "task": "", "corpus": pilot.corpus, "subset": "all"}
    rows = stages.rows().assign(**names, seed=0)
    signal = stages.signal()
    cut = sum(s.n_truncated for s in stages.states)
    said = {
        "signal": None if signal is None else asdict(signal),
        "labelled_texts": _row_of(stages.texts(pilot.labelled)),
        "unlabelled_texts": _row_of(stages.texts(pilot.unlabelled)),
        "frac_truncated": cut / max(sum(s.n_samples for s in stages.states), 1),
        "max_length": stages.config["max_length"],
    }
    write_whole(folder / "rows.parquet", rows.to_parquet(index=False))
    write_whole(folder / "left_out.parquet", stages.left_out().to_parquet(index=False))
    write_whole(folder / "about.json", json.dumps(said, sort_keys=True).encode())
    return run_manifest(
        stages.config,
        clock=clock,
        seeds={"random_encoder": RANDOM_ENCODER_SEED},
        fingerprints={"encoder": encoder.fingerprint, "labelled": stages.config["labelled"]},
        device=encoder.device,
        dtype=encoder.dtype,
    )


def _row_of(figures: TextFigures | None) -> dict[str, float] | None:
    return None if figures is None else asdict(figures)


def _read(folder: Path, pilot: Pilot) -> PilotEvidence:
    said = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    run = read_run(folder)
    return PilotEvidence(
        rows=pd.read_parquet(folder / "rows.parquet").assign(task=pilot.name, corpus=pilot.corpus),
        left_out=pd.read_parquet(folder / "left_out.parquet"),
        signal=None if said["signal"] is None else PilotSignal(**said["signal"]),
        labelled_texts=_figures_of(said["labelled_texts"]),
        unlabelled_texts=_figures_of(said["unlabelled_texts"]),
        frac_truncated=said["frac_truncated"],
        max_length=said["max_length"],
        about={"evidence": folder.name, "charkit": run["versions"]["charkit"], "code": run["code"]},
        found=True,
    )


def _figures_of(said: dict[str, float] | None) -> TextFigures | None:
    return None if said is None else TextFigures(**said)
