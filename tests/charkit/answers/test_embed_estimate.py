"""charkit embed --dry-run: what is counted, what the store has already, nothing computed."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import charkit
from charkit.answers.embedding.cost import estimate_embedding
from charkit.answers.embedding.embed import choose_options, plan_embedding
from charkit.cli.app import app
from charkit.encoders import load_encoder
from charkit.encoders.tokens import tokenise

runner = CliRunner()


@pytest.fixture(scope="module")
def task():
    return charkit.generated_task("sentiment", n_train=60, n_eval=20)


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return load_encoder(str(tiny_bert), device="cpu", dtype="float32")


@pytest.fixture
def planned(task, encoder, tmp_store):
    def plan(*, estimator="auto", options=None, task=task, **rest):
        chosen = choose_options(estimator, **(options or {}))
        return plan_embedding(task, options=chosen, encoder=encoder, store=tmp_store, **rest)

    return plan


@pytest.fixture
def cost(planned, monkeypatch):
    monkeypatch.setattr("charkit.answers.embedding.cost.matmul_rate", lambda device, dtype: 1e8)

    def estimated(**arguments):
        return estimate_embedding(planned(**arguments))

    return estimated


def test_counts(task, encoder, cost):
    expected = cost(split="evaluation", head_layers=(1, 2))
    train, other = expected.samples
    lengths = tokenise(
        encoder, task.train.texts, None, max_length=encoder.text_length(None)
    ).lengths
    assert (train.sample, train.n_samples, train.n_tokens) == ("train", 60, lengths.sum())
    assert (other.sample, other.n_samples) == ("evaluation", 20)
    assert (train.estimator, train.n_backward, train.n_steps) == ("exact", 2, 0)
    row = expected.rows()[0]
    assert (row["layers"], row["heads"], row["in store"]) == ("1,2", "1,2", False)
    assert expected.total()["seconds"] == train.seconds + other.seconds > 0
    assert expected.total()["disk_bytes"] > 0
    assert "cpu" in expected.lines()[-1]


def test_passes_follow_the_estimator(cost, encoder):
    labels = [k % 7 for k in range(60)]
    texts = charkit.generated_task("sentiment", n_train=60, n_eval=20).train.texts
    many = charkit.Task(
        "many", "classification", charkit.Split(texts, labels=labels), class_names=tuple("abcdefg")
    )
    found = {
        name: cost(task=many, estimator=name, options=options).samples[0]
        for name, options in {
            "auto": {},
            "exact": {},
            "sketch": {"n_draws": 3},
            "empirical": {},
            "variational": {"n_steps": 5},
        }.items()
    }
    assert {k: v.n_backward for k, v in found.items()} == {
        "auto": 1, "exact": 6, "sketch": 3, "empirical": 1, "variational": 1,
    }  # fmt: skip
    assert found["auto"].estimator == "sketch"
    assert (found["variational"].estimator, found["variational"].n_steps) == ("variational", 5)
    assert found["variational"].seconds > 2 * found["auto"].seconds
    chosen = cost(task=many, options={"relative_error": 0.05})
    assert chosen.samples[0].n_backward == 6
    real = charkit.Task("real", "regression", charkit.Split(texts, labels=[k / 7 for k in labels]))
    assert cost(task=real).samples[0].n_backward == 1


def test_what_is_not_known_beforehand_is_said(cost):
    assert any("at most" in line for line in cost(options={"stop_at": 0.99}).lines())
    assert any("5 steps" in line for line in _variational(cost).lines())


def _variational(cost):
    return cost(estimator="variational", options={"n_steps": 5})


def test_kept_layers_take_room(cost, encoder):
    kept, plain = (
        cost(options={"layers": (2,)}, cache_layer=layer).samples[0] for layer in (1, None)
    )
    assert kept.disk_bytes - plain.disk_bytes == kept.n_tokens * encoder.width * 4


def test_what_the_store_has_costs_nothing(cost, planned, tmp_store):
    assert tmp_store.entries() == []
    first = cost()
    assert tmp_store.entries() == []
    planned().answer()
    again = cost()
    assert again.samples[0].found
    assert again.total() == {"seconds": 0, "disk_bytes": 0}
    assert "nothing would be computed" in again.lines()[0]
    other = cost(estimator="monte_carlo")
    assert 0 < other.samples[0].disk_bytes < first.samples[0].disk_bytes  # the head is there


def embed(tiny_bert, cache, *more):
    given = ["generated/sentiment?n_train=60&n_eval=20", "-e", str(tiny_bert), "--device", "cpu"]
    result = runner.invoke(app, ["embed", *given, "--cache-dir", str(cache), *more])
    assert result.exit_code == 0, result.output
    return result


def test_the_command_computes_nothing(tiny_bert, tmp_path):
    out = tmp_path / "none" / "a.safetensors"
    table = embed(tiny_bert, tmp_path, "--dry-run", "--out", str(out))
    assert "backward" in table.stdout
    assert "of work" in table.stdout
    assert not (tmp_path / "fisher").exists()
    assert not (tmp_path / "states").exists()
    assert not out.parent.exists()
    plain = embed(
        tiny_bert, tmp_path, "--dry-run", "--format", "json", "--estimator", "variational"
    )
    said = json.loads(plain.stdout)
    assert said["samples"][0]["steps"] == 100
    assert set(said["total"]) == {"seconds", "disk_bytes"}
    assert said["notes"]


def test_the_command_searches_and_says_how_long(tiny_bert, tmp_path):
    options = ("--estimator", "variational", "--beta", "1e-8", "--steps", "4")
    found = embed(tiny_bert, tmp_path, *options)
    assert "4 steps of a batch each" in found.stderr
    assert "variational_fisher(gauss_newton, learned prior, beta=1e-08)" in found.stdout
    again = embed(tiny_bert, tmp_path, *options)
    assert "nothing was computed" in again.stderr


def test_the_command_shows_what_it_refuses(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr("charkit.fisher.variational.fit.UNTRUSTED", 0.0)
    given = ["generated/sentiment?n_train=60&n_eval=20", "-e", str(tiny_bert), "--device", "cpu"]
    given += ["--cache-dir", str(tmp_path), "--estimator", "variational", "--steps", "4"]
    result = runner.invoke(app, ["embed", *given])
    assert result.exit_code == 5
    assert "residual" in result.stderr
    assert "l2_corrected" in result.stdout
