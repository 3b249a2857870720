"""The table of norms of all embedded samples, and the library of known tasks that is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from charkit.answers.library import LibraryEntry, write_library
from charkit.durable import write_whole
from charkit.errors import UsageError
from charkit.fisher.intervals import group_norm_intervals
from charkit.heads.records import write_table
from glue_pilot.samples import EmbeddingStudy, Sample

LARGEST_LIBRARY = 4_000_000
"""Bytes that the two files of a shipped library may take together."""


def norm_rows(sample: Sample) -> list[dict[str, Any]]:
    """Return one row a head and layer; ``layer`` 0 stands for all layers together."""
    known, kind = sample.known, sample.task.kind
    rows = []
    for head_layer, embedding in sample.embeddings.items():
        figures, score = sample.heads[head_layer], sample.scores[head_layer]
        classes = kind == "classification"
        shared = {
            "task": known.task.name,
            "corpus": known.corpus,
            "domain": known.domain,
            "label_kind": known.label_kind,
            "kind": kind,
            "n_classes": embedding.n_classes,
            "n": sample.n,
            "n_samples": embedding.n_samples,
            "draw": sample.draw,
            "head_layer": head_layer,
            "accuracy": score if classes else float("nan"),
            "correlation": float("nan") if classes else score,
            "left_out_score": figures.score,
            "left_out_loss": figures.left_out_loss,
            "strength": figures.strength,
            "converged": figures.converged,
            "estimator": embedding.estimator,
            "frac_truncated": embedding.frac_truncated,
            "stability": embedding.stability.halves,
            "stability_again": embedding.stability.again,
        }
        ends = group_norm_intervals(embedding, n_resamples=400)[["low", "high"]]
        for layer, norm in embedding.norms().join(ends.add_prefix("l2_")).iterrows():
            rows.append(
                shared
                | {"layer": 0 if layer == "all" else int(str(layer))}
                | {str(k): float(v) for k, v in norm.items()}
            )
    return rows


def write_norms(samples: list[Sample], out: Path, *, name: str) -> pd.DataFrame:
    """Write ``<name>.parquet`` and ``.csv``; return the table."""
    table = pd.DataFrame([row for sample in samples for row in norm_rows(sample)])
    write_table(table, out / f"{name}.parquet")
    write_csv(table, out / f"{name}.csv")
    return table


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV with six digits, whole or not at all."""
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_whole(path, text.encode())


# -- the library -----------------------------------------------------------------------------


def build_library(samples: list[Sample], study: EmbeddingStudy, path: Path) -> Path:
    """Write the first draws of a study as a library.

    Args:
        samples: From `embed_study`.
        study: Which sizes and heads.
        path: Where to, without an ending.

    Returns:
        The JSON file.

    Raises:
        UsageError: The library is larger than what is shipped.
    """
    entries = [
        LibraryEntry(
            task=s.known.task.name,
            corpus=s.known.corpus,
            n=s.n,
            seed=0,
            embedding=s.embeddings[layer],
            domain=s.known.domain,
            accuracy=s.scores[layer] if s.task.kind == "classification" else None,
        )
        for s in samples
        if s.draw == 0 and s.n in (study.library_sizes or study.sizes)
        for layer in _heads_of(s, study.library_heads)
    ]
    about = write_library(path, entries)
    n_bytes = sum(p.stat().st_size for p in (about, about.with_suffix(".safetensors")))
    if n_bytes > LARGEST_LIBRARY:
        raise UsageError(
            f"library {about} is too large: expected at most {LARGEST_LIBRARY:,} bytes, got "
            f"{n_bytes:,}. Leave out sizes or heads."
        )
    return about


def _heads_of(sample: Sample, wanted: tuple[int, ...]) -> list[int]:
    last = max(sample.embeddings)
    layers = [layer if layer > 0 else last + 1 + layer for layer in wanted]
    return [layer for layer in layers if layer in sample.embeddings]
