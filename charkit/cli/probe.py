"""``charkit layers`` and ``charkit encode``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import progress_shown, ready_folder, reported, whole_numbers
from charkit.errors import UsageError


@reported
def layers(
    task: o.Source,
    n: Annotated[
        int | None,
        typer.Option("--n", "-n", help="Labelled training texts. Default: all.", min=2),
    ] = None,
    text: o.Text = None,
    pair: o.Pair = None,
    label: o.Label = None,
    kind: o.Kind = None,
    evaluation: o.Evaluation = None,
    eval_frac: o.EvalFrac = 0.2,
    on_bad_rows: o.OnBadRows = "refuse",
    encoder: o.EncoderName = "minilm",
    layers: o.LayerShares = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Draws of the training texts.")] = "0-4",
    metric: o.Metric = None,
    pooling: o.Pool = "mean",
    max_length: o.MaxLength = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    offline: o.Offline = False,
    executor: o.ExecutorName = None,
    cache_dir: o.CacheDir = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be computed, and stop.")
    ] = False,
    fmt: o.FormatOption = "table",
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    log_file: o.LogFile = None,
    debug: o.Debug = False,
) -> None:
    """Say which layer serves a task best, which layers tie, and whether there is any signal.

    Example: charkit layers reviews.csv --text body --label stars
    """
    output = o.output_of(fmt, quiet, verbose, log_file)
    from charkit.answers.layers import answer_from, plan_layers
    from charkit.cli.sweeping import computed, show_plan
    from charkit.heads.grid import SweepSettings
    from charkit.tasks.card import LazyTask

    reading = o.reading(
        text=text,
        pair=pair,
        label=label,
        kind=kind,
        evaluation=evaluation,
        eval_frac=eval_frac,
        on_bad_rows=on_bad_rows,
        offline=offline,
    )
    settings = SweepSettings(
        layers=o.layers_or_shares(layers),
        seeds=whole_numbers(seeds, "--seeds") or (),
        metric=metric,
        pooling=pooling,
        max_length=max_length,
        device=device,
        dtype=dtype,
    )
    o.announce_hub(output, task, offline)
    lazy = LazyTask(task, o.store_at(cache_dir), reading)
    for line in lazy.card.description:
        output.note(line)
    plan = plan_layers(lazy, n=n, encoder=encoder, settings=settings)
    if dry_run:
        show_plan(output, plan)
        return
    result, failure = computed(output, plan, executor)
    if failure is not None:
        raise failure
    answer = answer_from(result)
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
def encode(
    task: o.Source,
    text: o.Text = None,
    pair: o.Pair = None,
    label: o.Label = None,
    kind: o.Kind = None,
    evaluation: o.Evaluation = None,
    eval_frac: Annotated[
        float | None,
        typer.Option(
            "--eval-frac",
            help="Share of the rows to hold out as a sweep does. Default: none, all rows in order.",
            rich_help_panel=o.READ,
        ),
    ] = None,
    on_bad_rows: o.OnBadRows = "refuse",
    encoder: o.EncoderName = "minilm",
    layers: o.Layers = None,
    pooling: o.Pool = "mean",
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
            help="Folder for train.safetensors and train.rows.csv (and evaluation...).",
        ),
    ] = None,
    fmt: o.FormatOption = "table",
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    log_file: o.LogFile = None,
    debug: o.Debug = False,
) -> None:
    """Encode texts once, labelled or not: the pooled states of every layer, kept in the store.

    Example: charkit encode reviews.csv --text body --out features
    """
    output = o.output_of(fmt, quiet, verbose, log_file)
    from charkit.api import encode as encode_task
    from charkit.store import Store

    store = o.store_at(cache_dir) or Store()
    chosen = whole_numbers(layers, "--layers")
    if chosen is not None and out is None:
        raise UsageError(
            "--layers chooses what --out writes: expected --out FOLDER too, got none. The store "
            "keeps all layers."
        )
    ready_folder(out)
    o.announce_hub(output, task, offline)
    with progress_shown(output) as progress:
        encoded = encode_task(
            task,
            text=text,
            pair=pair,
            label=label,
            kind=kind,
            evaluation=evaluation,
            eval_frac=eval_frac,
            on_bad_rows=on_bad_rows,
            encoder=encoder,
            pooling=pooling,
            max_length=max_length,
            device=device,
            dtype=dtype,
            offline=offline or None,
            store=store,
            progress=progress,
        )
    if out is not None:
        encoded.save(out, layers=chosen)  # first: the reader may go away
    extra = {"encoder": encoder, "notes": list(encoded.notes)}
    if output.format == "table":
        extra = {"lines": [f"note: {note}" for note in encoded.notes]}
    output.rows(encoded.rows(), key="parts", extra=extra)
    for line in encoded.warnings():
        output.note(line)
    if out is not None:
        output.note(f"wrote {', '.join(sorted(encoded.parts))} to {out}")
    else:
        output.note(f"the states lie in {store.root}; --out FOLDER writes them as files")
