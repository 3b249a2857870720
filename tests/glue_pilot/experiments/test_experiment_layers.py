"""Which layer carries the information: oracles of each part, and a run on generated tasks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from charkit.errors import DataError, UsageError
from charkit.fisher import TaskEmbedding
from charkit.fisher.layout import Slice
from charkit.tasks import load_task
from glue_pilot.experiments.base import Workspace, share_texts, siblings
from glue_pilot.experiments.layers import EXPERIMENT, LayersSettings, finding
from glue_pilot.experiments.parts.layers_gaps import (
    ELSEWHERE,
    MIXES,
    SINGLE,
    compare_mixes,
    gap_table,
    mix_table,
    regret_table,
    triple_measures,
    triples,
)
from glue_pilot.samples import KnownTask

SENTIMENT, TOPIC = (
    "generated/sentiment?n_train=80&n_eval=40",
    "generated/topic?n_train=80&n_eval=40",
)
TINY = LayersSettings(
    tasks=(SENTIMENT, SENTIMENT + "&seed=1", TOPIC, TOPIC + "&seed=1"),
    n=16,
    draws=2,
    outcomes="swept",
    sweep_sizes=(16, 32),
    sweep_seeds=(0, 1),
    mixed=(SENTIMENT, TOPIC),
    mixed_sizes=(16, 32),
    mixed_draws=1,
    pool=80,
    max_length=16,
    n_eval=40,
)


def known(corpus: str, kind: str) -> KnownTask:
    return KnownTask(load_task(SENTIMENT), corpus, "", kind)


def test_siblings_share_a_kind_of_label_and_no_texts():
    tasks = [known("films", "sentiment"), known("films", "sentiment"), known("shops", "sentiment")]
    tasks += [known("films", "topic"), known("news", "topic")]
    assert share_texts(tasks)[0].tolist() == [True, True, False, True, False]
    assert siblings(tasks)[0].tolist() == [False, False, True, False, False]
    # the topics of films share texts with both films, so news alone is foreign to films and shops
    assert triples(tasks).tolist() == [[0, 2, 4], [1, 2, 4], [3, 4, 2]]


def test_generated_tasks_of_one_corpus_are_siblings():
    tasks = [known("generated_sentiment", ""), known("generated_sentiment", "")]
    tasks.append(known("generated_topic", ""))
    assert triples(tasks).tolist() == [[0, 1, 2]]


def test_measures_of_triples():
    uniform, clear = np.ones((3, 3)), np.array([[0.0, 1, 4], [1, 0, 4], [4, 4, 0]])
    places = np.array([[0, 1, 2]])
    assert {k: v[0] for k, v in triple_measures(uniform, places).items()} == {
        "gap": 0, "spread": 0, "ordered": 0,
    }  # fmt: skip
    found = triple_measures(clear, places)
    assert found["gap"][0] == pytest.approx(3 / 3)
    assert found["spread"][0] == pytest.approx(np.std([1, 4, 4]) / 3)
    assert found["ordered"][0] == 1


def outcomes(scores: np.ndarray, n: int = 64) -> pd.DataFrame:
    """A table of scores (tasks, draws, layers), each task a corpus of its own."""
    index = pd.MultiIndex.from_product(map(range, scores.shape), names=["task", "seed", "layer"])
    table = pd.Series(scores.ravel(), index=index, name="score").reset_index()
    names = "task " + table["task"].astype(str)
    return table.assign(task=names, corpus=names, subset="all", control="none", n_train=n)


def test_regret_of_layers_whose_scores_are_known():
    truth = np.array([0.5, 0.8, 0.7])
    scores = np.broadcast_to(truth, (5, 3, 3))
    table = regret_table(outcomes(scores)).set_index("rule")
    assert table.loc["layer 2", "regret"] == pytest.approx(0.1)
    assert table.loc["layer 0", "regret"] == pytest.approx(0.3)
    assert table.loc["layer 1", "best"] == 1
    assert table.loc[ELSEWHERE, "regret"] == pytest.approx(0)


def test_luck_alone_costs_nothing():
    scores = np.random.default_rng(0).normal(0.5, 0.1, (400, 5, 6))
    table = regret_table(outcomes(scores))
    layers = table[table["layer"] >= 0]
    assert layers["regret"].abs().max() < 0.015
    assert layers["best"].sum() == pytest.approx(1)


def test_outcomes_of_one_draw_are_refused():
    with pytest.raises(DataError, match="two draws"):
        regret_table(outcomes(np.zeros((5, 1, 3))))


def test_concatenation_reads_what_no_layer_has_alone():
    """The class is the sign of a + b; one layer has a, one has b, one is noise."""
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(2, 900))
    labels = (hidden.sum(0) > 0).astype(np.int64)
    states = rng.normal(0, 0.3, (3, 900, 4)).astype(np.float32)
    states[1, :, 0] += hidden[0]
    states[2, :, 1] += hidden[1]
    rows = compare_mixes(states[:, :300], labels[:300], 2, states[:, 300:], labels[300:])
    found = {row["method"]: row for row in rows}
    assert found[SINGLE]["layers"] in (1, 2)
    assert 0.65 < found[SINGLE]["accuracy"] < 0.85
    for mix in ("learned mix", "concatenation"):
        assert found[mix]["accuracy"] > found[SINGLE]["accuracy"] + 0.08


def test_gains_are_against_the_single_layer():
    rows = [
        {"task": t, "corpus": t, "n": 64, "draw": 0, "method": m, "accuracy": a}
        for t in "xyz"
        for m, a in zip((SINGLE, "last layer", *MIXES), (0.5, 0.4, 0.5, 0.6, 0.7), strict=True)
    ]
    table = mix_table(pd.DataFrame(rows)).set_index("method")
    assert table.loc["concatenation", ["gain", "low", "high"]].tolist() == pytest.approx([0.2] * 3)


@pytest.fixture(scope="module")
def found(tiny_bert, tmp_path_factory):
    from charkit.store.store import Store

    bench = Workspace(Store(tmp_path_factory.mktemp("layers") / "store"))
    settings = replace(TINY, encoder=str(tiny_bert))
    first = EXPERIMENT.run(settings, bench)
    pd.testing.assert_frame_equal(first.table, EXPERIMENT.run(settings, bench).table)
    return first


def test_a_run_has_all_three_parts(found):
    assert set(found.table["part"]) == {"distances", "heads", "mixes"}
    assert list(found.figures) == ["", "distances", "cache", "mixes"]
    for word in ("Cost of a layer", "Gain of a mix", "Gap:", "| n = 32 |"):
        assert word in found.points
    assert np.isfinite(list(found.summary.values())).all()
    combinations = found.table[found.table["part"] == "distances"]
    assert set(zip(combinations["cache_layer"], combinations["head_layer"], strict=True)) == {
        (0, 1), (0, 2), (1, 2),
    }  # fmt: skip


@pytest.mark.parametrize(("sign", "claim"), [(1, "is more uniform from"), (-1, "LESS uniform")])
def test_the_finding_follows_the_table(sign, claim):
    rows = []
    for cache, head, value in ((0, 1, 0.5), (1, 2, 0.5 + sign * 0.3), (0, 2, 0.5)):
        for metric in ("log_ratio", "cosine"):
            for measure in ("gap", "spread", "ordered"):
                drawn = value + np.linspace(-0.01, 0.01, 50) * head
                rows.append(
                    {"cache_layer": cache, "head_layer": head, "metric": metric}
                    | {"measure": measure, "value": value, "low": value, "high": value}
                    | {"resampled": drawn, "triples": 9, "corpora": 9}
                )
    scores = np.broadcast_to([0.5, 0.8, 0.7], (5, 3, 3))
    mixes = mix_table(
        pd.DataFrame(
            {"task": t, "corpus": t, "n": 64, "draw": 0, "method": m, "accuracy": 0.5}
            for t in "xyz"
            for m in (SINGLE, "last layer", *MIXES)
        )
    )
    answer, points, details = finding(
        pd.DataFrame(rows), regret_table(outcomes(scores)), mixes, last=2
    )
    assert claim in details
    assert "the last layer costs 10.0 points" in answer
    assert "| layer 2 | +10.0" in points
    assert "picked among 3" in details
    assert "better at" not in details


@pytest.mark.parametrize("change", [{"outcomes": "guessed"}, {"draws": 0}, {"mixed_draws": 0}])
def test_bad_settings_are_refused(change, tmp_store):
    with pytest.raises(UsageError, match="expected"):
        EXPERIMENT.run(replace(TINY, **change), Workspace(tmp_store))


def test_tasks_without_siblings_are_refused(tiny_bert, tmp_store):
    settings = replace(TINY, encoder=str(tiny_bert), tasks=(SENTIMENT, TOPIC), draws=1)
    with pytest.raises(DataError, match="no tasks to compare"):
        EXPERIMENT.run(settings, Workspace(tmp_store))


def embedding(values: np.ndarray) -> TaskEmbedding:
    slices = (Slice(1, "query", 0, 4), Slice(2, "query", 4, 8))
    return TaskEmbedding(
        values=values, standard_error=np.zeros(8), slices=slices, name="", encoder="tiny",
        encoder_fingerprint="f", head_layer=2, head_fingerprint="", pooling="mean", max_length=64,
        dtype="float32", kind="classification", n_classes=2, estimand="fisher",
        estimator="exact", n_draws=1, seed=0, n_samples=10, frac_truncated=0.0,
        text_fingerprint="",
    )  # fmt: skip


def test_a_task_may_be_too_small_for_a_second_draw():
    rng = np.random.default_rng(0)
    tasks = [known(c, "sentiment") for c in "abc"] + [known(c, "topic") for c in "de"]
    middles = rng.gamma(2, 1, (2, 8))[[0, 0, 0, 1, 1]]
    whole, smaller = (
        [(tasks[k], {2: embedding(middles[k] * rng.uniform(0.5, 1.5, 8))}) for k in kept]
        for kept in (range(5), (0, 1, 3, 4))
    )
    table = gap_table([whole, smaller])
    assert (table["triples"] == 9).all()
    alone = gap_table([whole])
    assert (alone["low"] < alone["value"]).any()
    unsure = table[table["measure"] != "ordered"]
    assert unsure[["value", "low", "high"]].notna().all(axis=None)
    both = (alone["value"] + gap_table([smaller])["value"]) / 2
    assert table["value"].to_numpy() == pytest.approx(both.to_numpy())
