from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from meta_samples import make_tables

from metamodel.extrapolate import FAMILIES, fit_curves
from metamodel.features import FEATURES, NAMES, TIERS, WITHOUT_LABELS, describe, expand, up_to
from metamodel.schema import CURVE_SHARES


@pytest.fixture(scope="module")
def evidence():
    return make_tables(n_corpora=2)[0]


def test_rows_come_one_a_size_in_order(evidence):
    table = expand(evidence, [128, 512])
    assert list(table.columns) == list(NAMES)
    assert len(table) == 2 * len(evidence)
    assert list(table["log_n"][:4]) == [7, 9, 7, 9]


def test_extrapolation_equals_the_fits_on_their_own(evidence):
    row = evidence[(evidence["n0"] == 64) & (evidence["n_classes"] <= 9)].iloc[[0]]
    table = expand(row, [512])
    shares = np.array(list(CURVE_SHARES.values()))
    curve = row[list(CURVE_SHARES)].to_numpy()
    fits = [fit_curves(64 * shares, curve, family=f, weights=shares) for f in FAMILIES]
    predicted = np.median([fit.scores([512])[0, 0] for fit in fits])
    chance = 1 / row["n_classes"].iloc[0]
    assert table["median3"].iloc[0] == pytest.approx((predicted - chance) / (1 - chance), abs=1e-6)


def test_spectral_curve_is_read_between_its_points(evidence):
    row = evidence[evidence["n0"] == 64].iloc[[0]]
    table = expand(row, [128, 181, 256, 64 * 1000])
    chance = 1 / row["n_classes"].iloc[0]
    predicted = table["spectral"] * (1 - chance) + chance
    assert predicted[0] == pytest.approx(row["spectral_2"].iloc[0])
    assert predicted[1] == pytest.approx(
        row[["spectral_2", "spectral_4"]].mean(axis=1).iloc[0], abs=1e-3
    )
    assert predicted[3] == pytest.approx(row["spectral_64"].iloc[0])


def test_without_labels_only_what_needs_none_is_known(evidence):
    table = expand(evidence[evidence["n0"] == 0], [64])
    assert table[list(WITHOUT_LABELS)].notna().all(axis=None)
    rest = [n for n in NAMES if n not in (*WITHOUT_LABELS, "log_classes_2")]
    assert table[rest].isna().all(axis=None)


def test_a_layer_is_told_beside_the_mean_of_its_pilot(evidence):
    pilot = evidence[(evidence["n0"] == 64) & (evidence["seed"] == 0)]
    table = expand(pilot, [64])
    first = table[pilot["task"].to_numpy() == pilot["task"].iloc[0]]
    assert first["own_oof"].sum() == pytest.approx(0, abs=1e-9)
    assert first["mean_oof"].nunique() == 1


def test_other_pilots_do_not_matter(evidence):
    alone = evidence[(evidence["n0"] == 64) & (evidence["seed"] == 0)].iloc[:3]
    both = expand(evidence, [256])
    place = [evidence.index.get_loc(i) for i in alone.index]
    pd.testing.assert_frame_equal(
        expand(alone, [256]), both.iloc[place].reset_index(drop=True), check_exact=False
    )


def test_tiers_are_nested_and_cover_everything():
    sets = [set(up_to(tier)) for tier in TIERS]
    assert all(a < b for a, b in pairwise(sets))
    assert sets[-1] == set(NAMES)
    assert len(NAMES) == len(set(NAMES)) == len(FEATURES)
    assert set(WITHOUT_LABELS) < set(NAMES)


def test_a_pilot_too_small_for_a_curve_has_none(evidence):
    small = evidence[evidence["n0"] == 16].copy()
    small[list(CURVE_SHARES)] = np.nan
    assert expand(small, [64])["median3"].isna().all()
    assert not describe(small).known.any()


def test_with_many_classes_heads_on_parts_take_the_place_of_leave_one_out(evidence):
    row = evidence[evidence["n0"] == 64].iloc[[0]].assign(n_classes=20, curve_800=0.6)
    low, high = (describe(row.assign(oof_accuracy=a, curve_1000=a)) for a in (0.2, 0.7))
    assert low.last == high.last == 0.6
    first, second = (expand(row.assign(oof_accuracy=a, curve_1000=a), [512]) for a in (0.2, 0.7))
    for name in ("oof", "law", "median3", "law_slope"):
        assert first[name].iloc[0] == second[name].iloc[0]
    few = row.assign(n_classes=9)
    assert describe(few.assign(oof_accuracy=0.2)).last == 0.2
    unknown = row.assign(curve_800=np.nan, oof_accuracy=0.3)
    assert describe(unknown).last == 0.3


def test_the_law_is_a_straight_line_through_the_log_errors(evidence):
    row = evidence[(evidence["n0"] == 64) & (evidence["n_classes"] <= 9)].iloc[[0]]
    table = expand(row, [64, 512])
    sizes = 64 * np.array(list(CURVE_SHARES.values()))
    errors = 1 - row[list(CURVE_SHARES)].to_numpy()[0]
    slope, level = np.polyfit(np.log(sizes), np.log(errors), 1)
    assert slope < 0
    chance = 1 / row["n_classes"].iloc[0]
    predicted = chance + (1 - chance) * table["law"].to_numpy()
    assert predicted == pytest.approx(1 - np.exp(level + slope * np.log([64, 512])), abs=1e-9)
    assert table["law_slope"].iloc[0] == pytest.approx(slope)
