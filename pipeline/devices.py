"""What a worker is and computes on. Runs in workers, for it loads torch."""

import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from muralist.pipeline.errors import DeviceError


def worker_facts(folder: str, device: str) -> dict[str, object]:
    """Say what this worker is: host, versions, device, number type, threads, and whether it sees the run folder."""
    device = resolve_device(device)
    return {
        "host": platform.node(),
        "muralist": version("muralist"),
        "torch": str(torch.__version__),  # a TorchVersion would make the driver import torch
        "device": device,
        "device_name": torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_name(),
        "precision": best_precision(device),
        "threads": torch.get_num_threads(),
        "sees_folder": Path(folder).is_dir(),
    }


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def best_precision(device: str) -> str:
    """Return bfloat16 where the device computes in it (much faster, same picture), float32 elsewhere."""
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16") else "float32"


def resolve_device(device: str) -> str:
    """Turn "auto" into what this machine has, and refuse what it has not.

    Raises
    ------
    DeviceError
        If the device asked for is not there.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    there: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    kind, _, number = device.partition(":")
    if not there[kind]() or (number and int(number) >= torch.cuda.device_count()):
        raise DeviceError(f"device {device} is not there on {platform.node()}; use --device auto")
    return device
