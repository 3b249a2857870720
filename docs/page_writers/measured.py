"""Pages of what was measured on machines: benchmarks, scale, robustness."""

from __future__ import annotations

import json
from typing import Any

from page_writers.blocks import HERE, ROOT, load_module, measured_on, with_block

SCALE = ("<!-- scale: begin -->", "<!-- scale: end -->")


FAULTS = ("<!-- faults: begin -->", "<!-- faults: end -->")


def robustness_page() -> str:
    """Return the page of robustness with the counts of results/robustness.json made anew."""
    place = ROOT / "results" / "robustness.json"
    block = faults_block(json.loads(place.read_text(encoding="utf-8")))
    return with_block(HERE / "robustness.md", block, FAULTS)


def scale_page() -> str:
    """Return the page of executors with the block of what was measured made anew."""
    found = json.loads((ROOT / "benchmarks/results/scale.json").read_text(encoding="utf-8"))
    return with_block(HERE / "scale.md", scale_block(found), SCALE)


def scale_block(found: dict[str, Any]) -> str:
    """Return how seconds grow, and what large studies would take, as Markdown.

    Args:
        found: The content of benchmarks/results/scale.json.
    """
    made = load_module(HERE / "scale_plan.py")
    details = found["details"]
    growth = details["growth"]
    rates = growth["rates"]
    lines = [
        measured_on(found["environment"], "bench-scale"),
        "",
        "How do seconds grow? A slope of 1 on logarithmic axes means: twice the work, twice the time.",
        "",
        *made.slope_lines(growth, details["store"]),
        "",
        f"One core here tokenises {rates['tokenised_a_second']:,.0f} tokens a second; the disk takes "
        f"{rates['written_a_second'] / 1e6:,.0f} MB a second.",
        "",
        *made.plan_lines(growth),
        "",
    ]
    return "\n".join(lines)


TRIED = {
    "kills": "kills, then the same command again",
    "damages": "one file of the store damaged, then the commands that use it",
    "files": "embedding, table, policy or metamodel damaged, then read",
    "reports": "one file of a folder of results damaged, then `report`",
    "hostile_files": "hostile tables and results",
    "hostile_folders": "hostile encoder folders",
}
"""Sections of the attack -> what is tried in them."""


def faults_block(found: dict[str, Any]) -> str:
    """Return what `make test-faults` counted, as a table."""
    names = ("tried", "detected", "made_again", "harmless", "silent", "lost", "tracebacks")
    titles = [name.replace("_", " ") for name in names]
    lines = [f"| what | {' | '.join(titles)} |", "|---" * (1 + len(names)) + "|"]
    rows = {TRIED[name]: section for name, section in found["sections"].items()}
    for what, counts in {**rows, "all": found["total"]}.items():
        lines.append(f"| {what} | {' | '.join(f'{counts[n]:,}' for n in names)} |")
    return "\n".join([*lines, ""])


MEASURED = {
    "encode": ("Encoding texts", "bench"),
    "heads": ("Training heads", "bench"),
    "road": ("The demo and the pilot", "bench"),
    "estimate": ("Estimate", "bench-estimate"),
    "signal": ("The test for a signal", "bench-estimate"),
    "fisher": ("Fisher embeddings", "bench-fisher"),
    "distances": ("Distances between tasks", "bench-fisher"),
    "tables": ("Reading CSV files", "bench-tables"),
    "scale": ("Where jobs run, and the store", "bench-scale"),
    "gpu": ("One GPU", "bench-gpu"),
}
"""Files of benchmarks/results in the page's order -> heading, make target."""


WITH_LIMITS = frozenset({"estimate", "scale"})
"""Files whose figures without a bar say what the machine itself allows."""


def benchmarks_page() -> str:
    """Return the page of all figures of benchmarks/results that have a bar, or are a limit."""
    lines = [
        "# Benchmarks",
        "",
        "How fast and how exact is charkit, compared with its peers? Each figure has a bar that it should",
        "reach. Figures that miss it are shown too: **no**.",
        "",
        "- *Peer or floor*: the same work by another library, or the least time that it can take. It is",
        "  measured in the same run. A floor is what the encoder's own forward and backward passes cost.",
        "- *Ratio*: ours divided by the peer's.",
        "- Seconds depend on the machine. Ratios depend on it less.",
        "- A row without a bar says what the machine itself allows.",
        "",
    ]
    places = {p.stem: p for p in (ROOT / "benchmarks" / "results").glob("*.json")}
    for stem in sorted(places, key=lambda s: (list(MEASURED).index(s) if s in MEASURED else 99, s)):
        found = json.loads(places[stem].read_text(encoding="utf-8"))
        shown = [f for f in found["figures"] if f["bar"] is not None or stem in WITH_LIMITS]
        if rows := [_figure_row(f, stem) for f in shown]:
            heading, target = MEASURED.get(stem, (stem, "bench"))
            lines += [f"## {heading}", "", measured_on(found["environment"], target), ""]
            lines += [
                "| figure | measured | peer or floor | ratio | bar | holds |",
                "|---" * 6 + "|",
            ]
            lines += [*rows, ""]
    return "\n".join(lines)


def _figure_row(figure: dict[str, Any], stem: str) -> str:
    cells = [_number(figure[name]) for name in ("value", "baseline", "ratio", "bar")]
    name = figure["name"].removeprefix(f"{stem}: ")
    value = f"{cells[0]} {figure['unit']}".rstrip()
    holds = {None: "", True: "yes", False: "**no**"}[figure["holds"]]
    return f"| {name} | {value} | {' | '.join(cells[1:])} | {holds} |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
