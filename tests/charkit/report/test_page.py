import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from charkit.errors import MissingError, UsageError
from charkit.report.pages.answer import page_html, write_page

VOID = {"meta", "link", "input", "line", "path", "rect", "circle", "br", "wbr"}


def expected(n, layer=4):
    mean = 0.93 - 0.03 * abs(layer - 4) - 1.6 * n**-0.42
    half = 0.02 + 0.01 * math.log2(max(n / 256, 1))
    return {"n": n, "mean": mean, "low": mean - half, "high": min(mean + half, 1.0)}


def full_answer():
    grid = [round(256 * 32 ** (k / 48)) for k in range(49)]
    scores = {layer: expected(256, layer)["mean"] for layer in range(7)}
    return {
        "task": "reviews.csv",
        "encoder": "minilm",
        "n": 256,
        "n_classes": 5,
        "mode": "pilot",
        "question": "How many labels reach an accuracy of 0.85?",
        "sentences": ["About 1,300 labels reach 0.85.", "Read layer 4."],
        "accuracy": [expected(n) for n in (256, 512, 1024, 2048, 8192)],
        "curve": [{"layer": layer, **expected(n, layer)} for layer in range(7) for n in grid],
        "labels_for_target": {
            "target": 0.85, "n": 1298, "low": 812, "high": 2610, "reached": True,
        },
        "layer": 4,
        "layers": [
            {"layer": k, "score": v, "low": v - 0.02, "high": v + 0.02, "tied_with_best": k == 3}
            for k, v in scores.items()
        ],
        "eval_accuracy": {"mean": 0.761, "low": 0.72, "high": 0.8},
        "worth_labelled_rows": 143.2,
        "adequacy": {"share_of_reachable": 0.91},
        "verdicts": [
            {"code": "layers_tie", "sentence": "Three layers tie.", "severity": "note"},
            {"code": "shift", "sentence": "The texts differ.", "severity": "warning"},
            {"code": "outside", "sentence": "Outside the known.", "severity": "refusal"},
        ],
        "contributions": [
            {"feature": "fisher_norm", "value": -3.21, "points": -1.7},
            {"feature": "oof_accuracy", "value": 0.768, "points": 4.2},
        ],
        "observed": [{"n": 32, "accuracy": 0.55}, {"n": 256, "accuracy": 0.768}],
        "manifest": {"charkit": "0.1.0", "seconds": 8.31},
    }  # fmt: skip


class Reader(HTMLParser):
    """Every element with its attributes, the visible text, and whether the tags close."""

    def __init__(self):
        super().__init__()
        self.found, self.words, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.words.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def words(page):
    return re.sub(r"\s+", " ", " ".join(read(page).words))


def elements(page, tag):
    return [attrs for name, attrs in read(page).found if name == tag]


def of_class(page, name):
    return [(t, a) for t, a in read(page).found if name in (a.get("class") or "").split()]


def test_the_whole_answer_is_there_without_the_script():
    page = words(page_html(full_answer()))
    for part in (
        "How many labels reach an accuracy of 0.85?",
        "About 1,300 labels reach 0.85.",
        "Read layer 4.",
        "1,298 labels",
        "90 % interval 812 to 2,610",
        "8,192",
        "recommended",
        "tied with it",
        "0.761",
        "as about 143 labelled texts",
        "share of reachable",
        "Outside the known.",
        "oof accuracy",
        "+4.2",
        "−1.7",
        "0.1.0",
    ):
        assert part in page, part


def test_every_key_but_accuracy_may_be_missing():
    whole = full_answer()
    for name in whole.keys() - {"accuracy"}:
        read(page_html({k: v for k, v in whole.items() if k != name}))
        read(page_html(whole | {name: None}))
    alone = page_html({"accuracy": whole["accuracy"]})
    assert "With 256 labels, expect an accuracy of 0.774" in words(alone)
    assert of_class(alone, "mean")
    for absent in ("Layers", "Record", "Your texts", "What drove the answer", "None", "nan"):
        assert absent not in words(alone)


def test_without_accuracies_it_is_refused():
    with pytest.raises(UsageError, match=r"under 'accuracy', got task, layer\."):
        page_html({"task": "a", "layer": 3})
    with pytest.raises(UsageError, match="got nothing"):
        page_html({})


@pytest.mark.parametrize("wrong", ["0.8", True, [0.8]])
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(UsageError, match="a number or null under 'mean'"):
        page_html({"accuracy": [{"n": 64, "mean": wrong}]})


def test_a_size_is_needed():
    with pytest.raises(UsageError, match="expected one under 'n'"):
        page_html({"accuracy": [{"mean": 0.5}]})


def test_no_accuracy_at_all_is_said():
    page = page_html({"accuracy": [], "n": 2})
    assert "No accuracy can be given." in words(page)
    assert not elements(page, "svg")


def test_unknown_numbers_are_called_unknown():
    nan = float("nan")
    rows = [{"n": 64, "mean": nan, "low": None, "high": nan}, expected(256)]
    page = page_html({"accuracy": rows, "curve": [], "worth_labelled_rows": nan})
    assert words(page).count("unknown") == 2
    assert "nan" not in page.lower().replace("nance", "")
    assert len(json.loads(data_of(page))["curves"][0]["points"]) == 1


def data_of(page):
    return re.search(r'<script type="application/json" id="numbers">(.*?)</script>', page)[1]


def test_the_scripts_numbers_are_those_of_the_recommended_layer():
    answer = full_answer()
    data = json.loads(data_of(page_html(answer)))
    want = [row for row in answer["curve"] if row["layer"] == 4]
    points = data["curves"][0]["points"]
    assert [row[0] for row in points] == [row["n"] for row in want]
    assert np.allclose(
        [row[1:] for row in points],
        [[row["mean"], row["low"], row["high"]] for row in want],
        atol=1e-5,
    )
    assert data["need"] == [0.85, 1298, 812, 2610]
    assert data["n"] == 256


NASTY = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> </style> ${x} $title \u202e\x00\ud800"


def nasty(value):
    """The same with every string, keys of the free mappings included, replaced."""
    if isinstance(value, str):
        return NASTY
    if isinstance(value, list):
        return [nasty(v) for v in value]
    if isinstance(value, dict):
        return {k: nasty(v) for k, v in value.items()}
    return value


def test_text_from_the_data_does_nothing():
    answer = nasty(full_answer())
    answer["manifest"] = {NASTY: NASTY}
    answer["adequacy"] = {NASTY: {NASTY: [NASTY]}}
    page = page_html(answer)
    clean = [(t, sorted(a)) for t, a in read(page_html(full_answer())).found if t == "script"]
    assert [(t, sorted(a)) for t, a in read(page).found if t == "script"] == clean
    assert not elements(page, "img")
    assert not [name for _, attrs in read(page).found for name in attrs if name.startswith("on")]
    assert "<script>alert(1)</script>" in words(page)
    assert "\u202e" not in page
    page.encode()


def test_nothing_is_asked_of_any_network():
    page = page_html(full_answer())
    addresses = [
        (t, a)
        for t, attrs in read(page).found
        for name, a in attrs.items()
        if name in ("src", "href", "action", "srcset", "data", "poster")
    ]
    assert addresses == [("link", "data:,")]
    assert "http:" not in page
    assert "https:" not in page
    assert "@import" not in page
    assert "url(" not in page
    assert not [a for _, a in read(page).found if "style" in a]


def test_the_policy_allows_the_pages_own_style_and_script_alone():
    page = page_html(full_answer())
    policy = next(
        a["content"]
        for a in elements(page, "meta")
        if a.get("http-equiv") == "Content-Security-Policy"
    )
    for kind in ("style", "script"):
        inside = re.search(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_the_page_is_small_and_the_same_twice(tmp_path):
    path = write_page(full_answer(), tmp_path / "new" / "answer.html")
    assert path.read_text(encoding="utf-8") == page_html(full_answer())
    assert path.stat().st_size < 100_000
    assert [p.name for p in path.parent.iterdir()] == ["answer.html"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="cannot write"):
        write_page(full_answer(), tmp_path / "file" / "answer.html")


def test_the_gravest_warning_comes_first():
    page = page_html(full_answer())
    kinds = [a["class"].split()[1] for _, a in of_class(page, "verdict")]
    assert kinds == ["grave", "warning", "note"]


def test_a_target_out_of_reach_is_said():
    need = {"target": 0.95, "n": None, "low": 3000, "high": None, "reached": False}
    page = words(page_html(full_answer() | {"labels_for_target": need}))
    assert "not reached by 8,192" in page
    assert "90 % interval 3,000 to more than 8,192" in page


def test_without_a_target_its_card_waits_for_the_script():
    page = page_html(full_answer() | {"labels_for_target": None})
    card = next(a for a in elements(page, "section") if a.get("id") == "goal-card")
    assert "hidden" in card
    slider = next(a for a in elements(page, "input") if a["id"] == "goal")
    assert float(slider["min"]) < float(slider["value"]) < float(slider["max"])


@pytest.mark.parametrize(("target", "step"), [(0.85, 0.005), (0.873, 0.001), (0.9001, 0.0001)])
def test_the_slider_starts_at_the_target(target, step):
    need = {"target": target, "n": 900, "low": 800, "high": 990, "reached": True}
    page = page_html(full_answer() | {"labels_for_target": need})
    slider = next(a for a in elements(page, "input") if a["id"] == "goal")
    assert float(slider["value"]) == target
    assert float(slider["step"]) == step
    steps = (target - float(slider["min"])) / step
    assert steps == pytest.approx(round(steps))


def test_beyond_twelve_contributions_the_rest_is_one_row():
    many = [{"feature": f"f{k}", "value": k, "points": 1 / (k + 1)} for k in range(15)]
    page = words(page_html(full_answer() | {"contributions": many}))
    assert "3 more together +0.2" in page


def test_what_is_told_elsewhere_is_not_a_sentence_too():
    answer = full_answer()
    answer["sentences"] += ["shift: The texts differ.", "it was oof_accuracy and fisher_norm"]
    page = words(page_html(answer))
    assert page.count("The texts differ.") == 1
    assert "it was" not in page
    assert "Read layer 4." in page


def test_what_follows_the_summary_waits_behind_it():
    answer = full_answer()
    answer["summary"] = answer["sentences"][:1]
    answer["sentences"] = [*answer["sentences"], "Warned of: The texts differ."]
    page = page_html(answer)
    shown, details = page.split("<details>")
    assert "About 1,300 labels reach 0.85." in shown
    assert "Read layer 4." in details
    assert page.count("Read layer 4.") == page.count("The texts differ.") == 1


def test_notes_and_the_largest_class_are_shown():
    page = words(page_html(full_answer() | {"majority": 0.32, "notes": ["3 rows left out"]}))
    assert "3 rows left out" in page
    assert "share of the largest class 0.320" in page


def test_where_no_end_is_known_the_probability_is_told():
    need = {"target": 0.97, "n": None, "low": None, "high": None, "reached": False}
    page = full_answer() | {"labels_for_target": need}
    assert "Even the upper end of the band stays below it" in words(page_html(page))
    page["labels_for_target"] = need | {"probability": 0.034, "largest": 9000}
    assert "not reached by 9,000" in words(page_html(page))
    assert "Probability that it is: 3 %" in words(page_html(page))


def test_adequacy_and_what_to_label_next_are_shown():
    answer = full_answer()
    answer["adequacy"] = {"covered": 0.91, "bound": 0.25, "radius": 0.7, "sentence": "Said above."}
    answer["next"] = {"unit": "line", "places": [1234, 7], "strategy": "margin"}
    page = page_html(answer)
    assert "share near a labelled text" in page
    assert "error of copying the nearest label, at most" in page
    assert "line 1,234, 7" in page
    assert "radius" not in page.partition("Your texts")[2]


def learner(name, *means):
    rows = [
        {"n": 64 * 2**k, "mean": m, "low": m - 0.1, "high": m + 0.05} for k, m in enumerate(means)
    ]
    return {"learner": name.lower(), "name": name, "accuracy": rows}


def test_learners_are_a_table_with_the_best_of_each_row_and_lines_in_the_chart():
    curve = [{"n": n, "mean": 0.7, "low": 0.6, "high": 0.8} for n in (64, 128)]
    rows = [
        learner("linear head", 0.7, 0.75),
        learner("<b>Tuned</b>", 0.6, 0.8),
        learner("level", 0.65, 0.65),
    ]
    page = page_html({"accuracy": curve, "learners": rows})
    assert page.count('<td class="number best">') == 2
    assert '<td class="number best"><span>0.700</span><small>0.600 to</small>' in page
    assert "<b>Tuned" not in page
    assert (
        page.count('<path class="line t2 d1"') == 3
    )  # two charts and the legend; no line of a level
    assert page.count('<path class="line') == 3
    assert "Ways of training" not in page_html({"accuracy": curve, "learners": rows[:1]})


@pytest.mark.parametrize(
    "rows", [[{"accuracy": [{"n": "x"}]}] * 2, [{"accuracy": [{"mean": 1}]}] * 2]
)
def test_learners_that_are_no_numbers_are_refused(rows):
    with pytest.raises(UsageError, match="number"):
        page_html({"accuracy": [], "learners": rows})
