"""A picture cut into tiles at every size, by libvips' deep zoom, so that a page loads only what is looked at.

Level 0 is the size that fits into one tile; each level is twice as large as the one before, the last is the picture
itself. Tile `COL_ROW` of a level covers `TILE` pixels of it, and `OVERLAP` more on each side that has a neighbor, so
that no line shows between tiles that a browser scales.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Final

import pyvips

from ..errors import OutputError
from ..output_files import named_in_utf_8, write_file
from ..pictures.encoded_rows import EncodedRows, RowsError, as_png
from ..pictures.vips import Rows, one_line, source_of

TILE: Final = 512
OVERLAP: Final = 2  # whole pixels of CSS also on a screen that has two for each
LOSSLESS: Final = "webp[lossless=true,effort=0]"  # the pixels of the file; 29 % smaller than our PNGs
LOSSY: Final = "jpg[Q=90]"
THUMBNAIL: Final = "thumbnail.jpg"
THUMBNAIL_SIDE: Final = 320  # px


@dataclass(frozen=True)
class Pyramid:
    """Tiles of one picture.

    Attributes
    ----------
    folder : Path
        Has a folder per level, with tiles `COL_ROW.EXTENSION`.
    """

    folder: Path
    extension: str
    levels: int

    def tiles(self) -> dict[str, Path]:
        """All tiles by `LEVEL/COL_ROW`."""
        return {f"{path.parent.name}/{path.stem}": path for path in sorted(self.folder.glob("*/*"))}


def level_count(height: int, width: int) -> int:
    """Levels of a picture: halved until it fits into a tile.

    >>> level_count(512, 20), level_count(513, 20), level_count(5000, 9000)
    (1, 2, 6)
    """
    return max(0, (max(height, width) - 1) // TILE).bit_length() + 1


def cut_pyramid(rows: Rows, folder: Path, form: str, alpha: Rows | None = None) -> Pyramid:
    """Cut a picture into tiles. Its rows are asked for in order, and few are held at a time.

    Parameters
    ----------
    rows : Rows
        (height, width, 3), sRGB-encoded; floats in [0, 1], or whole numbers.
    folder : Path
        To be made. Nobody else may write beside it: libvips follows names.
    form : str
        `LOSSLESS` or `LOSSY`.
    alpha : Rows, optional
        (height, width); what is transparent becomes white.

    Raises
    ------
    OutputError
        If the disk is full, among others.
    """
    pieces = _Pieces(as_png(EncodedRows(rows, alpha, None, 8, may_have_alpha=False)))
    with ThreadPoolExecutor(1) as encoder:
        cutting = encoder.submit(_cut, pieces, folder, form)
        try:
            cutting.result()
        except pyvips.Error as error:
            raise OutputError(
                f"{folder}: tiles cannot be written ({one_line(error)}); check the folder and its free space",
                path=folder,
            ) from error
        except RowsError as carried:
            raise carried.error from carried.error.__cause__
        except BaseException:  # Ctrl-C, which no thread of libvips would hear of
            pieces.stopped = True
            raise
    levels = len([path for path in folder.iterdir() if path.is_dir()])
    return Pyramid(folder, form.partition("[")[0], levels)


def _cut(pieces: "_Pieces", folder: Path, form: str) -> None:
    with source_of(pieces) as source, named_in_utf_8(folder.parent) as parent:
        image = pyvips.Image.pngload_source(source, access="sequential", fail_on="error")
        image.dzsave(
            str(parent / folder.name),
            suffix=f".{form}",
            tile_size=TILE,
            overlap=OVERLAP,
            depth="onetile",
            keep="none",
            layout="dz",
        )
    made = folder.with_name(f"{folder.name}_files")
    made.rename(folder)
    for description in (folder.with_name(f"{folder.name}.dzi"), folder / "vips-properties.xml"):
        description.unlink(missing_ok=True)


class _Pieces(RawIOBase):
    """A file that is made while it is read, from front to back."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, memoryview(b"")
        self.stopped = False

    def read(self, size: int = -1) -> bytes:
        """Give some bytes, none at the end."""
        if self.stopped:
            raise InterruptedError
        if not self._left:
            self._left = memoryview(next(self._pieces, b""))
        piece, self._left = self._left[:size], self._left[size:]
        return bytes(piece)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Say that this is a pipe, in libvips' way."""
        return -1


def write_thumbnail(pyramid: Pyramid, path: Path) -> None:
    """Write a small JPEG of a picture that was cut into tiles."""
    (tile,) = (pyramid.folder / "0").iterdir()
    small = pyvips.Image.thumbnail_buffer(tile.read_bytes(), THUMBNAIL_SIDE, size="down")
    write_file(path, small.jpegsave_buffer(Q=82, keep="none"))
