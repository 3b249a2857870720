"""Exports of annotation tools: Label Studio, Prodigy, doccano, Argilla.

An export is recognised by its fields and becomes a plain table. Rows that were skipped, rejected
or ignored, or whose annotators disagree, have no label (None); a note counts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from charkit.errors import DataError
from charkit.tasks.files.table import LABEL_NAMES, TEXT_NAMES, LazyColumns, RawTable, some

_ANSWERS = frozenset(("accept", "reject", "ignore"))
_PRODIGY = frozenset(("_task_hash", "_input_hash", "accept", "options", "label", "_session_id"))
_LABEL_STUDIO = frozenset(
    ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
)

Object = Mapping[str, Any]


def open_export(rows: Sequence[Object], where: str) -> tuple[list[dict[str, Any]], str] | None:
    """Return the rows of a nested export as flat ones, with a note; None if it is none.

    Raises:
        DataError: It is one, without a label a text.
    """
    if all("data" in r and isinstance(r["data"], dict) and _has_annotations(r) for r in rows):
        return _label_studio(rows, where)
    if all(isinstance(r.get("fields"), dict) and {"responses", "suggestions"} & set(r)
           for r in rows):  # fmt: skip
        return _argilla(rows, where)
    if all({"annotation", "status"} <= set(r) and {"text", "inputs"} & set(r) for r in rows):
        return _old_argilla(rows, where)
    return None


@dataclass
class _Labels:
    """Labels of texts by question, each from any number of annotators.

    Attributes:
        rows: The flat rows.
        counts: Why rows have no label.
        questions: The names of the columns of labels.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    questions: dict[str, None] = field(default_factory=dict)

    def add(self, fields: Object, votes: Mapping[str, Sequence[Any]], missing: str) -> None:
        """Add a row: its fields, and what each annotator answered to each question."""
        row = dict(fields)
        for name, answers in votes.items():
            self.questions[name] = None
            row[name] = _agreed(answers)
            if answers and row[name] is None:
                self.counts["whose annotators disagree"] += 1
        if not any(votes.values()):
            self.counts[missing] += 1
        self.rows.append(row)

    def finish(self, tool: str) -> tuple[list[dict[str, Any]], str]:
        """Return the rows, with a column ``label`` (and ``text``) where one is meant."""
        names = list(self.questions)
        shown = f"labels are the answers to {some(map(repr, names))}" if names else "no labels yet"
        note = f"{tool} export: {shown}"
        if self.counts:
            reasons = ", ".join(f"{n} {why}" for why, n in sorted(self.counts.items()))
            note += f"; rows without a label: {reasons}"
        if len(names) == 1 and not any(_known(LABEL_NAMES, row) for row in self.rows):
            for row in self.rows:
                row["label"] = row.get(names[0])
        return self.rows, note


def _known(known: Sequence[str], names: Iterable[str]) -> bool:
    """Return whether a name is one that is taken for a text or label anyway."""
    return any(str(name).lower() in known for name in names)


def _agreed(answers: Sequence[Any]) -> Any:
    """Return the answer that all gave; None where there is none."""
    first = answers[0] if answers else None
    return first if all(answer == first for answer in answers) else None


def _one(values: Any) -> Any:
    """Return the only element of a list; other lists and values as they are, [] as None."""
    if not isinstance(values, list):
        return values
    return values[0] if len(values) == 1 else (values or None)


def _has_annotations(row: Object) -> bool:
    return any(isinstance(row.get(k), list) for k in ("annotations", "completions", "predictions"))


def _label_studio(rows: Sequence[Object], where: str) -> tuple[list[dict[str, Any]], str]:
    labels, others = _Labels(), Counter[str]()
    for row in rows:
        given = row.get("annotations", row.get("completions")) or []
        kept = [a for a in given if isinstance(a, dict) and not a.get("was_cancelled")]
        votes: dict[str, list[Any]] = {}
        for result in (r for a in kept for r in a.get("result") or [] if isinstance(r, dict)):
            value = result.get("value") or {}
            kind = next((k for k in ("choices", "rating", "number") if k in value), None)
            if kind is None:
                others[str(result.get("type"))] += 1
            else:
                votes.setdefault(str(result.get("from_name")), []).append(_one(value[kind]))
        missing = "skipped" if given and not kept else "without an annotation"
        fields = {"id": row.get("id"), **_texts_of(row["data"])}
        labels.add(fields, votes, missing)
    if not labels.questions and others:
        kind, count = others.most_common(1)[0]
        raise DataError(
            f"{where} is a Label Studio export with {count} results of type '{kind}' and no "
            "choices: expected one choice a text. Marks inside texts are not supported; add a "
            "Choices control to the project."
        )
    flat, note = labels.finish("Label Studio")
    ignored = f"; results of other types not read: {sum(others.values())}" if others else ""
    return flat, note + ignored


def _texts_of(data: Object) -> dict[str, Any]:
    """Return the data of a task; the only text in it is called ``text`` as well."""
    texts = [name for name, value in data.items() if isinstance(value, str)]
    more = {"text": data[texts[0]]} if len(texts) == 1 and not _known(TEXT_NAMES, data) else {}
    return {**data, **more}


def _argilla(rows: Sequence[Object], where: str) -> tuple[list[dict[str, Any]], str]:
    del where
    labels = _Labels()
    for row in rows:
        votes = _responses(row.get("responses"))
        metadata = row.get("metadata")
        fields = {"id": row.get("id"), **(metadata if isinstance(metadata, dict) else {}),
                  **_texts_of(row["fields"])}  # fmt: skip
        labels.add(fields, votes, "without a submitted response (suggestions are not read)")
    return labels.finish("Argilla")


def _responses(responses: Any) -> dict[str, list[Any]]:
    """Return the submitted answers by question, from either form that Argilla writes."""
    votes: dict[str, list[Any]] = {}
    if isinstance(responses, dict):
        for name, answers in responses.items():
            every = answers if isinstance(answers, list) else [answers]
            votes[name] = [_one(a.get("value")) for a in every if _is_submitted(a)]
        return votes
    for one in responses or []:
        if _is_submitted(one) and isinstance(one.get("values"), dict):
            for name, answer in one["values"].items():
                value = answer.get("value") if isinstance(answer, dict) else answer
                votes.setdefault(name, []).append(_one(value))
    return votes


def _is_submitted(answer: Any) -> bool:
    return isinstance(answer, dict) and answer.get("status") in (None, "submitted")


def _old_argilla(rows: Sequence[Object], where: str) -> tuple[list[dict[str, Any]], str]:
    del where
    labels = _Labels()
    for row in rows:
        inputs = row.get("inputs")
        fields = {k: v for k, v in row.items() if k not in ("inputs", "annotation", "prediction")}
        fields |= _texts_of(inputs) if isinstance(inputs, dict) else {}
        discarded = str(row["status"]).lower() == "discarded"
        given = [] if discarded or row["annotation"] is None else [_one(row["annotation"])]
        labels.add(fields, {"annotation": given}, "discarded" if discarded else "not annotated")
    return labels.finish("Argilla")


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
        if isinstance(first, dict) and set(first) == {"choices"}:
            values = [v["choices"] if _is_choice(v) else v for v in values]
            changed[name] = [_one(v) for v in values]
        elif isinstance(first, list):
            if _is_span(first[0]):
                spans[name] = (next(i for i, v in enumerate(values) if v == first), first[0])
            elif all(v is None or _holds_at_most_one(v) for v in values):
                changed[name] = [_one(v) for v in values]
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


def _holds_at_most_one(value: Any) -> bool:
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
    if "data" in names and names <= {"id", "data", "label", "labels", "Comments"}:
        whole = table.columns
        columns = LazyColumns(
            [*whole, "text"], lambda name: whole["data" if name == "text" else name]
        )
        table = replace(table, columns=columns)  # doccano's name for the text
    if "spans" in names and not _known(LABEL_NAMES, names) and not table.hint:
        hint = "The file marks parts of texts (spans): such tasks are not supported."
        table = replace(table, hint=hint)
    return _doccano_annotations(table)


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
    given = [_one(v) for v in table.columns[source]]
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
    return replace(table.with_columns({"label": labels}), notes=notes)


def _flat_argilla(table: RawTable, questions: Sequence[str]) -> RawTable:
    more = {}
    for name in questions:
        answers = table.columns[f"{name}.responses"]
        place = f"{name}.responses.status"
        states = table.columns[place] if place in table.columns else [None] * len(answers)
        more[name] = [
            _agreed(_submitted(given, state)) for given, state in zip(answers, states, strict=True)
        ]
    return _with_answers(table, more)


def _submitted(given: Any, states: Any) -> list[Any]:
    if not isinstance(given, list):
        return [] if given is None else [given]
    if not isinstance(states, list) or len(states) != len(given):
        return [_one(v) for v in given]
    return [_one(v) for v, s in zip(given, states, strict=True) if s == "submitted"]


def _nested_argilla(table: RawTable, questions: Sequence[str]) -> RawTable:
    more = {}
    for name in questions:
        values = []
        for given in table.columns[name]:
            if isinstance(given, dict):  # columns of answers, as datasets writes them
                values.append(_agreed(_submitted(given.get("value"), given.get("status"))))
            elif isinstance(given, list):
                values.append(_agreed([_one(a.get("value")) for a in given if _is_submitted(a)]))
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
    if len(more) == 1 and not _known(LABEL_NAMES, [*more, *table.columns]):
        more["label"] = next(iter(more.values()))
    return replace(table.with_columns(more), notes=(*table.notes, note))


def _flat_label_studio(table: RawTable, names: set[str]) -> RawTable:
    """Call the only column of a Label Studio table that is no text ``label`` as well."""
    rest = [n for n in table.columns if n not in _LABEL_STUDIO and n != "text"]
    rest = [n for n in rest if not n.endswith(".choices")]
    if "text" not in names or len(rest) != 1 or _known(LABEL_NAMES, rest):
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
    labels = [_agreed([a["label"] for a in v or []]) for v in given]
    n_none = sum(v is None for v in labels)
    note = (
        f"{table.where}: doccano export: labels are those of 'annotations'; {n_none} rows without"
    )
    return replace(table.with_columns({"label": labels}), notes=(*table.notes, note))
