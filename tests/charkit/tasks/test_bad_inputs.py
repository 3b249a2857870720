"""Every case of the table gets its error, its message, and leaves nothing behind."""

import re

import pytest
from bad_inputs import CASES

from charkit.tasks import load_task


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refusal(case, tmp_path):
    case.write(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    source, options = case.arguments(tmp_path)
    with pytest.raises(case.error, match=re.escape(case.fragment)) as caught:
        load_task(source, **options)
    assert type(caught.value) is case.error
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    assert sorted(tmp_path.rglob("*")) == before


def test_names_are_distinct_and_described():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 28
    assert all(case.description.endswith(".") for case in CASES)
