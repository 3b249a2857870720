"""Tasks to embeddings: heads fitted, unlabelled samples embedded under them."""

from __future__ import annotations

import numpy as np
import pytest

from charkit.answers.embed import embed_task, fit_heads
from charkit.encoders import encode, load_encoder
from charkit.errors import DataError, UsageError
from charkit.fisher import FisherOptions, cache_states, fisher_embedding, make_head
from charkit.tasks.task import Split, Task

TEXTS = tuple(
    f"the {who} {verb} a {how} book"
    for who in ("cat", "dog", "man", "child")
    for verb in ("reads", "likes", "hates", "sees")
    for how in ("good", "bad", "poor")
)


def task_of(kind="classification", n_classes=3):
    codes = np.arange(len(TEXTS)) % 3
    targets = np.random.default_rng(0).standard_normal(len(TEXTS)) + codes
    labels = targets if kind == "regression" else np.minimum(codes, n_classes - 1)
    names = () if kind == "regression" else tuple("abc"[:n_classes])
    return Task("books", kind, Split(TEXTS, labels=labels), Split(TEXTS[::5]), names)


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return load_encoder(str(tiny_bert), device="cpu", dtype="float32")


def test_heads_are_scikit_learns(encoder):
    from sklearn.linear_model import LogisticRegression

    task = task_of()
    states = encode(encoder, task.train)
    heads = fit_heads(
        states, task.train.labels, layers=(1, -1), kind="classification", n_classes=3,
        strengths=(0.1,),
    )  # fmt: skip
    assert list(heads) == [1, 2]
    x = states.layer(2).astype(np.float64)
    z = (x - x.mean(0)) / np.sqrt(((x - x.mean(0)) ** 2).sum(1).mean())
    theirs = LogisticRegression(C=1 / (len(x) * 0.1), tol=1e-9, max_iter=1000)
    expected = theirs.fit(z, task.train.labels).predict_proba(z)
    logits = x @ heads[2].weights.T + heads[2].bias
    mine = np.exp(logits - logits.max(1, keepdims=True))
    mine /= mine.sum(1, keepdims=True)
    np.testing.assert_allclose(mine, expected, atol=2e-3)


def test_a_task_is_embedded_under_its_own_head(encoder):
    task = task_of()
    found = embed_task(task, encoder, head_layers=(1, 2))
    assert list(found) == [1, 2]
    states = encode(encoder, task.train)
    heads = fit_heads(states, task.train.labels, layers=(2,), kind="classification", n_classes=3)
    plain = fisher_embedding(encoder, task.train, heads[2])
    np.testing.assert_allclose(found[2].values, plain.values, rtol=1e-4)
    assert found[2].name == "books"
    assert found[2].n_classes == 3
    assert found[1].layers == (1,)
    assert found[1].values.max() > 0


def test_unlabelled_texts_need_no_labels(encoder):
    task = task_of(n_classes=2)
    assert task.evaluation.labels is None
    found = embed_task(task, encoder, split=task.evaluation, name="books, unlabelled")[2]
    assert found.n_samples == len(task.evaluation)
    assert found.text_fingerprint == task.evaluation.text_fingerprint
    trained = embed_task(task, encoder)[2]
    assert found.head_fingerprint == trained.head_fingerprint
    with pytest.raises(DataError, match="needs labels"):
        embed_task(
            task, encoder, split=task.evaluation, options=FisherOptions(estimator="empirical")
        )


def test_real_targets(encoder):
    task = task_of("regression")
    found = embed_task(task, encoder)[2]
    assert (found.kind, found.n_classes, found.estimator) == ("regression", 0, "exact")
    constant = Task("flat", "regression", Split(TEXTS, labels=np.ones(len(TEXTS))))
    with pytest.raises(DataError, match="do not vary"):
        embed_task(constant, encoder)


def test_store_and_cache_change_nothing(encoder, tmp_store):
    task = task_of()
    options = FisherOptions(layers=(2,))
    plain = embed_task(task, encoder, options=options)[2]
    states = cache_states(encoder, task.train, layer=1)
    kept = embed_task(task, encoder, options=options, store=tmp_store, states=states)[2]
    np.testing.assert_allclose(kept.values, plain.values, rtol=1e-4)
    assert len(list(tmp_store.entries())) == 1


def test_given_heads_are_used(encoder):
    task = task_of()
    head = make_head(np.ones((4, 32)) * np.arange(4)[:, None] / 9, np.zeros(4))
    unlabelled = Task("none", "classification", Split(TEXTS), class_names=("a", "b"))
    found = embed_task(unlabelled, encoder, heads={2: head})[2]
    assert found.head_fingerprint == head.fingerprint
    with pytest.raises(DataError, match="no labels"):
        embed_task(unlabelled, encoder)
    with pytest.raises(UsageError, match="at least one"):
        embed_task(task, encoder, head_layers=())
