"""The networks muralist knows, as plain facts: one row each. Imports no torch, so that planning stays instant.

A network is blocks of 3 × 3 convolutions with ReLU, and 2 × 2 pooling between the blocks (Simonyan and Zisserman 2015).
Layer `relu3_2` is what the second ReLU of the third block gives.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from muralist.model.errors import UnknownLayerError, UnknownNetworkError

Padding = Literal["reflect", "zeros"]
Pooling = Literal["average", "max"]


@dataclass(frozen=True)
class Architecture:
    """One network.

    Parameters
    ----------
    name : str
    blocks : tuple of tuple of int
        Channels of every convolution, block by block.
    padding, pooling
        As the network was trained.
    mean, std : tuple of float
        What the network's first step subtracts from and divides RGB in [0, 1] by.
    file : str
        Name of its weight file.
    sha256 : str
        Hash of that file, or its first hex digits.
    url : str, optional
        Where the file is published; None for the one that comes with muralist.
    licence, source : str
        Of the weights.
    """

    name: str
    blocks: tuple[tuple[int, ...], ...]
    padding: Padding
    pooling: Pooling
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    file: str
    sha256: str
    url: str | None
    licence: str
    source: str

    @property
    def convolutions(self) -> dict[str, tuple[int, int]]:
        """Map "1_1", "1_2", ... to (channels in, channels out), in order.

        >>> list(architecture("compact").convolutions.items())[:2]
        [('1_1', (3, 16)), ('1_2', (16, 16))]
        """
        names = [f"{b}_{i}" for b, block in enumerate(self.blocks, 1) for i in range(1, len(block) + 1)]
        widths = [3, *(width for block in self.blocks for width in block)]
        return dict(zip(names, itertools.pairwise(widths), strict=True))

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers, in order."""
        return tuple(f"relu{name}" for name in self.convolutions)

    def check_layers(self, layers: Iterable[str]) -> None:
        """Raise `UnknownLayerError` for the first layer that the network does not have."""
        for layer in layers:
            if layer not in self.layers:
                raise UnknownLayerError(layer, self.name, self.layers)

    def channels(self, layer: str) -> int:
        """Return how many channels a layer has."""
        return self.convolutions[layer.removeprefix("relu")][1]

    def stride(self, layer: str) -> int:
        """Return how many pixels lie between neighbouring positions of a layer.

        >>> architecture("vgg19").stride("relu5_1")
        16
        """
        return int(2 ** (int(layer.removeprefix("relu").split("_")[0]) - 1))

    def receptive_field(self, layer: str) -> int:
        """Return the side of the square of pixels that one position of a layer sees.

        >>> architecture("vgg19").receptive_field("relu5_1"), architecture("compact").receptive_field("relu5_1")
        (156, 132)
        """
        self.check_layers([layer])
        size, stride, block = 1, 1, "1"
        for name in self.convolutions:
            if name.split("_")[0] != block:
                size, stride, block = size + stride, stride * 2, name.split("_")[0]
            size += 2 * stride
            if f"relu{name}" == layer:
                break
        return size

    def deepest(self, layers: Iterable[str]) -> str:
        """Return which of the layers comes last."""
        return max(layers, key=self.layers.index)

    def halo(self, layers: Iterable[str]) -> int:
        """Return the context a tile needs on every side for an exact gradient, px: receptive field - 1, to the stride.

        >>> architecture("vgg19").halo(["relu1_1", "relu5_1"])
        160
        """
        deepest = self.deepest(layers)
        stride = self.stride(deepest)
        return -(-(self.receptive_field(deepest) - 1) // stride) * stride

    def minimum(self, layers: Iterable[str]) -> int:
        """Return the smallest side of a picture that the layers can be computed on, px."""
        return 2 * self.stride(self.deepest(layers))

    def operations(self, layers: Iterable[str]) -> float:
        """Count floating-point operations per pixel of one step: forward, and gradient to the picture only."""
        last = self.layers.index(self.deepest(layers))
        forward = sum(
            2 * 9 * fan_in * fan_out / self.stride(f"relu{name}") ** 2
            for name, (fan_in, fan_out) in list(self.convolutions.items())[: last + 1]
        )
        return 2 * forward


ARCHITECTURES = {
    row.name: row
    for row in (
        Architecture(
            name="compact",
            blocks=((16, 16), (32, 32), (64, 64, 64), (80, 80, 80), (104,)),
            padding="reflect",
            pooling="average",
            mean=(0.45, 0.45, 0.45),
            std=(0.25, 0.25, 0.25),
            file="compact.safetensors",
            sha256="400ecb4cc22b6d104604f294a686c5321de1e3dbe65bd073291ee5a29a123921",
            url=None,
            licence="MIT (distilled from VGG-19, CC BY 4.0; see compact.md beside the weights)",
            source="comes with muralist",
        ),
        Architecture(
            name="vgg19",
            blocks=((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512)),
            padding="zeros",
            pooling="max",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            file="vgg19-dcbb9e9d.pth",
            sha256="dcbb9e9d",
            url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
            licence="BSD-3-Clause (torchvision); trained on ImageNet",
            source="torchvision VGG19_Weights.IMAGENET1K_V1",
        ),
    )
}


def architecture(name: str) -> Architecture:
    """Look a network up by name.

    Raises
    ------
    UnknownNetworkError
        Naming the nearest match.
    """
    if name not in ARCHITECTURES:
        raise UnknownNetworkError(name, tuple(ARCHITECTURES))
    return ARCHITECTURES[name]
