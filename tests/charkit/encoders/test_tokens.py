"""Only the part of a text that can be kept is tokenised, and the ids are those of the whole."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hostile_folders import edit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charkit.encoders import load_encoder, tokens
from charkit.encoders.tokens import tokenise
from charkit.errors import DataError

PIECES = st.sampled_from(
    ["the", "cat", "reads", " ", "  ", "\n", ".", "!", "x" * 30, "unreadably", "é", "e\u0301",
     "日本", "[SEP]", "\u200b", "1", "qq", " sees a bird"]
)  # fmt: skip
TEXT = st.lists(PIECES, min_size=1, max_size=150).map("".join)


@pytest.fixture
def short(monkeypatch):
    """Long texts begin at 128 characters, and cuts lie close to what is kept."""
    monkeypatch.setattr(tokens, "WHOLE_CHARACTERS", 1)
    monkeypatch.setattr(tokens, "_MARGIN", 4)
    monkeypatch.setattr(tokens, "_GROUP_CHARACTERS", 600)


def plain_ids(encoder, texts, pairs, max_length):
    return encoder.tokenizer(
        texts, pairs, truncation="longest_first", max_length=max_length
    )["input_ids"]  # fmt: skip


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), paired=st.booleans(), max_length=st.integers(8, 11))
def test_ids_are_those_of_the_whole_text(tiny_encoder, short, data, paired, max_length):
    texts = data.draw(st.lists(TEXT, min_size=1, max_size=6))
    pairs = data.draw(st.lists(TEXT, min_size=len(texts), max_size=len(texts))) if paired else None
    found = tokenise(tiny_encoder, texts, pairs, max_length=max_length)
    expected = plain_ids(tiny_encoder, texts, pairs, max_length)
    assert found.lengths.tolist() == [len(row) for row in expected]
    np.testing.assert_array_equal(found.ids, np.concatenate(expected))
    assert np.array_equal(
        found.full_lengths > max_length,
        [len(row) > max_length for row in tiny_encoder.tokenizer(texts, pairs)["input_ids"]],
    )


def test_long_texts_are_cut_in_the_test_above(tiny_encoder, short):
    head = tokens._Head(tiny_encoder, "the cat reads. " * 60, 8)
    assert len(head.text) < 200
    assert head.n_more > 100


@pytest.mark.parametrize(
    "text", ["the cat reads a book. " * 100_000, "x" * 400_000, " " * 400_000 + "cat"]
)
def test_a_field_of_megabytes_is_not_read_to_its_end(text, tiny_encoder):
    begun = time.process_time()
    found = tokenise(tiny_encoder, [text], None, max_length=32)
    assert time.process_time() - begun < 5
    expected = plain_ids(tiny_encoder, [text[:3000] if text[0] == "t" else text], None, 32)
    np.testing.assert_array_equal(found.ids, expected[0])


def test_the_full_length_of_a_long_text_is_estimated(tiny_encoder):
    text = "the cat reads a book. " * 10_000
    found = tokenise(tiny_encoder, [text], None, max_length=32)
    n_tokens = 60_002
    assert abs(int(found.full_lengths[0]) - n_tokens) < 0.01 * n_tokens


def test_a_text_without_a_token_is_named(tiny_bert, tmp_path):
    import json
    import shutil

    folder = shutil.copytree(tiny_bert, tmp_path / "plain")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["post_processor"] = None  # a tokenizer that adds no special tokens
    (folder / "tokenizer.json").write_text(json.dumps(content))
    edit(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    encoder = load_encoder(str(folder), device="cpu", dtype="float32")
    with pytest.raises(DataError, match=r"text 12 gives .* no token.*\\u200b\\u200b.*and 1 more"):
        tokenise(encoder, ["cat", "\u200b\u200b", "\u200b"], None, max_length=16, first=10)
