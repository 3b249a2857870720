"""``charkit next`` and ``charkit evaluate``: which rows to label, for training and for testing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, ready_file, reported

if TYPE_CHECKING:
    from charkit.answers.evaluation.pool import PoolEvaluation
    from charkit.answers.labelling.next_labels import NextLabels

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
    from charkit.answers.labelling.next_labels import check_choice, check_ending
    from charkit.answers.labelling.next_labels import next_labels as choose_texts

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


Sample = Annotated[
    str,
    typer.Argument(
        help="The labelled sample that the head is trained on: a file (csv, tsv, jsonl, "
        "parquet, also .gz), a folder, hub:NAME/CONFIG@REVISION, glue/NAME, or generated/NAME.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class TestOptions:
    """What is tested on, and with which labels."""

    pool: Annotated[
        str | None,
        typer.Option(
            "--pool",
            help="File with the texts that the head will meet. Default: rows without a label.",
        ),
    ] = None
    budget: Annotated[
        int | None,
        typer.Option("--budget", help="Test labels. Default: 30, or as many as --labels has."),
    ] = None
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", parser=o.path, help="The file that --out wrote, with labels filled in."
        ),
    ] = None


@dataclass(frozen=True)
class OutOptions:
    """Where the answer is written."""

    out: Annotated[
        Path | None, typer.Option("--out", parser=o.path, help="CSV file for the rows to label.")
    ] = None
    page: Annotated[
        Path | None,
        typer.Option("--page", parser=o.path, help="HTML file with the answer, to read."),
    ] = None

    def make_ready(self) -> None:
        """Make the folders before the work, so that writing cannot fail after it."""
        from charkit.answers.evaluation.plan import check_out

        if self.out is not None:
            check_out(self.out)
        for file in (self.out, self.page):
            ready_file(file)


@reported
@o.takes_options
def evaluate(
    task: Sample,
    *,
    test: TestOptions,
    read: o.ReadOptions,
    encoder: o.EncoderName = "minilm",
    layer: Annotated[
        int | None,
        typer.Option("--layer", help="Whose head is tested. Default: the one that fits best."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the draw. Default: 0.")] = None,
    max_length: o.MaxLength = None,
    run: o.RunOptions,
    write: OutOptions,
    dry_run: o.DryRun = False,
    show: o.ShowOptions,
) -> None:
    """Choose rows of a pool to label for testing, and say from their labels the accuracy there.

    Example: charkit evaluate reviews.csv --pool new.csv --budget 30 --out test.csv, then, with
    labels filled in: charkit evaluate reviews.csv --pool new.csv --labels test.csv
    """
    output = show.output()
    from charkit.answers.evaluation.evaluate import check_numbers, cost_lines
    from charkit.answers.evaluation.evaluate import evaluate as evaluate_head

    check_numbers(test.budget, seed)
    write.make_ready()
    o.announce_hub(output, task, run.offline)
    given: dict[str, Any] = {
        "pool": test.pool,
        "encoder": run.encoder(encoder),
        "max_length": max_length,
        "store": run.store(),
    }
    lazy = read.task(task, run)
    if dry_run:
        output.rows(cost_lines(lazy, **given), key="stages", extra={})
        return
    with progress_shown(output) as progress:
        found = evaluate_head(
            lazy,
            budget=test.budget,
            labels=test.labels,
            layer=layer,
            seed=seed,
            **given,
            progress=progress,
        )
    for warning in found.warnings:
        output.note(f"warning: {warning}")
    _show_accuracy(output, found, write.out, write.page)


def _show_accuracy(
    output: Output, found: PoolEvaluation, out: Path | None, page: Path | None
) -> None:
    written = [] if out is None else found.save(out)  # first: the reader may go away
    if page is not None:
        from charkit.report.pages.evaluation import write_evaluation_page

        written.append(write_evaluation_page(found.about(), found.rows(), page))
    if output.format == "json":
        output.rows(found.rows(), key="rows", extra=found.about())
    elif output.format == "csv":
        output.rows(found.rows(), key="rows", extra={})
    else:
        short = [{k: _cut(v) for k, v in row.items()} for row in found.rows() if not row["label"]]
        output.rows(short, key="rows", extra={"lines": found.sentences})
    if out is None and found.n_blank:
        output.note("--out FILE.csv writes the texts with a column for the label")
    for place in written:
        output.note(f"wrote {place}")


WIDEST_TEST = 80
"""Characters of a text that the table shows."""


def _cut(value: object) -> object:
    """Return a text as the screen shows it."""
    if not isinstance(value, str):
        return value
    words = " ".join(value.split())
    return words if len(words) <= WIDEST_TEST else f"{words[: WIDEST_TEST - 1]}…"
