import numpy as np
import pytest

from charkit.errors import UsageError
from charkit.heads.metrics.influence import row_values
from charkit.heads.metrics.selection import (
    best_layers,
    classification_gains,
    has_signal,
    regression_gains,
)


def correct_rows(rng, skills, *, n_draws=5, n_rows=400, shared=0.6):
    """Correctness with rows of common difficulty, draws of common luck, and own noise."""
    n_layers = len(skills)
    easy = rng.standard_normal((1, 1, n_rows))
    luck = 0.05 * rng.standard_normal((n_draws, 1, 1))
    own = rng.standard_normal((n_draws, n_layers, n_rows))
    latent = np.sqrt(shared) * easy + np.sqrt(1 - shared) * own + luck
    from scipy.stats import norm

    return latent < norm.ppf(np.asarray(skills))[:, None]


def null_gains(rng, *, share=0.53, n_rows=277, n_layers=7, n_draws=5, confidence=0.5, effect=0.0):
    """Heads of correlated layers whose logits know the labels by ``effect`` only."""
    labels = (rng.random(n_rows) < share).astype(np.int64)
    noise = (
        0.6 * rng.standard_normal((1, 1, n_rows))
        + 0.5 * rng.standard_normal((1, n_layers, n_rows))
        + 0.4 * rng.standard_normal((n_draws, 1, n_rows))
        + 0.4 * rng.standard_normal((n_draws, n_layers, n_rows))
    )
    logits = np.log(share / (1 - share)) + confidence * (noise + effect * (2 * labels - 1))
    likelihood = 1 / (1 + np.exp(-logits * (2 * labels - 1)))
    prior = -np.log(np.where(labels == 1, share, 1 - share))
    return classification_gains(
        likelihood > 0.5,
        -np.log(likelihood),
        labels,
        majority_log_loss=np.broadcast_to(prior, (n_draws, n_rows)),
    )


def test_a_clear_winner_stands_alone():
    skills = [0.6, 0.7, 0.9, 0.75, 0.7]
    choice = best_layers(correct_rows(np.random.default_rng(0), skills), layers=range(1, 6))
    assert choice.best == 3
    assert choice.layers == (1, 2, 3, 4, 5)
    assert choice.tied_with_best.tolist() == [False, False, True, False, False]
    assert choice.difference[2] == 0.0
    assert (choice.difference <= 0).all()
    assert (choice.low < choice.score).all()
    assert (choice.score < choice.high).all()


def test_the_truly_best_layer_is_among_the_tied_ones_as_often_as_promised():
    rng = np.random.default_rng(1)
    skills = [0.70] * 6 + [0.702]  # nearly equal: luck picks the winner
    kept = [best_layers(correct_rows(rng, skills)).tied_with_best[6] for _ in range(200)]
    assert 0.86 <= np.mean(kept) <= 0.97


def test_intervals_cover_the_expected_accuracy():
    rng = np.random.default_rng(2)
    skills = np.array([0.6, 0.75, 0.9])
    covered = []
    for _ in range(300):
        choice = best_layers(correct_rows(rng, skills, n_rows=200))
        covered.append((choice.low <= skills) & (skills <= choice.high))
    assert 0.85 <= np.mean(covered) <= 0.96


def test_interval_widens_with_the_spread_of_draws():
    rng = np.random.default_rng(3)
    calm = np.broadcast_to(rng.random((1, 1, 500)) < 0.7, (5, 2, 500))
    wild = calm.copy()
    for draw, share in enumerate((0.0, 0.1, 0.2, 0.3, 0.4)):
        wild[draw] &= rng.random((1, 500)) >= share
    narrow, wide = best_layers(calm), best_layers(wild)
    assert (wide.high - wide.low > 2 * (narrow.high - narrow.low)).all()


def test_power_to_tell_layers_apart():
    rng = np.random.default_rng(4)
    skills = [0.70, 0.74, 0.80]
    predicted = [best_layers(correct_rows(rng, skills)).tied_with_best[0] for _ in range(50)]
    assert np.mean(predicted) < 0.05


def test_same_rows_in_another_order_and_layers_renamed_change_nothing():
    values = correct_rows(np.random.default_rng(5), [0.6, 0.65, 0.7])
    order = np.random.default_rng(6).permutation(400)
    ours, other = best_layers(values), best_layers(values[::-1, :, order])
    assert other.score == pytest.approx(ours.score)
    assert other.low == pytest.approx(ours.low)
    assert other.tied_with_best.tolist() == ours.tied_with_best.tolist()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 1), (1, 4, 1)])
def test_one_row_ties_everything(shape):
    values = np.zeros(shape)
    values[:, 0] = 1.0
    choice = best_layers(values)
    assert choice.tied_with_best.all()
    assert choice.best == 0
    assert choice.high[-1] > 0.5 or shape[1] == 1


def test_one_draw_one_layer_and_perfect_layers():
    assert best_layers(np.ones((1, 1, 30))).tied_with_best.tolist() == [True]
    perfect = best_layers(np.ones((5, 3, 30)))
    assert perfect.best == 0
    assert perfect.tied_with_best.all()
    assert (perfect.low < 0.95).all()
    assert best_layers(correct_rows(np.random.default_rng(0), [0.5, 0.9], n_draws=1)).best == 1


def test_regression_layers_by_correlation():
    rng = np.random.default_rng(7)
    wanted = rng.standard_normal(300)
    noise = rng.standard_normal((3, 2, 300))
    made = wanted + noise * np.array([2.0, 0.5])[:, None]
    values = row_values(made.reshape(6, 300), wanted, "pearson_spearman").reshape(3, 2, 300)
    choice = best_layers(values, bounds=(-1.0, 1.0))
    assert choice.best == 1
    assert choice.tied_with_best.tolist() == [False, True]


def test_layer_numbers_must_fit():
    with pytest.raises(UsageError, match="expected 2 numbers, got 3"):
        best_layers(np.zeros((1, 2, 3)), layers=[1, 2, 3])


@pytest.mark.parametrize(("n_rows", "share"), [(277, 0.53), (71, 0.56), (500, 0.69)])
@pytest.mark.parametrize("confidence", [0.3, 1.0])
def test_false_alarms_are_no_more_than_promised(n_rows, share, confidence):
    rng = np.random.default_rng(n_rows)
    worlds = [
        has_signal(null_gains(rng, n_rows=n_rows, share=share, confidence=confidence))
        for _ in range(150)
    ]
    assert np.mean([v.p_value < 0.10 for v in worlds]) <= 0.15  # promised 0.10, 150 worlds
    assert np.mean([v.signal for v in worlds]) <= 0.03


def test_power():
    rng = np.random.default_rng(8)
    found = [has_signal(null_gains(rng, effect=0.5)).signal for _ in range(30)]
    assert np.mean(found) > 0.9


def test_imbalanced_signal_below_the_threshold_is_found():
    """Accuracy equals the majority's, yet the probabilities know."""
    rng = np.random.default_rng(9)
    gains = null_gains(rng, share=0.85, n_rows=1000, confidence=0.25, effect=1.0)
    verdict = has_signal(gains)
    assert verdict.signal
    assert verdict.measure == "log_loss"
    assert verdict.gain > verdict.gain_low > 0
    assert "signal: layer" in verdict.reason


def test_heads_that_do_no_better_than_shuffled_ones_show_nothing():
    gains = null_gains(np.random.default_rng(10), effect=0.8)
    assert has_signal(gains).signal
    assert not has_signal(gains, shuffled=gains).signal


@pytest.mark.parametrize(("effect", "seed"), [(e, s) for e in (0.1, 0.4, 0.8) for s in range(3)])
def test_what_would_show_counts_the_shuffled_labels_too(effect, seed):
    rng = np.random.default_rng(seed)
    gains = null_gains(rng, effect=effect)
    shuffled = {name: v + 0.2 * rng.standard_normal(v.shape) for name, v in null_gains(rng).items()}
    verdict = has_signal(gains, shuffled=shuffled)
    assert verdict.signal == (verdict.gain > verdict.detectable)


def test_random_encoder_is_reported_without_a_say():
    rng = np.random.default_rng(11)
    gains, random = null_gains(rng, effect=0.8), null_gains(rng, effect=0.8)
    verdict = has_signal(gains, random_encoder=random)
    assert verdict.signal
    assert verdict.random_encoder_gain > 0
    assert "random encoder" in verdict.reason


def test_constant_heads_have_no_signal_and_say_so():
    labels = np.array([0, 1] * 20)
    same = classification_gains(
        np.broadcast_to(labels == 0, (2, 3, 40)),
        np.full((2, 3, 40), np.log(2)),
        labels,
        majority_log_loss=np.full((2, 40), np.log(2)),
    )
    verdict = has_signal(same)
    assert not verdict.signal
    assert verdict.detectable == np.inf
    assert "no head tells the rows apart" in verdict.reason


def right_rows(n_draws, n_rows, *, wrong=0):
    """Heads that are right on all rows but some, their confidence differing between two draws."""
    rng = np.random.default_rng(21)
    labels = np.arange(n_rows) % 2
    right = np.ones((n_draws, 3, n_rows), bool)
    right[:, :, :wrong] = False
    nats = 0.05 * rng.random(right.shape) * np.linspace(0.2, 4, n_draws)[:, None, None]
    prior = np.full((n_draws, n_rows), np.log(2))
    return classification_gains(right, nats, labels, majority_log_loss=prior), labels


def test_two_draws_that_are_right_on_every_row_show_a_signal():
    gains, labels = right_rows(2, 60)
    verdict = has_signal(gains, shuffled={k: 0 * v for k, v in gains.items()}, labels=labels)
    assert verdict.signal
    assert (verdict.gain, verdict.gain_low, verdict.detectable) == (0.5, 0.0, 0.5)


def test_a_few_right_rows_show_none():
    gains, labels = right_rows(2, 6)  # one in twenty orders of the labels fits
    assert not has_signal(gains, labels=labels).signal


def test_shuffled_labels_never_seem_right_on_every_row():
    gains, labels = right_rows(2, 60, wrong=30)
    assert not has_signal({"balanced_accuracy": gains["balanced_accuracy"]}, labels=labels).signal


def test_one_evaluation_row_or_one_class_has_no_signal():
    rng = np.random.default_rng(12)
    assert not has_signal(null_gains(rng, n_rows=1, effect=5.0)).signal
    verdict = has_signal(null_gains(rng, share=0.999, n_rows=20, effect=5.0))
    assert verdict.measure in ("log_loss", "balanced_accuracy")


def test_regression_signal():
    rng = np.random.default_rng(13)
    wanted = rng.standard_normal(200)
    means = np.broadcast_to(0.1, (4, 200))
    nothing = regression_gains(
        0.1 + 0.1 * rng.standard_normal((4, 3, 200)), wanted, majority_predictions=means
    )
    something = regression_gains(
        0.3 * wanted + 0.3 * rng.standard_normal((4, 3, 200)), wanted, majority_predictions=means
    )
    assert not has_signal(nothing).signal
    assert has_signal(something).signal


def test_the_reported_layer_has_the_largest_gain_of_those_shown():
    rng = np.random.default_rng(14)
    values = 0.2 + 0.1 * rng.standard_normal((5, 3, 300))
    values[:, 1] += 0.1
    verdict = has_signal({"log_loss": values}, layers=[2, 4, 6])
    assert (verdict.signal, verdict.layer) == (True, 4)


def test_wrong_shapes_are_refused():
    gains = null_gains(np.random.default_rng(0), n_rows=30)
    with pytest.raises(UsageError, match="at least one measure"):
        has_signal({})
    with pytest.raises(UsageError, match="shuffled"):
        has_signal(gains, shuffled={k: v[:, :2] for k, v in gains.items()})
    with pytest.raises(UsageError, match="rows do not fit"):
        classification_gains(
            np.zeros((1, 2, 3)),
            np.zeros((1, 2, 4)),
            np.zeros(3),
            majority_log_loss=np.zeros((1, 3)),
        )
    with pytest.raises(UsageError, match="n_draws, n_layers, n_rows"):
        regression_gains(np.zeros((2, 3)), np.zeros(3), majority_predictions=np.zeros((2, 3)))
