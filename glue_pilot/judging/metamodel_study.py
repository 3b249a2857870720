"""Fit the metamodel to the meta-dataset, write what ships, and judge it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from charkit.config import Progress, people_name
from charkit.encoders import load_encoder
from charkit.errors import DataError, MissingError
from charkit.heads.sweep.table import write_table
from charkit.store.durable import write_whole
from charkit.store.manifest import available_cores, code_version, package_versions
from metamodel.fit.fitting import FitSettings, fit_metamodel
from metamodel.model import Settings
from metamodel.predict import SHIPPED, load_shipped, metamodel_text
from metamodel.rows import MetaData, join_tables
from metamodel.schema import SchemaError

SHIPPED_NAME = "metadata"
_SHORT = re.compile(r"[^:]+:[0-9a-f]{8}")
_KINDS = ("evidence", "outcomes")


def read_metadata(places: Sequence[Path], name: str, *, short_names: bool = False) -> MetaData:
    """Read ``<name>_evidence.parquet`` and ``<name>_outcomes.parquet`` of folders, one an encoder.

    Args:
        places: The folders.
        name: Of the files.
        short_names: Call encoders that are folders by the folder's name only.

    Raises:
        MissingError: A table is not there.
        DataError: A table does not keep the metamodel's contract.
    """
    tables = {}
    for kind in _KINDS:
        files = [place / f"{name}_{kind}.parquet" for place in places]
        absent = [str(file) for file in files if not file.is_file()]
        if absent:
            raise MissingError(
                f"no meta-dataset: expected {', '.join(absent)}, got no such file. Run: make "
                "metadata TASKS=folder, or give --tables metamodel/shipped."
            )
        tables[kind] = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
        if short_names:
            tables[kind]["encoder"] = tables[kind]["encoder"].map(people_name)
    try:
        return join_tables(tables["evidence"], tables["outcomes"])
    except SchemaError as error:
        raise DataError(f"the meta-dataset cannot be used: {error} Run: make metadata.") from error


def train(
    data: MetaData, *, n_trials: int, out: Path, progress: Progress
) -> tuple[FitSettings, list[dict[str, object]]]:
    """Search settings; trials are kept in ``metamodel_trials.log`` of a folder, to go on later.

    The file's name holds a hash of the table, so trials on another table do not count.
    """
    from metamodel.fit.tune import tune

    rows = pd.util.hash_pandas_object(data.evidence, index=False).to_numpy()
    mark = hashlib.sha256(rows.tobytes() + data.targets.accuracy.tobytes()).hexdigest()[:12]
    journal = out / f"metamodel_trials_{mark}.log"
    return tune(data, n_trials=n_trials, journal=journal, progress=progress)


def write_metamodel(
    data: MetaData, settings: FitSettings, trials: Sequence[dict[str, object]], out: Path
) -> Path:
    """Fit the metamodel and write it with its settings.

    Returns:
        The file ``metamodel.json``; ``settings.json`` lies beside it.
    """
    names = sorted(data.evidence["encoder"].unique())
    encoders = [load_encoder(name).fingerprint for name in names]
    model = fit_metamodel(data, settings, encoders=encoders)
    place = write_whole(out / "metamodel.json", metamodel_text(model).encode())
    made = {"versions": package_versions(), "code": code_version(), "cores": available_cores()}
    record = {"settings": asdict(settings), "trials": list(trials), "encoders": names, **made}
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    write_whole(out / "settings.json", text.encode())
    return place


def read_settings(place: Path) -> FitSettings:
    """Read ``settings.json`` of a folder.

    Raises:
        MissingError: It is not there.
    """
    file = place / "settings.json"
    if not file.is_file():
        raise MissingError(f"no settings: expected {file}, got no such file. Run: make metamodel.")
    given = json.loads(file.read_text(encoding="utf-8"))["settings"]
    fields: dict[str, Any] = {
        name: Settings(**value) if isinstance(value, dict) else value
        for name, value in given.items()
    }
    return FitSettings(**fields)


def ship_tables(tables: Sequence[Path], name: str, out: Path = SHIPPED) -> list[Path]:
    """Write the tables as they ship: parts of tasks named by kind and hash, numbers as float32.

    Args:
        tables: Folders of the meta-dataset, one an encoder.
        name: Of its files.
        out: Where they go.
    """
    written = []
    for kind in _KINDS:
        parts = [pd.read_parquet(place / f"{name}_{kind}.parquet") for place in tables]
        table = pd.concat(parts, ignore_index=True)
        table["subset"] = table["subset"].map(short_name)
        floats = table.select_dtypes(np.float64).columns
        small = table.astype(dict.fromkeys(floats, np.float32))
        place = out / f"{SHIPPED_NAME}_{kind}.parquet"
        write_table(small, place)
        written.append(place)
    card = b"\n".join((place / f"{name}.md").read_bytes() for place in tables)
    return [*written, write_whole(out / f"{SHIPPED_NAME}.md", card)]


def short_name(subset: str) -> str:
    """Return a part's name with a hash for its details; names of classes stay at home.

    A name that has its hash already stays as it is: tables may be shipped again.

    >>> short_name("all"), short_name("classes:yes,no")
    ('all', 'classes:0e54bd84')
    >>> short_name("classes:0e54bd84")
    'classes:0e54bd84'
    """
    if _SHORT.fullmatch(subset):
        return subset
    kind, _, rest = subset.partition(":")
    return f"{kind}:{hashlib.sha256(rest.encode()).hexdigest()[:8]}" if rest else subset


def write_transfer(
    data: MetaData, known: Sequence[str], out: Path, progress: Progress
) -> tuple[Path, list[dict[str, Any]]]:
    """Measure the shipped metamodel under other encoders and write ``transfer.json``.

    Args:
        data: Pilots of corpora that it never saw, under the encoders that it knows and others.
        known: Names of the encoders that it was made for.
        out: Folder.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        The file, and one row an encoder.

    Raises:
        DataError: The tables lack a known encoder, or have no other.
    """
    from metamodel.judge.transfer import FILE, measure_transfer, transfer_text

    shipped = json.loads((SHIPPED / "metamodel.json").read_text(encoding="utf-8"))
    try:
        found = measure_transfer(
            load_shipped(), data, metamodel=shipped["sha256"], known=known, progress=progress
        )
    except ValueError as error:
        raise DataError(f"the tables cannot be used: {error} Give --tables of each.") from error
    return write_whole(out / FILE, transfer_text(found).encode()), list(found.figures)


def write_learners(
    data: MetaData, outcomes: Path, settings: FitSettings, out: Path, progress: Progress
) -> tuple[Path, list[dict[str, Any]]]:
    """Fit what ways of training add to a linear head and write ``learners.json``.

    Args:
        data: The meta-dataset.
        outcomes: Table of what learners reached, as ``make metadata-tuned`` writes it.
        settings: How the metamodel is fitted.
        out: Folder.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        The file, and one row a learner.

    Raises:
        MissingError: The table of outcomes is not there.
        DataError: The tables cannot be used.
    """
    from metamodel.fit.learners import fit_learners
    from metamodel.learners.files import FILE, learners_text

    if not outcomes.is_file():
        raise MissingError(
            f"no outcomes of learners: expected {outcomes}, got no such file. Run: make "
            "metadata-tuned TASKS=folder, or give --outcomes."
        )
    table = pd.read_parquet(outcomes)
    try:
        known = set(data.evidence["encoder"]) & set(table.get("encoder", ()))
        encoders = [load_encoder(name).fingerprint for name in sorted(known)]
        found = fit_learners(data, table, settings, encoders=encoders, progress=progress)
    except ValueError as error:
        raise DataError(f"{outcomes}: {error} Run: make metadata-tuned TASKS=folder.") from error
    rows = [
        {
            "learner": learner.name,
            "features": len(found.figures[learner.name]["features"]),
            **{k: found.figures[learner.name][k] for k in ("corpora", "tasks")},
            **found.figures[learner.name]["intervals"],
        }
        for learner in found.learners
    ]
    return write_whole(out / FILE, learners_text(found).encode()), rows
