"""Clusters of tasks: scores against what is known, the experiment on generated tasks."""

from __future__ import annotations

import numpy as np
import pytest

from charkit.errors import UnknownNameError, UsageError
from charkit.store.store import Store
from glue_pilot.experiments.base import Workspace
from glue_pilot.experiments.clusters import EXPERIMENT, ClusterSettings
from glue_pilot.experiments.parts.clusters_agreement import (
    adjusted_rand,
    agreement,
    by_chance,
    cut,
    draw_fives,
    fives_by_chance,
    joins_first,
    purity,
)
from glue_pilot.stats import jackknife

GROUPS = ["a"] * 4 + ["b"] * 3 + ["c"] * 3
SOURCE = "generated/{}?n_train=60&n_eval=40&difficulty=0&seed={}"


def _blocks(groups=GROUPS, noise=0.0, seed=0):
    words = np.array(groups)
    rng = np.random.default_rng(seed)
    table = np.where(words[:, None] == words, 1.0, 3.0) + noise * rng.random((len(words),) * 2)
    table = (table + table.T) / 2
    np.fill_diagonal(table, 0)
    return table


def test_scores_agree_with_scikit_learn():
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(0)
    for _ in range(20):
        clusters, groups = rng.integers(0, 3, 12), rng.choice(list("abcd"), 12).tolist()
        expected = adjusted_rand_score(groups, clusters)
        assert adjusted_rand(clusters, groups) == pytest.approx(expected)


def test_blocks_are_found_again_and_noise_is_chance():
    found = agreement(_blocks(noise=0.5), GROUPS)
    assert found == {"ari": 1.0, "purity": 1.0, "separation": 1.0}
    rng = np.random.default_rng(1)
    flat = [agreement(_noise(rng), GROUPS)["separation"] for _ in range(50)]
    assert np.mean(flat) == pytest.approx(0.5, abs=0.05)
    swapped = by_chance(_blocks(), GROUPS, n_permuted=200)
    assert swapped["ari"].mean() == pytest.approx(0, abs=0.05)
    assert 0.4 < swapped["purity"].mean() < 0.8  # purity by chance is far from zero


def _noise(rng):
    table = rng.random((len(GROUPS),) * 2)
    return (table + table.T) / 2


def test_one_cluster_is_as_pure_as_its_largest_group():
    assert purity(np.ones(10, np.int64), GROUPS) == 0.4
    assert len(set(cut(_blocks(), 3).tolist())) == 3


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.default_rng(2).normal(0, 0.1, 200)
    found = jackknife(lambda kept: float(values[kept].mean()), 200, n_resamples=400)
    expected = 1.645 * values.std() / 200**0.5
    assert found.high - found.mean == pytest.approx(expected, rel=0.15)


def test_three_alike_join_before_two_others():
    words = ["a", "a", "a", "b", "c"]
    assert joins_first(_blocks(words))
    assert not joins_first(_blocks(["a", "b", "c", "a", "b"]))
    assert fives_by_chance(_noise(np.random.default_rng(3)), n_draws=300) < 0.3


def test_fives_have_three_of_a_group_and_two_of_others():
    domains = ["x", "y", "z", "x", "u", "v", "w", "x", "p", "q"]
    fives = draw_fives(GROUPS, domains, most=5)
    assert len(fives)
    for five in fives:
        words = [GROUPS[k] for k in five]
        assert len(set(words[:3])) == 1
        assert not {words[3], words[4]} & {words[0]}
        assert words[3] != words[4]
        assert not {domains[k] for k in five[:3]} & {domains[k] for k in five[3:]}


def test_generated_tasks_of_one_grammar_come_out_together(tiny_bert, tmp_path):
    kinds = {"sentiment": 3, "topic": 2, "acceptability": 2}
    sources = [SOURCE.format(kind, seed) for kind, n in kinds.items() for seed in range(1, n + 1)]
    settings = ClusterSettings(
        encoder=str(tiny_bert),
        tasks=tuple(sources),
        similar=tuple(sources[:3]),
        dissimilar=(sources[3], sources[5]),
        n=24,
        all_heads_up_to=0,
        max_length=16,
        n_eval=20,
        n_permuted=20,
        n_resamples=10,
    )
    found = EXPERIMENT.run(settings, Workspace(Store(tmp_path)))
    assert set(found.table["grouping"]) == {"label", "domain"}
    assert found.summary["ari_label_text"] == 1  # a text embedding knows a grammar again
    assert "| adjusted Rand |" in found.text
    assert {"", "tree", "matrix_text", "map", "tsne", "tsne_text"} <= set(found.figures)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"similar": ("a", "b")}, UsageError, "expected 3 and 2 names"),
        ({"n": 0}, UsageError, "sizes of samples are out of range"),
        ({"similar": ("a", "b", "c")}, UnknownNameError, "task of the example"),
    ],
)
def test_wrong_settings_are_refused(tiny_bert, tmp_path, changes, error, message):
    sources = tuple(SOURCE.format("sentiment", seed) for seed in (1, 2, 3))
    given = {"tasks": sources, "similar": sources, "dissimilar": sources[:2], "n": 24}
    given |= {"encoder": str(tiny_bert), "max_length": 16, "all_heads_up_to": 0} | changes
    with pytest.raises(error, match=message):
        EXPERIMENT.run(ClusterSettings(**given), Workspace(Store(tmp_path)))
