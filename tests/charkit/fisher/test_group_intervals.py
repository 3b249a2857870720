"""Intervals from groups of texts against those from single texts, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest

from charkit.errors import UsageError
from charkit.fisher.distances.intervals import group_norm_intervals
from charkit.fisher.embedding import TaskEmbedding
from charkit.fisher.layout import Slice
from charkit.fisher.stability import products_of_rows

SLICES = (Slice(1, "query", 0, 10), Slice(1, "key", 10, 20), Slice(2, "query", 20, 40))


def made(rows, seed=0):
    return TaskEmbedding(
        values=rows.mean(0), standard_error=rows.std(0, ddof=1) / len(rows) ** 0.5,
        slices=SLICES, name="made", encoder="none", encoder_fingerprint="", head_layer=2,
        head_fingerprint="", pooling="mean", max_length=8, dtype="float64",
        kind="classification", n_classes=2, estimand="fisher", estimator="exact", n_draws=1,
        seed=seed, n_samples=len(rows), frac_truncated=0.0, text_fingerprint="", rows=rows,
        group_products=products_of_rows(rows, SLICES, seed=seed),
    )  # fmt: skip


def drawn(n, rng):
    """Numbers of n texts: a few weigh much more than the rest, as in real ones."""
    return rng.gamma(0.5, 1.0, (n, 1)) * rng.exponential(1.0, (n, 40))


@pytest.mark.parametrize("n", [150, 640])
def test_groups_tell_what_single_texts_tell(n):
    embedding = made(drawn(n, np.random.default_rng(1)))
    ours, theirs = group_norm_intervals(embedding), embedding.norm_intervals()
    assert list(ours.index) == [1, 2, "all"]
    np.testing.assert_allclose(ours["l2"], theirs["l2"])
    widths = (ours["high"] - ours["low"]) / (theirs["high"] - theirs["low"])
    assert widths.between(0.6, 1.6).all()


def test_intervals_hold_the_norm_of_many_texts():
    rng = np.random.default_rng(2)
    truth = made(drawn(40_000, rng)).norms()["l2"].to_numpy()
    held = [
        (t["low"].to_numpy() <= truth) & (truth <= t["high"].to_numpy())
        for t in (group_norm_intervals(made(drawn(200, rng)), n_resamples=300) for _ in range(200))
    ]
    assert np.all(np.abs(np.mean(held, 0) - 0.9) < 0.07)


def test_too_few_groups_give_no_interval():
    few = group_norm_intervals(made(drawn(5, np.random.default_rng(3))))
    assert few[["low", "high"]].isna().all(axis=None)
    assert few["l2"].notna().all()
    with pytest.raises(UsageError, match="level"):
        group_norm_intervals(made(drawn(20, np.random.default_rng(3))), level=1.0)
