"""Paraphrase and entailment: pairs of sentences about the same scene."""

from __future__ import annotations

from charkit.tasks.grammar.core import (
    Dice,
    Grammar,
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
