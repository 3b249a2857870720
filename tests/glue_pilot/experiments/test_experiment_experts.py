"""Choosing experts: fine-tuning, heads on experts, choices and their costs, the whole run."""

from dataclasses import replace

import numpy as np
import pytest

from charkit.encoders import encode, load_encoder
from charkit.errors import DataError, UsageError
from charkit.heads.metrics.transferability import log_evidence
from charkit.tasks import load_task
from glue_pilot.experiments import experts
from glue_pilot.experiments.base import Workspace
from glue_pilot.experiments.parts.experts_gather import (
    ExpertSettings,
    Reading,
    fit_outcome,
    gather,
    outcome_to_store,
)
from glue_pilot.experiments.parts.experts_select import (
    GENERIC,
    MODEL2VEC,
    Board,
    average_elsewhere,
    cost_rows,
    pick,
    searched,
)
from glue_pilot.experiments.parts.experts_tuning import Tuning, expert_to_store, tune, tuning_texts
from glue_pilot.samples import draw_sample
from glue_pilot.stats import resampled_ratio

SENTIMENT = "generated/sentiment?n_train=120&n_eval=60&seed=1"
TUNING = Tuning(
    n=60,
    skip=32,
    frozen=1,
    epochs=2,
    batch=16,
    rate=5e-3,
    head_rate=5e-2,
    max_length=32,
    seed=0,
)
SMALL = {
    "tasks": tuple(
        f"generated/{name}?n_train=110&n_eval=40&seed=1"
        for name in ("sentiment", "topic", "acceptability", "paraphrase")
    ),
    "targets": (),
    "skip": 32,
    "n_tune": 48,
    "epochs": 1,
    "batch": 16,
    "frozen": 0,
    "sizes": (16, 32),
    "library_n": 32,
    "n": 16,
    "probe_layers": (1,),
    "n_eval": 40,
    "max_length": 32,
    "other_layer": 1,
}


@pytest.fixture
def encoder(tiny_bert):
    return load_encoder(str(tiny_bert), device="cpu", dtype="float32")


# -- fine-tuning ---------------------------------------------------------------------------


def test_tuning_lowers_the_loss_and_leaves_frozen_layers(encoder):
    task = load_task(SENTIMENT)
    model, losses = tune(
        tuning_texts(task, TUNING), task.n_classes, encoder, replace(TUNING, epochs=6)
    )
    assert losses[-1] < 0.9 * losses[0]
    before, after = encoder.model.state_dict(), model.state_dict()
    moved = {k for k in after if not np.array_equal(before[k].numpy(), after[k].numpy())}
    assert moved
    assert all(".layer.1." in key for key in moved)


def test_an_expert_is_kept_and_is_an_encoder(encoder, tmp_store):
    task = load_task(SENTIMENT)
    one = expert_to_store(task, encoder, TUNING, corpus="x", store=tmp_store)
    again = expert_to_store(task, encoder, TUNING, corpus="x", store=tmp_store)
    assert one.encoder.folder == again.encoder.folder
    assert one.encoder.fingerprint != encoder.fingerprint
    assert (one.n_texts, len(one.losses)) == (60, 2)
    model, _ = tune(tuning_texts(task, TUNING), task.n_classes, encoder, TUNING)
    kept = one.encoder.model.state_dict()
    for name, weight in model.state_dict().items():
        np.testing.assert_array_equal(weight.numpy(), kept[name].numpy())
    assert not list(one.encoder.folder.glob("*.bin"))


def test_experts_read_no_text_of_the_heads():
    task = load_task(SENTIMENT)
    head = draw_sample(task, n=32, draw=0, n_eval=1)
    own = tuning_texts(task, TUNING)
    assert list(head.train.texts) == [task.train.texts[k] for k in _order(task)[:32]]
    assert list(own.texts) == [task.train.texts[k] for k in _order(task)[32:92]]


def _order(task):
    from charkit.tasks import nested_order

    return nested_order(task.train.labels, seed=0, kind="classification")


def test_a_task_without_texts_or_classes_has_no_expert(encoder):
    task = load_task(SENTIMENT)
    with pytest.raises(DataError, match="after the first 500"):
        tuning_texts(task, replace(TUNING, skip=500))
    with pytest.raises(DataError, match="class labels"):
        tuning_texts(load_task("generated/similarity?n_train=100&n_eval=40"), TUNING)
    with pytest.raises(UsageError, match="rate"):
        replace(TUNING, rate=0.0)


# -- heads ---------------------------------------------------------------------------------


def test_an_outcome_is_what_heads_do(encoder, tmp_store):
    sample = draw_sample(load_task(SENTIMENT), n=48, draw=0, n_eval=50)
    reading = Reading((16, 48), (-1, 0), 32)
    found = outcome_to_store(sample, encoder, reading, store=tmp_store)
    assert found.right.shape == (2, 2, 50)
    assert found.errors.shape == (2, 2)
    again = outcome_to_store(sample, encoder, reading, store=tmp_store)
    np.testing.assert_array_equal(found.right, again.right)
    train = encode(encoder, sample.train, max_length=32)
    held_out = encode(encoder, sample.evaluation, max_length=32)
    alone = fit_outcome(sample, train, held_out, Reading((16,), (-1,), 32))
    np.testing.assert_array_equal(alone.right[0, 0], found.right[0, 0])
    evidence = log_evidence(train.layer(-1)[:16], sample.train.labels[:16])
    assert found.log_evidence[0, 0] == pytest.approx(evidence)
    assert 0 <= found.left_out.min() <= found.left_out.max() <= 1


def test_sizes_and_evaluation_are_checked(encoder, tmp_store):
    with pytest.raises(UsageError, match="rising sizes"):
        Reading((32, 16), (-1,), 32)
    sample = replace(load_task(SENTIMENT), evaluation=None)
    with pytest.raises(DataError, match="cannot be scored"):
        outcome_to_store(sample, encoder, Reading((16,), (-1,), 32), store=tmp_store)


# -- choices -------------------------------------------------------------------------------


def _board(errors, *, allowed=None, generic=None, halves=None, picked=None):
    errors = np.asarray(errors, float)
    return Board(
        n=16,
        layer=0,
        corpora=tuple(f"c{k}" for k in range(len(errors))),
        allowed=np.ones(errors.shape, bool) if allowed is None else np.asarray(allowed),
        errors=errors,
        halves=np.repeat(errors[:, :, None], 2, 2) if halves is None else halves,
        generic=np.full(len(errors), 0.3) if generic is None else generic,
        scores={},
        picked=picked or {},
    )


def test_ties_share_and_the_own_corpus_is_never_taken():
    errors = np.array([[0.1, 0.2, 0.4], [0.1, 0.2, 0.4]])
    score = np.array([[1.0, 1.0, 2.0], [0.0, 3.0, 3.0]])
    allowed = np.array([[True, True, True], [False, True, True]])
    np.testing.assert_allclose(pick(score, errors, allowed), [0.15, 0.3])


def test_average_elsewhere_sees_neither_the_task_nor_its_corpus():
    errors = np.array([[0.0, 0.5], [0.0, 0.5], [0.4, 0.2], [0.4, 0.2]])
    allowed = np.ones((4, 2), bool)
    found = average_elsewhere(errors, allowed, ["a", "a", "b", "c"])
    assert found[0].argmin() == 1  # on b and c the second is better
    assert found[2].argmin() == 0


def test_search_on_halves_is_scored_on_the_other_half():
    halves = np.array([[[0.1, 0.5], [0.2, 0.3]]])
    board = _board([[0.3, 0.25]], halves=halves)
    # the first half takes expert 0 (0.5 on the other), the second takes expert 1 (0.2)
    assert searched(board)[0] == pytest.approx(0.35)
    assert board.optimal[0] == 0.25


def test_increase_is_a_ratio_of_means_with_its_interval():
    optimal, chosen = np.array([0.1, 0.3, 0.2]), np.array([0.2, 0.3, 0.3])
    found = resampled_ratio(chosen - optimal, optimal, ["a", "b", "c"])
    assert found.mean == pytest.approx(0.2 / 0.6)
    assert 0 <= found.low < found.mean < found.high <= 1
    same = resampled_ratio(0.5 * optimal, optimal, ["a", "b", "c"])
    assert (same.low, same.high) == (pytest.approx(0.5), pytest.approx(0.5))


def test_rows_compare_with_the_generic_encoder_and_the_better_text_baseline():
    errors = np.array([[0.2, 0.4], [0.4, 0.2]])
    picked = {
        GENERIC: np.array([0.3, 0.3]),
        "nearest mean state of texts": np.array([0.4, 0.4]),
        "nearest mean state, centred": np.array([0.2, 0.4]),
        MODEL2VEC: np.array([0.2, 0.2]),
    }
    rows = {
        r["method"]: r for r in cost_rows(_board(errors, picked=picked), layer=2, probe="p", seed=0)
    }
    assert rows[MODEL2VEC]["increase"] == 0
    assert rows[MODEL2VEC]["versus_generic"] == pytest.approx(-0.5)
    assert rows[MODEL2VEC]["versus_text"] == pytest.approx(-0.5)
    assert rows[GENERIC]["increase"] == pytest.approx(0.5)


# -- the whole -----------------------------------------------------------------------------


def test_the_experiment_runs_and_a_second_run_makes_nothing(tiny_bert, tmp_store):
    settings = ExpertSettings(encoder=str(tiny_bert), device="cpu", **SMALL)
    found = experts.run(settings, Workspace(tmp_store))
    assert set(found.figures) == {"", "sizes", "matrix"}
    assert set(found.summary) == set(experts.ORDER)
    main = found.table[found.table["probe"] == experts.PROBE]
    assert set(main["n"]) == {16, 32}
    assert set(main["layer"]) == {1, 2}
    assert (main["increase_low"] <= main["increase"] + 1e-9).all()
    made = len(tmp_store.entries())
    gather(settings, Workspace(tmp_store))
    assert len(tmp_store.entries()) == made
    assert "4 experts were fine-tuned" in found.details


def test_settings_are_checked():
    with pytest.raises(UsageError, match="library_n"):
        ExpertSettings(library_n=77)
    with pytest.raises(UsageError, match="skip: expected 512 or more"):
        ExpertSettings(skip=100)
    with pytest.raises(UsageError, match="at least 3"):
        ExpertSettings(tasks=("a", "b"))
    with pytest.raises(UsageError, match="none of them among"):
        ExpertSettings(targets=("mr",))
