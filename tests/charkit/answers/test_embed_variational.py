"""charkit.embed with the variational estimator: kept, described, never mixed with others."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import charkit
from charkit.answers.embedding.cache import embed_cached, embed_task
from charkit.answers.embedding.embed import choose_options
from charkit.answers.embedding.variational_fits import FitDiagnostics
from charkit.encoders import load_encoder
from charkit.errors import DataError, RefusalError, UnknownNameError, UsageError
from charkit.fisher import VariationalOptions, load_embedding, pairwise

QUICK = {"estimator": "variational", "beta": 1e-8, "n_steps": 4}
OPTIONS = VariationalOptions(beta=1e-8, n_steps=4)


@pytest.fixture(scope="module")
def task():
    return charkit.generated_task("sentiment", n_train=60, n_eval=20)


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return load_encoder(str(tiny_bert), device="cpu", dtype="float32")


def test_it_is_kept_with_its_figures(task, encoder, tmp_store, tmp_path):
    seen = []

    def progress(stage, done, total):
        seen.append((stage, done, total))

    first = charkit.embed(
        task, encoder=encoder, store=tmp_store, progress=progress, options=OPTIONS
    )
    assert ("variational generated_sentiment", 4, 4) in seen
    found = first.embeddings[2]
    assert found.estimator == "variational"
    assert found.estimand == "variational_fisher(gauss_newton, learned prior, beta=1e-08)"
    assert found.estimand in first.lines()[0]
    assert any(line.startswith("variational: the prior") for line in first.lines())
    assert not any("empirical" in line for line in first.lines())
    about = first.about()
    assert about["estimand"] == found.estimand
    assert set(about["heads"][0]["fit"]["prior_share"]) == {1, 2}
    json.dumps(about)
    again = charkit.embed(task, encoder=encoder, store=tmp_store, options=OPTIONS)
    assert again.found
    assert again.fits == first.fits
    np.testing.assert_array_equal(again.embeddings[2].values, found.values)
    manifest = json.loads((tmp_store.find("fisher", first.key) / "run.json").read_text())
    assert manifest["config"]["options"]["estimator"] == "variational"
    assert manifest["config"]["options"]["beta"] == 1e-8
    assert tmp_store.verify() == []
    file = first.save(tmp_path / "a.safetensors")[0]
    assert load_embedding(file).estimand == found.estimand


def test_it_is_the_fit_under_the_tasks_head(task, encoder, tmp_store):
    kept = embed_cached(task, encoder, head_layers=(1, 2), options=OPTIONS, store=tmp_store)
    plain = embed_task(task, encoder, head_layers=(1, 2), options=OPTIONS, store=tmp_store)
    assert kept.embeddings[1].layers == (1,)
    assert kept.embeddings[2].layers == (1, 2)
    assert list(kept.fits) == [1, 2]
    for layer in (1, 2):
        np.testing.assert_allclose(kept.embeddings[layer].values, plain[layer].values, rtol=1e-4)


def test_it_is_not_mixed_with_other_estimators(task, encoder, tmp_store):
    options = {"encoder": encoder, "store": tmp_store}
    direct = charkit.embed(task, **options).embeddings[2]
    one = charkit.embed(task, options=OPTIONS, **options).embeddings[2]
    other = charkit.embed(task, options=replace(OPTIONS, beta=1e-9), **options).embeddings[2]
    for pair in ([direct, one], [one, other]):
        with pytest.raises(UsageError, match="estimand"):
            pairwise(pair)
    assert one.values.shape == direct.values.shape


def test_what_determines_the_result_is_in_the_key(task, encoder, tmp_store):
    def key(**changes):
        chosen = replace(OPTIONS, layers=(2,), **changes)
        return embed_cached(task, encoder, options=chosen, store=tmp_store).key

    keys = [key(), key(beta=1e-7), key(n_steps=5), key(seed=1), key(token_budget=300)]
    assert len(set(keys)) == len(keys)
    assert key(token_budget=2048) == keys[0]  # the default on this device


def test_another_sample_and_cached_layers(task, encoder, tmp_store):
    answer = charkit.embed(
        task, encoder=encoder, split="evaluation", cache_layer=1, store=tmp_store,
        options=replace(OPTIONS, layers=(2,)),
    )  # fmt: skip
    assert 0 < answer.shift(2) < 1
    assert np.isnan(answer.expected_cosine(2))
    assert any("without any shift is not known" in line for line in answer.lines())


def test_a_search_that_has_not_come_to_rest_is_doubted():
    figures = FitDiagnostics(2, 0.3, 10, {1: 0.01, 2: 0.01}, {1: 1.0, 2: 1.0})
    said = list(figures.lines())
    assert "share of 1.0% in" in said[0]
    assert said[1].startswith("doubt: the search has not come to rest")
    assert len(list(replace(figures, residual=0.01).lines())) == 1


def test_nothing_is_kept_of_what_has_not_converged(task, encoder, tmp_store, monkeypatch):
    monkeypatch.setattr("charkit.fisher.variational.fit.UNTRUSTED", 0.0)
    with pytest.raises(RefusalError, match="residual") as caught:
        charkit.embed(task, encoder=encoder, store=tmp_store, options=OPTIONS)
    assert caught.value.partial.embedding.estimator == "variational"
    assert "fisher" not in {e.kind for e in tmp_store.entries()}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"estimator": "variational", "n_draws": 2}, "got n_draws with 'variational'"),
        ({"estimator": "variational", "relative_error": 0.1}, "got relative_error"),
        ({"estimator": "variational", "stop_at": 0.9}, "got stop_at"),
        ({"estimator": "variational", "parts": ("query", "bias")}, "parts are out of range"),
        ({"estimator": "variational", "beta": 0.0}, "beta is out of range"),
        ({"estimator": "variational", "seed": -1}, "seed is out of range"),
        ({"estimator": "variational", "layers": (3,)}, "expected some of 1 to 2"),
        ({"estimator": "exact", "beta": 1e-6}, "got beta with 'exact'"),
        ({"n_steps": 9}, "got n_steps with 'auto'"),
    ],
)
def test_bad_combinations_are_refused_before_any_work(options, said, task, encoder, tmp_store):
    with pytest.raises(UsageError, match=said):
        charkit.embed(task, encoder=encoder, store=tmp_store, options=choose_options(**options))
    assert tmp_store.entries() == []


def test_names_are_checked():
    with pytest.raises(UnknownNameError, match="variational"):
        choose_options("variatonal")


def test_labels_are_read_by_one_gradient_alone(task, encoder, tmp_store):
    given = replace(OPTIONS, gradient="given", layers=(2,), n_steps=2)
    unlabelled = charkit.Split(task.train.texts)
    with pytest.raises(DataError, match="needs labels"):
        embed_cached(task, encoder, split=unlabelled, options=given, store=tmp_store)
