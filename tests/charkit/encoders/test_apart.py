"""Pairs whose texts are encoded apart and compared: ``apart:NAME``."""

import logging
from dataclasses import replace

import numpy as np
import pytest

import charkit
from charkit.config import NOTES
from charkit.encoders import encode, encode_to_store, load_encoder
from charkit.encoders.load import named_apart
from charkit.encoders.run import compared
from charkit.errors import UsageError
from charkit.fisher import fisher_embeddings, make_head
from charkit.heads.metrics.transferability import neighbour_accuracy
from charkit.tasks import Split, load_task
from charkit.tasks.card import TaskCard

PAIRS = Split(
    ("a man plays", "rain", "the cat sleeps on a mat"), ("a person plays", "snow falls", "a mat")
)


@pytest.fixture
def apart(tiny_bert):
    return load_encoder(f"apart:{tiny_bert}", device="cpu", dtype="float32")


@pytest.fixture
def joint(tiny_bert):
    return load_encoder(str(tiny_bert), device="cpu", dtype="float32")


def test_features_are_both_texts_their_difference_product_and_cosine():
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((2, 3, 5, 8)).astype(np.float32)
    found = compared(u, v)
    assert found.shape == (3, 5, 33)
    one, two = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (u, v))
    parts = np.split(found, [8, 16, 24, 32], axis=-1)
    wanted = (one, two, abs(one - two), 8**0.5 * one * two, 4 * (one * two).sum(-1)[..., None])
    for part, value in zip(parts, wanted, strict=True):
        np.testing.assert_allclose(part, value, atol=1e-6)


def test_features_do_not_depend_on_the_length_of_states_and_take_zeros():
    u, v = np.eye(4, dtype=np.float32)[:2][:, None]
    np.testing.assert_allclose(compared(u, v), compared(7 * u, 0.1 * v), atol=1e-6)
    assert np.isfinite(compared(u, 0 * v)).all()


def test_states_are_those_of_the_texts_by_themselves(apart, joint):
    found = encode(apart, PAIRS)
    first, second = (encode(joint, Split(texts)) for texts in (PAIRS.texts, PAIRS.pairs))
    assert found.width == apart.width == 4 * joint.width + 1
    wanted = compared(first.to_numpy(), second.to_numpy())
    np.testing.assert_allclose(found.to_numpy(), wanted, atol=1e-5)
    assert found.n_tokens.tolist() == (first.n_tokens + second.n_tokens).tolist()


def test_each_text_is_cut_by_itself_and_counted(apart):
    long = Split((" ".join(["man"] * 40), "rain"), ("cat", "cat"))
    found = encode(apart, long, max_length=8)
    assert found.n_truncated == 1
    assert found.n_tokens[0] < 8 + 8


def test_the_store_keeps_them_apart_from_joint_ones(apart, joint, tmp_store):
    found = encode_to_store(apart, PAIRS, store=tmp_store)
    assert found.key != encode_to_store(joint, PAIRS, store=tmp_store).key
    np.testing.assert_allclose(found.to_numpy(), encode(apart, PAIRS).to_numpy(), atol=1e-5)
    progress = []
    encode(apart, PAIRS, progress=lambda _, done, total: progress.append((done, total)))
    assert progress[-1] == (3, 3)


def test_names_and_fingerprints_differ(apart, joint):
    assert apart.fingerprint != joint.fingerprint
    assert apart.randomised(seed=0).fingerprint != joint.randomised(seed=0).fingerprint
    names = [e.name for e in named_apart([joint, apart])]
    assert names == [joint.folder.name, f"apart:{joint.folder.name}"]


def test_single_texts_are_refused(apart, tmp_store):
    single = replace(PAIRS, pairs=None)
    for call in (
        lambda: encode(apart, single),
        lambda: encode_to_store(apart, single, store=tmp_store),
    ):
        with pytest.raises(UsageError, match=r"expected pairs of texts, got single texts.*--pair"):
            call()


def test_fisher_embeddings_refuse(apart):
    head = make_head(np.zeros((2, apart.width)), np.zeros(2))
    with pytest.raises(UsageError, match=r"texts of a pair apart: expected.*Leave apart: out"):
        fisher_embeddings(apart, PAIRS, {apart.n_layers: head})


def paraphrases(n=80):
    """Pairs whose label is whether both have the same words, in any order, or half of them."""
    rng = np.random.default_rng(0)
    words = np.array("cat dog rain snow man mat sun moon tree fish bird lake".split())
    drawn = [rng.choice(words, 6, replace=False) for _ in range(n)]
    first = [six[:4] for six in drawn]
    labels = np.arange(n) % 2
    second = [
        rng.permutation(six[:4] if same else six[2:])
        for six, same in zip(drawn, labels, strict=True)
    ]
    rows = [
        {"a": " ".join(x), "b": " ".join(y), "label": str(z)}
        for x, y, z in zip(first, second, labels, strict=True)
    ]
    return load_task(rows, text="a", pair="b", label="label")


def test_a_sweep_compares_both_and_apart_wins_where_likeness_is_the_label(
    bundled_encoder, tmp_store
):
    task = paraphrases()
    assert TaskCard.of(task).pairs
    names = [bundled_encoder, f"apart:{bundled_encoder}"]
    table = charkit.sweep(
        task, encoder=names, sizes=[16], seeds=[0, 1], controls=(), store=tmp_store, executor=1
    ).table
    best = table.groupby(["encoder", "layer"])["accuracy"].mean().groupby("encoder").max()
    assert best[names[1]] > best[names[0]] + 0.1  # 1.00 and 0.81
    features = encode(load_encoder(names[1]), task.train).layer(-1)
    assert neighbour_accuracy(features, task.train.labels) > 0.5


def test_pairs_get_a_note_unless_apart_is_compared(tiny_bert, tmp_store, caplog):
    def noted(*encoders):
        caplog.clear()
        with caplog.at_level(logging.INFO, NOTES):
            charkit.sweep(
                paraphrases(40), encoder=list(encoders), layers=[1], sizes=[16], seeds=[0],
                controls=(), store=tmp_store, executor=1,
            )  # fmt: skip
        return [m for m in caplog.messages if "apart:" in m and "one text" in m]

    assert len(noted(str(tiny_bert))) == 1
    assert not noted(str(tiny_bert), f"apart:{tiny_bert}")
