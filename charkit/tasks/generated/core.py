"""What a grammar is: sentences, the evidence in them, and what that evidence says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import factorial, prod
from typing import TypeVar

import numpy as np

from charkit.config import TaskKind

Item = TypeVar("Item")

LEAN = 0.75
"""How often weak evidence points to the true class; otherwise it points to one of the others,
each as often as the next."""


class Dice:
    """Random choices from one seed, drawn in blocks.

    Args:
        seed: Whole numbers that together name the stream.
    """

    def __init__(self, *seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._block: list[float] = []

    def uniform(self) -> float:
        """Return a number in [0, 1)."""
        if not self._block:
            self._block = self._rng.random(4096).tolist()
        return self._block.pop()

    def chance(self, probability: float) -> bool:
        """Return true with this probability."""
        return self.uniform() < probability

    def below(self, n: int) -> int:
        """Return a whole number in 0..n-1."""
        return int(self.uniform() * n)

    def pick(self, items: Sequence[Item]) -> Item:
        """Return one of the items."""
        return items[self.below(len(items))]

    def several(self, items: Sequence[Item], count: int) -> list[Item]:
        """Return different items, in random order."""
        pool = list(items)
        return [pool.pop(self.below(len(pool))) for _ in range(count)]

    def leaning(self, truth: int, n_classes: int) -> int:
        """Return the class that a piece of weak evidence points to."""
        if self.chance(LEAN):
            return truth
        return (truth + 1 + self.below(n_classes - 1)) % n_classes


@dataclass(frozen=True)
class Sentence:
    """One generated row, before label noise.

    Attributes:
        text: The text.
        pair: The second text, or None.
        label: The class code, or the target.
        posterior: Probability of each class (for regression: of each target 0..5) given all
            that can be read from the texts by someone who knows the grammar.
    """

    text: str
    pair: str | None
    label: int
    posterior: tuple[float, ...]


Outcome = tuple[float, tuple[float, ...]]
"""A probability, and the posterior that a reader of the texts then has."""


@dataclass(frozen=True)
class Grammar:
    """One kind of generated task.

    Attributes:
        name: Its name, for instance ``"sentiment"``.
        summary: One line for people.
        kind: Classes or targets.
        class_names: The classes by code; for regression the targets.
        sample: Draws a sentence at a difficulty.
        outcomes: Lists, at a difficulty, the posteriors that occur and how often: the definition
            of the task as far as the ceiling is concerned.
    """

    name: str
    summary: str
    kind: TaskKind
    class_names: tuple[str, ...]
    sample: Callable[[Dice, float], Sentence]
    outcomes: Callable[[float], list[Outcome]]


def certain(truth: int, n_classes: int) -> tuple[float, ...]:
    """Return the posterior of a reader who knows the class."""
    return tuple(float(c == truth) for c in range(n_classes))


def leaned(points_to: Sequence[int], n_classes: int) -> tuple[float, ...]:
    """Return the posterior after independent pieces of weak evidence, all classes equal before.

    >>> leaned([1], 2)
    (0.25, 0.75)
    """
    other = (1 - LEAN) / (n_classes - 1)
    weights = [prod(LEAN if p == c else other for p in points_to) for c in range(n_classes)]
    return tuple(w / sum(weights) for w in weights)


def one_hint(n_classes: int) -> Callable[[float], list[Outcome]]:
    """Outcomes where a share ``difficulty`` of the sentences has one weak hint, the rest none."""

    def outcomes(difficulty: float) -> list[Outcome]:
        weak = leaned([0], n_classes)
        return [(1 - difficulty, certain(0, n_classes)), (difficulty, weak)]

    return outcomes


def several_cues(n_cues: int, n_classes: int) -> Callable[[float], list[Outcome]]:
    """Outcomes where each of several cues is weak with probability ``difficulty``.

    One strong cue settles the class; without any, the weak cues are counted. By symmetry the true
    class may be taken to be 0.
    """

    def outcomes(difficulty: float) -> list[Outcome]:
        all_weak = difficulty**n_cues
        found: list[Outcome] = [(1 - all_weak, certain(0, n_classes))]
        other = (1 - LEAN) / (n_classes - 1)
        for cues in combinations_with_replacement(range(n_classes), n_cues):
            ways = factorial(n_cues) // prod(factorial(cues.count(c)) for c in set(cues))
            chance = prod(LEAN if c == 0 else other for c in cues)
            found.append((all_weak * ways * chance, leaned(cues, n_classes)))
        return found

    return outcomes


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())


def phrases(text: str) -> tuple[str, ...]:
    """Return phrases that are written with bars between them."""
    return tuple(text.split("|"))


def capital(text: str) -> str:
    """Return a sentence with its first letter in upper case."""
    return text[:1].upper() + text[1:]
