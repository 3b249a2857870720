"""Drawings inside a page: smaller SVG as data, as many as there is room for."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from charkit.config import printable
from charkit.report.pages.run_data import Picture
from charkit.sealed import check_svg

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
