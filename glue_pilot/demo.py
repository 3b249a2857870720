"""The whole road on generated tasks with the bundled encoder, offline: ``make demo``."""

from __future__ import annotations

from pathlib import Path

import typer

from charkit.cli.show import Output, progress_shown, reported
from charkit.escape import harmless
from glue_pilot.__main__ import run_study

HERE = Path(__file__).parent
QUESTION = "generated/sentiment?n_train=256&n_eval=500&difficulty=0.8"
GROWN = QUESTION.replace("n_train=256", "n_train=512")
"""The same texts, twice as many of them labelled."""

TARGET = 0.9


@reported
def main() -> None:
    """Run the smoke study, answer a question with few labels, and say where to look."""
    from charkit.answers.accuracy.estimate import estimate
    from charkit.encoders.load import load_encoder

    out, output = Path("results") / "demo", Output()
    typer.echo("charkit demo: generated tasks, the bundled encoder, no network.\n")
    run_study(output, HERE / "smoke.toml", tasks=None, out=out, cache_dir=None)
    typer.echo(f"\nNow with 256 labels of one task: how many reach {TARGET}?\n")
    with progress_shown(output) as progress:
        encoder = load_encoder(offline=True)
        answer = estimate(QUESTION, target=TARGET, encoder=encoder, progress=progress)
    for line in answer.lines():
        typer.echo(harmless(line))
    answer.save(out / "answer")
    typer.echo("\n256 more labels, and the same question again:\n")
    with progress_shown(output) as progress:
        grown = estimate(GROWN, target=TARGET, encoder=encoder, progress=progress)
    grown = grown.compared_with(out / "answer")
    for line in grown.summary():
        typer.echo(harmless(line))
    grown.save(out / "grown")
    typer.echo(f"\nThe answer as a page is {out}/answer/report.html.")
    typer.echo(f"The table is {out}/smoke.parquet, the summary {out}/smoke.md,")
    typer.echo(f"the learning curves {out}/figures/. Now your own data:")
    typer.echo("  charkit estimate reviews.csv --text body --label stars --target 0.85")


if __name__ == "__main__":
    typer.run(main)
