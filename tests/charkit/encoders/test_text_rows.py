import numpy as np
import pandas as pd
import pytest

from charkit.encoders.sklearn_transformer import TextEncoder
from charkit.errors import DataError


@pytest.mark.parametrize(
    ("X", "fragment"),
    [
        (pd.Series(["a", "b", "c", None]), "row 3 of X is empty"),
        (["a", None], r"row 1 of X is empty \(None\)"),
        (["a", float("nan")], r"row 1 of X is empty \(nan\)"),
        (pd.Series(["a", pd.NA], dtype="string"), "row 1 of X is empty"),
        (pd.DataFrame({"text": ["a", None]}), "row 1 of X is empty"),
        ([["a", "b"], ["c", None]], r"row 1 of X is empty .*two strings"),
        (["a", 3], r"row 1 of X is no text \(int 3\)"),
        (["a", ("b", "c"), "d"], "row 1 of X is a pair"),
        ([("a", "b"), "c", ("d", "e")], "row 1 of X is a single text"),
        (np.array([["a", "b", "c"]]), "row 0 of X is no text"),
    ],
)
def test_the_row_that_is_wrong_is_named_with_what_is_wrong(X, fragment, tiny_bert):
    with pytest.raises(DataError, match=fragment):
        TextEncoder(str(tiny_bert)).fit(X)
