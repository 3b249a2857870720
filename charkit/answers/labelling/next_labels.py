"""What to label next: texts of a pool, chosen by what an encoder makes of them."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.labelling.coverage import Adequacy, adequacy
from charkit.answers.labelling.strategies import (
    FORMULA,
    STRATEGIES,
    Strategy,
    candidates,
    choose_rows,
    known_labels,
    load_pool,
    shipped_bands,
    strategy_for,
)
from charkit.config import Progress, no_progress, note, people_name, staged
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import EncoderChoice, loaded
from charkit.encoders.stream import encode_to_store
from charkit.errors import UnknownNameError, UsageError
from charkit.heads.sweep.grid import Source
from charkit.store.durable import write_whole
from charkit.store.store import Store
from charkit.tasks.task import Split, Task

Asked = Strategy | Literal["auto"]

COLUMNS = ("text", "pair", "label")


@dataclass(frozen=True, eq=False)
class NextLabels:
    """Texts to label next, the first one first.

    Attributes:
        name: The source.
        encoder: Name of the encoder.
        layer: Whose states were compared.
        strategy: How they were chosen.
        table: One row a text: rank, line or row of its file, text, pair, utility.
        adequacy: How well the labels cover the pool; None with fewer than two classes.
        n_labelled: Labelled texts.
        n_pool: Texts to choose from.
        columns: Names of the text, pair and label columns in the source.
        notes: What was guessed, dropped or counted while reading, then what was left out.
    """

    name: str
    encoder: str
    layer: int
    strategy: Strategy
    table: pd.DataFrame
    adequacy: Adequacy | None
    n_labelled: int
    n_pool: int
    columns: tuple[str, str, str] = COLUMNS
    notes: tuple[str, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """The answer as sentences, without notes."""
        lines = [
            f"{self.name}: label these {len(self.table):,} of {self.n_pool:,} texts next "
            f"({self.strategy}, layer {self.layer} of {people_name(self.encoder)}, "
            f"{self.n_labelled:,} labels so far)"
        ]
        if self.adequacy is not None:
            lines.append(self.adequacy.sentence)
        return lines

    def lines(self) -> list[str]:
        """Return the answer as text, and the notes."""
        return self.sentences + [f"note: {note}" for note in self.notes]

    def about(self) -> dict[str, Any]:
        """Return all but the texts, as JSON values."""
        return {
            "name": self.name,
            "encoder": self.encoder,
            "layer": self.layer,
            "strategy": self.strategy,
            "n_labelled": self.n_labelled,
            "n_pool": self.n_pool,
            "adequacy": None if self.adequacy is None else self.adequacy.to_dict(),
            "notes": list(self.notes),
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a text."""
        return self.table.copy()

    def save(self, path: str | Path) -> Path:
        """Write the texts to be labelled, in the form that the file's ending names.

        ``.csv`` has an empty column for the label, under the source's names, and is imported by
        Label Studio and doccano as well. ``.jsonl`` is for Prodigy and doccano, ``.json`` for
        Label Studio. charkit reads all three again.

        A spreadsheet takes texts that begin with ``=``, ``+``, ``-`` or ``@`` for formulas, and
        may run them: in a CSV they get an apostrophe in front. `to_pandas` has them as they are.

        Raises:
            UsageError: The ending is another one.
            MissingError: The file cannot be written.
        """
        write = {".csv": self._csv, ".jsonl": self._json_lines, ".json": self._label_studio}
        return write_whole(Path(path), write[check_ending(path)]().encode())

    def _csv(self) -> str:
        table = self.table.assign(label="")
        for column in {"text", "pair"} & set(table.columns):
            table[column] = [quoted(text) for text in table[column]]
        named = table.rename(columns=dict(zip(COLUMNS, self.columns, strict=True)))
        if named.columns.is_unique:
            table = named
        return str(table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n"))

    def _tasks(self) -> list[tuple[dict[str, str], dict[str, Any]]]:
        """Return the texts of every row, and what else is known of it."""
        tasks = []
        for row in self.table.to_dict("records"):
            texts = {"text": str(row["text"])}
            if "pair" in row:
                texts["text_pair"] = str(row["pair"])
            rest = {str(k): v for k, v in row.items() if k not in ("text", "pair")}
            utility = rest["utility"]
            tasks.append((texts, rest | {"utility": utility if np.isfinite(utility) else None}))
        return tasks

    def _json_lines(self) -> str:
        tasks = [{**texts, "label": [], "meta": meta} for texts, meta in self._tasks()]
        return "".join(json.dumps(task, default=int) + "\n" for task in tasks)

    def _label_studio(self) -> str:
        tasks = [{"data": {**texts, **meta}, "annotations": []} for texts, meta in self._tasks()]
        return json.dumps(tasks, indent=1, default=int) + "\n"

    @property
    def n_quoted(self) -> int:
        """How many texts `save` puts an apostrophe in front of."""
        columns = [c for c in ("text", "pair") if c in self.table.columns]
        return sum(quoted(text) != text for c in columns for text in self.table[c])

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in self.lines())
        return f"<p>{lines}</p>{self.table.to_html(index=False)}"


def next_labels(
    task: Source,
    *,
    n: int = 20,
    strategy: Asked = "auto",
    pool: str | Path | None = None,
    classes: int | None = None,
    encoder: EncoderChoice = "minilm",
    layer: int | None = None,
    seed: int = 0,
    max_length: int | None = None,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> NextLabels:
    """Choose texts to label next.

    Args:
        task: A source that `charkit.load_task` takes; rows without a label are the pool.
        n: How many texts.
        strategy: One of `charkit.answers.labelling.strategies.STRATEGIES`; ``"auto"`` takes the one
            that saved most labels in the study, by available labels.
        pool: File with the texts to choose from. Default: the rows without a label.
        classes: Number of classes, for texts without any label.
        encoder: Name or loaded encoder.
        layer: Whose states are compared, 0 = embeddings, negative from the last. Default: two
            thirds of the way up.
        seed: Of all chance.
        max_length: Longest text in tokens. Default: the encoder's own choice.
        store: Where states lie. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal.
        DataError: The source cannot be used, the pool is empty, or labels are too few for the
            strategy.
        MissingError: An encoder, a package, a file or disk space is missing.
    """
    check_choice(n, strategy, seed)
    n, seed = int(n), int(seed)  # NumPy's whole numbers are not those of scikit-activeml
    sample = load_pool(task, pool=pool, n_classes=classes)
    for line in sample.describe_labels():
        note(line)
    found = choose_texts(
        sample,
        n=n,
        strategy=strategy,
        encoder=loaded(encoder),
        layer=layer,
        seed=seed,
        max_length=max_length,
        store=store or Store(),
        progress=progress,
    )
    for line in found.notes[len(sample.notes) :]:
        note(f"note: {line}")
    return found


ENDINGS = (".csv", ".jsonl", ".json")
"""Files that texts to be labelled are written to."""


def check_ending(path: str | Path) -> str:
    """Return the ending of a file of texts to be labelled.

    Raises:
        UsageError: It is none of `ENDINGS`.
    """
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(
            f"--out is written by its ending: expected {', '.join(ENDINGS)}, got "
            f"{Path(path).name[:60]!r}. Use .csv for spreadsheets, .jsonl for Prodigy and doccano, "
            ".json for Label Studio."
        )
    return ending


def _is_whole(value: object) -> bool:
    return hasattr(value, "__index__")


def check_choice(n: int, strategy: str, seed: int) -> Asked:
    """Check what is asked, before any work; return the strategy.

    Raises:
        UsageError: The number of texts is below 1, the seed below 0, or the strategy not known.
    """
    if not (_is_whole(n) and _is_whole(seed)):
        raise UsageError(f"expected whole numbers for n and seed, got {n!r} and {seed!r}.")
    if n < 1:
        raise UsageError(f"n out of range: expected at least 1 text, got {n}. Ask for 20.")
    if seed < 0:
        raise UsageError(f"seed is out of range: expected 0 or more, got {seed}. Use 0.")
    if strategy not in (*STRATEGIES, "auto"):
        raise UnknownNameError("strategy", strategy, [*STRATEGIES, "auto"])
    return cast(Asked, strategy)


def choose_texts(
    sample: Task,
    *,
    n: int,
    strategy: Asked,
    encoder: Encoder,
    layer: int | None = None,
    seed: int = 0,
    max_length: int | None = None,
    store: Store,
    progress: Progress = no_progress,
) -> NextLabels:
    """Choose texts to label next among those that were read; see `next_labels`."""
    texts, notes = candidates(sample, seed)
    known, more = known_labels(sample, seed)
    notes = more + notes
    number = compared_layer(encoder, layer)
    states = [
        encode_to_store(
            encoder, part, store=store, max_length=max_length, progress=staged(progress, what)
        ).layer(number)
        if len(part)
        else np.zeros((0, encoder.width), np.float32)
        for part, what in ((known, "labelled texts"), (texts, "pool"))
    ]
    codes = np.zeros(0, np.int64) if known.labels is None else np.array(known.labels, np.int64)
    if strategy == "auto":
        strategy = strategy_for(shipped_bands(), codes, sample.n_classes)
    progress(f"choose by {strategy}", 0, 1)
    rows, utility = choose_rows(
        states[0],
        codes,
        states[1],
        n=n,
        strategy=strategy,
        n_classes=sample.n_classes,
        seed=seed,
    )
    progress(f"choose by {strategy}", 1, 1)
    if n > len(texts):
        notes.append(f"{n:,} texts asked for, the pool has {len(texts):,} different ones: all")
    return NextLabels(
        name=sample.name,
        encoder=encoder.name,
        layer=number,
        strategy=strategy,
        table=_table(texts, rows, utility),
        adequacy=adequacy(states[0], codes, states[1]) if len(np.unique(codes)) > 1 else None,
        n_labelled=len(known),
        n_pool=len(texts),
        columns=_names(sample),
        notes=(*sample.notes, *notes),
    )


def compared_layer(encoder: Encoder, layer: int | None) -> int:
    """Return the layer whose states are compared: two thirds up where none is named.

    Raises:
        UsageError: The encoder does not have it.
    """
    deepest = encoder.n_layers
    if layer is None:
        return round(2 * deepest / 3)
    if not -deepest - 1 <= layer <= deepest:
        raise UsageError(
            f"layer out of range: expected 0 (embeddings) to {deepest}, or -1 (last) to "
            f"{-deepest - 1}, got {layer}."
        )
    return layer % (deepest + 1)


def _names(sample: Task) -> tuple[str, str, str]:
    if not sample.columns:
        return COLUMNS
    text, pair, label = sample.columns
    return text, pair or "pair", label or "label"


def quoted(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula.

    >>> quoted("=1+1")
    "'=1+1"
    """
    return f"'{text}" if text.lstrip()[:1] in FORMULA else text


def _table(texts: Split, rows: NDArray[np.int64], utility: NDArray[np.float64]) -> pd.DataFrame:
    places = texts.where()
    columns: dict[str, Any] = {
        "rank": np.arange(1, len(rows) + 1),
        places.unit: [places.numbers[i] for i in rows],
        "text": [texts.texts[i] for i in rows],
    }
    if texts.pairs is not None:
        columns["pair"] = [texts.pairs[i] for i in rows]
    return pd.DataFrame(columns | {"utility": utility})
