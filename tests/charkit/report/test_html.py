"""Templates: whatever text they show, it stays text."""

import json
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from charkit.report.pages.html import data, environment, plain

TEMPLATE = (
    '<p title="{{ text }}">{{ text }}</p>{{ show.named({text: text}) }}{{ show.bullets([text]) }}'
)
SHOWN = '{% import "show.html" as show %}' + TEMPLATE


class Reader(HTMLParser):
    """The names of all elements, and all text."""

    def __init__(self):
        super().__init__()
        self.names, self.words = [], []

    def handle_starttag(self, tag, attrs):
        self.names.append((tag, *(name for name, _ in attrs)))
        self.words += [value for name, value in attrs if name == "title"]

    def handle_data(self, data):
        self.words.append(data)


@given(st.text(max_size=80))
def test_any_text_is_shown_as_text_and_adds_no_element(text):
    reader = Reader()
    reader.feed(environment().from_string(SHOWN).render(text=text))
    reader.close()
    assert reader.names == [
        ("p", "title"), ("dl", "class"), ("div",), ("dt",), ("dd",), ("ul",), ("li",),
    ]  # fmt: skip
    assert set(filter(str.strip, reader.words)) <= {plain(text), plain(text.replace("_", " "))}


@given(st.text(max_size=80))
def test_shown_text_has_no_control_and_no_line_end(text):
    assert plain(text).replace("\u00a0", " ").isprintable()
    assert len(plain(text, longest=7)) <= 7


@given(st.dictionaries(st.text(), st.text() | st.floats(-1e6, 1e6) | st.none(), max_size=4))
def test_data_of_the_script_ends_no_element_and_keeps_its_values(values):
    written = data(values)
    assert not set("<>&") & set(written)
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}
    assert json.loads(written) == rounded
