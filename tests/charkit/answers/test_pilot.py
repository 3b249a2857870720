import numpy as np
import pytest
from fake_metamodel import FakeMetamodel

import charkit
from charkit.answers.accuracy import estimate as estimate_module
from charkit.answers.accuracy.shipped import Shipped
from charkit.answers.pilot.pilot import KIND, make_pilot, pilot_evidence
from charkit.tasks.card import load_sample
from charkit.tasks.nested import sample_task


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return charkit.load_encoder(str(tiny_bert), dtype="float32")


def pilot(n=60, *, n_eval=40, classes=None):
    task = charkit.generated_task("sentiment", n_train=n, n_eval=n_eval)
    return make_pilot(load_sample(task, classes=classes))


def test_one_row_a_layer_with_what_can_be_known(encoder, tmp_store):
    found = pilot_evidence(pilot(), encoder, store=tmp_store)
    rows = found.rows
    assert rows["layer"].tolist() == [0, 1, 2]
    assert (rows["n0"] == 60).all()
    assert (rows["n_unlabelled"] == 40).all()
    known = ["oof_accuracy", "curve_500", "random_accuracy", "atc"]
    assert rows[known].notna().all(axis=None)
    assert rows.filter(like="fisher").isna().all(axis=None), "the metamodel reads none"
    assert found.signal is not None
    assert charkit.verify(store=tmp_store) == []


def test_a_second_call_reads_the_store(encoder, tmp_store):
    first = pilot_evidence(pilot(), encoder, store=tmp_store)
    again = pilot_evidence(pilot(), encoder, store=tmp_store)
    assert (first.found, again.found) == (False, True)
    assert first.rows.equals(again.rows)
    assert first.signal == again.signal
    assert len(tmp_store.entries([KIND])) == 1


def test_labels_are_part_of_the_key_and_names_are_not(encoder, tmp_store):
    task = charkit.generated_task("sentiment", n_train=40, n_eval=20)
    pilot_evidence(make_pilot(load_sample(task)), encoder, store=tmp_store)
    turned = charkit.Split(task.train.texts, None, 1 - task.train.labels)
    other = charkit.Task("t", "classification", turned, task.evaluation, task.class_names)
    pilot_evidence(make_pilot(load_sample(other)), encoder, store=tmp_store)
    assert len(tmp_store.entries([KIND])) == 2


def test_without_labels_there_is_evidence_of_the_texts_alone(encoder, tmp_store):
    found = pilot_evidence(pilot(classes=2), encoder, store=tmp_store)
    assert found.signal is None
    assert found.labelled_texts is None
    assert (found.rows["n0"] == 0).all()
    assert found.rows["oof_accuracy"].isna().all()
    assert found.rows["decay"].notna().all()


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [0, 0, 0, 1, 2, 2], [0, 1, 2, 3, 3, 3]])
def test_a_few_labels_and_no_other_text_suffice(encoder, tmp_store, labels):
    texts = charkit.generated_task("sentiment", n_train=20, n_eval=20).train.texts
    names = tuple("abcd"[: max(labels) + 1])
    part = charkit.Split(texts[: len(labels)], None, labels)
    few = charkit.Task("few", "classification", part, None, names)
    found = pilot_evidence(make_pilot(load_sample(few)), encoder, store=tmp_store)
    assert np.isfinite(found.rows["oof_accuracy"]).all()
    assert found.rows["atc"].isna().all()
    assert found.unlabelled_texts is None


def test_the_whole_answer_from_texts(tiny_bert, tmp_store, monkeypatch):
    shipped = Shipped(FakeMetamodel())
    monkeypatch.setattr(estimate_module, "shipped_models", lambda encoder: shipped)
    answer = charkit.estimate(
        "generated/sentiment?n_train=80&n_eval=40",
        target=0.8,
        encoder=str(tiny_bert),
        store=tmp_store,
    )
    assert len(answer.rows()) == 5
    assert len(answer.observed) == 5
    assert answer.to_dict()["eval_accuracy"] is not None


@pytest.mark.realdata
@pytest.mark.bundled
@pytest.mark.slow
@pytest.mark.parametrize(("name", "signal"), [("trec6", True), ("mr", True), ("glue_rte", False)])
def test_real_pilots_show_a_signal_where_there_is_one(
    name, signal, shared_data, bundled_encoder, tmp_store
):
    task = sample_task(charkit.load_task(str(shared_data / name)), 128)
    found = pilot_evidence(
        make_pilot(load_sample(task)),
        charkit.load_encoder(bundled_encoder),
        store=tmp_store,
    )
    assert found.signal is not None
    assert found.signal.signal is signal
    assert not found.labelled_texts.foreign


@pytest.mark.parametrize("stage", ["gather_evidence", "pilot_signal"])
def test_a_stopped_run_resumes_at_its_stage(encoder, tmp_store, tmp_path, stage, monkeypatch):
    from charkit.answers.pilot import stages as pilot_stages
    from charkit.store.store import Store

    order = ["gather_evidence", "random_accuracy", "pilot_signal"]
    calls = []
    for name in order:
        real = getattr(pilot_stages, name)

        def counted(*given, _name=name, _real=real, **more):
            calls.append(_name)
            if _name == stage and calls.count(_name) == 1:
                raise KeyboardInterrupt
            return _real(*given, **more)

        monkeypatch.setattr(pilot_stages, name, counted)
    with pytest.raises(KeyboardInterrupt):
        pilot_evidence(pilot(), encoder, store=tmp_store)
    assert calls == order[: order.index(stage) + 1]
    again = pilot_evidence(pilot(), encoder, store=tmp_store)
    assert calls[order.index(stage) + 1 :] == order[order.index(stage) :]
    whole = pilot_evidence(pilot(), encoder, store=Store(tmp_path / "other"))
    assert again.rows.equals(whole.rows)
    assert again.signal == whole.signal
