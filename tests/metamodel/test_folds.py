import numpy as np
import pytest

from metamodel.rows import at_most, corpus_folds, corpus_weights

CORPORA = np.repeat(["a", "b", "c", "d", "e"], [100, 40, 30, 5, 5])


def test_a_corpus_lies_in_one_fold_and_folds_are_balanced():
    folds = corpus_folds(CORPORA, 2)
    assert all(len(set(folds[c == CORPORA])) == 1 for c in "abcde")
    assert sorted(np.bincount(folds)) == [80, 100]


def test_one_corpus_out_is_the_default():
    assert set(corpus_folds(CORPORA)) == {0, 1, 2, 3, 4}
    assert set(corpus_folds(CORPORA, 99)) == {0, 1, 2, 3, 4}


def test_folds_do_not_depend_on_the_order_of_rows():
    order = np.random.default_rng(0).permutation(len(CORPORA))
    assert (corpus_folds(CORPORA[order], 3) == corpus_folds(CORPORA, 3)[order]).all()


@pytest.mark.parametrize(("names", "n"), [(["a", "a"], None), (["a", "b"], 1)])
def test_too_few_are_refused(names, n):
    with pytest.raises(ValueError, match="at least two"):
        corpus_folds(names, n)


def test_a_corpus_weighs_the_root_of_its_rows():
    weights = corpus_weights(CORPORA)
    total = [weights[c == CORPORA].sum() for c in "ab"]
    assert total[0] / total[1] == pytest.approx(np.sqrt(100 / 40))
    assert weights.mean() == pytest.approx(1)


def test_no_corpus_keeps_more_than_asked_for():
    kept = at_most(CORPORA, 20, seed=0)
    names, counts = np.unique(CORPORA[kept], return_counts=True)
    assert list(names) == list("abcde")
    assert list(counts) == [20, 20, 20, 5, 5]
    assert (at_most(CORPORA, 20, seed=0) == kept).all()
