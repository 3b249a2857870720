"""Figures of distances: what is near stands together, and nothing is lost on the way."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from charkit.errors import UsageError
from charkit.report.figures.distances import (
    cluster,
    distance_matrix,
    distance_tree,
    distances_of,
    group_colours,
    leaf_order,
)
from charkit.report.figures.map import distance_map, place_labels, place_points

pytest.importorskip("matplotlib")

FIGURES = [distance_matrix, distance_tree, distance_map]


def table(points, names=None):
    points = np.asarray(points, float)
    values = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    names = names or [f"task{k}" for k in range(len(points))]
    return pd.DataFrame(values, index=names, columns=names)


def render(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()


def words(figure):
    return " ".join(" ".join(t.get_text() for t in figure.texts).split())


def test_points_of_a_plane_are_found_again():
    points = np.random.default_rng(0).normal(size=(30, 2))
    wanted = distances_of(table(points))
    points, stress = place_points(wanted)
    assert stress < 1e-3
    np.testing.assert_allclose(distances_of(table(points)), wanted, atol=0.01)


def test_scaling_is_no_worse_than_scikit_learn():
    manifold = pytest.importorskip("sklearn.manifold")
    wanted = distances_of(table(np.random.default_rng(1).normal(size=(25, 6))))
    _, raw = manifold.smacof(wanted, n_components=2, n_init=8, random_state=0, eps=1e-9)
    theirs = (2 * raw / (wanted**2).sum()) ** 0.5
    assert place_points(wanted)[1] <= theirs * 1.01


def test_scaling_repeats_and_takes_two_tasks_or_equal_ones():
    wanted = distances_of(table(np.random.default_rng(2).normal(size=(9, 4))))
    np.testing.assert_array_equal(place_points(wanted)[0], place_points(wanted)[0])
    two, _ = place_points(distances_of(table([[0.0], [3.0]])))
    assert np.hypot(*(two[0] - two[1])) == pytest.approx(3)
    assert np.isfinite(place_points(np.zeros((4, 4)))[0]).all()


def test_the_order_keeps_clusters_together():
    rng = np.random.default_rng(3)
    which = rng.permutation(np.repeat(range(4), 5))
    points = np.eye(4)[which] * 10 + rng.normal(0, 0.1, (20, 4))
    order = leaf_order(table(points, [f"{c}-{k}" for k, c in enumerate(which)]))
    seen = [name[0] for name in order]
    assert sum(a != b for a, b in itertools.pairwise(seen)) == 3


def test_distances_are_made_symmetric_and_not_negative():
    names = ["a", "b", "c"]
    given = pd.DataFrame([[0, -0.1, 2], [0.1, 0, 1], [1, 1, 0]], index=names, columns=names)
    np.testing.assert_allclose(distances_of(given), [[0, 0, 1.5], [0, 0, 1], [1.5, 1, 0]])
    given = given - 1
    assert distances_of(given).min() == 0


@pytest.mark.parametrize(
    "given",
    [
        pd.DataFrame([[0.0]], index=["a"], columns=["a"]),
        pd.DataFrame([[0.0, 1.0], [1.0, 0.0]], index=["a", "b"], columns=["b", "a"]),
        pd.DataFrame([[0.0, np.nan], [1.0, 0.0]], index=["a", "b"], columns=["a", "b"]),
    ],
)
@pytest.mark.parametrize("draw", FIGURES)
def test_no_table_of_distances(draw, given):
    with pytest.raises(UsageError):
        draw(given)


@pytest.mark.parametrize("count", [2, 3, 8, 20, 60])
@pytest.mark.parametrize("draw", FIGURES)
def test_figures_of_few_and_many(draw, count):
    points = np.random.default_rng(count).normal(size=(count, 5))
    names = [f"{'a rather long name of ' * (k % 2)}$task_{k}$" for k in range(count)]
    figure = draw(table(points, names), groups={name: str(k % 9) for k, name in enumerate(names)})
    render(figure)
    assert str(count) in words(figure)
    assert len(figure.numbers) == (count - 1 if draw is distance_tree else count)


def test_the_matrix_shows_what_was_given():
    given = table(np.random.default_rng(5).normal(size=(6, 3)))
    figure = distance_matrix(given)
    shown = figure.numbers.set_index("task")
    pd.testing.assert_frame_equal(shown.loc[given.index, given.columns], given, check_names=False)
    cells = [float(t.get_text()) for t in figure.axes[0].texts]
    assert len(cells) == 30
    assert np.allclose(sorted(cells), sorted(given.to_numpy()[given > 0]), rtol=0.06)


def test_divergences_get_a_scale_of_powers():
    given = table([[0.0], [1.0], [1e4]])
    assert distance_matrix(given).axes[-1].get_xscale() == "log"
    assert distance_matrix(table([[0.0], [1.0], [2.0]])).axes[-1].get_xscale() == "linear"


def test_a_matrix_that_is_not_symmetric_says_so():
    given = table(np.random.default_rng(5).normal(size=(4, 3)))
    assert "Rows: from" not in words(distance_matrix(given))
    given.iloc[0, 1] += 1
    assert "Rows: from; columns: to." in words(distance_matrix(given))


def test_the_tree_joins_at_the_clusters_distances():
    given = table(np.random.default_rng(6).normal(size=(7, 3)))
    figure = distance_tree(given)
    heights = sorted(max(line.get_xdata()) for line in figure.axes[0].lines)
    np.testing.assert_allclose(heights, sorted(cluster(distances_of(given))[:, 2]))


def test_the_map_tells_its_stress():
    figure = distance_map(table(np.random.default_rng(7).normal(size=(40, 30))))
    assert "poorly, see the matrix" in words(figure)
    assert figure.numbers["stress"].iloc[0] > 0.2
    assert "Stress 0.00" in words(distance_map(table(np.random.default_rng(7).normal(size=(9, 2)))))


def test_labels_do_not_cover_each_other():
    rng = np.random.default_rng(8)
    points = rng.uniform(0.5, 4.0, (41, 2))
    widths = rng.uniform(0.2, 1.0, 41)
    centres = place_labels(points, widths, (4.6, 4.6))
    step = np.abs(centres[:, None] - centres[None])
    over = (step[..., 0] < (widths[:, None] + widths) / 2) & (step[..., 1] < 0.135)
    assert (over.sum() - 41) / 2 <= 1
    assert (centres - np.column_stack([widths / 2, np.full(41, 0.06)]) > -0.01).all()


def test_only_groups_of_several_get_a_colour():
    groups = {"a": "x", "b": "x", "c": "y"}
    assert list(group_colours(["a", "b", "c", "d"], groups)) == ["x"]
    assert "share texts" not in words(distance_matrix(table([[0], [1], [3]], ["c", "d", "e"])))
    drawn = distance_matrix(table([[0], [1], [3]], ["a", "b", "c"]), groups=groups)
    assert "share texts" in words(drawn)
