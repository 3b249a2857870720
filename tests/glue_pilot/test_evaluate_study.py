import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import glue_pilot
from charkit.errors import DataError, MissingError
from charkit.store.store import Store
from glue_pilot.config import read_toml
from glue_pilot.evaluation.cases import (
    Case,
    EvaluateStudy,
    Measured,
    Rows,
    Source,
    all_cases,
    groups,
    load_sources,
    measure,
)
from glue_pilot.evaluation.study import (
    METHODS,
    WITHOUT,
    figures,
    findings,
    floor_of,
    page,
    simulate,
    write_evaluate_study,
)
from glue_pilot.samples import measure_each

HERE = Path(glue_pilot.__file__).parent
TINY = EvaluateStudy(
    name="tiny",
    encoder="",
    n_train=60,
    n_pool=60,
    n_labelled=(32,),
    n_seeds=1,
    n_draws=4,
    budgets=(10,),
    same=("generated/sentiment?n_train=60&n_eval=60",),
    shifted=(
        "moods: generated/sentiment?n_train=60&n_eval=60, "
        "generated/sentiment?n_train=60&n_eval=60&seed=1",
    ),
    renamed=(),
)


def made_up(*, shift, corpus, seed, n=600):
    """A case whose surrogate is right but for a shift of the share of right rows."""
    generator = np.random.default_rng(seed)
    expected = np.clip(generator.beta(6, 2, n), 0.3, 0.99)
    right = generator.random(n) < np.clip(expected - shift, 0, 1)
    rows = Rows("", np.array(["a"]))
    source = Source(corpus, corpus, rows, rows)
    case = Case(source, source, "moods" if shift else "same", 128, 0, n)
    facts = dict.fromkeys(WITHOUT, 0.8) | {"layer": 1}
    pool = pd.DataFrame({"right": right, "confidence": expected, "expected": expected})
    return case, Measured(pool, facts)


@pytest.fixture(scope="module")
def study_rows():
    every = [made_up(shift=s, corpus=f"c{k}", seed=k) for k in range(3) for s in (0.0, 0.2)]
    cases, measured = zip(*every, strict=True)
    return cases, measured, simulate(cases, measured, (10, 30), 30)


def test_every_method_is_measured_at_every_budget(study_rows):
    cases, _, rows = study_rows
    assert len(rows) == len(cases) * (len(WITHOUT) + 2 * len(METHODS))
    assert rows.loc[rows["n"] == 0, "covered"].isna().all()
    assert rows.loc[rows["n"] > 0, "covered"].between(0, 1).all()


def test_random_rows_miss_as_far_as_the_binomial_has_it(study_rows):
    found = figures(study_rows[2])
    row = found[(found["method"] == "random rows") & (found["n"] == 30) & found["shifted"]].iloc[0]
    accuracy = 0.55
    wanted = 100 * np.sqrt(2 * accuracy * (1 - accuracy) / np.pi / 30)
    assert row["error"] == pytest.approx(wanted, rel=0.2)
    assert row["error_low"] <= row["error"] <= row["error_high"]
    assert 0.8 <= row["covered"] <= 1


def test_the_command_is_nearer_than_random_rows_where_the_surrogate_is_right(study_rows):
    found = figures(study_rows[2]).set_index(["shifted", "n", "method"])["error"]
    for n in (10, 30):
        assert found[False, n, "charkit evaluate"] < found[False, n, "random rows"]


def test_the_floor_of_the_strata_is_below_that_of_random_rows(study_rows):
    floor = floor_of(study_rows[0], study_rows[1], 30)
    assert 0 < floor["strata"] < floor["random"] < 10


def test_the_results_are_written_as_json_table_and_page(study_rows, tmp_path):
    cases, measured, rows = study_rows
    found, floor = figures(rows), floor_of(cases, measured, 30)
    written = write_evaluate_study(rows, found, floor, TINY, tmp_path)
    assert {path.name for path in written} == {"tiny.csv", "tiny.json", "tiny.md"}
    numbers = json.loads((tmp_path / "tiny.json").read_text())
    assert numbers["findings"] == findings(found, floor)
    assert len(numbers["figures"]) == len(found)
    text = page(found, floor, TINY)
    assert all(f"| {name} |" in text for name in [*METHODS, *WITHOUT.values()])
    assert "nan" not in text


def test_the_studies_that_come_with_it_can_be_read():
    for name in ("evaluate.toml", "evaluate_smoke.toml"):
        study = read_toml(HERE / name, EvaluateStudy)
        assert all(len(members) > 1 for _, members in groups(study))
        named = {line.partition(": ")[0] for line in study.renamed}
        assert named <= {task for _, members in groups(study) for task in members}


def test_a_line_with_one_task_is_refused():
    with pytest.raises(DataError, match="expected lines 'name: task, task'"):
        groups(replace(TINY, shifted=("moods: mr",)))


def test_tasks_of_a_folder_need_one(tmp_path, tiny_bert):
    study = replace(TINY, encoder=str(tiny_bert), same=("mr",))
    with pytest.raises(MissingError, match="expected one with mr/"):
        load_sources(study, None, Store(tmp_path))


def test_the_road_from_tasks_to_cases_and_what_is_kept(tmp_path, tiny_bert):
    study, store = replace(TINY, encoder=str(tiny_bert)), Store(tmp_path)
    cases = all_cases(study, load_sources(study, None, store))
    assert [case.shifted for case in cases] == [False, True, True]
    first = measure_each(cases, measure, store)
    for case, found in zip(cases, first, strict=True):
        assert len(found.pool) == 60
        assert found.facts["n_labelled"] == 32
        assert case.n_labelled == 32
        assert found.pool["expected"].between(0, 1).all()
        assert set(WITHOUT) - {"expected"} <= set(found.facts)
    again = measure_each(cases, measure, store)
    assert all(a.pool.equals(b.pool) for a, b in zip(first, again, strict=True))
