"""The expectation over labels: exact factors, unbiased draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from charkit.errors import DataError, UsageError
from charkit.fisher import FisherOptions, fisher_embedding, make_head
from charkit.fisher.labels import (
    EXACT_CLASSES,
    LabelDraws,
    check_labels,
    cotangents,
    covariance_root,
    plan_labels,
)
from charkit.tasks.task import Split

LEVEL = 3.9
"""Standard errors that an unbiased mean exceeds with probability 1e-4, both sides."""


@pytest.mark.parametrize("n_classes", [2, 3, 7, 40])
def test_root_squares_to_the_covariance(n_classes):
    logits = torch.randn(5, n_classes, dtype=torch.float64, generator=torch.manual_seed(0)) * 3
    p = torch.softmax(logits, 1)
    root = covariance_root(p)
    assert root.shape == (5, n_classes - 1, n_classes)
    expected = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    torch.testing.assert_close(root.mT @ root, expected, atol=1e-15, rtol=1e-12)


def test_root_of_two_classes_is_one_column():
    p = torch.tensor([[0.2, 0.8]], dtype=torch.float64)
    expected = torch.tensor([[[0.4, -0.4]]], dtype=torch.float64)
    torch.testing.assert_close(covariance_root(p), expected)


def test_certain_classes_give_finite_roots():
    p = torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]], dtype=torch.float64)
    assert torch.equal(covariance_root(p).abs().sum(), torch.zeros((), dtype=torch.float64))


def head_of(n_classes, kind="classification", variance=1.0):
    n_out = n_classes if kind == "classification" else 1
    return make_head(np.zeros((n_out, 2)), np.zeros(n_out), kind=kind, variance=variance)


def drawn(estimator, head, logits, *, n_samples, n_draws, seed=0):
    plan = plan_labels(estimator, heads=[head], n_draws=n_draws, seed=seed)
    draws = LabelDraws(plan, n_samples=n_samples, n_out=head.n_out)
    rows = np.arange(n_samples)
    return cotangents(plan, head, logits.expand(n_samples, -1), rows=rows, draws=draws)


@pytest.mark.parametrize("estimator", ["sketch", "monte_carlo"])
@pytest.mark.parametrize("n_draws", [1, 3])
def test_draws_are_unbiased(estimator, n_draws):
    """Level 1e-4 a number, 15 numbers: a right estimator fails with probability 0.0015."""
    logits = torch.tensor([[0.3, -1.0, 1.2, 0.0, -0.4]], dtype=torch.float64)
    p = torch.softmax(logits, 1)[0]
    sent = drawn(estimator, head_of(5), logits, n_samples=20_000, n_draws=n_draws)
    assert sent.shape == (n_draws, 20_000, 5)
    outer = (sent[..., :, None] * sent[..., None, :]).sum(0)
    error = (outer.std(0) / 20_000**0.5).clamp_min(1e-12)  # one square never varies
    expected = torch.diag(p) - torch.outer(p, p)
    assert ((outer.mean(0) - expected).abs() / error).max() < LEVEL
    assert error.max() < 0.02 * expected.abs().max()  # a bias of a tenth would have been seen


@pytest.mark.parametrize("variance", [1.0, 4.0])
def test_real_targets(variance):
    head = head_of(0, "regression", variance)
    z = torch.zeros((1, 1), dtype=torch.float64)
    exact = drawn("exact", head, z, n_samples=3, n_draws=5)
    torch.testing.assert_close(exact, torch.full((1, 3, 1), variance**-0.5, dtype=torch.float64))
    squares = drawn("monte_carlo", head, z, n_samples=20_000, n_draws=1)[0, :, 0] ** 2
    error = squares.std() / 20_000**0.5
    assert abs(squares.mean() - 1 / variance) < LEVEL * error


def test_auto_chooses():
    few, many = head_of(EXACT_CLASSES), head_of(EXACT_CLASSES + 1)
    assert plan_labels("auto", heads=[few]).estimator == "exact"
    assert plan_labels("auto", heads=[few, many]).estimator == "sketch"
    assert plan_labels("auto", heads=[head_of(0, "regression")]).estimator == "exact"
    assert plan_labels("sketch", heads=[head_of(2)], n_draws=4).n_draws == 1
    assert plan_labels("exact", heads=[many]).n_passes(many) == EXACT_CLASSES


@pytest.mark.parametrize("estimator", ["sketch", "monte_carlo"])
def test_embeddings_from_draws_are_unbiased(estimator, family_encoder, make_split, random_head):
    """The mean of 1,500 embeddings of a text is the exact one, at level 1e-4 for each layer."""
    encoder, sharp = family_encoder("bert", dtype="float32"), random_head(n_classes=5)
    head = make_head(0.1 * sharp.weights, sharp.bias)
    text = "the cat sees a good dog"
    exact = fisher_embedding(
        encoder, Split((text,)), head, options=FisherOptions(estimator="exact")
    )
    options = FisherOptions(estimator=estimator, keep_rows=True, seed=3)
    found = fisher_embedding(encoder, Split((text,) * 1500), head, options=options)
    for layer in found.layers:
        sums = found.select(layers=(layer,)).rows.sum(1).astype(np.float64)
        error = sums.std(ddof=1) / np.sqrt(len(sums))
        expected = exact.select(layers=(layer,)).values.sum()
        assert abs(sums.mean() - expected) < LEVEL * error
        assert error < 0.05 * expected


def test_sketch_is_less_noisy_than_monte_carlo(family_encoder, random_head):
    encoder, head = family_encoder("bert", dtype="float32"), random_head(n_classes=5)
    split = Split(("the cat sees a good dog",) * 300)
    noise = {}
    for estimator in ("sketch", "monte_carlo"):
        options = FisherOptions(estimator=estimator)
        found = fisher_embedding(encoder, split, head, options=options)
        noise[estimator] = np.linalg.norm(found.standard_error)
    assert noise["sketch"] < noise["monte_carlo"]


@pytest.mark.parametrize("estimator", ["sketch", "monte_carlo"])
def test_draws_belong_to_texts_not_to_batches(estimator, family_encoder, make_split, random_head):
    encoder, head, split = family_encoder("bert"), random_head(n_classes=5), make_split(20)
    found = [
        fisher_embedding(
            encoder,
            split,
            head,
            options=FisherOptions(estimator=estimator, token_budget=b, seed=s),
        ).values
        for b, s in ((1, 0), (200, 0), (200, 1))
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)
    assert np.abs(found[0] - found[2]).max() > 1e-6 * found[0].max()


def test_more_draws_are_nearer(family_encoder, make_split, random_head):
    encoder, head, split = family_encoder("bert"), random_head(n_classes=6), make_split(8)
    exact = fisher_embedding(encoder, split, head, options=FisherOptions(estimator="exact"))
    gaps = []
    for n_draws in (1, 30):
        options = FisherOptions(estimator="sketch", n_draws=n_draws)
        found = fisher_embedding(encoder, split, head, options=options)
        gaps.append(np.linalg.norm(found.values - exact.values))
    assert gaps[1] < gaps[0] / 2


@pytest.mark.parametrize(
    ("weights", "bias", "facts", "said"),
    [
        (np.zeros((2, 3)), np.zeros(3), {}, "does not fit"),
        (np.zeros((1, 3)), np.zeros(1), {}, "at least 2"),
        (np.zeros((2, 3)), np.zeros(2), {"kind": "regression"}, "expected 1"),
        (np.full((2, 3), np.nan), np.zeros(2), {}, "not finite"),
        (np.zeros(3), 0.0, {"kind": "regression", "variance": 0.0}, "variance"),
    ],
)
def test_wrong_heads_are_refused(weights, bias, facts, said):
    with pytest.raises(UsageError, match=said):
        make_head(weights, bias, **facts)


@pytest.mark.parametrize(
    ("labels", "kind", "said"),
    [
        ([0, 1, 5], "classification", "class codes 0 to 2, got .*5"),
        ([0, 1, -1], "classification", "class codes"),
        ([0, 1], "classification", "one for each of 3 texts"),
        ([0.5, 1.0, np.nan], "regression", "finite targets"),
        (None, "regression", "needs labels"),
    ],
)
def test_labels_that_no_head_knows_are_named(labels, kind, said):
    given = None if labels is None else np.array(labels)
    with pytest.raises(DataError, match=said):
        check_labels(given, heads=[head_of(3, kind)], n_samples=3)
    check_labels(np.array([2, 0, 1]), heads=[head_of(3, kind)], n_samples=3)


def test_heads_have_fingerprints():
    one, two = head_of(2), head_of(3)
    assert one.fingerprint == head_of(2).fingerprint != two.fingerprint
