"""Pages of the metamodel: estimate, learners, scorecard."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from page_writers.blocks import HERE, ROOT, replaced, with_block
from page_writers.readme import with_grown

if TYPE_CHECKING:
    from metamodel.judge.transfer import Transfer
    from metamodel.learners.compare import Learners

QUALITY = ("<!-- quality: begin -->", "<!-- quality: end -->")


ANSWERS = ("<!-- answers: begin -->", "<!-- answers: end -->")
TRANSFER = ("<!-- other encoders: begin -->", "<!-- other encoders: end -->")


PREDICTIONS = ("<!-- predictions: begin -->", "<!-- predictions: end -->")


GAINS = ("<!-- gains: begin -->", "<!-- gains: end -->")
GRADIENTS = ("<!-- gradients: begin -->", "<!-- gradients: end -->")
ELSEWHERE = ("<!-- under other encoders: begin -->", "<!-- under other encoders: end -->")


def estimate_page() -> str:
    """Return the page of estimate with its blocks made anew: other encoders, classes and labels."""
    from metamodel.judge.transfer import load_transfer

    page = with_block(HERE / "estimate.md", transfer_block(load_transfer()), TRANSFER)
    answers = HERE / "encoder_answers.json"
    if answers.is_file():
        page = replaced(page, answers_block(json.loads(answers.read_text("utf-8"))), ANSWERS)
    page = with_grown(page, details=True)
    found = ROOT / "results" / "quality.md"
    return replaced(page, found.read_text(encoding="utf-8"), QUALITY) if found.is_file() else page


def transfer_block(transfer: Transfer) -> str:
    """Return what `make encoder-transfer` measured, as a table and a sentence."""
    lines = [
        "| encoder | layers x width | error at 2x / 4x / 8x | accuracy on the sample "
        "| in the interval as it is | widened by the others | tasks | best layer missed by |",
        "|---" * 8 + "|",
    ]
    for row in sorted(transfer.figures, key=lambda r: (not r["known"], r["encoder"])):
        name = f"{row['encoder']} (the metamodel's own)" if row["known"] else row["encoder"]
        lines.append(
            f"| {name} | {row['layers']} x {row['width']} | {_three(row, 'error')} "
            f"| {_three(row, 'last')} | {row['covered']:.1%} | {row['covered_wide']:.1%} "
            f"| {row['tasks_covered']:.0%} | {row['regret']:.1f} |"
        )
    known = next(row for row in transfer.figures if row["known"])
    held = [row["covered_wide"] for row in transfer.figures if not row["known"]]
    sentence = (
        f"Pilots of 64, 128 and 256 labels on {transfer.corpora} corpora that the metamodel never "
        "saw; errors in points of accuracy, every task counting alike. *Accuracy on the sample* is "
        "the error of taking the pilot's own accuracy for the answer. *Widened by the others*: each "
        "encoder left out in turn, the others choose the factor. *Tasks*: of which at least 90 % of "
        "the predictions are in it. *Best layer missed by*: points that the recommended layer is "
        f"below the best. All together choose {transfer.widening:.2f}: intervals of other encoders "
        "are that many times as wide, so that under each of these encoders they hold for at least 90 % "
        f"of the predictions. Chosen by the others only, they held for {100 * min(held):.0f} to "
        f"{100 * max(held):.0f} %. Under the metamodel's own encoder nothing is widened: on these corpora "
        f"{100 * known['covered']:.0f} % are in the interval, on corpora left out of the meta-dataset "
        "nine in ten ([scorecard](scorecard.md))."
    )
    return "\n".join([*lines, "", sentence, ""])


def answers_block(found: dict[str, Any]) -> str:
    """Return of how many tasks the interval of estimate held under encoders never seen."""
    from glue_pilot.findings import md_table
    from glue_pilot.stats import Interval

    rows = (
        {
            "encoder": row["encoder"],
            "labels": f"{found['n_labels']:,}",
            "asked about": f"{row['multiple'] * found['n_labels']:,}",
            "interval held": f"{row['held_tasks']} of {row['tasks']} tasks",
            "share": f"{Interval.of(row, 'held'):.0%}".replace("%", " %"),
            "missed": ", ".join(
                f"{a['task']} ({'above' if a['accuracy'] > a['high'] else 'below'})"
                for a in found["answers"]
                if (a["encoder"], a["multiple"]) == (row["encoder"], row["multiple"])
                and not a["held"]
            ),
        }
        for row in found["held"]
    )
    return f"\n{md_table(rows)}\n"


def _three(row: dict[str, Any], name: str) -> str:
    return " / ".join(f"{row[f'{name}_{multiple}']:.1f}" for multiple in (2, 4, 8))


def learners_page() -> str:
    """Return the page of learners with the table of gains of the shipped outcomes made anew."""
    import pandas as pd

    from glue_pilot.meta_dataset.tuned import SHIPPED, gain_rows, read_tuned_study

    table = pd.read_parquet(SHIPPED)
    kept_back = read_tuned_study(ROOT / "glue_pilot" / "tuned_transfer.toml").tasks
    block = gains_block(gain_rows(table[~table["task"].isin(kept_back)]))
    page = with_block(HERE / "learners.md", block, GAINS)
    made, kept = ROOT / "results" / "gradients.json", HERE / "gradients.json"
    if made.is_file():
        shutil.copy(made, kept)
    if kept.is_file():
        page = replaced(page, gradients_block(json.loads(kept.read_text("utf-8"))), GRADIENTS)
    if not (ROOT / "metamodel" / "shipped" / "learners.json").is_file():
        return page
    from metamodel.learners.files import load_learners

    found = load_learners()
    page = replaced(page, predictions_block(found), PREDICTIONS)
    return page if found.elsewhere is None else replaced(page, elsewhere_block(found), ELSEWHERE)


def elsewhere_block(found: Learners) -> str:
    """Return what `make learner-transfer` measured, as a table and sentences."""
    from charkit.answers.accuracy.learner_table import people_learner

    if found.elsewhere is None:
        raise ValueError("learners: expected figures under other encoders, got none.")
    lines = [
        "| encoder | learner | gain | predicted gain | error | of the linear head's prediction "
        "| better one named | in the interval as it is | widened by the others | tasks |",
        "|---" * 10 + "|",
    ]
    rows = found.elsewhere.figures
    for row in sorted(rows, key=lambda r: (not r["known"], r["encoder"], r["learner"])):
        name = f"{row['encoder']} (of the gains)" if row["known"] else row["encoder"]
        right = "-" if row["right"] is None else f"{row['right']:.0%} of {row['apart']} tasks"
        lines.append(
            f"| {name} | {people_learner(row['learner'])} | {row['gain']:+.1f} "
            f"| {row['predicted_gain']:+.1f} | {row['error']:.1f} | {row['error_head']:.1f} "
            f"| {right} | {row['covered']:.0%} | {row['covered_wide']:.0%} | {row['tasks']} |"
        )
    sentence = (
        f"Samples of {found.elsewhere.n0} labels on {found.elsewhere.corpora} corpora that neither the metamodel nor the "
        f"gains know, asked about {found.elsewhere.n} labels; gains over the linear head and errors in points of accuracy, every "
        "task counting alike. *Of the linear head's prediction*: its error for the same truth. *Better one named*: "
        "where the two differ by more than two points. *Widened by the others*: each "
        "encoder left out in turn, the others choose the factor. All together choose "
        f"{found.elsewhere.widening:.2f}."
    )
    return "\n".join([*lines, "", sentence, ""])


def predictions_block(found: Learners) -> str:
    """Return how far off predicted learners are on corpora left out, as tables."""
    from charkit.answers.accuracy.learner_table import people_learner

    errors = [
        "| learner | labels | error | probe's prediction | and mean gain | with features | gained by features "
        "| with the true gain | tasks |",
        "|---" * 9 + "|",
    ]
    others = [
        "| learner | winner named right | learner ahead | in the 90 % interval | tasks | width | runs that failed |",
        "|---" * 7 + "|",
    ]
    for name, row in found.figures.items():
        for at in row["errors"] if len(row["errors"]) > 2 else row["errors"][:1]:
            size = f"{at['n0']:,} to {4 * at['n0']:,}" if at["n0"] else "both"
            errors.append(
                f"| {people_learner(name)} | {size} | {at['shipped']:.1f} | {at['probe']:.1f} | {at['mean_gain']:.1f} "
                f"| {at['features']:.1f} | {at['gained']:+.1f} ({at['low']:+.1f} to {at['high']:+.1f}) "
                f"| {at['true_gain']:.1f} | {at['tasks']} |"
            )
        winner, inside = row["winner"], row["intervals"]
        named = (
            f"{winner['right']:.0%} of {winner['tasks']} tasks"
            if winner["rows"]
            else "none differs"
        )
        ahead = f"{winner['learner_ahead']:.0%}" if winner["rows"] else ""
        failed, runs = row["failed"]
        others.append(
            f"| {people_learner(name)} | {named} | {ahead} | {inside['covered']:.1%} | {inside['tasks_covered']:.0%} "
            f"| {inside['width']:.2f} | {failed} of {runs} |"
        )
    groups = [
        f"| features | {' | '.join(people_learner(name) for name in found.figures)} |",
        "|---" * (1 + len(found.figures)) + "|",
    ]
    by_group = [{g["group"]: g for g in row["groups"]} for row in found.figures.values()]
    for group in by_group[0]:
        cells = [
            f"{g[group]['gained']:+.2f} ({g[group]['low']:+.2f} to {g[group]['high']:+.2f}), {g[group]['tasks']} tasks"
            if group in g
            else ""
            for g in by_group
        ]
        groups.append(f"| {group} | {' | '.join(cells)} |")
    gained = (
        "What each group of features by itself gains over the mean gain, in points with a 90 % interval over corpora; above "
        "0 is better. The penalty, or no feature at all, is chosen on inner folds. *Words and length* is the accuracy "
        "of a head on the random encoder."
    )
    kept = [people_learner(name) for name, row in found.figures.items() if row["features"]]
    ships = (
        f"Features are used for {' and '.join(kept)}."
        if kept
        else "No features are used: the mean gain ships."
    )
    note = (
        f"{found.n_corpora} corpora, each predicted with it left out; mean absolute errors in points of accuracy at 4 "
        f"times the labels, every task counting alike. {ships} *With the true gain*: the error that stays when each task's measured "
        "gain is used, which is that of the linear head's prediction. *Winner*: of learner and linear head, where they "
        "differ by more than 2 points, from 64 and 256 labels. *Learner ahead*: share of these where it is better: "
        "what always naming it gets right. *Tasks*: of which 90 % of the predictions are in the interval."
    )
    return "\n".join([*errors, "", *others, "", note, "", gained, "", *groups, ""])


def gradients_block(found: dict[str, Any]) -> str:
    """Return what `make gradient-study` found: a table, and the largest rank correlation.

    Raises:
        ValueError: No learner was measured on enough corpora.
    """
    from charkit.answers.accuracy.learner_table import people_learner

    learners = found["learners"]
    if not learners:
        raise ValueError(
            "gradients: expected a learner, got none. Run make gradient-study TASKS=..."
        )
    names = [people_learner(own["learner"]) for own in learners]
    lines = [f"| metrics | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    by_group = [{g["group"]: g for g in own["groups"]} for own in learners]
    for group in by_group[0]:
        cells = [
            f"{g[group]['gained']:+.2f} ({g[group]['low']:+.2f} to {g[group]['high']:+.2f})"
            for g in by_group
        ]
        lines.append(f"| {group} | {' | '.join(cells)} |")
    counts = "; ".join(
        f"{name}: {own['rows']} gains on {own['corpora']} corpora"
        for name, own in zip(names, learners, strict=True)
    )
    labels = " or ".join(f"{n}" for n in found["labels"])
    strongest = max(
        (
            (abs(row["rho"]), row, name)
            for name, own in zip(names, learners, strict=True)
            for row in own["correlations"]
            if row["rho"] is not None
        ),
        key=lambda entry: entry[0],
    )
    _, row, name = strongest
    tried = sum(len(own["correlations"]) for own in learners)
    sentence = (
        f"{found['samples']} samples of {labels} labels. {counts}. By how many points each group of "
        "metrics improves on the mean gain, with a 90 % interval over corpora; above 0 is better. The penalty, or no metric at all, is "
        f"chosen on inner folds. The largest of {tried} rank correlations of a metric with a gain is {row['rho']:+.2f} (`{row['metric']}`, {name}, "
        f"{row['n']} labels, {row['tasks']} tasks)."
    )
    return "\n".join([*lines, "", sentence, ""])


def gains_block(rows: list[dict[str, Any]]) -> str:
    """Return what each learner gains on the probe, as a table."""
    names = {"last_layer": "last layer"}
    lines = [
        "| encoder | learner | labels | gain in points (90 % interval) | better on | corpora "
        "| runs | failed |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        lines.append(
            f"| {row['encoder']} | {names.get(row['learner'], row['learner'])} "
            f"| {row['n_train']:,} | {row['gain']:+.1f} ({row['low']:+.1f} to {row['high']:+.1f}) "
            f"| {row['better']:.0%} | {row['corpora']} | {row['runs']} | {row['failed']} |"
        )
    return "\n".join([*lines, ""])


def scorecard_page() -> str:
    """Return the page of the metamodel's scorecard, from results/scorecard.md."""
    found = (ROOT / "results" / "scorecard.md").read_text(encoding="utf-8")
    title, body = found.split("\n", 1)
    note = (
        "Made by `make metadata`, `make metamodel`, `make scorecard` (TASKS=...) and `make docs`. "
        "The table that ships (`metamodel/shipped/`) holds the same with fewer digits and parts "
        "renamed. Candidates were thought of with all of these corpora in view; inner folds chose among them "
        "([how](metamodel.md#how-it-was-chosen)). "
        "Pieces of tasks that share a corpus are always left out together."
    )
    picture, rest = body.lstrip("\n").split("\n", 1)
    return f"{title}\n\n{picture}\n{_before_tables(rest, note)}"


def _before_tables(body: str, note: str) -> str:
    """Return a scorecard's text with what validation found and a note before the first table."""
    first = "## "
    place = body.index(first)
    return f"{body[:place]}{_validated()} {note}\n\n{body[place:]}"


def _validated() -> str:
    """Return what the metamodel did on the corpora that it did not learn from."""
    from metamodel.judge.transfer import load_transfer

    transfer = load_transfer()
    (own,) = [row for row in transfer.figures if row["known"]]
    errors = " / ".join(f"{own[f'error_{k}']:.1f}" for k in (2, 4, 8))
    last = " / ".join(f"{own[f'last_{k}']:.1f}" for k in (2, 4, 8))
    return (
        f"**On {transfer.corpora} corpora that it did not learn from** (pilots of 64 to 256 labels, all "
        f"layers; one weight was thought of with them in view) the error at 2, 4 and 8 times the labels is {errors} points ({last} for the accuracy "
        f"on the sample), and {100 * own['covered']:.0f} % of the predictions are in their 90 % interval: both are "
        "worse there than here ([more](metamodel.md#how-it-was-chosen))."
    )
