"""Write the generated pages of docs/: ``make docs``; a test holds them to their sources."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests"


def table_page() -> str:
    """Return the page that explains every column of the sweep's table."""
    from charkit.heads.records import COLUMNS

    lines = [
        "# The sweep's table",
        "",
        "One row a cell: one head on one layer, trained on one sample. Written by `charkit sweep",
        "--out FOLDER` as `table.parquet` and `table.csv`, by the pilot as `results/pilot.parquet`.",
        "Accuracies and shares lie in [0, 1]; intervals are 90 % intervals of the evaluation sample:",
        'what this very head would score on other texts from the same source. A second run gives',
        "the same bytes, so times are not here but in each job's `run.json` (see",
        "[store.md](store.md)).",
        "",
        "| column | type | unit | meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.meaning} |" for c in COLUMNS]
    return "\n".join([*lines, ""])


def errors_page() -> str:
    """Return the page that lists every refused input with its message and exit code."""
    cases = bad_inputs().CASES
    lines = [
        "# What charkit refuses, and what to do",
        "",
        "Every case here is a test (`tests/charkit/cli/test_bad_inputs_cli.py`). A refusal prints",
        "one message on stderr and leaves nothing half-written. Exit codes: 0 well, 1 some cells",
        "failed, 2 usage, 3 data, 4 something is missing (file, package, network, disk, permission),",
        "5 the answer would not be trustworthy, 130 stopped by you.",
        "",
        "| case | exit code | the message says |",
        "|---|---|---|",
    ]
    for case in cases:
        message = case.message.replace("|", "\\|").replace("\\.", ".")
        lines.append(f"| {case.description} | {case.error.exit_code} | {message} |")
    return "\n".join([*lines, ""])


def bad_inputs():  # noqa: ANN201 - a module
    """Return the table of bad inputs that the tests run."""
    path = TESTS / "charkit" / "tasks" / "bad_inputs.py"
    spec = importlib.util.spec_from_file_location("bad_inputs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bad_inputs"] = module
    spec.loader.exec_module(module)
    return module


PAGES = {"table.md": table_page}


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
