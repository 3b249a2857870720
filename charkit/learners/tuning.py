"""Full fine-tuning of an encoder with a linear head, in a short loop.

All weights are trained: AdamW, learning rate rising over the first tenth of the steps and then
falling linearly to zero, gradients clipped at norm 1 (Devlin et al. 2019, "BERT"). Few texts get
many passes: a fixed number of epochs leaves a small sample too few steps, which is one of the two
causes of failed runs that Mosbach, Andriushchenko and Klakow (2021, "On the Stability of
Fine-tuning BERT") and Zhang et al. (2021, "Revisiting Few-sample BERT Fine-tuning") name; the
warm-up is against the other, vanishing gradients. There is no early stop: it would cost labels.

Of the word embeddings, those of words that no training text has stay as they are: they would
get no gradient, so leaving them out saves half of the optimiser's work and changes nothing
beyond their weight decay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from charkit.config import Pooling
from charkit.encoders import Encoder
from charkit.encoders.run import choose_token_budget, is_out_of_memory, pool
from charkit.encoders.tokens import Texts, Tokens, next_batch, tokenise
from charkit.errors import DataError, MissingError, UsageError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_CLIP = 1.0  # norm of the gradient (Devlin et al. 2019)
_WARM = 0.1  # share of the steps in which the rate rises (the same; Mosbach et al. 2021)
_BATCH = 16  # as Devlin et al. (2019); fewer steps of more texts cost as much on a processor
_STEPS_A_ROOT = 6  # steps are 6 sqrt(n): 48 for 64 texts, whose training loss is near zero by then
_FEWEST_PASSES = 3  # over many texts; Devlin et al. (2019) try 2 to 4
_RATE = 1e-4  # of encoders up to _NARROW wide; wider ones want less (2e-5 to 5e-5, the same)
_NARROW = 384  # width of MiniLM, the encoder that the rate was tried on
_HEAD_RATE, _MANY_RATE = 1e-3, 5e-3  # ten times the encoder's; with more than _MANY classes more:
# a batch has a text of few of them, so the head is far from its training labels when steps end
_MANY = 20  # classes up to which the lower rate fits the training texts (docs/learners.md)
_GROUP = 4  # batches whose texts are sorted by length together: less padding, order still random


@dataclass(frozen=True)
class Recipe:
    """How an encoder is fine-tuned.

    Attributes:
        n_steps: Updates of the weights.
        batch: Texts a step.
        rate: Largest learning rate of the encoder.
        head_rate: The same of the head.
        weight_decay: Of AdamW.
    """

    n_steps: int
    batch: int = 16
    rate: float = 1e-4
    head_rate: float = 1e-3
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        for name in ("n_steps", "batch", "rate", "head_rate"):
            value = getattr(self, name)
            if not value > 0:
                raise UsageError(f"{name}: expected a number above 0, got {value}.")


def default_recipe(n_samples: int, width: int, n_classes: int) -> Recipe:
    """Return the recipe for a number of training texts, an encoder's width and a task's classes.

    Args:
        n_samples: Training texts.
        width: Numbers in a state of the encoder.
        n_classes: Classes of the task.
    """
    n_steps = max(_STEPS_A_ROOT * n_samples**0.5, _FEWEST_PASSES * n_samples / _BATCH)
    rate = _RATE * min(1.0, _NARROW / width)
    head_rate = _HEAD_RATE if n_classes <= _MANY else _MANY_RATE
    return Recipe(max(1, round(n_steps)), batch=_BATCH, rate=rate, head_rate=head_rate)


@dataclass(frozen=True, eq=False)
class Tuned:
    """A fine-tuned encoder and its head.

    Attributes:
        encoder: The copy that was fine-tuned; the original is as it was.
        head: Linear head on its pooled last state.
        pooling: How tokens become one vector.
        max_length: Most tokens of a text.
        losses: Log loss of each step's batch, in nats, (n_steps,).
        failure: Why the run failed, as text; empty when it did not.
    """

    encoder: Encoder
    head: torch.nn.Linear
    pooling: Pooling
    max_length: int
    losses: FloatArray
    failure: str

    @property
    def failed(self) -> bool:
        """Whether the run diverged or collapsed."""
        return bool(self.failure)

    def probabilities(self, texts: Texts) -> FloatArray:
        """Return class probabilities of texts, (n_samples, n_classes)."""
        tokens = tokenise(self.encoder, texts.texts, texts.pairs, max_length=self.max_length)
        order = np.argsort(-tokens.lengths, kind="stable")
        budget = choose_token_budget(self.encoder, None)
        out = np.empty((len(order), self.head.out_features))
        start = 0
        while start < len(order):
            rows = order[
                start : start + next_batch(tokens.lengths[order[start:]], token_budget=budget)
            ]
            with torch.inference_mode():
                logits = _logits(self.encoder, self.head, tokens, rows, self.pooling)
                out[rows] = torch.softmax(logits.double().cpu(), 1).numpy()
            start += len(rows)
        return out


def fine_tune(
    encoder: Encoder,
    texts: Texts,
    labels: IntArray,
    n_classes: int,
    *,
    seed: int = 0,
    recipe: Recipe | None = None,
    pooling: Pooling = "mean",
    max_length: int | None = None,
) -> Tuned:
    """Fine-tune a copy of an encoder, with a linear head on its pooled last state.

    Weights are kept in float32; the arithmetic is the encoder's own (bfloat16 by autocast). The
    head starts at zero, so that the first steps move the head and not the encoder. There is no
    dropout. On one machine, device and number of threads the seed settles the result.

    Args:
        encoder: Stays as it is.
        texts: Training texts, or pairs of texts.
        labels: Class codes 0..n_classes-1, (n_samples,).
        n_classes: Number of classes of the task; some may lack a text.
        seed: Of the order of the texts.
        recipe: Default: `default_recipe`.
        pooling: How tokens become one vector.
        max_length: Most tokens of a text; default the smaller of 256 and the encoder's limit.

    Returns:
        The fine-tuned model. A run whose loss stops being a number, or that predicts one class for
        all of its training texts in its last pass, says so in `Tuned.failure`.

    Raises:
        DataError: Fewer than two classes have a text, or labels do not fit.
        MissingError: Memory does not suffice.
        UsageError: An argument is out of range.
    """
    codes = np.array(labels, np.int64)
    check_labels(codes, len(texts.texts), n_classes)
    recipe = default_recipe(len(codes), encoder.width, n_classes) if recipe is None else recipe
    length = encoder.text_length(max_length)
    copy = copy_to_train(encoder)
    tokens = tokenise(copy, texts.texts, texts.pairs, max_length=length)
    head = torch.nn.Linear(encoder.width, n_classes, device=encoder.device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    batches = list(
        islice(_batches(tokens.lengths, recipe.batch, np.random.default_rng(seed)), recipe.n_steps)
    )
    try:
        with _words_of(copy, tokens) as known:
            losses, predicted = train_steps(copy, head, known, codes, batches, recipe, pooling)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MissingError(
            f"memory does not suffice for fine-tuning: expected room for batches of "
            f"{recipe.batch} texts of up to {int(tokens.lengths.max())} tokens on "
            f"{encoder.device}, got {type(error).__name__}. Use a smaller max_length or encoder."
        ) from error
    copy.model.requires_grad_(False)
    failure = _failure(losses, predicted, recipe)
    return Tuned(copy, head.requires_grad_(False), pooling, length, losses, failure)


def check_labels(codes: IntArray, n_samples: int, n_classes: int) -> None:
    """Check the classes of training texts.

    Args:
        codes: Class codes, (n_samples,).
        n_samples: Number of texts.
        n_classes: Number of classes of the task.

    Raises:
        DataError: Fewer than two classes have a text.
        UsageError: Codes are out of range, or their number is not that of the texts.
    """
    if codes.shape != (n_samples,):
        raise UsageError(f"labels: expected one a text, ({n_samples},), got {codes.shape}.")
    if len(codes) and not 0 <= codes.min() <= codes.max() < n_classes:
        raise UsageError(
            f"labels: expected codes 0 to {n_classes - 1}, got {codes.min()} to {codes.max()}."
        )
    if len(np.unique(codes)) < 2:
        raise DataError(
            f"fine-tuning needs labels of two classes: expected at least 2, got "
            f"{len(np.unique(codes))} in {n_samples} texts. Label texts of another class."
        )


@contextmanager
def _words_of(encoder: Encoder, tokens: Tokens) -> Iterator[Tokens]:
    """Train the embeddings of the words that occur; yield tokens that are numbered by them."""
    table = encoder.model.get_input_embeddings()  # type: ignore[operator]
    # ids up to that of padding keep their numbers: RoBERTa and MPNet count positions by it
    low = np.arange(tokens.pad_id + 1)
    known, places = np.unique(np.concatenate([low, tokens.ids]), return_inverse=True)
    rows = torch.from_numpy(known).to(table.weight.device)
    small = torch.nn.Embedding(
        len(known), table.weight.shape[1], _weight=table.weight.detach()[rows]
    )
    encoder.model.set_input_embeddings(small)  # type: ignore[operator]
    try:
        yield replace(tokens, ids=places[len(low) :].astype(np.int32))
    finally:
        with torch.no_grad():
            table.weight[rows] = small.weight
        encoder.model.set_input_embeddings(table)  # type: ignore[operator]


def copy_to_train(encoder: Encoder) -> Encoder:
    """Return a copy whose weights are float32 and get gradients; its arithmetic is the encoder's.

    Args:
        encoder: Stays as it is.
    """
    copy = replace(encoder)
    vars(copy)["model"] = replace(encoder, dtype="float32").model.requires_grad_(True)
    return copy


def train_steps(
    encoder: Encoder,
    head: torch.nn.Linear,
    tokens: Tokens,
    codes: IntArray,
    batches: Sequence[IntArray],
    recipe: Recipe,
    pooling: Pooling = "mean",
    *,
    clip_head: bool = True,
) -> tuple[FloatArray, IntArray]:
    """Train encoder and head in place, a step a batch; stop where the loss is not a number.

    Args:
        encoder: From `copy_to_train`; weights that need no gradient stay.
        head: Linear head on its pooled last state.
        tokens: Of the training texts.
        codes: Their classes, (n_samples,).
        batches: Rows of each step.
        recipe: Rates and weight decay; its number of steps and batch are those of ``batches``.
        pooling: How tokens become one vector.
        clip_head: Whether the head's gradient counts in the norm that is held at 1.

    Returns:
        The log loss of each step in nats, (n_steps,), NaN for steps that were not made; and each
        text's last prediction, (n_samples,), -1 for none.
    """
    body = [p for p in encoder.model.parameters() if p.requires_grad]
    clipped = [*body, *head.parameters()] if clip_head else body
    optimiser = torch.optim.AdamW(
        [
            {"params": body, "lr": recipe.rate},
            {"params": list(head.parameters()), "lr": recipe.head_rate},
        ],
        weight_decay=recipe.weight_decay,
        fused=encoder.device != "mps",
    )
    n_steps = len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _share(step, n_steps))
    labels = torch.from_numpy(codes).to(encoder.device)
    losses = np.full(n_steps, np.nan)
    predicted = np.full(len(codes), -1, np.int64)
    for step, rows in enumerate(batches):
        logits = _logits(encoder, head, tokens, rows, pooling)
        wanted = labels[torch.from_numpy(rows).to(encoder.device)]
        loss = torch.nn.functional.cross_entropy(logits, wanted)
        losses[step] = float(loss.detach())
        if not np.isfinite(losses[step]):
            break
        predicted[rows] = logits.detach().argmax(1).cpu().numpy()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(clipped, _CLIP)
        optimiser.step()
        schedule.step()
    return losses, predicted


def _share(step: int, n_steps: int) -> float:
    """Return the share of the largest rate at a step: up over a tenth of them, then down."""
    warm = max(1, round(_WARM * n_steps))
    return min((step + 1) / warm, (n_steps - step) / max(1, n_steps - warm))


def _batches(lengths: IntArray, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Yield batches without end: every text once a pass, texts of similar length together."""
    while True:
        order = rng.permutation(len(lengths))
        batches = []
        for start in range(0, len(order), _GROUP * size):
            group = order[start : start + _GROUP * size]
            group = group[np.argsort(lengths[group], kind="stable")]
            batches += [group[place : place + size] for place in range(0, len(group), size)]
        for place in rng.permutation(len(batches)):
            yield batches[place]


def _logits(
    encoder: Encoder, head: torch.nn.Linear, tokens: Tokens, rows: IntArray, pooling: Pooling
) -> Tensor:
    """Return the logits of a batch, (len(rows), n_classes)."""
    ids, segments, mask = tokens.batch(rows)
    inputs = {"input_ids": torch.from_numpy(ids).to(encoder.device)}
    if segments is not None:
        inputs["token_type_ids"] = torch.from_numpy(segments).to(encoder.device)
    held = None
    if mask is not None:
        held = torch.from_numpy(mask).to(encoder.device)
        inputs["attention_mask"] = held.long()
    half = encoder.dtype == "bfloat16"
    with torch.autocast(encoder.device, dtype=torch.bfloat16, enabled=half), _attention(encoder):
        hidden = encoder.model(**inputs).last_hidden_state
    logits: Tensor = head(pool(hidden, held, pooling))
    return logits


def _attention(encoder: Encoder) -> AbstractContextManager[object]:
    """Return the kernels of attention: on a processor the plain ones.

    PyTorch 2.13's fused backward pass in bfloat16 takes half of a step there: 0.34 s in place of
    0.16 s for 16 texts of 24 tokens under MiniLM.
    """
    if encoder.device == "cpu":
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


def _failure(losses: FloatArray, predicted: IntArray, recipe: Recipe) -> str:
    """Return why a run failed, as text; empty when it did not."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        return f"diverged: the loss is not a number at step {bad[0] + 1} of {recipe.n_steps}"
    seen = predicted[predicted >= 0]
    if len(np.unique(seen)) < 2:
        return "collapsed: one class is predicted for all training texts"
    return ""
