"""SetFit: an encoder tuned on pairs of texts of one and of two classes, then a logistic regression.

Tunstall et al. (2022, "Efficient Few-Shot Learning Without Prompts"). The package setfit does the
work, with its own settings; the number of pairs and the length of texts are ours.
"""

from __future__ import annotations

import logging
import random
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from charkit.encoders import Encoder
from charkit.encoders.foreign import first_line
from charkit.encoders.run import is_out_of_memory
from charkit.encoders.tokenizer import quiet_transformers
from charkit.encoders.tokens import Texts
from charkit.errors import MissingError, UsageError
from charkit.learners.tuning import check_labels

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_ITERATIONS = 20  # pairs of each kind a text (Tunstall et al. 2022, R)
_FULL = 64  # texts up to which each has 20: for more the time would grow to hours on a processor
_BATCH = 16  # pairs a step, the package's own default


def n_iterations(n_samples: int) -> int:
    """Return how many pairs of each kind a text gets: 20 up to 64 texts, 2,560 pairs in all above.

    Args:
        n_samples: Training texts.
    """
    return max(1, round(_ITERATIONS * min(1.0, _FULL / n_samples)))


@dataclass(frozen=True, eq=False)
class SetFitted:
    """An encoder tuned by SetFit, and its head.

    Attributes:
        model: The package's own model.
        codes: Class of each column of its probabilities.
        n_classes: Classes of the task; some may have had no text.
        separator: Between the texts of a pair.
        failure: Why the run failed, as text; empty when it did not.
    """

    model: Any
    codes: IntArray
    n_classes: int
    separator: str
    failure: str

    def probabilities(self, texts: Texts) -> FloatArray:
        """Return class probabilities of texts, (n_samples, n_classes)."""
        given = _joined(texts, self.separator)
        found = self.model.predict_proba(given, as_numpy=True, show_progress_bar=False)
        out = np.zeros((len(given), self.n_classes))
        out[:, self.codes] = found
        return out


def check_setfit() -> None:
    """Check that the package is installed.

    Raises:
        MissingError: It is not.
    """
    if find_spec("setfit") is None:
        raise MissingError(
            "the learner setfit needs the package setfit, which is not installed. "
            'Run: pip install "charkit[tuned]", or leave setfit out.'
        )


def fit_setfit(
    encoder: Encoder,
    texts: Texts,
    labels: IntArray,
    n_classes: int,
    *,
    seed: int = 0,
    max_length: int | None = None,
) -> SetFitted:
    """Tune an encoder's files by SetFit, with a logistic regression on top.

    The texts of a pair are joined by the tokenizer's separator. Pooling is what the folder
    declares, else the mean. Weights and arithmetic are float32.

    Args:
        encoder: Stays as it is.
        texts: Training texts, or pairs of texts.
        labels: Class codes 0..n_classes-1, (n_samples,).
        n_classes: Number of classes of the task; some may lack a text.
        seed: Of the pairs and their order.
        max_length: Most tokens of a text; default the smaller of 256 and the encoder's limit.

    Returns:
        The tuned model. A run whose states stop being numbers, or that predicts one class for
        all of its training texts, states so in `SetFitted.failure`.

    Raises:
        DataError: Fewer than two classes have a text, or labels do not fit.
        MissingError: The package setfit is not installed.
        UsageError: The encoder has no files of weights, or an argument is out of range.
    """
    check_setfit()
    if encoder.random_seed is not None:
        raise UsageError(
            f"the learner setfit starts from trained weights: expected an encoder with files, got "
            f"{encoder.name}. Leave setfit out, or use the encoder itself."
        )
    codes = np.array(labels, np.int64)
    check_labels(codes, len(texts.texts), n_classes)
    separator = f" {encoder.tokenizer.sep_token} "
    given = _joined(texts, separator)
    length = encoder.text_length(max_length)
    try:
        with _contained(), tempfile.TemporaryDirectory() as folder:
            trainer, model = _trainer(encoder, len(codes), length, seed, folder)
            trainer.train_embeddings(given, codes.tolist())
            states = np.asarray(model.encode(given, show_progress_bar=False))
            found = SetFitted(model, np.unique(codes), n_classes, separator, "")
            if not np.isfinite(states).all():
                return replace(found, failure="diverged: states of texts are not numbers")
            trainer.train_classifier(given, codes.tolist())
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MissingError(
            f"memory does not suffice for SetFit: expected room for batches of {2 * _BATCH} texts "
            f"of up to {length} tokens on {encoder.device}, got {type(error).__name__}. Use a "
            "smaller max_length or encoder."
        ) from error
    if len(np.unique(found.probabilities(texts).argmax(1))) > 1:
        return found
    return replace(found, failure="collapsed: one class is predicted for all training texts")


def _trainer(
    encoder: Encoder, n_samples: int, max_length: int, seed: int, folder: str
) -> tuple[Any, Any]:
    """Return the package's trainer, which prints nothing, and its model."""
    from sentence_transformers import SentenceTransformer
    from setfit import SetFitModel, Trainer, TrainingArguments
    from sklearn.linear_model import LogisticRegression
    from transformers import PrinterCallback, ProgressCallback

    body = SentenceTransformer(str(encoder.folder), device=encoder.device, local_files_only=True)
    body.max_seq_length = max_length
    model = SetFitModel(model_body=body, model_head=LogisticRegression(max_iter=1000))
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=folder,
            batch_size=_BATCH,
            num_epochs=1,
            num_iterations=n_iterations(n_samples),
            seed=seed,
            max_length=max_length,
            report_to="none",
            logging_strategy="no",
            save_strategy="no",
            show_progress_bar=False,
        ),
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    return trainer, model


def _joined(texts: Texts, separator: str) -> list[str]:
    if texts.pairs is None:
        return list(texts.texts)
    return [a + separator + b for a, b in zip(texts.texts, texts.pairs, strict=True)]


@contextmanager
def _contained() -> Iterator[None]:
    """Put random states back afterwards, which the package seeds, and keep it off the terminal.

    Raises:
        MissingError: It cannot be imported.
    """
    try:
        import setfit.trainer  # noqa: F401  # it sets the level of the package's log
    except ImportError as error:
        raise MissingError(
            f"setfit is installed, but cannot be imported: {first_line(error)}. "
            'Run: pip install --upgrade "charkit[tuned]", or leave setfit out.'
        ) from error
    kept, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    log = logging.getLogger("setfit")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with torch.random.fork_rng(), quiet_transformers(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'pin_memory'")  # means nothing without a GPU
            yield
    finally:
        log.setLevel(level)
        random.setstate(kept)
        np.random.set_state(legacy)  # noqa: NPY002
