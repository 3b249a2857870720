import numpy as np
import pandas as pd
import pytest
from meta_samples import LAYERS, pilot_of, toy_data, toy_metamodel

from metamodel.features import NAMES, WITHOUT_LABELS, expand
from metamodel.fit.fitting import FitSettings, pilot_numbers, problem_of, whole_pilots
from metamodel.schema import PILOT_KEY


@pytest.fixture(scope="module")
def data():
    return toy_data()


@pytest.fixture(scope="module")
def problem(data):
    return problem_of(data)


def test_a_problem_holds_every_target_with_its_features(data, problem):
    targets = data.targets
    assert (problem.accuracy == targets.accuracy).all()
    assert (problem.size == targets.size).all()
    row = int(np.flatnonzero(data.evidence["n0"] == 64)[0])
    mine = problem.row == row
    pilot = data.evidence[pilot_numbers(data.evidence) == pilot_numbers(data.evidence)[row]]
    layer = list(pilot.index).index(row)
    sizes = targets.size[mine]
    predicted = expand(pilot, list(sizes)).iloc[layer * len(sizes) : (layer + 1) * len(sizes)]
    pd.testing.assert_frame_equal(
        problem.features[mine].reset_index(drop=True), predicted.reset_index(drop=True)
    )
    assert set(problem.corpus[mine]) == {data.evidence.loc[row, "corpus"]}


def test_take_keeps_rows_together(problem):
    places = np.array([5, 3, 100])
    part = problem.take(places)
    assert (part.accuracy == problem.accuracy[places]).all()
    assert list(part.features.index) == [0, 1, 2]
    assert part.features["log_n"].to_numpy() == pytest.approx(np.log2(problem.size[places]))


def test_whole_pilots_keep_all_layers_and_at_most_so_many(data, problem):
    used, pilot = whole_pilots(data.evidence, problem, FitSettings(most=40))
    table = pd.DataFrame({"pilot": pilot, "row": used.row, "size": used.size, "c": used.corpus})
    by_pilot = table.groupby("pilot")
    assert (by_pilot["row"].nunique() == LAYERS).all()
    assert (by_pilot["size"].nunique() == 1).all()
    assert by_pilot.size().eq(LAYERS).all()
    assert (by_pilot["c"].first().value_counts() == 10).all()


def test_pilots_are_numbered_by_their_key(data):
    numbers = pd.Series(pilot_numbers(data.evidence))
    keys = data.evidence[PILOT_KEY].apply(tuple, axis=1)
    assert numbers.groupby(keys.to_numpy()).nunique().eq(1).all()
    assert numbers.nunique() == keys.nunique()


def test_every_part_of_the_metamodel_reads_what_it_may():
    model = toy_metamodel()
    assert model.encoders == ("toy",)
    assert set(model.unlabelled.mixture.names) <= set(WITHOUT_LABELS)
    assert set(model.labelled.mixture.names) <= set(NAMES)
    assert model.unlabelled.mixture.settings.anchor == "chance"
    assert model.evaluation.mixture.settings.anchor == "oof"
    assert model.seen.ranges["n0"] == (0, 128)


def test_accuracy_on_unlabelled_texts_is_learned_from_heads_of_the_pilots_own_size(data):
    pilot = pilot_of(data, 64)
    at_n0 = expand(pilot, [64])
    assert (at_n0["log_ratio"] == 0).all()
    model = toy_metamodel().evaluation
    assert model.mixture.predict(at_n0.assign(log_ratio=5.0)) == pytest.approx(
        model.mixture.predict(at_n0)
    )
