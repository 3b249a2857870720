"""The documentation is whole: every page is listed, every link leads somewhere, the sample is real."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_architecture import BANNED

import charkit

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_made_and_has_no_field_left(page):
    blocks = re.findall(r"<!-- (.+): begin -->(.*?)<!-- \1: end -->", page.read_text("utf-8"), re.S)
    assert [name for name, text in blocks if not text.strip() or re.search(r"\{\w+\.", text)] == []


def test_every_page_is_in_the_list_of_pages():
    listed = set(
        re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / "README.md").read_text("utf-8"))
    )
    assert listed == {page.name for page in ROOT.glob("docs/*.md")} - {"README.md"}


def test_the_site_has_every_page():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    pages = [page for section in site["nav"] for name in section for page in section[name]]
    assert sorted(pages) == sorted(page.name for page in ROOT.glob("docs/*.md"))


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    command = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    run = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "charkit.load_task" in (tmp_path / "api" / "index.html").read_text("utf-8")


def test_the_reference_has_every_public_name():
    named = re.findall(r"^::: charkit\.(\w+)$", (ROOT / "docs/api.md").read_text("utf-8"), re.M)
    assert sorted(named) == sorted(set(charkit.__all__) - {"__version__"})


def test_the_list_is_on_the_front_page():
    assert "(docs/README.md)" in (ROOT / "README.md").read_text("utf-8")


def test_the_sample_file_is_a_generated_task():
    task = charkit.generated_task("sentiment", n_train=500, n_eval=20, difficulty=0.8, noise=0.06)
    with open(ROOT / "examples" / "reviews.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [task.class_names[k] for k in task.train.labels[:200]]
    assert [row["body"] for row in rows] == list(task.train.texts)
    assert [row["stars"] for row in rows] == [*names, *[""] * 300]


def test_every_command_of_the_front_page_names_a_file_that_is_there():
    """What a new user copies: no placeholder but in the study, whose texts have no place here."""
    text = (ROOT / "README.md").read_text("utf-8")
    commands = re.findall(r"charkit [a-z]+ (\S+\.csv)", text)
    assert len(commands) >= 7
    assert {place for place in commands} == {"examples/reviews.csv"}


WRITTEN_BY_STUDIES = {"study.md", "embeddings.md", "pilot.md", "scorecard.md"}
"""Pages made of results of earlier runs; their words change when they are made again."""


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_pages_have_no_banned_words(page):
    if page.name in WRITTEN_BY_STUDIES:
        return
    lines = page.read_text("utf-8").splitlines()
    assert not [f"{n}: {line}" for n, line in enumerate(lines, 1) if BANNED.search(line)]
