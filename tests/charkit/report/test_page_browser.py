"""The page in a real browser, where there is one."""

import re
import shutil
import subprocess

import pytest

from charkit.report.pages.answer import page_html

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --disable-dev-shm-usage "
    "--virtual-time-budget=2000 --dump-dom"
).split()


ANSWER = {
    "task": "<script>document.title='broken'</script>",
    "n": 64,
    "accuracy": [
        {"n": 64, "mean": 0.6, "low": 0.55, "high": 0.65},
        {"n": 256, "mean": 0.7, "low": 0.65, "high": 0.75},
        {"n": 1024, "mean": 0.8, "low": 0.75, "high": 0.85},
    ],
    "labels_for_target": {"target": 0.7, "n": 260, "low": 130, "high": 520, "reached": True},
}


@pytest.fixture
def shown(tmp_path):
    """Return what a browser makes of a page, after a script of the test."""

    def show(page, script=""):
        if script:  # the page's own policy would not let a second script in
            page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
            page = page.replace("</body>", f"<script>{script}</script></body>")
        path = tmp_path / "page.html"
        path.write_text(page, encoding="utf-8")
        command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    return show


def words_of(dom, name):
    inside = re.search(rf'id="{name}"[^>]*>([^<]*)<', dom)[1]
    return inside.replace("&nbsp;", " ").replace("\xa0", " ")


def test_the_script_runs_under_the_pages_own_policy(shown):
    dom = shown(page_html(ANSWER))
    assert 'id="goal-control" hidden' not in dom
    assert 'role="slider"' in dom
    assert words_of(dom, "goal-needed") == "260 labels"
    assert words_of(dom, "goal-more") == "196 more than you have (4.1 ×)"
    assert "<title>charkit: &lt;script&gt;" in dom


@pytest.mark.parametrize(
    ("target", "needed", "ends"),
    [
        ("0.75", "512 labels", "90 % interval 256 to 1,020"),
        ("0.6", "64 labels or fewer", "90 % interval up to 128"),
        ("0.83", "not reached by 1,024", "90 % interval 776 to more than 1,024"),
        ("0.86", "not reached by 1,024", "Even the upper end of the band stays below it"),
        ("0.7", "260 labels", "90 % interval 130 to 520"),
    ],
)
def test_the_slider_reads_the_curve_and_its_band(shown, target, needed, ends):
    move = (
        "const goal = document.getElementById('goal');"
        f"goal.value = {target}; goal.dispatchEvent(new Event('input'));"
    )
    dom = shown(page_html(ANSWER), move)
    assert words_of(dom, "goal-shown") == f"{float(target):.3f}"
    assert words_of(dom, "goal-needed") == needed
    assert words_of(dom, "goal-ends") == ends


def test_arrows_read_the_curve(shown):
    press = (
        "const plot = document.querySelector('.plot');"
        "plot.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}));"
    )
    dom = shown(page_html(ANSWER), press)
    assert "256 labels: accuracy 0.700, 90 % interval 0.650 to 0.750" in dom.replace("&nbsp;", " ")
