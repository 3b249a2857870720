import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from metamodel.model import Settings, anchor_of, fit_mixture, mixture_from_texts

SMALL = Settings(n_rounds=60, min_rows=20, penalty=10.0)


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(600, 4)), columns=["a", "b", "log_n0", "log_ratio"])
    table["log_n0"] = rng.choice([5.0, 6.0, 7.0], 600)
    table["never"] = np.nan
    target = 0.1 * table["a"] + 0.1 * (table["b"] > 0) + rng.normal(0, 0.02, 600)
    return table, target.to_numpy()


def fitted(sample, share, **more):
    table, target = sample
    settings = replace(SMALL, share_ridge=share, **more)
    return fit_mixture(table, target, np.ones(len(table)), settings, names=list(table))


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_parts_and_level_make_the_prediction(sample, share):
    model = fitted(sample, share)
    parts = model.parts(sample[0])
    assert list(parts) == [*model.names, "level"]
    assert parts.sum(axis=1).to_numpy() == pytest.approx(model.predict(sample[0]), abs=1e-9)


def test_the_share_mixes_two_models(sample):
    alone, trees, both = (fitted(sample, share) for share in (1.0, 0.0, 0.6))
    table = sample[0]
    assert alone.trees is None
    assert alone.predict(table) == pytest.approx(alone.ridge.predict(table))
    assert trees.predict(table) == pytest.approx(trees.tree_values(table))
    mixed = 0.6 * alone.predict(table) + 0.4 * trees.predict(table)
    assert both.predict(table) == pytest.approx(mixed)


def test_the_anchor_has_a_weight_of_its_own_on_few_classes(sample):
    table = sample[0].assign(law=0.5, log_classes=np.log2(9))
    model = fit_mixture(
        table,
        sample[1],
        np.ones(len(table)),
        replace(SMALL, share_ridge=0.6, anchor="law", anchor_share=0.3),
        names=["a", "b", "log_n0", "log_ratio"],
    )
    plain = replace(model, settings=replace(model.settings, anchor_share=0.0))
    whole = plain.predict(table)
    large = (table["log_n0"] >= 6).to_numpy()
    assert model.predict(table) == pytest.approx(np.where(large, 0.7, 1.0) * whole)
    parts = model.parts(table).sum(axis=1).to_numpy()
    assert parts == pytest.approx(model.predict(table), abs=1e-9)
    for other in (table.assign(log_classes=np.log2(10)), table.assign(law=np.nan)):
        assert model.predict(other) == pytest.approx(plain.predict(other))


def test_both_find_what_is_there(sample):
    for share in (0.0, 0.6, 1.0):
        off = np.abs(fitted(sample, share).predict(sample[0]) - sample[1]).mean()
        assert off < 0.5 * np.abs(sample[1] - sample[1].mean()).mean()


def test_features_never_known_are_left_out(sample):
    model = fitted(sample, 0.5)
    assert model.names == ("a", "b", "log_n0", "log_ratio")
    assert "never" not in model.trees.feature_name()


def test_rising_trees_never_fall_in_the_number_of_labels(sample):
    model = fitted(sample, 0.0, rising=True)
    row = sample[0].head(1)
    grid = pd.concat([row] * 50, ignore_index=True).assign(log_ratio=np.linspace(-3, 3, 50))
    assert (np.diff(model.predict(grid)) >= 0).all()


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_texts_give_the_same_model_to_the_bit(sample, share):
    model = fitted(sample, share)
    texts = model.to_texts()
    assert set(texts) == ({"json", "trees"} if share < 1 else {"json"})
    again = mixture_from_texts(texts)
    assert again.settings == model.settings
    assert (again.predict(sample[0]) == model.predict(sample[0])).all()
    assert again.to_texts()["json"] == texts["json"]


@pytest.mark.parametrize("damage", [{"ridge": {}}, {"settings": {"colour": 1}}])
def test_other_texts_are_refused(sample, damage):
    facts = json.loads(fitted(sample, 1.0).to_texts()["json"]) | damage
    with pytest.raises(ValueError, match="no model: expected the fields of one"):
        mixture_from_texts({"json": json.dumps(facts)})
    with pytest.raises(ValueError, match="no model"):
        mixture_from_texts({})


def test_the_same_seed_gives_the_same_trees(sample):
    assert fitted(sample, 0.0).to_texts() == fitted(sample, 0.0).to_texts()


def test_the_anchor_falls_back_from_curves_to_the_sample_to_chance():
    table = pd.DataFrame(
        {
            "median3": [0.4, np.nan, np.nan, np.nan, 1.5],
            "spectral": [0.6, 0.5, np.nan, np.nan, 0.7],
            "oof": [0.3, 0.3, 0.2, np.nan, 0.3],
        }
    )
    assert anchor_of(table, "both") == pytest.approx([0.5, 0.5, 0.2, 0.0, 1.0])
    assert anchor_of(table, "median3") == pytest.approx([0.4, 0.3, 0.2, 0.0, 1.0])
    assert anchor_of(table, "spectral") == pytest.approx([0.6, 0.5, 0.2, 0.0, 0.7])
    assert anchor_of(table, "oof") == pytest.approx([0.3, 0.3, 0.2, 0.0, 0.3])
    assert anchor_of(table, "chance") == pytest.approx(np.zeros(5))
