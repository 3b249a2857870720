"""Ray: the same results as here, also when a node is lost; every fault is one sentence."""

from __future__ import annotations

import threading
import time
from importlib.util import find_spec
from pathlib import Path

import engine_jobs as jobs
import pandas as pd
import pytest

from charkit.errors import MissingError, UsageError
from charkit.heads.sweep.sweep import sweep
from charkit.parallel import JobFailure, executor_from, run_jobs
from charkit.store.store import Store
from charkit.tasks import generated_task

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: make test-ray"),
]
ROOT = Path(__file__).resolve().parents[2]
GRID = {"sizes": (8, 16), "seeds": (0, 1, 2)}


@pytest.fixture
def ray_name(ray_cluster):
    return f"ray:{ray_cluster.address}"


def test_results_keep_their_order_and_the_log_arrives(ray_name, caplog):
    assert run_jobs(jobs.square, range(40), executor=executor_from(ray_name)) == [
        n * n for n in range(40)
    ]
    assert caplog.text.count("three is odd") == 1


def test_failures_keep_message_and_exit_code(ray_name):
    results = run_jobs(jobs.fail_odd, range(4), executor=executor_from(ray_name))
    assert results[::2] == [0, 2]
    assert results[1].exit_code == 2
    assert results[1].error == "UnknownNameError"


def test_a_job_that_kills_its_worker_twice_is_the_only_failure(ray_name):
    results = run_jobs(jobs.die_at_three, range(8), executor=executor_from(ray_name))
    failure = results.pop(3)
    assert results == [0, 1, 2, 4, 5, 6, 7]
    assert isinstance(failure, JobFailure)
    assert failure.died
    assert "memory ran out" in failure.message


def test_every_job_gets_its_threads(ray_name):
    for seen in run_jobs(jobs.threads, range(3), executor=executor_from(ray_name)):
        assert seen == (1, 1)


def test_a_lost_node_costs_nothing(ray_name, ray_cluster, tmp_path):
    """A node is killed in the middle: every job has its result, those that had one run once."""
    todo = [jobs.Mark(tmp_path, n, 0.05) for n in range(160)]
    arrived: dict[int, int] = {}
    spare = ray_cluster.add_node(num_cpus=1, node_ip_address="127.0.0.5")
    ray_cluster.wait_for_nodes()
    killer = threading.Thread(
        target=ray_cluster.remove_node, args=[spare], kwargs={"allow_graceful": False}
    )

    def note(index, result):
        arrived[index] = arrived.get(index, 0) + 1
        if len(arrived) == 20:
            killer.start()

    results = run_jobs(
        jobs.mark,
        todo,
        executor=executor_from(ray_name),
        folders=[tmp_path],
        on_result=note,
    )
    killer.join()
    assert results == list(range(160))
    assert arrived == dict.fromkeys(range(160), 1)
    assert {p.name for p in tmp_path.iterdir()} == {str(n) for n in range(160)}


def test_a_sweep_is_the_same_on_ray_with_a_node_killed(ray_name, ray_cluster, tiny_bert, tmp_path):
    task = generated_task("sentiment", n_train=200, n_eval=100)
    here = sweep(task, encoder=str(tiny_bert), store=Store(tmp_path / "a"), executor=1, **GRID)
    spare = ray_cluster.add_node(num_cpus=1, node_ip_address="127.0.0.6")
    ray_cluster.wait_for_nodes()
    store = Store(tmp_path / "b")
    seen = []

    def kill_when_begun(stage, done, total):
        if stage == "heads" and done >= 2 and not seen:
            seen.append(done)
            ray_cluster.remove_node(spare, allow_graceful=False)

    there = sweep(
        task,
        encoder=str(tiny_bert),
        store=store,
        executor=ray_name,
        progress=kill_when_begun,
        **GRID,
    )
    assert seen
    pd.testing.assert_frame_equal(here.table, there.table, rtol=1e-5)
    assert len(store.entries(["heads"])) == len(there.jobs)
    assert not store.verify()


@pytest.mark.parametrize("name", ["ray:127.0.0.1:1", "ray:127.0.0.9:6379"])
def test_an_address_where_nothing_answers(name):
    begin = time.monotonic()
    with pytest.raises(MissingError, match=r"no Ray cluster answers at 127\.0\.0"):
        run_jobs(jobs.square, range(3), executor=executor_from(name))
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("name", ["ray:host", "ray:ray://host:10001", "ray:host:x"])
def test_an_address_of_another_form(name):
    with pytest.raises(UsageError, match="expected ray:HOST:PORT"):
        executor_from(name)


def test_a_folder_that_workers_do_not_see(ray_name, monkeypatch, tmp_path):
    from charkit.parallel import jobs as engine

    monkeypatch.setattr(engine.Path, "absolute", lambda self: self)
    monkeypatch.chdir(tmp_path)  # the workers stand elsewhere, so a relative folder is not theirs
    with pytest.raises(MissingError, match=r"does not see store: .* shared disk"):
        run_jobs(jobs.square, range(3), executor=executor_from(ray_name), folders=[Path("store")])


def test_other_versions_on_the_workers(ray_name, monkeypatch):
    from charkit.parallel import jobs as engine

    own = engine.versions()
    monkeypatch.setattr(engine, "versions", lambda: own | {"charkit": "99.0"})
    with pytest.raises(MissingError, match=r"expected charkit 99\.0, got charkit .* Install"):
        run_jobs(jobs.square, range(3), executor=executor_from(ray_name))


def test_more_than_the_cluster_has(ray_name):
    with pytest.raises(MissingError, match="expected 1 CPUs and 1 GPUs for a job"):
        run_jobs(jobs.square, range(3), executor=executor_from(ray_name), n_gpus=1.0)


def test_an_error_in_a_callback_stops_the_tasks(ray_name, tmp_path):
    def refuse(index, result):
        raise ZeroDivisionError

    todo = [jobs.Mark(tmp_path, n, 0.0 if n == 0 else 60.0) for n in range(6)]
    begin = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        run_jobs(jobs.mark, todo, executor=executor_from(ray_name), on_result=refuse)
    assert time.monotonic() - begin < 30


@pytest.mark.slow
def test_ctrl_c_stops_and_names_the_command_that_goes_on(ray_name, tiny_bert, tmp_path):
    jobs.check_interrupt(tiny_bert, tmp_path, ray_name, ROOT)
