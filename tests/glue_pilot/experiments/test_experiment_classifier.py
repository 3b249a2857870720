"""Is a good classifier needed: stopped heads against the solver, and a run on generated tasks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from charkit.encoders import encode, load_encoder
from charkit.errors import DataError, UsageError
from charkit.fisher import FisherOptions, fisher_embedding
from charkit.heads.solver.softmax import fit_softmax
from charkit.tasks import load_task
from glue_pilot.experiments.base import Workspace
from glue_pilot.experiments.classifier import (
    CONVERGED,
    EXPERIMENT,
    MEASURES,
    SHUFFLED,
    STRONG,
    ClassifierSettings,
    finding,
    mean_table,
)
from glue_pilot.experiments.heads import embed_under, head_accuracy, stopped_heads

SENTIMENT, TOPIC = (
    "generated/sentiment?n_train=60&n_eval=40",
    "generated/topic?n_train=60&n_eval=40",
)
TINY = ClassifierSettings(
    tasks=(SENTIMENT, SENTIMENT + "&seed=1", TOPIC, TOPIC + "&seed=1"),
    n=16,
    steps=(0, 5),
    max_length=16,
    n_eval=40,
)


def sample(n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n_classes)
    labels = np.arange(60) % n_classes
    return rng.normal(size=(60, 5)) + 2 * np.eye(n_classes, 5)[labels] + 3, labels


@pytest.mark.parametrize("n_classes", [2, 3])
def test_descent_ends_at_the_solver_s_head(n_classes):
    import torch

    features, labels = sample(n_classes)
    solved = fit_softmax(
        features[None], labels, n_classes, strengths=(0.05,), tolerance=1e-9, dtype=torch.float64
    )
    heads = stopped_heads(features, labels, n_classes, strength=0.05, steps=(0, 2, 4000), seed=0)
    wanted = solved.weights[0].numpy()
    assert np.allclose(heads[4000].weights, wanted, atol=2e-3 * np.abs(wanted).max())
    gaps = [np.linalg.norm(heads[k].weights - wanted) for k in (0, 2, 4000)]
    assert gaps[0] > gaps[1] > gaps[2]
    scores = [head_accuracy(heads[k], features, labels) for k in (0, 4000)]
    assert scores[1] > 0.8 > scores[0]


@pytest.mark.parametrize("steps", [(), (-1,)])
def test_impossible_steps_are_refused(steps):
    with pytest.raises(UsageError, match="steps"):
        stopped_heads(*sample(2), 2, strength=0.1, steps=steps, seed=0)


def test_an_embedding_under_a_head_of_one_s_own_is_kept(tiny_bert, tmp_store):
    encoder, task = load_encoder(str(tiny_bert)), load_task(SENTIMENT)
    part, options = task.train.take(np.arange(12)), FisherOptions(max_length=16)
    states = encode(encoder, part, max_length=16).layer(2)
    head = stopped_heads(states, part.labels, 2, strength=0.1, steps=(3,), seed=0)[3]
    direct = fisher_embedding(encoder, part, head, options=options)
    for _ in range(2):
        kept = embed_under(
            head, part, encoder, head_layer=2, options=options, store=tmp_store, name="mine"
        )
        assert np.array_equal(kept.values, direct.values)
        assert kept.name == "mine"
    assert len(list(tmp_store.entries(["experiment_fisher"]))) == 1


@pytest.fixture(scope="module")
def found(tiny_bert, tmp_path_factory):
    from charkit.store.store import Store

    bench = Workspace(Store(tmp_path_factory.mktemp("classifier") / "store"))
    settings = replace(TINY, encoder=str(tiny_bert))
    first = EXPERIMENT.run(settings, bench)
    pd.testing.assert_frame_equal(first.table, EXPERIMENT.run(settings, bench).table)
    return first


def test_a_run_has_every_stage(found):
    assert list(dict.fromkeys(found.table["stage"])) == ["random", "5", CONVERGED, STRONG, SHUFFLED]
    assert len(found.table) == 5 * 4
    settled = found.table[found.table["stage"] == CONVERGED]
    assert (settled["moved"] == 0).all()
    assert (found.table.loc[found.table["stage"] != CONVERGED, "moved"] > 0).all()
    assert found.table[["known_again", "ndcg", "accuracy"]].stack().between(0, 1).all()
    assert list(found.figures) == ["", "stability"]


def made(again: float, ndcg: float) -> pd.DataFrame:
    """Three tasks; heads of shuffled labels as given, all others perfect."""
    rows = [
        {"stage": s, "task": t, "corpus": t, "accuracy": a, "moved": m, "known_again": k}
        | {"ndcg": d, "chance": 0.4}
        for s, a, m, k, d in (
            ("1", 0.6, 0.3, 1.0, 1.0),
            (CONVERGED, 0.8, 0.0, 1.0, 1.0),
            (SHUFFLED, 0.5, 0.9, again, ndcg),
        )
        for t in "xyz"
    ]
    return pd.DataFrame(rows)


def test_means_and_gaps():
    means = mean_table(made(0.5, 0.7)).set_index(["stage", "what"])
    assert set(means.index.get_level_values("what")) == {*MEASURES, "chance"}
    row = means.loc[(SHUFFLED, "known_again")]
    assert row[["mean", "gap", "gap_low", "gap_high"]].tolist() == [0.5, -0.5, -0.5, -0.5]


def test_the_finding_follows_the_table():
    answer, points, details = finding(mean_table(made(0.5, 0.7)), n=64, draws=2)
    assert "not shown to be needed: after 1 step" in answer
    assert answer.endswith("labels count.")
    assert "| shuffled labels | 0.50" in points
    assert "for all differences together): shuffled labels; better: none." in details
    assert "known again less well: shuffled labels." in details
    answer, _, details = finding(mean_table(made(1.0, 1.0)), n=64, draws=2)
    assert "that labels count is not shown" in answer
    assert "Under shuffled labels tasks are known again as well" in details
    assert "for all differences together): none; better: none." in details


def test_a_head_that_ranks_better_early_is_named():
    table = made(0.5, 0.7)
    table.loc[table["stage"] == CONVERGED, "ndcg"] = 0.8
    details = finding(mean_table(table), n=64, draws=2)[2]
    assert "better: 1 step." in details


@pytest.mark.parametrize("change", [{"draws": 1}, {"steps": ()}, {"steps": (-2,)}])
def test_bad_settings_are_refused(change, tmp_store):
    with pytest.raises(UsageError, match="expected"):
        EXPERIMENT.run(replace(TINY, **change), Workspace(tmp_store))


def test_small_tasks_are_refused(tiny_bert, tmp_store):
    settings = replace(TINY, encoder=str(tiny_bert), n=50)
    with pytest.raises(DataError, match="too small"):
        EXPERIMENT.run(settings, Workspace(tmp_store))
