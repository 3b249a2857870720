"""Slurm: arrays, a cancelled task, a requeued one; every fault is one sentence."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import engine_jobs as jobs
import pandas as pd
import pytest

from charkit.errors import MissingError
from charkit.heads.sweep.sweep import run_sweep
from charkit.parallel import JobFailure, executor_from, run_jobs
from charkit.store.store import Store
from glue_pilot.study import Study, plan_study

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).resolve().parents[2]


def running(kind="RUNNING"):
    done = subprocess.run(
        ["squeue", "-h", "-r", "-t", kind, "-o", "%i"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def when_running(*command):
    """Do something to the first task that runs, as soon as one does; return the thread."""

    def act():
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for name in running():
                subprocess.run([*command, name], check=True)
                done.append(name)
                return
            time.sleep(0.1)

    done: list[str] = []
    thread = threading.Thread(target=act)
    thread.start()
    return thread, done


def test_results_keep_their_order_and_the_log_arrives(slurm, caplog, tmp_path):
    results = run_jobs(
        jobs.square, range(20), executor=executor_from("slurm:main"), folders=[tmp_path]
    )
    assert results == [n * n for n in range(20)]
    assert caplog.text.count("three is odd") == 1
    assert not list(tmp_path.iterdir())


def test_failures_keep_message_and_exit_code(slurm, tmp_path):
    results = run_jobs(jobs.fail_odd, range(4), executor=executor_from("slurm"), folders=[tmp_path])
    assert results[::2] == [0, 2]
    assert (results[1].exit_code, results[1].error) == (2, "UnknownNameError")


def test_a_job_that_kills_its_worker_twice_is_the_only_failure(slurm, tmp_path):
    results = run_jobs(
        jobs.die_at_three, range(5), executor=executor_from("slurm"), folders=[tmp_path]
    )
    failure = results.pop(3)
    assert results == [0, 1, 2, 4]
    assert isinstance(failure, JobFailure)
    assert failure.died


def test_every_job_gets_its_threads(slurm, tmp_path):
    seen = run_jobs(jobs.threads, range(2), executor=executor_from("slurm"), folders=[tmp_path])
    assert seen == [(1, 1)] * 2


@pytest.mark.parametrize("command", [("scancel",), ("scontrol", "requeue")])
def test_a_task_that_is_cancelled_or_requeued(slurm, tmp_path, command):
    todo = [jobs.Mark(tmp_path, n, 1.0) for n in range(8)]
    thread, done = when_running(*command)
    results = run_jobs(jobs.mark, todo, executor=executor_from("slurm"), folders=[tmp_path])
    thread.join()
    assert done
    assert results == list(range(8))


def test_a_smoke_pilot_is_the_same_through_slurm(slurm, tiny_bert, tmp_path):
    """An array job, one task of it cancelled and another requeued: the table is that of here."""
    study = Study(
        name="smoke",
        tasks=(
            "generated/sentiment?n_train=100&n_eval=100",
            "generated/acceptability?n_train=100&n_eval=100",
        ),
        encoders=(str(tiny_bert),),
        sizes=(16, 32),
        seeds=(0, 1, 2),
    )
    here = run_sweep(plan_study(study, tasks_root=None, store=Store(tmp_path / "a")), executor=1)
    store = Store(tmp_path / "b")
    hurt = [when_running("scancel"), when_running("scontrol", "requeue")]
    there = run_sweep(plan_study(study, tasks_root=None, store=store), executor="slurm:main")
    for thread, done in hurt:
        thread.join()
        assert done
    pd.testing.assert_frame_equal(here.table, there.table, rtol=1e-5)
    assert len(store.entries(["heads"])) == len(there.jobs)
    assert not store.verify()


def test_an_error_in_a_callback_cancels_the_array(slurm, tmp_path):
    def refuse(index, result):
        raise ZeroDivisionError

    todo = [jobs.Mark(tmp_path, n, 0.0 if n == 0 else 90.0) for n in range(6)]
    with pytest.raises(ZeroDivisionError):
        run_jobs(
            jobs.mark, todo, executor=executor_from("slurm"), folders=[tmp_path], on_result=refuse
        )
    end = time.monotonic() + 30
    while running("RUNNING,PENDING"):
        assert time.monotonic() < end
        time.sleep(0.5)


def test_a_partition_that_does_not_exist(slurm):
    with pytest.raises(MissingError, match=r"no partition 'gpu': expected one of main"):
        executor_from("slurm:gpu")


def test_a_slurm_that_does_not_answer(slurm, monkeypatch, tmp_path):
    wrong = tmp_path / "slurm.conf"
    text = (slurm / "slurm.conf").read_text()
    lines = ["SlurmctldPort=1" if "SlurmctldPort" in line else line for line in text.splitlines()]
    wrong.write_text("\n".join([*lines, "MessageTimeout=2"]) + "\n")
    monkeypatch.setenv("SLURM_CONF", str(wrong))
    with pytest.raises(MissingError, match="Slurm does not answer: sinfo"):
        executor_from("slurm:main")


def test_other_versions_on_the_nodes(slurm, monkeypatch, tmp_path):
    from charkit.parallel import jobs as engine

    own = engine.versions()
    monkeypatch.setattr(engine, "versions", lambda: own | {"torch": "99.0"})
    with pytest.raises(MissingError, match=r"expected torch 99\.0, got torch .* Install"):
        run_jobs(jobs.square, range(3), executor=executor_from("slurm"), folders=[tmp_path])


@pytest.mark.slow
def test_ctrl_c_stops_and_names_the_command_that_goes_on(slurm, tiny_bert, tmp_path):
    jobs.check_interrupt(tiny_bert, tmp_path, "slurm:main", ROOT)
    assert not list(tmp_path.glob(".slurm-*"))
    assert not running("RUNNING,PENDING")
