"""The Python of the quickstart, the README and the notebook runs as it stands."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import charkit

ROOT = Path(__file__).parents[2]


@pytest.fixture
def reviews(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = charkit.generated_task("sentiment", n_train=160, n_eval=20)
    names = [task.class_names[k] for k in task.train.labels]
    frame = pd.DataFrame({"body": task.train.texts, "stars": names})
    frame.to_csv("reviews.csv", index=False)


@pytest.mark.bundled
@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_the_python_of_a_page_runs(page, reviews, bundled_encoder, capsys):
    pytest.importorskip("matplotlib")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert blocks
    exec("\n".join(blocks), {})
    assert Path("results/table.parquet").is_file()


@pytest.mark.bundled
def test_the_notebook_runs(bundled_encoder):
    pytest.importorskip("matplotlib")
    notebook = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text("utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    cells = [cell.replace("%matplotlib inline\n", "") for cell in cells]
    names: dict = {}
    exec("\n".join(cells), names)
    assert "<table" in names["result"]._repr_html_()
    assert names["answer"].signal
    assert not any(c.get("outputs") for c in notebook["cells"])


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_the_links_of_a_page_lead_somewhere(page):
    place = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)\)", place.read_text("utf-8"))
    assert links
    assert not [link for link in links if not (place.parent / link).exists()]
