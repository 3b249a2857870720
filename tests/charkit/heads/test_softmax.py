import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from charkit.errors import DataError, UsageError
from charkit.heads.solver.design import make_design
from charkit.heads.solver.minimise import Problem, evaluate, minimise, n_columns, prior_weights
from charkit.heads.solver.softmax import fit_softmax


def sample(n, width, n_classes, *, layers=2, seed=0, noise=1.0, shares=None):
    """Gaussian classes; every class has a row."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(n_classes, size=n, p=shares)
    labels[:n_classes] = np.arange(n_classes)
    centres = rng.normal(size=(layers, n_classes, width)) / np.sqrt(width)
    rows = centres[:, labels] + noise * rng.normal(size=(layers, n, width)) / np.sqrt(width)
    return rows + rng.normal(size=(layers, 1, width)), labels


def scaled(rows):
    centred = rows - rows.mean(0)
    return centred / np.sqrt((centred**2).sum(1).mean())


def peer(rows, labels, strength):
    model = LogisticRegression(C=1 / (len(rows) * strength), tol=1e-10, max_iter=20000)
    return model.fit(scaled(rows), labels)


def objective(rows, labels, weights, bias, strength):
    """The documented objective, from raw-feature weights, written out by hand."""
    centred = rows - rows.mean(0)
    scale = np.sqrt((centred**2).sum(1).mean())
    logits = torch.as_tensor(rows @ weights.T + bias)
    loss = torch.nn.functional.cross_entropy(logits, torch.as_tensor(labels))
    if len(weights) == 2:
        weights = weights[1:] - weights[:1]
    return float(loss) + strength / 2 * float(((weights * scale) ** 2).sum())


SHAPES = [(12, 30, 2), (60, 5, 2), (25, 40, 3), (90, 6, 3), (100, 150, 20), (400, 10, 20)]


@pytest.mark.parametrize(("n", "width", "n_classes"), SHAPES)
@pytest.mark.parametrize("strength", [0.1, 1e-3, 1e-5])
def test_float64_equals_scikit_learn(n, width, n_classes, strength):
    rows, labels = sample(n, width, n_classes)
    heads = fit_softmax(
        rows, labels, n_classes, strengths=[strength], tolerance=1e-12, dtype=torch.float64
    )
    assert heads.converged.all()
    for b in range(2):
        model = peer(rows[b], labels, strength)
        theirs = model.predict_proba(scaled(rows[b]))
        ours = heads.probabilities(rows)[b].numpy()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=3e-4)


@pytest.mark.parametrize(("n", "width", "n_classes"), SHAPES)
@pytest.mark.parametrize("strength", [0.1, 1e-3, 1e-5])
def test_float32_gap_is_within_the_bar(n, width, n_classes, strength):
    rows, labels = sample(n, width, n_classes)
    rows = rows.astype(np.float32).astype(np.float64)
    loose = fit_softmax(rows, labels, n_classes, strengths=[strength])
    tight = fit_softmax(
        rows, labels, n_classes, strengths=[strength], tolerance=1e-12, dtype=torch.float64
    )
    gap = (loose.objective - tight.objective) / tight.objective
    assert float(gap.abs().max()) < 1e-4
    weights, bias = loose.weights.double().numpy(), loose.bias.double().numpy()
    for b in range(2):
        value = objective(rows[b], labels, weights[b], bias[b], strength)
        assert value == pytest.approx(float(tight.objective[b]), rel=2e-4)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_gradient_equals_autograd(n_classes):
    rows, labels = sample(40, 9, n_classes)
    codes = torch.as_tensor(labels)
    problem = Problem(make_design(torch.as_tensor(rows)), codes, torch.tensor([0.03, 0.3]))
    generator = torch.Generator().manual_seed(0)
    shape = (2, n_columns(n_classes), 10)
    weights = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    logits = weights @ problem.design.rows.mT
    if n_classes == 2:
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    loss = torch.nn.functional.cross_entropy(logits, codes.expand(2, -1), reduction="none")
    value = loss.mean(1) + (problem.penalty() * weights**2).sum((1, 2)) / 2
    value.sum().backward()
    found = minimise(problem, weights.detach(), tolerance=1e-3, max_iterations=0)
    torch.testing.assert_close(found.objective, value.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(found.gradient_norm, weights.grad.flatten(1).norm(dim=1))
    assert not found.converged.any()


def test_bias_is_free_and_starts_at_the_class_shares():
    rows, labels = sample(200, 4, 3, shares=[0.7, 0.2, 0.1])
    heads = fit_softmax(rows, labels, 3, strengths=[1e6], dtype=torch.float64)
    shares = np.bincount(labels) / 200
    np.testing.assert_allclose(heads.probabilities(rows)[0].mean(0), shares, atol=1e-5)


def test_separable_data_converge():
    rows = np.concatenate([np.full((1, 20, 3), -1.0), np.full((1, 20, 3), 1.0)], 1)
    labels = np.repeat([0, 1], 20)
    heads = fit_softmax(rows, labels, 2, strengths=[1e-6])
    assert heads.converged.all()
    assert (heads.logits(rows)[0].argmax(1).numpy() == labels).all()
    exact = fit_softmax(rows, labels, 2, strengths=[1e-6], dtype=torch.float64, tolerance=1e-10)
    assert float(heads.objective) == pytest.approx(float(exact.objective), rel=1e-4)


def test_absent_classes_have_the_documented_odds():
    rows, labels = sample(30, 8, 3)
    wide = fit_softmax(rows, np.array([1, 4, 6])[labels], 9, strengths=[1e-2])
    narrow = fit_softmax(rows, labels, 3, strengths=[1e-2])
    probabilities = wide.probabilities(rows)
    assert wide.n_absent == 6
    assert torch.isfinite(wide.logits(rows)).all()
    assert float(probabilities.min()) > 0
    torch.testing.assert_close(wide.logits(rows)[..., [1, 4, 6]], narrow.logits(rows))
    present = probabilities[..., [1, 4, 6]].sum(2)
    odds = (probabilities[..., 0] / present).log().mean(1).exp()
    torch.testing.assert_close(odds, torch.full((2,), 1 / 30), rtol=1e-4, atol=0)


def test_two_present_classes_of_three_equal_a_two_class_head():
    rows, labels = sample(30, 8, 2)
    wide = fit_softmax(rows, labels * 2, 3, strengths=[1e-2])
    narrow = fit_softmax(rows, labels, 2, strengths=[1e-2])
    torch.testing.assert_close(wide.logits(rows)[..., [0, 2]], narrow.logits(rows))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_constant_columns_duplicated_rows_and_equal_rows(n_classes):
    rows, labels = sample(20, 6, n_classes)
    rows[..., 0] = 7.0
    heads = fit_softmax(np.tile(rows, (1, 3, 1)), np.tile(labels, 3), n_classes)
    assert heads.converged.all()
    same = fit_softmax(np.ones((1, 20, 6)), labels, n_classes)
    assert same.converged.all()
    shares = np.bincount(labels) / 20
    np.testing.assert_allclose(same.probabilities(np.ones((1, 1, 6)))[0, 0], shares, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("factor", [1e3, 1e6])
def test_one_huge_row(n_classes, factor):
    rows, labels = sample(60, 10, n_classes)
    rows[:, 5] *= factor
    heads = fit_softmax(rows.astype(np.float32), labels, n_classes, strengths=[1e-3])
    exact = fit_softmax(
        rows.astype(np.float32), labels, n_classes, strengths=[1e-3], dtype=torch.float64
    )
    assert heads.converged.all()
    torch.testing.assert_close(heads.objective, exact.objective, rtol=1e-4, atol=0)


def test_row_order_rotation_and_class_names_do_not_matter():
    rows, labels = sample(50, 12, 3)
    rng = np.random.default_rng(5)
    options = {"strengths": [1e-2], "dtype": torch.float64, "tolerance": 1e-12}
    logits = fit_softmax(rows, labels, 3, **options).logits(rows)
    order = rng.permutation(50)
    moved = fit_softmax(rows[:, order], labels[order], 3, **options).logits(rows)
    torch.testing.assert_close(moved, logits, atol=1e-5, rtol=0)
    turn = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    turned = fit_softmax(rows @ turn, labels, 3, **options).logits(rows @ turn)
    torch.testing.assert_close(turned, logits, atol=1e-5, rtol=0)
    names = np.array([2, 0, 1])
    renamed = fit_softmax(rows, names[labels], 3, **options).logits(rows)[..., names]
    torch.testing.assert_close(renamed, logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_neighbours_in_the_batch_do_not_matter(n_classes):
    rows, labels = sample(40, 12, n_classes, layers=6)
    exact = {"tolerance": 1e-13, "dtype": torch.float64}
    together, quick = (fit_softmax(rows, labels, n_classes, **o) for o in (exact, {}))
    for b in range(6):
        alone = fit_softmax(rows[b : b + 1], labels, n_classes, **exact)
        assert float(alone.strength) == float(together.strength[b])
        torch.testing.assert_close(alone.weights[0], together.weights[b], rtol=0, atol=1e-5)
        alone = fit_softmax(rows[b : b + 1], labels, n_classes)
        assert float(alone.strength) == float(quick.strength[b])
        torch.testing.assert_close(alone.objective[0], quick.objective[b], rtol=2e-5, atol=0)


def test_same_input_twice_is_bit_equal():
    rows, labels = sample(300, 40, 5)
    first, second = (fit_softmax(rows, labels, 5) for _ in range(2))
    assert torch.equal(first.weights, second.weights)
    assert torch.equal(first.scores.nan_to_num(), second.scores.nan_to_num())


def test_scale_and_shift_of_the_features_do_not_matter():
    rows, labels = sample(60, 10, 3)
    options = {"strengths": [1e-2], "dtype": torch.float64, "tolerance": 1e-12}
    logits = fit_softmax(rows, labels, 3, **options).logits(rows)
    moved = fit_softmax(rows * 37 + 5, labels, 3, **options).logits(rows * 37 + 5)
    torch.testing.assert_close(moved, logits, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"features": np.full((1, 6, 2), np.nan)}, DataError, "not finite"),
        ({"features": 1e30 * np.eye(6, 2, dtype=np.float32)[None]}, DataError, "not finite"),
        ({"features": np.zeros((6, 2))}, UsageError, "no usable shape"),
        ({"features": np.zeros((1, 0, 2))}, UsageError, "no usable shape"),
        ({"labels": np.zeros(6, int)}, DataError, "at least 2 classes"),
        ({"labels": np.array([0, 1, 2, 0, 1, 3])}, DataError, "out of range"),
        ({"labels": np.array([0, 1, -1, 0, 1, 1])}, DataError, "out of range"),
        ({"labels": np.array([0, 1])}, UsageError, "do not fit"),
        ({"labels": np.linspace(0, 1, 6)}, UsageError, "no class codes"),
        ({"strengths": []}, UsageError, "strengths"),
        ({"strengths": [0.0, 1.0]}, UsageError, "strengths"),
        ({"tolerance": 0.0}, UsageError, "tolerance"),
    ],
)
def test_absurd_inputs(change, error, words):
    rng = np.random.default_rng(0)
    given = {
        "features": rng.normal(size=(1, 6, 2)),
        "labels": np.array([0, 1, 2, 0, 1, 2]),
        "n_classes": 3,
    } | change
    with pytest.raises(error, match=words):
        fit_softmax(**given)


def test_loss_is_stable_at_large_logits():
    logits = torch.tensor([[[1e4, -1e4]], [[-1e4, 1e4]]])
    codes = torch.tensor([1, 0])
    assert evaluate(logits, codes).loss.tolist() == [0.0, 1e4]
    wide = torch.tensor([[[1e4], [0.0], [0.0]]])
    assert evaluate(wide, torch.tensor([1])).loss.tolist() == [1e4]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_cpu():
    rows, labels = sample(200, 40, 5)
    cpu = fit_softmax(rows, labels, 5)
    gpu = fit_softmax(rows, labels, 5, device="cuda")
    torch.testing.assert_close(gpu.objective.cpu(), cpu.objective, rtol=1e-4, atol=0)
    assert torch.equal(gpu.strength.cpu(), cpu.strength)


def test_prior_weights_reproduce_the_shares():
    rows, labels = sample(50, 4, 3, shares=[0.6, 0.3, 0.1])
    problem = Problem(make_design(torch.as_tensor(rows)), torch.as_tensor(labels), torch.ones(2))
    weights = prior_weights(problem, 3)
    shares = torch.softmax(weights[0, :, -1], 0)
    np.testing.assert_allclose(shares, np.bincount(labels) / 50)
