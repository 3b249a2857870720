"""The exact estimator against explicit autograd, and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fisher_oracle import NAMES, oracle_rows
from tiny_families import CONFIGS

from charkit.errors import DataError, UsageError
from charkit.fisher import FisherOptions, cache_states, fisher_embedding, fisher_embeddings
from charkit.fisher.layout import DEFAULT_PARTS, PARTS


@pytest.fixture(autouse=True)
def _float64_throughout(monkeypatch):
    """Take out the steps that transformers rounds to float32, even in float64.

    These are the rotation of ModernBERT and the layer norm of DeBERTa: with them, plain
    autograd agrees with itself to 1e-7 only.
    """
    from transformers.models.deberta import modeling_deberta
    from transformers.models.modernbert import modeling_modernbert as modern

    def rotate(q, k, cos, sin, unsqueeze_dim=1):
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
        return tuple((x * cos) + (modern.rotate_half(x) * sin) for x in (q, k))

    def norm(self, x):
        variance = x.var(-1, keepdim=True, unbiased=False)
        normal = (x - x.mean(-1, keepdim=True)) / torch.sqrt(variance + self.variance_epsilon)
        return self.weight * normal + self.bias

    monkeypatch.setattr(modern, "apply_rotary_pos_emb", rotate)
    monkeypatch.setattr(modeling_deberta.DebertaLayerNorm, "forward", norm)


def relative(found, expected):
    """Largest error of a slice, relative to the largest number of that slice."""
    return np.abs(found - expected).max() / np.abs(expected).max()


def check_slices(embedding, expected, tolerance):
    assert embedding.values.shape == expected.shape
    for s in embedding.slices:
        mine, other = embedding.values[s.start : s.stop], expected[s.start : s.stop]
        if other.max() < 1e-25:  # the key's bias shifts all scores alike: its gradient is zero
            assert mine.max() < 1e-25
            continue
        assert relative(mine, other) < tolerance, (s.layer, s.part)


def parts_of(family):
    return PARTS if family != "modernbert" else tuple(p for p in PARTS if p != "bias")


@pytest.mark.parametrize("pairs", [False, True], ids=["single", "pair"])
@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_and_part_is_exact(family, pairs, family_encoder, make_split, random_head):
    encoder = family_encoder(family)
    split = make_split(5, pairs=pairs, longest=9)
    head = random_head()
    parts = parts_of(family)
    options = FisherOptions(parts=parts, keep_rows=True)
    found = fisher_embedding(encoder, split, head, options=options)
    expected = oracle_rows(
        encoder.folder, encoder, split, head, head_layer=3, layers=(1, 2, 3), parts=parts
    )
    check_slices(found, expected.mean(0), 1e-8)
    assert relative(found.rows, expected) < 1e-8
    np.testing.assert_allclose(found.values, found.rows.mean(0), rtol=1e-10, atol=1e-25)
    error = found.rows.std(0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(found.standard_error, error, rtol=1e-5, atol=error.max() * 1e-7)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize(("head_layer", "layers"), [(2, (1, 2)), (3, (2,)), (-1, (1, 3))])
def test_knobs_are_exact(pooling, head_layer, layers, family_encoder, make_split, random_head):
    encoder = family_encoder("bert")
    split, head = make_split(4), random_head(n_classes=3)
    options = FisherOptions(layers=layers, parts=("value", "ffn_out", "bias"), pooling=pooling)
    found = fisher_embedding(encoder, split, head, head_layer=head_layer, options=options)
    expected = oracle_rows(
        encoder.folder,
        encoder,
        split,
        head,
        head_layer=head_layer,
        layers=layers,
        parts=options.parts,
        pooling=pooling,
    )
    check_slices(found, expected.mean(0), 1e-8)
    assert found.layers == layers
    assert found.head_layer == head_layer % 4


@pytest.mark.parametrize("n_classes", [2, 3, 6])
def test_classes_are_exact(n_classes, family_encoder, make_split, random_head):
    encoder = family_encoder("bert")
    split, head = make_split(4), random_head(n_classes=n_classes)
    options = FisherOptions(estimator="exact", layers=(3,))
    found = fisher_embedding(encoder, split, head, options=options)
    expected = oracle_rows(
        encoder.folder,
        encoder,
        split,
        head,
        head_layer=3,
        layers=(3,),
        parts=DEFAULT_PARTS,
    )
    check_slices(found, expected.mean(0), 1e-8)


@pytest.mark.parametrize("empirical", [False, True])
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_real_targets_and_given_labels(kind, empirical, family_encoder, make_split, random_head):
    encoder = family_encoder("bert")
    split = make_split(4, n_classes=3 if kind == "classification" else 0)
    head = random_head(n_classes=3, kind=kind, variance=2.5)
    name = "empirical" if empirical else "exact"
    found = fisher_embedding(encoder, split, head, options=FisherOptions(estimator=name))
    expected = oracle_rows(
        encoder.folder,
        encoder,
        split,
        head,
        head_layer=3,
        layers=(1, 2, 3),
        parts=DEFAULT_PARTS,
        empirical=empirical,
    )
    check_slices(found, expected.mean(0), 1e-8)
    assert found.estimand == ("empirical_fisher" if empirical else "fisher")


def test_long_texts_materialise_the_gradient(family_encoder, make_split, random_head, monkeypatch):
    encoder, head = family_encoder("bert"), random_head()
    split = make_split(6, longest=50)
    by_rule = fisher_embedding(encoder, split, head).values
    for cheaper in (True, False):
        monkeypatch.setattr(
            "charkit.fisher.tape.gram_is_cheaper", lambda *a, cheaper=cheaper, **k: cheaper
        )
        np.testing.assert_allclose(
            fisher_embedding(encoder, split, head).values, by_rule, rtol=1e-9
        )


def test_shared_weights_that_run_in_pieces_are_squared_once(
    family_encoder, make_split, random_head
):
    split, head = make_split(3, longest=9), random_head()
    whole, pieces = family_encoder("bert"), family_encoder("bert", chunk_size_feed_forward=1)
    options = FisherOptions(parts=PARTS, token_budget=1)
    np.testing.assert_allclose(
        fisher_embedding(pieces, split, head, options=options).values,
        fisher_embedding(whole, split, head, options=options).values,
        rtol=1e-9,
        atol=1e-25,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("family", ["bert", "deberta-v2", "mpnet"])
def test_batches_order_and_padding_change_nothing(
    dtype, family, family_encoder, make_split, random_head
):
    encoder, head = family_encoder(family, dtype=dtype), random_head()
    split = make_split(64, longest=12)
    found = []
    for budget in (1, 8 * 14, 64 * 14):
        options = FisherOptions(token_budget=budget, keep_rows=True)
        found.append(fisher_embedding(encoder, split, head, options=options))
    order = np.random.default_rng(0).permutation(64)
    shuffled = fisher_embedding(
        encoder, split.take(order), head, options=FisherOptions(keep_rows=True)
    )
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for other in found[1:]:
        assert relative(other.values, found[0].values) < tolerance
        assert relative(other.rows, found[0].rows) < tolerance
    assert relative(shuffled.rows, found[0].rows[order]) < tolerance
    assert relative(shuffled.values, found[0].values) < tolerance


def test_float32_is_near_float64(family_encoder, make_split, random_head):
    split, head = make_split(16), random_head(n_classes=3)
    exact = fisher_embedding(family_encoder("bert"), split, head)
    single = fisher_embedding(family_encoder("bert", dtype="float32"), split, head)
    assert relative(single.values, exact.values) < 1e-5


def test_bfloat16_is_rough_but_sound(family_encoder, make_split, random_head):
    split, head = make_split(32), random_head()
    exact = fisher_embedding(family_encoder("bert"), split, head)
    rough = fisher_embedding(family_encoder("bert", dtype="bfloat16"), split, head)
    gap = np.linalg.norm(rough.values - exact.values) / np.linalg.norm(exact.values)
    assert gap < 5e-2


def test_label_names_change_nothing(family_encoder, make_split, random_head):
    from charkit.fisher import make_head

    encoder, split, head = family_encoder("bert"), make_split(6), random_head(n_classes=4)
    order = [2, 0, 3, 1]
    swapped = make_head(head.weights[order], head.bias[order])
    options = FisherOptions(estimator="exact")
    one, two = (fisher_embedding(encoder, split, h, options=options) for h in (head, swapped))
    np.testing.assert_allclose(one.values, two.values, rtol=1e-10)


def test_heads_together_equal_heads_apart(family_encoder, make_split, random_head):
    encoder, split = family_encoder("bert"), make_split(6)
    heads = {k: random_head(n_classes=2 + k, seed=k) for k in (1, 2, 3)}
    options = FisherOptions(estimator="exact")
    together = fisher_embeddings(encoder, split, heads, options=options)
    for layer, head in heads.items():
        apart = fisher_embedding(encoder, split, head, head_layer=layer, options=options)
        np.testing.assert_allclose(together[layer].values, apart.values, rtol=1e-12)
        assert together[layer].slices == apart.slices
        assert together[layer].n_classes == 2 + layer


@pytest.mark.parametrize("family", CONFIGS)
def test_cached_states_change_nothing(family, family_encoder, make_split, random_head):
    encoder, split, head = family_encoder(family), make_split(7, pairs=True), random_head()
    options = FisherOptions(layers=(3,))
    plain = fisher_embedding(encoder, split, head, options=options)
    for layer in (0, 1, 2):
        states = cache_states(encoder, split, layer=layer)
        cached = fisher_embedding(encoder, split, head, options=options, states=states)
        assert relative(cached.values, plain.values) < 1e-10


def count_runs(encoder):
    """Return a list that grows by each run of a layer, and its handles."""
    runs = []
    handles = [b.attention.register_forward_hook(lambda *_: runs.append(1)) for b in encoder.blocks]
    return runs, handles


def test_cached_layers_and_layers_above_the_head_do_not_run(
    family_encoder, make_split, random_head
):
    encoder, split, head = family_encoder("bert"), make_split(1), random_head()
    states = cache_states(encoder, split, layer=1)
    runs, handles = count_runs(encoder)
    options = FisherOptions(layers=(2,))
    fisher_embedding(encoder, split, head, head_layer=2, options=options, states=states)
    for handle in handles:
        handle.remove()
    assert len(runs) == 1  # layer 2 alone


def test_nothing_below_the_lowest_chosen_weights_is_differentiated(
    family_encoder, make_split, random_head
):
    encoder, split, head = family_encoder("bert"), make_split(2), random_head()
    seen = {}

    def watch(name):
        def hook(module, args, output):
            seen[name] = (args[0].requires_grad, output.requires_grad)

        return hook

    layer = encoder.blocks[1]
    handles = [
        encoder.blocks[0].output.dense.register_forward_hook(watch("below")),
        layer.attention.self.query.register_forward_hook(watch("query")),
        layer.intermediate.dense.register_forward_hook(watch("ffn_in")),
        layer.output.dense.register_forward_hook(watch("ffn_out")),
    ]
    options = FisherOptions(layers=(2, 3), parts=("ffn_in",))
    fisher_embedding(encoder, split, head, options=options)
    for handle in handles:
        handle.remove()
    assert seen["below"] == (False, False)
    assert seen["query"] == (False, False)
    assert seen["ffn_in"][0] is False  # its own input needs no gradient either
    assert seen["ffn_out"] == (True, True)


def hooks_of(model):
    return sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) + ("forward" in vars(m))
        for m in model.modules()
    )


def test_a_second_embedding_equals_the_first_and_leaves_no_trace(
    family_encoder, make_split, random_head
):
    encoder, split, head = family_encoder("bert", dtype="float32"), make_split(5), random_head()
    model = encoder.model
    before = {n: p.clone() for n, p in model.named_parameters()}
    attention = model.config._attn_implementation
    states = cache_states(encoder, split, layer=0)
    one = fisher_embedding(encoder, split, head)
    two = fisher_embedding(encoder, split, head, states=states)
    three = fisher_embedding(encoder, split, head)
    np.testing.assert_array_equal(one.values, three.values)
    assert relative(two.values, one.values) < 1e-5
    assert hooks_of(model) == 0
    assert model.config._attn_implementation == attention
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())


def test_an_error_leaves_no_trace(family_encoder, make_split, random_head):
    encoder, split = family_encoder("bert", dtype="float32"), make_split(5)
    model = encoder.model
    attention = model.config._attn_implementation

    def stop(stage, done, total):
        raise KeyboardInterrupt

    layer = model.encoder.layer[0]
    layer.train()
    next(model.parameters()).requires_grad_(True)
    try:
        states = cache_states(encoder, split, layer=1)
        options = FisherOptions(layers=(2, 3))
        with pytest.raises(KeyboardInterrupt):
            fisher_embedding(
                encoder, split, random_head(), options=options, states=states, progress=stop
            )
        assert hooks_of(model) == 0
        assert model.config._attn_implementation == attention
        assert next(model.parameters()).requires_grad
        assert layer.training
        assert layer.attention.training
        assert not model.encoder.layer[1].training
    finally:
        layer.eval()
        model.requires_grad_(False)


def test_works_inside_inference_mode_and_after_encoding(tiny_bert, make_split, random_head):
    from charkit.encoders import encode, load_encoder

    encoder = load_encoder(str(tiny_bert), device="cpu", dtype="float32")
    split, head = make_split(3), random_head()
    encode(encoder, split)  # reads the weights
    plain = fisher_embedding(encoder, split, head).values
    with torch.inference_mode():
        np.testing.assert_array_equal(fisher_embedding(encoder, split, head).values, plain)


def test_truncation_is_counted(family_encoder, make_split, random_head):
    encoder, split = family_encoder("bert"), make_split(10, longest=20)
    options = FisherOptions(max_length=8)
    found = fisher_embedding(encoder, split, random_head(), options=options)
    lengths = [len(encoder.tokenizer(t)["input_ids"]) for t in split.texts]
    assert found.frac_truncated == np.mean([n > 8 for n in lengths]) > 0
    assert found.max_length == 8


@pytest.mark.parametrize(
    ("options", "head_layer", "said"),
    [
        (FisherOptions(layers=(3,)), 2, "1 to 2"),
        (FisherOptions(layers=(0,)), 3, "1 to 3"),
        (FisherOptions(layers=(9,)), 3, "out of range"),
        (FisherOptions(layers=()), 3, "1 to 3"),
        (FisherOptions(parts=()), 3, "no part"),
        (FisherOptions(parts=("qery",)), 3, "did you mean 'query'"),
        (FisherOptions(estimator="exakt"), 3, "estimator"),
        (FisherOptions(n_draws=0), 3, "n_draws"),
        (FisherOptions(pooling="sum"), 3, "pooling"),
        (FisherOptions(token_budget=0), 3, "token_budget"),
        (FisherOptions(), 0, "head_layer"),
        (FisherOptions(), 4, "layer is out of range"),
    ],
)
def test_wrong_arguments_are_named(
    options, head_layer, said, family_encoder, make_split, random_head
):
    encoder = family_encoder("bert")
    with pytest.raises(UsageError, match=said):
        fisher_embedding(
            encoder, make_split(2), random_head(), head_layer=head_layer, options=options
        )


def test_what_does_not_fit_is_refused(family_encoder, make_split, random_head):
    from charkit.tasks.task import Split

    encoder, split = family_encoder("bert"), make_split(2)
    with pytest.raises(UsageError, match="width 32"):
        fisher_embedding(encoder, split, random_head(width=31))
    with pytest.raises(DataError, match="no texts"):
        fisher_embedding(encoder, Split(()), random_head())
    with pytest.raises(DataError, match="needs labels"):
        fisher_embedding(
            encoder, Split(split.texts), random_head(), options=FisherOptions(estimator="empirical")
        )
    with pytest.raises(UsageError, match="at least one"):
        fisher_embeddings(encoder, split, {})
    with pytest.raises(UsageError, match="two heads"):
        fisher_embeddings(encoder, split, {3: random_head(), -1: random_head()})
    states = cache_states(encoder, split, layer=1)
    with pytest.raises(UsageError, match="cache_layer"):
        fisher_embedding(encoder, split, random_head(), states=states)
    shorter = FisherOptions(layers=(3,), max_length=9)
    with pytest.raises(UsageError, match="do not fit"):
        fisher_embedding(encoder, split, random_head(), states=states, options=shorter)
    others = Split(tuple(reversed(split.texts)), split.pairs, split.labels)
    with pytest.raises(UsageError, match="do not fit"):
        fisher_embedding(
            encoder, others, random_head(), states=states, options=FisherOptions(layers=(3,))
        )
    with pytest.raises(UsageError, match="0 to 2"):
        cache_states(encoder, split, layer=3)
    modern, biases = family_encoder("modernbert"), FisherOptions(parts=("bias",))
    with pytest.raises(UsageError, match="no such part"):
        fisher_embedding(modern, split, random_head(), options=biases)
    grouped = family_encoder("albert", inner_group_num=2)
    with pytest.raises(UsageError, match="inner_group_num"):
        fisher_embedding(grouped, split, random_head())


def test_every_family_is_covered():
    from charkit.encoders.shape import BLOCKS
    from charkit.fisher.layout import SITES

    assert set(SITES) == set(BLOCKS) == set(CONFIGS) == set(NAMES)
