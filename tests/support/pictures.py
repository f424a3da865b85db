"""Small photographs and style pictures, drawn from a seed, and the settings that paint them in a second."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from PIL import Image

from muralist.pipeline.levels import Level
from muralist.tiling.grid import Box, Span

# The command line as a process of its own.
MURALIST = [sys.executable, "-c", "from muralist.cli import main; main()"]

# The network's first layers are quick, and most tests do not care what is painted.
FEW_LAYERS = {"style_layers": {"relu1_1": 1, "relu2_1": 1}, "content_layers": {"relu2_1": 1}}

# The default's layers, but relu5_1/2, which needs 64 px a side and sees blocks of 32.
MANY_LAYERS = {
    "style_layers": {f"relu{n}_1": 1 for n in range(1, 6)} | {f"relu{n}_1/2": 1 for n in range(1, 5)},
    "content_layers": {"relu4_2": 1},
}

# Two levels, 64 px with one tile and 128 px with four; two rounds each, the last one shorter.
TINY = FEW_LAYERS | {
    "base_size": 64,
    "steps": [4, 3],
    "steps_per_round": 2,
    "tile": 96,
    "overlap": 32,
    "edge_margin": 16,
    "precision": "float32",
    "device": "cpu",
    "workers": 1,
    "threads": 1,
}


def photograph(height: int = 96, width: int = 128, seed: int = 0) -> np.ndarray:
    """A picture (height, width, 3), uint8: smooth colors behind a disc and a bar, nowhere symmetric."""
    random = np.random.default_rng(seed)
    pixels = _field(random, height, width, cells=4)
    rows, columns = np.mgrid[0:height, 0:width]
    disc = (rows - 0.4 * height) ** 2 + (columns - 0.6 * width) ** 2 < (0.2 * min(height, width)) ** 2
    bar = abs(rows - 0.8 * height + 0.2 * columns) < 0.06 * height
    for shape in (disc, bar):
        pixels[shape] = 0.3 * pixels[shape] + 0.7 * random.random(3)
    return np.round(pixels * 255).astype(np.uint8)


def photograph_rows(height: int, width: int, rows: Span) -> np.ndarray:
    """Some rows of the photograph at any size, float32 in [0, 1]."""
    resized = Image.fromarray(photograph()).resize((width, height), Image.Resampling.BOX)
    return np.asarray(resized, np.float32)[slice(*rows)] / 255


def painting(height: int = 80, width: int = 112, seed: int = 1) -> np.ndarray:
    """A style picture (height, width, 3), uint8: strokes of a few pixels that follow a smooth direction."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    angle = 3 * _field(random, height, width, cells=2)[:, :, 0]
    strokes = 0.5 + 0.5 * np.sin((rows * np.cos(angle) + columns * np.sin(angle)) * 1.1)
    palette = random.random((2, 3))
    pixels = strokes[:, :, None] * palette[0] + (1 - strokes[:, :, None]) * palette[1]
    return np.round((0.7 * pixels + 0.3 * _field(random, height, width, cells=5)) * 255).astype(np.uint8)


def deep(pixels: np.ndarray) -> np.ndarray:
    """The same picture in uint16, with low bytes that eight bits cannot hold."""
    return (pixels.astype(np.uint16) << 8) + np.arange(pixels.shape[1], dtype=np.uint16)[:, None]


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    """The same picture (height, width, 4), transparent to the left and opaque to the right."""
    ramp = np.linspace(0, 255, pixels.shape[1]).astype(pixels.dtype)
    return np.dstack([pixels, np.broadcast_to(ramp, pixels.shape[:2])])


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    """The path, after the picture has been saved there; options are Pillow's and hold for 8 bits only."""
    if pixels.dtype == np.uint8:
        Image.fromarray(pixels).save(path, **options)
    else:
        pyvips.Image.new_from_array(pixels, interpretation="rgb16").write_to_file(str(path))
    return path


def assignments(settings: dict[str, Any]) -> list[str]:
    """Settings as arguments of the command line."""
    text = {key: ",".join(map(str, value)) if isinstance(value, list) else value for key, value in settings.items()}
    return [word for key, value in text.items() for word in ("--set", f"{key}={value}")]


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: bytes by relative path, None for folders."""
    found = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in found}


def picture_box(level: Level) -> Box:
    """The picture as a box of its level's canvas."""
    start = level.edge_margin
    return Box(Span(start, start + level.height), Span(start, start + level.width))


def _field(random: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Smooth random colors (height, width, 3), float64 in [0, 1]."""
    coarse = (random.random((cells, cells + 1, 3)) * 255).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)) / 255
