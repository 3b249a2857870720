import numpy as np
import pandas as pd
import pytest
from meta_samples import make_tables

from metamodel.features import LABELLED, TIERS, up_to
from metamodel.fit.fitting import FitSettings
from metamodel.judge.evaluate import evaluate, rivals, unlabelled_figures
from metamodel.model import Settings
from metamodel.rows import join_tables

QUICK = FitSettings(labelled=Settings(n_rounds=10, min_rows=20), most=60)


@pytest.fixture(scope="module")
def judged():
    data = join_tables(*make_tables(n_corpora=5, pilots=(0, 64, 256, 512), draws=1))
    ticks = []
    found = evaluate(data, QUICK, lambda *predicted: ticks.append(predicted))
    return data, found, ticks


def test_every_section_is_there(judged):
    figures = judged[1].figures
    assert set(figures) == {
        *("accuracy", "accuracy_recommended", "needs", "needs_recommended", "intervals"),
        *("again", "money", "layers", "evaluation", "unlabelled", "reliability"),
        *("gains", "gains_recommended", "corpora", "floor"),
    }
    assert all(figures.values())
    assert set(figures["intervals"]) == {
        *("pilots_64_to_256", "pilots_16_to_512", "wide_64_to_256")
    }
    assert set(figures["evaluation"]) == {"whole"}


def test_the_metamodel_beats_what_knows_less(judged):
    table = pd.DataFrame(judged[1].figures["accuracy"])
    error = table.groupby("method")["error"].mean()
    assert error["metamodel"] < error[["last", "mean", "pow3", "tier_counts"]].min()
    assert {"shrunk", "law", "textless", "lightgbm", "tier_curve", "tier_spectrum"} <= set(
        error.index
    )


def test_figures_are_those_of_the_frame(judged):
    frame = judged[1].frame
    assert frame["metamodel"].to_numpy() == pytest.approx(judged[1].main.mean)
    part = frame[(frame["n0"] == 64) & (frame["multiple"] == 4) & frame["truth"].notna()]
    off = 100 * (part["metamodel"] - part["truth"]).abs()
    (row,) = (
        r
        for r in judged[1].figures["accuracy"]
        if (r["n0"], r["multiple"], r["method"]) == (64, 4, "metamodel")
    )
    assert row["error"] == pytest.approx(off.groupby(part["task"]).mean().mean())


def test_the_floor_stands_next_to_the_error_for_more_labels(judged):
    frame = judged[1].frame
    rows = {row["n0"]: row for row in judged[1].figures["floor"]}
    assert 64 in rows
    known = frame[frame["multiple"].isin([1, 2, 4, 8])]
    whole = known.groupby(["pilot", "layer"])["truth"].transform(lambda t: t.notna().all())
    part = known[whole & (known["n0"] == 64)]
    for multiple in (1, 8):
        at = part[part["multiple"] == multiple]
        off = 100 * (at["metamodel"] - at["truth"]).abs()
        assert rows[64][f"error_{multiple}"] == pytest.approx(off.groupby(at["task"]).mean().mean())


def test_one_layer_a_pilot_is_recommended(judged):
    frame = judged[1].frame
    taken = frame[frame["recommended"]].groupby("pilot")
    assert (taken["layer"].nunique() == 1).all()
    assert len(taken) == frame["pilot"].nunique()


def test_layers_are_judged_at_three_sizes_beside_a_layer_by_chance(judged):
    table = pd.DataFrame(judged[1].figures["layers"])
    assert set(table["n"]) == {64, 256, 1024}
    assert {"metamodel", "last_layer", "left_out_loss", "any_layer"} <= set(table["rule"])
    assert (table["regret"] >= 0).all()


def test_evaluation_figures_say_what_labelled_rows_are_worth(judged):
    whole = judged[1].figures["evaluation"]["whole"]
    rows = pd.Series(whole["rows"]).astype(float)
    assert (rows.diff().dropna() < 0).all()
    assert rows["8"] / rows["32"] == pytest.approx(2)
    # as many labelled rows as an error is worth would tell the accuracy as well
    for name, worth in whole["worth_rows"].items():
        assert rows["8"] * np.sqrt(8 / worth) == pytest.approx(whole["error"][name])
    assert 0.5 < whole["covered"] <= 1


def test_without_labels_the_mean_elsewhere_is_over_other_corpora(judged):
    data, found, _ = judged
    predicted = found.figures["unlabelled"]
    assert [row["n"] for row in predicted] == [64, 256, 1024]
    part = data.part(data.evidence["n0"].to_numpy() == 0)
    again = unlabelled_figures(part, QUICK, lambda *_: None)
    assert again == predicted
    rows = part.evidence.iloc[part.targets.row].reset_index(drop=True)
    rows = rows.assign(truth=part.targets.accuracy, n=part.targets.size)
    rows = rows[(rows["subset"] == "all") & (rows["n"] == 256)]
    off = []
    for row in rows.itertuples():
        others = rows[(rows["corpus"] != row.corpus) & (rows["layer"] == row.layer)]
        off.append((row.task, abs(row.truth - others["truth"].mean())))
    table = pd.DataFrame(off, columns=["task", "off"])
    assert predicted[1]["mean"] == pytest.approx(100 * table.groupby("task")["off"].mean().mean())


def test_progress_is_told_for_every_rival(judged):
    stages = {stage for stage, *_ in judged[2]}
    assert {name for name, *_ in rivals(QUICK.labelled)} <= stages
    assert {"layers", "no labels", "unlabelled evaluation texts"} <= stages
    assert ("metamodel", 5, 5) in judged[2]


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_no_rival_is_asked_twice_and_the_metamodel_is_first(share):
    settings = Settings(share_ridge=share)
    found = rivals(settings)
    assert found[0] == ("metamodel", settings, LABELLED)
    assert len({(model, names) for _, model, names in found}) == len(found)
    assert len({name for name, *_ in found}) == len(found)


def test_tiers_read_nothing_beyond_themselves():
    for name, model, names in rivals(Settings()):
        tier = name.removeprefix("tier_")
        if tier in TIERS:
            assert names == up_to(tier)
            if "curve" not in TIERS[: TIERS.index(tier) + 1]:
                assert model.anchor == "chance"
