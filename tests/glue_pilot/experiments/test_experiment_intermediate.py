"""Rankings of intermediate tasks: measures against brute force, and the whole run."""

from itertools import permutations

import numpy as np
import pytest

from glue_pilot.experiments import intermediate
from glue_pilot.experiments.base import Workspace
from glue_pilot.experiments.intermediate import MEASURES, rank_scores
from glue_pilot.experiments.parts.experts_gather import ExpertSettings

ACCURACY = np.array([0.7, 0.5, 0.9, 0.6])


def test_the_perfect_ranking_scores_best():
    found = rank_scores(-ACCURACY, ACCURACY)
    assert found == {"ndcg": pytest.approx(1), "rank_of_best": 1, "regret_1": 0, "regret_3": 0}


def test_a_ranking_by_hand():
    found = rank_scores(np.array([1.0, 2.0, 3.0, 4.0]), ACCURACY)
    relevance = [0.5, 0.0, 1.0, 0.25]
    gained = sum(r / np.log2(k + 2) for k, r in enumerate(relevance))
    ideal = sum(r / np.log2(k + 2) for k, r in enumerate(sorted(relevance, reverse=True)))
    assert found["ndcg"] == pytest.approx(gained / ideal)
    assert found["rank_of_best"] == 3
    assert found["regret_1"] == pytest.approx(0.2 / 0.9)
    assert found["regret_3"] == 0


@pytest.mark.parametrize("score", [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 2, 2]])
def test_ties_are_the_mean_over_their_orders(score):
    accuracy = np.array([0.5, 0.8, 0.7, 0.2, 0.3])
    found = rank_scores(np.array(score, float), accuracy)
    orders = [
        rank_scores(np.array(score) + 0.01 * np.array(p), accuracy) for p in permutations(range(5))
    ]
    for measure in MEASURES:
        assert found[measure] == pytest.approx(np.mean([one[measure] for one in orders]))


def test_where_all_are_equal_every_order_is_perfect():
    found = rank_scores(np.arange(3.0), np.full(3, 0.4))
    assert (found["ndcg"], found["regret_1"]) == (pytest.approx(1), 0)


def test_the_experiment_runs(tiny_bert, tmp_store):
    names = ("sentiment", "topic", "acceptability", "paraphrase")
    settings = ExpertSettings(
        encoder=str(tiny_bert),
        device="cpu",
        tasks=tuple(f"generated/{name}?n_train=110&n_eval=40&seed=1" for name in names),
        targets=("generated/entailment?n_train=110&n_eval=40&seed=1",),
        skip=32,
        n_tune=32,
        epochs=1,
        batch=16,
        frozen=0,
        sizes=(16, 32),
        library_n=32,
        n=16,
        n_eval=40,
        max_length=32,
        other_layer=1,
    )
    found = intermediate.run(settings, Workspace(tmp_store))
    assert set(found.table["method"]) == set(intermediate.ORDER)
    assert set(found.table["n_targets"]) == {5}
    assert set(found.figures) == {"", "regret"}
    assert found.table["ndcg"].between(0, 1 + 1e-9).all()
    assert (found.table["regret_3"] <= found.table["regret_1"] + 1e-9).all()
    assert "4 intermediate tasks were ranked for 5 targets" in found.details
