"""``charkit evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charkit.cli import options as o
from charkit.cli.embedding import ready_file
from charkit.cli.show import Output, progress_shown, reported

if TYPE_CHECKING:
    from charkit.answers.pool_evaluation import PoolEvaluation


@reported
def evaluate(
    task: Annotated[
        str,
        typer.Argument(
            help="The labelled sample that the head is trained on: a file (csv, tsv, jsonl, "
            "parquet, also .gz), a folder, hub:NAME/CONFIG@REVISION, glue/NAME, or generated/NAME.",
            show_default=False,
        ),
    ],
    pool: Annotated[
        str | None,
        typer.Option(
            "--pool",
            help="File with the texts that the head will meet. Default: rows without a label.",
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option("--budget", help="Test labels. Default: 30, or as many as --labels has."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", parser=o.path, help="The file that --out wrote, with labels filled in."
        ),
    ] = None,
    text: o.Text = None,
    pair: o.Pair = None,
    label: o.Label = None,
    kind: o.Kind = None,
    on_bad_rows: o.OnBadRows = "refuse",
    encoder: o.EncoderName = "minilm",
    layer: Annotated[
        int | None,
        typer.Option("--layer", help="Whose head is tested. Default: the one that fits best."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the draw. Default: 0.")] = None,
    max_length: o.MaxLength = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    offline: o.Offline = False,
    cache_dir: o.CacheDir = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=o.path, help="CSV file for the rows to label."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--page", parser=o.path, help="HTML file with the answer, to read."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be computed, and stop.")
    ] = False,
    fmt: o.FormatOption = "table",
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    log_file: o.LogFile = None,
    debug: o.Debug = False,
) -> None:
    """Choose rows of a pool to label for testing, and say from their labels the accuracy there.

    Example: charkit evaluate reviews.csv --pool new.csv --budget 30 --out test.csv, then, with
    labels filled in: charkit evaluate reviews.csv --pool new.csv --labels test.csv
    """
    output = o.output_of(fmt, quiet, verbose, log_file)
    from charkit.answers.candidates import load_pool
    from charkit.answers.evaluate import check_numbers, cost_lines, evaluate_sample
    from charkit.answers.evaluation_plan import check_out
    from charkit.encoders.load import load_encoder
    from charkit.store import Store

    check_numbers(budget, seed)
    reading = o.reading(
        text=text,
        pair=pair,
        label=label,
        kind=kind,
        evaluation=pool,
        eval_frac=0.2,
        on_bad_rows=on_bad_rows,
        offline=offline,
    )
    if out is not None:
        check_out(out)
    for file in (out, page):
        ready_file(file)
    o.announce_hub(output, task, offline)
    sample = load_pool(task, reading=reading)
    for line in sample.describe():
        output.note(line)
    loaded = load_encoder(encoder, device=device, dtype=dtype, offline=offline or None)
    store = o.store_at(cache_dir) or Store()
    if dry_run:
        output.rows(cost_lines(sample, loaded, max_length, store), key="stages", extra={})
        return
    with progress_shown(output) as progress:
        found = evaluate_sample(
            sample,
            budget=budget,
            labels=labels,
            encoder=loaded,
            layer=layer,
            seed=seed,
            max_length=max_length,
            on_bad_rows=on_bad_rows,
            store=store,
            progress=progress,
        )
    for note in found.notes[len(sample.notes) :]:
        output.note(f"note: {note}")
    for warning in found.warnings:
        output.note(f"warning: {warning}")
    _show(output, found, out, page)


def _show(output: Output, found: PoolEvaluation, out: Path | None, page: Path | None) -> None:
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


WIDEST = 80
"""Characters of a text that the table shows."""


def _cut(value: object) -> object:
    """Return a text as the screen shows it."""
    if not isinstance(value, str):
        return value
    words = " ".join(value.split())
    return words if len(words) <= WIDEST else f"{words[: WIDEST - 1]}…"
