"""A small and safe part of Markdown as HTML: paragraphs, emphasis, lists, tables, code.

Markup in the text is shown as text; links and pictures are not made.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from charkit.config import printable

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_LONGEST = 50_000  # letters: a finding has a few thousand, a hostile file any number
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
    lines = markdown[:_LONGEST].expandtabs(4).splitlines()
    return "\n".join(printable(line, longest=_LONGEST) for line in lines)


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
