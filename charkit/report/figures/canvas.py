"""Drawing that all figures share: palette, safe text, room for title and caption, saving.

A figure is 4.9 inches wide with text of 9 points and more, so that it can still be read at
390 pixels, and is sharp at 1,440. Nothing here touches matplotlib's global state for longer
than a call.
"""

from __future__ import annotations

import io
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from charkit.errors import MissingError
from charkit.escape import csv_of
from charkit.store.durable import write_whole
from charkit.store.sealed import seal_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.9  # inches: 9 points stay legible on a phone of 390 pixels
INK, MUTED, FAINT, PAPER = "#1a1a1a", "#5a5a5a", "#d9d9d9", "#ffffff"
SMALL, NORMAL, TITLE = 9.0, 10.0, 12.0  # points
_LINE = 0.165  # inches a caption line takes
_TITLE_LINE = 0.215  # of a title


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise MissingError(
            "figures need matplotlib: expected it to be installed, got nothing. "
            'Run: pip install "charkit[report]"'
        ) from error
    return matplotlib


def blank(
    *, title: str, caption: str, height: float, left: float, right: float, below: float = 0.0
) -> Any:
    """Return a figure and its axes with room for a title and a caption.

    Args:
        title: The finding; wrapped, aligned left.
        caption: How to read it; wrapped, below.
        height: Of the axes, in inches.
        left: Room left of the axes for tick labels, in inches.
        right: Room for direct labels, in inches.
        below: More room than usual for tick labels, in inches.

    Returns:
        The figure, the axes.

    Raises:
        MissingError: matplotlib is not installed.
    """
    _matplotlib()
    from matplotlib.figure import Figure

    heads = _title_lines(title)
    notes = textwrap.wrap(readable(caption), 70)
    top = 0.12 + _TITLE_LINE * len(heads) + 0.12
    bottom = 0.58 + below + _LINE * len(notes)
    total = top + height + bottom
    figure = Figure(figsize=(WIDTH, total), facecolor=PAPER)
    box = (left / WIDTH, bottom / total, (WIDTH - left - right) / WIDTH, height / total)
    axes = figure.add_axes(box)
    axes.set_facecolor(PAPER)
    common: dict[str, Any] = {"ha": "left", "linespacing": 1.25}
    figure.text(
        0.12 / WIDTH, 1 - 0.12 / total, safe("\n".join(heads)),
        va="top", size=TITLE, weight="bold", color=INK, **common,
    )  # fmt: skip
    figure.text(
        0.12 / WIDTH, 0.08 / total, safe("\n".join(notes)),
        va="bottom", size=SMALL, color=MUTED, **common,
    )  # fmt: skip
    _plain_frame(axes)
    return figure, axes


def _title_lines(title: str) -> list[str]:
    """Wrap a title to 50 letters a line, fewer where wide ones would run over the edge."""
    text = readable(title).replace(" = ", "\xa0=\xa0")
    lines = [""]
    for most in range(50, 39, -1):
        lines = textwrap.wrap(text, most) or [""]
        if max(text_inches(safe(line), bold=True) for line in lines) * TITLE / SMALL < WIDTH - 0.2:
            break
    return lines


def _plain_frame(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(labelsize=SMALL, colors=MUTED, labelcolor=INK, length=3)


def safe(text: str) -> str:
    """Return text that matplotlib draws as it stands: no dollar starts mathematics."""
    return text.replace("$", r"\$")


def text_inches(text: str, *, bold: bool = False) -> float:
    """Return how wide small text is drawn, in inches.

    Raises:
        MissingError: matplotlib is not installed.
    """
    _matplotlib()
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal", size=SMALL)
    return float(TextPath((0, 0), text or " ", prop=font).get_extents().width) / 72


def readable(text: str, *, longest: int | None = None) -> str:
    """Return text in one line that the font can draw, cut in the middle when too long.

    Letters that the font lacks become a question mark, white space one space.

    Raises:
        MissingError: matplotlib is not installed.
    """
    _matplotlib()
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    flat = " ".join(text.split())
    shown = "".join(c if ord(c) in known and c.isprintable() else "?" for c in flat)
    if longest is None or len(shown) <= longest:
        return shown
    ahead = (longest - 1) * 2 // 3
    return f"{shown[:ahead]}…{shown[len(shown) - (longest - 1 - ahead) :]}"


def depth_colours(layers: list[int]) -> dict[int, Any]:
    """Return an ordered colour a layer, dark to light with depth, none too light for paper."""
    from matplotlib import colormaps

    scale = colormaps["viridis"]
    deepest = max([*layers, 1])
    return {layer: scale(0.86 * layer / deepest) for layer in layers}


def ink_on(colour: Any) -> str:
    """Return black or white, whichever is read more easily on a colour."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (float(v) for v in colour[:3])
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return INK if (luminance + 0.05) / 0.06 > 1.05 / (luminance + 0.05) else PAPER


def spread(wanted: list[float], *, gap: float, low: float, high: float) -> list[float]:
    """Move positions apart until neighbours keep a gap, as little as it takes, inside a range.

    >>> [round(y, 3) for y in spread([0.5, 0.5], gap=0.2, low=0, high=1)]
    [0.4, 0.6]
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    blocks: list[tuple[float, int]] = []  # centre, members
    for index in order:
        centre, members = wanted[index], 1
        while blocks and blocks[-1][0] + gap * (blocks[-1][1] + members) / 2 > centre:
            other, count = blocks.pop()
            centre = (other * count + centre * members) / (count + members)
            members += count
        blocks.append((centre, members))
    flat = [c + gap * (k - (n - 1) / 2) for c, n in blocks for k in range(n)]
    for place in range(len(flat)):  # inside the range from below, then from above
        flat[place] = max(flat[place], low + gap * place)
    for place in range(len(flat)):
        flat[-1 - place] = min(flat[-1 - place], high - gap * place)
    result = [0.0] * len(wanted)
    for place, index in enumerate(order):
        result[index] = flat[place]
    return result


def keep_numbers(figure: Any, numbers: pd.DataFrame) -> Figure:
    """Attach the plotted numbers to a figure, for `save_figure`."""
    figure.numbers = numbers
    drawn: Figure = figure
    return drawn


def save_figure(figure: Figure, path_stem: str | Path) -> tuple[Path, Path, Path]:
    """Write a figure as .svg and .png, and what it shows as .csv.

    The same figure gives the same bytes: no dates, no random identifiers. Each file is written
    whole or not at all.

    Args:
        figure: From `charkit.report.figures`.
        path_stem: Where to, without an ending.

    Returns:
        The three files.

    Raises:
        MissingError: The folder cannot be written.
    """
    matplotlib = _matplotlib()
    stem = Path(path_stem)
    svg, png, csv = (stem.with_name(stem.name + end) for end in (".svg", ".png", ".csv"))
    drawn, dotted = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "charkit", "svg.fonttype": "path"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": "charkit"})
    figure.savefig(dotted, format="png", dpi=300, metadata={"Software": None})
    numbers = getattr(figure, "numbers", pd.DataFrame())
    listed = csv_of(numbers).encode()
    write_whole(csv, listed)
    write_whole(png, dotted.getvalue())
    write_whole(svg, seal_svg(drawn.getvalue(), listed))
    return svg, png, csv


def file_name(text: str) -> str:
    """Return a name that every file system takes.

    >>> file_name("a/b <c> & d")
    'a_b_c_d'
    """
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", text)[:60].strip("._-") or "task"
    # Windows keeps these for devices, with any ending and in any case.
    device = re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", name)
    return f"_{name}" if device else name
