"""``charkit encoders``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, reported, whole_numbers

if TYPE_CHECKING:
    from charkit.answers.encoder_table import FailedEncoder
    from charkit.heads.grid import SweepPlan


@reported
def encoders(
    task: o.Source,
    encoder: Annotated[
        list[str],
        typer.Option(
            "--encoder",
            "-e",
            help="minilm (bundled), a folder, NAME@REVISION on the hub, or random:NAME for its "
            "shape with random weights. May be repeated.",
        ),
    ] = ["minilm", "random:minilm"],  # noqa: B006 - typer copies it
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
    """Rank encoders on a task: best layer, score, interval, which tie, any signal.

    Example: charkit encoders reviews.csv --text body --label stars -e minilm -e my-encoder
    """
    output = o.output_of(fmt, quiet, verbose, log_file)
    from charkit.answers.encoders import CONTROLS, plan_encoders, run_encoders, some_failed
    from charkit.cli.sweeping import announce
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
        controls=CONTROLS,
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
    plans, failed = plan_encoders(lazy, list(encoder), n=n, settings=settings)
    if dry_run:
        _show_plans(output, plans, failed)
        return
    for plan in plans:
        announce(output, plan)
    with progress_shown(output) as progress:
        answer = run_encoders(plans, failed, executor=executor, progress=progress)
    noted = [line for plan in plans for line in plan.encoder_notes()]
    extra: dict[str, Any] = answer.about() | {"encoder_notes": list(dict.fromkeys(noted))}
    rows = answer.rows()
    if output.format == "table":
        extra = {"lines": answer.lines()}
        rows = [{k: v for k, v in row.items() if not k.startswith("rival_")} for row in rows]
    output.rows(rows, key="encoders", extra=extra)
    if answer.failed:
        raise some_failed(answer)


def _show_plans(output: Output, plans: list[SweepPlan], failed: list[FailedEncoder]) -> None:
    """Show what each encoder would cost, and which ones cannot be had."""
    from charkit.config import people_name
    from charkit.heads.estimate import estimate

    rows, notes = [], []
    for plan in plans:
        name, expected = people_name(plan.encoders[0].name), estimate(plan)
        rows += [{"encoder": name} | row for row in expected.rows()]
        notes += [f"{name}: {line}" for line in expected.lines()[:1]]
    notes += [f"failed: {f.row()['encoder']}: {f.error}" for f in failed]
    output.rows(rows, key="encoders", extra={"notes": notes})
