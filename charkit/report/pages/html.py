"""Templates of the pages: text escaped by itself, numbers as people read them, and the policy."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from numbers import Real
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from charkit.config import printable

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

UNKNOWN = "unknown"
KINDS = {"grave": "Not to be trusted", "warning": "Warning", "doubt": "Doubt", "note": "Note"}
"""Kinds of warnings in the order of the page, and their names."""

_SEVERITIES = {
    "refusal": "grave",
    "error": "grave",
    "critical": "grave",
    "warning": "warning",
    "doubt": "doubt",
}
_LONGEST = 2000  # letters of one text: more would fill the page

# Spaces at which no line may break.
_TOGETHER = re.compile(r"(?<=\d) (?=[%×]|to \d)|(?<=\d to) (?=\d)")


def render(template: str, **values: Any) -> str:
    """Return a page: a template with its values, the style sheet, the script and their policy."""
    style, script = _asset("page.css"), _asset("page.js")
    # A policy that names this style and this script lets no other run, and asks no network.
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    assets = {"style": Markup(style), "script": Markup(script), "policy": policy}
    return environment().get_template(template).render(**values, **assets)


@cache
def environment() -> Environment:
    """Return the templates' environment: whatever they show of the data passes `plain`."""
    made = Environment(
        loader=PackageLoader("charkit.report.pages"),
        autoescape=True,
        finalize=lambda value: plain(value) if isinstance(value, str) else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["kinds"] = KINDS
    made.filters.update(
        accuracy=accuracy, breakable=breakable, cut=plain, interval=interval, kind=kind,
        labels=labels, markdown=lambda text: Markup(html_of(text)), minus=minus, value=value_text,
    )  # fmt: skip
    return made


def _asset(name: str) -> str:
    found = files("charkit.report.pages") / "templates" / name
    return found.read_text(encoding="utf-8").replace("\r\n", "\n")


def _hash(content: str) -> str:
    """Return what a policy calls an inline style or script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def data(values: Mapping[str, Any]) -> Markup:
    """Return numbers and names for the script, five decimal places; nothing ends its element."""
    written = json.dumps(_rounded(values), separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        written = written.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(written)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value


def plain(value: str, longest: int = _LONGEST) -> str:
    r"""Return text for a page: white space one space, controls spelled out, the rest cut.

    Markup, which a template made, stays as it is; all other text is escaped afterwards.

    >>> plain("a\n\x1b b"), str(escape(plain("<b>")))
    ('a \\x1b b', '&lt;b&gt;')
    """
    if isinstance(value, Markup):
        return value
    return _TOGETHER.sub("\u00a0", printable(" ".join(value.split()), longest=longest))


def kind(severity: str) -> str:
    """Return the kind of a warning by its severity."""
    return _SEVERITIES.get(severity.lower(), "note")


def breakable(name: str) -> str:
    """Return a column's name with spaces: ``oof_margin`` becomes ``oof margin``."""
    return name.replace("_", " ")


def minus(shown: str) -> str:
    """Return a number with a minus sign for its hyphen."""
    return shown.replace("-", "\u2212")


def accuracy(value: float | None) -> str:
    """Return an accuracy in [0, 1] to three places."""
    return UNKNOWN if value is None else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval of accuracies, three places an end.

    >>> interval(0.8, 0.861), interval(None, None)
    ('0.800 to 0.861', 'unknown')
    """
    return UNKNOWN if low is None and high is None else f"{accuracy(low)} to {accuracy(high)}"


def labels(n: int) -> str:
    """Return a number of labels with its noun.

    >>> labels(1), labels(1240)
    ('1 label', '1,240 labels')
    """
    return f"{n:,} label{'' if n == 1 else 's'}"


def value_text(value: Any) -> str:
    """Return a value of a result for people: short numbers, lists in one line.

    >>> value_text(0.84123456), value_text(12345), value_text(None), value_text(["a", True])
    ('0.841', '12,345', 'unknown', 'a, yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Real):
        number = float(value)
        if not math.isfinite(number):
            return UNKNOWN
        whole = number == round(number) or abs(number) >= 1000
        return f"{number:,.0f}" if whole else f"{number:.3g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(value_text, value))
    return UNKNOWN if value is None else str(value)


def flat(values: Mapping[str, Any]) -> dict[str, str]:
    """Return names and values as text; a mapping inside is named ``outer inner``."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{name} {k}": v for k, v in flat(value).items()}
        else:
            found[str(name)] = value_text(value)
    return found


# -- a small and safe part of Markdown as HTML: paragraphs, emphasis, lists, tables, code ---------


_LONGEST_PAGE = 50_000  # letters: a finding has a few thousand, a hostile file any number
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9(\"'])")
_ABBREVIATED = ("e.g.", "i.e.", "vs.", "cf.", "approx.", "resp.", "no.")


def html_of(markdown: str) -> str:
    """Return Markdown as HTML without links, pictures, scripts and inline styles.

    Headings become those of the fourth level.

    >>> html_of("A **bold** <b>claim</b>").strip()
    '<p>A <strong>bold</strong> &lt;b&gt;claim&lt;/b&gt;</p>'
    """
    return str(_parser().render(_clean(markdown)))


def first_sentence(markdown: str) -> str:
    """Return the first sentence of Markdown as plain text; a lone word before it is kept.

    >>> first_sentence("Layer **4** leads (vs. 6). It is so.")
    'Layer 4 leads (vs. 6).'
    """
    tokens = _parser().parse(_clean(markdown))
    for at, token in enumerate(tokens):
        if token.type == "inline" and tokens[at - 1].type == "paragraph_open":
            words = "".join(
                " " if part.type in ("softbreak", "hardbreak") else part.content
                for part in token.children or []
            )
            return _first(" ".join(words.split()))
    return ""


def _first(words: str) -> str:
    for end in _SENTENCE.finditer(words):
        sentence = words[: end.start()]
        if " " in sentence and not sentence.lower().endswith(_ABBREVIATED):
            return sentence
    return words


def _clean(markdown: str) -> str:
    """Spell out control characters, line ends and tabs aside."""
    lines = markdown[:_LONGEST_PAGE].expandtabs(4).splitlines()
    return "\n".join(printable(line, longest=_LONGEST_PAGE) for line in lines)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.disable(["link", "image", "autolink", "reference", "html_block", "html_inline"])
    parser.core.ruler.push("plain", _plain)
    return parser


def _plain(state: object) -> None:
    """Bring headings to one level, and a cell's style to a class: the page allows no styles."""
    for token in state.tokens:  # type: ignore[attr-defined]
        if token.type in ("heading_open", "heading_close"):
            token.tag = "h4"
        if token.attrs.pop("style", None) == "text-align:right":
            token.attrs["class"] = "number"
