"""A canvas in a run folder: one file per tile, stored in strips, so that neighbors need not read whole tiles."""

from dataclasses import dataclass
from math import prod

import numpy as np

from ...tiling.blend import blend
from ...tiling.grid import Box, Span, Tile, TileGrid
from .store import Store

PLANE_BYTES = 3 * 4  # a pixel of one plane: three float32


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
    bfloat16 : int
        How many of the last planes are stored in bfloat16, the others in float32.
    """

    store: Store
    folder: str
    grid: TileGrid
    planes: int
    painting: int = 0
    bfloat16: int = 0

    def name(self, tile: Tile) -> str:
        """Name of a tile's file: the strips of its extent, each (planes, h, w, 3), little-endian, no header."""
        return f"{self.folder}/{tile.index:06}.state"

    def write(self, tile: Tile, state: np.ndarray) -> None:
        """File a tile's state (planes, h, w, 3), float32, given on its extent."""
        parts = []
        for strip in self.grid.strips(tile):
            part = np.ascontiguousarray(state[(slice(None), *strip.inside(tile.extent))], "<f4")
            parts += [part[: self._float32], _to_bfloat16(part[self._float32 :])]
        self.store.write(self.name(tile), *parts)

    def read(self, box: Box, planes: slice = slice(None)) -> np.ndarray:
        """Read some planes of any box of the blended canvas: (planes, h, w, 3), float32."""
        wanted = range(self.planes)[planes]
        return blend(self.grid, box, lambda tile, part: self._read_part(tile, part, wanted))

    def read_painting(self, box: Box) -> np.ndarray:
        """Read the painting in any box: (h, w, 3), float32."""
        pixels: np.ndarray = self.read(box, slice(self.painting, self.painting + 1))[0]
        return pixels

    @property
    def _float32(self) -> int:
        """How many planes are stored in float32."""
        return self.planes - self.bfloat16

    def _read_part(self, tile: Tile, part: Box, planes: range) -> np.ndarray:
        """Read a part of one tile's extent: of every strip that it meets, whole rows."""
        meets, spans, offset = [], [], 0
        for strip in self.grid.strips(tile):
            meet = strip & part
            if min(meet.shape) > 0:
                meets.append((strip, meet))
                spans += [self._span(offset, strip, meet.rows, plane) for plane in planes]
            offset += prod(strip.shape) * stored_bytes(self.planes, self.bfloat16)
        chunks = iter(self.store.ranges(self.name(tile), spans))
        out = np.zeros((len(planes), *part.shape, 3), "<f4")
        for strip, meet in meets:
            for plane, target in zip(planes, out[(slice(None), *meet.inside(part))], strict=True):
                values = target if plane < self._float32 else _upper_halves(target)
                rows = np.frombuffer(next(chunks), values.dtype).reshape(meet.rows.length, strip.cols.length, 3)
                values[:] = rows[:, meet.cols.inside(strip.cols)]
        return out

    def _span(self, offset: int, strip: Box, rows: Span, plane: int) -> tuple[int, int]:
        """Bytes of some rows of one plane of a strip that begins at `offset`."""
        begin = offset + prod(strip.shape) * stored_bytes(plane, max(0, plane - self._float32))
        row_bytes = strip.cols.length * (PLANE_BYTES if plane < self._float32 else PLANE_BYTES // 2)
        first = begin + (rows.start - strip.rows.start) * row_bytes
        return first, first + rows.length * row_bytes


def stored_bytes(planes: int, bfloat16: int) -> int:
    """Bytes of a pixel of so many planes, of which some are stored in bfloat16."""
    return planes * PLANE_BYTES - bfloat16 * PLANE_BYTES // 2


def _upper_halves(values: np.ndarray) -> np.ndarray:
    """View the upper half of float32 values, which is a bfloat16 (NumPy has no such type), as integers."""
    return values.view("<u2")[..., 1::2]


def _to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Round finite float32 values to the nearest bfloat16."""
    return np.ascontiguousarray(_upper_halves(values.view("<u4") + np.uint32(0x8000)))
