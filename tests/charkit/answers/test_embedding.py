"""charkit.embed: rows, words, doubts, another sample under the same head, files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import charkit
from charkit.errors import DataError, UnknownNameError
from charkit.fisher import FisherOptions, load_embedding


@pytest.fixture
def reviews(tmp_path):
    task = charkit.generated_task("sentiment", n_train=100, n_eval=40)
    names = [task.class_names[k] for k in task.train.labels]
    path = tmp_path / "reviews.csv"
    pd.DataFrame({"body": task.train.texts, "stars": names}).to_csv(path, index=False)
    pd.DataFrame({"body": task.evaluation.texts, "stars": ""}).to_csv(
        tmp_path / "texts.csv", index=False
    )
    return path


@pytest.fixture
def grid(tiny_bert, tmp_store):
    return {"encoder": str(tiny_bert), "store": tmp_store}


def test_rows_lines_and_files(reviews, grid, tmp_path):
    answer = charkit.embed(reviews, head_layers=(1, 2), **grid)
    table = answer.to_pandas()
    assert list(table["layer"]) == [1, "all", 1, 2, "all"]
    assert (table["low"] < table["norm"]).all()
    assert (table["norm"] < table["high"]).all()
    assert table[table["layer"] == "all"]["share"].eq(1).all()
    assert table["halves"].between(0, 1).all()
    assert "distance" not in table
    assert "80 training texts" in answer.lines()[0]
    assert "of tiny-bert, exact" in answer.lines()[0]
    assert "<table" in answer._repr_html_()
    assert "share" in repr(answer)
    json.dumps(answer.about())
    files = answer.save(tmp_path / "out" / "reviews.safetensors")
    assert [f.name for f in files] == ["reviews-head1.safetensors", "reviews-head2.safetensors"]
    again = load_embedding(files[1])
    np.testing.assert_array_equal(again.values, answer.embeddings[2].values)
    assert charkit.embed(reviews, head_layers=(1, 2), **grid).found
    assert charkit.verify(store=grid["store"]) == []


def test_another_sample_is_compared_with_the_training_texts(reviews, grid, tmp_path):
    frame = pd.DataFrame({"body": ["the cat is bad .", "the dog is good ."]})
    for others, n_texts in ((None, 20), (tmp_path / "texts.csv", 40), (frame, 2)):
        read = {"labels": "all" if others is None else "train", "evaluation": others}
        task = charkit.load_task(reviews, text="body", **read)
        answer = charkit.embed(task, split="evaluation", **grid)
        assert answer.embeddings[2].n_samples == n_texts
        assert answer.embeddings[2].head_fingerprint == answer.trained[2].head_fingerprint
        assert 0 < answer.shift(2) < 1
        assert 0 < answer.cosine(2) <= 1
        assert answer.to_pandas()["distance"].gt(0).all()
        assert any("from the training texts to these" in line for line in answer.lines())
    assert answer.sample == "unlabelled"


def test_the_same_texts_are_no_shift(grid):
    task = charkit.generated_task("sentiment", n_train=80, n_eval=20)
    same = charkit.Task(task.name, task.kind, task.train, task.train, class_names=task.class_names)
    answer = charkit.embed(same, split="evaluation", **grid)
    assert answer.shift(2) == pytest.approx(0, abs=1e-12)
    assert answer.cosine(2) == pytest.approx(1)
    assert answer.expected_cosine(2) < 1
    plain = charkit.embed(task, **grid)
    assert np.isnan(plain.shift(2))
    assert np.isnan(plain.cosine(2))
    assert np.isnan(plain.expected_cosine(2))


def test_a_sample_of_n_is_that_of_a_sweep(reviews, grid):
    answer = charkit.embed(reviews, n=16, options=FisherOptions(seed=3), **grid)
    assert answer.embeddings[2].n_samples == 16
    assert answer.heads[2].n_train == 16
    assert any("fewer than 64 labels" in line for line in answer.lines())
    other = charkit.embed(reviews, n=16, options=FisherOptions(seed=4), **grid)
    assert other.embeddings[2].text_fingerprint != answer.embeddings[2].text_fingerprint


def test_noise_is_doubted(grid):
    task = charkit.generated_task("sentiment", n_train=80, n_eval=20)
    rng = np.random.default_rng(0)
    labels = rng.permutation((np.arange(80) < 50).astype(np.int64))
    split = charkit.Split(task.train.texts, labels=labels)
    noise = charkit.Task("noise", task.kind, split, class_names=task.class_names)
    answer = charkit.embed(noise, **grid)
    assert any("has learnt nothing" in line for line in answer.lines())
    with pytest.raises(DataError, match="no evaluation part"):
        charkit.embed(noise, split="evaluation", **grid)


def test_real_targets_and_other_estimators(grid):
    task = charkit.generated_task("sentiment", n_train=60, n_eval=20)
    targets = task.train.labels + np.random.default_rng(0).standard_normal(60)
    split = charkit.Split(task.train.texts, labels=targets)
    answer = charkit.embed(charkit.Task("real", "regression", split), **grid)
    assert any("of the variance" in line for line in answer.lines())
    options = FisherOptions(estimator="monte_carlo", n_draws=3)
    drawn = charkit.embed(task, options=options, cache_layer=0, **grid)
    assert "3 draws a text" in drawn.lines()[0]
    options = FisherOptions(estimator="empirical", parts=("query",), layers=(2,))
    given = charkit.embed(task, options=options, **grid)
    assert any(line.startswith("empirical:") for line in given.lines())


def test_what_is_refused(grid):
    task = charkit.generated_task("sentiment", n_train=30, n_eval=20)
    with pytest.raises(UnknownNameError, match="evaluation"):
        charkit.embed(task, split="evaluatoin", **grid)
