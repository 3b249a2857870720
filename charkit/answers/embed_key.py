"""What determines a task's embeddings: their key in the store, and what is refused before work."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from charkit.answers.fitted import heads_config
from charkit.encoders import Encoder
from charkit.encoders.states import resolve_layer
from charkit.errors import UnknownNameError, UsageError
from charkit.fisher import FisherOptions, VariationalOptions
from charkit.fisher.forward import choose_budget
from charkit.fisher.labels import ESTIMATORS
from charkit.fisher.layout import check_parts, chosen_layers, head_layer_number
from charkit.fisher.options import check_options, check_variational
from charkit.tasks.task import Split, Task

KIND = "fisher"
FORMAT_VERSION = 1

VARIATIONAL = "variational"
"""The name of the estimator whose options are `VariationalOptions`."""

Options = FisherOptions | VariationalOptions
"""How embeddings are estimated: directly, or by what the weights can bear."""


def embeddings_config(
    task: Task,
    encoder: Encoder,
    split: Split,
    *,
    head_layers: Sequence[int],
    options: Options,
    strengths: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Return what determines embeddings: heads, texts and every option; its hash is their key.

    Args:
        task: Labelled training texts.
        encoder: The encoder.
        split: What is embedded.
        head_layers: The layers that heads read, 1 to L, or negative from the end.
        options: How they are estimated.
        strengths: Grid of L2 strengths for the heads.

    Raises:
        UsageError: An argument is out of range.
        DataError: Labels that are needed are missing.
    """
    n_layers = encoder.n_layers
    heads = heads_config(
        task,
        encoder,
        layers=[head_layer_number(k, n_layers=n_layers) for k in head_layers],
        strengths=strengths,
        pooling=options.pooling,
        max_length=options.max_length,
    )
    given = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    if isinstance(options, VariationalOptions):
        check_variational(options, labelled=split.labels is not None)
        reads_labels = options.gradient == "given"
        budget = choose_budget(encoder, options.token_budget)  # a batch is a step
        given |= {"estimator": VARIATIONAL, "token_budget": budget}
    else:
        if options.estimator not in ESTIMATORS:
            raise UnknownNameError("estimator", options.estimator, ESTIMATORS)
        check_options(options)
        reads_labels = options.estimator == "empirical"
        del given["token_budget"]  # it changes results only by rounding
    resolved = {
        "layers": list(chosen_layers(options.layers, heads["layers"], n_layers=n_layers)),
        "parts": list(check_parts(options.parts)),
        "max_length": heads["max_length"],
    }
    return {
        "kind": KIND,
        "format": FORMAT_VERSION,
        "heads": heads,
        "texts": split.fingerprint if reads_labels else split.text_fingerprint,
        "options": given | resolved,
    }


def check_cache_layer(cache_layer: int | None, lowest: int, *, n_layers: int) -> None:
    """Refuse to keep token states that no chosen layer could begin from.

    Args:
        cache_layer: 0 to L - 1, or negative from the end; None keeps none.
        lowest: The lowest chosen layer, 1 to L.
        n_layers: The encoder's number of layers L.

    Raises:
        UsageError: It is not below the lowest chosen layer.
    """
    if cache_layer is not None and resolve_layer(cache_layer, n_layers=n_layers) >= lowest:
        raise UsageError(
            f"cache_layer is too high: expected at most {lowest - 1}, below the lowest chosen "
            f"layer, got {cache_layer}."
        )
