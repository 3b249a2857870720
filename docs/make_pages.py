"""Write the generated pages of docs/: ``make docs``; a test holds them to their sources."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from page_writers.blocks import HERE, ROOT
from page_writers.measured import benchmarks_page, robustness_page, scale_page
from page_writers.metamodel import estimate_page, learners_page, scorecard_page
from page_writers.readme import readme, with_answer, with_grown
from page_writers.reference import commands_page, errors_page, table_page
from page_writers.studies import (
    PICTURES,
    evaluate_page,
    next_page,
    pilot_page,
    write_encoders,
    write_study,
)

PAGES = {
    "table.md": table_page,
    "commands.md": commands_page,
    "errors.md": errors_page,
    "estimate.md": estimate_page,
    "benchmarks.md": benchmarks_page,
    "scale.md": scale_page,
}


def main() -> None:
    """Write all pages; those of studies only where their results are."""
    write_encoders()
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
    if (ROOT / "results" / "pilot.md").is_file():
        (HERE / "img").mkdir(exist_ok=True)
        (HERE / "pilot.md").write_text(pilot_page(), encoding="utf-8")
        for name in PICTURES:
            shutil.copy(ROOT / "results" / "figures" / f"{name}.svg", HERE / "img")
    write_study()
    if (ROOT / "results" / "scorecard.md").is_file():
        (HERE / "img").mkdir(exist_ok=True)
        (HERE / "scorecard.md").write_text(scorecard_page(), encoding="utf-8")
        for picture in sorted((ROOT / "results" / "figures").glob("scorecard*.svg")):
            shutil.copy(picture, HERE / "img")
        figures = json.loads((ROOT / "results" / "scorecard.json").read_text(encoding="utf-8"))
        (HERE / "scorecard.json").write_text(json.dumps(figures) + "\n", encoding="utf-8")
    if (ROOT / "metamodel" / "shipped" / "learner_outcomes.parquet").is_file():
        (HERE / "learners.md").write_text(learners_page(), encoding="utf-8")
    if (ROOT / "results" / "evaluate.md").is_file():
        (HERE / "evaluate.md").write_text(evaluate_page(), encoding="utf-8")
    if (ROOT / "results" / "next.md").is_file():
        (HERE / "img").mkdir(exist_ok=True)
        (HERE / "next.md").write_text(next_page(), encoding="utf-8")
        shutil.copy(ROOT / "results" / "figures" / "next_labels.svg", HERE / "img")
    if (ROOT / "results" / "robustness.json").is_file():
        (HERE / "robustness.md").write_text(robustness_page(), encoding="utf-8")
    # last: it shows figures of the files above
    (ROOT / "README.md").write_text(
        with_grown(with_answer(readme()), details=False), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
