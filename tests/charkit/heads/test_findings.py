import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from charkit.config import EncodeOptions, layer_list
from charkit.errors import CellsFailedError
from charkit.heads.sweep import job as job_module
from charkit.heads.sweep.compare import compare_layers
from charkit.heads.sweep.grid import SweepSettings, plan_sweep
from charkit.heads.sweep.result import ties
from charkit.heads.sweep.sweep import sweep
from charkit.store.store import Store
from charkit.tasks import Split, Task

_spec = importlib.util.spec_from_file_location(
    "sweep_toys_for_findings", Path(__file__).parent / "test_sweep.py"
)
toys = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toys)

GRID = {"sizes": (16, 64), "seeds": (0, 1), "executor": 1}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("findings"))


@pytest.fixture(scope="module")
def swept(tiny_bert, store):
    return sweep(toys.toy_task(), encoder=str(tiny_bert), store=store, **GRID)


def scrambled(task, name):
    rng = np.random.default_rng(3)

    def mixed(part):
        return Split(part.texts, part.pairs, rng.permutation(part.labels))

    return Task(name, task.kind, mixed(task.train), mixed(task.evaluation), task.class_names)


def test_the_first_line_is_the_best_score_with_its_interval(swept):
    line = swept.findings()[0]
    assert line.startswith("toy: accuracy ")
    assert "90 % interval" in line
    assert "with 64 labels, layer " in line
    assert "L2 strength" in line


def test_the_lines_after_it_are_indented(swept):
    assert all(line.startswith("  ") for line in swept.findings()[1:])


def test_ties_are_told(swept):
    compared = compare_layers(swept, "toy", swept.jobs[0].probe.encoder)
    choice = compared.choice
    assert f"  layer {choice.best} is" in "\n".join(swept.findings())
    assert ties(replace(choice, tied_with_best=np.ones(3, bool))).endswith("all layers tie with it")
    alone = np.arange(3) == choice.layers.index(choice.best)
    assert (
        ties(replace(choice, tied_with_best=alone))
        == f"layer {choice.best} is best; no other ties with it"
    )
    two = replace(choice, best=0, tied_with_best=np.array([True, False, True]))
    assert ties(two) == "layer 0 is best; layer 2 ties with it"


def test_a_random_encoder_that_does_as_well_is_told(swept):
    """The tiny encoder is itself random, and a word alone tells the classes apart."""
    assert any("nothing shows that the encoder's training helps" in x for x in swept.findings())


def test_no_signal_is_told(tiny_bert, store):
    noise = scrambled(toys.toy_task(n_train=60, n_eval=200), "noise")
    result = sweep(noise, encoder=str(tiny_bert), store=store, **GRID | {"sizes": (16, 60)})
    words = "\n".join(result.findings())
    assert "no signal above the controls" in words
    assert "training helps" not in words


def test_without_controls_there_are_ties_alone(tiny_bert, store):
    result = sweep(toys.toy_task(), encoder=str(tiny_bert), store=store, controls=(), **GRID)
    words = "\n".join(result.findings())
    assert "controls" not in words
    assert "layer" in words


def test_cut_texts_are_told(tiny_bert, store):
    toy = toys.toy_task(name="long")

    def longer(part):
        return Split(tuple(f"{text} the end" for text in part.texts), None, part.labels)

    task = replace(toy, train=longer(toy.train), evaluation=longer(toy.evaluation))
    result = sweep(
        task,
        encoder=str(tiny_bert),
        store=store,
        controls=(),
        encoding=EncodeOptions(max_length=8),
        **GRID,
    )
    assert any("100% of the texts were cut at 8 tokens" in line for line in result.findings())


def test_sizes_that_were_left_out_are_told_before_and_after(tiny_bert, store):
    grid = GRID | {"sizes": (16, 5000)}
    result = sweep(toys.toy_task(), encoder=str(tiny_bert), store=store, controls=(), **grid)
    assert any("sizes left out" in x and "5,000" in x for x in result.findings())
    plan = plan_sweep(
        toys.toy_task(), encoder=str(tiny_bert), store=store,
        settings=SweepSettings(sizes=(16, 5000)),
    )  # fmt: skip
    (note,) = plan.notes()
    assert "80 training texts" in note
    assert "5000" in note
    assert not plan_sweep(toys.toy_task(), encoder=str(tiny_bert), store=store).notes()


def test_a_subset_has_its_own_finding_and_rows(tiny_bert, store):
    grid = GRID | {"sizes": (16,)}
    result = sweep(
        toys.toy_task(), encoder=str(tiny_bert), store=store, subsets=("all", "noise:0.2"), **grid
    )
    assert any(line.startswith("toy (noise:0.2): accuracy") for line in result.findings())
    assert set(result.best_layers()["subset"]) == {"all", "noise:0.2"}


def test_findings_when_every_head_failed_and_a_control_did_not(tiny_bert, tmp_store, monkeypatch):
    real = job_module.compute

    def fails(work):
        if work.job.control != "majority":
            raise ValueError("made to fail")
        return real(work)

    monkeypatch.setattr(job_module, "compute", fails)
    with pytest.raises(CellsFailedError) as caught:
        sweep(toys.toy_task(name="bad"), encoder=str(tiny_bert), store=tmp_store, **GRID)
    partial = caught.value.partial
    assert partial.findings() == ["bad: no head was trained; see the column 'message'"]
    assert partial.best_layers().empty
    assert "bad" in partial._repr_html_()


def test_a_draw_that_one_control_lacks_is_left_out_of_the_comparison(swept):
    jobs = tuple(j for j in swept.jobs if (j.control, j.seed) != ("shuffled_labels", 1))
    compared = compare_layers(replace(swept, jobs=jobs), "toy", jobs[0].probe.encoder)
    assert compared.choice.n_draws == 1
    none = tuple(j for j in jobs if j.control != "shuffled_labels" or j.seed != 0)
    left = [j for j in none if j.control != "majority" or j.seed != 1]
    left = [j for j in left if j.control != "majority"]
    compared = compare_layers(replace(swept, jobs=tuple(left)), "toy", jobs[0].probe.encoder)
    assert compared.verdict is None


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews"])
def test_layers_are_compared_in_the_tasks_own_metric(metric, tiny_bert, store):
    task = replace(toys.toy_task(name=f"own_{metric}"), metric=metric)
    result = sweep(task, encoder=str(tiny_bert), store=store, controls=(), **GRID)
    compared = compare_layers(result, task.name, result.jobs[0].probe.encoder)
    best = result.best_layers().iloc[-1]
    assert compared.metric == metric
    assert compared.choice.best == best["layer"]
    assert compared.choice.score.max() == pytest.approx(best["score"], abs=1e-9)


def test_regression_is_compared_by_correlation(tiny_bert, store):
    result = sweep(toys.toy_regression(), encoder=str(tiny_bert), store=store, **GRID)
    compared = compare_layers(result, "numbers", result.jobs[0].probe.encoder)
    assert compared.metric == "correlation"
    assert compared.choice.score.max() == pytest.approx(result.best_layers()["score"].iloc[-1])
    assert "correlation" in result.findings()[0]


def test_a_notebook_shows_the_plot(swept):
    pytest.importorskip("matplotlib")
    assert swept.plot()._repr_png_().startswith(b"\x89PNG")


def test_a_result_shows_itself_in_one_line(swept):
    assert repr(swept).startswith("SweepResult(40 cells of toy")
    assert len(repr(swept)) < 100


@pytest.mark.parametrize(
    ("layers", "words"),
    [([3], "3"), ([0, 1], "0, 1"), ([0, 1, 2], "0-2"), ([0, 2, 3, 4, 6], "0, 2-4, 6"), ([], "")],
)
def test_layer_list(layers, words):
    assert layer_list(layers) == words
