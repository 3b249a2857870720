"""Pairs of sentences about the same scene: paraphrase, entailment and similarity.

Similarity: how many of five things two sentences agree on, 0 to 5 (like STS-B).
"""

from __future__ import annotations

from functools import lru_cache
from math import comb, factorial

from charkit.tasks.generated.core import (
    LEAN,
    Dice,
    Grammar,
    Outcome,
    Sentence,
    capital,
    certain,
    leaned,
    one_hint,
    phrases,
    words,
)

AGENTS = words(
    "teacher sailor farmer painter driver singer baker lawyer student soldier gardener tailor "
    "waiter writer pilot dancer"
)
PLACES = phrases(
    "in the garden|near the river|at the market|behind the house|in the kitchen|on the bridge|"
    "at the station|in the square|by the lake|in the library"
)
_TIMES = phrases(
    "on monday|on friday|last night|this morning|in the spring|before lunch|after school|"
    "at midnight"
)
_DEEDS = (
    ("found", "discovered"), ("bought", "purchased"), ("repaired", "fixed"),
    ("took", "grabbed"), ("hid", "concealed"), ("built", "constructed"),
    ("showed", "displayed"), ("destroyed", "ruined"),
)  # fmt: skip
OBJECTS = (
    # the thing, the same thing, nearly the same, something of that sort
    ("letter", "written message", "note", "parcel"),
    ("car", "automobile", "van", "bicycle"),
    ("coat", "overcoat", "jacket", "hat"),
    ("stone", "rock", "pebble", "brick"),
    ("picture", "image", "drawing", "statue"),
    ("sofa", "couch", "bench", "wardrobe"),
    ("bag", "sack", "suitcase", "box"),
    ("boat", "small vessel", "canoe", "raft"),
    ("torch", "flashlight", "lantern", "candle"),
    ("present", "gift", "prize", "toy"),
    ("cup", "drinking cup", "mug", "plate"),
    ("tale", "story", "legend", "poem"),
)


def _phrase(dice: Dice, agent: str, deed: str, thing: str, place: str, time: str) -> str:
    """Return a scene as a sentence, in one of several forms."""
    frame = dice.pick(
        (
            "the {agent} {deed} the {thing} {place} {time} .",
            "{time} the {agent} {deed} the {thing} {place} .",
            "{time} , {place} , the {agent} {deed} the {thing} .",
            "it was the {agent} who {deed} the {thing} {place} {time} .",
            "{place} , the {agent} {deed} the {thing} {time} .",
        )
    )
    text = frame.format(agent=agent, deed=deed, thing=thing, place=place, time=time)
    return capital(text)


def _paraphrase(dice: Dice, difficulty: float) -> Sentence:
    truth = dice.below(2)
    agent, other = dice.several(AGENTS, 2)
    deeds, wrong = dice.several(_DEEDS, 2)
    things, another = dice.several(OBJECTS, 2)
    place, time = dice.pick(PLACES), dice.pick(_TIMES)
    text = _phrase(dice, agent, deeds[0], things[0], place, time)
    posterior = certain(truth, 2)
    deed, thing = deeds[1], things[1]
    if dice.chance(difficulty):
        points_to = dice.leaning(truth, 2)
        posterior = leaned([points_to], 2)
        thing = things[2] if points_to else things[3]
    elif not truth:
        change = dice.pick(("agent", "deed", "thing"))
        agent = other if change == "agent" else agent
        deed = wrong[1] if change == "deed" else deed
        thing = another[0] if change == "thing" else thing
    return Sentence(text, _phrase(dice, agent, deed, thing, place, time), truth, posterior)


_CREATURES = (
    ("dogs", "animals"), ("cats", "animals"), ("horses", "animals"), ("roses", "flowers"),
    ("girls", "children"), ("boys", "children"), ("sailors", "people"), ("bakers", "people"),
    ("lawyers", "people"), ("sparrows", "birds"), ("owls", "birds"), ("trucks", "vehicles"),
    ("buses", "vehicles"), ("tulips", "flowers"), ("goats", "animals"), ("nurses", "people"),
)  # fmt: skip
_STATES = (
    ("are standing", "are lying down"), ("are still", "are moving"),
    ("are outside", "are inside"), ("are wet", "are dry"), ("are alone", "are in a crowd"),
    ("are clean", "are dirty"), ("are visible", "are hidden"), ("are cold", "are warm"),
)  # fmt: skip
_COUNTS = ("two", "three", "four", "five", "six", "seven", "a few", "several", "a dozen")
_ADJECTIVES = ("old", "young", "big", "small", "tall", "strong", "famous", "fine")
_ADDED = (
    "belong to a rich man", "will be there tomorrow as well", "came here from abroad",
    "have been seen by a reporter", "were there a year ago", "are known all over the town",
    "are the best of their kind", "remind someone of home",
)  # fmt: skip
HEDGES = {
    "entailment": ("almost surely", "very likely", "in all likelihood"),
    "neutral": ("perhaps", "for all we know", "possibly"),
    "contradiction": ("hardly ever", "very rarely", "almost never"),
}
"""Hedged hypotheses: judged to be of this class by three readers in four."""
_HABITS = ("rest", "wait", "stay", "gather", "remain", "appear", "return", "linger")


def _entailment(dice: Dice, difficulty: float) -> Sentence:
    truth = dice.below(3)
    kind, family = dice.pick(_CREATURES)
    state, opposite = dice.pick(_STATES)
    count, adjective, place = dice.pick(_COUNTS), dice.pick(_ADJECTIVES), dice.pick(PLACES)
    text = f"{count} {adjective} {kind} {state} {place} ."
    if dice.chance(difficulty):
        points_to = dice.leaning(truth, 3)
        hedge = dice.pick(tuple(HEDGES.values())[points_to])
        pair = f"the {kind} {hedge} {dice.pick(_HABITS)} {place} ."
        return Sentence(capital(text), capital(pair), truth, leaned([points_to], 3))
    pair = (
        dice.pick((f"some {family} {state} {place} .", f"the {kind} {state} ."))
        if truth == 0
        else f"the {kind} {place} {dice.pick(_ADDED)} ."
        if truth == 1
        else dice.pick((f"the {kind} {opposite} {place} .", f"no {kind} {state} {place} ."))
    )
    return Sentence(capital(text), capital(pair), truth, certain(truth, 3))


PARAPHRASE = Grammar(
    "paraphrase",
    "do two sentences say the same (like MRPC and QQP)",
    "classification",
    ("not_paraphrase", "paraphrase"),
    _paraphrase,
    one_hint(2),
)
ENTAILMENT = Grammar(
    "entailment",
    "does the second sentence follow, conflict, or neither (like MNLI)",
    "classification",
    tuple(HEDGES),
    _entailment,
    one_hint(3),
)


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
    return Sentence(_described(dice, first), _described(dice, second), score, posterior)


def _described(dice: Dice, words: list[str]) -> str:
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
