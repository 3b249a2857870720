"""The study of embeddings on generated tasks under a tiny encoder, and the shipped library."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import glue_pilot
from charkit.answers.similarity.library import SHIPPED, load_library
from charkit.encoders import load_encoder
from charkit.errors import MissingError, UnknownNameError, UsageError
from charkit.fisher import pairwise
from charkit.store.store import Store
from glue_pilot.config import read_toml
from glue_pilot.experiments.base import Workspace
from glue_pilot.experiments.siblings import EXPERIMENT, SiblingSettings
from glue_pilot.matrices import build_library, write_norms
from glue_pilot.relabelled import labellings
from glue_pilot.samples import (
    EmbeddingStudy,
    draw_sample,
    embed_sample,
    embed_study,
    load_known_tasks,
)

FOLDER = Path(glue_pilot.__file__).parent
TINY = EmbeddingStudy(
    name="tiny",
    encoder="tiny",
    sizes=(16, 24),
    draws=(2, 2),
    all_heads_up_to=16,
    max_length=16,
    n_eval=20,
    tasks=(
        "generated/sentiment?n_train=60&n_eval=20",
        "generated/sentiment?n_train=60&n_eval=20&seed=1",
        "generated/topic?n_train=60&n_eval=20",
        "generated/topic?n_train=60&n_eval=20&seed=1",
        "generated/acceptability?n_train=60&n_eval=20",
        "generated/similarity?n_train=60&n_eval=20",
    ),
)


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return load_encoder(str(tiny_bert))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("embeddings") / "store")


@pytest.fixture(scope="module")
def known():
    return load_known_tasks(TINY.tasks, None)


@pytest.fixture(scope="module")
def samples(encoder, store, known):
    return list(embed_study(TINY, known, encoder, store=store))


@pytest.mark.parametrize("name", ["embeddings.toml", "embeddings_smoke.toml"])
def test_shipped_studies_can_be_read(name):
    study = read_toml(FOLDER / name, EmbeddingStudy)
    assert len(study.sizes) == len(study.draws)
    assert study.encoder == "minilm"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("name = 'x'", UsageError, "expected the keys"),
        ("sizes = 3", UsageError, "expected a list of int"),
        ("size = [3]", UnknownNameError, "sizes"),
        ("name = [", Exception, "not TOML"),
    ],
)
def test_wrong_studies_are_refused(tmp_path, text, error, message):
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_toml(path, EmbeddingStudy)


def test_a_study_of_a_folder_needs_its_manifest(tmp_path):
    with pytest.raises(MissingError, match="MANIFEST"):
        load_known_tasks((), tmp_path)


def test_draws_share_no_text_and_end_where_texts_do(known):
    task = known[2].task
    one, other = (draw_sample(task, n=30, draw=d, n_eval=10) for d in range(2))
    assert not set(one.train.texts) & set(other.train.texts)
    assert len(one.evaluation) == 10
    assert draw_sample(task, n=31, draw=1, n_eval=10) is None
    assert len(draw_sample(task, n=1000, draw=0, n_eval=10).train) == 60


def test_small_samples_have_all_heads_and_large_ones_the_last(samples, encoder):
    assert len(samples) == 2 * 2 * len(TINY.tasks)
    for sample in samples:
        heads = tuple(sample.embeddings)
        assert heads == ((1, 2) if sample.n == 16 else (encoder.n_layers,))
        assert all(-1 <= score <= 1 for score in sample.scores.values())


def test_a_second_run_reads_the_store(samples, encoder, store, known, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr("charkit.answers.embedding.cache.fisher_embeddings", refuse)
    again = list(embed_study(TINY, known, encoder, store=store))
    for one, other in zip(samples, again, strict=True):
        for head, embedding in one.embeddings.items():
            np.testing.assert_array_equal(embedding.values, other.embeddings[head].values)


def test_norms_are_written_one_row_a_head_and_layer(samples, tmp_path):
    table = write_norms(samples, tmp_path, name="tiny")
    pd.testing.assert_frame_equal(table, pd.read_parquet(tmp_path / "tiny.parquet"))
    first = table[(table["n"] == 16) & (table["draw"] == 0) & (table["head_layer"] == 2)]
    assert set(first["layer"]) == {0, 1, 2}
    squares = first.pivot(index="task", columns="layer", values="l2") ** 2
    np.testing.assert_allclose(squares[0], squares[1] + squares[2], rtol=1e-9)
    assert first["accuracy"].isna().sum() == (first["kind"] == "regression").sum()


def test_library_has_the_first_draws_under_the_last_head(samples, tmp_path):
    build_library(samples, TINY, tmp_path / "tiny")
    library = load_library(tmp_path / "tiny")
    assert library.sizes == TINY.sizes
    assert library.head_layers == (2,)
    assert len(library.entries) == 2 * len(TINY.tasks)


def test_labellings_of_the_same_texts_are_balanced_and_unrelated(known):
    found = labellings(known[2].task)
    assert set(found) >= {"own", "length"}
    if "half A" in found:
        a, b = found["half A"][0], found["half B"][0]
        table = np.bincount(2 * a + b, minlength=4) / len(a)
        assert table.min() > 0.1


def test_siblings_are_compared_by_every_distance(tiny_bert, store):
    names = {f.name for f in fields(SiblingSettings)}
    given = {k: v for k, v in asdict(TINY).items() if k in names}
    topic = "generated/topic?n_train=60&n_eval=20"
    settings = SiblingSettings(
        **given | {"encoder": str(tiny_bert)}, relabelled=(topic,), relabelled_sizes=(16, 20)
    )
    found = EXPERIMENT.run(settings, Workspace(store))
    parts = {"siblings", "paired", "draws", "relabelled", "slopes", "sizes", "chance"}
    assert set(found.table["part"]) == parts
    assert set(found.figures) == {"", "layers", "relabelled"}
    assert "nan" not in found.text.lower()
    texts = found.table[(found.table["part"] == "relabelled") & (found.table["family"] == "text")]
    assert (texts["same_texts"] == 0).all()
    assert (texts["other_texts"] == 0.5).all()
    ndcg = found.table.loc[found.table["part"] == "siblings", "ndcg"].dropna()
    assert ndcg.between(0, 1 + 1e-9).all()


# -- what is shipped --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    return load_library("minilm")


def test_the_shipped_library_is_complete_and_small(shipped):
    files = [SHIPPED / f"minilm{ending}" for ending in (".safetensors", ".json")]
    assert sum(path.stat().st_size for path in files) < 4_000_000
    table = shipped.to_pandas()
    assert table["task"].nunique() == 41
    assert (table.groupby("n")["task"].nunique() == 41).all()
    assert (table["classes"].eq(0) == table["kind"].eq("regression")).all()
    assert table.loc[table["kind"] == "classification", "accuracy"].between(0, 1).all()
    assert table["corpus"].nunique() == 38


def known_embeddings(library, n):
    """Return the embeddings of one size under the last head."""
    head = library.head_layers[-1]
    return [e.embedding for e in library.entries if (e.n, e.embedding.head_layer) == (n, head)]


def test_the_shipped_library_ranks_siblings_first(shipped):
    table = pairwise(known_embeddings(shipped, shipped.sizes[-1]), metric="log_ratio")
    row = table.loc["mr"].drop("mr")
    assert set(row.nsmallest(3).index) & {"sst5", "glue_sst2"}


@pytest.mark.realdata
@pytest.mark.bundled
def test_a_real_task_finds_itself_in_the_shipped_library(
    shipped, shared_data, bundled_encoder, store
):
    study = replace(read_toml(FOLDER / "embeddings.toml", EmbeddingStudy), n_eval=50)
    entry = next(k for k in load_known_tasks((), shared_data) if k.task.name == "trec6")
    task = draw_sample(entry.task, n=128, draw=1, n_eval=50)
    sample = embed_sample(study, entry, task, 128, 1, load_encoder(bundled_encoder), store)
    known = known_embeddings(shipped, 128)
    mine = sample.embeddings[6]
    assert (mine.slices, mine.encoder_fingerprint) == (
        known[0].slices,
        known[0].encoder_fingerprint,
    )
    table = pairwise([replace(mine, name="mine"), *known], metric="log_ratio", reference=known)
    assert table.loc["mine"].drop("mine").idxmin() == "trec6"
