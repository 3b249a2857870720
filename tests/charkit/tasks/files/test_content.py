"""Bytes: other kinds of files, bombs, encodings, Parquet and Arrow, text, links."""

import gzip
import io
import json
import zipfile
import zlib
from contextlib import suppress
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather

from charkit.errors import CharkitError, DataError, MissingError, UnknownNameError
from charkit.store.store import Store
from charkit.tasks import load_task
from charkit.tasks.card import LazyTask
from charkit.tasks.files.content import read_content
from charkit.tasks.files.encoding import decode
from charkit.tasks.readers.tables import read_table

GOOD = "text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(12))


def zipped(*names):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return sink.getvalue()


def parquet_of(columns, **options):
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


def write(path, raw):
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    return path


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("t.csv", gzip.compress(GOOD.encode()), "is a gzip file .* Rename it to t.csv.gz"),
        ("t.csv", zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook"),
        ("t.tsv", zipped("t.csv"), "a zip archive.*Unpack it"),
        ("t.csv", zipped("mimetype", "content.xml"), "an OpenDocument file"),
        ("t.csv", b"PK\x03\x04 and no more", "a damaged zip archive"),
        ("t.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(64), "an old Excel"),
        ("t.jsonl", parquet_of({"a": [1]}), "a Parquet file.*Rename it to t.parquet"),
        ("t.csv", "<!DOCTYPE html><html>sign in</html>", "a web page instead of data"),
        ("t.csv", "version https://git-lfs.github.com/spec/v1\noid x\n", "git lfs pull"),
        ("t.parquet", gzip.compress(b"x"), "is a gzip file"),
        ("t.csv", b"BZh91AY&SY", "a bzip2 archive"),
        ("t.csv.gz", gzip.compress(zipped("xl/workbook.xml")), "an Excel workbook"),
        ("t.csv.gz", gzip.compress(b"  \n"), "is empty"),
        ("t.csv.gz", GOOD, "is not compressed.*Rename it to t.csv."),
        ("t.csv.gz", gzip.compress(GOOD.encode())[:-9], "is not a whole gzip file"),
    ],
    ids=lambda value: "bytes" if isinstance(value, bytes) else None,  # times stand in some
)
def test_what_a_file_is_shows_in_its_first_bytes(tmp_path, name, raw, reason):
    with pytest.raises(DataError, match=reason):
        read_table(write(tmp_path / name, raw))


@pytest.mark.parametrize(
    ("name", "advice"),
    [("t.xlsx", "save it as CSV UTF-8"), ("t.csv.zip", "Unpack it"), ("t.pkl", "can run code")],
)
def test_other_endings_get_their_own_advice(tmp_path, name, advice):
    with pytest.raises(UnknownNameError, match=advice):
        read_table(write(tmp_path / name, b"x"))


def test_gzip_of_several_members_is_read_whole(tmp_path):
    raw = gzip.compress(b"text,label\n") + gzip.compress(b"one,a\n") + bytes(8)
    assert list(read_table(write(tmp_path / "t.csv.gz", raw)).columns["text"]) == ["one"]


def test_a_bomb_of_gzip_is_refused_before_it_is_unpacked(tmp_path):
    packer = zlib.compressobj(9, wbits=31)
    raw = b"".join(packer.compress(bytes(2**20)) for _ in range(128)) + packer.flush()
    with pytest.raises(DataError, match=r"unpack to more than 6[0-9],[0-9,]+: expected texts"):
        read_table(write(tmp_path / "t.csv.gz", raw))


def test_long_texts_that_repeat_are_kept_once(tmp_path):
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 9_000, pa.int16()), ["x" * 1_000_000])
    table = read_table(write(tmp_path / "t.parquet", parquet_of({"text": texts})))
    with pytest.raises(DataError, match=r"holds 8.4 GB: expected at most 4 GB"):
        table.columns["text"]


ENCODED = {
    "cp1252": "text,label\nI don\u2019t call \u2013 it costs \u00a3100 at the caf\u00e9,pos\n",
    "cp1250": "text,label\nZa\u017c\u00f3\u0142\u0107 g\u0119\u015bl\u0105 ja\u017a\u0144,a\n",
    "cp1251": "text,label\n\u043e\u0442\u043b\u0438\u0447\u043d\u044b\u0439 \u0444\u0438\u043b\u044c\u043c,a\n",
    "koi8-r": "text,label\n\u043e\u0442\u043b\u0438\u0447\u043d\u044b\u0439 \u0444\u0438\u043b\u044c\u043c,a\n",
    "cp932": "text,label\n\u3053\u306e\u6620\u753b\u306f\u3068\u3066\u3082\u9762\u767d\u304b\u3063\u305f\u3067\u3059,a\n",
    "gb18030": "text,label\n\u8fd9\u4e2a\u9152\u5e97\u7684\u670d\u52a1\u5f88\u597d,a\n",
    "big5": "text,label\n\u9019\u500b\u9152\u5e97\u7684\u670d\u52d9\u5f88\u597d,a\n",
    "euc-kr": "text,label\n\uc774 \uc601\ud654\ub294 \uc815\ub9d0 \uc7ac\ubbf8\uc788\uc5c8\uc5b4\uc694,a\n",
    "cp850": "text,label\ncaf\u00e9 tr\u00e8s bon, d\u00e9j\u00e0 vu, na\u00effs\n",
    "macintosh": "text,label\ncaf\u00e9 tr\u00e8s bon, d\u00e9j\u00e0 vu, na\u00effs\n",
    "cp1254": "text,label\ng\u00fczel \u00e7ok \u015firin \u0131\u011fd\u0131r ya\u015f,a\n",
    "cp1255": "text,label\n" + "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd \u05d8\u05d5\u05d1,a\n" * 4,
    "cp1256": "text,label\n\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 \u0627\u0644\u062c\u064a\u062f,a\n",
    "cp874": "text,label\n\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01 \u0e14\u0e35\u0e21\u0e32\u0e01,a\n",
    "utf-16le": "text,label\nplain,a\n",
    "utf-16": "text,label\nplain,a\n",
    "utf-32": "text,label\nplain,a\n",
}  # fmt: skip


@pytest.mark.parametrize("codec", ENCODED)
def test_the_advised_conversion_gives_the_text_back(codec):
    text = ENCODED[codec]
    raw = text.encode(codec)
    with pytest.raises(DataError) as caught:
        decode(raw, "t.csv")
    advised = str(caught.value).split("iconv -f ")[1].split()[0]
    assert raw.decode(advised) == text


def test_a_few_wrong_bytes_in_utf8_are_not_another_encoding():
    raw = "caf\u00e9 \u00fc \u4f60\u597d\n".encode() * 3 + b"caf\xe9\n"
    with pytest.raises(DataError, match=r"line 4.*The rest of the file is UTF-8 \(9 places"):
        decode(raw, "t.csv")


@settings(deadline=None, max_examples=60)
@given(st.binary(min_size=1, max_size=200), st.sampled_from(["csv", "tsv", "jsonl", "json", "txt",
       "parquet", "arrow", "csv.gz"]), st.booleans())  # fmt: skip
def test_any_bytes_give_a_table_or_a_refusal(tmp_path_factory, raw, ending, after_good):
    good = parquet_of({"text": ["a"], "label": [1]}) if ending == "parquet" else GOOD.encode()
    path = tmp_path_factory.mktemp("any") / f"t.{ending}"
    write(path, good[: len(good) // 2] + raw + good[len(good) // 2 :] if after_good else raw)
    with suppress(CharkitError):
        table = read_table(path)
        assert {len(column) for column in table.columns.values()} <= {len(table)}


def features_of(names):
    return {b"huggingface": json.dumps(
        {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    ).encode()}  # fmt: skip


@pytest.mark.parametrize("ending", ["parquet", "arrow", "feather"])
def test_class_names_stand_in_the_schema(tmp_path, ending):
    table = pa.table({"text": ["x", "y"], "label": [1, 0]})
    table = table.replace_schema_metadata(features_of(["neg", "pos"]))
    path = tmp_path / f"t.{ending}"
    if ending == "parquet":
        pq.write_table(table, path)
    elif ending == "arrow":
        with pa.ipc.new_stream(path, table.schema) as sink:
            sink.write_table(table)
    else:
        feather.write_feather(table, path)
    found = read_table(path)
    assert found.class_names == {"label": ("neg", "pos")}
    assert found.columns["label"] == [1, 0]


@pytest.mark.parametrize("outer", [
    lambda inner: {"feature": inner, "_type": "Sequence"},
    lambda inner: {"feature": inner, "_type": "List", "length": -1},
    lambda inner: [inner],
])  # fmt: skip
def test_class_names_of_lists_stand_in_the_schema(tmp_path, outer):
    inner = {"names": ["neg", "pos"], "_type": "ClassLabel"}
    info = {"info": {"features": {"label": outer(inner)}}}
    table = pa.table({"text": ["x", "y", "z"], "label": [[1], [0], []]})
    table = table.replace_schema_metadata({b"huggingface": json.dumps(info).encode()})
    pq.write_table(table, tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet")
    assert found.class_names == {"label": ("neg", "pos")}
    assert found.columns["label"] == [1, 0, None]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_fields_of_fields_have_names(tmp_path, ending):
    parts = [{"en": "one", "de": "eins"}, None, {"en": "two", "de": None}]
    table = pa.table({"translation": parts, "label": [1, 0, 1]})
    path = tmp_path / f"t.{ending}"
    if ending == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(path, table.schema) as sink:
            sink.write_table(table)
    found = read_table(path)
    assert list(found.columns) == ["translation", "label", "translation.en", "translation.de"]
    assert found.columns["translation.de"] == ["eins", None, None]
    with pytest.raises(DataError, match=r"Name the part that is meant: 'translation.en'"):
        load_task(path, text="translation")


def test_decimals_are_numbers(tmp_path):
    values = pa.array([Decimal("1"), None, Decimal("0.5")], pa.decimal128(5, 2))
    raw = parquet_of({"text": ["a", "b", "c"], "label": values})
    assert read_table(write(tmp_path / "t.parquet", raw)).columns["label"] == [1, None, 0.5]


def test_only_columns_that_are_asked_for_are_converted(tmp_path):
    far = pa.array([2**62, 0], pa.timestamp("us"))
    zone = pa.array([0, 0], pa.timestamp("s", tz="Nowhere/Atall"))
    raw = parquet_of({"text": ["a", "b"], "far": far, "zone": zone, "bytes": [b"\xff", b"x"],
                      "old": [b"as bytes", b"too"], "one": [["a"], []]})  # fmt: skip
    table = read_table(write(tmp_path / "t.parquet", raw))
    assert table.columns["text"] == ["a", "b"]
    assert table.columns["old"] == ["as bytes", "too"]
    assert table.columns["one"] == ["a", None]
    for name in ("far", "zone", "bytes"):
        with pytest.raises(DataError, match=f"column '{name}' of type .* cannot be read"):
            table.columns[name]


@given(st.lists(st.one_of(st.none(), st.text(max_size=4)), min_size=1, max_size=20), st.booleans())
@settings(deadline=None, max_examples=40)
def test_parquet_texts_come_back_with_any_coding(texts, use_dictionary):
    from charkit.tasks.files.arrow import read_parquet

    column = pa.array(texts, pa.string())
    raw = parquet_of({"a.b": column, "c": column.dictionary_encode()},
                     use_dictionary=use_dictionary)  # fmt: skip
    table = read_parquet(raw, "t.parquet")
    assert table.columns["a.b"] == table.columns["c"] == texts


def test_lines_of_text(tmp_path):
    table = read_table(write(tmp_path / "t.txt", "\ufeffone, two\r\n\r\nthree\rfour\n\n"))
    assert list(table.columns["text"]) == ["one, two", "three", "four"]
    assert list(table.numbers) == [1, 3, 4]
    assert table.notes == ("t.txt: 2 blank lines left out",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("text\tlabel\na\tb\n", "separated by tabs. Let its name end in .tsv"),
        ("text,label\na b c d,x\n", "separated by commas. Let its name end in .csv"),
        ('{"text": "a"}\n{"text": "b"}\n', "got JSON. Let its name end in .jsonl"),
    ],
)
def test_tables_called_text_are_refused(tmp_path, text, reason):
    with pytest.raises(DataError, match=reason):
        read_table(write(tmp_path / "t.txt", text))


def test_a_link_keeps_its_own_name_and_ending(tmp_path):
    real = write(tmp_path / "real.csv", GOOD)
    rows = {"text": [f"t{i}" for i in range(12)], "label": list("ab") * 6}
    table = write(tmp_path / "real.parquet", parquet_of(rows))
    store = Store(tmp_path / "store")
    for name in ("alpha", "beta"):
        (tmp_path / f"{name}.csv").symlink_to(real)
        assert LazyTask(str(tmp_path / f"{name}.csv"), store).card.name == name
    assert LazyTask(str(table), store).card.name == "real"
    (tmp_path / "x.csv").symlink_to(table)
    for _ in range(2):
        with pytest.raises(DataError, match=r"x.csv is a Parquet file"):
            LazyTask(str(tmp_path / "x.csv"), store).card  # noqa: B018


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingError, match="cannot be read"):
        read_content(tmp_path / "nothing.csv")


def test_lines_of_fasttext_have_labels(tmp_path):
    raw = "__label__a one two\n__label__b __label__c three\n"
    table = read_table(write(tmp_path / "t.txt", raw))
    assert table.columns["text"] == ["one two", "three"]
    assert table.columns["label"] == [["a"], ["b", "c"]]
    table = read_table(write(tmp_path / "u.txt", "__label__a one\n__label__b two\nthree\n"))
    assert table.columns["text"] == ["one", "two", "three"]
    assert table.columns["label"] == ["a", "b", None]
    table = read_table(write(tmp_path / "v.txt", "__label__a one\ntwo\nthree\n"))
    assert list(table.columns) == ["text"]


def test_damaged_arrow_data_is_refused_before_it_ends_the_process(tmp_path):
    offsets = pa.array([0, 2**30, 2], pa.int32()).buffers()[1]
    damaged = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"ab"))
    table = pa.table({"text": damaged, "label": [0, 1]})
    path = tmp_path / "t.arrow"
    with pa.ipc.new_stream(path, table.schema) as sink:
        sink.write_table(table)
    found = read_table(path)
    assert found.columns["label"] == [0, 1]
    with pytest.raises(DataError, match="column 'text' of type string cannot be read"):
        found.columns["text"]


WORDS = st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, max_size=3).map(" ".join)


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(WORDS, min_size=2, max_size=6), gap=st.sampled_from([" ", "\t", "  "]),
       before=st.booleans())  # fmt: skip
def test_labels_of_fast_text_stand_before_or_after_the_text(texts, gap, before, tmp_path_factory):
    labels = ["ab"[i % 2] for i in range(len(texts))]
    pairs = [(f"__label__{name}", text) for name, text in zip(labels, texts, strict=True)]
    lines = [gap.join(pair if before else pair[::-1]) for pair in pairs]
    path = tmp_path_factory.mktemp("text") / "t.txt"
    table = read_table(write(path, "".join(f"{line}\n" for line in lines)))
    assert list(table.columns["text"]) == texts
    assert list(table.columns["label"]) == labels


@pytest.mark.parametrize("mark", [";", "|", ":::", " ::: "])
@pytest.mark.parametrize("first", [True, False])
def test_texts_that_end_in_one_of_a_few_words_are_a_table(mark, first, tmp_path):
    rows = [(f"some words, number {i}", ["joy", "anger"][i % 2]) for i in range(8)]
    lines = [mark.join(row[::-1] if first else row) for row in rows]
    with pytest.raises(DataError, match="rows of a table separated by"):
        read_table(write(tmp_path / "t.txt", "\n".join(lines)))


@pytest.mark.parametrize("mark", [",", ": ", "; "])
def test_marks_within_sentences_are_no_table(mark, tmp_path):
    lines = [f"a sentence {i}{mark}and what follows {'x' * i}" for i in range(8)]
    assert len(read_table(write(tmp_path / "t.txt", "\n".join(lines)))) == 8


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".txt"])
def test_marks_where_files_begin_and_end_are_no_text(ending, tmp_path):
    """Files joined with cat keep their byte order marks; DOS ends a text with the byte 1A."""
    if ending == ".txt":
        part = "one\ntwo\n"
    elif ending == ".jsonl":
        part = '{"text": "one", "label": "a"}\n{"text": "two", "label": "b"}\n'
    else:
        part = 'text,label\n"one",a\n"two",b\n'.replace(",", "," if ending == ".csv" else "\t")
    table = read_table(write(tmp_path / f"t{ending}", f"\ufeff{part}\ufeff{part}\ufeff{part}\x1a"))
    assert list(table.columns["text"]) == ["one", "two"] * 3
    assert "2 byte order marks at the beginning of lines left out" in "\n".join(table.notes)
