"""The options that several commands share, each documented once, and the objects they make."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_type_hints

import typer

from charkit.cli.show import Format, Output, set_up_logging, whole_numbers
from charkit.config import EncodeOptions as _EncodeOptions
from charkit.errors import UsageError
from charkit.store.durable import named_place

if TYPE_CHECKING:
    from charkit.encoders.load import LazyEncoder
    from charkit.store.store import Store
    from charkit.tasks.card import LazyTask


def path(text: str) -> Path:
    """Read an option that names a file or folder to write; ``--out "$UNSET"`` is not ``.``.

    Raises:
        BadParameter: The text is empty, or names a home folder that is not known.
    """
    try:
        return named_place(text, "the path")
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None


READ = "Reading the data"
RUN = "Running"
SHOW = "Output"

Sources = Annotated[
    list[str],
    typer.Argument(
        help="Tasks: a file (csv, tsv, jsonl, parquet, also .gz), a folder with train and test "
        "files, hub:NAME/CONFIG@REVISION, glue/NAME, or generated/NAME.",
        show_default=False,
    ),
]
Source = Annotated[
    str,
    typer.Argument(
        help="A task: a file (csv, tsv, jsonl, parquet, also .gz), a folder with train and test "
        "files, hub:NAME/CONFIG@REVISION, glue/NAME, or generated/NAME.",
        show_default=False,
    ),
]
PartlyLabelled = Annotated[
    str,
    typer.Argument(
        help="Texts, some of them labelled: a file (csv, tsv, jsonl, parquet, also .gz), a "
        "folder, hub:NAME/CONFIG@REVISION, glue/NAME, or generated/NAME.",
        show_default=False,
    ),
]
NTexts = Annotated[
    int | None, typer.Option("--n", "-n", help="Labelled training texts. Default: all.", min=2)
]
Seeds = Annotated[str, typer.Option("--seeds", help="Draws of the training texts.")]
Classes = Annotated[
    int | None,
    typer.Option(
        "--classes", help="Number of classes, for texts without any label.", rich_help_panel=READ
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be computed, and stop.")]
Text = Annotated[
    str | None, typer.Option("--text", help="Column of the texts.", rich_help_panel=READ)
]
Pair = Annotated[
    str | None,
    typer.Option("--pair", help="Column of the second texts, for pairs.", rich_help_panel=READ),
]
Label = Annotated[
    str | None, typer.Option("--label", help="Column of the labels.", rich_help_panel=READ)
]
Kind = Annotated[
    Literal["classification", "regression"] | None,
    typer.Option("--kind", help="What the labels are; guessed.", rich_help_panel=READ),
]
Evaluation = Annotated[
    str | None,
    typer.Option(
        "--eval",
        help="Evaluation rows: a file, or a part of a folder or hub data set.",
        rich_help_panel=READ,
    ),
]
EvalFrac = Annotated[
    float,
    typer.Option(
        "--eval-frac",
        help="Share of the rows held out when no evaluation rows are given.",
        rich_help_panel=READ,
    ),
]
OnBadRows = Annotated[
    Literal["refuse", "drop"],
    typer.Option(
        "--on-bad-rows", help="Rows without text or label: refuse or drop.", rich_help_panel=READ
    ),
]
EncoderName = Annotated[
    str,
    typer.Option(
        "--encoder", "-e", help="minilm (bundled), a folder, or NAME@REVISION on the hub."
    ),
]
EncoderNames = Annotated[
    list[str],
    typer.Option(
        "--encoder",
        "-e",
        help="minilm (bundled), a folder, or NAME@REVISION on the hub. May be repeated.",
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        "--layers", help="Layers, such as 0,3-6 or -1 for the last; 0 = embeddings. Default: all."
    ),
]
LayerShares = Annotated[
    str | None,
    typer.Option(
        "--layers",
        help="Layers, such as 0,3-6 or -1 for the last, or shares of the depth, such as 50%; 0 = "
        "embeddings. Default: all.",
    ),
]
Metric = Annotated[
    str | None,
    typer.Option(
        "--metric",
        help="What is scored and chosen by: accuracy, f1, macro_f1, balanced_accuracy or "
        "matthews. Default: the task's own.",
    ),
]
Pool = Annotated[
    Literal["mean", "cls", "max"],
    typer.Option("--pooling", help="How token states become one vector."),
]
MaxLength = Annotated[
    int | None,
    typer.Option("--max-length", help="Longest text in tokens; longer ones are cut and counted."),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    typer.Option("--device", help="Where the encoder runs.", rich_help_panel=RUN),
]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16"],
    typer.Option("--dtype", help="Arithmetic of the encoder.", rich_help_panel=RUN),
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Never open a network connection.", rich_help_panel=RUN)
]
ExecutorName = Annotated[
    str | None,
    typer.Option(
        "--executor",
        help="Where jobs run: a number of processes, ray[:HOST:PORT] or slurm[:PARTITION]. "
        "Default: a process a core.",
        rich_help_panel=RUN,
    ),
]
ShardName = Annotated[
    str | None,
    typer.Option(
        "--shard",
        help="Do part k of N only, such as 2/8: one command for each of N machines.",
        rich_help_panel=RUN,
    ),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        parser=path,
        help="Where results are kept. Default: $CHARKIT_CACHE or the user's cache.",
        rich_help_panel=RUN,
    ),
]
FormatOption = Annotated[
    Literal["table", "json", "csv"],
    typer.Option("--format", help="Form of the result on stdout.", rich_help_panel=SHOW),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print only the result and errors.", rich_help_panel=SHOW),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Log what is done.", rich_help_panel=SHOW)
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log-file", parser=path, help="Write the log to a file too.", rich_help_panel=SHOW
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks of errors.", rich_help_panel=SHOW)
]


def layers_or_shares(text: str | None) -> tuple[int | float, ...] | None:
    """Read layers and shares of the depth, such as ``0,3-6`` or ``0,50%,100%``.

    Raises:
        UsageError: A part is neither.

    >>> layers_or_shares("0,50%,-1")
    (0, 0.5, -1)
    """
    if text is None:
        return None
    found: list[int | float] = []
    for part in text.replace(" ", "").split(","):
        if part.endswith("%"):
            try:
                found.append(float(part[:-1]) / 100)
            except ValueError:
                raise UsageError(
                    f"--layers: expected shares of the depth such as 50%, got {text!r}."
                ) from None
        else:
            found += whole_numbers(part, "--layers") or ()
    return tuple(found)


def output_of(fmt: str, quiet: bool, verbose: bool, log_file: Path | None) -> Output:
    """Return how the command speaks, and set up its log."""
    output = Output(format=cast(Format, fmt), quiet=quiet, verbose=verbose)
    set_up_logging(output, log_file)
    return output


@dataclass(frozen=True)
class ReadOptions:
    """How rows become texts and labels."""

    text: Text = None
    pair: Pair = None
    label: Label = None
    kind: Kind = None
    on_bad_rows: OnBadRows = "refuse"

    def task(self, source: str, run: RunOptions, **more: Any) -> LazyTask:
        """Return a task that is read when it is needed.

        Args:
            source: Where it is.
            run: The store, and whether the network may be used.
            more: Other fields of `charkit.tasks.card.SourceOptions`.
        """
        from charkit.tasks.card import LazyTask, SourceOptions

        reading = {f.name: getattr(self, f.name) for f in fields(self)} | more
        return LazyTask(source, run.store(), SourceOptions(offline=run.offline or None, **reading))


@dataclass(frozen=True)
class SampleOptions(ReadOptions):
    """How a sample is read of which a part is held out."""

    evaluation: Evaluation = None
    eval_frac: EvalFrac = 0.2


@dataclass(frozen=True)
class EncodeOptions(_EncodeOptions):
    """What is taken from an encoder."""

    pooling: Pool = "mean"
    max_length: MaxLength = None


@dataclass(frozen=True)
class RunOptions:
    """Where a command computes, and where results are kept."""

    device: Device = "auto"
    dtype: Dtype = "auto"
    offline: Offline = False
    cache_dir: CacheDir = None

    def store(self) -> Store:
        """Return the store in the folder, or the default store."""
        from charkit.store.store import Store

        return Store(self.cache_dir)

    def encoder(self, name: str) -> LazyEncoder:
        """Return an encoder that is found when it is needed."""
        from charkit.encoders.load import LazyEncoder

        return LazyEncoder(name, self.device, self.dtype, self.offline or None)


@dataclass(frozen=True)
class ShowOptions:
    """How a command shows what it found."""

    fmt: FormatOption = "table"
    quiet: Quiet = False
    verbose: Verbose = False
    log_file: LogFile = None
    debug: Debug = False

    def output(self) -> Output:
        """Return how the command speaks, and set up its log."""
        return output_of(self.fmt, self.quiet, self.verbose, self.log_file)


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the fields of its options, each in place of the one parameter.

    A parameter whose annotation is a dataclass stands for the options that the annotations of
    its fields describe; the command gets the object. What Typer reads, the signature, has the
    fields.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(annotation=hints[name]))
            continue
        own = get_type_hints(groups[name], include_extras=True)
        parameters += [
            inspect.Parameter(f.name, parameter.kind, default=_default(f), annotation=own[f.name])
            for f in fields(groups[name])
        ]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        objects = {
            name: group(**{f.name: given.pop(f.name) for f in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **objects)

    shown = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    wrapped.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in shown}
    return wrapped


def _default(option: Field[Any]) -> Any:
    made = option.default_factory
    return option.default if made is MISSING else made()


def opened(
    output: Output,
    source: str,
    read: ReadOptions,
    run: RunOptions,
    *,
    metric: str | None = None,
    **more: Any,
) -> LazyTask:
    """Return a task that is read when it is needed, having noted what is known of it.

    Args:
        output: How the command speaks.
        source: Where it is.
        read: How it is read.
        run: The store, and whether the network may be used.
        metric: The metric asked for; None for the task's own.
        more: Other fields of `charkit.tasks.card.SourceOptions`.

    Raises:
        DataError: The source cannot be used.
    """
    announce_hub(output, source, run.offline)
    task = read.task(source, run, **more)
    for line in task.card.described(metric):
        output.note(line)
    return task


def store_at(cache_dir: Path | None) -> Store:
    """Return the store in the folder, or the default store."""
    from charkit.store.store import Store

    return Store(cache_dir)


def announce_hub(output: Output, name: str, offline: bool) -> None:
    """Say that a task comes from the hub, which may take a while."""
    if name.startswith(("glue/", "hub:")) and not offline and not Path(name).exists():
        output.note(f"{name}: from the hub, unless it is on this machine already")
