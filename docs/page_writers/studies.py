"""Pages of studies: experiments, the pilot, encoders, test labels, what to label next."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from page_writers.blocks import HERE, ROOT, replaced, with_block

STUDY = ("<!-- study: begin -->", "<!-- study: end -->")


ENCODERS = ("<!-- which encoder: begin -->", "<!-- which encoder: end -->")


PAIRS = ("<!-- pairs: begin -->", "<!-- pairs: end -->")


def next_page() -> str:
    """Return the page of what to label next with the block of what its study found made anew."""
    found = (ROOT / "results" / "next.md").read_text(encoding="utf-8")
    picture = "![Accuracy above random's by number of labels](img/next_labels.svg)"
    return with_block(HERE / "next.md", f"{picture}\n\n{found}", STUDY)


def evaluate_page() -> str:
    """Return the page of test labels with the block of what its study found made anew."""
    found = (ROOT / "results" / "evaluate.md").read_text(encoding="utf-8")
    return with_block(HERE / "evaluate.md", found, STUDY)


def encoders_page() -> str:
    """Return the page of encoders with what `make encoder-study` measured, of the files kept here."""
    from glue_pilot.encoders.figures import page

    text = (HERE / "encoders.md").read_text(encoding="utf-8")
    for name, marks in (("encoders", ENCODERS), ("pairs", PAIRS)):
        place = HERE / f"{name}.json"
        if place.is_file():
            found = json.loads(place.read_text(encoding="utf-8"))
            text = replaced(text, f"\n{page(found)}\n", marks)
    return text


def pilot_page() -> str:
    """Return the page of the pilot's findings, from results/pilot.md."""
    summary = (ROOT / "results" / "pilot.md").read_text(encoding="utf-8")
    title, body = summary.split("\n", 1)
    note = (
        "Made by `make pilot TASKS=...` and `make docs`. Two tasks are pieces of the originals "
        "(glue_mnli 2,399 rows, glue_qnli 4,370), two are capped (glue_qqp and glue_sst2 at 20,000 "
        "rows). Scores are those of a linear head on a frozen encoder; the best of seven layers is "
        "a little lucky."
    )
    pictures = "\n".join(f"![{alt}](img/{name}.svg)\n" for name, alt in PICTURES.items())
    return f"{title.replace('pilot:', 'The GLUE pilot:')}\n\n{note}\n\n{pictures}{body}"


EXPERIMENTS = ROOT / "results" / "experiments"


def study_page() -> str:
    """Return the page of the experiments' findings, from results/experiments/*.json."""
    from glue_pilot.experiments.base import NAMES

    records = [(name, record) for name in NAMES if (record := _experiment(name)) is not None]
    note = (
        "Made by `make pilot TASKS=...` and `make docs`; encoder: minilm. Each finding is written by "
        "code from its table."
    )
    return "\n".join([*study_head(note), *(study_section(*one) for one in records)])


def study_head(note: str) -> list[str]:
    """Return what stands above the findings; the note states where they come from."""
    return [
        "# The study: every question, what was found",
        "",
        note,
        "",
        "Each finding: the answer, a table or list, a plot; click *Details* for how it was measured,",
        "further numbers and limits. In brackets: 90 % intervals. [questions.md](questions.md) maps",
        "the questions of the project's beginnings to the experiments; [pilot.md](pilot.md) has the",
        "sweep over GLUE, [scorecard.md](scorecard.md) the metamodel.",
        "",
    ]


def study_section(name: str, record: dict[str, Any]) -> str:
    """Return the section of one experiment: answer, points, main plot; the rest folded."""
    stems = [Path(place).stem for place in record["figures"]]
    first, *others = [f"![{stem.replace('_', ' ')}](img/study_{stem}.svg)\n" for stem in stems]
    return "\n".join(
        [
            f"## {name}\n",
            f"*{record['question']}*\n",
            f"**{record['answer']}**\n",
            f"{record['points']}\n",
            first,
            "<details><summary>Details</summary>\n",
            f"Asked by: {record['asked_by']}.\n",
            f"{record['details']}\n",
            *others,
            f"`make experiment-{name}`: {record['manifest']['seconds']:,.0f} s from what was cached.\n",
            "</details>\n",
        ]
    )


def _experiment(name: str) -> dict[str, Any] | None:
    place = EXPERIMENTS / f"{name}.json"
    if not place.is_file():
        return None
    record: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return record


def write_study() -> None:
    """Write the page of the experiments with its plots, where experiments have run."""
    from glue_pilot.experiments.base import NAMES

    records = [record for record in map(_experiment, NAMES) if record is not None]
    if not records:
        return
    (HERE / "study.md").write_text(study_page(), encoding="utf-8")
    for record in records:
        for place in record["figures"]:
            shutil.copy(EXPERIMENTS / place, HERE / "img" / f"study_{Path(place).name}")


PICTURES = {
    "best_layers": "Best layer by number of labels, one row a task",
    "curves_glue_qnli": "QNLI: accuracy by number of labels, one line a layer",
}


def write_encoders() -> None:
    """Keep the figures of the studies of encoders, where they were made, and write their page."""
    for name in ("encoders", "pairs", "encoder_answers"):
        found = ROOT / "results" / f"{name}.json"
        if found.is_file():
            shutil.copy(found, HERE)
    (HERE / "encoders.md").write_text(encoders_page(), encoding="utf-8")
