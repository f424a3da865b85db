"""The networks muralist knows, as a table of plain facts. Imports no torch, so that planning stays instant.

A network is a sequence of steps: convolutions, each followed by ReLU, pooling, and local response normalization.
Layer `conv3_2` is the output of the second convolution of the third block, `relu3_2` the same after ReLU. (Blocks of
VGG: Simonyan and Zisserman 2015. AlexNet, `conv1` to `relu5`: Krizhevsky et al. 2012.) `relu3_2/2` is layer `relu3_2`
of the picture at half its size, `relu3_2/4` at a quarter.

Every step turns n positions into n // stride, whatever its kernel: it pads (kernel - stride) // 2 on the left and on
top, and the rest of kernel - stride on the right and below. So a position of a layer stands for the same block of
pixels in every tile. (That is why AlexNet's features near the borders differ from Caffe's and torchvision's, which pad
less there, and lie a pixel or more from theirs.)
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

from .errors import UnknownLayerError, UnknownNetworkError

Padding = Literal["reflect", "replicate", "zeros"]
Pooling = Literal["average", "max", "l2"]
Color = tuple[float, float, float]

SHRINK_FACTORS = (2, 4, 8, 16)  # of the picture, in names of layers
LUMINANCE = "luminance"  # a layer of every picture, of one channel, and of no network
PASSES = 5  # over every activation in a step, see `Architecture.traffic`


class _Windowed:
    """A step that computes from windows of `kernel` positions a side, `stride` apart."""

    kernel: int
    stride: int

    @property
    def padding(self) -> tuple[int, int]:
        """Positions to add on the left (and on top) and on the right (and below)."""
        left = (self.kernel - self.stride) // 2
        return left, self.kernel - self.stride - left


@dataclass(frozen=True)
class Convolution(_Windowed):
    """A convolution and the ReLU behind it: from `fan_in` to `fan_out` channels, in groups that see their own only."""

    name: str
    fan_in: int
    fan_out: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the weights: out, in, height, width."""
        return self.fan_out, self.fan_in // self.groups, self.kernel, self.kernel


@dataclass(frozen=True)
class Pool(_Windowed):
    """Pooling over windows of `kernel` positions a side."""

    kernel: int = 2
    stride: int = 2


@dataclass(frozen=True)
class LocalResponseNorm:
    """Local response normalization among neighboring channels (Krizhevsky et al. 2012, section 3.3).

    A value is divided by (1 + alpha / size * sum)^beta; the sum is over the squares of the `size` channels around it.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    kernel: ClassVar[int] = 1
    stride: ClassVar[int] = 1


LayerSpec = Convolution | Pool | LocalResponseNorm


def parse_layer(layer: str) -> tuple[str, int]:
    """Split a layer's name into the network's own name for it, and the factor by which the picture is shrunk first.

    >>> parse_layer("relu3_1"), parse_layer("relu3_1/2")
    (('relu3_1', 1), ('relu3_1', 2))
    """
    name, _, factor = layer.partition("/")
    known = {str(number): number for number in SHRINK_FACTORS}
    return (name, known[factor]) if factor in known else (layer, 1)


def vgg(blocks: Sequence[Sequence[int]]) -> tuple[LayerSpec, ...]:
    """Lay out blocks of 3 × 3 convolutions with 2 × 2 pooling between the blocks.

    Parameters
    ----------
    blocks : sequence of sequences of int
        Channels of every convolution, block by block.

    >>> [step.name if isinstance(step, Convolution) else "pool" for step in vgg([(4, 4), (8,)])]
    ['1_1', '1_2', 'pool', '2_1']
    """
    steps: list[LayerSpec] = []
    fan_in = 3
    for b, block in enumerate(blocks, 1):
        steps += [Pool()] if steps else []
        for i, fan_out in enumerate(block, 1):
            steps.append(Convolution(f"{b}_{i}", fan_in, fan_out))
            fan_in = fan_out
    return tuple(steps)


@dataclass(frozen=True)
class Architecture:
    """One network.

    Parameters
    ----------
    padding, pooling
        As the network was trained.
    mean, std : tuple of float
        What the first step subtracts from and divides RGB in [0, 1] by, where a weight file says nothing else.
    source : str
        Where the network was published.
    """

    name: str
    steps: tuple[LayerSpec, ...]
    padding: Padding
    pooling: Pooling
    mean: Color
    std: Color
    source: str

    @property
    def convolutions(self) -> dict[str, Convolution]:
        """All convolutions by their names, in order.

        >>> [step.fan_out for step in architecture("compact").convolutions.values()][:3]
        [16, 24, 32]
        """
        return {step.name: step for step in self.steps if isinstance(step, Convolution)}

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers, in order.

        >>> architecture("vgg19").layers[:3]
        ('conv1_1', 'relu1_1', 'conv1_2')
        """
        return tuple(f"{kind}{name}" for name in self.convolutions for kind in ("conv", "relu"))

    def check_layers(self, layers: Iterable[str]) -> None:
        """Raise `UnknownLayerError` for the first layer that the network does not have."""
        for layer in layers:
            if parse_layer(layer)[0] not in self.layers:
                name = layer.partition("/")[0]  # if the network has this one, the factor is wrong
                shrunk = tuple(f"{name}/{factor}" for factor in SHRINK_FACTORS)
                raise UnknownLayerError(layer, self.name, shrunk if name in self.layers else self.layers)

    def channels(self, layer: str) -> int:
        """Return how many channels a layer has."""
        if parse_layer(layer)[0] == LUMINANCE:
            return 1
        return self.convolutions[parse_layer(layer)[0][4:]].fan_out

    def stride(self, layer: str) -> int:
        """Return how many pixels lie between neighboring positions of a layer.

        >>> architecture("vgg19").stride("relu5_1"), architecture("vgg19").stride("relu4_1/2")
        (16, 16)
        """
        name, factor = parse_layer(layer)
        if name == LUMINANCE:
            return factor
        step, stride = self._path_to(layer)[-1]
        return stride * step.stride

    def receptive_field(self, layer: str) -> int:
        """Return the side of the square of pixels that one position of a layer sees.

        >>> architecture("vgg19").receptive_field("relu5_1"), architecture("compact").receptive_field("relu5_1")
        (156, 156)
        """
        return 1 + sum((step.kernel - 1) * stride for step, stride in self._path_to(layer))

    def max_stride(self, layers: Iterable[str]) -> int:
        """Return the side of the blocks of pixels that tiles must be made of, so that none cuts through a position."""
        return max(map(self.stride, layers))

    def halo(self, layers: Iterable[str]) -> int:
        """Return the context a tile needs on every side for an exact gradient, px: receptive field - 1, to the stride.

        >>> architecture("vgg19").halo(["relu1_1", "relu5_1"])
        160
        """
        layers = tuple(layers)
        stride = self.max_stride(layers)
        return -(-(max(map(self.receptive_field, layers)) - 1) // stride) * stride

    def min_input(self, layers: Iterable[str]) -> int:
        """Return the smallest side of a picture that the layers can be computed on, px.

        Reflecting needs one position more than it adds.
        """
        paths = itertools.chain.from_iterable(map(self._path_to, layers))
        return max((step.padding[1] + 1) * stride for step, stride in paths if isinstance(step, Convolution))

    def operations(self, layers: Iterable[str]) -> float:
        """Count floating-point operations per pixel of one step: forward, and gradient to the picture only."""
        forward = sum(2 * prod(step.shape) / stride**2 for step, stride in self.convolutions_for(layers))
        return 2 * forward

    def activations(self, layers: Iterable[str]) -> float:
        """Count the values per pixel that the convolutions give, for some layers.

        >>> architecture("vgg19").activations(["relu2_1"]), architecture("vgg19").activations(["relu2_1", "relu2_1/2"])
        (160.0, 200.0)
        """
        return sum(step.fan_out / stride**2 for step, stride in self.convolutions_for(layers))

    def traffic(self, layers: Iterable[str], itemsize: int) -> float:
        """Count the bytes per pixel that one step moves between memory and processor: a lower bound for any method.

        Every activation is written and read once forwards and read once more for the mask of ReLU; its gradient is
        written and read once. Pooling, padding, losses and the optimizer come on top, and caches that hold a whole
        tile's layer would be needed to stay below.

        Parameters
        ----------
        itemsize : int
            Bytes of a value.
        """
        return PASSES * itemsize * self.activations(layers)

    def convolutions_for(self, layers: Iterable[str]) -> list[tuple[Convolution, int]]:
        """Give the convolutions to compute for some layers, each with the pixels between neighbors in its result."""
        needed = dict.fromkeys(itertools.chain.from_iterable(map(self._path_to, layers)))  # each once, in order
        return [(step, stride * step.stride) for step, stride in needed if isinstance(step, Convolution)]

    def _path_to(self, layer: str) -> list[tuple[LayerSpec, int]]:
        """The steps to a layer, each with the pixels between neighboring positions of what it is given."""
        self.check_layers([layer])
        name, factor = parse_layer(layer)
        path: list[tuple[LayerSpec, int]] = [(Pool(factor, factor), 1)] if factor > 1 else []
        stride = factor
        for step in self.steps:
            path.append((step, stride))
            stride *= step.stride
            if isinstance(step, Convolution) and step.name == name[4:]:
                break
        return path


def _alexnet(widths: Sequence[int], groups: int, normalized: bool) -> tuple[LayerSpec, ...]:
    one, two, three, four, five = widths
    norm = (LocalResponseNorm(),) if normalized else ()
    return (
        *(Convolution("1", 3, one, kernel=11, stride=4), *norm, Pool(3)),
        *(Convolution("2", one, two, kernel=5, groups=groups), *norm, Pool(3)),
        Convolution("3", two, three),
        Convolution("4", three, four, groups=groups),
        Convolution("5", four, five, groups=groups),
    )


# What Caffe's networks subtract from 0..255, and then nothing more.
CAFFE_MEAN: Color = (123.68 / 255, 116.779 / 255, 103.939 / 255)
BYTES: Color = (1 / 255, 1 / 255, 1 / 255)
IMAGENET_MEAN: Color = (0.485, 0.456, 0.406)
IMAGENET_STD: Color = (0.229, 0.224, 0.225)

ARCHITECTURES = {
    arch.name: arch
    for arch in (
        Architecture(
            name="compact",
            steps=vgg(((16, 24), (32, 48), (64,) * 4, (128,) * 4, (192,))),
            padding="reflect",
            pooling="l2",
            mean=(0.45, 0.45, 0.45),
            std=(0.25, 0.25, 0.25),
            source="comes with muralist",
        ),
        Architecture(
            name="vgg19",
            steps=vgg(((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)),
            padding="zeros",
            pooling="max",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            source="Simonyan and Zisserman 2015, configuration E",
        ),
        Architecture(
            name="vgg16",
            steps=vgg(((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)),
            padding="zeros",
            pooling="max",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            source="Simonyan and Zisserman 2015, configuration D",
        ),
        Architecture(
            name="alexnet",
            steps=_alexnet((96, 256, 384, 384, 256), groups=2, normalized=True),
            padding="zeros",
            pooling="max",
            mean=(123 / 255, 117 / 255, 104 / 255),
            std=BYTES,
            source="Krizhevsky et al. 2012, as trained by BVLC with Caffe",
        ),
        Architecture(
            name="alexnet-owt",
            steps=_alexnet((64, 192, 384, 256, 256), groups=1, normalized=False),
            padding="zeros",
            pooling="max",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            source='Krizhevsky 2014 ("one weird trick"), as trained by torchvision',
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
