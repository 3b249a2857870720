"""``charkit estimate``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, ready_folder, reported
from charkit.errors import RefusalError

if TYPE_CHECKING:
    from charkit.answers.accuracy.result import EstimateAnswer

COSTS = "What labels cost"

Target = Annotated[
    float | None,
    typer.Option("--target", help="Accuracy to reach, as a fraction such as 0.85."),
]
ToCome = Annotated[
    str | None,
    typer.Option(
        "--eval",
        help="Texts to be judged on, labels not read: a file, or a part of a folder or hub "
        "data set. Default: rows without a label.",
        rich_help_panel=o.READ,
    ),
]
ZeroShot = Annotated[
    Path | None,
    typer.Option(
        "--zero-shot",
        parser=o.path,
        help="File with a class for each labelled row that needed no training, such as an LLM's: "
        "adds their accuracy, and how many labels overtake them.",
        rich_help_panel=o.READ,
    ),
]
LearnerNames = Annotated[
    str | None,
    typer.Option(
        "--learners",
        help="Ways of training to compare, such as probe,tuned. Default: all that are known.",
    ),
]


@dataclass(frozen=True)
class CostOptions:
    """What labels cost."""

    cost: Annotated[
        float | None, typer.Option("--cost", help="Price of a label.", rich_help_panel=COSTS)
    ] = None
    penalty: Annotated[
        float | None,
        typer.Option(
            "--penalty",
            help="Cost of missing the target, in the unit of the price.",
            rich_help_panel=COSTS,
        ),
    ] = None
    rounds: Annotated[
        int,
        typer.Option("--rounds", help="How often labels can be bought.", rich_help_panel=COSTS),
    ] = 1


@dataclass(frozen=True)
class CompareOptions:
    """What the linear head is compared with."""

    zero_shot: ZeroShot = None
    learners: LearnerNames = None


@dataclass(frozen=True)
class KeepOptions:
    """Where the answer goes, and which one came before it."""

    out: Annotated[
        Path | None,
        typer.Option(
            "--out", parser=o.path, help="Folder for the answer, the curve and a page to read."
        ),
    ] = None
    earlier: Annotated[
        Path | None,
        typer.Option(
            "--earlier",
            parser=o.path,
            help="Answer about fewer of these labels: the folder or its answer.json. Shows what it "
            "predicted, and what came. Default: the answer in --out, if there is one.",
        ),
    ] = None

    def before(self) -> dict[str, Any] | None:
        """Return the earlier answer; None where there is none.

        Raises:
            MissingError: There is none where --earlier says; --out cannot be written.
            DataError: It is damaged, or no answer of charkit.
        """
        from charkit.answers.accuracy.earlier import ANSWER, read_earlier

        ready_folder(self.out)
        if self.earlier is not None:
            return read_earlier(self.earlier)
        found = self.out is not None and (self.out / ANSWER).is_file()
        return read_earlier(self.out / ANSWER) if self.out is not None and found else None


@reported
@o.takes_options
def estimate(
    task: o.PartlyLabelled,
    target: Target = None,
    *,
    read: o.ReadOptions,
    classes: o.Classes = None,
    evaluation: ToCome = None,
    costs: CostOptions,
    encoder: o.EncoderName = "minilm",
    max_length: o.MaxLength = None,
    compare: CompareOptions,
    run: o.RunOptions,
    keep: KeepOptions,
    show: o.ShowOptions,
) -> None:
    """Say what accuracy more labels would bring, and how many reach a target.

    Example: charkit estimate reviews.csv --text body --label stars --target 0.85
    """
    output = show.output()
    from charkit.answers.accuracy.estimate import estimate as estimate_accuracy

    before = keep.before()
    o.announce_hub(output, task, run.offline)
    with progress_shown(output) as progress:
        answer = estimate_accuracy(
            read.task(task, run, evaluation=evaluation),
            target=target,
            classes=classes,
            **asdict(costs),
            encoder=run.encoder(encoder),
            max_length=max_length,
            **asdict(compare),
            store=run.store(),
            progress=progress,
        )
    _show(output, answer if before is None else answer.compared_with(before), keep.out)


def _show(output: Output, answer: EstimateAnswer, out: Path | None) -> None:
    written = [] if out is None else answer.save(out)  # first: the reader may go away
    if output.format == "json":
        whole = answer.to_dict()
        rows = whole.pop("accuracy")
        output.rows(rows, key="accuracy", extra=whole)
    elif output.format == "csv":
        output.rows(answer.rows(), key="accuracy", extra={})
    else:
        output.lines([*answer.summary(), ""])
        output.rows(answer.shown_rows(), key="accuracy", extra={})
        output.lines(["", *answer.details()])
        if answer.outlook is not None and answer.outlook.short is not None:
            output.lines([""])
            output.rows(answer.outlook.shown_rows(), key="classes", extra={})
    if answer.found:
        output.note("the evidence was in the store already")
    if out is None:
        output.note("--out FOLDER writes the answer, the curve and a page to read")
    else:
        if find_spec("matplotlib") is None:
            output.note(
                'no curve.svg: matplotlib is not installed. Run: pip install "charkit[report]"'
            )
        output.note(f"wrote {', '.join(sorted(f.name for f in written))} to {out}")
    if not answer.trustworthy:
        grave = "; ".join(v.sentence for v in answer.verdicts if v.grave)
        raise RefusalError(f"do not use these numbers: {grave}.", partial=answer)
