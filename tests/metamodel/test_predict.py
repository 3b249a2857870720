import numpy as np
import pytest
from meta_samples import LAYERS, make_tables, pilot_of, task_of, toy_data, toy_metamodel, truth

from metamodel import predict
from metamodel.predict import load_shipped
from metamodel.schema import check_evidence

SIZES = (64, 128, 256, 512, 1024, 2048)


@pytest.fixture(scope="module")
def model():
    return toy_metamodel()


@pytest.fixture(scope="module")
def pilot():
    return pilot_of(toy_data(), 64)


@pytest.fixture(params=[0, 16, 64, 128])
def any_pilot(request):
    return pilot_of(toy_data(), request.param, place=2)


def test_curves_rise_within_their_intervals(model, any_pilot):
    sizes = [max(int(any_pilot["n0"].iloc[0]), 2) * 2**k for k in range(6)]
    curve = model.curve(any_pilot, sizes)
    assert list(curve) == [
        *("layer", "n", "mean", "low", "high", "wide_low", "wide_high", "spread")
    ]
    assert len(curve) == LAYERS * 6
    for name in ("mean", "low", "high", "wide_low", "wide_high"):
        assert (curve.groupby("layer")[name].diff().dropna() >= 0).all()
        assert curve[name].between(0, 1).all()
    assert (curve["low"] <= curve["mean"]).all()
    assert (curve["mean"] <= curve["high"]).all()
    assert (curve["wide_low"] <= curve["low"]).all()
    assert (curve["high"] <= curve["wide_high"]).all()
    assert (curve["spread"] > 0).all()


def test_sizes_come_sorted_and_once(model, pilot):
    predicted = model.curve(pilot, [512, 64, 512, 128])
    assert list(predicted[predicted["layer"] == 0]["n"]) == [64, 128, 512]
    one = model.curve(pilot, [512])
    same = predicted[predicted["n"] == 512]
    assert same["spread"].to_numpy() == pytest.approx(one["spread"].to_numpy())


def test_tasks_never_seen_are_told_well(model):
    data = toy_data(seed=9)
    off, inside = [], []
    for place in range(12):
        pilot = pilot_of(data, 128, place)
        task = task_of(pilot, seed=9)
        curve = model.curve(pilot, [256, 1024])
        for row in curve.itertuples():
            real = truth(task, row.layer, row.n)
            off.append(abs(row.mean - real))
            inside.append(row.low <= real <= row.high)
    assert np.mean(off) < 0.03
    assert np.mean(inside) > 0.85


def test_without_labels_intervals_are_wider(model):
    width = {}
    for n0 in (0, 64):
        curve = model.curve(pilot_of(toy_data(), n0), [256])
        width[n0] = (curve["high"] - curve["low"]).mean()
    assert width[0] > 2 * width[64]


def test_a_likely_target_has_a_need_within_its_interval(model, pilot):
    task = task_of(pilot)
    need = model.labels_for(pilot, float(truth(task, 0, 256)), layer=0, largest=2048)
    assert need.reached
    assert need.probability > 0.7
    assert 64 <= need.low <= need.n <= 2048
    assert need.high is None or need.n <= need.high
    assert 256 / 4 < need.n < 256 * 4


def test_every_budget_has_a_probability_that_rises_to_that_of_the_largest(model, pilot):
    target = float(truth(task_of(pilot), 0, 256))
    budgets = (64, 128, 300, 2048)
    need = model.labels_for(pilot, target, layer=0, largest=2048, budgets=budgets)
    assert tuple(n for n, _ in need.budgets) == budgets
    chances = [chance for _, chance in need.budgets]
    assert chances == sorted(chances)
    assert chances[-1] == pytest.approx(need.probability)
    assert need.n is not None
    ((_, half),) = model.labels_for(
        pilot, target, layer=0, largest=2048, budgets=[round(need.n)]
    ).budgets
    assert half == pytest.approx(0.5, abs=0.05)


def test_without_unlabelled_texts_another_model_answers(model, pilot):
    free = ["atc", "doc", "average_confidence", "confidence_gap", "class_shift", "state_shift"]
    bare = pilot.assign(n_unlabelled=0, **dict.fromkeys(free, np.nan))
    predicted, usual = model.curve(bare, [512]), model.curve(pilot, [512])
    assert np.isfinite(predicted["mean"]).all()
    assert "mean_doc" in model.labelled.mixture.names
    assert "mean_doc" not in model.textless.mixture.names
    assert not np.allclose(predicted["mean"], usual["mean"])
    wrong = pilot.assign(n_unlabelled=0, doc=1.0)
    assert model.curve(wrong, [512]).equals(model.curve(bare, [512]))


def test_a_hopeless_target_is_not_reached(model, pilot):
    need = model.labels_for(pilot, 1.0, layer=0, largest=2048)
    assert (need.reached, need.n, need.high) == (False, None, None)
    assert need.probability < 0.15


def test_what_is_exceeded_is_reached_with_the_labels_at_hand(model, pilot):
    need = model.labels_for(pilot, 0.05, layer=1, largest=2048)
    assert need.reached
    assert need.n == need.low == pytest.approx(64)


def test_draws_are_the_need(model, pilot):
    target = float(truth(task_of(pilot), 0, 256))
    need = model.labels_for(pilot, target, layer=0, largest=2048)
    draws = model.draws(pilot, target, layer=0, largest=2048)
    assert draws.shape == (100,)
    assert np.isfinite(draws).mean() == pytest.approx(need.probability, abs=0.011)
    assert draws[4] <= need.low <= draws[5]
    assert draws[49] <= need.n <= draws[50]


def test_needs_can_be_asked_without_labels_and_of_nothing_more(model, pilot):
    none = pilot_of(toy_data(), 0)
    need = model.labels_for(none, 0.6, layer=0, largest=2048)
    assert need.low is None or 2 <= need.low <= 2048
    small = model.labels_for(pilot, 0.9, layer=0, largest=10)
    assert small.n is None or small.n <= 65


def test_a_layer_that_is_not_there_is_refused(model, pilot):
    with pytest.raises(ValueError, match=r"layer is not known: expected one of \[0, 1, 2\], got 9"):
        model.labels_for(pilot, 0.8, layer=9, largest=2048)


def test_layers_lie_around_the_mean_curve_and_the_best_ties_with_itself(model, any_pilot):
    predicted = model.layers(any_pilot, 512)
    assert list(predicted["layer"]) == [0, 1, 2]
    assert predicted.loc[predicted["score"].idxmax(), "tied_with_best"]
    assert (predicted["low"] <= predicted["score"]).all()
    assert (predicted["score"] <= predicted["high"]).all()
    level = model.curve(any_pilot, [512])["mean"].mean()
    assert predicted["score"].mean() == pytest.approx(level, abs=1e-9)


def test_the_best_layer_is_among_those_tied_or_near(model):
    lost = []
    for place in range(12):
        pilot = pilot_of(toy_data(), 128, place)
        real = np.array([truth(task_of(pilot), layer, 512) for layer in range(LAYERS)])
        lost.append(real.max() - real[model.layers(pilot, 512)["score"].argmax()])
    assert np.mean(lost) < 0.012  # layers differ by 0 to 0.03


def test_accuracy_on_unlabelled_texts_is_near_that_of_the_heads(model):
    off = []
    for place in range(12):
        pilot = pilot_of(toy_data(), 128, place)
        mean, low, high = model.evaluation_accuracy(pilot, layer=1)
        assert 0 <= low <= mean <= high <= 1
        off.append(mean - truth(task_of(pilot), 1, 128))
    assert np.abs(off).mean() < 0.04


def test_contributions_lead_from_chance_to_the_prediction(model, any_pilot):
    n = 4 * max(int(any_pilot["n0"].iloc[0]), 16)
    for layer in range(LAYERS):
        table = model.contributions(any_pilot, n, layer=layer)
        assert list(table) == ["feature", "value", "points"]
        assert not table["feature"].duplicated().any()
        chance = any_pilot["majority"].fillna(1 / any_pilot["n_classes"]).iloc[0]
        curve = model.curve(any_pilot, [n])
        predicted = float(curve[curve["layer"] == layer]["mean"].iloc[0])
        assert 0 < predicted < 1
        assert 100 * chance + table["points"].sum() == pytest.approx(100 * predicted, abs=1e-6)


def test_the_unusual_is_named(model, pilot):
    assert model.outside(pilot) == []
    assert len(model.outside(pilot.assign(n_classes=90))) == 1


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    monkeypatch.setattr(predict, "SHIPPED", tmp_path)
    load_shipped.cache_clear()
    yield tmp_path / "metamodel.json"
    load_shipped.cache_clear()


def test_without_its_file_nothing_is_loaded(shipped):
    with pytest.raises(FileNotFoundError):
        load_shipped()


@pytest.mark.parametrize("text", ["", "{}", '{"sha256": "0", "format": 2}'])
def test_a_damaged_file_is_refused(shipped, text):
    shipped.write_text(text)
    with pytest.raises(ValueError, match=r"not JSON|no metamodel|was changed"):
        load_shipped()


def test_what_ships_loads_and_knows_how_to_read_evidence():
    model = load_shipped()
    assert load_shipped() is model
    evidence, _ = make_tables(n_corpora=1, pilots=(64,))
    check_evidence(evidence)
    curve = model.curve(evidence.head(LAYERS), SIZES)
    assert curve["mean"].between(0, 1).all()
    assert curve["mean"].nunique() > 1
