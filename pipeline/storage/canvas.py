"""A canvas in a run folder: one file per tile, stored in strips, so that neighbors need not read whole tiles."""

from dataclasses import dataclass
from math import prod

import numpy as np

from ...tiling.blend import blend
from ...tiling.grid import Box, Span, Tile, TileGrid
from .store import Store

PIXEL_BYTES = 3 * 4  # a pixel of one plane: three float32


@dataclass(frozen=True)
class Canvas:
    """The canvas of a level after some rounds.

    Attributes
    ----------
    folder : str
        Where in the store its files lie.
    planes : int
        Planes of the state.
    painting : int
        The plane that is the painting.
    """

    store: Store
    folder: str
    grid: TileGrid
    planes: int
    painting: int = 0

    def name(self, tile: Tile) -> str:
        """Name of a tile's file: the strips of its extent, each (planes, h, w, 3), little-endian float32, no header."""
        return f"{self.folder}/{tile.index:06}.state"

    def write(self, tile: Tile, state: np.ndarray) -> None:
        """File a tile's state (planes, h, w, 3), float32, given on its extent."""
        parts = (state[(slice(None), *strip.inside(tile.extent))] for strip in self.grid.strips(tile))
        self.store.write(self.name(tile), *(np.ascontiguousarray(part, "<f4") for part in parts))

    def read(self, box: Box, planes: slice = slice(None)) -> np.ndarray:
        """Read some planes of any box of the blended canvas: (planes, h, w, 3), float32."""
        wanted = range(self.planes)[planes]
        return blend(self.grid, box, lambda tile, part: self._read_part(tile, part, wanted))

    def read_painting(self, box: Box) -> np.ndarray:
        """Read the painting in any box: (h, w, 3), float32."""
        pixels: np.ndarray = self.read(box, slice(self.painting, self.painting + 1))[0]
        return pixels

    def _read_part(self, tile: Tile, part: Box, planes: range) -> np.ndarray:
        """Read a part of one tile's extent: of every strip that it meets, whole rows."""
        meets, spans, offset = [], [], 0
        for strip in self.grid.strips(tile):
            meet = strip & part
            if min(meet.shape) > 0:
                meets.append((strip, meet))
                spans += [_span(offset, strip, meet.rows, plane) for plane in planes]
            offset += self.planes * prod(strip.shape) * PIXEL_BYTES
        chunks = iter(self.store.ranges(self.name(tile), spans))
        out = np.empty((len(planes), *part.shape, 3), np.float32)
        for strip, meet in meets:
            for target in out[(slice(None), *meet.inside(part))]:
                rows = np.frombuffer(next(chunks), "<f4").reshape(meet.rows.length, strip.cols.length, 3)
                target[:] = rows[:, meet.cols.inside(strip.cols)]
        return out


def _span(offset: int, strip: Box, rows: Span, plane: int) -> tuple[int, int]:
    """Bytes of some rows of one plane of a strip that begins at `offset`."""
    row_bytes = strip.cols.length * PIXEL_BYTES
    first = offset + (plane * strip.rows.length + rows.start - strip.rows.start) * row_bytes
    return first, first + rows.length * row_bytes
