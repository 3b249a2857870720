from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import charkit
from charkit.answers.accuracy.advice import NO_TEXTS, NOT_KNOWN, SHOWN, advise
from charkit.answers.pilot.pilot import MOST_UNLABELLED, looked_at, make_pilot
from charkit.encoders import load_encoder
from charkit.tasks import Split
from charkit.tasks.card import load_sample

ANIMALS = ("cat", "dog", "man", "child")


def texts(n):
    return [f"the {ANIMALS[i % 4]} is {i} {'good' if i % 2 else 'bad'}" for i in range(n)]


@pytest.fixture
def encoder(tiny_bert):
    return load_encoder(str(tiny_bert))


@pytest.fixture
def read(tmp_path):
    def reading(n_labelled, n_without, *, n_eval=0):
        labels = ["ab"[i % 2] if i < n_labelled else "" for i in range(n_labelled + n_without)]
        path = tmp_path / "some.csv"
        pd.DataFrame({"text": texts(len(labels)), "label": labels}).to_csv(path, index=False)
        other = tmp_path / "eval.csv"
        pd.DataFrame({"text": [f"{t} now" for t in texts(n_eval)]}).to_csv(other, index=False)
        return load_sample(path, evaluation=other if n_eval else None)

    return reading


@pytest.fixture
def said(read, encoder, tmp_store):
    def answer(*sizes, **options):
        sample = read(*sizes, **options)
        return advise(sample, make_pilot(sample), encoder, store=tmp_store)

    return answer


def test_the_first_texts_are_those_of_charkit_next(said, encoder, tmp_store, tmp_path):
    pytest.importorskip("skactiveml")
    advice = said(80, 60)  # 40 labels a class: by margin, whose first five are no others of ten
    found = charkit.next_labels(tmp_path / "some.csv", n=10, encoder=encoder, store=tmp_store)
    assert advice.next.places == tuple(found.table["line"][:SHOWN])
    assert advice.next.strategy == found.strategy == "margin"
    assert not advice.next.judged
    assert min(advice.next.places) > 81  # labelled rows stand before
    assert advice.adequacy.bound == found.adequacy.bound
    assert advice.adequacy.covered == found.adequacy.covered


def test_evaluation_texts_are_named_as_such(said):
    pytest.importorskip("skactiveml")
    advice = said(60, 0, n_eval=30)
    assert advice.next.judged
    assert advice.next.n_pool == 30
    assert advice.next.unit == "line"
    assert set(advice.next.places) <= set(range(2, 32))
    assert "Do not test on texts that you train on" in advice.next.sentence
    assert "of the 30 evaluation texts are near a labelled one" in advice.adequacy.sentence
    assert advice.adequacy.n_unlabelled == 30


def test_without_texts_it_points_to_charkit_next(said):
    advice = said(60, 0)
    assert (advice.adequacy, advice.next) == (None, None)
    assert advice.lines() == [f"{NO_TEXTS} {NOT_KNOWN}"]


def test_texts_that_are_all_labelled_already_leave_nothing_to_choose(read, encoder, tmp_store):
    sample = read(40, 20)
    known = sample.train.take(range(20))
    sample = replace(sample, pool=Split(known.texts))
    assert advise(sample, make_pilot(sample), encoder, store=tmp_store).next is None


@pytest.mark.usefixtures("without_activeml")
def test_without_the_package_it_says_what_is_missing(said):
    assert said(60, 30).next.strategy == "margin"
    advice = said(20, 0, n_eval=30)
    assert advice.next.strategy == "maxherding"
    assert advice.next.places == ()
    assert "charkit[next]" in advice.next.sentence
    assert advice.adequacy is not None


def test_of_many_texts_those_of_the_pilot_are_looked_at():
    assert looked_at(MOST_UNLABELLED) is None
    rows = looked_at(MOST_UNLABELLED + 500)
    assert len(rows) == MOST_UNLABELLED
    assert (np.diff(rows) > 0).all()


def test_without_any_label_it_says_where_to_begin(encoder, tmp_store, tmp_path):
    pytest.importorskip("skactiveml")
    path = tmp_path / "none.csv"
    pd.DataFrame({"text": texts(40)}).to_csv(path, index=False)
    sample = load_sample(str(path), classes=2)
    advice = advise(sample, make_pilot(sample), encoder, store=tmp_store)
    assert advice.adequacy is None
    assert len(set(advice.next.places)) == SHOWN
    assert advice.next.strategy == "maxherding"
