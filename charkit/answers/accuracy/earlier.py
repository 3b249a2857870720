"""Estimate, label more, estimate again: what earlier answers predicted, and what is found now.

An answer keeps a digest of each labelled row, and what every answer before it predicted. So the
next one knows whether the earlier rows are still there, unchanged, whatever the file is called and
in whatever order its rows stand. Both sides are answers as JSON holds them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charkit.answers.quantities import exact_percent, percent, rough, span
from charkit.config import listing, printable
from charkit.errors import MissingError
from charkit.store.sealed import read_sealed, reading
from charkit.tasks.assemble import row_keys, without_repeats
from charkit.tasks.task import Task, hash_strings

ANSWER = "answer.json"
"""The file of a folder that holds an answer."""

MOST_ROUNDS = 12
"""Earlier answers that are kept, the latest ones. A choice: doublings from 16 to 65,536 labels."""

_DIGITS = 12  # of a row's digest: of 100,000 rows two are alike by chance once in 50,000 files
_SHOWN_ROWS = 5  # a choice: a sentence has room for them
_SHOWN_CHANCES = 4  # likewise
_ADVICE = "Choose another folder, or remove the file."
_SAME = ("n", "mean", "low", "high")


@dataclass(frozen=True)
class Earlier:
    """What earlier answers about the same rows predicted, next to what is expected now.

    Attributes:
        rounds: One an earlier answer, the oldest first: ``n`` (its labels), ``encoder``, ``layer``,
            ``n_classes``, ``trustworthy``, ``curve`` (its prediction: n, mean, low, high),
            ``labels_for_target``, ``budgets``, ``plan``; then what is made of it today:
            ``predicted`` (of it for today's labels) and ``now`` (n, mean, low, high), ``found``
            (``"inside"``, ``"above"`` or ``"below"`` its range), ``chances`` (n, ``then``, ``now``:
            of the same target), ``needed_now`` (labels for the
            same target), ``n_classes_now``, ``reason`` (why it is not compared; null where it is).
        reason: Why nothing is compared; empty otherwise.
    """

    rounds: tuple[Mapping[str, Any], ...] = ()
    reason: str = ""

    @property
    def latest(self) -> Mapping[str, Any] | None:
        """The latest answer that is compared; None where none is."""
        return next((r for r in reversed(self.rounds) if r["predicted"]), None)

    @property
    def short(self) -> str | None:
        """The outcome of the latest prediction as a sentence; None where there is nothing."""
        if self.latest is not None:
            return _outcome_sentence(self.latest)
        reason = self.reason or next((r["reason"] for r in reversed(self.rounds)), "")
        return f"Not compared with the earlier answer: {reason}." if reason else None

    def lines(self) -> list[str]:
        """Return what else the earlier answers show: labels needed, chances, older predictions."""
        if self.latest is None:
            return []
        others = [r for r in self.rounds if r["predicted"] and r is not self.latest]
        left_out = [f"Not compared: {r['reason']}" for r in self.rounds if r["reason"]]
        return [
            *_plan_lines(self.latest),
            *_new_classes(self.latest),
            *map(_outcome_sentence, reversed(others)),
            *left_out,
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the rounds and the reason as JSON can hold them."""
        return {"rounds": [dict(r) for r in self.rounds], "reason": self.reason or None}


def digests_of(sample: Task) -> dict[str, Any]:
    """Return what later answers recognise the labelled rows of a sample by.

    Args:
        sample: From `charkit.tasks.card.load_sample`.

    Returns:
        ``unit`` (of places in the file), ``classes``, and ``rows``: place, digest of the text or of
        both texts of a pair, and class code of each different row, joined by colons and blanks.
    """
    rows = without_repeats(sample.train)
    codes = [] if rows.labels is None else rows.labels.tolist()
    where = rows.where()
    keys = [(key,) if isinstance(key, str) else key for key in row_keys(rows)]
    joined = " ".join(
        f"{place}:{hash_strings(key).hex()[:_DIGITS]}:{code}"
        for place, key, code in zip(where.numbers, keys, codes, strict=True)
    )
    return {"unit": where.unit, "classes": list(sample.class_names), "rows": joined}


def read_earlier(place: str | Path) -> dict[str, Any]:
    """Return an answer that `charkit estimate` wrote.

    Args:
        place: The file, or the folder that was given with ``--out``.

    Raises:
        MissingError: There is no such file.
        DataError: It is damaged, was changed, or is no answer of charkit.
    """
    file = Path(place)
    file = file / ANSWER if file.is_dir() else file
    where = str(file)
    try:
        whole = read_sealed(file, where, advice=_ADVICE)
    except FileNotFoundError as error:
        raise MissingError(
            f"no earlier answer: expected the folder of an earlier 'charkit estimate --out', or "
            f"its {ANSWER}, got {printable(where)}. Check the path."
        ) from error
    with reading(where, "what 'charkit estimate --out' writes", advice=_ADVICE):
        for each in (_round(whole), *(whole.get("earlier") or {}).get("rounds", ())):
            _check_round(each)
        _rows(whole.get("labelled_rows"))
    return whole


def compare(now: Mapping[str, Any], before: Mapping[str, Any]) -> Earlier:
    """Compare what an earlier answer, and those before it, predicted with an answer of today.

    Args:
        now: The answer of today, from `EstimateAnswer.to_dict`.
        before: The earlier one.
    """
    reason = _unlike(before, now)
    if reason:
        return Earlier(reason=reason)
    rounds = [*(before.get("earlier") or {}).get("rounds", ()), _round(before)]
    own = (now["n"], now["encoder"])
    kept = {(r["n"], r["encoder"]): r for r in rounds if (r["n"], r["encoder"]) != own}
    return Earlier(tuple(_outcome(r, now) for r in list(kept.values())[-MOST_ROUNDS:]))


def _round(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of an answer."""
    own = [row for row in answer["curve"] if row["layer"] == answer["layer"]]
    return {
        **{name: answer[name] for name in ("n", "encoder", "layer", "n_classes", "trustworthy")},
        "curve": [{name: row[name] for name in _SAME} for row in own],
        **{name: answer.get(name) for name in ("labels_for_target", "budgets", "plan")},
    }


def _check_round(kept: Mapping[str, Any]) -> None:
    """Raise whatever Python raises where something is missing or no number."""
    curve = np.array([[row[name] for name in _SAME] for row in kept["curve"]], np.float64)
    chances = [[row["n"], row["probability"]] for row in kept["budgets"] or ()]
    target = [] if kept["labels_for_target"] is None else [kept["labels_for_target"]["target"]]
    numbers = np.array([kept["n"], *target, *np.ravel(chances)], np.float64)
    if not len(curve) or not (np.isfinite(curve).all() and np.isfinite(numbers).all()):
        raise ValueError("a curve without numbers")
    if (curve[:, 0] < 1).any() or not isinstance(kept["encoder"], str):
        raise ValueError("a curve of no labels, or an encoder without a name")


def _rows(labelled: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """Return place, digest and class of each labelled row."""
    if labelled is None:
        return []
    classes = labelled["classes"]
    parts = [part.split(":") for part in labelled["rows"].split()]
    return [(place, digest, classes[int(code)]) for place, digest, code in parts]


def _unlike(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return why an earlier answer is not about some of the rows of today's; empty if it is."""
    labelled = before.get("labelled_rows")
    if labelled is None:
        return "it is of an older version, which kept no rows"
    if before.get("metric", "accuracy") != now["metric"]:
        return f"it predicted {printable(str(before['metric']))}, this one {now['metric']}"
    old, new = _rows(labelled), _rows(now["labelled_rows"])
    if not old:
        return "it had no labels, so there is no row to know its file by"
    found: dict[str, dict[str, str]] = {}
    for place, digest, name in new:
        found.setdefault(digest, {})[name] = place
    gone = [place for place, digest, _ in old if digest not in found]
    if len(gone) == len(old):
        return f"it was about other texts: none of its {len(old):,} labelled rows is here"
    relabelled = [
        min(found[digest].values(), key=int)
        for _, digest, name in old
        if digest in found and name not in found[digest]
    ]
    if not gone and not relabelled:
        return ""
    parts = []
    lost = [name for name in labelled["classes"] if name not in now["labelled_rows"]["classes"]]
    if lost:
        parts.append(f"no row is of {listing(lost)} any more")
    unit = now["labelled_rows"]["unit"]
    if relabelled:
        rows = f"{len(relabelled):,} of its {len(old):,} rows"
        parts.append(f"{rows} have another label now ({_places(unit, relabelled)})")
    if gone:
        then = _places(labelled["unit"], gone)
        parts.append(
            f"{len(gone):,} of its {len(old):,} rows were changed, or are no longer labelled or "
            f"there ({then} of the file as it was)"
        )
    return "; ".join(parts)


def _places(unit: str, places: Sequence[str]) -> str:
    shown = ", ".join(f"{int(place):,}" for place in sorted(places, key=int)[:_SHOWN_ROWS])
    more = f" and {len(places) - _SHOWN_ROWS:,} more" if len(places) > _SHOWN_ROWS else ""
    return f"{unit}{'' if len(places) == 1 else 's'} {shown}{more}"


def _outcome(kept: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return an earlier answer with what is made of it today."""
    here = next(row for row in now["accuracy"] if row["n"] == now["n"])
    curve = kept["curve"]
    reason = None
    if kept["encoder"] != now["encoder"]:
        reason = f"the answer with {kept['n']:,} labels was of encoder {printable(kept['encoder'])}"
    elif not kept["trustworthy"]:
        reason = f"the answer with {kept['n']:,} labels was not to be used"
    elif now["n"] > curve[-1]["n"] or now["n"] < curve[0]["n"]:
        ends = f"{curve[0]['n']:,} to {curve[-1]['n']:,}"
        reason = f"the answer with {kept['n']:,} labels spoke of {ends} labels only"
    found: dict[str, Any] = {"predicted": None, "now": None, "found": None, "chances": []}
    if reason is None:
        predicted = {"n": now["n"]} | {
            name: _between(curve, name, now["n"]) for name in ("mean", "low", "high")
        }
        below, above = here["mean"] < predicted["low"], here["mean"] > predicted["high"]
        found = {
            "predicted": predicted,
            "now": {name: here[name] for name in _SAME},
            "found": "below" if below else "above" if above else "inside",
            "chances": _chances(kept, now),
        }
    needs = {"needed_now": now["labels_for_target"]} if _same_target(kept, now) else {}
    return {
        **kept,
        "n_classes_now": now["n_classes"],
        "needed_now": None,
        **found,
        **needs,
        "reason": reason,
    }


def _same_target(kept: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    one, other = kept["labels_for_target"], now["labels_for_target"]
    return bool(one and other and math.isclose(one["target"], other["target"]))


def _between(rows: Sequence[Mapping[str, Any]], name: str, n: float) -> float:
    """Return a value of a curve at a number of labels, straight in the logarithm between points."""
    sizes = np.log([row["n"] for row in rows])
    return float(np.interp(np.log(n), sizes, [row[name] for row in rows]))


def _chances(kept: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, float]]:
    """Return the probability of the same target at today's budgets, then and now."""
    old = kept["budgets"] or ()
    if not _same_target(kept, now) or not old:
        return []
    return [
        {"n": row["n"], "then": _between(old, "probability", row["n"]), "now": row["probability"]}
        for row in now["budgets"] or ()
        if old[0]["n"] <= row["n"] <= old[-1]["n"]
    ]


def _outcome_sentence(kept: Mapping[str, Any]) -> str:
    then, now = kept["predicted"], kept["now"]
    return (
        f"With {kept['n']:,} labels, {percent(then['mean'])} ({span(then['low'], then['high'])}) "
        f"was predicted for {then['n']:,}; now it is {percent(now['mean'])} "
        f"({span(now['low'], now['high'])}): {kept['found']} the range."
    )


def _plan_lines(kept: Mapping[str, Any]) -> list[str]:
    """Return how the labels needed and the chances moved, where the target is the same."""
    old, new = kept["labels_for_target"], kept["needed_now"]
    if not old:
        return []
    target = exact_percent(old["target"])
    if new is None:
        return [f"The earlier target was {target} accuracy: labels needed are not compared"]
    lines = [f"Labels needed for {target} accuracy: {_needed(old)} then, {_needed(new)} now"]
    moved = [
        f"{percent(row['then'])} then, {percent(row['now'])} now with {row['n']:,} labels"
        for row in kept["chances"][:_SHOWN_CHANCES]
    ]
    return lines + ([f"Chance of {target} accuracy: {'; '.join(moved)}"] if moved else [])


def _new_classes(kept: Mapping[str, Any]) -> list[str]:
    known, now = kept["n_classes"], kept["n_classes_now"]
    if known == now:
        return []
    return [
        f"The earlier answer knew {known:,} classes, there are {now:,} now: it did not count on "
        "the new ones"
    ]


def _needed(need: Mapping[str, Any]) -> str:
    if need["n"] is None:
        return f"more than {need['largest']:,}"
    low = "fewer" if need["low"] is None else rough(need["low"])
    high = f"more than {need['largest']:,}" if need["high"] is None else rough(need["high"])
    return f"{rough(need['n'])} ({low} to {high})"
