"""The robust estimator: its noise against changed weights, its equation against the direct one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from charkit.encoders.run import model_inputs
from charkit.errors import DataError, RefusalError, UsageError
from charkit.fisher import (
    FisherOptions,
    VariationalOptions,
    cache_states,
    fisher_embedding,
    fit_variational,
    make_head,
    pairwise,
)
from charkit.fisher.forward import frozen, run_between
from charkit.fisher.layout import block_of, make_layout
from charkit.fisher.options import GRADIENTS
from charkit.fisher.variational.fit import UNTRUSTED, _Search
from charkit.fisher.variational.noise import Curvature, Perturbation, PerturbedRows
from charkit.tasks.task import Split


def tokens_of(encoder, split):
    from charkit.encoders.tokens import tokenise

    return tokenise(encoder, split.texts, split.pairs, max_length=encoder.text_length(None))


@pytest.mark.parametrize("family", ["bert", "albert", "modernbert", "deberta", "mpnet"])
def test_noise_is_that_of_changed_weights(family, family_encoder, make_split):
    """Each text's states are those of a model whose weights carry that text's draw."""
    encoder, split = family_encoder(family), make_split(3, longest=9)
    layout = make_layout(encoder, layers=(1,), parts=("value", "ffn_in", "ffn_out"))
    noise = Perturbation(encoder, layout, seed=1)
    noise.log_variance = torch.linspace(-4, -3, layout.size, dtype=torch.float64)
    tokens = tokens_of(encoder, split)
    rows = np.array([0, 1, 2])
    inputs, mask = model_inputs(encoder, tokens, rows)
    with torch.no_grad():
        noise.draw(3)
        with noise.active():
            found = run_between(encoder, inputs, wanted=frozenset({1}), entering=noise.entering)[1]
            draws = dict(noise._draws)
        for text in range(3):
            changed = change_weights(encoder, layout, noise.log_variance, draws, text)
            expected = run_between(encoder, inputs, wanted=frozenset({1}))[1]
            restore(changed)
            held = slice(None) if mask is None else mask[text]
            torch.testing.assert_close(
                found[text][held], expected[text][held], rtol=1e-6, atol=1e-6
            )


def change_weights(encoder, layout, log_variance, draws, text):
    kept = []
    for (layer, path), job in layout.jobs.items():
        weight = block_of(encoder, layer).get_submodule(path).weight
        kept.append((weight, weight.detach().clone()))
        for target, draw in zip(job.weights, draws[layer, path], strict=True):
            change = draw.normal * draw.signs_in[text] * draw.signs_out[text].T
            weight[target.rows] += change * (0.5 * log_variance[target.place]).exp()[:, None]
    return kept


def restore(kept):
    for weight, before in kept:
        weight.copy_(before)


@pytest.fixture
def small(family_encoder, make_split, random_head):
    """A tiny encoder, 12 texts, a head of 3 classes, and the direct embedding of two parts."""
    encoder, split = family_encoder("bert"), make_split(12, n_classes=3, longest=7)
    head = random_head(n_classes=3)
    options = FisherOptions(layers=(2, 3), parts=("value", "attention_out"))
    return encoder, split, head, fisher_embedding(encoder, split, head, options=options)


def options_for(direct, *, share=1e-4, **changes):
    """Options under which the noise's variance is about that share of the weights'."""
    beta = 2 * direct.n_samples * share * direct.values.mean() / 40
    facts = {"layers": direct.layers, "parts": direct.parts, "beta": beta}
    return VariationalOptions(**facts | changes)


def rough(*arguments, **options):
    """Return the embedding of a fit of few steps, be it refused or not."""
    try:
        return fit_variational(*arguments, **options).embedding
    except RefusalError as error:
        return error.partial.embedding


def start_off(monkeypatch, by):
    """Let the search start with all log variances moved."""
    start = _Search.start

    def moved(self, fisher):
        start(self, fisher)
        self.log_variance = self.log_variance + by

    monkeypatch.setattr(_Search, "start", moved)


def curvatures(encoder, split, head, direct, log_variance, *, exact, n_draws):
    """Return the curvature of the texts' mean under each draw, (n_draws, size)."""
    layout = make_layout(encoder, layers=direct.layers, parts=direct.parts)
    with frozen(encoder):
        made = Curvature(
            encoder,
            tokens_of(encoder, split),
            head,
            head_layer=direct.head_layer,
            layout=layout,
            facts=PerturbedRows.of(encoder, layout),
            pooling="mean",
            labels=None,
            exact=exact,
            seed=0,
            states=None,
        )
        rows = np.arange(len(split.texts))
        found = [made.of(rows, log_variance).mean(0).numpy() for _ in range(n_draws)]
    return np.stack(found)


def z_scores(one, other):
    """Return differences of means in standard errors, the errors of both samples joined."""
    error = np.hypot(*(x.std(0, ddof=1) / np.sqrt(len(x)) for x in (one, other)))
    return (one.mean(0) - other.mean(0)) / error


@pytest.mark.parametrize("by", [-1.0, 1.0])
def test_minimum_satisfies_the_papers_equation(by, small, monkeypatch):
    """For little noise (beta / 2N) Lambda = F + (beta / 2N) lambda^2, wherever it starts."""
    encoder, split, head, direct = small
    start_off(monkeypatch, by)
    options = options_for(direct, share=1e-5, n_steps=300, learning_rate=0.1)
    fit = fit_variational(encoder, split, head, options=options)
    np.testing.assert_allclose(fit.embedding.values, direct.values + fit.trivial.values, rtol=0.05)
    assert fit.residual < 0.03
    scale = options.beta / (2 * direct.n_samples)
    variance = scale / fit.embedding.values
    for layer in (2, 3):
        chosen = fit.embedding.to_pandas()["layer"].to_numpy() == layer
        square = mean_square_weights(encoder, layer)
        assert fit.prior_precision[layer] == pytest.approx(
            1 / (square + variance[chosen].mean()), rel=1e-5
        )
        np.testing.assert_allclose(
            fit.trivial.select(layers=(layer,)).values, scale * fit.prior_precision[layer]
        )
        share = fit.prior_precision[layer] * variance[chosen].mean()
        assert fit.prior_share[layer] == pytest.approx(share, rel=1e-5)


def mean_square_weights(encoder, layer):
    block = encoder.blocks[layer - 1]
    weights = (block.attention.self.value.weight, block.attention.output.dense.weight)
    return float(torch.stack([w.detach() for w in weights]).square().mean())


def test_much_noise_averages_over_a_neighbourhood(small):
    """At a given variance, the curvature is the direct embedding's mean over changed weights."""
    encoder, split, head, direct = small
    log_variance = torch.full((len(direct),), -7.0)
    found = curvatures(encoder, split, head, direct, log_variance, exact=True, n_draws=120)
    layout = make_layout(encoder, layers=direct.layers, parts=direct.parts)
    rng = torch.Generator().manual_seed(5)
    expected = []
    for _ in range(50):
        with torch.no_grad():
            kept = [(w, w.detach().clone()) for w in weights_of(encoder, layout)]
            for weight, _before in kept:
                weight += torch.randn(weight.shape, generator=rng) * np.exp(-3.5)
        options = FisherOptions(layers=direct.layers, parts=direct.parts)
        expected.append(fisher_embedding(encoder, split, head, options=options).values)
        with torch.no_grad():
            restore(kept)
    z = z_scores(found, np.stack(expected))
    assert np.abs(z).max() < 5
    assert (z**2).mean() < 4  # rows move together
    moved = np.abs(np.mean(expected, axis=0) / direct.values - 1)
    assert np.median(moved) > 0.02  # the noise is large enough for this to mean something


def weights_of(encoder, layout):
    return [block_of(encoder, k).get_submodule(path).weight for k, path in layout.jobs]


def test_derivatives_along_the_noise_are_unbiased(small):
    """For little noise, with labels averaged over, their mean is the Fisher information."""
    encoder, split, head, direct = small
    log_variance = torch.full((len(direct),), -16.0)
    found = curvatures(encoder, split, head, direct, log_variance, exact=False, n_draws=200)
    z = (found.mean(0) - direct.values) / (found.std(0, ddof=1) / np.sqrt(len(found)))
    assert np.abs(z).max() < 5
    assert 0.5 < (z**2).mean() < 2
    assert abs(found.mean() / direct.values.mean() - 1) < 0.15


def test_derivatives_along_the_noise_take_one_to_the_same_minimum(small):
    encoder, split, head, direct = small
    few = direct.select(layers=(3,), parts=("value",))
    options = options_for(few, gradient="model", n_steps=300, learning_rate=0.02)
    fit = fit_variational(encoder, split, head, options=options)
    ratio = fit.embedding.values / (few.values + fit.trivial.values)
    assert abs(np.median(ratio) - 1) < 0.1
    assert np.median(np.abs(ratio - 1)) < 0.2
    assert np.isnan(fit.embedding.standard_error).all()
    assert fit.embedding.norms()["l2_corrected"].isna().all()


def test_given_labels_are_read_by_their_gradient_alone(small):
    encoder, split, head, direct = small
    unlabelled = Split(split.texts, split.pairs, None)
    options = options_for(direct, gradient="given", n_steps=3)
    with pytest.raises(DataError, match="needs labels"):
        fit_variational(encoder, unlabelled, head, options=options)
    other = Split(split.texts, split.pairs, (split.labels + 1) % 3)
    one, two = (rough(encoder, s, head, options=options) for s in (split, other))
    assert not np.allclose(one.values, two.values)
    for gradient in ("gauss_newton", "model"):
        chosen = replace(options, gradient=gradient)
        one, two = (rough(encoder, s, head, options=chosen) for s in (split, unlabelled))
        np.testing.assert_array_equal(one.values, two.values)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_real_targets(gradient, family_encoder, make_split, random_head):
    encoder, split = family_encoder("bert"), make_split(6, n_classes=0)
    head = random_head(kind="regression", variance=2.0)
    options = VariationalOptions(layers=(3,), parts=("value",), gradient=gradient, n_steps=4)
    found = rough(encoder, split, head, options=options)
    assert (found.values > 0).all()
    assert found.kind == "regression"


@pytest.mark.parametrize("gradient", ["gauss_newton", "model"])
def test_seeds_repeat_and_the_encoder_is_left_alone(gradient, small):
    encoder, split, head, direct = small
    before = {k: v.clone() for k, v in encoder.model.state_dict().items()}
    options = options_for(direct, gradient=gradient, n_steps=6)
    seeds = (0, 0, 1)
    fits = [rough(encoder, split, head, options=replace(options, seed=k)) for k in seeds]
    np.testing.assert_array_equal(fits[0].values, fits[1].values)
    assert not np.array_equal(fits[0].values, fits[2].values)
    for name, value in encoder.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(m._forward_hooks for m in encoder.model.modules())
    again = fisher_embedding(
        encoder, split, head, options=FisherOptions(layers=direct.layers, parts=direct.parts)
    )
    np.testing.assert_array_equal(again.values, direct.values)


@pytest.mark.parametrize("family", ["bert", "albert", "modernbert", "deberta-v2"])
def test_any_layers_under_any_head_from_cached_states(
    family, family_encoder, make_split, random_head
):
    encoder, split, head = family_encoder(family), make_split(5, pairs=True), random_head()
    states = cache_states(encoder, split, layer=1)
    options = VariationalOptions(layers=(2,), beta=1e-7, n_steps=4)
    plain, cached = (
        rough(encoder, split, head, head_layer=2, options=options, states=s) for s in (None, states)
    )
    assert plain.layers == (2,)
    assert plain.head_layer == 2
    np.testing.assert_allclose(plain.values, cached.values, rtol=1e-6)


def test_embeddings_say_how_they_were_made(small):
    encoder, split, head, direct = small
    options = options_for(direct, n_steps=6)
    fit = fit_variational(encoder, split, head, options=options, name="toy")
    found = fit.embedding
    assert (found.name, found.estimator, found.seed) == ("toy", "variational", 0)
    assert found.n_draws == 6  # one batch holds all texts: each step visits every one
    assert found.slices == direct.slices
    assert (found.standard_error > 0).all()
    assert fit.options is options
    with pytest.raises(UsageError, match="estimand"):
        pairwise([direct, found])
    other = rough(encoder, split, head, options=replace(options, beta=1e-3))
    with pytest.raises(UsageError, match="estimand"):
        pairwise([found, other])
    assert pairwise([found, fit.trivial]).to_numpy()[0, 1] > 0


def test_a_task_without_information_is_trivial(small):
    """A head that knows nothing leaves the prior."""
    encoder, split, _, direct = small
    head = make_head(np.full((2, 32), 1e-9), [0.0, 1.0])
    options = options_for(direct, prior="weights", n_steps=20)
    fit = fit_variational(encoder, split, head, options=options)
    np.testing.assert_allclose(fit.embedding.values, fit.trivial.values, rtol=1e-5)
    assert fit.prior_precision[2] == pytest.approx(1 / mean_square_weights(encoder, 2))
    learned = fit_variational(encoder, split, head, options=replace(options, prior="learned"))
    assert (learned.embedding.values < fit.embedding.values).all()


def test_more_texts_weigh_more_against_the_prior(small, make_split):
    encoder, split, head, direct = small
    options = options_for(direct, share=1e-2, n_steps=30)
    few = fit_variational(encoder, split.take(np.arange(3)), head, options=options)
    many = fit_variational(encoder, split, head, options=options)
    for layer in (2, 3):
        assert many.prior_share[layer] < few.prior_share[layer]


def test_what_has_not_converged_is_refused_with_the_fit(small):
    encoder, split, head, direct = small
    options = options_for(direct, gradient="model", n_steps=4)
    with pytest.raises(RefusalError, match="residual") as caught:
        fit_variational(encoder, split, head, options=options)
    assert caught.value.partial.residual > UNTRUSTED
    assert (caught.value.partial.embedding.values > 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gradient": "newton"}, "gradient"),
        ({"prior": "flat"}, "prior"),
        ({"beta": 0.0}, "beta"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"n_steps": 1}, "n_steps"),
        ({"parts": ("value", "bias")}, "parts"),
        ({"layers": (4,)}, "layer"),
    ],
)
def test_bad_options_are_refused(changes, message, small):
    encoder, split, head, _ = small
    with pytest.raises(UsageError, match=message):
        fit_variational(encoder, split, head, options=VariationalOptions(**changes))
