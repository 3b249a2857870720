import io
import logging
import sys
import time

import pytest

from charkit.progress import PARTS, Rate, Whole, lines, shown


def test_several_stages_are_one_bar_that_never_falls_and_ends_at_its_total():
    seen = []
    whole = Whole(lambda *report: seen.append(report), "estimate", {"a": 1.0, "b": 3.0, "c": 0.0})
    for stage, done, total in [("a", 0, 2), ("a", 1, 2), ("b", 1, 3), ("other", 5, 9), ("a", 2, 2)]:
        whole(stage, done, total)
    whole("c", 0, 0)
    whole.finish()
    done = [d for _, d, _ in seen]
    assert done == sorted(done)
    assert done[:3] == [0, PARTS // 8, PARTS // 2]
    assert done[-2] < PARTS == done[-1]
    assert {total for *_, total in seen} == {PARTS}
    assert [name for name, *_ in seen][2:4] == ["estimate: b", "estimate: other"]


def test_the_rate_leaves_out_what_came_before_the_first_report_of_work():
    rate = Rate()
    assert rate.left(0.0) is None
    rate.note(5.0, 0.0)
    rate.note(30.0, 0.4)  # what an earlier run had finished, and the start of processes
    assert rate.left(31.0) is None
    rate.note(40.0, 0.6)
    assert rate.left(40.0) == pytest.approx(20.0)
    assert rate.left(42.0) == pytest.approx(24.0)  # nothing was reported for two seconds


def test_a_line_comes_though_nothing_is_reported():
    predicted = []
    with lines(predicted.append, every_s=0.02) as report:
        report("estimate: encode", 0, 1000)
        report("estimate: encode", 200, 1000)
        report("estimate: encode", 250, 1000)
        until = time.monotonic() + 5
        while len(predicted) < 2 and time.monotonic() < until:
            time.sleep(0.01)
    assert len(predicted) >= 2
    assert predicted[0].startswith("estimate: encode: 25%, about 0 s left")
    before = len(predicted)
    time.sleep(0.06)
    assert len(predicted) == before


@pytest.mark.parametrize(
    ("choice", "variable", "bar"), [(True, "", True), (False, "", False), (None, "0", False)]
)
def test_a_bar_is_shown_where_it_is_wanted(choice, variable, bar, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("CHARKIT_PROGRESS", variable)
    with shown(choice) as report:
        report("estimate: encode", 1, 2)
    assert ("estimate: encode" in stream.getvalue()) == bar


def test_a_terminal_gets_a_bar_and_a_file_does_not(monkeypatch):
    for watched in (True, False):
        stream = io.StringIO()
        stream.isatty = lambda watched=watched: watched
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.delenv("CHARKIT_PROGRESS", raising=False)
        with shown(None) as report:
            report("estimate: encode", 1, 2)
        assert ("estimate: encode" in stream.getvalue()) == watched


def test_the_end_of_each_stage_is_logged(caplog):
    with caplog.at_level(logging.INFO, "charkit.progress"):
        whole = Whole(lambda *_: None, "estimate", {"a": 1.0})
        whole("a", 0, 3)
        whole("a", 3, 3)
    assert "a: 3 in" in caplog.text
