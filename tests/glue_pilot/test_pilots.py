"""Pilots: nested draws, and no label of an evaluation row within their reach."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import glue_pilot
from charkit.errors import MissingError, UnknownNameError, UsageError
from charkit.tasks import load_task
from glue_pilot.meta_dataset.fisher_evidence import FisherEvidence, fisher_columns
from glue_pilot.meta_dataset.pilots import (
    BlindVariant,
    Pilot,
    blinded,
    by_draw,
    fisher_pilots_of,
    pilots_of,
)
from glue_pilot.meta_dataset.study import cut_task, load_bases, read_metadata_study
from glue_pilot.meta_dataset.variants import make_variants

FOLDER = Path(glue_pilot.__file__).parent


@pytest.fixture(scope="module")
def study():
    return replace(read_metadata_study(FOLDER / "metadata_smoke.toml"), n_unlabelled=50)


@pytest.fixture(scope="module")
def variant():
    task = load_task("generated/topic?n_train=300&n_eval=120")
    return make_variants(task, most=1, smallest_train=50, smallest_evaluation=20)[0]


@pytest.mark.parametrize("name", ["metadata.toml", "metadata_more.toml", "metadata_smoke.toml"])
def test_shipped_studies_can_be_read(name):
    study = read_metadata_study(FOLDER / name)
    assert set(study.variant_pilots) <= set(study.pilots)
    assert max(study.pilots) <= max(study.sizes)
    assert {n for n in study.pilots if n >= min(study.sizes)} <= set(study.sizes)
    assert study.pilot_draws[1] <= study.variant_draws[0]
    assert study.pilot_draws[0] <= study.draws[0]


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("name =", "nam =", UnknownNameError, "nam"),
        ("n_train = 600", "", UsageError, "n_train"),
        ("draws = [2, 2]", "draws = [2]", UsageError, "two numbers"),
        ("n_train = 600", "n_train = '600'", UsageError, "expected int"),
    ],
)
def test_wrong_studies_are_refused(tmp_path, old, new, error, message):
    text = (FOLDER / "metadata_smoke.toml").read_text()
    path = tmp_path / "study.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(error, match=message):
        read_metadata_study(path)


def test_a_study_of_a_folder_needs_its_manifest(study, tmp_path):
    with pytest.raises(MissingError, match="MANIFEST"):
        load_bases(replace(study, tasks=()), tmp_path)


def test_evaluation_rows_are_chosen_without_their_labels(study):
    task = load_task("generated/topic?n_train=300&n_eval=400")
    part = task.evaluation
    shuffled = np.random.default_rng(1).permutation(part.labels)
    other = replace(task, evaluation=replace(part, labels=shuffled))
    one, two = (cut_task(t, study).evaluation for t in (task, other))
    assert len(one) == study.n_evaluation
    assert one.texts == two.texts


def test_pilots_of_a_draw_are_nested_and_at_most_half(study, variant):
    blind = blinded(variant, study)
    pilots = pilots_of(blind, study)
    assert pilots[0] == Pilot(0, 0)
    assert sum(p.n0 == 0 for p in pilots) == 1
    assert max(p.n0 for p in pilots) <= len(variant.train_rows) / 2
    for small, large in pairwise(pilots):
        if small.n0 and small.seed == large.seed:
            rows, labels = blind.sample(small)
            more_rows, more_labels = blind.sample(large)
            np.testing.assert_array_equal(rows, more_rows[: small.n0])
            np.testing.assert_array_equal(labels, more_labels[: small.n0])
    assert set(fisher_pilots_of(blind, pilots, study)) < set(pilots)
    draws = by_draw(pilots)
    assert sorted(p for draw in draws for p in draw) == sorted(pilots)
    assert all(len({p.seed for p in draw}) == 1 for draw in draws)


def test_a_pilot_is_blind(study, variant):
    blind = blinded(variant, study)
    assert "evaluation_labels" not in {f.name for f in fields(BlindVariant)}
    shuffled = np.random.default_rng(0).permutation(variant.evaluation_labels)
    again = blinded(replace(variant, evaluation_labels=shuffled), study)
    assert again.fingerprint == blind.fingerprint
    np.testing.assert_array_equal(again.unlabelled_rows, blind.unlabelled_rows)
    assert len(blind.unlabelled_rows) == study.n_unlabelled


def test_a_pilot_of_one_class_is_none(study, variant):
    small = replace(study, pilots=(0, 6, 8))
    n_left_out = 0
    for n_rare in (2, 5, 10, 60):
        labels = np.zeros(len(variant.train_labels), np.int64)
        labels[:n_rare], labels[n_rare : 2 * n_rare] = 1, 2
        blind = blinded(replace(variant, train_labels=labels, n_classes=3), small)
        found = [p for p in pilots_of(blind, small) if p.n0]
        assert all(len(set(blind.sample(p)[1])) >= 2 for p in found)
        n_left_out += 2 * small.pilot_draws[0] - len(found)
    assert n_left_out > 0


def test_fisher_metrics_stand_in_every_row_the_layer_its_own():
    fisher = FisherEvidence(-4, -1, -0.5, -0.2, (-0.7, -0.3), 0.2, 0.1, 0.3, 0.4, 0.6)
    found = pd.DataFrame({"layer": range(3)}).assign(**fisher_columns(fisher, 2))
    assert found["fisher_norm"].tolist() == [-4, -4, -4]
    np.testing.assert_array_equal(found["fisher_own"], [np.nan, -0.7, -0.3])
