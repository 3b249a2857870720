"""Follow the advice of a refusal to the letter, as a user does who knows nothing else.

`RULES` read a message and change the command or its files by what the message itself names: an
option, a value, a line, an encoding. A case of `tests/charkit/tasks/bad_inputs.py` or
`tests/charkit/cli/bad_commands.py` whose message one of them understands needs nothing more. Any
other case states how its advice is followed, ``follow=function``, which gets an `Attempt` and
changes it; or why there is nothing that a test could follow, ``follow="the reason"``. A case with
neither fails. After at most `ROUNDS` rounds the command must get on, and no message may come twice.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 5
PROJECT = tomllib.loads(
    (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")
)["project"]


@dataclass
class Attempt:
    """A command that was refused.

    Attributes:
        folder: Where its files are.
        arguments: The command line; the task comes first after the command's name.
        message: What the refusal reads.
    """

    folder: Path
    arguments: list[str]
    message: str = ""

    @property
    def file(self) -> Path:
        """The file that the message names first, else the task's."""
        for named in re.findall(r"[^\s:,;]+\.\w+", self.message):
            if (self.folder / Path(named).name).is_file():
                return self.folder / Path(named).name
        return Path(self.arguments[1])

    def set(self, option: str, value: str | None) -> None:
        """Give an option a value (None: it takes none), in the place of the one that it has."""
        self.drop(option)
        self.arguments += [option] if value is None else [option, value]

    def drop(self, option: str) -> None:
        """Leave out an option and its value."""
        while option in self.arguments:
            at = self.arguments.index(option)
            follows = self.arguments[at + 1 : at + 2]
            has_value = bool(follows) and not re.match(r"--?[a-z]", follows[0])
            del self.arguments[at : at + 1 + has_value]

    def replace(self, old: str, new: str) -> None:
        """Put a value in the place of another, also inside an argument."""
        whole = [i for i, a in enumerate(self.arguments) if a == old]
        at = whole or [i for i, a in enumerate(self.arguments) if i and old in a]
        assert at, f"the message names {old!r}, which is no argument: {self.arguments}"
        i = at[-1]
        self.arguments[i] = self.arguments[i].replace(old, new)

    def edit(self, change: Callable[[str], str], name: str | None = None) -> None:
        """Change the text of a file."""
        path = self.file if name is None else self.folder / name
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    def add_rows(self, n: int = 12) -> None:
        """Append good rows of every class that is there, and of one more."""
        path = self.file
        if path.suffix == ".parquet":
            _more_parquet(path, n)
            return
        text = path.read_text(encoding="utf-8")
        whole = text.lstrip().startswith("[")
        mark = next((c for c in "\t;," if c in text.partition("\n")[0]), ",")
        if path.suffix in {".csv", ".tsv"}:
            rows = list(csv.DictReader(io.StringIO(text), delimiter=mark))
        else:
            lines = json.loads(text) if whole else map(json.loads, text.split("\n")[:-1])
            rows = list(lines)
        names = list(rows[0])
        label = next((c for c in names if c in {"label", "stars", "verdict"}), names[-1])
        known = (row[label] for row in rows if isinstance(row[label], str | int))
        seen = list(dict.fromkeys(known))
        seen = [c for c in seen if not isinstance(c, str) or c.strip() not in {"", "nan"}]
        others = [7, 8] if seen and isinstance(seen[0], int) else ["another", "one more"]
        classes = seen if len(seen) > 1 else [*seen, *others[: 2 - len(seen)]]
        new = [
            {c: f"the {c} of a new row {i}" for c in names} | {label: classes[i % len(classes)]}
            for i in range(n * len(classes))
        ]
        if path.suffix in {".csv", ".tsv"}:
            added = "".join(mark.join(str(row[c]) for c in names) + "\n" for row in new)
        else:
            added = "".join(json.dumps(row) + "\n" for row in new)
        more = json.dumps(rows + new) if whole else text.rstrip("\n") + "\n" + added
        path.write_text(more, encoding="utf-8")


class AsFarAsItGoes(Exception):
    """The advice was checked as far as a test can: what is left is to install or to download."""


def _more_parquet(path: Path, n: int) -> None:
    import pandas as pd

    old = pd.read_parquet(path)
    label = old.columns[-1]
    classes = [*dict.fromkeys(old[label]), "another"][:2]
    new = [
        {c: f"the {c} of a new row {i}" for c in old} | {label: classes[i % 2]}
        for i in range(2 * n)
    ]
    pd.concat([old, pd.DataFrame(new)]).to_parquet(path)


Rule = Callable[[Attempt, re.Match[str]], object]


def _install(attempt: Attempt, found: re.Match[str]) -> None:
    name = found[1]
    extra = re.fullmatch(r"charkit\[(\w+)\]", name)
    if extra:
        assert extra[1] in PROJECT["optional-dependencies"], f"there is no extra {extra[1]!r}"
    else:
        named = re.split(r"[<>=]", name)[0]
        everything = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
        assert named in {re.split(r"[<>=]", r)[0] for r in everything}, f"{named} is not ours"
    raise AsFarAsItGoes


def _fetch(attempt: Attempt, found: re.Match[str]) -> None:
    assert any(found[1].rstrip("'.;") in a for a in attempt.arguments), found[0]
    raise AsFarAsItGoes


def _column(attempt: Attempt, found: re.Match[str]) -> None:
    """Take one of the columns found: of several that could be meant the first, else one that is left."""
    columns = re.findall(r"'([^']*)'", found["columns"])
    could = re.search(r"several columns could be the \w+ \((.*?)\)", attempt.message)
    if could:
        columns = re.findall(r"'([^']*)'", could[1])
    else:
        taken = {"text", "body", "sentence", *attempt.arguments}
        columns = [c for c in columns if c not in taken or found["option"] == "--text"]
    assert columns, f"there is no column to name: {attempt.message}"
    attempt.set(found["option"], columns[0])


def _reencode(attempt: Attempt, found: re.Match[str]) -> None:
    path = attempt.file
    path.write_bytes(path.read_bytes().decode(found[1]).encode(found[2]))


def _remove_line(attempt: Attempt, found: re.Match[str]) -> None:
    number = int(found[1])
    attempt.edit(
        lambda text: "".join(
            line for i, line in enumerate(text.splitlines(keepends=True), 1) if i != number
        )
    )


def _other_place(attempt: Attempt, found: re.Match[str]) -> None:
    attempt.set("--out", str(attempt.folder / "another" / "result.safetensors"))


def _write_again(attempt: Attempt, found: re.Match[str]) -> None:
    """Write the file anew, with good rows, in the format of its name."""
    path = attempt.file
    rows = [{"text": f"text number {i}", "label": "ab"[i % 2]} for i in range(12)]
    if ".parquet" in path.name:
        import pandas as pd

        pd.DataFrame(rows).to_parquet(path)
        return
    if ".json" in path.name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        text = "text,label\n" + "".join(f"{r['text']},{r['label']}\n" for r in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def _save_as(attempt: Attempt, found: re.Match[str]) -> None:
    path = Path(attempt.arguments[1]).with_suffix(found[1])
    path.touch()
    attempt.arguments[1], attempt.message = str(path), path.name
    _write_again(attempt, found)


def _one_a_line(attempt: Attempt, found: re.Match[str]) -> None:
    attempt.edit(lambda text: "".join(json.dumps(row) + "\n" for row in json.loads(text)))


def _name_train(attempt: Attempt, found: re.Match[str]) -> None:
    file = Path(attempt.arguments[1]) / found[1]
    file.rename(file.with_name(f"train{file.suffix}"))


def _called(attempt: Attempt, name: str) -> None:
    """Rename the task's file."""
    path = Path(attempt.arguments[1])
    attempt.arguments[1] = str(path.rename(path.with_name(name)))


def _sed(attempt: Attempt, found: re.Match[str]) -> None:
    done = subprocess.run(["sed", found[1], attempt.file], capture_output=True, check=True)
    attempt.file.write_bytes(done.stdout)


def _quotation_marks(attempt: Attempt, found: re.Match[str]) -> None:
    attempt.edit(
        lambda text: re.sub(r"(^|,)['\u201c](.*?)['\u201d](?=,|$)", r'\1"\2"', text, flags=re.M)
    )


def _rename_column(attempt: Attempt, found: re.Match[str]) -> None:
    attempt.edit(lambda text: text.replace(found[1], found[2], 1))


def _shell(attempt: Attempt, found: re.Match[str]) -> None:
    """Run a command on the task's file, and take what it writes."""
    path = Path(attempt.arguments[1])
    new = path.with_name(f"new_{path.name.removesuffix('.gz')}")
    command = found[1].replace(" old", f" '{path}'").replace("> new", f"> '{new}'")
    subprocess.run(["bash", "-c", command], check=True)
    attempt.arguments[1] = str(new)


RULES: list[tuple[str, Rule]] = [
    (r"(gunzip -c old \| .*?> new|sed -e .*? old > new)", _shell),
    (
        r"tail -n \+(\d+) old > new",
        lambda a, m: a.edit(lambda text: "".join(text.splitlines(True)[int(m[1]) - 1 :])),
    ),
    (r"sed '([^']+)' old > new", _sed),
    (r"tr -d '\\000' < old > new", lambda a, m: a.edit(lambda text: text.replace("\0", ""))),
    (r"put them in quotation marks \(\"\) instead", _quotation_marks),
    (r"put a name for it in the first line \(id,", lambda a, m: a.edit(lambda t: "id," + t)),
    (r"[Ll]et its name end in (\.\w+)", lambda a, m: _called(a, f"renamed{m[1]}")),
    (r"Rename it to ([^\s]+\w)", lambda a, m: _called(a, Path(m[1]).name)),
    (r"Rename '([^']+)' to '([^']+)'", _rename_column),
    (
        r"decimal comma: write them with a point",
        lambda a, m: a.edit(lambda text: re.sub(r"(\d),(\d)", r"\1.\2", text)),
    ),
    (r"Download (?:or save it|the file itself) again", lambda a, m: _write_again(a, m)),
    (r"line (\d+): (?!column|a field).*(?:: |, or )remove it\.", lambda a, m: _remove_line(a, m)),
    (r"Label some rows", lambda a, m: a.add_rows()),
    (
        r"(?:[Cc]heck how it was written|[Cc]orrect how the file was written|Write the file again"
        r"|compress it again)",
        _write_again,
    ),
    (r"unknown file format '[^']*': expected one of .*?(\.csv)", _save_as),
    (r"Write it as JSON lines", _one_a_line),
    (
        r"separated by (\w)\w*: save them with commas",
        lambda a, m: a.edit(lambda text: text.replace({"s": ";", "t": "\t"}[m[1]], ",")),
    ),
    (r"Files found: ([^\s,]+\w).*Name one train", _name_train),
    (
        r"got [^,]+, ([\w.]+)\. Remove one of them",
        lambda a, m: (Path(a.arguments[1]) / m[1]).unlink(),
    ),
    (
        r"expected none of (.*?)\. Leave them out",
        lambda a, m: [a.drop(f"--{name}") for name in re.findall(r"\w+", m[1])],
    ),
    (r"got (?P<old>[\d.]+)\. (?P<new>0\.\d+) keeps", lambda a, m: a.replace(m["old"], m["new"])),
    (r"rows for \d+ classes|too few", lambda a, m: a.add_rows()),
    (r'pip install (?:--\S+ )*"?([\w\[\]-]+(?:[<>=]+[\d.]+)?)"?', _install),
    (r"charkit fetch ([^\s']+)", _fetch),
    (r"--out cannot be written.*Choose another", _other_place),
    (
        r"unknown [\w ]+? '(?P<old>[^']+)': did you mean '(?P<new>[^']+)'",
        lambda a, m: a.replace(m["old"], m["new"]),
    ),
    (
        r"unknown [\w ]+? '(?P<old>[^']+)': expected one of (?P<new>[^,.]+)",
        lambda a, m: a.replace(m["old"], m["new"]),
    ),
    (r"No such option: (?P<old>--\w+).*?(?P<new>--\w+)", lambda a, m: a.replace(m["old"], m["new"])),
    (
        r"has no column '[^']*' \(asked for as (?P<role>\w+)\).*Did you mean '(?P<new>[^']+)'",
        lambda a, m: a.set(f"--{m['role']}", m["new"]),
    ),
    (
        r"got '(?P<old>[^']+)', which is not there\. Did you mean (?P<new>\S+)\?",
        lambda a, m: a.replace(m["old"], m["new"]),
    ),
    (r"leave them out with (--[\w-]+) (\w+)", lambda a, m: a.set(m[1], m[2])),
    (r"iconv -f (\S+) -t (\S+)", _reencode),
    (
        r"For texts without labels (?:leave out --label and )?give (--classes) C",
        lambda a, m: (a.drop("--label"), a.set(m[1], "2")),
    ),
    (r"columns found: (?P<columns>.*?)\. Say which one: (?P<option>--\w+) COLUMN", _column),
    (r"(?:Say which: |[Ff]or amounts say )(--kind) (\w+)", lambda a, m: a.set(m[1], m[2])),
    (r"line (\d+).*Correct or remove the line", _remove_line),
    (r"\b(?:[Aa]dd rows|Collect more rows|Label more)\b", lambda a, m: a.add_rows()),
    (r"Give one, as (\S+)\.$", lambda a, m: a.arguments.__setitem__(1, m[1])),
    (r"\b[Ll]eave out (--[\w-]+)", lambda a, m: a.drop(m[1])),
    (r"\b(?:Use|Take|Say|say|Give|give) (--[\w-]+) ([a-z0-9]\w*)", lambda a, m: a.set(m[1], m[2])),
    (
        r"got (?P<old>-?[\d.]+)%?\. (?:Use|Ask for|Say) (?P<new>-?\d[\d.]*\d|\d)",
        lambda a, m: a.replace(m["old"], m["new"]),
    ),
    (
        r"such as (?P<new>[^\s,]+(?:,[^\s,]+)*), got '?(?P<old>[^'.]*)'?\.",
        lambda a, m: a.replace(m["old"], m["new"]),
    ),
    (
        r"expected (?:some of |sizes from )?(?P<new>-?[\d,]+)(?: \([^)]*\))? to [\d,]+.*?got "
        r"\[?(?P<old>-?[\d,]+)\]?",
        lambda a, m: a.replace(m["old"].replace(",", ""), m["new"].replace(",", "")),
    ),
    (
        r"expected (?:[a-z]+ )*at (?:least|most) (?P<new>\d+)(?: \w+|, [^:]*?)?, got (?P<old>-?\d+)",
        lambda a, m: a.replace(m["old"], m["new"]),
    ),
]  # fmt: skip


def follow_advice(
    attempt: Attempt,
    follow: Callable[[Attempt], None] | str | None,
    run: Callable[[Attempt], str],
) -> None:
    """Follow advice until the command gets on.

    Args:
        attempt: The command that was refused, with its message.
        follow: Of the case: how its own advice is followed; or why it cannot be.
        run: Runs the command again and returns the message of its refusal, empty when it got on.
    """
    if isinstance(follow, str):
        assert len(follow.split()) >= 4, "a reason is a sentence"
        return
    seen = {attempt.message}
    for round_ in range(ROUNDS):
        before = (list(attempt.arguments), _content(attempt.folder))
        try:
            if follow is not None and not round_:
                follow(attempt)
            else:
                _by_rule(attempt)
        except AsFarAsItGoes:
            return
        after = (list(attempt.arguments), _content(attempt.folder))
        assert before != after, f"the advice changes nothing: {attempt.message}"
        attempt.message = run(attempt)
        if not attempt.message:
            return
        assert attempt.message not in seen, f"the advice did not help: {attempt.message}"
        seen.add(attempt.message)
    raise AssertionError(f"after {ROUNDS} rounds of advice: {attempt.message}")


def _by_rule(attempt: Attempt) -> None:
    for pattern, rule in RULES:
        found = re.search(pattern, attempt.message, re.DOTALL)
        if found:
            rule(attempt, found)
            return
    raise AssertionError(
        f"no rule of tests/following.py reads this advice, and the case has no 'follow': "
        f"{attempt.message}"
    )


def _content(folder: Path) -> dict[str, bytes]:
    small = (p for p in folder.rglob("*") if p.is_file() and p.stat().st_size < 1_000_000)
    return {str(p): p.read_bytes() for p in sorted(small) if "cache" not in p.parts}
