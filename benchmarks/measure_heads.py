"""Heads a second against scikit-learn over a real sweep, with gaps and accuracies.

The sweep: six tasks from 2 to 77 classes (one of pairs), all layers of the bundled encoder,
nested samples of 16 to 4,096 rows, 5 seeds. The peer is too slow for all of it: it runs on two
layers of every task, size and seed, and ours runs on exactly the same heads for the
comparison, besides the full sweep. Two processes of one thread each, for both. Seconds are those
of the calls, inside the processes; the peer gets features that are centred and scaled already.

The peers: (a) LogisticRegressionCV, 5 strengths, 5 stratified folds (plain folds where no class
has five rows); (b) LogisticRegression at the strength that ours chose, at the loosest of three
tolerances that brings the relative objective gap to 1e-4, and at its default tolerance.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _figures import RESULTS, Figure, figure, print_table, write_figures
from joblib import Parallel, delayed, parallel_config

from charkit.encoders import encode, load_encoder
from charkit.heads.solver.leave_one_out import PENALTIES
from charkit.heads.solver.softmax import fit_softmax
from charkit.tasks import load_task, nested_order

TASKS = ("glue_sst2", "glue_cola", "glue_qnli", "ag_news", "trec6", "banking77")
GENERATED = ("sentiment", "paraphrase")
SIZES = tuple(2**k for k in range(4, 13))
SEEDS = 5
GRID = (10.0, 1.0, 0.1, 0.01, 0.001)  # total penalty, 1 / C
TOLERANCES = (1e-4, 1e-5, 1e-6)
POOL, HELD_OUT = 6000, 2000
PROCESSES = 2


@dataclass(frozen=True)
class Case:
    """One training sample of one task; its layers are fitted together."""

    task: str
    seed: int
    n: int
    layers: tuple[int, ...]


@dataclass(frozen=True)
class Data:
    """States of a task on disk, (layers, rows, width), and labels."""

    folder: Path
    task: str

    def states(self, part: str) -> np.ndarray:
        return np.load(self.folder / f"{self.task}_{part}.npy", mmap_mode="r")

    def labels(self, part: str) -> np.ndarray:
        return np.load(self.folder / f"{self.task}_{part}_labels.npy")

    def sample(self, case: Case) -> tuple[np.ndarray, np.ndarray, int]:
        labels = self.labels("train")
        rows = nested_order(labels, seed=case.seed, kind="classification")[: case.n]
        states = self.states("train")
        features = np.stack([states[layer][rows] for layer in case.layers])
        return features, labels[rows], int(labels.max()) + 1

    def held_out(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        states = self.states("test")
        return np.stack([states[layer] for layer in case.layers]), self.labels("test")


def prepare(tasks: Path | None, names: tuple[str, ...], folder: Path, *, pool: int) -> list[Data]:
    """Encode the tasks and lay their states where the processes find them."""
    encoder = load_encoder("minilm")
    prepared = []
    for name in names:
        task = load_task(tasks / name if tasks else f"generated/{name}")
        data = Data(folder, name.replace(":", "_"))
        parts = {"train": (task.train, pool), "test": (task.evaluation, HELD_OUT)}
        for part, (split, most) in parts.items():
            assert split is not None
            assert split.labels is not None
            kept = split.take(nested_order(split.labels, seed=99, kind="classification")[:most])
            states = encode(encoder, kept)
            stacked = np.stack([states.layer(k) for k in range(states.n_layers + 1)])
            np.save(folder / f"{data.task}_{part}.npy", stacked)
            np.save(folder / f"{data.task}_{part}_labels.npy", kept.labels)
        prepared.append(data)
    return prepared


def scaled(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    mean = features.mean(0)
    centred = features - mean
    scale = float(np.sqrt((centred.astype(float) ** 2).sum(1).mean()))
    return centred / np.float32(scale), mean, scale


def objective(
    features: np.ndarray, codes: np.ndarray, weights: np.ndarray, bias: np.ndarray, strength: float
) -> float:
    """The objective in float64; one row of weights for two classes."""
    logits = features.astype(float) @ weights.T.astype(float) + bias
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], 1)
    top = logits.max(1, keepdims=True)
    losses = np.log(np.exp(logits - top).sum(1)) + top[:, 0] - logits[np.arange(len(codes)), codes]
    return float(losses.mean() + strength / 2 * (weights.astype(float) ** 2).sum())


def our_row(case: Case, data: Data, penalties: tuple[float, ...]) -> dict[str, Any]:
    """Fit the layers of a case together; seconds of the fit, accuracies, choices."""
    torch.set_num_threads(1)
    features, labels, n_classes = data.sample(case)
    held_out, truth = data.held_out(case)
    grid = [penalty / case.n for penalty in penalties]
    start = time.perf_counter()
    heads = fit_softmax(features, labels, n_classes, strengths=grid)
    seconds = time.perf_counter() - start
    hits = heads.logits(held_out).argmax(2).numpy() == truth
    chosen = heads.strength.numpy() * case.n
    edge = np.isclose(chosen, max(penalties)) | np.isclose(chosen, min(penalties))
    return {
        "seconds": seconds,
        "accuracy": hits.mean(1).tolist(),
        "penalty": chosen.tolist(),
        "edge": edge.tolist(),
        "tried": float((~heads.scores.isnan()).sum(1).double().mean()),
        "converged": heads.converged.tolist(),
    }


def folds(codes: np.ndarray) -> Any:
    from sklearn.model_selection import KFold

    if np.bincount(codes).max() >= 5:
        return 5
    return KFold(5, shuffle=True, random_state=0)


def peer_cv(case: Case, data: Data) -> dict[str, Any]:
    """LogisticRegressionCV, layer by layer."""
    from sklearn.linear_model import LogisticRegressionCV

    features, labels, _ = data.sample(case)
    held_out, truth = data.held_out(case)
    present, codes = np.unique(labels, return_inverse=True)
    seconds, accuracy = 0.0, []
    for layer in range(len(case.layers)):
        rows, mean, scale = scaled(features[layer])
        model = LogisticRegressionCV(
            Cs=[1 / p for p in GRID], cv=folds(codes), max_iter=10000, use_legacy_attributes=False
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            model.fit(rows, codes)
            seconds += time.perf_counter() - start
        found = present[model.predict((held_out[layer] - mean) / np.float32(scale))]
        accuracy.append(float((found == truth).mean()))
    return {"seconds": seconds, "accuracy": accuracy}


def fixed(case: Case, data: Data, penalties: list[float]) -> list[dict[str, Any]]:
    """Both solvers at one strength a head: seconds and relative objective gaps."""
    torch.set_num_threads(1)
    features, labels, _ = data.sample(case)
    _, codes = np.unique(labels, return_inverse=True)
    n_classes = int(codes.max()) + 1
    result = []
    for layer, penalty in enumerate(penalties):
        strength, raw = penalty / case.n, features[layer : layer + 1]
        rows, _, scale = scaled(raw[0])
        start = time.perf_counter()
        heads = fit_softmax(raw, codes, n_classes, strengths=[strength])
        found = {"ours": time.perf_counter() - start}
        best = fit_softmax(
            raw, codes, n_classes, strengths=[strength], tolerance=1e-9, dtype=torch.float64
        )
        lowest = float(best.objective)
        weights, bias = heads.weights[0].double().numpy(), heads.bias[0].double().numpy()
        if n_classes == 2:
            weights, bias = weights[1:] - weights[:1], bias[1:] - bias[:1]
        mean = raw[0].mean(0, dtype=float)
        value = objective(rows, codes, weights * scale, bias + weights @ mean, strength)
        found["our_gap"] = (value - lowest) / lowest
        result.append(found | peer_fixed(rows, codes, strength, lowest))
    return result


def peer_fixed(
    rows: np.ndarray, codes: np.ndarray, strength: float, lowest: float
) -> dict[str, float]:
    """LogisticRegression at falling tolerances until the gap is 1e-4."""
    from sklearn.linear_model import LogisticRegression

    found: dict[str, float] = {}
    for tolerance in TOLERANCES:
        model = LogisticRegression(C=1 / (len(rows) * strength), tol=tolerance, max_iter=10000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            model.fit(rows, codes)
            found["peer"] = time.perf_counter() - start
        value = objective(rows, codes, model.coef_, model.intercept_, strength)
        found["peer_gap"] = (value - lowest) / lowest
        found.setdefault("peer_default", found["peer"])
        found.setdefault("peer_default_gap", found["peer_gap"])
        if found["peer_gap"] <= 1e-4:
            break
    return found


def in_processes(function: Any, arguments: list[tuple[Any, ...]]) -> tuple[list[Any], float]:
    """Run in two processes of one thread each; the results and the wall seconds."""
    with parallel_config("loky", inner_max_num_threads=1, n_jobs=PROCESSES):
        Parallel()(delayed(abs)(i) for i in range(2 * PROCESSES))  # start the processes
        start = time.perf_counter()
        results = Parallel(batch_size=1)(delayed(function)(*given) for given in arguments)
        return results, time.perf_counter() - start


def cases(
    data: list[Data], *, seeds: int, layers: tuple[int, ...] | None, largest: int
) -> list[tuple[Case, Data]]:
    found = []
    for part in data:
        n_layers, n_rows, _ = part.states("train").shape
        some = layers or tuple(range(n_layers))
        sizes = [n for n in SIZES if n <= min(n_rows, largest)]
        found += [(Case(part.task, s, n, some), part) for n in sizes for s in range(seeds)]
    return sorted(found, key=lambda pair: -pair[0].n)


def compare(chosen: list[tuple[Case, Data]]) -> pd.DataFrame:
    """One row a head: ours, the cross-validated peer, both at a fixed strength."""
    warm = [(Case(c.task, 0, 16, c.layers), d, GRID) for c, d in chosen[:4]]
    in_processes(our_row, warm)
    ours, _ = in_processes(our_row, [(case, data, GRID) for case, data in chosen])
    theirs, _ = in_processes(peer_cv, chosen)
    both, _ = in_processes(
        fixed, [(c, d, o["penalty"]) for (c, d), o in zip(chosen, ours, strict=True)]
    )
    rows = []
    for (case, data), our, peer, at in zip(chosen, ours, theirs, both, strict=True):
        n_classes = int(data.labels("train").max()) + 1
        for k, layer in enumerate(case.layers):
            rows.append(
                {"task": case.task, "classes": n_classes, "n": case.n, "seed": case.seed}
                | {"layer": layer, "ours_cv": our["seconds"] / len(case.layers)}
                | {"peer_cv": peer["seconds"] / len(case.layers)}
                | {"our_accuracy": our["accuracy"][k], "peer_accuracy": peer["accuracy"][k]}
                | at[k]
            )
    return pd.DataFrame(rows)


def comparison_figures(table: pd.DataFrame) -> list[Figure]:
    def rate(column: str) -> float:
        return PROCESSES / float(table[column].mean())

    difference, error = accuracy_difference(table)
    unit = "heads a second"
    return [
        figure("strength chosen", rate("ours_cv"), unit, baseline=rate("peer_cv"), bar=10.0),
        figure("strength fixed, equal gap", rate("ours"), unit, baseline=rate("peer"), bar=2.0),
        figure("strength fixed, peer's default", rate("ours"), unit, baseline=rate("peer_default")),
        figure("test accuracy above the peer's", difference, "points", bar=-0.1),
        figure("its standard error over tasks and seeds", error, "points"),
        figure("largest gap", float(table.our_gap.max()), "relative", bar=1e-4, at_most=True),
        figure("median gap", float(table.our_gap.median()), "relative"),
        figure("largest gap, peer", float(table.peer_gap.max()), "relative"),
        figure("largest gap, peer's default", float(table.peer_default_gap.max()), "relative"),
        figure("median gap, peer's default", float(table.peer_default_gap.median()), "relative"),
    ]


def accuracy_difference(table: pd.DataFrame) -> tuple[float, float]:
    """Mean difference in points, and its standard error with (task, seed) as the unit.

    Sizes and layers of one task and seed share rows, so they are no independent samples.
    """
    points = 100 * (table.our_accuracy - table.peer_accuracy)
    units = points.groupby([table.task, table.seed]).mean()
    return float(points.mean()), float(units.std() / np.sqrt(len(units)))


def sweep_figures(data: list[Data], *, seeds: int, largest: int) -> tuple[list[Figure], Any]:
    """The whole sweep with the default grid, ours alone."""
    chosen = cases(data, seeds=seeds, layers=None, largest=largest)
    results, wall = in_processes(our_row, [(c, d, PENALTIES) for c, d in chosen])
    n_heads = sum(len(case.layers) for case, _ in chosen)
    edge = np.mean([e for r in results for e in r["edge"]])
    done = np.mean([c for r in results for c in r["converged"]])
    frame = pd.DataFrame(
        {
            "classes": int(data.labels("train").max()) + 1,
            "n": case.n,
            "ms": 1e3 * r["seconds"] / len(case.layers),
        }
        for (case, data), r in zip(chosen, results, strict=True)
    )
    by_size = frame.groupby(["classes", "n"]).ms.mean().unstack(0)
    top = by_size.loc[max(by_size.index)]
    high = by_size[by_size.index >= largest // 4]
    figures = [
        figure("full sweep, all layers", n_heads / wall, "heads a second"),
        figure("full sweep", float(n_heads), "heads"),
        figure("full sweep, strength at an edge of the grid", float(edge), "share"),
        figure("full sweep, converged", float(done), "share", bar=1.0),
        figure("growth with rows", float(np.mean([slope(high[c]) for c in high])), "slope"),
        figure("growth with classes, at the largest size", slope(top), "slope"),
    ]
    return figures, {str(c): by_size[c].round(2).to_dict() for c in by_size}


def width_figure(data: Data, *, n: int) -> Figure:
    """Cost against the width, by leaving columns away."""
    torch.set_num_threads(1)
    features, labels, n_classes = data.sample(Case(data.task, 0, n, (3, 4)))
    seconds = {}
    for width in (96, 192, 384):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            fit_softmax(features[..., :width].copy(), labels, n_classes)
            times.append(time.perf_counter() - start)
        seconds[width] = min(times)
    return figure("growth with width", slope(pd.Series(seconds)), "slope")


def slope(seconds: pd.Series) -> float:
    return float(np.polyfit(np.log(seconds.index.astype(float)), np.log(seconds.values), 1)[0])


def by_group(table: pd.DataFrame, column: str) -> dict[str, float]:
    points = 100 * (table.our_accuracy - table.peer_accuracy)
    return {str(k): round(float(v), 3) for k, v in points.groupby(table[column]).mean().items()}


def by_cell(table: pd.DataFrame) -> dict[str, Any]:
    """Milliseconds a head and accuracies by classes and size."""
    means = table.groupby(["task", "n"])[
        ["ours_cv", "peer_cv", "ours", "peer", "peer_default", "our_accuracy", "peer_accuracy"]
    ].mean()
    means.iloc[:, :5] *= 1e3
    return {f"{task} n={n}": row.round(4).to_dict() for (task, n), row in means.iterrows()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=Path, help="folder of real tasks; default: generated ones")
    parser.add_argument("--smoke", action="store_true", help="small sizes, nothing is written")
    given = parser.parse_args()
    names = TASKS if given.tasks else GENERATED
    largest, seeds = (64, 1) if given.smoke else (SIZES[-1], SEEDS)
    with tempfile.TemporaryDirectory() as folder:
        data = prepare(
            given.tasks,
            names[-2:] if given.smoke else names,
            Path(folder),
            pool=200 if given.smoke else POOL,
        )
        layers = (2, 5)
        table = compare(cases(data, seeds=seeds, layers=layers, largest=largest))
        sweep, milliseconds = sweep_figures(data, seeds=seeds, largest=largest)
        width = width_figure(data[-2], n=min(2048, largest))
    figures = [*comparison_figures(table), *sweep, width]
    print_table(figures)
    if not given.smoke:
        details = {
            "tasks": "real" if given.tasks else "generated",
            "compared": f"{len(table)} heads: {seeds} seeds, layers {layers}, every task and size",
            "total_penalties_compared": GRID,
            "accuracy_points_above_the_peer_by_task": by_group(table, "task"),
            "accuracy_points_above_the_peer_by_rows": by_group(table, "n"),
            "accuracy_points_above_the_peer_by_seed": by_group(table, "seed"),
            "milliseconds_and_accuracy": by_cell(table),
            "full_sweep_milliseconds_by_classes_and_rows": milliseconds,
        }
        write_figures(RESULTS / "heads.json", figures, details=details)


if __name__ == "__main__":
    main()
