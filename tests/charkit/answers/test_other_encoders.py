"""Encoders that the metamodel was not made for."""

from types import SimpleNamespace

import pytest

from charkit.answers.accuracy.other_encoders import other_encoder
from metamodel.judge.transfer import Transfer

ROWS = (
    {"known": True, "error_8": 1.0, "covered_wide": 0.5},
    {"known": False, "error_8": 5.0, "covered_wide": 0.97},
    {"known": False, "error_8": 6.5, "covered_wide": 0.95},
)
MEASURED = Transfer("m", 1.2, ("a", "b"), 14, {"n_layers": (3, 12), "width": (384, 768)}, {}, ROWS)


def encoder(n_layers=12, width=768, random_seed=None, apart=False):
    return SimpleNamespace(
        name="/models/bert", n_layers=n_layers, width=width, random_seed=random_seed, apart=apart
    )


def test_an_encoder_like_those_measured_is_a_warning_with_the_figures():
    verdict = other_encoder(encoder(), MEASURED)
    assert verdict.severity == "warning"
    for part in ("not made for bert", "2 other encoders", "14 corpora", "5.0 to 6.5", "20% wider",
                 "at least 95%"):  # fmt: skip
        assert part in verdict.sentence


@pytest.mark.parametrize(("n_layers", "width"), [(4, 312), (24, 1024), (3, 384)])
def test_a_little_beyond_is_answered(n_layers, width):
    assert not other_encoder(encoder(n_layers, width), MEASURED).grave


@pytest.mark.parametrize(
    ("n_layers", "width", "words"),
    [
        (2, 384, "2 layers"),
        (48, 768, "48 layers"),
        (12, 64, "64 numbers"),
        (12, 2048, "2,048 numbers"),
    ],
)
def test_an_encoder_far_from_those_measured_is_refused(n_layers, width, words):
    verdict = other_encoder(encoder(n_layers, width), MEASURED)
    assert verdict.grave
    assert words in verdict.sentence


def test_random_weights_are_refused():
    assert other_encoder(encoder(random_seed=0), MEASURED).grave


def test_pairs_encoded_apart_are_refused():
    verdict = other_encoder(encoder(apart=True), MEASURED)
    assert verdict.grave
    assert "compares the two texts" in verdict.sentence
