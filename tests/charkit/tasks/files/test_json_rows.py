"""JSON of every shape gives the same table; exports give labels, and count what has none."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkit.errors import DataError
from charkit.tasks import load_task
from charkit.tasks.card import load_sample
from charkit.tasks.files.delimited import read_delimited
from charkit.tasks.files.export_tables import settle
from charkit.tasks.files.json_rows import read_json

ROWS = [{"text": f"text {i}\nof {i}", "label": "ab"[i % 2], "n": i} for i in range(4)]


def columns(text):
    table = read_json(text, "t.json")
    assert len(table) == len(table.columns[next(iter(table.columns))])
    return {name: list(values) for name, values in table.columns.items()}


def by_column(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def in_shape(rows, shape):
    named = by_column(rows)
    return {
        "lines": "\n".join(map(json.dumps, rows)),
        "pretty lines": "\n".join(json.dumps(row, indent=2) for row in rows),
        "array": json.dumps(rows),
        "pretty array": json.dumps(rows, indent=4),
        "data": json.dumps({"version": "1.0", "data": rows}),
        "columns": json.dumps(named, indent=1),
        "pandas columns": json.dumps(
            {n: {str(i): v for i, v in enumerate(vs)} for n, vs in named.items()}
        ),
        "pandas index": json.dumps({str(i): row for i, row in enumerate(rows)}),
        "pandas split": json.dumps(
            {"columns": list(named), "index": list(range(len(rows))),
             "data": [list(row.values()) for row in rows]}
        ),
        "viewer": json.dumps(
            {"features": [], "rows": [{"row_idx": i, "row": r} for i, r in enumerate(rows)]}
        ),
    }[shape]  # fmt: skip


SHAPES = ("lines", "pretty lines", "array", "pretty array", "data", "columns", "pandas columns",
          "pandas index", "pandas split", "viewer")  # fmt: skip

values = st.one_of(st.text(max_size=6), st.integers(-9, 9), st.booleans(), st.none())


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.text(max_size=9), values), min_size=2, max_size=6),
    st.sampled_from(SHAPES),
)
def test_every_shape_gives_the_same_columns(pairs, shape):
    rows = [{"text": text, "label": label} for text, label in pairs]
    assert columns(in_shape(rows, shape)) == by_column(rows)


@pytest.mark.parametrize("by", ["ids", "columns"])
def test_rows_by_their_ids_and_columns_by_their_names(by):
    rows = {f"id {i}": {"text": f"t {i}", "label": "ab"[i % 2]} for i in range(4)}
    whole = rows
    if by == "columns":
        whole = {name: {i: row[name] for i, row in rows.items()} for name in ("text", "label")}
    found = columns(json.dumps(whole))
    assert found == {"text": ["t 0", "t 1", "t 2", "t 3"], "label": ["a", "b", "a", "b"]}


def test_objects_may_stand_in_one_line():
    rows = [{"text": f"t {i}", "label": i} for i in range(3)]
    assert columns("".join(map(json.dumps, rows))) == by_column(rows)


def test_lines_and_rows_are_numbered():
    assert list(read_json(in_shape(ROWS, "lines"), "t").numbers) == [1, 2, 3, 4]
    assert list(read_json(in_shape(ROWS, "pretty lines"), "t").numbers) == [1, 6, 11, 16]
    assert read_json(in_shape(ROWS, "array"), "t").unit == "row"


def test_fields_of_fields_have_names():
    rows = [{"translation": {"en": "yes", "de": "ja"}, "label": 1}, {"label": 0}]
    found = columns("\n".join(map(json.dumps, rows)))
    assert found["translation.de"] == ["ja", None]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"text": "a", "text": "b"}', "line 1: .*the field 'text' occurs twice"),
        ("text,label\na,b\n", "begins with 'text,label': if the file holds fields"),
        ('{"train": [{"a": 1}], "test": [{"a": 2}]}', "several lists of rows \\(train, test\\)"),
        ('[{"text": "a"}, ["b"]]', "element 2 of the array: expected a JSON object"),
        ("[]", "empty array"),
        ('[\n{"text": "a",\n]', "line 3: expected a JSON array of objects, got malformed"),
        ('{\n "text": "a"\n}\n{\n "text": b\n}', "line 5: expected one JSON object"),
    ],
)
def test_wrong_shapes_are_refused_with_the_reason(text, reason):
    with pytest.raises(DataError, match=reason):
        read_json(text, "t.json")


LABELS = st.lists(
    st.tuples(st.sampled_from(["pos", "neg", "neu"]), st.sampled_from(["yes", "no", "skip"])),
    min_size=3, max_size=12,
).filter(lambda rows: len({label for label, _ in rows}) > 1)  # fmt: skip


def label_studio(label, state):
    result = [{"type": "choices", "from_name": "sentiment", "to_name": "t",
               "value": {"choices": [label]}}]  # fmt: skip
    annotations = [{"result": result, "was_cancelled": state == "skip"}]
    return {"id": 1, "data": {"input": "some text"}, "predictions": [{"result": result}],
            "annotations": [] if state == "no" else annotations}  # fmt: skip


def prodigy(label, state):
    answer = {"yes": "accept", "no": "reject", "skip": "ignore"}[state]
    return {"text": "some text", "label": label, "answer": answer, "_task_hash": 3}


def prodigy_choice(label, state):
    row = prodigy(label, state)
    del row["label"]
    return {**row, "options": [{"id": "pos", "text": "Positive"}], "accept": [label]}


def doccano(label, state):
    return {"id": 1, "text": "some text", "label": [label] if state == "yes" else []}


def argilla(label, state):
    answer = {"value": label, "user_id": "u", "status": {"no": "draft"}.get(state, "submitted")}
    return {"id": "x", "fields": {"text": "some text"}, "status": "completed",
            "responses": {} if state == "skip" else {"mood": [answer]},
            "suggestions": {"mood": {"value": label, "score": None}}}  # fmt: skip


def argilla_records(label, state):
    answers = {"values": {"mood": {"value": label}},
               "status": {"yes": "submitted", "no": "discarded", "skip": "draft"}[state]}  # fmt: skip
    return {"fields": {"text": "some text"}, "responses": [answers], "suggestions": []}


def argilla_old(label, state):
    status = {"yes": "Validated", "no": "Discarded", "skip": "Default"}[state]
    return {"text": "some text", "inputs": None, "prediction": [{"label": label, "score": 1.0}],
            "annotation": None if state == "skip" else label, "status": status}  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(
    LABELS,
    st.sampled_from(
        [label_studio, prodigy, prodigy_choice, doccano, argilla, argilla_records, argilla_old]
    ),
    st.booleans(),
)
def test_only_accepted_answers_of_an_export_are_labels(rows, tool, as_array):
    objects = [tool(*row) for row in rows]
    table = read_json(in_shape(objects, "array" if as_array else "lines"), "t.jsonl")
    wanted = [label if state == "yes" else None for label, state in rows]
    if any(wanted):
        assert list(table.columns["label"]) == wanted
    assert set(table.columns["text"]) == {"some text"}
    n_missing = wanted.count(None)
    assert not n_missing or n_missing == len(rows) or table.notes


def test_a_rejected_row_of_one_label_is_the_other_class():
    rows = [{**prodigy("SPAM", s), "text": "t"} for s in ("yes", "no", "skip")]
    table = read_json(in_shape(rows, "lines"), "t.jsonl")
    assert table.columns["label"] == ["SPAM", "not SPAM", None]
    assert "rejected rows are of class 'not SPAM'" in table.notes[0]


def test_annotators_who_disagree_give_no_label():
    row, other = label_studio("pos", "yes"), label_studio("neg", "yes")
    both = {**row, "annotations": row["annotations"] + other["annotations"]}
    same = {**row, "annotations": row["annotations"] * 2}
    table = read_json(json.dumps([row, both, same]), "t.json")
    assert list(table.columns["sentiment"]) == ["pos", None, "pos"]
    assert "1 whose annotators disagree" in table.notes[0]


def test_label_studio_min_calls_its_choice_the_label():
    rows = [{"text": "a", "mood": {"choices": ["x"]}, "annotation_id": 1, "lead_time": 2.0},
            {"text": "b", "mood": "y", "annotation_id": 2, "lead_time": 2.0}]  # fmt: skip
    assert columns(json.dumps(rows))["label"] == ["x", "y"]


@pytest.mark.parametrize(
    "label", [[[0, 3, "PER"]], [{"start_offset": 0, "end_offset": 3, "label": "PER"}]]
)
def test_marks_of_spans_are_refused_when_they_are_asked_for(label):
    rows = [{"text": "Ann was here", "label": []}, {"text": "Ann", "label": label}]
    table = read_json("\n".join(map(json.dumps, rows)), "t.jsonl")
    assert table.columns["text"] == ["Ann was here", "Ann"]
    with pytest.raises(DataError, match="line 2: column 'label' marks parts of texts"):
        table.columns["label"]


def test_label_studio_without_choices_is_refused():
    result = {"type": "labels", "from_name": "l", "value": {"start": 0, "labels": ["PER"]}}
    row = {"data": {"text": "Ann"}, "annotations": [{"result": [result]}]}
    with pytest.raises(DataError, match="1 results of type 'labels' and no choices"):
        read_json(json.dumps([row]), "t.json")


def test_lists_of_several_values_stay_lists():
    rows = [{"text": "a", "label": ["x"]}, {"text": "b", "label": ["x", "y"]}]
    assert columns("\n".join(map(json.dumps, rows)))["label"] == [["x"], ["x", "y"]]


def test_the_viewers_answer_names_its_classes():
    features = [{"name": "label", "type": {"names": ["neg", "pos"], "_type": "ClassLabel"}}]
    whole = {"features": features, "rows": [{"row": {"text": "a", "label": 1}}]}
    table = read_json(json.dumps(whole), "t.json")
    assert table.class_names == {"label": ("neg", "pos")}
    assert table.columns["label"] == [1]


def test_a_list_one_object_deeper_is_found():
    rows = [{"text": "a", "intent": "x"}, {"text": "b", "intent": "y"}]
    assert columns(json.dumps({"nlu": {"examples": rows}})) == by_column(rows)


def test_names_that_are_known_get_no_second_name():
    row = {"fields": {"review": "good"}, "responses": {"category": [{"value": "a"}]}}
    assert list(columns(json.dumps([row, row]))) == ["id", "review", "category"]


def test_rows_without_an_answer_have_no_label():
    rows = [{**prodigy(label, "yes"), "answer": answer} for label, answer in
            (("a", "accept"), ("b", None), ("b", "Accept"), ("a", ""))]  # fmt: skip
    table = read_json(in_shape(rows, "lines"), "t.jsonl")
    assert table.columns["label"] == ["a", None, "b", None]
    assert "2 accept, 2 without an answer" in table.notes[0]


def label_studio_of(*annotations, **more):
    row = {"id": 1, "data": {"text": "some text"}, "annotations": list(annotations), **more}
    return columns(json.dumps([row, row]))


def choice(label, **more):
    return {"result": [{"from_name": "mood", "value": {"choices": [label]}}], **more}


def test_of_several_annotations_the_ground_truth_counts():
    assert label_studio_of(choice("a"), choice("b", ground_truth=True))["label"] == ["b", "b"]
    assert label_studio_of(choice("a"), choice("a", ground_truth=True))["label"] == ["a", "a"]


def test_a_place_in_a_taxonomy_is_a_label():
    value = {"taxonomy": [["sports", "football"]]}
    annotation = {"result": [{"from_name": "topic", "value": value}]}
    assert label_studio_of(annotation)["label"] == ["sports / football"] * 2


@pytest.mark.parametrize(
    "more", [{}, {"id": 7, "meta": {}}, {"predictions": []}, {"annotations": []}]
)
def test_tasks_of_label_studio_that_nobody_labelled_are_texts(more):
    rows = [{"data": {"text": f"t {i}"}, **more} for i in range(3)]
    table = read_json("\n".join(map(json.dumps, rows)), "t.jsonl")
    assert table.columns["text"] == ["t 0", "t 1", "t 2"]
    assert "label" not in table.columns
    assert "'charkit next --classes C' need none" in table.hint


def test_data_with_fields_beside_it_is_no_task_of_label_studio():
    rows = [{"data": {"text": "a"}, "sentiment": "x"}, {"data": {"text": "b"}, "sentiment": "y"}]
    found = columns(json.dumps(rows))
    assert (found["data.text"], found["sentiment"]) == (["a", "b"], ["x", "y"])


MIN = {"annotation_id": 1, "lead_time": 2.0}


@pytest.mark.parametrize("text", ["text", "review", "Sentence"])
def test_the_short_form_of_label_studio_may_call_its_text_otherwise(text):
    rows = [{"id": i, text: f"t {i}", "mood": "xy"[i % 2], **MIN} for i in range(4)]
    assert columns(json.dumps(rows))["label"] == list("xyxy")


def test_several_choices_of_the_short_form_stay_a_list():
    rows = [{"id": 0, "text": "t", "mood": "x", **MIN},
            {"id": 1, "text": "u", "mood": {"choices": ["x", "y"]}, **MIN}]  # fmt: skip
    assert columns(json.dumps(rows))["label"] == ["x", ["x", "y"]]


VOTES = st.lists(
    st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=3), min_size=2, max_size=8
)


@settings(deadline=None, max_examples=60)
@given(VOTES, st.sampled_from(["prodigy", "label studio"]))
def test_several_rows_of_one_text_are_one_with_the_label_that_all_give(votes, tool):
    rows = []
    for i, each in enumerate(votes):
        for label in each:
            answer = {"label": label or "a", "answer": "accept" if label else "reject",
                      "_input_hash": i, "_task_hash": len(rows)}  # fmt: skip
            own = {"mood": label, **MIN, "annotation_id": len(rows), "id": i}
            rows.append({"text": f"t {i}", **(answer if tool == "prodigy" else own)})
    if tool == "prodigy" and len({r["label"] for r in rows}) < 2:
        return  # of one label, a rejection is the other class
    table = read_json(json.dumps(rows), "t.json")
    assert list(table.columns["text"]) == [f"t {i}" for i in range(len(votes))]
    for label, each in zip(table.columns["label"], votes, strict=True):
        votes_for = set(each) - {None}
        assert label == (next(iter(votes_for)) if len(votes_for) == 1 else None)
    assert any("stand in several rows" in n for n in table.notes) == any(len(g) > 1 for g in votes)


@pytest.mark.parametrize("names", [["Positive", "Negative"], ["Same", "Same"], ["Positive", None]])
def test_options_with_numbers_go_by_their_words(names):
    options = [{"id": i, "text": name} for i, name in enumerate(names)]
    rows = [{"text": f"t {i}", "options": options, "accept": [i % 2], "answer": "accept",
             "_task_hash": i} for i in range(4)]  # fmt: skip
    plain = names == ["Positive", "Negative"]
    assert columns(json.dumps(rows))["label"] == (names * 2 if plain else [0, 1, 0, 1])


def test_more_columns_do_not_hide_an_export_of_doccano():
    rows = [{"id": i, "data": f"t {i}", "label": [], "source": "web"} for i in range(3)]
    assert columns(json.dumps(rows))["text"] == ["t 0", "t 1", "t 2"]


@pytest.mark.parametrize(
    ("scores", "label"),
    [
        ({"A": 1.0, "B": 0.0}, "A"),
        ({"A": 0.0, "B": 0.0}, None),
        ({"A": 1, "B": 1}, ["A", "B"]),
        (None, None),
    ],
)
def test_categories_of_spacy(scores, label):
    rows = [{"text": "t", "cats": scores}, {"text": "u", "cats": {"A": 0.1, "B": 0.9}}]
    assert columns(json.dumps(rows))["label"] == [label, "B"]


def test_one_category_of_spacy_has_two_answers():
    rows = [{"text": "t", "cats": {"A": v}} for v in (1.0, 0.0)]
    assert columns(json.dumps(rows))["label"] == ["A", "not A"]


def test_drafts_in_a_table_of_argilla_are_no_labels():
    rows = [f"t {i},\"['{'ab'[i % 2]}']\",\"['{state}']\"" for i, state in
            enumerate(["submitted", "draft", "discarded", "submitted"])]  # fmt: skip
    raw = "\n".join(["text,mood.responses,mood.responses.status", *rows]).encode()
    table = settle(read_delimited(raw, "t.csv", delimiter=","))
    assert table.columns["label"] == ["a", None, None, "b"]


def test_a_refusal_says_what_was_left_out(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = [{**prodigy(label, s), "text": f"t {i}"} for i, (label, s) in
            enumerate([("a", "yes"), ("b", "no")] * 6)]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for load in (load_task, lambda p: load_sample(p)):
        with pytest.raises(DataError, match=r"only one class, 'a'.*6 accept, 6 reject"):
            load(str(path))


@pytest.mark.parametrize(
    "shape",
    [
        lambda name: {"cats": [name]},
        lambda name: {"cats": name},
        lambda name: {"cats": [{"label": n, "value": 1.0 * (n == name)} for n in "AB"]},
        lambda name: {"cats": {n: n == name for n in "AB"}},
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_categories_in_any_form(shape, nested):
    rows = [(f"t {i}", shape("AB"[i % 2])) for i in range(4)]
    if nested:  # spaCy's training data
        text = json.dumps(rows)
    else:
        text = "\n".join(json.dumps({"text": t, **found}) for t, found in rows)
    table = read_json(text, "t.json")
    assert list(table.columns["text"]) == ["t 0", "t 1", "t 2", "t 3"]
    assert list(table.columns["label"]) == ["A", "B", "A", "B"]


def test_a_field_inside_a_field_is_named_in_the_advice(tmp_path):
    rows = [{"_source": {"text": f"t {i}", "label": "ab"[i % 2]}} for i in range(12)]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"--text _source\.text"):
        load_task(path)
    with pytest.raises(DataError, match=r"--label _source\.label"):
        load_task(path, text="_source.text")
    assert len(load_task(path, text="_source.text", label="_source.label").train) == 10
