"""Which device and which number format, and why.

How much faster a device multiplies in bfloat16 than in float32: measured once a machine.

No flag of a processor decides: AMX, AVX512-BF16, Arm's BF16 and tensor cores differ by vendor, and
a library may use them or not. Timed are the two products of a linear layer in the shape of an
encoder's: forward, x W^T, and backward, d W; the slower of the two ratios counts, so that one
format serves encoding and the Fisher pass. A processor is timed on one thread, in processor time:
neither the number of threads nor other work on the machine changes the choice.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import logging
import math
import os
import platform
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from charkit.errors import CharkitError, MissingError, UsageError
from charkit.store.durable import default_root, write_whole
from charkit.store.manifest import package_versions

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

LEAST_RATIO = 1.5
"""From this ratio on bfloat16 is taken. Hardware lies on either side of it: emulated bfloat16
gives 0.01 to 0.6 (measured with AVX2, AVX512 and AVX512-BF16 switched on by hand on one Xeon),
AVX512-BF16 units at least 2 by design, AMX 5 to 8 and Zen 5 4.6 (measured)."""

FOLDER = ".machine"
"""Folder of the store, hidden from its listings, that keeps what was measured."""

_FORMAT = 1
_WIDTH, _INNER = 384, 1536

# Rows of a product, and the ratio below which no larger one is tried: emulated bfloat16 took 0.4 s
# for 128 rows on AVX2, 4 ms where the hardware has it.
_STAGES = ((8, 0.25), (128, 0.5), (512, 0.0))
# One size is enough there: what decides is whether the device has units for the format at all.
_GPU_STAGES = ((8192, 0.0),)
_ROUNDS, _MORE_ROUNDS = 3, 9

# Ratios that are measured again, with more rounds, before they decide.
_NEAR = (1.1, 2.1)

# Time in products after which the ratio found so far counts: a slow processor.
_BUDGET_S = 0.2

# Environment variables that switch instructions off: each setting is a machine of its own.
_ISA_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
)


@cache
def bfloat16_ratio(device: str) -> float | None:
    """Return how many times as fast bfloat16 products are on a device; None if it has none.

    Read from the user's store if this machine was measured before, else measured (about 0.1 s) and
    kept there. A file that is damaged, or of another machine, is measured again; a store that
    cannot be written costs the next process a measurement.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
    """
    machine = _machine(device)
    path = _place(machine)
    known = None if path is None else _read(path, machine)
    if known is not None:
        return known
    ratio = measure(device)
    if path is not None and ratio is not None:
        _keep(path, machine, ratio)
    return ratio


def measure(device: str) -> float | None:
    """Time both products in both formats; return the smaller ratio, None when they fail.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
    """
    import torch

    try:
        with torch.inference_mode(), _one_thread():
            return _measure(device)
    except (RuntimeError, TypeError) as error:  # no such numbers there, or no memory left
        logger.debug("bfloat16 cannot be measured on %s: %s", device, error)
        return None


def _measure(device: str) -> float:
    spent = ratio = 0.0
    for n_rows, least in _STAGES if device == "cpu" else _GPU_STAGES:
        products = _products(device, n_rows)
        best = dict.fromkeys(products, math.inf)
        n_rounds = 0
        while n_rounds < _ROUNDS or (n_rounds < _MORE_ROUNDS and _NEAR[0] < ratio < _NEAR[1]):
            for name, run in products.items():
                seconds = _seconds(run, device)
                spent += seconds
                best[name] = min(best[name], seconds)
            ratio = _slower(best)
            n_rounds += 1
            if spent > _BUDGET_S:
                return ratio
        if ratio < least:
            break
    return ratio


def _slower(best: dict[tuple[str, torch.dtype], float]) -> float:
    import torch

    return min(
        best[way, torch.float32] / max(best[way, torch.bfloat16], 1e-9)
        for way in ("forward", "backward")
    )


def _products(
    device: str, n_rows: int
) -> dict[tuple[str, torch.dtype], Callable[[], torch.Tensor]]:
    """Return direction and format -> a product of one linear layer."""
    import torch

    products: dict[tuple[str, torch.dtype], Callable[[], torch.Tensor]] = {}
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(n_rows, _WIDTH, generator=generator)
    weights = torch.rand(_INNER, _WIDTH, generator=generator)
    gradients = torch.rand(n_rows, _INNER, generator=generator)
    for dtype in (torch.float32, torch.bfloat16):
        x, w, d = (t.to(device=device, dtype=dtype) for t in (inputs, weights, gradients))
        products["forward", dtype] = lambda x=x, w=w: torch.nn.functional.linear(x, w)  # type: ignore[misc]
        products["backward", dtype] = lambda d=d, w=w: d @ w  # type: ignore[misc]
    return products


def _seconds(run: Callable[[], torch.Tensor], device: str) -> float:
    """Time one product: processor time of this thread where the system counts it finely."""
    if device == "cpu":
        clock = time.thread_time if sys.platform == "linux" else time.perf_counter
        start = clock()
        run()
        return clock() - start
    import torch

    synchronize = torch.cuda.synchronize if device == "cuda" else torch.mps.synchronize
    synchronize()
    start = time.perf_counter()
    run()
    synchronize()
    return time.perf_counter() - start


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# -- what was measured before -----------------------------------------------------------


def _machine(device: str) -> dict[str, str]:
    """Return what the ratio depends on."""
    return {
        "device": device,
        "processor": _gpu(device) if device != "cpu" else _processor(),
        "machine": platform.machine(),
        "system": platform.system(),
        "torch": str(package_versions()["torch"]),
    } | {name: os.environ[name] for name in _ISA_VARIABLES if os.environ.get(name)}


def _gpu(device: str) -> str:
    if device != "cuda":
        return platform.mac_ver()[0]
    import torch

    return torch.cuda.get_device_name()


def _processor() -> str:
    """Return the processor's name, and a hash of what Linux lists as its abilities.

    The name is not enough: in a virtual machine many processors have the same.
    """
    wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part", "CPU variant")
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return platform.processor()
    pairs = [line.partition(":") for line in text.split("\n\n", 1)[0].splitlines()]
    known = {name.strip(): value.strip() for name, _, value in pairs}
    facts = {name: known[name] for name in wanted if name in known}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    return f"{known.get('model name', platform.processor())} {digest}".strip()


def _place(machine: dict[str, str]) -> Path | None:
    """Return the file for what a machine measured; None where there is no folder for it."""
    digest = hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:16]
    try:
        root = default_root().expanduser().absolute()
    except (CharkitError, OSError, RuntimeError):  # no platformdirs, no home, no working folder
        return None
    return root / FOLDER / f"bfloat16-{digest}.json"


def _read(path: Path, machine: dict[str, str]) -> float | None:
    """Return a kept ratio; None when there is none, or it is not to be trusted."""
    try:
        with open(path, "rb") as file:
            kept: Any = json.loads(file.read(10_000))
        ratio = kept["ratio"] if kept["format"] == _FORMAT and kept["machine"] == machine else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    plausible = type(ratio) is float and 1e-4 < ratio < 1e4
    return ratio if plausible else None


def _keep(path: Path, machine: dict[str, str], ratio: float) -> None:
    kept = {"format": _FORMAT, "machine": machine, "ratio": round(ratio, 3)}
    try:
        write_whole(path, json.dumps(kept, indent=1, sort_keys=True).encode())
    except (CharkitError, OSError, ValueError) as error:
        logger.debug("the measured speed of bfloat16 is not kept: %s", error)


DTYPE_VARIABLE = "CHARKIT_DTYPE"
"""Environment variable that names what ``auto`` takes, so that several machines that share a store
compute in one format."""

DeviceChoice = Literal["auto", "cpu", "cuda", "mps"]
"""``auto`` takes CUDA, then MPS, then the CPU."""

DtypeChoice = Literal["auto", "float32", "bfloat16", "float64"]
"""``auto`` takes bfloat16 where its products measure clearly faster, else float32."""

_NO_GPU = "cpu: found neither CUDA nor MPS"
_DEVICES = ("auto", "cpu", "cuda", "mps")
_DTYPES = ("auto", "float32", "bfloat16", "float64")


def choose_device(device: str) -> tuple[str, str]:
    """Return the device and one sentence that says why.

    Raises:
        UsageError: The name is unknown.
        MissingError: The device was asked for by name and this machine does not have it.
    """
    if device not in _DEVICES:
        raise UsageError(f"device is not known: expected one of {_DEVICES}, got {device!r}.")
    if device == "cpu":
        return "cpu", "cpu: asked for"
    if device == "auto" and not may_have_gpu():
        return "cpu", _NO_GPU
    import torch

    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device != "auto":
        if not has[device]:
            raise MissingError(
                f"device is not there: expected one of {[d for d in has if has[d]]}, got "
                f"{device!r} (PyTorch {torch.__version__}). Use --device auto, or install a "
                "build of PyTorch for that device."
            )
        return device, f"{device}: asked for"
    if has["cuda"]:
        return "cuda", f"cuda: found {torch.cuda.get_device_name()}"
    if has["mps"]:
        return "mps", "mps: found Apple's GPU, and no CUDA"
    return "cpu", _NO_GPU


def may_have_gpu() -> bool:
    """Return whether PyTorch must be asked for a GPU; importing it takes seconds.

    Not where it is not loaded yet and was built for none, nor on Linux without a driver of CUDA.
    """
    if "torch" in sys.modules or sys.platform == "darwin":
        return True
    found = find_spec("torch")
    if found is None or not found.submodule_search_locations:
        return True
    try:
        built = runpy.run_path(str(Path(found.submodule_search_locations[0]) / "version.py"))
    except (OSError, SyntaxError, NameError):
        return True
    cuda, hip = (built.get(name, "unknown") for name in ("cuda", "hip"))
    if cuda is None and hip is None:
        return False
    if hip is not None or sys.platform != "linux":
        return True
    try:
        ctypes.CDLL("libcuda.so.1")  # what CUDA loads by this name too
    except OSError:
        return False
    return True


def choose_dtype(dtype: str, device: str) -> tuple[str, str]:
    """Return the number format for a device and one sentence that says why.

    Raises:
        UsageError: The name is unknown, or the device has no such numbers.
    """
    if dtype not in _DTYPES:
        raise UsageError(f"dtype is not known: expected one of {_DTYPES}, got {dtype!r}.")
    if dtype == "float64" and device == "mps":
        raise UsageError(
            "dtype does not exist there: expected float32 or bfloat16 on mps, got 'float64'. "
            "Use --device cpu."
        )
    if dtype != "auto":
        return dtype, f"{dtype}: asked for"
    named = os.environ.get(DTYPE_VARIABLE, "").strip()
    if named and named != "auto":
        return _named_by_variable(named)
    ratio = bfloat16_ratio(device)
    if ratio is None:
        return "float32", f"float32: bfloat16 does not work on this {device}"
    if ratio < LEAST_RATIO:
        return "float32", (
            f"float32: bfloat16 products measured {ratio:.2g} times as fast on this {device}, "
            f"below {LEAST_RATIO}"
        )
    return "bfloat16", (
        f"bfloat16: its products measured {ratio:.2g} times as fast as float32 on this {device}"
    )


def _named_by_variable(named: str) -> tuple[str, str]:
    if named not in ("float32", "bfloat16"):
        raise UsageError(
            f"{DTYPE_VARIABLE} is not known: expected float32 or bfloat16, got {named!r}. Set it "
            "to one of them, or unset it."
        )
    return named, f"{named}: {DTYPE_VARIABLE} is set to it"


def torch_dtype(name: str) -> torch.dtype:
    """Return the PyTorch number format of that name."""
    import torch

    return cast("torch.dtype", getattr(torch, name))
