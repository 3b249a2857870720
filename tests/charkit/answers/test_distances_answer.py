"""compare_tasks: the matrix, the choice of the distance, and one bad task among good ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from known_tasks import make_embedding

from charkit.answers.similarity import compare as reference
from charkit.answers.similarity.collect import Sampling, format_layers, gather
from charkit.answers.similarity.compare import UNITS, choose_measure, compare_tasks
from charkit.answers.similarity.library import LibraryEntry, write_library
from charkit.answers.similarity.nearest import nearest_tasks
from charkit.errors import CellsFailedError, MissingError, UnknownNameError, UsageError
from charkit.fisher import DISTANCES, pairwise, save_embedding
from charkit.fisher.distances.intervals import corrected_pairwise


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    from charkit.encoders import load_encoder

    return load_encoder(str(tiny_bert), device="cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    from charkit.store.store import Store

    return Store(tmp_path_factory.mktemp("store"))


TASKS = ("generated/acceptability", "generated/sentiment", "generated/topic")


def three(**facts):
    return [make_embedding(f"t{k}", corpus=k, seed=k, **facts) for k in range(3)]


def test_tasks_are_embedded_once_and_compared(encoder, store):
    answer = compare_tasks(TASKS, encoder=encoder, n=24, store=store)
    assert answer.metric == "log_ratio"
    assert answer.layers == (1, 2)
    assert list(answer.matrix.index) == list(answer.matrix.columns)
    assert {t.embedding.n_samples for t in answer.tasks} == {24}
    expected = pairwise([t.embedding for t in answer.tasks], metric="log_ratio")
    pd.testing.assert_frame_equal(answer.matrix, expected)
    kept = {e.key for e in store.entries(["fisher"])}
    again = compare_tasks(TASKS, encoder=encoder, n=24, store=store, metric="cosine")
    assert {e.key for e in store.entries(["fisher"])} == kept
    assert again.metric == "cosine"
    assert set(answer.order) == set(answer.matrix.index)


def test_a_small_task_gives_all_it_has(encoder, store):
    small = [f"{task}?n_train=40&n_eval=20" for task in TASKS[:2]]
    answer = compare_tasks(small, encoder=encoder, n=10**6, layers=(2,), store=store)
    assert {t.embedding.n_samples for t in answer.tasks} == {40}
    assert answer.layers == (2,)
    assert answer.metric == "cosine"
    assert "two tasks have no mean" in "\n".join(answer.lines())


def test_files_tasks_and_embeddings_mix(encoder, store, tmp_path):
    (first, *_), _ = gather([TASKS[0]], sampling=Sampling(encoder=encoder, n=24), store=store)
    path = save_embedding(first.embedding, tmp_path / "saved.safetensors")
    answer = compare_tasks([path, TASKS[1], first.embedding], encoder=encoder, n=24, store=store)
    assert list(answer.matrix.index) == [
        first.name,
        TASKS[1].replace("/", "_"),
        f"{first.name} (2)",
    ]
    assert answer.matrix.iloc[0, 2] == pytest.approx(0, abs=1e-12)


def test_saved_embeddings_need_no_encoder(tmp_path):
    paths = [save_embedding(e, tmp_path / f"{e.name}.safetensors") for e in three()]
    answer = compare_tasks(paths, encoder="no such encoder", layers=(2,))
    assert answer.layers == (2,)
    assert answer.matrix.shape == (3, 3)


def test_one_bad_task_does_not_lose_the_others(tmp_path):
    good = three()
    odd = make_embedding("odd", pooling="cls")
    with pytest.raises(CellsFailedError, match=r"2 of 5 tasks failed .* were compared") as caught:
        compare_tasks([odd, *good, tmp_path / "gone.safetensors"])
    answer = caught.value.partial
    assert list(answer.matrix.index) == ["t0", "t1", "t2"]
    assert [f.source for f in answer.failures] == [str(tmp_path / "gone.safetensors"), "odd"]
    assert sum(line.startswith("left out") for line in answer.lines()) == 2
    assert "pooling" in answer.about()["failures"][1]["message"]


def test_nothing_left_to_compare(tmp_path):
    with pytest.raises(CellsFailedError, match="nothing could be compared") as caught:
        compare_tasks([make_embedding("a"), tmp_path / "gone.safetensors"])
    assert caught.value.partial is None
    assert caught.value.exit_code == MissingError.exit_code


def test_bad_arguments():
    with pytest.raises(UsageError, match="one task has no distance"):
        compare_tasks([make_embedding()])
    with pytest.raises(UnknownNameError, match="cosine"):
        compare_tasks(three(), metric="cosin")
    with pytest.raises(UsageError, match="n out of range"):
        compare_tasks(three(), n=1)
    with pytest.raises(UsageError, match="log_ratio needs a reference"):
        compare_tasks(three()[:2], metric="log_ratio")


def test_noise_can_be_taken_off(encoder, store):
    answer = compare_tasks(TASKS, encoder=encoder, n=24, store=store, metric="jsd", corrected=True)
    assert answer.corrected
    kept = [t.embedding for t in answer.tasks]
    pd.testing.assert_frame_equal(answer.matrix, corrected_pairwise(kept, metric="jsd"))
    assert "less sampling noise" in "\n".join(answer.lines())
    with pytest.raises(UsageError, match="correlation cannot be corrected"):
        compare_tasks(TASKS, encoder=encoder, metric="correlation", corrected=True)
    with pytest.raises(UsageError, match="expected keep_rows=True"):
        compare_tasks(three(), corrected=True)


def test_every_distance_has_a_unit():
    assert set(UNITS) == set(DISTANCES)


def test_the_shipped_library_is_the_centre(tmp_path, monkeypatch):
    entries = [
        LibraryEntry(f"k{k}", f"c{k}", n, 0, make_embedding(f"k{k}", corpus=9 + k, n=n))
        for k in range(4)
        for n in (32, 128)
    ]
    path = write_library(tmp_path / "tiny", entries)
    monkeypatch.setattr("charkit.answers.similarity.library.SHIPPED", tmp_path)
    for embeddings in (three(), three()[:2]):
        measure = choose_measure(embeddings, None)
        assert measure.metric == "log_ratio"
        assert "library tiny (4 corpora at n = 128)" in measure.reason
        assert len(measure.reference) == 4
    assert choose_measure(three(), "jsd").reference is None
    other = choose_measure(three(encoder_fingerprint="0" * 24), None)
    assert other.reference is None
    assert "these 3 tasks" in other.reason
    elsewhere = [replace(e, head_layer=1) for e in three()]
    assert "no such head layer" in choose_measure(elsewhere, None).reason
    assert path.is_file()
    assert reference.shipped_library("0" * 24) is None


def test_different_sizes_are_doubted():
    mixed = [*three(), make_embedding("small", corpus=5, n=30)]
    assert "doubt: samples differ" in "\n".join(compare_tasks(mixed).lines())
    assert "doubt" not in "\n".join(compare_tasks(three()).lines())


def test_everything_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    answer = compare_tasks(three())
    files = {f.name for f in answer.save(tmp_path / "new")}
    kinds = [f"{kind}.{end}" for kind in ("matrix", "tree", "map") for end in ("svg", "png", "csv")]
    assert files == {"distances.csv", *kinds}
    read = pd.read_csv(tmp_path / "new" / "distances.csv", index_col="name")
    np.testing.assert_allclose(read, answer.matrix)
    with pytest.raises(UnknownNameError, match="picture"):
        answer.plot("pie")
    assert "log_ratio" in answer._repr_html_()
    assert "t0" in repr(answer)


def test_layers_in_words():
    assert [format_layers(k) for k in ((1, 2, 3), (4,), (1, 3))] == [
        "layers 1-3",
        "layer 4",
        "layers 1, 3",
    ]


def test_nearest_takes_the_librarys_size_layers_and_encoder(encoder, store, tmp_path):
    (one, *rest), _ = gather(TASKS, sampling=Sampling(encoder=encoder, n=24), store=store)
    entries = [
        LibraryEntry(g.name, g.corpus, n, 0, g.embedding) for g in (one, *rest) for n in (24, 10**6)
    ]
    path = write_library(tmp_path / "own", entries)
    answer = nearest_tasks(TASKS[0], library=path, encoder=encoder, store=store)
    assert answer.task.embedding.n_samples == 24
    assert answer.size == 24
    assert answer.table["task"].iloc[0] == one.name
    assert answer.same == (one.name,)
    some = nearest_tasks(TASKS[0], library=path, encoder=encoder, store=store, layers=(2,), n=30)
    assert some.task.embedding.layers == (2,)
    assert some.task.embedding.n_samples == 30
    assert nearest_tasks(one.embedding, library=path).distance < 5e-3
    with pytest.raises(UsageError, match="no such head layer"):
        nearest_tasks(TASKS[0], library=path, encoder=encoder, store=store, head_layer=1)
    with pytest.raises(UsageError, match="another encoder"):
        nearest_tasks(make_embedding(), library=path)
    with pytest.raises(MissingError, match="no library of known tasks for"):
        nearest_tasks(TASKS[0], encoder=encoder, store=store)
