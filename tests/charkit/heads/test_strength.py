import numpy as np
import pytest
import torch

from charkit.heads.solver.design import make_design
from charkit.heads.solver.leave_one_out import (
    PENALTIES,
    SCANNED_ROWS,
    default_strengths,
    equivalent_weight,
    joint_weight,
    left_out_logits,
    left_out_loss,
    left_out_score,
)
from charkit.heads.solver.minimise import (
    Problem,
    class_covariance,
    evaluate,
    minimise,
    prior_weights,
)
from charkit.heads.solver.softmax import fit_softmax


def sample(n, width, n_classes, *, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    decay = 1 / (1 + np.arange(width)) ** 0.5
    centres = rng.normal(size=(n_classes, width))
    rows = (centres[labels] + noise * rng.normal(size=(n, width))) * decay
    return torch.as_tensor(rows)[None], torch.as_tensor(labels)


def solved(rows, labels, strength):
    problem = Problem(make_design(rows), labels, torch.tensor([strength], dtype=torch.float64))
    start = prior_weights(problem, int(labels.max()) + 1)
    return problem, minimise(problem, start, tolerance=1e-10)


def truly_left_out(problem, minimum):
    """Logits of each row from a fit without it, in the same coordinates."""
    design, labels = problem.design, problem.labels
    logits = torch.empty_like(minimum.probabilities)
    n = design.n_samples
    for i in range(n):
        kept = torch.arange(n) != i
        part = type(design)(
            design.rows[:, kept], design.spectrum, design.basis, design.mean, design.scale
        )
        inner = Problem(part, labels[kept], problem.strength * n / (n - 1))
        weights = minimise(inner, minimum.weights, tolerance=1e-9).weights
        logits[..., i] = weights @ design.rows[0, i]
    return logits


@pytest.mark.parametrize(
    ("n", "width", "n_classes"), [(60, 90, 2), (90, 8, 2), (80, 60, 4), (90, 40, 6), (70, 20, 8)]
)
@pytest.mark.parametrize("penalty", [3.0, 0.3, 0.03, 0.003])
def test_left_out_loss_is_near_the_true_one(n, width, n_classes, penalty):
    rows, labels = sample(n, width, n_classes, noise=3.0)
    problem, minimum = solved(rows, labels, penalty / n)
    near = left_out_loss(problem, minimum, problem.design.rows.square())
    true = evaluate(truly_left_out(problem, minimum), labels).loss
    fitted = evaluate(minimum.weights @ problem.design.rows.mT, labels).loss
    # the optimism of the fit is what leave-one-out is to correct; most of it must be found
    assert float(abs(near - true)) < 0.1 * float(true - fitted) + 0.01


@pytest.mark.parametrize("n_classes", [2, 3, 24])
def test_strongly_penalised_heads_have_exact_left_out_logits(n_classes):
    rows, labels = sample(60 if n_classes < 20 else 240, 10, n_classes)
    problem, minimum = solved(rows, labels, 1.0)
    near = left_out_logits(problem, minimum, problem.design.rows.square())
    true = truly_left_out(problem, minimum)
    moved = (true - minimum.weights @ problem.design.rows.mT).abs().max()
    if n_classes > 2:  # logits are defined up to a constant per row
        near, true = near - near.mean(1, keepdim=True), true - true.mean(1, keepdim=True)
    assert float((near - true).abs().max()) < 0.1 * float(moved)


def test_equal_weights_are_their_own_equivalent():
    rows, labels = sample(40, 60, 2)
    problem, _ = solved(rows, labels, 1e-3)
    weights = torch.full((1, 1, 40), 0.17, dtype=torch.float64)
    torch.testing.assert_close(equivalent_weight(weights, problem), weights[..., :1])
    uneven = torch.linspace(0.001, 0.25, 40, dtype=torch.float64)[None, None]
    found = float(equivalent_weight(uneven, problem))
    assert 0.001 < found < float(uneven.mean())


def test_equal_rows_are_their_own_joint_weight():
    rows, labels = sample(40, 60, 4)
    problem, _ = solved(rows, labels, 1e-3)
    shares = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    directions, weights = joint_weight(shares[None, :, None].expand(1, 4, 40), problem)
    found = (directions * weights.unsqueeze(1)) @ directions.mT
    torch.testing.assert_close(found[0], shares.diag() - torch.outer(shares, shares))


@pytest.mark.parametrize("penalty", [1.0, 1e-3])
def test_joint_weight_of_three_classes_solves_its_equations(penalty):
    rows, labels = sample(60, 40, 3, noise=2.0)
    problem, minimum = solved(rows, labels, penalty / 60)
    directions, weights = joint_weight(minimum.probabilities, problem)
    spectrum = problem.design.spectrum[0, :-1]
    known = weights[0, :, None] * spectrum
    freedom = (known / (known + problem.strength)).sum(1)
    spread = freedom / (weights[0] * (60 - freedom))
    wanted = (1 / (1 / weights[0] + spread)).diag()
    predicted = torch.zeros(2, 2, dtype=torch.float64)
    for i in range(60):
        own = directions[0].mT @ class_covariance(minimum.probabilities[..., [i]])[0]
        predicted += torch.linalg.inv(torch.linalg.inv(own @ directions[0]) + spread.diag()) / 60
    torch.testing.assert_close(predicted, wanted, rtol=0.02, atol=1e-3 * float(wanted.max()))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_score_is_the_loss_and_the_weighted_error(n_classes):
    rows, labels = sample(200, 10, n_classes, noise=3.0)
    problem, minimum = solved(rows, labels, 1e-2)
    squares = problem.design.rows.square()
    logits = left_out_logits(problem, minimum, squares)
    if n_classes == 2:
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    wrong = float((logits[0].argmax(0) != labels).double().mean())
    extra = left_out_score(problem, minimum, squares) - left_out_loss(problem, minimum, squares)
    assert float(extra) == pytest.approx(3 * wrong, abs=3 * 0.05)


def test_score_does_not_fail_where_all_margins_are_equal():
    labels = torch.arange(20) % 2
    problem, minimum = solved(torch.ones(1, 20, 3, dtype=torch.float64), labels, 1e-2)
    score = left_out_score(problem, minimum, problem.design.rows.square())
    assert bool(torch.isfinite(score).all())


def test_loss_left_out_is_that_of_the_chosen_strength():
    rows, labels = sample(60, 30, 3, noise=3.0)
    heads = fit_softmax(rows, labels, 3)
    problem, minimum = solved(rows, labels, float(heads.strength))
    wanted = left_out_loss(problem, minimum, problem.design.rows.square())
    torch.testing.assert_close(heads.left_out_loss, wanted, rtol=1e-2, atol=0)
    assert fit_softmax(rows, labels, 3, strengths=[1e-2]).left_out_loss.isnan().all()


def test_valley_is_walked_and_its_bottom_taken():
    rows, labels = sample(SCANNED_ROWS + 1, 30, 3, noise=3.0)
    grid = tuple(10.0**-k for k in range(-1, 7))
    heads = fit_softmax(rows, labels, 3, strengths=grid)
    tried = ~heads.scores[0].isnan()
    assert 3 <= int(tried.sum()) <= len(grid)
    lowest = int(torch.where(tried, heads.scores[0], torch.inf).argmin())
    assert float(heads.strength) == pytest.approx(grid[lowest])


def test_noise_gets_a_stronger_penalty_than_signal():
    rows, labels = sample(200, 30, 2, noise=0.5)
    rng = np.random.default_rng(3)
    signal = fit_softmax(rows, labels, 2)
    noise = fit_softmax(rows, rng.permutation(labels.numpy()), 2)
    assert float(noise.strength) > 10 * float(signal.strength)


def test_choice_is_near_the_best_on_new_rows():
    regrets = []
    for seed in range(5):
        rows, labels = sample(900, 40, 4, noise=3.0, seed=seed)
        losses = []
        grid = default_strengths(300)
        for strengths in (grid, *[(s,) for s in grid]):
            heads = fit_softmax(rows[:, :300], labels[:300], 4, strengths=strengths)
            logits = heads.logits(rows[:, 300:]).mT
            losses.append(float(evaluate(logits.contiguous(), labels[300:]).loss))
        regrets.append(losses[0] - min(losses[1:]))
    assert np.mean(regrets) < 0.03


def test_default_grid_is_in_total_penalty():
    assert default_strengths(50) == tuple(p / 50 for p in PENALTIES)
    assert list(PENALTIES) == sorted(PENALTIES, reverse=True)


@pytest.mark.parametrize("n_samples", [16, 128, SCANNED_ROWS])
def test_small_samples_get_the_best_strength_of_the_whole_grid(n_samples):
    rng = np.random.default_rng(n_samples)
    features = rng.normal(size=(2, n_samples, 40)).astype(np.float32)
    labels = (features[0, :, 0] + rng.normal(size=n_samples) > 0).astype(np.int64)
    heads = fit_softmax(features, labels, 2)
    assert torch.isfinite(heads.scores).all()
    best = heads.strengths[heads.scores.argmin(1)]
    torch.testing.assert_close(heads.strength, best)
