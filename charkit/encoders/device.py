"""Which device and which number format, and why."""

from __future__ import annotations

from typing import Literal, cast

import torch

from charkit.errors import MissingError, UsageError

DeviceChoice = Literal["auto", "cpu", "cuda", "mps"]
"""``auto`` takes CUDA, then MPS, then the CPU."""

DtypeChoice = Literal["auto", "float32", "bfloat16", "float64"]
"""``auto`` takes bfloat16 where the hardware multiplies it fast, else float32."""

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
    has = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
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
    return "cpu", "cpu: found neither CUDA nor MPS"


def _cpu_has_amx() -> bool:
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    if probe is not None:
        return bool(probe())
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            return any("amx_bf16" in line for line in lines if line.startswith("flags"))
    except OSError:  # not Linux: no AMX that PyTorch would use
        return False


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
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        if major >= 8:
            return "bfloat16", f"bfloat16: compute capability {major}.{minor} has tensor cores"
        return "float32", f"float32: compute capability {major}.{minor} is below 8.0"
    if device == "cpu" and _cpu_has_amx():
        return "bfloat16", "bfloat16: the CPU has AMX"
    return "float32", f"float32: no fast bfloat16 on this {device}"


def torch_dtype(name: str) -> torch.dtype:
    """Return the PyTorch number format of that name."""
    return cast(torch.dtype, getattr(torch, name))
