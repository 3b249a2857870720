"""From tasks to a metamodel over two encoders and its scorecard, through the commands."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from charkit.encoders import load_encoder
from glue_pilot.__main__ import app
from glue_pilot.judging.metamodel_study import ship_tables
from glue_pilot.judging.summary import encoders_section
from metamodel.predict import read_metamodel

STUDY = """
name = "small"
encoder = "minilm"
n_train = 300
n_evaluation = 60
n_unlabelled = 40
n_variants = 1
smallest_train = 40
smallest_evaluation = 15
sizes = [32, 64, 128]
small_size = 32
draws = [1, 1]
variant_draws = [1, 1]
pilots = [0, 16, 64]
variant_pilots = [0]
pilot_draws = [1, 1]
n_fisher = 8
fisher_pilots = []
fisher_draws = 1
fisher_variant_pilots = []
fisher_max_length = 16
tasks = [
  "generated/sentiment?n_train=300&n_eval=60",
  "generated/topic?n_train=300&n_eval=60",
  "generated/acceptability?n_train=300&n_eval=60&difficulty=0.4",
]
"""


def run(*arguments):
    found = CliRunner().invoke(app, [*map(str, arguments), "--quiet"])
    assert found.exit_code == 0, found.output
    return found


@pytest.fixture(scope="module")
def built(tiny_bert, other_tiny_bert, tmp_path_factory):
    """The folder of results, and the tables of each encoder in it."""
    out = tmp_path_factory.mktemp("several")
    (out / "small.toml").write_text(STUDY)
    places = []
    for encoder in (tiny_bert, other_tiny_bert):
        places.append(out / encoder.name)
        made = ("--out", places[-1], "--cache-dir", out / "store", "--executor", 1)
        run("metadata", out / "small.toml", "--encoder", encoder, "--device", "cpu", *made)
    given = [part for place in places for part in ("--tables", place)] + ["--name", "small"]
    run("metamodel", *given, "--trials", 1, "--out", out)
    run("scorecard", *given, "--settings", out, "--out", out)
    return out, places


def test_each_encoder_has_tables_of_its_own(built, tiny_bert, other_tiny_bert):
    tables = [pd.read_parquet(place / "small_evidence.parquet") for place in built[1]]
    assert [set(t["encoder"]) for t in tables] == [{str(tiny_bert)}, {str(other_tiny_bert)}]
    assert [t["layer"].max() for t in tables] == [2, 3]


def test_the_metamodel_knows_both(built, tiny_bert, other_tiny_bert):
    model = read_metamodel(built[0] / "metamodel.json")
    known = {load_encoder(str(e)).fingerprint for e in (tiny_bert, other_tiny_bert)}
    assert set(model.encoders) == known


def test_the_scorecard_leaves_out_one_encoder_at_a_time(built, tiny_bert, other_tiny_bert):
    rows = json.loads((built[0] / "scorecard.json").read_text())["figures"]["encoders"]
    assert {row["encoder"] for row in rows} == {str(tiny_bert), str(other_tiny_bert)}
    page = (built[0] / "scorecard.md").read_text()
    assert "## Another encoder" in page
    assert "| tiny-bert | 64 x 2 |" in page
    assert page.rstrip().endswith("\n".join(encoders_section(rows)).rstrip())
    assert encoders_section([]) == []


def test_tables_of_several_encoders_ship_together(built, tmp_path):
    ship_tables(built[1], "small", tmp_path)
    shipped = pd.read_parquet(tmp_path / "metadata_evidence.parquet")
    assert shipped["encoder"].nunique() == 2
    assert (tmp_path / "metadata.md").read_text().count("# small:") == 2
