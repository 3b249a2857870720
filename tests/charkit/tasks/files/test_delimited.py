"""CSV and TSV: two readers that agree, rows that marks swallow, headers, separators."""

import csv
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charkit.errors import DataError
from charkit.tasks.files.delimited import read_delimited

PIECES = ["a", "b", "é", " ", ",", ",", ",", "\t", '"', '"', '""', "\n", "\n", "\r\n", "\r", "\\", "'",
          "text", "label", "#", ";", "1", "\n\n", "pos\n", ",pos\n"]  # fmt: skip


def outcome(raw, delimiter, *, exact):
    try:
        table = read_delimited(raw, "t", delimiter=delimiter, exact=exact)
    except DataError as error:
        return str(error)
    columns = {name: list(values) for name, values in table.columns.items()}
    return columns, list(table.numbers), table.notes, table.hint


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.sampled_from([",", "\t"]), st.booleans())
@example(list('a,b\n"x,pos\ny,pos\nz,pos\nw",pos\nv,pos\nu,pos\n'), ",", False)
@example(list('a\n""\n"b\nc"\n'), ",", False)
def test_both_readers_agree_on_anything(pieces, delimiter, mark):
    raw = b"\xef\xbb\xbf" * mark + ("text,label\n" + "".join(pieces)).encode()
    raw = raw.replace(b"text,label", b"text\tlabel") if delimiter == "\t" else raw
    fast, exact = (outcome(raw, delimiter, exact=e) for e in (False, True))
    assert fast == exact


cells = st.text(st.sampled_from("ab é,\t;\"\n\r'\\#"), max_size=8)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=12),
    st.sampled_from([",", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_what_a_writer_wrote_is_read_back_by_both(rows, delimiter, end, quoting):
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, delimiter=delimiter, lineterminator=end, quoting=quoting)
    if quoting != csv.QUOTE_ALL:  # a bare carriage return is not quoted before Python 3.13
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    writer.writerows([["one", "two", "three"], *rows])
    raw = sink.getvalue().encode()
    fast, exact = (outcome(raw, delimiter, exact=e) for e in (False, True))
    assert fast == exact
    if not isinstance(fast, str):
        assert list(zip(*fast[0].values(), strict=True)) == [tuple(row) for row in rows]
    else:  # nothing but rows that a mark may have swallowed
        assert "look like rows" in fast


words = st.sampled_from("the film was good bad and we saw it in may".split())
sentences = st.lists(words, min_size=1, max_size=8).map(" ".join)


def spoiled(rows, delimiter, order, first, last):
    """Rows without quoting; a mark begins a text in one and ends a text in another."""
    texts = [list(row) for row in rows]
    texts[first][0] = '"' + texts[first][0]
    texts[last][0] += '"'
    lines = [delimiter.join(row[i] for i in order) for row in texts]
    header = delimiter.join(("text", "label", "id")[i] for i in order)
    return "\n".join([header, *lines]) + "\n", texts


@settings(deadline=None, max_examples=60)
@given(
    st.lists(sentences, min_size=12, max_size=40),
    st.data(),
    st.sampled_from([",", "\t", ";"]),
    st.sampled_from([(0, 1), (1, 0), (0, 1, 2), (2, 0, 1), (1, 0, 2)]),
)
def test_rows_are_never_swallowed_silently(texts, data, delimiter, order):
    rows = [(text, ("pos", "neg", "neutral")[i % 3], str(i)) for i, text in enumerate(texts)]
    first = data.draw(st.integers(0, len(rows) - 2), label="first")
    last = data.draw(st.integers(first + 1, len(rows) - 1), label="last")
    text, expected = spoiled(rows, delimiter, order, first, last)
    promised = "," if delimiter == ";" else delimiter
    try:
        table = read_delimited(text.encode(), "t", delimiter=promised)
    except DataError:
        return
    assert list(table.columns["text"]) == [row[0] for row in expected]
    assert table.notes


commas = st.lists(st.sampled_from(["so,", "dear", "friend,", "yes", "no, no"]), max_size=9)
letters = st.lists(commas.map(" ".join), min_size=1, max_size=5).map("\n".join)


@settings(deadline=None, max_examples=150)
@given(st.lists(letters, min_size=4, max_size=20), st.sampled_from([",", "\t"]), st.integers(2, 3))
def test_texts_of_several_lines_are_read(texts, delimiter, n_classes):
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, delimiter=delimiter)
    writer.writerow(["text", "label"])
    writer.writerows([text, f"class {i % n_classes}"] for i, text in enumerate(texts))
    table = read_delimited(sink.getvalue().encode(), "t", delimiter=delimiter)
    assert list(table.columns["text"]) == texts


def read(text, delimiter=","):
    table = read_delimited(text.encode(), "t.csv", delimiter=delimiter)
    return {n: list(v) for n, v in table.columns.items()}, table


BODY = "".join(f"{{q}}text, {i}{{q}}{{d}}{'ab'[i % 2]}\n" for i in range(6))


@pytest.mark.parametrize("actual", [",", "\t", ";", "|"])
@pytest.mark.parametrize("promised", [",", "\t"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_the_separator_that_the_file_shows_is_taken(actual, promised, quote):
    if actual == "," and not quote:
        return
    text = f"text{actual}label\n" + BODY.format(q=quote, d=actual)
    columns, table = read(text, promised)
    assert columns["text"] == [f"text, {i}" for i in range(6)]
    assert columns["label"] == list("ababab")
    assert bool(table.notes) == (actual != promised)


def test_a_single_column_with_other_marks_stays_one():
    columns, table = read("text; raw\none\ntwo, but quoted? no\n".replace(", but", " but"))
    assert columns == {"text; raw": ["one", "two but quoted? no"]}
    assert not table.notes


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(sentences, st.sampled_from("ab")), min_size=3, max_size=12),
    st.lists(st.integers(0, 12), max_size=4),
    st.sampled_from(["text,label", "TEXT,Label", " text , label ", "\ufefftext,label"]),
)
def test_header_lines_of_joined_files_are_left_out(rows, places, again):
    lines = [",".join(row) for row in rows]
    for place in places:
        lines.insert(min(place, len(lines)), again)
    columns, table = read("text,label\n" + "\n".join(lines) + "\n")
    assert list(zip(columns["text"], columns["label"], strict=True)) == rows
    assert any("the header" in note for note in table.notes) == bool(places)


def test_empty_columns_without_a_name_are_left_out():
    columns, table = read("v1,v2,,,\r\nham,one,,,\r\nspam,two,,,\r\n")
    assert columns == {"v1": ["ham", "spam"], "v2": ["one", "two"]}
    assert table.notes == ("t.csv: 3 empty columns without a name left out",)


def test_separators_at_the_end_of_rows_are_left_out():
    columns, table = read("text,label\none,a,\ntwo,b,\n")
    assert columns == {"text": ["one", "two"], "label": ["a", "b"]}
    assert len(table.notes) == 1


def test_an_index_without_a_name_is_kept():
    columns, _ = read(",text,label\n0,one,a\n1,two,b\n")
    assert list(columns) == ["", "text", "label"]


def test_a_total_is_left_out():
    columns, table = read("text,stars\none,4\ntwo,5\nthree,3\nTotal,12\n")
    assert columns["stars"] == ["4", "5", "3"]
    assert table.notes == ("t.csv: line 5 (Total 12) is a total: left out",)


def test_old_line_ends_and_mixed_ones():
    for end in ("\r", "\n", "\r\n"):
        columns, table = read(f'text,label{end}one,a{end}"two{end}2",b\n')
        assert columns["text"] == ["one", f"two{end}2"]
        assert list(table.numbers) == [2, 3]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("it was good,pos\nbad,neg\nfine,pos\nnice,pos\n", "'pos' stands below it too, 2 times"),
        ("we saw it in may and liked it,1\nbad,0\n", "it holds a text"),
        ("# made in May,2024\ntext,label\none,a\n", "looks like a comment"),
    ],
)
def test_a_first_line_without_names_is_hinted_at(text, hint):
    assert hint in read(text)[1].hint


def test_a_plain_header_gives_no_hint():
    assert not read("text,spam\none,spam\ntwo,ham\nthree,spam\n".replace("spam\n", "x\n", 1))[
        1
    ].hint
