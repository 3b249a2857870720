"""The keys of every command's JSON, and numbers that no processor changes, as they were kept.

To keep them anew after a change that is meant: ``CHARKIT_GOLDEN=write pytest tests/golden``.
"""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from charkit.cli.app import app

KEPT = Path(__file__).parent / "commands.json"
TASK = "generated/sentiment?n_train=40&n_eval=20"
COMMANDS = {
    "estimate": ("estimate", TASK, "--target", "0.8"),
    "next": ("next", TASK, "--classes", "2", "-n", "3", "--strategy", "random"),
    "layers": ("layers", TASK, "--seeds", "0", "--executor", "1"),
    "encoders": ("encoders", TASK, "--seeds", "0", "--executor", "1"),
    "sweep": ("sweep", TASK, "--seeds", "0", "--sizes", "8", "--executor", "1"),
    "embed": ("embed", TASK, "-n", "16"),
    "distances": ("distances", TASK, "generated/topic?n_train=40&n_eval=20", "-n", "16"),
    "encode": ("encode", TASK),
}
STEADY = {"n", "n_train", "n_eval", "n_labels", "n_classes", "n_pool", "texts", "tokens", "width"}
"""Counts: no arithmetic of any processor changes them."""


def shape(value, name=""):
    """Return keys and types; of lists the first element; counts as they are."""
    if isinstance(value, dict):
        return {key: shape(v, key) for key, v in sorted(value.items()) if "/" not in key}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if name in STEADY:
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number or null" if number or value is None else type(value).__name__


@pytest.mark.parametrize("name", COMMANDS)
def test_the_keys_of_a_command_stay(name, tiny_bert, tmp_path):
    given = [
        "-e",
        str(tiny_bert),
        "--device",
        "cpu",
        "--dtype",
        "float32",
        "--format",
        "json",
        "-q",
    ]
    result = CliRunner().invoke(app, [*COMMANDS[name], *given, "--cache-dir", str(tmp_path)])
    found = shape(json.loads(result.stdout))
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    if os.environ.get("CHARKIT_GOLDEN") == "write":
        text = json.dumps(kept | {name: found}, indent=1, sort_keys=True)
        KEPT.write_text(text + "\n", encoding="utf-8")
        return
    assert found == kept[name]
