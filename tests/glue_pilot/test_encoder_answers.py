"""Answers of estimate under another encoder, next to what heads reach."""

import json

import pytest

from charkit.encoders import load_encoder
from glue_pilot.encoders.answers import MULTIPLES, N_LABELS, answer_rows, held_rows, write_answers
from glue_pilot.samples import load_known_tasks


def test_an_answer_is_checked_with_the_labels_it_was_about(tiny_bert, tmp_store, tmp_path):
    known = load_known_tasks(["generated/sentiment?n_train=560&n_eval=80&seed=1"], None)
    encoder = load_encoder(str(tiny_bert), device="cpu", dtype="float32")
    rows = answer_rows(known, [encoder], tmp_store)
    assert [row["multiple"] for row in rows] == list(MULTIPLES)
    for row in rows:
        assert not row["trustworthy"]  # two layers: far from the encoders that were measured
        assert row["low"] <= row["mean"] <= row["high"]
        assert row["held"] == (row["low"] <= row["accuracy"] <= row["high"])
        assert (80 * row["accuracy"]) == pytest.approx(round(80 * row["accuracy"]))
    found = json.loads(write_answers(rows, tmp_path).read_text())
    assert found["n_labels"] == N_LABELS
    assert len(found["answers"]) == len(rows)
    assert str(tiny_bert) not in json.dumps(found)


def test_tasks_are_counted_by_encoder_and_multiple():
    rows = [
        {"encoder": "a", "multiple": m, "task": t, "corpus": t, "held": t != "t0" or m == 4}
        for m in (2, 4)
        for t in (f"t{i}" for i in range(10))
    ]
    twice, four = held_rows(rows)
    assert (twice["held_tasks"], twice["tasks"], twice["held"]) == (9, 10, 0.9)
    assert twice["held_low"] < 0.9 < twice["held_high"]
    assert (four["held_tasks"], four["held"]) == (10, 1.0)
    assert four["held_low"] < 0.8  # ten of ten prove no more
