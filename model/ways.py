"""Alternative ways to compute the same: which is fastest depends on the device (tests/benchmarks/gpu_check.py).

Imports no torch, because the driver records what its workers chose.
"""

from dataclasses import dataclass
from typing import Final, Literal

FirstLayer = Literal["transposed", "masked", "padded"]
GramProduct = Literal["float32", "bfloat16"]

PADDED_CHANNELS: Final = 8  # what tensor cores take at a time in half precision


@dataclass(frozen=True)
class Ways:
    """How to compute.

    Attributes
    ----------
    first_layer : {"transposed", "masked", "padded"}
        How the gradient goes back through the first convolution, to three channels only: as a transposed convolution,
        as torch's own backward pass of a convolution, or with zeros for five more channels.
    gram : {"float32", "bfloat16"}
        Number type that weighted features are multiplied in, for features in bfloat16; added up in float32 either way.
    graphs : bool
        Whether rounds are recorded and replayed, see `graphs.py`.
    """

    first_layer: FirstLayer = "transposed"
    gram: GramProduct = "float32"
    graphs: bool = False


def usual_ways(device: str) -> Ways:
    """Return what suits a device, such as "cuda:1"."""
    return Ways(gram="bfloat16", graphs=True) if device.startswith("cuda") else Ways()
