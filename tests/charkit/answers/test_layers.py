import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from charkit.answers.ranking.layers import layers
from charkit.errors import UsageError
from charkit.tasks import Split, Task

_spec = importlib.util.spec_from_file_location(
    "sweep_toys", Path(__file__).parents[1] / "heads" / "test_sweep.py"
)
toys = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toys)


def test_layers_of_a_task_with_a_signal(tiny_bert, tmp_store):
    answer = layers(toys.toy_task(), encoder=str(tiny_bert), store=tmp_store, executor=1)
    assert answer.signal
    assert answer.n == 80
    rows = answer.rows()
    assert [r["layer"] for r in rows] == [0, 1, 2]
    assert all(r["low"] <= r["accuracy"] <= r["high"] for r in rows)
    best = max(rows, key=lambda r: r["accuracy"])
    assert best["layer"] == answer.best
    assert best["tied_with_best"]
    json.dumps(rows)


def test_labels_that_no_text_explains_are_no_signal(tiny_bert, tmp_store):
    task = toys.toy_task(n_train=60, n_eval=200)
    rng = np.random.default_rng(3)

    def scrambled(part):
        return Split(part.texts, None, rng.permutation(part.labels))

    noise = Task(
        "noise", "classification", scrambled(task.train), scrambled(task.evaluation), ("a", "b")
    )
    answer = layers(noise, encoder=str(tiny_bert), store=tmp_store, executor=1)
    assert not answer.signal
    assert "no layer is above the controls" in answer.lines()[0]


def test_regression_compares_correlations(tiny_bert, tmp_store):
    answer = layers(toys.toy_regression(), encoder=str(tiny_bert), store=tmp_store, executor=1)
    assert answer.signal
    assert answer.metric == "correlation"
    assert "correlation" in answer.rows()[0]


def test_n_must_fit_the_sample(tiny_bert, tmp_store):
    for n in (1, 81):
        with pytest.raises(UsageError, match="n out of range: expected 2 to 80"):
            layers(toys.toy_task(), n=n, encoder=str(tiny_bert), store=tmp_store)


def test_asked_layers_alone_are_compared(tiny_bert, tmp_store):
    answer = layers(
        toys.toy_task(), n=32, layers=[-1, 0], encoder=str(tiny_bert), store=tmp_store, executor=1
    )
    assert [r["layer"] for r in answer.rows()] == [0, 2]
    assert "<table" in answer._repr_html_()
    assert dataclasses.is_dataclass(answer)


@pytest.mark.realdata
@pytest.mark.bundled
@pytest.mark.slow
def test_trec6_prefers_a_middle_layer(shared_data, bundled_encoder, tmp_store):
    answer = layers(str(shared_data / "trec6"), n=900, encoder="minilm", store=tmp_store)
    scores = dict(zip(answer.choice.layers, answer.choice.score, strict=True))
    assert 0 < answer.best < 6
    assert scores[answer.best] - scores[6] > 0.02
    assert answer.signal


@pytest.mark.realdata
@pytest.mark.bundled
@pytest.mark.slow
def test_rte_has_no_signal(shared_data, bundled_encoder, tmp_store):
    answer = layers(str(shared_data / "glue_rte"), encoder="minilm", store=tmp_store)
    assert not answer.signal
