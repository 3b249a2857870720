"""The meta-dataset on generated tasks under a tiny encoder: whole, resumable, without leaks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from charkit.encoders.stream import open_states
from charkit.errors import CellsFailedError, UsageError
from charkit.heads.solver.softmax import fit_softmax
from charkit.heads.sweep.cost import CHARS_PER_TOKEN
from charkit.store.store import Store
from charkit.tasks import Split
from charkit.tasks.nested import nested_order
from glue_pilot.__main__ import app
from glue_pilot.meta_dataset import pilots
from glue_pilot.meta_dataset import tables as metadata
from glue_pilot.meta_dataset.card import count, count_joined, n_tokens, write_metadata
from glue_pilot.meta_dataset.study import (
    BaseWork,
    MetadataStudy,
    load_bases,
    load_studies,
    read_base,
    read_metadata_study,
    run_base,
)
from glue_pilot.meta_dataset.tables import join_metadata, make_metadata, plan_rows
from metamodel.schema import SchemaError, check_evidence, check_outcomes


@pytest.fixture(scope="module")
def study(tiny_bert) -> MetadataStudy:
    return MetadataStudy(
        name="tiny",
        encoder=str(tiny_bert),
        n_train=120,
        n_evaluation=60,
        n_unlabelled=40,
        n_variants=3,
        smallest_train=40,
        smallest_evaluation=15,
        sizes=(16, 32, 64),
        small_size=32,
        draws=(2, 1),
        variant_draws=(1, 1),
        pilots=(0, 16, 32),
        variant_pilots=(0, 16),
        pilot_draws=(2, 1),
        n_fisher=8,
        fisher_pilots=(16,),
        fisher_draws=1,
        fisher_variant_pilots=(16,),
        fisher_max_length=16,
        tasks=(
            "generated/sentiment?n_train=150&n_eval=80",
            "generated/topic?n_train=150&n_eval=80",
        ),
    )


@pytest.fixture(scope="module")
def bases(study):
    return load_bases(study, None)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("metadata") / "store")


@pytest.fixture(scope="module")
def tables(study, bases, store):
    return make_metadata(study, bases, store, executor=1)


def test_tables_keep_the_contract_and_join(study, tables):
    check_evidence(tables.evidence)
    check_outcomes(tables.outcomes)
    assert set(tables.evidence["task"]) == set(tables.outcomes["task"])
    counts = count(tables)
    assert counts["variants"] == 6
    pairs = tables.evidence.merge(
        tables.outcomes.drop_duplicates(["task", "subset", "layer", "n_train"]),
        on=["encoder", "task", "corpus", "subset", "layer"],
    )
    expected = (pairs["n_train"] >= pairs["n0"]).sum()
    assert counts["joined_rows"] == count_joined(tables.evidence, tables.outcomes) == expected > 100


def test_evidence_has_what_pilots_allow(tables):
    table = tables.evidence
    none, some = table[table["n0"] == 0], table[table["n0"] > 0]
    assert none["oof_accuracy"].isna().all()
    assert none["rank_entropy"].notna().all()
    assert some[["oof_accuracy", "random_accuracy", "atc"]].notna().all(axis=None)
    embedded = table["fisher_norm"].notna()
    assert set(table.loc[embedded, "n0"]) == {16}
    assert table.loc[embedded, "fisher_shift"].isna().all(), "no library centres the distances"


def test_the_corpus_stands_in_every_row(bases, tables):
    corpora = {task.name: task.corpus for task in bases}
    for table in (tables.evidence, tables.outcomes):
        assert (table["corpus"] == table["task"].map(corpora)).all()


def test_an_outcome_is_what_a_head_reaches(study, bases, store, tables):
    task = bases[0]
    work = BaseWork(task, study, store.root)
    base = read_base(store, run_base(work))
    labels = np.array(task.train.labels)
    order = nested_order(labels, seed=1, kind="classification")[:32]
    features = open_states(store, base.train_states).to_numpy()[:, order]
    held_out = open_states(store, base.evaluation_states).to_numpy()
    predicted = fit_softmax(features, labels[order], task.n_classes).probabilities(held_out).numpy()
    accuracy = (predicted.argmax(2) == task.evaluation.labels).mean(1)
    rows = tables.outcomes.query("task == @task.name and subset == 'all' and n_train == 32")
    np.testing.assert_allclose(rows.query("seed == 1")["accuracy"], accuracy, atol=0.02)
    whole = tables.outcomes.query("task == @task.name and subset == 'all' and n_train == 120")
    assert set(whole["seed"]) == {0}


def test_a_second_run_reads_the_store(study, bases, store, tables, monkeypatch):
    def refuse(work):
        raise AssertionError("computed again")

    for name in ("run_base", "run_truth", "run_fisher", "run_evidence"):
        monkeypatch.setattr(metadata, name, refuse)
    again = make_metadata(study, bases, store, executor=1)
    pd.testing.assert_frame_equal(again.evidence, tables.evidence)
    pd.testing.assert_frame_equal(again.outcomes, tables.outcomes)
    assert all(row["to do"] == 0 for row in plan_rows(study, bases, store))


def test_stopped_and_taken_up_again_equals_undisturbed(study, bases, tables, tmp_path, monkeypatch):
    """Every stage is stopped once, in the middle of its work."""
    store = Store(tmp_path / "store")
    for name in ("run_base", "run_truth", "run_fisher", "run_evidence"):
        real, calls = getattr(metadata, name), SimpleNamespace(n=0)

        def stop(work, real=real, calls=calls):
            calls.n += 1
            if calls.n == 2:
                raise KeyboardInterrupt
            return real(work)

        with monkeypatch.context() as patch:
            patch.setattr(metadata, name, stop)
            with pytest.raises(KeyboardInterrupt):
                make_metadata(study, bases, store, executor=1)
    rows = {row["stage"]: row["to do"] for row in plan_rows(study, bases, store)}
    assert rows["tasks"] == 0 < rows["evidence"]
    resumed = make_metadata(study, bases, store, executor=1)
    pd.testing.assert_frame_equal(resumed.evidence, tables.evidence)
    pd.testing.assert_frame_equal(resumed.outcomes, tables.outcomes)


def test_a_failure_is_told_and_the_rest_is_kept(study, bases, tmp_path, monkeypatch):
    real = metadata.run_truth

    def fail(work):
        if work.variant.name == "all":
            raise ValueError("no such luck")
        return real(work)

    store = Store(tmp_path / "store")
    monkeypatch.setattr(metadata, "run_truth", fail)
    with pytest.raises(CellsFailedError, match=r"2 of 6 failed.*no such luck"):
        make_metadata(study, bases, store, executor=1)
    rows = {row["stage"]: row["to do"] for row in plan_rows(study, bases, store)}
    assert rows["outcomes"] == 2


def test_no_evaluation_label_reaches_the_evidence(study, bases, tmp_path):
    """Other labels of the evaluation rows: outcomes change, evidence does not, to the bit."""
    whole = replace(study, n_variants=1)
    shuffled = []
    for task in bases:
        labels = np.random.default_rng(3).permutation(task.evaluation.labels)
        shuffled.append(replace(task, evaluation=replace(task.evaluation, labels=labels)))
    one = make_metadata(whole, bases, Store(tmp_path / "one"), executor=1)
    other = make_metadata(whole, shuffled, Store(tmp_path / "other"), executor=1)
    assert (one.outcomes["accuracy"] != other.outcomes["accuracy"]).any()
    pd.testing.assert_frame_equal(one.evidence, other.evidence, check_exact=True)


def test_known_tasks_of_the_same_corpus_are_not_looked_at(monkeypatch):
    entries = [SimpleNamespace(corpus=corpus, embedding=corpus) for corpus in ("a", "b", "a", "c")]
    library = SimpleNamespace(near_size=lambda n: 128, matching=lambda one, n: entries)
    monkeypatch.setattr(pilots, "_library", lambda fingerprint: library)
    seen = {}
    monkeypatch.setattr(pilots, "fisher_evidence", lambda one, **given: seen.update(given))
    work = SimpleNamespace(base=SimpleNamespace(corpus="a"), encoder_fingerprint="x")
    pilots._fisher(work, (SimpleNamespace(n_samples=100), None))
    assert seen["library"] == ["b", "c"]


def test_without_a_random_encoder_only_its_accuracy_is_missing(study, bases, tables, tmp_path):
    plain = replace(study, random_encoder=False)
    made = make_metadata(plain, bases[:1], Store(tmp_path), executor=1)
    whole = tables.evidence[tables.evidence["task"] == bases[0].name].reset_index(drop=True)
    assert made.evidence["random_accuracy"].isna().all()
    assert whole["random_accuracy"].notna().any()
    others = [name for name in whole if name != "random_accuracy"]
    pd.testing.assert_frame_equal(made.evidence[others], whole[others])


def test_what_is_written_says_what_it_is(study, tables, tmp_path):
    written = write_metadata(tables, [study], tmp_path)
    assert all(path.is_file() for path in written)
    pd.testing.assert_frame_equal(pd.read_parquet(written[0]), tables.evidence)
    card = written[2].read_text()
    assert all(f"`{column}`" in card for column in tables.evidence.columns)
    numbers = json.loads(written[3].read_text())
    assert numbers["counts"] == json.loads(json.dumps(count(tables)))
    assert set(numbers["seconds"]) == {"tasks", "outcomes", "embeddings", "evidence"}


def test_studies_are_joined(study, bases, store, tables, tmp_path):
    parts = [make_metadata(study, [task], store, executor=1) for task in reversed(bases)]
    joined = join_metadata(parts)
    pd.testing.assert_frame_equal(joined.evidence, tables.evidence)
    pd.testing.assert_frame_equal(joined.outcomes, tables.outcomes)
    assert joined.seconds["tasks"] == pytest.approx(sum(p.seconds["tasks"] for p in parts))
    other = replace(study, name="other", n_train=17)
    card = write_metadata(joined, [study, other], tmp_path)[2].read_text()
    assert card.startswith(f"# {study.name}:")
    assert "17 training" in card
    with pytest.raises(SchemaError, match="twice"):
        join_metadata([parts[0], parts[0]])


def test_a_task_in_two_studies_is_refused(tmp_path):
    file = Path("glue_pilot/metadata_smoke.toml")
    other = tmp_path / "other.toml"
    other.write_text(file.read_text())
    assert len(load_studies([file], None)) == 1
    with pytest.raises(UsageError, match=r"other\.toml: expected each task in one study"):
        load_studies([file, other], None)


def test_what_is_judged_on_is_not_learned_from():
    named = {
        name: read_metadata_study(f"glue_pilot/{name}.toml").tasks
        for name in ("metadata", "metadata_more", "transfer")
    }
    tasks = [task for names in named.values() for task in names]
    assert len(tasks) == len(set(tasks)) > 80


def test_the_plan_is_told_without_computing(tmp_path):
    result = CliRunner().invoke(
        app,
        ["metadata", "glue_pilot/metadata_smoke.toml", "--dry-run", "--cache-dir", str(tmp_path)],
    )
    assert result.exit_code == 0, result.output
    assert "outcomes" in result.output
    assert "hours" in result.output
    assert not list(tmp_path.rglob("*.safetensors"))


def test_hours_grow_with_the_tokens():
    texts = Split(("four", "eight ch"), labels=(0, 1))
    assert n_tokens(texts, 2, max_length=64) == pytest.approx(12 / CHARS_PER_TOKEN)
    assert n_tokens(texts, 200, max_length=64) == pytest.approx(1200 / CHARS_PER_TOKEN)
    assert n_tokens(texts, 2, max_length=1) == pytest.approx(2)  # longer texts are cut
    pairs = Split(("four", "eight ch"), labels=(0, 1), pairs=("", "more"))
    assert n_tokens(pairs, 2, max_length=64) == pytest.approx(16 / CHARS_PER_TOKEN)
    assert n_tokens(texts.take([]), 3, max_length=64) == 0
