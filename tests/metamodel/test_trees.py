import lightgbm
import numpy as np
import pandas as pd
import pytest

from metamodel.model import Settings, fit_mixture, mixture_from_texts
from metamodel.trees import read_trees


@pytest.fixture(scope="module")
def fitted():
    """Ensembles of trees with gaps and zeros among what they learned, read and as LightGBM's."""
    rng = np.random.default_rng(0)
    found = []
    for objective in ("huber", "regression"):
        rows = pd.DataFrame(rng.normal(size=(4_000, 28)), columns=[f"f{k}" for k in range(28)])
        rows = rows.mask(rng.random(rows.shape) < 0.1).mask(rng.random(rows.shape) < 0.1, 0.0)
        known = rows.fillna(1.0)
        target = np.sin(known["f0"]) + known["f1"] * known["f2"] + 0.1 * rng.normal(size=4_000)
        settings = Settings(share_ridge=0.0, n_rounds=100, num_leaves=11, objective=objective)
        mixture = fit_mixture(
            rows, target.to_numpy(), np.ones(len(rows)), settings, names=list(rows.columns)
        )
        found.append(mixture_from_texts(mixture.to_texts()).trees)
    return [(trees, lightgbm.Booster(model_str=trees.text)) for trees in found]


def hard_rows(trees, n):
    """Rows with unknown values, zeros, numbers near zero, and values on the thresholds."""
    rng = np.random.default_rng(0)
    shape = (n, len(trees.names))
    found = rng.normal(size=shape) * rng.choice([1e-3, 1.0, 10.0], size=shape)
    found[rng.random(shape) < 0.2] = np.nan
    found[rng.random(shape) < 0.05] = 0.0
    near = rng.random(shape) < 0.05
    found[near] = rng.choice([1e-36, -1e-36, 1e-34, -1e-34], size=int(near.sum()))
    feature = np.concatenate([t.feature for t in trees.trees])
    threshold = np.concatenate([t.threshold for t in trees.trees])
    for row in found:
        some = rng.integers(len(feature), size=20)
        row[feature[some]] = threshold[some]
    return found


def test_predictions_are_those_of_lightgbm_to_the_last_bit(fitted):
    for trees, booster in fitted:
        rows = hard_rows(trees, 3_000)
        expected = booster.predict(rows, num_threads=1)
        assert expected.std() > 0
        assert np.array_equal(trees.predict(rows), expected)


def test_contributions_are_those_of_lightgbm_within_rounding(fitted):
    for trees, booster in fitted:
        rows = hard_rows(trees, 10)
        expected = booster.predict(rows, pred_contrib=True)
        found = trees.predict(rows, pred_contrib=True)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
        np.testing.assert_allclose(found.sum(1), trees.predict(rows), rtol=0, atol=1e-12)


def test_the_text_is_kept(fitted):
    for trees, booster in fitted:
        assert read_trees(trees.model_to_string()).feature_name() == booster.feature_name()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_tree_per_iteration=1", "num_tree_per_iteration=3", "one tree a round"),
        ("num_cat=0", "num_cat=1", "got categories or lines"),
        ("feature_names=", "other=", "expected a line 'feature_names'"),
    ],
)
def test_other_trees_are_refused(fitted, old, new, message):
    text = fitted[0][0].text
    assert old in text
    with pytest.raises(ValueError, match=message):
        read_trees(text.replace(old, new))
