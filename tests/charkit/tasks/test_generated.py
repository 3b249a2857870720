"""The generated suite: the ceiling is true, rows are distinct, knobs do what they say."""

import re

import numpy as np
import pytest

from charkit.errors import UnknownNameError, UsageError
from charkit.tasks import generated_names, generated_task, load_task
from charkit.tasks.generated.cues import SENTIMENT_STRONG, SENTIMENT_WEAK, TOPIC_STRONG, TOPIC_WEAK
from charkit.tasks.generated.suite import GRAMMARS, Knobs, draw_sentences, grammar_ceiling

SETTINGS = [(0.0, 0.0), (0.3, 0.0), (0.5, 0.1), (1.0, 0.2), (1.0, 0.7)]


def oracle_score(name, difficulty, noise, *, n_eval=3000, seed=0):
    """Return what a reader of the latent variables scores, and the size of its error."""
    knobs = Knobs(difficulty, noise, 20, n_eval, seed)
    grammar = GRAMMARS[name]
    _, sentences = draw_sentences(grammar, knobs)
    task = generated_task(name, difficulty=difficulty, noise=noise, n_train=20, n_eval=n_eval,
                          seed=seed)  # fmt: skip
    assert task.evaluation.texts == tuple(s.text for s in sentences)
    posterior = np.array([s.posterior for s in sentences])
    labels = task.evaluation.labels
    if task.kind == "regression":
        means = posterior @ np.arange(posterior.shape[1])
        return float(np.corrcoef(means, labels)[0, 1]), 1 / np.sqrt(n_eval)
    other = (1 - posterior) / (posterior.shape[1] - 1)
    guess = ((1 - noise) * posterior + noise * other).argmax(axis=1)
    score = float((guess == labels).mean())
    return score, np.sqrt(task.ceiling * (1 - task.ceiling) / n_eval)


@pytest.mark.parametrize("name", generated_names())
@pytest.mark.parametrize(("difficulty", "noise"), SETTINGS)
def test_an_oracle_attains_the_ceiling(name, difficulty, noise):
    ceiling = grammar_ceiling(GRAMMARS[name], difficulty=difficulty, noise=noise)
    score, error = oracle_score(name, difficulty, noise)
    assert abs(score - ceiling) <= 4 * error + 1e-12


@pytest.mark.parametrize("name", generated_names())
def test_outcomes_are_a_distribution(name):
    for difficulty in (0.0, 0.4, 1.0):
        outcomes = GRAMMARS[name].outcomes(difficulty)
        assert sum(chance for chance, _ in outcomes) == pytest.approx(1)
        assert all(sum(posterior) == pytest.approx(1) for _, posterior in outcomes)


def test_ceilings_in_closed_form():
    def ceiling(name, difficulty, noise):
        return grammar_ceiling(GRAMMARS[name], difficulty=difficulty, noise=noise)

    q = 0.75
    assert ceiling("acceptability", 0, 0.1) == pytest.approx(0.9)
    assert ceiling("entailment", 0, 0.1) == pytest.approx(0.9)
    assert ceiling("entailment", 0.5, 0) == pytest.approx((1 + q) / 2)
    assert ceiling("sentiment", 1, 0) == pytest.approx(q**3 + 3 * q**2 * (1 - q))
    assert ceiling("similarity", 0, 0.3) == pytest.approx(0.7)
    assert ceiling("acceptability", 0, 0.8) == pytest.approx(0.8)  # guess the other class
    assert ceiling("entailment", 0, 0.9) == pytest.approx(0.45)


def read_cues(text, strong, weak):
    """Guess a class from the words alone, by the rules of the grammar."""
    names = list(strong)
    votes = np.zeros(len(names))
    for word in re.findall(r"[a-z]+", text):
        for code, name in enumerate(names):
            votes[code] += 100 * (word in strong[name]) + (word in weak[name])
    return int(votes.argmax())


@pytest.mark.parametrize(
    ("name", "strong", "weak"),
    [
        ("sentiment", SENTIMENT_STRONG, SENTIMENT_WEAK),
        ("topic", TOPIC_STRONG, TOPIC_WEAK),
    ],
)
def test_a_reader_of_the_texts_attains_the_ceiling(name, strong, weak):
    task = generated_task(name, difficulty=0.8, noise=0.1, n_train=20, n_eval=3000)
    guesses = [read_cues(text, strong, weak) for text in task.evaluation.texts]
    score = np.mean(np.array(guesses) == task.evaluation.labels)
    assert abs(score - task.ceiling) < 0.03


@pytest.mark.parametrize("name", generated_names())
def test_rows_are_distinct_and_look_like_sentences(name):
    task = generated_task(name, n_train=3000, n_eval=1500)
    rows = []
    for part in (task.train, task.evaluation):
        rows += list(zip(part.texts, part.pairs or part.texts, strict=True))
    assert len(set(rows)) == len(rows) == 4500
    assert len(set(task.train.texts)) > 1000
    for text in (text for row in rows for text in row):
        assert re.fullmatch(r"[A-Z][A-Za-z0-9 ,']* [.?]", text), text


@pytest.mark.parametrize("name", generated_names())
def test_classes_are_about_equally_frequent(name):
    task = generated_task(name, n_train=3000)
    counts = np.bincount(task.train.labels.astype(int))
    assert counts.min() > 0.8 * 3000 / len(counts)


def test_sizes_noise_and_seed_change_what_they_should():
    base = generated_task("sentiment", n_train=200, n_eval=100)
    longer = generated_task("sentiment", n_train=300, n_eval=100)
    noisy = generated_task("sentiment", n_train=200, n_eval=100, noise=0.3)
    other = generated_task("sentiment", n_train=200, n_eval=100, seed=1)
    assert longer.train.texts[:200] == base.train.texts
    assert longer.evaluation.fingerprint == base.evaluation.fingerprint
    assert noisy.train.text_fingerprint == base.train.text_fingerprint
    assert 0.2 < (noisy.train.labels != base.train.labels).mean() < 0.4
    assert not set(other.train.texts) & set(base.train.texts)
    again = generated_task("sentiment", n_train=200, n_eval=100)
    assert again.fingerprint == base.fingerprint


def test_the_source_line_brings_the_same_task_back():
    task = load_task("generated/topic?difficulty=0.5&noise=0.1&n_train=200&n_eval=100&seed=7")
    assert task.name == "generated_topic-difficulty0.5-noise0.1-seed7"
    assert load_task(task.source).fingerprint == task.fingerprint
    assert task.corpus == "generated_topic"
    assert (len(task.train), len(task.evaluation)) == (200, 100)
    assert task.class_names == tuple(sorted(task.class_names))


def test_too_many_rows_are_refused():
    with pytest.raises(UsageError, match="20 to 10000 rows"):
        generated_task("topic", n_train=1_000_000)


def test_the_largest_sizes_can_be_made():
    for name in generated_names():
        assert len(generated_task(name, n_train=10_000, n_eval=20).train) == 10_000


def test_unknown_names():
    with pytest.raises(UnknownNameError, match="generated/sentiment"):
        generated_task("sentimant")
