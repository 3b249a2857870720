import csv
import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from charkit import __version__
from charkit.cli import app as cli_app
from charkit.cli.app import app
from charkit.cli.show import Output, set_up_logging, whole_numbers
from charkit.errors import UsageError

runner = CliRunner()


def rows(n=60):
    good, bad = ("good", "great", "fine"), ("bad", "awful", "poor")
    things = ("cat", "dog", "film", "book", "house", "man", "woman")
    texts = [
        f"the {things[i % 7]} is {(good if i % 2 else bad)[i % 3]} {i // 20} ." for i in range(n)
    ]
    frame = pd.DataFrame({"body": texts, "stars": [i % 2 for i in range(n)]})
    return frame.drop_duplicates("body")


@pytest.fixture
def reviews(tmp_path):
    path = tmp_path / "reviews.csv"
    rows().to_csv(path, index=False)
    return str(path)


def run(*arguments, cache=None):
    extra = ["--cache-dir", str(cache)] if cache is not None else []
    return runner.invoke(app, [*map(str, arguments), *extra])


SMALL = ("--seeds", "0,1", "--sizes", "8,16", "--executor", "1", "--dtype", "float32")


@pytest.fixture
def swept(reviews, tiny_bert, tmp_path):
    arguments = ("sweep", reviews, "--text", "body", "--label", "stars", "-e", tiny_bert, *SMALL)
    return arguments, run(*arguments, cache=tmp_path / "c"), tmp_path / "c"


def test_version():
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.strip() == f"charkit {__version__}"


@pytest.mark.parametrize("names", [(), ("sweep",), ("cache", "list")])
def test_help_of_a_command_is_what_its_option_shows(names):
    assert run("help", *names).stdout.strip() == run(*names, "--help").stdout.strip()


def test_no_arguments_show_the_help():
    assert "charkit [OPTIONS] COMMAND" in run().stdout
    assert "estimate" in run().stdout


def test_a_command_that_is_not_known_gets_a_suggestion():
    assert "estimate" in run("estmate").stderr
    assert "did you mean 'estimate'" in run("help", "estmate").stderr
    result = run("help", "sweep", "data.csv")
    assert result.exit_code == 2
    assert "sweep has no commands of its own" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_completes_commands(shell):
    environment = os.environ | {"_CHARKIT_COMPLETE": f"complete_{shell}"}
    environment |= {"COMP_WORDS": "charkit esti", "COMP_CWORD": "1"}
    environment |= {
        "_TYPER_COMPLETE_ARGS": "charkit esti",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    environment |= {"_TYPER_COMPLETE_WORD_TO_COMPLETE": "esti"}
    command = [sys.executable, "-m", "charkit"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "estimate" in done.stdout, done.stderr


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "caf\\xe9"), ("cp1252", "café")])
def test_a_name_that_stdout_cannot_hold_is_spelled_out(encoding, shown, tmp_path):
    code = "from charkit.cli.app import _make_streams_safe as f; f(); print('caf\xe9 \u03b3')"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True
    )
    assert done.stdout.decode(encoding).strip() == shown + " \\u03b3"


def test_windows_writes_files_and_pipes_in_utf8(monkeypatch):
    """As there: a stream to a pipe with the encoding of the country."""
    from charkit.cli import app as module

    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="cp1252", errors="strict")
    monkeypatch.setattr(module.os, "name", "nt")
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    monkeypatch.setattr(module.sys, "stdout", stream)
    module._make_streams_safe()
    stream.write("γάτα")
    stream.flush()
    assert raw.getvalue().decode("utf-8") == "γάτα"


def test_notes_and_the_plan_come_before_the_work(monkeypatch, reviews, tiny_bert, tmp_path):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("charkit.heads.sweep.sweep._compute", stop)
    for command in ("sweep", "layers"):
        result = run(command, reviews, "-e", tiny_bert, "--dtype", "float32", cache=tmp_path)
        assert "training:" in result.stderr, command
        assert "of work" in result.stderr, command
        assert "cpu: asked for" in result.stderr or "cpu: found" in result.stderr, command


def test_sizes_that_are_left_out_are_said(reviews, tiny_bert, tmp_path):
    sizes = ("--sizes", "8,5000", "--dry-run")
    result = run("sweep", reviews, "-e", tiny_bert, *sizes, cache=tmp_path)
    assert "sizes left out: 5000" in result.stderr


def test_a_sweep_of_a_part_shows_it(reviews, tiny_bert, tmp_path):
    result = run(
        "sweep", reviews, "-e", tiny_bert, *SMALL, "--subset", "noise:0.2", "--controls", "none",
        "-q", cache=tmp_path,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "n_train" in result.stdout
    assert "(noise:0.2): accuracy" in result.stdout


def test_columns_that_say_nothing_are_left_out_of_the_table_alone(swept):
    arguments, first, cache = swept
    assert "encoder" not in first.stdout.splitlines()[0].split()
    assert "accuracy" in first.stdout.splitlines()[0].split()
    as_csv = run(*arguments, "--format", "csv", cache=cache)
    assert {"task", "subset", "encoder", "score", "strength"} <= set(
        as_csv.stdout.splitlines()[0].split(",")
    )


def test_sweep_prints_results_alone_on_stdout(swept):
    _, result, _ = swept
    assert result.exit_code == 0, result.output
    assert "n_train" in result.stdout
    assert "training:" in result.stderr
    assert "training:" not in result.stdout


def test_second_sweep_prints_the_same_and_says_that_it_was_there(swept):
    arguments, first, cache = swept
    again = run(*arguments, cache=cache)
    assert again.stdout == first.stdout
    assert "8 of 8 jobs were in the store already: nothing was computed" in again.stderr
    assert "of work" not in again.stderr


def test_sweep_as_json_has_every_cell(swept):
    arguments, _, cache = swept
    result = run(*arguments, "--format", "json", cache=cache)
    answer = json.loads(result.stdout)
    assert len(answer["cells"]) == 3 * 3 * 2 * 2 + 4
    assert answer["best_layers"][0]["n_train"] == 8
    assert answer["findings"]


def test_json_has_no_nan(swept):
    arguments, _, cache = swept
    result = run(*arguments, "--format", "json", cache=cache)

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    json.loads(result.stdout, parse_constant=refuse)


def test_sweep_as_csv(swept):
    arguments, _, cache = swept
    result = run(*arguments, "--format", "csv", cache=cache)
    table = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [r["n_train"] for r in table] == ["8", "16"]


def test_quiet_leaves_the_result_alone(swept):
    arguments, first, cache = swept
    result = run(*arguments, "-q", cache=cache)
    assert result.stderr == ""
    assert result.stdout == first.stdout


def test_out_writes_table_and_figures(swept, tmp_path):
    arguments, _, cache = swept
    result = run(*arguments, "--out", tmp_path / "out", cache=cache)
    assert result.exit_code == 0, result.output
    names = {p.suffix for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {".parquet", ".csv", ".svg", ".png"} <= names


def test_dry_run_computes_nothing(reviews, tiny_bert, tmp_path):
    arguments = ("sweep", reviews, "--text", "body", "--label", "stars", "-e", tiny_bert)
    result = run(*arguments, "--dry-run", "--format", "json", cache=tmp_path / "c")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert plan["total"]["cells"] > 0
    assert plan["total"]["minutes"] > 0
    assert not (tmp_path / "c" / "heads").exists()
    assert not (tmp_path / "c" / "states").exists()


def test_dry_run_for_other_machines(reviews, tiny_bert, tmp_path):
    arguments = ("sweep", reviews, "--text", "body", "--label", "stars", "-e", tiny_bert)
    planned = (*arguments, "--dry-run", "--machines", "8xh100", "--price", "2.5")
    result = run(*planned, cache=tmp_path / "c")
    assert result.exit_code == 0, result.output
    assert "on 8 x h100:" in result.stdout
    assert "at 2.5 an hour and machine:" in result.stdout
    result = run(*arguments, "--dry-run", "--executor", "processes:3", cache=tmp_path / "c")
    assert "on 3 x core:" in result.stdout
    for wrong, expected in (
        (("--machines", "8xh100"), "expected --dry-run"),
        (("--price", "2", "--dry-run"), "expected --machines"),
    ):
        result = run(*arguments, *wrong, cache=tmp_path / "c")
        assert result.exit_code == 2
        assert expected in result.stderr


def test_layers_as_json(reviews, tiny_bert, tmp_path):
    result = run(
        "layers", reviews, "--text", "body", "--label", "stars", "-e", tiny_bert, "--n", "24",
        "--executor", "1", "--format", "json", cache=tmp_path / "c",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert {"layer", "accuracy", "low", "high", "tied_with_best"} <= set(answer["layers"][0])
    assert isinstance(answer["signal"], bool)
    assert isinstance(answer["training_helps"], bool)
    assert answer["metric"] == "accuracy"
    assert answer["frac_truncated"] == 0


def test_encode_writes_the_states(reviews, tiny_bert, tmp_path):
    from safetensors.numpy import load_file

    result = run(
        "encode", reviews, "--text", "body", "--label", "stars", "-e", tiny_bert,
        "--layers", "0,2", "--out", tmp_path / "states", cache=tmp_path / "c",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    tensors = load_file(tmp_path / "states" / "train.safetensors")
    assert set(tensors) == {"layer.0", "layer.2"}
    assert tensors["layer.2"].shape[1] == 32


def test_cache_list_show_prune_and_verify(swept):
    _, _, cache = swept
    listed = json.loads(run("cache", "list", "--format", "json", cache=cache).stdout)["entries"]
    assert {e["kind"] for e in listed} == {"heads", "states", "tasks"}
    shown = run("cache", "show", listed[0]["key"][:12], cache=cache)
    assert json.loads(shown.stdout)["kind"] == listed[0]["kind"]
    assert run("verify", cache=cache).exit_code == 0
    victim = next(p for p in cache.rglob("*.safetensors"))
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    damaged = run("verify", cache=cache)
    assert damaged.exit_code == 3
    assert "problems" in damaged.stderr
    assert run("cache", "prune", cache=cache).exit_code == 2
    assert run("cache", "prune", "--older", "30d", cache=cache).exit_code == 0
    assert run("cache", "prune", "--all", cache=cache).exit_code == 0
    assert json.loads(run("cache", "list", "--format", "json", cache=cache).stdout)["entries"] == []


def test_doctor_finds_a_working_machine(tmp_path):
    result = run("doctor", "--format", "json", cache=tmp_path / "c")
    assert result.exit_code == 0, result.output
    found = {c["check"]: c["found"] for c in json.loads(result.stdout)["checks"]}
    assert {"torch", "device", "store"} <= set(found)
    assert "cpu: cpu" not in found["device"]
    assert found["number format"].count("bfloat16: ") <= 1


def test_doctor_fails_where_the_store_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("doctor", cache=tmp_path / "file" / "below")
    assert result.exit_code == 4
    assert "MISSING" in result.stdout


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0", (0,)), ("0,3-6", (0, 3, 4, 5, 6)), ("-1", (-1,)), (" 16, 64 ", (16, 64)), (None, None)],
)
def test_whole_numbers(text, numbers):
    assert whole_numbers(text, "--layers") == numbers


@pytest.mark.parametrize("text", ["a", "1-", "1,,2", "1.5", ""])
def test_other_lists_are_refused(text):
    with pytest.raises(UsageError, match="--layers: expected whole numbers"):
        whole_numbers(text, "--layers")


def test_interrupt_says_how_to_resume(monkeypatch, reviews, tiny_bert, tmp_path):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("charkit.heads.sweep.sweep._compute", stop)
    result = run(
        "sweep", reviews, "--text", "body", "--label", "stars", "-e", tiny_bert, cache=tmp_path
    )
    assert result.exit_code == 130
    assert "0 of 20 jobs are finished and kept" in result.stderr
    assert "Resume with the same command" in result.stderr


def test_log_file_is_written(swept, tmp_path):
    arguments, _, cache = swept
    assert run(*arguments, "--log-file", tmp_path / "log", cache=cache).exit_code == 0
    log = (tmp_path / "log").read_text()
    assert "charkit.cli.show: charkit 0" in log
    assert "training:" in log
    assert "cpu: found" in log or "cpu: asked" in log


def test_log_file_has_stages_and_errors(reviews, tiny_bert, tmp_path):
    log = tmp_path / "log"
    arguments = ("encode", reviews, "-e", tiny_bert, "--log-file", log, "-q")
    assert run(*arguments, cache=tmp_path / "c").exit_code == 0
    assert "encode reviews, train: " in log.read_text()
    assert run("sweep", reviews, "--text", "bdy", "--log-file", log).exit_code == 3
    assert "ERROR charkit.cli.show: reviews.csv has no column 'bdy'" in log.read_text()


def test_verbose_says_where_it_computes(reviews, tiny_bert, tmp_path):
    result = run("encode", reviews, "-e", tiny_bert, "-v", cache=tmp_path)
    assert "INFO: " in result.stderr
    assert "cpu: " in result.stderr
    assert "INFO: training" not in result.stderr


def test_log_lines_go_to_the_stderr_of_the_moment(monkeypatch):
    """So that bars, which take its place, can put them above themselves."""
    set_up_logging(Output(verbose=True), None)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    logging.getLogger("charkit.heads").info("a line")
    assert sys.stderr.getvalue() == "INFO: a line\n"


def test_cut_texts_are_said_by_encode(tmp_path, tiny_bert):
    path = tmp_path / "long.csv"
    frame = rows()
    frame["body"] += " the cat is good and the dog is bad"
    frame.to_csv(path, index=False)
    result = run("encode", path, "-e", tiny_bert, "--max-length", "8", cache=tmp_path)
    assert "train: 100% of the texts were cut at 8 tokens" in result.stderr


def test_the_list_says_what_each_entry_is(swept):
    _, _, cache = swept
    listed = json.loads(run("cache", "list", "--format", "json", cache=cache).stdout)["entries"]
    by_kind = {
        kind: [e["what"] for e in listed if e["kind"] == kind] for kind in ("states", "tasks")
    }
    assert all("tiny-bert" in what and "texts" in what for what in by_kind["states"])
    assert [what.split(",")[0] for what in by_kind["tasks"]] == ["reviews"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_behind_stdout_is_no_traceback(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "charkit", "cache", "list", "--format", "json"],
            stdout=full, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"CHARKIT_CACHE": str(tmp_path)},
        )  # fmt: skip
    assert done.returncode == 4
    assert "the output cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_log_file_that_cannot_be_written(reviews, tmp_path):
    result = run("sweep", reviews, "--log-file", tmp_path / "no" / "log", cache=tmp_path)
    assert result.exit_code == 4
    assert "log file" in result.stderr


def test_the_text_that_a_library_exits_with_is_shown(monkeypatch, capsys):
    def end(**_):
        sys.exit("no such device")

    monkeypatch.setattr(cli_app, "app", end)
    assert cli_app._run() == 1
    assert capsys.readouterr().err == "no such device\n"
