"""Boosted trees read from LightGBM's text and asked without LightGBM.

Importing LightGBM costs more time than an answer's prediction: it imports scikit-learn and
SciPy's statistics. Predictions are LightGBM's to the last bit (the same comparisons, the same
order of sums), contributions within rounding.

A contribution is the Shapley value of a feature: the mean over all orders of the features of what
knowing it changes, where a feature that is not known sends a row down both branches, in the
shares of the training rows that went there (path-dependent TreeSHAP). A tree is the sum of its
leaves, and a leaf is a product over the features on its path, so that its Shapley values follow
from the coefficients of one polynomial.

References:
    Ke and others 2017, "LightGBM: a highly efficient gradient boosting decision tree".
    Lundberg and others 2020, "From local explanations to global understanding with explainable
    AI for trees".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_CATEGORICAL, _DEFAULT_LEFT, _MISSING_ZERO, _MISSING_NAN = 1, 2, 4, 8
_ZERO = float(np.float32(1e-35))  # LightGBM takes numbers up to this for zero
# Rows walked through the trees at once: bounds the memory, changes no number.
_CHUNK = 512


@dataclass(frozen=True, eq=False)
class _Tree:
    """One tree; children below 0 are leaves, -1 the first."""

    feature: IntArray
    threshold: FloatArray
    decision: IntArray
    children: IntArray  # (n_splits, 2): left, right
    value: FloatArray  # (n_leaves,)
    count: FloatArray  # (n_leaves,)
    inner_count: FloatArray  # (n_splits,)

    def goes_left(self, row: FloatArray) -> NDArray[np.bool_]:
        """Return for each split whether a row goes left."""
        return _left(row[self.feature], self.threshold, self.decision)

    def size(self, node: int) -> float:
        return float(self.inner_count[node] if node >= 0 else self.count[~node])

    def paths(self) -> list[tuple[int, list[tuple[int, int, float]]]]:
        """Return each leaf with its splits: (split, side, share of the rows that went there)."""
        found: list[tuple[int, list[tuple[int, int, float]]]] = []
        open_nodes: list[tuple[int, list[tuple[int, int, float]]]] = []
        open_nodes.append((0 if len(self.feature) else -1, []))
        while open_nodes:
            node, path = open_nodes.pop()
            if node < 0:
                found.append((~node, path))
                continue
            for side in (0, 1):
                child = int(self.children[node, side])
                share = self.size(child) / self.size(node)
                open_nodes.append((child, [*path, (node, side, share)]))
        return found


@dataclass(frozen=True, eq=False)
class Trees:
    """Boosted trees.

    Attributes:
        text: What LightGBM wrote.
        names: Features, in the order of the columns.
        trees: Them, in the order of the sums.
    """

    text: str
    names: tuple[str, ...]
    trees: tuple[_Tree, ...]

    def model_to_string(self) -> str:
        """Return the text that they were read from."""
        return self.text

    def feature_name(self) -> list[str]:
        """Return the names of the columns."""
        return list(self.names)

    def predict(
        self, rows: FloatArray, *, pred_contrib: bool = False, num_threads: int = 1
    ) -> FloatArray:
        """Return predictions (n,), or contributions and the level, (n, n_features + 1).

        Args:
            rows: One column a feature, NaN where one is not known, (n, n_features).
            pred_contrib: Whether contributions are asked for.
            num_threads: For LightGBM's sake; one is used.
        """
        del num_threads
        if pred_contrib:
            return np.stack([self._contributions(row) for row in np.asarray(rows)])
        parts = [self._values(rows[i : i + _CHUNK]) for i in range(0, len(rows), _CHUNK)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _values(self, rows: FloatArray) -> FloatArray:
        total = np.zeros(len(rows))
        for tree in self.trees:
            node = np.full(len(rows), 0 if len(tree.feature) else -1)
            inside = np.flatnonzero(node >= 0)
            while len(inside):
                at = node[inside]
                values = rows[inside, tree.feature[at]]
                left = _left(values, tree.threshold[at], tree.decision[at])
                node[inside] = tree.children[at, np.where(left, 0, 1)]
                inside = inside[node[inside] >= 0]
            total += tree.value[~node]
        return total

    def _contributions(self, row: FloatArray) -> FloatArray:
        found = np.zeros(len(self.names) + 1)
        for tree in self.trees:
            left = tree.goes_left(row)
            for leaf, path in tree.paths():
                factors: dict[int, tuple[float, float]] = {}
                for split, side, share in path:
                    feature = int(tree.feature[split])
                    one, zero = factors.get(feature, (1.0, 1.0))
                    goes = float(bool(left[split]) == (side == 0))
                    factors[feature] = one * goes, zero * share
                value = float(tree.value[leaf])
                level = float(np.prod([zero for _, zero in factors.values()]))
                found[-1] += value * level
                for feature, part in _shapley(factors).items():
                    found[feature] += value * part
        return found


def _left(values: FloatArray, threshold: FloatArray, decision: IntArray) -> NDArray[np.bool_]:
    """Return whether values go left at splits, as LightGBM decides it."""
    unknown = np.isnan(values)
    by_nan = (decision & _MISSING_NAN) > 0
    known = np.where((unknown & ~by_nan) | (np.abs(values) <= _ZERO), 0.0, values)
    by_zero = (decision & _MISSING_ZERO) > 0
    missing = (by_nan & unknown) | (by_zero & (np.abs(known) <= _ZERO))
    with np.errstate(invalid="ignore"):
        return np.where(missing, (decision & _DEFAULT_LEFT) > 0, known <= threshold)


def _shapley(factors: dict[int, tuple[float, float]]) -> dict[int, float]:
    """Return the Shapley values of a product of factors: (if known, if not known) a feature."""
    n = len(factors)
    found = {}
    for feature, (one, zero) in factors.items():
        if one == zero:
            continue
        # the coefficient of t^k: the sum over all sets of k other features that are known
        sums = [1.0]
        for other, (o, z) in factors.items():
            if other != feature:
                low = [z * s for s in sums] + [0.0]
                for k, s in enumerate(sums):
                    low[k + 1] += o * s
                sums = low
        mean = sum(s / comb(n - 1, k) for k, s in enumerate(sums)) / n
        found[feature] = (one - zero) * mean
    return found


def read_trees(text: str) -> Trees:
    """Read the trees of LightGBM's text.

    Raises:
        ValueError: The text is damaged, or has what is not read: categories, linear leaves,
            several outputs.
    """
    head, *parts = text.split("\nTree=")
    facts = _fields(head)
    if facts.get("num_tree_per_iteration") != "1" or "average_output" in head.split():
        raise ValueError("trees: expected one tree a round and their sum, got others.")
    try:
        names = tuple(facts["feature_names"].split())
        trees = tuple(_tree(_fields(part)) for part in parts)
    except KeyError as error:
        raise ValueError(f"trees: expected a line {error}, got none.") from None
    return Trees(text, names, trees)


def _fields(part: str) -> dict[str, str]:
    lines = (line.partition("=") for line in part.split("\nend of trees")[0].splitlines())
    return {name: value for name, mark, value in lines if mark}


def _tree(fields: dict[str, str]) -> _Tree:
    if fields["num_cat"] != "0" or fields.get("is_linear", "0") != "0":
        raise ValueError("trees: expected plain splits and leaves, got categories or lines.")
    many = int(fields["num_leaves"]) > 1

    def numbers(name: str, kind: Any) -> NDArray[Any]:
        return np.array(fields[name].split() if many else [], kind)

    children = np.stack([numbers("left_child", np.int64), numbers("right_child", np.int64)], 1)
    leaves = np.array(fields["leaf_value"].split(), np.float64)
    count = np.array(fields["leaf_count"].split(), np.float64) if many else np.ones(len(leaves))
    tree = _Tree(
        feature=numbers("split_feature", np.int64),
        threshold=numbers("threshold", np.float64),
        decision=numbers("decision_type", np.int64),
        children=children,
        value=leaves,
        count=count,
        inner_count=numbers("internal_count", np.float64),
    )
    if len({len(tree.feature), len(tree.threshold), len(tree.decision), len(children)}) != 1:
        raise ValueError("trees: expected as many thresholds as splits, got others.")
    if (tree.decision & _CATEGORICAL).any():
        raise ValueError("trees: expected plain splits, got categories.")
    return tree
