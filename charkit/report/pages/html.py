"""Templates of the pages: escaped text, numbers as people read them, the policy, plots as data."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from charkit.config import printable
from charkit.report.pages.run_data import Picture
from charkit.store.sealed import check_svg

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


PLAIN, PACKED, NUMBERS = 900_000, 500_000, 200_000
"""Bytes of a page for figures that need no script, for those that do, and for their numbers."""

# Beyond these a file is read for nothing: it would fill the page, or find no room in it.
_LARGEST_CSV = 40_000
_LARGEST_SVG = 8_000_000
_FLUFF = (("<?xml", "?>"), ("<!--", "-->"), ("<metadata>", "</metadata>"))
_DOCTYPE = re.compile(r"<!DOCTYPE[^<>\[]*>")
_ID = re.compile(r'\sid="([^"]+)"')
_USED = re.compile(r'href="#([^"]+)"|url\(#([^()]+)\)')
_BETWEEN_TAGS = re.compile(r">\s+<")
_SIZE = re.compile(r'<svg\b[^<>]*?\bviewBox="0 0 (\d+(?:\.\d+)?) (\d+(?:\.\d+)?)"')
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Held:
    """A figure inside a page.

    Attributes:
        size: Width and height in pixels.
        plain: Its address, which holds it; empty where it is packed.
        packed: The drawing, compressed; the page's script unpacks it.
        numbers: The address that holds its numbers; empty where they found no room.
    """

    size: tuple[int, int]
    plain: Markup
    packed: Markup
    numbers: Markup


def put_inside(
    pictures: Sequence[Picture], *, plain: int = PLAIN, packed: int = PACKED, numbers: int = NUMBERS
) -> tuple[dict[Path, Held], list[str]]:
    """Return what of figures fits into a page, and the names of those that do not.

    Args:
        pictures: The most important ones first; these need no script.
        plain: Bytes for drawings as they are.
        packed: Bytes for further drawings, compressed.
        numbers: Bytes for the plotted numbers.

    Raises:
        DataError: A drawing or its numbers differ from the hash in it.
    """
    inside: dict[Path, Held] = {}
    left_out = []
    for picture in pictures:
        svg, coded = _shrunk_file(picture), ""
        uri = data_uri(svg) if svg is not None else ""
        if svg is not None and len(uri) > plain:
            uri, coded = "", _base64(gzip.compress(svg.encode(), mtime=0))
        if svg is None or len(coded) > packed:
            left_out.append(picture.svg.name)
            continue
        plain, packed = plain - len(uri), packed - len(coded)
        short = picture.csv is not None and picture.csv.stat().st_size <= _LARGEST_CSV
        table = _base64(picture.csv.read_bytes()) if picture.csv and short else ""
        if len(table) > numbers:
            table = ""
        numbers -= len(table)
        csv = f"data:text/csv;base64,{table}" if table else ""
        inside[picture.svg] = Held(_pixels(svg), Markup(uri), Markup(coded), Markup(csv))
    return inside, left_out


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _pixels(svg: str) -> tuple[int, int]:
    found = _SIZE.search(svg)
    points = (float(found[1]), float(found[2])) if found else (360.0, 270.0)
    return round(points[0] * 4 / 3), round(points[1] * 4 / 3)


def shrunk(svg: str) -> str:
    """Return a drawing without comments, metadata and names that nothing uses; it looks the same.

    Args:
        svg: As matplotlib writes it; any other SVG may be given.
    """
    for start, end in _FLUFF:
        svg = _without(svg, start, end)
    svg = _DOCTYPE.sub("", svg)
    used = {a or b for a, b in _USED.findall(svg)}
    short = {name: _name(at) for at, name in enumerate(sorted(used))}
    svg = _ID.sub(lambda m: f' id="{short[m[1]]}"' if m[1] in short else "", svg)
    svg = _USED.sub(lambda m: f'href="#{short[m[1]]}"' if m[1] else f"url(#{short[m[2]]})", svg)
    for command in "MLQCz":  # a path's line breaks
        svg = svg.replace(f" \n{command} ", command).replace(f" \n{command}", command)
    return _BETWEEN_TAGS.sub("><", svg).replace('z\n"', 'z"').strip()


def _without(svg: str, start: str, end: str) -> str:
    """Return a drawing without what stands from each start to its end; one pass."""
    kept, at = [], 0
    while (first := svg.find(start, at)) >= 0 and (last := svg.find(end, first)) >= 0:
        kept.append(svg[at:first])
        at = last + len(end)
    return "".join([*kept, svg[at:]])


def _name(at: int) -> str:
    """Return a short name that is no other's: a0, a1, ..."""
    digits = ""
    while at >= 0:
        digits = _DIGITS[at % 36] + digits
        at = at // 36 - 1
    return f"a{digits}"


def data_uri(svg: str) -> str:
    """Return a drawing as an address that holds it, for an attribute in single quotes."""
    coded = svg.replace("%", "%25").replace("#", "%23").replace("'", "%27")
    for space in "\n\r\t":  # which an address loses
        coded = coded.replace(space, f"%{ord(space):02X}")
    return "data:image/svg+xml;utf8," + coded.replace("&", "&amp;")


def _shrunk_file(picture: Picture) -> str | None:
    """Return a drawing for the page; None where it cannot be shown.

    Raises:
        DataError: The drawing or its numbers differ from the hash in it.
    """
    path, numbers = picture.svg, picture.csv
    try:
        if path.stat().st_size > _LARGEST_SVG:
            return None
        raw, csv = path.read_bytes(), None
        if numbers is not None and numbers.stat().st_size <= _LARGEST_CSV:
            csv = numbers.read_bytes()
    except OSError:
        return None
    advice = "Draw it again, or take it out of the folder."
    check_svg(raw, csv, printable(path.name), advice=advice)
    svg = raw.decode(errors="replace")
    whole = "<svg" in svg and "</svg>" in svg and "\0" not in svg
    return shrunk(svg) if whole and "<!ENTITY" not in svg else None
