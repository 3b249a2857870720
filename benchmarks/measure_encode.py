"""Tokens a second of `encode` (all layers) against sentence-transformers (last layer only).

Tokens are counted alike for all: real tokens, special ones included, padding excluded. Every
rate is the median of rounds in which all contestants take turns. The peer is
sentence-transformers' `encode` with its own defaults; the floor is two operations a weight and
token at the measured rate of matrix products.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _figures import RESULTS, Figure, figure, interleaved, print_table, write_figures

from charkit.encoders import LayerStates, compare_states, encode, load_encoder
from charkit.encoders.stream import as_stored

SETS = {"short": ("glue_sst2", 1500), "medium": ("ag_news", 400), "long": ("imdb_small", 90)}
HEAD_TASKS = ("trec6", "glue_sst2")
DTYPES = ("float32", "bfloat16")
WIDTH = 384


@dataclass(frozen=True)
class Texts:
    texts: tuple[str, ...]
    labels: tuple[int, ...] = ()
    pairs: None = None


def generated_texts(n: int, *, words: int, seed: int) -> Texts:
    """Random words; the label is which of six groups of words prevails."""
    rng = np.random.default_rng(seed)
    vocabulary = [f"{a}{b}{c}" for a in "bdfglmnprst" for b in "aeiou" for c in "bdlmnrst"]
    labels = rng.integers(0, 6, n)
    texts = []
    for label in labels:
        length = max(2, int(rng.lognormal(np.log(words), 0.5)))
        own = rng.random(length) < 0.3
        picks = np.where(own, label + 6 * rng.integers(0, 70, length), rng.integers(0, 420, length))
        texts.append(" ".join(vocabulary[i] for i in picks))
    return Texts(tuple(texts), tuple(int(x) for x in labels))


def real_texts(folder: Path, n: int, *, part: str = "train") -> Texts:
    from charkit.tasks import load_task

    task = load_task(folder)
    split = task.train if part == "train" else task.evaluation
    assert split is not None
    assert split.labels is not None
    keep = np.random.default_rng(0).permutation(len(split.texts))[:n]
    return Texts(tuple(split.texts[i] for i in keep), tuple(int(split.labels[i]) for i in keep))


def speed_sets(tasks: Path | None, *, scale: float) -> dict[str, Texts]:
    sets = {}
    for seed, (name, (task, n)) in enumerate(SETS.items()):
        size = max(20, int(n * scale))
        if tasks is not None and (tasks / task).is_dir():
            sets[name] = real_texts(tasks / task, size)
        else:
            words = {"short": 7, "medium": 30, "long": 150}[name]
            sets[name] = generated_texts(size, words=words, seed=seed)
    sets["mixed"] = Texts(tuple(t for s in sets.values() for t in s.texts))
    return sets


def products(dtype: torch.dtype, *, n: int = 15) -> Callable[[], None]:
    """Return a run of ``4 n 2048 WIDTH 4 WIDTH`` operations in the shapes of the encoder."""
    a = torch.randn(2048, WIDTH).to(dtype)
    b = torch.randn(WIDTH, 4 * WIDTH).to(dtype)
    c = torch.randn(4 * WIDTH, WIDTH).to(dtype)

    def run() -> None:
        for _ in range(n):
            (a @ b) @ c

    return run


def contestants(texts: Texts, encoders: dict, peers: dict) -> dict[str, Callable[[], object]]:
    runs: dict[str, Callable[[], object]] = {}
    listed = list(texts.texts)
    for d in DTYPES:
        runs[f"charkit {d}"] = partial(encode, encoders[d], texts)
        runs[f"peer {d}"] = partial(peers[d].encode, listed, show_progress_bar=False)
        runs[f"products {d}"] = products(getattr(torch, d))
    return runs


def set_figures(name: str, rate: dict[str, float], floor: dict[str, float]) -> list[Figure]:
    full, half, unit = rate["charkit float32"], rate["charkit bfloat16"], "tokens/s"
    peer, half_peer = rate["peer float32"], rate["peer bfloat16"]
    return [
        figure(f"encode {name}: float32 / peer float32", full, unit, baseline=peer, bar=1.0),
        figure(f"encode {name}: bfloat16 / peer float32", half, unit, baseline=peer, bar=2.0),
        figure(f"encode {name}: bfloat16 / peer bfloat16", half, unit, baseline=half_peer),
        figure(f"encode {name}: float32 / floor", full, unit, baseline=floor["float32"]),
        figure(f"encode {name}: bfloat16 / floor", half, unit, baseline=floor["bfloat16"]),
    ]


def speed_figures(sets: dict[str, Texts], *, repeats: int) -> tuple[list[Figure], dict]:
    """All layers against the peer's last layer, and against 2 x weights x tokens operations."""
    from sentence_transformers import SentenceTransformer

    encoders = {d: load_encoder(device="cpu", dtype=d) for d in DTYPES}
    folder = str(encoders["float32"].folder)
    peers = {
        d: SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": getattr(torch, d)})
        for d in DTYPES
    }
    n_weights = sum(p.numel() for b in encoders["float32"].blocks for p in b.parameters())
    figures, details = [], {}
    for name, texts in sets.items():
        n_tokens = int(encode(encoders["bfloat16"], texts).n_tokens.sum())
        with torch.inference_mode():
            seconds = interleaved(contestants(texts, encoders, peers), repeats=repeats)
        rate = {k: n_tokens / s for k, s in seconds.items() if "products" not in k}
        flops = {d: 15 * 4 * 2048 * 4 * WIDTH**2 / seconds[f"products {d}"] for d in DTYPES}
        figures += set_figures(name, rate, {d: f / (2 * n_weights) for d, f in flops.items()})
        details[name] = {
            "n_texts": len(texts.texts),
            "tokens_a_text": n_tokens / len(texts.texts),
            "tokens_a_second": rate,
            "matrix_product_flop_a_second": flops,
        }
    return figures, details


def head_accuracies(train: LayerStates, test: LayerStates, y: np.ndarray, z: np.ndarray) -> list:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = []
    for k in range(train.n_layers + 1):
        head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        head.fit(train.layer(k), y)
        found.append(float(head.score(test.layer(k), z)))
    return found


def precision_figures(tasks: Path | None, *, n: int) -> tuple[list[Figure], dict]:
    """How far bfloat16 is from float32: in the states, on disk, and in head accuracy."""
    encoders = {d: load_encoder(device="cpu", dtype=d) for d in DTYPES}
    figures, details = [], {}
    for seed, name in enumerate(HEAD_TASKS):
        if tasks is not None and (tasks / name).is_dir():
            parts = [real_texts(tasks / name, n, part=p) for p in ("train", "test")]
        else:
            parts = [generated_texts(n, words=12, seed=10 * seed + i) for i in range(2)]
        states = {d: [encode(encoders[d], p) for p in parts] for d in DTYPES}
        y, z = (np.asarray(p.labels) for p in parts)
        accuracy = {d: head_accuracies(*states[d], y, z) for d in DTYPES}
        differences = compare_states(states["bfloat16"][0], states["float32"][0])
        half = states["bfloat16"][0].to_numpy()
        stored = as_stored(half, dtype="bfloat16").astype(np.float32)
        lost = np.linalg.norm(stored - half, axis=-1) / np.linalg.norm(half, axis=-1)
        change = np.subtract(accuracy["bfloat16"], accuracy["float32"])
        worst = max(d.largest_relative for d in differences)
        largest = max(d.largest_absolute for d in differences)
        mean_noise = float(np.mean([d.mean_relative for d in differences]))
        figures += [
            figure(f"{name}: bfloat16 states, largest relative difference", worst, "share"),
            figure(f"{name}: bfloat16 states, largest difference", largest, "absolute"),
            figure(
                f"{name}: float16 on disk / bfloat16 noise",
                float(lost.mean()),
                "share",
                baseline=mean_noise,
                bar=0.5,
                at_most=True,
            ),
            figure(f"{name}: bfloat16 heads, mean change", 100 * change.mean(), "points"),
            figure(f"{name}: bfloat16 heads, largest change", 100 * np.abs(change).max(), "points"),
        ]
        details[name] = {
            "n_train": len(y),
            "n_test": len(z),
            "accuracy_by_layer": accuracy,
            "differences_by_layer": [asdict(d) for d in differences],
        }
    return figures, details


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=Path, help="folder of real tasks; default: made-up texts")
    parser.add_argument("--smoke", action="store_true", help="small sizes, nothing is written")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    sets = speed_sets(given.tasks, scale=0.03 if given.smoke else 1.0)
    speed, rates = speed_figures(sets, repeats=1 if given.smoke else given.repeats)
    precision, by_task = precision_figures(given.tasks, n=100 if given.smoke else 1000)
    figures = speed + precision
    print_table(figures)
    if not given.smoke:
        details = {"texts": "real" if given.tasks else "generated", "speed": rates}
        details["precision"] = by_task
        write_figures(RESULTS / "encode.json", figures, details=details)


if __name__ == "__main__":
    main()
