"""Nested exports of annotation tools: Label Studio and Argilla.

An export is recognised by its fields and becomes a plain table. Rows that were skipped, rejected
or ignored, or whose annotators disagree, have no label (None); a note counts them. Exports that are
tables already are read in `charkit.tasks.files.export_tables`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from charkit.errors import DataError
from charkit.tasks.files.table import LABEL_NAMES, TEXT_NAMES, some

NOT_YET = (
    "No text of the export has an accepted label yet: label some in the tool. 'charkit encode' and "
    "'charkit next --classes C' need none."
)
"""What to do with an export of texts that nobody has labelled."""

# What a task of Label Studio has besides its annotations.
_TASK = frozenset(
    ("id", "data", "meta", "created_at", "updated_at", "inner_id", "project", "drafts",
     "file_upload", "total_annotations", "cancelled_annotations", "total_predictions",
     "comment_count", "unresolved_comment_count", "last_comment_updated_at", "updated_by",
     "comment_authors", "overlap", "is_labeled")
)  # fmt: skip

Object = Mapping[str, Any]


def open_export(rows: Sequence[Object], where: str) -> tuple[list[dict[str, Any]], str] | None:
    """Return the rows of a nested export as flat ones, with a note; None if it is none.

    Raises:
        DataError: It is one, without a label a text.
    """
    if all(is_label_studio(r) for r in rows):
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
            row[name] = agreed(answers)
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
        if len(names) == 1 and not any(known(LABEL_NAMES, row) for row in self.rows):
            for row in self.rows:
                row["label"] = row.get(names[0])
        return self.rows, note


def known(these: Sequence[str], names: Iterable[str]) -> bool:
    """Return whether a name is one that is taken for a text or label anyway."""
    return any(str(name).lower() in these for name in names)


def agreed(answers: Sequence[Any]) -> Any:
    """Return the answer that all gave; None where there is none."""
    first = answers[0] if answers else None
    return first if all(answer == first for answer in answers) else None


def one(values: Any) -> Any:
    """Return the only element of a list; other lists and values as they are, [] as None."""
    if not isinstance(values, list):
        return values
    return values[0] if len(values) == 1 else (values or None)


def is_label_studio(row: Object) -> bool:
    """Return whether an object is a task of Label Studio, labelled or to be."""
    if not isinstance(row.get("data"), dict):
        return False
    if any(isinstance(row.get(k), list) for k in ("annotations", "completions", "predictions")):
        return True
    return bool(row["data"]) and set(row) <= _TASK


def _label_studio(rows: Sequence[Object], where: str) -> tuple[list[dict[str, Any]], str]:
    labels, others = _Labels(), Counter[str]()
    for row in rows:
        given = row.get("annotations", row.get("completions")) or []
        kept = [a for a in given if isinstance(a, dict) and not a.get("was_cancelled")]
        kept = [a for a in kept if a.get("ground_truth")] or kept
        votes: dict[str, list[Any]] = {}
        for result in (r for a in kept for r in a.get("result") or [] if isinstance(r, dict)):
            value = result.get("value") or {}
            found = _answer(value)
            if found is None:
                others[str(result.get("type"))] += 1
            else:
                votes.setdefault(str(result.get("from_name")), []).append(found)
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


def _answer(value: Object) -> Any:
    """Return what a result of Label Studio says of a whole text; None where it says nothing."""
    kind = next((k for k in ("choices", "rating", "number") if k in value), None)
    if kind is not None:
        return one(value[kind])
    paths = value.get("taxonomy")
    if not isinstance(paths, list) or not all(isinstance(path, list) for path in paths):
        return None
    return one([" / ".join(map(str, path)) for path in paths])


def _texts_of(data: Object) -> dict[str, Any]:
    """Return the data of a task; the only text in it is called ``text`` as well."""
    texts = [name for name, value in data.items() if isinstance(value, str)]
    more = {"text": data[texts[0]]} if len(texts) == 1 and not known(TEXT_NAMES, data) else {}
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
            votes[name] = [one(a.get("value")) for a in every if is_submitted(a)]
        return votes
    for response in responses or []:
        if is_submitted(response) and isinstance(response.get("values"), dict):
            for name, answer in response["values"].items():
                value = answer.get("value") if isinstance(answer, dict) else answer
                votes.setdefault(name, []).append(one(value))
    return votes


def is_submitted(answer: Any) -> bool:
    """Return whether a response of Argilla is final, not a draft and not discarded."""
    return isinstance(answer, dict) and answer.get("status") in (None, "submitted")


def _old_argilla(rows: Sequence[Object], where: str) -> tuple[list[dict[str, Any]], str]:
    del where
    labels = _Labels()
    for row in rows:
        inputs = row.get("inputs")
        fields = {k: v for k, v in row.items() if k not in ("inputs", "annotation", "prediction")}
        fields |= _texts_of(inputs) if isinstance(inputs, dict) else {}
        discarded = str(row["status"]).lower() == "discarded"
        given = [] if discarded or row["annotation"] is None else [one(row["annotation"])]
        labels.add(fields, {"annotation": given}, "discarded" if discarded else "not annotated")
    return labels.finish("Argilla")
