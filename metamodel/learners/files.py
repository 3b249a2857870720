"""The file of what is known of ways of training."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from metamodel.forecaster import band_from
from metamodel.learners.compare import Elsewhere, Gain, Learner, Learners
from metamodel.predict import SHIPPED, content_hash
from metamodel.ridge import ridge_from

FORMAT = 2
FILE = "learners.json"


def learners_text(found: Learners) -> str:
    """Return the learners as the text of their file."""
    content = {
        "format": FORMAT,
        "encoders": list(found.encoders),
        "names_of_encoders": list(found.names_of_encoders),
        "n_corpora": found.n_corpora,
        "figures": found.figures,
        "elsewhere": None if found.elsewhere is None else asdict(found.elsewhere),
        "learners": [_learner_dict(learner) for learner in found.learners],
    }
    return (
        json.dumps({"sha256": content_hash(content), **content}, sort_keys=True, allow_nan=False)
        + "\n"
    )


def _learner_dict(learner: Learner) -> dict[str, Any]:
    gain = learner.gain
    missing = [[None if np.isnan(v) else float(v) for v in row] for row in learner.missing]
    return {
        "name": learner.name,
        "log_n": gain.log_n.tolist(),
        "mean": gain.mean.tolist(),
        "ridge": None if gain.ridge is None else gain.ridge.to_dict(),
        "band": learner.band.to_dict(),
        "tokens": list(learner.tokens),
        "missing": missing,
    }


def read_learners(path: str | Path) -> Learners:
    """Read what is known of ways of training.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: It is no such file, was changed, or is of another version.
    """
    name = Path(path).name
    try:
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        stated = content.pop("sha256")
        if stated != content_hash(content) or content.pop("format") != FORMAT:
            raise ValueError(f"{name} was changed, or is of another version.")
        found = Learners(
            encoders=tuple(content["encoders"]),
            names_of_encoders=tuple(content["names_of_encoders"]),
            n_corpora=content["n_corpora"],
            learners=tuple(map(_learner_from, content["learners"])),
            figures=content["figures"],
            elsewhere=_elsewhere_from(content["elsewhere"]),
        )
        if found.elsewhere is not None and not set(found.elsewhere.learners) <= set(found.ranges):
            raise ValueError(f"{name} lacks a learner that was measured under other encoders.")
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name} lacks a part: {error!r}.") from error
    return found


def _elsewhere_from(given: dict[str, Any] | None) -> Elsewhere | None:
    if given is None:
        return None
    lists = {name: tuple(given[name]) for name in ("learners", "encoders", "figures")}
    return Elsewhere(**{**given, **lists})


def _learner_from(given: dict[str, Any]) -> Learner:
    ridge = None if given["ridge"] is None else ridge_from(given["ridge"])
    gain = Gain(np.array(given["log_n"], float), np.array(given["mean"], float), ridge)
    missing = np.array(given["missing"], np.float64).reshape(-1, len(gain.log_n))
    low, high = given["tokens"]
    return Learner(given["name"], gain, band_from(given["band"]), missing, (low, high))


@lru_cache(maxsize=1)
def load_learners() -> Learners:
    """Return the ways of training that the package knows.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: It is damaged or of another version.
    """
    return read_learners(SHIPPED / FILE)
