"""How sensitive the embedding is: components that are known, and a run on generated tasks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from charkit.encoders import encode_to_store, load_encoder
from charkit.errors import DataError, UsageError
from charkit.fisher import FisherOptions
from charkit.tasks import load_task
from glue_pilot.experiments.base import Workspace
from glue_pilot.experiments.heads import rule_head
from glue_pilot.experiments.sensitivity import (
    EXPERIMENT,
    SAMPLE,
    SensitivitySettings,
    distance_table,
    finding,
    settings_of,
)
from glue_pilot.stats import shares_of, variance_parts

TINY = SensitivitySettings(
    tasks=tuple(
        f"generated/{name}?n_train=60&n_eval=40" for name in ("sentiment", "topic", "acceptability")
    ),
    n=16,
    samples=2,
    penalties=(1.0,),
    lengths=(8,),
    seeds=(1,),
    estimators=("exact", "empirical"),
    max_length=16,
    n_eval=40,
)


def table_of(task: float, level: float, rest: float, *, size: int = 4000) -> np.ndarray:
    """Vectors (6 tasks, 4 levels, size) with components of known size."""
    rng = np.random.default_rng(0)
    return (
        rng.normal(0, task, (6, 1, size))
        + rng.normal(0, level, (1, 4, size))
        + rng.normal(0, rest, (6, 4, size))
    )


def test_components_are_found_again():
    vectors = table_of(2.0, 1.0, 0.5).reshape(24, -1)
    found = variance_parts((vectors @ vectors.T / vectors.shape[1]).reshape(6, 4, 6, 4))
    assert found == pytest.approx((4.0, 1.0, 0.25), rel=0.05)


def test_shares_of_what_was_varied():
    moved = table_of(1.0, 0.0, 0.5)
    still = np.repeat(moved[:, :1], 3, axis=1)
    vectors = np.concatenate([moved, still], axis=1)
    shares = shares_of(vectors, {SAMPLE: [0, 1, 2, 3], "nothing": [0, 4, 5, 6]}, sample=SAMPLE)
    found = shares.set_index(["factor", "part"])
    assert found["share"].sum() == pytest.approx(1)
    assert found.loc[("task", "all"), "share"] == pytest.approx(0.8, abs=0.03)
    assert found.loc[(SAMPLE, "rest"), "share"] == pytest.approx(0.2, abs=0.03)
    assert found.loc[("nothing", "rest"), "share"] == pytest.approx(0, abs=1e-6)
    assert (found["low"] <= found["share"] + 1e-9).all()
    assert (found["share"] <= found["high"] + 1e-9).all()


def test_each_setting_differs_in_one_thing_from_the_base():
    base, *others = settings_of(TINY)
    assert base.factor == "base"
    for other in others:
        same = replace(other, factor=base.factor, level=base.level)
        changed = [k for k in ("draw", "penalty", "rule") if getattr(same, k) != getattr(base, k)]
        changed += [k for k, v in vars(same.options).items() if v != getattr(base.options, k)]
        assert len(changed) == 1, other
    assert len({(o.factor, o.level) for o in others}) == len(others) == 9


def test_class_means_put_texts_to_the_nearest_mean(tiny_bert, tmp_store):
    encoder, task = load_encoder(str(tiny_bert)), load_task(TINY.tasks[1])
    options = FisherOptions(max_length=16)
    states = encode_to_store(encoder, task.train, store=tmp_store, max_length=16)
    states = states.layer(2).astype(np.float64)
    codes = task.train.labels
    head = rule_head("class means", task, encoder, options, tmp_store)
    means = np.stack([states[codes == k].mean(0) for k in range(task.n_classes)])
    far = ((states[:, None] - means) ** 2).sum(2)
    within = ((states - means[codes]) ** 2).mean()
    wanted = np.log(np.bincount(codes) / len(codes)) - far / (2 * within)
    outputs = states @ head.weights.T + head.bias
    gap = outputs - wanted
    assert np.allclose(gap, gap[:, :1], atol=1e-6)


def test_least_squares_predicts_the_classes(tiny_bert, tmp_store):
    encoder, task = load_encoder(str(tiny_bert)), load_task(TINY.tasks[1])
    head = rule_head("least squares", task, encoder, FisherOptions(max_length=16), tmp_store)
    states = encode_to_store(encoder, task.train, store=tmp_store, max_length=16).layer(2)
    outputs = states @ head.weights.T + head.bias
    assert np.allclose(outputs.mean(0), np.bincount(task.train.labels) / len(states), atol=1e-3)
    shares = np.bincount(task.train.labels) / len(states)
    assert (outputs.argmax(1) == task.train.labels).mean() > shares.max() + 0.05


def test_a_setting_without_effect_moves_nothing():
    rng = np.random.default_rng(0)
    known = [k for k in Workspace(None).tasks(TINY.tasks)]
    numbers = rng.gamma(2.0, size=(3, 1, 50))
    numbers = np.concatenate([numbers, numbers, rng.gamma(2.0, size=(3, 1, 50))], axis=1)
    table = distance_table(numbers, settings_of(TINY)[:3], known)
    first, second = (t.set_index(["metric", "what"])["mean"] for _, t in table.groupby("factor"))
    for metric in ("log_ratio", "cosine"):
        moved, still = sorted((first, second), key=lambda t: -t[metric, "ratio"])
        assert still[metric, "ratio"] == pytest.approx(0, abs=1e-12)
        assert still[metric, "nearer"] == 0
        assert still[metric, "agreement"] == pytest.approx(1)
        assert moved[metric, "ratio"] > 0.5


@pytest.fixture(scope="module")
def found(tiny_bert, tmp_path_factory):
    from charkit.store.store import Store

    bench = Workspace(Store(tmp_path_factory.mktemp("sensitivity") / "store"))
    settings = replace(TINY, encoder=str(tiny_bert))
    first = EXPERIMENT.run(settings, bench)
    pd.testing.assert_frame_equal(first.table, EXPERIMENT.run(settings, bench).table)
    return first


def test_a_run_has_every_factor(found):
    shares = found.table[found.table["what"] == "share"]
    assert shares["mean"].sum() == pytest.approx(1)
    assert set(shares["factor"]) == {
        "task", "sample", "L2 strength", "learning rule", "pooling", "maximum length",
        "sketch seed", "estimator",
    }  # fmt: skip
    assert list(found.figures) == ["", "distances"]
    assert f"tasks hold {found.summary['share_task']:.0%}" in found.text


@pytest.mark.parametrize(
    ("task", "claim"),
    [
        (0.7, "Tasks differ more than any one hyper-parameter moves them"),
        (0.3, "It is not shown that tasks differ more than any one hyper-parameter moves them"),
        (0.38, "It is not shown that tasks differ more than any one hyper-parameter moves them"),
        (0.1, "The pooling moves embeddings more than tasks differ"),
    ],
)
def test_the_finding_follows_the_table(task, claim):
    shares = [("task", "all", task), (SAMPLE, "rest", 0.1), ("pooling", "rest", 0.3)]
    shares += [("pooling", "shift", 0.2), ("sketch seed", "rest", 0.0)]
    shares += [(SAMPLE, "shift", 0.0), ("sketch seed", "shift", 0.0)]
    rows = [
        {"factor": f, "level": part, "metric": "variance", "what": "share", "mean": v}
        for f, part, v in shares
    ]
    rows += [
        {"factor": f, "level": "1", "metric": metric, "what": what, "mean": v}
        for f, v in (("pooling", 0.5), ("sketch seed", 0.0))
        for metric in ("log_ratio", "cosine")
        for what in ("nearer", "agreement")
    ]
    table = pd.DataFrame(rows)
    answer, points, details = finding(
        table.assign(low=table["mean"] - 0.05, high=table["mean"] + 0.05), n=16, tasks=3
    )
    assert claim in answer
    assert "| pooling | 30% (25% to 35%) | 20% (15% to 25%) |" in points
    assert "more than it, by intervals: pooling." in details
    assert "under another setting in 25% of all cases" in details


@pytest.mark.parametrize(
    "change", [{"samples": 1}, {"rules": ("guess",)}, {"tasks": TINY.tasks[:2]}]
)
def test_bad_settings_are_refused(change, tmp_store):
    with pytest.raises(UsageError, match="expected"):
        EXPERIMENT.run(replace(TINY, **change), Workspace(tmp_store))


def test_small_tasks_are_refused(tiny_bert, tmp_store):
    settings = replace(TINY, encoder=str(tiny_bert), n=50)
    with pytest.raises(DataError, match="too small"):
        EXPERIMENT.run(settings, Workspace(tmp_store))
