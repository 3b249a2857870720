"""How accurate is the head on the texts that it will meet? From few test labels, chosen well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from charkit.answers.evaluation.labels import TestLabels, read_test_labels
from charkit.answers.evaluation.plan import (
    DIGITS,
    TestPlan,
    check_budget,
    check_plan,
    read_plan,
    rows_table,
)
from charkit.answers.evaluation.pool import PoolEvaluation, class_scores, outlook
from charkit.answers.labelling.strategies import MOST_LABELLED, candidates, load_pool
from charkit.config import Progress, content_hash, no_progress, note, staged
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import EncoderChoice, loaded
from charkit.encoders.stream import KIND as STATES
from charkit.encoders.stream import encode_to_store, states_config
from charkit.errors import DataError, MissingError, UsageError
from charkit.heads.sample.active_testing import make_strata, pool_accuracy
from charkit.heads.sweep.grid import Source
from charkit.store.store import Store
from charkit.tasks.assemble import without_repeats
from charkit.tasks.card import LazyTask
from charkit.tasks.nested import nested_order
from charkit.tasks.readers.rows import OnBadRows
from charkit.tasks.task import Split, Task

BUDGET = 30
"""Test labels where no number is given."""

MOST_POOL = 10_000
"""Texts that are drawn from larger pools: the accuracy on these differs from that on all by half a
point at most, and their states take a gigabyte for minilm."""


def evaluate(
    task: Source,
    *,
    pool: str | Path | None = None,
    budget: int | None = None,
    labels: str | Path | None = None,
    encoder: EncoderChoice = "minilm",
    layer: int | None = None,
    seed: int | None = None,
    max_length: int | None = None,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> PoolEvaluation:
    """Say which texts of a pool to label for testing, or from their labels the accuracy there.

    Args:
        task: A source that `charkit.load_task` takes: the labelled sample that the head is
            trained on.
        pool: File with the texts that the head will meet. Default: the rows without a label.
        budget: Test labels. Default: 30, or as many as ``labels`` has rows.
        labels: The file that `PoolEvaluation.save` wrote, with labels filled in.
        encoder: Name or loaded encoder.
        layer: Whose head is tested, 0 = embeddings, negative from the last. Default: the one of
            least leave-one-out log loss on the labelled sample.
        seed: Of the draw. Default: 0, or that of the file of labels.
        max_length: Longest text in tokens. Default: the encoder's own choice.
        store: Where states are kept. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal, or the budget exceeds the pool.
        DataError: A source cannot be used, or something changed since the rows were drawn.
        MissingError: An encoder, a file or disk space is missing.
    """
    check_numbers(budget, seed)
    sample = load_pool(task, pool=pool)
    for line in sample.describe_labels():
        note(line)
    bad: OnBadRows = "refuse"
    if isinstance(task, LazyTask) and task.options.on_bad_rows == "drop":
        bad = "drop"
    found = evaluate_sample(
        sample,
        budget=budget,
        labels=labels,
        encoder=loaded(encoder),
        layer=layer,
        seed=seed,
        max_length=max_length,
        on_bad_rows=bad,
        store=store or Store(),
        progress=progress,
    )
    for line in found.notes[len(sample.notes) :]:
        note(f"note: {line}")
    return found


def check_numbers(budget: int | None, seed: int | None) -> None:
    """Check what is asked, before any work.

    Raises:
        UsageError: A number is not whole, or out of range.
    """
    for name, value, least in (("budget", budget, 1), ("seed", seed, 0)):
        if value is None:
            continue
        if not hasattr(value, "__index__"):
            raise UsageError(f"{name}: expected a whole number, got {value!r}.")
        if value < least:
            raise UsageError(f"{name} out of range: expected at least {least}, got {value}.")


def evaluate_sample(
    sample: Task,
    *,
    budget: int | None,
    labels: str | Path | None,
    encoder: Encoder,
    layer: int | None = None,
    seed: int | None = None,
    max_length: int | None = None,
    on_bad_rows: OnBadRows = "refuse",
    store: Store,
    progress: Progress = no_progress,
) -> PoolEvaluation:
    """Evaluate the head of a sample that was read; see `evaluate`."""
    if labels is not None and not Path(labels).is_file():
        raise MissingError(
            f"--labels: expected the file that --out wrote, got {str(labels)!r}, which is no file. "
            "Check the path, or leave out --labels to draw rows."
        )
    known, notes = _labelled(sample)
    texts, more = _pool(sample)
    layer = None if layer is None else _layer(encoder, layer)
    check_budget(min(BUDGET, len(texts)) if budget is None else budget, len(texts), sample.name)
    made_from = {
        "labelled": known.fingerprint,
        "pool": texts.text_fingerprint,
        "encoder": encoder.fingerprint,
        "max_length": encoder.text_length(max_length),
        "layer_asked": layer,
    }
    plan = None if labels is None else read_plan(Path(labels))
    planned = plan is not None
    if plan is not None:
        check_plan(plan, made_from, Path(str(labels)).name, seed=seed)
    else:
        plan = _make_plan(known, texts, sample, encoder, made_from, seed or 0, store, progress)
    tested = None
    if labels is not None:
        if not planned:
            more.append(_unplanned(Path(labels), plan))
        tested = read_test_labels(
            labels, plan, texts, sample.columns, planned=planned, on_bad_rows=on_bad_rows
        )
    return _answer(sample, plan, texts, tested, budget, encoder, [*notes, *more])


def _unplanned(labels: Path, plan: TestPlan) -> str:
    return f"no plan is beside {labels.name}: rows are taken in the order of seed {plan.seed}"


def _answer(
    sample: Task,
    plan: TestPlan,
    texts: Split,
    tested: TestLabels | None,
    budget: int | None,
    encoder: Encoder,
    notes: list[str],
) -> PoolEvaluation:
    n_tested = 0 if tested is None else tested.n_done
    n = max(n_tested, budget if budget is not None else (n_tested or BUDGET))
    rows = plan.order[: min(n, plan.n_pool)]
    labelled = np.zeros(0, np.int64) if tested is None else tested.rows
    right = np.array(
        [row for row in labelled if tested and tested.codes[int(row)] == plan.predicted[row]],
        np.int64,
    )
    found = pool_accuracy(plan.strata, plan.counts(labelled), plan.counts(right))
    names = {} if tested is None else tested.names
    scores = None if tested is None else class_scores(plan, tested)
    return PoolEvaluation(
        name=sample.name,
        encoder=encoder.name,
        plan=replace(plan, n_drawn=len(rows)),
        table=rows_table(plan, texts, rows, names),
        accuracy=found,
        n_tested=len(labelled),
        n_right=len(right),
        outlook=outlook(plan, plan.counts(labelled), found, len(rows)),
        scores=scores,
        columns=_names(sample),
        notes=(*sample.notes, *notes, *(() if tested is None else tested.notes)),
        warnings=(*_warnings(plan), *(() if tested is None else tested.warnings)),
    )


FEW = 32
"""With fewer labels the head's own confidence is hardly known."""


def _warnings(plan: TestPlan) -> tuple[str, ...]:
    if plan.n_labelled >= FEW:
        return ()
    return (
        f"the head learnt from {plan.n_labelled:,} labels: how sure it is means little, so that "
        "test labels are spread almost at random",
    )


def _labelled(sample: Task) -> tuple[Split, list[str]]:
    """Return the rows that the head learns from, and what was left out.

    Raises:
        DataError: They are of fewer than two classes.
    """
    known = without_repeats(sample.train)
    notes = []
    if repeated := len(sample.train) - len(known):
        notes.append(f"{repeated:,} labelled rows repeat others: left out")
    n_classes = 0 if known.labels is None else len(np.unique(known.labels))
    if known.labels is None or n_classes < 2:
        raise DataError(
            f"{sample.name}: there is no head to test: expected labelled rows of at least two "
            f"classes, got {len(known):,} of {n_classes}. Label rows of another class."
        )
    if len(known) > MOST_LABELLED:
        notes.append(
            f"{MOST_LABELLED:,} of {len(known):,} labelled rows were drawn, stratified: the head "
            "that is tested learns from these"
        )
        order = nested_order(known.labels, seed=0, kind="classification")
        known = known.take(np.sort(order[:MOST_LABELLED]))
    return known, notes


def _pool(sample: Task) -> tuple[Split, list[str]]:
    """Return the texts that are tested on, and what was left out.

    Raises:
        DataError: No text is left.
    """
    return candidates(sample, 0, most=MOST_POOL, purpose="to test on")


def _layer(encoder: Encoder, layer: int) -> int:
    deepest = encoder.n_layers
    if not -deepest - 1 <= layer <= deepest:
        raise UsageError(
            f"layer out of range: expected 0 (embeddings) to {deepest}, or -1 (last) to "
            f"{-deepest - 1}, got {layer}."
        )
    return layer % (deepest + 1)


def _make_plan(
    known: Split,
    texts: Split,
    sample: Task,
    encoder: Encoder,
    made_from: dict[str, Any],
    seed: int,
    store: Store,
    progress: Progress,
) -> TestPlan:
    """Fit the head, let it read the pool, and put the pool into strata."""
    from charkit.heads.sample.surrogate import fit_tested_head  # torch: not where a plan is kept

    states = []
    for part, what in ((known, "labelled texts"), (texts, "pool")):
        kept = encode_to_store(
            encoder,
            part,
            store=store,
            max_length=made_from["max_length"],
            progress=staged(progress, what),
        )
        states.append(np.stack([kept.layer(k) for k in range(encoder.n_layers + 1)]))
    progress("fit heads", 0, 1)
    head = fit_tested_head(
        states[0],
        np.array(known.labels, np.int64),
        sample.n_classes,
        states[1],
        layer=made_from["layer_asked"],
    )
    progress("fit heads", 1, 1)
    return TestPlan(
        made_from=made_from,
        layer=head.layer,
        seed=seed,
        class_names=sample.class_names,
        n_labelled=len(known),
        n_drawn=len(texts),
        predicted=head.predicted,
        strata=make_strata(np.round(head.expected, DIGITS)),
    )


def cost_lines(
    task: Source,
    *,
    pool: str | Path | None = None,
    encoder: EncoderChoice = "minilm",
    max_length: int | None = None,
    store: Store,
) -> list[dict[str, Any]]:
    """Return what `evaluate` would compute: one row a stage.

    Args:
        task: The labelled sample.
        pool: File with the texts that the head will meet. Default: the rows without a label.
        encoder: Name or loaded encoder.
        max_length: Longest text in tokens. Default: the encoder's own choice.
        store: Where states are kept.

    Raises:
        DataError: There is no head to test, or no pool.
    """
    from charkit.heads.sweep.cost import encode_seconds, matmul_rate  # torch

    sample, found = load_pool(task, pool=pool), loaded(encoder)
    for line in sample.describe_labels():
        note(line)
    rate = matmul_rate(found.device, found.dtype)
    longest = found.text_length(max_length)
    rows = []
    for stage, part in (("labelled texts", _labelled(sample)[0]), ("pool", _pool(sample)[0])):
        config = states_config(found, part, max_length=max_length)
        known = store.find(STATES, content_hash(config)) is not None
        letters = sum(map(len, part.texts)) + sum(map(len, part.pairs or ()))
        tokens = min(letters / LETTERS_OF_TOKEN + 2 * len(part), longest * len(part))
        seconds = 0.0 if known else encode_seconds(found, tokens, rate)
        rows.append(
            {"stage": f"encode {stage}", "texts": len(part), "in_store": known, "seconds": seconds}
        )
    return rows


# English text under the wordpieces of BERT; only an estimate of time depends on it.
LETTERS_OF_TOKEN = 4.0


def _names(sample: Task) -> tuple[str, str, str]:
    text, pair, label = sample.columns or ("text", "", "")
    return text, pair or "pair", label or "label"
