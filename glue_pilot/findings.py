"""What an experiment found, and how it is written: tables, figures, Markdown, a JSON record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from charkit.heads.sweep.table import write_table
from charkit.report.figures.canvas import save_figure
from charkit.store.durable import write_whole
from glue_pilot.matrices import write_csv

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Finding:
    """What an experiment found; every number in its words is taken from the table.

    Attributes:
        table: Tidy numbers: one row a case, columns named in full.
        figures: Ending of the file's name ("" for the main one) -> figure. The main one comes
            first, its title states the finding.
        answer: One sentence.
        points: A short list or table in Markdown.
        details: How it was measured, further numbers, limits; Markdown, folded on the page.
        summary: Name -> the few numbers that are compared when settings vary.
    """

    table: pd.DataFrame
    figures: Mapping[str, Figure]
    answer: str
    points: str
    details: str
    summary: Mapping[str, float]

    @property
    def text(self) -> str:
        """Answer, points and details, as Markdown."""
        return blocks(f"**{self.answer}**", self.points, self.details)

    @property
    def headline(self) -> str:
        """The title of the main figure; the answer where there is none."""
        figures = list(self.figures.values())
        texts = figures[0].texts if figures else []
        title = texts[0].get_text().replace(r"\$", "$") if texts else self.answer
        return " ".join(title.split())


def write_finding(found: Finding, folder: Path, stem: str) -> tuple[list[Path], list[str]]:
    """Write table (parquet, CSV) and figures (SVG, PNG, CSV).

    Returns:
        The files, the CSV of the table second; and the figures' names inside the folder.
    """
    files = [folder / f"{stem}.parquet", folder / f"{stem}.csv"]
    write_table(found.table, files[0])
    write_csv(found.table, files[1])
    names = []
    for ending, figure in found.figures.items():
        name = f"{stem}_{ending}" if ending else stem
        files += save_figure(figure, folder / "figures" / name)
        names.append(f"figures/{name}.svg")
    return files, names


def write_page(
    path: Path, question: str, motivation: str, found: Finding, figures: Sequence[str]
) -> Path:
    """Write question, answer, points, figures and details as Markdown."""
    pictures = [f"![{Path(place).stem}]({place})" for place in figures]
    page = blocks(
        f"# {question}",
        f"Asked by: {motivation}.",
        f"**{found.answer}**",
        found.points,
        *pictures,
        found.details,
    )
    return write_whole(path, f"{page}\n".encode())


# -- Markdown ---------------------------------------------------------------------------------


def blocks(*parts: str) -> str:
    """Return blocks of Markdown, empty ones left out."""
    return "\n\n".join(part for part in parts if part)


def bullets(*items: str) -> str:
    """Return a list in Markdown, empty items left out."""
    return "\n".join(f"- {item}" for item in items if item)


def md_table(rows: Iterable[Mapping[str, str]]) -> str:
    """Return a table in Markdown, the columns named by the first row; nothing without rows.

    >>> print(md_table([{"n": "16", "accuracy": "0.5"}]))
    | n | accuracy |
    |---|---|
    | 16 | 0.5 |
    """
    cells = list(rows)
    if not cells:
        return ""
    head = list(cells[0])
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(r.get(k, '') for k in head)} |" for r in cells)])


def listed(words: Sequence[str], *, none: str = "none") -> str:
    """Return words joined by commas, the last one by "and".

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    if len(words) < 2:
        return words[0] if words else none
    return f"{', '.join(words[:-1])} and {words[-1]}"
