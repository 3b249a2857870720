"""What the pages share: their policy, assets, lists, warnings and cards."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from charkit.report.page_answer import Verdict
from charkit.report.page_words import text

_KINDS = {
    "refusal": "grave",
    "error": "grave",
    "critical": "grave",
    "warning": "warning",
    "doubt": "doubt",
}
"""How a verdict looks by its severity; any other is a note."""

_KIND_WORDS = {
    "grave": "Not to be trusted",
    "warning": "Warning",
    "doubt": "Doubt",
    "note": "Note",
}


def asset(name: str) -> str:
    """Return a file of the package's assets."""
    found = files("charkit.report") / "assets" / name
    return found.read_text(encoding="utf-8").replace("\r\n", "\n")


def policy(style: str, script: str) -> str:
    """Return a content security policy: this style, this script, pictures inside, no network."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(content: str) -> str:
    """Return what a policy calls an inline style or script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def about(said: Sequence[str]) -> str:
    """Return what a page is about as a list; the items are HTML."""
    if not said:
        return ""
    return f'<ul class="about">{"".join(f"<li>{item}</li>" for item in said)}</ul>'


def bullets(lines: Sequence[str]) -> str:
    """Return lines of text as a list."""
    return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>" if lines else ""


def verdict_list(verdicts: Sequence[Verdict]) -> str:
    """Return warnings as a list, the gravest first."""
    kinds = [(_KINDS.get(v.severity.lower(), "note"), v) for v in verdicts]
    items = []
    for kind, verdict in sorted(kinds, key=lambda pair: list(_KIND_WORDS).index(pair[0])):
        code = f" <code>{text(verdict.code)}</code>" if verdict.code else ""
        items.append(
            f'<li class="verdict {kind}"><strong>{_KIND_WORDS[kind]}</strong>'
            f"<span>{text(verdict.sentence or verdict.code)}{code}</span></li>"
        )
    if not items:
        return ""
    return f'<ul class="verdicts" aria-label="Warnings">{"".join(items)}</ul>'


def card(name: str, body: str, *, wide: bool) -> str:
    """Return a section with a head; the body is HTML, the name one of the program's own."""
    kind = "card wide" if wide else "card"
    return f'<section class="{kind}" aria-label="{name}"><h2>{name}</h2>{body}</section>'
