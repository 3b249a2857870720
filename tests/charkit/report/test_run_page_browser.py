"""The page of a run in a real browser, where there is one."""

import pytest
from browser import PROGRAM, browser
from run_folders import NASTY, reached, write_run

from charkit.report.pages.curves import rough
from charkit.report.pages.run import write_report

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium on this machine")

MOVE = """(() => {
  const goal = document.getElementById("goal");
  goal.value = %s;
  goal.dispatchEvent(new Event("input"));
  return [...document.querySelectorAll("#goal-rows tr")].map(
    (row) => [row.querySelector("th").firstChild.nextSibling.textContent,
              row.querySelector("b").textContent]);
})()"""
HOVER = """(() => {
  const plot = [...document.querySelectorAll(".plot")].find((p) => p.clientWidth);
  const box = plot.getBoundingClientRect();
  plot.dispatchEvent(new PointerEvent(
    "pointermove", {clientX: box.x + box.width / 3, clientY: box.y + box.height / 2}));
  return document.getElementById("tip").innerText;
})()"""
PAPER = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_report(write_run(tmp_path_factory.mktemp("shown") / "run"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


def words_of(task, target):
    n = reached(task, target)
    return "not reached by 1,024" if n is None else f"{rough(n):,}"


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_and_complains_of_nothing(shown, page, width, dark):
    shown.open(page, width=width, dark=dark)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate("document.title") == "pilot"
    assert shown.evaluate("document.images.length") == 4
    assert shown.wait_for("[...document.images].every((i) => i.complete && i.naturalWidth)")
    assert shown.errors() == []
    assert shown.requests() == [page.as_uri()]


def test_themes_differ(shown, page):
    papers = set()
    for dark in (False, True):
        shown.open(page, dark=dark)
        papers.add(shown.evaluate(PAPER))
    assert len(papers) == 2


def test_the_slider_changes_the_answer(shown, page):
    shown.open(page)
    for target in (0.6, 0.75, 0.85, 0.89):
        rows = dict(shown.evaluate(MOVE % target))
        assert rows["reviews"] == rows[NASTY] == words_of("reviews", target)
        assert rows["flat"] == "not reached by 1,024"
    met = shown.evaluate('document.getElementById("goal-met").textContent')
    assert met == "0 of 3 tasks"
    assert shown.errors() == []


def test_without_its_script_the_page_says_the_same(shown, page):
    shown.open(page)
    target = shown.evaluate("Number(document.getElementById('goal').value)")
    before = page.read_text("utf-8").split('id="goal-rows">')[1].split("</tbody>")[0]
    for words in dict(shown.evaluate(MOVE % target)).values():
        assert f"<b>{words}</b>" in before


def test_values_are_shown_under_the_pointer(shown, page):
    shown.open(page)
    said = shown.evaluate(HOVER)
    assert "labels: accuracy 0." in said
    assert "90\u00a0% interval" in said
    assert shown.evaluate("document.querySelectorAll('.task.on').length") == 2
    shown.open(page, width=390)
    assert "layer 4" in shown.evaluate(HOVER)


def test_a_task_can_be_chosen(shown, page):
    shown.open(page)
    choose = """(() => {
      const chooser = document.getElementById("grid-task");
      chooser.value = "2";
      chooser.dispatchEvent(new Event("change"));
      return [...document.querySelectorAll("[data-grid]")].map((g) => g.hidden);
    })()"""
    assert shown.evaluate(choose) == [True, True, False]


def test_keys_read_the_curves_by_labels_and_by_task(shown, page):
    shown.open(page)
    press = """((keys) => {
      const plot = [...document.querySelectorAll(".plot")].find((p) => p.clientWidth);
      for (const key of keys) plot.dispatchEvent(new KeyboardEvent("keydown", {key}));
      return plot.getAttribute("aria-valuetext");
    })(%s)"""
    first = shown.evaluate(press % '["Home"]')
    assert ", 16 labels: accuracy 0.500, " in first
    assert ", 1,024 labels: accuracy 0.850, " in shown.evaluate(press % '["End"]')
    below = shown.evaluate(press % '["ArrowDown", "ArrowDown", "ArrowLeft"]')
    assert below.startswith("flat, 256 labels: accuracy 0.500, ")
