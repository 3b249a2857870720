import base64
import gzip
import json
import re
import time
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from run_folders import (
    ANSWER,
    NASTY,
    SCORECARD,
    SIZES,
    SVG,
    experiment,
    reached,
    sweep_table,
    truth,
    write_run,
)
from typer.testing import CliRunner

import charkit
from charkit.cli.app import app
from charkit.errors import DataError, MissingError, UsageError
from charkit.heads.sweep.table import write_table
from charkit.report.figures.means import Lead
from charkit.report.pages.curves import curves_of, reach, rough, share_of_gain
from charkit.report.pages.html import data_uri, first_sentence, html_of, put_inside, shrunk
from charkit.report.pages.run import run_html, write_report
from charkit.report.pages.run_data import Picture, error_of, read_run, scorecard_tables
from charkit.report.pages.words import data_words, fisher_words, layer_words, sentences_of

VOID = {"meta", "link", "input", "line", "path", "rect", "circle", "br", "img"}


class Reader(HTMLParser):
    """Checks that elements close, and gathers what the page would ask for."""

    def __init__(self):
        super().__init__()
        self.open, self.asked, self.styles, self.words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.asked += [given[k] for k in ("src", "href") if given.get(k)]
        self.styles += [k for k in given if k == "style" or k.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    return reader


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def test_a_whole_run_is_one_page_that_asks_for_nothing(run):
    place = charkit.write_report(run)
    page = place.read_text("utf-8")
    assert place == run / "report.html"
    reader = read(page)
    assert not reader.styles
    assert all(url.startswith(("data:", "#")) for url in reader.asked)
    words = " ".join(reader.words)
    for said in (
        *("What do layers say?", "What do norm say?", "All of norm is in layer 4"),
        *("power law, 2 parameters", "An answer as an example", "Other texts."),
    ):
        assert said in words
    assert "example.org" not in " ".join(reader.asked)
    assert run_html(read_run(run)) == page


def test_text_of_users_is_text(run):
    page = run_html(read_run(run), title="<b>&")
    assert NASTY not in page
    assert "&lt;script&gt;" in page
    assert page.count("<script") == 2
    assert "<img src=x" not in page
    assert "<title>&lt;b&gt;&amp;</title>" in page


def test_every_parts_absence_is_borne(tmp_path):
    table = tmp_path / "sweep"
    write_table(sweep_table(), table / "table.parquet")
    scored = tmp_path / "scored"
    scored.mkdir()
    (scored / "scorecard.json").write_text(json.dumps(SCORECARD))
    asked = tmp_path / "asked"
    (asked / "experiments").mkdir(parents=True)
    (asked / "experiments" / "norm.json").write_text(json.dumps({"question": "Why?"}))
    for folder in (table, scored, asked):
        read(run_html(read_run(folder)))
    assert read_run(table).name == "sweep"


def test_the_folder_of_an_answer_gives_the_page_of_the_answer(tmp_path):
    (tmp_path / "answer.json").write_text(json.dumps(ANSWER))
    page = write_report(tmp_path, out=tmp_path / "page.html", title="Mine").read_text("utf-8")
    assert "<title>Mine</title>" in page
    assert 'id="goal-card"' in page


def test_a_table_without_finished_cells_says_so(tmp_path):
    write_table(sweep_table(state="failed"), tmp_path / "table.parquet")
    page = run_html(read_run(tmp_path))
    assert "No cell of the sweep is finished" in page
    assert "cells failed" in page


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("scorecard.json", "{", DataError, "scorecard.json cannot be read"),
        ("scorecard.json", "[1]", DataError, "scorecard.json holds something else"),
        ("scorecard.json", '{"figures": {"layers": [{"n": 1}]}}', DataError, "scorecard.json"),
        ("experiments/norm.json", "nonsense", DataError, "experiments/norm.json"),
        ("experiments/norm.json", '{"finding": [1]}', DataError, "under 'finding'"),
        ("answer/answer.json", '{"accuracy": 3}', UsageError, "answer.json"),
        ("pilot.parquet", "no parquet", DataError, "pilot.parquet cannot be read"),
    ],
)
def test_a_broken_file_is_named(run, name, content, error, words):
    (run / name).write_text(content)
    with pytest.raises(error, match=words):
        run_html(read_run(run))


def test_a_folder_with_nothing_is_refused(tmp_path):
    with pytest.raises(MissingError, match=r"expected answer\.json, a sweep's table"):
        read_run(tmp_path)
    with pytest.raises(MissingError, match="got nothing"):
        read_run(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="got a file"):
        read_run(tmp_path / "file")


def test_the_command_writes_and_refuses(run, tmp_path):
    runner = CliRunner()
    place = tmp_path / "page.html"
    done = runner.invoke(app, ["report", str(run), "--out", str(place), "--format", "json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["report"][0]["bytes"] == place.stat().st_size
    assert runner.invoke(app, ["report", str(tmp_path / "absent")]).exit_code == 4
    (run / "scorecard.json").write_text("{")
    assert runner.invoke(app, ["report", str(run)]).exit_code == 3


def test_figures_lie_in_the_run_or_are_not_shown(run):
    (run.parent / "secret.svg").write_text(SVG)
    named = ["../../secret.svg", "/etc/passwd", "figures/absent.svg", "figures/norm.svg", "a\0b"]
    (run / "experiments" / "norm.json").write_text(json.dumps(experiment("norm", figures=named)))
    found = next(e for e in read_run(run).experiments if e.name == "norm")
    assert [p.name for p in found.pictures] == ["norm"]
    assert [p.name for p in read_run(run).pictures] == ["next_labels", "vast"]


def test_experiments_stand_in_the_order_of_their_telling(tmp_path):
    run = write_run(tmp_path / "run", experiments=("another", "norm", "layers"))
    assert [e.name for e in read_run(run).experiments] == ["layers", "norm", "another"]


def test_figures_without_room_are_packed_or_named(run):
    pictures = [
        Picture(name, run / f"experiments/figures/{name}.svg", None) for name in ("layers", "norm")
    ]
    pictures.append(Picture("vast", run / "figures/vast.svg", None))
    inside, _ = put_inside(pictures, plain=len(data_uri(shrunk(SVG))) + 9, packed=10_000)
    assert [bool(inside[p.svg].plain) for p in pictures] == [True, False, False]
    assert [bool(inside[p.svg].packed) for p in pictures] == [False, True, True]
    packed = gzip.decompress(base64.b64decode(inside[pictures[1].svg].packed)).decode()
    assert packed == shrunk(SVG)
    nothing, left_out = put_inside(pictures, plain=0, packed=0)
    assert not nothing
    assert left_out == ["layers.svg", "norm.svg", "vast.svg"]


def test_a_drawing_that_is_none_is_left_out(run):
    for content in (b"\xff\xfe", b"no drawing", b"<!DOCTYPE svg [<!ENTITY a 'b'>]><svg/>"):
        (run / "figures/next_labels.svg").write_bytes(content)
        page = run_html(read_run(run))
        assert "1 figure found no room" in page
        assert "Not in this page: figure <code>next_labels.svg" in page


def test_a_smaller_drawing_is_the_same_drawing():
    small = shrunk("<?xml version='1.0'?>\n<!-- said -->\n" + SVG)
    assert len(small) < len(SVG)
    assert "said" not in small
    assert 'href="#a0"' in small
    assert 'id="a0"' in small
    assert "unused" not in small
    assert "fill: #ff0000" in small
    assert 'd="M 0 0L9 9z"' in small


def test_data_in_an_attribute_cannot_leave_it():
    uri = data_uri("<svg a='1' b=\"#&%\">")
    assert "'" not in uri
    assert uri.endswith('<svg a=%271%27 b="%23&amp;%25">')


def test_numbers_of_figures_can_be_had(run):
    links = re.findall(r'href="data:text/csv;base64,([^"]+)"', run_html(read_run(run)))
    assert base64.b64decode(links[0]) == b"a,b\n1,2\n"


@pytest.mark.parametrize("target", [0.51, 0.55, 0.7, 0.8, 0.85, 0.9])
def test_labels_for_a_target_are_read_off_the_measured_curve(target):
    curve = next(c for c in curves_of(sweep_table()) if c.task == "reviews")
    found, expected = reach(curve, target).n, reached("reviews", target)
    assert found == (pytest.approx(expected) if expected is not None else None)
    assert reach(curve, target).labels == (
        "not reached by 1,024" if expected is None else f"{rough(expected):,}"
    )


def test_the_band_gives_the_interval_of_the_labels():
    curve = next(c for c in curves_of(sweep_table()) if c.task == "reviews")
    middle, ends = reach(curve, 0.7), reach(curve, 0.7).ends
    assert middle.low == pytest.approx(reached("reviews", 0.68))
    assert middle.high == pytest.approx(reached("reviews", 0.72))
    assert ends == f"{rough(middle.low):,} to {rough(middle.high):,}"
    assert reach(curve, 0.5).labels == "16 or fewer"
    assert reach(curve, 0.86).ends.endswith("to more than 1,024")
    assert reach(curve, 0.95).ends == "whole band below"


def test_curves_know_layer_and_signal():
    curves = curves_of(sweep_table())
    assert {c.task: c.signal for c in curves} == {NASTY: True, "reviews": True, "flat": False}
    for curve in curves:
        assert curve.layer == 4
        assert [p.n for p in curve.points] == list(SIZES)
        assert [p.mean for p in curve.points] == pytest.approx(
            [truth(curve.task, n) for n in SIZES]
        )
        assert curve.leads == {n: Lead(4, (4,), truth(curve.task, n) - 0.02 > 0.5) for n in SIZES}
    assert len(share_of_gain(curves, 0.9)) == 2


def test_the_answer_comes_first_and_follows_the_numbers(run):
    found = read_run(run)
    said = sentences_of(found, curves_of(found.table))
    assert said[0].startswith(
        "An earlier layer beats the last on 2 of 2 tasks with signal; layer 4"
    )
    assert "4.0 points off on average (power law 6.0)" in said[2]
    assert said[2].endswith("; without the Fisher features 4.5, no interval known.")
    assert said[3] == "No layer ends clearly above the controls on flat."


def test_the_layer_that_is_best_most_often_is_named_only_where_one_is_best_twice():
    table = sweep_table(("a", "b"))
    moved = (table["task"] == "b") & (table["layer"] == 2) & (table["control"] == "none")
    assert layer_words(curves_of(table)) == (
        "An earlier layer beats the last on 2 of 2 tasks with signal; layer 4 of 6 has the highest "
        "mean most often (2 tasks)."
    )
    table.loc[moved, ["score", "score_low", "score_high"]] += 0.3
    assert layer_words(curves_of(table)) == (
        "An earlier layer beats the last on 2 of 2 tasks with signal."
    )


def test_a_range_of_equal_numbers_is_not_shown():
    assert "in the median task; 1,024 at most" in data_words(curves_of(sweep_table(("a", "b"))))


@pytest.mark.parametrize(
    ("without", "words"),
    [(3.4, "without the Fisher features 3.4, no interval known"), (4.01, "the error is the same")],
)
def test_what_fisher_adds_is_told_either_way(run, without, words):
    changed = json.loads(json.dumps(SCORECARD))
    for row in changed["figures"]["accuracy_recommended"]:
        if row["method"] == "no_fisher":
            row["error"] = without
    (run / "scorecard.json").write_text(json.dumps(changed))
    assert words in fisher_words(read_run(run))


def test_a_scorecard_may_lack_parts():
    assert scorecard_tables({}) == []
    assert len(scorecard_tables(SCORECARD)) == 1
    assert error_of({}, "metamodel") is None
    assert error_of(SCORECARD, "pow2") == pytest.approx(6.0)


def test_markdown_is_a_small_safe_part():
    page = html_of(
        "# Head\n\n**b** <script>x</script> [l](http://x)\n\n| a |\n|--:|\n| 1 |\n\n- i\n"
    )
    assert page.startswith("<h4>Head</h4>")
    assert "<strong>b</strong> &lt;script&gt;" in page
    assert "href" not in page
    assert '<td class="number">1</td>' in page
    assert "<li>i</li>" in page
    assert "\x1b" not in html_of("\x1b[31m")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("It gains 2.5 points (vs. The rest). Then more.", "It gains 2.5 points (vs. The rest)."),
        ("# Head\n\nOne\nline. Two.", "One line."),
        ("**Heads.** Layer 4 leads. More.", "Heads. Layer 4 leads."),
        ("", ""),
        ("no end", "no end"),
    ],
)
def test_the_first_sentence(text, sentence):
    assert first_sentence(text) == sentence


def test_it_is_quick_and_small(run):
    write_report(run)
    begun = time.process_time()
    place = write_report(run)
    assert time.process_time() - begun < 1.0
    assert place.stat().st_size < 2_000_000


@pytest.mark.parametrize(
    ("tasks", "sentence"),
    [
        (("trec6",), "Of 2 encoders, minilm ends highest on the task."),
        (("a", "b", "c"), "Of 2 encoders, minilm ends highest on 2 of 3 tasks."),
    ],
)
def test_of_several_encoders_the_page_names_the_one_that_leads_most_often(
    tmp_path, tasks, sentence
):
    ours, other = sweep_table(tasks), sweep_table(tasks, encoder="bert")
    here = other["control"] == "none"
    other.loc[here, "score"] += np.where(other.loc[here, "task"] == "c", 0.1, -0.1)
    write_table(pd.concat([ours, other], ignore_index=True), tmp_path / "table.parquet")
    found = read_run(tmp_path)
    sentences = sentences_of(found, curves_of(found.table))
    assert sentence in sentences
    assert [s.partition(":")[0] for s in sentences if ":" in s] == ["minilm", "bert"]
