"""Similarity: how many of five things two sentences agree on, 0 to 5 (like STS-B)."""

from __future__ import annotations

from functools import lru_cache
from math import comb, factorial

from charkit.tasks.grammar.core import LEAN, Dice, Grammar, Outcome, Sentence, capital

# Words of a pair that may agree: targets run from 0 to 5, as those of STS-B do.
N_SLOTS = 5

SLOTS = (
    # the word, the same in other words, nearly the same, loosely related
    (("doctor", "physician", "surgeon", "nurse"), ("boy", "lad", "teenager", "man"),
     ("thief", "robber", "pickpocket", "smuggler"), ("cook", "chef", "baker", "waiter"),
     ("author", "writer", "poet", "reader"), ("officer", "policeman", "sheriff", "soldier")),
    (("bought", "purchased", "ordered", "sold"), ("found", "discovered", "noticed", "lost"),
     ("fixed", "repaired", "improved", "damaged"), ("hid", "concealed", "covered", "showed"),
     ("cleaned", "washed", "wiped", "painted"), ("grabbed", "seized", "took", "dropped")),
    (("little", "small", "short", "thin"), ("old", "aged", "worn", "rusty"),
     ("costly", "expensive", "precious", "cheap"), ("odd", "strange", "unusual", "ugly"),
     ("damp", "moist", "wet", "cold"), ("shiny", "glossy", "bright", "clean")),
    (("sofa", "couch", "bench", "wardrobe"), ("stone", "rock", "pebble", "brick"),
     ("picture", "image", "drawing", "statue"), ("coat", "overcoat", "jacket", "hat"),
     ("sack", "bag", "suitcase", "box"), ("gift", "present", "prize", "toy")),
    (("in the woods", "in the forest", "in the park", "on the farm"),
     ("at home", "in the house", "in the yard", "in the village"),
     ("on the road", "on the street", "on the path", "on the bridge"),
     ("by the sea", "by the ocean", "by the lake", "by the river"),
     ("at the shop", "at the store", "at the market", "at the bank"),
     ("at school", "in class", "at college", "in the library")),
)  # fmt: skip


def _sample(dice: Dice, difficulty: float) -> Sentence:
    score = dice.below(N_SLOTS + 1)
    agreeing = set(dice.several(range(N_SLOTS), score))
    first, second = [], []
    shown = [0, 0, 0, 0]  # same, different, nearly the same, loosely related
    for slot, rows in enumerate(SLOTS):
        row, other = dice.several(rows, 2)
        agree = slot in agreeing
        if dice.chance(difficulty):
            near = dice.leaning(int(agree), 2)
            shown[2 if near else 3] += 1
            second.append(row[2 if near else 3])
        else:
            shown[0 if agree else 1] += 1
            second.append(dice.pick(row[:2]) if agree else other[0])
        first.append(row[0])
    posterior = score_posterior(*shown)
    return Sentence(_phrase(dice, first), _phrase(dice, second), score, posterior)


def _phrase(dice: Dice, words: list[str]) -> str:
    frame = dice.pick(
        (
            "the {0} {1} the {2} {3} {4} .",
            "{4} , the {0} {1} the {2} {3} .",
            "it was the {0} who {1} the {2} {3} {4} .",
        )
    )
    return capital(frame.format(*words))


@lru_cache(maxsize=256)
def score_posterior(same: int, different: int, near: int, loose: int) -> tuple[float, ...]:
    """Return the probability of each score 0..5 given what the five slots show.

    A score s stands for s agreeing slots, all choices of them equal. A slot that is shown as
    nearly the same agrees with odds LEAN, as loosely related with odds 1 - LEAN.
    """
    weights = []
    for score in range(N_SLOTS + 1):
        hidden = score - same
        likelihood = sum(
            comb(near, k) * LEAN**k * (1 - LEAN) ** (near - k)
            * comb(loose, hidden - k) * (1 - LEAN) ** (hidden - k) * LEAN ** (loose - hidden + k)
            for k in range(max(0, hidden - loose), min(near, hidden) + 1)
        ) if hidden >= 0 else 0.0  # fmt: skip
        weights.append(likelihood / comb(N_SLOTS, score))
    return tuple(w / sum(weights) for w in weights)


def _outcomes(difficulty: float) -> list[Outcome]:
    """List what the slots can show, with probabilities."""
    found = []
    for same in range(N_SLOTS + 1):
        for different in range(N_SLOTS + 1 - same):
            for near in range(N_SLOTS + 1 - same - different):
                loose = N_SLOTS - same - different - near
                chance = _shown_probability(same, different, near, loose, difficulty)
                found.append((chance, score_posterior(same, different, near, loose)))
    return found


def _shown_probability(
    same: int, different: int, near: int, loose: int, difficulty: float
) -> float:
    """Return the probability of these counts, summed over the score and the agreeing slots."""
    total = 0.0
    for k in range(near + 1):  # of the nearly same, k agree
        for m in range(loose + 1):  # of the loosely related, m agree
            score = same + k + m
            ways = factorial(N_SLOTS) // (
                factorial(same) * factorial(different) * factorial(k) * factorial(near - k)
                * factorial(m) * factorial(loose - m)
            )  # fmt: skip
            weak = LEAN ** (k + loose - m) * (1 - LEAN) ** (near - k + m)
            total += ways * weak / (comb(N_SLOTS, score) * (N_SLOTS + 1))
    return total * difficulty ** (near + loose) * (1 - difficulty) ** (same + different)


SIMILARITY = Grammar(
    "similarity",
    "how much two sentences agree, 0 to 5 (like STS-B)",
    "regression",
    tuple(str(score) for score in range(N_SLOTS + 1)),
    _sample,
    _outcomes,
)
