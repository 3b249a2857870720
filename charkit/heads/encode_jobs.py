"""Encoding as jobs of an executor: a split and an encoder go out, the states lie in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from charkit.config import Pooling, Progress, content_hash
from charkit.encoders.encoder import Encoder
from charkit.encoders.stream import KIND, encode_to_store, states_config
from charkit.parallel import Executor, check_failures, run_jobs
from charkit.store import Store
from charkit.tasks.task import Split


@dataclass(frozen=True)
class EncodeWork:
    """One split to encode, with all that a worker needs.

    Attributes:
        encoder: The encoder; a worker reads its weights from the same folder.
        split: The texts.
        pooling: How token states become one vector.
        max_length: Longest text in tokens.
        root: The store's folder.
    """

    encoder: Encoder
    split: Split
    pooling: Pooling
    max_length: int
    root: Path

    @property
    def key(self) -> str:
        """Key of the states in the store."""
        config = states_config(
            self.encoder, self.split, pooling=self.pooling, max_length=self.max_length
        )
        return content_hash(config)


def run_encode(work: EncodeWork) -> str:
    """Encode a split unless the store has its states, and return their key."""
    states = encode_to_store(
        work.encoder,
        work.split,
        store=Store(work.root),
        pooling=work.pooling,
        max_length=work.max_length,
    )
    return states.key


def encode_elsewhere(
    wanted: Sequence[EncodeWork], *, executor: Executor, store: Store, progress: Progress
) -> None:
    """Encode on an executor what the store lacks, each split once.

    A job on a GPU takes one; Ray lends a GPU to one job at a time.

    Args:
        wanted: What heads will read; repeats are left out.
        executor: Where the jobs run.
        store: Where the states go; every worker sees its folder.
        progress: Called as ``progress("encode", done, total)``, in splits.

    Raises:
        CellsFailedError: A split could not be encoded.
    """
    distinct = {work.key: work for work in wanted}
    todo = [
        replace(work, encoder=replace(work.encoder))  # without weights that are loaded here
        for key, work in distinct.items()
        if store.find(KIND, key) is None
    ]
    gpus = {work.encoder.device for work in todo} & {"cuda"}
    found = run_jobs(
        run_encode,
        todo,
        executor=executor,
        n_gpus=1.0 if gpus else 0.0,
        folders=[store.root],
        progress=lambda done, total: progress("encode", done, total),
    )
    check_failures(found, stage="encode")
