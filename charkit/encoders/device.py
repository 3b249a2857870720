"""Which device and which number format, and why."""

from __future__ import annotations

import ctypes
import os
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from charkit.encoders.number_speed import LEAST_RATIO, bfloat16_ratio
from charkit.errors import MissingError, UsageError

if TYPE_CHECKING:
    import torch

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
