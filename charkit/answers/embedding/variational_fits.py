"""Variational embeddings under several heads, each with how far its search came."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from charkit.config import Progress, staged_by
from charkit.encoders import Encoder
from charkit.fisher import Head, TaskEmbedding, VariationalFit, VariationalOptions, fit_variational
from charkit.fisher.forward import TokenStates
from charkit.fisher.layout import chosen_layers
from charkit.store.durable import write_whole
from charkit.tasks.task import Split

FILE = "fits.json"

DOUBTED_RESIDUAL = 0.1
"""Above this the search is not at its minimum; see `VariationalFit.residual`."""


@dataclass(frozen=True)
class FitDiagnostics:
    """How far a variational search came under one head; see `charkit.fisher.VariationalFit`.

    Attributes:
        head_layer: The layer that the head reads.
        residual: How far the numbers are from the minimum, relative to their size.
        n_steps: Steps that were taken.
        prior_share: Layer -> the prior's mean share of its numbers.
        prior_precision: Layer -> lambda^2.
    """

    head_layer: int
    residual: float
    n_steps: int
    prior_share: dict[int, float]
    prior_precision: dict[int, float]

    def lines(self) -> Iterator[str]:
        """Say how much the prior weighs, and what is to be doubted."""
        low, high = min(self.prior_share.values()), max(self.prior_share.values())
        span = f"{high:.1%}" if f"{low:.1%}" == f"{high:.1%}" else f"{low:.1%} to {high:.1%}"
        yield (
            f"variational: the prior has a share of {span} in a layer's numbers, residual "
            f"{self.residual:.3f} after {self.n_steps:,} steps; compare only with the same beta"
        )
        if self.residual > DOUBTED_RESIDUAL:
            yield (
                f"doubt: the search has not come to rest; a residual of at most "
                f"{DOUBTED_RESIDUAL:g} is wanted. Take more steps"
            )


def fit_each(
    encoder: Encoder,
    split: Split,
    heads: Mapping[int, Head],
    *,
    options: VariationalOptions,
    states: TokenStates | None,
    name: str,
    progress: Progress,
) -> tuple[dict[int, TaskEmbedding], dict[int, FitDiagnostics]]:
    """Fit the noise that weights can bear under each head; each has the layers up to its own.

    Args:
        encoder: The encoder.
        split: What is embedded.
        heads: Layer, 1 to L -> the head that reads it.
        options: Layers, parts, beta, steps.
        states: Token states below the lowest chosen layer, of the same texts.
        name: What tables call the embeddings.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        Layer of the head -> the embedding; and -> its figures.

    Raises:
        UsageError: An argument is out of range.
        DataError: Labels that are needed are missing, or a result is not finite.
        RefusalError: A search has not converged; the fit is attached.
    """
    layers = chosen_layers(options.layers, list(heads), n_layers=encoder.n_layers)
    fits: dict[int, VariationalFit] = {}
    for layer, head in heads.items():
        below = replace(options, layers=tuple(k for k in layers if k <= layer))
        fits[layer] = fit_variational(
            encoder,
            split,
            head,
            head_layer=layer,
            options=below,
            states=states,
            name=name,
            progress=progress if len(heads) == 1 else staged_by(progress, f"(head {layer})"),
        )
    figures = {
        layer: FitDiagnostics(layer, f.residual, options.n_steps, f.prior_share, f.prior_precision)
        for layer, f in fits.items()
    }
    return {layer: f.embedding for layer, f in fits.items()}, figures


def write_fits(folder: Path, figures: Mapping[int, FitDiagnostics]) -> None:
    """Write figures beside the embeddings of an entry."""
    plain = [asdict(f) for f in figures.values()]
    write_whole(folder / FILE, json.dumps(plain, indent=1, sort_keys=True).encode())


def read_fits(folder: Path) -> dict[int, FitDiagnostics]:
    """Return what `write_fits` wrote; nothing for embeddings that were not searched for."""
    if not (folder / FILE).exists():
        return {}
    plain: list[dict[str, Any]] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    for fields in plain:
        for name in ("prior_share", "prior_precision"):
            fields[name] = {int(k): v for k, v in fields[name].items()}
    return {fields["head_layer"]: FitDiagnostics(**fields) for fields in plain}
