"""One row of evidence a layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from charkit.answers.pilot.evidence import gather_evidence
from charkit.errors import DataError, UsageError

WIDTH = 16


def _pilot(n: int = 64, m: int = 200, n_classes: int = 3, signal: float = 2.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n + m) % n_classes)
    scale = np.arange(1, WIDTH + 1.0) ** -0.4
    rows = rng.standard_normal((3, n + m, WIDTH)) * scale
    rows += signal * np.eye(n_classes, WIDTH)[labels] * np.array([0, 0.5, 1])[:, None, None]
    rows = rows.astype(np.float32)
    return rows[:, :n], labels[:n], rows[:, n:], labels[n:]


@pytest.fixture(scope="module")
def evidence() -> pd.DataFrame:
    states, labels, others, _ = _pilot()
    return gather_evidence(states, labels, others, n_classes=3, random_states=states[0])


def test_one_row_a_layer_with_floats_and_counts(evidence: pd.DataFrame) -> None:
    assert evidence["layer"].tolist() == [0, 1, 2]
    assert (evidence[["n0", "n_layers", "n_unlabelled", "width"]] == [64, 2, 200, WIDTH]).all(
        axis=None
    )
    floats = evidence.drop(
        columns=["n0", "layer", "n_layers", "n_classes", "n_unlabelled", "width"]
    )
    assert (floats.dtypes == "float64").all()
    missing = floats.columns[floats.isna().any()]
    assert all(name.startswith("fisher_") for name in missing)


def test_layers_with_signal_score_higher(evidence: pd.DataFrame) -> None:
    for name in ("oof_accuracy", "curve_500", "spectral_8", "logme", "h_score", "knn_accuracy"):
        assert evidence[name].iloc[2] > evidence[name].iloc[1] > evidence[name].iloc[0] - 0.05
    assert abs(evidence["oof_accuracy"].iloc[0] - 1 / 3) < 0.2
    assert abs(evidence["shuffled_accuracy"] - 1 / 3).max() < 0.2
    assert evidence["random_accuracy"].nunique() == 1


def test_it_repeats_and_classes_have_no_order(evidence: pd.DataFrame) -> None:
    states, labels, others, _ = _pilot()
    again = gather_evidence(states, labels, others, n_classes=3, random_states=states[0])
    pd.testing.assert_frame_equal(again, evidence)
    renamed = gather_evidence(states, np.array([2, 0, 1])[labels], others, n_classes=3)
    for name in ("oof_loss", "oof_accuracy", "logme", "alignment_16", "atc", "class_shift"):
        np.testing.assert_allclose(renamed[name], evidence[name], atol=0.02)


def test_the_order_of_rows_hardly_matters(evidence: pd.DataFrame) -> None:
    states, labels, others, _ = _pilot()
    turn = np.random.default_rng(0).permutation(64)
    moved = gather_evidence(states[:, turn], labels[turn], others[:, ::-1], n_classes=3)
    exact = ("oof_loss", "logme", "alignment_4", "average_confidence", "decay", "state_shift")
    for name in exact:
        np.testing.assert_allclose(moved[name], evidence[name], atol=2e-3)
    for name in ("curve_500", "curve_800"):
        np.testing.assert_allclose(moved[name], evidence[name], atol=0.08)


def test_evaluation_labels_cannot_matter_but_their_texts_do() -> None:
    states, labels, others, _ = _pilot()
    moved = gather_evidence(states, labels, others + 1.0, n_classes=3)
    assert (moved["state_shift"] > 0.5).all()
    still = gather_evidence(states, labels, others, n_classes=3)
    assert (still["state_shift"] < 0.2).all()
    pd.testing.assert_series_equal(moved["oof_loss"], still["oof_loss"])


def test_without_labels_only_label_free_columns() -> None:
    _, _, others, _ = _pilot()
    found = gather_evidence(others[:, :0], None, others, n_classes=3)
    known = set(found.columns[found.notna().all()])
    assert {"decay", "top_share", "class_gap", "rank_entropy", "n_classes"} <= known
    assert not known & {"oof_accuracy", "majority", "atc", "alignment_4"}
    labelled = gather_evidence(*_pilot()[:3], n_classes=3)
    assert list(found.columns) == list(labelled.columns)


@pytest.mark.parametrize(
    ("labels", "n_classes", "m"),
    [
        ([0, 1], 2, 0),
        ([0, 1], 5, 30),
        ([0, 1, 1], 2, 3),
        ([0, 1, 2, 3], 4, 50),
        ([3, 3, 3, 3, 149], 150, 1),
        ([0, 0, 0, 1, 1, 1], 2, 2),
        (list(range(25)) * 2, 150, 0),
    ],
)
def test_tiny_samples_have_gaps_and_no_errors(labels: list[int], n_classes: int, m: int) -> None:
    rng = np.random.default_rng(0)
    states = rng.standard_normal((2, len(labels), WIDTH)).astype(np.float32)
    others = rng.standard_normal((2, m, WIDTH)).astype(np.float32)
    found = gather_evidence(
        states, np.array(labels), others, n_classes=n_classes, random_states=states[0]
    )
    assert len(found) == 2
    assert found["majority"].notna().all()
    values = found.to_numpy(np.float64)
    assert not np.isinf(values).any()
    shares = found.filter(regex="accuracy|curve_|spectral_\\d|^atc|^doc")
    assert not ((shares < 0) | (shares > 1)).any(axis=None)


def test_constant_states_and_one_common_state() -> None:
    states = np.ones((2, 20, WIDTH), np.float32)
    found = gather_evidence(states, np.arange(20) % 2, states, n_classes=2)
    assert not np.isinf(found.to_numpy(np.float64)).any()


def test_bad_input_is_refused() -> None:
    states, labels, others, _ = _pilot(n=16)
    with pytest.raises(UsageError, match="states do not fit"):
        gather_evidence(states, labels, others[:2], n_classes=3)
    with pytest.raises(UsageError, match="labels do not fit"):
        gather_evidence(states, labels[:-1], others, n_classes=3)
    with pytest.raises(UsageError, match="at least 2"):
        gather_evidence(states, labels, others, n_classes=1)
    with pytest.raises(DataError, match="finite"):
        gather_evidence(states, labels, others * np.nan, n_classes=3)
    with pytest.raises(DataError, match="all 16"):
        gather_evidence(states, labels * 0, others, n_classes=3)
    with pytest.raises(DataError, match="range"):
        gather_evidence(states, labels + 1, others, n_classes=3)
