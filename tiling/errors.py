"""Errors about a tiling."""

from muralist.errors import MuralistError


class TilingError(MuralistError, ValueError):
    """Base of everything that `muralist.tiling` raises on purpose."""


class TileTooSmallError(TilingError):
    """The tile cannot hold its overlaps on both sides.

    Parameters
    ----------
    tile, overlap : int
        Side of a tile and shared width, px.
    stride : int
        Of the network, px: a tile is brought down to a multiple of it, its overlap up to one.
    """

    def __init__(self, tile: int, overlap: int, stride: int = 1) -> None:
        super().__init__(tile, overlap, stride)
        self.tile, self.overlap, self.stride = tile, overlap, stride

    def __str__(self) -> str:
        blocks = f" in whole blocks of {self.stride} px" if self.stride > 1 else ""
        least = 2 * -(-self.overlap // self.stride) * self.stride
        return (
            f"tile {self.tile} px is too small for an overlap of {self.overlap} px: "
            f"a tile must be at least twice its overlap{blocks}; use --tile {least} or more, or a smaller --overlap"
        )
