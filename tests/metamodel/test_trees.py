import lightgbm
import numpy as np
import pytest

from metamodel.predict import load_shipped
from metamodel.trees import read_trees


@pytest.fixture(scope="module")
def shipped():
    """Every ensemble of trees of the shipped metamodel, as read and as LightGBM has it."""
    model = load_shipped()
    found = [
        getattr(model, name).mixture.trees for name in ("labelled", "unlabelled", "evaluation")
    ]
    trees = [t for t in found if t is not None]
    assert trees
    return [(t, lightgbm.Booster(model_str=t.text)) for t in trees]


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


def test_predictions_are_those_of_lightgbm_to_the_last_bit(shipped):
    for trees, booster in shipped:
        rows = hard_rows(trees, 3_000)
        expected = booster.predict(rows, num_threads=1)
        assert expected.std() > 0
        assert np.array_equal(trees.predict(rows), expected)


def test_contributions_are_those_of_lightgbm_within_rounding(shipped):
    for trees, booster in shipped:
        rows = hard_rows(trees, 10)
        expected = booster.predict(rows, pred_contrib=True)
        found = trees.predict(rows, pred_contrib=True)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
        np.testing.assert_allclose(found.sum(1), trees.predict(rows), rtol=0, atol=1e-12)


def test_the_text_is_kept(shipped):
    for trees, booster in shipped:
        assert read_trees(trees.model_to_string()).feature_name() == booster.feature_name()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_tree_per_iteration=1", "num_tree_per_iteration=3", "one tree a round"),
        ("num_cat=0", "num_cat=1", "got categories or lines"),
        ("feature_names=", "other=", "expected a line 'feature_names'"),
    ],
)
def test_other_trees_are_refused(shipped, old, new, message):
    text = shipped[0][0].text
    assert old in text
    with pytest.raises(ValueError, match=message):
        read_trees(text.replace(old, new))
