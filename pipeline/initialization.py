"""What the coarsest level starts from: the photograph, a color or another picture, with a share of noise.

    start = base + noise_ratio * noise + (1 - noise_ratio) * (init - base)

clipped to [0, 1]; base is the network's mean color. The published systems subtract that color before mixing.
"""

import os
from pathlib import Path

import numpy as np

from .errors import SettingsError
from .pictures.array_file import ArrayFile
from .pictures.images import Picture
from .pictures.reading import read_picture
from .pictures.vips import Pixels
from .setting_types import STARTS
from .settings import Settings
from .workers.machine import reading_limits

PHOTOGRAPH, BLANK = STARTS
BLOCK_ROWS = 256


def is_photograph(settings: Settings) -> bool:
    """Say whether painting starts from the photograph itself, so that no starting picture has to be stored."""
    return settings.init == PHOTOGRAPH and settings.noise_ratio == 0


def init_file(settings: Settings) -> Path | None:
    """Path of the picture to start from, if it is a file."""
    return None if settings.init in (PHOTOGRAPH, BLANK) else Path(settings.init)


def read_init(settings: Settings, folder: Path | None = None) -> Picture | None:
    """Read the picture to start from, if it is a file; `folder` as for `reading_limits`.

    Raises `PictureError` if it cannot be read, and `SettingsError` for what looks like a word and names no file.
    """
    path = init_file(settings)
    if path is None:
        return None
    if not path.suffix and not os.path.exists(path):
        raise SettingsError(
            f"init: got {settings.init!r}, wanted content, blank or a picture that is there; for noise alone, write "
            "--init blank --noise-ratio 1"
        )
    return read_picture(path, reading_limits(settings, folder))


def init_pixels(
    settings: Settings, photograph: Picture, init: Picture | None, base: tuple[float, float, float]
) -> Pixels | ArrayFile:
    """Choose what is to be resized to a level to start from, a single pixel if it is one color."""
    if settings.init == BLANK:
        return np.full((1, 1, 3), base, np.float32)
    return photograph.pixels if init is None else init.pixels


def stretch_notice(init: Picture, height: int, width: int) -> str:
    """Say that a picture to start from has another shape than the painting; "" if it has the same, within a pixel."""
    if abs(init.height * width / (init.width * height) - 1) * min(init.height, init.width, height, width) <= 1:
        return ""
    return (
        f"{init.path}: the starting picture has {init.width} x {init.height} px, another aspect ratio than the "
        f"painting of {width} x {height} px; it is stretched to fit"
    )


def start_canvas(init: np.ndarray, base: tuple[float, float, float], settings: Settings) -> np.ndarray:
    """Mix the canvas that painting starts from.

    Parameters
    ----------
    init : ndarray (H, W, 3), float32 in [0, 1]
        On the level's canvas, edge margin included.
    base : tuple of float
        The network's mean color, RGB in [0, 1].
    settings : Settings
        `noise`, `noise_ratio`, `noise_amplitude` and `seed`.

    Returns
    -------
    ndarray (H, W, 3), float32 in [0, 1]
    """
    random, start = np.random.default_rng(settings.seed), np.empty_like(init)
    color, ratio = np.array(base), settings.noise_ratio
    for row in range(0, len(init), BLOCK_ROWS):  # drawn in order, so the blocks make no difference but to memory
        block = init[row : row + BLOCK_ROWS]
        mixed = color + ratio * _noise(random, block.shape, settings) + (1 - ratio) * (block - color)
        start[row : row + BLOCK_ROWS] = mixed.clip(0, 1)
    return start


def _noise(random: np.random.Generator, shape: tuple[int, ...], settings: Settings) -> np.ndarray:
    if settings.noise == "uniform":
        return random.uniform(-settings.noise_amplitude, settings.noise_amplitude, shape)
    return random.normal(0, settings.noise_amplitude, shape)
