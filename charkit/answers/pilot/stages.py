"""The stages of a pilot's meta-features, each kept in the store as soon as it is finished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from charkit.answers.pilot.classes import left_out_table
from charkit.answers.pilot.evidence import gather_evidence, random_accuracy
from charkit.answers.pilot.kept_values import kept_values, number
from charkit.answers.pilot.limits import GATHERING, LOOKING, MOST_FOR_CONTROLS
from charkit.answers.pilot.signal import PilotSignal, pilot_signal
from charkit.answers.pilot.text_figures import TextFigures, text_figures
from charkit.config import Progress, staged
from charkit.encoders.encoder import Encoder
from charkit.encoders.states import LayerStates
from charkit.encoders.stream import encode_to_store
from charkit.heads.sample.out_of_fold import SampleHeads, fit_sample_heads
from charkit.heads.sweep.grid import RANDOM_ENCODER_SEED
from charkit.parallel.jobs import threads_limited
from charkit.store.cached import cached
from charkit.store.durable import write_whole
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks.nested import nested_order
from charkit.tasks.task import Split

if TYPE_CHECKING:
    from charkit.answers.pilot.pilot import Pilot


KIND = "evidence_stage"
FORMAT_VERSION = 3

FEW_CLASSES = 20

SEEDS = {"random_encoder": RANDOM_ENCODER_SEED}

_ROWS = "rows.parquet"
LEFT_OUT = "left_out.parquet"
"""File of `charkit.answers.pilot.classes.left_out_table`; empty without labels."""


@dataclass(frozen=True)
class Stages:
    """What is measured on a pilot, stage by stage.

    Attributes:
        pilot: The sample.
        encoder: The encoder.
        store: Where finished stages are kept.
        config: What determines the evidence.
        progress: Called as ``progress(stage, done, total)``.
    """

    pilot: Pilot
    encoder: Encoder
    store: Store
    config: dict[str, Any]
    progress: Progress

    @cached_property
    def labelled(self) -> LayerStates | None:
        """States of the labelled texts; None without any."""
        return self._states(self.pilot.labelled, "labelled texts")

    @cached_property
    def unlabelled(self) -> LayerStates | None:
        """States of the unlabelled texts; None without any."""
        return self._states(self.pilot.unlabelled, "unlabelled texts")

    @property
    def states(self) -> list[LayerStates]:
        """Those of both that there are."""
        return [s for s in (self.labelled, self.unlabelled) if s is not None]

    def rows(self) -> pd.DataFrame:
        """Return the evidence, one row a layer, without the keys of names."""
        _ = self.states
        rows = self._heads[0]
        if self.pilot.n_used:
            rows["random_accuracy"] = self._random()
        return rows

    def left_out(self) -> pd.DataFrame:
        """Return what heads make of each label left out; empty without labels."""
        return self._heads[1]

    def signal(self) -> PilotSignal | None:
        """Return whether there is any signal; None without labels."""
        if not self.pilot.n_used:
            return None
        found = self._values("signal", self._find_signal)
        return PilotSignal(bool(found["signal"]), str(found["reason"]))

    def texts(self, split: Split | None) -> TextFigures | None:
        """Return how the tokenizer takes texts; None without any."""
        if split is None or not len(split):
            return None
        return text_figures(self.encoder, split)

    def _states(
        self, split: Split | None, what: str, encoder: Encoder | None = None
    ) -> LayerStates | None:
        if split is None or not len(split):
            return None
        return encode_to_store(
            encoder or self.encoder,
            split,
            store=self.store,
            max_length=self.config["max_length"],
            progress=staged(self.progress, f"encode {what}"),
        )

    @cached_property
    def _codes(self) -> NDArray[np.int64]:
        return np.array(self.pilot.labelled.labels, np.int64)

    @cached_property
    def _heads(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        nothing = np.zeros((self.encoder.n_layers + 1, 0, self.encoder.width), np.float32)
        config = self._key("heads")

        def make(folder: Path) -> dict[str, Any]:
            clock = Clock()
            known = nothing if self.labelled is None else self.labelled.to_numpy()
            heads = None if self.labelled is None else self._fit(known)
            rows = gather_evidence(
                known,
                None if self.labelled is None else self._codes,
                nothing if self.unlabelled is None else self.unlabelled.to_numpy(),
                n_classes=self.pilot.n_classes,
                heads=heads,
                progress=self.progress,
            )
            left_out = pd.DataFrame() if heads is None else left_out_table(heads)
            write_whole(folder / _ROWS, rows.to_parquet(index=False))
            write_whole(folder / LEFT_OUT, left_out.to_parquet(index=False))
            return run_manifest(
                config,
                clock=clock,
                seeds=SEEDS,
                fingerprints={"encoder": self.encoder.fingerprint},
                device=self.encoder.device,
                dtype=self.encoder.dtype,
            )

        def load(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
            return pd.read_parquet(folder / _ROWS), pd.read_parquet(folder / LEFT_OUT)

        return cached(self.store, KIND, config, make=make, load=load, progress=self.progress).value

    @threads_limited(1)
    def _fit(self, states: NDArray[np.floating]) -> SampleHeads:
        self.progress(GATHERING, 0, 1)
        known = torch.from_numpy(np.array(states, np.float32))
        return fit_sample_heads(known, torch.from_numpy(self._codes), self.pilot.n_classes)

    @cached_property
    def _some(self) -> NDArray[np.int64]:
        """Rows that controls are made from, stratified."""
        return nested_order(self._codes, seed=0, kind="classification")[:MOST_FOR_CONTROLS]

    def _random(self) -> float:
        def make() -> dict[str, Any]:
            twin = self.encoder.randomised(seed=RANDOM_ENCODER_SEED)
            some = self.pilot.labelled.take(self._some)
            states = self._states(some, "some texts, random encoder", twin)
            assert states is not None
            codes = self._codes[self._some]
            return {"accuracy": random_accuracy(states.layer(-1), codes, self.pilot.n_classes)}

        return number(self._values("random", make)["accuracy"])

    def _find_signal(self) -> dict[str, Any]:
        assert self.labelled is not None
        some = self._some
        if self.pilot.n_classes > FEW_CLASSES:
            some = some[: MOST_FOR_CONTROLS // 2]
        self.progress(LOOKING, 0, 1)
        features = np.stack(
            [self.labelled.layer(k)[some] for k in range(self.labelled.n_layers + 1)]
        )
        found = pilot_signal(features.astype(np.float32, copy=False), self._codes[some])
        self.progress(LOOKING, 1, 1)
        return {"signal": found.signal, "reason": found.reason}

    def _values(self, stage: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a stage's values from the store, making them when they are not there."""
        return kept_values(
            self.store,
            self._key(stage),
            make,
            encoder=self.encoder,
            seeds=SEEDS,
            progress=self.progress,
        )

    def _key(self, stage: str) -> dict[str, Any]:
        return {**self.config, "kind": KIND, "format": FORMAT_VERSION, "stage": stage}
