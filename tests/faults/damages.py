"""Damage to every kind of file that charkit reads back: one mutation a try."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forks import fresh

if TYPE_CHECKING:
    from attack import Bench, Tally


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with one mutation: a bit, a byte, cut, appended, zeroed, inserted, deleted."""
    if not data:
        return b"x"
    at = rng.randrange(len(data))
    some = rng.randint(1, max(1, min(64, len(data) // 4)))
    kind = rng.randrange(7)
    if kind == 0:
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + bytes([(data[at] + rng.randint(1, 255)) % 256]) + data[at + 1 :]
    if kind == 2:
        return data[:at]
    if kind == 3:
        return data + rng.randbytes(some)
    if kind == 4:
        return data[:at] + bytes(some) + data[at + some :]
    if kind == 5:
        return data[:at] + rng.randbytes(some) + data[at:]
    return data[:at] + data[at + some :]


def damage(path: Path, rng: random.Random) -> str:
    """Damage a file in place, and return how."""
    if rng.randrange(12) == 0:
        path.unlink()
        return f"{path.name} removed"
    before = path.read_bytes()
    after = before
    while after == before:
        after = mutated(before, rng)
    path.write_bytes(after)
    return f"{path.name} of {len(before)} bytes changed to {len(after)}"


def store_damages(bench: Bench) -> Tally:
    """Damage files of a filled store, then run the commands that use them, and the care for it."""
    from attack import Tally, call

    tally = Tally()
    names = ["sweep", "embed --out", "next --out", "estimate --out"]
    if bench.smoke:
        names = names[:2]
    whole, out = fresh(bench.root / "whole"), bench.root / "out"
    expected = {}
    for name in names:
        fresh(out)
        made = call(bench, name, whole, out)
        if made.code not in (0, 5):
            tally.fault("tracebacks", f"{name} on a whole store: {made.code} {made.err[-500:]}")
        expected[name] = (made.code, call(bench, name, whole, out).out)
    kinds: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(p for p in whole.rglob("*") if p.is_file()):
        place = path.relative_to(whole)
        if not any(part.startswith(".") for part in place.parts):
            kinds.setdefault((place.parts[0], path.suffix + path.name[:3]), []).append(place)
    tries = list(kinds.values())
    for i in range(max(len(tries) if bench.smoke else 0, bench.times(100))):
        place = bench.rng.choice(tries[i % len(tries)])
        _store_damage(bench, tally, place, expected)
    return tally


def _store_damage(bench: Bench, tally: Tally, place: Path, expected: dict[str, Any]) -> None:
    from attack import call

    store, out, data = bench.root / "store", fresh(bench.root / "out"), bench.root / "data"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(bench.root / "whole", store, copy_function=os.link)
    target = store / place
    copy = target.read_bytes()
    target.unlink()
    target.write_bytes(copy)
    how = f"{place}: {damage(target, bench.rng)}"
    tally.tried += 1
    listed = bench.commands.run(["cache", "list"], store=store, cwd=data)
    noticed = False
    for name, (code, stdout) in expected.items():
        run = call(bench, name, store, out)
        if listed.traceback or run.traceback:
            return tally.fault("tracebacks", f"{how}; {name}: {(listed.err + run.err)[-400:]}")
        noticed |= "damaged result" in run.err
        if run.out != stdout or run.code != code:
            kind = "detected" if run.code not in (0, 5) else "silent"
            if kind == "silent":
                return tally.fault("silent", f"{how}; {name}: exit {run.code}, other stdout")
    verified = bench.commands.run(["verify"], store=store, cwd=data)
    pruned = bench.commands.run(["cache", "prune", "--damaged"], store=store, cwd=data)
    after = bench.commands.run(["verify"], store=store, cwd=data)
    if verified.traceback or pruned.traceback or after.traceback:
        return tally.fault("tracebacks", f"{how}: {(verified.err + pruned.err)[-400:]}")
    if pruned.code or after.code:
        return tally.fault("lost", f"{how}: prune does not cure it: {after.out[-300:]}")
    if not noticed and not verified.code and place.name != "run.json":
        missed = store / place
        if not missed.is_file() or missed.read_bytes() != copy:
            return tally.fault("silent", f"{how}: no word, and verify finds nothing")
    tally.detected += noticed or bool(verified.code)
    tally.made_again += 1
    return None


Load = Callable[[Path], Any]


def file_damages(bench: Bench) -> Tally:
    """Damage single files that a function reads: embeddings, tables, the metamodel, the library."""
    from attack import Tally, call

    tally = Tally()
    out, store = fresh(bench.root / "files"), fresh(bench.root / "store")
    call(bench, "sweep --out", store, out)
    call(bench, "embed --out", store, out)
    for source, load, n in _readers(out):
        kept = source.read_bytes()
        want = load(source)
        for _ in range(bench.times(n)):
            tally.tried += 1
            _file_damage(bench, tally, source, kept, load, want)
            source.write_bytes(kept)
    return tally


def _readers(out: Path) -> list[tuple[Path, Load, int]]:
    import charkit.answers.labelling.strategies as strategies
    import metamodel
    from charkit.fisher import load_embedding
    from charkit.heads.sweep.table import read_table
    from charkit.store.sealed import read_sealed

    shipped = Path(metamodel.__file__).parent / "shipped" / "metamodel.json"
    found: list[tuple[Path, Load, int]] = [
        (out / "e.safetensors", lambda p: _numbers(load_embedding(p)), 100),
        (out / "table.parquet", lambda p: read_table(p).to_csv(), 100),
    ]
    policy = out / "next_policy.json"
    shutil.copy(Path(strategies.__file__).with_name("next_policy.json"), policy)
    found.append((policy, lambda p: read_sealed(p, p.name, advice=""), 50))
    if shipped.is_file():
        from metamodel.predict import metamodel_text, read_metamodel

        copy = out / "metamodel.json"
        shutil.copy(shipped, copy)
        found.append((copy, lambda p: metamodel_text(read_metamodel(p)), 20))
    return found


def _numbers(embedding: Any) -> tuple[Any, ...]:
    return (
        embedding.values.tobytes(),
        embedding.standard_error.tobytes(),
        repr(embedding.facts()),
        repr(embedding.slices),
    )


def _file_damage(
    bench: Bench, tally: Tally, source: Path, kept: bytes, load: Load, want: Any
) -> None:
    from charkit.errors import CharkitError

    how = f"{source.name}: {damage(source, bench.rng)}"
    try:
        same = load(source) == want
    except (CharkitError, FileNotFoundError):
        tally.detected += 1
    except Exception as error:
        if source.name == "metamodel.json" and type(error) is ValueError:
            tally.detected += 1  # what `read_metamodel` raises on purpose
        else:
            tally.fault("tracebacks", f"{how}: {error!r}")
    else:
        if same:
            tally.harmless += 1
        else:
            tally.fault("silent", how)


def report_damages(bench: Bench) -> Tally:
    """Damage every file of a folder of results, then write its report."""
    from attack import Tally, call

    tally = Tally()
    store, run = fresh(bench.root / "store"), fresh(bench.root / "run")
    call(bench, "sweep --out", store, run)
    if not bench.smoke:
        (run / "answer").mkdir()
        call(bench, "estimate --out", store, run / "answer")
        (run / "answer" / "report.html").unlink(missing_ok=True)
    _study_files(run)
    page, data = bench.root / "page.html", bench.root / "data"
    words = ["report", run, "--out", page, "--title", "t"]
    bench.commands.run(words, store=store, cwd=data)
    want = page.read_bytes()
    ends = (".json", ".parquet", ".svg", ".csv")
    read = [p for p in sorted(run.rglob("*")) if p.suffix in ends and p.name != "table.csv"]
    for i in range(bench.times(100)):
        target = read[i % len(read)]
        kept = target.read_bytes()
        how = damage(target, bench.rng)
        tally.tried += 1
        page.unlink(missing_ok=True)
        done = bench.commands.run(words, store=store, cwd=data)
        if done.traceback:
            tally.fault("tracebacks", f"{how}: {done.err[-400:]}")
        elif done.code or (
            target.name in page.read_text() and want.count(target.name.encode()) == 0
        ):
            tally.detected += 1  # refused, or left out with its name
        elif page.read_bytes() == want or not target.exists():
            tally.harmless += 1
        else:
            tally.fault("silent", f"{target.parent.name}/{how}: another page")
        target.write_bytes(kept)
    return tally


def _study_files(run: Path) -> None:
    """Add an experiment and a scorecard, as a study writes them."""
    import sys

    sys.path.append(str(Path(__file__).resolve().parents[1] / "charkit" / "report"))
    from run_folders import SCORECARD, experiment

    from charkit.store.sealed import sealed_json

    (run / "experiments").mkdir()
    (run / "experiments" / "norm.json").write_bytes(sealed_json(_finite(experiment("norm"))))
    (run / "scorecard.json").write_bytes(sealed_json(_finite(SCORECARD)))


def _finite(value: Any) -> Any:
    """Return JSON values without NaN, as a study writes them."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and value != value else value
