"""``charkit estimate``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, ready_folder, reported
from charkit.errors import RefusalError

if TYPE_CHECKING:
    from charkit.answers.expected import EstimateAnswer

COSTS = "What labels cost"


@reported
def estimate(
    task: Annotated[
        str,
        typer.Argument(
            help="Texts, some of them labelled: a file (csv, tsv, jsonl, parquet, also .gz), a "
            "folder, hub:NAME/CONFIG@REVISION, glue/NAME, or generated/NAME.",
            show_default=False,
        ),
    ],
    target: Annotated[
        float | None,
        typer.Option("--target", help="Accuracy to reach, as a fraction such as 0.85."),
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
    evaluation: Annotated[
        str | None,
        typer.Option(
            "--eval",
            help="Texts to be judged on, labels not read: a file, or a part of a folder or hub "
            "data set. Default: rows without a label.",
            rich_help_panel=o.READ,
        ),
    ] = None,
    on_bad_rows: o.OnBadRows = "refuse",
    cost: Annotated[
        float | None,
        typer.Option("--cost", help="Price of a label.", rich_help_panel=COSTS),
    ] = None,
    penalty: Annotated[
        float | None,
        typer.Option(
            "--penalty",
            help="Cost of missing the target, in the unit of the price.",
            rich_help_panel=COSTS,
        ),
    ] = None,
    rounds: Annotated[
        int,
        typer.Option("--rounds", help="How often labels can be bought.", rich_help_panel=COSTS),
    ] = 1,
    encoder: o.EncoderName = "minilm",
    max_length: o.MaxLength = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    offline: o.Offline = False,
    cache_dir: o.CacheDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", parser=o.path, help="Folder for the answer, the curve and a page to read."
        ),
    ] = None,
    fmt: o.FormatOption = "table",
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    log_file: o.LogFile = None,
    debug: o.Debug = False,
) -> None:
    """Say what accuracy more labels would bring, and how many reach a target.

    Example: charkit estimate reviews.csv --text body --label stars --target 0.85
    """
    output = o.output_of(fmt, quiet, verbose, log_file)
    from charkit.answers.estimate import answer_of
    from charkit.answers.question import ask
    from charkit.encoders.load import load_encoder
    from charkit.tasks.partly import load_partly_labelled

    question = ask(target=target, cost=cost, penalty=penalty, rounds=rounds)
    reading = o.reading(
        text=text,
        pair=pair,
        label=label,
        kind=kind,
        evaluation=evaluation,
        eval_frac=0.2,
        on_bad_rows=on_bad_rows,
        offline=offline,
    )
    ready_folder(out)
    o.announce_hub(output, task, offline)
    sample = load_partly_labelled(task, reading=reading, n_classes=classes)
    for line in sample.describe():
        output.note(line)
    loaded = load_encoder(encoder, device=device, dtype=dtype, offline=offline or None)
    store = o.store_at(cache_dir)
    with progress_shown(output) as progress:
        answer = answer_of(
            sample,
            question,
            encoder=loaded,
            max_length=max_length,
            store=store,
            progress=progress,
        )
    _show(output, answer, out)


def _show(output: Output, answer: EstimateAnswer, out: Path | None) -> None:
    written = [] if out is None else answer.save(out)  # first: the reader may go away
    if output.format == "json":
        whole = answer.to_dict()
        rows = whole.pop("accuracy")
        output.rows(rows, key="accuracy", extra=whole)
    elif output.format == "csv":
        output.rows(answer.rows(), key="accuracy", extra={})
    else:
        output.lines([*answer.summary(), ""])
        output.rows(answer.shown_rows(), key="accuracy", extra={})
        output.lines(["", *answer.details()])
    if answer.found:
        output.note("the evidence was in the store already")
    if out is None:
        output.note("--out FOLDER writes the answer, the curve and a page to read")
    else:
        if find_spec("matplotlib") is None:
            output.note(
                'no curve.svg: matplotlib is not installed. Run: pip install "charkit[report]"'
            )
        output.note(f"wrote {', '.join(sorted(f.name for f in written))} to {out}")
    if not answer.trustworthy:
        grave = "; ".join(v.sentence for v in answer.verdicts if v.grave)
        raise RefusalError(f"do not use these numbers: {grave}.", partial=answer)
