"""``charkit sweep``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charkit.cli import options as o
from charkit.cli.learning import Learning, refuse_together, show_learners
from charkit.cli.show import Output, progress_shown, ready_folder, reported, whole_numbers
from charkit.config import people_name
from charkit.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from charkit.encoders.load import LazyEncoder
    from charkit.heads.sweep.grid import SweepPlan
    from charkit.heads.sweep.plan import Machines
    from charkit.heads.sweep.result import SweepResult
    from charkit.parallel import Shard
    from charkit.store.store import Store
    from charkit.tasks.card import LazyTask

Out = Annotated[
    Path | None,
    typer.Option("--out", parser=o.path, help="Folder for the whole table and the figures."),
]


@dataclass(frozen=True)
class GridOptions:
    """The grid of a sweep, apart from tasks and encoders."""

    layers: o.LayerShares = None
    sizes: Annotated[
        str | None,
        typer.Option(
            "--sizes",
            "-n",
            help="Training sizes, such as 16,64,256. Default: 16, doubled, and the whole.",
        ),
    ] = None
    seeds: o.Seeds = "0-4"
    subsets: Annotated[
        list[str],
        typer.Option("--subset", help="Part of the task, such as classes:A,B. May be repeated."),
    ] = field(default_factory=lambda: ["all"])
    controls: Annotated[
        str,
        typer.Option("--controls", help="Controls beside the real thing; none for no control."),
    ] = "random_encoder,shuffled_labels,majority"
    metric: o.Metric = None
    learner: Annotated[
        str | None,
        typer.Option(
            "--learner",
            help="Compare ways to train: probe, last_layer, concat, tuned (all weights), setfit.",
        ),
    ] = None

    def given(self) -> dict[str, Any]:
        """Return the arguments of `charkit.sweep`.

        Raises:
            UsageError: A list of numbers cannot be read.
        """
        return {
            "layers": o.layers_or_shares(self.layers),
            "sizes": whole_numbers(self.sizes, "--sizes") or (),
            "seeds": whole_numbers(self.seeds, "--seeds"),
            "subsets": tuple(self.subsets),
            "controls": tuple(c.strip() for c in self.controls.split(",") if c.strip()),
            "metric": self.metric,
        }


@dataclass(frozen=True)
class PlanOptions:
    """Whether a sweep is only planned, and for which machines."""

    dry_run: o.DryRun = False
    machines: Annotated[
        str | None,
        typer.Option(
            "--machines",
            help="With --dry-run: how many of which machines, such as 64xh100 or 16xcore.",
        ),
    ] = None
    price: Annotated[
        float | None,
        typer.Option("--price", help="With --machines: price of one of them an hour."),
    ] = None

    def planned_for(self, executor: str | None) -> Machines | None:
        """Return the machines that a dry run counts for; None for this one, a process a core.

        Raises:
            UsageError: They are given without a dry run, or a price without them.
        """
        from charkit.heads.sweep.plan import Machines
        from charkit.parallel import Processes, executor_from

        if self.machines is not None and not self.dry_run:
            raise UsageError(
                "--machines: expected --dry-run with it, got none. --executor chooses where jobs "
                "run."
            )
        if self.machines is not None:
            return Machines.parse(self.machines, price=self.price)
        if self.price is not None:
            raise UsageError("--price: expected --machines with it, such as 64xh100, got none.")
        if not self.dry_run or executor is None or executor.partition(":")[0] in ("ray", "slurm"):
            return None
        chosen = executor_from(executor)
        n_workers = chosen.n_workers if isinstance(chosen, Processes) else 1
        return Machines(n_workers, encode=False)


@reported
@o.takes_options
def sweep(
    tasks: o.Sources,
    *,
    read: o.SampleOptions,
    encoder: o.EncoderNames = ["minilm"],  # noqa: B006 - typer copies it
    grid: GridOptions,
    encode: o.EncodeOptions,
    run: o.RunOptions,
    executor: o.ExecutorName = None,
    shard: o.ShardName = None,
    out: Out = None,
    plan: PlanOptions,
    show: o.ShowOptions,
) -> None:
    """Train heads on every layer and size; show accuracy by size, with controls.

    Example: charkit sweep reviews.csv --text body --label stars
    """
    output = show.output()
    from charkit.errors import CellsFailedError
    from charkit.heads.sweep.sweep import sweep as sweep_tasks
    from charkit.parallel import Shard

    part = None if shard is None else Shard.parse(shard, executor)
    planned_for = plan.planned_for(executor)
    given = grid.given()
    opened = [o.opened(output, task, read, run, metric=grid.metric) for task in tasks]
    loaded = [run.encoder(name) for name in encoder]
    if grid.learner is not None:
        refuse_together(grid, encode, shard, plan)
        where = Learning(opened, loaded, run.store(), executor, encode.max_length)
        show_learners(output, where, grid, plan.dry_run, out)
        return
    if plan.dry_run:
        given |= asdict(encode)
        show_plan(output, _planned(opened, loaded, given, run.store(), part), planned_for)
        return
    ready_folder(out)
    try:
        with progress_shown(output) as progress:
            result = sweep_tasks(
                opened,
                encoder=loaded,
                **given,
                encoding=encode,
                store=run.store(),
                executor=part or executor,
                progress=progress,
            )
    except CellsFailedError as error:
        _show(output, error.partial, out)  # type: ignore[arg-type]
        raise
    _show(output, result, out)


def _planned(
    tasks: list[LazyTask],
    encoders: list[LazyEncoder],
    grid: dict[str, Any],
    store: Store,
    shard: Shard | None,
) -> SweepPlan:
    from charkit.heads.sweep.grid import SweepSettings, plan_sweep

    settings = SweepSettings(**grid)
    return plan_sweep(tasks, encoder=encoders, settings=settings, store=store, shard=shard)


def show_plan(output: Output, plan: SweepPlan, machines: Machines | None = None) -> None:
    """Show what a plan would compute, how long that takes and how much disk it needs."""
    from charkit.heads.sweep.cost import estimate

    expected = estimate(plan, machines=machines)
    output.rows(
        expected.rows(),
        key="tasks",
        extra={"total": expected.total(), "notes": expected.lines()},
    )


def _show(output: Output, result: SweepResult, out: Path | None) -> None:
    best = result.best_layers()
    if output.format == "table":
        best = _compact(best, result)
    extra: dict[str, object] = {"findings": result.findings()}
    if output.format == "json":
        extra["notes"] = {card.name: list(card.notes) for card in result.cards}
        extra["cells"] = result.table.to_dict("records")
    rows = [{str(k): v for k, v in row.items()} for row in best.to_dict("records")]
    written = [] if out is None else _saved(result, out)  # first: the reader may go away
    output.rows(rows, key="best_layers", extra=extra)
    found, n_jobs = result.n_jobs_found, len(result.jobs)
    if found:
        nothing = ": nothing was computed" if found == n_jobs else ""
        output.note(f"{found} of {n_jobs} jobs were in the store already{nothing}")
    if out is None:
        output.note(f"{len(result.table):,} cells lie in {result.root}; --out FOLDER writes them")
    for line in written:
        output.note(line)


def _compact(best: pd.DataFrame, result: SweepResult) -> pd.DataFrame:
    """Leave out what says the same in every row, and strengths; call the score by its name."""
    from charkit.heads.sweep.table import metric_name

    if best.empty:
        return best
    same = [c for c in ("task", "subset", "encoder") if best[c].nunique() == 1]
    metrics = {metric_name(card.metric) for card in result.cards}
    named = best.assign(encoder=best["encoder"].map(people_name))
    named = named.drop(columns=[*same, "strength"])
    return named.rename(columns={"score": metrics.pop()}) if len(metrics) == 1 else named


def _saved(result: SweepResult, out: Path) -> list[str]:
    """Write the table and the figures; return what to say about it."""
    lines: list[str] = []
    written: list[Path] = []
    result.save(out)
    if find_spec("matplotlib") is None:
        lines.append('no figures: matplotlib is not installed. Run: pip install "charkit[report]"')
    else:
        from charkit.report.figures import save_sweep_figures

        ceilings = {c.name: c.ceiling for c in result.cards if c.ceiling is not None}
        written = save_sweep_figures(result.table, out, ceilings=ceilings)
    return [*lines, f"wrote table.parquet, table.csv and {len(written)} figures to {out}"]
