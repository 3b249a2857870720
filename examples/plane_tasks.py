"""The toy of Task2Vec: 64 tasks of telling two colours of a plane apart, embedded and mapped.

After the supplement of Achille and others 2019, "Task2Vec: Task Embedding for Meta-Learning",
section 5 and figure 4. The points of a grid are put into 3 to 16 clusters by k-means, half of the
clusters become one class. Two probes look at the plane: polynomials of degree 3, and 10 random
features max(0, a x + b y + c), a and b uniform in [-1/2, 1/2], c in [-1, 1]. On each a logistic
head is fitted, and the task's embedding is the diagonal of the Fisher information of its weights,

    F_j = mean over points of p (1 - p) phi_j^2.

All tasks share their inputs: only the boundary tells them apart.

    python examples/plane_tasks.py --out FOLDER

writes plane_tasks.png and plane_tasks.csv and prints what it found.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_TASKS = 64
SIDE = 24
CLUSTERS = range(3, 17)
PENALTY = 1e-3
"""Strength of the head's L2 penalty, against the mean loss."""
EPSILON = 1e-6
"""Raises each embedding by this much of its mean, as `charkit.fisher.pairwise` does."""


@dataclass(frozen=True)
class PlaneTask:
    """A task.

    Attributes:
        n_clusters: Of the points.
        labels: 0 or 1, (SIDE * SIDE,), row by row from the bottom.
    """

    n_clusters: int
    labels: IntArray

    @property
    def boundary(self) -> float:
        """Share of neighbouring pairs of points, beside or above each other, that differ."""
        picture = self.labels.reshape(SIDE, SIDE)
        beside = picture[:, 1:] != picture[:, :-1]
        above = picture[1:] != picture[:-1]
        return float(np.concatenate([beside.ravel(), above.ravel()]).mean())


def make_points() -> FloatArray:
    """Return the grid in [-1, 1] x [-1, 1], (SIDE * SIDE, 2)."""
    axis = np.linspace(-1, 1, SIDE)
    x, y = np.meshgrid(axis, axis)
    return np.column_stack([x.ravel(), y.ravel()])


def make_tasks(points: FloatArray, *, seed: int = 0) -> list[PlaneTask]:
    """Return tasks of 3 to 16 clusters, the numbers of clusters taking turns."""
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(seed)
    tasks = []
    for place in range(N_TASKS):
        k = CLUSTERS[place % len(CLUSTERS)]
        state = int(rng.integers(1 << 31))
        clusters = KMeans(k, init="random", n_init=1, random_state=state).fit_predict(points)
        chosen = rng.permutation(k)[: k // 2]
        tasks.append(PlaneTask(k, np.isin(clusters, chosen).astype(np.int64)))
    return tasks


def polynomials(points: FloatArray) -> FloatArray:
    """Return the 10 monomials of degree up to 3, (n, 10)."""
    x, y = points.T
    return np.column_stack([x**i * y**j for i in range(4) for j in range(4 - i)])


def random_relu(points: FloatArray, *, seed: int = 0) -> FloatArray:
    """Return 10 random features, (n, 10); those that are zero everywhere are drawn again."""
    rng = np.random.default_rng(seed)
    found: list[FloatArray] = []
    while len(found) < 10:
        slope, shift = rng.uniform(-0.5, 0.5, 2), rng.uniform(-1, 1)
        feature = np.maximum(0, points @ slope + shift)
        if feature.any():
            found.append(feature)
    return np.column_stack(found)


PROBES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "polynomials of degree 3": polynomials,
    "10 random ReLU features": random_relu,
}


def fit_head(features: FloatArray, labels: IntArray) -> FloatArray:
    """Return p(y = 1 | x) under a converged logistic head, by Newton's method, (n,)."""
    n, d = features.shape
    weights = np.zeros(d)
    for _ in range(50):
        p = 1 / (1 + np.exp(-features @ weights))
        gradient = features.T @ (p - labels) / n + PENALTY * weights
        curvature = (features.T * (p * (1 - p))) @ features / n + PENALTY * np.eye(d)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-10:
            break
    else:
        raise RuntimeError(f"the head did not converge: last step {np.abs(step).max():.1e}.")
    return np.asarray(1 / (1 + np.exp(-features @ weights)))


def embed(features: FloatArray, probabilities: FloatArray) -> FloatArray:
    """Return the diagonal Fisher information of the head's weights, (d,)."""
    spread = probabilities * (1 - probabilities)
    return np.asarray(spread @ features**2 / len(features))


def distances(embeddings: FloatArray) -> FloatArray:
    """Return Task2Vec's distance, 1 - cos(a / (a + b), b / (a + b)), (n, n)."""
    raised = embeddings + EPSILON * embeddings.mean(1, keepdims=True)
    one, other = raised[:, None], raised[None]
    share = one / (one + other)
    lengths = np.linalg.norm(share, axis=2) * np.linalg.norm(1 - share, axis=2)
    found = 1 - (share * (1 - share)).sum(2) / lengths
    np.fill_diagonal(found, 0)
    return np.maximum(found, 0)


def separation(far: FloatArray, simple: NDArray[np.bool_], complicated: NDArray[np.bool_]) -> float:
    """Return how often two tasks of unlike kinds are farther apart than two of one kind."""
    kept = simple | complicated
    kind = simple[kept]
    upper = np.triu_indices(int(kept.sum()), 1)
    unlike = (kind[:, None] != kind[None])[upper]
    ranks = far[np.ix_(kept, kept)][upper].argsort().argsort()[unlike]
    n_unlike = len(ranks)
    lower = ranks.sum() - n_unlike * (n_unlike - 1) / 2
    return float(lower / (n_unlike * (len(unlike) - n_unlike)))


def same_neighbours(
    far: FloatArray, simple: NDArray[np.bool_], complicated: NDArray[np.bool_]
) -> float:
    """Return how often the nearest of both kinds is of one's own kind."""
    kept = np.flatnonzero(simple | complicated)
    among = far[np.ix_(kept, kept)].copy()
    np.fill_diagonal(among, np.inf)
    kind = simple[kept]
    return float((kind[among.argmin(1)] == kind).mean())


def permutation_test(
    far: FloatArray,
    simple: NDArray[np.bool_],
    complicated: NDArray[np.bool_],
    *,
    n_permutations: int = 999,
    seed: int = 0,
) -> float:
    """Return the p-value of `separation` under exchanged kinds."""
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(simple | complicated)
    observed = separation(far, simple, complicated)
    larger = 0
    for _ in range(n_permutations):
        mixed = simple.copy()
        mixed[kept] = rng.permutation(simple[kept])
        other = np.zeros_like(mixed)
        other[kept] = ~mixed[kept]
        larger += separation(far, mixed, other) >= observed
    return (1 + larger) / (1 + n_permutations)


def thirds(boundary: FloatArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which tasks are in the lowest and in the highest third."""
    low, high = np.quantile(boundary, [1 / 3, 2 / 3])
    return boundary <= low, boundary >= high


def run_probe(points: FloatArray, tasks: list[PlaneTask], probe: str) -> tuple[pd.DataFrame, Any]:
    """Return one row a task, and the distances (n, n), of one probe."""
    features = PROBES[probe](points)
    fitted = [fit_head(features, t.labels) for t in tasks]
    embeddings = np.stack([embed(features, p) for p in fitted])
    table = pd.DataFrame(
        {
            "probe": probe,
            "task": np.arange(len(tasks)),
            "n_clusters": [t.n_clusters for t in tasks],
            "boundary": [t.boundary for t in tasks],
            "norm": embeddings.sum(1),
            "accuracy": [
                float(((p > 0.5) == t.labels).mean()) for p, t in zip(fitted, tasks, strict=True)
            ],
        }
    )
    return table, distances(embeddings)


def findings(table: pd.DataFrame, far: FloatArray) -> dict[str, float]:
    """Return what is claimed, of one probe."""
    simple, complicated = thirds(table["boundary"].to_numpy())
    ranks = table[["boundary", "norm", "accuracy", "n_clusters"]].corr("spearman")["norm"]
    return {
        "rank correlation of norm with boundary": float(ranks["boundary"]),
        "rank correlation of norm with clusters": float(ranks["n_clusters"]),
        "rank correlation of norm with accuracy": float(ranks["accuracy"]),
        "nearest neighbour of one's own kind": same_neighbours(far, simple, complicated),
        "separation of simple from complicated": separation(far, simple, complicated),
        "p-value of the separation": permutation_test(far, simple, complicated),
    }


# -- the picture ------------------------------------------------------------------------------


def place_on_map(far: FloatArray, *, seed: int = 0) -> FloatArray:
    """Return t-SNE positions in the unit square, moved apart until thumbnails fit, (n, 2)."""
    from sklearn.manifold import TSNE

    made = TSNE(
        2, metric="precomputed", init="random", perplexity=10, random_state=seed
    ).fit_transform(np.sqrt(far))
    ranks = made - made.min(0)
    places = np.asarray(ranks / ranks.max(0), np.float64)
    for _ in range(400):
        gap = places[:, None] - places[None]
        size = np.abs(gap).max(2) + np.eye(len(places))
        push = np.where(size < 0.088, 0.088 - size, 0)[:, :, None] * np.sign(gap + 1e-12)
        places = np.clip(places + 0.25 * push.sum(1), 0, 1)
    return places


def draw(tasks: list[PlaneTask], found: dict[str, tuple[pd.DataFrame, Any]], path: Path) -> None:
    """Draw maps of thumbnails, and norms against boundaries below them."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8.7), dpi=100, layout="constrained")
    axes = figure.subplots(2, 2, height_ratios=[2.9, 1])
    boundary = np.array([t.boundary for t in tasks])
    norm = mpl.colors.Normalize(boundary.min(), boundary.max())
    shade = mpl.colormaps["viridis"]
    for column, (probe, (table, far)) in enumerate(found.items()):
        _draw_map(axes[0, column], tasks, place_on_map(far), shade(norm(boundary)))
        axes[0, column].set_title(f"{N_TASKS} tasks seen by {probe}", fontsize=13)
        _draw_norms(axes[1, column], table, shade(norm(boundary)))
    figure.colorbar(
        mpl.cm.ScalarMappable(norm, shade),
        ax=axes[0, :],
        label="boundary: share of neighbouring points of unlike class",
        shrink=0.8,
        aspect=40,
        pad=0.01,
    )
    figure.savefig(path)


def _draw_map(axis: Any, tasks: list[PlaneTask], places: FloatArray, colours: FloatArray) -> None:
    half = 0.037
    for task, (x, y), colour in zip(tasks, places, colours, strict=True):
        picture = np.empty((SIDE, SIDE, 3))
        picture[:] = (0.96, 0.95, 0.92)
        picture[task.labels.reshape(SIDE, SIDE) == 1] = colour[:3]
        box = (x - half, x + half, y - half, y + half)
        axis.imshow(picture, extent=box, origin="lower", interpolation="nearest", zorder=2)
        axis.plot(
            [box[0], box[1], box[1], box[0], box[0]],
            [box[2], box[2], box[3], box[3], box[2]],
            color=colour,
            linewidth=1.2,
            zorder=3,
        )
    axis.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), xticks=[], yticks=[], aspect="equal")
    for spine in axis.spines.values():
        spine.set_color("0.85")


def _draw_norms(axis: Any, table: pd.DataFrame, colours: FloatArray) -> None:
    axis.scatter(
        table["boundary"], table["norm"], c=colours, s=42, edgecolor="white", linewidth=0.6
    )
    ranks = table[["boundary", "norm"]].corr("spearman").iloc[0, 1]
    axis.text(0.97, 0.08, f"rank correlation {ranks:.2f}", transform=axis.transAxes, ha="right")
    axis.set(xlabel="boundary", ylabel="L1 norm of the embedding")
    axis.grid(color="0.92")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def main(arguments: list[str] | None = None) -> None:
    """Make tasks, embed them, write the table and the figure, say what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the two files")
    parser.add_argument("--seed", type=int, default=0, help="of the tasks")
    options = parser.parse_args(arguments)
    points = make_points()
    tasks = make_tasks(points, seed=options.seed)
    found = {probe: run_probe(points, tasks, probe) for probe in PROBES}
    options.out.mkdir(parents=True, exist_ok=True)
    rows = pd.concat([table for table, _ in found.values()])
    rows.to_csv(options.out / "plane_tasks.csv", index=False, float_format="%.6g")
    draw(tasks, found, options.out / "plane_tasks.png")
    for probe, (table, far) in found.items():
        print(probe)
        for what, value in findings(table, far).items():
            print(f"  {what}: {value:.3g}")


if __name__ == "__main__":
    main()
