import pytest

from charkit import load_encoder
from charkit.answers.text_figures import text_figures
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


def test_texts_that_are_cut_count_whole(tiny_bert):
    encoder = load_encoder(str(tiny_bert), dtype="float32")
    short, long = Split(("the cat ",)), Split(("the cat " * 200,))
    assert text_figures(encoder, long).pieces == pytest.approx(
        text_figures(encoder, short).pieces, rel=0.05
    )
