import numpy as np
import pytest

from charkit.answers.labelling.coverage import NEAR, adequacy, nearest_labelled
from charkit.errors import DataError
from charkit.heads.metrics.intervals import wilson_interval


def brute(labelled, codes, unlabelled):
    """The definition, one pair at a time in float64."""
    labelled, unlabelled = labelled.astype(np.float64), unlabelled.astype(np.float64)
    middle = np.concatenate([labelled, unlabelled]).mean(0)

    def unit(row):
        return (row - middle) / np.linalg.norm(row - middle)

    known, other = [unit(r) for r in labelled], [unit(r) for r in unlabelled]
    apart, alien = [], []
    for i, row in enumerate(known):
        gaps = [np.inf if i == j else np.linalg.norm(row - k) for j, k in enumerate(known)]
        apart.append(min(gaps))
        alien.append(codes[int(np.argmin(gaps))] != codes[i])
    radius = sorted(apart)[int(np.ceil(NEAR * len(known))) - 1]
    misled = np.mean([a <= radius and wrong for a, wrong in zip(apart, alien, strict=True)])
    gaps = [min(np.linalg.norm(row - k) for k in known) for row in other]
    return radius, np.mean([gap <= radius for gap in gaps]), misled


def clouds(seed, n, m, *, apart=2.0, width=6):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(3, width)) * apart
    codes = rng.integers(0, 3, n + m)
    features = centres[codes] + rng.normal(size=(n + m, width))
    return features[:n], codes[:n], features[n:], codes[n:]


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_its_definition(seed):
    labelled, codes, other, _ = clouds(seed, 37, 61, apart=0.8)
    found = adequacy(labelled.astype(np.float32), codes, other.astype(np.float32))
    radius, covered, misled = brute(labelled.astype(np.float32), codes, other.astype(np.float32))
    assert found.radius == pytest.approx(radius, abs=1e-9)
    assert (found.covered, found.misled) == (pytest.approx(covered), pytest.approx(misled))
    low, high = wilson_interval(covered, 61)
    assert (found.low, found.high) == (pytest.approx(float(low)), pytest.approx(float(high)))
    wanted = 1 - float(low) + float(wilson_interval(misled, 37)[1])
    assert found.bound == pytest.approx(min(1.0, wanted))
    assert (found.n_labelled, found.n_unlabelled) == (37, 61)


def test_large_samples_are_cut_into_steps_that_change_nothing(monkeypatch):
    labelled, codes, other, _ = clouds(0, 50, 70)
    whole = adequacy(labelled, codes, other)
    monkeypatch.setattr("charkit.answers.labelling.coverage._STEP", 7)
    assert adequacy(labelled, codes, other) == whole


def test_the_bound_holds_as_often_as_it_says():
    """The nearest labelled text of 4,000 others tells the true error, for many samples."""
    held = []
    for seed in range(80):
        labelled, codes, other, truth = clouds(seed, 60, 4_000, apart=0.8)
        found = adequacy(labelled, codes, other[:300])
        error = np.mean(codes[nearest_labelled(labelled, other)] != truth)
        assert 0.1 < error < 0.6
        held.append(error <= found.bound)
    assert np.mean(held) >= 0.9


def test_texts_of_a_kind_that_has_no_label_are_seen():
    labelled, codes, other, _ = clouds(0, 100, 100, apart=4.0)
    good = adequacy(labelled, codes, other)
    assert good.covered > 0.85
    assert good.bound < 0.3
    hole = np.random.default_rng(5).normal(size=(100, 6)) - 9 * labelled.mean(0)
    bad = adequacy(labelled, codes, np.concatenate([other, hole]))
    assert bad.covered < 0.7
    assert bad.bound > good.bound + 0.2


def test_labels_by_chance_bound_little():
    rng = np.random.default_rng(0)
    found = adequacy(rng.normal(size=(80, 6)), np.arange(80) % 4, rng.normal(size=(200, 6)))
    assert found.bound > 0.7


def test_a_bound_of_one_says_so():
    rng = np.random.default_rng(0)
    found = adequacy(rng.normal(size=(6, 6)), np.arange(6) % 6, rng.normal(size=(9, 6)))
    assert found.bound == 1
    assert "bounds no error" in found.sentence
    assert found.to_dict()["sentence"] == found.sentence


def test_neither_order_nor_scale_matters():
    labelled, codes, other, _ = clouds(1, 40, 50)
    plain = adequacy(labelled, codes, other)
    order = np.random.default_rng(0).permutation(40)
    moved = adequacy(7 * labelled[order] + 3, codes[order], 7 * other[::-1] + 3)
    assert moved.bound == pytest.approx(plain.bound)
    assert moved.radius == pytest.approx(plain.radius)


@pytest.mark.parametrize(("codes", "m"), [([0, 0, 0], 5), ([0, 1, 1], 0), ([], 5)])
def test_without_two_classes_or_other_texts_nothing_is_said(codes, m):
    with pytest.raises(DataError, match="adequacy is not known"):
        adequacy(np.ones((len(codes), 4)), np.array(codes, np.int64), np.ones((m, 4)))
