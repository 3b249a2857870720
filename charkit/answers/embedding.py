"""Which weights of an encoder does a task lean on? Its Fisher embeddings, from any source."""

from __future__ import annotations

from collections.abc import Sequence

from charkit.answers.embed_key import Options
from charkit.answers.embed_plan import SplitName, plan_embedding
from charkit.answers.embedded import EmbeddedTask
from charkit.config import Progress, no_progress, note, notes_are_shown
from charkit.encoders.load import EncoderChoice
from charkit.fisher import VariationalOptions
from charkit.heads.grid import Source
from charkit.store import Store


def embed(
    task: Source,
    *,
    n: int | None = None,
    encoder: EncoderChoice = "minilm",
    options: Options | None = None,
    head_layers: Sequence[int] = (-1,),
    cache_layer: int | None = None,
    split: SplitName = "train",
    store: Store | None = None,
    progress: Progress = no_progress,
) -> EmbeddedTask:
    """Embed a task: the Fisher information of the encoder's weights under the task's own head.

    The head is fitted to the labelled training texts. Embedded are these texts, or the
    evaluation texts, labelled or not, under that same head. What the store has already is not
    computed again.

    Args:
        task: A source that `charkit.load_task` takes, or a task.
        n: Labelled training texts to use, drawn as in a sweep. Default: all.
        encoder: Name or loaded encoder.
        options: How it is estimated: `charkit.fisher.FisherOptions` (layers, parts, pooling,
            estimator, draws, early stop, seed of all draws), or
            `charkit.fisher.VariationalOptions` for how much noise the weights can bear, which
            takes tens of times as long. Default: the Fisher information of the six matrices of
            all layers up to the head.
        head_layers: The layers that heads read, 1 to L, or negative from the end.
        cache_layer: Token states of this layer, below all chosen ones, are kept in the store
            too: other embeddings of the same texts begin there.
        split: What is embedded.
        store: Where results are kept. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal.
        DataError: The source cannot be used, or has no labels or too few classes.
        MissingError: An encoder, a file or disk space is missing.
        RefusalError: A variational search has not converged; the fit is attached.
    """
    plan = plan_embedding(
        task,
        n=n,
        encoder=encoder,
        options=options,
        head_layers=head_layers,
        cache_layer=cache_layer,
        split=split,
        store=store,
    )
    if isinstance(plan.options, VariationalOptions) and notes_are_shown():
        from charkit.answers.embed_estimate import estimate_embedding  # measures this machine

        for line in estimate_embedding(plan).lines():
            note(line)
    return plan.answer(progress)
