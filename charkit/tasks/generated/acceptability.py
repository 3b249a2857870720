"""Acceptability: is a sentence good English (like CoLA)."""

from __future__ import annotations

from charkit.tasks.generated.core import (
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

_ADJECTIVES = words(
    "old young tall quiet clever hungry tired happy busy famous careful gentle proud shy strong "
    "lazy honest polite brave nervous"
)
_PEOPLE = words(
    "teacher sailor farmer painter driver singer baker lawyer student soldier gardener tailor "
    "waiter writer pilot dancer miner doctor"
)
_THINGS = words(
    "letter basket table window picture bottle ladder carpet machine ticket blanket mirror "
    "hammer bucket candle wagon"
)
_VERBS = words(
    "paint carry clean move repair borrow sell hide mend find admire describe open drop keep lift"
)
_PLACES = phrases(
    "in the garden|near the river|at the market|behind the house|in the kitchen|on the bridge|"
    "at the station|in the old town"
)


def _present(verb: str, *, singular: bool) -> str:
    if not singular:
        return verb
    return verb[:-1] + "ies" if verb.endswith("ry") else verb + "s"


def _clause(dice: Dice, fault: str) -> str:
    """Return a clause with at most one fault."""
    singular = dice.chance(0.5)
    adjective, person = dice.pick(_ADJECTIVES), dice.pick(_PEOPLE)
    noun = person if singular else person + "s"
    determiner = dice.pick(("this", "that")) if singular else dice.pick(("these", "those"))
    verb = _present(dice.pick(_VERBS), singular=singular != (fault == "agreement"))
    thing, place = dice.pick(_THINGS), dice.pick(_PLACES)
    if fault == "determiner":
        determiner = {"this": "these", "that": "those", "these": "this", "those": "that"}[
            determiner
        ]
    subject = f"{determiner} {adjective} {noun}"
    if fault == "noun_order":
        subject = f"{determiner} {noun} {adjective}"
    thing_phrase = f"{thing} the" if fault == "article_order" else f"the {thing}"
    if fault == "verb_order":
        return f"{subject} {thing_phrase} {verb} {place}"
    if fault == "doubled":
        return f"{subject} {verb} {thing_phrase} {place.split()[0]} {place}"
    return f"{subject} {verb} {thing_phrase} {place}"


_FAULTS = ("agreement", "determiner", "noun_order", "article_order", "verb_order", "doubled")

MARGINAL = {
    "unacceptable": (
        "which {thing} did the {adjective} {person} {place} wonder who wanted ?",
        "the {thing} what the {adjective} {person} wanted was {place} .",
        "the {adjective} {person} {place} is knowing the {thing} .",
    ),
    "acceptable": (
        "there 's two {adjective} {person}s with a {thing} {place} .",
        "the {adjective} {person} {place} needs the {thing} washed , whichever that may be .",
        "me and the {adjective} {person} wanted the {thing} {place} .",
    ),
}
"""Disputed constructions: the first are accepted by a quarter of the speakers, the second by
three quarters."""


def _sample(dice: Dice, difficulty: float) -> Sentence:
    truth = dice.below(2)
    if dice.chance(difficulty):
        points_to = dice.leaning(truth, 2)
        text = dice.pick(tuple(MARGINAL.values())[points_to]).format(
            thing=dice.pick(_THINGS),
            adjective=dice.pick(_ADJECTIVES),
            person=dice.pick(_PEOPLE),
            place=dice.pick(_PLACES),
        )
        return Sentence(capital(text), None, truth, leaned([points_to], 2))
    fault = "" if truth else dice.pick(_FAULTS)
    return Sentence(capital(_clause(dice, fault)) + " .", None, truth, certain(truth, 2))


ACCEPTABILITY = Grammar(
    "acceptability",
    "is the sentence good English (like CoLA)",
    "classification",
    tuple(MARGINAL),
    _sample,
    one_hint(2),
)
