"""Gradients of samples against explicit Jacobians in float64, and the study of them."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from torch.func import functional_call, jacrev
from torch.nn.attention import SDPBackend, sdpa_kernel
from typer.testing import CliRunner

from charkit import generated_task
from charkit.encoders import load_encoder
from charkit.errors import DataError
from charkit.tasks import Split
from glue_pilot.__main__ import app
from glue_pilot.gradients.measure import (
    EXACT_CLASSES,
    N_FOLDS,
    FoldGradients,
    cotangents,
    crossed_heads,
    gradient_metrics,
    metrics_of,
    unbiased_dependence,
)
from glue_pilot.gradients.study import METRICS, compare

WORDS = "good bad film plot slow warm dull bright sharp flat".split()


def sample(n_classes, n=20):
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice(WORDS, rng.integers(2, 6))) for _ in range(n)]
    return Split(texts, labels=np.arange(n) % n_classes)


def jacobians(encoder, texts):
    """Return mean last states (n, width), and their derivatives (n, width, n_weights)."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder.name)
    model = encoder.model
    names = [n for n, _ in model.named_parameters() if ".layer." in n]
    own = {n: p.detach() for n, p in model.named_parameters() if n in names}
    states, found = [], []
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt")

        def state(weights, inputs=inputs):
            output = functional_call(model, weights, kwargs=dict(inputs))
            return output.last_hidden_state[0].mean(0)

        with sdpa_kernel(SDPBackend.MATH):
            parts = jacrev(state)(own)
        width = model.config.hidden_size
        states.append(state(own).detach())
        found.append(torch.cat([parts[n].detach().reshape(width, -1) for n in names], 1))
    return torch.stack(states).numpy(), torch.stack(found).numpy()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_metrics_are_those_of_explicit_jacobians(tiny_bert, n_classes):
    encoder = load_encoder(tiny_bert, dtype="float64")
    texts = sample(n_classes)
    found = gradient_metrics(encoder, texts, n_classes, max_length=64, seed=5)
    assert not any(p.requires_grad for p in encoder.model.parameters())

    states, to_weights = jacobians(encoder, texts.texts)
    fisher, traces, low, pairs = [], [], [], []
    folds = np.random.default_rng(5).permutation(np.arange(len(texts)) % N_FOLDS)
    for rows, (weights, bias) in crossed_heads(states, texts.labels, n_classes, folds):
        logits = states[rows] @ weights.T + bias
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        by_logit = np.einsum("cd,ndp->ncp", weights, to_weights[rows])
        log_chances = by_logit - np.einsum("nc,ncp->np", chances, by_logit)[:, None]
        fisher += list((chances * (log_chances**2).sum(2)).sum(1))
        centred = by_logit - by_logit.mean(1, keepdims=True)
        ntk = np.einsum("icp,jcp->ij", centred, centred)
        traces += list(np.diag(ntk))
        classes = (texts.labels[rows][:, None] == texts.labels[rows]).astype(float)
        pairs.append((ntk, classes))
        one = log_chances[np.arange(len(rows)), texts.labels[rows]]
        one /= np.linalg.norm(one, axis=1, keepdims=True)
        first, second = np.argsort(chances.max(1), kind="stable")[:2]
        low.append(one[first] @ one[second])

    assert found.log_fisher == pytest.approx(np.log(np.mean(fisher)), abs=1e-9)
    assert found.log_ntk == pytest.approx(np.log(np.mean(traces)), abs=1e-9)
    assert found.log_ratio == pytest.approx(found.log_fisher - found.log_ntk)
    assert found.cos_low == pytest.approx(np.mean(low), abs=1e-9)
    both, own, others = (
        sum(slow_dependence(*kernels(pair)) for pair in pairs)
        for kernels in (lambda p: p, lambda p: (p[0], p[0]), lambda p: (p[1], p[1]))
    )
    assert found.alignment == pytest.approx(both / np.sqrt(own * others), abs=1e-9)


def slow_dependence(left, right):
    """Return the U-statistic: the mean over ordered fours of texts that are all different."""
    values = [
        left[i, j] * (right[i, j] + right[k, m] - 2 * right[i, k])
        for i, j, k, m in permutations(range(len(left)), 4)
    ]
    return np.mean(values)


def test_dependence_is_the_u_statistic_and_blind_to_the_diagonal():
    rng = np.random.default_rng(4)
    left, right = (a @ a.T for a in rng.standard_normal((2, 6, 3)))
    wanted = slow_dependence(left, right)
    assert unbiased_dependence(left, right) == pytest.approx(wanted, rel=1e-12)
    assert unbiased_dependence(left + 5 * np.eye(6), right) == pytest.approx(wanted, rel=1e-12)


def test_kernels_without_the_classes_align_with_no_number_of_classes():
    rng = np.random.default_rng(0)
    for n_classes in (2, 8):
        found = []
        for _ in range(300):
            labels = rng.integers(0, n_classes, 16)
            states = rng.standard_normal((16, 5))
            found.append(metrics_of([fold_of(labels, states @ states.T)]).alignment)
        assert np.nanmean(found) == pytest.approx(0, abs=0.05)
    labels = np.arange(16) % 4
    same = (labels[:, None] == labels).astype(float)
    assert metrics_of([fold_of(labels, same)]).alignment == pytest.approx(1)
    assert np.isnan(metrics_of([fold_of(np.arange(16), same)]).alignment)


def fold_of(labels, ntk, label=None, sure=None):
    n = len(labels)
    label = np.eye(n) if label is None else label
    return FoldGradients(labels, np.ones(n) if sure is None else sure, label, np.ones(n), ntk)


@pytest.mark.parametrize("n_classes", [2, 3, 4, EXACT_CLASSES + 2])
def test_outer_products_are_covariance_and_centring(n_classes):
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(n_classes), size=1)
    covariance = np.diag(chances[0]) - np.outer(chances[0], chances[0])
    centring = np.eye(n_classes) - 1 / n_classes
    n_rounds = 1 if n_classes <= EXACT_CLASSES else 4000
    sums = {"fisher": 0.0, "ntk": 0.0}
    for _ in range(n_rounds):
        parts = cotangents(chances, np.array([1]), rng)
        for name in sums:
            sums[name] += sum(np.outer(c[0], c[0]) for c in parts[name]) / n_rounds
    near = 1e-12 if n_rounds == 1 else 0.03
    assert sums["fisher"] == pytest.approx(covariance, abs=near)
    assert sums["ntk"] == pytest.approx(centring, abs=near)


def test_no_head_sees_the_texts_that_it_reads():
    rng = np.random.default_rng(1)
    states, labels, folds = rng.standard_normal((16, 4)), np.arange(16) % 2, np.arange(16) // 4
    heads = dict(enumerate(crossed_heads(states, labels, 2, folds)))
    for row in range(16):
        moved = states.copy()
        moved[row] += 5
        again = dict(enumerate(crossed_heads(moved, labels, 2, folds)))
        same = [np.array_equal(heads[k][1][0], again[k][1][0]) for k in heads]
        assert same == [k == folds[row] for k in heads]


def test_opposed_gradients_of_unsure_texts_have_a_cosine_below_0():
    labels = np.arange(8) % 2
    sure = np.where(np.arange(8) < 2, 0.5, 0.9)
    label = np.ones((8, 8))
    label[0, 1] = label[1, 0] = -1
    found = metrics_of([fold_of(labels, np.eye(8), label, sure)])
    assert found.cos_low == -1
    assert found.cos_all == pytest.approx((56 - 4) / 56)
    assert found.cos_gap == pytest.approx(1 - (32 - 4) / 32)


def test_samples_that_are_too_small_are_refused(tiny_bert):
    with pytest.raises(DataError, match="expected at least 16 texts, got 12"):
        gradient_metrics(load_encoder(tiny_bert), sample(2, n=12), 2, max_length=16)
    labels = np.zeros(8, np.int64)
    labels[3] = 1
    with pytest.raises(DataError, match="two classes outside every fold"):
        list(crossed_heads(np.eye(8), labels, 2, np.arange(8) // 2))


def table_of(n_corpora, slope, seed=0):
    """Return samples and outcomes: fine-tuning gains `slope` times the alignment, and noise."""
    rng = np.random.default_rng(seed)
    measured, outcomes = [], []
    for k in range(n_corpora):
        own = {"encoder": "e", "task": f"t{k}", "corpus": f"c{k}"}
        metrics = dict(zip(METRICS, rng.standard_normal(len(METRICS)), strict=True))
        measured.append({**own, "n0": 64, "log_classes": float(k % 3), **metrics})
        for n in (64, 256):
            gain = slope * metrics["alignment"] + 0.01 * rng.standard_normal()
            for learner, accuracy in (("probe", 0.5), ("tuned", 0.5 + gain)):
                row = {
                    "learner": learner,
                    "n_train": n,
                    "accuracy": accuracy,
                    "seed": 0,
                    "failed": False,
                }
                outcomes.append({**own, **row, "mean_tokens": 9.0})
    return pd.DataFrame(measured), pd.DataFrame(outcomes)


def test_a_metric_that_predicts_the_gain_is_found_and_no_other():
    found = compare(*table_of(30, 0.05))
    (own,) = found["learners"]
    groups = {g["group"]: g for g in own["groups"]}
    useful = {"alignment of the NTK with the classes", "all of these"}
    useful.add("all of these and the number of classes")
    assert all(groups[name]["low"] > 1 for name in useful)
    assert all(g["gained"] < 0.2 for name, g in groups.items() if name not in useful)
    rho = {(r["metric"], r["n"]): r["rho"] for r in own["correlations"]}
    assert rho["alignment", 256] > 0.9
    assert (found["samples"], found["labels"], own["corpora"]) == (30, [64], 30)


def test_a_learner_with_few_corpora_is_not_judged():
    assert compare(*table_of(7, 0.05))["learners"] == []


def test_from_file_to_figures(tiny_bert, tmp_path):
    place = tmp_path / "tiny.toml"
    tasks = [f"generated/{name}?n_train=80&n_eval=30" for name in ("sentiment", "topic")]
    place.write_text(
        f'name = "tiny"\nencoder = "{tiny_bert}"\nn_pool = 60\nn_evaluation = 20\n'
        f"sizes = [32]\ndraws = [1]\nmax_length = 16\n"
        f'learners = ["probe", "tuned"]\ntasks = {json.dumps(tasks)}\n'
    )
    task = generated_task("sentiment", n_train=80, n_eval=30).name
    rows = [
        {"encoder": "e", "task": task, "corpus": "c", "learner": name}
        | {"n_train": 32, "seed": 0, "accuracy": 0.5, "failed": False, "mean_tokens": 9.0}
        for name in ("probe", "tuned")
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "outcomes.parquet")
    command = ["gradient-study", place, "--outcomes", tmp_path / "outcomes.parquet"]
    command += ["--out", tmp_path / "out", "--cache-dir", tmp_path / "cache"]
    found = CliRunner().invoke(app, list(map(str, command)))
    assert found.exit_code == 0, found.output
    table = pd.read_csv(tmp_path / "out" / "gradients.csv")
    assert "1 samples" in found.output
    assert table[list(METRICS)].notna().all(axis=None)
    assert json.loads((tmp_path / "out" / "gradients.json").read_text())["learners"] == []

    pd.DataFrame(rows).assign(task="other").to_parquet(tmp_path / "outcomes.parquet")
    found = CliRunner().invoke(app, list(map(str, command)))
    assert found.exit_code == DataError.exit_code
    assert "no task of the study" in found.output
