"""Errors by the number of corpora learned from: what is counted, and that learning helps."""

from __future__ import annotations

import pandas as pd
import pytest
from meta_samples import make_tables

from glue_pilot.judging.summary import corpora_figure, corpora_section
from metamodel.features import LABELLED
from metamodel.fit.fitting import FitSettings, problem_of
from metamodel.judge import leave_out
from metamodel.judge.leave_out import ask, errors_by_corpora, judged_pilots
from metamodel.model import Settings
from metamodel.rows import join_tables


@pytest.fixture(scope="module")
def rows():
    data = join_tables(*make_tables(n_corpora=12, pilots=(64, 128), draws=1))
    frame, asked = ask(judged_pilots(data, (64, 128)), data, (2, 4, 8))
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leave_out, "COUNTS", (2, 99))
        found = errors_by_corpora(
            problem_of(data),
            frame,
            asked,
            FitSettings(labelled=Settings(anchor="chance", penalty=10.0)),
            LABELLED,
            lambda *step: steps.append(step),
            most=100,
            n_folds=4,
        )
    assert steps[-1] == ("corpora to learn from", 3, 3)
    return pd.DataFrame(found)


def test_a_row_a_number_of_corpora_and_size(rows):
    assert not rows.duplicated(["corpora", "n0"]).any()
    assert set(rows["corpora"]) == {2, 9}  # 99 are not there; all that are left, of 12 in 4 parts
    assert set(rows["n0"]) == {64, 128}
    assert rows.groupby("n0")["law"].nunique().eq(1).all()


def test_the_law_learns_nothing_and_the_metamodel_does(rows):
    error = rows.pivot_table(index="n0", columns="corpora", values="error")
    assert error[9].mean() < error[2].mean()
    assert (error[9] < rows.groupby("n0")["law"].first()).all()


def test_the_section_shows_every_number(rows):
    given = rows.to_dict("records")
    text = "\n".join(corpora_section(given))
    assert all(f"{error:.2f}" in text for error in rows["error"])
    assert corpora_section([]) == []
    numbers = corpora_figure(given).get_axes()[0].get_lines()
    assert len(numbers) == 4  # an error and a law a size
