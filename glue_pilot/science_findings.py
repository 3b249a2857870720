"""What the tables of the study of embeddings say, a paragraph a question, written from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from glue_pilot.science_matrices import Choice, default_choices
from glue_pilot.science_rows import (
    Tables,
    best,
    every_pair,
    layer_rows,
    methods,
    named,
    pick,
    quantities,
    relabelled_rows,
    sibling_rows,
)
from glue_pilot.science_tables import RELATIONS

FEW_CORPORA = 5
"""From fewer corpora intervals say little."""

RELATION_WORDS = {
    "corpus": "the same corpus",
    "domain": "the same domain, another corpus",
    "label": "the same kind of label, another corpus",
}


def findings(tables: Tables) -> str:
    """Return the page of findings as Markdown."""
    sections = (
        ("Are tasks with the same texts, domain or kind of label near?", _siblings),
        ("Is another draw of the same task the nearest?", _draws),
        ("The same texts under other labels", _relabelled),
        ("Which layers and heads", _layers),
        ("Sample size", _sizes),
        ("Norm, error and number of classes", _norms),
    )
    lines = ["# Fisher embeddings of real tasks: what was found", "", _what(tables), ""]
    for title, write in sections:
        lines += [f"## {title}", "", *write(tables), ""]
    return "\n".join(lines)


def _what(tables: Tables) -> str:
    held = tables.embeddings
    sizes = ", ".join(f"{n:,}" for n in sorted(held["n"].unique()))
    samples = held.drop_duplicates(["task", "n", "draw"])
    return (
        f"{held['task'].nunique()} tasks from {held['corpus'].nunique()} corpora, {len(samples)} "
        f"samples of {sizes} labelled texts; two draws of one size share no text. Every distance "
        f"was looked at for each layer and for all, at n = {held['n'].min()} also for every range "
        "of layers and every head; *best* ones below were picked on the "
        "tasks they are reported for and are therefore a little lucky. Fair numbers are those of "
        "the two choices made before (last head, all layers; Task2Vec's cosine and the log-ratio "
        "distance) and of *chosen*: for each query the choice that is best on all other corpora."
    )


def _table(rows: list[list[str]], head: list[str]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def _span(row: pd.Series, column: str) -> str:
    value = f"{row[column]:.2f}"
    low = row.get(f"{column}_low", np.nan)
    return value if pd.isna(low) else f"{value} ({low:.2f} to {row[f'{column}_high']:.2f})"


def _siblings(tables: Tables) -> list[str]:
    rows = sibling_rows(tables)
    lines = []
    for relation, part in rows.groupby("relation", sort=False):
        by_method: Any = part.set_index("method")
        ours, theirs = (
            by_method.loc["Fisher, log-ratio"],
            by_method.loc["Fisher, Task2Vec's cosine"],
        )
        texts = by_method[by_method["family"] == "text"]
        text_name = str(texts["ndcg"].idxmax())
        text = texts.loc[text_name]
        every = tables.siblings[
            (tables.siblings["n"] == tables.n) & (tables.siblings["relation"] == relation)
        ]
        top = best(every, "ndcg")
        lines.append(
            f"**{RELATION_WORDS[str(relation)].capitalize()}** ({int(ours['queries'])} queries, "
            f"n = {tables.n}). NDCG {_span(ours, 'ndcg')} with the log-ratio distance, "
            f"{_span(theirs, 'ndcg')} with Task2Vec's, {_span(text, 'ndcg')} with the best text "
            f"embedding ({text_name}), {by_method.loc['chance', 'ndcg']:.2f} by chance; "
            f"{_p_words(tables, str(relation))}. The siblings' average rank: "
            f"{ours['average_rank']:.1f}, {theirs['average_rank']:.1f}, "
            f"{text['average_rank']:.1f}, {by_method.loc['chance', 'average_rank']:.1f}. "
            f"{_paired_words(tables, str(relation))} "
            f"Best of all choices: {named(top)} ({_span(top, 'ndcg')}); chosen on other corpora: "
            f"{_span(by_method.loc['Fisher, chosen'], 'ndcg')}."
        )
        lines.append("")
    lines += _sibling_table(rows)
    lines += [
        "",
        "The differences of norms, LogME scores and class counts stand here as controls: one "
        "number a task is no description of a task, and a LogME score is made to compare encoders "
        "on one task, not tasks with each other.",
    ]
    return lines


def _paired_words(tables: Tables, relation: str) -> str:
    part = tables.paired
    part = part[(part["n"] == tables.n) & (part["relation"] == relation)]
    row = part[part["method"] == "log-ratio"].iloc[0]
    shown = f"{row['gain']:+.2f} (90 % interval {row['low']:+.2f} to {row['high']:+.2f})"
    if row["low"] > 0:
        verdict = "reading the labels helps"
    elif row["high"] < 0:
        verdict = "texts alone do better"
    else:
        verdict = "no difference is shown"
    few = ""
    if row["corpora"] < FEW_CORPORA:
        few = f" The queries are from {row['corpora']} corpora: intervals over so few say little."
    return f"Log-ratio less centred text embeddings, on the same queries: {shown}: {verdict}.{few}"


def _p_words(tables: Tables, relation: str) -> str:
    part = tables.p_values
    part = part[(part["relation"] == relation) & (part["measure"] == "ndcg")]
    found = zip(part["p"], part["method"], strict=True)
    return "permutation test against chance: " + ", ".join(f"p = {p:.3f} ({m})" for p, m in found)


def _sibling_table(rows: pd.DataFrame) -> list[str]:
    head = ["method", *(RELATION_WORDS[r] for r in rows["relation"].unique())]
    lines = []
    for method, part in rows.groupby("method", sort=False):
        cells = [str(method)]
        for relation in rows["relation"].unique():
            found = part[part["relation"] == relation]
            if len(found) and pd.notna(found.iloc[0]["precision_at_1"]):
                row = found.iloc[0]
                cells.append(
                    f"{row['ndcg']:.2f}, rank {row['average_rank']:.1f}, "
                    f"{100 * row['precision_at_1']:.0f} %"
                )
            else:
                cells.append(f"{found.iloc[0]['ndcg']:.2f}" if len(found) else "")
        lines.append(cells)
    return ["NDCG, average rank, precision at 1:", "", *_table(lines, head)]


def _draws(tables: Tables) -> list[str]:
    lines, rows = [], []
    for n, part in tables.draws.groupby("n"):
        chosen = methods(tables.n_layers)
        ours = pick(part, chosen["Fisher, log-ratio"]).iloc[0]
        theirs = pick(part, chosen["Fisher, Task2Vec's cosine"]).iloc[0]
        top = best(part, "precision_at_1")
        text = best(part, "precision_at_1", family="text")
        lines.append(
            f"n = {n}: of {int(ours['queries'])} samples the nearest of all others is the other "
            f"draw of the same task for {_percent(ours)} with the log-ratio distance and "
            f"{_percent(theirs)} with Task2Vec's (last head, all layers); best choice: "
            f"{named(top)}, {_percent(top)}; text embeddings: {_percent(text)} ({named(text)}). "
            "Texts of one source are easy to know again, labels or not."
        )
        lines.append("")
        for name, choice in chosen.items():
            found = pick(part, choice)
            if len(found):
                rows.append([name, f"{n}", _percent(found.iloc[0])])
    return [*lines, *_table(rows, ["method", "n", "other draw is nearest"])]


def _percent(row: pd.Series) -> str:
    return f"{100 * row['precision_at_1']:.0f} %"


def _relabelled(tables: Tables) -> list[str]:
    if not len(tables.relabelled):
        return ["No task was relabelled."]
    rows = relabelled_rows(tables)
    part = tables.relabelled
    ours = rows[rows["method"] == "Fisher, log-ratio"].iloc[0]
    theirs = rows[rows["method"] == "Fisher, Task2Vec's cosine"].iloc[0]
    norm = rows[rows["method"] == "norm alone"].iloc[0]
    top = best(every_pair(tables), "same_texts")
    lines = [
        f"{int(ours['bases'])} tasks, {int(ours['cases'])} cases, n = {int(ours['n'])}: an anchor, "
        "another draw of texts under the anchor's labels, and the anchor's own texts under other "
        "labels. Which of the two is nearer? A distance of texts is nought to its own texts and is "
        f"wrong in every case ({ours['same_texts']:.2f} right with the log-ratio distance, "
        f"{theirs['same_texts']:.2f} with Task2Vec's, {norm['same_texts']:.2f} with norms alone, 0 "
        "with texts). When the other labels are those of the other draw's texts, so that texts "
        f"tell nothing: {ours['other_texts']:.2f}, {theirs['other_texts']:.2f}, "
        f"{norm['other_texts']:.2f} and 0.50. The gap between the two says how much of an "
        f"embedding is its texts. Best choice: {named(top)}, {top['same_texts']:.2f} on average "
        f"and {top['same_texts_worst']:.2f} on its worst task.",
        "",
    ]
    cells = []
    for (n, pair), found in part.groupby(["n", "pair"], sort=False):
        top = best(found, "same_texts")
        row = [f"{n}", str(pair)]
        for choice in default_choices(tables.n_layers).values():
            row.append(_both(pick(found, choice).iloc[0]))
        cells.append([*row, f"{_both(top)} ({named(top)})"])
    head = ["n", "labels compared", *default_choices(tables.n_layers), "best choice"]
    return [
        *lines,
        "Against the same texts / other texts. Two halvings of the same classes are the hard case: "
        "the same number of classes, nearly the same difficulty.",
        "",
        *_table(cells, head),
    ]


def _both(row: pd.Series) -> str:
    return f"{row['same_texts']:.2f} / {row['other_texts']:.2f}"


def _layers(tables: Tables) -> list[str]:
    rows = layer_rows(tables)
    lines = []
    for question, part in rows.groupby("question", sort=False):
        top = part.iloc[int(part["value"].argmax())]
        low = part.iloc[int(part["value"].argmin())]
        word = " ".join(str(question).split())
        lines.append(
            f"- {word}: layer {int(top['layer'])} alone is best ({top['value']:.2f}), layer "
            f"{int(low['layer'])} worst ({low['value']:.2f})."
        )
    note = (
        f"Each layer alone under a head on the last layer, log-ratio distance, n = {tables.n}. "
        f"Below: heads at other layers, all layers up to the head, n = {tables.n_heads}."
    )
    cells = []
    for head in range(1, tables.n_layers + 1):
        layers = f"1-{head}" if head > 1 else "1"
        choice = Choice("fisher", "log_ratio", head, layers)
        row = [str(head)]
        label = tables.siblings.query("n == @tables.n_heads and relation == 'label'")
        sources = [
            (label, "ndcg"),
            (tables.draws[tables.draws["n"] == tables.n_heads], "precision_at_1"),
        ]
        if len(tables.relabelled):
            sources.append((every_pair(tables, tables.n_heads), "same_texts"))
        for table, column in sources:
            found = pick(table, choice)
            row.append(f"{found.iloc[0][column]:.2f}" if len(found) else "")
        cells.append(row)
    head_names = ["head at layer", "siblings by kind of label", "other draw is nearest"]
    if len(tables.relabelled):
        head_names.append("other labels, same texts")
    return [note, "", *lines, "", *_table(cells, head_names)]


def _sizes(tables: Tables) -> list[str]:
    if not len(tables.slopes):
        return ["Only one size was embedded."]
    slopes = tables.slopes["slope"]
    lines = [
        "The norm is no constant of a task: with more labels the head is trained further, and its "
        f"gradients change. Slope of log norm on log n, median over {len(slopes)} tasks: "
        f"{slopes.median():.2f}, the middle half from {slopes.quantile(0.25):.2f} to "
        f"{slopes.quantile(0.75):.2f}; {100 * (slopes > 0).mean():.0f} % of tasks rise. Compare "
        "norms of samples of one size only.",
        "",
    ]
    cells = []
    for n, part in tables.siblings.groupby("n"):
        for name, choice in default_choices(tables.n_layers).items():
            row = [f"{n:,}", name]
            for relation in RELATIONS:
                found = pick(part[part["relation"] == relation], choice)
                row.append(_span(found.iloc[0], "ndcg") if len(found) else "")
            cells.append(row)
    lines += ["NDCG of the siblings by sample size:", ""]
    lines += _table(cells, ["n", "distance", *(RELATION_WORDS[r] for r in RELATIONS)])
    lines.append("")
    for _, of_pair in tables.sizes.iterrows():
        lines.append(
            f"- {of_pair['queries']} samples of {of_pair['small']} texts among "
            f"{of_pair['library']} of {of_pair['large']} other texts: the nearest is of the same "
            f"task for {_percent(of_pair)} ({named(of_pair)})."
        )
    return lines


def _norms(tables: Tables) -> list[str]:
    last = tables.norms[
        (tables.norms["head_layer"] == tables.n_layers) & (tables.norms["layer"] == 0)
    ]
    cells, sentences = [], []
    for n, part in last.groupby("n"):
        for _, row in part.iterrows():
            what = f"{row['first']} and {row['second']}"
            what += f", given {row['given']}" if row["given"] else ""
            value = f"{row['spearman']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
            cells.append([f"{n}", what, value, f"{row['tasks']}"])
    shown = last[last["n"] == tables.n]
    plain = quantities(shown, "norm", "error", "")
    given = quantities(shown, "norm", "error", "classes")
    other = quantities(shown, "norm", "classes", "error")
    sentences.append(
        f"n = {tables.n}, {int(plain['tasks'])} classification tasks: Spearman's correlation of "
        f"the norm and the error of the head is {_ends(plain)}; given the number of classes "
        f"{_ends(given)}. Of the norm and the number of classes, given the error: {_ends(other)}. "
        + _norm_verdict(given, other)
        + " The norm follows the L2 strength that was chosen for the head: "
        f"{_ends(quantities(shown, 'norm', 'strength', ''))}; where next to nothing is found in "
        "the texts, the penalty is large and the norm next to nought."
    )
    head = ["n", "quantities", "Spearman (90 % interval)", "tasks"]
    return [*sentences, "", *_table(cells, head)]


def _ends(row: pd.Series) -> str:
    return f"{row['spearman']:.2f} (90 % interval {row['low']:.2f} to {row['high']:.2f})"


def _norm_verdict(error: pd.Series, classes: pd.Series) -> str:
    def sign(row: pd.Series) -> str:
        if row["low"] > 0:
            return "a positive relation"
        return "a negative relation" if row["high"] < 0 else "no relation that can be shown"

    return (
        f"So with classes held fixed the norm has {sign(error)} with the error, and with the error "
        f"held fixed {sign(classes)} with the number of classes."
    )
