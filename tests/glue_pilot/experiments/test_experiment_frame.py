"""The frame of the experiments: settings, files, several runs side by side."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import glue_pilot
from charkit.errors import DataError, MissingError, UnknownNameError, UsageError
from charkit.report.figures.canvas import blank, keep_numbers
from charkit.store.store import Store
from glue_pilot.__main__ import app
from glue_pilot.config import make_settings, parse_change, parse_grid, read_toml, variants
from glue_pilot.experiments import base
from glue_pilot.experiments.base import Experiment, Workspace, run_experiment, side_by_side
from glue_pilot.findings import Finding

FOLDER = Path(glue_pilot.__file__).parent
runner = CliRunner()


@dataclass(frozen=True)
class Settings:
    tasks: tuple[str, ...] = ("generated/topic?n_train=40&n_eval=20",)
    n: int = 8
    rate: float = 0.5
    word: str = "a"
    sizes: tuple[int, ...] = (1, 2)
    sure: bool = False


def run(settings, workspace):
    known = workspace.tasks(settings.tasks)
    table = pd.DataFrame({"task": [k.task.name for k in known], "n": settings.n})
    figure, axes = blank(title="t", caption="c", height=1, left=0.5, right=0.2)
    axes.plot([0, 1], [0, settings.n])
    shown = keep_numbers(figure, table)
    words = (f"n is {settings.n}.", "- a point", "a detail")
    return Finding(table, {"": shown, "more": shown}, *words, {"n2": settings.n**2})


COUNTING = Experiment("counting", "How many?", "a test", Settings, run)


@pytest.fixture
def workspace(tmp_path):
    return Workspace(Store(tmp_path / "store"))


def test_every_name_is_an_experiment_with_both_sizes_of_settings():
    for name in base.NAMES:
        found = base.load_experiment(name)
        assert found.name == name
        assert found.question.endswith("?")
        for file in ("experiments.toml", "experiments_smoke.toml"):
            read_toml(FOLDER / file, found.settings, table=name)


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(UnknownNameError, match="layers"):
        base.load_experiment("layer")


def test_results_name_no_folder_of_the_machine(workspace, tmp_path):
    settings = Settings(word=str(tmp_path / "encoder"))
    changed = {"word": settings.word, "sizes": [1, 2]}
    ran = run_experiment(COUNTING, settings, workspace, out=tmp_path / "out", changed=changed)
    text = ran.files[0].read_text()
    assert str(tmp_path) not in text
    assert tmp_path.name not in ran.files[0].name
    record = json.loads(text)
    assert record["manifest"]["settings"]["word"] == "encoder"
    assert record["manifest"]["changed"] == {"word": "encoder", "sizes": [1, 2]}


def test_a_run_writes_table_finding_figures_and_manifest(workspace, tmp_path):
    ran = run_experiment(COUNTING, Settings(), workspace, out=tmp_path)
    folder = tmp_path / "experiments"
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    figures = {f"figures/counting{m}.{e}" for m in ("", "_more") for e in ("svg", "png", "csv")}
    assert names == figures | {f"counting.{e}" for e in ("json", "md", "csv", "parquet")}
    assert {p.relative_to(folder).as_posix() for p in ran.files} == names
    record = json.loads((folder / "counting.json").read_text())
    assert record["question"] == "How many?"
    assert (record["answer"], record["points"]) == ("n is 8.", "- a point")
    assert record["finding"] == "**n is 8.**\n\n- a point\n\na detail"
    assert record["figures"] == ["figures/counting.svg", "figures/counting_more.svg"]
    assert record["manifest"]["settings"]["n"] == 8
    assert record["manifest"]["versions"]
    assert "](figures/counting.svg)" in (folder / "counting.md").read_text()


def test_what_is_unknown_is_null_in_the_record(workspace, tmp_path):
    def unknown(settings, workspace):
        found = run(settings, workspace)
        return replace(found, summary={"gain": float("nan"), "n": 1.0})

    asked = Experiment("counting", "How many?", "a test", Settings, unknown)
    place = run_experiment(asked, Settings(), workspace, out=tmp_path).files[0]
    assert json.loads(place.read_text())["summary"] == {"gain": None, "n": 1.0}
    assert "NaN" not in place.read_text()


def test_variants_run_every_combination_side_by_side(workspace, tmp_path):
    grid = [parse_grid(Settings, "n=2;3"), parse_grid(Settings, "sizes=1,2;4")]
    runs = [
        run_experiment(COUNTING, settings, workspace, out=tmp_path, changed=changed)
        for changed, settings in variants(Settings(), grid)
    ]
    table = side_by_side(runs)
    assert table["n"].tolist() == [2, 2, 3, 3]
    assert table["sizes"].tolist() == ["1,2", "4"] * 2
    assert table["n2"].tolist() == [4, 4, 9, 9]
    assert len({run.files[0] for run in runs}) == 4


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("n=3", "n", 3),
        ("rate=0.25", "rate", 0.25),
        ("sure=true", "sure", True),
        ("word=x=y", "word", "x=y"),
        ("sizes=4,5", "sizes", [4, 5]),
        ("tasks=mr", "tasks", ["mr"]),
    ],
)
def test_a_change_is_read_by_the_kind_of_its_setting(change, key, value):
    assert parse_change(Settings, change) == (key, value)


@pytest.mark.parametrize("change", ["n", "n=", "n=x", "sizes=1,x", "rate=fast", "sure=1"])
def test_a_change_that_cannot_be_read_is_refused(change):
    with pytest.raises(UsageError):
        parse_change(Settings, change)


def test_an_unknown_setting_is_refused_with_the_known_ones():
    with pytest.raises(UnknownNameError, match="rate"):
        parse_change(Settings, "rat=1")
    with pytest.raises(UnknownNameError, match="rate"):
        make_settings(Settings, {"rat": 1}, where="file")


@pytest.mark.parametrize(
    "table", [{"n": "3"}, {"n": 1.5}, {"n": True}, {"sizes": 3}, {"tasks": [1]}, {"sure": 1}]
)
def test_a_value_of_another_kind_is_refused(table):
    with pytest.raises(UsageError, match="expected"):
        make_settings(Settings, table, where="file")


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(MissingError):
        read_toml(tmp_path / "none.toml", Settings, table="a")
    broken = tmp_path / "broken.toml"
    broken.write_text("a = [")
    with pytest.raises(DataError, match="not TOML"):
        read_toml(broken, Settings, table="a")
    broken.write_text("a = 1")
    with pytest.raises(DataError, match="table"):
        read_toml(broken, Settings, table="a")


def test_a_table_that_is_not_there_leaves_the_defaults(tmp_path):
    place = tmp_path / "some.toml"
    place.write_text("[b]\nn = 4\n")
    assert read_toml(place, Settings, table="a") == Settings()
    assert read_toml(place, Settings, table="b", changes={"rate": 2}) == Settings(n=4, rate=2.0)


def test_no_names_and_no_folder_are_refused(workspace):
    with pytest.raises(MissingError, match="SMOKE=1"):
        workspace.tasks(())


def test_tasks_of_a_folder_come_with_what_its_manifest_says(tmp_path):
    facts = [{"name": "mine", "corpus": "c", "domain": "d", "label_kind": "k"}]
    (tmp_path / "MANIFEST.json").write_text(json.dumps(facts))
    (tmp_path / "mine").mkdir()
    for part in ("train", "test"):
        rows = "".join(f"text {part} {i},{'ab'[i % 2]}\n" for i in range(12))
        (tmp_path / "mine" / f"{part}.csv").write_text("text,label\n" + rows)
    workspace = Workspace(Store(tmp_path / "store"), root=tmp_path)
    (known,) = workspace.tasks(())
    assert (known.task.name, known.corpus, known.domain, known.label_kind) == (
        "mine",
        "c",
        "d",
        "k",
    )


def test_the_command_refuses_an_unknown_experiment(tmp_path):
    done = runner.invoke(app, ["experiment", "nothing", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "layers" in done.output


def test_the_command_runs_over_a_grid(monkeypatch, tmp_path):
    monkeypatch.setattr(base, "load_experiment", lambda name: COUNTING)
    monkeypatch.setattr(base, "NAMES", ("counting",))
    given = ["experiment", "counting", "--over", "n=2;3", "--set", "word=b"]
    done = runner.invoke(app, [*given, "--out", str(tmp_path), "--cache-dir", str(tmp_path / "c")])
    assert done.exit_code == 0, done.output
    assert "n is 2." in done.output
    assert (tmp_path / "experiments" / "counting_n-3.json").is_file()
    record = json.loads((tmp_path / "experiments" / "counting_n-3.json").read_text())
    assert record["manifest"]["changed"] == {"n": 3}
    assert record["manifest"]["settings"]["word"] == "b"
