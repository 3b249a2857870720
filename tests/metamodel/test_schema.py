import pandas as pd
import pytest

from metamodel.schema import (
    CURVE_SHARES,
    EVIDENCE,
    EVIDENCE_KEYS,
    KEY,
    OUTCOMES,
    SPECTRAL_MULTIPLES,
    SchemaError,
    check_evidence,
    check_outcomes,
)


def table(n=3):
    rows = {
        "encoder": "e", "control": "none", "task": "t", "corpus": "c", "subset": "all",
        "layer": 1, "n_train": 16, "seed": 0, "n_classes": 2, "n_eval": 50,
        "score": 0.5, "accuracy": 0.5, "log_loss": 0.7,
    }  # fmt: skip
    return pd.DataFrame([rows | {"seed": i} for i in range(n)])


def test_good_table_comes_back_unchanged():
    good = table()
    assert check_outcomes(good) is good
    assert list(good.columns) == [f.name for f in OUTCOMES]


def test_more_columns_are_welcome():
    check_outcomes(table().assign(extra="x"))


@pytest.mark.parametrize("name", [f.name for f in OUTCOMES])
def test_missing_column_is_named(name):
    with pytest.raises(SchemaError, match=name):
        check_outcomes(table().drop(columns=name))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accuracy", 1.2),
        ("layer", -2),
        ("n_train", 0),
        ("score", float("nan")),
        ("log_loss", -0.1),
    ],
)
def test_value_out_of_range_is_named_with_its_row(name, value):
    bad = table()
    bad[name] = bad[name].astype(type(value))
    bad.loc[1, name] = value
    with pytest.raises(SchemaError, match=f"{name}.*row 1"):
        check_outcomes(bad)


def test_accuracy_may_be_missing_for_regression():
    check_outcomes(table().assign(accuracy=float("nan")))


def test_wrong_type_is_refused():
    with pytest.raises(SchemaError, match="layer: expected int64"):
        check_outcomes(table().assign(layer=1.5))


def test_repeated_cell_is_refused():
    with pytest.raises(SchemaError, match="occurs twice"):
        check_outcomes(table().assign(seed=0))
    assert "seed" in KEY


def evidence(n=3):
    keys = {
        "encoder": "e", "task": "t", "corpus": "c", "subset": "all", "seed": 0, "n0": 16,
        "layer": 0, "n_layers": 2, "n_classes": 2, "n_unlabelled": 50, "width": 32,
    }  # fmt: skip
    assert list(keys) == [f.name for f in EVIDENCE_KEYS]
    rest = {f.name: 0.5 for f in EVIDENCE[len(keys) :]}
    return pd.DataFrame([keys | rest | {"layer": i} for i in range(n)])


def test_good_evidence_comes_back_unchanged():
    good = evidence()
    assert check_evidence(good) is good
    names = [f.name for f in EVIDENCE]
    assert len(set(names)) == len(names)
    assert set(CURVE_SHARES) < set(names)
    assert {f"spectral_{m}" for m in SPECTRAL_MULTIPLES} < set(names)


def test_all_evidence_but_the_keys_may_be_unknown():
    names = [f.name for f in EVIDENCE[len(EVIDENCE_KEYS) :]]
    unknown = evidence()
    unknown[names] = float("nan")
    check_evidence(unknown)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_classes": 1}, "n_classes"),
        ({"oof_accuracy": 1.5}, "oof_accuracy"),
        ({"layer": 0}, "occurs twice"),
        ({"n0": 16.0}, "n0: expected int64"),
    ],
)
def test_bad_evidence_is_refused(change, words):
    with pytest.raises(SchemaError, match=words):
        check_evidence(evidence().assign(**change))


def test_missing_evidence_is_named():
    with pytest.raises(SchemaError, match="fisher_near"):
        check_evidence(evidence().drop(columns="fisher_near"))
