import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as oracle

from charkit.errors import UnknownNameError, UsageError
from charkit.heads.metrics.scores import (
    PROBABILITY_FLOOR,
    classification_scores,
    headline,
    majority_probabilities,
    majority_scores,
    regression_scores,
    row_log_loss,
)


def random_heads(n_classes, n_rows=300, n_heads=4, seed=0, alpha=0.7):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_rows)
    probabilities = rng.dirichlet(np.full(n_classes, alpha), (n_heads, n_rows))
    probabilities[0, np.arange(n_rows), labels] += 1.0
    return probabilities / probabilities.sum(axis=2, keepdims=True), labels


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("n_classes", [2, 3, 77])
def test_classification_equals_scikit_learn(n_classes):
    probabilities, labels = random_heads(n_classes)
    ours = classification_scores(probabilities, labels)
    average = "binary" if n_classes == 2 else "macro"
    for b, p in enumerate(probabilities):
        predicted = p.argmax(axis=1)
        wanted = {
            "accuracy": oracle.accuracy_score(labels, predicted),
            "f1": oracle.f1_score(labels, predicted, average=average),
            "macro_f1": oracle.f1_score(labels, predicted, average="macro"),
            "balanced_accuracy": oracle.balanced_accuracy_score(labels, predicted),
            "matthews": oracle.matthews_corrcoef(labels, predicted),
            "log_loss": oracle.log_loss(labels, p, labels=range(n_classes)),
            "brier": np.square(p - np.eye(n_classes)[labels]).sum(axis=1).mean(),
        }
        for name, value in wanted.items():
            assert ours[name][b] == pytest.approx(value, abs=1e-12), name


@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label was found")
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_rows_of_unseen_classes_count_in_every_metric(data):
    """Classes may lack evaluation rows, and evaluation rows may be of classes no head knows."""
    n_known, n_unseen = data.draw(st.integers(2, 5)), data.draw(st.integers(0, 3))
    n_codes = n_known + n_unseen
    labels = np.array(data.draw(st.lists(st.integers(0, n_codes - 1), min_size=1, max_size=25)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    p = rng.dirichlet(np.full(n_codes, 0.5), (1, labels.size))
    ours = classification_scores(p, labels, n_known=n_known)
    predicted = p[0, :, :n_known].argmax(axis=1)
    wanted = {
        "accuracy": oracle.accuracy_score(labels, predicted),
        "macro_f1": oracle.f1_score(labels, predicted, average="macro", zero_division=0),
        "balanced_accuracy": oracle.balanced_accuracy_score(labels, predicted),
        "log_loss": -np.log(p[0, np.arange(labels.size), labels]).mean(),
        "brier": np.square(p[0] - np.eye(n_codes)[labels]).sum(axis=1).mean(),
    }
    if len({*labels, *predicted}) > 1:
        wanted["matthews"] = oracle.matthews_corrcoef(labels, predicted)
    for name, value in wanted.items():
        assert ours[name][0] == pytest.approx(value, abs=1e-9), name
        assert ours[f"{name}_low"][0] <= ours[name][0] + 1e-12, name
        assert ours[f"{name}_high"][0] >= ours[name][0] - 1e-12, name
    assert ours["accuracy"][0] <= (labels < n_known).mean()


def test_balanced_accuracy_is_not_certain_of_a_class_of_few_rows():
    labels = np.repeat([0, 1], [200, 3])
    ours = classification_scores(np.eye(2)[labels][None], labels)
    assert ours["balanced_accuracy"][0] == 1.0
    assert ours["balanced_accuracy_low"][0] < 0.85
    assert ours["accuracy_low"][0] > 0.98


def test_macro_f1_leaves_out_classes_that_never_occur():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.eye(5)[[[0, 0, 1, 2]]]
    want = oracle.f1_score(labels, [0, 0, 1, 2], average="macro", zero_division=0)
    assert classification_scores(probabilities, labels)["f1"][0] == pytest.approx(want)


def test_intervals_hold_the_value_and_stay_in_range():
    ranges = {"accuracy": (0, 1), "f1": (0, 1), "matthews": (-1, 1), "brier": (0, 2)}
    ranges |= {"macro_f1": (0, 1), "balanced_accuracy": (0, 1)}
    for n_classes in (2, 5):
        for n_rows in (1, 2, 7, 60):
            ours = classification_scores(*random_heads(n_classes, n_rows, seed=n_rows))
            for name, (least, most) in ranges.items():
                low, value, high = ours[f"{name}_low"], ours[name], ours[f"{name}_high"]
                assert (least - 1e-12 <= low).all(), name
                assert (low <= value + 1e-12).all(), name
                assert (value <= high + 1e-12).all(), name
                assert (high <= most + 1e-12).all(), name


@pytest.mark.parametrize("n_classes", [2, 4])
def test_perfect_and_all_wrong_heads_keep_honest_intervals(n_classes):
    labels = np.arange(40) % n_classes
    heads = np.eye(n_classes)[np.stack([labels, (labels + 1) % n_classes])]
    ours = classification_scores(heads, labels)
    assert ours["accuracy"].tolist() == [1.0, 0.0]
    assert ours["f1"].tolist() == [1.0, 0.0]
    assert ours["matthews"][0] == 1.0
    for name in ("accuracy", "f1", "matthews"):
        assert 0.5 < ours[f"{name}_low"][0] < 1.0
        assert ours[f"{name}_high"][0] == 1.0
        assert ours[f"{name}_high"][1] > ours[name][1]
    assert ours["log_loss"][0] == 0.0
    assert ours["log_loss"][1] == pytest.approx(-np.log(PROBABILITY_FLOOR))
    assert ours["brier"].tolist() == [0.0, 2.0]


def test_one_class_in_the_evaluation():
    labels = np.zeros(20, dtype=np.int64)
    heads = np.eye(2)[np.stack([labels, 1 - labels, np.arange(20) % 2])]
    ours = classification_scores(heads, labels)
    assert ours["matthews"].tolist() == [0.0, 0.0, 0.0]
    assert (ours["matthews_high"] > 0.2).all()
    assert ours["f1"].tolist() == [0.0, 0.0, 0.0]
    assert (ours["f1_low"][0], ours["f1_high"][0]) == (0.0, 1.0)  # no row bears on class 1


def test_ties_go_to_the_lowest_class():
    ours = classification_scores(np.full((1, 3, 3), 1 / 3), np.array([0, 1, 2]))
    assert ours["accuracy"][0] == pytest.approx(1 / 3)


def test_only_vanishing_probabilities_are_floored():
    p = np.array([[[1 - 1e-30, 1e-30], [1.0, 0.0]]])
    losses = row_log_loss(p, np.array([1, 1]))
    assert losses[0, 0] == pytest.approx(30 * np.log(10))
    assert losses[0, 1] == pytest.approx(-np.log(PROBABILITY_FLOOR))


def test_float32_probabilities_are_summed_in_float64():
    probabilities, labels = random_heads(5, 5000, 2)
    exact = classification_scores(probabilities, labels)
    single = classification_scores(probabilities.astype(np.float32), labels)
    for name in ("log_loss", "brier"):
        assert single[name] == pytest.approx(exact[name], rel=1e-6)


@pytest.mark.parametrize(
    ("probabilities", "labels", "words"),
    [
        (np.full((1, 3, 2), 0.5), np.array([0, 1]), "do not fit"),
        (np.full((3, 2), 0.5), np.array([0, 1, 0]), "do not fit"),
        (np.full((1, 0, 2), 0.5), np.array([], dtype=np.int64), "do not fit"),
        (np.full((1, 2, 1), 1.0), np.array([0, 0]), "C >= 2"),
        (np.full((1, 2, 2), 0.5), np.array([0, 2]), "codes 0..1"),
        (np.full((1, 2, 2), 0.5), np.array([0.0, 1.0]), "float64"),
        (np.full((1, 2, 2), 0.6), np.array([0, 1]), "sum of 1.2"),
        (np.full((1, 2, 2), np.nan), np.array([0, 1]), "sum of nan"),
    ],
)
def test_wrong_input_is_refused(probabilities, labels, words):
    with pytest.raises(UsageError, match=words):
        classification_scores(probabilities, labels)


def coverage(name, truth, worlds):
    """Share of simulated evaluation samples whose interval holds the truth."""
    hits = [(s[f"{name}_low"] <= truth) & (truth <= s[f"{name}_high"]) for s in worlds]
    return float(np.mean(hits))


def confusion_worlds(cells, n_rows, n_worlds, seed=0):
    """Heads whose (label, prediction) pairs follow a known table, all labels the same."""
    rng = np.random.default_rng(seed)
    n_classes = len(cells)
    for _ in range(n_worlds):
        drawn = rng.choice(n_classes**2, n_rows, p=np.ravel(cells))
        labels, predicted = np.divmod(drawn, n_classes)
        yield classification_scores(np.eye(n_classes)[predicted][None], labels)


TABLES = {
    "balanced": np.array([[0.35, 0.15], [0.1, 0.4]]),
    "rare": np.array([[0.85, 0.05], [0.04, 0.06]]),
    "three": np.array([[0.5, 0.06, 0.04], [0.06, 0.2, 0.02], [0.02, 0.02, 0.08]]),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("n_rows", [60, 400])
def test_intervals_cover_what_they_promise(table, n_rows):
    cells = TABLES[table]
    many = 400_000
    counts = np.round(cells * many).astype(int).ravel()
    labels, predicted = np.divmod(np.repeat(np.arange(counts.size), counts), len(cells))
    exact = classification_scores(np.eye(len(cells))[predicted][None], labels)
    worlds = list(confusion_worlds(cells, n_rows, 600))
    for name in ("accuracy", "f1", "balanced_accuracy", "matthews", "brier"):
        share = coverage(name, exact[name][0], worlds)
        assert 0.85 <= share <= 0.955, (name, share)
    assert coverage("macro_f1", exact["macro_f1"][0], worlds) >= 0.85


def test_log_loss_interval_covers():
    rng = np.random.default_rng(5)
    p = rng.beta(2, 1, (1500, 120))
    truth = 0.5  # E[-log p] for Beta(2, 1)
    worlds = [
        classification_scores(np.stack([r, 1 - r], axis=1)[None], np.zeros(120, np.int64))
        for r in p
    ]
    assert 0.87 <= coverage("log_loss", truth, worlds) <= 0.93


def test_regression_equals_scipy_with_ties():
    rng = np.random.default_rng(0)
    made = rng.integers(0, 6, (3, 80)) / 2
    wanted = np.round(made[0] + rng.standard_normal(80), 0)
    ours = regression_scores(made, wanted)
    for b, row in enumerate(made):
        assert ours["pearson"][b] == pytest.approx(stats.pearsonr(row, wanted)[0])
        assert ours["spearman"][b] == pytest.approx(stats.spearmanr(row, wanted)[0])
        assert ours["r2"][b] == pytest.approx(oracle.r2_score(wanted, row))
        assert ours["rmse"][b] == pytest.approx(oracle.root_mean_squared_error(wanted, row))
    both = (ours["pearson"] + ours["spearman"]) / 2
    assert ours["pearson_spearman"] == pytest.approx(both)


def test_constant_predictions_or_targets_order_nothing():
    wanted = np.array([1.0, 2.0, 4.0, 3.0, 2.0])
    for made in (np.full((1, 5), 0.1 + 0.2), np.full((1, 5), 0.0)):
        ours = regression_scores(made, wanted)
        assert (ours["pearson"][0], ours["spearman"][0]) == (0.0, 0.0)
        assert ours["pearson_spearman_high"][0] > 0
    flat = regression_scores(wanted[None], np.full(5, 0.3))
    assert (flat["pearson"][0], flat["r2"][0]) == (0.0, 0.0)
    one = regression_scores(np.array([[1.0]]), np.array([2.0]))
    assert (one["pearson_spearman_low"][0], one["rmse"][0]) == (-1.0, 1.0)


def test_correlation_interval_covers():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((1500, 80))
    y = 0.7 * x + np.sqrt(1 - 0.49) * rng.standard_normal((1500, 80))
    truth = (0.7 + 6 / np.pi * np.arcsin(0.35)) / 2
    worlds = [regression_scores(a[None], b) for a, b in zip(x, y, strict=True)]
    assert 0.88 <= coverage("pearson_spearman", truth, worlds) <= 0.95


@pytest.mark.parametrize(
    ("made", "wanted", "words"),
    [
        (np.zeros((2, 3)), np.zeros(2), "do not fit"),
        (np.zeros(3), np.zeros(3), "do not fit"),
        (np.zeros((1, 0)), np.zeros(0), "do not fit"),
        (np.array([[np.nan, 1.0]]), np.zeros(2), "finite"),
    ],
)
def test_wrong_regression_input_is_refused(made, wanted, words):
    with pytest.raises(UsageError, match=words):
        regression_scores(made, wanted)


def test_headline_is_the_tasks_own_metric():
    scores = classification_scores(*random_heads(2))
    for metric in ("accuracy", "f1", "matthews"):
        own = headline(scores, metric)
        assert own.score is scores[metric]
        assert (own.score_low <= own.score).all()
        assert (own.score <= own.score_high).all()
    with pytest.raises(UnknownNameError, match="accuracy"):
        headline(scores, "acuracy")
    with pytest.raises(UnknownNameError, match="pearson_spearman"):
        headline(regression_scores(np.eye(2), np.arange(2)), "accuracy")


def test_majority_head():
    train, held_out = np.array([1, 1, 1, 0]), np.array([1, 0, 1, 1, 2])
    assert majority_probabilities(train, n_classes=3) == pytest.approx([2 / 7, 4 / 7, 1 / 7])
    ours = majority_scores(train, held_out, n_classes=3)
    assert ours["accuracy"].tolist() == [0.6]
    want = -(3 * np.log(4 / 7) + np.log(2 / 7) + np.log(1 / 7)) / 5
    assert ours["log_loss"][0] == pytest.approx(want)
    assert ours["matthews"].tolist() == [0.0]


def test_majority_of_equals_is_the_lowest_class_and_regression_takes_the_mean():
    tied = majority_scores([0, 1], np.array([0, 0, 1]), n_classes=2)
    assert tied["accuracy"][0] == pytest.approx(2 / 3)
    mean = majority_scores([1.0, 2.0, 6.0], [3.0, 5.0], n_classes=0)
    assert mean["rmse"][0] == pytest.approx(np.sqrt(2))
    assert mean["pearson_spearman"][0] == 0.0


def test_memory_stays_below_the_probabilities_themselves():
    import tracemalloc

    rng = np.random.default_rng(0)
    probabilities = rng.random((10, 4000, 100), dtype=np.float32)
    probabilities /= probabilities.sum(axis=2, keepdims=True)
    labels = rng.integers(0, 100, 4000)
    tracemalloc.start()
    classification_scores(probabilities, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < probabilities.nbytes / 2
