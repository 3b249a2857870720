"""Write the generated pages of docs/: ``make docs``; a test holds them to their sources."""

from __future__ import annotations

import importlib.util
import inspect
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from metamodel.learners import Learners
    from metamodel.transfer import Transfer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TESTS = ROOT / "tests"


def table_page() -> str:
    """Return the page that explains every column of the sweep's table."""
    from charkit.heads.records import COLUMNS

    lines = [
        "# The sweep's table",
        "",
        "One row a cell: one head on one layer, trained on one sample. Written by `charkit sweep",
        "--out FOLDER` as `table.parquet` and `table.csv`, by the pilot as `results/pilot.parquet`.",
        "Accuracies and shares lie in [0, 1]; intervals are 90 % intervals of the evaluation sample:",
        "what this very head would score on other texts from the same source. A second run gives",
        "the same bytes, so times are not here but in each job's `run.json` (see",
        "[store.md](store.md)).",
        "",
        "| column | type | unit | meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.meaning} |" for c in COLUMNS]
    return "\n".join([*lines, ""])


def errors_page() -> str:
    """Return the page that lists every refused input with its message and exit code."""
    inputs = _table("charkit/tasks/bad_inputs.py").CASES
    commands = _table("charkit/cli/bad_commands.py").CASES
    lines = [
        "# What charkit refuses",
        "",
        f"{len(inputs) + len(commands)} cases, each of them a test (`tests/charkit/tasks/bad_inputs.py`,",
        "`tests/charkit/cli/bad_commands.py`). A refusal prints one message on stderr that says what is",
        "wrong, what was expected, and what to do; it leaves nothing half-written. Exit codes: 0 well,",
        "1 some cells failed, 2 usage, 3 data, 4 something is missing (file, package, network, disk,",
        "permission), 5 the answer would not be trustworthy, 130 stopped (SIGTERM: 143, SIGHUP: 129).",
        "",
        "## Data",
        "",
        "| case | exit code | the message has |",
        "|---|---|---|",
        *(_row(c.description, c.error.exit_code, c.fragment) for c in inputs),
        "",
        "## Commands, encoders, stores",
        "",
        "| case | exit code | the message has |",
        "|---|---|---|",
        *(_row(c.description, c.exit_code, c.fragment) for c in commands),
    ]
    return "\n".join([*lines, ""])


def commands_page() -> str:
    """Return the page of every command with its options, from the command line itself."""
    from typer.main import get_command

    from charkit.cli.app import app

    lines = [
        "# Commands",
        "",
        "`charkit COMMAND --help` shows the same. What a command prints is shown on the page of its",
        "question: [the list of pages](README.md).",
    ]
    root = get_command(app)
    for name, command in sorted(root.commands.items()):  # type: ignore[attr-defined]
        lines += _command_lines(f"charkit {name}", command)
    return "\n".join([*lines, ""])


def _command_lines(name: str, command: Any) -> list[str]:
    """Return the section of one command, or the sections of those below it."""
    if hasattr(command, "commands"):
        below = sorted(command.commands.items())
        return [line for n, c in below for line in _command_lines(f"{name} {n}", c)]
    needed = [p.name.upper() for p in command.params if _is_argument(p)]
    head = ["", f"## {name}", "", inspect.cleandoc(command.help or ""), ""]
    usage = ["```text", " ".join([name, *needed, "[OPTIONS]"]), "```", ""]
    rows = [
        _option_row(p)
        for p in command.params
        if not getattr(p, "hidden", False) and p.name != "help"
    ]
    return [*head, *usage, "| option | default | meaning |", "|---|---|---|", *rows]


def _is_argument(parameter: Any) -> bool:
    return parameter.param_type_name == "argument"


def _option_row(parameter: Any) -> str:
    names = [parameter.name.upper()] if _is_argument(parameter) else parameter.opts
    default = parameter.default
    shown = "" if default in (None, (), []) or isinstance(default, bool) else f"`{default}`"
    choices = [c for c in get_args(parameter.type_descriptor.annotation) if isinstance(c, str)]
    meaning = " ".join((parameter.help or "").split())
    if choices:
        meaning += f" One of: {', '.join(choices)}."
    meaning = meaning.replace("|", "\\|")
    return f"| {', '.join(f'`{name}`' for name in names)} | {shown} | {meaning} |"


def _row(description: str, exit_code: int, fragment: str) -> str:
    shown = fragment.replace("|", "\\|")
    return f"| {description} | {exit_code} | `{shown}` |"


def _table(path: str) -> ModuleType:
    """Return a module of the tests by its path."""
    return _module(TESTS / path)


def _module(place: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(place.stem, place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[place.stem] = module
    spec.loader.exec_module(module)
    return module


FIVE = ("<!-- five figures: begin -->", "<!-- five figures: end -->")
ANSWER = ("<!-- answer: begin -->", "<!-- answer: end -->")
AGAIN = ("<!-- again: begin -->", "<!-- again: end -->")
QUALITY = ("<!-- quality: begin -->", "<!-- quality: end -->")
STUDY = ("<!-- study: begin -->", "<!-- study: end -->")
ENCODERS = ("<!-- which encoder: begin -->", "<!-- which encoder: end -->")
PAIRS = ("<!-- pairs: begin -->", "<!-- pairs: end -->")
TRANSFER = ("<!-- other encoders: begin -->", "<!-- other encoders: end -->")
SCALE = ("<!-- scale: begin -->", "<!-- scale: end -->")
FAULTS = ("<!-- faults: begin -->", "<!-- faults: end -->")
PREDICTIONS = ("<!-- predictions: begin -->", "<!-- predictions: end -->")
GAINS = ("<!-- gains: begin -->", "<!-- gains: end -->")


def readme() -> str:
    """Return README.md with the block of five measured figures made anew."""
    return _with_block(ROOT / "README.md", five_block(), FIVE)


def with_answer(page: str) -> str:
    """Return README's text with the answer of `make demo` made anew, where the demo has run."""
    place = ROOT / "results" / "demo" / "answer"
    if not (place / "answer.json").is_file():
        return page
    answer = json.loads((place / "answer.json").read_text(encoding="utf-8"))
    (HERE / "img").mkdir(exist_ok=True)
    shutil.copy(place / "curve.svg", HERE / "img" / "answer.svg")
    lines = [
        "```text",
        *answer["sentences"][: _summary_lines(answer)],
        *_learner_lines(answer),
        "```",
        "",
    ]
    picture = (
        "![Expected accuracy by number of labels, with its 90 % interval](docs/img/answer.svg)"
    )
    return _replaced(page, "\n".join([*lines, picture, ""]), ANSWER)


def with_grown(page: str, *, details: bool) -> str:
    """Return a page with the second answer of `make demo` made anew, where the demo has run.

    Args:
        page: Its text.
        details: Whether with the lines on labels needed and chances.
    """
    place = ROOT / "results" / "demo" / "grown" / "answer.json"
    if not place.is_file():
        return page
    answer = json.loads(place.read_text(encoding="utf-8"))
    summary = answer["summary"]
    moved = [s for s in answer["sentences"] if " then, " in s] if details else []
    lines = [*summary, "", *moved] if details else [s for s in summary if "was predicted" in s]
    return _replaced(page, "\n".join(["```text", *lines, "```", ""]), AGAIN)


def _learner_lines(answer: dict[str, Any]) -> list[str]:
    """Return the answer's table of learners as text; nothing without one."""
    from charkit.answers.quantities import percent, span

    columns = [["labels", *(f"{row['n']:,}" for row in answer["accuracy"])]]
    for learner in answer.get("learners") or ():
        at = {
            row["n"]: f"{percent(row['mean'])} ({span(row['low'], row['high'])})"
            for row in learner["accuracy"]
        }
        columns.append([learner["name"], *(at.get(row["n"], "-") for row in answer["accuracy"])])
    if len(columns) == 1:
        return []
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    return [
        "",
        *("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows),
    ]


def _summary_lines(answer: dict[str, Any]) -> int:
    """Return how many of the sentences are the summary: those before the task's own line."""
    task = f"{answer['task']}: "
    return next(i for i, line in enumerate(answer["sentences"]) if line.startswith(task))


def next_page() -> str:
    """Return the page of what to label next with the block of what its study found made anew."""
    found = (ROOT / "results" / "next.md").read_text(encoding="utf-8")
    picture = "![Accuracy above random's by number of labels](img/next_labels.svg)"
    return _with_block(HERE / "next.md", f"{picture}\n\n{found}", STUDY)


def evaluate_page() -> str:
    """Return the page of test labels with the block of what its study found made anew."""
    found = (ROOT / "results" / "evaluate.md").read_text(encoding="utf-8")
    return _with_block(HERE / "evaluate.md", found, STUDY)


def robustness_page() -> str:
    """Return the page of robustness with the counts of results/robustness.json made anew."""
    place = ROOT / "results" / "robustness.json"
    block = faults_block(json.loads(place.read_text(encoding="utf-8")))
    return _with_block(HERE / "robustness.md", block, FAULTS)


def scale_page() -> str:
    """Return the page of executors with the block of what was measured made anew."""
    found = json.loads((ROOT / "benchmarks/results/scale.json").read_text(encoding="utf-8"))
    return _with_block(HERE / "scale.md", scale_block(found), SCALE)


def scale_block(found: dict[str, Any]) -> str:
    """Return how seconds grow, and what large studies would take, as Markdown.

    Args:
        found: The content of benchmarks/results/scale.json.
    """
    made = _module(HERE / "scale_plan.py")
    details = found["details"]
    growth = details["growth"]
    rates = growth["rates"]
    lines = [
        _measured_on(found["environment"], "bench-scale"),
        "",
        "How do seconds grow? A slope of 1 on logarithmic axes means: twice the work, twice the time.",
        "",
        *made.slope_lines(growth, details["store"]),
        "",
        f"One core here tokenises {rates['tokenised_a_second']:,.0f} tokens a second; the disk takes "
        f"{rates['written_a_second'] / 1e6:,.0f} MB a second.",
        "",
        *made.plan_lines(growth),
        "",
    ]
    return "\n".join(lines)


def estimate_page() -> str:
    """Return the page of estimate with its blocks made anew: other encoders, classes and labels."""
    from metamodel.transfer import load_transfer

    page = _with_block(HERE / "estimate.md", transfer_block(load_transfer()), TRANSFER)
    page = with_grown(page, details=True)
    found = ROOT / "results" / "quality.md"
    return _replaced(page, found.read_text(encoding="utf-8"), QUALITY) if found.is_file() else page


def encoders_page() -> str:
    """Return the page of encoders with what `make encoder-study` measured, of the files kept here."""
    from glue_pilot.encoder_figures import page

    text = (HERE / "encoders.md").read_text(encoding="utf-8")
    for name, marks in (("encoders", ENCODERS), ("pairs", PAIRS)):
        place = HERE / f"{name}.json"
        if place.is_file():
            found = json.loads(place.read_text(encoding="utf-8"))
            text = _replaced(text, f"\n{page(found)}\n", marks)
    return text


def transfer_block(transfer: Transfer) -> str:
    """Return what `make encoder-transfer` measured, as a table and a sentence."""
    lines = [
        "| encoder | layers x width | error at 2x / 4x / 8x | accuracy on the sample "
        "| in the interval as it is | widened by the others | tasks | best layer missed by |",
        "|---" * 8 + "|",
    ]
    for row in sorted(transfer.figures, key=lambda r: (not r["known"], r["encoder"])):
        name = f"{row['encoder']} (the metamodel's own)" if row["known"] else row["encoder"]
        lines.append(
            f"| {name} | {row['layers']} x {row['width']} | {_three(row, 'error')} "
            f"| {_three(row, 'last')} | {row['covered']:.1%} | {row['covered_wide']:.1%} "
            f"| {row['tasks_covered']:.0%} | {row['regret']:.1f} |"
        )
    sentence = (
        f"Pilots of 64, 128 and 256 labels on {transfer.corpora} corpora that the metamodel never "
        "saw; errors in points of accuracy, every task counting alike. *Accuracy on the sample* is "
        "the error of taking the pilot's own accuracy for the answer. *Widened by the others*: each "
        "encoder left out in turn, the others choose the factor. *Tasks*: of which at least 90 % of "
        "the predictions are in it. *Best layer missed by*: points that the recommended layer is "
        f"below the best. All together choose {transfer.widening:.2f}: intervals of other encoders "
        "are that many times as wide."
    )
    return "\n".join([*lines, "", sentence, ""])


def _three(row: dict[str, Any], name: str) -> str:
    return " / ".join(f"{row[f'{name}_{multiple}']:.1f}" for multiple in (2, 4, 8))


def learners_page() -> str:
    """Return the page of learners with the table of gains of the shipped outcomes made anew."""
    import pandas as pd

    from glue_pilot.tuned_study import SHIPPED, gain_rows

    block = gains_block(gain_rows(pd.read_parquet(SHIPPED)))
    page = _with_block(HERE / "learners.md", block, GAINS)
    if not (ROOT / "metamodel" / "shipped" / "learners.json").is_file():
        return page
    from metamodel.learners import load_learners

    return _replaced(page, predictions_block(load_learners()), PREDICTIONS)


def predictions_block(found: Learners) -> str:
    """Return how far off predicted learners are on corpora left out, as tables."""
    names = {"concat": "head on all layers", "setfit": "SetFit", "tuned": "fine-tuning"}
    errors = [
        "| learner | labels | error | probe's prediction and mean gain | with features | gained by features | tasks |",
        "|---" * 7 + "|",
    ]
    others = [
        "| learner | winner named right | learner ahead | in the 90 % interval | tasks | width | runs that failed |",
        "|---" * 7 + "|",
    ]
    for name, row in found.figures.items():
        for at in row["errors"] if len(row["errors"]) > 2 else row["errors"][:1]:
            size = f"{at['n0']:,} to {4 * at['n0']:,}" if at["n0"] else "both"
            errors.append(
                f"| {names[name]} | {size} | {at['shipped']:.1f} | {at['mean_gain']:.1f} "
                f"| {at['features']:.1f} | {at['gained']:+.1f} ({at['low']:+.1f} to {at['high']:+.1f}) | {at['tasks']} |"
            )
        winner, inside = row["winner"], row["intervals"]
        named = (
            f"{winner['right']:.0%} of {winner['tasks']} tasks"
            if winner["rows"]
            else "none differs"
        )
        ahead = f"{winner['learner_ahead']:.0%}" if winner["rows"] else ""
        failed, runs = row["failed"]
        others.append(
            f"| {names[name]} | {named} | {ahead} | {inside['covered']:.1%} | {inside['tasks_covered']:.0%} "
            f"| {inside['width']:.2f} | {failed} of {runs} |"
        )
    groups = [
        f"| features | {' | '.join(names[name] for name in found.figures)} |",
        "|---" * (1 + len(found.figures)) + "|",
    ]
    by_group = [{g["group"]: g for g in row["groups"]} for row in found.figures.values()]
    for group in by_group[0]:
        cells = [
            f"{g[group]['gained']:+.2f} ({g[group]['low']:+.2f} to {g[group]['high']:+.2f}), {g[group]['tasks']} tasks"
            if group in g
            else ""
            for g in by_group
        ]
        groups.append(f"| {group} | {' | '.join(cells)} |")
    gained = (
        "What each group of features by itself gains over the mean gain, in points with a 90 % interval over corpora; above "
        "0 is better. The penalty, or no feature at all, is chosen on inner folds. *Words and length* is the accuracy "
        "of a head on the random encoder."
    )
    kept = [names[name] for name, row in found.figures.items() if row["features"]]
    ships = (
        f"Features are used for {' and '.join(kept)}."
        if kept
        else "No features are used: the mean gain ships."
    )
    note = (
        f"{found.n_corpora} corpora, each predicted with it left out; mean absolute errors in points of accuracy at 4 "
        f"times the labels, every task counting alike. {ships} *Winner*: of learner and linear head, where they "
        "differ by more than 2 points, from 64 and 256 labels. *Learner ahead*: share of these where it is better: "
        "what always naming it gets right. *Tasks*: of which 90 % of the predictions are in the interval."
    )
    return "\n".join([*errors, "", *others, "", note, "", gained, "", *groups, ""])


def gains_block(rows: list[dict[str, Any]]) -> str:
    """Return what each learner gains on the probe, as a table."""
    names = {"last_layer": "last layer"}
    lines = [
        "| encoder | learner | labels | gain in points (90 % interval) | better on | corpora "
        "| runs | failed |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        lines.append(
            f"| {row['encoder']} | {names.get(row['learner'], row['learner'])} "
            f"| {row['n_train']:,} | {row['gain']:+.1f} ({row['low']:+.1f} to {row['high']:+.1f}) "
            f"| {row['better']:.0%} | {row['corpora']} | {row['runs']} | {row['failed']} |"
        )
    return "\n".join([*lines, ""])


TRIED = {
    "kills": "kills, then the same command again",
    "damages": "one file of the store damaged, then the commands that use it",
    "files": "embedding, table, policy or metamodel damaged, then read",
    "reports": "one file of a folder of results damaged, then `report`",
    "hostile_files": "hostile tables and results",
    "hostile_folders": "hostile encoder folders",
}
"""Sections of the attack -> what is tried in them."""


def faults_block(found: dict[str, Any]) -> str:
    """Return what `make test-faults` counted, as a table."""
    names = ("tried", "detected", "made_again", "harmless", "silent", "lost", "tracebacks")
    titles = [name.replace("_", " ") for name in names]
    lines = [f"| what | {' | '.join(titles)} |", "|---" * (1 + len(names)) + "|"]
    rows = {TRIED[name]: section for name, section in found["sections"].items()}
    for what, counts in {**rows, "all": found["total"]}.items():
        lines.append(f"| {what} | {' | '.join(f'{counts[n]:,}' for n in names)} |")
    return "\n".join([*lines, ""])


def _with_block(page: Path, block: str, marks: tuple[str, str]) -> str:
    """Return a page with what stands between two marks replaced."""
    return _replaced(page.read_text(encoding="utf-8"), block, marks)


def _replaced(text: str, block: str, marks: tuple[str, str]) -> str:
    head, rest = text.split(marks[0])
    return f"{head}{marks[0]}\n{block}{marks[1]}{rest.split(marks[1])[1]}"


def five_block() -> str:
    """Return what a new user asks first, in five figures, each with what it is compared with."""
    card = json.loads((HERE / "scorecard.json").read_text(encoding="utf-8"))["figures"]

    def error(method: str) -> float:
        rows = card["accuracy_recommended"]
        found = (r for r in rows if (r["n0"], r["multiple"], r["method"]) == (128, 4, method))
        return float(next(found)["error"])

    cold = _measured("estimate", "cold, 300 + 300 texts, 6 classes")
    again = _measured("estimate", "second run, 300 + 300 texts, 6 classes")
    encode = _measured("encode", "encode mixed: float32 / peer float32")
    heads = _measured("heads", "strength chosen")
    rows = (
        (
            "How far off is the predicted accuracy at 4 times your labels?",
            f"{error('metamodel'):.1f} points",
            f"{error('last'):.1f} points if you take today's accuracy for the answer",
        ),
        (
            "How often is the truth inside the 90 % interval?",
            f"{card['intervals']['pilots_64_to_256']['rows']:.1%}".replace("%", " %"),
            "90 % is promised",
        ),
        (
            "How long does an answer take (300 + 300 short texts)?",
            f"{cold['value']:.0f} s of processor time",
            f"{again['value']:.0f} s when you ask again",
        ),
        (
            "How fast are texts encoded?",
            f"{encode['value']:,.0f} tokens a second",
            f"{encode['ratio']:.2g} times sentence-transformers",
        ),
        (
            "How fast are linear heads trained?",
            f"{heads['value']:.0f} heads a second",
            f"{heads['ratio']:.2g} times scikit-learn",
        ),
    )
    lines = ["| question | measured | compared with |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def _measured(file: str, name: str) -> dict[str, Any]:
    """Return one figure of benchmarks/results."""
    place = ROOT / "benchmarks" / "results" / f"{file}.json"
    figures = json.loads(place.read_text(encoding="utf-8"))["figures"]
    return next(f for f in figures if f["name"].removeprefix(f"{file}: ") == name)


MEASURED = {
    "encode": ("Encoding texts", "bench"),
    "heads": ("Training heads", "bench"),
    "road": ("The demo and the pilot", "bench"),
    "estimate": ("Estimate", "bench-estimate"),
    "signal": ("The test for a signal", "bench-estimate"),
    "fisher": ("Fisher embeddings", "bench-fisher"),
    "distances": ("Distances between tasks", "bench-fisher"),
    "tables": ("Reading CSV files", "bench-tables"),
    "scale": ("Where jobs run, and the store", "bench-scale"),
    "gpu": ("One GPU", "bench-gpu"),
}
"""Files of benchmarks/results in the page's order -> heading, make target."""


def benchmarks_page() -> str:
    """Return the page of all figures of benchmarks/results that have a bar."""
    lines = [
        "# Benchmarks",
        "",
        "How fast and how exact is charkit, compared with its peers? Each figure has a bar that it should",
        "reach. Figures that miss it are shown too: **no**.",
        "",
        "- *Peer or floor*: the same work by another library, or the least time that it can take. It is",
        "  measured in the same run. A floor is what the encoder's own forward and backward passes cost.",
        "- *Ratio*: ours divided by the peer's.",
        "- Seconds depend on the machine. Ratios depend on it less.",
        "",
    ]
    places = {p.stem: p for p in (ROOT / "benchmarks" / "results").glob("*.json")}
    for stem in sorted(places, key=lambda s: (list(MEASURED).index(s) if s in MEASURED else 99, s)):
        found = json.loads(places[stem].read_text(encoding="utf-8"))
        if rows := [_figure_row(f, stem) for f in found["figures"] if f["bar"] is not None]:
            heading, target = MEASURED.get(stem, (stem, "bench"))
            lines += [f"## {heading}", "", _measured_on(found["environment"], target), ""]
            lines += [
                "| figure | measured | peer or floor | ratio | bar | holds |",
                "|---" * 6 + "|",
            ]
            lines += [*rows, ""]
    return "\n".join(lines)


def _measured_on(environment: dict[str, Any], target: str) -> str:
    shown = f"{environment['cpu']}, {environment['cores']} cores" if "cpu" in environment else ""
    return (
        f"Measured by `make {target}` on {environment['date']} at commit "
        f"{environment['commit']}; {shown}."
    )


def _figure_row(figure: dict[str, Any], stem: str) -> str:
    cells = [_number(figure[name]) for name in ("value", "baseline", "ratio", "bar")]
    name = figure["name"].removeprefix(f"{stem}: ")
    value = f"{cells[0]} {figure['unit']}".rstrip()
    holds = "yes" if figure["holds"] else "**no**"
    return f"| {name} | {value} | {' | '.join(cells[1:])} | {holds} |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def scorecard_page() -> str:
    """Return the page of the metamodel's scorecard, from results/scorecard.md."""
    found = (ROOT / "results" / "scorecard.md").read_text(encoding="utf-8")
    title, body = found.split("\n", 1)
    note = (
        "Made by `make metadata`, `make metamodel`, `make scorecard` (TASKS=...) and `make docs`. "
        "The table that ships (`metamodel/shipped/`) holds the same with fewer digits and parts "
        "renamed. Candidates were thought of with all of these corpora in view; inner folds chose among them "
        "([how](metamodel.md#how-it-was-chosen)). "
        "Pieces of tasks that share a corpus are always left out together."
    )
    picture, rest = body.lstrip("\n").split("\n", 1)
    return f"{title}\n\n{picture}\n{_before_tables(rest, note)}"


def _before_tables(body: str, note: str) -> str:
    """Return a scorecard's text with what validation found and a note before the first table."""
    first = "## "
    place = body.index(first)
    return f"{body[:place]}{_validated()} {note}\n\n{body[place:]}"


def _validated() -> str:
    """Return what the metamodel did on the corpora that it did not learn from."""
    from metamodel.transfer import load_transfer

    transfer = load_transfer()
    (own,) = [row for row in transfer.figures if row["known"]]
    errors = " / ".join(f"{own[f'error_{k}']:.1f}" for k in (2, 4, 8))
    last = " / ".join(f"{own[f'last_{k}']:.1f}" for k in (2, 4, 8))
    return (
        f"**On {transfer.corpora} corpora that it did not learn from** (pilots of 64 to 256 labels, all "
        f"layers; one weight was thought of with them in view) the error at 2, 4 and 8 times the labels is {errors} points ({last} for the accuracy "
        f"on the sample), and {100 * own['covered']:.0f} % of the predictions are in their 90 % interval: both are "
        "worse there than here ([more](metamodel.md#how-it-was-chosen))."
    )


def pilot_page() -> str:
    """Return the page of the pilot's findings, from results/pilot.md."""
    summary = (ROOT / "results" / "pilot.md").read_text(encoding="utf-8")
    title, body = summary.split("\n", 1)
    note = (
        "Made by `make pilot TASKS=...` and `make docs`. Two tasks are pieces of the originals "
        "(glue_mnli 2,399 rows, glue_qnli 4,370), two are capped (glue_qqp and glue_sst2 at 20,000 "
        "rows). Scores are those of a linear head on a frozen encoder; the best of seven layers is "
        "a little lucky."
    )
    pictures = "\n".join(f"![{alt}](img/{name}.svg)\n" for name, alt in PICTURES.items())
    return f"{title.replace('pilot:', 'The GLUE pilot:')}\n\n{note}\n\n{pictures}{body}"


EXPERIMENTS = ROOT / "results" / "experiments"


def study_page() -> str:
    """Return the page of the experiments' findings, from results/experiments/*.json."""
    from glue_pilot.experiments.base import NAMES

    records = [(name, record) for name in NAMES if (record := _experiment(name)) is not None]
    note = (
        "Made by `make pilot TASKS=...` and `make docs`; encoder: minilm. Each finding is written by "
        "code from its table."
    )
    return "\n".join([*study_head(note), *(study_section(*one) for one in records)])


def study_head(note: str) -> list[str]:
    """Return what stands above the findings; the note states where they come from."""
    return [
        "# The study: every question, what was found",
        "",
        note,
        "",
        "Each finding: the answer, a table or list, a plot; click *Details* for how it was measured,",
        "further numbers and limits. In brackets: 90 % intervals. [questions.md](questions.md) maps",
        "the questions of the project's beginnings to the experiments; [pilot.md](pilot.md) has the",
        "sweep over GLUE, [scorecard.md](scorecard.md) the metamodel.",
        "",
    ]


def study_section(name: str, record: dict[str, Any]) -> str:
    """Return the section of one experiment: answer, points, main plot; the rest folded."""
    stems = [Path(place).stem for place in record["figures"]]
    first, *others = [f"![{stem.replace('_', ' ')}](img/study_{stem}.svg)\n" for stem in stems]
    return "\n".join(
        [
            f"## {name}\n",
            f"*{record['question']}*\n",
            f"**{record['answer']}**\n",
            f"{record['points']}\n",
            first,
            "<details><summary>Details</summary>\n",
            f"Asked by: {record['asked_by']}.\n",
            f"{record['details']}\n",
            *others,
            f"`make experiment-{name}`: {record['manifest']['seconds']:,.0f} s from what was cached.\n",
            "</details>\n",
        ]
    )


def _experiment(name: str) -> dict[str, Any] | None:
    place = EXPERIMENTS / f"{name}.json"
    if not place.is_file():
        return None
    record: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return record


def _write_study() -> None:
    from glue_pilot.experiments.base import NAMES

    records = [record for record in map(_experiment, NAMES) if record is not None]
    if not records:
        return
    (HERE / "study.md").write_text(study_page(), encoding="utf-8")
    for record in records:
        for place in record["figures"]:
            shutil.copy(EXPERIMENTS / place, HERE / "img" / f"study_{Path(place).name}")


PICTURES = {
    "## Are tasks with the same texts, domain or kind of label near?": (
        "siblings",
        "NDCG of sibling tasks by distance",
    ),
    "## The same texts under other labels": ("relabelled", "Same texts, other labels, by distance"),
    "## Which layers and heads": ("layers", "What each layer alone tells"),
    "## Sample size": ("sizes", "Norm by sample size, one line a task"),
    "## Norm, error and number of classes": ("error", "Error of the head by norm, one mark a task"),
}
PICTURES = {
    "best_layers": "Best layer by number of labels, one row a task",
    "curves_glue_qnli": "QNLI: accuracy by number of labels, one line a layer",
}
PAGES = {
    "table.md": table_page,
    "commands.md": commands_page,
    "errors.md": errors_page,
    "estimate.md": estimate_page,
    "benchmarks.md": benchmarks_page,
    "scale.md": scale_page,
}


def _write_encoders() -> None:
    """Keep the figures of the studies of encoders, where they were made, and write their page."""
    for name in ("encoders", "pairs"):
        found = ROOT / "results" / f"{name}.json"
        if found.is_file():
            shutil.copy(found, HERE)
    (HERE / "encoders.md").write_text(encoders_page(), encoding="utf-8")


def main() -> None:
    """Write all pages; those of studies only where their results are."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
    if (ROOT / "results" / "pilot.md").is_file():
        (HERE / "img").mkdir(exist_ok=True)
        (HERE / "pilot.md").write_text(pilot_page(), encoding="utf-8")
        for name in PICTURES:
            shutil.copy(ROOT / "results" / "figures" / f"{name}.svg", HERE / "img")
    _write_study()
    _write_encoders()
    if (ROOT / "results" / "scorecard.md").is_file():
        (HERE / "img").mkdir(exist_ok=True)
        (HERE / "scorecard.md").write_text(scorecard_page(), encoding="utf-8")
        for picture in sorted((ROOT / "results" / "figures").glob("scorecard*.svg")):
            shutil.copy(picture, HERE / "img")
        figures = json.loads((ROOT / "results" / "scorecard.json").read_text(encoding="utf-8"))
        (HERE / "scorecard.json").write_text(json.dumps(figures) + "\n", encoding="utf-8")
    if (ROOT / "metamodel" / "shipped" / "learner_outcomes.parquet").is_file():
        (HERE / "learners.md").write_text(learners_page(), encoding="utf-8")
    if (ROOT / "results" / "evaluate.md").is_file():
        (HERE / "evaluate.md").write_text(evaluate_page(), encoding="utf-8")
    if (ROOT / "results" / "next.md").is_file():
        (HERE / "img").mkdir(exist_ok=True)
        (HERE / "next.md").write_text(next_page(), encoding="utf-8")
        shutil.copy(ROOT / "results" / "figures" / "next_labels.svg", HERE / "img")
    if (ROOT / "results" / "robustness.json").is_file():
        (HERE / "robustness.md").write_text(robustness_page(), encoding="utf-8")
    # last: it shows figures of the files above
    (ROOT / "README.md").write_text(
        with_grown(with_answer(readme()), details=False), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
