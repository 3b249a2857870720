"""What encoders are called where several are compared."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from charkit.config import RANDOM_PREFIX, distinct_names, people_name
from charkit.encoders.encoder import Encoder

logger = logging.getLogger(__name__)


def named_apart(encoders: Sequence[Encoder]) -> tuple[Encoder, ...]:
    """Return encoders once each, with names that differ and hold no whole path.

    A folder that is named by its whole path is called by its last part, or by as many of its last
    parts as make it differ from the others. The same folder written in two ways is one encoder.

    Args:
        encoders: The encoders, in order.

    """
    kept: dict[tuple[object, int | None], Encoder] = {}
    for encoder in encoders:
        first = kept.setdefault((encoder.folder.resolve(), encoder.random_seed), encoder)
        if first is not encoder:
            logger.warning(
                "%s and %s are the same encoder: it is used once",
                people_name(first.name),
                people_name(encoder.name),
            )
    found = tuple(kept.values())
    prefixes = [RANDOM_PREFIX if e.name.startswith(RANDOM_PREFIX) else "" for e in found]
    names = distinct_names(
        [people_name(e.name).removeprefix(p) for e, p in zip(found, prefixes, strict=True)],
        [e.folder.resolve().parts for e in found],
        apart=prefixes,
    )
    return tuple(
        replace(e, name=p + name) if p + name != e.name else e
        for e, p, name in zip(found, prefixes, names, strict=True)
    )
