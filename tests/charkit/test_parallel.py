"""The pool: every job has one result or one failure, in order, whatever dies."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import parallel_jobs
import pytest

from charkit.errors import UsageError
from charkit.parallel import JobFailure, local_executor, run_jobs

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def environment():
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"}


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def start_parent(folder, *, command="sleep", **options):
    command = [sys.executable, str(HERE / "parallel_jobs.py"), command, str(folder)]
    process = subprocess.Popen(
        command, env=environment(), stderr=subprocess.PIPE, text=True, **options
    )
    wait_for(lambda: len(list(folder.iterdir())) == 2)
    return process, [int(path.name) for path in folder.iterdir()]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_results_keep_the_order_of_the_jobs(n_workers):
    calls, arrivals = [], {}
    results = run_jobs(
        parallel_jobs.square,
        range(6),
        executor=local_executor(n_workers),
        progress=lambda done, total: calls.append((done, total)),
        on_result=arrivals.__setitem__,
    )
    assert results == [0, 1, 4, 9, 16, 25]
    assert calls == [(done, 6) for done in range(7)]
    assert arrivals == dict(enumerate(results))


def test_results_arrive_as_they_finish(tmp_path):
    jobs, arrivals = [parallel_jobs.Touch(tmp_path, i) for i in range(6)], []
    results = run_jobs(
        parallel_jobs.first_waits_for_last,
        jobs,
        executor=local_executor(2),
        on_result=lambda index, result: arrivals.append(index),
    )
    assert results == list(range(6))
    assert sorted(arrivals) == results
    assert arrivals.index(5) < arrivals.index(0)


def test_workers_are_other_processes_and_one_worker_is_this():
    here = run_jobs(parallel_jobs.process_id, range(4), executor=local_executor(1))
    there = run_jobs(parallel_jobs.process_id, range(4), executor=local_executor(2))
    assert set(here) == {os.getpid()}
    assert os.getpid() not in there
    assert run_jobs(parallel_jobs.process_id, [0], executor=local_executor(8)) == [os.getpid()]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_no_jobs(n_workers):
    assert run_jobs(parallel_jobs.square, [], executor=local_executor(n_workers)) == []


@pytest.mark.parametrize("counts", [(0, 1), (1, 0), (-1, 1)])
def test_bad_counts(counts):
    with pytest.raises(UsageError, match="at least 1"):
        run_jobs(
            parallel_jobs.square,
            [1],
            executor=local_executor(counts[0]),
            threads_per_worker=counts[1],
        )


@pytest.mark.parametrize("n_workers", [1, 2])
def test_exceptions_are_values(n_workers):
    results = run_jobs(parallel_jobs.fail_odd, range(5), executor=local_executor(n_workers))
    assert results[::2] == [0, 2, 4]
    for number in (1, 3):
        failure = results[number]
        assert isinstance(failure, JobFailure)
        assert failure.message == f"number {number} is odd"
        assert (failure.error, failure.exit_code, failure.died) == ("ValueError", 1, False)
        assert "in fail_odd" in failure.traceback


@pytest.mark.parametrize("n_workers", [1, 2])
def test_our_own_errors_keep_words_and_exit_code(n_workers):
    for failure in run_jobs(
        parallel_jobs.fail_in_words, range(2), executor=local_executor(n_workers)
    ):
        assert failure.message == "unknown encoder 'bret': did you mean 'bert'?"
        assert (failure.error, failure.exit_code) == ("UnknownNameError", 2)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_job_that_leaves_is_a_failure(n_workers):
    results = run_jobs(parallel_jobs.leave, range(2), executor=local_executor(n_workers))
    assert [f.message for f in results] == ["left"] * 2


def test_results_that_cannot_travel_are_failures():
    results = run_jobs(parallel_jobs.unpicklable, range(3), executor=local_executor(2))
    assert all(isinstance(f, JobFailure) and not f.died for f in results)
    assert "pickle" in results[0].message


def test_functions_that_cannot_travel_are_failures():
    results = run_jobs(lambda number: number, range(3), executor=local_executor(2))
    assert all(isinstance(f, JobFailure) for f in results)


def test_a_worker_killed_once_costs_nothing(tmp_path, caplog):
    jobs = [parallel_jobs.Touch(tmp_path, i) for i in range(9)]
    assert run_jobs(parallel_jobs.die_once, jobs, executor=local_executor(2)) == list(range(9))
    assert "a worker process died" in caplog.text


def test_a_job_that_always_kills_its_worker_is_the_only_failure():
    results = run_jobs(parallel_jobs.die_at_three, range(9), executor=local_executor(2))
    failure = results.pop(3)
    assert results == [0, 1, 2, 4, 5, 6, 7, 8]
    assert failure.died
    assert "memory ran out" in failure.message
    assert failure.exit_code == 4


def test_all_jobs_kill_their_worker():
    results = run_jobs(parallel_jobs.die_always, range(3), executor=local_executor(2))
    assert all(f.died for f in results)


def test_workers_that_cannot_start_are_told(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text((HERE / "parallel_jobs.py").read_text())
    done = subprocess.run(
        [sys.executable, str(script)], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "MissingError: worker processes cannot be started" in done.stderr
    assert "if __name__ == '__main__':" in done.stderr


def test_an_error_in_a_callback_stops_the_workers(tmp_path):
    def refuse(index, result):
        raise ZeroDivisionError

    jobs = [parallel_jobs.Touch(tmp_path, i, 0.0 if i == 0 else 60.0) for i in range(4)]
    begin = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        run_jobs(parallel_jobs.touch, jobs, executor=local_executor(2), on_result=refuse)
    assert time.monotonic() - begin < 20
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_log_of_jobs_arrives(n_workers, caplog):
    with caplog.at_level(logging.INFO):
        run_jobs(parallel_jobs.say, range(3), executor=local_executor(n_workers))
    assert sorted(r.getMessage() for r in caplog.records) == [f"job {i} says so" for i in range(3)]


def test_threads_in_this_process_are_limited_and_restored():
    torch = pytest.importorskip("torch")
    before, variable = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    (found,) = run_jobs(
        parallel_jobs.threads_seen, [0], executor=local_executor(1), threads_per_worker=1
    )
    assert set(found.values()) == {1}
    assert torch.get_num_threads() == before
    assert os.environ.get("OMP_NUM_THREADS") == variable


def test_workers_get_their_threads_even_if_main_loads_the_libraries_first(tmp_path):
    command = [sys.executable, str(HERE / "parallel_jobs.py"), "threads", str(tmp_path)]
    free = {k: v for k, v in environment().items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(command, env=free, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for found in eval(done.stdout):
        assert {"torch", "omp"} < set(found)
        assert set(found.values()) == {1}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_no_orphans_when_the_parent_is_killed(tmp_path, name):
    process, workers = start_parent(tmp_path)
    assert all(is_alive(pid) for pid in workers)
    process.send_signal(getattr(signal, name))
    process.communicate()
    wait_for(lambda: not any(is_alive(pid) for pid in workers))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("command", ["sleep", "slow-start"])
def test_an_interrupt_stops_at_once_and_is_raised_again(tmp_path, command):
    """Also while the workers still start; in a terminal the signal reaches them as well."""
    process, workers = start_parent(tmp_path, command=command, start_new_session=True)
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - begin < 15
    assert errors.count("KeyboardInterrupt") == 1, errors
    assert errors.count("Traceback") == 1, errors
    assert not any(is_alive(pid) for pid in workers)
