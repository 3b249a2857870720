"""Learners on one draw, and draws of a task kept in the store."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from charkit.encoders import encode, load_encoder
from charkit.encoders.load import LazyEncoder
from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.heads.sample.out_of_fold import fit_sample_heads
from charkit.learners import compare_learners
from charkit.learners import draws as draws_module
from charkit.learners.draws import COLUMNS, draws_of, plan_rows, run_draws
from charkit.learners.outcomes import BUILT_IN, check_learners, side_by_side
from charkit.learners.tuning import Recipe
from charkit.tasks import load_task

RECIPE = Recipe(6, batch=8, rate=1e-3, head_rate=1e-2)


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return load_encoder(tiny_bert, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def task():
    return load_task("generated/topic?n_train=48&n_eval=24")


@pytest.fixture(scope="module")
def rows(encoder, task):
    found = compare_learners(encoder, task.train, task.evaluation, task.n_classes, recipe=RECIPE)
    return {row["learner"]: row for row in found}


def test_every_learner_has_a_row(rows):
    assert tuple(rows) == BUILT_IN
    assert all(0 <= row["accuracy"] <= 1 and row["log_loss"] > 0 for row in rows.values())
    assert np.isnan(rows["tuned"]["left_out_loss"])


def test_heads_are_those_of_charkit(encoder, task, rows):
    states, held_out = (
        torch.from_numpy(encode(encoder, part).to_numpy()) for part in (task.train, task.evaluation)
    )
    labels, truth = (np.array(p.labels, np.int64) for p in (task.train, task.evaluation))
    heads = fit_sample_heads(states, torch.from_numpy(labels), task.n_classes)
    right = (heads.probabilities(held_out).argmax(2) == truth).mean(1)
    losses = -np.log(heads.left_out[:, np.arange(len(labels)), labels])
    best = int(losses.mean(1).argmin())
    assert rows["probe"]["layer"] == best
    assert rows["probe"]["accuracy"] == pytest.approx(right[best])
    assert rows["last_layer"]["accuracy"] == pytest.approx(right[-1])


def test_layers_side_by_side_weigh_the_same():
    states = torch.randn(3, 20, 4, generator=torch.Generator().manual_seed(0))
    states *= torch.tensor([1.0, 10.0, 0.0])[:, None, None]
    inner, outer = side_by_side(states, states[:, :5])
    assert inner.shape == (1, 20, 12)
    assert torch.equal(inner[:, :5], outer)
    spread = (inner - inner.mean(1, keepdim=True)).square().mean(1).reshape(3, 4).sum(1)
    assert spread[:2] == pytest.approx([1, 1], rel=1e-5)
    assert spread[2] == 0


def test_learners_that_are_not_known_are_refused():
    with pytest.raises(UnknownNameError, match="tuned"):
        check_learners(["tunde"])
    with pytest.raises(UsageError, match="expected at least one of probe"):
        check_learners([])
    assert check_learners(["tuned", "tuned"]) == ("tuned",)


@pytest.fixture
def draws(tiny_bert, task, tmp_store):
    return draws_of(
        task,
        "corpus",
        [(16, (0, 1)), (32, (0,)), (4096, (0,))],
        encoder=LazyEncoder(str(tiny_bert), "cpu", "float32"),
        max_length=16,
        learners=("probe", "tuned"),
        store=tmp_store,
    )


def test_sizes_of_a_draw_are_nested_and_too_large_ones_left_out(draws):
    assert [(len(d.train), d.seed) for d in draws] == [(16, 0), (16, 1), (32, 0)]
    assert draws[0].train.texts == draws[2].train.texts[:16]
    assert draws[0].train.texts != draws[1].train.texts


def test_a_stopped_run_goes_on(draws, tmp_store, monkeypatch):
    first = run_draws(draws[:1], tmp_store)
    assert list(first.columns) == list(COLUMNS)
    assert len(first) == 2
    assert [row["to do"] for row in plan_rows(draws, tmp_store)] == [1, 1]
    seen = []
    whole = run_draws(draws, tmp_store, progress=lambda *step: seen.append(step))
    assert seen[0] == ("draws", 1, 3)
    assert seen[-1] == ("draws", 3, 3)
    assert len(whole) == 6
    monkeypatch.setattr(draws_module, "compare_learners", None)  # nothing is trained again
    again = run_draws(draws, tmp_store)
    assert again.equals(whole)


def test_a_plan_states_hours(draws, tmp_store):
    rows = plan_rows(draws, tmp_store)
    assert [row["size"] for row in rows] == [16, 32]
    assert all(row["hours"] > 0 for row in rows)


def test_a_key_depends_on_what_is_trained(draws):
    assert replace(draws[0], learners=("probe",)).config != draws[0].config
    assert replace(draws[0], max_length=8).config != draws[0].config


def test_a_regression_is_refused(tiny_bert, tmp_store):
    scores = load_task("generated/similarity?n_train=40&n_eval=20")
    with pytest.raises(DataError, match="expected class labels, got a regression"):
        draws_of(
            scores, "c", [(16, (0,))], encoder=LazyEncoder(str(tiny_bert)), max_length=None,
            learners=("probe",), store=tmp_store,
        )  # fmt: skip


def test_missing_evaluation_labels_are_refused(tiny_bert, tmp_store, task):
    with pytest.raises(DataError, match="expected labels in both parts"):
        draws_of(
            replace(task, evaluation=None), "c", [(16, (0,))], encoder=LazyEncoder(str(tiny_bert)),
            max_length=None, learners=("probe",), store=tmp_store,
        )  # fmt: skip
