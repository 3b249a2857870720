"""Missing labels are settled before the kind of a task: whatever stands for one, wherever."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkit.errors import DataError
from charkit.tasks import load_task
from charkit.tasks.card import load_sample
from charkit.tasks.readers.columns import Columns
from charkit.tasks.readers.looks import MISSING_WORDS, is_blank
from charkit.tasks.readers.settle import settle
from charkit.tasks.readers.tables import RawTable

COLUMNS = Columns("text", None, "label")


def table(labels, texts=None, **more):
    texts = [f"text {i}" for i in range(len(labels))] if texts is None else texts
    columns = {"text": texts, "label": labels}
    return RawTable("t.csv", columns, range(2, len(labels) + 2), **more)


def frame(labels):
    return pd.DataFrame({"text": [f"text {i}" for i in range(len(labels))], "label": labels})


def settled(labels, **options):
    more = {} if "names" not in options else {"class_names": {"label": options.pop("names")}}
    return settle(table(labels, **more), COLUMNS, **options)


LABEL_SETS = {
    "words": ["good", "bad", "so so"],
    "integers": [0, 1, 2],
    "integer texts": ["0", "1", "2"],
    "amounts": [0.5, 1.25, 3.0],
    "amount texts": ["0.5", "1.25", "3"],
    "truth values": [True, False],
}
ALWAYS = [
    None, "", "  ", "\u200b", "\ufeff", "\u00a0", "nan", "NaN", "-nan", " +NaN ", "1.#QNAN", "-1.#IND",
    float("nan"), [],
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(LABEL_SETS)), st.lists(st.sampled_from(ALWAYS), min_size=1), st.data()
)
def test_rows_without_a_label_change_neither_kind_nor_classes(name, gaps, data):
    labels = LABEL_SETS[name] * 4
    both = data.draw(st.permutations([*labels, *gaps]))
    expected = load_task(frame(pd.Series(labels, dtype=object)))
    task = load_task(frame(pd.Series(list(both), dtype=object)))
    assert (task.kind, task.class_names) == (expected.kind, expected.class_names)
    assert len(task.train) + len(task.evaluation) == len(labels)
    left_out = [n for n in task.notes if "left out" in n]
    assert left_out == [f"DataFrame: {len(gaps)} of {len(both)} rows have no label: left out"]
    if task.kind == "classification":
        partly = load_sample(frame(list(both)))
        assert (len(partly.train), len(partly.pool)) == (len(labels), len(gaps))


@given(
    st.sampled_from(sorted(MISSING_WORDS)),
    st.sampled_from(["upper", "title", "lower"]),
    st.sampled_from(["{}", "({})", "<{}>", "'{}'", ' "{}" ']),
)
def test_words_for_missing_are_none_next_to_numbers_and_named_next_to_words(word, case, around):
    word = around.format(getattr(word, case)())
    among_numbers = settled(["0", "1", word, "2"])
    assert list(among_numbers.columns["label"]) == ["0", "1", None, "2"]
    assert repr(word) in among_numbers.notes[0]
    among_words = settled(["good", "bad", word])
    assert list(among_words.columns["label"]) == ["good", "bad", word]
    assert repr(word) in among_words.notes[0]
    assert "looks like a missing label" in among_words.notes[0]


@given(st.integers(2, 9), st.sampled_from([-1, -100]), st.booleans(), st.booleans())
def test_marks_next_to_classes_have_no_label_and_are_counted(k, mark, as_text, from_one):
    labels = [*range(from_one, k + 1), mark, mark]
    result = settled([str(v) for v in labels] if as_text else labels)
    kept = [v for v in result.columns["label"] if v is not None]
    assert [int(v) for v in kept] == list(range(from_one, k + 1))
    assert f"2 rows with {mark} have no label" in result.notes[0]
    asked = settled(labels, kind="classification")
    assert list(asked.columns["label"]) == labels
    assert "kept as a class" in asked.notes[0]


@pytest.mark.parametrize(
    "labels",
    [[-2, -1, 0, 1, 2], [-1, -1], [-1.5, 0.0, 1.0], ["-1", "b", "c", "0"]],
)
def test_minus_one_is_a_class_or_an_amount_where_it_can_be(labels):
    result = settled(labels)
    assert (list(result.columns["label"]), result.notes) == (labels, ())


@pytest.mark.parametrize("mark", ["-1", "-100", -1, "-1.0"])
@pytest.mark.parametrize("kind", [None, "classification"])
def test_marks_next_to_words_are_classes_and_named(mark, kind):
    labels = ["good", mark, "bad", mark]
    result = settled(labels, kind=kind)
    assert list(result.columns["label"]) == labels
    assert str(mark) in result.notes[0]
    assert "(2 rows) next to words looks like a missing label" in result.notes[0]


@pytest.mark.parametrize(
    "word", ["\\N", "(blank)", "''", '""', "<NULL>", "#VALUE!", float("inf"), "-inf"]
)
@pytest.mark.parametrize("numbers", [["0", "1"], ["1", "2", "3", "4", "5"], [0, 1]])
def test_what_is_no_number_never_makes_a_class_of_numbers(word, numbers):
    labels = [*numbers * 6, word, word]
    task = load_task(frame(pd.Series(labels, dtype=object)))
    assert task.class_names == tuple(map(str, numbers))
    assert any("2 rows" in note and "have no label" in note for note in task.notes)


@pytest.mark.parametrize(
    "labels", [["<", ">", "="], ["(a)", "(b)"], ["'", '"'], ["nonesuch", "nano"]]
)
def test_marks_and_other_words_are_not_missing(labels):
    result = settled(labels * 3)
    assert (list(result.columns["label"]), result.notes) == (labels * 3, ())


def test_endless_amounts_are_no_missing_labels():
    with pytest.raises(DataError, match="not finite"):
        load_task(frame(["0.5", "1.5", "2.5", "inf"] * 4))


@pytest.mark.parametrize("word", ["x", "unknown", "*", "k.A.", "NaN%"])
def test_the_only_class_that_is_no_number_is_named(word):
    result = settled(["0", "1", word, "0"])
    assert list(result.columns["label"]) == ["0", "1", word, "0"]
    assert f"class {word!r} (1 row) next to numbers may mark missing labels" in result.notes[0]
    assert settled(["0", "a", "b", "1"]).notes == settled(["0", "true", "1"]).notes == ()


@pytest.mark.parametrize("code", ["-9", -99, "99", 999, "9999"])
def test_codes_of_surveys_are_classes_and_named(code):
    numbers = [type(code)(n) for n in (0, 1, 2)]
    result = settled([*numbers, code])
    assert list(result.columns["label"]) == [*numbers, code]
    assert f"class {code!r} (1 row) next to 0..2 may mark missing labels" in result.notes[0]
    assert (
        settled([98, 99, 100]).notes == settled([-9, -8, 3]).notes == settled([0, 99]).notes == ()
    )


@pytest.mark.parametrize("labels", [[0.0, 1.0, 2.0, -1.0], ["0.0", "1.0", "2.0", "-1.0"]])
def test_a_mark_written_as_a_decimal_is_named_where_the_kind_is_given(labels):
    result = settled(labels, kind="classification")
    assert list(result.columns["label"]) == labels
    assert "-1.0 is kept as a class, as the kind was given" in result.notes[0]


def test_amounts_keep_minus_one():
    assert list(settled([0, 1, 2, -1], kind="regression").columns["label"]) == [0, 1, 2, -1]


@pytest.mark.parametrize("seen", [None, {"0", "1", "2"}])
def test_minus_one_among_codes_is_missing_and_all_of_them_are_hidden(seen):
    result = settled([0, -1, 2.0, 1], names=("a", "b", "c"), seen=seen)
    assert list(result.columns["label"]) == [0, None, 2, 1]
    with pytest.raises(DataError, match="hidden"):
        settled([-1, -1], names=("a", "b", "c"), seen=seen)


def test_codes_with_gaps_give_the_training_part_of_snli():
    data = frame([0, 1, 2, -1] * 6)
    task = load_task(data, kind=None)
    assert task.class_names == ("0", "1", "2")
    assert any("6 rows with -1 have no label" in note for note in task.notes)


@pytest.mark.parametrize("labels", [[1.0, 0.0, None, 2.0], ["1.0", "0.0", "", "2.0"]])
def test_whole_numbers_with_gaps_are_classes(labels):
    task = load_task(frame(labels * 5))
    assert task.class_names == ("0", "1", "2")
    assert any("read as whole numbers (0.0 as 0)" in note for note in task.notes)


def test_evaluation_labels_are_read_as_in_training():
    train, test = frame(["0", "1"] * 6), frame([1.0, 0.0, -1.0, None])
    task = load_task(train, evaluation=test)
    assert task.evaluation.labels.tolist() == [1, 0]
    train, test = frame(["good", "bad"] * 6), frame(["good", "NA", "bad", ""])
    task = load_task(train, evaluation=test)
    assert len(task.evaluation) == 2
    assert any("1 rows with 'NA' have no label" in note for note in task.notes)


def test_an_evaluation_part_whose_labels_are_empty_is_unlabelled():
    task = load_task(frame(["a", "b"] * 6), evaluation=frame(["", None, "nan"]))
    assert task.evaluation.labels is None
    assert len(task.evaluation) == 3


@given(st.lists(st.sampled_from(["blank", "header", "row"]), max_size=12))
def test_blank_rows_and_repeated_headers_are_left_out_and_counted(kinds):
    rows = {"blank": (" ", None), "header": ("text", "label"), "row": ("a text", "a")}
    texts, labels = zip(*(rows[k] for k in [*kinds, "row"]), strict=True)
    result = settle(table(list(labels), list(texts)), COLUMNS)
    assert set(result.columns["text"]) == {"a text"}
    assert len(result) == kinds.count("row") + 1
    for kind, words in (("blank", "blank rows"), ("header", "repeat the header")):
        counted = [n for n in result.notes if words in n]
        assert bool(counted) == (kind in kinds)
        assert all(f"t.csv: {kinds.count(kind)} " in n for n in counted)


def test_blank_rows_at_the_end_leave_the_rest_to_every_reader():
    data = pd.concat(
        [frame(["a", "b"] * 12), pd.DataFrame({"text": ["", None], "label": ["", ""]})]
    )
    assert len(load_task(data).train) + len(load_task(data).evaluation) == 24
    partly = load_sample(data, labels="few")
    assert (len(partly.train), partly.pool) == (24, None)
    assert any("2 blank rows" in note for note in partly.notes)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([["a"], ["b"]], ("a", "b")),
        (["['a']", '["b"]', "b"], ("a", "b")),
        (["['a']", "[]", "['b']"], ("a", "b")),
        (["[1]", "[0]"], ("0", "1")),
        (["array(['a'], dtype=object)", "frozenset({'b'})", "Index(['b'])"], ("a", "b")),
        (['{"choices": ["a"]}', '{"choices": "b"}', {"choices": ["b"]}, "{}"], ("a", "b")),
        (["[PAD]", "(x)", "{y}"], ("(x)", "[PAD]", "{y}")),
    ],
)
def test_lists_of_one_label_are_that_label(labels, names):
    task = load_task(frame(pd.Series(labels * 5, dtype=object)))
    assert task.class_names == names
    assert any("lists of one label" in n for n in task.notes) == (names[0][0] in "a0")


@pytest.mark.parametrize(
    "label",
    [["a", "b"], ("a", "b"), "['a', 'b']", '["a", "b"]', "('a', 'b')", "{'a', 'b'}", "['a' 'b']",
     "[0 1 0]", "[0, 1]", '{"choices": ["a", "b"]}', {"choices": ["a", "b"]}, {"value": "a"},
     '{"value": "a"}', "array(['a', 'b'], dtype=object)", "frozenset({'a', 'b'})"],
)  # fmt: skip
def test_lists_of_several_labels_are_refused(label):
    with pytest.raises(DataError, match=r"one label a row|nested"):
        settled(["a", label, "b"])


@pytest.mark.parametrize(("labels", "refused"), [
    (["{a,b}", "{b}"], True), (["[a, b]", "[b]"], True), (["{a}", "{b}"], False),
    (["[PAD]", "[a, b]", "c"], False),
])  # fmt: skip
def test_lists_without_quotes_are_lists_where_all_labels_stand_in_brackets(labels, refused):
    if refused:
        with pytest.raises(DataError, match="lists of labels written as text"):
            settled(labels)
    else:
        assert list(settled(labels).columns["label"]) == labels


@given(st.text())
def test_blank_is_what_nobody_can_read(text):
    if any(c.isalnum() for c in text):
        assert not is_blank(text)
    if not text.strip():
        assert is_blank(text)
    assert is_blank(text + "\u200b") == is_blank(text)


def test_numbers_of_numpy_are_numbers():
    labels = np.array([0, 1, 2, -1], dtype=np.int8)
    assert load_task(frame(np.tile(labels, 5))).class_names == ("0", "1", "2")


@pytest.mark.parametrize("other", [0, 1])
@pytest.mark.parametrize("as_text", [True, False])
def test_minus_one_next_to_one_class_is_kept_and_noted(other, as_text):
    labels = [-1, other] * 6
    found = settled([str(v) for v in labels] if as_text else labels)
    assert set(found.columns["label"]) == ({"-1", str(other)} if as_text else {-1, other})
    assert f"next to only {other} may mark rows without a label: kept as a class. Leave the cell " \
        "empty" in found.notes[0]  # fmt: skip
    assert not settled(labels, kind="classification").notes


def test_the_only_class_next_to_a_mark_is_named_by_itself():
    assert "next to 3 it marks" in settled([-1, 3] * 4).notes[0]


@settings(max_examples=30, deadline=None)
@given(base=st.integers(2**53, 2**62), step=st.integers(1, 3))
def test_neighbours_among_large_identifiers_are_other_classes(base, step):
    """They are one floating-point number; as labels they must not be mixed up."""
    found = settled([str(base + step)] * 3, seen=[str(base), "7"])
    assert set(found.columns["label"]) == {str(base + step)}
