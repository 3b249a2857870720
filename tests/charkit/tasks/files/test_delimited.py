"""CSV and TSV: two readers that agree, rows that marks swallow, headers, separators."""

import csv
import io

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


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.sampled_from([",", "\t"]), st.booleans())
@example(list('a,b\n"x,pos\ny,pos\nz,pos\nw",pos\nv,pos\nu,pos\n'), ",", False)
@example(list('a\n""\n"b\nc"\n'), ",", False)
def test_both_readers_agree_on_anything(pieces, delimiter, mark):
    raw = b"\xef\xbb\xbf" * mark + ("text,label\n" + "".join(pieces)).encode()
    raw = raw.replace(b"text,label", b"text\tlabel") if delimiter == "\t" else raw
    fast, exact = (outcome(raw, delimiter, exact=e) for e in (False, True))
    assert fast == exact


cells = st.text(st.sampled_from("ab é,\t;\"\n\r'\\#"), max_size=8)


@settings(deadline=None, max_examples=150)
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
