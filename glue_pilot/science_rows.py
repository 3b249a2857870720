"""The tables of the study of embeddings, and the rows of them that are shown."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from glue_pilot.science_matrices import Choice, default_choices
from glue_pilot.science_tables import RELATIONS

RIVALS = {
    "text, mean states": Choice("text", "cosine", 0, "{L}"),
    "text, centred": Choice("text", "centred cosine", 0, "{L}"),
    "text, Fréchet": Choice("text", "frechet", 0, "{L}"),
    "norm alone": Choice("norm", "difference of log norm", -1),
    "LogME difference": Choice("score", "difference of LogME"),
    "number of classes": Choice("classes", "difference of log classes"),
    "chance": Choice("chance", "chance"),
}


@dataclass(frozen=True, eq=False)
class Tables:
    """All tables of the study.

    Attributes:
        siblings: From `sibling_table`, one size after the other.
        paired: From `paired_table`.
        draws: From `draw_table`.
        relabelled: From `relabelled_table`.
        norms: From `norm_table`.
        slopes: From `slope_table`.
        sizes: From `across_sizes`.
        embeddings: The norms of all samples.
        p_values: Of the choices made before looking: relation, method, measure, p.
        n_layers: Of the encoder.
        n: The size that figures show.
        n_heads: The largest size with heads at every layer.
    """

    siblings: pd.DataFrame
    paired: pd.DataFrame
    draws: pd.DataFrame
    relabelled: pd.DataFrame
    norms: pd.DataFrame
    slopes: pd.DataFrame
    sizes: pd.DataFrame
    embeddings: pd.DataFrame
    p_values: pd.DataFrame
    n_layers: int
    n: int
    n_heads: int


def methods(n_layers: int) -> dict[str, Choice]:
    """Return the methods that tables and figures name, in order."""
    rivals = {}
    for name, choice in RIVALS.items():
        layers = choice.layers.replace("{L}", str(n_layers))
        head = n_layers if choice.head_layer else 0
        rivals[name] = Choice(choice.family, choice.metric, head, layers)
    fisher = {f"Fisher, {name}": choice for name, choice in default_choices(n_layers).items()}
    return fisher | rivals


def pick(table: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """Return the rows of one choice."""
    return table[
        (table["family"] == choice.family)
        & (table["metric"] == choice.metric)
        & (table["head_layer"] == choice.head_layer)
        & (table["layers"] == choice.layers)
    ]


def best(table: pd.DataFrame, column: str, *, family: str = "fisher") -> pd.Series:
    """Return the row with the largest value of a family."""
    part = table[table["family"] == family]
    return part.iloc[int(part[column].argmax())]


def named(row: pd.Series) -> str:
    """Return a row's choice in words."""
    return str(Choice(row["family"], row["metric"], int(row["head_layer"]), row["layers"]))


def sibling_rows(tables: Tables) -> pd.DataFrame:
    """Return NDCG and the rest by method and relation, at the size that figures show."""
    part = tables.siblings[tables.siblings["n"] == tables.n]
    rows = []
    for relation in RELATIONS:
        of_relation = part[part["relation"] == relation]
        if len(of_relation):
            chosen = of_relation[of_relation["family"] == "chosen"].assign(method="Fisher, chosen")
            named_ones = [
                pick(of_relation, choice).assign(method=name)
                for name, choice in methods(tables.n_layers).items()
            ]
            rows += [*named_ones[:2], chosen, *named_ones[2:]]
    return pd.concat(rows, ignore_index=True)


def every_pair(tables: Tables, n: int | None = None) -> pd.DataFrame:
    """Return the rows of all pairs of labellings at a size, the largest by default."""
    part = tables.relabelled
    size = part["n"].max() if n is None else n
    return part[(part["pair"] == "all") & (part["n"] == size)]


def relabelled_rows(tables: Tables) -> pd.DataFrame:
    """Return the shares of cases told right by method: last head, all layers; then rivals."""
    part = every_pair(tables)
    layers = f"1-{tables.n_layers}"
    fisher = part[
        (part["family"] == "fisher")
        & (part["head_layer"] == tables.n_layers)
        & (part["layers"] == layers)
    ].sort_values("same_texts", ascending=False)
    names = "Fisher, " + fisher["metric"].str.replace("_", " ").replace(
        {"cosine": "Task2Vec's cosine", "log ratio": "log-ratio"}
    )
    rivals = part[part["family"].isin(("norm", "text"))]
    words = {"norm": "norm alone", "text": "text, any distance"}
    return pd.concat(
        [fisher.assign(method=names), rivals.assign(method=rivals["family"].map(words))],
        ignore_index=True,
    )


def layer_rows(tables: Tables) -> pd.DataFrame:
    """Return what each layer alone tells under the last head, with the log-ratio distance."""
    head, metric = tables.n_layers, "log_ratio"
    siblings = tables.siblings[
        (tables.siblings["n"] == tables.n) & (tables.siblings["relation"] == "label")
    ]
    sources = [
        ("siblings by\nkind of label\n(NDCG)", siblings, "ndcg"),
        ("other draw\nis nearest", tables.draws[tables.draws["n"] == tables.n], "precision_at_1"),
    ]
    if len(tables.relabelled):
        sources.append(("other labels,\nsame texts", every_pair(tables), "same_texts"))
    rows = []
    for question, table, column in sources:
        for layer in range(1, head + 1):
            found = pick(table, Choice("fisher", metric, head, str(layer)))
            if len(found):
                rows.append({"question": question, "layer": layer, "value": found.iloc[0][column]})
    return pd.DataFrame(rows, columns=["question", "layer", "value"])


def quantities(norms: pd.DataFrame, first: str, second: str, given: str) -> pd.Series:
    """Return the row of two quantities."""
    found = norms[
        (norms["first"] == first) & (norms["second"] == second) & (norms["given"] == given)
    ]
    return found.iloc[0]
