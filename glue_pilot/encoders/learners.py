"""Ways of training under encoders that they were not measured with: predicted, and what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from charkit.answers.accuracy.shipped import shipped_models
from charkit.answers.pilot.pilot import make_pilot, pilot_evidence
from charkit.config import Progress, no_progress, people_name
from charkit.encoders import load_encoder
from charkit.errors import DataError
from charkit.store.durable import write_whole
from charkit.store.store import Store
from glue_pilot.meta_dataset.study import cut_rows
from glue_pilot.meta_dataset.tuned import TunedStudy, study_draws
from glue_pilot.samples import load_known_tasks
from metamodel.judge.learner_transfer import measure_elsewhere
from metamodel.learners.compare import PROBE, Learners
from metamodel.learners.files import FILE, learners_text

_DRAW = ["encoder", "task", "seed", "n_train"]


def learner_answers(
    study: TunedStudy,
    root: Path | None,
    encoders: Sequence[str],
    outcomes: pd.DataFrame,
    known: Learners,
    store: Store,
    progress: Progress = no_progress,
) -> pd.DataFrame:
    """Return what is predicted from the smallest draws, and what was reached with the larger ones.

    The gains of the encoder that they were measured with are used as they are, without widening.

    Args:
        study: Its tasks, sizes and learners; the smallest size is the sample.
        root: Folder of tasks.
        encoders: Their names or folders.
        outcomes: Columns of `charkit.learners.draws.COLUMNS`; has the draws of the study.
        known: The ways of training.
        store: Where evidence is kept.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        Columns that `metamodel.judge.learner_transfer.measure_elsewhere` takes.

    Raises:
        DataError: The outcomes lack a draw of the study.
    """
    reached = outcomes.set_index([*_DRAW, "learner"])["accuracy"]
    tasks = {own.task.name: own for own in load_known_tasks(study.tasks, root)}
    names = [name for name in study.learners if name in known.ranges]
    if not names:
        raise DataError(
            f"{study.name}: expected one of the learners {', '.join(known.ranges)}, got "
            f"{', '.join(study.learners)}. Add one to its learners."
        )
    n0, work = min(study.sizes), []
    for name in encoders:
        encoder = load_encoder(name, device=study.device, dtype=study.dtype)
        draws = study_draws(replace(study, encoder=name), root, store)
        trained = {(draw.task, draw.seed, len(draw.train)) for draw in draws}
        work += [(encoder, draw, trained) for draw in draws if len(draw.train) == n0]
    rows: list[dict[str, Any]] = []
    for done, (encoder, draw, trained) in enumerate(work):
        progress("ask and compare", done, len(work))
        cut = cut_rows(tasks[draw.task].task, study.n_pool, study.n_evaluation)
        pilot = make_pilot(replace(cut, train=draw.train))
        found = pilot_evidence(pilot, encoder, store=store, max_length=study.max_length)
        model = shipped_models(encoder).model
        ranked = model.layers(found.rows, n0).sort_values(
            ["score", "layer"], ascending=[False, True]
        )
        layer = int(ranked["layer"].iloc[0])
        curve = model.curve(found.rows, study.sizes)
        heads = curve[curve["layer"] == layer]
        predicted = known.at(found.rows, heads, layer=layer)
        about = {"encoder": people_name(encoder.name), "task": draw.task}
        place = (*about.values(), draw.seed)
        for n in (size for size in study.sizes if size > n0):
            if (draw.task, draw.seed, n) not in trained:
                continue  # the task has too few texts
            head = float(heads.loc[heads["n"] == n, "mean"].iloc[0])
            at = int(np.flatnonzero(np.isclose(predicted.sizes, n))[0])
            for name in (name for name in names if predicted.near(name)[at]):
                below, above = predicted.reach(name)
                own = predicted.curve(name).set_index("n")
                rows.append(
                    {
                        **about,
                        "corpus": draw.corpus,
                        "learner": name,
                        "n0": n0,
                        "n": n,
                        "mean": float(own["mean"][n]),
                        "below": float(below[at]),
                        "above": float(above[at]),
                        "truth": _accuracy(reached, (*place, n, name)),
                        "head": head,
                        "head_truth": _accuracy(reached, (*place, n, PROBE)),
                    }
                )
    progress("ask and compare", len(work), len(work))
    if not rows:
        raise DataError(
            "outcomes of learners: they have no draw of this study with more labels than its "
            "smallest. Run: make learner-transfer, which trains them."
        )
    return pd.DataFrame(rows)


def _accuracy(reached: pd.Series, place: tuple[Any, ...]) -> float:
    if place not in reached.index:
        raise DataError(
            f"outcomes of learners: expected {place[-1]} of {place[1]} with {place[3]} labels "
            f"under {place[0]}, got none. Run: make learner-transfer, which trains them."
        )
    return float(reached.loc[place])


def write_elsewhere(
    table: pd.DataFrame, known: Learners, out: Path
) -> tuple[Path, list[dict[str, Any]]]:
    """Write the ways of training, with what holds under other encoders, to ``learners.json``.

    Args:
        table: From `learner_answers`.
        known: The ways of training.
        out: Folder.

    Returns:
        The file, and one row an encoder and learner.

    Raises:
        DataError: The table has no other encoder.
    """
    try:
        found = measure_elsewhere(table, known.names_of_encoders)
    except ValueError as error:
        raise DataError(f"{error} Give -e of each encoder.") from error
    text = learners_text(replace(known, elsewhere=found))
    return write_whole(out / FILE, text.encode()), list(found.figures)
