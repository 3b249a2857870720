from collections import Counter

import pytest

from charkit import load_encoder
from charkit.answers.pilot.text_figures import TextFigures, most_pieces, text_figures
from charkit.tasks import Split

ENGLISH = ("the film was far too long", "i like the actors and the music")
RUSSIAN = ("фильм был слишком длинным", "мне нравятся актёры и музыка")
CHINESE = ("这部电影太长了", "我喜欢演员和音乐")


@pytest.mark.bundled
def test_another_script_is_seen(bundled_encoder):
    encoder = load_encoder(bundled_encoder)
    assert not text_figures(encoder, Split(ENGLISH)).foreign
    assert text_figures(encoder, Split(RUSSIAN)).foreign
    chinese = text_figures(encoder, Split(CHINESE))
    assert chinese.foreign
    assert chinese.unknown > 0.2


def test_pieces_are_counted_by_head(tiny_bert):
    encoder = load_encoder(str(tiny_bert), dtype="float32")
    found = text_figures(encoder, Split(("the cat", "é"), ("dog", "the")))
    # the, cat, dog, [UNK] or e, the: five pieces of 13 characters
    assert found.pieces == pytest.approx(5 / 13)
    assert found.tokens == (6 + 5) / 2  # with [CLS] and two [SEP]


def test_texts_that_are_cut_count_whole(tiny_bert):
    encoder = load_encoder(str(tiny_bert), dtype="float32")
    short, long = Split(("the cat ",)), Split(("the cat " * 200,))
    assert text_figures(encoder, long).pieces == pytest.approx(
        text_figures(encoder, short).pieces, rel=0.05
    )
    assert text_figures(encoder, long).tokens == 402


@pytest.mark.parametrize(
    ("pieces", "text", "foreign"),
    [
        (0.56, "この映画は長すぎました", False),  # as XLM-R's tokenizer
        (1.0, "この映画は長すぎました", True),
        (0.75, "这部电影太长了", False),
        (1.0, "这部电影太长了", False),  # a tokenizer of single characters
        (0.79, "영화가 너무 길었다", False),
        (1.5, "영화가 너무 길었다", True),  # letters of syllables, as under the bundled encoder
        (0.31, "фильм был слишком длинным", False),
        (0.97, "фильм был слишком длинным", True),
        (0.56, "the film was too long", True),
    ],
)
def test_what_is_normal_depends_on_the_script(pieces, text, foreign):
    normal = most_pieces(Counter(text.replace(" ", "")))
    assert TextFigures(pieces, 0.0, normal).foreign == foreign
    assert TextFigures(0.1, 0.2, normal).foreign, "unknown pieces count in every script"
