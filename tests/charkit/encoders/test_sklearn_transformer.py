"""The encoder as a step of a Pipeline."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tiny_families import Texts, make_texts

from charkit.encoders import encode
from charkit.encoders.sklearn_transformer import TextEncoder
from charkit.errors import DataError, UsageError


def test_in_a_pipeline(tiny_bert):
    split = make_texts(40)
    labels = [int("cat" in t.split()) for t in split.texts]
    step = TextEncoder(str(tiny_bert), layer=1, device="cpu", dtype="float32")
    model = make_pipeline(step, LogisticRegression(C=100, max_iter=2000))
    copy = clone(model).fit(list(split.texts), labels)
    assert copy.score(list(split.texts), labels) > 0.7
    assert not hasattr(step, "encoder_")
    names = copy[:-1].get_feature_names_out()
    assert names.shape == (32,)
    assert names[3] == "layer1_3"


def test_same_as_encode(tiny_bert, tiny_encoder):
    split = make_texts(5, pairs=True)
    expected = encode(tiny_encoder, split, pooling="cls").layer(-1)
    rows = list(zip(split.texts, split.pairs, strict=True))
    step = TextEncoder(tiny_encoder, pooling="cls")
    np.testing.assert_array_equal(step.fit_transform(rows), expected)
    np.testing.assert_array_equal(step.transform(pd.DataFrame(rows)), expected)
    single = encode(tiny_encoder, Texts(split.texts), pooling="cls").layer(-1)
    np.testing.assert_array_equal(step.transform(pd.Series(split.texts)), single)
    np.testing.assert_array_equal(step.transform(pd.DataFrame({"t": split.texts})), single)


def test_parameters_are_kept_as_given(tiny_bert):
    step = TextEncoder(str(tiny_bert), layer=-2, pooling="max", max_length=16)
    assert clone(step).get_params() == step.get_params()
    assert step.fit(["a"]).layer_ == 1


@pytest.mark.parametrize("X", [["a", 1], "one text", [("a", "b", "c")], ["a", ("a", "b")], [None]])
def test_what_is_not_text(X, tiny_encoder):
    with pytest.raises(DataError):
        TextEncoder(tiny_encoder).fit(X)


def test_layer_out_of_range(tiny_encoder):
    with pytest.raises(UsageError, match=r"expected 0 \(embeddings\) to 2"):
        TextEncoder(tiny_encoder, layer=5).fit(["a"])
