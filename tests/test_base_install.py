"""Without any extra the commands answer: their packages cannot be imported here."""

import subprocess
import sys

import pytest

from charkit.machine import EXTRAS

CODE = """
import json, sys
sys.modules.update(dict.fromkeys({missing!r}))
from typer.testing import CliRunner
from charkit.cli.app import app
for command in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, command)
    print(command[0], result.exit_code, flush=True)
    if result.exit_code not in (0, 5):
        sys.exit(result.output)
"""


@pytest.mark.slow
def test_every_command_answers_without_extras(tiny_bert, tmp_path):
    import json

    data, pool, cache = tmp_path / "data.csv", tmp_path / "half.csv", tmp_path / "cache"
    rows = [f"the cat is {i} {('good', 'bad')[i % 2]},{'ab'[i % 2]}" for i in range(60)]
    data.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    half = [row if i < 40 else row[:-1] for i, row in enumerate(rows)]
    pool.write_text("text,label\n" + "\n".join(half) + "\n", encoding="utf-8")
    encoder = ["-e", str(tiny_bert), "--cache-dir", str(cache)]
    out = tmp_path / "answer"
    commands = [
        ["estimate", str(data), *encoder, "--out", str(out)],
        ["layers", str(data), *encoder, "--seeds", "0"],
        ["sweep", str(data), *encoder, "--sizes", "16", "--seeds", "0", "--out", str(out)],
        ["embed", str(data), *encoder],
        ["encode", str(data), *encoder],
        ["next", str(pool), *encoder, "--strategy", "random", "-n", "3"],
        ["doctor", "--cache-dir", str(cache)],
    ]
    code = CODE.format(missing=[module for module, _, _ in EXTRAS.values()])
    command = [sys.executable, "-c", code, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [c[0] for c in commands]
    assert {"answer.json", "report.html", "table.parquet"} <= {p.name for p in out.iterdir()}
