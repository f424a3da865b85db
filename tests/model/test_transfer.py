"""Copies to a device and back: what they bring, and on a GPU that nothing waits that need not."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import torch

from muralist.model.transfer import ENQUEUING, computed, upload

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
LONG = 2_000_000_000  # cycles of a GPU: a second or so


@pytest.mark.parametrize("device", DEVICES)
def test_copies_bring_the_same(device):
    """Whatever a tensor's number type, size and order in memory, it is the same there, and when it comes back."""
    picture = torch.rand(1, 3, 5, 7).contiguous(memory_format=torch.channels_last)
    given = {
        "picture": picture,
        "half": picture.bfloat16(),
        "finite": torch.tensor([True, False]),
        "one": picture[0, 0, 0, 0],
    }
    there = {name: upload(value, device) for name, value in given.items()}
    here = computed(lambda: there)
    for name, value in given.items():
        assert (there[name].device.type, here[name].device.type) == (device, "cpu")
        assert (here[name].dtype, here[name].stride()) == (value.dtype, value.stride())
        assert torch.equal(here[name], value)
    assert computed(dict) == {}


def test_one_thread_at_a_time_has_something_computed():
    """What others ask for waits, also where the work before it fails."""
    began, proceed, order = Event(), Event(), []

    def fail() -> dict[str, torch.Tensor]:
        began.set()
        proceed.wait(60)
        order.append("first")
        raise RuntimeError("lost")

    def succeed() -> dict[str, torch.Tensor]:
        order.append("second")
        return {"ones": torch.ones(2)}

    with ThreadPoolExecutor(2) as threads:
        failing = threads.submit(computed, fail)
        began.wait(60)
        succeeding = threads.submit(computed, succeed)
        assert not ENQUEUING.acquire(blocking=False)
        proceed.set()
        with pytest.raises(RuntimeError, match="lost"):
            failing.result()
        assert succeeding.result()["ones"].tolist() == [1, 1]
    assert order == ["first", "second"]
    assert ENQUEUING.acquire(blocking=False)
    ENQUEUING.release()


@pytest.mark.gpu
def test_an_upload_waits_for_nothing_that_is_computed():
    """While the GPU is at work a tensor is copied there, and what is computed afterwards finds it complete."""
    values, busy = torch.rand(1 << 22), torch.cuda.Event()
    before = [upload(values, "cuda") for _ in range(4)]  # which takes the memory that is used again below
    torch.cuda.synchronize()
    del before
    torch.cuda._sleep(LONG)
    busy.record()
    copied = [upload(values + number, "cuda") for number in range(4)]
    assert not busy.query()
    found = computed(lambda: {str(number): 2 * value for number, value in enumerate(copied)})
    assert busy.query()
    for number in range(4):
        assert torch.equal(found[str(number)], 2 * (values + number))


@pytest.mark.gpu
def test_a_result_does_not_wait_for_what_was_asked_for_later():
    """A thread has its result while the GPU is at work on another's."""
    values, later = torch.rand(1 << 22), torch.cuda.Event()
    there, asked = upload(values, "cuda"), Event()
    computed(lambda: {"warm": 2 * there})
    torch.cuda.synchronize()

    def slow() -> dict[str, torch.Tensor]:
        torch.cuda._sleep(LONG // 10)
        asked.set()
        return {"twice": 2 * there}

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(computed, slow)
        asked.wait(60)
        with ENQUEUING:
            torch.cuda._sleep(3 * LONG)
            later.record()
        found = waiting.result()["twice"]
        assert not later.query()
        assert torch.equal(found, 2 * values)


@pytest.mark.gpu
def test_memory_is_not_given_away_while_it_is_used():
    """What was uploaded and forgotten is computed with as it was, though many others are uploaded meanwhile."""
    torch.cuda.synchronize()
    totals = []
    for number in range(64):
        with ENQUEUING:
            torch.cuda._sleep(LONG // 200)
        values = upload(torch.full((1 << 20,), float(number)), "cuda")
        totals.append(values.double().sum())
        del values
    found = computed(lambda: dict(enumerate(totals)))
    assert [float(found[number]) for number in range(64)] == [float(number << 20) for number in range(64)]


SANITIZED = """
import torch
from muralist.pipeline.calibration import tile_of_noise
from muralist.pipeline.presets import load_settings
from muralist.model.ways import Ways
torch.autograd.set_multithreading_enabled(False)  # or the backward pass would not be watched
for optimizer in ("lbfgs", "adam"):
    settings = load_settings("default", {"optimizer": optimizer})
    tile_optimizer, arguments = tile_of_noise(settings, "cuda", "bfloat16", 64, Ways(gram="bfloat16"))
    for _ in range(2):
        tile_optimizer.paint(*arguments)
print("painted")
"""


@pytest.mark.gpu
def test_every_copy_is_waited_for_by_what_uses_it():
    """Torch's sanitizer, which watches all streams, finds no tensor that is used on two without waiting."""
    environment = os.environ | {"TORCH_CUDA_SANITIZER": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SANITIZED], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "painted\n"), done.stderr[-3000:]
