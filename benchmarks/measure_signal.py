"""Error rates and cost of the signal test of `charkit estimate`, beside the one before it.

False alarms: the labels of every task are shuffled, so that there is nothing to learn, and the
test is asked; one in a hundred may find a signal. Power: small samples of every task as it is;
the share of samples in which a signal is found. Some tasks have none that pooled states show
(glue_wnli), so the share cannot reach 1; the test before is asked about the same samples.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from _figures import RESULTS, Figure, figure, print_table, write_figures
from _folded_signal import folded_signal

from charkit.answers.pilot.signal import LEVEL, pilot_signal
from charkit.encoders import encode_to_store, load_encoder
from charkit.store.store import Store
from charkit.tasks import load_task

TASKS = (
    "banking77", "counterfactual_en", "emergent_stance", "glue_cola", "glue_mrpc", "glue_qnli",
    "glue_rte", "glue_wnli", "liar", "mr", "mustard_sarcasm", "nps_chat_acts",
    "politeness_wiki", "squinky_implicature", "stormfront", "trec6",
)  # fmt: skip
GENERATED = ("sentiment", "paraphrase", "topic", "sentiment?difficulty=0.9")
MOST_ROWS, MAX_LENGTH = 512, 64
ALARM_SIZES, ALARMS = (64, 256), 20
POWER_SIZES, DRAWS = (32, 96), 2


class Sample:
    """States of all layers and labels of at most 512 rows of a task."""

    def __init__(self, name: str, source: str) -> None:
        train = load_task(source).train
        rows = np.random.default_rng(0).permutation(len(train))[:MOST_ROWS]
        split = train.take(rows)
        states = encode_to_store(
            load_encoder("minilm", dtype="float32"), split, store=Store(), max_length=MAX_LENGTH
        )
        self.name, self.features = name, states.to_numpy().astype(np.float32)
        self.labels = np.unique(np.array(split.labels), return_inverse=True)[1]

    def draw(self, n: int, seed: int, *, shuffled: bool) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([seed, n])
        rows = rng.permutation(len(self.labels))[:n]
        labels = self.labels[rows]
        return self.features[:, rows], rng.permutation(labels) if shuffled else labels


def false_alarms(samples: list[Sample], alarms: int) -> tuple[int, int]:
    """Return false alarms and tests."""
    found = asked = 0
    for sample in samples:
        for n in ALARM_SIZES:
            for seed in range(alarms):
                verdict = pilot_signal(*sample.draw(n, seed, shuffled=True))
                found, asked = found + verdict.signal, asked + 1
    return found, asked


def power(samples: list[Sample], draws: int) -> list[dict[str, object]]:
    """Return for each task and size in how many draws each of both tests finds a signal."""
    rows: list[dict[str, object]] = []
    for sample in samples:
        for n in POWER_SIZES:
            new = old = 0
            seconds = [0.0, 0.0]
            for seed in range(draws):
                features, labels = sample.draw(n, seed, shuffled=False)
                begun = time.process_time()
                new += pilot_signal(features, labels).signal
                between = time.process_time()
                old += folded_signal(features, labels)
                seconds[0] += between - begun
                seconds[1] += time.process_time() - between
            row = {"task": sample.name, "n": n, "draws": draws, "found": new, "before": old}
            rows.append({**row, "seconds": seconds[0], "seconds_before": seconds[1]})
            print(rows[-1], flush=True)
    return rows


def figures_of(alarms: tuple[int, int], rows: list[dict[str, object]]) -> list[Figure]:
    found, asked = alarms
    # of this number of tests at a rate of 0.01, 99 in 100 times no more alarms than this
    draws = np.random.default_rng(0).binomial(asked, LEVEL, 100_000)
    bound = float(np.quantile(draws, 0.99)) / asked
    total = {name: sum(float(str(r[name])) for r in rows) for name in
             ("draws", "found", "before", "seconds", "seconds_before")}  # fmt: skip
    return [
        figure(f"false alarms in {asked} samples without signal", found / asked, "share",
               bar=bound, at_most=True),
        figure("samples in which a signal is found", total["found"] / total["draws"], "share",
               baseline=total["before"] / total["draws"], bar=1.0),
        figure("processor time of a test", total["seconds"] / total["draws"], "s",
               baseline=total["seconds_before"] / total["draws"], bar=0.5, at_most=True),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=Path, help="folder of real tasks")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    places = (
        {name: str(given.tasks / name) for name in TASKS}
        if given.tasks
        else {name: f"generated/{name}" for name in GENERATED}
    )
    if given.smoke:
        places = dict(list(places.items())[:2])
    samples = [Sample(name, source) for name, source in places.items()]
    rows = power(samples, 1 if given.smoke else DRAWS)
    alarms = false_alarms(samples, 2 if given.smoke else ALARMS)
    figures = figures_of(alarms, rows)
    print_table(figures)
    if not given.smoke:
        write_figures(RESULTS / "signal.json", figures, details={"samples": rows})


if __name__ == "__main__":
    main()
