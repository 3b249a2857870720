"""One HTML file that answers: what accuracy, how many labels, which layer, and what to doubt.

The page asks nothing of any network (a policy inside it forbids that), shows its whole answer
without its script, follows the light or dark theme, and can be printed. The script adds values
under the pointer and a slider for other targets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from charkit.durable import write_whole
from charkit.report.page_answer import Expected, Need, PageAnswer, read_answer
from charkit.report.page_chart import charts, described, value_range
from charkit.report.page_parts import about, asset, bullets, card, policy, verdict_list
from charkit.report.page_tables import (
    contributions_table,
    layers_table,
    named_values,
    sizes_table,
)
from charkit.report.page_words import (
    accuracy,
    headline,
    interval,
    labels,
    largest,
    need_interval,
    need_words,
    text,
)

_LONG = 110
"""A headline of more letters is set smaller."""

_FEWEST_FOR_SLIDER = 2
_STEPS = (0.005, 0.001, 0.0001)
"""Of the slider: the first one that meets the target."""


def write_page(answer: Mapping[str, Any], path: Path) -> Path:
    """Write an answer as one HTML file that opens without a network, whole or not at all.

    Args:
        answer: What ``charkit estimate --format json`` prints; see `page_html`.
        path: Where to.

    Returns:
        The file.

    Raises:
        UsageError: The answer has no accuracies, or something that must be a number is none.
        MissingError: The folder cannot be written.
    """
    return write_whole(path, page_html(answer).encode())


def page_html(answer: Mapping[str, Any], *, title: str | None = None) -> str:
    """Return an answer as one HTML page; the same answer gives the same page.

    Args:
        answer: What ``charkit estimate --format json`` prints. Every key but ``accuracy`` may be
            missing; null and NaN are unknown numbers. Accuracies in [0, 1].
        title: Of the window. Default: made of the task's name.

    Raises:
        UsageError: The answer has no accuracies, or something that must be a number is none.
    """
    read = read_answer(answer)
    first = headline(read)
    style, script = asset("page.css"), asset("page.js")
    names = [read.facts[k] for k in ("task", "encoder") if k in read.facts]
    return Template(asset("page.html")).substitute(
        title=text(title or ": ".join(["charkit", *names[:1]])),
        policy=policy(style, script),
        style=style,
        script=script,
        data=_data(read),
        about=_about(read),
        question=text(read.question or "What accuracy can be expected?"),
        headline=text(first),
        long=" long" if len(first) > _LONG else "",
        sentences=_sentences(read),
        verdicts=verdict_list(read.verdicts),
        facts=_facts(read),
        curve=_curve_card(read),
        target=_target_card(read),
        cards=_cards(read),
        record=card("Record", named_values(read.manifest), wide=True) if read.manifest else "",
    )


def _about(answer: PageAnswer) -> str:
    """Return task, encoder and sample as a list."""
    said = [text(answer.facts[k], longest=80) for k in ("task", "encoder") if k in answer.facts]
    if answer.n is not None:
        said.append(labels(answer.n) if answer.n else "no labels yet")
    if answer.n_classes:
        said.append(f"{answer.n_classes:,} classes")
    return about(said)


def _sentences(answer: PageAnswer) -> str:
    return bullets(answer.sentences[1:])


def _facts(answer: PageAnswer) -> str:
    """Return the numbers of the answer, each with its interval."""
    tiles: list[tuple[str, str, str]] = []
    here, limit = answer.at_hand(), largest(answer)
    if here is not None and here.mean is not None:
        tiles.append((f"With your {labels(here.n)}", accuracy(here.mean), _ends(here)))
    if answer.need is not None:
        need = answer.need
        label, value = f"Labels for {need.target:g}", need_words(need, limit)
        tiles.append((label, value.removesuffix(" labels"), _need_ends(need, limit)))
    if answer.evaluation is not None and answer.evaluation.mean is not None:
        shown = answer.evaluation
        tiles.append(("On your evaluation texts", accuracy(shown.mean), _ends(shown)))
    if answer.layer is not None:
        tied = [str(row.layer) for row in answer.layers if row.tied and row.layer != answer.layer]
        tiles.append(("Best read at", f"layer {answer.layer}", _ties(tied)))
    items = (
        f"<div><dt>{text(name)}</dt><dd><b>{text(value)}</b><span>{text(beside)}</span></dd></div>"
        for name, value, beside in tiles
    )
    return f'<dl class="facts">{"".join(items)}</dl>' if tiles else ""


def _ends(row: Expected) -> str:
    return f"90 % interval {interval(row.low, row.high)}"


def _need_ends(need: Need, limit: int | None) -> str:
    words = need_interval(need, limit)
    known = need.low is not None or need.high is not None
    return f"90 % interval {words}" if known else words[0].upper() + words[1:]


def _ties(tied: list[str]) -> str:
    if not tied:
        return ""
    if len(tied) > 6:
        return f"{len(tied)} other layers tie with it"
    return f"layer{'s' if len(tied) > 1 else ''} {', '.join(tied)} tie{'s' * (len(tied) == 1)}"


def _curve_card(answer: PageAnswer) -> str:
    drawn = charts(answer)
    if not drawn:
        return ""
    at = f" at layer {answer.layer}" if answer.layer is not None else ""
    keys = [
        ("mean" if len(answer.curve) > 1 else "size", f"expected accuracy{at}"),
        ("band", "90 % interval"),
    ]
    if answer.observed:
        keys.append(("observed", "measured on your sample"))
    if answer.others:
        keys.append(("other", "other layers"))
    legend = "".join(f"<li>{_swatch(kind)}{words}</li>" for kind, words in keys)
    return (
        '<section class="card curve" aria-labelledby="curve-head"><h2 id="curve-head">Learning '
        f'curve</h2><figure>{drawn}<div id="tip" hidden></div>'
        f'<figcaption><ul class="legend">{legend}</ul><p>{text(described(answer))}</p></figcaption>'
        "</figure></section>"
    )


def _swatch(kind: str) -> str:
    marks = {
        "mean": '<path class="mean" d="M1 6H23"/>',
        "size": '<circle class="size" cx="12" cy="6" r="4"/>',
        "band": '<rect class="band" x="1" y="1" width="22" height="10"/>',
        "observed": '<circle class="observed" cx="12" cy="6" r="4"/>',
        "other": '<path class="other" d="M1 6H23"/>',
    }
    return f'<svg class="swatch" viewBox="0 0 24 12" aria-hidden="true">{marks[kind]}</svg>'


def _target_card(answer: PageAnswer) -> str:
    """Return the slider's card: the answer for the target; shown by the script without one."""
    if len(answer.curve) < _FEWEST_FOR_SLIDER:
        return ""
    low, high = value_range(answer)
    need, limit = answer.need, largest(answer)
    value = need.target if need is not None else _first_target(answer, low, high)
    step = next((s for s in _STEPS if abs(value / s - round(value / s)) < 1e-6), _STEPS[-1])
    needed = need_words(need, limit) if need is not None else ""
    ends = _need_ends(need, limit) if need is not None else ""
    return Template(asset("target.html")).substitute(
        hidden="" if need is not None else " hidden",
        low=f"{low:g}",
        high=f"{high:g}",
        first=f"{low:.2f}",
        last=f"{high:.2f}",
        step=f"{step:g}",
        value=f"{value:g}",
        shown=f"{value:.3f}",
        needed=text(needed),
        ends=text(ends),
    )


def _first_target(answer: PageAnswer, low: float, high: float) -> float:
    """Return where the slider starts when no target was asked for: near the curve's end."""
    last = answer.curve[-1].mean or high
    return min(max(int(last * 100) / 100, low), high)


def _data(answer: PageAnswer) -> str:
    """Return the numbers that the script needs: numbers and null alone, so nothing to escape."""
    need = answer.need
    shown = {
        "n": answer.n,
        "curve": [[p.n, p.mean, p.low, p.high] for p in answer.curve],
        "observed": answer.observed,
        "need": [need.target, need.n, need.low, need.high] if need is not None else None,
    }
    rounded = _rounded(shown)
    return json.dumps(rounded, separators=(",", ":"), allow_nan=False)


def _rounded(value: Any) -> Any:
    """Return the same with numbers of five places."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value


def _cards(answer: PageAnswer) -> str:
    """Return the sections below the curve, those that have something to show."""
    found = [
        ("Accuracy by number of labels", sizes_table(answer) if answer.accuracy else ""),
        ("Layers", layers_table(answer) if answer.layers else ""),
        ("What drove the answer", _drove(answer)),
        ("Your texts", _texts(answer)),
    ]
    shown = [(name, body) for name, body in found if body]
    return "\n".join(card(name, body, wide=len(shown) == 1) for name, body in shown)


def _drove(answer: PageAnswer) -> str:
    if not answer.contributions:
        return ""
    words = "Points (hundredths) by which each value moves the expected accuracy, up or down."
    return f"<p>{words}</p>{contributions_table(answer.contributions)}"


def _texts(answer: PageAnswer) -> str:
    parts = []
    if answer.worth is not None:
        count = labels(round(answer.worth)).replace("label", "labelled text")
        parts.append(
            f"<p>The unlabelled evaluation texts tell the accuracy as well as about {count} "
            "would.</p>"
        )
    values = dict(answer.adequacy)
    if answer.majority is not None:
        values = {"share of the largest class": accuracy(answer.majority), **values}
    if values:
        parts.append(named_values(values))
    return "".join(parts) + bullets(answer.notes)
