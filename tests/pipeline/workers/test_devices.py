"""What a worker says of itself, which devices there are, and what is said when memory runs out."""

import os
import pickle
import subprocess
import sys
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from weakref import ref

import pytest
import torch

from muralist.pipeline.errors import DeviceError, DeviceMemoryError
from muralist.pipeline.storage.store import Store
from muralist.pipeline.workers import devices
from muralist.pipeline.workers.devices import (
    best_precision,
    choose_algorithms,
    memory_errors,
    near_processors,
    resolve_device,
    stay_near,
    use_threads,
    worker_facts,
)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_there_is_refused(monkeypatch, device):
    """Asking for a GPU on a machine without one names the device and the way out."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=rf"device {device} .*--device auto"):
        resolve_device(device)
    assert resolve_device("auto") == "cpu"
    assert resolve_device("cpu") == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == "mps"


def test_only_gpus_that_are_there_have_numbers(monkeypatch):
    """With one GPU, number 0 is accepted, number 1 refused, and "auto" takes it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert resolve_device("cuda:0") == "cuda:0"
    assert resolve_device("auto") == "cuda"
    with pytest.raises(DeviceError, match="cuda:1 "):
        resolve_device("cuda:1")


@pytest.mark.parametrize(
    ("built", "capability", "runs"),
    [
        ("sm_75 sm_80 sm_86 sm_90", (8, 9), True),
        ("sm_75 sm_80 sm_86 sm_90", (6, 1), False),
        ("sm_75 sm_80 sm_86 sm_90", (8, 0), True),
        ("sm_75 sm_86 sm_90a", (8, 0), False),
        ("sm_75 sm_86 sm_90a", (12, 0), False),
        ("sm_75 sm_90 compute_90", (12, 0), True),
        ("gfx90a gfx942", (9, 4), True),
        ("", (6, 1), True),
    ],
)
def test_a_gpu_that_torch_has_no_code_for_is_refused(monkeypatch, built, capability, runs):
    """The message names the GPU, what torch was built for, and the way out."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_arch_list", built.split)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old Loom")
    assert resolve_device("auto") == ("cuda" if runs else "cpu")
    if runs:
        assert resolve_device("cuda") == "cuda"
    else:
        with pytest.raises(DeviceError, match=r"Old Loom .*sm_75.*--device cpu"):
            resolve_device("cuda")


def test_a_worker_says_what_it_is_and_sees(tmp_path):
    """Facts are plain values: the device, the driver's file in the store, and the hash of its own weight file."""
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    Store(str(tmp_path)).write("token", b"0123")
    facts = worker_facts(Store(str(tmp_path)), "token", str(weights), "cpu")
    assert facts["token"] == "0123"
    assert facts["weights"] == sha256(b"weights").hexdigest()
    assert facts["device"] == "cpu"
    assert facts["device_name"]
    assert facts["threads"] == torch.get_num_threads()
    assert facts["precision"] in ("float32", "bfloat16")
    assert pickle.loads(pickle.dumps(facts)) == facts


def test_a_worker_says_what_it_lacks(tmp_path):
    """No store, no weight file and no such device are facts, too, with the reason."""
    missing = tmp_path / "missing"
    assert worker_facts(Store(str(missing)), "token", str(missing), "cuda:77") == {
        "token": None,
        "blind": "No such file or directory",
        "weights": None,
        "device": None,
        "lacks": resolve_error("cuda:77"),
    }


def resolve_error(device: str) -> str:
    """What is said of a device that is not there."""
    with pytest.raises(DeviceError) as caught:
        resolve_device(device)
    return str(caught.value)


def test_torch_gets_its_threads(monkeypatch):
    """As many as the worker was given; otherwise as many as it had before anybody asked for others."""
    given = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    monkeypatch.setattr(devices, "OWN_THREADS", 5)
    use_threads(3)
    use_threads(None)
    assert given == [3, 5]


@pytest.mark.parametrize("fast", [False, True])
def test_the_same_bytes_or_the_quickest_ways(monkeypatch, fast):
    """A GPU computes the same way every time, in full float32, or tries out what is quickest."""
    given = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode, warn_only: given.update(mode=mode))
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    for name in ("benchmark", "deterministic", "allow_tf32"):
        monkeypatch.setattr(torch.backends.cudnn, name, False)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    choose_algorithms(fast)
    cudnn = torch.backends.cudnn
    assert (cudnn.benchmark, cudnn.allow_tf32, cudnn.deterministic, given["mode"]) == (fast, fast, not fast, not fast)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.utils.deterministic.fill_uninitialized_memory


def test_a_cpu_is_left_as_it_is(monkeypatch):
    """Without a GPU there is nothing to choose."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", None)
    choose_algorithms(False)


def test_a_process_stays_near_its_gpu(monkeypatch, tmp_path):
    """All threads stay on those processors next to the GPU that the process may use; elsewhere nothing is changed."""
    there = SimpleNamespace(pci_domain_id=0, pci_bus_id=0x3B, pci_device_id=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: there)
    folder = tmp_path / "0000:3b:00.0"
    folder.mkdir()
    assert near_processors("cuda", tmp_path) == near_processors("cpu", tmp_path) == set()
    (folder / "local_cpulist").write_text("0-2,5,8-9\n")
    assert near_processors("cuda", tmp_path) == {0, 1, 2, 5, 8, 9}
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace())
    assert near_processors("cuda", tmp_path) == set()
    moved = {}
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 5, 7}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, wanted: moved.update({thread: wanted}), raising=False)
    monkeypatch.setattr(devices, "near_processors", lambda device: {0, 1, 5} if device == "cuda" else {3})
    stay_near("cpu")
    assert moved == {}
    stay_near("cuda")
    assert moved[os.getpid()] == {1, 5}
    assert set(map(tuple, moved.values())) == {(1, 5)}


def test_every_gpu_has_its_own_precision(monkeypatch):
    """Of two, the older one computes in float32, whichever is torch's current one."""
    current = [torch.device("cuda:0")]

    @contextmanager
    def use(device):
        current.append(torch.device(device))
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", use)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: current[-1].index == 0)
    assert [best_precision(f"cuda:{number}") for number in (0, 1)] == ["bfloat16", "float32"]


@pytest.mark.integration
def test_a_tile_that_does_not_fit_is_one_clean_error():
    """A process that may take little memory says what did not fit, where, and what to do; torch and Python alike."""
    script = """
import resource, torch
from muralist.pipeline.workers.devices import memory_errors
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
for make in (lambda: torch.zeros(1 << 30), lambda: bytearray(1 << 30)):
    try:
        with memory_errors("a tile of 512 x 256 px", "cpu"):
            make()
    except MemoryError as error:
        print(type(error).__name__, error, type(error.__cause__).__name__, sep="|")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    of_torch, of_python = (line.split("|") for line in done.stdout.splitlines())
    for name, message, _ in (of_torch, of_python):
        assert name == "DeviceMemoryError"
        assert message.startswith("out of memory on cpu of ")
        assert message.endswith("for a tile of 512 x 256 px; use a smaller --tile or fewer --workers")
    assert of_torch[2] == "RuntimeError"
    assert of_python[2] == "MemoryError"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.50 GiB, max allowed: 18.13 GiB)"),
        RuntimeError("Invalid buffer size: 19.07 GiB"),
    ],
)
def test_a_full_gpu_is_out_of_memory(error):
    """CUDA's error, those of its libraries and Metal's are errors of memory, and survive pickling."""
    with (
        pytest.raises(DeviceMemoryError, match=r"memory .*cuda:1 .*tile") as caught,
        memory_errors("a tile", "cuda:1"),
    ):
        raise error
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (DeviceMemoryError, str(caught.value))


def test_what_did_not_fit_is_let_go():
    """Its tensors are gone while the error is still there: a smaller tile may be painted at once."""
    kept = []

    def fill() -> None:
        tile = torch.ones(3)
        kept.append(ref(tile))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(DeviceMemoryError) as caught, memory_errors("a tile", "cuda"):
        fill()
    assert caught.value.__cause__ is not None
    assert kept[0]() is None


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes do not match"), OSError(28, "full"), DeviceMemoryError("as it was")]
)
def test_other_errors_stay_what_they_are(error):
    """Nothing else is taken for a lack of memory, and what is said already is not said again."""
    with pytest.raises(type(error)) as caught, memory_errors("a tile", "cpu"):
        raise error
    assert caught.value is error


def test_the_processor_has_a_name_where_the_system_does_not_say(monkeypatch):
    """Without /proc/cpuinfo there is still a name for the sidecar."""
    from muralist.pipeline.workers import devices

    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert devices.cpu_name()
