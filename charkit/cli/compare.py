"""``charkit distances`` and ``charkit nearest``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, ready_folder, reported, whole_numbers

if TYPE_CHECKING:
    from charkit.answers.similarity.compare import DistancesAnswer

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
Task = Annotated[
    str,
    typer.Argument(
        help="A task: a file, a folder, hub:NAME/CONFIG@REVISION, glue/NAME, generated/NAME, "
        "or an embedding that 'charkit embed --out' wrote (.safetensors).",
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
Corrected = Annotated[
    bool,
    typer.Option(
        "--corrected", help="Take off what sampling noise adds; keeps 80 kB a text for minilm."
    ),
]
WhoseLayers = Annotated[
    str | None,
    typer.Option("--layers", help="Whose weights, such as 3-6. Default: all up to the head."),
]
HeadLayer = Annotated[
    int, typer.Option("--head-layer", help="The layer that the head reads; -1 is the last.")
]


@dataclass(frozen=True)
class WeightOptions:
    """Which weights are compared."""

    layers: WhoseLayers = None
    head_layer: HeadLayer = -1

    def given(self) -> dict[str, Any]:
        """Return the arguments of `charkit.compare_tasks`."""
        return {"layers": whole_numbers(self.layers, "--layers"), "head_layer": self.head_layer}


NEach = Annotated[
    int, typer.Option("--n", "-n", help="Training texts drawn from each; fewer give all.", min=2)
]
NTexts = Annotated[
    int | None,
    typer.Option(
        "--n",
        "-n",
        help="Training texts. Default: the library's largest size that the task has.",
        min=2,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of the sample of --n.")]
K = Annotated[int, typer.Option("--k", "-k", help="How many to show.", min=1)]
LibraryPath = Annotated[
    str | None, typer.Option("--library", help="Another library than the shipped one: its path.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", parser=o.path, help="Folder for distances.csv, matrix, tree and map."),
]


@reported
@o.takes_options
def distances(
    tasks: Compared,
    metric: Metric = None,
    corrected: Corrected = False,
    *,
    weights: WeightOptions,
    n: NEach = 512,
    seed: Seed = 0,
    read: o.ReadOptions,
    encoder: o.EncoderName = "minilm",
    encode: o.EncodeOptions,
    run: o.RunOptions,
    out: Out = None,
    show: o.ShowOptions,
) -> None:
    """Say how far apart tasks are, by their Fisher embeddings; draw a matrix, a tree, a map.

    Example: charkit distances reviews.csv tweets.csv generated/sentiment --out compared
    """
    output = show.output()
    from charkit.answers.similarity.compare import compare_tasks
    from charkit.errors import CellsFailedError

    numbers = weights.given()
    ready_folder(out)
    try:
        with progress_shown(output) as progress:
            answer = compare_tasks(
                [_comparable(output, task, read, run) for task in tasks],
                metric=metric,
                corrected=corrected,
                **numbers,
                n=n,
                seed=seed,
                encoder=run.encoder(encoder),
                encoding=encode,
                store=run.store(),
                progress=progress,
            )
    except CellsFailedError as error:
        if error.partial is not None:
            _save_and_show(output, error.partial, out)  # type: ignore[arg-type]
        raise
    _save_and_show(output, answer, out)


def _comparable(output: Output, source: str, read: o.ReadOptions, run: o.RunOptions) -> Any:
    """Return an embedding's file, or a task; a generated one brings its own columns."""
    from charkit.answers.similarity.collect import is_embedding

    if is_embedding(source):
        return source
    o.announce_hub(output, source, run.offline)
    own = o.ReadOptions() if source.startswith("generated/") else read
    return own.task(source, run)


def _save_and_show(output: Output, answer: DistancesAnswer, out: Path | None) -> None:
    _save(output, answer, out)  # first: the reader may go away
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
@o.takes_options
def nearest(
    task: Task,
    k: K = 10,
    metric: Metric = None,
    *,
    weights: WeightOptions,
    n: NTexts = None,
    seed: Seed = 0,
    library: LibraryPath = None,
    read: o.ReadOptions,
    encoder: o.EncoderName = "minilm",
    run: o.RunOptions,
    show: o.ShowOptions,
) -> None:
    """Say which known tasks are like a new one, and whether it is known ground at all.

    Example: charkit nearest reviews.csv --text body --label stars
    """
    output = show.output()
    from charkit.answers.similarity.nearest import nearest_tasks

    numbers = weights.given()
    with progress_shown(output) as progress:
        answer = nearest_tasks(
            _comparable(output, task, read, run),
            metric=metric or "log_ratio",
            **numbers,
            n=n,
            seed=seed,
            library=library,
            encoder=run.encoder(encoder),
            store=run.store(),
            progress=progress,
        )
    extra = {"lines": answer.lines()} if output.format == "table" else answer.about()
    output.rows(answer.rows(k), key="nearest", extra=extra)
