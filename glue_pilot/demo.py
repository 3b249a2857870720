"""The whole road on generated tasks with the bundled encoder, offline: ``make demo``."""

from __future__ import annotations

from pathlib import Path

import typer

from charkit.cli.show import Output, reported
from glue_pilot.__main__ import run_study

HERE = Path(__file__).parent


@reported
def main() -> None:
    """Run the smoke study and say where to look."""
    out = Path("results") / "demo"
    typer.echo("charkit demo: generated tasks, the bundled encoder, no network.\n")
    run_study(Output(), HERE / "smoke.toml", tasks=None, out=out, cache_dir=None, workers=None)
    typer.echo(f"\nThe table is {out}/smoke.parquet, the summary {out}/smoke.md,")
    typer.echo(f"the learning curves {out}/figures/. Now your own data:")
    typer.echo("  charkit sweep reviews.csv --text body --label stars")


if __name__ == "__main__":
    typer.run(main)
