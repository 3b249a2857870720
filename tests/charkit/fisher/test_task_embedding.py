"""TaskEmbedding: slices, norms, arithmetic, files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from charkit.errors import DataError, MissingError, UsageError
from charkit.fisher import (
    FisherOptions,
    fisher_embedding,
    load_embedding,
    merge_embeddings,
    save_embedding,
)

PARTS = ("query", "ffn_in", "layer_norm")


@pytest.fixture(scope="module")
def embed(family_encoder, make_split, random_head):
    def make(n=30, *, seed=0, head=None, **options):
        split = make_split(n, seed=seed)
        facts = {"parts": PARTS, "keep_rows": True} | options
        return fisher_embedding(
            family_encoder("bert", dtype="float32"),
            split,
            head or random_head(),
            options=FisherOptions(**facts),
            name=f"task{seed}",
        )

    return make


def test_slices_have_names(embed):
    found = embed()
    assert found.layers == (1, 2, 3)
    assert found.parts == PARTS
    sizes = {"query": 32, "ffn_in": 64, "layer_norm": 64}
    assert [(s.layer, s.part, s.size) for s in found.slices] == [
        (k, p, sizes[p]) for k in (1, 2, 3) for p in PARTS
    ]
    assert len(found) == 3 * 160
    assert "task0" in repr(found)
    assert "30 texts" in repr(found)


def test_select_takes_what_is_named(embed):
    found = embed()
    some = found.select(layers=(1, 3), parts=("ffn_in",))
    table = found.to_pandas()
    chosen = table[table.layer.isin([1, 3]) & (table.part == "ffn_in")]
    np.testing.assert_array_equal(some.values, chosen.value)
    np.testing.assert_array_equal(some.standard_error, chosen.standard_error)
    np.testing.assert_array_equal(some.rows, found.rows[:, chosen.index])
    assert [(s.layer, s.start, s.stop) for s in some.slices] == [(1, 0, 64), (3, 64, 128)]
    with pytest.raises(UsageError, match="no such layers"):
        found.select(layers=(4,))
    with pytest.raises(UsageError, match="no such parts"):
        found.select(parts=("value",))


def test_selecting_equals_embedding_only_that(embed):
    some = embed(parts=("ffn_in",), layers=(2, 3))
    whole = embed().select(parts=("ffn_in",), layers=(2, 3))
    assert some.slices == whole.slices
    np.testing.assert_allclose(some.values, whole.values, rtol=1e-6)


def test_table_names_every_number(embed):
    found = embed()
    table = found.to_pandas()
    assert list(table.columns) == ["layer", "part", "row", "value", "standard_error"]
    assert not table.duplicated(["layer", "part", "row"]).any()
    assert table[(table.layer == 2) & (table.part == "ffn_in")].row.tolist() == list(range(64))
    np.testing.assert_array_equal(table.value, found.values)


def test_norms(embed):
    found = embed()
    norms, table = found.norms(), found.to_pandas()
    for layer in (1, 2, 3):
        values = table[table.layer == layer].value
        assert norms.loc[layer, "l1"] == pytest.approx(values.sum())
        assert norms.loc[layer, "l2"] == pytest.approx(np.sqrt((values**2).sum()))
    assert norms.loc["all", "l2"] == pytest.approx(np.linalg.norm(found.values))
    assert (norms.l2_corrected < norms.l2).all()
    assert norms.loc["all", "size"] == len(found)
    assert "layer" in found._repr_html_()


def synthetic(embed, values, spread, n, rng):
    """An embedding whose rows are drawn around known values."""
    base = embed(5)
    rows = values + spread * rng.standard_normal((n, len(values)))
    error = rows.std(0, ddof=1) / np.sqrt(n)
    return replace(base, values=rows.mean(0), standard_error=error, rows=rows, n_samples=n)


def test_corrected_norms_are_unbiased_in_the_square(embed):
    """Over 100 samples of 8 texts, at level 1e-4."""
    rng = np.random.default_rng(0)
    truth = rng.random(480)
    square = truth @ truth
    plain, corrected = [], []
    for _ in range(100):
        norms = synthetic(embed, truth, 2.0, 8, rng).norms().loc["all"]
        plain.append(norms.l2**2)
        corrected.append(norms.l2_corrected**2)
    error = np.std(corrected) / 10
    assert abs(np.mean(corrected) - square) < 3.9 * error
    assert np.mean(plain) - square > 10 * error


def test_intervals_hold_the_norm(embed):
    """90 % intervals of a norm whose noise is small next to it: 80 of 100 samples at least."""
    rng = np.random.default_rng(1)
    truth = 1 + rng.random(480)
    inside = 0
    for seed in range(100):
        found = synthetic(embed, truth, 3.0, 40, rng)
        table = found.norm_intervals(n_resamples=64, seed=seed)
        noise = np.sqrt(truth @ truth + 480 * 9 / 40)  # what such a sample's norm is about
        inside += table.loc["all", "low"] <= noise <= table.loc["all", "high"]
    assert inside >= 80


def test_intervals_repeat_and_shrink(embed):
    small, large = embed(10), embed(80)
    one, two = (small.norm_intervals(n_resamples=100, seed=4) for _ in range(2))
    assert one.equals(two)
    assert ((one.low <= one.l2) & (one.l2 <= one.high)).all()
    wide = (one.high - one.low) / one.l2
    table = large.norm_intervals(n_resamples=100)
    assert ((table.high - table.low) / table.l2).loc["all"] < wide.loc["all"]
    with pytest.raises(UsageError, match="keep_rows"):
        embed(keep_rows=False).norm_intervals()
    with pytest.raises(UsageError, match="n_resamples"):
        small.norm_intervals(n_resamples=1)


def test_subsets_equal_embeddings_of_the_subset(embed, family_encoder, make_split, random_head):
    whole = embed(20)
    rows = [3, 4, 11, 19]
    part = fisher_embedding(
        family_encoder("bert", dtype="float32"),
        make_split(20).take(rows),
        random_head(),
        options=FisherOptions(parts=PARTS),
    )
    subset = whole.subset(rows)
    np.testing.assert_allclose(subset.values, part.values, rtol=2e-4, atol=part.values.max() * 1e-6)
    np.testing.assert_allclose(
        subset.standard_error, part.standard_error, rtol=2e-3, atol=part.values.max() * 1e-6
    )
    assert subset.n_samples == 4
    with pytest.raises(UsageError, match="keep_rows"):
        embed(keep_rows=False).subset([0])


def test_merged_halves_are_the_whole(embed):
    whole = embed(20)
    halves = [whole.subset(range(7)), whole.subset(range(7, 19)), whole.subset([19])]
    merged = merge_embeddings(halves, name="both")
    np.testing.assert_allclose(merged.values, whole.values, rtol=1e-6)
    assert merged.n_samples == 20
    assert merged.rows.shape == whole.rows.shape
    two = merge_embeddings(halves[:2])
    expected = whole.subset(range(19)).standard_error
    np.testing.assert_allclose(two.standard_error, expected, rtol=1e-6)
    with pytest.raises(UsageError, match="nothing"):
        merge_embeddings([])


def test_heads_that_differ_do_not_merge(embed, random_head):
    with pytest.raises(UsageError, match="one head"):
        merge_embeddings([embed(), embed(head=random_head(seed=5))])


def test_arithmetic(embed):
    one, two = embed(seed=0), embed(seed=1)
    both = one + two
    np.testing.assert_allclose(both.values, one.values + two.values)
    np.testing.assert_allclose((both - two).values, one.values)
    np.testing.assert_allclose((2 * one).values, (one / 0.5).values)
    np.testing.assert_allclose((one * 2).standard_error, 2 * one.standard_error)
    assert both.n_samples == 60
    assert both.name == "(task0 + task1)"
    with pytest.raises(UsageError, match="by a number"):
        one * two
    with pytest.raises(UsageError, match="other than 0"):
        one / 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder_fingerprint": "other"}, "encoder_fingerprint"),
        ({"estimand": "empirical_fisher"}, "estimand"),
        ({"head_layer": 2}, "head_layer"),
        ({"pooling": "cls"}, "pooling"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, said, embed):
    one = embed()
    with pytest.raises(UsageError, match=said):
        one + replace(one, **change)
    with pytest.raises(UsageError, match="slices"):
        one + one.select(layers=(1,))


@pytest.mark.parametrize("keep_rows", [False, True])
def test_files_bring_everything_back(keep_rows, embed, tmp_path):
    found = embed(keep_rows=keep_rows)
    path = save_embedding(found, tmp_path / "task.safetensors")
    again = load_embedding(path)
    assert again.facts() == found.facts()
    assert again.slices == found.slices
    for name in ("values", "standard_error"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert (again.rows is None) == (not keep_rows)
    if keep_rows:
        np.testing.assert_array_equal(again.rows, found.rows)
    assert path.read_bytes() == save_embedding(again, tmp_path / "again").read_bytes()


def test_one_text_has_no_error_and_still_travels(embed, tmp_path):
    found = embed(1)
    assert np.isnan(found.standard_error).all()
    again = load_embedding(save_embedding(found, tmp_path / "one"))
    assert np.isnan(again.standard_error).all()
    assert np.isnan(found.norms().l2_corrected).all()


def test_damaged_files_are_named(embed, tmp_path):
    from safetensors.numpy import save_file

    with pytest.raises(MissingError, match="no embedding"):
        load_embedding(tmp_path / "absent")
    path = save_embedding(embed(), tmp_path / "task")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="damaged"):
        load_embedding(path)
    save_file({"values": np.zeros(3)}, tmp_path / "other")
    with pytest.raises(DataError, match="no embedding"):
        load_embedding(tmp_path / "other")


def test_arrays_are_frozen(embed):
    found = embed()
    with pytest.raises(ValueError, match="read-only"):
        found.values[0] = 1
    with pytest.raises(DataError, match="damaged"):
        replace(found, values=found.values[1:])
