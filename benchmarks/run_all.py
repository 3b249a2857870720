"""Run measurements one after another, and print all figures: ``make bench``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=Path, help="folder of real tasks")
    parser.add_argument("--smoke", action="store_true", help="small sizes, no published figures")
    parser.add_argument("--only", nargs="+", help="some measurements, such as encode heads")
    given = parser.parse_args()
    failed = []
    for script in sorted(HERE.glob("measure_*.py")):
        name = script.stem.removeprefix("measure_")
        if given.only and name not in given.only:
            continue
        command = [sys.executable, str(script)]
        command += ["--tasks", str(given.tasks)] if given.tasks else []
        command += ["--smoke"] if given.smoke else []
        print(f"== {name}", flush=True)
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    show()
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def show() -> None:
    from _figures import Figure, print_table

    for path in sorted((HERE / "results").glob("*.json")):
        print(f"\n{path.stem}")
        print_table([Figure(**f) for f in json.loads(path.read_text())["figures"]])


if __name__ == "__main__":
    sys.exit(main())
