"""Small results of a command, kept in the store: numbers, names and lists of them as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from charkit.config import Progress, no_progress
from charkit.encoders.encoder import Encoder
from charkit.store.cached import cached
from charkit.store.durable import write_whole
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store

_FILE = "values.json"


def kept_values(
    store: Store,
    config: Mapping[str, Any],
    make: Callable[[], Mapping[str, Any]],
    *,
    encoder: Encoder,
    seeds: Mapping[str, int],
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Return named values from the store, making them when they are not there.

    Args:
        store: The store.
        config: All that determines the values; its ``"kind"`` is that of the entry.
        make: Makes the values: numbers, texts, None, and lists or tuples of these.
        encoder: What they were made with, for ``run.json``.
        seeds: Of all chance.
        progress: Called as ``progress(stage, done, total)`` while another process makes them.

    Returns:
        The values; tuples for lists. NaN is kept as null and comes back as None.
    """

    def write(folder: Path) -> dict[str, Any]:
        clock = Clock()
        values = {name: _plain(value) for name, value in make().items()}
        text = json.dumps(values, sort_keys=True, allow_nan=False)
        write_whole(folder / _FILE, text.encode())
        return run_manifest(
            dict(config),
            clock=clock,
            seeds=dict(seeds),
            fingerprints={"encoder": encoder.fingerprint},
            device=encoder.device,
            dtype=encoder.dtype,
        )

    def read(folder: Path) -> dict[str, Any]:
        values = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}

    return cached(store, config["kind"], config, make=write, load=read, progress=progress).value


def number(value: float | None) -> float:
    """Return a number that was kept; None is NaN."""
    return math.nan if value is None else float(value)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
