"""One of several processes that search settings at once; run by test_tune.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from meta_samples import make_tables

from metamodel.fit.tune import tune
from metamodel.rows import join_tables


def main(journal, n_trials):
    data = join_tables(*make_tables(n_corpora=5, pilots=(0, 64), draws=1))
    _, rows = tune(data, n_trials=n_trials, journal=journal, progress=lambda *_: None)
    print(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
