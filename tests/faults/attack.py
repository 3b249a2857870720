"""``make test-faults``: kill, damage and deceive charkit, and count what came of it.

Each section fills a `Tally`; the whole goes to ``results/robustness.json`` after every section,
so that a stopped attack goes on at the next one. Exit code 1 unless silent, lost and tracebacks
are all 0.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "charkit" / "encoders")]
sys.path.insert(0, str(HERE.parents[1]))

from forks import Commands, Run, count_into, fresh, import_all, kill_at  # noqa: E402

VOLATILE = ("created", "time", "peak_bytes", "sha256", "threads")


@dataclass
class Tally:
    """What came of the tries of a section.

    Attributes:
        tried: Tries.
        detected: The fault was named: a refusal, or a warning and made again.
        made_again: The right result came all the same.
        harmless: Nothing differs in what is read.
        silent: A wrong result without a word.
        lost: A result that should be there is not: wrong after a rerun, or litter left behind.
        tracebacks: Python's own, errors that nobody foresaw, and hangs.
        examples: The first faults.
    """

    tried: int = 0
    detected: int = 0
    made_again: int = 0
    harmless: int = 0
    silent: int = 0
    lost: int = 0
    tracebacks: int = 0
    examples: list[str] = field(default_factory=list)

    def fault(self, kind: str, what: str) -> None:
        """Count a fault and keep the first few."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.examples) < 12:
            self.examples.append(f"{kind}: {what[:600]}")

    @property
    def clean(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.silent or self.lost or self.tracebacks)


@dataclass
class Bench:
    """What sections share.

    Attributes:
        root: Scratch folder.
        commands: Runs commands.
        rng: The only source of chance.
        smoke: Whether a minute must do.
    """

    root: Path
    commands: Commands
    rng: random.Random
    smoke: bool

    def times(self, n: int) -> int:
        """Return how often to try what is tried ``n`` times in a whole attack."""
        return max(1, n // 25) if self.smoke else n


WORDS = "good great fine poor awful bad the a film book cat dog man woman reads likes sees".split()


def write_data(folder: Path) -> None:
    """Write labelled and half-labelled texts, and the tiny encoder."""
    from conftest import build_tiny_bert

    rng = random.Random(5)
    texts = []
    for i in range(90):
        kind = i % 2
        words = rng.choices(WORDS[:3] if kind else WORDS[3:6], k=2) + rng.choices(WORDS[6:], k=5)
        rng.shuffle(words)
        texts.append((" ".join(words) + f" {i}", "yes" if kind else "no"))
    rows = "\n".join(f"{t},{c}" for t, c in texts)
    (folder / "d.csv").write_text(f"text,label\n{rows}\n")
    half = "\n".join(f"{t},{c if i < 60 else ''}" for i, (t, c) in enumerate(texts))
    (folder / "half.csv").write_text(f"text,label\n{half}\n")
    build_tiny_bert(folder / "tiny")


COMMANDS: dict[str, list[str]] = {
    "sweep": ["sweep", "d.csv", "-e", "tiny", "-n", "16,32", "--seeds", "0-1",
              "--controls", "majority,shuffled_labels", "--executor", "1"],
    "sweep --out": ["sweep", "d.csv", "-e", "tiny", "-n", "16,32", "--seeds", "0",
                    "--controls", "majority", "--executor", "1", "--out", "{out}"],
    "embed --out": ["embed", "d.csv", "-e", "tiny", "--cache-layer", "0",
                    "--out", "{out}/e.safetensors"],
    "next --out": ["next", "half.csv", "-e", "tiny", "-n", "5", "--out", "{out}/next.csv"],
    "estimate --out": ["estimate", "half.csv", "-e", "tiny", "--out", "{out}"],
    "two workers": ["sweep", "d.csv", "-e", "tiny", "-n", "16,32", "--seeds", "0-1",
                    "--controls", "majority", "--executor", "2"],
}  # fmt: skip


def call(
    bench: Bench,
    name: str,
    store: Path,
    out: Path,
    hook: Callable[[], None] | None = None,
    kill_after_s: float | None = None,
) -> Run:
    """Run one of `COMMANDS`."""
    words = [word.replace("{out}", str(out)) for word in COMMANDS[name]]
    return bench.commands.run(
        words, store=store, cwd=bench.root / "data", hook=hook, kill_after_s=kill_after_s
    )


def contents(store: Path, out: Path) -> dict[str, object]:
    """Return every finished file of a store and of an output folder, times left out."""
    found: dict[str, object] = {}
    for path in sorted(p for p in store.rglob("*") if p.is_file()):
        place = path.relative_to(store)
        if any(part.startswith(".") for part in place.parts):
            continue
        if path.name == "run.json":
            run = json.loads(path.read_text())
            found[str(place)] = {k: v for k, v in run.items() if k not in VOLATILE}
        else:
            found[str(place)] = path.read_bytes()
    for path in sorted(p for p in out.rglob("*") if p.is_file()) if out.is_dir() else ():
        found[f"out/{path.relative_to(out)}"] = path.read_bytes()
    return found


def check_rest(
    bench: Bench, tally: Tally, name: str, expected: dict, stdout: str, why: str
) -> None:
    """Run a killed command to its end, and compare everything with an undisturbed run."""
    store, out = bench.root / "store", bench.root / "out"
    again = call(bench, name, store, out)
    if again.traceback:
        return tally.fault("tracebacks", f"{name}, {why}: {again.err[-500:]}")
    litter = [p.name for p in out.rglob("*.tmp")] if out.is_dir() else []
    now = contents(store, out)
    if again.out != stdout:
        return tally.fault("lost", f"{name}, {why}: another stdout, exit {again.code}")
    if now != expected:
        odd = sorted(k for k in {*now, *expected} if now.get(k) != expected.get(k))
        return tally.fault("lost", f"{name}, {why}: differs in {odd[:5]}; litter {litter}")
    verified = bench.commands.run(["verify", "-q"], store=store, cwd=bench.root / "data")
    if verified.code:
        return tally.fault("lost", f"{name}, {why}: verify says {verified.out[-300:]}")
    tally.made_again += 1
    return None


def kills(bench: Bench) -> Tally:
    """Kill each command at random moments and at operations on files, then run it again."""
    tally = Tally()
    plan = {"sweep": 20, "sweep --out": 30, "embed --out": 25, "next --out": 12,
            "estimate --out": 10, "two workers": 3}  # fmt: skip
    store, out = bench.root / "store", bench.root / "out"
    for name, n in plan.items():
        if bench.smoke and name in ("two workers", "estimate --out"):
            continue
        fresh(store), fresh(out)
        counted = bench.root / "count"
        whole = call(bench, name, store, out, hook=count_into(counted))
        if whole.code not in (0, 5):
            tally.fault("tracebacks", f"{name} without any kill: {whole.code} {whole.err[-500:]}")
            continue
        expected, n_steps = contents(store, out), int(counted.read_text())
        for i in range(bench.times(n)):
            fresh(store), fresh(out)
            tally.tried += 1
            if i % 2 or name == "two workers":
                moment = bench.rng.uniform(0, whole.seconds)
                call(bench, name, store, out, kill_after_s=moment)
                why = f"killed after {moment:.2f} s"
            else:
                step = bench.rng.randint(1, n_steps)
                call(bench, name, store, out, hook=kill_at(step))
                why = f"killed at operation {step} of {n_steps}"
            check_rest(bench, tally, name, expected, whole.out, why)
    return tally


def save(place: Path, sections: dict[str, Tally], *, smoke: bool, seconds: dict) -> bool:
    """Write what is known so far; return whether it is clean."""
    from charkit.store.manifest import code_version, package_versions

    names = ("tried", "detected", "made_again", "harmless", "silent", "lost", "tracebacks")
    total = {n: sum(getattr(t, n) for t in sections.values()) for n in names}
    whole = {
        "total": total,
        "sections": {name: asdict(tally) for name, tally in sections.items()},
        "seconds": seconds,
        "smoke": smoke,
        "code": code_version(),
        "versions": package_versions(),
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(whole, indent=1) + "\n")
    return all(tally.clean for tally in sections.values())


def attack(place: Path, *, smoke: bool, only: str, resume: bool, seed: int) -> bool:
    """Run the sections and write what came of them; return whether nothing went wrong."""
    import damages
    import hostile

    every: dict[str, Callable[[Bench], Tally]] = {
        "kills": kills,
        "damages": damages.store_damages,
        "files": damages.file_damages,
        "reports": damages.report_damages,
        "hostile_files": hostile.files,
        "hostile_folders": hostile.folders,
    }
    kept = json.loads(place.read_text()) if resume and place.is_file() else {}
    done = {k: Tally(**v) for k, v in kept.get("sections", {}).items() if kept["smoke"] == smoke}
    seconds = dict(kept.get("seconds", {}))
    clean = True
    import_all()
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        root = Path(scratch)
        (root / "data").mkdir()
        bench = Bench(root, Commands(root / "streams"), random.Random(seed), smoke)
        write_data(root / "data")
        for name, section in every.items():
            if (only and name not in only.split(",")) or (name in done and not only):
                continue
            begun = time.monotonic()
            done[name] = section(bench)
            seconds[name] = round(time.monotonic() - begun, 1)
            clean = save(place, done, smoke=smoke, seconds=seconds)
            print(f"{name}: {asdict(done[name])}", flush=True)
            shutil.rmtree(root / "store", ignore_errors=True)
    return clean


def main() -> None:
    """Parse the arguments and attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/robustness.json"))
    parser.add_argument("--smoke", action="store_true", help="a minute instead of a quarter hour")
    parser.add_argument("--only", default="", help="sections, with commas")
    parser.add_argument("--resume", action="store_true", help="keep sections that are in the file")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    clean = attack(
        chosen.out, smoke=chosen.smoke, only=chosen.only, resume=chosen.resume, seed=chosen.seed
    )
    sys.exit(0 if clean else 1)


if __name__ == "__main__":
    main()
