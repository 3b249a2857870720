"""Settings searched by optuna, folds by corpus, resumable.

Trials are kept in a file: a search that was stopped goes on where it was. Several processes, also
of several machines that share the file, may search at once: each tries what the others have not,
and all count the trials of all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from metamodel.features import LABELLED
from metamodel.fit.fitting import MOST_ROWS, FitSettings, problem_of
from metamodel.judge.leave_out import ask, judged_pilots, leave_out
from metamodel.judge.scorecard import accuracy_errors
from metamodel.model import Settings
from metamodel.rows import MetaData

PILOTS = (64, 128, 256)
MULTIPLES = (2, 4, 8)
# Fewer parts than the scorecard has: only differences between trials count.
_FOLDS = 5
_FIRST: tuple[dict[str, float | str], ...] = (
    {"share_ridge": 1.0, "anchor": "oof", "penalty": 100.0},
    {"share_ridge": 1.0, "anchor": "law", "penalty": 100.0},
    {
        "share_ridge": 0.5,
        "anchor": "law",
        "penalty": 100.0,
        "n_rounds": 120,
        "num_leaves": 8,
        "min_rows": 100,
    },
    {
        "share_ridge": 0.5,
        "anchor": "law",
        "penalty": 40.0,
        "n_rounds": 120,
        "num_leaves": 8,
        "min_rows": 100,
    },
)
"""Trials that come first: ridge regression, the simpler model, is always among them."""

_FEW = 64.0  # labels up to which trees were of use on inner folds, at half of the weight
_LAW_SHARE = 0.3  # of the law itself on few classes: inner folds are level from 0.2 to 0.5
_NAME = "metamodel-4"  # another one where features or the range of settings changed


def tune(
    data: MetaData,
    *,
    n_trials: int,
    journal: Path,
    seed: int = 0,
    progress: Callable[[str, int, int], None],
) -> tuple[FitSettings, list[dict[str, object]]]:
    """Search settings of the model of accuracies of pilots with labels.

    Args:
        data: The meta-dataset.
        n_trials: Trials in all, those of an earlier run and of other processes counted; each other
            process may finish one more.
        journal: File of the trials.
        seed: Of the search; each trial has its own from it.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        The settings, and one row a trial: its settings and ``error``, the mean absolute error in
        points over pilots of 64 to 256 texts and 2 to 8 times as many.
    """
    labelled = data.part(data.evidence["n0"].to_numpy() > 0)
    problem = problem_of(labelled)
    frame, asked = ask(judged_pilots(labelled, PILOTS), labelled, MULTIPLES)

    def objective(trial: optuna.Trial) -> float:
        # by the number of the trial: the same after a stop, another in every process
        trial.study.sampler = optuna.samplers.TPESampler(
            seed=seed + trial.number, n_startup_trials=8
        )
        predicted = leave_out(
            problem,
            asked,
            _suggest(trial),
            names=LABELLED,
            most=MOST_ROWS,
            n_folds=_FOLDS,
            seed=seed,
        )
        rows = accuracy_errors(frame.assign(predicted=predicted.mean), ["predicted"], MULTIPLES)
        return sum(float(row["error"]) for row in rows) / len(rows)

    logging.getLogger("optuna").setLevel(logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(
        storage=storage,
        study_name=_NAME,
        load_if_exists=True,
    )
    if not any(t.params.get("share_ridge") == 1.0 for t in study.trials):
        for first in _FIRST:
            study.enqueue_trial(first, skip_if_exists=True)
    while (done := _finished(study)) < n_trials:
        progress("trials", done, n_trials)
        study.optimize(objective, n_trials=1)
    progress("trials", n_trials, n_trials)
    trials = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    rows: list[dict[str, object]] = [{**t.params, "error": t.value} for t in trials]
    return FitSettings(labelled=choose(rows)), rows


def choose(rows: list[dict[str, object]]) -> Settings:
    """Return the settings of the best trial.

    Args:
        rows: From `tune`.
    """
    best = min(rows, key=_error)
    chosen = {name: value for name, value in best.items() if name != "error"}
    limit = 0.0 if chosen.get("share_ridge", 1.0) == 1.0 else _FEW
    return _anchored(replace(Settings(), trees_up_to=limit, **chosen))  # type: ignore[arg-type]


def _error(row: dict[str, object]) -> float:
    return float(str(row["error"]))


def _finished(study: optuna.Study) -> int:
    return sum(t.state == optuna.trial.TrialState.COMPLETE for t in study.trials)


def _anchored(settings: Settings) -> Settings:
    """Return settings that give the power law a weight of its own, if it is their anchor."""
    return replace(settings, anchor_share=_LAW_SHARE) if settings.anchor == "law" else settings


def _suggest(trial: optuna.Trial) -> Settings:
    share = float(trial.suggest_categorical("share_ridge", [1.0, 0.5]))
    anchor = trial.suggest_categorical("anchor", ["oof", "law"])
    penalty = trial.suggest_float("penalty", 30.0, 500.0, log=True)
    settings = _anchored(Settings(share_ridge=share, anchor=anchor, penalty=penalty))  # type: ignore[arg-type]
    if share == 1.0:
        return settings
    return replace(
        settings,
        trees_up_to=_FEW,
        n_rounds=trial.suggest_int("n_rounds", 60, 180, step=60),
        num_leaves=trial.suggest_int("num_leaves", 4, 16, log=True),
        min_rows=trial.suggest_int("min_rows", 50, 400, log=True),
    )
