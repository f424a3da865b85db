"""Quick ways: what each of them is worth, by taking it away.

A step of one tile is timed as it is, and with one quick way at a time replaced by the plain one, in turn, so that all
share the machine's moods. A ratio of 1.2 says that a step takes 1.2 times as long without it.
"""

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import torch
import torch.nn.functional as F
from machine import apart, results_option, table, write_result
from torch import Tensor

from muralist.model import network
from muralist.model import statistics as sums
from muralist.model.losses import means, style, variation
from muralist.pipeline.calibration import round_of_noise
from muralist.pipeline.settings import Settings
from muralist.pipeline.workers.local import ALLOCATOR
from muralist.pipeline.workers.machine import cpu_name

Patches = list[tuple[Any, str, Any]]


def plain_convolution(x: Tensor, weight: Tensor, bias: Tensor, step: Any, padding: Any, **_: Any) -> Tensor:
    """torch's own, which keeps its padded input."""
    left, right = step.padding
    if padding == "zeros":
        return F.conv2d(x, weight, bias, step.stride, left, groups=step.groups)
    return F.conv2d(F.pad(x, (left, right) * 2, mode=padding), weight, bias, step.stride, groups=step.groups)


def plain_style_sums(features: Tensor, window: Any, *_: Any) -> tuple[Tensor, Tensor]:
    """All positions at once."""
    matrix = sums.upcast(sums.positions(features))
    weighted = matrix * window.at(*features.shape[-2:])[:, None]
    return weighted.T @ matrix, weighted.sum(0)


def plain_style_gradients(self: Any, view: Any, statistics: Any, constants: Any) -> Any:
    """By einsum, which lays features out anew."""
    gradients = {}
    for layer, share in self.shares.items():
        factor = self.weight * share * self.size.pixels / self.size.layers[layer].positions
        grad, f = self._means_grad(layer, statistics), view.features[layer]
        matrix, shift = (factor * (grad["gram"] + grad["gram"].T)).to(f.dtype), (factor * grad["mean"]).to(f.dtype)
        gradients[layer] = torch.einsum("bchw,cd->bdhw", f, matrix) + shift[:, None, None]
    return gradients


def plain_variation(self: Any, picture: Tensor) -> Tensor:
    """Color taken out of every difference, by a mean over three."""
    gradient = torch.zeros_like(picture)
    for shift in self._form.shifts:
        first, second = variation._pairs(picture, shift)
        d = second - first
        grad = 2 * (d + self.chroma * (d - d.mean(1, keepdim=True))) * self._factor(shift)
        behind, ahead = variation._pairs(gradient, shift)
        behind -= grad
        ahead += grad
    return gradient


WAYS: dict[str, Patches] = {
    "as it is": [],
    "average pooling spread by copies": [(network, "POOLS", {**network.POOLS, "average": F.avg_pool2d})],
    "convolutions that keep no input": [(network, "convolve", plain_convolution)],
    "Gram sums in parts that fit the cache": [(means, "style_sums", plain_style_sums)],
    "style gradients as products": [(style.StyleTerm, "gradient", plain_style_gradients)],
    "TV with color in the pixels": [(variation.TotalVariationTerm, "_pixel_grad", plain_variation)],
}


@contextmanager
def without(way: str) -> Iterator[None]:
    """Take a quick way away."""
    patches = [patch.object(*where) for where in WAYS[way]]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def measure(run: Callable[[], object], repeats: int) -> dict[str, list[float]]:
    """Seconds of every way, in turn; the first turn does not count."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for repeat in range(repeats + 1):
        for way in WAYS:
            with without(way):
                began = time.perf_counter()
                run()
                if repeat:
                    seconds[way].append(time.perf_counter() - began)
    return seconds


def measure_here(network: str, precision: str, side: int, threads: int, repeats: int) -> dict[str, list[float]]:
    """Measure one network; to be called in a process of its own, which has the workers' environment."""
    torch.set_num_threads(threads)
    return measure(round_of_noise(Settings(network=network), "cpu", precision, side), repeats)


def as_row(way: str, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Lay one way out for people."""
    usual, without_it = seconds["as it is"], seconds[way]
    ratios = [b / a for a, b in zip(usual, without_it, strict=True)]
    return {
        "way": way,
        "times as long without": statistics.median(ratios),
        "range": f"{min(ratios):.3f} to {max(ratios):.3f}",
    }


@click.command()
@click.option(
    "--network", "networks", multiple=True, default=("compact", "vgg19"), show_default=True, help="Repeatable."
)
@click.option("--precision", "precisions", multiple=True, default=("bfloat16", "float32"), help="Repeatable.")
@click.option("--side", default=512, show_default=True, help="Of the tile, px.")
@click.option("--threads", default=1, show_default=True, help="Of the one process.")
@click.option("--repeats", default=7, show_default=True, help="Turns that count.")
@results_option
def main(networks: tuple[str, ...], precisions: tuple[str, ...], side: int, results: Path, **options: int) -> None:
    """Say what every quick way of a step on a CPU is worth."""
    os.environ |= ALLOCATOR
    found, texts = {}, []
    for name in networks:
        for precision in precisions:
            seconds = apart(measure_here, name, precision, side, **options)
            rows = [as_row(way, seconds) for way in WAYS if way != "as it is"]
            found[f"{name} {precision}"] = {"seconds": seconds, "rows": rows}
            texts.append(f"{name}, {precision}, a tile of {side} px\n\n{table(rows)}")
            click.echo(texts[-1])
    ran = {
        "device": {"kind": "cpu", "name": cpu_name(), "precision": " and ".join(precisions)},
        "workers": {"count": 1, "threads": options["threads"]},
        "network": {"name": " and ".join(networks)},
    }
    write_result(results, "quick-ways", ran, found, "\n\n".join(texts))


if __name__ == "__main__":
    main()
