"""``charkit layers`` and ``charkit encode``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, ready_folder, reported, whole_numbers
from charkit.errors import UsageError

if TYPE_CHECKING:
    from charkit.answers.ranking.layers import LayersAnswer
    from charkit.api import EncodedTask

HeldOut = Annotated[
    float | None,
    typer.Option(
        "--eval-frac",
        help="Share of the rows to hold out as a sweep does. Default: none, all rows in order.",
        rich_help_panel=o.READ,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        parser=o.path,
        help="Folder for train.safetensors and train.rows.csv (and evaluation...).",
    ),
]


@reported
@o.takes_options
def layers(
    task: o.Source,
    n: o.NTexts = None,
    *,
    read: o.SampleOptions,
    encoder: o.EncoderName = "minilm",
    layers: o.LayerShares = None,
    seeds: o.Seeds = "0-4",
    metric: o.Metric = None,
    encode: o.EncodeOptions,
    run: o.RunOptions,
    executor: o.ExecutorName = None,
    dry_run: o.DryRun = False,
    show: o.ShowOptions,
) -> None:
    """Say which layer serves a task best, which layers tie, and whether there is any signal.

    Example: charkit layers reviews.csv --text body --label stars
    """
    output = show.output()
    from charkit.answers.ranking.layers import layers as compare_layers
    from charkit.answers.ranking.layers import plan_layers
    from charkit.cli.sweeping import show_plan

    given: dict[str, Any] = {
        "n": n,
        "encoder": run.encoder(encoder),
        "layers": o.layers_or_shares(layers),
        "seeds": whole_numbers(seeds, "--seeds"),
        "metric": metric,
        "encoding": encode,
        "store": run.store(),
    }
    opened = o.opened(output, task, read, run, metric=metric)
    if dry_run:
        show_plan(output, plan_layers(opened, **given))
        return
    with progress_shown(output) as progress:
        answer = compare_layers(opened, **given, executor=executor, progress=progress)
    _show_layers(output, answer)


def _show_layers(output: Output, answer: LayersAnswer) -> None:
    extra = {
        "signal": answer.signal,
        "reason": answer.reason,
        "task": answer.card.name,
        "encoder": answer.encoder,
        "n": answer.n,
        "best": answer.best,
        "metric": answer.metric,
        "training_helps": answer.training_helps,
        "frac_truncated": answer.frac_truncated,
        "notes": list(answer.card.notes),
    }
    if output.format == "table":
        extra = {"lines": answer.lines()}
    output.rows(answer.rows(), key="layers", extra=extra)


@reported
@o.takes_options
def encode(
    task: o.Source,
    *,
    read: o.ReadOptions,
    evaluation: o.Evaluation = None,
    eval_frac: HeldOut = None,
    encoder: o.EncoderName = "minilm",
    layers: o.Layers = None,
    encode: o.EncodeOptions,
    run: o.RunOptions,
    out: Out = None,
    show: o.ShowOptions,
) -> None:
    """Encode texts once, labelled or not: the pooled states of every layer, kept in the store.

    Example: charkit encode reviews.csv --text body --out features
    """
    output = show.output()
    from charkit.api import encode as encode_task

    chosen = whole_numbers(layers, "--layers")
    if chosen is not None and out is None:
        raise UsageError(
            "--layers chooses what --out writes: expected --out FOLDER too, got none. The store "
            "keeps all layers."
        )
    ready_folder(out)
    o.announce_hub(output, task, run.offline)
    with progress_shown(output) as progress:
        encoded = encode_task(
            read.task(task, run, evaluation=evaluation),
            encoder=run.encoder(encoder),
            encoding=encode,
            eval_frac=eval_frac,
            store=run.store(),
            progress=progress,
        )
    if out is not None:
        encoded.save(out, layers=chosen)  # first: the reader may go away
    _show_encoded(output, encoded, encoder)
    if out is not None:
        output.note(f"wrote {', '.join(sorted(encoded.parts))} to {out}")
    else:
        output.note(f"the states lie in {run.store().root}; --out FOLDER writes them as files")


def _show_encoded(output: Output, encoded: EncodedTask, encoder: str) -> None:
    extra = {"encoder": encoder, "notes": list(encoded.notes)}
    if output.format == "table":
        extra = {"lines": [f"note: {note}" for note in encoded.notes]}
    output.rows(encoded.rows(), key="parts", extra=extra)
    for line in encoded.warnings():
        output.note(line)
