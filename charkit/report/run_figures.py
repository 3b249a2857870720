"""Drawings inside a page: smaller SVG as data, as many as there is room for."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from charkit.report.page_words import text
from charkit.report.run_folder import Picture

BUDGET = 1_700_000
"""Bytes that figures and their numbers may take of a page."""

_LARGEST_CSV = 40_000
_FLUFF = (
    re.compile(r"<\?xml.*?\?>", re.DOTALL),
    re.compile(r"<!DOCTYPE[^>\[]*>", re.DOTALL),
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"<metadata>.*?</metadata>", re.DOTALL),
)
_ID = re.compile(r'\sid="([^"]+)"')
_USED = re.compile(r'href="#([^"]+)"|url\(#([^)]+)\)')
_BETWEEN_TAGS = re.compile(r">\s+<")
_SIZE = re.compile(r'<svg\b[^>]*?\bviewBox="0 0 ([\d.]+) ([\d.]+)"')
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Room:
    """How many bytes of a page are left for figures.

    Attributes:
        left: So many.
        named: Names of the figures that found no room.
    """

    def __init__(self, left: int = BUDGET) -> None:
        self.left = left
        self.named: list[str] = []

    def take(self, size: int) -> bool:
        """Take room, if there is enough; say whether there was."""
        if size > self.left:
            return False
        self.left -= size
        return True


def shrunk(svg: str) -> str:
    """Return a drawing without comments, metadata and names that nothing uses; it looks the same.

    Args:
        svg: As matplotlib writes it; any other SVG may be given.
    """
    for fluff in _FLUFF:
        svg = fluff.sub("", svg)
    used = {a or b for a, b in _USED.findall(svg)}
    short = {name: _name(at) for at, name in enumerate(sorted(used))}
    svg = _ID.sub(lambda m: f' id="{short[m[1]]}"' if m[1] in short else "", svg)
    svg = _USED.sub(
        lambda m: f'href="#{short[m[1]]}"' if m[1] else f"url(#{short[m[2]]})",
        svg,
    )
    for command in "MLQCz":  # a path's line breaks
        svg = svg.replace(f" \n{command} ", command).replace(f" \n{command}", command)
    return _BETWEEN_TAGS.sub("><", svg).replace('z\n"', 'z"').strip()


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
    return "data:image/svg+xml;utf8," + coded.replace("&", "&amp;")


def figure(picture: Picture, room: Room, *, words: str) -> str:
    """Return a figure with what is to be had of it, or where it lies if there is no room.

    Args:
        picture: Of a run.
        room: What is left of the page.
        words: What it shows, for those who do not see it.
    """
    svg = _shrunk_file(picture.svg)
    if svg is None or not room.take(len(uri := data_uri(svg))):
        room.named.append(picture.svg.name)
        return (
            f'<p class="quiet small">Not in this page: figure <code>{text(picture.svg.name)}'
            "</code>, in the folder of the run.</p>"
        )
    size = _SIZE.search(svg)
    wide, high = (round(float(v) * 4 / 3) for v in size.groups()) if size else (480, 360)
    name = text(picture.name)
    links = [f'<a class="as-svg" download="{name}.svg" hidden>SVG</a>']
    if picture.csv is not None:
        links.append(_numbers(picture.csv, room))
    return (
        f'<figure class="picture"><img alt="{escape(words)}" width="{wide}" height="{high}" '
        f"src='{uri}'><figcaption><span>{name}</span> {' '.join(links)}</figcaption></figure>"
    )


def figures(pictures: Sequence[Picture], room: Room, *, words: str) -> str:
    """Return figures beside each other."""
    shown = "\n".join(figure(picture, room, words=words) for picture in pictures)
    return f'<div class="pictures">{shown}</div>' if shown else ""


def _shrunk_file(path: Path) -> str | None:
    try:
        svg = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return shrunk(svg) if "<svg" in svg and "<!ENTITY" not in svg else None


def _numbers(csv: Path, room: Room) -> str:
    """Return a link that holds the plotted numbers, or the name of their file."""
    name = text(csv.name)
    if csv.stat().st_size <= _LARGEST_CSV:
        coded = base64.b64encode(csv.read_bytes()).decode()
        if room.take(len(coded)):
            return f'<a download="{name}" href="data:text/csv;base64,{coded}">CSV</a>'
    return f"<code>{name}</code>"
