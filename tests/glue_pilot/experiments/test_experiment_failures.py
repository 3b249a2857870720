from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from charkit.encoders import load_encoder
from charkit.errors import UsageError
from charkit.tasks import Split, load_task
from glue_pilot.experiments.base import Workspace
from glue_pilot.experiments.failures import (
    EXPERIMENT,
    FailureSettings,
    ask,
    case_table,
    finding,
    run,
    scores,
)
from glue_pilot.experiments.parts.failures_cases import (
    KINDS,
    LANGUAGE,
    MANY,
    NO_SIGNAL,
    NOISE,
    PLAIN,
    SHIFT,
    TINY,
    base_of,
    cases_of,
    many_classes,
    other_domain,
    scrambled,
)

SOURCE = "generated/sentiment?n_train=300&n_eval=80&seed=3"
SIZES = {"n": 32, "pool": 256, "n_eval": 60}


@pytest.fixture(scope="module")
def base():
    return base_of(load_task(SOURCE), "toy", **SIZES)


@pytest.fixture(scope="module")
def cases(base):
    return {case.kind + case.name: case for case in cases_of(base, tiny=(8,), noise=(0.4,))}


def one(cases, kind):
    return next(case for case in cases.values() if case.kind == kind)


def test_each_kind_of_failure_is_made(cases):
    assert {case.kind for case in cases.values()} == {
        PLAIN,
        NO_SIGNAL,
        TINY,
        NOISE,
        LANGUAGE,
        SHIFT,
    }
    assert one(cases, PLAIN).expected == one(cases, NOISE).expected == ()
    assert one(cases, TINY).expected == ("tiny_sample",)


def test_the_tool_gets_a_sample_and_texts_without_labels(cases):
    for case in cases.values():
        task = case.sample
        assert len(task.train) == case.n
        assert task.evaluation.labels is None
        assert task.evaluation.texts == case.evaluated.texts
        assert task.corpus == "toy"


def test_larger_draws_of_the_first_seed_begin_with_the_sample(base):
    assert base.rows(64, 0)[:32].tolist() == base.rows(32, 0).tolist()
    assert base.rows(64, 1).tolist() != base.rows(64, 0).tolist()


def test_shuffled_labels_keep_their_counts_and_their_texts(base, cases):
    case = one(cases, NO_SIGNAL)
    assert case.train.texts == base.train.texts
    assert np.bincount(case.train.labels).tolist() == np.bincount(base.train.labels).tolist()
    assert (np.array(case.train.labels) != base.train.labels).mean() > 0.3


def test_noise_changes_the_share_that_is_asked_for(base, cases):
    case = one(cases, NOISE)
    for part, own in ((case.train, base.train), (case.same, base.same)):
        assert (part.labels != own.labels).mean() == pytest.approx(0.4, abs=0.01)


def test_the_shifted_half_is_the_longer_one(cases):
    case = one(cases, SHIFT)
    assert max(map(len, case.train.texts)) < min(map(len, case.evaluated.texts))
    assert max(map(len, case.same.texts)) < min(map(len, case.evaluated.texts))


def test_scrambled_letters_keep_all_but_the_letters():
    split = Split(("Ab ab, 12!",), ("zz",), np.array([1]))
    other = scrambled(split)
    (text,) = other.texts
    assert text[:2].lower() == text[3:5]
    assert text[0].isupper()
    assert text[5:] == ", 12!"
    assert text != split.texts[0]
    assert other.pairs[0][0] == other.pairs[0][1]
    assert other.labels.tolist() == [1]


def test_the_warning_that_is_called_for_with_many_classes_goes_by_labels_a_class(base):
    wide = replace(base, task=replace(base.task, class_names=tuple(map(str, range(101)))))
    found = [case.expected for case in many_classes(wide, (100, 300))]
    assert found == [("tiny_sample", "many_classes"), ("many_classes",)]
    narrow = list(many_classes(base, (3, 6)))
    assert [case.expected for case in narrow] == [("tiny_sample",), ()]
    assert {case.kind for case in narrow} == {MANY}


def test_another_domain_gives_its_evaluation_texts(base):
    other = base_of(load_task(SOURCE.replace("seed=3", "seed=4")), "other", **SIZES)
    case = other_domain(base, other)
    assert case.evaluated is other.evaluated
    assert case.train is base.train
    assert case.kind == SHIFT


# -- the finding, on a table made by hand --------------------------------------------------------


def table(**changes):
    rows = pd.DataFrame(
        {
            "kind": [PLAIN, PLAIN, NO_SIGNAL, NOISE],
            "case": ["as it is", "as it is", "shuffled labels", "40% of the labels changed"],
            "task": ["a", "b", "a", "b"],
            "corpus": ["a", "b", "a", "b"],
            "generated": [False, True, False, True],
            "mean": 0.8, "low": 0.7, "high": 0.9, "truth": [0.8, 0.75, 0.85, 0.6],
            "evaluation_inside": [1.0, 1.0, 0.0, 1.0],
            "refused": [False, False, True, False],
            "expected": ["", "", "no_signal", ""],
            "verdict_right": [True, True, True, True],
            "warned": [False, False, True, False],
            "inside": [True, True, True, False],
            "right": [True, True, True, False],
            "misleading": [False, False, False, True],
        }
    )  # fmt: skip
    return rows.assign(**changes)


def test_shares_by_kind_are_means():
    found = scores(table()).set_index("kind")
    assert list(found.index) == [PLAIN, NO_SIGNAL, NOISE]
    assert found.loc[PLAIN, ["cases", "corpora", "right", "misleading"]].tolist() == [2, 2, 1, 0]
    assert found.loc[NOISE, ["right", "misleading", "inside"]].tolist() == [0, 1, 0]
    assert found.loc[NO_SIGNAL, ["refused", "evaluation_inside"]].tolist() == [1, 0]


def test_the_finding_follows_the_table():
    answer, points, details = finding(table(), scores(table()), multiple=4, seen=False)
    assert "Of 1 cases that call for a warning 100% got it" in answer
    assert (
        "the interval at 4 times the labels held in 75% of 4 cases; 25% were misleading" in answer
    )
    assert "| noisy labels | 1 (1) | 0% (0% to 95%)" in points
    assert "75% of all; 50% of 2 cases of generated tasks, 100% of 2 of real ones" in details
    assert "costs 18 points" in details
    assert "fitted anew without any corpus" in details
    seen = finding(table(), scores(table()), multiple=4, seen=True)[2]
    assert "which learned from most of these corpora" in seen


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"multiple": 3}, "multiple is out of range"),
        ({"n": 8}, "sizes of failure cases are out of range"),
        ({"tiny": (2,)}, "sizes of failure cases are out of range"),
        ({"noise": (20.0,)}, "noise is out of range"),
        ({"shifts": ("mr",)}, "shifts: expected task>other"),
    ],
)
def test_bad_settings_are_refused(change, message, tmp_store):
    with pytest.raises(UsageError, match=message):
        run(replace(FailureSettings(), **change), Workspace(tmp_store))


# -- the whole road with a tiny encoder ----------------------------------------------------------


@pytest.fixture(scope="module")
def asked(tiny_bert, tmp_path_factory):
    from charkit.store.store import Store

    settings = FailureSettings(
        encoder=str(tiny_bert),
        tasks=(),
        generated=(SOURCE,),
        hard=(),
        many=(),
        shifts=(f"{SOURCE}>{SOURCE.replace('seed=3', 'seed=4')}",),
        n=32,
        tiny=(8,),
        noise=(0.4,),
        multiple=2,
        n_draws=1,
        n_eval=60,
    )
    store = Store(tmp_path_factory.mktemp("failures") / "store")
    bench = Workspace(store)
    return settings, bench, case_table(settings, load_encoder(settings.encoder), bench)


def test_one_row_a_case(asked):
    _, _, found = asked
    assert len(found) == 8
    assert list(dict.fromkeys(found["kind"])) == [k for k in KINDS if k in set(found["kind"])]
    assert (found["n_later"] == 2 * found["n"]).all()
    assert found[["truth", "mean", "low", "high"]].notna().all(axis=None)
    assert ((found["low"] <= found["truth"]) & (found["truth"] <= found["high"])).equals(
        found["inside"]
    )
    tiny = found[found["kind"] == TINY].iloc[0]
    assert "tiny_sample" in tiny["verdicts"]
    assert tiny["verdict_right"]
    assert not (found["misleading"] & found["warned"]).any()


def test_shuffled_labels_are_not_learnt(asked):
    row = asked[2][asked[2]["kind"] == NO_SIGNAL].iloc[0]
    assert row["truth"] < row["majority"] + 0.2


def test_it_runs_again_from_the_store_and_draws(asked):
    pytest.importorskip("matplotlib")
    settings, bench, found = asked
    again = EXPERIMENT.run(settings, bench)
    pd.testing.assert_frame_equal(again.table, found)
    assert set(again.figures) == {"", "cases"}
    assert again.summary["cases"] == 8
    assert 0 <= again.summary["right"] <= 1
    assert f"As it should be: {found['right'].mean():.0%} of all" in again.details


def test_a_task_that_is_too_small_for_the_truth_is_refused(base, tmp_store):
    small = replace(base, train=base.train.take(range(40)))
    encoder = load_encoder("minilm")
    from glue_pilot.experiments import failures

    class Answer:
        n_labels = 32

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failures, "answer_of", lambda *a, **k: Answer())
        with pytest.raises(UsageError, match="at least 64 labelled training texts"):
            ask(small, encoder, None, FailureSettings(multiple=2), Workspace(tmp_store))
