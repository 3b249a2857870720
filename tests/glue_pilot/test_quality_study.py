"""The study of classes and labels, on samples made up and on a generated task."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import glue_pilot
from charkit.errors import MissingError
from glue_pilot.config import read_toml
from glue_pilot.quality import study as module
from glue_pilot.quality.report import class_rows, forecast_rows, noise_rows, write_quality_study
from glue_pilot.quality.study import (
    Case,
    Measured,
    QualityStudy,
    Source,
    load_sources,
    made_wrong,
)

HERE = Path(glue_pilot.__file__).parent
STUDY = QualityStudy("tiny", "", 400, 400, (100,), 1, (1, 4), (0.0, 0.2), 0.1, 100, ("a",))


def made_up(place):
    """A sample whose heads are right as often as their confidence, and know more with more."""
    rng = np.random.default_rng(place)
    labels = rng.integers(0, 2, 400)
    source = Source(f"t{place}", f"c{place}", 2, ("", ""), labels, labels)
    parts = []
    for noise in STUDY.noise:
        clean = labels[:100]
        confidence = 1 / (1 + np.exp(-np.abs(3 * rng.standard_normal(100))))
        predicted = np.where(rng.random(100) < confidence, clean, 1 - clean)
        parts.append(
            pd.DataFrame(
                {
                    "noise": noise,
                    "row": range(100),
                    "clean": clean,
                    "label": made_wrong(clean, noise, [place]),
                    "predicted": predicted,
                    "confidence": confidence,
                }
            )
        )
    truth = [
        pd.DataFrame(
            {
                "multiple": m,
                "label": labels,
                "predicted": np.where(rng.random(400) < p, labels, 1 - labels),
            }
        )
        for m, p in ((1, 0.85), (4, 0.92))
    ]
    changed = {"noise": list(STUDY.noise), "before": 0.8, "relabelled": 0.82, "labelled": 0.81}
    case = Case(source, STUDY, 100, 0)
    return case, Measured(pd.concat(parts), pd.concat(truth), pd.DataFrame(changed))


@pytest.fixture(scope="module")
def cases():
    return [list(part) for part in zip(*map(made_up, range(8)), strict=True)]


def test_labels_are_made_wrong_as_often_as_asked():
    labels = np.arange(5000) % 4
    moved = made_wrong(labels, 0.2, [0])
    assert (moved != labels).mean() == pytest.approx(0.2, abs=0.02)
    assert np.bincount(moved[labels == 0], minlength=4)[1:].min() > 60
    assert (made_wrong(labels, 0.0, [0]) == labels).all()


def test_growth_that_is_forecast_is_nearer_than_none(cases):
    rows = forecast_rows(class_rows(*cases))
    far = rows[(rows["multiple"] == 4) & (rows["metric"] == "balanced_accuracy")]
    assert (far["odds"] - far["truth"]).abs().mean() < (far["stay"] - far["truth"]).abs().mean()
    near = rows[rows["multiple"] == 1]
    np.testing.assert_allclose(near["odds"], near["stay"])
    assert rows["covered"].mean() > 0.8


def test_wrong_labels_raise_the_share_that_is_found(cases):
    found = noise_rows(*cases).groupby("noise")["mean"].mean()
    assert found[0.2] > found[0.0] + 0.05


def test_what_is_written(cases, tmp_path):
    lines, written = write_quality_study(*cases, STUDY, tmp_path)
    assert [path.name for path in written] == ["tiny.json", "tiny.md"]
    numbers = json.loads(written[0].read_text())
    assert {row["multiple"] for row in numbers["classes"]} == {1, 4}
    assert any("labelling as many more 1.0" in line for line in lines)
    assert "| 100 | 20 % |" in written[1].read_text()


def test_studies_that_are_there_can_be_read_and_need_their_tasks(tmp_store, monkeypatch):
    for name in ("quality.toml", "quality_smoke.toml"):
        assert read_toml(HERE / name, QualityStudy).tasks
    monkeypatch.setattr(module, "load_encoder", lambda name: None)
    with pytest.raises(MissingError, match="folder of tasks"):
        load_sources(STUDY, None, tmp_store)
