"""From a sweep's cells to ``results/``: the table, the figures, the summary."""

from __future__ import annotations

import json
from pathlib import Path

from charkit.durable import write_whole
from charkit.heads.records import write_table
from charkit.heads.result import SweepResult, best_layers_by_size
from metamodel.schema import check_outcomes


def collect(result: SweepResult, out: Path, *, name: str) -> list[Path]:
    """Write ``<name>.parquet``, ``<name>.md``, ``<name>.json`` and the figures.

    Args:
        result: The finished sweep.
        out: The folder; made when absent.
        name: The study's name.

    Returns:
        The files written.

    Raises:
        metamodel.schema.SchemaError: The table does not keep the metamodel's contract.
        MissingError: The disk is full or the folder cannot be written.
    """
    done = result.table[result.table["state"] == "done"]
    check_outcomes(done)
    written = [out / f"{name}.parquet", out / f"{name}.md", out / f"{name}.json"]
    write_table(result.table, written[0])
    write_whole(written[1], summary(result, name=name).encode())
    write_whole(written[2], json.dumps(numbers(result), indent=2).encode())
    return written + draw(result, out / "figures")


def draw(result: SweepResult, folder: Path) -> list[Path]:
    """Draw learning curves and heat map of every task, and the best layer by size."""
    from charkit.report.figures import save_sweep_figures

    ceilings = {c.name: c.ceiling for c in result.cards if c.ceiling is not None}
    return save_sweep_figures(result.table, folder, ceilings=ceilings)


def numbers(result: SweepResult) -> dict[str, object]:
    """Return the counts and the best layer by size, as JSON values."""
    return {
        "n_cells": len(result.table),
        "n_failed": int((result.table["state"] == "failed").sum()),
        "best_layers": {
            card.name: best_layers_by_size(result.table, card.name).to_dict("records")
            for card in result.cards
        },
    }


def summary(result: SweepResult, *, name: str) -> str:
    """Return the findings as a page of Markdown."""
    lines = [f"# {name}: what was found", ""]
    for line in result.findings():
        lines.append(f"  - {line.strip()}" if line.startswith(" ") else f"- {line}")
    lines += ["", "## Best layer by number of labels", ""]
    for card in result.cards:
        best = best_layers_by_size(result.table, card.name)
        lines += [
            f"### {card.name} ({card.metric})",
            "",
            "| labels | layer | score | 90 % interval |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {r.n_train:,} | {r.layer} | {r.score:.3f} | {r.low:.3f} to {r.high:.3f} |"
            for r in best.itertuples()
        ]
        lines.append("")
    return "\n".join(lines)
