from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import glue_pilot
from charkit.errors import DataError, MissingError, UnknownNameError, UsageError
from charkit.heads.sweep.table import read_table
from glue_pilot.__main__ import app
from glue_pilot.study import plan_study, read_study
from metamodel.schema import check_outcomes

FOLDER = Path(glue_pilot.__file__).parent
runner = CliRunner()


def write(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["study.toml", "smoke.toml"])
def test_shipped_studies_can_be_read(name):
    study = read_study(FOLDER / name)
    assert study.tasks
    assert study.encoders == ("minilm",)


def test_the_study_is_glue_with_ten_sizes_and_five_draws():
    study = read_study(FOLDER / "study.toml")
    assert len(study.tasks) == 9
    assert len(study.sizes) == 10
    assert len(study.seeds) == 5


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('name = "x"', UsageError, "expected the keys .* got none for .'tasks'"),
        ('name = "x"\ntasks = ["a"]\nsize = [1]', UnknownNameError, "sizes"),
        ('name = "x"\ntasks = "a"', UsageError, "tasks: expected a list of str"),
        ('name = "x"\ntasks = []', UsageError, "tasks: expected a list of str"),
        ('name = "x"\ntasks = ["a"]\nsizes = [true]', UsageError, "sizes: expected a list of int"),
        ('name = "x"\ntasks = ["a"]\npooling = "meen"', UsageError, "pooling: expected one of"),
        ("name = ", DataError, "is not TOML"),
        ('name = "../x"\ntasks = ["a"]', UsageError, "bad name in study.toml"),
    ],
)
def test_bad_study_is_refused(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        read_study(write(tmp_path, text))


def test_a_study_in_another_encoding(tmp_path):
    (tmp_path / "study.toml").write_bytes('name = "ä"'.encode("latin-1"))
    with pytest.raises(DataError, match="expected UTF-8"):
        read_study(tmp_path / "study.toml")


def test_missing_study(tmp_path):
    with pytest.raises(MissingError, match="no study"):
        read_study(tmp_path / "none.toml")


def test_missing_task_folder_is_named(tmp_path, tmp_store):
    study = read_study(FOLDER / "study.toml")
    with pytest.raises(MissingError, match="expected glue_cola"):
        plan_study(study, tasks_root=tmp_path, store=tmp_store)


@pytest.fixture
def tiny_study(tmp_path, tiny_bert):
    return write(
        tmp_path,
        'name = "tiny"\n'
        'tasks = ["generated/sentiment?n_train=80&n_eval=60", '
        '"generated/similarity?n_train=80&n_eval=60"]\n'
        f'encoders = ["{tiny_bert}"]\nsizes = [16, 64]\nseeds = [0]\n',
    )


def test_run_writes_table_figures_and_summary_and_resumes(tiny_study, tmp_path):
    out, cache = tmp_path / "out", tmp_path / "cache"
    arguments = ["run", str(tiny_study), "--out", str(out), "--cache-dir", str(cache)]
    first = runner.invoke(app, arguments)
    assert first.exit_code == 0, first.output
    table = read_table(out / "tiny.parquet")
    check_outcomes(table)
    assert set(table["task"]) == {"generated_sentiment", "generated_similarity"}
    assert "sentiment" in (out / "tiny.md").read_text()
    assert list((out / "figures").glob("*.svg"))
    assert list((out / "figures").glob("*.csv"))
    before = (out / "tiny.parquet").read_bytes()
    again = runner.invoke(app, arguments)
    assert again.exit_code == 0
    assert again.stdout == first.stdout
    assert (out / "tiny.parquet").read_bytes() == before


def test_plan_says_cells_and_minutes(tiny_study, tmp_path):
    result = runner.invoke(
        app, ["plan", str(tiny_study), "--cache-dir", str(tmp_path), "--format", "csv"]
    )
    assert result.exit_code == 0, result.output
    plan = pd.read_csv(pd.io.common.StringIO(result.stdout))
    assert list(plan["cells"]) == [3 * 3 * 2 + 2] * 2
