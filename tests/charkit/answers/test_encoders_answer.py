import importlib.util
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import charkit
from charkit.answers.ranking import encoders as encoders_module
from charkit.answers.ranking.encoders import rank_encoders
from charkit.answers.ranking.layers import layers
from charkit.encoders import load_encoder
from charkit.errors import CellsFailedError, OfflineError, UnknownNameError, UsageError
from charkit.store.store import Store

_spec = importlib.util.spec_from_file_location(
    "sweep_toys", Path(__file__).parents[1] / "heads" / "test_sweep.py"
)
toys = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toys)

GIVEN = {"executor": 1, "seeds": (0, 1, 2)}


def blind_bert(source, folder):
    """Write an encoder that reads nothing: all word vectors are alike, so all words are."""
    from transformers import AutoTokenizer, BertModel

    model = BertModel.from_pretrained(source)
    model.embeddings.word_embeddings.weight.data[:] = 0.0
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoders(tiny_bert, tmp_path_factory):
    """Three folders: one that tells words apart, one that does not, one without weights."""
    place = tmp_path_factory.mktemp("ranked")
    shutil.copytree(tiny_bert, place / "reader")
    blind_bert(tiny_bert, place / "blind")
    shutil.copytree(tiny_bert, place / "broken")
    (place / "broken" / "model.safetensors").write_bytes(b"no weights at all")
    return place


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("ranked-store"))


@pytest.fixture(scope="module")
def answer(encoders, store):
    names = [str(encoders / "blind"), str(encoders / "reader"), f"random:{encoders / 'reader'}"]
    return rank_encoders(toys.toy_task(n_eval=120), encoder=names, store=store, **GIVEN)


def test_the_better_encoder_is_first_and_the_blind_one_does_not_tie(answer, encoders):
    order = [Path(row.encoder).name for row in answer.ranked]
    assert order[-1] == "blind"
    assert answer.best.tied_with_best
    assert answer.best.verdict.signal
    assert not answer.ranked[-1].tied_with_best
    assert not answer.ranked[-1].verdict.signal
    assert answer.failed == ()
    assert answer.ranked_by == "logme"
    tied = [row for row in answer.ranked if row.tied_with_best]
    assert list(answer.ranked[: len(tied)]) == tied
    logme = [row.rivals.logme for row in tied]
    assert logme == sorted(logme, reverse=True)


def test_ties_come_first_and_logme_orders_them(answer):
    def row(name, logme, *, tied):
        rivals = replace(answer.best.rivals, logme=logme)
        return replace(answer.best, encoder=name, rivals=rivals, tied_with_best=tied)

    rows = [
        row("far", 0.9, tied=False),
        row("low", 0.1, tied=True),
        row("high", 0.5, tied=True),
        row("unknown", math.nan, tied=True),
    ]
    score = np.array([0.1, 0.4, 0.3, 0.2])
    found = encoders_module._ordered(rows, score, by_logme=True)
    assert [r.encoder for r in found] == ["high", "low", "unknown", "far"]
    found = encoders_module._ordered(rows, score, by_logme=False)
    assert [r.encoder for r in found] == ["low", "high", "unknown", "far"]


def test_the_layer_is_that_of_the_largest_logme(encoders, store, monkeypatch):
    given = iter([0.1, 0.9, 0.2])  # layers 0, 1, 2
    monkeypatch.setattr(encoders_module, "log_evidence", lambda *a, **k: next(given))
    found = rank_encoders(
        toys.toy_task(n_eval=120), encoder=[str(encoders / "reader")], store=store, **GIVEN
    )
    assert (found.best.layer, found.ranked_by) == (1, "logme")


def test_a_metric_that_is_asked_for_ranks(encoders, store):
    names = [str(encoders / "blind"), str(encoders / "reader")]
    found = rank_encoders(
        toys.toy_task(n_eval=120), encoder=names, metric="accuracy", store=store, **GIVEN
    )
    assert found.ranked_by == "accuracy"
    assert [r.score for r in found.ranked] == sorted((r.score for r in found.ranked), reverse=True)
    assert "log_loss" not in found.rows()[0]


def test_rows_say_what_is_needed(answer):
    row = answer.rows()[0]
    assert list(row) == [
        "rank", "encoder", "layer", "accuracy", "low", "high", "log_loss", "logme", "tied_with_best",
        "signal", "layers", "width", "gflop_per_text", "rival_h_score", "rival_knn",
    ]  # fmt: skip
    assert row["low"] <= row["accuracy"] <= row["high"]
    assert (row["layers"], row["width"]) == (2, 32)
    assert row["gflop_per_text"] > 0
    assert 0.5 < row["rival_knn"] <= 1
    assert math.isnan(answer.rows()[-1]["logme"])  # constant features
    json.dumps([answer.rows(), answer.about()])
    assert "<table" in answer._repr_html_()
    assert len(answer.to_pandas()) == 3


def test_random_weights_that_do_as_well_are_said(answer):
    """The tiny encoder is random itself, so that its random twin reads words as well."""
    lines = "\n".join(answer.lines())
    assert "has random weights and ties with the best" in lines
    assert "rivals that train no head would choose: H-score" in lines


@pytest.mark.parametrize(
    ("share", "tied", "shown"), [(1 / 2, True, True), (0.9, True, False), (1 / 2, False, False)]
)
def test_a_smaller_encoder_that_ties_is_named(answer, share, tied, shown):
    best = answer.best
    small = replace(best, encoder="small", operations=share * best.operations, tied_with_best=tied)
    lines = "\n".join(replace(answer, ranked=(best, small)).lines())
    assert ("small ties with the best and takes 2.0 times fewer operations" in lines) is shown


def test_an_encoder_alone_is_what_layers_says(encoders, store):
    task = toys.toy_task(n_eval=120)
    name = str(encoders / "reader")
    alone = rank_encoders(task, encoder=[name], n=20, metric="accuracy", store=store, **GIVEN)
    known = layers(task, encoder=name, n=20, store=store, **GIVEN)
    assert (alone.best.layer, alone.n) == (known.best, 20)
    place = known.choice.layers.index(known.best)
    assert alone.best.score == known.choice.score[place]
    assert alone.best.low == known.choice.low[place]
    assert alone.best.verdict.signal == known.signal


def test_a_second_call_computes_nothing(answer, encoders, store, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("finished work was done again")

    monkeypatch.setattr("charkit.heads.sweep.job.compute", never)
    monkeypatch.setattr("charkit.encoders.run.BatchRunner", never)
    names = [
        row.encoder.replace(name, str(encoders / name), 1)
        for row in answer.ranked
        for name in ("reader", "blind")
        if row.encoder.endswith(name)
    ]
    again = rank_encoders(toys.toy_task(n_eval=120), encoder=names, store=store, **GIVEN)
    pd.testing.assert_frame_equal(again.to_pandas(), answer.to_pandas())


def test_what_fails_is_named_and_the_rest_is_ranked(encoders, store):
    names = [str(encoders / "broken"), str(encoders / "reader"), "bert-base-uncased"]
    with pytest.raises(CellsFailedError, match="2 of 3 encoders failed") as caught:
        rank_encoders(toys.toy_task(n_eval=120), encoder=names, store=store, **GIVEN)
    assert caught.value.exit_code == 1
    partial = caught.value.partial
    assert [Path(row.encoder).name for row in partial.ranked] == ["reader"]
    assert {Path(f.encoder).name for f in partial.failed} == {"broken", "bert-base-uncased"}
    reasons = {Path(f.encoder).name: str(f.error) for f in partial.failed}
    assert "cannot be read" in reasons["broken"]
    assert "charkit fetch" in reasons["bert-base-uncased"]
    assert sum(line.startswith("failed: ") for line in partial.lines()) == 2


def test_an_unforeseen_error_of_one_encoder_is_its_own(encoders, store, monkeypatch):
    from charkit.answers.ranking import encoders as module

    real = module.run_sweep

    def odd(plan, **given):
        if plan.encoders[0].name.endswith("blind"):
            raise KeyError("layer_9")
        return real(plan, **given)

    monkeypatch.setattr(module, "run_sweep", odd)
    names = [str(encoders / "blind"), str(encoders / "reader")]
    with pytest.raises(CellsFailedError, match="KeyError: 'layer_9'") as caught:
        rank_encoders(toys.toy_task(n_eval=120), encoder=names, store=store, **GIVEN)
    assert len(caught.value.partial.ranked) == 1


def test_when_none_is_left_the_reason_is_raised(encoders, tmp_store):
    with pytest.raises(OfflineError):
        rank_encoders(toys.toy_task(), encoder=["bert-base-uncased"], store=tmp_store, **GIVEN)
    with pytest.raises(CellsFailedError, match="all 2 encoders failed") as caught:
        rank_encoders(
            toys.toy_task(),
            encoder=["bert-base-uncasd", "bert-base-uncased"],
            store=tmp_store,
            **GIVEN,
        )
    assert caught.value.exit_code == 1  # the reasons differ
    with pytest.raises(UnknownNameError, match="bert-base-uncased"):
        rank_encoders(toys.toy_task(), encoder=["bert-base-uncasd"], store=tmp_store, **GIVEN)


def test_wrong_arguments_are_refused_at_once(encoders, tmp_store):
    name = str(encoders / "reader")
    for names in ([], [name, name]):
        with pytest.raises(UsageError, match="each named once"):
            rank_encoders(toys.toy_task(), encoder=names, store=tmp_store, **GIVEN)
    with pytest.raises(UsageError, match="n out of range"):
        rank_encoders(toys.toy_task(), encoder=[name], n=999, store=tmp_store, **GIVEN)
    with pytest.raises(UsageError, match="layer out of range"):
        rank_encoders(toys.toy_task(), encoder=[name], layers=[7], store=tmp_store, **GIVEN)


def test_loaded_encoders_and_regression(encoders, store):
    loaded = load_encoder(str(encoders / "reader"), device="cpu", dtype="float32")
    found = charkit.rank_encoders(toys.toy_regression(), encoder=[loaded], store=store, **GIVEN)
    assert found.metric == "correlation"
    assert math.isfinite(found.best.rivals.logme)
    assert math.isnan(found.best.rivals.knn)
    assert "rivals" not in "\n".join(found.lines())  # nothing to choose from


def test_folders_of_one_name_are_told_apart_and_one_folder_is_ranked_once(
    encoders, store, tmp_path
):
    import os
    import shutil

    for run in ("run1", "run2"):
        shutil.copytree(encoders / "reader", tmp_path / run / "best")
    first, second = (str(tmp_path / run / "best") for run in ("run1", "run2"))
    aliases = [first + "/", os.path.relpath(first)]
    found = rank_encoders(
        toys.toy_task(n_eval=120), encoder=[first, second, *aliases], n=20, store=store, **GIVEN
    )
    assert sorted(row["encoder"] for row in found.rows()) == ["run1/best", "run2/best"]
    assert set(found.about()["reasons"]) == {"run1/best", "run2/best"}
    assert str(tmp_path) not in str(found.about())
