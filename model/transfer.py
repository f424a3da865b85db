"""Copies between the host and a device that run in parallel to computation.

A worker may have several tiles in progress, each in a thread: while one computes, others are read, copied and stored.
All threads compute on one stream, torch's default stream, so their tiles are computed one after the other and take the
memory of one. Copies have two streams of their own and use pinned memory, so they overlap with computation ("CUDA
semantics" in torch's documentation).

Only one thread at a time submits work to a device (it holds `ENQUEUING`), and it does not wait for the results. So a
CUDA graph is recorded undisturbed: an allocation by another thread, even of pinned memory, may end a recording. Devices
other than GPUs compute synchronously, while the lock is held.
"""

from collections.abc import Callable, Mapping
from functools import cache
from threading import RLock, local
from typing import Final

import torch
from torch import Tensor

ENQUEUING: Final = RLock()
"""Held by the thread that asks something of a device."""


class _Uploads(local):
    """Tensors that a thread uploaded, kept alive while the device may still use them.

    Their memory belongs to the stream of uploads, so torch would reuse it for the next upload. (`Tensor.record_stream`
    is meant for this, but after a failed recording torch may never free such memory, see pytorch#190308.)
    """

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []


_UPLOADS: Final = _Uploads()


def upload(values: Tensor, device: str | torch.device) -> Tensor:
    """Copy a tensor of the host to a device. Later work on the device waits for the copy; the caller does not."""
    device = torch.device(device)
    if device.type != "cuda":
        return values.to(device)
    with ENQUEUING:
        pinned = torch.empty_like(values, pin_memory=True)
    pinned.copy_(values)
    with ENQUEUING:
        up, computing = _up(device), torch.cuda.current_stream(device)
        with torch.cuda.stream(up):
            there = pinned.to(device, non_blocking=True)  # torch keeps the pinned memory until the copy is done
        computing.wait_stream(up)
        _UPLOADS.tensors.append(there)
    return there


def computed(work: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Run some work on a device, and return its results once they are on the host.

    Parameters
    ----------
    work : callable () -> mapping str -> Tensor
        All on one device. It must not wait for the device.
    """
    with ENQUEUING:
        there = work()
        device = next((value.device for value in there.values()), torch.device("cpu"))
        if device.type != "cuda":
            return {name: value.cpu() for name, value in there.items()}
        down = _down(device)
        down.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(down):
            here = {name: _pinned(value) for name, value in there.items()}
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # leaves the processor to others
        done.record(down)
    done.synchronize()
    _UPLOADS.tensors.clear()  # everything that this thread submitted is computed by now
    return here


def _pinned(value: Tensor) -> Tensor:
    """Begin to copy to the host."""
    return torch.empty_like(value, device="cpu", pin_memory=True).copy_(value, non_blocking=True)


@cache
def _up(device: torch.device) -> torch.cuda.Stream:
    """Stream of copies to a device."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@cache
def _down(device: torch.device) -> torch.cuda.Stream:
    """Stream of copies from a device."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
