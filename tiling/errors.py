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
    """

    def __init__(self, tile: int, overlap: int) -> None:
        super().__init__(tile, overlap)
        self.tile, self.overlap = tile, overlap

    def __str__(self) -> str:
        return (
            f"tile {self.tile} px is too small for an overlap of {self.overlap} px: "
            f"a tile must be at least twice its overlap; use --tile {2 * self.overlap} or more, or a smaller --overlap"
        )
