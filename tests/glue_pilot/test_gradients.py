"""Gradients of samples against explicit Jacobians in float64, and what is made of them."""

from __future__ import annotations

import json

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
    centred_alignment,
    cotangents,
    crossed_heads,
    figures_of,
    gradient_figures,
)
from glue_pilot.gradients.study import FIGURES, judge

WORDS = "good bad film plot slow warm dull bright sharp flat".split()


def sample(n_classes, n=12):
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice(WORDS, rng.integers(2, 6))) for _ in range(n)]
    return Split(texts, labels=np.arange(n) % n_classes)


def jacobians(encoder, texts):
    """Return d(mean of the last state) / d(weights of the layers), (n, width, n_weights)."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder.name)
    model = encoder.model
    names = [n for n, _ in model.named_parameters() if ".layer." in n]
    own = {n: p.detach() for n, p in model.named_parameters() if n in names}
    found = []
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt")

        def state(weights, inputs=inputs):
            output = functional_call(model, weights, kwargs=dict(inputs))
            return output.last_hidden_state[0].mean(0)

        with sdpa_kernel(SDPBackend.MATH):
            parts = jacrev(state)(own)
        width = model.config.hidden_size
        found.append(torch.cat([parts[n].detach().reshape(width, -1) for n in names], 1))
    return torch.stack(found).numpy()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_figures_are_those_of_explicit_jacobians(tiny_bert, n_classes):
    encoder = load_encoder(tiny_bert, dtype="float64")
    texts = sample(n_classes)
    found = gradient_figures(encoder, texts, n_classes, max_length=64, seed=5)

    states_to_weights = jacobians(encoder, texts.texts)
    with torch.no_grad():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(encoder.name)
        states = np.stack(
            [
                encoder.model(**tokenizer(t, return_tensors="pt")).last_hidden_state[0].mean(0)
                for t in texts.texts
            ]
        )
    weights, bias = crossed_heads(states, texts.labels, n_classes, np.random.default_rng(5))
    logits = np.einsum("ncd,nd->nc", weights, states) + bias
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    by_logit = np.einsum("ncd,ndp->ncp", weights, states_to_weights)
    log_chances = by_logit - np.einsum("nc,ncp->np", chances, by_logit)[:, None]

    fisher = (chances * (log_chances**2).sum(2)).sum(1).mean()
    centred = by_logit - by_logit.mean(1, keepdims=True)
    ntk = np.einsum("icp,jcp->ij", centred, centred)
    assert found.log_fisher == pytest.approx(np.log(fisher), abs=1e-9)
    assert found.log_ntk == pytest.approx(np.log(np.trace(ntk) / len(ntk)), abs=1e-9)
    assert found.log_ratio == pytest.approx(found.log_fisher - found.log_ntk)

    one = log_chances[np.arange(len(texts)), texts.labels]
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    low = np.argsort(chances.max(1), kind="stable")[:3]
    pairs = [one[i] @ one[j] for i in low for j in low if i != j]
    assert found.cos_low == pytest.approx(np.mean(pairs), abs=1e-9)

    middle = np.eye(len(ntk)) - 1 / len(ntk)
    same = (texts.labels[:, None] == texts.labels).astype(float)
    left, right = middle @ ntk @ middle, middle @ same @ middle
    wanted = np.trace(left @ right) / np.sqrt(np.trace(left @ left) * np.trace(right @ right))
    assert found.alignment == pytest.approx(wanted, abs=1e-9)


def test_the_encoder_stays_as_it_is(tiny_bert):
    encoder = load_encoder(tiny_bert, dtype="float64")
    gradient_figures(encoder, sample(2), 2, max_length=16)
    assert not any(p.requires_grad for p in encoder.model.parameters())


def test_random_signs_are_unbiased():
    rng = np.random.default_rng(0)
    n_classes = EXACT_CLASSES + 2
    chances = rng.dirichlet(np.ones(n_classes), size=1)
    covariance = np.diag(chances[0]) - np.outer(chances[0], chances[0])
    centring = np.eye(n_classes) - 1 / n_classes
    sums = {"fisher": 0.0, "ntk": 0.0}
    for _ in range(4000):
        parts = cotangents(chances, np.array([1]), rng)
        for name in sums:
            columns, share = parts[name]
            sums[name] += sum(np.outer(c[0], c[0]) for c in columns) / share
    assert sums["fisher"] / 4000 == pytest.approx(covariance, abs=0.01)
    assert sums["ntk"] / 4000 == pytest.approx(centring, abs=0.03)


def test_no_head_sees_the_text_that_it_reads():
    rng = np.random.default_rng(1)
    states, labels = rng.standard_normal((16, 4)), np.arange(16) % 2
    weights, _ = crossed_heads(states, labels, 2, np.random.default_rng(2))
    for row in range(16):
        moved = states.copy()
        moved[row] += 5
        again, _ = crossed_heads(moved, labels, 2, np.random.default_rng(2))
        assert np.array_equal(weights[row], again[row])
        assert not np.array_equal(weights, again)


def test_alignment_is_one_with_the_classes_themselves():
    labels = np.arange(12) % 3
    same = (labels[:, None] == labels).astype(float)
    assert centred_alignment(same, same) == pytest.approx(1)
    assert centred_alignment(-same, same) == pytest.approx(-1)
    assert centred_alignment(np.eye(12), same) < 0.6


def test_opposed_gradients_of_unsure_texts_have_a_cosine_below_0():
    labels = np.arange(8) % 2
    sure = np.where(np.arange(8) < 2, 0.5, 0.9)
    label = np.ones((8, 8))
    label[0, 1] = label[1, 0] = -1
    found = figures_of(np.eye(8), np.ones(8), label, sure, labels)
    assert found.cos_low == -1
    assert found.cos_all == pytest.approx((56 - 4) / 56)


def test_one_text_of_a_second_class_is_too_few():
    labels = np.zeros(8, np.int64)
    labels[3] = 1
    with pytest.raises(DataError, match="two classes outside every fold"):
        crossed_heads(np.eye(8), labels, 2, np.random.default_rng(0))


def table_of(n_corpora, slope, seed=0):
    """Return samples and outcomes: fine-tuning gains `slope` times the alignment, and noise."""
    rng = np.random.default_rng(seed)
    measured, outcomes = [], []
    for k in range(n_corpora):
        own = {"encoder": "e", "task": f"t{k}", "corpus": f"c{k}"}
        figures = dict(zip(FIGURES, rng.standard_normal(len(FIGURES)), strict=True))
        measured.append({**own, "n0": 64, **figures})
        for n in (64, 256):
            gain = slope * figures["alignment"] + 0.01 * rng.standard_normal()
            for learner, accuracy in (("probe", 0.5), ("tuned", 0.5 + gain)):
                row = {"learner": learner, "n_train": n, "accuracy": accuracy, "failed": False}
                outcomes.append({**own, **row})
    return pd.DataFrame(measured), pd.DataFrame(outcomes)


def test_a_figure_that_tells_the_gain_is_found_and_no_other():
    found = judge(*table_of(30, 0.05))
    (own,) = found["learners"]
    groups = {g["group"]: g for g in own["groups"]}
    told = groups["alignment of the NTK with the classes"]
    assert told["low"] > 1
    assert groups["CoS-Low"]["low"] < 0.1
    rho = {(r["figure"], r["n"]): r["rho"] for r in own["correlations"]}
    assert rho["alignment", 256] > 0.9
    assert (found["samples"], found["labels"], own["corpora"]) == (30, [64], 30)


def test_a_learner_with_few_corpora_is_not_judged():
    assert judge(*table_of(7, 0.05))["learners"] == []


def test_from_file_to_figures(tiny_bert, tmp_path):
    place = tmp_path / "tiny.toml"
    tasks = [f"generated/{name}?n_train=80&n_eval=30" for name in ("sentiment", "topic")]
    place.write_text(
        f'name = "tiny"\nencoder = "{tiny_bert}"\nn_pool = 60\nn_evaluation = 20\n'
        f"sizes = [16, 32]\ndraws = [1, 1]\nmax_length = 16\n"
        f'learners = ["probe", "tuned"]\ntasks = {json.dumps(tasks)}\n'
    )
    task = generated_task("sentiment", n_train=80, n_eval=30).name
    rows = [
        {"encoder": "e", "task": task, "corpus": "c", "learner": name}
        | {"n_train": 16, "accuracy": 0.5, "failed": False}
        for name in ("probe", "tuned")
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "outcomes.parquet")
    command = ["gradient-study", place, "--outcomes", tmp_path / "outcomes.parquet"]
    command += ["--out", tmp_path / "out", "--cache-dir", tmp_path / "cache"]
    found = CliRunner().invoke(app, list(map(str, command)))
    assert found.exit_code == 0, found.output
    table = pd.read_csv(tmp_path / "out" / "gradients.csv")
    assert "1 samples" in found.output
    assert table[list(FIGURES)].notna().all(axis=None)
    assert json.loads((tmp_path / "out" / "gradients.json").read_text())["learners"] == []

    pd.DataFrame(rows).assign(task="other").to_parquet(tmp_path / "outcomes.parquet")
    found = CliRunner().invoke(app, list(map(str, command)))
    assert found.exit_code == DataError.exit_code
    assert "no task of the study" in found.output
