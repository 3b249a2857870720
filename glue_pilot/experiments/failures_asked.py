"""What the tool says of a case, and what is true."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.answers.estimate import Predictor, estimate
from charkit.answers.expected import EstimateAnswer
from charkit.config import Progress, content_hash, no_progress
from charkit.durable import sha256_file
from charkit.encoders import Encoder, encode_to_store
from charkit.errors import UsageError
from charkit.heads.softmax import fit_softmax
from charkit.manifest import Clock, run_manifest
from charkit.store import Store
from charkit.tasks import Split
from glue_pilot.experiments.failures_cases import Case
from glue_pilot.metamodel_study import SHIPPED_NAME, read_metadata, read_settings
from metamodel.files import metamodel_text, read_metamodel
from metamodel.fitting import fit_metamodel
from metamodel.predict import SHIPPED, load_shipped

KIND = "experiment_metamodel"


def metamodel_without(
    corpora: set[str], encoder: Encoder, store: Store, progress: Progress = no_progress
) -> Predictor:
    """Return a metamodel fitted to the shipped tables without some corpora, from the store.

    Args:
        corpora: Left out, with all of their tasks and parts; none: the shipped metamodel.
        encoder: What its evidence is of.
        store: Where it is kept.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        MissingError: The shipped tables or settings are not there.
    """
    if not corpora:
        return load_shipped()
    settings = read_settings(SHIPPED)
    tables = [SHIPPED / f"{SHIPPED_NAME}_{kind}.parquet" for kind in ("evidence", "outcomes")]
    config = {
        "kind": KIND,
        "without": sorted(corpora),
        "settings": asdict(settings),
        "encoder": encoder.fingerprint,
        "tables": [sha256_file(place) for place in tables],
    }
    key = content_hash(config)
    folder = store.find(KIND, key)
    if folder is None:
        progress("fit a metamodel without these corpora", 0, 1)
        clock = Clock()
        data = read_metadata([SHIPPED], SHIPPED_NAME)
        kept = data.part(~np.isin(data.corpora.astype(str), sorted(corpora)))
        model = fit_metamodel(kept, settings, encoders=(encoder.fingerprint,))
        fields = run_manifest(config, clock=clock, seeds={"rows": settings.seed}, fingerprints={})
        files = {"metamodel.json": metamodel_text(model).encode()}
        folder = store.put(KIND, key, files, fields)
        progress("fit a metamodel without these corpora", 1, 1)
    return read_metamodel(folder / "metamodel.json")


def ask(
    case: Case,
    encoder: Encoder,
    model: Predictor,
    *,
    multiple: int,
    n_draws: int,
    store: Store,
) -> dict[str, Any]:
    """Return a row: what the tool said of a case, what is true, whether both agree.

    Args:
        case: What is asked.
        encoder: The encoder.
        model: What reads the evidence.
        multiple: Of the labels at hand, at which the truth is measured.
        n_draws: Draws of that many labels; the truth is their mean.
        store: Where states and evidence are kept.

    Raises:
        MissingError: The store cannot be written.
    """
    answer = estimate(case.sample, encoder=encoder, store=store, metamodel=model)
    n, later = answer.n_labels, multiple * answer.n_labels
    if later > len(case.train):
        raise UsageError(
            f"{case.task.name}, {case.name}: expected at least {later:,} labelled training texts "
            f"to measure the truth, got {len(case.train):,}. Choose a smaller n, or a larger task."
        )
    told = answer.curve[(answer.curve["layer"] == answer.layer) & (answer.curve["n"] == later)]
    mean, low, high = told[["mean", "low", "high"]].to_numpy(float)[0].tolist()
    train, same, evaluated = (
        encode_to_store(encoder, part, store=store).layer(answer.layer)
        for part in (case.train, case.same, case.evaluated)
    )
    score = _Scorer(case, train)
    truth = float(np.mean([score(later, seed, same, case.same) for seed in range(n_draws)]))
    now = score(n, 0, evaluated, case.evaluated)
    row = {
        "kind": case.kind,
        "case": case.name,
        "task": case.task.name,
        "corpus": case.corpus,
        "generated": case.generated,
        "n": n,
        "classes": case.task.n_classes,
        "layer": answer.layer,
        "n_later": later,
        "mean": mean,
        "low": low,
        "high": high,
        "truth": truth,
        "n_judged": len(case.same),
        "majority": _majority(case.same),
        "evaluation_truth": now,
    }
    return row | _evaluation(answer, now) | _verdicts(case, answer)


class _Scorer:
    """Heads on one layer's states, trained on draws of a case."""

    def __init__(self, case: Case, train: NDArray[np.float32]) -> None:
        self._case, self._train = case, train

    def __call__(self, n: int, seed: int, states: NDArray[np.float32], judged: Split) -> float:
        """Return the accuracy of a head of n labels on judged texts."""
        case = self._case
        rows = case.rows(n, seed)
        labels = np.array(case.train.labels, np.int64)[rows]
        heads = fit_softmax(self._train[rows][None], labels, case.task.n_classes)
        logits = states @ heads.weights[0].numpy().T + heads.bias[0].numpy()
        return float(np.mean(logits.argmax(1) == np.asarray(judged.labels)))


def _majority(part: Split) -> float:
    counts = np.bincount(np.asarray(part.labels, np.int64))
    return float(counts.max() / counts.sum())


def _evaluation(answer: EstimateAnswer, truth: float) -> dict[str, Any]:
    told = answer.eval_accuracy
    if told is None:
        nothing = dict.fromkeys(("evaluation_mean", "evaluation_low", "evaluation_high"), np.nan)
        return {**nothing, "evaluation_inside": np.nan}
    return {
        "evaluation_mean": told.mean,
        "evaluation_low": told.low,
        "evaluation_high": told.high,
        "evaluation_inside": float(told.low <= truth <= told.high),
    }


def _verdicts(case: Case, answer: EstimateAnswer) -> dict[str, Any]:
    codes = [v.code for v in answer.verdicts]
    said = any(code in codes for code in case.expected)
    return {
        "verdicts": ", ".join(codes),
        "refused": not answer.trustworthy,
        "expected": " or ".join(case.expected),
        "verdict_right": said if case.expected else answer.trustworthy,
        "warned": said or not answer.trustworthy,
    }
