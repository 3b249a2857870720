import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from charkit.errors import MissingError, UnknownNameError, UsageError
from charkit.heads.metrics.influence import METRICS
from charkit.heads.sweep.table import metric_name, to_frame
from charkit.report.figures import (
    best_layer_by_size,
    layer_size_heatmap,
    learning_curves,
    save_figure,
    save_sweep_figures,
)
from charkit.report.figures.canvas import readable, spread
from charkit.report.figures.means import finding, task_means

pytest.importorskip("matplotlib")

NASTY = ["price in $ and $x_i$", "a_{b}^c \\frac{1}{2}", '<b>&amp; "q"', "$" * 80, "漢字 🙂\ttab"]


def sweep_table(tasks=("trec6",), sizes=(16, 64, 256), layers=range(7), seeds=(0, 1, 2), **fixed):
    """A table whose best layer is 4, or the last one there is below it."""
    rng = np.random.default_rng(0)
    rows = []
    for task in tasks:
        for n in sizes:
            for seed in seeds:
                cells = [("none", k, 0.9 - 0.03 * abs(k - 4) - n**-0.5) for k in layers]
                cells += [("random_encoder", k, 0.4) for k in layers]
                cells += [("shuffled_labels", k, 0.2 + 0.001 * k) for k in layers]
                cells += [("majority", -1, 0.19)]
                for control, layer, value in cells:
                    value += 0.001 * rng.standard_normal() if control == "none" else 0.0
                    row = {
                        "encoder": "minilm", "control": control, "task": task, "subset": "all",
                        "layer": layer, "n_train": n, "seed": seed, "metric": "accuracy",
                        "score": value, "score_low": value - 0.01, "score_high": value + 0.01,
                        "log_loss": 1 - value, "n_eval": 500, "state": "done",
                    }  # fmt: skip
                    rows.append(row | fixed)
    return to_frame(rows)


def render(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].lines}


def texts(figure):
    return [t.get_text() for t in [*figure.texts, *figure.axes[0].texts]]


def test_curves_show_the_means_of_the_table():
    table = sweep_table()
    drawn = lines(learning_curves(table, task="trec6"))
    real = table[table["control"] == "none"]
    for layer in range(7):
        want = real[real["layer"] == layer].groupby("n_train")["score"].mean()
        assert np.allclose(drawn[f"layer {layer}"].get_ydata(), want)
        assert drawn[f"layer {layer}"].get_xdata().tolist() == [16, 64, 256]
    assert np.allclose(drawn["majority class"].get_ydata(), 0.19)
    assert np.allclose(drawn["shuffled labels"].get_ydata(), 0.206)
    assert np.allclose(drawn["random encoder"].get_ydata(), 0.4)


def test_the_title_states_the_finding():
    assert "trec6: layer 4 leads from n = 16" in texts(
        learning_curves(sweep_table(), task="trec6")
    )[0].replace("\xa0", " ")


def test_findings():
    def found(**changes):
        return finding(task_means(sweep_table(**changes), "trec6"))

    assert found(sizes=(64,)) == "layer 4 leads at n = 64"
    assert found(score=0.9, score_low=0.8) == "no layer clearly above the controls at n = 256"
    wide = sweep_table()
    wide["score_low"] -= 0.03
    assert finding(task_means(wide, "trec6")) == "layers 3–5 lead at n = 256"
    wide["score_low"] -= 0.2
    assert finding(task_means(wide, "trec6")) == "no layer stands out at n = 256"


def test_interval_joins_rows_and_draws():
    table = sweep_table(sizes=(64,), layers=(4,), seeds=(0, 1))
    scores = table["control"] == "none"
    table.loc[scores, "score"] = [0.7, 0.9]
    table.loc[scores, "score_low"] = [0.6, 0.8]
    row = task_means(table, "trec6").real.iloc[0]
    spread_of_draws = 1.6448536 * np.std([0.7, 0.9], ddof=1) / np.sqrt(2)
    assert row["mean"] - row["low"] == pytest.approx(np.hypot(0.1, spread_of_draws))


def test_losses_are_best_when_lowest():
    means = task_means(sweep_table(), "trec6", metric="log_loss")
    assert means.leads[256].best == 4
    assert means.leads[256].above
    assert (
        "log loss"
        in learning_curves(sweep_table(), task="trec6", metric="log_loss").axes[0].get_ylabel()
    )


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_that_a_sweep_may_have_has_an_axis(metric):
    assert task_means(sweep_table(sizes=(16,), metric=metric), "trec6").axis == metric_name(metric)


def test_the_caption_says_what_the_band_counts():
    def caption(metric, seeds=(0, 1, 2)):
        figure = learning_curves(sweep_table(seeds=seeds), task="trec6", metric=metric)
        return " ".join(texts(figure)[1].split())

    assert "(evaluation rows and spread of 3 training draws)" in caption(None)
    assert "(evaluation rows; one training draw)" in caption(None, seeds=(0,))
    assert "(only spread of 3 training draws)" in caption("log_loss")
    assert "(not known)" in caption("log_loss", seeds=(0,))


def test_the_encoder_with_the_best_score_is_drawn_and_named():
    worse = sweep_table(encoder="bert")
    worse["score"] -= 0.05
    both = pd.concat([worse, sweep_table()], ignore_index=True)
    caption = " ".join(texts(learning_curves(both, task="trec6"))[1].split())
    assert "minilm (one of 2 in the table)" in caption
    assert task_means(both, "trec6", encoder="bert").encoder == "bert"
    with pytest.raises(UnknownNameError, match="bert"):
        learning_curves(both, task="trec6", encoder="bart")


def test_heat_map_marks_the_best_and_the_tied():
    figure = layer_size_heatmap(sweep_table(), task="trec6")
    shown = figure.axes[0].texts
    assert len(shown) == 21
    assert sum(t.get_weight() == "bold" for t in shown) == 3
    assert [p.get_linewidth() for p in figure.axes[0].patches] == [2.2] * 3
    assert figure.axes[0].texts[4].get_text() == ".65"
    wide = sweep_table()
    wide["score_low"] -= 0.03
    framed = layer_size_heatmap(wide, task="trec6").axes[0].patches
    assert sorted({p.get_linewidth() for p in framed}) == [0.8, 2.2]


def test_best_layers_of_fifteen_tasks():
    figure = best_layer_by_size(sweep_table([f"task_{k}" for k in range(15)]))
    assert figure.numbers["best"].tolist() == [4] * 45
    assert "15 of 15 tasks" in texts(figure)[0].replace("\n", " ")
    names = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert len(names) == 15
    render(figure)


@pytest.mark.parametrize("draw", [learning_curves, layer_size_heatmap])
@pytest.mark.parametrize(
    "table",
    [
        sweep_table(sizes=(64,)),
        sweep_table(layers=(3,)),
        sweep_table(sizes=(64,), layers=(3,), seeds=(5,)),
        sweep_table().query("control == 'none'"),
        sweep_table().query("layer != 2 or n_train > 16"),
        sweep_table(sizes=(16, 20, 24, 28, 32, 4096, 100_000)),
        sweep_table(layers=range(25)),
        sweep_table(score=0.5, score_low=0.5, score_high=0.5),
    ],
    ids=["one_size", "one_layer", "one_cell", "no_controls", "a_hole", "wide", "25", "constant"],
)
def test_lean_tables_are_drawn(draw, table):
    render(draw(table, task="trec6"))
    render(best_layer_by_size(table))


def test_failed_cells_are_left_out_and_counted():
    table = sweep_table()
    bad = table.index[(table["control"] == "none") & (table["layer"] == 4)][:2]
    table.loc[bad, "state"] = "failed"
    table.loc[bad, ["score", "score_low", "score_high"]] = np.nan
    for draw in (learning_curves, layer_size_heatmap):
        assert "2 failed cells left out" in " ".join(texts(draw(table, task="trec6"))[1].split())
    whole = " ".join(texts(best_layer_by_size(table))[1].split())
    assert "Failed cells left out: 2" in whole


def test_nothing_to_draw_is_said():
    table = sweep_table(state="failed")
    with pytest.raises(UsageError, match="nothing to draw"):
        learning_curves(table, task="trec6")
    with pytest.raises(UsageError, match="nothing to draw"):
        best_layer_by_size(table)
    with pytest.raises(UnknownNameError, match="trec6"):
        learning_curves(table, task="trec")
    with pytest.raises(UnknownNameError, match="accuracy"):
        learning_curves(table, task="trec6", metric="acuracy")


@pytest.mark.parametrize("name", NASTY)
def test_any_task_name_is_safe(name, tmp_path):
    table = sweep_table([name, "plain"], sizes=(16,))
    written = save_sweep_figures(table, tmp_path)
    assert len(written) == 15
    assert all(file.stat().st_size for file in written)
    csv = pd.read_csv(tmp_path / "best_layers.csv")
    assert name in set(csv["task"])  # in full


def test_several_encoders_have_figures_of_their_own(tmp_path):
    ours, other = (
        sweep_table(["trec6"], sizes=(16,)),
        sweep_table(["trec6"], sizes=(16,), encoder="bert"),
    )
    both = pd.concat([ours, other], ignore_index=True)
    alone = {file.name for file in save_sweep_figures(ours, tmp_path / "one")}
    written = save_sweep_figures(both, tmp_path / "two")
    names = {file.name for file in written}
    assert len(names) == len(written) > len(alone)
    for encoder in ("minilm", "bert"):
        ends = (f"curves_trec6_{encoder}", f"layers_trec6_{encoder}", f"best_layers_{encoder}")
        assert {f"{end}.csv" for end in ends} <= names


def test_a_dollar_is_drawn_as_a_dollar():
    from matplotlib import cbook

    figure = learning_curves(sweep_table(["$x$ and $y$"], sizes=(16,)), task="$x$ and $y$")
    assert not any(cbook.is_math_text(t) for t in texts(figure))


def test_names_that_clash_as_files_get_files_of_their_own(tmp_path):
    written = save_sweep_figures(sweep_table(["a b", "a_b", "A/b"], sizes=(16,)), tmp_path)
    assert len({str(f).lower() for f in written}) == len(written) == 21


def test_saved_figures_are_the_same_bytes_again(tmp_path):
    for folder in ("one", "two"):
        save_figure(learning_curves(sweep_table(), task="trec6"), tmp_path / folder / "figure")
    for end in ("svg", "png", "csv"):
        first, second = (tmp_path / f / f"figure.{end}" for f in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()


def test_saved_numbers_are_those_drawn(tmp_path):
    figure = learning_curves(sweep_table(), task="trec6", ceiling=0.97)
    _, _, csv = save_figure(figure, tmp_path / "v1.0 of it")
    assert csv.name == "v1.0 of it.csv"
    numbers = pd.read_csv(csv)
    layer = numbers[(numbers["control"] == "none") & (numbers["layer"] == 4)]
    assert np.allclose(layer["mean"], lines(figure)["layer 4"].get_ydata())
    assert set(numbers["control"]) == {"none", "majority", "shuffled_labels", "random_encoder"}
    assert lines(figure)["ceiling"].get_ydata()[0] == 0.97


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="cannot write: expected a writable folder"):
        save_figure(learning_curves(sweep_table(), task="trec6"), tmp_path / "file" / "x")


@pytest.mark.parametrize("draw", [best_layer_by_size, layer_size_heatmap, learning_curves])
def test_without_matplotlib_the_error_names_what_to_install(draw, monkeypatch):
    for name in [m for m in sys.modules if m.startswith("matplotlib.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    named = {} if draw is best_layer_by_size else {"task": "trec6"}
    with pytest.raises(MissingError, match=r"charkit\[report\]"):
        draw(sweep_table(sizes=(16,)), **named)


def test_no_text_is_smaller_than_nine_points():
    for figure in (
        learning_curves(sweep_table(), task="trec6"),
        layer_size_heatmap(sweep_table(), task="trec6"),
        best_layer_by_size(sweep_table()),
    ):
        axes = figure.axes[0]
        ticks = [*axes.get_xticklabels(), *axes.get_yticklabels()]
        shown = [*figure.texts, *axes.texts, axes.xaxis.label, axes.yaxis.label, *ticks]
        assert min(t.get_size() for t in shown) >= 9


@pytest.mark.parametrize("shift", [0.0, -0.6])  # negative scores have longer tick labels
@pytest.mark.parametrize("layers", [range(7), range(25)])
def test_no_two_labels_overlap_and_all_stay_on_the_page(layers, shift):
    table = sweep_table(layers=layers)
    table["score"] += shift
    figure = learning_curves(table, task="trec6")
    render(figure)
    page, axes = figure.bbox, figure.axes[0]
    named = [axes.yaxis.label, axes.xaxis.label]
    boxes = [t.get_window_extent() for t in [*axes.texts, *figure.texts, *named]]
    for index, box in enumerate(boxes):
        assert page.x0 <= box.x0, index
        assert box.x1 <= page.x1, index
        for other in boxes[index + 1 :]:
            assert not (box.shrunk(0.98, 0.8).overlaps(other.shrunk(0.98, 0.8)))
    assert any(t.get_text() == "layer 4" for t in figure.axes[0].texts)


def test_spread_keeps_gaps_order_and_range():
    rng = np.random.default_rng(0)
    for _ in range(50):
        wanted = rng.random(8).round(1).tolist()
        placed = spread(wanted, gap=0.1, low=0.0, high=1.0)
        order = np.argsort(wanted, kind="stable")
        steps = np.diff(np.array(placed)[order])
        assert (steps >= 0.1 - 1e-9).all()
        assert min(placed) >= -1e-9
        assert max(placed) <= 1 + 1e-9
    assert spread([0.2, 0.8], gap=0.1, low=0, high=1) == [0.2, 0.8]


def test_readable_cuts_the_middle():
    assert readable("a\n b\t c") == "a b c"
    assert readable("x" * 30 + "end", longest=12).endswith("end")
    assert len(readable("x" * 99, longest=12)) == 12


def test_report_imports_nothing_heavy():
    import subprocess

    code = "import sys, charkit.report.figures; assert 'matplotlib' not in sys.modules"
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
