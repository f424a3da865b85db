"""A network as a torch module: from a picture to the features of named layers."""

from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .architecture import (
    LUMINANCE,
    Architecture,
    Color,
    Convolution,
    LocalResponseNorm,
    Padding,
    Pool,
    Pooling,
    parse_layer,
)
from .ops import average_pool, convolve, l2_pool
from .ways import PADDED_CHANNELS, Ways

Features = dict[str, Tensor]

POOLS: dict[Pooling, Callable[[Tensor, int, int], Tensor]] = {
    "average": average_pool,
    "max": F.max_pool2d,
    "l2": l2_pool,
}
# Keeps features about as large as with max pooling (K. Crowson, style-transfer-pytorch).
RESCALE: dict[Pooling, float] = {"average": 2, "max": 1, "l2": 0.78}


class Network(nn.Module):
    """Frozen convolutions of an `Architecture`.

    Parameters
    ----------
    weights : mapping str -> Tensor
        `conv1_1.weight` (out, in / groups, height, width), `conv1_1.bias` (out,), ... for as many layers as are to be
        computed. The first convolution is given red, green and blue in this order.
    pooling : "average", "max" or "l2", optional
        As the network was trained, if not given. "l2" is the square root of the sum of squares in a window.
    padding : "reflect", "replicate" or "zeros", optional
        As the network was trained, if not given. Zeros are put in after the mean has been subtracted: the mean color.
    pool_rescale : bool
        Multiply what average pooling gives by 2, and L2 pooling by 0.78, so that features stay about as large as with
        max pooling (K. Crowson, style-transfer-pytorch).
    mean, std : tuple of float, optional
        What to subtract from and divide RGB in [0, 1] by; the architecture's if not given.
    metric : mapping layer -> ndarray (rows, C + 1), optional
        Heads in which style is measured, see `losses/style.py`; a layer without heads is measured as it is.
    """

    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, Tensor],
        pooling: Pooling | None = None,
        padding: Padding | None = None,
        *,
        pool_rescale: bool = False,
        mean: Color | None = None,
        std: Color | None = None,
        metric: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.pooling: Pooling = pooling or architecture.pooling
        self.padding: Padding = padding or architecture.padding
        self.pool_scale = RESCALE[self.pooling] if pool_rescale else 1
        self.mean, self.std = mean or architecture.mean, std or architecture.std
        self.metric: Mapping[str, np.ndarray] = metric or {}
        self.ways = Ways()
        self._constants: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}
        for name, value in weights.items():
            self.register_buffer(name.replace(".", "_"), value.detach().clone())

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the convolutions."""
        return next(self.buffers()).dtype

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.buffers()).device

    def prepared(self, device: str | torch.device, dtype: torch.dtype, ways: Ways | None = None) -> "Network":
        """Move to a device and number type, weights laid out channels last (2 to 3 times faster on CPU in bfloat16).

        Parameters
        ----------
        ways : Ways, optional
            How to compute; the plain ways if not given.
        """
        self.ways = ways or Ways()
        first = f"conv{next(iter(self.architecture.convolutions))}_weight"
        if self.ways.first_layer == "padded":
            weight = self.get_buffer(first)
            self.register_buffer(first, F.pad(weight, (0, 0) * 2 + (0, PADDED_CHANNELS - weight.shape[1])))
        return self.to(device, dtype).to(memory_format=torch.channels_last)

    def forward(self, picture: Tensor, layers: Collection[str]) -> Features:
        """Compute the features of `layers`.

        Parameters
        ----------
        picture : Tensor (1, 3, H, W), float, in [0, 1]

        Returns
        -------
        dict str -> Tensor (1, C, H // stride, W // stride), in the network's number type
            For `relu3_1/2` and the like the picture is shrunk to the mean of its blocks first. `luminance` is the
            picture's own, Y' of Rec. 601, in the picture's number type.
        """
        features: Features = {}
        mean, std = self._normalization(picture)
        by_factor: dict[int, dict[str, str]] = {}
        for layer in layers:
            name, factor = parse_layer(layer)
            by_factor.setdefault(factor, {})[name] = layer
        for factor, wanted in by_factor.items():
            shrunk = picture if factor == 1 else average_pool(picture, factor, factor)
            if LUMINANCE in wanted:
                features[wanted.pop(LUMINANCE)] = luminance(shrunk)
            found = self._compute(((shrunk - mean) / std).to(self.dtype), wanted)
            features |= {wanted[name]: feature for name, feature in found.items()}
        return features

    def _compute(self, x: Tensor, wanted: Collection[str]) -> Features:
        """Compute layers of the picture as it is given, as far as the last of them."""
        features: Features = {}
        steps = self._walk(x, wanted)
        while len(features) < len(wanted):
            layer, feature = next(steps)
            if layer in wanted:
                features[layer] = feature
        return features

    def _normalization(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation in the picture's own number type: half precision would shift every color a little."""
        key = picture.dtype, picture.device
        if key not in self._constants:  # once, for it waits for the device
            mean, std = (picture.new_tensor(v).view(1, 3, 1, 1) for v in (self.mean, self.std))
            self._constants[key] = mean, std
        return self._constants[key]

    def _walk(self, x: Tensor, wanted: Collection[str]) -> Iterator[tuple[str, Tensor]]:
        """Compute layer after layer."""
        for step in self.architecture.steps:
            if isinstance(step, Convolution):
                x = self._convolve(x, step)
                yield f"conv{step.name}", x
                # In place, ReLU would change a feature that was given away.
                x = F.relu(x, inplace=f"conv{step.name}" not in wanted)
                yield f"relu{step.name}", x
            else:
                x = self._pool(x, step) if isinstance(step, Pool) else _normalized(x, step)

    def _convolve(self, x: Tensor, step: Convolution) -> Tensor:
        weight, bias = (self.get_buffer(f"conv{step.name}_{kind}") for kind in ("weight", "bias"))
        first = step is self.architecture.steps[0]
        if first and weight.shape[1] > x.shape[1]:
            x = F.pad(x, (0, 0) * 2 + (0, weight.shape[1] - x.shape[1]))
        return convolve(x, weight, bias, step, self.padding, masked=first and self.ways.first_layer == "masked")

    def _pool(self, x: Tensor, step: Pool) -> Tensor:
        """Pool; a window that reaches beyond the edge sees the last row or column again."""
        left, right = step.padding
        if right:
            x = F.pad(x, (left, right, left, right), mode="replicate")
        pooled = POOLS[self.pooling](x, step.kernel, step.stride)
        return pooled * self.pool_scale if self.pool_scale != 1 else pooled


def luminance(picture: Tensor) -> Tensor:
    """Luminance (1, 1, H, W) of a picture (1, 3, H, W): Y' of Rec. ITU-R BT.601, of values as they are coded."""
    red, green, blue = picture.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def _normalized(x: Tensor, step: LocalResponseNorm) -> Tensor:
    """Local response normalization, channel by channel: torch's own has no bfloat16 on a CPU."""
    side = step.size // 2
    squares = F.pad(x.square(), (0, 0, 0, 0, side, side))
    total = sum(squares[:, i : i + x.shape[1]] for i in range(step.size))
    return x / (1 + step.alpha / step.size * total) ** step.beta
