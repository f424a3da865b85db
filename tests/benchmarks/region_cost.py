"""Region cost: what a step costs with regions, against the same step without, in processor time of one thread.

Rounds of one tile are painted in turn, so that what else the machine does meets all of them alike; medians are told.
Soft masks lie over each other everywhere; hard ones share the tile. Wanted: k regions at most 1 + 0.15 k times one.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from machine import results_option, table, write_result

from muralist.model.architecture import architecture
from muralist.model.loading import load_network
from muralist.model.network import Network
from muralist.model.optimizers import StepSchedule
from muralist.model.regions import ONE_REGION, Guidance, guidance_of, region_key
from muralist.model.statistics import TileSums, Window
from muralist.model.tile_optimizer import TileOptimizer, to_tensor
from muralist.model.ways import usual_ways
from muralist.model.weight_files import find_weights
from muralist.pipeline.context import TunedWeights
from muralist.pipeline.loss_terms import objective
from muralist.pipeline.settings import Settings
from muralist.pipeline.tasks import DTYPES
from muralist.pipeline.workers.machine import cpu_name

KINDS = ("none", "hard 2", "hard 5", "soft 2", "soft 5")


def masks(kind: str, side: int) -> np.ndarray | None:
    """Masks (regions, side, side), float32, that add up to one; None for a picture without regions."""
    if kind == "none":
        return None
    edge, count = kind.split()
    rows, cols = np.mgrid[:side, :side].astype(np.float32) / side
    if edge == "hard":
        return (np.floor(cols * int(count)) == np.arange(int(count))[:, None, None]).astype(np.float32)
    found = np.stack([1.2 + np.sin(9 * rows * (n + 1) + n) * np.cos(9 * cols + 2 * n) for n in range(int(count))])
    return np.asarray(found / found.sum(0), np.float32)


def targets_of(network: Network, settings: Settings, regions: int) -> dict[str, np.ndarray]:
    """Statistics of noise, other ones for every region."""
    found = {}
    for region in range(regions):
        noise = np.random.default_rng(region).random((128, 128, 3), np.float32) ** (1 + region)
        for layer, f in network(to_tensor(noise), tuple(settings.active_style_layers)).items():
            matrix = f[0].flatten(1).double()
            found[f"style gram {region_key(layer, region)}"] = (matrix @ matrix.T / matrix.shape[1]).numpy()
            found[f"style mean {region_key(layer, region)}"] = matrix.mean(1).numpy()
    return found


class Round:
    """A round of a tile with regions of a kind."""

    def __init__(self, network: Network, settings: Settings, kind: str, side: int, steps: int) -> None:
        given = masks(kind, side)
        count = 1 if given is None else len(given)
        goal = objective(
            settings, targets_of(network, settings, count), side, side, TunedWeights(2.0), network.metric, count
        )
        self.steps = StepSchedule(steps, 0, 0, 1.0, ema_decay=0.0, optimizer="lbfgs")
        random = np.random.default_rng(9)
        pixels = random.random((side, side, 3), np.float32)
        self.tile_optimizer, self.state = TileOptimizer(network, goal), self.steps.layout.start(pixels)
        self.guidance = ONE_REGION if given is None else self.of(settings, given)
        ones = np.ones(side, np.float32)
        self.window = Window.of(ones, ones, guidance=self.guidance)
        self.content = self.tile_optimizer.content_features(to_tensor(random.random((side, side, 3), np.float32)))
        self.whole: TileSums = self.tile_optimizer.measure(to_tensor(pixels), self.content, self.window)

    @staticmethod
    def of(settings: Settings, given: np.ndarray) -> Guidance:
        """Guidance of masks."""
        row = architecture(settings.network)
        return guidance_of(torch.from_numpy(given), {n: row.stride(n) for n in settings.active_style_layers}, {})

    def seconds(self) -> float:
        """Paint it, and say how much processor time that took."""
        began = time.process_time()
        self.tile_optimizer.paint(self.state, self.content, self.window, self.whole, self.steps)
        return time.process_time() - began


def as_row(kind: str, times: Mapping[str, list[float]], steps: int) -> dict[str, Any]:
    """Lay a kind out for people; ratios are medians over pairs."""
    count = 0 if kind == "none" else int(kind.split()[1])
    ratios = [a / b for a, b in zip(times[kind], times["none"], strict=True)]
    return {
        "regions": kind,
        "s per step": float(np.median(times[kind])) / steps,
        "/ none": float(np.median(ratios)),
        "range": f"{min(ratios):.2f} to {max(ratios):.2f}",
        "wanted": f"at most {1 + 0.15 * count:g}" if count else "",
    }


@click.command()
@click.option("--side", default=384, show_default=True, help="Of the tile, px.")
@click.option("--steps", default=5, show_default=True, help="Of a round.")
@click.option("--repeats", default=7, show_default=True)
@click.option("--precision", type=click.Choice(sorted(DTYPES)), default="float32", show_default=True)
@results_option
def main(side: int, steps: int, repeats: int, precision: str, results: Path) -> None:
    """Measure what regions cost."""
    torch.set_num_threads(1)
    settings = Settings(device="cpu", content_weight=2)
    weights = find_weights(architecture(settings.network))
    network = load_network(settings.network, weights, settings.layers)
    network = network.prepared("cpu", DTYPES[precision], usual_ways("cpu"))
    rounds = {kind: Round(network, settings, kind, side, steps) for kind in KINDS}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for repeat in range(repeats + 1):
        for kind, each in rounds.items():
            found = each.seconds()
            if repeat:  # the first one fills caches
                times[kind].append(found)
    rows = [as_row(kind, times, steps) for kind in KINDS]
    ran = {
        "device": {"kind": "cpu", "name": cpu_name(), "precision": precision},
        "workers": {"count": 1, "threads": 1},
        "network": {"name": settings.network},
    }
    write_result(results, "region-cost", ran, {"rows": rows, "seconds": times}, table(rows))


if __name__ == "__main__":
    main()
