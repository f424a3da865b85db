"""A worker's device and its facts. Runs in workers, because it loads torch."""

import os
import platform
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from ..errors import DeviceError, DeviceMemoryError
from ..hashes import file_hash
from ..storage.store import Store
from .machine import CUBLAS, SAME_PRODUCTS, cpu_name

PCI_DEVICES = Path("/sys/bus/pci/devices")
OWN_THREADS = torch.get_num_threads()  # of this process, before anybody asked for others
NO_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "CUDA error: out of memory",
    "_STATUS_ALLOC_FAILED",
    "_ALLOCATION_FAILED",  # cuDNN 9, on host and device
    "was unable to find an engine to execute",  # cuDNN, where no algorithm's workspace could be had
    "MPS backend out of memory",
    "Invalid buffer size",  # larger than Metal allows
)


def worker_facts(store: Store, token: str, weights: str, device: str) -> dict[str, str | int | None]:
    """Say what this worker is and sees, as plain values.

    Parameters
    ----------
    token : str
        Name of a small file there.
    weights : str
        Path of the weight file.
    device : str
        As in the settings.

    Returns
    -------
    dict
        "token": what the file holds, or None and "blind", why it cannot be read; "weights": SHA-256, None if there
        is no such file; "device", "device_name", "precision" and "threads", or "device" None and "lacks", the reason.
    """
    seen = _token(store, token) | {"weights": _sha256(Path(weights))}
    try:
        device = resolve_device(device)
    except DeviceError as error:
        return seen | {"device": None, "lacks": str(error)}
    return seen | {
        "device": device,
        "device_name": device_name(device),
        "precision": best_precision(device),
        "threads": torch.get_num_threads(),
    }


def _token(store: Store, name: str) -> dict[str, str | int | None]:
    try:
        return {"token": store.read(name).decode()}
    except OSError as error:
        return {"token": None, "blind": error.strerror or str(error)}


def _sha256(path: Path) -> str | None:
    try:
        return file_hash(path)
    except OSError:
        return None


def use_threads(count: int | None) -> None:
    """Let torch use so many threads in this process; None: as many as when it started, one in a worker of dask's."""
    torch.set_num_threads(count or OWN_THREADS)


def choose_algorithms(fast: bool) -> None:
    """Let CUDA's libraries use the fastest algorithms they find, or only deterministic ones.

    Float32 is computed in full precision in the deterministic case, and in TF32 in the fast one.
    """
    if not torch.cuda.is_available():
        return
    os.environ.setdefault(CUBLAS, SAME_PRODUCTS)
    torch.backends.cudnn.benchmark = torch.backends.cudnn.allow_tf32 = fast
    torch.backends.cudnn.deterministic = not fast
    torch.use_deterministic_algorithms(not fast, warn_only=True)  # a published network may need what has no other way
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def near_processors(device: str, devices: Path = PCI_DEVICES) -> set[int]:
    """Return the processors next to a GPU; none if they are not known, or the device is no GPU."""
    if not device.startswith("cuda"):
        return set()
    try:
        there: Any = torch.cuda.get_device_properties(device)
        name = f"{there.pci_domain_id:04x}:{there.pci_bus_id:02x}:{there.pci_device_id:02x}.0"
        return _processors((devices / name / "local_cpulist").read_text())
    except (RuntimeError, AttributeError, OSError):  # no torch but a new one, and no system but Linux, has to say it
        return set()


def _processors(text: str) -> set[int]:
    """Read a list as Linux writes it, such as 0-3,8."""
    spans = (part.partition("-") for part in text.strip().split(",") if part)
    return {number for first, _, last in spans for number in range(int(first), int(last or first) + 1)}


def stay_near(device: str) -> None:
    """Keep all threads of this process on the processors next to its GPU, if it may use any of them."""
    wanted = near_processors(device) & os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    for thread in Path("/proc/self/task").iterdir() if wanted else ():
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread.name), wanted)


def give_memory_back(device: str) -> None:
    """Give the memory of a GPU back that torch keeps for later. Nothing must be recorded meanwhile."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


@contextmanager
def memory_errors(what: str, device: str) -> Iterator[None]:
    """Say what did not fit, where and what to do, however torch or Python put it.

    What the error's frames hold is let go: nobody has a use for it, and smaller tiles need its memory.

    Parameters
    ----------
    what : str
        Such as "a tile of 1024 x 1024 px".

    Raises
    ------
    DeviceMemoryError
        Instead of torch's and Python's own errors; nothing else is touched.
    """
    try:
        yield
    except DeviceMemoryError:
        raise
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        raise DeviceMemoryError(
            f"out of memory on {device} of {platform.node()} for {what}; use a smaller --tile or fewer --workers"
        ) from error


def _is_out_of_memory(error: Exception) -> bool:
    """Torch raises a plain RuntimeError on CPUs, Apple's GPUs, and for what CUDA's libraries or pinned memory lack."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in str(error) for sign in NO_MEMORY)


def device_name(device: str) -> str:
    """Return the name of the processor or GPU behind a device that is there."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_name()


def best_precision(device: str) -> str:
    """Return bfloat16 where the device computes in it (much faster, same picture), float32 elsewhere."""
    if device.startswith("cuda"):
        with torch.cuda.device(device):  # torch asks the current one
            return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16") else "float32"


def resolve_device(device: str) -> str:
    """Turn "auto" into the best that can be used (CUDA, then Apple's GPU, then the CPU), and refuse what cannot.

    Raises `DeviceError` if the device asked for is not there, or is a GPU that this build of torch has no code for.
    """
    there: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if device == "auto":
        return next(name for name, is_there in there.items() if is_there() and not _lack_of_code(name))
    kind, _, number = device.partition(":")
    if not there[kind]() or (number and int(number) >= torch.cuda.device_count()):
        raise DeviceError(f"there is no device {device} on {platform.node()}; use --device auto")
    if lack := _lack_of_code(device):
        raise DeviceError(lack)
    return device


def _lack_of_code(device: str) -> str:
    """Say that this build of torch has no code for a GPU, which is there, but can compute nothing; "" if it has."""
    if not device.startswith("cuda"):
        return ""
    built = [arch for arch in torch.cuda.get_arch_list() if arch.startswith(("sm_", "compute_"))]  # ROCm's are others
    major, minor = torch.cuda.get_device_capability(device)
    if not built or any(_has_code(arch, major, minor) for arch in built):
        return ""
    return (
        f"{device_name(device)} on {platform.node()} has compute capability {major}.{minor}, for which torch "
        f"{torch.__version__} was not built ({', '.join(built)}); install another build of torch, or use --device cpu"
    )


def _has_code(arch: str, major: int, minor: int) -> bool:
    """Say whether what was built for an architecture, such as sm_86, runs on GPUs of a compute capability."""
    kind, _, number = arch.partition("_")
    of_major, of_minor = divmod(int(number.rstrip("af")), 10)
    return (of_major, of_minor) <= (major, minor) and (kind == "compute" or of_major == major)
