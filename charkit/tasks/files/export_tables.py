"""Exports of annotation tools that are tables: Prodigy, doccano, and the short forms of others.

Their own columns declare what became of a row. Rows that were rejected or ignored, or whose
annotators disagree, have no label (None); several rows of one text become one; a note counts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from charkit.errors import DataError
from charkit.tasks.files.exports import NOT_YET, agreed, is_submitted, known, one
from charkit.tasks.files.table import LABEL_NAMES, TEXT_NAMES, LazyColumns, RawTable, some
from charkit.tasks.readers.looks import label_list

_ANSWERS = frozenset(("accept", "reject", "ignore"))
_PRODIGY = frozenset(("_task_hash", "_input_hash", "accept", "options", "label", "_session_id"))
_LABEL_STUDIO = frozenset(
    ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
)


def unwrap_lists(table: RawTable, names: Sequence[str]) -> RawTable:
    """Take the value out of lists of one, as doccano writes labels; marks of spans are refused.

    A column of lists of which some hold several values stays as it is.

    Args:
        table: The table.
        names: Its columns that hold lists or objects.
    """
    changed: dict[str, list[Any]] = {}
    spans: dict[str, tuple[int, Any]] = {}
    for name in names:
        values = table.columns[name]
        first = next((v for v in values if v is not None and v != []), None)
        if any(map(_is_choice, values)):
            values = [v["choices"] if _is_choice(v) else v for v in values]
            changed[name] = [one(v) for v in values]
        elif isinstance(first, list):
            if _is_span(first[0]):
                spans[name] = (next(i for i, v in enumerate(values) if v == first), first[0])
            elif all(v is None or _holds_at_mostone(v) for v in values):
                changed[name] = [one(v) for v in values]
    lists = [name for name in changed if any(isinstance(v, list) for v in table.columns[name])]
    if not changed and not spans:
        return table
    notes = table.notes
    if lists:
        notes = (*notes, f"{table.where}: the value is taken out of lists of one in {some(lists)}")
    whole = table.columns

    def make(name: str) -> Sequence[Any]:
        if name in spans:
            raise _marks_spans(table, name, *spans[name])
        return changed.get(name, whole[name])

    return replace(table, columns=LazyColumns(whole, make), notes=notes)


def _is_choice(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"choices"}


def _holds_at_mostone(value: Any) -> bool:
    plain = str | int | float | bool
    return isinstance(value, list) and len(value) <= 1 and all(isinstance(v, plain) for v in value)


def _is_span(value: Any) -> bool:
    """Return whether a value marks a part of a text: [0, 5, "PER"] or {"start": 0, "end": 5}."""
    if isinstance(value, list):
        return len(value) == 3 and all(type(v) is int for v in value[:2])
    return isinstance(value, dict) and bool({"start", "start_offset"} & set(value))


def _marks_spans(table: RawTable, name: str, row: int, value: Any) -> DataError:
    return DataError(
        f"{table.where}, {table.unit} {table.numbers[row]}: column {name!r} marks parts of texts "
        f"({str(value)[:60]}): expected one label a text. Tasks that mark spans are not supported; "
        "name a column that holds one label a row."
    )


def settle(table: RawTable) -> RawTable:
    """Read what an export's own columns declare about its labels."""
    names = set(table.columns)
    if "answer" in names and names & _PRODIGY:
        table = _prodigy(table)
    questions = [n.removesuffix(".responses") for n in table.columns if n.endswith(".responses")]
    if questions:
        table = _flat_argilla(table, questions)
    nested = [n for n in table.columns if f"{n}-suggestion" in names]
    if nested:
        table = _nested_argilla(table, nested)
    if {"annotation_id", "lead_time"} <= names:
        table = _flat_label_studio(table, names)
    labelled = bool({"label", "labels"} & names)
    if {"id", "data"} <= names and labelled and not known(TEXT_NAMES, names):
        whole = table.columns
        columns = LazyColumns(
            [*whole, "text"], lambda name: whole["data" if name == "text" else name]
        )
        table = replace(table, columns=columns)  # doccano's name for the text
    if "spans" in names and not known(LABEL_NAMES, names) and not table.hint:
        hint = "The file marks parts of texts (spans): such tasks are not supported."
        table = replace(table, hint=hint)
    return _spacy_categories(_doccano_annotations(table))


def _word(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _prodigy(table: RawTable) -> RawTable:
    """Take labels that were accepted; of one label, a rejection is the other class."""
    answers = [_word(v) for v in table.columns["answer"]]
    counts = Counter(v if isinstance(v, str) and v else None for v in answers)
    if not set(counts) & _ANSWERS or not set(counts) <= {*_ANSWERS, None}:
        return table
    source = "accept" if "accept" in table.columns else "label"
    if source not in table.columns:
        return table
    given = _by_option(table, [one(v) for v in table.columns[source]])
    asked = {v for v in given if isinstance(v, str | int) and v != ""}
    both = counts["accept"] and counts["reject"]
    rest: dict[str, str] = {}
    if source == "label" and len(asked) == 1 and both:
        rest = {"reject": f"not {next(iter(asked))}"}
    labels = [
        v if answer == "accept" else rest.get(answer) if v not in (None, "") else None
        for v, answer in zip(given, answers, strict=True)
    ]
    kinds = {"accept": "accept", "reject": "reject", "ignore": "ignore", None: "without an answer"}
    shown = ", ".join(f"{counts[a]} {name}" for a, name in kinds.items() if counts[a])
    what = "rows that were not accepted count as rows without a label"
    if rest:
        what = f"rejected rows are of class {rest['reject']!r}, ignored ones have no label"
    notes = table.notes
    if set(counts) != {"accept"}:
        notes = (*notes, f"{table.where}: Prodigy's column 'answer' holds {shown}: {what}")
    table = replace(table.with_columns({"label": labels}), notes=notes)
    return _one_row_a_text(table, "_input_hash", ["label"], "Prodigy")


def _by_option(table: RawTable, given: Sequence[Any]) -> list[Any]:
    """Return the words of the options for their numbers."""
    if "options" not in table.columns:
        return list(given)
    names: dict[Any, Any] = {}
    for options in table.columns["options"]:
        for option in options if isinstance(options, list) else ():
            if isinstance(option, dict) and isinstance(option.get("id"), int):
                names[option["id"]] = option.get("text")
    plain = all(isinstance(name, str) and name.strip() for name in names.values())
    if not plain or len(set(names.values())) < len(names):
        return list(given)
    return [names.get(v, v) if isinstance(v, int) else v for v in given]


def _one_row_a_text(table: RawTable, key: str, labels: Sequence[str], tool: str) -> RawTable:
    """Keep the first of several rows of one text, with the labels that all of them give.

    Args:
        table: The table.
        key: The column that holds one value for each text.
        labels: The columns of labels.
        tool: Who wrote it, for the note.
    """
    if key not in table.columns:
        return table
    rows_of: dict[Any, list[int]] = {}
    for row, value in enumerate(table.columns[key]):
        single = value is None or value == "" or not isinstance(value, Hashable)
        rows_of.setdefault(("row", row) if single else value, []).append(row)
    groups = list(rows_of.values())
    n_more = sum(len(group) > 1 for group in groups)
    if not n_more:
        return table
    more: dict[str, list[Any]] = {}
    differ = 0
    for name in labels:
        values = table.columns[name]
        more[name] = []
        for group in groups:
            votes = [values[row] for row in group if values[row] not in (None, "", [])]
            more[name].append(agreed(votes))
            differ += bool(votes) and more[name][-1] is None
    note = f"{table.where}: {tool} export: {n_more} texts stand in several rows: read as one each"
    if differ:
        note += f"; {differ} of them are labelled differently and have no label"
    kept = table.take([group[0] for group in groups]).with_columns(more)
    return replace(kept, notes=(*table.notes, note))


def _flat_argilla(table: RawTable, questions: Sequence[str]) -> RawTable:
    more = {}
    for name in questions:
        answers = table.columns[f"{name}.responses"]
        place = f"{name}.responses.status"
        states = table.columns[place] if place in table.columns else [None] * len(answers)
        more[name] = [
            agreed(_submitted(given, state)) for given, state in zip(answers, states, strict=True)
        ]
    return _with_answers(table, more)


def _submitted(given: Any, states: Any) -> list[Any]:
    given, states = _as_list(given), _as_list(states)
    if not isinstance(given, list):
        return [] if given is None else [given]
    if not isinstance(states, list) or len(states) != len(given):
        return [one(v) for v in given]
    return [one(v) for v, s in zip(given, states, strict=True) if s == "submitted"]


def _as_list(value: Any) -> Any:
    """Return the list that a cell of CSV holds; other values as they are, "" as None."""
    found = label_list(value, {})
    return (value if found is None else found) or None


def _nested_argilla(table: RawTable, questions: Sequence[str]) -> RawTable:
    more = {}
    for name in questions:
        values = []
        for given in table.columns[name]:
            if isinstance(given, dict):  # columns of answers, as datasets writes them
                values.append(agreed(_submitted(given.get("value"), given.get("status"))))
            elif isinstance(given, list):
                values.append(agreed([one(a.get("value")) for a in given if is_submitted(a)]))
            else:
                values.append(given)
        more[name] = values
    return _with_answers(table, more)


def _with_answers(table: RawTable, more: dict[str, list[Any]]) -> RawTable:
    """Add columns of answers; the only one is called ``label`` as well."""
    missing = {name: sum(v is None for v in values) for name, values in more.items()}
    note = f"{table.where}: Argilla export: labels are the responses to {some(map(repr, more))}"
    if any(missing.values()):
        counts = ", ".join(f"{n} in {name!r}" for name, n in missing.items() if n)
        note += f"; rows without one that all annotators gave: {counts}"
    if len(more) == 1 and not known(LABEL_NAMES, [*more, *table.columns]):
        more["label"] = next(iter(more.values()))
    return replace(table.with_columns(more), notes=(*table.notes, note))


def _flat_label_studio(table: RawTable, names: set[str]) -> RawTable:
    """Call the only column of a Label Studio table that is no text ``label`` as well."""
    rest = [n for n in table.columns if n not in _LABEL_STUDIO]
    rest = [n for n in rest if not n.endswith(".choices") and not known(TEXT_NAMES, [n])]
    table = _one_row_a_text(table, "id", rest, "Label Studio")
    if not rest and not table.hint:
        return replace(table, hint=NOT_YET)
    if not known(TEXT_NAMES, names) or len(rest) != 1 or known(LABEL_NAMES, rest):
        return table
    note = f"{table.where}: Label Studio export: column {rest[0]!r} holds the labels"
    whole = table.columns
    columns = LazyColumns([*whole, "label"], lambda n: whole[rest[0] if n == "label" else n])
    return replace(table, columns=columns, notes=(*table.notes, note))


def _doccano_annotations(table: RawTable) -> RawTable:
    """Read doccano's older exports: {"annotations": [{"label": 3, "user": 1}]}."""
    if "annotations" not in table.columns or "label" in table.columns:
        return table
    given = table.columns["annotations"]
    plain = [
        v is None or (isinstance(v, list) and all(isinstance(a, dict) and "label" in a for a in v))
        for v in given
    ]
    if not all(plain) or any(_is_span(a) for v in given for a in v or []):
        return table
    labels = [agreed([a["label"] for a in v or []]) for v in given]
    n_none = sum(v is None for v in labels)
    note = f"{table.where}: doccano export: labels are those of 'annotations'"
    if n_none:
        note += f"; {n_none} rows have none, or several"
    return replace(table.with_columns({"label": labels}), notes=(*table.notes, note))


def _spacy_categories(table: RawTable) -> RawTable:
    """Read categories as spaCy has them: {"cats": {"POS": 1.0, "NEG": 0.0}}."""
    if "cats" not in table.columns or known(LABEL_NAMES, table.columns):
        return table
    given = [_as_scores(v) for v in table.columns["cats"]]
    if not all(_is_scores(v) for v in given):
        return table
    names = list(dict.fromkeys(name for v in given for name in v or {}))
    labels: list[Any] = []
    for scores in given:
        chosen = [name for name, score in (scores or {}).items() if score >= 0.5]
        labels.append(one(chosen))
        if len(names) == 1 and scores and not chosen:
            labels[-1] = f"not {names[0]}"
    note = f"{table.where}: labels are the categories of 'cats' with a score of 0.5 or more"
    return replace(table.with_columns({"label": labels}), notes=(*table.notes, note))


def _as_scores(value: Any) -> Any:
    """Return lists of categories as scores: spaCy's [{"label": "POS", "value": 1}], ["POS"]."""
    if not isinstance(value, list | str):
        return value
    found: list[Any] = value if isinstance(value, list) else [value]
    if all(isinstance(v, str) for v in found):
        return dict.fromkeys(found, 1.0)
    if all(isinstance(v, dict) and {"label", "value"} <= set(v) for v in found):
        return {v["label"]: v["value"] for v in found}
    return value


def _is_scores(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, dict) and all(isinstance(v, int | float) for v in value.values())
