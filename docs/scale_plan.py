"""What two large studies would take: hours, disk, money, and what breaks first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from charkit.heads.sweep.cost import heads_seconds
from charkit.heads.sweep.plan import GPU_SHARE, KINDS

DOLLARS_AN_HOUR = 2.5
"""Of one machine with an H100: an assumption."""

BYTES_A_NUMBER = 2
"""States are stored in bfloat16 or float16."""


@dataclass(frozen=True)
class Study:
    """A study of BERT-base shapes.

    Attributes:
        name: What it is.
        n_encoders: Encoders.
        n_tasks: Tasks.
        n_texts: Texts of a task, evaluation texts included.
        n_tokens: Tokens of a text.
        sizes: Training sizes.
        n_seeds: Draws a size; shuffled labels double the heads.
        n_classes: Classes.
        n_gpus: H100 machines.
    """

    name: str
    n_encoders: int
    n_tasks: int
    n_texts: int
    n_tokens: int = 40
    sizes: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
    n_seeds: int = 5
    n_classes: int = 4
    n_gpus: int = 64
    n_layers: int = 12
    width: int = 768

    @property
    def tokens(self) -> float:
        """Tokens that are encoded."""
        return float(self.n_encoders) * self.n_tasks * self.n_texts * self.n_tokens

    @property
    def operations(self) -> float:
        """Operations of the matrix products: two a weight and token."""
        return 2 * 12 * self.width**2 * self.n_layers * self.tokens

    @property
    def state_bytes(self) -> float:
        """Bytes of the pooled states of all layers."""
        texts = float(self.n_encoders) * self.n_tasks * self.n_texts
        return texts * (self.n_layers + 1) * self.width * BYTES_A_NUMBER

    @property
    def n_heads(self) -> float:
        """Heads that are fitted."""
        draws = 2.0 * self.n_encoders * self.n_tasks * self.n_seeds
        return draws * len(self.sizes) * (self.n_layers + 1)

    @property
    def heads_s(self) -> float:
        """Seconds of one core for all heads."""
        draws = 2.0 * self.n_encoders * self.n_tasks * self.n_seeds
        return draws * heads_seconds(
            self.sizes, n_layers=self.n_layers + 1, width=self.width, n_classes=self.n_classes
        )

    def hours(self, rates: dict[str, float]) -> dict[str, float]:
        """Return hours by kind of work, all machines at work.

        Args:
            rates: ``tokenised_a_second`` and ``written_a_second`` (tokens of one core, bytes), as
                measured.
        """
        machine = KINDS["h100"]
        assert machine.products is not None
        cores = machine.cores * self.n_gpus
        return {
            "tokenise": self.tokens / (rates["tokenised_a_second"] * cores) / 3600,
            "encode": self.operations / (GPU_SHARE * machine.products * self.n_gpus) / 3600,
            "write": self.state_bytes / (rates["written_a_second"] * self.n_gpus) / 3600,
            "heads": self.heads_s / cores / 3600,
        }


STUDIES = (
    Study("40 encoders x 1,000 tasks, all layers", 40, 1000, 3000),
    Study("one encoder over 50 million rows in 64 files", 1, 64, 781_250),
)


def plan_lines(measured: dict[str, Any]) -> list[str]:
    """Return the table of both studies, as Markdown.

    Args:
        measured: ``details.growth`` of benchmarks/results/scale.json.
    """
    lines = [
        "| study | tokens | tokenise | encode | write states | heads | states on disk | dollars |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for study in STUDIES:
        hours = study.hours(measured["rates"])
        money = sum(hours.values()) * study.n_gpus * DOLLARS_AN_HOUR
        cells = [
            f"{study.name}, {study.n_gpus} H100",
            f"{study.tokens:.1e}",
            *(_hours(hours[name]) for name in ("tokenise", "encode", "write", "heads")),
            f"{study.state_bytes / 1e12:.1f} TB",
            f"{money:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _hours(hours: float) -> str:
    return f"{hours:.2g} h" if hours >= 1 else f"{60 * hours:.2g} min"


def slope_lines(growth: dict[str, Any], store: dict[str, Any]) -> list[str]:
    """Return how seconds grow with the amount of work, as Markdown."""
    rows = (
        ("encode, texts", growth["encode"]),
        ("heads, cells", growth["heads"]),
        ("list of the store, entries", store),
    )
    return [
        "| work | sizes | slope | 90 % interval |",
        "|---|---|---|---|",
        *(
            f"| {name} | {found['sizes'][0]:,} to {found['sizes'][-1]:,} | {found['slope']:.2f} | "
            f"{found['interval'][0]:.2f} to {found['interval'][1]:.2f} |"
            for name, found in rows
        ),
    ]
