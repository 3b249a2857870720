"""Encoding, Fisher embeddings and heads on one GPU: ``python benchmarks/gpu.py``, under 8 minutes.

Encoders have the shapes of BERT-base and BERT-large and random weights, so that nothing is
downloaded; texts have 128 tokens. Contestants take turns, and the GPU is waited for at both ends
of a time. Figures are written after each part: what ran is kept if a later part fails.

``--device cpu --smoke`` runs the same code with tiny shapes on any machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _figures import RESULTS, Figure, figure, print_table, write_figures
from _fisher_peers import Probe, floor, loop, vmap_grad

from charkit.encoders import Encoder, encode, load_encoder
from charkit.encoders.tokens import tokenise
from charkit.fisher import FisherOptions, Head, fisher_embedding, fisher_embeddings
from charkit.heads.solver.softmax import fit_softmax
from charkit.tasks.task import Split

N_TOKENS = 128
AGREEMENT = 1e-4
"""Most relative difference of CPU and GPU, both in float32 without TF32."""


@dataclass(frozen=True)
class Sizes:
    """What is run: the published sizes, or tiny ones."""

    shapes: dict[str, tuple[int, int, int]] = field(
        default_factory=lambda: {"BERT-base": (12, 768, 12), "BERT-large": (24, 1024, 16)}
    )
    n_encoded: int = 8192
    n_fisher: int = 1024
    n_peers: int = 64
    n_loop: int = 16
    n_agree: int = 16
    head_rows: tuple[int, ...] = (256, 1024, 4096)
    head_classes: tuple[int, ...] = (2, 20)
    n_peer_heads: int = 2
    repeats: int = 3
    product_rows: int = 16384


TINY = Sizes(
    shapes={"tiny": (2, 64, 2)},
    n_encoded=24,
    n_fisher=16,
    n_peers=4,
    n_loop=2,
    n_agree=4,
    head_rows=(64,),
    head_classes=(2, 3),
    n_peer_heads=1,
    repeats=1,
    product_rows=128,
)


def make_encoder(folder: Path, shape: tuple[int, int, int]) -> Path:
    """Write a BERT of random weights, with the bundled encoder's vocabulary.

    Args:
        folder: Where to.
        shape: Layers, width, attention heads.
    """
    from transformers import AutoTokenizer, BertConfig, BertModel

    layers, width, heads = shape
    bundled = load_encoder("minilm", device="cpu", dtype="float32")
    AutoTokenizer.from_pretrained(bundled.folder).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def texts_of(n: int, *, seed: int = 0) -> Split:
    """Texts that are cut to 128 tokens: random words of one token."""
    words = ("time", "way", "year", "day", "thing", "man", "world", "life", "hand", "part")
    rng = np.random.default_rng(seed)
    return Split(tuple(" ".join(rng.choice(words, 2 * N_TOKENS)) for _ in range(n)), None, None)


def head_of(encoder: Encoder, n_classes: int = 2) -> Head:
    rng = np.random.default_rng(1)
    return Head(0.05 * rng.standard_normal((n_classes, encoder.width)), np.zeros(n_classes))


def waited(run: Callable[[], object], device: str) -> float:
    """Return the wall seconds of a call, the GPU's work included."""
    synchronise = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    synchronise()
    begun = time.perf_counter()
    run()
    synchronise()
    return time.perf_counter() - begun


def in_turns(
    runs: dict[str, Callable[[], object]], device: str, *, repeats: int
) -> dict[str, float]:
    """Return name -> median of the wall seconds; each is called once unmeasured first."""
    for run in runs.values():
        waited(run, device)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats):
        for name in list(runs)[:: -1 if turn % 2 else 1]:
            seconds[name].append(waited(runs[name], device))
    return {name: statistics.median(found) for name, found in seconds.items()}


def products(width: int, device: str, dtype: torch.dtype, rows: int) -> tuple[Callable, float]:
    """Return a run of matrix products in the shapes of the encoder, and its operations."""
    a = torch.randn(rows, width, device=device, dtype=dtype)
    b = torch.randn(width, 4 * width, device=device, dtype=dtype)
    c = torch.randn(4 * width, width, device=device, dtype=dtype)

    def run() -> None:
        for _ in range(20):
            (a @ b) @ c

    return run, 20 * 2 * 2.0 * rows * width * 4 * width


def encode_figures(name: str, encoder: Encoder, sizes: Sizes) -> list[Figure]:
    """Tokens a second, all layers kept, beside 2 x weights x tokens at the rate of products."""
    split = texts_of(sizes.n_encoded)
    run, operations = products(
        encoder.width, encoder.device, next(encoder.model.parameters()).dtype, sizes.product_rows
    )
    with torch.inference_mode():
        took = in_turns(
            {"encode": partial(encode, encoder, split, max_length=N_TOKENS), "products": run},
            encoder.device,
            repeats=sizes.repeats,
        )
    n_weights = sum(p.numel() for block in encoder.blocks for p in block.parameters())
    rate = sizes.n_encoded * N_TOKENS / took["encode"]
    floor_rate = operations / took["products"] / (2 * n_weights)
    return [
        figure(f"{name}: encode / its matrix products", rate, "tokens/s", baseline=floor_rate),
        figure(f"{name}: matrix products", operations / took["products"] / 1e12, "TFLOP/s"),
    ]


def fisher_figures(name: str, encoder: Encoder, sizes: Sizes) -> list[Figure]:
    """Exact embeddings of all layers beside their floor, vmap(grad) and the loop over texts."""
    head, last = head_of(encoder), encoder.n_layers
    split = texts_of(sizes.n_fisher, seed=1)
    options = FisherOptions(max_length=N_TOKENS)
    rows = np.arange(sizes.n_peers)
    tokens = tokenise(encoder, split.texts, None, max_length=N_TOKENS)
    ids = torch.from_numpy(tokens.batch(rows)[0]).to(encoder.device)
    one = {last: head}
    runs: dict[str, Callable[[], object]] = {
        "charkit": partial(fisher_embeddings, encoder, split, one, options=options),
        **{
            f"floor {a}": floor(encoder, split, head, attention=a, max_length=N_TOKENS)
            for a in ("eager", "sdpa")
        },
        "vmap(grad)": partial(vmap_grad(Probe(encoder, head)), ids),
        "loop": partial(loop(Probe(encoder, head)), ids[: sizes.n_loop]),
    }
    took = in_turns(runs, encoder.device, repeats=sizes.repeats)
    rate = sizes.n_fisher / took["charkit"]
    least = min(took["floor eager"], took["floor sdpa"])
    return [
        figure(
            f"{name}: Fisher embedding / forward and backward",
            took["charkit"],
            "s",
            baseline=least,
            bar=1.3,
            at_most=True,
        ),
        figure(
            f"{name}: Fisher embedding / vmap(grad)",
            rate,
            "texts/s",
            baseline=sizes.n_peers / took["vmap(grad)"],
            bar=3.0,
        ),
        figure(
            f"{name}: Fisher embedding / loop over texts",
            rate,
            "texts/s",
            baseline=sizes.n_loop / took["loop"],
            bar=15.0,
        ),
    ]


def head_sample(n: int, n_classes: int, layers: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (layers, n, width) of which a part tells the class, and the classes."""
    rng = np.random.default_rng(n)
    labels = np.arange(n) % n_classes
    means = rng.standard_normal((n_classes, width))
    noise = rng.standard_normal((layers, n, width))
    return (noise + 0.1 * means[labels]).astype(np.float32), labels


def head_figures(name: str, shape: tuple[int, int, int], device: str, sizes: Sizes) -> list[Figure]:
    """Heads a second of all layers, with the penalty chosen: GPU, CPU, and scikit-learn there."""
    from sklearn.linear_model import LogisticRegression

    made = []
    for n in sizes.head_rows:
        for n_classes in sizes.head_classes:
            features, labels = head_sample(n, n_classes, shape[0] + 1, shape[1])
            few = features[: sizes.n_peer_heads]
            heads = fit_softmax(features, labels, n_classes, device=device)
            found = heads.strength.cpu().numpy()[: len(few)]
            seconds = waited(
                partial(fit_softmax, features, labels, n_classes, device=device), device
            )

            def peer(few=few, labels=labels, found=found, n=n) -> None:
                for layer, strength in zip(few, found, strict=True):
                    LogisticRegression(C=1 / (n * float(strength)), max_iter=500).fit(layer, labels)

            on_cpu = waited(partial(fit_softmax, few, labels, n_classes), "cpu")
            sklearn = waited(peer, "cpu")
            rate, what = len(features) / seconds, f"{name}: {n:,} rows, {n_classes} classes"
            made += [
                figure(f"{what}: heads / this CPU", rate, "heads/s", baseline=len(few) / on_cpu),
                figure(
                    f"{what}: heads, penalty chosen / scikit-learn, penalty given",
                    rate,
                    "heads/s",
                    baseline=len(few) / sklearn,
                ),
            ]
    return made


def agreement_figures(name: str, folder: Path, device: str, sizes: Sizes) -> list[Figure]:
    """Largest relative difference of states, embeddings and heads, both machines in float32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    encoders = [load_encoder(str(folder), device=d, dtype="float32") for d in ("cpu", device)]
    split = texts_of(sizes.n_agree, seed=2)
    states = [encode(e, split, max_length=N_TOKENS).to_numpy().astype(float) for e in encoders]
    options = FisherOptions(max_length=N_TOKENS)
    head = head_of(encoders[0])
    fisher = [fisher_embedding(e, split, head, options=options).values for e in encoders]
    features, labels = head_sample(256, 3, 2, encoders[0].width)
    logits = [
        fit_softmax(features, labels, 3, dtype=torch.float64, device=d)
        .logits(features)
        .cpu()
        .numpy()
        for d in ("cpu", device)
    ]
    return [
        figure(
            f"{name}: {what}, CPU and {device}", gap(*pair), "relative", bar=AGREEMENT, at_most=True
        )
        for what, pair in (("states", states), ("embedding", fisher), ("heads", logits))
    ]


def gap(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(one))


def parts(
    folders: dict[str, Path], device: str, dtype: str, sizes: Sizes
) -> Iterator[Callable[[], list[Figure]]]:
    """Yield the measurements, the cheapest first."""
    first = next(iter(folders))
    yield partial(agreement_figures, first, folders[first], device, sizes)
    for name, folder in folders.items():
        encoder = load_encoder(str(folder), device=device, dtype=dtype)
        yield partial(encode_figures, name, encoder, sizes)
        yield partial(fisher_figures, name, encoder, sizes)
    yield partial(head_figures, first, sizes.shapes[first], device, sizes)


def measure(
    device: str, dtype: str, sizes: Sizes, *, seconds: float, out: Path | None
) -> list[Figure]:
    """Run the parts while there is time; write after each."""
    begun, figures = time.monotonic(), []
    details: dict[str, Any] = {"dtype": dtype, "tokens_a_text": N_TOKENS, "left_out": []}
    with tempfile.TemporaryDirectory() as place:
        folders = {
            name: make_encoder(Path(place) / name, shape) for name, shape in sizes.shapes.items()
        }
        for part in parts(folders, device, dtype, sizes):
            if time.monotonic() - begun > seconds:
                details["left_out"].append(f"{part.func.__name__} {part.args[0]}")
                print(f"no time left for {details['left_out'][-1]}", file=sys.stderr)
                continue
            made = part()
            print_table(made)
            figures += made
            if out is not None:
                write_figures(out, figures, details=details)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--seconds", type=float, default=400, help="no part begins after these")
    parser.add_argument("--smoke", action="store_true", help="tiny shapes, nothing is written")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device was found; --device cpu --smoke runs tiny shapes on this machine")
    sizes = TINY if given.smoke else Sizes()
    out = None if given.smoke else given.out
    measure(given.device, given.dtype, sizes, seconds=given.seconds, out=out)


if __name__ == "__main__":
    main()
