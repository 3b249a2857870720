import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkit.report.pages.answer import draw_curve, value_range
from charkit.report.pages.answer_data import read_answer
from charkit.report.pages.chart import Frame, size_ticks


def answer(sizes, means, half=0.05, **more):
    rows = [
        {"n": n, "mean": m, "low": m - half, "high": m + half}
        for n, m in zip(sizes, means, strict=True)
    ]
    return read_answer({"accuracy": rows, **more})


def frame(n_low, n_high, width=720):
    return Frame(width, 400, 50, 20, 50, (n_low, n_high), (0.5, 1.0), 0.1)


def test_places_are_those_of_the_scales():
    f = frame(100, 10_000)
    assert f.x(100) == 50
    assert f.x(10_000) == 700
    assert f.x(1000) == pytest.approx(375)
    assert (f.y(0.5), f.y(1.0)) == (350, 34)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**6), st.floats(1.05, 1e4), st.sampled_from([320, 720]))
def test_size_labels_lie_inside_and_never_touch(n_low, ratio, width):
    f = frame(n_low, n_low * ratio + 1, width)
    ticks = size_ticks(f)
    assert len(ticks) >= 2
    assert ticks == sorted(ticks)
    if len(ticks) > 2:
        places = [(f.x(n), 3.5 * len(f"{n:,}")) for n in ticks]
        for (x, half), (x2, half2) in pairwise(places):
            assert x + half < x2 - half2


def test_size_labels_are_round():
    assert size_ticks(frame(64, 8192)) == [100, 200, 500, 1000, 2000, 5000]
    assert size_ticks(frame(64, 8192, width=320)) == [100, 300, 1000, 3000]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=6),
    st.floats(0, 0.5),
    st.one_of(st.none(), st.floats(0.01, 1)),
)
def test_all_that_is_drawn_lies_inside_the_drawing(means, half, target):
    need = target and {"target": target, "n": 200, "low": 20, "high": None, "reached": True}
    sizes = [64 * 2**k for k in range(len(means))]
    read = answer(sizes, means, half, n=64, labels_for_target=need)
    low, high, _ = value_range(read)
    assert 0 <= low < high <= 1
    drawing = draw_curve(read)
    for name, width, height in (("wide", 720, 400), ("narrow", 320, 290)):
        svg = re.search(rf'class="plot {name}">(.*?)</svg>', drawing, re.DOTALL)[1]
        for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", svg):
            assert 0 <= float(x) <= width
            assert 0 <= float(y) <= height
        for y in re.findall(r' (?:y|y1|y2|cy)="(-?[\d.]+)"', svg):
            assert 0 <= float(y) <= height


def test_one_size_is_a_point_with_a_whisker():
    drawing = draw_curve(answer([64], [0.7]))
    assert 'class="whisker"' in drawing
    assert 'class="mean"' not in drawing


def test_without_an_interval_there_is_no_band():
    rows = [{"n": 64, "mean": 0.6}, {"n": 128, "mean": 0.7}]
    drawing = draw_curve(read_answer({"accuracy": rows}))
    assert 'class="band"' not in drawing
    assert 'class="mean"' in drawing


def test_no_label_yet_has_no_place_on_the_axis():
    drawing = draw_curve(answer([0, 64, 128], [0.3, 0.6, 0.7], n=0))
    assert "your" not in drawing
    assert 'data-n="64 128"' in drawing


def test_a_falling_curve_is_called_falling():
    assert "accuracy falls from 0.700" in draw_curve(answer([64, 128], [0.7, 0.6]))
