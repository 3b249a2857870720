"""A library of known tasks: embeddings of one encoder, with what is known of each task.

On disk a library is two files. ``NAME.safetensors`` has the logarithms of the numbers, a byte each
(see `charkit.answers.similarity.library`). ``NAME.json`` has everything else, the hash of the first
file and a hash of itself. No text is kept, only hashes of texts.

The numbers of an embedding with a byte each: their logarithms on an even scale.

Every slice (layer and part) has a scale of its own: code 1 is its least number, code 255 its
largest, code 0 means zero (less than what distances add to every number). A logarithm is off by
half a step at most, a 508th of the slice's range.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.config import content_hash
from charkit.errors import DataError, MissingError, UsageError
from charkit.fisher.distances.pairwise import EPSILON
from charkit.fisher.embedding import TaskEmbedding, check_comparable
from charkit.fisher.layout import Slice
from charkit.store.durable import sha256_file, write_whole

# Steps between the codes 1 and 255; code 0 means zero.
_LEVELS = 254


def coded(embedding: TaskEmbedding) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return an embedding's numbers as bytes.

    Returns:
        The codes, (size,); for each slice the least logarithm and the step, (n_slices, 2).

    Raises:
        DataError: Numbers are negative, or all zero.
    """
    values = embedding.values
    if values.min() < 0 or not values.mean() > 0:
        raise DataError(
            f"{embedding.name or 'embedding'} does not go into a library: expected numbers of "
            f"at least 0, some above, got a least number of {values.min():.3g}."
        )
    codes = np.zeros(values.shape, np.uint8)
    scale = np.zeros((len(embedding.slices), 2), np.float32)
    floor = EPSILON * values.mean()  # what distances add to every number
    for place, part in enumerate(embedding.slices):
        numbers = values[part.start : part.stop]
        seen = numbers > floor
        if not seen.any():
            continue
        logs = np.log(numbers[seen])
        low = np.float32(logs.min())
        step = np.float32(max(float(logs.max() - low), 1e-6) / _LEVELS)
        scale[place] = low, step
        steps = np.rint((logs - float(low)) / float(step))
        codes[part.start : part.stop][seen] = 1 + np.clip(steps, 0, _LEVELS)
    return codes, scale


def decoded(
    codes: NDArray[np.uint8], scale: NDArray[np.float32], slices: Sequence[Slice]
) -> NDArray[np.float64]:
    """Return the numbers that codes stand for, (size,)."""
    sizes = [s.size for s in slices]
    low, step = np.repeat(scale.astype(np.float64), sizes, axis=0).T
    return np.where(codes > 0, np.exp(low + step * (codes.astype(np.float64) - 1)), 0.0)


def log_errors(
    embedding: TaskEmbedding, codes: NDArray[np.uint8], scale: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the error of the logarithm of every number above zero."""
    kept = codes > 0
    back = decoded(codes, scale, embedding.slices)[kept]
    return np.asarray(np.log(back) - np.log(embedding.values[kept]))


FORMAT = "charkit.embedding_library.1"
"""What the JSON file says; it changes when the layout of the files does."""

SHIPPED = Path(__file__).resolve().parents[2] / "library"
"""The folder of the libraries that come with the package."""


@dataclass(frozen=True, eq=False)
class LibraryEntry:
    """One known task, embedded once.

    Attributes:
        task: Its name.
        corpus: Tasks with the same corpus share texts.
        n: Training texts that were asked for; the task may have fewer, see
            ``embedding.n_samples``.
        seed: Of the draw of the texts.
        embedding: The numbers and how they were made; read from a file, its standard errors are
            NaN.
        domain: What the texts are about, in a word or two.
        accuracy: Share of the task's evaluation rows that the head gets right; None where it is
            not known, and for regression.
    """

    task: str
    corpus: str
    n: int
    seed: int
    embedding: TaskEmbedding
    domain: str = ""
    accuracy: float | None = None

    def row(self) -> dict[str, Any]:
        """Return what is known of the task and of the sample."""
        return {
            "task": self.task,
            "corpus": self.corpus,
            "domain": self.domain,
            "kind": self.embedding.kind,
            "classes": self.embedding.n_classes,
            "n": self.n,
            "texts": self.embedding.n_samples,
            "seed": self.seed,
            "head_layer": self.embedding.head_layer,
            "accuracy": self.accuracy,
        }


@dataclass(frozen=True, eq=False)
class Library:
    """Embeddings of known tasks under one encoder.

    Attributes:
        name: What tables call it.
        entries: The tasks, some at several sizes and seeds.
        log_error: ``"largest"`` and ``"rms"`` error of the logarithms that writing with one byte
            made; empty for a library that was not read from a file.
    """

    name: str
    entries: tuple[LibraryEntry, ...]
    log_error: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.entries:
            raise UsageError("library is empty: expected at least one entry, got none.")
        first = self.entries[0].embedding
        for entry in self.entries:
            for what in ("encoder_fingerprint", "pooling", "estimand"):
                ours, theirs = getattr(first, what), getattr(entry.embedding, what)
                if ours != theirs:
                    raise UsageError(
                        f"library does not fit together: expected {what} {ours!r} as in "
                        f"{self.entries[0].task}, got {theirs!r} in {entry.task}."
                    )

    @property
    def encoder(self) -> str:
        """Name of the encoder."""
        return self.entries[0].embedding.encoder

    @property
    def encoder_fingerprint(self) -> str:
        """Hash of the encoder's files."""
        return self.entries[0].embedding.encoder_fingerprint

    @property
    def head_layers(self) -> tuple[int, ...]:
        """The layers that heads read, rising."""
        return tuple(sorted({e.embedding.head_layer for e in self.entries}))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sample sizes that were asked for, rising."""
        return tuple(sorted({e.n for e in self.entries}))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks, in order."""
        return tuple(sorted({e.task for e in self.entries}))

    def near_size(self, n: int) -> int:
        """Return the library's sample size whose ratio to ``n`` is nearest to one."""
        return min(self.sizes, key=lambda size: abs(np.log(size / n)))

    def matching(self, embedding: TaskEmbedding, *, n: int | None = None) -> list[LibraryEntry]:
        """Return the entries that can be compared with an embedding, cut to its layers and parts.

        Args:
            embedding: What is to be compared.
            n: Only entries of this size. Default: of all sizes.

        Raises:
            UsageError: The encoder, the head's layer, the pooling, the estimand, the layers or
                the parts are others.
        """
        at_head = [e for e in self.entries if e.embedding.head_layer == embedding.head_layer]
        if embedding.encoder_fingerprint == self.encoder_fingerprint and not at_head:
            raise UsageError(
                f"library {self.name} has no such head layer: expected one of "
                f"{self.head_layers}, got {embedding.head_layer}."
            )
        chosen = [e for e in at_head or self.entries if n is None or e.n == n]
        if not chosen:
            raise UsageError(
                f"library {self.name} has no such size: expected one of {self.sizes}, got {n}."
            )
        same = embedding.encoder_fingerprint == self.encoder_fingerprint
        cut = [_cut(e, embedding) for e in chosen] if same else chosen
        check_comparable([embedding, *(e.embedding for e in cut)])
        return cut

    def to_pandas(self) -> pd.DataFrame:
        """Return one row an entry: the task, the sample, the head's accuracy."""
        return pd.DataFrame([e.row() for e in self.entries])

    def __repr__(self) -> str:
        return (
            f"Library({self.name}: {len(self.entries)} embeddings of {len(self.tasks)} tasks "
            f"under {self.encoder}, n {', '.join(map(str, self.sizes))}, heads at layers "
            f"{', '.join(map(str, self.head_layers))})"
        )

    def _repr_html_(self) -> str:
        table = self.to_pandas().to_html(index=False, float_format="{:.3f}".format, border=0)
        return f"<div><b>{escape(repr(self))}</b>{table}</div>"


def _cut(entry: LibraryEntry, like: TaskEmbedding) -> LibraryEntry:
    held = entry.embedding
    if held.slices == like.slices:
        return entry
    cut = held.select(layers=like.layers, parts=like.parts)
    return LibraryEntry(
        entry.task, entry.corpus, entry.n, entry.seed, cut, entry.domain, entry.accuracy
    )


# -- on disk ---------------------------------------------------------------------------------


def write_library(path: str | Path, entries: Sequence[LibraryEntry]) -> Path:
    """Write a library as ``PATH.safetensors`` and ``PATH.json``.

    The same entries give the same bytes. The logarithm of a number is kept to half of a 254th
    of the range of its slice; the errors are in the JSON file.

    Args:
        path: Where to, with or without an ending.
        entries: Embeddings of one encoder, pooling and estimand; of several head layers, layers
            and sizes if so wished.

    Returns:
        The JSON file.

    Raises:
        UsageError: There are no entries, or they do not fit together.
        DataError: Numbers are negative, or all zero.
        MissingError: The folder cannot be written.
    """
    from safetensors.numpy import save

    numbers, about = _stems(path)
    library = Library(numbers.stem, tuple(entries))
    layouts = list(dict.fromkeys(e.embedding.slices for e in library.entries))
    rows: list[list[tuple[NDArray[np.uint8], NDArray[np.float32]]]] = [[] for _ in layouts]
    facts, squares, largest, count = [], 0.0, 0.0, 0
    for entry in library.entries:
        layout = layouts.index(entry.embedding.slices)
        codes, scale = coded(entry.embedding)
        error = log_errors(entry.embedding, codes, scale)
        squares, count = squares + float(error @ error), count + len(error)
        largest = max(largest, float(np.abs(error).max()))
        facts.append(_facts(entry) | {"layout": layout, "row": len(rows[layout])})
        rows[layout].append((codes, scale))
    tensors: dict[str, NDArray[Any]] = {}
    for layout, pairs in enumerate(rows):
        tensors[f"codes.{layout}"] = np.stack([codes for codes, _ in pairs])
        tensors[f"scale.{layout}"] = np.stack([scale for _, scale in pairs])
    write_whole(numbers, save(tensors))
    shared = {k: v for k, v in facts[0].items() if all(f[k] == v for f in facts)}
    whole: dict[str, Any] = {
        "format": FORMAT,
        "sha256": sha256_file(numbers),
        "log_error": {"largest": round(largest, 5), "rms": round((squares / count) ** 0.5, 6)},
        "layouts": [[[s.layer, s.part, s.start, s.stop] for s in slices] for slices in layouts],
        "shared": shared,
        "entries": [{k: v for k, v in f.items() if k not in shared} for f in facts],
    }
    whole["checksum"] = content_hash(whole)
    write_whole(about, (json.dumps(whole, indent=1, sort_keys=True) + "\n").encode())
    return about


def load_library(encoder: str | Path = "minilm") -> Library:
    """Read the library that is shipped for an encoder, or one from a file.

    Args:
        encoder: The encoder's name, or the path of a library with or without an ending.

    Raises:
        MissingError: There is no such library.
        DataError: A file is damaged, or was changed after it was written.
    """
    numbers, about = _find(encoder)
    whole = _described(about)
    if sha256_file(numbers) != whole["sha256"]:
        raise DataError(
            f"library {numbers} was changed: expected the content with the hash "
            f"{whole['sha256'][:12]}, got another. Install or build it again."
        )
    from safetensors.numpy import load

    try:
        tensors = load(numbers.read_bytes())
        layouts = [tuple(Slice(*entry) for entry in slices) for slices in whole["layouts"]]
        entries = [_entry(whole["shared"] | f, layouts, tensors) for f in whole["entries"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"library {about} is damaged: expected entries, got {error!r}. Build it again."
        ) from error
    return Library(about.stem, tuple(entries), dict(whole["log_error"]))


def shipped_library(encoder_fingerprint: str) -> Library | None:
    """Return the shipped library that was made with an encoder, or None.

    Args:
        encoder_fingerprint: Hash of the encoder's files; its name plays no part.

    Raises:
        DataError: A shipped file is damaged.
    """
    for about in sorted(SHIPPED.glob("*.json")):
        whole = _described(about)
        if whole["shared"].get("encoder_fingerprint") == encoder_fingerprint:
            return load_library(about)
    return None


def shipped_names() -> str:
    """Return the names of the libraries that are shipped, for a line of text."""
    return ", ".join(sorted(p.stem for p in SHIPPED.glob("*.json"))) or "there is none"


def _stems(path: str | Path) -> tuple[Path, Path]:
    place = Path(path)
    if place.suffix in {".json", ".safetensors"}:
        place = place.with_suffix("")
    return place.with_name(place.name + ".safetensors"), place.with_name(place.name + ".json")


def _find(encoder: str | Path) -> tuple[Path, Path]:
    for place in (Path(encoder), SHIPPED / str(encoder)):
        numbers, about = _stems(place)
        if numbers.is_file() and about.is_file():
            return numbers, about
    raise MissingError(
        f"no library of known tasks: expected one that is shipped ({shipped_names()}) or a path to "
        f"one, got {str(encoder)!r}. Make one with "
        "charkit.answers.similarity.library.write_library."
    )


def _described(about: Path) -> dict[str, Any]:
    try:
        whole = json.loads(about.read_text(encoding="utf-8"))
        named = whole.get("format")
        sealed = whole.pop("checksum", None) == content_hash(whole)
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"library {about} is damaged: expected JSON, got {error}. Build it again."
        ) from error
    if named != FORMAT:
        raise DataError(
            f"{about} is no library of this version: expected the format {FORMAT}, got {named!r}. "
            "Build it again."
        )
    if not sealed:
        raise DataError(
            f"library {about} was changed: expected the content with its checksum, got another. "
            "Install or build it again."
        )
    return dict(whole)


def _facts(entry: LibraryEntry) -> dict[str, Any]:
    own = {k: getattr(entry, k) for k in ("task", "corpus", "domain", "n", "seed", "accuracy")}
    facts = entry.embedding.facts()
    facts["frac_truncated"] = round(facts["frac_truncated"], 6)
    facts["draw_seed"] = facts.pop("seed")
    return own | {k: None if v != v else v for k, v in facts.items() if k != "name"}


def _entry(
    facts: dict[str, Any], layouts: Sequence[tuple[Slice, ...]], tensors: dict[str, NDArray[Any]]
) -> LibraryEntry:
    facts = dict(facts)
    layout, row = facts.pop("layout"), facts.pop("row")
    slices = layouts[layout]
    values = decoded(tensors[f"codes.{layout}"][row], tensors[f"scale.{layout}"][row], slices)
    own = {k: facts.pop(k) for k in ("task", "corpus", "domain", "n", "seed", "accuracy")}
    facts["seed"] = facts.pop("draw_seed")
    known: dict[str, Any] = {k: float("nan") if v is None else v for k, v in facts.items()}
    embedding = TaskEmbedding(
        values=values,
        standard_error=np.full(values.shape, np.nan),
        slices=slices,
        name=own["task"],
        **known,
    )
    return LibraryEntry(embedding=embedding, **own)
