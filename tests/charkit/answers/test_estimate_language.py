"""The whole road with the bundled encoder: evaluation texts of another language get a verdict."""

import pytest

import charkit
from charkit.tasks import Split, Task, load_task

pytest.importorskip("lightgbm")
pytestmark = pytest.mark.bundled

GERMAN = (
    "Das Essen war kalt und der Kellner unfreundlich.",
    "Wir haben den ganzen Abend gelacht, ein wunderbarer Film.",
    "Die Geschichte zieht sich hin und langweilt bald.",
    "Ein Buch, das man so schnell nicht wieder aus der Hand legt.",
    "Leider hielt das Gerät nur wenige Wochen.",
    "Der Garten hinter dem Haus ist schöner als erwartet.",
    "Niemand sollte dafür so viel Geld bezahlen.",
    "Gestern kam das Paket endlich an, unversehrt und vollständig.",
)
RUSSIAN = (
    "Очень хороший фильм, смотрели всей семьёй.",
    "Книга скучная, дочитать не удалось.",
    "Обслуживание было медленным и грубым.",
    "Прекрасный отель с видом на море.",
)


def said(texts, encoder, store):
    known = load_task("generated/sentiment?n_train=80&n_eval=20")
    other = known.evaluation if texts is None else Split(tuple(texts * (20 // len(texts))))
    task = Task("reviews", "classification", known.train, other, known.class_names)
    answer = charkit.estimate(task, encoder=encoder, store=store)
    return {v.code: v for v in answer.verdicts}, answer.trustworthy


def test_another_script_is_another_language(bundled_encoder, tmp_store):
    verdicts, trustworthy = said(RUSSIAN, bundled_encoder, tmp_store)
    assert verdicts["language"].grave
    assert not trustworthy


def test_another_language_in_the_same_script_is_a_shift(bundled_encoder, tmp_store):
    verdicts, _ = said(GERMAN, bundled_encoder, tmp_store)
    assert verdicts["shift"].grave


def test_the_same_language_is_neither(bundled_encoder, tmp_store):
    verdicts, _ = said(None, bundled_encoder, tmp_store)
    assert "language" not in verdicts
    assert not ("shift" in verdicts and verdicts["shift"].grave)
