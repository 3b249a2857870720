"""``charkit sweep --learner``: ways to train a classifier, on the same draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charkit.cli.show import Output, progress_shown, ready_folder, whole_numbers
from charkit.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from charkit.cli.options import EncodeOptions
    from charkit.cli.sweeping import GridOptions, PlanOptions
    from charkit.encoders.load import LazyEncoder
    from charkit.learners.draws import Draw
    from charkit.store.store import Store
    from charkit.tasks.card import LazyTask

SIZES = (16, 64, 256, 1024)
"""Training sizes unless asked otherwise: fine-tuning takes minutes where a head takes a second."""


@dataclass(frozen=True)
class Learning:
    """What is trained, and where.

    Attributes:
        tasks: The tasks.
        encoders: The encoders.
        store: Where results are kept.
        executor: Where jobs run; None for this process.
        max_length: Most tokens of a text; None for the encoder's own choice.
    """

    tasks: list[LazyTask]
    encoders: list[LazyEncoder]
    store: Store
    executor: str | None
    max_length: int | None


def refuse_together(
    grid: GridOptions, encode: EncodeOptions, shard: str | None, plan: PlanOptions
) -> None:
    """Refuse options that mean nothing to learners.

    Raises:
        UsageError: One of them is given.
    """
    wrong = {
        "--layers": grid.layers is not None,
        "--subset": grid.subsets != ["all"],
        "--metric": grid.metric is not None,
        "--pooling": encode.pooling != "mean",
        "--shard": shard is not None,
        "--machines": plan.machines is not None,
    }
    for name, given in wrong.items():
        if given:
            raise UsageError(
                f"--learner: expected no {name} with it, got one: learners choose their own layer, "
                f"pool by the mean, and are scored by accuracy on the whole task. Leave {name} out."
            )


def show_learners(
    output: Output, where: Learning, grid: GridOptions, dry_run: bool, out: Path | None
) -> None:
    """Train the learners of a grid and show what each reaches, or only how long that takes.

    Raises:
        UnknownNameError: A learner is not known.
        UsageError: A size or a seed is not legal, or no task allows a size.
    """
    from charkit.heads.sweep.table import write_table
    from charkit.learners.draws import plan_rows, run_draws

    draws = _draws(where, grid)
    if dry_run:
        rows = plan_rows(draws, where.store)
        total = sum(row["hours"] for row in rows)
        output.rows(
            rows, key="sizes", extra={"notes": [f"about {total:.2g} hours on this machine"]}
        )
        return
    ready_folder(out)
    with progress_shown(output) as progress:
        table = run_draws(draws, where.store, executor=where.executor, progress=progress)
    extra: dict[str, Any] = {"findings": _failures(table)}
    if output.format == "json":
        extra["runs"] = table.to_dict("records")
    output.rows(_means(table), key="learners", extra=extra)
    if out is not None:
        write_table(table, out / "learners.parquet")
        output.note(f"wrote learners.parquet to {out}")


def _draws(where: Learning, grid: GridOptions) -> list[Draw]:
    from charkit.heads.sweep.plan import check_seeds, check_sizes
    from charkit.learners.draws import draws_of
    from charkit.learners.outcomes import check_learners

    learners = check_learners([name.strip() for name in (grid.learner or "").split(",")])
    sizes = check_sizes(whole_numbers(grid.sizes, "--sizes") or SIZES)
    seeds = check_seeds(whole_numbers(grid.seeds, "--seeds") or ())
    draws = [
        draw
        for encoder in where.encoders
        for task in where.tasks
        for draw in draws_of(
            task.open(),
            task.card.corpus,
            [(size, seeds) for size in sizes],
            encoder=encoder,
            max_length=where.max_length,
            learners=learners,
            store=where.store,
        )
    ]
    if not draws:
        n_train = max(task.card.n_train for task in where.tasks)
        raise UsageError(
            f"--sizes: expected sizes of at most {n_train:,} texts, of two classes or more, got "
            f"{', '.join(map(str, sizes))}. Choose smaller sizes or add labels."
        )
    return sorted(draws, key=lambda draw: (len(draw.train), draw.seed))


def _means(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one row a task, encoder, size and learner: accuracy over the draws."""
    groups = table.groupby(["task", "encoder", "n_train", "learner"], sort=False)
    means = groups.agg(
        accuracy=("accuracy", "mean"),
        lowest=("accuracy", "min"),
        highest=("accuracy", "max"),
        draws=("accuracy", "size"),
        failed=("failed", "sum"),
        seconds=("seconds", "mean"),
    )
    return [{str(k): v for k, v in row.items()} for row in means.reset_index().to_dict("records")]


def _failures(table: pd.DataFrame) -> list[str]:
    """Return a line on failed runs, with what to do."""
    failed = table[table["failed"]]
    if failed.empty:
        return []
    first = failed.iloc[0]
    n_runs = int(table["learner"].isin(failed["learner"].unique()).sum())
    return [
        f"{len(failed)} of {n_runs} runs of fine-tuning failed, the first at {first['n_train']} "
        f"texts ({first['learner']}: {first['failure']}). Trust the other learners there, or add "
        "labels."
    ]
