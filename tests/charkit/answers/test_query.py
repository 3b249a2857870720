import numpy as np
import pytest

from charkit.answers.labelling.strategies import BY_HEAD, STRATEGIES, choose_rows
from charkit.errors import DataError, MissingError, UnknownNameError
from charkit.heads.solver.softmax import fit_softmax


@pytest.fixture(scope="module")
def clouds():
    """Three clouds on a sphere, 12 labelled rows and a pool of 90."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 8)) * 3
    codes = np.arange(102) % 3
    features = (centres[codes] + rng.normal(size=(102, 8))).astype(np.float32)
    return features[:12], codes[:12], features[12:], codes[12:]


def choose(clouds, strategy, *, n=7, seed=0):
    labelled, codes, pool, _ = clouds
    return choose_rows(labelled, codes, pool, n=n, strategy=strategy, n_classes=3, seed=seed)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_rows_are_legal_distinct_and_the_same_for_the_same_seed(clouds, strategy):
    first, again = choose(clouds, strategy), choose(clouds, strategy)
    assert len(set(first[0].tolist())) == 7
    assert first[0].min() >= 0
    assert first[0].max() < 90
    assert np.array_equal(first[0], again[0])
    assert first[1].shape == (7,)
    assert np.isnan(first[1]).all() == (strategy == "random")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_more_than_the_pool_is_all_of_it(clouds, strategy):
    labelled, codes, pool, _ = clouds
    few = choose_rows(labelled, codes, pool[:5], n=50, strategy=strategy, n_classes=3)
    assert sorted(few[0].tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s not in BY_HEAD])
def test_no_label_is_needed(clouds, strategy):
    pool = clouds[2]
    nothing = np.zeros((0, pool.shape[1]), np.float32)
    found = choose_rows(nothing, np.zeros(0, np.int64), pool, n=4, strategy=strategy, n_classes=3)
    assert len(set(found[0].tolist())) == 4


def test_other_seeds_choose_other_rows_by_chance(clouds):
    assert not np.array_equal(choose(clouds, "random")[0], choose(clouds, "random", seed=1)[0])


@pytest.mark.parametrize("strategy", ["typiclust", "probcover", "maxherding"])
def test_three_clouds_are_seen_by_the_first_three_rows(clouds, strategy):
    _, _, pool, truth = clouds
    nothing = np.zeros((0, 8), np.float32)
    found = choose_rows(nothing, np.zeros(0, np.int64), pool, n=3, strategy=strategy, n_classes=3)
    assert len(set(truth[found[0]].tolist())) == 3


def test_what_is_labelled_already_is_not_asked_for_again():
    """A cloud that has labels is covered: the next text comes from the other one."""
    rng = np.random.default_rng(1)
    near, far = rng.normal(size=(40, 4)) * 0.1 + 3, rng.normal(size=(20, 4)) * 0.1 - 3
    pool = np.concatenate([near[20:], far])
    for strategy in ("probcover", "maxherding", "typiclust"):
        found = choose_rows(
            near[:20], np.zeros(20, np.int64), pool, n=1, strategy=strategy, n_classes=2
        )
        assert found[0][0] >= 20, strategy


def test_margin_is_that_of_the_fitted_head(clouds):
    labelled, codes, pool, _ = clouds
    found = choose(clouds, "margin", n=90)
    both = np.concatenate([labelled, pool]).astype(np.float64)
    both -= both.mean(0)
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    import torch

    head = fit_softmax(both[None, :12], codes, 3, dtype=torch.float64, tolerance=1e-3)
    predicted = np.sort(head.probabilities(both[None, 12:])[0].numpy(), 1)
    margin = predicted[:, -1] - predicted[:, -2]
    assert found[0].tolist() == np.argsort(margin, kind="stable").tolist()
    assert np.allclose(found[1], 1 - margin[found[0]], atol=1e-9)


@pytest.mark.parametrize("strategy", BY_HEAD)
def test_a_head_needs_two_classes(clouds, strategy):
    labelled, _, pool, _ = clouds
    with pytest.raises(DataError, match="labels of at least two classes, got 1"):
        choose_rows(labelled, np.zeros(12, np.int64), pool, n=3, strategy=strategy, n_classes=3)


def test_bad_questions_are_refused(clouds):
    labelled, codes, pool, _ = clouds
    with pytest.raises(UnknownNameError, match="did you mean 'margin'"):
        choose_rows(labelled, codes, pool, n=3, strategy="margn", n_classes=3)
    with pytest.raises(DataError, match="the pool is empty"):
        choose_rows(labelled, codes, pool[:0], n=3, strategy="random", n_classes=3)


def test_margin_chooses_as_scikit_activeml_does(clouds):
    pool = pytest.importorskip("skactiveml.pool")
    from skactiveml.classifier import SklearnClassifier

    from charkit.heads.probe import LinearProbe

    labelled, codes, texts, _ = clouds
    both = np.concatenate([labelled, texts]).astype(np.float64)
    both -= both.mean(0)
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    labels = np.concatenate([codes.astype(float), np.full(len(texts), np.nan)])
    head = SklearnClassifier(LinearProbe(tolerance=1e-3), random_state=0)
    theirs = pool.UncertaintySampling(method="margin_sampling", random_state=0).query(
        both, labels, clf=head, batch_size=20
    )
    assert choose(clouds, "margin", n=20)[0].tolist() == (theirs - len(codes)).tolist()


def test_without_scikit_activeml_margin_and_chance_are_left(clouds, without_activeml):
    with pytest.raises(MissingError, match=r"charkit\[next\]"):
        choose(clouds, "typiclust")
    assert len(choose(clouds, "random")[0]) == 7
    assert len(choose(clouds, "margin")[0]) == 7


def test_equal_texts_break_nothing():
    pool = np.ones((20, 4), np.float32)
    codes = np.array([0, 1])
    for strategy in STRATEGIES:
        found = choose_rows(pool[:2], codes, pool, n=5, strategy=strategy, n_classes=2)
        assert len(set(found[0].tolist())) == 5, strategy
