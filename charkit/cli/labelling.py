"""``charkit next``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, ready_file, reported

if TYPE_CHECKING:
    from charkit.answers.next_labels import NextLabels

WIDEST = 80
"""So many characters of a text are shown in the table."""

NTexts = Annotated[int, typer.Option("-n", "--n", help="How many texts.")]
Strategy = Annotated[
    str,
    typer.Option(
        "--strategy",
        help="typiclust, probcover, maxherding, margin, badge, random; auto goes by the "
        "available labels.",
    ),
]
Pool = Annotated[
    str | None,
    typer.Option(
        "--pool",
        help="Texts to choose from: a file. Default: rows without a label.",
        rich_help_panel=o.READ,
    ),
]


@dataclass(frozen=True)
class PoolOptions:
    """What texts are chosen from, and into how many classes they fall."""

    pool: Pool = None
    classes: o.Classes = None


Layer = Annotated[
    int | None, typer.Option("--layer", help="Whose states are compared. Default: two thirds up.")
]
Seed = Annotated[int, typer.Option("--seed", help="Of all chance.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        parser=o.path,
        help="File for the texts, to be labelled: .csv, .jsonl (Prodigy, doccano) or .json "
        "(Label Studio).",
    ),
]


@reported
@o.takes_options
def next_labels(
    task: o.PartlyLabelled,
    n: NTexts = 20,
    strategy: Strategy = "auto",
    *,
    read: o.ReadOptions,
    choice: PoolOptions,
    encoder: o.EncoderName = "minilm",
    layer: Layer = None,
    seed: Seed = 0,
    max_length: o.MaxLength = None,
    run: o.RunOptions,
    out: Out = None,
    show: o.ShowOptions,
) -> None:
    """Choose the texts to label next, and say how well the labels cover the rest.

    Example: charkit next reviews.csv --text body --label stars --n 20 --out next.csv
    """
    output = show.output()
    from charkit.answers.next_labels import check_choice, check_ending
    from charkit.answers.next_labels import next_labels as choose_texts

    asked = check_choice(n, strategy, seed)
    ready_file(out)
    if out is not None:
        check_ending(out)
    o.announce_hub(output, task, run.offline)
    with progress_shown(output) as progress:
        found = choose_texts(
            read.task(task, run),
            n=n,
            strategy=asked,
            pool=choice.pool,
            classes=choice.classes,
            encoder=run.encoder(encoder),
            layer=layer,
            seed=seed,
            max_length=max_length,
            store=run.store(),
            progress=progress,
        )
    _show(output, found, out)


def _show(output: Output, found: NextLabels, out: Path | None) -> None:
    rows = [{str(k): v for k, v in row.items()} for row in found.table.to_dict("records")]
    written = None if out is None else found.save(out)  # first: the reader may go away
    if output.format == "json":
        output.rows(rows, key="next", extra=found.about())
    elif output.format == "csv":
        output.rows(rows, key="next", extra={})
    else:
        short = [{k: _short(v) for k, v in row.items()} for row in rows]
        output.rows(short, key="next", extra={"lines": found.sentences})
    if out is None:
        output.note("--out FILE.csv writes the texts with a column for the label")
        return
    output.note(f"wrote {len(rows):,} texts to {written}")
    if found.n_quoted and out.suffix.lower() == ".csv":
        output.note(
            f"{found.n_quoted:,} of them begin as a formula does: an apostrophe stands in front"
        )


def _short(value: object) -> object:
    """Return a text as the screen shows it."""
    if not isinstance(value, str):
        return value
    words = " ".join(value.split())
    return words if len(words) <= WIDEST else f"{words[: WIDEST - 1]}…"
