"""Pilots and evidence made by hand, for tests of what is said about them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from charkit.answers.pilot.pilot import Pilot, PilotEvidence, PilotSignal, make_pilot
from charkit.answers.pilot.text_figures import TextFigures
from charkit.tasks import Split, Task

SIGNAL = PilotSignal(True, "signal: layer 1 gains 0.2 nats")
NO_SIGNAL = PilotSignal(False, "no signal above the controls")
ENGLISH = TextFigures(0.27, 0.0, tokens=20.0)


def pilot(n=100, *, counts=None, n_unlabelled=50, judged=True, n_classes=2) -> Pilot:
    """Return a pilot of n different texts, classes in turn or as counted."""
    labels = np.arange(n) % n_classes if counts is None else np.repeat(range(len(counts)), counts)
    unlabelled = Split(tuple(f"other {i}" for i in range(n_unlabelled))) if n_unlabelled else None
    labelled = Split(tuple(f"text {i}" for i in range(len(labels))), None, labels)
    n_classes = n_classes if counts is None else len(counts)
    names = tuple(f"class {c}" for c in range(n_classes)) if len(labels) else ()
    sample = Task(
        name="toy",
        kind="classification",
        train=labelled if len(labels) else Split(()),
        pool=None if judged else unlabelled,
        evaluation=unlabelled if judged else None,
        class_names=names,
        unnamed_classes=n_classes,
    )
    return make_pilot(sample)


def rows(n0=100, **columns) -> pd.DataFrame:
    """Return evidence of three layers."""
    values = {
        "layer": [0, 1, 2],
        "n0": n0,
        "oof_accuracy": [0.7, 0.8, 0.78],
        "random_accuracy": 0.55,
        "curve_500": [0.66, 0.75, 0.74],
        "curve_1000": [0.7, 0.8, 0.78],
        "state_shift": 0.05,
        "class_shift": 0.02,
        "confidence_gap": 0.01,
    }
    return pd.DataFrame(values | columns)


def evidence(n0=100, *, signal=SIGNAL, own=ENGLISH, other=ENGLISH, cut=0.0, **columns):
    """Return evidence with figures of the texts."""
    return PilotEvidence(
        rows=rows(n0, **columns),
        left_out=pd.DataFrame(),
        signal=signal,
        labelled_texts=own,
        unlabelled_texts=other,
        frac_truncated=cut,
        max_length=256,
        about={"charkit": "0"},
        found=False,
    )
