"""``charkit next``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charkit.cli import options as o
from charkit.cli.embedding import ready_file
from charkit.cli.show import Output, progress_shown, reported

if TYPE_CHECKING:
    from charkit.answers.next_labels import NextLabels

WIDEST = 80
"""So many characters of a text are shown in the table."""


@reported
def next_labels(
    task: Annotated[
        str,
        typer.Argument(
            help="Texts, some of them labelled: a file (csv, tsv, jsonl, parquet, also .gz), a "
            "folder, hub:NAME/CONFIG@REVISION, glue/NAME, or generated/NAME.",
            show_default=False,
        ),
    ],
    n: Annotated[int, typer.Option("-n", "--n", help="How many texts.")] = 20,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy",
            help="typiclust, probcover, maxherding, margin, badge, random; auto goes by the "
            "labels at hand.",
        ),
    ] = "auto",
    pool: Annotated[
        str | None,
        typer.Option(
            "--pool",
            help="Texts to choose from: a file. Default: rows without a label.",
            rich_help_panel=o.READ,
        ),
    ] = None,
    text: o.Text = None,
    pair: o.Pair = None,
    label: o.Label = None,
    classes: Annotated[
        int | None,
        typer.Option(
            "--classes",
            help="Number of classes, for texts without any label.",
            rich_help_panel=o.READ,
        ),
    ] = None,
    kind: o.Kind = None,
    on_bad_rows: o.OnBadRows = "refuse",
    encoder: o.EncoderName = "minilm",
    layer: Annotated[
        int | None,
        typer.Option("--layer", help="Whose states are compared. Default: two thirds up."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of all chance.")] = 0,
    max_length: o.MaxLength = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    offline: o.Offline = False,
    cache_dir: o.CacheDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=o.path,
            help="File for the texts, to be labelled: .csv, .jsonl (Prodigy, doccano) or .json "
            "(Label Studio).",
        ),
    ] = None,
    fmt: o.FormatOption = "table",
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    log_file: o.LogFile = None,
    debug: o.Debug = False,
) -> None:
    """Choose the texts to label next, and say how well the labels cover the rest.

    Example: charkit next reviews.csv --text body --label stars --n 20 --out next.csv
    """
    output = o.output_of(fmt, quiet, verbose, log_file)
    from charkit.answers.candidates import load_pool
    from charkit.answers.next_labels import check_choice, check_ending, choose_texts
    from charkit.encoders.load import load_encoder
    from charkit.store import Store

    asked = check_choice(n, strategy, seed)
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
    ready_file(out)
    if out is not None:
        check_ending(out)
    o.announce_hub(output, task, offline)
    sample = load_pool(task, reading=reading, n_classes=classes)
    for line in sample.describe():
        output.note(line)
    loaded = load_encoder(encoder, device=device, dtype=dtype, offline=offline or None)
    with progress_shown(output) as progress:
        found = choose_texts(
            sample,
            n=n,
            strategy=asked,
            encoder=loaded,
            layer=layer,
            seed=seed,
            max_length=max_length,
            store=o.store_at(cache_dir) or Store(),
            progress=progress,
        )
    for note in found.notes[len(sample.notes) :]:
        output.note(f"note: {note}")
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
