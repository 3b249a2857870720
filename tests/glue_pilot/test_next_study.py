import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import glue_pilot
from charkit.answers.labelling.strategies import STRATEGIES, Band, shipped_bands
from charkit.errors import DataError, MissingError, UnknownNameError
from glue_pilot.labelling import study as module
from glue_pilot.labelling.findings import (
    AUTO,
    LIMITS,
    POLICIES,
    adequacy_held,
    choose_policy,
    find,
    findings_lines,
    gains_by_budget,
    gains_by_share,
    policy_words,
)
from glue_pilot.labelling.report import page, policy_file, write_next_study
from glue_pilot.labelling.study import load_next_tasks, read_next_study, run_next_study, simulate

HERE = Path(glue_pilot.__file__).parent
BUDGETS = (4, 8, 16)


def made_up(gain, *, corpora=6, noise=0.0):
    """Steps of an imagined study: random gains 5 points a doubling, a strategy ``gain`` more."""
    rng = np.random.default_rng(0)
    rows = []
    for corpus in range(corpora):
        for policy in STRATEGIES:
            for k, n in enumerate(BUDGETS):
                more = gain.get(policy, 0.0) + noise * rng.normal()
                cold = policy in ("margin", "badge") and k == 0
                rows.append(
                    {
                        "task": f"t{corpus}",
                        "corpus": f"c{corpus}",
                        "policy": policy,
                        "seed": 0,
                        "draw": 0,
                        "n": n,
                        "strategy": "random" if cold else policy,
                        "labels_a_class": 0.0 if k == 0 else n / 4,
                        "accuracy": 0.5 + 0.01 * corpus + 0.05 * k + (0 if cold else more),
                        "covered": 0.9,
                        "bound": 0.6,
                        "neighbour_error": 0.5 if corpus else 0.7,
                    }
                )
    return pd.DataFrame(rows)


def test_gains_and_labels_saved_are_those_that_were_put_in():
    table = gains_by_budget(made_up({"typiclust": 0.05})).set_index(["policy", "n"])
    assert table.loc[("typiclust", 4), "gain"] == pytest.approx(5)
    assert table.loc[("typiclust", 4), "saved"] == pytest.approx(2, rel=1e-6)
    assert table.loc[("typiclust", 16), "saved"] == pytest.approx(1), "no more is known"
    assert table.loc[("probcover", 8), "gain"] == pytest.approx(0, abs=1e-9)
    assert table.loc[("probcover", 8), "saved"] == pytest.approx(1, rel=1e-6)
    half = gains_by_budget(made_up({"typiclust": 0.025})).set_index(["policy", "n"])
    assert half.loc[("typiclust", 8), "saved"] == pytest.approx(2**0.5, rel=1e-6)


def test_a_strategy_has_no_budget_at_which_it_could_not_choose():
    table = gains_by_budget(made_up({}))
    assert table[table["policy"] == "margin"]["n"].tolist() == [8, 16]
    shares = gains_by_share(made_up({}))
    assert "margin" not in set(shares[shares["from"] == 0]["strategy"])


def test_the_policy_is_what_surely_gains_most_and_random_else():
    random = (Band(None, "random"),)
    assert choose_policy(made_up({})) == random
    assert choose_policy(made_up({"probcover": 0.1}, corpora=2)) == random, "too few to be sure"
    both = made_up({"probcover": 0.02, "typiclust": 0.03}, noise=0.001)
    assert choose_policy(both) == (Band(None, "typiclust"),)
    late = (Band(4, "probcover"), Band(None, "margin"))
    mixed = both[both["policy"] == "probcover"].assign(policy=policy_words(late))
    mixed["accuracy"] += 0.05
    assert choose_policy(pd.concat([both, mixed], ignore_index=True)) == late


def test_auto_is_played_on_each_corpus_without_it():
    """A strategy that is good on one corpus alone is not what that corpus gets."""
    steps = made_up({"typiclust": 0.02}, noise=0.001)
    lucky = (steps["corpus"] == "c0") & (steps["policy"] == "badge")
    steps.loc[lucky, "accuracy"] += 0.08
    found = find(steps)
    assert found.left_out == dict.fromkeys(found.corpora, "typiclust")
    table = found.by_budget.set_index(["policy", "n"])
    pd.testing.assert_series_equal(
        table.loc[(AUTO, 8)], table.loc[("typiclust", 8)], check_names=False
    )


def test_policies_have_names_of_their_own():
    names = [policy_words(bands) for bands in POLICIES]
    assert len(set(names)) == len(names)
    assert set(STRATEGIES) <= set(names)
    assert all(bands[-1].below is None for bands in POLICIES)


def test_intervals_come_from_corpora():
    table = gains_by_budget(made_up({"typiclust": 0.02}, noise=0.05)).set_index(["policy", "n"])
    row = table.loc[("typiclust", 8)]
    assert row["gain_low"] < row["gain"] < row["gain_high"]


def test_how_often_the_bound_held_is_counted_by_corpus():
    table = adequacy_held(made_up({})).set_index("policy")
    assert table.loc["random", "held"] == pytest.approx(5 / 6)
    assert table.loc["random", "n_cases"] == 18


def test_the_page_and_the_policy_say_what_was_found(tmp_path):
    study = replace(read_next_study(HERE / "next_smoke.toml"), name="imagined")
    steps = made_up({"typiclust": 0.03, "margin": 0.06}, noise=0.002)
    found = find(steps)
    predicted = page(found, study)
    assert "| typiclust | +" in predicted
    assert policy_words(found.bands) in predicted
    assert any(line.startswith("auto: surely better") for line in findings_lines(found))
    bands = json.loads(policy_file(found, study))["bands"]
    assert bands == [band.to_dict() for band in found.bands]
    written = write_next_study(steps, found, study, tmp_path)
    assert all(path.stat().st_size for path in written)
    assert json.loads((tmp_path / "imagined.json").read_text())["bands"] == bands
    assert (tmp_path / "figures" / "imagined_labels.svg").is_file()


@pytest.fixture
def tiny_study(tiny_bert):
    study = read_next_study(HERE / "next_smoke.toml")
    tasks = tuple(f"generated/{t}?n_train=60&n_eval=30" for t in ("sentiment", "topic"))
    return replace(
        study,
        encoder=str(tiny_bert),
        layer=1,
        n_pool=40,
        n_evaluation=30,
        n_random=2,
        budgets=(6, 12),
        reference=(3, 6, 12, 24),
        tasks=tasks,
    )


def test_a_study_runs_and_a_second_time_from_the_store(tiny_study, tmp_store, monkeypatch):
    tasks = load_next_tasks(tiny_study, None)
    steps = run_next_study(tiny_study, tasks, tmp_store, executor=1)
    assert set(steps["policy"]) == {policy_words(bands) for bands in POLICIES}
    assert steps[steps["policy"] == "random"].groupby("task").size().tolist() == [8, 8]
    assert steps["accuracy"].between(0, 1).all()
    assert (steps[steps["n"] == 6]["labels_a_class"] <= 3).all()
    monkeypatch.setattr(module, "run_simulation", lambda work: pytest.fail("it is in the store"))
    again = run_next_study(tiny_study, tasks, tmp_store, executor=1)
    pd.testing.assert_frame_equal(steps, again)


def test_labels_are_asked_for_once_and_the_same_by_all(tiny_study, tmp_store, monkeypatch):
    """Every strategy sees the same pool, and what it asked for leaves the pool."""
    (task, _) = load_next_tasks(tiny_study, None)
    encoder = module.load_encoder(tiny_study.encoder)
    blank = module._encoded(task, encoder, tiny_study, tmp_store, lambda *a: None)
    asked = []
    real = module.run_simulation.__globals__["_accuracy"]

    def spy(features, codes, *rest):
        asked.append(features.copy())
        return real(features, codes, *rest)

    monkeypatch.setitem(simulate.__globals__, "_accuracy", spy)
    steps = simulate(replace(blank, bands=(Band(None, "typiclust"),)), tmp_store)
    assert [len(rows) for rows in asked] == [6, 12]
    assert np.array_equal(asked[0], asked[1][:6]), "labels are kept"
    assert steps["n"].tolist() == [6, 12]


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("n_pool = 200", "pool = 200", UnknownNameError, "n_pool"),
        ("budgets = [10, 20, 40]", "budgets = [20, 10]", DataError, "expected rising sizes"),
        ("reference = [5, 10,", "reference = [5,", DataError, "every budget in reference"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused(tmp_path, old, new, error, message):
    text = (HERE / "next_smoke.toml").read_text()
    assert old in text
    place = tmp_path / "next.toml"
    place.write_text(text.replace(old, new))
    with pytest.raises(error, match=message):
        read_next_study(place)


def test_tasks_that_are_lacking_small_or_siblings_are_refused(tiny_study):
    with pytest.raises(MissingError, match="needs a folder of tasks"):
        load_next_tasks(read_next_study(HERE / "next.toml"), None)
    with pytest.raises(DataError, match="expected 500 different training texts"):
        load_next_tasks(replace(tiny_study, n_pool=500), None)
    with pytest.raises(DataError, match="one task a corpus"):
        load_next_tasks(replace(tiny_study, tasks=tiny_study.tasks[:1] * 2), None)


def test_the_documentation_shows_the_policy_that_is_shipped():
    page = (HERE.parent / "docs" / "next.md").read_text(encoding="utf-8")
    assert f"policy: {policy_words(shipped_bands())}\n" in page


@pytest.mark.realdata
def test_the_shipped_study_names_one_task_a_corpus(shared_data):
    study = read_next_study(HERE / "next.toml")
    facts = {f["name"]: f for f in json.loads((shared_data / "MANIFEST.json").read_text())}
    corpora = [facts[name]["corpus"] for name in study.tasks]
    assert len(set(corpora)) == len(corpora) >= 12
    assert LIMITS[-1] is None
