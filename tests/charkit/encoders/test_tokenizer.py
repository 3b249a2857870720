"""A tokenizer cuts texts as its tokenizer.json says, whatever class its settings name."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hostile_folders import TEXTS, edit
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from charkit.encoders import load_encoder

NORMALIZERS = [
    None,
    {"type": "Lowercase"},
    {"type": "NFKC"},
    {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
    {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]},
]
SPLITTERS = [
    {"type": "BertPreTokenizer"},
    {"type": "WhitespaceSplit"},
    {"type": "Whitespace"},
    {"type": "Digits", "individual_digits": True},
]
CLASSES = [None, "BertTokenizer", "RobertaTokenizer", "DistilBertTokenizer", "MyTokenizer",
           "PreTrainedTokenizerFast"]  # fmt: skip


def pieces_of(folder: Path) -> Tokenizer:
    found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found.no_padding()
    found.no_truncation()
    return found


@settings(max_examples=15, deadline=None)
@given(
    normalizer=st.sampled_from(NORMALIZERS),
    splitter=st.sampled_from(SPLITTERS),
    named=st.sampled_from(CLASSES),
    text=st.text(st.sampled_from("aeiou THE`'12\u00c9\u00fc.- "), min_size=1, max_size=20),
)
def test_texts_are_cut_as_the_file_says(normalizer, splitter, named, text, tiny_bert):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(tiny_bert, Path(place) / "copy"))
        content = json.loads((folder / "tokenizer.json").read_text())
        content |= {"normalizer": normalizer, "pre_tokenizer": splitter}
        (folder / "tokenizer.json").write_text(json.dumps(content))
        edit(folder / "tokenizer_config.json", tokenizer_class=named)
        declared = pieces_of(folder)
        tokenizer = load_encoder(str(folder), device="cpu").tokenizer
        for one in (text, *TEXTS):
            got = tokenizer(one, add_special_tokens=False)["input_ids"]
            assert list(got) == declared.encode(one, add_special_tokens=False).ids


@pytest.mark.parametrize("baked", ["truncation", "padding"])
def test_cutting_that_the_file_holds_plays_no_part(baked, tiny_bert, tmp_path):
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "copy"))
    declared = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if baked == "truncation":
        declared.enable_truncation(4)
    else:
        declared.enable_padding(length=10)
    declared.save(str(folder / "tokenizer.json"))
    tokenizer = load_encoder(str(folder), device="cpu").tokenizer
    wanted = pieces_of(tiny_bert).encode(TEXTS[2]).ids
    assert list(tokenizer(TEXTS[2])["input_ids"]) == wanted


def test_codes_of_a_byte_pair_vocabulary_are_read(tiny_bert, tmp_path):
    """PhoBERT and BERTweet keep their merges in bpe.codes."""
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "copy"))
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("cat 3\nthe 2\nca@@ 1\nt 1\n")
    (folder / "bpe.codes").write_text("t h 4\nth e</w> 4\nc a 3\nca t</w> 2\n")
    edit(folder / "tokenizer_config.json", tokenizer_class="PhobertTokenizer")
    encoder = load_encoder(str(folder), device="cpu")
    assert encoder.tokenizer.tokenize("the cat") == ["the", "cat"]
    before = encoder.fingerprint
    (folder / "bpe.codes").write_text("c a 3\n")
    assert load_encoder(str(folder), device="cpu").fingerprint != before
