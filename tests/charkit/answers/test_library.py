"""The library of known tasks: small on disk, the same after reading, closed to other things."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from known_tasks import make_embedding

from charkit.answers.similarity.library import (
    Library,
    LibraryEntry,
    coded,
    decoded,
    load_library,
    write_library,
)
from charkit.errors import DataError, MissingError, UsageError
from charkit.fisher import pairwise


def entries(n=128, **facts):
    return [
        LibraryEntry(
            f"task{k}", f"corpus{k // 2}", n, 0,
            make_embedding(f"task{k}", corpus=k // 2, seed=k, n=n, **facts),
            domain="reviews", accuracy=0.5 + k / 20 if k else None,
        )
        for k in range(6)
    ]  # fmt: skip


def canonical(embedding):
    return {k: "nan" if v != v else v for k, v in embedding.facts().items()}


@pytest.fixture
def written(tmp_path):
    return write_library(tmp_path / "known", [*entries(64), *entries(128)])


def test_a_library_comes_back(written):
    found = load_library(written.with_suffix(""))
    assert found.name == "known"
    assert found.sizes == (64, 128)
    assert found.tasks == tuple(f"task{k}" for k in range(6))
    assert found.head_layers == (2,)
    assert len(found.to_pandas()) == 12
    for ours, theirs in zip([*entries(64), *entries(128)], found.entries, strict=True):
        assert ours.row() == theirs.row()
        assert canonical(ours.embedding) == canonical(theirs.embedding)
        logs = np.log(theirs.embedding.values) - np.log(ours.embedding.values)
        assert np.abs(logs).max() <= found.log_error["largest"] + 1e-5
        assert found.log_error["largest"] < 0.02


def test_distances_survive_the_bytes(written):
    found = load_library(written)
    ours = pairwise([e.embedding for e in entries(128)], metric="log_ratio")
    theirs = pairwise([e.embedding for e in found.entries if e.n == 128], metric="log_ratio")
    np.testing.assert_allclose(theirs, ours, atol=2e-3)


def test_codes_keep_noughts_and_ranges():
    values = np.array([0.0, 1e-30, *np.geomspace(0.01, 1e3, 118)])
    embedding = replace(make_embedding(), values=values)
    codes, scale = coded(embedding)
    assert codes.dtype == np.uint8
    back = decoded(codes, scale, embedding.slices)
    assert back[:2].tolist() == [0, 0]
    kept = values > 1e-6 * values.mean()
    assert kept.sum() == 118
    for part in embedding.slices:
        place = slice(part.start, part.stop)
        logs = np.log(values[place][kept[place]])
        error = np.abs(np.log(back[place][kept[place]]) - logs)
        assert error.max() <= 0.51 * (logs.max() - logs.min()) / 254


def test_equal_numbers_have_a_code():
    embedding = replace(make_embedding(), values=np.full(120, 0.25))
    codes, scale = coded(embedding)
    np.testing.assert_allclose(decoded(codes, scale, embedding.slices), 0.25, rtol=1e-6)


def test_the_same_entries_give_the_same_bytes(tmp_path, written):
    again = write_library(tmp_path / "again" / "known", [*entries(64), *entries(128)])
    for end in (".json", ".safetensors"):
        assert again.with_suffix(end).read_bytes() == written.with_suffix(end).read_bytes()


def test_several_head_layers_and_layers_share_a_file(tmp_path):
    shallow = [
        replace(e, embedding=replace(e.embedding.select(layers=(1,)), head_layer=1))
        for e in entries()
    ]
    found = load_library(write_library(tmp_path / "both.json", [*entries(), *shallow]))
    assert found.head_layers == (1, 2)
    near = found.matching(make_embedding(head_layer=1).select(layers=(1,)), n=128)
    assert {len(e.embedding) for e in near} == {60}


def test_a_library_cuts_itself_to_the_layers_asked_for(written):
    found = load_library(written)
    cut = found.matching(make_embedding().select(layers=(2,), parts=("query",)), n=64)
    assert len(cut) == 6
    assert {e.embedding.layers for e in cut} == {(2,)}
    assert {len(e.embedding) for e in cut} == {20}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_fingerprint": "e" * 24}, "encoder_fingerprint"),
        ({"pooling": "cls"}, "pooling"),
        ({"estimand": "empirical_fisher"}, "estimand"),
        ({"head_layer": 1}, "no such head layer"),
    ],
)
def test_other_embeddings_are_refused(written, change, message):
    with pytest.raises(UsageError, match=message):
        load_library(written).matching(make_embedding(**change))


def test_other_layers_and_sizes_are_refused(written):
    other = make_embedding()
    moved = replace(other, slices=tuple(replace(s, layer=s.layer + 3) for s in other.slices))
    with pytest.raises(UsageError, match="no such layers"):
        load_library(written).matching(moved)
    with pytest.raises(UsageError, match="no such size"):
        load_library(written).matching(other, n=100)


def test_mixed_entries_are_refused():
    with pytest.raises(UsageError, match="does not fit together"):
        Library("mixed", (*entries(), *entries(pooling="cls")))
    with pytest.raises(UsageError, match="empty"):
        Library("none", ())


def test_the_nearest_size_is_nearest_in_ratio(written):
    found = load_library(written)
    assert [found.near_size(n) for n in (2, 64, 90, 91, 5000)] == [64, 64, 64, 128, 128]


def test_changed_numbers_are_refused(written):
    numbers = written.with_suffix(".safetensors")
    whole = bytearray(numbers.read_bytes())
    whole[-1] ^= 1
    numbers.write_bytes(whole)
    with pytest.raises(DataError, match="was changed"):
        load_library(written)


def test_changed_facts_are_refused(written):
    whole = json.loads(written.read_text())
    whole["entries"][0]["accuracy"] = 0.99
    written.write_text(json.dumps(whole))
    with pytest.raises(DataError, match="was changed"):
        load_library(written)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": "charkit.embedding_library.9"}', "{}"])
def test_other_files_are_refused(written, text):
    written.write_text(text)
    with pytest.raises(DataError, match=r"damaged|no library"):
        load_library(written)


def test_a_library_that_is_not_there(tmp_path):
    with pytest.raises(MissingError, match="no library of known tasks"):
        load_library(tmp_path / "none")
