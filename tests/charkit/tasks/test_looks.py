import unicodedata

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charkit.errors import DataError
from charkit.tasks import load_task
from charkit.tasks.readers.looks import alike_notes, are_dates, number_problem, shown

WORDS = st.text(st.characters(categories=["L"]), min_size=1, max_size=12)


@example("\u00aa", "case")  # "\u00c9\u00aa" is UTF-8 of another letter, read as Windows-1252
@example("\u00b5", "case")  # its capital is Greek
@given(WORDS, st.sampled_from(["case", "spaces", "accents", "invisible", "compatible"]))
def test_two_spellings_of_a_word_are_noted_and_kept_apart(word, how):
    word = unicodedata.normalize("NFC", f"e\u0301{word}")
    other = {
        "case": word.swapcase(),
        "spaces": f"{word} ",
        "accents": unicodedata.normalize("NFD", word),
        "invisible": f"{word}\u200b",
        "compatible": f"\ufb01{word}",
    }[how]
    first = f"fi{word}" if how == "compatible" else word
    if other == first or (how == "case" and other.casefold() != first.casefold()):
        return
    notes = alike_notes([first, other, "something else"])
    assert len(notes) == 1
    assert "differ only by" in notes[0]


@pytest.mark.parametrize(
    ("names", "fragment"),
    [
        (["1", "1.0"], "are one number"),
        (["01", "1"], "are one number"),
        (["true", "1"], "may be one"),
        (["yes", "True", "no"], "may be one"),
        (["a", "b", "a#b"], "several labels in one, such as 'a#b'"),
        (["a|b", "b|c", "c|a"], "several labels in one"),
        (["caf\u00e9", "cafe\u0301"], "how accents are coded"),
        (["good", "go\u200bod"], "invisible characters"),
        (["good", "g\u043eod"], "letters that look alike"),
        (["not good", "not_good"], "differ only by"),
        (["A", "\u0391"], "letters that look alike"),
        (["TOM", "\u0422\u041e\u041c"], "letters that look alike"),
        (["good", "good."], "punctuation"),
        (["caf\u00e9", "cafe"], "differ only by accents"),
        (["caf\u00e9", "caf\u00c3\u00a9"], "an encoding that was read as another"),
        (["R&D", "R&amp;D"], "differ only by"),
        (["a", "a|b"], "one class seems to be several labels in one, such as 'a|b'"),
        (["a\nb", "b"], "several labels in one"),
    ],
)
def test_classes_that_look_alike(names, fragment):
    assert fragment in " ".join(alike_notes(names))


@pytest.mark.parametrize(
    "names",
    [
        ["A", "A+", "A-"],
        ["0", "1", "2"],
        ["a/b", "c/d"],
        ["news", "sports"],
        ["C", "C++"],
        ["4/5", "5/5", "1/5"],
        ["<5", ">5", "5"],
        ["a", "a/b"],
        [":)", ":("],
    ],
)
def test_classes_that_differ_have_no_note(names):
    assert alike_notes(names) == ()


def test_many_notes_are_bounded():
    names = [f"class {i}{end}" for i in range(100) for end in ("", " ")]
    notes = alike_notes(names)
    assert len(notes) == 6
    assert notes[-1] == "95 more classes look like others"
    assert len(shown("x" * 10**6)) < 60


def comma(x):
    return f"{x:.2f}".replace(".", ",")


ODD = [
    comma,
    lambda x: f"{x:.1f}%",
    lambda x: f"{x + 1000:,.2f}",
    lambda x: f"{10 * x + 1000:,.0f}".replace(",", " "),
    lambda x: f"${x:.2f}",
    lambda x: f"{x:.2f} \u20ac",
    lambda x: f"\u2212{x:.2f}",
]


@given(st.sampled_from(ODD), st.lists(st.floats(1, 900), min_size=2, max_size=20, unique=True))
def test_numbers_in_other_forms_are_seen(form, numbers):
    written = {form(x) for x in numbers}
    if len(written) > 1:
        assert number_problem(written) is not None


@pytest.mark.parametrize("form", ODD)
def test_they_are_refused_and_classes_where_asked(form):
    labels = [form(x) for x in (1.5, 2.5, 3.5)] * 5
    data = pd.DataFrame({"text": [f"text {i}" for i in range(15)], "label": labels})
    with pytest.raises(DataError, match="--kind classification"):
        load_task(data)
    assert len(load_task(data, kind="classification").class_names) == 3


@pytest.mark.parametrize(
    "values",
    [["good", "3,5"], ["a", "b"], ["1", "2"], ["0.5", "1"], ["1-star", "2-star"], ["C++", "C#"]],
)
def test_words_are_no_numbers(values):
    assert number_problem(values) is None


def test_dates():
    assert are_dates(["2024-01-02", "2024-03-04 10:00"])
    assert are_dates(["1.2.2024", "3/4/21"])
    assert not are_dates(["2024", "2025"])
    assert not are_dates(["2024-01-02", "never"])


def test_neighbours_among_large_identifiers_do_not_look_alike():
    assert alike_notes([str(10**18), str(10**18 + 1)]) == ()
    assert "are one number" in alike_notes(["1", "1.0"])[0]
