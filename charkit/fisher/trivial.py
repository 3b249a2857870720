"""The embedding of a task without information: the prior, and nothing else.

Achille and others 2019, section 3.1: "In case the task is trivial (the loss is constant or there
are too few samples) the embedding will coincide with the prior lambda^2 I, which we will refer to
as the trivial embedding." Section 3.3: "complexity can be measured as the distance from the trivial
embedding", d_asym(a -> b) = d_sym(a, b) - alpha d_sym(a, trivial).

With F = 0 in (beta / 2N) Lambda = F + (beta lambda^2 / 2N) I the prior is left: one number a layer.
The paper's embeddings contain that term too. Direct embeddings (only F) do not, and the cosine of
a / (a + b) and b / (a + b) against a constant would not measure complexity: as F shrinks it tends
to 1 - cos(F, 1), not to zero. So add the trivial embedding first:

    complexity of a = d_sym(a + trivial, trivial)

is zero for F = 0, rises with the norm of F, and is the same in other units if the prior is. A
variational embedding has its prior inside: d_sym(a, trivial).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from charkit.errors import DataError, UsageError
from charkit.fisher.embedding import TaskEmbedding, check_comparable


def trivial_embedding(
    like: TaskEmbedding | Sequence[TaskEmbedding],
    *,
    precision: float | Mapping[int, float] | None = None,
) -> TaskEmbedding:
    """Return the prior as an embedding: one positive number for each layer.

    Args:
        like: What it is to be compared with; slices, encoder and estimand are taken over. For the
            default precision, the library of all tasks that are compared: taken from only
            one task, the distance to it would not depend on that task's norm.
        precision: The prior in units of the embeddings' numbers, (beta / 2N) lambda^2, for all
            layers or each; default the mean of all of ``like`` on each layer, so that a change of
            units changes no distance. `charkit.fisher.variational.fit_variational` learns it.

    Returns:
        Named ``trivial``, of no texts and no classes, without error.

    Raises:
        UsageError: There is nothing like it, embeddings cannot be compared, or a precision is
            missing or not above 0.
        DataError: A layer has nothing but zeros.

    References:
        Achille, Lam, Tewari, Ravichandran, Maji, Fowlkes, Soatto and Perona 2019, "Task2Vec:
        Task Embedding for Meta-Learning", sections 3.1 and 3.3.
    """
    library = [like] if isinstance(like, TaskEmbedding) else list(like)
    if not library:
        raise UsageError("there is nothing like it: expected at least one embedding, got none.")
    check_comparable(library)
    first = library[0]
    levels = _means(library) if precision is None else _given(first, precision)
    values = np.concatenate([np.full(s.size, levels[s.layer]) for s in first.slices])
    return replace(
        first,
        values=values,
        standard_error=np.zeros_like(values),
        name="trivial",
        head_fingerprint="",
        n_classes=0,
        n_samples=0,
        frac_truncated=0.0,
        text_fingerprint="",
        draw_error=0.0,
        stopped_early=False,
        rows=None,
        group_products=None,
    )


def _means(library: Sequence[TaskEmbedding]) -> dict[int, float]:
    first = library[0]
    mean = np.mean([e.values for e in library], axis=0)
    levels = {}
    for layer in first.layers:
        chosen = np.concatenate([mean[s.start : s.stop] for s in first.slices if s.layer == layer])
        levels[layer] = float(chosen.mean())
        if not levels[layer] > 0:
            raise DataError(
                f"layer {layer} has no prior: expected numbers above 0 on average, got a mean of "
                f"{levels[layer]:.3g}. Give a precision."
            )
    return levels


def _given(first: TaskEmbedding, precision: float | Mapping[int, float]) -> dict[int, float]:
    given = precision if isinstance(precision, Mapping) else dict.fromkeys(first.layers, precision)
    for layer in first.layers:
        value = given.get(layer)
        if value is None or not (np.isfinite(value) and value > 0):
            raise UsageError(
                f"precision is out of range: expected a number above 0 for layer {layer}, got "
                f"{value}."
            )
    return {layer: float(given[layer]) for layer in first.layers}
