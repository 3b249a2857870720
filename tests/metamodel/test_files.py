import hashlib
import json

import pytest
from meta_samples import pilot_of, toy_data, toy_metamodel

from metamodel.predict import FORMAT, metamodel_from, metamodel_text, read_metamodel


@pytest.fixture(scope="module")
def text():
    return metamodel_text(toy_metamodel())


def signed(content):
    """Return a text whose hash is right, whatever it says."""
    content = {name: value for name, value in content.items() if name != "sha256"}
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return json.dumps({"sha256": hashlib.sha256(plain.encode()).hexdigest(), **content})


@pytest.mark.parametrize("n0", [0, 16, 128])
def test_a_round_trip_changes_no_bit(text, n0):
    model, again = toy_metamodel(), metamodel_from(text)
    pilot = pilot_of(toy_data(), n0)
    assert again.encoders == model.encoders
    assert again.curve(pilot, [128, 512]).equals(model.curve(pilot, [128, 512]))
    assert again.layers(pilot, 256).equals(model.layers(pilot, 256))
    need = {"target": 0.7, "layer": 1, "largest": 2048}
    assert again.labels_for(pilot, **need) == model.labels_for(pilot, **need)
    assert again.outside(pilot.assign(n_classes=99)) == model.outside(pilot.assign(n_classes=99))
    parts = again.contributions(pilot, 256, layer=0)
    assert parts.equals(model.contributions(pilot, 256, layer=0))
    if n0:
        predicted = again.evaluation_accuracy(pilot, layer=2)
        assert predicted == model.evaluation_accuracy(pilot, layer=2)


def test_it_is_one_json_object_with_a_hash(text, tmp_path):
    content = json.loads(text)
    assert content["format"] == FORMAT
    assert json.loads(signed(content)) == content
    assert metamodel_text(metamodel_from(text)) == text
    place = tmp_path / "metamodel.json"
    place.write_text(text, encoding="utf-8")
    assert metamodel_text(read_metamodel(place)) == text


def test_a_changed_number_is_noticed(text):
    content = json.loads(text)
    content["labelled"]["threshold"] *= 1.001
    with pytest.raises(ValueError, match="its content was changed"):
        metamodel_from(json.dumps(content))


@pytest.mark.parametrize("part", ["choice", "seen", "labelled"])
def test_a_part_that_is_missing_is_refused(text, part):
    content = {name: value for name, value in json.loads(text).items() if name != part}
    with pytest.raises(ValueError, match=f"a part is missing or of another kind: .*{part}"):
        metamodel_from(signed(content))


def test_another_format_is_refused(text):
    content = json.loads(text) | {"format": FORMAT + 1}
    with pytest.raises(ValueError, match=f"format: expected {FORMAT}, got {FORMAT + 1}"):
        metamodel_from(signed(content))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("\x80\x04K\x01.", "not JSON"),
        ("[]", "no metamodel: expected an object with a sha256"),
        ("3", "no metamodel"),
        ("{}", "no metamodel"),
    ],
)
def test_what_is_no_metamodel_is_refused(other, words):
    with pytest.raises(ValueError, match=words):
        metamodel_from(other)


def test_half_a_file_is_refused(text):
    with pytest.raises(ValueError, match="not JSON"):
        metamodel_from(text[: len(text) // 2])


def test_bytes_that_are_no_text_are_refused_in_one_short_sentence(text, tmp_path):
    place = tmp_path / "metamodel.json"
    place.write_bytes(text.encode()[:500] + b"\xff" + text.encode()[500:])
    with pytest.raises(ValueError, match="not text in UTF-8") as caught:
        read_metamodel(place)
    assert type(caught.value) is ValueError
    assert len(repr(caught.value)) < 300


def test_nesting_without_end_is_refused():
    with pytest.raises(ValueError, match="not JSON"):
        metamodel_from("[" * 1_000_000)


def test_without_a_file_there_is_no_metamodel(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_metamodel(tmp_path / "metamodel.json")
