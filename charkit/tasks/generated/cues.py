"""Sentiment and topic: three cue words a sentence, each strong or weak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from charkit.tasks.generated.core import (
    Dice,
    Grammar,
    Sentence,
    capital,
    certain,
    leaned,
    phrases,
    several_cues,
    words,
)

# Cue words in a sentence: its frame has a place for each.
N_CUES = 3

SENTIMENT_STRONG: Mapping[str, tuple[str, ...]] = {
    "negative": words(
        "awful terrible boring dreadful horrible disappointing dull miserable tedious bland "
        "annoying useless shabby clumsy broken ugly disgusting rude nasty pathetic"
    ),
    "positive": words(
        "wonderful superb delightful excellent brilliant charming amazing fantastic lovely "
        "perfect gorgeous splendid enjoyable impressive beautiful friendly delicious witty "
        "inspiring great"
    ),
}
SENTIMENT_WEAK: Mapping[str, tuple[str, ...]] = {
    "negative": words("long loud odd plain heavy late cold strange small slow"),
    "positive": words("bright simple calm new soft quick warm light big early"),
}
_THINGS = words(
    "food service music room view plot acting staff story camera screen battery coffee garden "
    "hotel concert lecture book painting museum train meal dessert guide speech song chair "
    "design show game"
)
_OPENINGS = (
    "", "on monday", "last week", "during our visit", "as far as i can tell", "in june",
    "for my friends", "this time", "at the weekend", "after dinner", "in the evening",
    "to my mind",
)  # fmt: skip
_SENTIMENT_FRAMES = (
    "the {0} was {3} , the {1} was {4} and the {2} was {5}",
    "we found the {0} {3} , the {1} {4} and the {2} {5}",
    "a {3} {0} , a {4} {1} and a {5} {2}",
    "they had a {3} {0} and a {4} {1} , and the {2} seemed {5}",
    "everyone called the {0} {3} and the {1} {4} , while the {2} was {5}",
)

TOPIC_STRONG: Mapping[str, tuple[str, ...]] = {
    "cooking": words("recipe oven soup garlic pasta butter pepper sauce flour pancake stew onion"),
    "finance": words(
        "bank loan mortgage interest investor dividend shares budget tax credit bond pension"
    ),
    "health": words(
        "doctor vaccine surgery patient fever clinic medicine nurse diagnosis injury virus therapy"
    ),
    "music": words(
        "guitar piano melody orchestra singer drummer album violin chorus opera rhythm concerto"
    ),
    "sport": words(
        "football goalkeeper tennis referee marathon striker coach penalty basketball athlete "
        "stadium tournament"
    ),
    "travel": words(
        "airport passport luggage flight tourist hostel itinerary visa cruise sightseeing "
        "suitcase embassy"
    ),
}
TOPIC_WEAK: Mapping[str, tuple[str, ...]] = {
    "cooking": words("bowl smell table knife plate heat"),
    "finance": words("number office paper report form rate"),
    "health": words("bed test mask water rest sleep"),
    "music": words("stage voice sound hall light evening"),
    "sport": words("team ball field speed race prize"),
    "travel": words("road map bag street view night"),
}
_PEOPLE = phrases(
    "my neighbour|a friend|the teacher|our guest|his sister|the reporter|an old man|her cousin|"
    "the student|a colleague|their uncle|the driver|a stranger|my aunt|the author"
)
_TOPIC_FRAMES = (
    "{0} talked about the {1} , the {2} and the {3}",
    "{0} wrote a page on the {1} , with a word about the {2} and the {3}",
    "first {0} mentioned the {1} , then the {2} , and at last the {3}",
    "{0} wanted to know more about the {1} than about the {2} or the {3}",
    "the {1} , the {2} and the {3} were all that {0} cared about",
    "{0} had a question on the {1} because of the {2} and the {3}",
)


def _cues(
    dice: Dice,
    difficulty: float,
    truth: int,
    strong: Sequence[tuple[str, ...]],
    weak: Sequence[tuple[str, ...]],
) -> tuple[list[str], tuple[float, ...]]:
    """Draw different cue words for a class, and what they show together."""
    n_classes = len(strong)
    chosen: list[str] = []
    leanings, settled = [], False
    while len(chosen) < N_CUES:
        if dice.chance(difficulty):
            leanings.append(dice.leaning(truth, n_classes))
            options = weak[leanings[-1]]
        else:
            settled, options = True, strong[truth]
        chosen.append(dice.pick([word for word in options if word not in chosen]))
    return chosen, certain(truth, n_classes) if settled else leaned(leanings, n_classes)


def _sentiment(dice: Dice, difficulty: float) -> Sentence:
    truth = dice.below(2)
    strong, weak = tuple(SENTIMENT_STRONG.values()), tuple(SENTIMENT_WEAK.values())
    chosen, posterior = _cues(dice, difficulty, truth, strong, weak)
    frame = dice.pick(_SENTIMENT_FRAMES)
    opening = dice.pick(_OPENINGS)
    body = frame.format(*dice.several(_THINGS, 3), *chosen)
    text = f"{opening} , {body} ." if opening else f"{body} ."
    return Sentence(capital(text), None, truth, posterior)


def _topic(dice: Dice, difficulty: float) -> Sentence:
    truth = dice.below(len(TOPIC_STRONG))
    strong, weak = tuple(TOPIC_STRONG.values()), tuple(TOPIC_WEAK.values())
    chosen, posterior = _cues(dice, difficulty, truth, strong, weak)
    text = dice.pick(_TOPIC_FRAMES).format(dice.pick(_PEOPLE), *chosen)
    return Sentence(capital(text) + " .", None, truth, posterior)


SENTIMENT = Grammar(
    "sentiment",
    "is the writer pleased or not (like SST-2)",
    "classification",
    tuple(SENTIMENT_STRONG),
    _sentiment,
    several_cues(N_CUES, len(SENTIMENT_STRONG)),
)
TOPIC = Grammar(
    "topic",
    "which of six subjects a sentence is about",
    "classification",
    tuple(TOPIC_STRONG),
    _topic,
    several_cues(N_CUES, len(TOPIC_STRONG)),
)
