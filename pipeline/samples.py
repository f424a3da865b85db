"""Samples of our three dtypes, as NumPy arrays and as libvips images."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyvips

Pixels = npt.NDArray[Any]

# libvips caches files by name and would give the old pixels of a file that was overwritten.
pyvips.cache_set_max(0)

FULL_SCALE = {"uint8": 255, "uint16": 65535, "float32": 1}
VIPS_FORMAT = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}
VIPS_SCALE = {VIPS_FORMAT[dtype]: scale for dtype, scale in FULL_SCALE.items()}
INTERPRETATION = {8: "srgb", 16: "rgb16"}

_SYSTEM_ERROR = "system error: "


def full_scale(array: Pixels) -> int:
    """The value that stands for full intensity in an array of this dtype."""
    if array.dtype.name not in FULL_SCALE:
        raise ValueError(f"dtype is {array.dtype}, wanted one of {', '.join(FULL_SCALE)}")
    return FULL_SCALE[array.dtype.name]


def as_vips(array: Pixels) -> Any:
    """A libvips image over the array's memory: (height, width) or (height, width, bands)."""
    array = np.ascontiguousarray(array)
    height, width = array.shape[:2]
    bands = 1 if array.ndim == 2 else array.shape[2]
    return pyvips.Image.new_from_memory(array.data, width, height, bands, VIPS_FORMAT[array.dtype.name])


def at_depth(image: Any, depth: int) -> Any:
    """Samples of any of our dtypes as integers of 8 or 16 bits, rounded and clipped."""
    full_scale = 2**depth - 1
    if VIPS_SCALE[image.format] == full_scale:
        return image
    return (image * (full_scale / VIPS_SCALE[image.format])).rint().cast("uchar" if depth == 8 else "ushort")


def one_line(error: pyvips.Error) -> str:
    """One line out of libvips' several: the operating system's if there is one, else the first."""
    lines = [line.strip() for line in str(error.detail).splitlines() if line.strip()] or [str(error.message)]
    system = next((line for line in lines if line.startswith(_SYSTEM_ERROR)), None)
    return lines[0] if system is None else system.removeprefix(_SYSTEM_ERROR)
