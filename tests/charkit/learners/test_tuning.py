"""Full fine-tuning: it learns, is repeatable, leaves the encoder as it was, owns up to failures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from charkit.encoders import load_encoder
from charkit.errors import DataError, UsageError
from charkit.learners.tuning import Recipe, _batches, _share, default_recipe, fine_tune
from charkit.tasks import load_task

RECIPE = Recipe(12, batch=8, rate=3e-3, head_rate=3e-2)


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return load_encoder(tiny_bert, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def task():
    return load_task("generated/topic?n_train=48&n_eval=24")


def tuned(encoder, task, *, recipe=RECIPE, **options):
    labels = np.asarray(task.train.labels, np.int64)
    return fine_tune(encoder, task.train, labels, task.n_classes, recipe=recipe, **options)


def test_it_fits_its_training_texts(encoder, task):
    found = tuned(encoder, task, recipe=replace(RECIPE, n_steps=150))
    labels = np.asarray(task.train.labels)
    right = (found.probabilities(task.train).argmax(1) == labels).mean()
    assert right > 0.9
    assert found.losses[-6:].mean() < found.losses[:6].mean() / 2
    assert not found.failed


def test_the_seed_settles_the_result(encoder, task):
    first, again, other = (tuned(encoder, task, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.losses, again.losses)
    assert np.array_equal(first.probabilities(task.train), again.probabilities(task.train))
    assert not np.array_equal(first.losses, other.losses)


def test_the_encoder_stays_and_its_copy_moves(encoder, task):
    before = {k: v.clone() for k, v in encoder.model.state_dict().items()}
    copy = tuned(encoder, task).encoder.model.state_dict()
    assert all(torch.equal(v, before[k]) for k, v in encoder.model.state_dict().items())
    moved = {k for k, v in copy.items() if not torch.equal(v, before[k])}
    assert any("layer.0" in k for k in moved)
    assert any("word_embeddings" in k for k in moved)


def test_words_that_no_text_has_keep_their_embeddings(encoder, task):
    before = encoder.model.get_input_embeddings().weight
    after = tuned(encoder, task).encoder.model.get_input_embeddings().weight
    assert before.shape == after.shape
    ids = {i for text in task.train.texts for i in encoder.tokenizer(text)["input_ids"]}
    moved = set(torch.nonzero((before != after).any(1))[:, 0].tolist())
    assert moved <= ids | set(range(encoder.tokenizer.pad_token_id + 1))
    assert len(moved) > 5


def test_the_first_step_is_a_step_of_adamw(encoder, task):
    """Against transformers' own model and PyTorch's gradient on all texts at once."""
    labels = np.asarray(task.train.labels, np.int64)
    recipe = Recipe(1, batch=len(labels), rate=1e-3, head_rate=1e-3, weight_decay=0.0)
    found = tuned(encoder, task, recipe=recipe)
    # the head is zero: every class has the same probability, and the encoder gets no gradient
    assert found.losses[0] == pytest.approx(np.log(task.n_classes), rel=1e-6)
    shares = np.bincount(labels) / len(labels)
    wanted = -np.sign(1 / task.n_classes - shares) * 1e-3  # Adam's first step has the rate's size
    sure = np.abs(1 / task.n_classes - shares) > 1e-4
    assert np.allclose(found.head.bias.numpy()[sure], wanted[sure], rtol=1e-2)


def test_a_diverging_run_is_reported(encoder, task):
    with np.errstate(all="ignore"):
        found = tuned(encoder, task, recipe=Recipe(20, rate=1e30, head_rate=1e30))
    assert found.failed
    assert found.failure.startswith(("diverged: the loss is not a number", "collapsed"))


def test_a_collapsed_run_is_reported(encoder, task):
    found = tuned(encoder, task, recipe=Recipe(1, batch=48))
    assert found.failure == "collapsed: one class is predicted for all training texts"


def test_labels_of_one_class_are_refused(encoder, task):
    with pytest.raises(DataError, match="expected at least 2, got 1 in 48 texts"):
        fine_tune(encoder, task.train, np.zeros(48, np.int64), 3)


def test_labels_that_do_not_fit_are_refused(encoder, task):
    with pytest.raises(UsageError, match=r"expected one a text, \(48,\)"):
        fine_tune(encoder, task.train, np.zeros(3, np.int64), 3)
    with pytest.raises(UsageError, match="expected codes 0 to 1, got 0 to 2"):
        fine_tune(encoder, task.train, np.arange(48) % 3, 2)


@pytest.mark.parametrize("name", ["n_steps", "batch", "rate", "head_rate"])
def test_a_recipe_without_sense_is_refused(name):
    with pytest.raises(UsageError, match=f"{name}: expected a number above 0, got 0"):
        replace(RECIPE, **{name: 0})


def test_every_text_comes_once_a_pass():
    lengths = np.arange(37) % 7
    found = _batches(lengths, 5, np.random.default_rng(0))
    passes = [next(found) for _ in range(8)]
    assert sorted(np.concatenate(passes)) == list(range(37))


def test_the_rate_rises_and_falls():
    shares = [_share(step, 50) for step in range(50)]
    assert max(shares) == 1
    assert shares.index(1) == 4
    assert all(0 < share <= 1 for share in shares)
    assert shares[-1] < 0.03


def test_small_samples_get_more_passes():
    passes = [default_recipe(n, 384, 2).n_steps * 16 / n for n in (16, 64, 256, 1024, 4096)]
    assert passes == sorted(passes, reverse=True)
    assert default_recipe(64, 768, 2).rate < default_recipe(64, 384, 2).rate


def test_heads_of_many_classes_learn_faster():
    few, many = (default_recipe(256, 384, n_classes) for n_classes in (20, 21))
    assert replace(few, head_rate=many.head_rate) == many
    assert many.head_rate > few.head_rate
