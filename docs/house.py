"""Count how the code is built, and write docs/house.md: ``make house``.

Each count is defined in `ROWS`, beside the value that the project wants to reach. The first column
of the page is an older commit, counted once by this script (``--base COMMIT``) and kept in
docs/house.json, so that a clone without history can write the page too.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import subprocess
import tarfile
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PACKAGES = ("charkit", "glue_pilot", "metamodel")
BASE_COMMIT = "486b02e"
"""The commit at which the plan of the redesign was written: what its aims are compared with."""

MANY = 12
"""Parameters that a public function may have; a function with more is counted."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Counts:
    """What is counted in a package; counts of several packages are added.

    Attributes:
        files: Files of Python.
        lines: Their lines, empty ones included.
        code: Lines that are neither empty, nor of a docstring, nor only a comment.
        doc: Lines of docstrings, those of constants and attributes included.
        comments: Lines that hold nothing but a comment.
        classes: Classes; `dataclasses` are those with that decorator.
        imports: Import statements that name one of the three packages.
        used_once: Functions with a leading underscore that their own file names exactly once.
        lengths: Lines of each function, its docstring left out.
        parameters: (parameters, name) of each public function; self and cls are not counted.
    """

    files: int = 0
    lines: int = 0
    code: int = 0
    doc: int = 0
    comments: int = 0
    classes: int = 0
    dataclasses: int = 0
    imports: int = 0
    used_once: int = 0
    lengths: list[int] = field(default_factory=list)
    parameters: list[tuple[int, str]] = field(default_factory=list)

    def __add__(self, other: Counts) -> Counts:
        """Return the counts of both."""
        return Counts(**{name: vars(self)[name] + vars(other)[name] for name in vars(self)})

    def metrics(self) -> dict[str, float | str]:
        """Return the metrics of the page by name: the keys of `ROWS`."""
        thousands = max(self.lines, 1) / 1000
        lengths = sorted(self.lengths) or [0]
        most, where = max(self.parameters, default=(0, ""))
        return {
            "files": self.files,
            "lines": self.lines,
            "code": self.code,
            "doc": self.doc,
            "comments": self.comments,
            "functions": len(self.lengths),
            "median": _at(lengths, 0.5),
            "p95": _at(lengths, 0.95),
            "longest": lengths[-1],
            "classes": self.classes,
            "dataclasses": self.dataclasses,
            "parameters": most,
            "parameters_of": where,
            "with_many": sum(n > MANY for n, _ in self.parameters),
            "imports": round(self.imports / thousands, 1),
            "used_once": round(self.used_once / thousands, 1),
        }


def _at(ordered: list[int], share: float) -> int:
    return ordered[int(share * (len(ordered) - 1))]


@dataclass(frozen=True)
class Row:
    """A row of the page: a metric's key, what it counts, and its aim.

    Attributes:
        at_most: The aim is an upper bound; else a lower one.
    """

    key: str
    words: str
    aim: float | None = None
    at_most: bool = True

    def reached(self, value: float) -> bool | None:
        """Return whether a value reaches the aim; None where there is none."""
        if self.aim is None:
            return None
        return value <= self.aim if self.at_most else value >= self.aim


ROWS = (
    Row("files", "files", 200),
    Row("lines", "lines", 39_000),
    Row("code", "lines of code", 26_000),
    Row("doc", "lines of docstrings"),
    Row("comments", "lines of comments", 400, at_most=False),
    Row("functions", "functions"),
    Row("median", "median length of a function, lines"),
    Row("p95", "95th percentile of the length, lines"),
    Row("longest", "longest function, lines"),
    Row("classes", "classes"),
    Row("dataclasses", "dataclasses", 110),
    Row("parameters", "most parameters of a public function", MANY),
    Row("with_many", f"public functions with more than {MANY} parameters"),
    Row("imports", "own imports in 1,000 lines", 18),
    Row("used_once", "private functions used once in 1,000 lines", 8),
)


def count_text(text: str) -> Counts:
    """Return the counts of one file's text."""
    tree = ast.parse(text)
    lines = text.splitlines()
    doc = {at for start, end in _docstrings(tree) for at in range(start, end + 1)}
    comments = _comment_lines(text)
    empty = {at for at, line in enumerate(lines, 1) if not line.strip()} - doc
    counts = Counts(files=1, lines=len(lines), doc=len(doc), comments=len(comments))
    counts.code = len(lines) - len(doc | comments | empty)
    uses = Counter(name for node in ast.walk(tree) for name in _named(node))
    for node in ast.walk(tree):
        if isinstance(node, Definition):
            _count_function(counts, node, uses)
        elif isinstance(node, ast.ClassDef):
            counts.classes += 1
            counts.dataclasses += any("dataclass" in ast.unparse(d) for d in node.decorator_list)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            counts.imports += _is_own(node)
    return counts


def _count_function(counts: Counts, node: Definition, uses: Counter[str]) -> None:
    own = [end - start + 1 for start, end in _docstrings(node, deep=False)]
    counts.lengths.append((node.end_lineno or node.lineno) - node.lineno + 1 - sum(own[:1]))
    if not node.name.startswith("_") or node.name == "__init__":
        counts.parameters.append((_n_parameters(node), node.name))
    elif not node.name.startswith("__"):
        counts.used_once += uses[node.name] == 1


def _n_parameters(node: Definition) -> int:
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def _docstrings(tree: ast.AST, *, deep: bool = True) -> Iterator[tuple[int, int]]:
    """Yield the first and last line of every string that stands for itself."""
    for node in ast.walk(tree) if deep else getattr(tree, "body", [])[:1]:
        constant = node.value if isinstance(node, ast.Expr) else None
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
            yield constant.lineno, constant.end_lineno or constant.lineno


def _comment_lines(text: str) -> set[int]:
    return {
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and token.line.lstrip().startswith("#")
    }


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr


def _is_own(node: ast.Import | ast.ImportFrom) -> bool:
    names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return any(name.split(".")[0] in PACKAGES for name in names)


def count_folder(folder: Path) -> Counts:
    """Return the counts of all files of Python below a folder."""
    found = (count_text(p.read_text(encoding="utf-8")) for p in sorted(folder.rglob("*.py")))
    return sum(found, Counts())


def measure(root: Path) -> dict[str, dict[str, float | str]]:
    """Return the metrics of each package below `root`, and of "all" together."""
    counts = {name: count_folder(root / name) for name in PACKAGES}
    counts["all"] = sum(counts.values(), Counts())
    return {name: c.metrics() for name, c in counts.items()}


def measure_commit(commit: str) -> dict[str, dict[str, float | str]]:
    """Return the metrics of a commit of this repository."""
    packed = subprocess.run(
        ["git", "archive", commit, "--", *PACKAGES], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(place, filter="data")
        return measure(Path(place))


def page(base: dict[str, Any], now: dict[str, Any]) -> str:
    """Return docs/house.md: the metrics of `base["metrics"]` and of `now` with the aims."""
    lines = [
        "# How the code is built",
        "",
        "How large is the code, and how far is it split up? `make house` counts and writes this page",
        f"(`docs/house.py`). The first column is an older commit, {base['commit']}. Few lines, few",
        "arguments and few jumps between files make code easy to read. The aims come from counts of",
        "curvlinops, setfit, skrub, zuko and three other packages.",
        "",
        "| counted | base | now | aim | reached | " + " | ".join(PACKAGES) + " |",
        "|---" * (5 + len(PACKAGES)) + "|",
    ]
    for row in ROWS:
        value = now["all"][row.key]
        cells = [_number(base["metrics"]["all"][row.key]), _number(value), _aim(row)]
        cells.append({None: "", True: "yes", False: "**no**"}[row.reached(value)])
        cells += [_number(now[package][row.key]) for package in PACKAGES]
        lines.append(f"| {row.words} | {' | '.join(cells)} |")
    lines += [
        "",
        "- Tests, benchmarks, examples and documentation are not counted.",
        "- *Lines of code* are neither empty, nor part of a docstring, nor only a comment.",
        "- The length of a function leaves its docstring out.",
        "- *Own imports* are import statements that name one of the three packages.",
        "- A *private function used once* has a leading underscore, and its file names it once.",
        f"- Most parameters: `{now['all']['parameters_of']}`.",
    ]
    return "\n".join([*lines, ""])


def _aim(row: Row) -> str:
    if row.aim is None:
        return ""
    return f"{'at most' if row.at_most else 'at least'} {_number(row.aim)}"


def _number(value: float) -> str:
    return f"{value:,}"


def main() -> None:
    """Count, print the page and write it; ``--base COMMIT`` counts the first column again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help=f"count the first column at this commit ({BASE_COMMIT})")
    base_commit = parser.parse_args().base
    store = HERE / "house.json"
    if base_commit is not None or not store.is_file():
        commit = base_commit or BASE_COMMIT
        kept = {"commit": commit, "metrics": measure_commit(commit)}
        store.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    base = json.loads(store.read_text(encoding="utf-8"))
    text = page(base, measure(ROOT))
    (HERE / "house.md").write_text(text, encoding="utf-8")
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
