"""SetFit: with the package where it is installed, else with one of the same names."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from charkit.encoders import load_encoder
from charkit.encoders.load import LazyEncoder
from charkit.errors import DataError, MissingError, UsageError
from charkit.learners import compare_learners, contrastive
from charkit.learners.contrastive import fit_setfit, n_iterations
from charkit.learners.draws import draws_of, plan_rows
from charkit.learners.outcomes import check_learners
from charkit.tasks import Split, load_task


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return load_encoder(tiny_bert, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def task():
    return load_task("generated/topic?n_train=48&n_eval=24")


class Body:
    """Counts letters."""

    def __init__(self, folder, device, local_files_only):
        assert local_files_only
        self.folder, self.max_seq_length = folder, None


class Model:
    def __init__(self, model_body, model_head):
        self.model_body, self.model_head, self.factor = model_body, model_head, 1.0

    def encode(self, texts, show_progress_bar):
        letters = "abcdefghijklmnopqrstuvwxyz"
        return self.factor * np.array([[text.count(c) for c in letters] for text in texts], float)

    def predict_proba(self, texts, as_numpy, show_progress_bar):
        return self.model_head.predict_proba(self.encode(texts, False))


class Trainer:
    made: ClassVar[list] = []
    factor = 1.0

    def __init__(self, model, args):
        self.model, self.args = model, args
        random.seed(args.seed)
        torch.manual_seed(args.seed)
        Trainer.made.append(self)

    def remove_callback(self, _):
        pass

    def train_embeddings(self, texts, labels):
        self.texts, self.model.factor = texts, Trainer.factor

    def train_classifier(self, texts, labels):
        self.model.model_head.fit(self.model.encode(texts, False), labels)


@pytest.fixture
def fake(monkeypatch):
    names = {
        "setfit": {"SetFitModel": Model, "Trainer": Trainer, "TrainingArguments": SimpleNamespace},
        "setfit.trainer": {},
        "sentence_transformers": {"SentenceTransformer": Body},
    }
    for name, content in names.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(Trainer, "made", [])
    return Trainer


def fitted(encoder, split, n_classes, **options):
    return fit_setfit(encoder, split, np.array(split.labels), n_classes, **options)


def test_a_class_without_a_text_has_no_probability(encoder, task, fake):
    found = fitted(encoder, task.train, task.n_classes + 1, seed=3, max_length=16)
    probabilities = found.probabilities(task.evaluation)
    assert probabilities.shape == (24, task.n_classes + 1)
    assert probabilities.sum(1) == pytest.approx(np.ones(24))
    assert (probabilities[:, -1] == 0).all()
    (trainer,) = fake.made
    assert (trainer.args.seed, trainer.args.num_iterations) == (3, 20)
    assert trainer.model.model_body.max_seq_length == 16


def test_the_texts_of_a_pair_are_joined(encoder, fake):
    pairs = Split(texts=["a", "b b"], pairs=["x", "y"], labels=[0, 1])
    fitted(encoder, pairs, 2)
    assert fake.made[0].texts == ["a [SEP] x", "b b [SEP] y"]


def test_global_random_states_stay(encoder, task, fake):
    random.seed(5)
    torch.manual_seed(5)
    before = random.getstate(), torch.get_rng_state()
    fitted(encoder, task.train, task.n_classes, seed=1)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_runs_that_fail_are_reported(encoder, task, fake, monkeypatch):
    monkeypatch.setattr(fake, "factor", np.nan)
    rows = compare_learners(
        encoder, task.train, task.evaluation, task.n_classes, learners=["setfit"]
    )
    assert rows[0]["failure"] == "diverged: states of texts are not numbers"
    assert rows[0]["failed"]
    assert np.isnan(rows[0]["accuracy"])
    monkeypatch.setattr(fake, "factor", 0.0)
    rows = compare_learners(
        encoder, task.train, task.evaluation, task.n_classes, learners=["setfit"]
    )
    assert rows[0]["failure"].startswith("collapsed")
    assert 0 <= rows[0]["accuracy"] <= 1


def test_labels_and_encoders_that_do_not_fit_are_refused(encoder, task, fake):
    with pytest.raises(DataError, match="expected at least 2, got 1"):
        fit_setfit(encoder, task.train, np.zeros(48, np.int64), 2)
    with pytest.raises(UsageError, match="expected an encoder with files, got random:"):
        fitted(encoder.randomised(seed=0), task.train, task.n_classes)


def test_without_the_package_it_is_refused_with_advice(monkeypatch):
    monkeypatch.setattr(contrastive, "find_spec", lambda _: None)
    with pytest.raises(MissingError, match=r'pip install "charkit\[tuned\]", or leave setfit out'):
        check_learners(["probe", "setfit"])
    assert check_learners(["probe"]) == ("probe",)


def test_a_package_that_cannot_be_imported_is_a_sentence(encoder, task, fake, monkeypatch):
    monkeypatch.setitem(sys.modules, "setfit.trainer", None)
    with pytest.raises(MissingError, match=r"cannot be imported: import of setfit\.trainer halted"):
        fitted(encoder, task.train, task.n_classes)


def test_many_texts_get_fewer_pairs_each():
    assert [n_iterations(n) for n in (8, 64, 256, 1024, 4096)] == [20, 20, 5, 1, 1]


def test_setfit_has_hours_and_a_key_of_its_own(tiny_bert, task, tmp_store, fake):
    (draw,) = draws_of(
        task, "c", [(32, (0,))], encoder=LazyEncoder(str(tiny_bert), "cpu", "float32"),
        max_length=16, learners=("probe", "setfit"), store=tmp_store,
    )  # fmt: skip
    other = replace(draw, learners=("probe",))
    assert draw.config["n_iterations"] == 20
    assert "n_iterations" not in other.config
    hours = [plan_rows([d], tmp_store)[0]["hours"] for d in (draw, other)]
    assert hours[0] > 5 * hours[1] > 0


@pytest.mark.skipif(find_spec("setfit") is None, reason="setfit is not installed")
@pytest.mark.filterwarnings("ignore")
def test_the_real_package_learns_and_is_repeatable(encoder, task, capfd):
    before = {k: v.clone() for k, v in encoder.model.state_dict().items()}
    first, again = (fitted(encoder, task.train, task.n_classes, max_length=16) for _ in range(2))
    found = first.probabilities(task.train)
    assert np.array_equal(found, again.probabilities(task.train))
    assert (found.argmax(1) == np.array(task.train.labels)).mean() > 0.3  # a sixth by chance
    assert all(torch.equal(v, before[k]) for k, v in encoder.model.state_dict().items())
    assert not first.failure
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "Running training" not in printed.err
