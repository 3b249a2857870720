import numpy as np
import pandas as pd
import pytest

from metamodel.choice import centre, differences_left_out, fit_choice, layer_features

LAYERS = 7


def world(told_by, *, seed=0, n_corpora=12, n_pilots=8):
    """Layers whose differences are predicted by LogME, a loss, margin or depth, beside a shared level."""
    rng = np.random.default_rng(seed)
    n = n_corpora * n_pilots
    lead = rng.normal(0, 0.05, (n, LAYERS))
    depth = np.tile(np.arange(LAYERS) / (LAYERS - 1), (n, 1))
    if told_by == "depth":
        lead = -((depth - 0.6) ** 2) + rng.normal(0, 0.005, lead.shape)
    nothing = rng.normal(size=(4, n, LAYERS))
    scale = rng.uniform(0.5, 50, (n, 1))
    logme = scale * (lead if told_by == "logme" else nothing[0])
    loss = -scale * (lead if told_by == "loss" else nothing[1])
    half = -scale * (lead if told_by == "half_loss" else nothing[2])
    features = pd.DataFrame(
        {
            "logme": logme.ravel(),
            "loss": loss.ravel(),
            "loss_step": (loss - half).ravel(),
            "margin": (scale * (lead if told_by == "margin" else nothing[3])).ravel(),
            "depth": depth.ravel(),
            "log_classes": np.repeat(rng.choice([1.0, 2.0, 3.0], n), LAYERS),
            "log_n0": np.repeat(rng.choice([4.0, 6.0, 8.0], n), LAYERS),
            "log_ratio": np.repeat(rng.choice([0.0, 1.0, 3.0], n), LAYERS),
        }
    )
    accuracy = (lead + rng.uniform(0.4, 0.9, (n, 1))).ravel()
    pilot = np.repeat(np.arange(n), LAYERS)
    corpora = np.repeat([f"c{c}" for c in range(n_corpora)], n_pilots * LAYERS)
    return features, accuracy, pilot, corpora


@pytest.mark.parametrize("told_by", ["logme", "loss", "half_loss", "margin", "depth"])
def test_the_best_layer_is_found_where_something_tells_it(told_by):
    choice = fit_choice(*world(told_by))
    features, accuracy, pilot, _ = world(told_by, seed=1)
    predicted = choice.differences(features, pilot).reshape(-1, LAYERS)
    truth = accuracy.reshape(-1, LAYERS)
    found = truth[np.arange(len(truth)), predicted.argmax(1)]
    regret = (truth.max(1) - found).mean()
    by_chance = (truth.max(1) - truth.mean(1)).mean()
    assert regret < (0.3 if told_by == "depth" else 0.1) * by_chance


def test_where_nothing_tells_layers_apart_none_is_far_ahead():
    choice = fit_choice(*world("nothing"))
    features, accuracy, pilot, _ = world("nothing", seed=1)
    predicted = choice.differences(features, pilot)
    assert np.abs(predicted).mean() < 0.3 * np.abs(centre(accuracy, pilot)).mean()
    width = choice.tie_width(6.0)
    assert width > 0.3 * np.abs(centre(accuracy, pilot)).mean()


def test_differences_are_about_the_mean_and_blind_to_shared_levels():
    features, accuracy, pilot, corpora = world("logme")
    choice = fit_choice(features, accuracy, pilot, corpora)
    predicted = choice.differences(features, pilot)
    assert pd.Series(predicted).groupby(pilot).mean().abs().max() < 1e-12
    lifted = features.assign(logme=features["logme"] + 5.0 * pilot, loss=features["loss"] - pilot)
    assert choice.differences(lifted, pilot) == pytest.approx(predicted, abs=1e-9)
    shifted = fit_choice(features, accuracy + 0.01 * pilot, pilot, corpora)
    assert shifted.differences(features, pilot) == pytest.approx(predicted, abs=1e-9)


def test_a_corpus_left_out_has_no_say_in_its_own_differences():
    features, accuracy, pilot, corpora = world("logme")
    table, target = layer_features(features, pilot), centre(accuracy, pilot)
    own = corpora == "c3"
    predicted = differences_left_out(table, target, corpora)
    wild = differences_left_out(table, np.where(own, -9 * target, target), corpora)
    assert (predicted[own] == wild[own]).all()
    assert not np.allclose(predicted[~own], wild[~own])
    unknown = differences_left_out(table, np.where(own, np.nan, target), corpora)
    assert (unknown[own] == predicted[own]).all()


def test_layers_told_by_evidence_tie_more_rarely_than_those_that_are_not():
    known, unknown = fit_choice(*world("logme")), fit_choice(*world("nothing"))
    assert known.tie_width(6.0) < 0.5 * unknown.tie_width(6.0)


def test_ties_follow_the_size_of_the_sample():
    features, accuracy, pilot, corpora = world("logme")
    noise = np.random.default_rng(2).normal(size=len(accuracy))
    noisy = accuracy + noise * 0.4 / 2 ** (features["log_n0"].to_numpy() / 2)
    choice = fit_choice(features, noisy, pilot, corpora)
    assert choice.tie_width(4.0) > 1.5 * choice.tie_width(8.0)
    assert choice.tie_width(-np.inf) == choice.tie_width(float("nan")) == choice.tie_width(0.0)


def test_pilots_of_one_size_have_one_width_of_tie():
    features, *rest = world("logme")
    choice = fit_choice(features.assign(log_n0=6.0), *rest)
    assert choice.tie_width(4.0) == choice.tie_width(9.0)
