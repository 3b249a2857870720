"""One JSON file a metamodel: no code in it, and a hash over its content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from metamodel.choice import LayerChoice
from metamodel.forecaster import Forecaster
from metamodel.intervals import band_from
from metamodel.model import mixture_from_texts
from metamodel.predict import Metamodel
from metamodel.ridge import ridge_from
from metamodel.seen import Seen

FORMAT = 2
_FORECASTERS = ("labelled", "textless", "unlabelled", "evaluation")


def metamodel_text(model: Metamodel) -> str:
    """Return a metamodel as the text of its file."""
    content = {
        "format": FORMAT,
        "encoders": list(model.encoders),
        "seen": {name: list(ends) for name, ends in model.seen.ranges.items()},
        "choice": {"ridge": model.choice.ridge.to_dict(), "tie": list(model.choice.tie)},
        **{name: _forecaster(getattr(model, name)) for name in _FORECASTERS},
    }
    return _json({"sha256": _hash(content), **content}) + "\n"


def metamodel_from(text: str) -> Metamodel:
    """Return the metamodel of a text.

    Raises:
        ValueError: It is not what `metamodel_text` wrote, or another version did.
    """
    try:
        content: dict[str, Any] = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}.") from None
    stored = content.pop("sha256", None) if isinstance(content, dict) else None
    if stored is None:
        raise ValueError("no metamodel: expected an object with a sha256, got something else.")
    if content.get("format") != FORMAT:
        raise ValueError(f"format: expected {FORMAT}, got {content.get('format')!r}.")
    if stored != _hash(content):
        raise ValueError("its content was changed: expected the sha256 that it names.")
    try:
        return _metamodel(content)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a part is missing or of another kind: {error!r}.") from error


def read_metamodel(path: str | Path) -> Metamodel:
    """Read a metamodel.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: It is no metamodel, was changed, or is of another version.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:  # its own form would show the whole file
        raise ValueError(f"not text in UTF-8: {error}.") from None
    return metamodel_from(text)


def _metamodel(content: dict[str, Any]) -> Metamodel:
    choice = content["choice"]
    level, slope = choice["tie"]
    return Metamodel(
        encoders=tuple(content["encoders"]),
        **{name: _forecaster_from(content[name]) for name in _FORECASTERS},
        choice=LayerChoice(ridge_from(choice["ridge"]), (level, slope)),
        seen=Seen({name: (low, high) for name, (low, high) in content["seen"].items()}),
    )


def _forecaster(model: Forecaster) -> dict[str, Any]:
    return {"mixture": model.mixture.to_texts(), **model.band.to_dict()}


def _forecaster_from(given: dict[str, Any]) -> Forecaster:
    return Forecaster(mixture_from_texts(given["mixture"]), band_from(given))


def _json(content: Any) -> str:
    return json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(_json(content).encode()).hexdigest()
