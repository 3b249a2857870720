"""A table of data that cannot be used, each with the answer it gets.

Every case writes its files into a folder and names the arguments as they would be given to
`charkit.tasks.load_task` (and, with dashes, to the command line). Content is made up.
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charkit.errors import (
    CharkitError,
    DataError,
    MissingError,
    OfflineError,
    UnknownNameError,
    UsageError,
)

Content = bytes | str | Callable[[], bytes]


@dataclass(frozen=True)
class BadInput:
    """One case.

    Attributes:
        name: A short name, also the test's id.
        description: One line for the documentation.
        source: The source; a name in ``files`` (or ``"."``) stands for a path in the folder.
        error: The expected class of error; its exit code follows.
        fragment: What the message must contain.
        files: Content by file name.
        options: Further arguments; ``evaluation`` may be a name in ``files``.
        follow: How the message's advice is followed, where no rule of `tests/following.py` reads
            it: a function that changes the attempt, or the reason why there is nothing to follow.
    """

    name: str
    description: str
    source: str
    error: type[CharkitError]
    fragment: str
    files: Mapping[str, Content] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    follow: Callable[[Any], None] | str | None = None

    def write(self, folder: Path) -> None:
        """Write the case's files into a folder."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            raw = content() if callable(content) else content
            path.write_bytes(raw.encode() if isinstance(raw, str) else raw)

    def arguments(self, folder: Path) -> tuple[str, dict[str, Any]]:
        """Return the source and the options, with names of files made paths."""
        options = dict(self.options)
        if options.get("evaluation") in self.files:
            options["evaluation"] = str(folder / options["evaluation"])
        is_path = self.source == "." or self.source in self.files or "." in self.source
        is_path = is_path and not self.source.startswith(("glue/", "generated/", "hub:"))
        return (str(folder / self.source) if is_path else self.source), options


def csv_of(*rows: str, header: str = "text,label") -> str:
    """Return CSV with a header."""
    return "\n".join((header, *rows)) + "\n"


def jsonl_of(*rows: Any) -> str:
    """Return JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def _good_rows(n: int = 10) -> list[str]:
    return [f"text number {i},{'ab'[i % 2]}" for i in range(n)]


def _parquet(columns: dict[str, list[Any]]) -> Callable[[], bytes]:
    def make() -> bytes:
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = io.BytesIO()
        pq.write_table(pa.table(columns), sink)
        return sink.getvalue()

    return make


def _far_dates() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    dates = pa.array([2**62, 0], pa.timestamp("us"))
    pq.write_table(pa.table({"text": ["a", "b"], "label": dates}), sink)
    return sink.getvalue()


def _named_classes(names: list[str], last: int = 0) -> Callable[[], bytes]:
    def make() -> bytes:
        import pyarrow as pa
        import pyarrow.parquet as pq

        features = {"label": {"names": names, "_type": "ClassLabel"}}
        table = pa.table(
            {"text": [f"text {i}" for i in range(12)], "label": [0, 1] * 5 + [1, last]}
        )
        declared = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
        sink = io.BytesIO()
        pq.write_table(table.replace_schema_metadata(declared), sink)
        return sink.getvalue()

    return make


GOOD = csv_of(*_good_rows())


def _edit(old: str, new: str, name: str | None = None) -> Callable[[Any], None]:
    """Return a follower that edits the file as its message asks."""
    return lambda attempt: attempt.edit(lambda text: text.replace(old, new), name)


def _numbers_as_strings(attempt: Any) -> None:
    rows = {"text": list("1234"), "label": ["a", "b", "a", "b"]}
    attempt.file.write_bytes(_parquet(rows)())


def _to_a_file_that_is_there(attempt: Any) -> None:
    (attempt.folder / "e.csv").write_text(csv_of("x,a", "y,b"))
    attempt.set("--eval", str(attempt.folder / "e.csv"))


def _swap(words: Mapping[str, str], name: str | None = None) -> Callable[[Any], None]:
    """Return a follower that puts words in the place of others."""

    def follow(attempt: Any) -> None:
        for old, new in words.items():
            attempt.edit(lambda text, old=old, new=new: text.replace(old, new), name)

    return follow


def _one_list(attempt: Any) -> None:
    attempt.edit(lambda text: jsonl_of(*json.loads(text)["train"]))


def _sample(attempt: Any) -> None:
    rows = {"text": [f"text number {i}" for i in range(12)], "label": list("ab") * 6}
    attempt.file.write_bytes(_parquet(rows)())


def _drop_wrong_bytes(attempt: Any) -> None:
    attempt.file.write_bytes(attempt.file.read_bytes().decode("utf-8", "ignore").encode())


def _one_object_a_row(attempt: Any) -> None:
    attempt.edit(
        lambda text: jsonl_of(*({"text": t, "label": v} for t, v in json.loads(text).items()))
    )


def _run(begin: str) -> Callable[[Any], None]:
    """Return a follower that runs the command after some words, and takes the table it writes."""

    def follow(attempt: Any) -> None:
        command = attempt.message.split(begin)[1]
        command = command.replace("python -c", f"'{sys.executable}' -c")
        subprocess.run(["bash", "-c", command], cwd=attempt.folder, check=True)
        attempt.arguments[1] = str(attempt.folder / command.split("> ")[-1])

    return follow


def _other_shard(attempt: Any) -> None:
    (attempt.folder / "train-00001-of-00002.csv").write_text(GOOD.replace("text number", "more"))


def _classes(attempt: Any) -> None:
    attempt.file.write_text(GOOD)


def _renamed(attempt: Any) -> None:
    attempt.arguments[1] = str(attempt.file.rename(attempt.file.with_suffix(".csv")))


FILES = [
    BadInput(
        "empty_file", "A file without a single byte.", "t.csv", DataError, "is empty",
        {"t.csv": b""},
    ),
    BadInput(
        "blank_file", "A file with nothing but blank lines.", "t.csv", DataError, "is empty",
        {"t.csv": b"\n\n  \n"},
    ),
    BadInput(
        "mark_only", "A byte order mark and nothing else.", "t.jsonl", DataError, "is empty",
        {"t.jsonl": b"\xef\xbb\xbf"},
    ),
    BadInput(
        "header_only", "A header and no rows.", "t.csv", DataError, "no rows",
        {"t.csv": csv_of()},
    ),
    BadInput(
        "wrong_encoding", "Latin-1 instead of UTF-8; the byte offset is given.", "t.csv",
        DataError, "byte 0xe9 at byte 14 (line 2). It looks like Windows-1252, in which it reads "
        "'caf\u00e9,a'. If that is right, convert it: iconv -f CP1252 -t UTF-8 old > new",
        {"t.csv": b"text,label\ncaf\xe9,a\n"},
    ),
    BadInput(
        "wrong_encoding_packed", "Latin-1 in a gzip file: the command unpacks it first.",
        "t.csv.gz", DataError, "convert it: gunzip -c old | iconv -f CP1252 -t UTF-8 > new",
        {"t.csv.gz": gzip.compress(GOOD.replace("text", "t\u00e9xt").replace("t\u00e9xt", "text", 1)
                                   .encode("latin-1"))},
    ),
    BadInput(
        "one_wrong_byte", "A file in UTF-8 with one line in another encoding.", "t.csv", DataError,
        "The rest of the file is UTF-8 (10 places against 1): correct line 12, or drop such bytes: "
        "iconv -f UTF-8 -t UTF-8 -c old > new",
        {"t.csv": GOOD.replace("number", "n\u00famber").encode() + b"caf\xe9,a\n"},
        follow=_drop_wrong_bytes,
    ),
    BadInput(
        "unknown_encoding", "Bytes that no known encoding has.", "t.csv", DataError,
        "Which encoding it is cannot be seen. Open it with the program that wrote it and save it",
        {"t.csv": GOOD.encode() + b"\x81 \x8d \x8f,a\n"},
        follow="the program that wrote the file has to be used",
    ),
    BadInput(
        "not_compressed", "A file called .gz that is not compressed.", "t.csv.gz", DataError,
        "t.csv.gz is not compressed: expected a gzip file (bytes 1f 8b), as its name says",
        {"t.csv.gz": GOOD},
    ),
    BadInput(
        "spaces_between_quotes", "Fields separated by spaces, as R's write.table writes them.",
        "t.csv", DataError, "the fields seem to be separated by spaces: expected commas",
        {"t.csv": '"text" "label"\n' + "".join(f'"text {i}" "{"ab"[i % 2]}"\n' for i in range(12))},
        follow=_edit('" "', '","'),
    ),
    BadInput(
        "title_line_packed", "Lines above the names of the columns, in a gzip file.", "t.csv.gz",
        DataError, "gunzip -c old | tail -n +3 > new",
        {"t.csv.gz": gzip.compress(f"Export of May\n\n{GOOD}".encode())},
    ),
    BadInput(
        "markdown", "A table in Markdown.", "t.csv", DataError,
        "line 2: expected a row, got the rule of a table in Markdown",
        {"t.csv": "| text | label |\n|---|:--|\n" + "".join(
            f"| {row.replace(',', ' | ')} |\n" for row in _good_rows())},
    ),
    BadInput(
        "other_order", "Files joined with cat whose columns stand in another order.", "t.csv",
        DataError, "line 12: the names of the columns stand here again, in another order",
        {"t.csv": GOOD + "label,text\na,one\nb,two\n"},
        follow=_edit("label,text\na,one\nb,two\n", "one,a\ntwo,b\n"),
    ),
    BadInput(
        "two_separators", "Names separated by commas above rows separated by tabs.", "t.csv",
        DataError, "separated by commas, and the rows by tabs: write tabs in the first line",
        {"t.csv": "text,label\n" + "".join(row.replace(",", "\t") + "\n" for row in _good_rows())},
        follow=_edit("text,label", "text\tlabel"),
    ),
    BadInput(
        "odd_separator", "Fields with a separator that is not read.", "t.csv", DataError,
        "The fields seem to be separated by '~': save them with commas",
        {"t.csv": GOOD.replace(",", "~")},
        follow=_edit("~", ","),
    ),
    BadInput(
        "odd_separator_and_commas", "Such fields, with commas in some texts.", "t.csv", DataError,
        "The fields seem to be separated by '::': save them with commas",
        {"t.csv": "text::label\n" + "".join(
            f"text, number {i}::{'ab'[i % 2]}\n" if i % 3 else f"text {i}::{'ab'[i % 2]}\n"
            for i in range(12))},
        follow=_swap({",": "", "::": ","}),
    ),
    BadInput(
        "escaped_separators", "Commas inside texts, written with a backslash.", "t.csv", DataError,
        "Separators inside texts are written with a backslash: put such texts in quotation marks",
        {"t.csv": GOOD.replace("text number", "text\\, number")},
        follow=_swap({"text\\, number": '"text, number', ",a": '",a', ",b": '",b'}),
    ),
    BadInput(
        "space_behind_quote", "A space between quotation mark and separator.", "t.csv", DataError,
        "line 2: a space stands after a quotation mark. Remove such spaces: sed",
        {"t.csv": csv_of(*('"' + row.replace(",", '" ,') for row in _good_rows()))},
    ),
    BadInput(
        "fast_text_csv", "Lines of fastText in a file called CSV.", "t.csv", DataError,
        "got lines of fastText (__label__NAME, then a text). Let its name end in .txt",
        {"t.csv": "".join(f"__label__{'ab'[i % 2]}\ttext {i}\n" for i in range(12))},
    ),
    BadInput(
        "label_first_without_header", "Rows without names, the label in front.", "t.tsv", DataError,
        "put a line with the names of the columns above it (label<tab>text)",
        {"t.tsv": "".join(f"{'ab'[i % 2]}\ttext {i}\n" for i in range(12))},
        follow=lambda attempt: attempt.edit(lambda text: "label\ttext\n" + text),
    ),
    BadInput(
        "texts_and_labels_txt", "A text and a label a line in a file called .txt.", "t.txt",
        DataError, "rows of a table separated by semicolons. Let its name end in .csv",
        {"t.txt": "".join(f"text number {i};{'ab'[i % 2]}\n" for i in range(12))},
        follow=lambda attempt: (_renamed(attempt), attempt.edit(lambda t: "text;label\n" + t)),
    ),
    BadInput(
        "other_counting", "Classes that count from 0 in training and from 1 in evaluation.",
        "t.csv", DataError, "holds 1 to 3 in the evaluation part and 0 to 2 in training: one of "
        "them seems to count from 1",
        {"t.csv": csv_of(*(f"text {i},{i % 3}" for i in range(12))),
         "e.csv": csv_of(*(f"other {i},{i % 3 + 1}" for i in range(12)))},
        {"evaluation": "e.csv"},
        follow=_swap({",1": ",0", ",2": ",1", ",3": ",2"}, "e.csv"),
    ),
    BadInput(
        "fixed_width", "Fields that are set apart by spaces.", "t.csv", DataError,
        "The fields seem to be separated by spaces: save them with commas",
        {"t.csv": GOOD.replace(",", "      ")},
        follow=_edit("      ", ","),
    ),
    BadInput(
        "json_last_comma", "A comma before the closing bracket of JSON.", "t.json", DataError,
        "Remove the comma before the closing bracket",
        {"t.json": '[{"text": "a", "label": 1},\n {"text": "b", "label": 0},\n]'},
        follow=_edit("},\n]", "}\n]"),
    ),
    BadInput(
        "json_one_row", "One JSON object with texts as names.", "t.json", DataError,
        "The file holds a single JSON object, so a single row: write one object for each row",
        {"t.json": json.dumps({row.split(",")[0]: row.split(",")[1] for row in _good_rows()})},
        follow=_one_object_a_row,
    ),
    BadInput(
        "label_studio_unlabelled", "Tasks of Label Studio that nobody has labelled.", "t.json",
        DataError, "No text of the export has an accepted label yet: label some in the tool",
        {"t.json": json.dumps([{"id": i, "data": {"text": f"t {i}"}} for i in range(5)])},
        follow="labels have to be given in Label Studio first",
    ),
    BadInput(
        "prodigy_one_class", "A Prodigy export in which one class was accepted.", "t.jsonl",
        DataError, "only one class, 'a' (5 rows): expected at least two",
        {"t.jsonl": jsonl_of(*({"text": row.split(",")[0], "label": row[-1], "_task_hash": i,
                                "answer": "reject" if i % 2 else "accept"}
                               for i, row in enumerate(_good_rows())))},
        follow=_edit('"reject"', '"accept"'),
    ),
    BadInput(
        "utf16", "UTF-16, as some spreadsheets write it.", "t.csv", DataError, "UTF-16",
        {"t.csv": GOOD.encode("utf-16")},
    ),
    BadInput(
        "zero_byte", "A zero byte in a file of text; the line is given.", "t.csv", DataError, "zero byte at byte 4",
        {"t.csv": GOOD.replace(",", "\0,", 1)},
    ),
    BadInput(
        "ragged_csv", "A row with a comma that is not in quotes.", "t.csv", DataError,
        "line 3: expected 2 fields as in the first line, got 3",
        {"t.csv": csv_of("fine,a", "not, fine,b", "fine again,b")},
        follow=_edit('not, fine', '"not, fine"'),
    ),
    BadInput(
        "unclosed_quote", "A quotation mark that is never closed.", "t.csv", DataError,
        "starts at line 3",
        {"t.csv": csv_of("fine,a", '"never closed,b', "fine,a")},
        follow=_edit('"never closed', '"""never closed"'),
    ),
    BadInput(
        "doubled_header", "Two columns of the same name.", "t.csv", DataError,
        "expected distinct column names, got 'text'",
        {"t.csv": csv_of("x,y,a", header="text,text,label")},
        follow=_edit('text,text', 'text,more'),
    ),
    BadInput(
        "semicolons", "Fields separated by semicolons, one of them missing.", "t.csv", DataError,
        "line 3: expected 2 fields as in the first line, got 1 (1 such rows). Fields are missing "
        "there: complete the row, or remove it. The fields seem to be separated by semicolons.",
        {"t.csv": "text;label\nfine, and good;a\nnothing, else\n"},
        follow=_edit('nothing, else\n', 'nothing, else;b\n'),
    ),
    BadInput(
        "swallowed_rows", "A quotation mark that ends in another row.", "t.csv", DataError,
        "line 4: a field runs over 3 lines that look like rows (to line 6)",
        {"t.csv": csv_of("one,a", "two,b", '"three,a', "four,b", 'five",a', "six,b", "seven,a")},
        follow=_swap({'"three,a': '"""three",a', 'five",a': '"five""",a'}),
    ),
    BadInput(
        "title_line", "Lines above the names of the columns.", "t.csv", DataError,
        "got 'Export of May', and 2 fields from line 3 on. Remove the lines above the names: "
        "tail -n +3 old > new",
        {"t.csv": "Export of May\n\n" + GOOD},
    ),
    BadInput(
        "no_header", "A file without the names of its columns.", "t.csv", DataError,
        "The first line seems to be a row of data ('a' stands below it too, 5 times)",
        {"t.csv": csv_of(*_good_rows(), header="text number 10,a")},
    ),
    BadInput(
        "comment_line", "A comment among the rows.", "t.csv", DataError,
        "line 3: expected 2 fields as in the first line, got 1 (1 such rows). That line looks like "
        "a comment: remove it.",
        {"t.csv": csv_of("one,a", "# checked", "two,b")},
    ),
    BadInput(
        "row_names", "Names of rows without a name of their column, as R writes them.", "t.csv",
        DataError, "Every row has a number more in front, as R writes names of rows",
        {"t.csv": csv_of('"1","one","a"', '"2","two","b"')},
    ),
    BadInput(
        "decimal_comma", "Numbers with a decimal comma, not in quotation marks.", "t.csv",
        DataError, "Numbers seem to be written with a decimal comma",
        {"t.csv": csv_of("one,3,5", "two,1,25")},
    ),
    BadInput(
        "nameless_column", "A comma in a text, hidden by an empty column.", "t.csv", DataError,
        "line 3: column 3 has no name, and holds 'b'. If it belongs to a text that contains the "
        "separator, put that text in quotation marks",
        {"t.csv": csv_of("one,a,", "two, three,b", "four,a,", header="text,label,")},
        follow=_swap({'two, three,b': '"two, three",b,'}),
    ),
    BadInput(
        "backslash_quotes", "Quotation marks written with a backslash.", "t.csv", DataError,
        'are written with a backslash (\\"): expected them doubled ("")',
        {"t.csv": csv_of('"a \\"good\\" one",a', "two,b")},
    ),
    BadInput(
        "apostrophe_quotes", "Texts in apostrophes instead of quotation marks.", "t.csv",
        DataError, "Texts stand in apostrophes: put them in quotation marks",
        {"t.csv": csv_of("'one, two',a", "'three',b")},
    ),
    BadInput(
        "swallowed_unlabelled", "A quotation mark that ends in another row, few labels.", "t.csv",
        DataError, "line 4: a field runs over 4 lines that look like rows (to line 7)",
        {"t.csv": csv_of("one,a", "two,", '"three,', "four,", "five,", 'six",', "seven,", "8,b")},
        follow=_swap({'"three,': '"""three",', 'six",': '"six""",'}),
    ),
    BadInput(
        "excel_separator", "The line in which Excel declares the separator.", "t.csv", DataError,
        "line 1: expected the names of the columns, got Excel's 'sep=' line. Remove it",
        {"t.csv": "sep=;\n" + GOOD.replace(",", ";")},
    ),
    BadInput(
        "title_in_columns", "A title above the names, with empty fields behind it.", "t.csv",
        DataError, "got 1 of 2; they seem to stand in line 3. Remove the lines above them",
        {"t.csv": "Export,\n,\n" + GOOD},
    ),
    BadInput(
        "typographic_quotes", "Texts in typographic quotation marks.", "t.csv", DataError,
        "Texts stand in typographic quotation marks: put them in quotation marks",
        {"t.csv": csv_of("\u201cone, two\u201d,a", "\u201cthree, four\u201d,b")},
    ),
    BadInput(
        "space_before_quotes", "A space between separator and quotation mark.", "t.csv", DataError,
        "A space stands before quotation marks: remove it",
        {"t.csv": csv_of('a, "one, two"', 'b, "three"', header="label,text")},
    ),
    BadInput(
        "json_called_csv", "JSON lines in a file called CSV.", "t.csv", DataError,
        "expected fields with separators, got JSON. Let its name end in .jsonl",
        {"t.csv": jsonl_of({"text": "a", "label": "x"}, {"text": "b", "label": "y"})},
    ),
    BadInput(
        "malformed_json", "A line that is not JSON.", "t.jsonl", DataError,
        "line 2: expected one JSON object, got malformed JSON",
        {"t.jsonl": '{"text": "a", "label": "x"}\n{"text": "b", "label": \n'},
    ),
    BadInput(
        "json_array", "A JSON array of something else than objects.", "t.json", DataError,
        "element 2 of the array: expected a JSON object with named fields, got list",
        {"t.json": '[{"text": "a", "label": "x"}, ["b", "y"]]'},
        follow=_swap({'["b", "y"]': '{"text": "b", "label": "y"}'}),
    ),
    BadInput(
        "json_lists", "One JSON object with several lists of rows.", "t.json", DataError,
        "holds several lists of rows (train, test): expected one",
        {"t.json": '{"train": [{"text": "a", "label": 1}], "test": [{"text": "b", "label": 0}]}'},
        follow=_one_list,
    ),
    BadInput(
        "json_doubled_field", "A field that occurs twice in one JSON object.", "t.jsonl",
        DataError, "line 1: expected one JSON object, got malformed JSON (the field 'text' occurs",
        {"t.jsonl": '{"text": "a", "text": "b", "label": 1}\n'},
    ),
    BadInput(
        "csv_called_json", "Fields with separators in a file called JSON.", "t.jsonl", DataError,
        "It begins with 'text,label': if the file holds fields with separators, let its name end "
        "in .csv",
        {"t.jsonl": GOOD},
    ),
    BadInput(
        "spans", "Marks of parts of texts instead of labels, as doccano exports them.", "t.jsonl",
        DataError, "line 1: column 'label' marks parts of texts ([0, 3, 'PER'])",
        {"t.jsonl": jsonl_of({"text": "Ann was here", "label": [[0, 3, "PER"]]})},
        follow="marks of parts of texts are no labels: there is no other column to name",
    ),
    BadInput(
        "label_studio_spans", "A Label Studio export that marks spans.", "t.json", DataError,
        "a Label Studio export with 1 results of type 'labels' and no choices",
        {"t.json": json.dumps([{"data": {"text": "Ann"}, "annotations": [{"result": [
            {"type": "labels", "from_name": "l", "value": {"start": 0, "labels": ["PER"]}}]}]}])},
        follow="labels have to be given in Label Studio first",
    ),
    BadInput(
        "gzip_by_another_name", "A gzip file whose name does not end in .gz.", "t.csv",
        DataError, "is a gzip file (it begins with the bytes 1f 8b)",
        {"t.csv": lambda: gzip.compress(GOOD.encode())},
    ),
    BadInput(
        "spreadsheet", "A spreadsheet whose name ends in .csv.", "t.csv", DataError,
        "is a damaged zip archive or spreadsheet: expected a table of texts",
        {"t.csv": b"PK\x03\x04 and so on"},
    ),
    BadInput(
        "web_page", "A web page that was saved instead of the data.", "t.csv", DataError,
        "is a web page instead of data",
        {"t.csv": "<!DOCTYPE html>\n<html><body>Sign in</body></html>"},
    ),
    BadInput(
        "gzip_bomb", "A gzip file that unpacks to very much.", "t.csv.gz", DataError,
        "unpack to more than",
        {"t.csv.gz": lambda: gzip.compress(bytes(80 * 2**20), 9)},
        follow="the file is not right, and nothing is in it",
    ),
    BadInput(
        "parquet_bomb", "Parquet with more rows than fit into memory.", "t.parquet", DataError,
        "has 11,000,000 rows: expected at most 10,000,000",
        {"t.parquet": lambda: _parquet({"text": [None] * 11_000_000})()},
        follow=_sample,
    ),
    BadInput(
        "foreign_value", "A date beyond every calendar in the label column.", "t.parquet",
        DataError, "column 'label' of type timestamp[us] cannot be read",
        {"t.parquet": lambda: _far_dates()},
        follow=_sample,
    ),
    BadInput(
        "table_as_text", "A table with tabs whose name ends in .txt.", "t.txt", DataError,
        "separated by tabs. Let its name end in .tsv",
        {"t.txt": GOOD.replace(",", "\t")},
    ),
    BadInput(
        "missing_shard", "A shard of the training part that is not there.", ".", MissingError,
        "expected 2 files of the part train, as their names give, got 1",
        {"train-00000-of-00002.csv": GOOD},
        follow=_other_shard,
    ),
    BadInput(
        "shards_differ", "Shards of one part with different columns.", ".", DataError,
        "expected the columns of train-0.csv (text, label), got body, label",
        {"train-0.csv": GOOD, "train-1.csv": GOOD.replace("text,", "body,", 1)},
        follow=_edit('body,', 'text,', 'train-1.csv'),
    ),
    BadInput(
        "saved_selection", "A data set of save_to_disk that is a selection of rows.", ".",
        DataError, "Save it again after flatten_indices()",
        {"state.json": json.dumps({"_data_files": [{"filename": "data.arrow"}],
                                   "_indices_files": [{"filename": "indices.arrow"}]}),
         "data.arrow": b"x"},
        follow="the data set lies in no memory here to be saved again",
    ),
    BadInput(
        "json_not_object", "A line that is JSON, but no object.", "t.jsonl", DataError,
        "line 2: expected a JSON object with named fields, got list",
        {"t.jsonl": '{"text": "a", "label": "x"}\n["b", "y"]\n'},
        follow=_edit('["b", "y"]', '{"text": "b", "label": "y"}'),
    ),
    BadInput(
        "deep_json", "JSON that is nested beyond reason.", "t.jsonl", DataError,
        "line 1: expected one JSON object, got malformed JSON (nested too deeply",
        {"t.jsonl": '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n"},
    ),
    BadInput(
        "nested_json", "A text that is an object.", "t.jsonl", DataError,
        "line 1: field 'text' is nested (dict)",
        {"t.jsonl": jsonl_of({"text": {"en": "a"}, "label": "x"})},
        follow=_edit('{"en": "a"}', '"a"'),
    ),
    BadInput(
        "multi_label", "Lists of labels.", "t.jsonl", DataError, "holds lists of labels",
        {"t.jsonl": jsonl_of({"text": "a", "label": ["x", "y"]})},
        follow=_edit('["x", "y"]', '"x"'),
    ),
    BadInput(
        "half_character", "A lone surrogate in a text.", "t.jsonl", DataError, "lone surrogate",
        {"t.jsonl": '{"text": "\\ud83d", "label": "x"}\n{"text": "b", "label": "y"}\n'},
    ),
    BadInput(
        "broken_gzip", "A gzip file that ends too early.", "t.csv.gz", DataError,
        "not a whole gzip file",
        {"t.csv.gz": lambda: gzip.compress(GOOD.encode())[:-12]},
    ),
    BadInput(
        "broken_parquet", "A file that is no Parquet.", "t.parquet", DataError,
        "cannot be read as Parquet",
        {"t.parquet": b"PAR1 and nothing else"},
    ),
    BadInput(
        "unknown_format", "A file ending that is not read.", "t.xlsx", UnknownNameError,
        "unknown file format '.xlsx'",
        {"t.xlsx": b"PK"},
    ),
    BadInput(
        "no_such_file", "A path that is not there, with a near match.", "reviws.csv",
        MissingError, "reviews.csv",
        {"reviews.csv": GOOD},
    ),
    BadInput(
        "folder_without_train", "A folder without a training file.", ".", DataError,
        "expected a file train",
        {"test.csv": GOOD},
    ),
    BadInput(
        "saved_without_its_files", "A folder of save_to_disk that lacks a file.", ".", MissingError,
        "lacks data-00000-of-00001.arrow. Copy the folder again",
        {"state.json": '{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}'},
        follow="the folder has to be copied again from where it is whole",
    ),
    BadInput(
        "shards_name_classes_otherwise", "Shards of one part that number their classes differently.",
        ".", DataError, "train-00001-of-00002.parquet names its classes differently than",
        {f"train-0000{i}-of-00002.parquet": _named_classes(names)
         for i, names in enumerate((["a", "b"], ["b", "a"]))},
        follow="the data set has to be written again by the program that wrote it",
    ),
    BadInput(
        "code_without_a_class", "A class code for which the file names no class.", "t.parquet",
        DataError, "row 12: column 'label': expected a class code 0..1, got 5",
        {"t.parquet": _named_classes(["a", "b"], last=5)},
        follow=lambda attempt: attempt.file.write_bytes(_named_classes(["a", "b"])()),
    ),
    BadInput(
        "class_folders", "A folder for each class, a file for each text.", ".", DataError,
        "seems to hold a folder for each class (bad, good) with a file for each text",
        {f"train/{name}/{i}.txt": f"a {name} text {i}" for name in ("good", "bad") for i in range(6)},
        {}, _run("to one table: "),
    ),
    BadInput(
        "texts_and_labels", "Texts and labels in two files.", ".", DataError,
        "Texts and labels seem to stand in files of their own",
        {"train_text.txt": "".join(f"text {i}\n" for i in range(12)),
         "train_labels.txt": "".join(f"{i % 2}\n" for i in range(12))},
        {}, _run("remove these: "),
    ),
    BadInput(
        "hub_cache", "A folder of the hub's cache instead of a snapshot.", ".", DataError,
        "It is a folder of the hub's cache: give ",
        {"refs/main": "abc", "snapshots/abc/train.csv": GOOD},
        follow=lambda attempt: attempt.arguments.__setitem__(
            1, attempt.message.split("give ")[1].rstrip(".")),
    ),
    BadInput(
        "loading_script", "A downloaded repository without data.", ".", DataError,
        "It holds a loading script (news.py), which is never run",
        {"news.py": "raise SystemExit", "dataset_infos.json": "{}"},
        follow="the data have to be downloaded first",
    ),
    BadInput(
        "folder_of_other_formats", "A folder whose files have another format.", ".", DataError,
        "train.xlsx is of another format. Open it and save it as CSV UTF-8",
        {"train.xlsx": b"PK"},
        follow=lambda attempt: (attempt.folder / "train.csv").write_text(GOOD),
    ),
    BadInput(
        "several_evaluation_parts", "A folder with two files that could be for evaluation.", ".",
        DataError, "several parts could be for evaluation (dev_a, dev_b). Say which: --eval dev_a",
        {"train.csv": GOOD, "dev_a.csv": GOOD, "dev_b.csv": GOOD},
        follow=lambda attempt: attempt.set("--eval", "dev_a"),
    ),
    BadInput(
        "folder_of_folders", "A folder of tasks instead of a task.", ".", DataError,
        "It holds folders that are tasks: one, two",
        {"one/train.csv": GOOD, "two/train.csv": GOOD},
    ),
    BadInput(
        "two_training_files", "A folder with two training files.", ".", DataError,
        "expected one train file, got train.csv, train.tsv",
        {"train.csv": GOOD, "train.tsv": GOOD.replace(",", "\t")},
    ),
    BadInput(
        "unknown_part", "An evaluation part that the folder lacks.", ".", UnknownNameError,
        "unknown evaluation part 'tset': did you mean 'test'?",
        {"train.csv": GOOD, "test.csv": GOOD}, {"evaluation": "tset"},
    ),
]  # fmt: skip

COLUMNS = [
    BadInput(
        "missing_column", "A column that is not there, with a near match.", "t.csv", DataError,
        "Did you mean 'label'?",
        {"t.csv": GOOD}, {"label": "lable"},
    ),
    BadInput(
        "no_label_guess", "No column is known to be the label.", "t.csv", DataError,
        "columns found: 'text', 'verdict'",
        {"t.csv": csv_of(*_good_rows(), header="text,verdict")},
    ),
    BadInput(
        "ambiguous_text", "Two columns could be the text.", "t.csv", DataError,
        "several columns could be the text ('body', 'title')",
        {"t.csv": csv_of("x,y,a", "z,w,b", header="title,body,label")},
    ),
    BadInput(
        "label_is_text", "The same column as text and label.", "t.csv", UsageError,
        "label and text are the same column",
        {"t.csv": GOOD}, {"text": "text", "label": "text"},
        follow=lambda attempt: attempt.set('--label', 'label'),
    ),
    BadInput(
        "pair_is_text", "The same column as text and pair.", "t.csv", UsageError,
        "text and pair are the same column",
        {"t.csv": GOOD}, {"text": "text", "pair": "text"},
        follow=lambda attempt: attempt.drop('--pair'),
    ),
    BadInput(
        "equal_pair", "Two columns that hold the same texts.", "t.csv", DataError,
        "text and pair are equal in all 10 rows",
        {"t.csv": csv_of(*(f"t{i},t{i},{'ab'[i % 2]}" for i in range(10)),
                         header="text,text_pair,label")},
        follow=lambda attempt: attempt.set("--text", "text"),
    ),
    BadInput(
        "numbers_as_text", "A text column of numbers.", "t.parquet", DataError,
        "expected strings, got int 1",
        {"t.parquet": _parquet({"text": [1, 2, 3, 4], "label": ["a", "b", "a", "b"]})},
        follow=_numbers_as_strings,
    ),
    BadInput(
        "eval_without_text", "An evaluation file without the text column.", "t.csv", DataError,
        "e.csv has no column 'text'",
        {"t.csv": GOOD, "e.csv": csv_of("x,a", header="body,label")}, {"evaluation": "e.csv"},
        follow=_edit("body", "text", "e.csv"),
    ),
    BadInput(
        "eval_without_pair", "An evaluation file without the second texts.", "t.csv", DataError,
        "e.csv has no column 'text_pair'",
        {"t.csv": csv_of(*(f"t{i},u{i},{'ab'[i % 2]}" for i in range(10)),
                         header="text,text_pair,label"),
         "e.csv": csv_of("x,1", header="text,id")},
        {"evaluation": "e.csv"},
        follow=_edit("id", "text_pair", "e.csv"),
    ),
    BadInput(
        "no_such_eval", "An evaluation file that is not there.", "t.csv", MissingError,
        "evaluation: expected a file",
        {"t.csv": GOOD}, {"evaluation": "nowhere.csv"},
        follow=_to_a_file_that_is_there,
    ),
]  # fmt: skip

LABELS = [
    BadInput(
        "empty_text", "Rows without a text; the first five lines are named.", "t.csv", DataError,
        "6 of 14 rows cannot be used: line 2 (empty 'text'), line 3",
        {"t.csv": csv_of(*[",a"] * 3, *["  ,b"] * 3, *_good_rows(8))},
    ),
    BadInput(
        "null_text", "A missing text in Parquet.", "t.parquet", DataError, "row 2 (empty 'text')",
        {"t.parquet": _parquet({"text": ["x", None, "y", "z"], "label": ["a", "b", "a", "b"]})},
    ),
    BadInput(
        "no_label", "A label column that is empty in every row.", "t.csv", DataError,
        "is empty in all 3 rows",
        {"t.csv": csv_of("one,", "two,nan", "three,  ")},
    ),
    BadInput(
        "minus_one", "Labels -1, 0 and 1: three classes, or two and rows without a label.",
        "t.csv", DataError, "-1 may be a class, or mark rows without a label",
        {"t.csv": csv_of(*(f"text {i},{i % 3 - 1}" for i in range(12)))},
    ),
    BadInput(
        "lists_as_text", "Lists of labels, written as text.", "t.csv", DataError,
        "line 3: column 'label' holds lists of labels written as text",
        {"t.csv": csv_of("one,['a']", "two,\"['a', 'b']\"", "three,['b']")},
        follow=_swap({'"[\'a\', \'b\']"': 'b', "['a']": 'a', "['b']": 'b'}),
    ),
    BadInput(
        "bare_lists", "Lists of labels without quotes.", "t.csv", DataError,
        "line 3: column 'label' holds lists of labels written as text",
        {"t.csv": csv_of("one,{a}", 'two,"{a,b}"', "three,{b}", "four,{a}")},
        follow=_swap({'"{a,b}"': '{b}'}),
    ),
    BadInput(
        "nested_label", "A label inside of a field.", "t.jsonl", DataError,
        "Name the part that is meant: --label label.value",
        {"t.jsonl": jsonl_of(*({"text": row[:-2], "label": {"value": row[-1]}}
                               for row in _good_rows()))},
        follow=lambda attempt: attempt.set("--label", "label.value"),
    ),
    BadInput(
        "decimal_commas", "Amounts with decimal commas.", "t.csv", DataError,
        "holds numbers with commas ('0,5')",
        {"t.csv": csv_of(*(f'text {i},"{i % 4},5"' for i in range(12)))},
    ),
    BadInput(
        "percentages", "Amounts with a percent sign.", "t.csv", DataError,
        "holds percentages ('10%')",
        {"t.csv": csv_of(*(f"text {i},{i % 4 + 1}0%" for i in range(12)))},
    ),
    BadInput(
        "dates", "Dates as labels.", "t.csv", DataError, "holds dates, such as '2024-01-01'",
        {"t.csv": csv_of(*(f"text {i},2024-01-0{i % 4 + 1}" for i in range(12)))},
    ),
    BadInput(
        "identifiers", "Another label in every row.", "t.csv", DataError,
        "another label in each of 40 rows, such as 'id 0'",
        {"t.csv": csv_of(*(f"text {i},id {i}" for i in range(40)))},
        follow=_classes,
    ),
    BadInput(
        "number_and_words", "Amounts, and a few words among them.", "t.csv", DataError,
        "holds numbers and 'high'",
        {"t.csv": csv_of(*(f"text {i},{i % 12}.5" for i in range(24)), "x,high")},
    ),
    BadInput(
        "eval_label_name", "An evaluation file whose label column has another name.", "t.csv",
        DataError, "Rename 'target' to 'label'",
        {"t.csv": GOOD, "e.csv": csv_of("x,a", "y,b", header="text,target")},
        {"evaluation": "e.csv"},
    ),
    BadInput(
        "nothing_left", "Every row is bad and is to be dropped.", "t.csv", DataError,
        "no usable row is left",
        {"t.csv": csv_of(",a", ",b")}, {"on_bad_rows": "drop"},
        follow=_edit(',', 'a text,'),
    ),
    BadInput(
        "one_class", "One class only.", "t.csv", DataError, "only one class, 'a'",
        {"t.csv": csv_of(*(f"text {i},a" for i in range(9)))},
    ),
    BadInput(
        "only_single_rows", "Six classes of one row each: nothing is left for evaluation.",
        "t.csv", DataError, "no row can be split off for evaluation",
        {"t.csv": csv_of(*(f"text {i},c{i}" for i in range(6)))},
    ),
    BadInput(
        "labels_are_identifiers", "Another label in every row: the column holds no classes.",
        "t.csv", DataError, "another label in each of 40 rows",
        {"t.csv": csv_of(*(f"text {i},id {i}" for i in range(40)))},
        follow=_classes,
    ),
    BadInput(
        "no_class_in_common", "An evaluation part with other classes altogether.", "t.csv",
        DataError, "none of 2 evaluation rows has a class of the training part",
        {"t.csv": GOOD, "e.csv": csv_of("x,positive", "y,negative")}, {"evaluation": "e.csv"},
        follow=_swap({'positive': 'a', 'negative': 'b'}, 'e.csv'),
    ),
    BadInput(
        "class_spelled_otherwise", "A class that the evaluation part writes in other letters.",
        "t.csv", DataError, "training has the same in other letters, as 'a' for 'A '",
        {"t.csv": GOOD, "e.csv": csv_of("x,a", "y,b", "z,A ")}, {"evaluation": "e.csv"},
        follow=_edit('A ', 'a', 'e.csv'),
    ),
    BadInput(
        "hidden_labels", "An evaluation part whose labels are hidden (-1).", "t.csv", DataError,
        "-1 marks hidden labels",
        {"t.csv": csv_of(*(f"text {i},{i % 2}" for i in range(8))),
         "e.csv": csv_of("x,-1", "y,-1")},
        {"evaluation": "e.csv"},
        follow=_edit('-1', '1', 'e.csv'),
    ),
    BadInput(
        "mixed_labels", "Strings and numbers as labels.", "t.jsonl", DataError,
        "got str (first in line 1), int (first in line 2)",
        {"t.jsonl": jsonl_of({"text": "a", "label": "1"}, {"text": "b", "label": 2})},
        follow=_edit('"label": 2', '"label": "2"'),
    ),
    BadInput(
        "huge_integer", "A label of forty digits.", "t.jsonl", DataError, "got one of 40 digits",
        {"t.jsonl": '{"text": "a", "label": ' + "9" * 40 + "}\n"},
        follow=_edit('9' * 40, '"' + '9' * 40 + '"'),
    ),
    BadInput(
        "many_integers", "Whole numbers that may be classes or amounts.", "t.csv", DataError,
        "60 different whole numbers in 120 rows",
        {"t.csv": csv_of(*(f"text {i},{i % 60}" for i in range(120)))},
    ),
    BadInput(
        "whole_decimals", "Whole numbers written as decimals.", "t.csv", DataError,
        "--kind classification or --kind regression",
        {"t.csv": csv_of(*(f"text {i},{i % 3}.0" for i in range(12)))},
    ),
    BadInput(
        "not_finite", "A regression target that is not finite.", "t.csv", DataError,
        "line 4 ('label' is inf, not finite)",
        {"t.csv": csv_of("a,0.5", "b,1.5", "c,inf", "d,2.5")},
    ),
    BadInput(
        "not_a_number", "A word as regression target.", "t.csv", DataError,
        "line 3 ('label' is 'high', not a number)",
        {"t.csv": csv_of("a,0.5", "b,high", "c,1.5", "d,2.5")}, {"kind": "regression"},
    ),
    BadInput(
        "constant_target", "The same regression target everywhere.", "t.csv", DataError,
        "regression targets are 0.5",
        {"t.csv": csv_of(*(f"text {i},0.5" for i in range(9)))},
        follow=_edit('8,0.5', '8,0.75'),
    ),
    BadInput(
        "too_few_to_split", "Too few different texts to split off an evaluation part.", "t.csv",
        DataError, "too few to split off",
        {"t.csv": csv_of("same,a", "same,b", "other,a", "other,b")},
    ),
]  # fmt: skip

ARGUMENTS = [
    BadInput(
        "eval_frac", "A share that is none.", "t.csv", UsageError,
        "eval_frac: expected a share between 0 and 1, got 1.5",
        {"t.csv": GOOD}, {"eval_frac": 1.5},
    ),
    BadInput(
        "kind", "A kind that is not known.", "t.csv", UnknownNameError,
        "unknown kind 'regresion': did you mean 'regression'?",
        {"t.csv": csv_of(*(f"text {i},{i}.5" for i in range(12)))}, {"kind": "regresion"},
    ),
    BadInput(
        "on_bad_rows", "A way with bad rows that is not known.", "t.csv", UnknownNameError,
        "unknown on_bad_rows 'dorp': did you mean 'drop'?",
        {"t.csv": GOOD}, {"on_bad_rows": "dorp"},
    ),
    BadInput(
        "unknown_glue", "A GLUE task that there is not.", "glue/rt", UnknownNameError,
        "did you mean 'glue/rte'",
    ),
    BadInput(
        "glue_test", "GLUE's test split, whose labels are hidden.", "glue/rte", DataError,
        "the labels of GLUE's test split are hidden",
        options={"evaluation": "test"},
    ),
    BadInput(
        "offline_hub", "A data set of the hub that is not on this machine, without network.",
        "hub:charkit-tests/no-such-data@main", OfflineError,
        "charkit fetch hub:charkit-tests/no-such-data@main",
        options={"offline": True},
    ),
    BadInput(
        "hub_name", "A name that is no data set's id.", "hub:a/b/c/d", UsageError,
        "expected hub:owner/name",
        follow="the right id stands on the page of the data set, which needs a network",
    ),
    BadInput(
        "unknown_generated", "A generated task that there is not.", "generated/sentimnet",
        UnknownNameError, "did you mean 'generated/sentiment'",
    ),
    BadInput(
        "unknown_knob", "A knob that generated tasks lack.", "generated/topic?dificulty=1",
        UnknownNameError, "did you mean 'difficulty'?",
    ),
    BadInput(
        "noise_range", "Label noise of 1.", "generated/topic?noise=1", UsageError,
        "noise: expected a number in [0, 1), got 1",
        follow=lambda attempt: attempt.replace('noise=1', 'noise=0.1'),
    ),
    BadInput(
        "columns_of_generated", "Columns for a generated task.", "generated/topic", UsageError,
        "bring their own columns",
        options={"text": "body"},
    ),
    BadInput(
        "long_name", "A text where a path is expected.", "so good " * 60, MissingError,
        "expected a file or folder, got 'so good",
        follow="a text is no path: only its author knows which file was meant",
    ),
    BadInput(
        "unknown_name", "A name that is neither file nor task.", "sentiment140",
        UnknownNameError, "A task is a file, a folder, hub:owner/name, glue/NAME",
    ),
]  # fmt: skip

CASES: list[BadInput] = [*FILES, *COLUMNS, *LABELS, *ARGUMENTS]
