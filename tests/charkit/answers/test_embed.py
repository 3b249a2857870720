"""Tasks to embeddings: heads fitted, unlabelled samples embedded under them."""

from __future__ import annotations

import numpy as np
import pytest

from charkit.answers.embedding.cache import embed_cached, embed_task, fit_heads
from charkit.encoders import encode, load_encoder
from charkit.errors import DataError, UsageError
from charkit.fisher import FisherOptions, cache_states, fisher_embedding, make_head
from charkit.tasks.nested import sample_task
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


def test_the_store_keeps_embeddings_and_their_heads(encoder, tmp_store, monkeypatch):
    task = task_of()
    plain = embed_task(task, encoder, head_layers=(1, -1))
    first = embed_cached(task, encoder, head_layers=(1, -1), store=tmp_store)
    assert not first.found
    assert list(first.embeddings) == [1, 2]
    np.testing.assert_allclose(first.embeddings[2].values, plain[2].values, rtol=1e-4)
    monkeypatch.setattr("charkit.answers.embedding.cache.fisher_embeddings", None)
    monkeypatch.setattr("charkit.answers.embedding.cache.heads_to_store", None)
    again = embed_cached(task, encoder, head_layers=(2, 1), store=tmp_store, name="other")
    assert again.found
    assert again.key == first.key
    assert again.embeddings[1].name == "other"
    assert (again.embeddings[2].values == first.embeddings[2].values).all()
    assert again.heads == first.heads
    assert again.heads[2].n_train == len(TEXTS)
    assert again.heads[2].fingerprint == first.embeddings[2].head_fingerprint
    assert {e.kind for e in tmp_store.entries()} == {"states", "task_heads", "fisher"}
    assert tmp_store.verify() == []


def test_what_determines_the_result_is_in_the_key(encoder, tmp_store):
    task = task_of()

    def key(task=task, head_layers=(2,), strengths=None, split=None, **options):
        return embed_cached(
            task, encoder, head_layers=head_layers, strengths=strengths, split=split,
            options=FisherOptions(**options), store=tmp_store,
        ).key  # fmt: skip

    same = {key(), key(layers=(1, 2)), key(layers=(1, -1)), key(token_budget=99)}
    assert len(same) == 1
    other = [
        key(task=task_of(n_classes=2)),
        key(head_layers=(1,)),
        key(strengths=(1.0,)),
        key(split=task.evaluation),
        key(layers=(2,)),
        key(parts=("query",)),
        key(pooling="cls"),
        key(estimator="monte_carlo"),
        key(estimator="monte_carlo", seed=5),
        key(estimator="monte_carlo", n_draws=2),
        key(estimator="empirical"),
        key(max_length=8),
        key(keep_rows=True),
    ]
    assert len({*same, *other}) == 1 + len(other)


def test_another_sample_is_embedded_under_the_stored_heads(encoder, tmp_store, monkeypatch):
    task = task_of()
    trained = embed_cached(task, encoder, store=tmp_store)
    monkeypatch.setattr("charkit.answers.embedding.heads.fit_heads_with_figures", None)
    found = embed_cached(task, encoder, split=task.evaluation, store=tmp_store, cache_layer=0)
    assert found.embeddings[2].head_fingerprint == trained.embeddings[2].head_fingerprint
    assert found.heads == trained.heads
    assert found.embeddings[2].n_samples == len(task.evaluation)


def test_nothing_is_kept_of_what_is_refused(encoder, tmp_store):
    task = task_of()
    for wrong in (
        {"head_layers": (0,)},
        {"head_layers": (3,)},
        {"head_layers": ()},
        {"head_layers": (1,), "options": FisherOptions(layers=(2,))},
        {"options": FisherOptions(parts=("query", "keys"))},
        {"options": FisherOptions(estimator="exactly")},
    ):
        with pytest.raises(UsageError):
            embed_cached(task, encoder, store=tmp_store, **wrong)
    assert tmp_store.entries() == []


def test_damaged_embeddings_are_made_again(encoder, tmp_store):
    task = task_of()
    first = embed_cached(task, encoder, store=tmp_store)
    file = tmp_store.find("fisher", first.key) / "head-002.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert len(tmp_store.verify()) == 1
    again = embed_cached(task, encoder, store=tmp_store)
    assert not again.found
    np.testing.assert_array_equal(again.embeddings[2].values, first.embeddings[2].values)


def test_the_score_of_a_head_is_that_of_texts_left_out(encoder, tmp_store):
    task = task_of()
    figures = embed_cached(task, encoder, store=tmp_store).heads[2]
    assert figures.converged
    assert figures.left_out_loss > 0
    assert 0 <= figures.score <= 1
    rng = np.random.default_rng(1)
    noise = Task(
        "noise", "classification", Split(TEXTS * 4, labels=rng.integers(0, 2, 4 * len(TEXTS))),
        class_names=("a", "b"),
    )  # fmt: skip
    assert embed_cached(noise, encoder, store=tmp_store).heads[2].score < 0.7
    real = embed_cached(task_of("regression"), encoder, store=tmp_store).heads[2]
    assert real.score <= 1
    lonely = Task("two", "classification", Split(TEXTS[:2], labels=[0, 1]), class_names="ab")
    assert np.isnan(embed_cached(lonely, encoder, store=tmp_store).heads[2].score)


def test_a_smaller_sample_is_the_beginning_of_a_larger_one():
    task = task_of()
    small, large = sample_task(task, 6, seed=3), sample_task(task, 12, seed=3)
    assert large.train.texts[:6] == small.train.texts
    assert sorted(small.train.labels) == [0, 0, 1, 1, 2, 2]
    assert sample_task(task, None) is task
    for n in (2, len(TEXTS) + 1):
        with pytest.raises(UsageError, match="n out of range"):
            sample_task(task, n)
    with pytest.raises(DataError, match="no labels"):
        sample_task(Task("x", "classification", Split(TEXTS), class_names="ab"), 5)


def test_cached_layers_are_taken_up(encoder, tmp_store, monkeypatch):
    task, options = task_of(), FisherOptions(layers=(2,))
    plain = embed_task(task, encoder, options=options)[2]
    kept = embed_cached(task, encoder, options=options, cache_layer=1, store=tmp_store).embeddings[
        2
    ]
    np.testing.assert_allclose(kept.values, plain.values, rtol=1e-4)
    assert {e.kind for e in tmp_store.entries()} >= {"token_states"}
    monkeypatch.setattr("charkit.answers.embedding.token_cache.cache_states", None)
    other = task_of(n_classes=2)
    again = embed_cached(
        other, encoder, options=options, cache_layer=-2, store=tmp_store
    ).embeddings[2]
    plain = embed_task(other, encoder, options=options)[2]
    np.testing.assert_allclose(again.values, plain.values, rtol=1e-4)
    assert tmp_store.verify() == []
    with pytest.raises(UsageError, match="cache_layer is too high"):
        embed_cached(task, encoder, options=options, cache_layer=2, store=tmp_store)


def test_pairs_are_cached_with_their_segments(encoder, tmp_store):
    labels = np.arange(len(TEXTS)) % 2
    pairs = Split(TEXTS, pairs=TEXTS[::-1], labels=labels)
    task = Task("pairs", "classification", pairs, class_names="ab")
    plain = embed_task(task, encoder)[2]
    kept = embed_cached(task, encoder, cache_layer=0, store=tmp_store).embeddings[2]
    np.testing.assert_allclose(kept.values, plain.values, rtol=1e-4)
