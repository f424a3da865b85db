"""Measures how fast a process computes: optimizer steps, matrix products and memory copies.

It runs in separate processes (see `workers/bench_workers.py`), because it loads torch and needs a worker's environment.
Whole runs are timed. The first run, which allocates memory and chooses algorithms, is discarded.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..model.architecture import Architecture, architecture
from ..model.graphs import Graphs
from ..model.network import Network
from ..model.optimizers import StepSchedule
from ..model.state import PIXELS
from ..model.statistics import Window
from ..model.tile_optimizer import TileOptimizer, to_tensor
from ..model.ways import Ways, usual_ways
from .context import TunedWeights, state_layout
from .loss_terms import TARGET_TERMS, measured_layers, objective
from .settings import Settings
from .speeds import EVALUATION_STEPS
from .tasks import DTYPES, graphs
from .workers.devices import best_precision, choose_algorithms, device_name, memory_errors, resolve_device

STEPS = {
    "adam": 2,
    "lbfgs": 8,
}  # of a run, after which losses are evaluated; L-BFGS remembers more each step
RUNS = 3  # that count, at most
RUN_OPERATIONS = 1e12  # of all runs together, if that leaves one; about a minute on two cores
MATRICES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}  # sides; large enough to be computed as fast as can be
BLOCK_BYTES = 1 << 28  # what is copied: many times what caches hold


@dataclass(frozen=True)
class Calibration:
    """Measures a device, beside other processes that do the same.

    Attributes
    ----------
    device : str
        As in the settings.
    meet : callable
        Waits until all processes have called it; before every run, so that they share what they would share.
    """

    device: str
    meet: Callable[[], object]

    @cached_property
    def _device(self) -> str:
        return resolve_device(self.device)

    def facts(self) -> dict[str, str]:
        """Say what is measured: "device" and its "name", and the "precision" that suits it.

        Raises `DeviceError` if the device is not there.
        """
        device = self._device
        return {"device": device, "name": device_name(device), "precision": best_precision(device)}

    def pixel_step_seconds(self, settings: Settings, precision: str, side: int) -> float:
        """Measure what a step costs per pixel, on a tile of noise with weights drawn at random: neither matters.

        Parameters
        ----------
        settings : Settings
            Of a painting. No weight file is needed.
        precision : str
            A key of `DTYPES`.
        side : int
            Of the tile, px.

        Raises
        ------
        DeviceError
        DeviceMemoryError
            If the tile does not fit into the memory of the device.
        """
        choose_algorithms(settings.fast)
        pixel_steps = (STEPS[settings.optimizer] + EVALUATION_STEPS) * side**2
        operations = pixel_steps * architecture(settings.network).operations(settings.layers)
        # A GPU is fast, and records the second run, which takes longer than any after it.
        runs = RUNS if self._device.startswith("cuda") else min(RUNS, max(1, int(RUN_OPERATIONS / operations)))
        with memory_errors(f"a tile of {side} x {side} px", self._device):
            return self._fastest(round_of_noise(settings, self._device, precision, side), runs) / pixel_steps

    def matmul_rate(self, precision: str) -> float:
        """Measure how many floating-point operations a second products of square matrices make, at best.

        (On CUDA, convolutions of float32 are computed in TF32 unless torch is told otherwise, products are not.)
        """
        sides = MATRICES["cuda" if self._device.startswith("cuda") else "cpu"]
        return max(2 * side**3 / self._fastest(_product(side, self._device, precision), RUNS) for side in sides)

    def copy_rate(self) -> float:
        """Measure how many bytes of memory a second a copy reads and writes, at best."""
        source = torch.ones(BLOCK_BYTES // 4, device=self._device)
        target = torch.empty_like(source)
        return 2 * BLOCK_BYTES / self._fastest(lambda: target.copy_(source), RUNS)

    def _fastest(self, run: Callable[[], object], runs: int) -> float:
        """Seconds of the fastest of some runs, after one that does not count."""
        return min([self._seconds(run) for _ in range(runs + 1)][1:])

    def _seconds(self, run: Callable[[], object]) -> float:
        self.meet()
        began = time.perf_counter()
        run()
        if self._device != "cpu":
            torch.accelerator.synchronize(self._device)
        return time.perf_counter() - began


def _product(side: int, device: str, precision: str) -> Callable[[], Tensor]:
    a, b = (torch.randn(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    return lambda: a @ b


def round_of_noise(settings: Settings, device: str, precision: str, side: int) -> Callable[[], object]:
    """Make ready to paint a tile of noise that is a picture of its own, again and again from the start."""
    tile_optimizer, arguments = tile_of_noise(settings, device, precision, side)
    return lambda: tile_optimizer.paint(*arguments)


def tile_of_noise(
    settings: Settings, device: str, precision: str, side: int, ways: Ways | None = None
) -> tuple[TileOptimizer, tuple[Any, ...]]:
    """Make a tile of noise that is a picture of its own.

    Parameters
    ----------
    settings, device, precision, side
        As of `Calibration.pixel_step_seconds`.
    ways : Ways, optional
        How to compute, instead of as usual on the device.

    Returns
    -------
    tile_optimizer : TileOptimizer
    arguments : tuple
        Of `TileOptimizer.paint` and `TileOptimizer.round_of`.
    """
    window = Window.of(np.ones(side, np.float32), np.ones(side, np.float32), device)
    tile_optimizer = _tile_optimizer(settings, device, precision, side, ways or usual_ways(device))
    state = _noise(settings, side)
    picture = to_tensor(state[PIXELS], device)
    content = tile_optimizer.content_features(picture)
    whole = tile_optimizer.measure(picture, content, window)
    steps = StepSchedule(
        STEPS[settings.optimizer],
        first=0,
        first_of_level=0,
        learning_rate=0.01,
        ema_decay=settings.ema_decay,
        optimizer=settings.optimizer,
        history=settings.lbfgs_history,
        resolutions=settings.lbfgs_resolutions[-1],
    )
    return tile_optimizer, (state, content, window, whole, steps)


def _noise(settings: Settings, side: int) -> np.ndarray:
    """State of a tile that nobody has painted yet."""
    return state_layout(settings).start(np.random.default_rng(0).random((side, side, 3), np.float32))


def _tile_optimizer(settings: Settings, device: str, precision: str, side: int, ways: Ways) -> TileOptimizer:
    network = random_network(settings).prepared(device, DTYPES[precision], ways)
    targets: dict[str, np.ndarray] = {}
    for name, layers in measured_layers(settings).items():
        for layer in layers:
            features = torch.rand(1, network.architecture.channels(layer), 16, 16)
            sums = TARGET_TERMS[name].measure(features, Window.full(features))
            targets |= {f"{name} {kind} {layer}": value.double().numpy() / 256 for kind, value in sums.items()}
    goal = objective(settings, targets, side, side, TunedWeights(1.0, 1.0))
    return TileOptimizer(network, goal, graphs(device) if ways.graphs else Graphs())


def random_network(settings: Settings) -> Network:
    """Make a network as settings want it, with weights drawn at random, the same ones every time.

    They keep features about as large from layer to layer (He et al. 2015, equation 10).
    """
    network = Network(
        architecture(settings.network),
        _weights(architecture(settings.network)),
        pooling=None if settings.pooling == "network" else settings.pooling,
        padding=None if settings.padding == "network" else settings.padding,
        pool_rescale=settings.pool_rescale,
    )
    return network.requires_grad_(False).eval()


def _weights(arch: Architecture) -> dict[str, Tensor]:
    random, weights = torch.Generator().manual_seed(0), {}
    for name, step in arch.convolutions.items():
        scale = sqrt(2 / prod(step.shape[1:]))
        weights[f"conv{name}.weight"] = scale * torch.randn(step.shape, generator=random)
        weights[f"conv{name}.bias"] = torch.zeros(step.fan_out)
    return weights
