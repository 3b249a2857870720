"""Question answering and coreference: pairs where something has to be found."""

from __future__ import annotations

from collections.abc import Mapping

from charkit.tasks.generated.core import (
    Dice,
    Grammar,
    Sentence,
    capital,
    certain,
    leaned,
    one_hint,
    words,
)
from charkit.tasks.generated.meaning import AGENTS

_NAMES = words(
    "Maria Peter Anna Hugo Clara Oscar Nadia Felix Julia Simon Vera Anton Ida Bruno Elsa Victor"
)
_WORKS = words(
    "bridge tower church museum theatre library school castle station market prison harbour"
)
_CITIES = words(
    "Oslo Porto Vienna Lyon Dublin Krakow Turin Bergen Ghent Riga Malmo Basel Seville Leeds"
)
_DONE = ("designed", "built", "founded", "restored", "paid for", "painted")
_TRADES = ("merchant", "engineer", "sculptor", "monk", "doctor", "widow", "banker", "mason")

HINTS = {
    "not_answered": {
        "who": "the {work} in {city} is known for the one who {done} it , a {trade} .",
        "when": "the {work} in {city} was {done} long ago , when a {trade} was mayor .",
        "where": "{name} {done} the {work} far from home , as a {trade} wrote .",
    },
    "answered": {
        "who": "it is said that a {trade} called {name} or the like {done} the {work} in {city} .",
        "when": "a {trade} believed that the {work} in {city} was {done} around {year} .",
        "where": "a {trade} believed that {name} {done} the {work} somewhere near {city} .",
    },
}
"""Half answers: judged to be of this class by three readers in four."""

_ANSWERS = {
    "who": (
        "{name} {done} the {work} in {city} in {year} .",
        "in {year} , {name} {done} the {work} in {city} .",
    ),
    "when": (
        "{name} {done} the {work} in {city} in {year} .",
        "the {work} in {city} was {done} in {year} .",
    ),
    "where": (
        "{name} {done} the {work} in {city} in {year} .",
        "{name} {done} the {work} in {city} and came back as a {trade} .",
    ),
}
_MISSES = {
    "who": (
        "the {work} in {city} was {done} in {year} .",
        "every {trade} admired the {work} in {city} in {year} .",
    ),
    "when": (
        "{name} {done} the {work} in {city} with the help of a {trade} .",
        "{name} , a {trade} , {done} the {work} in {city} .",
    ),
    "where": (
        "{name} {done} the {work} in {year} .",
        "{name} , a {trade} , {done} the {work} in {year} .",
    ),
}
_QUESTIONS = {
    "who": "who {done} the {work} in {city} ?",
    "when": "in which year was the {work} in {city} {done} ?",
    "where": "in which city is the {work} that {name} {done} ?",
}


def _question(dice: Dice, difficulty: float) -> Sentence:
    truth = dice.below(2)
    facts = {
        "name": dice.pick(_NAMES),
        "done": dice.pick(_DONE),
        "work": dice.pick(_WORKS),
        "city": dice.pick(_CITIES),
        "trade": dice.pick(_TRADES),
        "year": str(1700 + dice.below(300)),
    }
    asked = dice.pick(tuple(_QUESTIONS))
    posterior = certain(truth, 2)
    if dice.chance(difficulty):
        points_to = dice.leaning(truth, 2)
        posterior = leaned([points_to], 2)
        frame = tuple(HINTS.values())[points_to][asked]
    else:
        frame = dice.pick((_ANSWERS if truth else _MISSES)[asked])
    question = _QUESTIONS[asked].format(**facts)
    return Sentence(capital(question), capital(frame.format(**facts)), truth, posterior)


_Causes = Mapping[str, tuple[tuple[str, str], ...]]

CAUSES: _Causes = {
    # who is meant: the first person, or the second
    "first": (
        ("apologised to", "had made a mistake"), ("lied to", "wanted to hide something"),
        ("begged", "needed help"), ("annoyed", "talked too much"),
        ("disappointed", "had broken a promise"), ("impressed", "knew all the answers"),
        ("called", "had got lost"), ("amazed", "could juggle"),
    ),
    "second": (
        ("thanked", "had been so helpful"), ("blamed", "had caused the accident"),
        ("praised", "had won the prize"), ("helped", "could not lift the box"),
        ("punished", "had stolen the money"), ("comforted", "had lost a friend"),
        ("congratulated", "had passed the test"), ("pitied", "was so poor"),
    ),
}  # fmt: skip
VAGUE_CAUSES: _Causes = {
    "first": (
        ("waited for", "had arrived early"), ("sat near", "liked company"),
        ("wrote to", "was far from home"), ("visited", "had a free day"),
    ),
    "second": (
        ("walked with", "knew the way"), ("stood behind", "was taller"),
        ("watched", "was acting oddly"), ("listened to", "spoke so well"),
    ),
}  # fmt: skip
"""Causes without a clear bearer: three readers in four take it to be this one."""
_WHEN = (
    "", "on monday", "last week", "in the end", "that evening", "at the party", "after work",
    "in town",
)  # fmt: skip


def _coreference(dice: Dice, difficulty: float) -> Sentence:
    truth = dice.below(2)
    people = dice.several(AGENTS, 2)
    named = dice.below(2)
    posterior = certain(truth, 2)
    agrees, causes = truth, CAUSES
    if dice.chance(difficulty):
        agrees, causes = dice.leaning(truth, 2), VAGUE_CAUSES
        posterior = leaned([agrees], 2)
    bearer = named if agrees else 1 - named
    verb, reason = dice.pick(tuple(causes.values())[bearer])
    opening = dice.pick(_WHEN)
    start = f"{opening} " if opening else ""
    text = f"{start}the {people[0]} {verb} the {people[1]} because this person {reason} ."
    pair = f"the {people[named]} {reason} ."
    return Sentence(capital(text), capital(pair), truth, posterior)


QUESTION_ANSWERING = Grammar(
    "question_answering",
    "does the sentence answer the question (like QNLI)",
    "classification",
    tuple(HINTS),
    _question,
    one_hint(2),
)
COREFERENCE = Grammar(
    "coreference",
    "is the person in the second sentence the one who is meant (like WNLI)",
    "classification",
    ("not_entailment", "entailment"),
    _coreference,
    one_hint(2),
)
