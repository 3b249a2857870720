import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from meta_samples import make_tables

from metamodel.fit.tune import choose, tune
from metamodel.model import Settings
from metamodel.rows import join_tables


@pytest.fixture(scope="module")
def data():
    return join_tables(*make_tables(n_corpora=5, pilots=(0, 64), draws=1))


class Ticks:
    def __init__(self):
        self.predicted = []

    def __call__(self, stage, done, total):
        self.predicted.append((stage, done, total))


def test_a_stopped_search_goes_on_where_it_was(data, tmp_path):
    journal = tmp_path / "trials.log"
    first, ticks = Ticks(), Ticks()
    _, one = tune(data, n_trials=1, journal=journal, progress=first)
    assert first.predicted == [("trials", 0, 1), ("trials", 1, 1)]
    settings, rows = tune(data, n_trials=2, journal=journal, progress=ticks)
    assert ticks.predicted == [("trials", 1, 2), ("trials", 2, 2)]
    assert rows[0] == one[0]
    assert len(rows) == 2
    again = Ticks()
    assert tune(data, n_trials=2, journal=journal, progress=again) == (settings, rows)
    assert again.predicted == [("trials", 2, 2)]
    assert all(0 < row["error"] < 20 for row in rows)
    assert settings.labelled == choose(rows)


def test_a_search_that_breaks_keeps_its_trials(data, tmp_path):
    journal = tmp_path / "trials.log"

    def stop(stage, done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(data, n_trials=3, journal=journal, progress=stop)
    ticks = Ticks()
    _, rows = tune(data, n_trials=1, journal=journal, progress=ticks)
    assert ticks.predicted == [("trials", 1, 1)]
    assert len(rows) == 1


def test_the_best_trial_is_taken_and_the_rest_of_the_settings_kept():
    simple = {"share_ridge": 1.0, "anchor": "median3", "penalty": 600.0, "error": 9.0}
    mixed = {"share_ridge": 0.4, "anchor": "both", "penalty": 300.0, "num_leaves": 5, "error": 3.0}
    chosen = choose([simple, mixed])
    assert (chosen.share_ridge, chosen.anchor, chosen.num_leaves) == (0.4, "both", 5)
    assert chosen.learning_rate == Settings().learning_rate
    assert choose([simple]).penalty == 600.0


def test_two_processes_share_one_search(tmp_path):
    """All trials count for both, none is lost, none is tried twice."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    here = Path(__file__).parent
    paths = os.pathsep.join([str(here.parents[1]), str(here)])
    command = [sys.executable, str(here / "tune_worker.py"), str(tmp_path / "trials.log"), "6"]
    workers = [
        subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    found = []
    for worker in workers:
        out, err = worker.communicate(timeout=240)
        assert worker.returncode == 0, err
        found.append(json.loads(out))
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "trials.log")))
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    complete = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert 6 <= len(complete) <= 7
    assert len(complete) == len(study.trials)
    assert [t.number for t in complete] == list(range(len(complete)))
    drawn = [t.params for t in complete if "fixed_params" not in t.system_attrs]
    assert drawn
    assert len({json.dumps(params, sort_keys=True) for params in drawn}) == len(drawn)
    for rows in found:
        assert len(rows) >= 6
        assert all(row["error"] in {t.value for t in complete} for row in rows)
