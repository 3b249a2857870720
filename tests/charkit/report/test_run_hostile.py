"""Folders of results that mean harm, or that another program wrote."""

import json
import time

import pytest
from run_folders import SCORECARD, SVG, sweep_table, write_run

from charkit.errors import DataError
from charkit.report.pages.curves import curves_of
from charkit.report.pages.html import data_uri, html_of, put_inside, shrunk
from charkit.report.pages.run import run_html
from charkit.report.pages.run_data import coverage_words, error_of, read_run
from charkit.report.pages.words import data_words

BARE = SVG.replace('viewBox="0 0 300 200"', "")


def test_methods_of_a_scorecard_are_text(tmp_path):
    row = {"brier": 0.5, "reachable_though_not": 0.1}
    row |= {"method": "<img src=x>"}
    (tmp_path / "scorecard.json").write_text(json.dumps({"figures": {"needs": [row]}}))
    page = run_html(read_run(tmp_path))
    assert "<img" not in page
    assert page.count("&lt;img") == 1


@pytest.mark.parametrize(
    "figures",
    [{"intervals": [1]}, {"intervals": {"pilots_64_to_256": {"rows": "x", "tasks": 1}}}],
)
def test_coverage_that_is_none_is_refused(figures):
    with pytest.raises(DataError, match="scorecard"):
        coverage_words({"figures": figures})


def test_an_error_that_is_no_number_is_not_known():
    rows = [r | {"error": float("nan")} for r in SCORECARD["figures"]["accuracy_recommended"]]
    assert error_of({"figures": {"accuracy_recommended": rows}}, "metamodel") is None


def test_numbers_beside_a_figure_are_the_runs_own(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("kept to oneself")
    run = write_run(tmp_path / "run")
    numbers = run / "experiments" / "figures" / "norm.csv"
    numbers.unlink()
    numbers.symlink_to(secret)
    (run / "figures" / "elsewhere.svg").symlink_to(write_run(tmp_path / "b") / "figures/vast.svg")
    found = read_run(run)
    norm = next(e for e in found.experiments if e.name == "norm")
    assert norm.pictures[0].csv is None
    assert [p.name for p in found.pictures] == ["next_labels", "vast"]


@pytest.mark.parametrize("piece", ["<!--", "<metadata>", "<?xml", "url(#", "<svg "])
def test_drawings_without_an_end_take_no_time(tmp_path, piece):
    begun = time.monotonic()
    (tmp_path / "a.svg").write_text("<svg>" + piece * 60_000)
    shrunk((tmp_path / "a.svg").read_text())
    run = write_run(tmp_path / "run")
    (run / "figures" / "next_labels.svg").write_text("<svg>" + piece * 60_000)
    run_html(read_run(run))
    assert time.monotonic() - begun < 5


def test_a_size_that_is_none_is_not_read(tmp_path):
    run = write_run(tmp_path / "run")
    odd = BARE.replace("<svg", '<svg viewBox="0 0 1.2.3 5"')
    (run / "figures" / "next_labels.svg").write_text(odd)
    pictures = read_run(run).pictures
    assert put_inside(pictures)[0][pictures[0].svg].size == (480, 360)


def test_line_ends_in_a_tag_are_kept():
    assert "\n" not in data_uri('<svg\nwidth="1"\t>')
    assert data_uri('<svg\nwidth="1"\t>').endswith('<svg%0Awidth="1"%09>')


def test_long_markdown_takes_no_time():
    begun = time.monotonic()
    html_of("**a " * 100_000)
    assert time.monotonic() - begun < 3


def test_labels_are_those_of_the_task_that_is_told():
    table = sweep_table(("reviews", "flat"))
    short = table[(table["task"] == "flat") | (table["n_train"] <= 256)]
    assert " of 256 labels" in data_words(curves_of(short))
