"""Every case of the table gets its error, its message, and leaves nothing behind."""

import re

import pytest
from bad_inputs import CASES
from following import Attempt, follow_advice

from charkit.errors import CharkitError
from charkit.tasks import load_task

KEYWORDS = {"eval": "evaluation"}


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


def load(attempt):
    """Load the task of a command line; return the message of a refusal, else nothing."""
    options = {}
    rest = iter(attempt.arguments[2:])
    for flag in rest:
        name = flag.removeprefix("--").replace("-", "_")
        value = True if name == "offline" else next(rest)
        options[KEYWORDS.get(name, name)] = float(value) if name == "eval_frac" else value
    try:
        load_task(attempt.arguments[1], **options)
    except CharkitError as error:
        return str(error)
    return ""


def command_line(source, options):
    arguments = ["load", source]
    for name, value in options.items():
        flag = {word: option for option, word in KEYWORDS.items()}.get(name, name)
        arguments += [f"--{flag.replace('_', '-')}", *([] if value is True else [str(value)])]
    return arguments


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_who_follows_the_advice_gets_on(case, tmp_path):
    case.write(tmp_path)
    attempt = Attempt(tmp_path, command_line(*case.arguments(tmp_path)))
    attempt.message = load(attempt)
    assert case.fragment in attempt.message
    follow_advice(attempt, case.follow, load)


def test_names_are_distinct_and_described():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 28
    assert all(case.description.endswith(".") for case in CASES)
