"""What a run found, in a few sentences: which layer, how much data, what Fisher adds, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from charkit.report.figures.means import layer_range
from charkit.report.pages.curves import TaskCurve, by_encoder, rough, share_of_gain, tasks_led
from charkit.report.pages.html import first_sentence
from charkit.report.pages.run_data import Experiment, RunFolder, coverage_words, error_of
from metamodel.judge.scorecard import OURS

_FISHER = "no_fisher"

# Errors this near to each other, in points, are called the same: the page shows one decimal.
_NEAR = 0.05

_MOST_NAMED = 6  # names fill two lines
_CUT_SHARE = 0.05  # of the texts: a smaller share that is cut is worth no doubt


def question_of(run: RunFolder) -> str:
    """Return what the page answers."""
    if run.experiments or run.scorecard:
        return "Which layer, how many labels, and how far does the Fisher embedding explain it?"
    return "Which layer, and how many labels?"


def layer_words(curves: Sequence[TaskCurve]) -> str:
    """Return which layer is best, over tasks, each at its largest size."""
    known = [c for c in curves if c.signal and c.n_layers > 1]
    if not known:
        return ""
    if len(known) == 1:
        only = known[0]
        tied = [k for k in only.last.tied if k != only.layer]
        level = f"; level with it: {layer_range(tied)}" if tied else ""
        return f"Layer {only.layer} of {only.deepest} is best{level}."
    ahead = [c for c in known if c.deepest not in c.last.tied]
    counts = Counter(c.layer for c in known)
    most = max(counts.values())
    best = [layer for layer, count in counts.items() if count == most]
    often = ""
    if most > 1:
        names = f"layers {layer_range(best)}" if len(best) > 1 else f"layer {best[0]}"
        have = "have" if len(best) > 1 else "has"
        deepest = max(c.deepest for c in known)
        often = f"; {names} of {deepest} {have} the highest mean most often ({most} tasks)"
    if not ahead:
        return f"The last layer keeps up on all {len(known)} tasks with signal{often}."
    return (
        f"An earlier layer beats the last on {len(ahead)} of {len(known)} tasks with signal{often}."
    )


def data_words(curves: Sequence[TaskCurve]) -> str:
    """Return how much data brings most of what was measured."""
    needed = share_of_gain(curves, 0.9)
    if not needed:
        return ""
    last = max(p.n for c in curves if c.signal for p in c.points)
    middle, low, high = (rough(one(needed)) for one in (median, min, max))
    if len(needed) == 1:
        return f"{middle:,} of {last:,} labels bring 90 % of the measured gain."
    span = f" ({low:,} to {high:,})" if low < high else ""
    return (
        f"Nine tenths of the measured gain come with {middle:,} labels in the median task{span}; "
        f"{last:,} at most were measured."
    )


def fisher_words(run: RunFolder) -> str:
    """Return what the Fisher embedding adds to the predictions, by the scorecard."""
    ours, without = error_of(run.scorecard, OURS), error_of(run.scorecard, _FISHER)
    if ours is None:
        return ""
    words = (
        f"Accuracies with 2 to 8 times the labels are predicted {ours:.1f} points off on average"
    )
    power_law = error_of(run.scorecard, "pow2")
    if power_law is not None:
        words += f" (power law {power_law:.1f})"
    if without is None:
        return f"{words}."
    if abs(without - ours) < _NEAR:
        same = f"{without:.2f} against {ours:.2f}"
        return f"{words}; without the Fisher features the error is the same ({same})."
    return f"{words}; without the Fisher features {without:.1f}, no interval known."


def failure_words(curves: Sequence[TaskCurve]) -> str:
    """Return on which tasks no layer ends above the controls."""
    without = [c.task for c in curves if not c.signal]
    if not without:
        return ""
    names = ", ".join(sorted(without)[:_MOST_NAMED])
    more = f" and {len(without) - _MOST_NAMED} more" if len(without) > _MOST_NAMED else ""
    return f"No layer ends clearly above the controls on {names}{more}."


def _layers_and_data(curves: Sequence[TaskCurve]) -> list[str]:
    """Return which layer and how much data, of every encoder where there are several."""
    groups = by_encoder(curves)
    if len(groups) < 2:
        return [layer_words(curves), data_words(curves)]
    led = tasks_led(curves)
    first, number = next(iter(groups)), led.total()
    where = f"on {max(led.values())} of {number} tasks" if number > 1 else "on the task"
    lines = [f"Of {len(groups)} encoders, {first} ends highest {where}."]
    for name, own in groups.items():
        words = " ".join(w for w in (layer_words(own), data_words(own)) if w)
        lines.append(f"{name}: {words}" if words else "")
    return lines


def sentences_of(run: RunFolder, curves: Sequence[TaskCurve]) -> list[str]:
    """Return the answer in a few sentences, the most important first; at least one."""
    found = [*_layers_and_data(curves), fisher_words(run), failure_words(curves)]
    if not any(found) and run.experiments:
        found = [first_sentence(run.experiments[0].finding)]
    return [s for s in found if s] or ["No finished result shows an answer yet."]


def short_of(experiment: Experiment) -> str:
    """Return an experiment's finding in a sentence."""
    return experiment.headline or first_sentence(experiment.finding) or "No finding was written."


def warnings_of(
    run: RunFolder, curves: Sequence[TaskCurve], unseen: Sequence[str]
) -> list[tuple[str, str, str]]:
    """Return what to doubt, or to know, about the run.

    Args:
        run: The folder.
        curves: Its curves.
        unseen: Names of figures that the page has no room for.
    """
    found: list[tuple[str, str, str]] = []
    if run.table is not None:
        found += _of_table(run)
        if not curves:
            found.append(("no_cells", "No cell of the sweep is finished.", "refusal"))
        mixed = {c.metric for c in curves}
        if len(mixed) > 1:
            names = ", ".join(sorted(mixed, key=str.lower))
            words = f"Tasks have metrics of their own ({names}): heights of lines do not compare."
            found.append(("metrics_differ", words, "note"))
    if run.other_tables:
        names = ", ".join(run.other_tables)
        words = f"The folder holds more tables of sweeps that are not shown: {names}."
        found.append(("more_tables", words, "note"))
    if unseen:
        count = f"{len(unseen)} figure{'s' * (len(unseen) > 1)}"
        words = f"{count} found no room in this page: {', '.join(unseen[:_MOST_NAMED])}."
        found.append(("figures_left_out", words, "note"))
    if covered := coverage_words(run.scorecard):
        found.append(("coverage", covered, "note"))
    return found


def _of_table(run: RunFolder) -> list[tuple[str, str, str]]:
    assert run.table is not None
    table, found = run.table, []
    failed = int((table["state"] == "failed").sum())
    if failed:
        words = f"{failed:,} of {len(table):,} cells failed and are left out."
        found.append(("cells_failed", words, "warning"))
    real = table[(table["control"] == "none") & (table["state"] == "done")]
    loose = int((~real["converged"].astype(bool)).sum())
    if loose:
        words = f"{loose:,} of {len(real):,} heads did not meet the solver's tolerance."
        found.append(("not_converged", words, "warning"))
    cut = real.groupby("task")["frac_truncated"].max()
    cut = cut[cut > _CUT_SHARE].sort_values(ascending=False)
    if len(cut):
        names = ", ".join(f"{task} {share:.0%}" for task, share in cut.head(_MOST_NAMED).items())
        words = f"Texts are cut at the encoder's maximum length: {names.replace('%', ' %')}."
        found.append(("texts_cut", words, "doubt"))
    return found
