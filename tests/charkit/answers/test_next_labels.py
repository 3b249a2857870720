import csv
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkit import next_labels
from charkit.answers.labelling import strategies as module
from charkit.answers.labelling.next_labels import NextLabels, quoted
from charkit.answers.labelling.strategies import (
    BY_HEAD,
    STRATEGIES,
    Band,
    labels_a_class,
    load_pool,
    shipped_bands,
    strategy_for,
)
from charkit.errors import DataError, MissingError, UsageError
from charkit.tasks import generated_task
from charkit.tasks.card import lazy_task

WORDS = ["cat", "dog", "bird", "man", "woman", "child", "film", "book", "house"]
TEXTS = [f"the {w} {v} a {g} thing" for w in WORDS for v in ("sees", "likes") for g in "abc"]


@pytest.fixture
def frame():
    """54 texts, the first 18 labelled, three classes."""
    labels = [("red", "green", "blue")[i % 3] if i < 18 else None for i in range(len(TEXTS))]
    return pd.DataFrame({"text": TEXTS, "label": labels})


@pytest.fixture
def ask(tiny_bert, tmp_store):
    def asked(source, *, text=None, pair=None, label=None, **options):
        task = lazy_task(source, text=text, pair=pair, label=label)
        return next_labels(task, encoder=str(tiny_bert), store=tmp_store, **options)

    return asked


@pytest.mark.parametrize("strategy", [*STRATEGIES, "auto"])
def test_chooses_texts_that_have_no_label(ask, frame, strategy):
    found = ask(frame, n=5, strategy=strategy)
    assert found.table["text"].is_unique
    assert set(found.table["text"]) <= set(TEXTS[18:])
    assert found.table["rank"].tolist() == [1, 2, 3, 4, 5]
    assert [TEXTS[row - 1] for row in found.table["row"]] == found.table["text"].tolist()
    assert (found.n_labelled, found.n_pool) == (18, 36)
    again = ask(frame, n=5, strategy=strategy)
    assert again.table.equals(found.table)


def test_texts_without_any_label(ask, frame):
    found = ask(frame[["text"]], n=4, classes=3)
    assert found.adequacy is None
    assert found.strategy not in BY_HEAD
    assert (found.n_labelled, found.n_pool, len(found.table)) == (0, 54, 4)
    with pytest.raises(DataError, match="margin needs a head"):
        ask(frame[["text"]], n=4, classes=3, strategy="margin")


@pytest.mark.parametrize("labels", [["red"], ["red"] * 5, ["red", "blue"], list("abcdefg")])
def test_the_first_labels_may_be_few(ask, frame, labels):
    frame["label"] = labels + [None] * (len(frame) - len(labels))
    found = ask(frame, n=4, label="label")
    assert len(found.table) == 4
    assert (found.adequacy is None) == (len(set(labels)) == 1)


def test_a_labelled_text_is_not_asked_for_again(ask, frame):
    """Whatever its case and spaces, and also with the apostrophe of a spreadsheet."""
    more = pd.DataFrame(
        {"text": ["=THE cat", "  the CAT  sees a a thing ", TEXTS[30], TEXTS[30].upper()]}
    )
    predicted = pd.DataFrame({"text": ["'=the cat"], "label": ["red"]})
    found = ask(pd.concat([predicted, frame, more], ignore_index=True), n=99, strategy="random")
    assert sorted(found.table["text"]) == sorted(TEXTS[18:])
    assert "2 texts of the pool are labelled already: left out" in found.notes
    assert "2 texts of the pool repeat others: left out" in found.notes
    assert "99 texts asked for, the pool has 36 different ones: all" in found.notes


def test_a_file_can_be_the_pool(ask, frame, tmp_path):
    place = tmp_path / "pool.csv"
    pd.DataFrame({"text": [TEXTS[0], "a new bird", "a new dog"], "label": "?"}).to_csv(place)
    found = ask(frame, n=5, strategy="typiclust", pool=place)
    assert sorted(found.table["text"]) == ["a new bird", "a new dog"]
    assert sorted(found.table["line"]) == [3, 4]


def test_pairs_stay_pairs(ask):
    frame = pd.DataFrame({"a": TEXTS[:30], "b": TEXTS[10:40], "label": ["x", "y"] * 15})
    frame.loc[20:, "label"] = None
    found = ask(frame, text="a", pair="b", n=3)
    pairs = set(zip(frame["a"][20:], frame["b"][20:], strict=True))
    assert set(zip(found.table["text"], found.table["pair"], strict=True)) <= pairs


def test_large_pools_and_samples_are_drawn_from_and_said(ask, frame, monkeypatch):
    monkeypatch.setattr(module, "MOST_POOL", 10)
    monkeypatch.setattr(module, "MOST_LABELLED", 12)
    found = ask(frame, n=3)
    assert (found.n_labelled, found.n_pool) == (12, 10)
    assert "12 of 18 labelled texts were drawn to be looked at" in found.notes
    assert "10 of 36 texts of the pool were drawn to choose from" in found.notes


def test_tasks_bring_their_own_columns(ask):
    task = generated_task("sentiment", n_train=40, n_eval=20)
    assert ask(task, n=3, classes=2).n_pool <= 40
    with pytest.raises(UsageError, match="bring their own"):
        ask(task, pool="other.csv")
    with pytest.raises(DataError, match="nothing to choose from: expected rows without a label"):
        ask(task, n=3)


def test_evaluation_rows_are_not_to_be_labelled(frame, tmp_path):
    """A folder's test part is no pool."""
    frame.to_csv(tmp_path / "train.csv", index=False)
    frame[:18].assign(text="other " + frame["text"]).to_csv(tmp_path / "test.csv", index=False)
    sample = load_pool(tmp_path)
    assert sample.evaluation is None
    assert sample.pool.texts == tuple(TEXTS[18:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "expected at least 1 text, got 0"),
        ({"seed": -1}, "seed is out of range"),
        ({"strategy": "badger"}, "did you mean 'badge'"),
        ({"layer": 3}, "expected 0 .embeddings. to 2"),
        ({"layer": -4}, "layer out of range"),
    ],
)
def test_bad_questions_are_refused(ask, frame, options, message):
    with pytest.raises(UsageError, match=message):
        ask(frame, **options)


def test_the_layer_is_counted_from_both_ends(ask, frame):
    assert ask(frame, n=2, layer=-1).layer == 2
    assert ask(frame, n=2, layer=0).layer == 0
    assert ask(frame, n=2).layer == 1


def test_all_labelled_leaves_nothing(ask, frame, tmp_path):
    with pytest.raises(DataError, match="rows without a label, got none"):
        ask(frame[:18])
    place = tmp_path / "pool.csv"
    frame[:5].to_csv(place, index=False)
    with pytest.raises(DataError, match="got 5 that all are"):
        ask(frame[:18], pool=place)


def test_saved_texts_come_back_with_their_labels(ask, frame, tmp_path):
    found = ask(frame, n=6)
    place = found.save(tmp_path / "new" / "next.csv")
    with place.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == found.table["text"].tolist()
    assert {row["label"] for row in rows} == {""}
    filled = pd.read_csv(place).assign(label=["red", "blue"] * 3)[["text", "label"]]
    again = ask(pd.concat([frame, filled], ignore_index=True), n=99, strategy="random")
    assert len(again.table) == 30
    assert not set(again.table["text"]) & set(found.table["text"])


def test_the_file_has_the_names_of_the_source(ask, frame, tmp_path):
    """So that it can be read with the same options, beside the pool that it came from."""
    named = frame.rename(columns={"text": "body", "label": "stars"})
    pool = tmp_path / "pool.csv"
    named[["body"]].to_csv(pool, index=False)
    first = ask(pool, text="body", classes=3, n=6).save(tmp_path / "next.csv")
    predicted = pd.read_csv(first)
    assert list(predicted.columns) == ["rank", "line", "body", "utility", "label"]
    predicted.assign(label=["red", "blue"] * 3).to_csv(first, index=False)
    second = ask(first, text="body", label="label", pool=pool, n=6)
    assert second.n_pool == 48
    assert not set(second.table["text"]) & set(predicted["body"])
    saved = ask(named, text="body", label="stars", n=2).save(tmp_path / "again.csv")
    assert {"body", "stars"} <= set(pd.read_csv(saved).columns)
    clash = frame.rename(columns={"text": "rank"})
    saved = ask(clash, text="rank", label="label", n=2).save(tmp_path / "clash.csv")
    assert list(pd.read_csv(saved).columns) == ["rank", "row", "text", "utility", "label"]


def test_spreadsheets_get_no_formula(ask, frame, tmp_path):
    odd = ["=cmd|' /C calc'!A0", "@you", "-good", "+bad", "\t=1+1", "plain = good"]
    pool = pd.DataFrame({"text": odd, "label": None})
    found = ask(pd.concat([frame[:18], pool], ignore_index=True), n=6)
    assert found.n_quoted == 5
    assert set(found.to_pandas()["text"]) == set(odd)
    place = found.save(tmp_path / "next.csv")
    with place.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    assert not any(text.lstrip()[0] in "=+-@" for text in texts)
    assert {text.removeprefix("'") for text in texts} == set(odd)
    assert quoted("plain") == "plain"
    assert quoted("") == ""


HOSTILE = [
    "a\rbare return",
    "two\nlines",
    'a "mark',
    "it's, so",
    "tab\there",
    "\u2028 odd",
    "caf\u00e9",
]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".json"])
@given(texts=st.lists(st.sampled_from(HOSTILE), min_size=1, unique=True), pairs=st.booleans())
def test_files_of_texts_are_read_again_as_they_were(ending, texts, pairs, tmp_path_factory):
    table = pd.DataFrame({"rank": np.arange(1, len(texts) + 1), "row": np.arange(len(texts))})
    table["text"] = texts
    if pairs:
        table["pair"] = [text[::-1] for text in texts]
    table["utility"] = np.where(np.arange(len(texts)) % 2, 0.5, np.nan)
    names = ("text", "text_pair" if pairs else "pair", "label")
    found = NextLabels("t", "e", 1, "margin", table, None, 0, len(texts), columns=names)
    place = found.save(tmp_path_factory.mktemp("next") / f"next{ending}")
    sample = load_pool(str(place), n_classes=2)
    assert list(sample.pool.texts) == texts
    assert list(sample.pool.pairs or ()) == (list(table["pair"]) if pairs else [])


def test_labelled_files_of_every_ending_join_the_next_round(ask, frame, tmp_path):
    found = ask(frame, n=6)
    lines = found.save(tmp_path / "next.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert all(set(row) == {"text", "label", "meta"} and row["label"] == [] for row in rows)
    rows = [row | {"label": [("red", "blue")[i % 2]]} for i, row in enumerate(rows[:4])] + rows[4:]
    (tmp_path / "back.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    back = load_pool(str(tmp_path / "back.jsonl"))
    assert (len(back.train), len(back.pool), back.class_names) == (4, 2, ("blue", "red"))
    tasks = json.loads(found.save(tmp_path / "next.json").read_text("utf-8"))
    assert [task["data"]["text"] for task in tasks] == list(found.table["text"])
    with pytest.raises(UsageError, match=r"expected \.csv, \.jsonl, \.json"):
        found.save(tmp_path / "next.xlsx")


def test_a_failed_save_leaves_nothing(ask, frame, tmp_path):
    found = ask(frame, n=2)
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="cannot write"):
        found.save(tmp_path / "file" / "next.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(MissingError, match="cannot write"):
        found.save(tmp_path / "folder.csv")
    names = sorted(p.name for p in tmp_path.iterdir() if p.name != "store")
    assert names == ["file", "folder.csv"]


def test_the_answer_shows_itself(ask, frame):
    found = ask(frame, n=2)
    assert "label these 2 of 36 texts next" in repr(found)
    assert found.adequacy.sentence in found.lines()
    assert "<table" in found._repr_html_()
    assert found.about()["adequacy"]["bound"] == found.adequacy.bound


def test_a_policy_goes_by_labels_a_class():
    bands = (Band(1, "typiclust"), Band(4, "badge"), Band(None, "margin"))
    codes = np.array([0, 1, 2, 0, 1, 2])
    assert labels_a_class(codes, 3) == 2
    assert labels_a_class(np.zeros(9, np.int64), 3) == 0
    assert strategy_for(bands, codes, 3) == "badge"
    assert strategy_for(bands, codes, 12) == "typiclust"
    assert strategy_for(bands, np.zeros(99, np.int64), 2) == "typiclust"
    assert strategy_for(bands, np.tile(codes, 2), 3) == "margin"


def test_the_shipped_policy_can_be_followed():
    bands = shipped_bands()
    assert bands[-1].below is None
    ends = [band.below for band in bands[:-1]]
    assert ends == sorted(ends)
    assert {band.strategy for band in bands} <= set(STRATEGIES)
    assert bands[0].strategy not in BY_HEAD, "there may be no label yet"


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8])
def test_whole_numbers_of_numpy_are_whole_numbers(ask, frame, kind):
    found = ask(frame, n=kind(2), seed=kind(1), layer=kind(1), strategy="margin")
    assert found.table.equals(ask(frame, n=2, seed=1, layer=1, strategy="margin").table)
    with pytest.raises(UsageError, match="whole numbers"):
        ask(frame, n=2.5)
