"""Every command stands label sets with a long tail: classes of one row, evaluation's own classes."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as oracle

import charkit
from charkit.answers.ranking.encoders import rank_encoders
from charkit.answers.ranking.layers import layers
from charkit.config import EncodeOptions
from charkit.errors import UnknownNameError, UsageError
from charkit.heads.sweep.sweep import sweep
from charkit.store.store import Store
from charkit.tasks import Split, Task

WORDS = ("good", "bad", "cat", "film")
FAST = {"encoding": EncodeOptions(max_length=16)}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("tails"))


def part(labels, seed=0):
    rng = np.random.default_rng(seed)
    texts = [
        f"the {WORDS[y % 4]} is {rng.choice(['great', 'poor'])} {i}" for i, y in enumerate(labels)
    ]
    return Split(tuple(texts), None, np.array(labels))


@pytest.fixture(scope="module")
def task():
    """Three classes, five of one row, two that only evaluation has; nothing is prevalent."""
    names = tuple(f"class {c}" for c in range(8))
    train = part([0] * 20 + [1] * 15 + [2] * 8 + [3, 4, 5, 6, 7])
    held_out = part([0] * 12 + [1] * 9 + [2] * 5 + [3, 4, 8, 8, 9], seed=1)
    return Task("tail", "classification", train, held_out, names, unseen_names=("x", "y"))


@pytest.fixture(scope="module")
def swept(task, tiny_bert, store):
    return sweep(task, encoder=str(tiny_bert), store=store, sizes=(8, 48), seeds=(0,),
                 executor=1, **FAST)  # fmt: skip


def test_a_sweep_scores_every_row_as_scikit_learn_does(swept, task):
    labels = task.evaluation.labels
    assert (swept.table["n_unseen"] == 2).all()
    assert (swept.table["n_eval"] == labels.size).all()
    whole = swept.table[swept.table["n_train"] == 48]
    assert np.allclose(whole["frac_unseen"], 3 / labels.size)
    for job in swept.jobs:
        rows = swept.rows(job)
        cells = whole[whole["key"] == job.key].sort_values("layer")
        for predicted, (_, cell) in zip(rows["predicted"][-1], cells.iterrows(), strict=True):
            assert predicted.max() < 8
            assert cell["accuracy"] == pytest.approx(oracle.accuracy_score(labels, predicted))
            f1 = oracle.f1_score(labels, predicted, average="macro", zero_division=0)
            assert cell["macro_f1"] == pytest.approx(f1)
            recall = oracle.recall_score(labels, predicted, labels=np.unique(labels),
                                         average="macro", zero_division=0)  # fmt: skip
            assert cell["balanced_accuracy"] == pytest.approx(recall)
    shown = ["accuracy", "macro_f1", "balanced_accuracy", "log_loss", "brier", "score"]
    assert np.isfinite(swept.table[shown].to_numpy()).all()
    assert any("of classes without a training text: they count as errors" in line
               for line in swept.findings())  # fmt: skip


def test_a_metric_asked_for_is_the_score_and_computes_nothing_again(swept, task, tiny_bert, store):
    again = sweep(task, encoder=str(tiny_bert), store=store, sizes=(8, 48), seeds=(0,),
                  metric="macro_f1", executor=1, **FAST)  # fmt: skip
    assert again.n_jobs_found == len(again.jobs)
    for end in ("", "_low", "_high"):
        assert again.table[f"score{end}"].equals(
            again.table[f"macro_f1{end}"].rename(f"score{end}")
        )
    best = again.best_layers().iloc[-1]
    real = again.table[(again.table["control"] == "none") & (again.table["n_train"] == 48)]
    assert best["score"] == real["macro_f1"].max()
    assert "macro-F1" in again.findings()[0]
    assert (swept.table["metric"] == "accuracy").all()


def test_layers_and_encoders_are_ranked_by_the_metric_asked_for(swept, task, tiny_bert, store):
    options = {"metric": "balanced_accuracy", "n": 48, "seeds": (0,), "store": store, **FAST}
    answer = layers(task, encoder=str(tiny_bert), executor=1, **options)
    own = swept.table[(swept.table["control"] == "none") & (swept.table["n_train"] == 48)]
    wanted = own.sort_values("layer")["balanced_accuracy"].to_numpy()
    assert answer.metric == "balanced_accuracy"
    assert answer.to_pandas()["balanced_accuracy"].to_numpy() == pytest.approx(wanted)
    ranked = rank_encoders(task, encoder=[str(tiny_bert)], executor=1, **options)
    assert ranked.rows()[0]["balanced_accuracy"] == pytest.approx(wanted.max())


def test_a_prevailing_class_brings_other_metrics_into_every_table(tiny_bert, store):
    rare = Task("rare", "classification", part([0] * 40 + [1] * 6), part([0] * 30 + [1] * 4, 1),
                ("most", "few"))  # fmt: skip
    options = {"seeds": (0,), "store": store, "executor": 1, **FAST}
    found = layers(rare, encoder=str(tiny_bert), **options)
    assert {"accuracy", "macro_f1", "balanced_accuracy"} <= set(found.rows()[0])
    ranked = rank_encoders(rare, encoder=[str(tiny_bert)], **options)
    assert {"accuracy", "macro_f1", "balanced_accuracy"} <= set(ranked.rows()[0])
    result = sweep(rare, encoder=str(tiny_bert), sizes=(46,), **options)
    assert {"macro_f1", "balanced_accuracy"} <= set(result.best_layers())
    assert any("one class has most of the evaluation texts: macro-F1" in line
               for line in result.findings())  # fmt: skip


def test_metrics_that_are_not_known_or_do_not_fit_are_refused(task, tiny_bert, store):
    with pytest.raises(UnknownNameError, match="did you mean 'macro_f1'"):
        sweep(task, encoder=str(tiny_bert), store=store, metric="macrof1", **FAST)
    amounts = Task("amounts", "regression", Split(("a", "b", "c", "d"), None, [0.1, 0.5, 0.7, 0.2]),
                   Split(("e", "f", "g"), None, [0.1, 0.2, 0.3]), metric="pearson_spearman")  # fmt: skip
    with pytest.raises(UsageError, match="macro_f1 is of classes"):
        sweep(amounts, encoder=str(tiny_bert), store=store, metric="macro_f1", **FAST)


def test_embeddings_stand_classes_of_one_row_and_ignore_evaluation_classes(task, tiny_bert, store):
    found = charkit.embed(task, encoder=str(tiny_bert), store=store)
    (embedding,), (head,) = found.embeddings.values(), found.heads.values()
    assert embedding.n_classes == 8
    assert 0 <= head.score <= (48 - 5) / 48  # in their fold, rows alone in their class are errors


def test_distances_stand_it(task, tiny_bert, store):
    other = Task("plain", "classification", part([0, 1] * 20), None, ("a", "b"))
    found = charkit.compare_tasks(
        [task, other], encoder=str(tiny_bert), store=store, metric="cosine"
    )
    assert np.isfinite(found.matrix.to_numpy()).all()


@pytest.mark.parametrize("command", ["estimate", "next"])
def test_half_labelled_files_stand_it(command, task, tiny_bert, store):
    names = [f"class {c}" for c in task.train.labels] + [""] * 30
    frame = pd.DataFrame({"text": [*task.train.texts, *task.evaluation.texts[:30]], "label": names})
    options = {"encoder": str(tiny_bert), "store": store}
    if command == "next":
        assert len(charkit.next_labels(frame, n=3, strategy="random", **options).table) == 3
        return
    answer = charkit.estimate(frame, **options)
    assert {"rare_classes", "tiny_sample"} <= {v.code for v in answer.verdicts}
    assert all(0 <= row["low"] <= row["high"] <= 1 for row in answer.rows())
