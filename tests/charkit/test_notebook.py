"""The example notebooks are valid, hold no outputs, and their cells run."""

import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
COMMON = {"cell_type", "id", "metadata", "source"}


def cells_of(path, kind):
    notebook = json.loads(path.read_text("utf-8"))
    return [c for c in notebook["cells"] if c["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_a_notebook_keeps_its_format(path):
    """The rules of nbformat 4.5 that a hand can break."""
    notebook = json.loads(path.read_text("utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        code = cell["cell_type"] == "code"
        assert set(cell) == COMMON | ({"execution_count", "outputs"} if code else set())
        assert all(isinstance(line, str) for line in cell["source"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_a_notebook_is_valid_by_nbformat(path):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbformat.validate(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_a_notebook_holds_no_outputs(path):
    for cell in cells_of(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@pytest.mark.slow
@pytest.mark.bundled
def test_the_cells_of_the_example_run(bundled_encoder, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("lightgbm")
    monkeypatch.chdir(tmp_path)
    sources = ["".join(c["source"]) for c in cells_of(EXAMPLES / "charkit.ipynb", "code")]
    small = "\n".join(sources).replace("%matplotlib inline\n", "")
    small = small.replace("n_train = 240", "n_train = 64")
    small = small.replace("n_eval=400", "n_eval=60").replace("n_eval=100", "n_eval=20")
    assert "n_train = 64" in small
    names: dict = {}
    exec(small, names)
    assert "<p>" in names["answer"]._repr_html_()
    assert "<table" in names["distances"]._repr_html_()
    assert (tmp_path / "answer" / "report.html").stat().st_size < 2_000_000
