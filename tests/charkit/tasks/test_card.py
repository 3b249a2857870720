"""What is known of a task without its texts, and when it is found again."""

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import charkit
from charkit.store.store import Store
from charkit.tasks.card import LazyTask, SourceOptions, TaskCard
from charkit.tasks.task import Split, Task


def task_of(lengths):
    texts = tuple("x" * n for n in lengths)
    labels = np.arange(len(texts)) % 2
    return Task("t", "classification", Split(texts, None, labels), class_names=("a", "b"))


@given(st.lists(st.integers(1, 5_000), min_size=1), st.integers(0, 12))
def test_characters_of_cut_texts_are_counted_up_to_what_is_kept(lengths, power):
    card = TaskCard.of(task_of(lengths))
    longest = 2**power - 1
    assert card.chars_within(longest) == sum(min(n, longest) for n in lengths)
    assert card.n_chars == card.chars_within(10**9) == sum(lengths)
    between = card.chars_within(longest + longest // 3)
    assert sum(min(n, longest) for n in lengths) <= between <= sum(lengths)


def test_a_card_is_described_with_the_metric_asked_for():
    card = TaskCard.of(task_of([5, 6, 7, 8]))
    assert card.described() == list(card.description)
    assert card.described("macro_f1")[0].endswith("metric macro_f1")
    assert card.described("macro_f1")[1:] == list(card.description[1:])


def test_a_card_is_found_again_as_it_was(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(20)))
    store = Store(tmp_path / "store")
    first, again = (LazyTask(str(path), store).card for _ in range(2))
    assert first == again


def test_a_link_keeps_its_own_name(tmp_path):
    rows = "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "real.csv").write_text(f"text,label\n{rows}")
    for name in ("alpha.csv", "beta.csv"):
        try:
            os.symlink(tmp_path / "real.csv", tmp_path / name)
        except OSError:
            pytest.skip("links are not allowed here")
    store = Store(tmp_path / "store")
    assert [LazyTask(str(tmp_path / f"{n}.csv"), store).card.name for n in ("alpha", "beta")] == [
        "alpha",
        "beta",
    ]


@pytest.fixture
def rows():
    texts = [f"the {w} is {g} number {i}" for i in range(8) for w in "ab" for g in ("good", "bad")]
    labels = [None if i % 5 == 0 else "yes no".split()[i % 2] for i in range(len(texts))]
    return pd.DataFrame({"text": texts, "label": labels})


def test_the_same_rows_have_one_key_whatever_holds_them(rows, tiny_bert, tmp_path, tmp_store):
    import datasets

    rows.to_csv(tmp_path / "one.csv", index=False)
    rows.to_json(tmp_path / "two.jsonl", orient="records", lines=True)
    rows.to_parquet(tmp_path / "three.parquet")
    sources = [str(tmp_path / n) for n in ("one.csv", "two.jsonl", "three.parquet")]
    sources += [rows, datasets.Dataset.from_pandas(rows), rows.to_dict("records")]
    options = {"encoder": str(tiny_bert), "store": tmp_store}
    grid = {"sizes": [8], "seeds": [0], "controls": []}
    results = [charkit.sweep(source, **options, **grid) for source in sources]
    assert len({tuple(job.key for job in r.jobs) for r in results}) == 1
    assert [r.n_jobs_found for r in results] == [0, 1, 1, 1, 1, 1]
    names = ["one", "two", "three", "dataframe", "dataframe", "dataframe"]
    assert [set(r.table["task"]) for r in results] == [{name} for name in names]
    assert len({r.table["accuracy"].to_numpy().tobytes() for r in results}) == 1
    assert any("have no label: left out" in line for line in results[0].cards[0].description)
    embedded = [charkit.embed(s, encoder=str(tiny_bert), store=tmp_store) for s in sources[2:4]]
    assert [e.found for e in embedded] == [False, True]


def test_options_with_names_of_any_type_have_a_key():
    assert SourceOptions(text=np.int64(3), label=("a", 1)) == SourceOptions(
        text="3", label="('a', 1)"
    )
