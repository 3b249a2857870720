"""On which machines a plan is to run: how many, of what kind, at what price."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from charkit.errors import UnknownNameError, UsageError
from charkit.manifest import available_cores

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
