from charkit.heads.estimate import estimate
from charkit.heads.grid import SweepSettings, plan_sweep
from charkit.heads.sweep import run_sweep
from charkit.tasks import generated_task


def plan(tiny_bert, store, seeds):
    task = generated_task("sentiment", n_train=40, n_eval=20)
    settings = SweepSettings(sizes=(16,), seeds=seeds, dtype="float32")
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
