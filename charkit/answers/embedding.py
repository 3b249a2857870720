"""Which weights of an encoder does a task lean on? Its Fisher embeddings, from any source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from charkit.answers.embed_plan import SplitName, choose_options, plan_embedding
from charkit.answers.embedded import EmbeddedTask
from charkit.config import Pooling, Progress, TaskKind, no_progress
from charkit.encoders.device import DeviceChoice, DtypeChoice
from charkit.encoders.encoder import Encoder
from charkit.errors import UsageError
from charkit.fisher.sites import DEFAULT_PARTS
from charkit.heads.grid import Source
from charkit.store import Store
from charkit.tasks import load_task
from charkit.tasks.rows import OnBadRows
from charkit.tasks.task import Task

Place = str | Path | pd.DataFrame


def embed(
    task: Source,
    *,
    n: int | None = None,
    encoder: str | Encoder = "minilm",
    layers: Sequence[int] | None = None,
    head_layers: Sequence[int] = (-1,),
    cache_layer: int | None = None,
    parts: Sequence[str] = DEFAULT_PARTS,
    estimator: str = "auto",
    n_draws: int = 1,
    relative_error: float | None = None,
    stop_at: float | None = None,
    beta: float | None = None,
    n_steps: int | None = None,
    split: SplitName = "train",
    unlabelled: Place | None = None,
    seed: int = 0,
    pooling: Pooling = "mean",
    max_length: int | None = None,
    device: DeviceChoice = "auto",
    dtype: DtypeChoice = "auto",
    text: str | None = None,
    pair: str | None = None,
    label: str | None = None,
    kind: TaskKind | None = None,
    evaluation: Place | None = None,
    eval_frac: float = 0.2,
    on_bad_rows: OnBadRows = "refuse",
    offline: bool | None = None,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> EmbeddedTask:
    """Embed a task: the Fisher information of the encoder's weights under the task's own head.

    The head is fitted to the labelled training texts. Embedded are these texts, or the
    evaluation texts, or unlabelled texts from a file, all under that same head. What the store
    has already is not computed again.

    Args:
        task: A source that `charkit.load_task` takes, or a task.
        n: Labelled training texts to use, drawn as in a sweep. Default: all.
        encoder: Name or loaded encoder.
        layers: Whose weights, 1 to L. Default: all up to the head.
        head_layers: The layers that heads read, 1 to L, or negative from the end.
        cache_layer: Token states of this layer, below all chosen ones, are kept in the store
            too: other embeddings of the same texts begin there.
        parts: Which weights, see `charkit.fisher.PARTS`.
        estimator: How labels are averaged over, see `charkit.fisher.labels.Estimator`; or
            ``variational``: how much noise the weights can bear, see `charkit.fisher.variational`.
            It takes tens of times as long.
        n_draws: Draws a text, for estimators that draw.
        relative_error: Choose the number of draws instead, by the noise that they may add.
        stop_at: Stop as soon as random halves of the texts seen agree to this cosine.
        beta: Variational alone: weight of the prior. Default: 1e-6.
        n_steps: Variational alone: steps of the search. Default: 100.
        split: What is embedded.
        unlabelled: File or DataFrame of texts to embed instead, with the same columns of texts;
            labels in it are not read.
        seed: Of the sample of n texts, and of draws and noise.
        pooling: How token states become one vector.
        max_length: Longest text in tokens. Default: the encoder's own choice.
        device: Where to compute.
        dtype: What to compute in.
        text: Column of the texts.
        pair: Column of the second texts.
        label: Column of the labels.
        kind: ``"classification"`` or ``"regression"``; guessed when None.
        evaluation: File with the evaluation rows, or the name of a folder's or data set's part.
        eval_frac: Share of the rows held out when no evaluation rows are given.
        on_bad_rows: Refuse rows without text or label, or drop and count them.
        offline: Never open a connection; None reads CHARKIT_OFFLINE and HF_HUB_OFFLINE.
        store: Where results are kept. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal.
        DataError: The source cannot be used, or has no labels or too few classes.
        MissingError: An encoder, a file or disk space is missing.
        RefusalError: A variational search has not converged; the fit is attached.
    """
    whole = task
    if unlabelled is not None:
        split, evaluation = "evaluation", only_evaluation(evaluation, unlabelled)
    if not isinstance(task, Task):
        whole = load_task(
            task,
            text=text,
            pair=pair,
            label=label,
            kind=kind,
            evaluation=evaluation,
            evaluation_labels=unlabelled is None,
            eval_frac=eval_frac,
            on_bad_rows=on_bad_rows,
            offline=offline,
        )
    elif unlabelled is not None:
        raise UsageError(
            "unlabelled texts are read with a source: expected a file, folder or DataFrame, got "
            "a task. Make a task with these texts as its evaluation part, and split='evaluation'."
        )
    options = choose_options(
        estimator,
        layers=layers,
        parts=parts,
        n_draws=n_draws,
        relative_error=relative_error,
        stop_at=stop_at,
        beta=beta,
        n_steps=n_steps,
        seed=seed,
        pooling=pooling,
        max_length=max_length,
    )
    plan = plan_embedding(
        whole,
        options,
        n=n,
        seed=seed,
        encoder=encoder,
        head_layers=head_layers,
        cache_layer=cache_layer,
        split=split,
        device=device,
        dtype=dtype,
        offline=offline,
        store=store,
    )
    return plan.answer(progress)


def only_evaluation(evaluation: object, unlabelled: Place) -> Place:
    """Return where the unlabelled texts lie.

    Raises:
        UsageError: Evaluation rows were named as well.
    """
    if evaluation is not None:
        raise UsageError(
            "one sample is embedded at a time: expected unlabelled texts or evaluation rows, got "
            f"both ({unlabelled} and {evaluation}). Name one of them."
        )
    return unlabelled
