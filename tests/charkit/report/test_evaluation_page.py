"""The page of ``charkit evaluate``."""

import pytest
from browser import PROGRAM, browser
from test_page import NASTY, elements, nasty, of_class, words

from charkit.report.pages.evaluation import evaluation_html, write_evaluation_page

ANSWER = {
    "name": "pool.csv",
    "encoder": "minilm",
    "n_labelled": 256,
    "n_tested": 40,
    "sentences": ["The accuracy is 0.81.", "100 more labels halve its interval."],
    "accuracy": {"mean": 0.81, "low": 0.74, "high": 0.88},
    "expected_without_labels": 0.8,
    "outlook": {"n": 100, "width": 0.1, "random_width": 0.14},
    "warnings": ["Few labels."],
    "notes": ["2 rows left out"],
}
ROWS = [{"line": k, "text": NASTY, "weight": 0.25} for k in range(201)]


def test_the_answer_and_its_rows_are_there():
    page = evaluation_html(ANSWER, ROWS)
    shown = words(page)
    for part in (*ANSWER["sentences"], "Few labels.", "2 rows left out", "and 1 more"):
        assert part in shown
    assert len(of_class(page, "whisker")) == 2
    assert len(elements(page, "tr")) == 201


def test_without_labels_and_with_hostile_names_it_is_drawn():
    page = evaluation_html(nasty(ANSWER) | {"accuracy": None}, [])
    assert not elements(page, "img")
    assert len(elements(page, "script")) == 2
    assert "<script>alert(1)</script>" in words(page)


@pytest.mark.skipif(PROGRAM is None, reason="no chromium on this machine")
def test_its_script_complains_of_nothing(tmp_path):
    place = write_evaluation_page(ANSWER, ROWS, tmp_path / "page.html")
    with browser(tmp_path) as shown:
        shown.open(place, width=390)
        assert shown.errors() == []
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390
