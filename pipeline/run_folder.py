"""The folder that holds everything between two tasks, and the names of what lies in it.

Every file is written once, whole, by one task (beside, then renamed), so a task may run twice, or again after its
worker died, and nobody ever reads half a file. The folder is the only thing that tasks share.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from muralist.tiling.blend import blend
from muralist.tiling.grid import Box, Tile, TileGrid

FINISHED: Final = -1  # in place of a number of rounds: the canvas of a level that counts, see `RunFolder.finish`


@dataclass(frozen=True)
class RunFolder:
    """Paths inside the folder of one render; all methods of files are pure. `made` rounds may be `FINISHED`.

    Attributes
    ----------
    path : str
        The folder. Must be the same folder for every worker.
    """

    path: str

    @classmethod
    def create(cls, parent: Path, name: str) -> "RunFolder":
        """Make a new hidden folder in `parent`."""
        return cls(tempfile.mkdtemp(prefix=f".{name}.muralist-", dir=parent))

    def remove(self) -> None:
        """Delete the folder and all in it; under another name first, so that tasks still under way cannot add to it."""
        gone = f"{self.path}.gone"
        with suppress(OSError):
            os.rename(self.path, gone)
        shutil.rmtree(gone, ignore_errors=True)

    def remove_level(self, level: int) -> None:
        """Delete what a level left behind."""
        shutil.rmtree(self._level(level), ignore_errors=True)

    def remove_round(self, level: int, made: int) -> None:
        """Delete the canvas of a round."""
        shutil.rmtree(self._round(level, made), ignore_errors=True)

    def finish(self, level: int, made: int) -> None:
        """Choose the canvas of a level that counts; it is no longer found under the number of its round."""
        os.rename(self._round(level, made), self._round(level, FINISHED))

    def _level(self, level: int) -> Path:
        return Path(self.path) / f"level_{level:02}"

    def _round(self, level: int, made: int) -> Path:
        return self._level(level) / ("finished" if made == FINISHED else f"round_{made:04}")

    def content(self, level: int) -> Path:
        """Photograph at the level's size, on its canvas: ndarray (H, W, 3), float32."""
        return self._level(level) / "content.npy"

    def start(self, level: int) -> Path:
        """What the level starts from where it is not the photograph: ndarray (H, W, 3), float32."""
        return self._level(level) / "start.npy"

    def style(self, level: int, number: int) -> Path:
        """A style picture at the level's size: ndarray (h, w, 3), float32."""
        return self._level(level) / f"style_{number:04}.npy"

    def targets(self, level: int, number: int) -> Path:
        """Statistics of a style picture."""
        return self._level(level) / f"targets_{number:04}.npz"

    def features(self, level: int, tile: int) -> Path:
        """Features of the photograph under a tile."""
        return self._level(level) / "features" / f"{tile:06}.safetensors"

    def sums(self, level: int, made: int, tile: int) -> Path:
        """A tile's share of the losses after `made` rounds."""
        return self._round(level, made) / f"{tile:06}.npz"

    def total(self, level: int, made: int) -> Path:
        """The whole picture's losses after `made` rounds."""
        return self._level(level) / f"total_{self._round(level, made).name}.npz"

    def state(self, level: int, made: int, tile: int) -> Path:
        """Extent of a tile after `made` rounds: ndarray (planes, h, w, 3), float32."""
        return self._round(level, made) / f"{tile:06}.npy"

    def canvas(self, level: int, grid: TileGrid, made: int) -> Callable[[Box], np.ndarray]:
        """Give a function that reads any box of the blended canvas after `made` rounds: (planes, h, w, 3), float32."""

        def read_tile(tile: Tile, part: Box) -> np.ndarray:
            stored = np.load(self.state(level, made, tile.index), mmap_mode="r")
            return np.asarray(stored[(slice(None), *part.inside(tile.extent))])

        return lambda box: blend(grid, box, read_tile)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file under another name, then give it its own.

    Raises
    ------
    OSError
        Such as a full disk; nothing is left behind.
    """
    path.parent.mkdir(exist_ok=True)  # not its parents: a task that outlives its render must not bring the folder back
    part = path.with_name(f".part-{uuid.uuid4().hex}{path.suffix}")
    try:
        write(part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an .npy file, whole."""
    whole = np.ascontiguousarray(array)

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(whole))
            file.write(whole.data)  # unlike numpy.save, says what is wrong: on a full disk, that it is full

    write_whole(path, write)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an .npz file, whole."""
    write_whole(path, lambda part: np.savez(part, allow_pickle=False, **arrays))
