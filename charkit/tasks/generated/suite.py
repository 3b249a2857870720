"""A generated suite in the shape of GLUE, with a ceiling that is known.

Every sentence is built from a latent class. Its evidence is strong (it settles the class) or weak
(it points to the class three times in four, else to another one). Two knobs make a task harder:

- ``difficulty`` in [0, 1]: the probability that a piece of evidence is weak. Sentiment and topic
  have three pieces a sentence, similarity five, the other tasks one.
- ``noise`` in [0, 1): the probability that a label is replaced, in both parts, by another class
  (all others equally likely), or for similarity by a target drawn from 0, 1, ..., 5.

The ceiling is the best score that can be expected by someone who knows the grammar, computed
from these definitions: accuracy, or for similarity Pearson's correlation.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from urllib.parse import parse_qsl

import numpy as np

from charkit.errors import UnknownNameError, UsageError
from charkit.tasks.generated.acceptability import ACCEPTABILITY
from charkit.tasks.generated.core import Dice, Grammar, Sentence
from charkit.tasks.generated.cues import SENTIMENT, TOPIC
from charkit.tasks.generated.meaning import ENTAILMENT, PARAPHRASE, SIMILARITY
from charkit.tasks.generated.reference import COREFERENCE, QUESTION_ANSWERING
from charkit.tasks.task import LabelArray, Split, Task

GRAMMARS: dict[str, Grammar] = {
    grammar.name: grammar
    for grammar in (
        ACCEPTABILITY,
        COREFERENCE,
        ENTAILMENT,
        PARAPHRASE,
        QUESTION_ANSWERING,
        SENTIMENT,
        SIMILARITY,
        TOPIC,
    )
}
MAX_ROWS = 10_000
"""The most rows of a part."""


@dataclass(frozen=True)
class Knobs:
    """How a generated task is made; see the top of this module."""

    difficulty: float = 0.3
    noise: float = 0.0
    n_train: int = 2000
    n_eval: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        _require(0 <= self.difficulty <= 1, "difficulty", "a number in [0, 1]", self.difficulty)
        _require(0 <= self.noise < 1, "noise", "a number in [0, 1)", self.noise)
        for name in ("n_train", "n_eval"):
            value = getattr(self, name)
            _require(20 <= value <= MAX_ROWS, name, f"20 to {MAX_ROWS} rows", value)
        _require(self.seed >= 0, "seed", "a whole number from 0", self.seed)


def _require(holds: bool, name: str, legal: str, value: float) -> None:
    if not holds:
        raise UsageError(f"{name}: expected {legal}, got {value}. Choose another value.")


def generated_names() -> tuple[str, ...]:
    """Return the names of the generated tasks, in alphabetical order."""
    return tuple(GRAMMARS)


def generated_task(
    name: str,
    *,
    difficulty: float = 0.3,
    noise: float = 0.0,
    n_train: int = 2000,
    n_eval: int = 1000,
    seed: int = 0,
) -> Task:
    """Generate a task. No two of its rows have the same text (and pair).

    The texts depend on name, difficulty and seed; a larger n_train adds rows at the end, and
    noise changes labels only.

    Args:
        name: One of `generated_names`.
        difficulty: Probability that a piece of evidence is weak.
        noise: Probability that a label is replaced.
        n_train: Training rows.
        n_eval: Evaluation rows.
        seed: Seed of texts and labels.

    Raises:
        UnknownNameError: There is no such task.
        UsageError: A knob is out of range.
    """
    grammar = _grammar(name)
    knobs = Knobs(difficulty, noise, n_train, n_eval, seed)
    train, evaluation = draw_sentences(grammar, knobs)
    ceiling = grammar_ceiling(grammar, difficulty=difficulty, noise=noise)
    # The name with the knobs that differ from their defaults; sizes aside.
    default = Knobs()
    shown = [
        f"{knob}{getattr(knobs, knob):g}"
        for knob in ("difficulty", "noise", "seed")
        if getattr(knobs, knob) != getattr(default, knob)
    ]
    task_name = "-".join((f"generated_{grammar.name}", *shown))
    return Task(
        name=task_name,
        kind=grammar.kind,
        train=_split(grammar, train, knobs, part=1),
        evaluation=_split(grammar, evaluation, knobs, part=0),
        class_names=grammar.class_names if grammar.kind == "classification" else (),
        corpus=f"generated_{name}",
        metric="accuracy" if grammar.kind == "classification" else "pearson_spearman",
        source=f"generated/{name}?" + "&".join(
            f"{f.name}={getattr(knobs, f.name):g}" for f in fields(knobs)
        ),
        notes=(f"generated: {grammar.summary}",),
        ceiling=ceiling,
    )  # fmt: skip


def load_generated(source: str) -> Task:
    """Load ``generated/NAME`` or ``generated/NAME?knob=value&knob=value``.

    Raises:
        UnknownNameError: The task or a knob is not known.
        UsageError: A value is not a number, or out of range.
    """
    name, _, query = source.removeprefix("generated/").partition("?")
    _grammar(name)
    types: dict[str, Callable[[str], float]] = {
        "difficulty": float, "noise": float, "n_train": int, "n_eval": int, "seed": int,
    }  # fmt: skip
    given: dict[str, float] = {}
    for knob, value in parse_qsl(query, keep_blank_values=True):
        if knob not in types:
            raise UnknownNameError("knob", knob, types, hint=f"Task: generated/{name}.")
        try:
            given[knob] = types[knob](value)
        except ValueError as error:
            raise UsageError(
                f"{knob}: expected a number, got {value!r} in {source!r}. "
                f"Example: generated/{name}?difficulty=0.5&seed=1"
            ) from error
    return generated_task(name, **given)  # type: ignore[arg-type]  # types as in `types`


def _grammar(name: str) -> Grammar:
    if name not in GRAMMARS:
        known = [f"generated/{known}" for known in GRAMMARS]
        raise UnknownNameError("task", f"generated/{name}", known)
    return GRAMMARS[name]


def draw_sentences(grammar: Grammar, knobs: Knobs) -> tuple[list[Sentence], list[Sentence]]:
    """Draw the sentences of both parts, all different, with their labels before noise.

    Returns:
        Training and evaluation sentences.

    Raises:
        UsageError: The grammar has too few different sentences.
    """
    seen: set[tuple[str, str | None]] = set()
    parts = []
    for part, count in enumerate((knobs.n_eval, knobs.n_train)):
        dice = Dice(knobs.seed, zlib.crc32(grammar.name.encode()), part)
        sentences: list[Sentence] = []
        for _ in range(10 * count + 1000):
            if len(sentences) == count:
                break
            sentence = grammar.sample(dice, knobs.difficulty)
            key = (sentence.text, sentence.pair)
            if key not in seen:
                seen.add(key)
                sentences.append(sentence)
        if len(sentences) < count:
            raise UsageError(
                f"generated/{grammar.name} has only about {len(seen)} different rows: expected "
                f"at most that many, got {knobs.n_train} + {knobs.n_eval}. Ask for fewer."
            )
        parts.append(sentences)
    return parts[1], parts[0]


def _split(grammar: Grammar, sentences: list[Sentence], knobs: Knobs, *, part: int) -> Split:
    rng = np.random.default_rng((knobs.seed, zlib.crc32(grammar.name.encode()), 2 + part))
    clean = np.array([s.label for s in sentences], dtype=np.int64)
    n_classes = len(grammar.class_names)
    draws = rng.random((len(clean), 2))
    hit = draws[:, 0] < knobs.noise
    labels: LabelArray
    if grammar.kind == "regression":
        labels = np.where(hit, np.floor(draws[:, 1] * n_classes), clean).astype(np.float64)
    else:
        shift = 1 + np.floor(draws[:, 1] * (n_classes - 1)).astype(np.int64)
        labels = np.where(hit, (clean + shift) % n_classes, clean)
    texts = tuple(s.text for s in sentences)
    pairs = tuple(s.pair for s in sentences if s.pair is not None)
    return Split(texts, pairs or None, labels)


def grammar_ceiling(grammar: Grammar, *, difficulty: float, noise: float) -> float:
    """Return the best expected score of someone who knows the grammar.

    Accuracy: the mean over outcomes of max_c [(1 - noise) p_c + noise (1 - p_c) / (C - 1)].
    Correlation: the best predictor is m = E[y | texts], and its correlation with y is
    sqrt(Var m / Var y), which noise multiplies by (1 - noise).
    """
    outcomes = grammar.outcomes(difficulty)
    chances = np.array([chance for chance, _ in outcomes])
    posteriors = np.array([posterior for _, posterior in outcomes])
    if grammar.kind == "classification":
        other = noise * (1 - posteriors) / (posteriors.shape[1] - 1)
        return float(chances @ ((1 - noise) * posteriors + other).max(axis=1))
    values = np.arange(posteriors.shape[1], dtype=np.float64)
    means = posteriors @ values
    centre = float(chances @ means)
    variance_mean = float(chances @ (means - centre) ** 2)
    variance = float(chances @ (posteriors @ values**2)) - centre**2
    return (1 - noise) * math.sqrt(variance_mean / variance)
