"""Ways of training on a generated meta-dataset, of which gains and crossings are known."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from meta_samples import make_tasks, pilot_of, toy_data, toy_metamodel, truth

from metamodel.features import gain_features
from metamodel.fit import learners as fit
from metamodel.fit.gains import GainRows, check_learner_outcomes, mean_gains
from metamodel.fit.learners import Way, fit_learners
from metamodel.learners.compare import PROBE, Elsewhere, Gain, Learner, Learners, Predicted
from metamodel.learners.files import learners_text, load_learners, read_learners
from metamodel.predict import SHIPPED, load_shipped

SIZES = (64, 256, 1024)


def gain_of(task, n):
    """Fine-tuning loses below 256 labels and wins above, more so on many classes."""
    return 0.03 * np.log2(n / 256) / 2 + 0.01 * (task["n_classes"] > 4)


def outcomes(noise=0.001):
    rng, rows = np.random.default_rng(0), []
    for task in make_tasks():
        if task["subset"] != "all":
            continue
        for n in SIZES:
            head = max(truth(task, layer, n) for layer in range(3))
            reached = {
                "probe": head - 0.08,
                "concat": head - 0.07,
                "tuned": head - 0.08 + gain_of(task, n),
            }
            for name, accuracy in reached.items():
                for seed in (0, 1):
                    rows.append({
                        "encoder": "toy", "task": task["task"], "corpus": task["corpus"],
                        "learner": name, "n_train": n, "seed": seed, "n_eval": 500, "mean_tokens": 20.0,
                        "n_classes": task["n_classes"], "failed": False, "seconds": 1.0,
                        "accuracy": float(np.clip(accuracy + rng.normal(0, noise), 0, 1)),
                    })  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def fitted():
    settings = fit.FitSettings(most=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "WAYS", fit.WAYS[:3])  # a quarter of the time
        return fit_learners(
            toy_data(), outcomes(), settings, encoders=("toy",), progress=lambda *_: None
        )


@pytest.fixture(scope="module")
def predicted(fitted):
    evidence = pilot_of(toy_data(), 64)
    curve = toy_metamodel().curve(evidence, [64, 128, 256, 512, 2048])
    return fitted.at(evidence, curve[curve["layer"] == 1], layer=1)


def test_mean_gains_are_those_that_were_made(fitted):
    assert fitted.names == ("probe", "concat", "tuned")
    assert fitted.measured == (64, 1024)
    concat, tuned = (learner.gain for learner in fitted.learners)
    assert concat.mean == pytest.approx([0.01] * 3, abs=0.003)
    assert np.diff(tuned.mean) == pytest.approx([0.03, 0.03], abs=0.004)


def test_figures_are_finite_and_the_winner_is_named(fitted):
    figures = fitted.figures["tuned"]
    assert figures["winner"]["right"] > 0.75
    assert figures["corpora"] == fitted.n_corpora == 16
    assert {row["n0"] for row in figures["errors"]} == {0, 64}
    both = [fitted.figures[name]["errors"][0] for name in ("concat", "tuned")]
    assert both[0]["true_gain"] == pytest.approx(both[1]["true_gain"])  # the linear head's error
    assert figures["failed"] == [0, len(outcomes().query("learner == 'tuned'"))]
    assert json.dumps(fitted.figures, allow_nan=False)


def test_fine_tuning_overtakes_where_it_was_made_to(predicted):
    found = predicted.crossing("probe", "tuned")
    assert 120 < found.n < 520
    assert found.low <= found.n
    assert found.high is None or found.high >= found.n
    back = predicted.crossing("tuned", "probe")
    assert back.n is None
    assert back.probability < 0.1


def test_curves_rise_and_are_no_narrower_than_the_heads(predicted):
    head, tuned = (predicted.curve(name).set_index("n") for name in ("probe", "tuned"))
    assert tuned.index.tolist() == [64, 128, 256, 512, 2048]
    assert (np.diff(tuned["mean"]) >= 0).all()
    assert (tuned["low"] <= tuned["mean"]).all()
    assert (tuned["mean"] <= tuned["high"]).all()
    width = np.minimum(tuned["high"] - tuned["mean"], 1 - tuned["mean"])
    room = np.minimum(head["high"] - head["mean"], 1 - tuned["mean"])
    assert (width >= room - 1e-12).all()


def test_nothing_is_predicted_far_from_what_was_measured(fitted):
    evidence = pilot_of(toy_data(), 16)
    probe = pd.DataFrame({"n": [16, 32, 64, 8192]}).assign(mean=0.5, low=0.4, high=0.6)
    assert fitted.at(evidence, probe, layer=1).curve("tuned")["n"].tolist() == [32, 64]


def test_the_file_gives_the_same_predictions(fitted, predicted, tmp_path):
    place = tmp_path / "learners.json"
    place.write_text(learners_text(fitted))
    read = read_learners(place)
    evidence = pilot_of(toy_data(), 64)
    again = read.at(evidence, predicted.probe, layer=1)
    pd.testing.assert_frame_equal(again.curve("tuned"), predicted.curve("tuned"))
    assert again.crossing("probe", "tuned") == predicted.crossing("probe", "tuned")


def test_other_encoders_have_the_measured_learners_and_wider_intervals(fitted, tmp_path):
    rows = [{"known": False, "apart": 8, "right": r} for r in (0.75, 0.25)]
    rows.append({"known": True, "apart": 8, "right": 1.0})
    elsewhere = Elsewhere(("tuned",), ("far", "near"), 14, 64, 256, 1.5, tuple(rows))
    place = tmp_path / "learners.json"
    place.write_text(learners_text(replace(fitted, elsewhere=elsewhere)))
    read = read_learners(place)
    assert read.elsewhere == elsewhere
    wide = read.under_others()
    assert wide.names == (PROBE, "tuned")
    assert elsewhere.named_right == (8, 16)
    assert not wide.names_better
    assert read.names_better
    evidence = pilot_of(toy_data(), 64)
    curve = toy_metamodel().curve(evidence, [64, 128, 256])
    probe = curve[curve["layer"] == 1]
    here, there = (known.at(evidence, probe, layer=1) for known in (read, wide))
    assert there.curve("tuned")["mean"].tolist() == here.curve("tuned")["mean"].tolist()
    for own, other in zip(here.reach("tuned"), there.reach("tuned"), strict=True):
        assert other == pytest.approx(1.5 * own)
    draws = [known.differences(PROBE, "tuned") for known in (here, there)]
    spread, middle = ([f(d, axis=0) for d in draws] for f in (np.std, np.median))
    assert spread[1] == pytest.approx(1.5 * spread[0])
    assert middle[1] == pytest.approx(middle[0], abs=1e-12)
    with pytest.raises(ValueError, match="under other encoders"):
        fitted.under_others()


@pytest.mark.parametrize("change", ["", "{}", "[1]", '"sha256": 1', "swap"])
def test_a_file_that_was_changed_is_refused(fitted, tmp_path, change):
    place, text = tmp_path / "learners.json", learners_text(fitted)
    place.write_text(text.replace("0.9", "0.8", 1) if change == "swap" else change)
    with pytest.raises(ValueError):  # noqa: PT011 - the reason differs
        read_learners(place)


def hand_made(missing):
    """Return a learner of gain -0.02, 0 and 0.02 at 64, 256 and 1,024 labels, and a pilot."""
    gain = Gain(np.log2(SIZES), np.array([-0.02, 0.0, 0.02]))
    learner = Learner("tuned", gain, None, np.array(missing), (5.0, 60.0))
    sizes = np.geomspace(64, 1024, 33)
    found = Learners(("e",), ("e",), len(missing), (learner,), {})
    gains = {"tuned": np.interp(np.log2(sizes), gain.log_n, gain.mean)}
    return Predicted(found, sizes, pd.DataFrame(), gains, {})


def test_each_learner_is_predicted_near_its_own_numbers_of_labels():
    found = hand_made([[0.0] * 3] * 9)
    short = Learner(
        "setfit", Gain(np.log2([64, 128]), np.zeros(2)), None, np.zeros((9, 2)), (5, 20)
    )
    known = replace(found.known, learners=(*found.known.learners, short))
    found = replace(found, known=known, gains={**found.gains, "setfit": np.zeros(33)})
    assert known.ranges == {"tuned": (64, 1024), "setfit": (64, 128)}
    assert found.sizes[found.near("setfit")].max() == pytest.approx(256)
    assert found.near("tuned", PROBE).all()
    crossing = found.crossing("setfit", "tuned")
    assert (crossing.smallest, crossing.largest) == (64, 256)
    assert found.differences(PROBE, "setfit").shape == (9, found.near("setfit").sum())


def test_learners_without_common_corpora_are_not_compared():
    found = hand_made([[0.0] * 3] * 9 + [[np.nan] * 3] * 9)
    other = Learner("setfit", found.known.learners[0].gain, None, np.full((18, 3), np.nan), (5, 20))
    other.missing[9:] = 0.0
    known = replace(found.known, learners=(*found.known.learners, other))
    found = replace(found, known=known, gains={**found.gains, "setfit": np.zeros(33)})
    assert found.comparable(PROBE, "setfit")
    assert found.comparable(PROBE, "tuned")
    assert found.differences("setfit", "tuned").shape == (0, 33)
    assert not found.comparable("setfit", "tuned")


def test_gains_are_over_the_head_of_the_same_draw():
    common = {"encoder": "e", "task": "t", "corpus": "c", "n_train": 64}
    common |= {"failed": False, "mean_tokens": 9.0}
    runs = [(PROBE, 0, 0.6), (PROBE, 1, 0.5), ("setfit", 0, 0.65), ("tuned", 0, np.nan)]
    runs.append(("tuned", 1, 0.54))
    table = pd.DataFrame([common | {"learner": a, "seed": s, "accuracy": v} for a, s, v in runs])
    found = mean_gains(check_learner_outcomes(table)).set_index("learner")
    assert found["gain"].to_dict() == pytest.approx({"setfit": 0.05, "tuned": 0.04})
    assert found["truth"].to_dict() == pytest.approx({"setfit": 0.65, "tuned": 0.54})
    assert found["tokens"].tolist() == [9.0, 9.0]


def test_a_learner_of_some_corpora_is_completed_by_the_reference():
    rng = np.random.default_rng(0)
    corpora = [f"c{k:02d}" for k in range(40)]
    tuned = pd.DataFrame({64: rng.normal(0.02, 0.05, 40)}, index=corpora)
    lucky = tuned.nlargest(12, 64).index  # measured where fine-tuning gains most
    own = tuned.loc[lucky] + 0.01
    table = pd.DataFrame({"corpus": lucky, "task": lucky, "n": 64, "gain": own[64].to_numpy()})
    rows = GainRows(table, pd.DataFrame(index=table.index), own, tuned)
    assert rows.mean_gains()[64] == pytest.approx(tuned[64].mean() + 0.01)
    part = rows.take((table["corpus"] != lucky[0]).to_numpy())  # its own gain is left out as well
    assert part.mean_gains()[64] == pytest.approx(tuned[64].drop(lucky[0]).mean() + 0.01)
    few = GainRows(table, rows.known, own.iloc[:7], tuned)
    assert few.mean_gains()[64] == pytest.approx(own[64].iloc[:7].mean())


def test_a_crossing_is_the_quantiles_over_corpora():
    found = hand_made([[shift] * 3 for shift in np.linspace(-0.01, 0.01, 41)])
    crossing = found.crossing(PROBE, "tuned")
    assert crossing.n == pytest.approx(256, rel=0.1)
    assert crossing.low == pytest.approx(256 / 2**0.9, rel=0.1)
    assert crossing.high == pytest.approx(256 * 2**0.9, rel=0.1)
    assert crossing.probability == 1.0


def test_what_never_overtakes_has_no_number_and_a_chance():
    crossing = hand_made([[-0.1] * 3] * 9 + [[0.1] * 3]).crossing(PROBE, "tuned")
    assert (crossing.n, crossing.high, crossing.probability) == (None, None, 0.1)
    assert crossing.already == 0.1


def test_a_corpus_that_lacks_numbers_of_labels_still_gives_a_draw():
    found = hand_made([[np.nan, 0.0, np.nan], [np.nan] * 3])
    assert found.differences(PROBE, "tuned").shape == (1, 33)


def rows_with(gain, seed=0):
    """Return generated rows of 20 corpora, gains by log_classes as given."""
    rng = np.random.default_rng(seed)
    from metamodel.features import NAMES

    corpora = np.repeat(np.arange(20), 40)
    classes = rng.normal(0, 1, 20)[corpora]
    table = pd.DataFrame({
        "encoder": "e", "task": corpora.astype(str), "corpus": corpora.astype(str),
        "n0": 64, "n": 256, "probe": 0.6, "gain": gain(classes), "tokens": 20.0,
    })  # fmt: skip
    table["truth"] = table["probe"] + table["gain"] + rng.normal(0, 0.002, len(table))
    features = pd.DataFrame(np.nan, range(len(table)), list(NAMES))
    features = features.assign(log_n=8.0, chance=0.5, log_classes=classes)
    gains = table.groupby(["corpus", "n"])["gain"].mean().unstack()
    return GainRows(table, gain_features(features, np.full(len(table), 0.6)), gains), features


def test_features_are_chosen_where_they_help_and_only_there():
    helped, _ = rows_with(lambda c: 0.03 * c)
    off = np.abs(fit.nested(helped) - helped.gain)
    assert off.mean() < 0.5 * np.abs(fit.left_out(helped, Way()) - helped.gain).mean()
    rng = np.random.default_rng(1)
    flat, features = rows_with(
        lambda c: 0.02 + rng.normal(0, 0.01, 20)[np.repeat(np.arange(20), 40)]
    )
    learner, figures = fit._fit_learner(flat, features, "tuned", [str(c) for c in range(20)])
    assert learner.gain.ridge is None
    assert figures["gained"][1] <= 0
    assert [row["group"] for row in figures["groups"]] == ["classes", "the linear head"]


def test_a_group_of_features_gains_where_gains_depend_on_it():
    helped, _ = rows_with(lambda c: 0.03 * c)
    found = {row["group"]: row for row in fit.by_group(helped)}
    assert found["classes"]["low"] > 0.5
    assert found["the linear head"]["high"] < 0.1
    assert found["classes"]["tasks"] == 20


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="accuracy"), "columns are missing"),
        (lambda t: t.assign(accuracy=t["accuracy"] * 100), "expected 0 to 1"),
        (lambda t: t[t["learner"] != "probe"], "expected 'probe' among them"),
        (lambda t: t[t["corpus"] < "corpus03"], "expected 8 corpora"),
        (lambda t: t.assign(encoder="other"), "expected 8 corpora"),
    ],
)
def test_outcomes_that_cannot_be_used_are_refused(spoil, message):
    with pytest.raises(ValueError, match=message):
        fit_learners(
            toy_data(), spoil(outcomes()), fit.FitSettings(), encoders=(), progress=lambda *_: None
        )


def test_the_shipped_learners_answer_for_a_pilot_of_the_shipped_encoder():
    found = load_learners()
    assert found.names == (PROBE, "concat", "setfit", "tuned")
    assert set(found.encoders) <= set(load_shipped().encoders)
    assert found.names_of_encoders == ("minilm",)
    rows = pd.read_parquet(SHIPPED / "metadata_evidence.parquet", filters=[("n0", "==", 64)])
    rows = rows[rows["subset"] == "all"]
    first = rows[["task", "seed"]].iloc[0]
    evidence = rows[(rows["task"] == first["task"]) & (rows["seed"] == first["seed"])]
    evidence = evidence.reset_index(drop=True)
    curve = load_shipped().curve(evidence, [64, 128, 256])
    predicted = found.at(evidence, curve[curve["layer"] == 3], layer=3)
    for name in ("concat", "tuned"):
        table = predicted.curve(name)
        assert table["n"].tolist() == [64, 128, 256]
        assert table[["mean", "low", "high"]].apply(lambda c: c.between(0, 1).all()).all()
        crossing = predicted.crossing(PROBE, name)
        assert 0 <= crossing.probability <= 1
        assert predicted.differences(PROBE, name).shape[0] >= 30
