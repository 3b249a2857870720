import json
from pathlib import Path

import numpy as np
import pytest

from charkit.encoders import load_encoder
from charkit.encoders.run import BatchRunner
from charkit.encoders.tokens import tokenise
from charkit.errors import UnknownNameError, UsageError
from charkit.heads.sweep import cost
from charkit.heads.sweep.cost import estimate
from charkit.heads.sweep.grid import SweepSettings, plan_sweep
from charkit.heads.sweep.plan import GPU_SHARE, KINDS, Machines
from charkit.heads.sweep.sweep import in_passes, run_sweep, weighed
from charkit.progress import Rate
from charkit.tasks import generated_task


def plan(tiny_bert, store, seeds):
    task = generated_task("sentiment", n_train=40, n_eval=20)
    settings = SweepSettings(sizes=(16,), seeds=seeds)
    return plan_sweep(task, encoder=str(tiny_bert), settings=settings, store=store)


def test_a_plan_costs_what_the_store_lacks(tiny_bert, tmp_store):
    first = plan(tiny_bert, tmp_store, (0,))
    before = estimate(first)
    assert before.tasks[0].encode_s > 0
    assert before.total()["disk_bytes"] == 2 * (16 + 20) * 3 * 32 * 4
    assert "in the store" not in before.lines()[0]
    run_sweep(first, executor=1)
    assert estimate(first).total()["minutes"] == 0
    more = estimate(plan(tiny_bert, tmp_store, (0, 1)))
    assert more.total()["disk_bytes"] > 0, "a second draw reads other texts"
    assert more.tasks[0].heads_s > 0
    assert "4 of 8 jobs are in the store already" in more.lines()[0]


def test_more_machines_take_less_time_in_proportion(tiny_bert, tmp_store, monkeypatch):
    monkeypatch.setattr("charkit.heads.sweep.cost.matmul_rate", lambda *_: 1e12)
    planned = plan(tiny_bert, tmp_store, (0,))
    one, ten = (estimate(planned, machines=Machines(n, "h100")).tasks[0] for n in (1, 10))
    assert one.encode_s == pytest.approx(10 * ten.encode_s)
    assert one.heads_s == pytest.approx(10 * ten.heads_s)
    assert one.disk_bytes == ten.disk_bytes
    cores = estimate(planned, machines=Machines(16)).tasks[0]
    assert cores.heads_s == pytest.approx(one.heads_s)
    speed = GPU_SHARE * KINDS["h100"].products / (1e12 * 16 / cost_cores())
    assert cores.encode_s == pytest.approx(speed * one.encode_s)


def cost_cores():
    from charkit.store.manifest import available_cores

    return available_cores()


def test_money_and_what_is_not_measured_are_named():
    lines = Machines.parse("64xH100", price=2.5).lines(3600.0, 3600.0)
    assert "on 64 x h100: 2 h" in lines[0]
    assert lines[1] == "at 2.5 an hour and machine: 320.00"
    assert "not measured" in lines[2]
    assert len(Machines.parse("16 x core").lines(1.0, 1.0)) == 1


@pytest.mark.parametrize("text", ["", "h100", "0xh100", "64x", "-1xh100", "1e3xh100"])
def test_machines_of_another_form(text):
    with pytest.raises(UsageError, match="64xh100"):
        Machines.parse(text)


def test_a_kind_of_machine_that_is_not_known():
    with pytest.raises(UnknownNameError, match="did you mean 'h100'"):
        Machines.parse("2xh10")


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_a_price_that_is_none(price):
    with pytest.raises(UsageError, match="price: expected a number above 0"):
        Machines.parse("2xh100", price=price)


@pytest.mark.parametrize("costs", [[1.0], [5.0, 3.0, 1.0, 0.5], [0.0, 0.0], [1.0] * 7])
def test_progress_is_the_share_of_the_cost_and_ends_once(costs):
    seen = []
    finished = weighed(lambda *step: seen.append(step), costs)
    for index in range(len(costs)):
        finished(index, None)
    n = len(costs)
    done = [d for _, d, _ in seen]
    assert done[0] == 0
    assert done[-1] == n
    assert done.count(n) == 1
    assert done == sorted(done)
    whole = sum(costs)
    for k in range(1, n):
        share = sum(costs[:k]) / whole if whole else 0
        assert abs(done[k] - n * share) <= 1


@pytest.mark.parametrize("n", [0, 1, 7, 10, 23, 400])
def test_each_pass_of_the_jobs_is_a_sample_of_all_and_ends_with_short_ones(n):
    rng = np.random.default_rng(n)
    costs = rng.uniform(0.1, 20, n)
    order = in_passes(list(range(n)), list(costs))
    assert sorted(order) == list(range(n))
    if n == 400:
        passes = costs[order].reshape(20, 20)
        assert np.all(np.diff(passes, axis=1) <= 0)
        assert np.all(np.abs(passes.sum(1) / passes.sum(1).mean() - 1) < 0.2)
        assert order[-1] == costs.argmin()
        slow = rng.random(400) < 0.5  # a kind of job that takes three times as long as foreseen
        seconds = (costs * np.where(slow, 3, 1))[order]
        rate, wrong = Rate(), []
        for now, share in zip(seconds.cumsum(), costs[order].cumsum() / costs.sum(), strict=True):
            rate.note(40 + now, share)  # 40 s go by before the first job begins
            if 0.1 < share < 0.8:
                wrong.append(rate.left(40 + now) / (seconds.sum() - now) - 1)
        assert np.abs(wrong).max() < 0.3


def test_progress_of_encoding_follows_the_tokens(tiny_bert):
    encoder = load_encoder(str(tiny_bert), device="cpu", dtype="float32")
    texts = ["film " * 40] * 4 + ["film"] * 40
    tokens = tokenise(encoder, texts, None, max_length=64)
    steps = []
    runner = BatchRunner(encoder, pooling="mean", token_budget=170)
    runner.run(tokens, advance=steps.append)
    assert sum(steps) == len(texts)
    share = np.sort(tokens.lengths)[::-1][:4].sum() / tokens.lengths.sum()
    assert steps[0] == int(len(texts) * share)


def test_the_cost_of_heads_is_the_one_measured():
    place = Path(__file__).parents[3] / "benchmarks" / "results" / "heads.json"
    measured = json.loads(place.read_text())
    cells = measured["details"]["full_sweep_milliseconds_by_classes_and_rows"]
    classes, rows, ms = np.array(
        [(int(c), int(n), t) for c, row in cells.items() for n, t in row.items() if t and t == t]
    ).T
    columns = [np.ones(len(ms)), np.log(rows / 256), np.log(classes - 1)]
    fitted, *_ = np.linalg.lstsq(np.stack(columns, 1), np.log(ms / 1000), rcond=None)
    assert pytest.approx(np.exp(fitted[0]), rel=0.25) == cost.HEAD_S
    assert pytest.approx(fitted[1], abs=0.1) == cost.BY_ROWS
    assert pytest.approx(fitted[2], abs=0.1) == cost.BY_CLASSES
    (width,) = (f["value"] for f in measured["figures"] if f["name"] == "growth with width")
    assert pytest.approx(width, abs=0.1) == cost.BY_WIDTH
