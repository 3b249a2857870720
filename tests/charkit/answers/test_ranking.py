"""Ranking a library: siblings first, what is far from all is called so, draws count once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from known_tasks import make_embedding

from charkit.answers.similarity.collect import TaskRecord
from charkit.answers.similarity.library import Library, LibraryEntry
from charkit.answers.similarity.nearest import rank_library
from charkit.errors import UsageError


def known(n_corpora=8, seeds=(0, 1), n=128):
    found = []
    for corpus in range(n_corpora):
        for seed in seeds:
            scale = 1 + corpus
            embedding = make_embedding(f"t{corpus}", corpus=corpus, seed=seed, scale=scale)
            accuracy = 0.95 - corpus / 20
            found.append(LibraryEntry(f"t{corpus}", f"c{corpus}", n, seed, embedding, "", accuracy))
    return Library("made", tuple(found))


def new(**facts):
    return TaskRecord("mine", "mine.csv", "mine", make_embedding("mine", **facts))


def test_siblings_come_first_and_draws_count_once():
    answer = rank_library(new(corpus=3, seed=9), known(), size=128)
    assert answer.table["task"].iloc[0] == "t3"
    assert len(answer.table) == 8
    assert answer.table["distance"].is_monotonic_increasing
    assert not answer.outside
    assert not answer.same
    assert "known ground" in "\n".join(answer.lines())


def test_what_is_far_from_all_is_outside():
    alike = tuple(
        replace(e, embedding=make_embedding(e.task, corpus=0, seed=10 * k))
        for k, e in enumerate(known().entries)
    )
    noise = np.random.default_rng(9).normal(0, 3, 120)
    far = replace(make_embedding(), values=np.exp(noise))
    gathered = TaskRecord("far", "far.csv", "far", far)
    answer = rank_library(gathered, Library("alike", alike), size=128, metric="aitchison")
    assert answer.distance > answer.usual.max()
    assert answer.outside
    assert answer.about()["outside"] is True
    assert "outside the known" in "\n".join(answer.lines())


def test_the_percentile_is_the_share_of_smaller_norms():
    top = rank_library(new(corpus=3, scale=100), known(), size=128)
    low = rank_library(new(corpus=3, scale=1e-3), known(), size=128)
    assert (top.norm_percentile, low.norm_percentile) == (1, 0)
    shares = top.table.set_index("task")["norm_percentile"]
    assert sorted(shares) == [k / 8 for k in range(8)]


def test_norm_and_accuracy_need_enough_tasks():
    assert np.isnan(rank_library(new(), known(), size=128).norm_and_accuracy)
    many = rank_library(new(), known(12, (0,)), size=128)
    assert -1 <= many.norm_and_accuracy <= 1
    assert "rank correlation" in "\n".join(many.lines())


def test_the_same_sample_is_told():
    library = known()
    held = library.entries[4]
    gathered = TaskRecord("copy", "copy", "copy", held.embedding)
    alone = Library("one draw", tuple(e for e in library.entries if e.seed == 0))
    assert rank_library(gathered, alone, size=128).same == (held.task,)
    assert "the same task as t2" in "\n".join(rank_library(gathered, alone, size=128).lines())


def test_another_size_is_doubted():
    assert "doubt" not in "\n".join(rank_library(new(), known(), size=128).lines())
    assert "doubt: 30 texts" in "\n".join(rank_library(new(n=30), known(), size=128).lines())


def test_missing_accuracies_stay_missing():
    bare = tuple(replace(e, accuracy=None) for e in known().entries)
    answer = rank_library(new(), Library("bare", bare), size=128)
    assert answer.table["accuracy"].isna().all()
    assert np.isnan(answer.norm_and_accuracy)


def test_a_library_of_one_corpus_tells_nothing():
    with pytest.raises(UsageError, match="two corpora or more"):
        rank_library(new(), known(1, (0, 1, 2)), size=128)


def test_html_is_escaped():
    answer = rank_library(replace(new(), name="<b>"), known(), size=128)
    assert "&lt;b&gt;" in answer._repr_html_()
    assert "<b>:" not in answer._repr_html_()
    assert "mine" not in repr(answer)
