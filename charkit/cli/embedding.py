"""``charkit embed``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, ready_file, reported, whole_numbers
from charkit.errors import RefusalError, UsageError

if TYPE_CHECKING:
    from charkit.answers.embedding.cache import Options
    from charkit.answers.embedding.embed import EmbedPlan
    from charkit.answers.embedding.result import EmbeddedTask

SHORT_PARTS = {"q": "query", "k": "key", "v": "value", "o": "attention_out"}

HOW = "What is estimated"


def _how(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=HOW)


NTexts = Annotated[
    int | None,
    typer.Option("--n", "-n", help="Labelled training texts to use. Default: all.", min=2),
]
Seed = Annotated[int, typer.Option("--seed", help="Of the sample of --n, and of draws and noise.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", parser=o.path, help="File for the numbers, such as reviews.safetensors."),
]


@dataclass(frozen=True)
class TextsOptions(o.SampleOptions):
    """How the labelled texts are read, and which texts are embedded."""

    split: Annotated[
        Literal["train", "evaluation"],
        typer.Option("--split", help="Which texts are embedded.", rich_help_panel=o.READ),
    ] = "train"
    unlabelled: Annotated[
        str | None,
        typer.Option(
            "--unlabelled",
            help="Embed the texts of this file instead, under the head of the labelled ones.",
            rich_help_panel=o.READ,
        ),
    ] = None

    def chosen(self) -> tuple[o.SampleOptions, str, dict[str, Any]]:
        """Return how the task is read, which part is embedded, and other options of reading.

        Raises:
            UsageError: Evaluation rows and unlabelled texts were named.
        """
        plain = {f.name: getattr(self, f.name) for f in fields(o.SampleOptions)}
        if self.unlabelled is None:
            return o.SampleOptions(**plain), self.split, {}
        if self.evaluation is not None:
            raise UsageError(
                "one sample is embedded at a time: expected unlabelled texts or evaluation rows, "
                f"got both ({self.unlabelled} and {self.evaluation}). Name one of them."
            )
        plain["evaluation"] = self.unlabelled
        return o.SampleOptions(**plain), "evaluation", {"labels": "train"}


@dataclass(frozen=True)
class EstimatorOptions:
    """How an embedding is estimated."""

    head_layers: Annotated[
        str,
        _how(
            "--head-layer",
            "--head-layers",
            help="Layers that a head reads, such as 6 or 1-6; -1 is the last. One embedding each.",
        ),
    ] = "-1"
    cache_layer: Annotated[
        int | None,
        _how(
            "--cache-layer",
            help="Keep the token states of this layer too; other embeddings of the same texts "
            "begin there. Takes room.",
        ),
    ] = None
    layers: Annotated[
        str | None,
        _how("--layers", help="Whose weights, such as 3-6, from 1. Default: all up to the head."),
    ] = None
    parts: Annotated[
        str | None,
        _how(
            "--parts",
            help="query,key,value,attention_out,ffn_in,ffn_out (or q,k,v,o), also "
            "layer_norm,bias. Default: the six matrices.",
        ),
    ] = None
    estimator: Annotated[
        str,
        _how(
            "--estimator",
            help="auto, exact, sketch, monte_carlo, empirical (reads the labels), or variational "
            "(the noise that weights can bear; tens of times as long).",
        ),
    ] = "auto"
    n_draws: Annotated[int, _how("--draws", help="Draws a text, for sketch and monte_carlo.")] = 1
    relative_error: Annotated[
        float | None,
        _how(
            "--relative-error",
            help="Choose the draws instead, by the noise they may add, such as 0.05.",
        ),
    ] = None
    stop_at: Annotated[
        float | None,
        _how(
            "--stop-at",
            help="Stop once random halves of the texts agree to this cosine, such as 0.99.",
        ),
    ] = None
    beta: Annotated[
        float | None, _how("--beta", help="For variational: weight of the prior. Default: 1e-6.")
    ] = None
    n_steps: Annotated[
        int | None, _how("--steps", help="For variational: steps of the search. Default: 100.")
    ] = None

    def options(self, seed: int, encode: o.EncodeOptions) -> Options:
        """Return the options of the estimator.

        Raises:
            UsageError: The estimator is not known, or does not take an option that was given.
        """
        from charkit.answers.embedding.embed import choose_options
        from charkit.fisher.layout import DEFAULT_PARTS

        given = asdict(self) | asdict(encode)
        given["layers"] = whole_numbers(self.layers, "--layers")
        given["parts"] = DEFAULT_PARTS if self.parts is None else part_names(self.parts)
        del given["head_layers"], given["cache_layer"]  # of the heads, not of the estimator
        return choose_options(**given, seed=seed)


@reported
@o.takes_options
def embed(
    task: o.Source,
    n: NTexts = None,
    *,
    texts: TextsOptions,
    encoder: o.EncoderName = "minilm",
    how: EstimatorOptions,
    seed: Seed = 0,
    encode: o.EncodeOptions,
    run: o.RunOptions,
    out: Out = None,
    dry_run: o.DryRun = False,
    show: o.ShowOptions,
) -> None:
    """Say which weights a task leans on: its Fisher embedding, by layer, with intervals.

    Example: charkit embed reviews.csv --text body --label stars --out reviews.safetensors
    """
    output = show.output()
    from charkit.answers.embedding.embed import embed as embed_task
    from charkit.answers.embedding.embed import plan_embedding

    read, split, more = texts.chosen()
    given: dict[str, Any] = {
        "n": n,
        "encoder": run.encoder(encoder),
        "options": how.options(seed, encode),
        "head_layers": whole_numbers(how.head_layers, "--head-layer"),
        "cache_layer": how.cache_layer,
        "split": split,
        "store": run.store(),
    }
    if not dry_run:
        ready_file(out)
    opened = o.opened(output, task, read, run, **more)
    if dry_run:
        _show_plan(output, plan_embedding(opened, **given))
        return
    try:
        with progress_shown(output) as progress:
            answer = embed_task(opened, **given, progress=progress)
    except RefusalError as error:
        _show_fit(output, error.partial)
        raise
    _show(output, answer, out, root=run.store().root)


def _show_plan(output: Output, plan: EmbedPlan) -> None:
    from charkit.answers.embedding.cost import estimate_embedding

    expected = estimate_embedding(plan)
    extra = {"total": expected.total(), "notes": expected.lines()}
    output.rows(expected.rows(), key="samples", extra=extra)


def _show_fit(output: Output, fit: object) -> None:
    """Show the norms of a search that has not converged."""
    from charkit.fisher import VariationalFit

    if isinstance(fit, VariationalFit):
        norms = fit.embedding.norms().reset_index()
        rows = [{str(k): v for k, v in row.items()} for row in norms.to_dict("records")]
        output.rows(rows, key="norms", extra={"residual": fit.residual})


def _show(output: Output, answer: EmbeddedTask, out: Path | None, *, root: Path) -> None:
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
        output.note(f"the numbers lie in {root}; --out FILE.safetensors writes them")
    else:
        output.note(f"wrote {', '.join(map(str, written))}")


def part_names(text: str) -> tuple[str, ...]:
    """Return the parts that a list names, short names spelled out.

    >>> part_names("q, k,ffn_in")
    ('query', 'key', 'ffn_in')
    """
    names = [name.strip() for name in text.split(",")]
    return tuple(SHORT_PARTS.get(name, name) for name in names if name)
