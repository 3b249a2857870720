"""``charkit encoders``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, reported, whole_numbers

if TYPE_CHECKING:
    from charkit.answers.ranking.encoder_table import EncodersAnswer, FailedEncoder
    from charkit.heads.sweep.grid import SweepPlan

Encoders = Annotated[
    list[str],
    typer.Option(
        "--encoder",
        "-e",
        help="minilm (bundled), a folder, NAME@REVISION on the hub, random:NAME for its shape "
        "with random weights, or apart:NAME to encode the texts of a pair apart. May be repeated.",
    ),
]


@reported
@o.takes_options
def encoders(
    task: o.Source,
    encoder: Encoders = ["minilm", "random:minilm"],  # noqa: B006 - typer copies it
    n: o.NTexts = None,
    *,
    read: o.SampleOptions,
    layers: o.LayerShares = None,
    seeds: o.Seeds = "0-4",
    metric: o.Metric = None,
    encode: o.EncodeOptions,
    run: o.RunOptions,
    executor: o.ExecutorName = None,
    dry_run: o.DryRun = False,
    show: o.ShowOptions,
) -> None:
    """Rank encoders on a task: best layer, score, interval, which tie, any signal.

    Example: charkit encoders reviews.csv --text body --label stars -e minilm -e my-encoder
    """
    output = show.output()
    from charkit.answers.ranking.encoders import plan_encoders, rank_encoders
    from charkit.errors import CellsFailedError

    given: dict[str, Any] = {
        "encoder": [run.encoder(name) for name in encoder],
        "n": n,
        "layers": o.layers_or_shares(layers),
        "seeds": whole_numbers(seeds, "--seeds"),
        "metric": metric,
        "encoding": encode,
        "store": run.store(),
    }
    opened = o.opened(output, task, read, run, metric=metric)
    if dry_run:
        _show_plans(output, *plan_encoders(opened, **given))
        return
    try:
        with progress_shown(output) as progress:
            answer = rank_encoders(opened, **given, executor=executor, progress=progress)
    except CellsFailedError as error:
        if error.partial is not None:
            _show(output, error.partial)  # type: ignore[arg-type]
        raise
    _show(output, answer)


def _show(output: Output, answer: EncodersAnswer) -> None:
    rows, extra = answer.rows(), answer.about()
    if output.format == "table":
        extra = {"lines": answer.lines()}
        rows = [{k: v for k, v in row.items() if not k.startswith("rival_")} for row in rows]
    output.rows(rows, key="encoders", extra=extra)


def _show_plans(output: Output, plans: list[SweepPlan], failed: list[FailedEncoder]) -> None:
    """Show what each encoder would cost, and which ones cannot be had."""
    from charkit.config import people_name
    from charkit.heads.sweep.cost import estimate

    rows, notes = [], []
    for plan in plans:
        name, expected = people_name(plan.encoders[0].name), estimate(plan)
        rows += [{"encoder": name} | row for row in expected.rows()]
        notes += [f"{name}: {line}" for line in expected.lines()[:1]]
    notes += [f"failed: {f.row()['encoder']}: {f.error}" for f in failed]
    output.rows(rows, key="encoders", extra={"notes": notes})
