"""The card of the meta-dataset: what is in it, counted, and what made it.

And what its embeddings and states will take, before it is made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from charkit.encoders import Encoder
from charkit.heads.sweep.cost import encode_seconds, matmul_rate, n_tokens
from charkit.heads.sweep.table import write_table
from charkit.store.durable import write_whole
from charkit.store.manifest import available_cores, code_version, package_versions
from charkit.tasks import Task
from glue_pilot.meta_dataset.study import MetadataStudy
from glue_pilot.meta_dataset.tables import Metadata
from glue_pilot.samples import EmbeddingStudy, KnownTask
from metamodel.schema import EVIDENCE, EVIDENCE_KEYS, OUTCOMES, PILOT_KEY

_JOINED = ["encoder", "task", "subset", "layer"]


def write_metadata(tables: Metadata, studies: Sequence[MetadataStudy], out: Path) -> list[Path]:
    """Write both tables and their card, ``<name>_evidence.parquet`` and so on.

    Args:
        tables: From `glue_pilot.meta_dataset.tables.make_metadata`.
        studies: What made them; the first names the files.
        out: The folder; made when absent.

    Returns:
        The files written: evidence, outcomes, the card, its numbers.
    """
    stem = studies[0].name
    written = [
        out / f"{stem}_evidence.parquet",
        out / f"{stem}_outcomes.parquet",
        out / f"{stem}.md",
        out / f"{stem}.json",
    ]
    counts = count(tables)
    write_table(tables.evidence, written[0])
    write_table(tables.outcomes, written[1])
    write_whole(written[2], card(counts, studies).encode())
    numbers = {
        "counts": counts,
        "seconds": tables.seconds,
        "cores": available_cores(),
        "versions": package_versions(),
        "code": code_version(),
    }
    write_whole(written[3], (json.dumps(numbers, indent=1, sort_keys=True) + "\n").encode())
    return written


def count(tables: Metadata) -> dict[str, Any]:
    """Return what is in the tables, as JSON values."""
    evidence, outcomes = tables.evidence, tables.outcomes
    pilots = evidence.drop_duplicates(PILOT_KEY)
    kinds = pilots.drop_duplicates(["task", "subset"])["subset"].str.partition(":")[0]
    measured = [f.name for f in EVIDENCE[len(EVIDENCE_KEYS) :]]
    return {
        "corpora": int(evidence["corpus"].nunique()),
        "tasks": int(evidence["task"].nunique()),
        "variants": len(kinds),
        "variants_by_kind": {str(k): int(v) for k, v in kinds.value_counts().items()},
        "pilots": len(pilots),
        "pilots_by_n0": {
            str(k): int(v) for k, v in pilots["n0"].value_counts().sort_index().items()
        },
        "pilots_with_fisher": int(pilots["fisher_norm"].notna().sum()),
        "evidence_rows": len(evidence),
        "outcome_rows": len(outcomes),
        "joined_rows": count_joined(evidence, outcomes),
        "known": {name: round(float(evidence[name].notna().mean()), 3) for name in measured},
    }


def count_joined(evidence: pd.DataFrame, outcomes: pd.DataFrame) -> int:
    """Return the number of (pilot, layer, N): a pilot's row and a size not below its own."""
    sizes = outcomes.drop_duplicates([*_JOINED, "n_train"])[[*_JOINED, "n_train"]]
    joined = evidence[[*_JOINED, "n0"]].merge(sizes, on=_JOINED)
    return int((joined["n_train"] >= joined["n0"]).sum())


def card(counts: dict[str, Any], studies: Sequence[MetadataStudy]) -> str:
    """Return the card as a page of Markdown."""
    kinds = ", ".join(f"{kind} {n:,}" for kind, n in counts["variants_by_kind"].items())
    sizes = ", ".join(f"{n0}: {n:,}" for n0, n in counts["pilots_by_n0"].items())
    study = studies[0]
    rows = "; ".join(
        f"{s.n_train:,} training and {s.n_evaluation:,} evaluation rows ({s.name})" for s in studies
    )
    lines = [
        f"# {study.name}: what heads reached, and what pilots knew before",
        "",
        "Numbers only: no text, no label of a single row. `docs/metadata.md` says how it is made.",
        "",
        f"- {counts['tasks']} tasks of {counts['corpora']} corpora under {study.encoder}; "
        f"{counts['variants']:,} variants of them ({kinds})",
        f"- a task has at most {rows}",
        f"- {counts['pilots']:,} pilots (labels: number of pilots; {sizes}), "
        f"{counts['pilots_with_fisher']:,} of them with a Fisher embedding",
        f"- {counts['evidence_rows']:,} rows of evidence, {counts['outcome_rows']:,} of outcomes: "
        f"{counts['joined_rows']:,} rows (pilot, layer, size) when joined",
        "",
        "## Evidence: one row a pilot and layer",
        "",
        "| column | type | unit | meaning | known |",
        "|---|---|---|---|---|",
    ]
    for field in EVIDENCE:
        known = f"{100 * counts['known'].get(field.name, 1.0):.0f} %"
        lines.append(
            f"| `{field.name}` | {field.dtype} | {field.unit} | {field.meaning} | {known} |"
        )
    lines += [
        "",
        "## Outcomes: one row a head",
        "",
        "| column | type | unit | meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{f.name}` | {f.dtype} | {f.unit} | {f.meaning} |" for f in OUTCOMES]
    return "\n".join([*lines, ""])


BACKWARD = 2.0
"""A backward pass takes about twice the operations of the forward pass."""


def metadata_hours(
    study: MetadataStudy, tasks: Sequence[Task], encoder: Encoder
) -> list[dict[str, Any]]:
    """Return the hours of a meta-dataset's stages that run the encoder, all of them to be done.

    Args:
        study: The study.
        tasks: Its tasks, cut to its numbers of rows.
        encoder: The encoder.
    """
    rate = matmul_rate(encoder.device, encoder.dtype)
    encode = embed = 0.0
    for task in tasks:
        length = encoder.text_length(None)
        encode += 2 * n_tokens(task.train, len(task.train), max_length=length)
        if task.evaluation is not None:
            n_eval = len(task.evaluation)
            encode += n_tokens(task.evaluation, n_eval, max_length=length)
        pilots = [(n, study.fisher_draws) for n in study.fisher_pilots]
        pilots += [(n, study.n_variants - 1) for n in study.fisher_variant_pilots]
        n = sum(
            draws * (min(size, study.n_fisher) + min(study.n_unlabelled, study.n_fisher))
            for size, draws in pilots
            if size <= len(task.train)
        )
        longest = min(study.fisher_max_length, encoder.max_length)
        embed += n_tokens(task.train, n, max_length=longest)
    return [
        {"stage": stage, "hours": encode_seconds(encoder, tokens, rate) / 3600}
        for stage, tokens in (("encoding", encode), ("embeddings", (1 + BACKWARD) * embed))
    ]


def embeddings_hours(
    study: EmbeddingStudy, known: Sequence[KnownTask], encoder: Encoder
) -> list[dict[str, Any]]:
    """Return samples, texts and hours of a study of embeddings, one row a size, all to be done."""
    rate = matmul_rate(encoder.device, encoder.dtype)
    longest = min(study.max_length, encoder.max_length)
    rows = []
    for size, draws in zip(study.sizes, study.draws, strict=True):
        heads = len(study.heads_at(size, encoder.n_layers))
        fitting = [k.task for k in known if len(k.task.train) >= size * draws]
        tokens = 0.0
        for task in fitting:
            n = size * draws
            forward = n_tokens(task.train, n, max_length=longest)
            tokens += (2 + heads * BACKWARD) * forward
            if task.evaluation is not None:
                n_eval = min(study.n_eval, len(task.evaluation))
                tokens += draws * n_tokens(task.evaluation, n_eval, max_length=longest)
        rows.append(
            {
                "size": size,
                "samples": draws * len(fitting),
                "texts": draws * size * len(fitting),
                "hours": encode_seconds(encoder, tokens, rate) / 3600,
            }
        )
    return rows
