"""The toy's claim: complicated boundaries have larger norms and lie apart from simple ones."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from charkit.fisher.tape import rows_from_gradient

SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "plane_tasks.py"


@pytest.fixture(scope="module")
def toy():
    spec = importlib.util.spec_from_file_location("plane_tasks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["plane_tasks"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["plane_tasks"]


@pytest.fixture(scope="module", params=[0, 7])
def tasks(toy, request):
    return toy.make_tasks(toy.make_points(), seed=request.param)


def test_the_tasks_are_the_papers(toy, tasks):
    assert len(tasks) == 64
    assert {t.n_clusters for t in tasks} == set(range(3, 17))
    assert all(0 < t.labels.mean() < 1 for t in tasks)
    points = toy.make_points()
    assert toy.polynomials(points).shape == toy.random_relu(points).shape == (len(points), 10)


@pytest.mark.parametrize("probe", ["polynomials of degree 3", "10 random ReLU features"])
def test_complicated_boundaries_have_larger_norms_and_lie_apart(toy, tasks, probe):
    table, far = toy.run_probe(toy.make_points(), tasks, probe)
    ranks = table[["boundary", "norm", "accuracy"]].corr("spearman")["norm"]
    assert ranks["boundary"] > 0.7
    assert ranks["accuracy"] < -0.7
    simple, complicated = toy.thirds(table["boundary"].to_numpy())
    assert toy.separation(far, simple, complicated) > 0.55
    assert toy.same_neighbours(far, simple, complicated) > 0.65
    assert toy.permutation_test(far, simple, complicated, n_permutations=199) <= 0.01


def test_kinds_dealt_at_random_do_not_lie_apart(toy, tasks):
    table, far = toy.run_probe(toy.make_points(), tasks, "polynomials of degree 3")
    simple, complicated = toy.thirds(np.random.default_rng(0).random(len(table)))
    assert toy.permutation_test(far, simple, complicated, n_permutations=99) > 0.02


def test_the_embedding_is_our_row_formula(toy):
    """Each feature as a matrix of one weight: the mean squared gradient over labels."""
    points = toy.make_points()
    features = toy.polynomials(points)
    p = np.linspace(0.05, 0.95, len(points))
    gradients = torch.tensor(np.sqrt(p * (1 - p)))[:, None, None]
    expected = [
        rows_from_gradient(torch.tensor(phi)[:, None, None], gradients).mean() for phi in features.T
    ]
    np.testing.assert_allclose(toy.embed(features, p), expected, rtol=1e-10)


def test_distances_are_those_of_the_library(toy):
    from test_distances import embedding

    from charkit.fisher import pairwise

    numbers = np.random.default_rng(0).lognormal(0, 1.5, (6, 10))
    expected = pairwise([embedding(row, f"t{i}") for i, row in enumerate(numbers)])
    np.testing.assert_allclose(toy.distances(numbers), expected, atol=1e-12)


def test_it_writes_its_files_and_says_what_it_found(toy, tmp_path, capsys):
    toy.main(["--out", str(tmp_path)])
    table = pd.read_csv(tmp_path / "plane_tasks.csv")
    assert len(table) == 2 * 64
    assert (tmp_path / "plane_tasks.png").stat().st_size > 10_000
    assert "rank correlation of norm with boundary" in capsys.readouterr().out
