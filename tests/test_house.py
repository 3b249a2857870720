"""The script of `make house` counts what it says, and its page names every aim."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

DOCS = Path(__file__).parents[1] / "docs"
SPEC = spec_from_file_location("house", DOCS / "house.py")
HOUSE = module_from_spec(SPEC)
sys.modules["house"] = HOUSE
SPEC.loader.exec_module(HOUSE)

TEXT = '''"""A module.

Two lines more, and an empty one.
"""

from __future__ import annotations

import numpy as np
from charkit.errors import DataError, UsageError

import metamodel  # a comment behind code is not a line of comments

SIZE = 3
"""A constant's docstring."""

# Why three.
text = "# no comment"


@dataclass(frozen=True)
class Kept:
    size: int


class Plain:
    def __init__(self, a, b):
        self.a = a

    def ask(self, a, /, b, *args, c=1, **more):
        """One line."""
        return _once(a)


def _once(a):

    return _twice(_twice(a))


def _twice(a):
    return a
'''


def test_every_line_is_of_one_kind():
    counts = HOUSE.count_text(TEXT)
    assert counts.lines == TEXT.count("\n") == 40
    assert counts.doc == 6  # four of the module, one of the constant, one of the method
    assert counts.comments == 1
    empty = sum(not line for line in TEXT.splitlines()) - 1
    assert counts.code == 40 - 6 - 1 - empty


def test_functions_classes_and_imports_are_counted():
    counts = HOUSE.count_text(TEXT)
    assert (counts.classes, counts.dataclasses) == (2, 1)
    assert counts.imports == 2
    assert sorted(counts.lengths) == [2, 2, 2, 3]
    assert sorted(counts.parameters) == [(2, "__init__"), (3, "ask")]
    assert counts.used_once == 1


@given(st.lists(st.sampled_from([TEXT, "x = 1\n", "", "def f(a, b): return a\n"]), max_size=6))
def test_counts_of_files_add_up(texts):
    total = sum(map(HOUSE.count_text, texts), HOUSE.Counts())
    assert total.files == len(texts)
    assert total.lines == sum(t.count("\n") for t in texts)
    assert total.metrics()["functions"] == len(total.lengths)


def test_metrics_are_a_thousand_lines_apart():
    counts = HOUSE.Counts(lines=2000, imports=58, used_once=3, lengths=[1, 9, 5])
    assert counts.metrics()["imports"] == 29.0
    assert counts.metrics()["used_once"] == 1.5
    assert counts.metrics()["median"] == 5
    assert counts.metrics()["longest"] == 9


@pytest.mark.parametrize(
    ("key", "good", "bad"), [("files", 200, 201), ("comments", 400, 399), ("parameters", 12, 13)]
)
def test_an_aim_is_reached_at_its_bound(key, good, bad):
    row = next(r for r in HOUSE.ROWS if r.key == key)
    assert row.reached(good) is True
    assert row.reached(bad) is False


def test_the_page_is_made_of_these_metrics(tmp_path):
    base = json.loads((DOCS / "house.json").read_text())
    assert base["commit"] == HOUSE.BASE_COMMIT
    assert base["metrics"]["all"]["lines"] == 52_418  # as counted when the plan was written
    for package in HOUSE.PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text(TEXT)
    page = HOUSE.page(base, HOUSE.measure(tmp_path))
    assert f"| lines | 52,418 | {3 * 40} | at most 39,000 | yes | 40 | 40 | 40 |" in page
    assert "| lines of comments | 58 | 3 | at least 400 | **no** |" in page
    assert all(f"| {row.words} |" in page for row in HOUSE.ROWS)
    written = (DOCS / "house.md").read_text()
    assert all(f"| {row.words} |" in written for row in HOUSE.ROWS), "run make house"
