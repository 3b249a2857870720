"""Fitting and judging the metamodel through the commands, on a few corpora of the shipped table."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from charkit.encoders import load_encoder
from glue_pilot.__main__ import app
from glue_pilot.judging.metamodel_study import read_metadata, read_settings, ship_tables, short_name
from glue_pilot.judging.scorecard import NAMES, scorecard_page
from metamodel.predict import SHIPPED, read_metamodel
from metamodel.schema import check_evidence, check_outcomes

CORPORA = ("ag_news", "clickbait", "subj", "liar")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder with a small meta-dataset: whole tasks of four corpora, pilots of three sizes."""
    folder = tmp_path_factory.mktemp("tables")
    for kind in ("evidence", "outcomes"):
        table = pd.read_parquet(SHIPPED / f"metadata_{kind}.parquet")
        kept = table[table["corpus"].isin(CORPORA) & (table["subset"] == "all")]
        if kind == "evidence":
            kept = kept[kept["n0"].isin([0, 64, 256]) & (kept["seed"] < 1)]
        kept.to_parquet(folder / f"small_{kind}.parquet")
    (folder / "small.md").write_text("card\n")
    return folder


def test_fit_judge_and_read(tables, tmp_path):
    fitted = CliRunner().invoke(
        app,
        f"metamodel --tables {tables} --name small --trials 1 --out {tmp_path} --quiet".split(),
    )
    assert fitted.exit_code == 0, fitted.output
    model = read_metamodel(tmp_path / "metamodel.json")
    data = read_metadata([tables], "small")
    first = data.evidence[data.evidence["n0"] == 64].iloc[:7]
    curve = model.curve(first, [64, 512])
    assert (curve["low"] <= curve["mean"]).all()
    assert (curve["mean"] <= curve["high"]).all()
    judged = CliRunner().invoke(
        app,
        f"scorecard --tables {tables} --name small --settings {tmp_path} --out {tmp_path} "
        "--quiet".split(),
    )
    assert judged.exit_code == 0, judged.output
    said = json.loads((tmp_path / "scorecard.json").read_text())
    assert {"figures", "versions", "cores", "seconds"} <= set(said)
    page = (tmp_path / "scorecard.md").read_text()
    assert page == scorecard_page(said["figures"])
    assert "## The floor" in page
    assert {row["n0"] for row in said["figures"]["floor"]} >= {64}
    methods = {row["method"] for row in said["figures"]["accuracy"]}
    assert {"metamodel", "last", "law", "shrunk", "mean", "tier_curve"} <= methods <= set(NAMES)
    assert all(NAMES[m] in page for m in methods)
    again = CliRunner().invoke(
        app,
        f"scorecard --rounds-of {tmp_path / 'scorecard.json'} --tables {tables} --name small "
        f"--settings {tmp_path} --out {tmp_path / 'again'} --quiet".split(),
    )
    assert again.exit_code == 0, again.output
    later = json.loads((tmp_path / "again" / "scorecard.json").read_text())
    assert later["figures"] == said["figures"]
    assert later["made_later"]["sections"] == ["again", "money"]
    assert later["code"] == said["code"]


def test_a_missing_table_or_setting_says_what_to_run(tmp_path):
    for command, hint in (("metamodel", "make metadata"), ("scorecard", "make metadata")):
        found = CliRunner().invoke(
            app, [command, "--tables", str(tmp_path), "--out", str(tmp_path / "out"), "--quiet"]
        )
        assert found.exit_code == 4
        assert hint in found.output


def test_tables_ship_without_names_of_classes(tables, tmp_path):
    table = pd.read_parquet(tables / "small_outcomes.parquet")
    table.assign(subset="classes:yes,no").to_parquet(tmp_path / "named_outcomes.parquet")
    pd.read_parquet(tables / "small_evidence.parquet").to_parquet(
        tmp_path / "named_evidence.parquet"
    )
    (tmp_path / "named.md").write_text("card\n")
    out = tmp_path / "out"
    out.mkdir()
    ship_tables([tmp_path], "named", out)
    shipped = pd.read_parquet(out / "metadata_outcomes.parquet")
    assert set(shipped["subset"]) == {short_name("classes:yes,no")}
    assert shipped["accuracy"].dtype == np.float32
    again = tmp_path / "again"
    again.mkdir()
    ship_tables([out], "metadata", again)
    pd.testing.assert_frame_equal(
        pd.read_parquet(again / "metadata_outcomes.parquet"), shipped, check_exact=True
    )


def test_what_ships_keeps_the_contract_and_is_enough():
    evidence = pd.read_parquet(SHIPPED / "metadata_evidence.parquet")
    outcomes = pd.read_parquet(SHIPPED / "metadata_outcomes.parquet")
    check_evidence(evidence)
    check_outcomes(outcomes)
    assert evidence["corpus"].nunique() >= 35
    assert len(outcomes) >= 20_000
    assert read_settings(SHIPPED).labelled.anchor != "chance"
    assert evidence["subset"].str.fullmatch(r"all|[a-z]+:[0-9a-f]{8}").all()


@pytest.mark.bundled
def test_what_ships_was_made_for_the_bundled_encoder():
    fingerprint = load_encoder("minilm").fingerprint
    assert read_metamodel(SHIPPED / "metamodel.json").encoders == (fingerprint,)
