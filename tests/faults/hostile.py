"""Hostile files by hypothesis, and encoder folders that mean harm."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from attack import Bench, Tally
    from forks import Run

LONGEST = 20_000
"""Letters that a refusal may write."""

_CELL = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "nan", "NA", "1e999", "=cmd|' /C calc'!A0", "\x1b[31m", "\u202e", "a,b"]),
    st.text(alphabet="\"',;\t\r\n|=x ", max_size=12),
    st.integers().map(str),
    st.just("x" * 3_000),
)
_TABLE = st.lists(st.lists(_CELL, min_size=1, max_size=5), min_size=1, max_size=12)
_NAMES = ("h.csv", "h.tsv", "h.jsonl", "h.json", "h.parquet", "h.csv.gz", "h.txt", "h.xlsx")


def _csv(rows: list[list[str]]) -> bytes:
    lines = ["text,label", *(",".join(row) for row in rows)]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _json_lines(rows: list[list[str]]) -> bytes:
    import json

    return "\n".join(json.dumps({"text": r[0], "label": r[-1]}) for r in rows).encode()


_CONTENT = st.one_of(
    st.binary(max_size=400), _TABLE.map(_csv), _TABLE.map(_json_lines), st.text().map(str.encode)
)


def judge(tally: Tally, run: Run, how: str) -> None:
    """Count how a command took what was hostile."""
    tally.tried += 1
    if run.traceback or run.code not in (0, 2, 3, 4, 5):
        tally.fault("tracebacks", f"{how}: exit {run.code}: {run.err[-500:]}")
    elif len(run.out) + len(run.err) > LONGEST:
        tally.fault("tracebacks", f"{how}: {len(run.out) + len(run.err)} letters written")
    elif run.code:
        tally.detected += 1
    else:
        tally.harmless += 1


def files(bench: Bench) -> Tally:
    """Give files of any content to the planning of a sweep and to what to label next."""
    from attack import Tally

    tally, data, store = Tally(), bench.root / "hostile", bench.root / "store"
    data.mkdir(exist_ok=True)
    commands = (
        ["sweep", "{}", "-e", str(bench.root / "data" / "tiny"), "--dry-run"],
        ["encode", "{}", "-e", str(bench.root / "data" / "tiny")],
        ["report", str(data)],
    )

    @settings(
        max_examples=bench.times(100),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(_NAMES), _CONTENT, st.sampled_from(range(len(commands))))
    def one(name: str, content: bytes, at: int) -> None:
        for path in data.iterdir():
            path.unlink()
        (data / name).write_bytes(content)
        if at == 2:
            (data / "answer.json").write_bytes(content)
        words = [str(data / name) if w == "{}" else w for w in commands[at]]
        run = bench.commands.run(words, store=store, cwd=data, limit_s=60)
        judge(tally, run, f"{words[0]} {name} {content[:200]!r}")

    one()
    return tally


def folders(bench: Bench) -> Tally:
    """Give each hostile encoder folder to ``charkit encode``; no code in one may run."""
    from attack import Tally
    from hostile_folders import FOLDERS, every_kind

    tally, store = Tally(), bench.root / "store"
    names = sorted(FOLDERS)
    for name in bench.rng.sample(names, 4) if bench.smoke else names:
        folder = bench.root / "hostile-encoder" / "tiny"
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.copytree(bench.root / "data" / "tiny", folder)
        every_kind(folder, name)
        words = ["encode", bench.root / "data" / "d.csv", "-e", folder]
        run = bench.commands.run(words, store=store, cwd=Path(bench.root), limit_s=120)
        judge(tally, run, f"encoder folder {name}")
    return tally
