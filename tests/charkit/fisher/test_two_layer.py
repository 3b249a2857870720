"""The paper's two-layer network: its closed form against autograd, and against our row formula.

p = sigma(w^T z), z_k = sigma(U_k^T x). Section 3.2 and section 5 of the supplement of Achille and
others 2019, "Task2Vec: Task Embedding for Meta-Learning":

    F = (1/N) sum_e p_e (1 - p_e) S_e (x) x_e x_e^T,    S = ww^T * zz^T * (1-z)(1-z)^T
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from charkit.fisher import make_head
from charkit.fisher.labels import LabelDraws, cotangents, plan_labels
from charkit.fisher.tape import gram, rows_from_gradient, rows_from_gram

N, D, K = 40, 5, 4


@pytest.fixture(params=range(3))
def network(request):
    """Return U (K x D), w (K,), x (N x D) in float64."""
    rng = torch.Generator().manual_seed(request.param)
    shapes = ((K, D), (K,), (N, D))
    return tuple(torch.randn(s, generator=rng, dtype=torch.float64) for s in shapes)


def forward(u, w, x):
    """Return z (N x K) and p (N,)."""
    z = torch.sigmoid(x @ u.T)
    return z, torch.sigmoid(z @ w)


def scalars(w, z):
    """Return S of each text, (N, K, K)."""
    slope = w * z * (1 - z)
    return slope[:, :, None] * slope[:, None, :]


def closed_form(u, w, x):
    """Return the Fisher information of U, (K D, K D), as a mean of Kronecker products."""
    z, p = forward(u, w, x)
    outer = x[:, :, None] * x[:, None, :]
    each = [
        share * torch.kron(s, xx)
        for share, s, xx in zip(p * (1 - p), scalars(w, z), outer, strict=True)
    ]
    return torch.stack(each).mean(0)


def by_autograd(u, w, x):
    """Return the Fisher information of (U, w) text by text and label by label."""
    total = torch.zeros((K * D + K, K * D + K), dtype=torch.float64)
    for text in x:
        tuned = [u.clone().requires_grad_(True), w.clone().requires_grad_(True)]
        _, p = forward(*tuned, text[None])
        sure = float(p.detach())
        for label, share in ((1, sure), (0, 1 - sure)):
            log = (p if label else 1 - p).log().sum()
            grads = torch.autograd.grad(log, tuned, retain_graph=True)
            score = torch.cat([g.reshape(-1) for g in grads])
            total += share * torch.outer(score, score) / len(x)
    return total


def test_closed_form_is_what_autograd_finds(network):
    full = by_autograd(*network)
    torch.testing.assert_close(
        closed_form(*network), full[: K * D, : K * D], rtol=1e-10, atol=1e-14
    )


def test_blocks_of_the_classifier(network):
    """(y - p)^2 z_i z_j for w with w; (y - p)^2 z_j w_k z_k (1 - z_k) x_i for U_ki with w_j."""
    u, w, x = network
    z, p = forward(u, w, x)
    full, share = by_autograd(u, w, x), p * (1 - p)
    own = torch.einsum("n,ni,nj->ij", share, z, z) / N
    cross = torch.einsum("n,nk,ni,nj->kij", share, w * z * (1 - z), x, z) / N
    torch.testing.assert_close(full[K * D :, K * D :], own, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(
        full[: K * D, K * D :].reshape(K, D, K), cross, rtol=1e-10, atol=1e-14
    )


def our_rows(u, w, x, formula):
    """Return our row means: one token a text, the head's two logits 0 and w^T z."""
    z, _ = forward(u, w, x)
    head = make_head(np.stack([np.zeros(K), w.numpy()]), [0.0, 0.0])
    plan = plan_labels("exact", heads=[head])
    logits = z @ torch.tensor(head.weights).T
    draws = LabelDraws(plan, n_samples=N, n_out=2)
    sent = cotangents(plan, head, logits, rows=np.arange(N), draws=draws)
    assert len(sent) == 1
    gradients = (sent[0] @ torch.tensor(head.weights) * z * (1 - z))[:, None]  # at U x
    inputs = x[:, None]
    if formula == "gram":
        return rows_from_gram(gram(inputs), gradients, n_in=D).mean(0)
    return rows_from_gradient(inputs, gradients).mean(0)


@pytest.mark.parametrize("formula", ["gram", "gradient"])
def test_row_formula_is_the_closed_forms_diagonal(formula, network):
    diagonal = closed_form(*network).diagonal().reshape(K, D).mean(1)
    torch.testing.assert_close(our_rows(*network, formula), diagonal, rtol=1e-10, atol=1e-14)


def test_a_feature_that_the_task_ignores_has_no_information(network):
    u, w, x = network
    w = w.clone()
    w[1] = 0
    found = our_rows(u, w, x, "gram")
    assert found[1] == 0
    assert (found[[0, 2, 3]] > 0).all()


def test_exchanged_labels_change_nothing(network):
    u, w, x = network
    torch.testing.assert_close(closed_form(u, -w, x), closed_form(u, w, x), rtol=1e-10, atol=1e-14)


def test_a_sure_head_has_a_small_norm(network):
    """E[(y - p)^2] goes to zero as the classifier grows, and the norm with it."""
    u, w, x = network
    x = x[(forward(u, w, x)[0] @ w).abs() > 0.2]  # those on the boundary stay unsure
    norms = [float(closed_form(u, w * k, x).diagonal().sum()) for k in (1, 100, 1000)]
    assert norms[1] < norms[0]
    assert norms[2] < 1e-12 * norms[0]
