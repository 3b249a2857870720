"""The attack's own parts, and a few tries of it in the normal suite."""

import importlib
import random
from pathlib import Path

import pytest
from damages import damage, mutated

from charkit.errors import DataError
from charkit.heads.sweep.table import read_table, to_frame, write_table
from charkit.store.sealed import check_svg, read_sealed, seal_svg, sealed_json


def test_a_mutation_changes_something_most_of_the_time():
    rng = random.Random(0)
    changed = sum(
        mutated(b"some bytes of a file", rng) != b"some bytes of a file" for _ in range(200)
    )
    assert changed > 190


def readers(folder):
    json_file, table = folder / "a.json", folder / "table.parquet"
    json_file.write_bytes(sealed_json({"n": 3, "accuracy": [0.25, None], "name": "a\u00e9"}))
    rows = [{"task": f"t{i}", "score": i / 7, "n_train": i, "converged": True} for i in range(30)]
    write_table(to_frame(rows), table)
    return [
        (json_file, lambda p: read_sealed(p, p.name, advice="Make it again.")),
        (table, lambda p: read_table(p).to_csv()),
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_no_mutation_of_a_sealed_file_passes_unseen(tmp_path, which):
    path, load = readers(tmp_path)[which]
    kept, want, rng, detected = path.read_bytes(), load(path), random.Random(which), 0
    for _ in range(150):
        how = damage(path, rng)
        try:
            assert load(path) == want, how
        except (DataError, FileNotFoundError):
            detected += 1
        path.write_bytes(kept)
    assert detected > 75


def test_no_mutation_of_a_sealed_drawing_passes_unseen():
    drawing, csv, rng = b"<svg><path d='M 0 0 L 9 9'/></svg>", b"a,b\n1,2\n", random.Random(1)
    sealed = seal_svg(drawing, csv)
    check_svg(sealed, csv, "x.svg", advice="")
    for other in (b"a,b\n1,3\n", b""):
        with pytest.raises(DataError, match="list of numbers"):
            check_svg(sealed, other, "x.svg", advice="")
    for _ in range(300):
        changed = bytearray(sealed)
        changed[rng.randrange(len(drawing))] ^= 1 << rng.randrange(8)
        with pytest.raises(DataError, match="drawing"):
            check_svg(bytes(changed), csv, "x.svg", advice="")


def test_a_file_changed_on_purpose_is_read_without_its_seal(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"n": 3}')
    assert read_sealed(path, "a.json", advice="") == {"n": 3}
    path.write_text('{"n": 3, "sha256": "0"}')
    with pytest.raises(DataError, match="remove its line 'sha256'"):
        read_sealed(path, "a.json", advice="")


def test_the_page_shows_what_was_counted(monkeypatch):
    place = Path(__file__).parents[2] / "docs" / "page_writers"
    monkeypatch.syspath_prepend(place.parent)
    pages = importlib.import_module("page_writers.measured")
    names = ("tried", "detected", "made_again", "harmless", "silent", "lost", "tracebacks")
    counts = dict(zip(names, (1234, 1200, 5, 0, 1, 3, 2), strict=True))
    block = pages.faults_block({"sections": {"kills": counts}, "total": counts})
    numbers = "1,234 | 1,200 | 5 | 0 | 1 | 3 | 2 |"
    assert f"| kills, then the same command again | {numbers}\n| all | {numbers}\n" in block
    page = place.with_name("robustness.md").read_text(encoding="utf-8")
    assert all(page.count(mark) == 1 for mark in pages.FAULTS)
