import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from charkit.errors import CellsFailedError, DataError, UsageError
from charkit.heads.sweep import job as job_module
from charkit.heads.sweep.grid import SweepSettings, plan_sweep
from charkit.heads.sweep.job import shuffled_labels
from charkit.heads.sweep.plan import NO_LAYER
from charkit.heads.sweep.sweep import run_sweep, sweep
from charkit.store.store import Store
from charkit.tasks import Split, Task, card, lazy_task

WORDS_GOOD = ("good", "great", "fine")
WORDS_BAD = ("bad", "awful", "poor")


def toy_task(n_train=80, n_eval=60, *, name="toy", seed=0):
    """Two classes that one word tells apart."""
    rng = np.random.default_rng(seed)

    def split(n):
        labels = rng.integers(0, 2, n)
        texts = [
            f"the {rng.choice(['cat', 'dog', 'film', 'book'])} is "
            f"{rng.choice(WORDS_GOOD if y else WORDS_BAD)} {i % 3} ."
            for i, y in enumerate(labels)
        ]
        return Split(tuple(texts), None, labels)

    return Task(name, "classification", split(n_train), split(n_eval), ("bad", "good"))


def toy_regression():
    base = toy_task(name="numbers")
    rng = np.random.default_rng(1)

    def scored(part):
        return Split(part.texts, None, part.labels * 2.0 + 0.1 * rng.normal(size=len(part)))

    return Task(
        "numbers", "regression", scored(base.train), scored(base.evaluation),
        metric="pearson_spearman",
    )  # fmt: skip


GRID = {"sizes": (16, 64), "seeds": (0, 1), "executor": 1}


@pytest.fixture(scope="module")
def result(tiny_bert, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("sweep"))
    return sweep(toy_task(), encoder=str(tiny_bert), store=store, **GRID)


def test_one_row_a_cell(result):
    table = result.to_pandas()
    # 3 layers x 2 sizes x 2 seeds, three times; the majority has no layers
    assert len(table) == 3 * 12 + 4
    assert not table.duplicated(["control", "n_train", "seed", "layer"]).any()
    assert set(table["state"]) == {"done"}
    assert table["converged"].all()
    assert set(table.loc[table["control"] == "majority", "layer"]) == {NO_LAYER}


def test_the_word_is_found_and_the_controls_are_at_chance(result):
    means = result.table[result.table["n_train"] == 64].groupby("control")["accuracy"].max()
    assert means["none"] > 0.95
    assert means["shuffled_labels"] < 0.8
    assert means["majority"] < 0.7


def test_intervals_enclose_their_scores(result):
    for name in ("score", "accuracy", "f1", "log_loss", "brier"):
        low, mid, high = (result.table[f"{name}{end}"] for end in ("_low", "", "_high"))
        assert ((low <= mid + 1e-12) & (mid <= high + 1e-12)).all(), name


def test_rows_of_the_evaluation_add_up_to_the_cells(result):
    job = next(j for j in result.jobs if j.control == "none" and j.seed == 1)
    rows = result.rows(job)
    cells = result.table[(result.table["control"] == "none") & (result.table["seed"] == 1)]

    def expected(name):
        return cells.pivot(index="n_train", columns="layer", values=name).to_numpy()

    np.testing.assert_allclose(rows["correct"].mean(axis=2), expected("accuracy"))
    losses = rows["log_loss"].mean(axis=2)
    np.testing.assert_allclose(losses, expected("log_loss"), rtol=1e-5)
    assert rows["labels"].shape == (60,)


def test_second_run_is_equal_and_opens_nothing(result, tiny_bert, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("finished work was done again")

    monkeypatch.setattr(job_module, "compute", never)
    monkeypatch.setattr("charkit.heads.sweep.sweep.encode_to_store", never)
    again = sweep(toy_task(), encoder=str(tiny_bert), store=Store(result.root), **GRID)
    pd.testing.assert_frame_equal(again.table, result.table)
    assert again.n_jobs_found == len(again.jobs)


def test_second_run_from_a_file_does_not_read_it(tiny_bert, tmp_path, tmp_store, monkeypatch):
    task = toy_task()
    frame = pd.DataFrame({"body": task.train.texts, "stars": task.train.labels + 1})
    frame.drop_duplicates("body").to_csv(tmp_path / "my.csv", index=False)
    options = {"encoder": str(tiny_bert), "store": tmp_store}

    def source():
        return lazy_task(tmp_path / "my.csv", store=tmp_store, text="body", label="stars")

    first = sweep(source(), sizes=(8,), seeds=(0,), executor=1, **options)

    def never(*args, **kwargs):
        raise AssertionError("the data were opened")

    monkeypatch.setattr(card, "load_task", never)
    again = sweep(source(), sizes=(8,), seeds=(0,), executor=1, **options)
    pd.testing.assert_frame_equal(again.table, first.table)


def test_a_seed_computes_only_its_own_jobs(result, tiny_bert):
    store = Store(result.root)
    settings = SweepSettings(sizes=(16, 64), seeds=(0, 1, 2))
    plan = plan_sweep(toy_task(), encoder=str(tiny_bert), settings=settings, store=store)
    assert {j.seed for j in plan.missing(plan.jobs)} == {2}


def test_processes_change_nothing(result, tiny_bert, tmp_store):
    grid = GRID | {"executor": 2}
    other = sweep(toy_task(), encoder=str(tiny_bert), store=tmp_store, **grid)
    pd.testing.assert_frame_equal(other.table, result.table)


def test_order_of_tasks_changes_no_row(result, tiny_bert, tmp_store):
    tasks = [toy_task(name="second", seed=5), toy_task()]
    other = sweep(tasks, encoder=str(tiny_bert), store=tmp_store, **GRID)
    own = other.table[other.table["task"] == "toy"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, result.table)


def test_regression_has_correlations_and_no_accuracy(tiny_bert, tmp_store):
    table = sweep(toy_regression(), encoder=str(tiny_bert), store=tmp_store, **GRID).table
    real = table[(table["control"] == "none") & (table["n_train"] == 64)]
    assert (real["pearson"] > 0.8).all()
    assert table["accuracy"].isna().all()
    assert (table.loc[table["control"] == "majority", "score"] == 0).all()


def test_subset_reads_the_features_of_the_whole(tiny_bert, tmp_store, result):
    store = Store(result.root)
    states = {e.key for e in store.entries(["states"])}
    table = sweep(
        toy_task(), encoder=str(tiny_bert), store=store, subsets=("noise:0.3",),
        controls=("none",), **GRID,
    ).table  # fmt: skip
    assert {e.key for e in store.entries(["states"])} == states
    assert set(table["subset"]) == {"noise:0.3"}
    noisy = table[table["n_train"] == 64]["accuracy"].mean()
    clean = result.table.query("control == 'none' and n_train == 64")["accuracy"].mean()
    assert noisy < clean


def test_failed_job_becomes_rows_and_the_others_stay(tiny_bert, tmp_store, monkeypatch):
    real = job_module.compute

    def fails_on_seed_one(work):
        if work.job.seed == 1 and work.job.control == "none":
            raise RuntimeError("made to fail")
        return real(work)

    monkeypatch.setattr(job_module, "compute", fails_on_seed_one)
    with pytest.raises(CellsFailedError, match=r"6 of 40 cells failed.*made to fail") as caught:
        sweep(toy_task(), encoder=str(tiny_bert), store=tmp_store, **GRID)
    table = caught.value.partial.table
    failed = table[table["state"] == "failed"]
    assert len(failed) == 6
    assert set(failed["message"]) == {"made to fail"}
    assert caught.value.exit_code == 1
    monkeypatch.setattr(job_module, "compute", real)
    done = sweep(toy_task(), encoder=str(tiny_bert), store=tmp_store, **GRID)
    assert set(done.table["state"]) == {"done"}


def test_no_possible_size_is_refused_before_anything_is_encoded(tiny_bert, tmp_store):
    with pytest.raises(DataError, match=r"no training size is possible: expected .* 2 to 80"):
        sweep(toy_task(), encoder=str(tiny_bert), store=tmp_store, sizes=(5000,), executor=1)
    assert not tmp_store.entries(["states"])


def test_no_possible_size_of_a_subset_is_a_data_error(tiny_bert, tmp_store):
    with pytest.raises(CellsFailedError, match="no training size is possible") as caught:
        sweep(
            toy_task(), encoder=str(tiny_bert), store=tmp_store, sizes=(80,), executor=1,
            subsets=("length:short",), controls=(), seeds=(0,),
        )  # fmt: skip
    assert caught.value.exit_code == DataError.exit_code


def test_evaluation_without_labels_is_refused(tiny_bert, tmp_store):
    task = toy_task()
    bare = Task("bare", "classification", task.train, Split(("the cat",)), ("bad", "good"))
    with pytest.raises(DataError, match="expected labels for the evaluation"):
        sweep(bare, encoder=str(tiny_bert), store=tmp_store, **GRID)


def test_two_tasks_of_one_name_are_refused(tiny_bert, tmp_store):
    with pytest.raises(UsageError, match="two tasks have one name"):
        plan_sweep([toy_task(), toy_task(seed=3)], encoder=str(tiny_bert), store=tmp_store)


def test_shuffling_keeps_the_counts_and_leaves_the_labels_to_chance():
    labels = np.repeat([0, 1, 2], [500, 300, 200])
    agreement = []
    for seed in range(20):
        shuffled = shuffled_labels(labels, seed=seed)
        np.testing.assert_array_equal(np.bincount(shuffled), np.bincount(labels))
        agreement.append((shuffled == labels).mean())
    assert np.mean(agreement) == pytest.approx(0.5**2 + 0.3**2 + 0.2**2, abs=0.02)


@pytest.mark.parametrize("control", ["none", "random_encoder", "shuffled_labels", "majority"])
def test_a_cell_depends_on_no_other_size(tiny_bert, tmp_store, control):
    def cells(*sizes):
        result = sweep(
            toy_task(), encoder=str(tiny_bert), store=tmp_store, sizes=sizes, seeds=(0, 1),
            controls=(control,), executor=1,
        )  # fmt: skip
        table = result.table[result.table["control"] == control].drop(columns="key")
        return table[table["n_train"] == 24].reset_index(drop=True)

    alone = cells(24)
    pd.testing.assert_frame_equal(cells(16, 24, 40), alone)
    pd.testing.assert_frame_equal(cells(*range(16, 25)), alone)


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_sweep import GRID, toy_task
from charkit.heads.sweep.sweep import sweep
from charkit.store.store import Store
if __name__ == "__main__":
    print("go", flush=True)
    sweep(toy_task(), encoder={encoder!r}, store=Store({root!r}), **GRID)
"""


@pytest.mark.slow
def test_killed_at_random_moments_and_rerun_it_yields_the_same(result, tiny_bert, tmp_path):
    script = tmp_path / "run.py"
    root = tmp_path / "store"
    script.write_text(
        SCRIPT.format(tests=os.path.dirname(__file__), encoder=str(tiny_bert), root=str(root))
    )
    rng = np.random.default_rng(7)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, start_new_session=True
        )
        process.stdout.readline()
        time.sleep(rng.uniform(0.05, 1.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    after = sweep(toy_task(), encoder=str(tiny_bert), store=Store(root), **GRID)
    pd.testing.assert_frame_equal(after.table, result.table)
    assert not Store(root).verify()


def test_result_shows_itself(result, tmp_path):
    page = result._repr_html_()
    assert "toy" in page
    assert "<table" in page
    assert "layer" in result.findings()[0]
    saved = result.save(tmp_path / "out")
    assert len(pd.read_csv(saved / "table.csv")) == len(result.table)


def test_run_sweep_reports_progress(tiny_bert, tmp_store):
    seen = []
    settings = SweepSettings(sizes=(16,), seeds=(0,), controls=("none",))
    plan = plan_sweep(toy_task(), encoder=str(tiny_bert), settings=settings, store=tmp_store)
    run_sweep(plan, executor=1, progress=lambda *step: seen.append(step))
    assert seen[-1] == ("heads", 1, 1)
    assert ("encode toy, train", 16, 16) in seen


def test_only_the_texts_that_the_draws_read_are_encoded(tiny_bert, tmp_path):
    """The same table, from the texts of two draws of 16 and from all 80."""
    from charkit.encoders import encode_to_store, load_encoder, open_states
    from charkit.store.store import Store

    task, tables = toy_task(), {}
    for whole in (False, True):
        store = Store(tmp_path / str(whole))
        settings = SweepSettings(sizes=(8, 16), seeds=(0, 1))
        plan = plan_sweep(task, encoder=str(tiny_bert), settings=settings, store=store)
        if whole:
            encoder = load_encoder(str(tiny_bert), device="cpu", dtype="float32")
            encode_to_store(encoder, task.train, store=store)
        tables[whole] = run_sweep(plan, executor=1).table
        counts = [open_states(store, e.key).n_samples for e in store.entries(["states"])]
        train = sorted(n for n in counts if n != len(task.evaluation))
        assert all(16 <= n <= 32 for n in train[: 1 if whole else 2])
        assert (80 in train) == whole
    for name in ("score", "log_loss", "frac_truncated"):
        np.testing.assert_allclose(
            tables[False][name].to_numpy(float), tables[True][name].to_numpy(float), atol=1e-4
        )
