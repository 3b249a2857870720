import numpy as np
import pytest
from meta_samples import make_tables

from metamodel.rows import join_tables
from metamodel.schema import SchemaError


@pytest.fixture(scope="module")
def tables():
    return make_tables(n_corpora=3)


def test_targets_are_the_same_draw_at_n0_and_means_above(tables):
    evidence, outcomes = tables
    data = join_tables(evidence, outcomes)
    row = int(np.flatnonzero((data.evidence["n0"] == 64) & (data.evidence["seed"] == 1))[0])
    mine = data.targets.row == row
    predicted = dict(zip(data.targets.size[mine], data.targets.accuracy[mine], strict=True))
    keys = data.evidence.iloc[row]
    same = outcomes
    for name in ("task", "subset", "layer"):
        same = same[same[name] == keys[name]]
    assert set(predicted) == {64, 128, 256, 512, 1024, 2048}
    own = same[(same["n_train"] == 64) & (same["seed"] == 1)]["accuracy"].iloc[0]
    assert predicted[64] == own
    assert predicted[256] == pytest.approx(same[same["n_train"] == 256]["accuracy"].mean())


def test_part_keeps_rows_with_their_targets(tables):
    data = join_tables(*tables)
    mask = (data.evidence["corpus"] == "corpus01").to_numpy()
    part = data.part(mask)
    assert set(part.corpora) == {"corpus01"}
    assert len(part.targets.row) == mask[data.targets.row].sum()
    assert part.targets.row.max() == mask.sum() - 1


def test_order_of_the_tables_does_not_matter(tables):
    evidence, outcomes = tables
    first = join_tables(evidence, outcomes)
    mixed = join_tables(
        evidence.sample(frac=1, random_state=0), outcomes.sample(frac=1, random_state=1)
    )
    assert (first.targets.row == mixed.targets.row).all()
    np.testing.assert_allclose(first.targets.accuracy, mixed.targets.accuracy)


def test_bad_tables_are_refused(tables):
    evidence, outcomes = tables
    with pytest.raises(SchemaError, match="oof_accuracy"):
        join_tables(evidence.drop(columns="oof_accuracy"), outcomes)
    with pytest.raises(ValueError, match="has an outcome"):
        join_tables(evidence, outcomes.assign(task=outcomes["task"] + "?"))
