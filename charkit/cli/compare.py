"""``charkit distances`` and ``charkit nearest``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, ready_folder, reported, whole_numbers

if TYPE_CHECKING:
    from charkit.answers.distances import DistancesAnswer
    from charkit.errors import CellsFailedError

_WIDEST = 10  # tasks whose matrix fits a terminal

Compared = Annotated[
    list[str],
    typer.Argument(
        help="Two tasks or more, each a file (csv, tsv, jsonl, parquet, also .gz), a folder, "
        "hub:NAME/CONFIG@REVISION, glue/NAME, generated/NAME, or an embedding that 'charkit "
        "embed --out' wrote (.safetensors).",
        show_default=False,
    ),
]
Metric = Annotated[
    str | None,
    typer.Option(
        "--metric",
        help="log_ratio, cosine, plain_cosine, normalized_cosine, correlation, kl, asymmetric_kl, "
        "jsd, entropy, aitchison, asymmetric. Default: log_ratio where there is a reference.",
    ),
]
WhoseLayers = Annotated[
    str | None,
    typer.Option("--layers", help="Whose weights, such as 3-6. Default: all up to the head."),
]
HeadLayer = Annotated[
    int, typer.Option("--head-layer", help="The layer that the head reads; -1 is the last.")
]
Seed = Annotated[int, typer.Option("--seed", help="Of the sample of --n.")]


@reported
def distances(
    tasks: Compared,
    metric: Metric = None,
    corrected: Annotated[
        bool,
        typer.Option(
            "--corrected",
            help="Take off what sampling noise adds; keeps 80 kB a text for minilm.",
        ),
    ] = False,
    layers: WhoseLayers = None,
    head_layer: HeadLayer = -1,
    n: Annotated[
        int,
        typer.Option("--n", "-n", help="Training texts drawn from each; fewer give all.", min=2),
    ] = 512,
    seed: Seed = 0,
    text: o.Text = None,
    pair: o.Pair = None,
    label: o.Label = None,
    kind: o.Kind = None,
    on_bad_rows: o.OnBadRows = "refuse",
    encoder: o.EncoderName = "minilm",
    pooling: o.Pool = "mean",
    max_length: o.MaxLength = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    offline: o.Offline = False,
    cache_dir: o.CacheDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", parser=o.path, help="Folder for distances.csv, matrix, tree and map."
        ),
    ] = None,
    fmt: o.FormatOption = "table",
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    log_file: o.LogFile = None,
    debug: o.Debug = False,
) -> None:
    """Say how far apart tasks are, by their Fisher embeddings; draw a matrix, a tree, a map.

    Example: charkit distances reviews.csv tweets.csv generated/sentiment --out compared
    """
    output = o.output_of(fmt, quiet, verbose, log_file)
    from charkit.answers.distances import compare
    from charkit.answers.gather import Sampling
    from charkit.errors import CellsFailedError
    from charkit.fisher.options import FisherOptions

    sampling = Sampling(
        n=n,
        seed=seed,
        head_layer=head_layer,
        options=FisherOptions(
            layers=whole_numbers(layers, "--layers"),
            pooling=pooling,
            max_length=max_length,
            keep_rows=corrected,
        ),
        encoder=encoder,
        device=device,
        dtype=dtype,
        reading=o.reading(
            text=text,
            pair=pair,
            label=label,
            kind=kind,
            evaluation=None,
            eval_frac=0.2,
            on_bad_rows=on_bad_rows,
            offline=offline,
        ),
    )
    ready_folder(out)
    for name in tasks:
        o.announce_hub(output, name, offline)
    failure: CellsFailedError | None = None
    with progress_shown(output) as progress:
        try:
            answer: Any = compare(
                list(tasks),
                sampling=sampling,
                metric=metric,
                store=o.store_at(cache_dir),
                progress=progress,
            )
        except CellsFailedError as error:
            answer, failure = error.partial, error
    if answer is not None:
        _save(output, answer, out)  # first: the reader may go away
        _show(output, answer)
    if failure is not None:
        raise failure


def _show(output: Output, answer: DistancesAnswer) -> None:
    if output.format == "json":
        output.rows([t.row() for t in answer.tasks], key="tasks", extra=answer.about())
    elif output.format == "csv":
        output.rows(answer.rows(), key="distances", extra={})
    else:
        rows = answer.neighbours()
        if len(answer.tasks) <= _WIDEST:
            by_name = {row["name"]: row for row in answer.rows()}
            rows = [
                {"task": name, **{other: by_name[name][other] for other in answer.order}}
                for name in answer.order
            ]
        output.rows(rows, key="distances", extra={"lines": answer.lines()})


def _save(output: Output, answer: DistancesAnswer, out: Path | None) -> None:
    if out is None:
        output.note("--out FOLDER writes the matrix and the figures")
        return
    drawable = find_spec("matplotlib") is not None
    if not drawable:
        output.note('no figures: matplotlib is not installed. Run: pip install "charkit[report]"')
    files = answer.save(out, figures=drawable)
    output.note(f"wrote {', '.join(sorted(f.name for f in files))} to {out}")


@reported
def nearest(
    task: Annotated[
        str,
        typer.Argument(
            help="A task: a file, a folder, hub:NAME/CONFIG@REVISION, glue/NAME, generated/NAME, "
            "or an embedding that 'charkit embed --out' wrote (.safetensors).",
            show_default=False,
        ),
    ],
    k: Annotated[int, typer.Option("--k", "-k", help="How many to show.", min=1)] = 10,
    metric: Metric = None,
    layers: WhoseLayers = None,
    head_layer: HeadLayer = -1,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            "-n",
            help="Training texts. Default: the library's largest size that the task has.",
            min=2,
        ),
    ] = None,
    seed: Seed = 0,
    library: Annotated[
        str | None,
        typer.Option("--library", help="Another library than the shipped one: its path."),
    ] = None,
    text: o.Text = None,
    pair: o.Pair = None,
    label: o.Label = None,
    kind: o.Kind = None,
    on_bad_rows: o.OnBadRows = "refuse",
    encoder: o.EncoderName = "minilm",
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    offline: o.Offline = False,
    cache_dir: o.CacheDir = None,
    fmt: o.FormatOption = "table",
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    log_file: o.LogFile = None,
    debug: o.Debug = False,
) -> None:
    """Say which known tasks are like a new one, and whether it is known ground at all.

    Example: charkit nearest reviews.csv --text body --label stars
    """
    output = o.output_of(fmt, quiet, verbose, log_file)
    from charkit.answers.gather import Sampling
    from charkit.answers.nearest import nearest as nearest_known
    from charkit.fisher.options import FisherOptions

    sampling = Sampling(
        seed=seed,
        head_layer=head_layer,
        options=FisherOptions(layers=whole_numbers(layers, "--layers")),
        encoder=encoder,
        device=device,
        dtype=dtype,
        reading=o.reading(
            text=text,
            pair=pair,
            label=label,
            kind=kind,
            evaluation=None,
            eval_frac=0.2,
            on_bad_rows=on_bad_rows,
            offline=offline,
        ),
    )
    o.announce_hub(output, task, offline)
    with progress_shown(output) as progress:
        answer = nearest_known(
            task,
            n=n,
            sampling=sampling,
            metric=metric or "log_ratio",
            library=library,
            store=o.store_at(cache_dir),
            progress=progress,
        )
    extra = {"lines": answer.lines()} if output.format == "table" else answer.about()
    output.rows(answer.rows(k), key="nearest", extra=extra)
