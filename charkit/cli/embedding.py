"""``charkit embed``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, reported, whole_numbers
from charkit.errors import MissingError, RefusalError

if TYPE_CHECKING:
    from charkit.answers.embed_plan import EmbedPlan
    from charkit.answers.embedded import EmbeddedTask

SHORT_PARTS = {"q": "query", "k": "key", "v": "value", "o": "attention_out"}

HOW = "What is estimated"


@reported
def embed(
    task: o.Source,
    n: Annotated[
        int | None,
        typer.Option("--n", "-n", help="Labelled training texts to use. Default: all.", min=2),
    ] = None,
    text: o.Text = None,
    pair: o.Pair = None,
    label: o.Label = None,
    kind: o.Kind = None,
    evaluation: o.Evaluation = None,
    eval_frac: o.EvalFrac = 0.2,
    on_bad_rows: o.OnBadRows = "refuse",
    encoder: o.EncoderName = "minilm",
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            help="Whose weights, such as 3-6, from 1. Default: all up to the head.",
            rich_help_panel=HOW,
        ),
    ] = None,
    head_layers: Annotated[
        str,
        typer.Option(
            "--head-layer",
            "--head-layers",
            help="Layers that a head reads, such as 6 or 1-6; -1 is the last. One embedding each.",
            rich_help_panel=HOW,
        ),
    ] = "-1",
    cache_layer: Annotated[
        int | None,
        typer.Option(
            "--cache-layer",
            help="Keep the token states of this layer too; other embeddings of the same texts "
            "begin there. Takes room.",
            rich_help_panel=HOW,
        ),
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option(
            "--parts",
            help="query,key,value,attention_out,ffn_in,ffn_out (or q,k,v,o), also "
            "layer_norm,bias. Default: the six matrices.",
            rich_help_panel=HOW,
        ),
    ] = None,
    estimator: Annotated[
        str,
        typer.Option(
            "--estimator",
            help="auto, exact, sketch, monte_carlo, empirical (reads the labels), or variational "
            "(the noise that weights can bear; tens of times as long).",
            rich_help_panel=HOW,
        ),
    ] = "auto",
    n_draws: Annotated[
        int,
        typer.Option(
            "--draws", help="Draws a text, for sketch and monte_carlo.", rich_help_panel=HOW
        ),
    ] = 1,
    relative_error: Annotated[
        float | None,
        typer.Option(
            "--relative-error",
            help="Choose the draws instead, by the noise they may add, such as 0.05.",
            rich_help_panel=HOW,
        ),
    ] = None,
    stop_at: Annotated[
        float | None,
        typer.Option(
            "--stop-at",
            help="Stop once random halves of the texts agree to this cosine, such as 0.99.",
            rich_help_panel=HOW,
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            "--beta",
            help="For variational: weight of the prior. Default: 1e-6.",
            rich_help_panel=HOW,
        ),
    ] = None,
    n_steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            help="For variational: steps of the search. Default: 100.",
            rich_help_panel=HOW,
        ),
    ] = None,
    split: Annotated[
        Literal["train", "evaluation"],
        typer.Option("--split", help="Which texts are embedded.", rich_help_panel=o.READ),
    ] = "train",
    unlabelled: Annotated[
        str | None,
        typer.Option(
            "--unlabelled",
            help="Embed the texts of this file instead, under the head of the labelled ones.",
            rich_help_panel=o.READ,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Of the sample of --n, and of draws and noise.")
    ] = 0,
    pooling: o.Pool = "mean",
    max_length: o.MaxLength = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    offline: o.Offline = False,
    cache_dir: o.CacheDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", parser=o.path, help="File for the numbers, such as reviews.safetensors."
        ),
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
    """Say which weights a task leans on: its Fisher embedding, by layer, with intervals.

    Example: charkit embed reviews.csv --text body --label stars --out reviews.safetensors
    """
    output = o.output_of(fmt, quiet, verbose, log_file)
    from charkit.answers.embed_plan import choose_options, plan_embedding
    from charkit.answers.embedding import only_evaluation
    from charkit.fisher.sites import DEFAULT_PARTS
    from charkit.tasks.card import LazyTask

    options = choose_options(
        estimator,
        layers=whole_numbers(layers, "--layers"),
        parts=DEFAULT_PARTS if parts is None else part_names(parts),
        n_draws=n_draws,
        relative_error=relative_error,
        stop_at=stop_at,
        beta=beta,
        n_steps=n_steps,
        seed=seed,
        pooling=pooling,
        max_length=max_length,
    )
    heads = whole_numbers(head_layers, "--head-layer") or ()
    if unlabelled is not None:
        split, evaluation = "evaluation", str(only_evaluation(evaluation, unlabelled))
    reading = o.reading(
        text=text,
        pair=pair,
        label=label,
        kind=kind,
        evaluation=evaluation,
        eval_frac=eval_frac,
        on_bad_rows=on_bad_rows,
        offline=offline,
        evaluation_labels=unlabelled is None,
    )
    if not dry_run:
        ready_file(out)
    o.announce_hub(output, task, offline)
    lazy = LazyTask(task, o.store_at(cache_dir), reading)
    for line in lazy.card.description:
        output.note(line)
    plan = plan_embedding(
        lazy.open(),
        options,
        n=n,
        seed=seed,
        encoder=encoder,
        head_layers=heads,
        cache_layer=cache_layer,
        split=split,
        device=device,
        dtype=dtype,
        offline=offline or None,
        store=lazy.store,
    )
    if dry_run:
        _show_plan(output, plan)
    else:
        _show(output, _answer(output, plan), plan, out)


def _show_plan(output: Output, plan: EmbedPlan) -> None:
    from charkit.answers.embed_estimate import estimate_embedding

    expected = estimate_embedding(plan)
    extra = {"total": expected.total(), "notes": expected.lines()}
    output.rows(expected.rows(), key="samples", extra=extra)


def _answer(output: Output, plan: EmbedPlan) -> EmbeddedTask:
    """Embed under a progress bar; say first how long a search will take."""
    from charkit.answers.embed_estimate import estimate_embedding
    from charkit.fisher import VariationalFit, VariationalOptions

    if isinstance(plan.options, VariationalOptions) and not output.quiet:
        for line in estimate_embedding(plan).lines():
            output.note(line)
    try:
        with progress_shown(output) as progress:
            return plan.answer(progress)
    except RefusalError as error:
        if isinstance(error.partial, VariationalFit):
            norms = error.partial.embedding.norms().reset_index()
            rows = [{str(k): v for k, v in row.items()} for row in norms.to_dict("records")]
            output.rows(rows, key="norms", extra={"residual": error.partial.residual})
        raise


def _show(output: Output, answer: EmbeddedTask, plan: EmbedPlan, out: Path | None) -> None:
    written = [] if out is None else answer.save(out)  # first: the reader may go away
    rows, extra = answer.rows(), answer.about() | {"lines": answer.lines()}
    if output.format == "table":
        extra = {"lines": answer.lines()}
        if len(answer.embeddings) == 1:
            rows = [{k: v for k, v in row.items() if k != "head_layer"} for row in rows]
    output.rows(rows, key="norms", extra=extra)
    if answer.found:
        output.note("it was in the store already: nothing was computed")
    if out is None:
        output.note(f"the numbers lie in {plan.store.root}; --out FILE.safetensors writes them")
    else:
        output.note(f"wrote {', '.join(map(str, written))}")


def part_names(text: str) -> tuple[str, ...]:
    """Return the parts that a list names, short names spelled out.

    >>> part_names("q, k,ffn_in")
    ('query', 'key', 'ffn_in')
    """
    names = [name.strip() for name in text.split(",")]
    return tuple(SHORT_PARTS.get(name, name) for name in names if name)


def ready_file(out: Path | None) -> None:
    """Make the folder of a file before the work, so that writing it cannot fail after it.

    Raises:
        MissingError: The file is a folder, or its folder may not be written.
    """
    if out is None:
        return
    reason = "it is a folder" if out.is_dir() else None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(out.parent, os.W_OK):
            reason = "no permission"
    except OSError as error:
        reason = error.strerror
    if reason:
        raise MissingError(
            f"--out cannot be written: expected a file in a writable folder, got {out} "
            f"({reason}). Choose another."
        )
