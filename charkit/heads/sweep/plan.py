"""What a sweep will compute: a grid of jobs, each one file in the store.

A job is one (encoder, layers, task, subset, control, seed) over all sizes: the sizes are nested
prefixes of one stratified order, so that curves are smooth. Its key
is the hash of everything that its rows depend on, and of nothing else.

On which machines a plan is to run: how many, of what kind, at what price.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from charkit.config import Control, Pooling, content_hash
from charkit.errors import UnknownNameError, UsageError
from charkit.store.manifest import available_cores
from charkit.tasks.card import TaskCard

GPU_SHARE = 0.6
"""Share of the rate on its data sheet that a GPU reaches in large matrix products."""

# More machines than there are anywhere: a slip of the keyboard, and not a plan.
_MOST = 1_000_000


@dataclass(frozen=True)
class MachineKind:
    """A kind of machine.

    Attributes:
        cores: Cores that fit heads.
        products: Operations a second of bfloat16 matrix products, dense, from the GPU's data
            sheet; None: what this machine measures.
    """

    cores: int
    products: float | None = None


KINDS = {
    "core": MachineKind(1),
    "t4": MachineKind(8, 65e12),
    "l4": MachineKind(8, 121e12),
    "a100": MachineKind(12, 312e12),
    "h100": MachineKind(16, 989e12),
    "h200": MachineKind(16, 989e12),
}
"""Name -> kind. ``core`` is one core like those of this machine; the others are machines with one
such GPU and as many cores as clouds usually give with it. The T4 has float16 only."""


@dataclass(frozen=True)
class Machines:
    """Machines of one kind.

    Attributes:
        number: How many.
        kind: Their name in `KINDS`.
        price: Of one of them an hour, in any currency; None when it is not known.
        encode: Whether texts are encoded there; processes leave it to this machine.
    """

    number: int
    kind: str = "core"
    price: float | None = None
    encode: bool = True

    @classmethod
    def parse(cls, text: str, *, price: float | None = None) -> Machines:
        """Return the machines that ``NxKIND`` names.

        >>> Machines.parse("64xh100")
        Machines(number=64, kind='h100', price=None, encode=True)

        Raises:
            UsageError: It is not NxKIND, or the price is not a positive number.
            UnknownNameError: There is no such kind.
        """
        match = re.fullmatch(r"([0-9]{1,7})\s*x\s*([A-Za-z0-9]+)", text.strip())
        if match is None or not 1 <= int(match[1]) <= _MOST:
            raise UsageError(
                f"machines: expected their number and kind, such as 64xh100 or 16xcore, got "
                f"{text!r}."
            )
        if match[2].lower() not in KINDS:
            raise UnknownNameError("kind of machine", match[2], KINDS)
        if price is not None and not (math.isfinite(price) and price > 0):
            raise UsageError(f"price: expected a number above 0 for an hour, got {price}.")
        return cls(int(match[1]), match[2].lower(), price)

    @property
    def n_cores(self) -> int:
        """Cores of all together."""
        return self.number * KINDS[self.kind].cores

    def products(self, here: float) -> float:
        """Return the rate of matrix products of all together, operations a second.

        Args:
            here: What this machine reaches with all its cores.
        """
        listed = KINDS[self.kind].products
        if not self.encode:
            return here
        if listed is None:
            return here * self.number / available_cores()
        return GPU_SHARE * listed * self.number

    def lines(self, encode_s: float, heads_s: float) -> list[str]:
        """Return what a plan takes on them, for people.

        Args:
            encode_s: Seconds of encoding, all at work.
            heads_s: Seconds of fitting heads, all at work.
        """
        hours = (encode_s + heads_s) / 3600
        name = f"{self.number:,} x {self.kind}"
        lines = [
            f"on {name}: {_hours(hours)}, of them {_hours(encode_s / 3600)} encoding and "
            f"{_hours(heads_s / 3600)} heads on {self.n_cores:,} cores; "
            f"{_hours(hours * self.number)} of machines"
        ]
        if self.price is not None:
            lines.append(
                f"at {self.price:g} an hour and machine: {hours * self.number * self.price:,.2f}"
            )
        if KINDS[self.kind].products is not None:
            lines.append(
                f"the rate of {self.kind} is {GPU_SHARE:.0%} of its data sheet's, not measured: "
                "good to a factor of three. Run benchmarks/gpu.py there to measure it."
            )
        return lines


def _hours(hours: float) -> str:
    return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.2g} h" if hours >= 0.1 else "under 0.1 h"


_FORMAT = 6

# Sizes begin here and double. Smaller samples of more than two classes lack some of them.
SMALLEST_SIZE = 16
# Seeds are a column of int64 in the sweep's table.
_LARGEST_SEED = 2**63 - 1
NO_LAYER = -1
"""The layer of a cell that reads none (the majority control)."""


@dataclass(frozen=True)
class Probe:
    """How texts become features: an encoder and how it is read.

    Attributes:
        encoder: Its name.
        fingerprint: Hash of its weights, configuration and tokenizer.
        layers: The layers that heads read; 0 = embeddings.
        pooling: How token states become one vector.
        max_length: Longest text in tokens; longer ones are cut.
        dtype: Arithmetic of the encoder, ``"float32"`` or ``"bfloat16"``.
    """

    encoder: str
    fingerprint: str
    layers: tuple[int, ...]
    pooling: Pooling
    max_length: int
    dtype: str


@dataclass(frozen=True)
class Job:
    """One file of a sweep: all sizes and layers of one draw.

    Attributes:
        probe: How texts become features.
        card: The task.
        subset: Which part of the task, in the language of `charkit.tasks.make_subset`.
        control: What is measured.
        seed: Which nested draw.
        sizes: Training sizes; empty means doubling from 16, and the whole sample.
        strengths: The L2 strengths to choose from; empty means the solver's own grid.
    """

    probe: Probe
    card: TaskCard
    subset: str
    control: Control
    seed: int
    sizes: tuple[int, ...]
    strengths: tuple[float, ...] = ()

    @property
    def config(self) -> dict[str, Any]:
        """Everything that the scores depend on, as canonical JSON values.

        The names of task and corpus are none of it: the same rows have one key, whatever file or
        frame they come from.
        """
        own: dict[str, Any] = {
            "format": _FORMAT,
            "task": self.card.fingerprint,
            "subset": self.subset,
            "control": self.control,
            "seed": self.seed,
            "sizes": list(self.sizes),
            "encoder": self.probe.encoder,
            "encoder_fingerprint": self.probe.fingerprint,
        }
        if self.control == "majority":
            return own
        return own | {
            "layers": list(self.probe.layers),
            "pooling": self.probe.pooling,
            "max_length": self.probe.max_length,
            "dtype": self.probe.dtype,
            "strengths": list(self.strengths),
        }

    @cached_property
    def key(self) -> str:
        """The job's key in the store."""
        return content_hash(self.config)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that appear in the rows."""
        return (NO_LAYER,) if self.control == "majority" else self.probe.layers


def usable_sizes(sizes: Sequence[int], *, n_train: int, n_classes: int) -> tuple[int, ...]:
    """Return the sizes that a sample allows, from small to large.

    A size must not exceed the sample, nor be smaller than the number of classes. When no size
    is asked for: 16, doubled while the sample allows, and the whole sample.

    >>> usable_sizes((), n_train=100, n_classes=2)
    (16, 32, 64, 100)
    >>> usable_sizes((8, 64, 128), n_train=100, n_classes=20)
    (64,)
    """
    if sizes:
        return tuple(s for s in sorted(set(sizes)) if max(2, n_classes) <= s <= n_train)
    doubled = []
    size = SMALLEST_SIZE
    while size < n_train:
        doubled.append(size)
        size *= 2
    return tuple(s for s in (*doubled, n_train) if s >= max(2, n_classes))


def several(values: Any) -> tuple[Any, ...]:
    """Return values as a tuple; a single one, a number or a string, as a tuple of it.

    >>> several(16), several("none"), several([1, 2])
    ((16,), ('none',), (1, 2))
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        return (values,)
    return tuple(values)


def check_sizes(sizes: Iterable[int]) -> tuple[int, ...]:
    """Return the sizes as a tuple.

    Raises:
        UsageError: A size is not a whole number of at least 2.
    """
    return tuple(_whole(size, "size", at_least=2) for size in sizes)


def _whole(value: Any, what: str, *, at_least: int) -> int:
    """Return a whole number, of NumPy as well, as Python's own.

    Raises:
        UsageError: It is something else, or too small.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = at_least - 1
    if number < at_least:
        raise UsageError(
            f"{what} out of range: expected whole numbers of at least {at_least}, got {value!r}."
        )
    return number


def check_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    """Return the seeds as a tuple without repeats.

    Raises:
        UsageError: There is none, or one is negative or needs more than 63 bits.
    """
    checked = tuple(dict.fromkeys(map(operator.index, seeds)))
    if not checked or min(checked) < 0 or max(checked) > _LARGEST_SEED:
        raise UsageError(
            f"seeds: expected at least one, each from 0 to {_LARGEST_SEED}, got "
            f"{list(checked[:5])}."
        )
    return checked


def check_controls(controls: Iterable[str]) -> tuple[Control, ...]:
    """Return the controls in their fixed order, the real thing always among them.

    Raises:
        UnknownNameError: A control is not known.
    """
    legal = get_args(Control)
    asked = set(controls) | {"none"}
    for name in asked:
        if name not in legal:
            raise UnknownNameError("control", name, legal)
    return tuple(c for c in legal if c in asked)


def check_layers(layers: Iterable[int | float] | None, *, n_layers: int) -> tuple[int, ...]:
    """Return the layers, ascending; negative ones count from the last.

    Args:
        layers: The layers asked for: whole numbers, or shares of the depth as floats from 0.0
            (embeddings) to 1.0 (last), which suit encoders of any depth. None means all.
        n_layers: The encoder's number of layers L; states are numbered 0..L.

    Raises:
        UsageError: A layer is out of range, or there is none.

    >>> check_layers([0, 0.5, -1], n_layers=6), check_layers([0.5], n_layers=12)
    ((0, 3, 6), (6,))
    """
    if layers is None:
        return tuple(range(n_layers + 1))
    resolved = set()
    for layer in layers:
        if isinstance(layer, float):
            if not 0 <= layer <= 1:
                raise UsageError(
                    f"share of the depth out of range: expected 0 % (embeddings) to 100 % (last), "
                    f"got {layer:.0%}."
                )
            resolved.add(round(layer * n_layers))
            continue
        if not -n_layers - 1 <= layer <= n_layers:
            raise UsageError(
                f"layer out of range: expected 0 (embeddings) to {n_layers}, or -1 (last) to "
                f"{-n_layers - 1}, got {layer}. For encoders of different depth give shares of it, "
                "such as 50%."
            )
        resolved.add(int(layer) % (n_layers + 1))
    if not resolved:
        raise UsageError("layers: expected at least one, got none. Leave it out for all.")
    return tuple(sorted(resolved))
