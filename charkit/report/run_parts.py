"""The sections of a run's page, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from charkit.errors import UsageError
from charkit.report.markdown import html_of
from charkit.report.page_answer import PageAnswer, plain, read_answer
from charkit.report.page_chart import charts
from charkit.report.page_chart import described as curve_described
from charkit.report.page_parts import asset, bullets, verdict_list
from charkit.report.page_tables import named_values
from charkit.report.page_words import headline, text
from charkit.report.run_chart import described, run_charts, swatch
from charkit.report.run_curves import TaskCurve, first_target, reach, reach_words, value_span
from charkit.report.run_figures import Inside, figures
from charkit.report.run_folder import Experiment, RunFolder
from charkit.report.run_grids import best_table, task_tables
from charkit.report.run_scorecard import scorecard_tables
from charkit.report.run_words import short_of


def section(ident: str, name: str, body: str) -> str:
    """Return a section with a head; nothing where there is no body."""
    if not body:
        return ""
    return (
        f'<section class="card wide" id="{ident}" aria-labelledby="{ident}-head">'
        f'<h2 id="{ident}-head">{name}</h2>{body}</section>'
    )


def curves_section(curves: Sequence[TaskCurve]) -> str:
    """Return the chart and, beside it, the labels that a target takes."""
    if not curves:
        return ""
    target = first_target(curves)
    chart = (
        '<section class="card curve" id="curves" aria-labelledby="curves-head">'
        '<h2 id="curves-head">Measured learning curves</h2>'
        f'<figure>{run_charts(curves, target)}<div id="tip" hidden></div>'
        f"<figcaption><p>{text(described(curves))}</p></figcaption></figure></section>"
    )
    return f'<div class="measured">{chart}{_target_card(curves, target)}</div>'


def _target_card(curves: Sequence[TaskCurve], target: float) -> str:
    low, high = value_span(curves)
    found = [reach(curve, target) for curve in curves]
    rows = []
    for at, (curve, one) in enumerate(zip(curves, found, strict=True)):
        words, ends = reach_words(one)
        rows.append(
            f'<tr data-task="{at}"><th scope="row">{swatch(at)}{text(curve.task, longest=60)}'
            f'<small>{text(curve.metric)}</small></th><td class="number"><b>{text(words)}</b>'
            f"<small>{text(ends)}</small></td></tr>"
        )
    met = sum(one.n is not None for one in found)
    return Template(asset("run_target.html")).substitute(
        low=f"{low:g}",
        high=f"{high:g}",
        first=f"{low:.2f}".replace("-", "\u2212"),
        last=f"{high:.2f}",
        value=f"{target:g}",
        shown=f"{target:.2f}",
        met=f"{met} of {len(curves)} {_curve_word(curves)}{'s' * (len(curves) > 1)}",
        rows="\n".join(rows),
    )


def _curve_word(curves: Sequence[TaskCurve]) -> str:
    return "curve" if len({c.means.encoder for c in curves}) > 1 else "task"


def layers_section(curves: Sequence[TaskCurve]) -> str:
    """Return the best layers of all tasks, then each task's scores."""
    if not curves:
        return ""
    note = (
        "Number and colour: the layer with the best mean (0 = embeddings). Grey: layers cannot be "
        "told apart, or none is clearly above the controls."
    )
    scores = (
        "Mean score over draws. Heavy frame: best layer at this number of labels. Thin frame: "
        "inside its 90 % interval."
    )
    return section(
        "layers",
        "Best layer by task and number of labels",
        f'<p class="quiet small">{note}</p>{best_table(curves)}'
        f'<h3 class="next">Scores by layer and number of labels</h3>'
        f'<p class="quiet small">{scores}</p>{task_tables(curves)}',
    )


def short_section(experiments: Sequence[Experiment]) -> str:
    """Return every question with its finding in a sentence, leading to the whole of it."""
    rows = (
        f'<li><a href="#{_ident(at)}">{text(e.question or e.name)}</a>{_changed_words(e)} '
        f"<span>{text(short_of(e))}</span></li>"
        for at, e in enumerate(experiments)
    )
    body = f'<ol class="short">{"".join(rows)}</ol>' if experiments else ""
    return section("findings", "What was asked, what was found", body)


def experiment_sections(experiments: Sequence[Experiment], inside: Inside) -> str:
    """Return question, finding, figures and record of every experiment."""
    return "\n".join(_experiment(e, at, inside) for at, e in enumerate(experiments))


def _ident(at: int) -> str:
    return f"experiment-{at + 1}"


def _changed_words(experiment: Experiment) -> str:
    changed = experiment.manifest.get("changed")
    if not isinstance(changed, Mapping) or not changed:
        return ""
    said = ", ".join(f"{k} = {plain(v)}" for k, v in changed.items())
    return f" <small>{text(said)}</small>"


def _experiment(experiment: Experiment, at: int, inside: Inside) -> str:
    words = f"Figure: {experiment.question}"
    drawn = figures(experiment.pictures, inside, words=words)
    asked = f'<p class="quiet small">Asked by: {text(experiment.asked_by)}</p>'
    lead = f'<p class="lead">{text(experiment.headline)}</p>' if experiment.headline else ""
    said = f"{lead}{html_of(experiment.finding)}{asked if experiment.asked_by else ''}"
    kind = "flow" if drawn else "alone"
    body = f'<div class="{kind}"><div class="md">{said}</div>{drawn}</div>{_more(experiment)}'
    return section(_ident(at), text(experiment.question or experiment.name), body)


def _more(experiment: Experiment) -> str:
    """Return the few numbers and the record, closed until asked for."""
    parts = []
    if experiment.summary:
        numbers = {k: plain(v) for k, v in experiment.summary.items()}
        parts.append(f"<h3>Numbers</h3>{named_values(numbers)}")
    record = flat(experiment.manifest)
    if experiment.table:
        record["table"] = f"experiments/{experiment.table}"
    if record:
        parts.append(f"<h3>Record</h3>{named_values(record)}")
    if not parts:
        return ""
    return f"<details><summary>Numbers and record</summary>{''.join(parts)}</details>"


def flat(values: Mapping[str, Any]) -> dict[str, str]:
    """Return names and values as text; versions and code in a line, other names joined."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and name == "versions":
            found[name] = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, Mapping) and name == "code":
            found[name] = commit(value)
        elif isinstance(value, Mapping):
            found |= {f"{name} {k}": v for k, v in flat(value).items()}
        elif value not in ("", None, [], ()):
            found[str(name)] = plain(value)
    return found


def commit(code: Mapping[str, Any]) -> str:
    """Return which code it was, in a few letters."""
    changed = " with changes" if code.get("dirty") else ""
    return f"{str(code.get('commit') or 'unknown')[:12]}{changed}"


def pictures_section(run: RunFolder, inside: Inside) -> str:
    """Return the figures that belong to no experiment."""
    shown = figures(run.pictures, inside, words="Figure of the study")
    body = f'<div class="flow">{shown}</div>' if shown else ""
    return section("figures", "More figures", body)


def scorecard_section(run: RunFolder) -> str:
    """Return the scorecard's tables."""
    tables = scorecard_tables(run.scorecard)
    said = (
        '<p class="quiet small">Every corpus left out in turn; errors are averaged within a task, '
        "then over tasks. 64 × 8: a pilot of 64 labels is asked about 8 times as many. "
        "A constant answer (always 4 times) shows what a share within a factor of 2 is worth.</p>"
    )
    body = "".join(f'<div class="scored"><h3>{head}</h3>{table}</div>' for head, table in tables)
    whole = f'{said}<div class="scores">{body}</div>' if tables else ""
    return section("scorecard", "Scorecard: the metamodel beside its baselines", whole)


def example_section(answer: Mapping[str, Any] | None) -> str:
    """Return an answer as an example, with its warnings and its curve.

    Raises:
        UsageError: The answer is none.
    """
    if answer is None:
        return ""
    try:
        read = read_answer(answer)
    except UsageError as error:
        raise UsageError(f"answer.json: {error}") from None
    asked = f'<p class="asked">{text(read.question)}</p>' if read.question else ""
    said = (
        f'{asked}<p class="needed-words">{text(headline(read))}</p>{bullets(read.sentences[1:])}'
        f"{verdict_list(read.verdicts)}"
    )
    drawn = _example_chart(read)
    beside = " beside" if drawn else ""
    task = f": {text(read.facts['task'], longest=60)}" if "task" in read.facts else ""
    return section(
        "example",
        f"An answer as an example{task}",
        f'<div class="told{beside}"><div>{said}</div>{drawn}</div>',
    )


def _example_chart(answer: PageAnswer) -> str:
    drawn = charts(answer)
    if not drawn:
        return ""
    # the script reads the run's own chart alone
    drawn = drawn.replace('class="plot ', 'class="still ').replace('class="chart"', 'class="drawn"')
    words = text(curve_described(answer))
    return f"<figure>{drawn}<figcaption><p>{words}</p></figcaption></figure>"
