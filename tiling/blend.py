"""Blending of overlapping tiles into one canvas, by windows that sum to one."""

from collections.abc import Callable

import numpy as np

from .grid import Box, Tile, TileGrid


def blend(grid: TileGrid, box: Box, read: Callable[[Tile, Box], np.ndarray]) -> np.ndarray:
    """Read a box of the canvas as the weighted sum of the tiles that reach into it.

    Parameters
    ----------
    grid : TileGrid
        Where the tiles lie.
    box : Box
        What to read; inside the canvas.
    read : callable (tile, part) -> ndarray (..., h, w, channels)
        Gives the pixels of `part`, a box inside both `box` and the tile's extent.

    Returns
    -------
    ndarray, float32, (..., height, width, channels)
        Summed in tile order, so that the result does not depend on which tile was painted first. Where only one tile
        reaches, its pixels are returned unchanged.
    """
    out: np.ndarray | None = None
    for tile in grid.touching(box):
        part = tile.extent & box
        patch = read(tile, part)
        if out is None:
            out = np.zeros((*patch.shape[:-3], *box.shape, patch.shape[-1]), np.float32)
        rows, cols = (w[s] for w, s in zip(grid.window(tile), part.inside(tile.outer), strict=True))
        out[(..., *part.inside(box), slice(None))] += patch * (rows[:, None, None] * cols[:, None])
    assert out is not None, "every box inside a canvas is covered by its tiles"
    return out
