"""Copies between the host and a device that no computing waits for.

A worker may have several tiles under way, each in a thread: while one computes, others are read, copied and filed. All
threads compute on one stream, torch's default stream, so their tiles come one after the other and take the memory of
one. Copies have two streams of their own and go from and to pinned memory, so they run beside it ("CUDA semantics" in
torch's documentation).

One thread at a time asks anything of a device (`ENQUEUING`), and rounds are asked for without waiting for what they
compute. So a CUDA graph is recorded undisturbed: an allocation by another thread, pinned memory included, may end a
recording. A device that is no GPU computes while it is asked.
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
    """What a thread uploaded and may still be computed with, though nobody else holds it any more.

    Its memory belongs to the stream of uploads, so torch would give it to the next one. (`Tensor.record_stream` is
    meant for this, but after a recording that failed torch may never give such memory back, see pytorch#190308.)
    """

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []


_UPLOADS: Final = _Uploads()


def upload(values: Tensor, device: str | torch.device) -> Tensor:
    """Copy a tensor of the host to a device. What is computed there afterwards waits for it, the caller does not."""
    device = torch.device(device)
    if device.type != "cuda":
        return values.to(device)
    with ENQUEUING:
        pinned = torch.empty_like(values, pin_memory=True)
    pinned.copy_(values)
    with ENQUEUING:
        up, computing = _up(device), torch.cuda.current_stream(device)
        with torch.cuda.stream(up):
            there = pinned.to(device, non_blocking=True)  # torch keeps the pinned memory until it is copied
        computing.wait_stream(up)
        _UPLOADS.tensors.append(there)
    return there


def computed(work: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Have something computed, and return it once it is on the host.

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
    _UPLOADS.tensors.clear()  # all that this thread had asked for is computed
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
