"""The folder of a page's tiles: made elsewhere, then moved as a whole, and never through somebody else's link."""

import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...model.atomic import sync_folder
from ..errors import OutputError
from ..output_files import is_own

_RUN: Final = re.compile(r"[0-9a-f]{12}")  # what a run calls its tiles


def check_folder(folder: Path) -> None:
    """Refuse a folder of tiles that somebody else may have put there."""
    with suppress(FileNotFoundError):
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode) or not is_own(facts, folder.parent):
            raise OutputError(
                f"{folder}: this is a link, a file or somebody else's folder, wanted a folder of yours for tiles; move "
                "it away, or write elsewhere",
                path=folder,
            )


def move_tiles(made: Path, folder: Path, run: str) -> Path:
    """Bring tiles to the disk and to their place, which nobody has named yet; return it."""
    tiles = folder / run
    try:
        for path in [*made.rglob("*"), made]:
            _sync(path)
        folder.mkdir(exist_ok=True)
        check_folder(folder)
        os.rename(made, tiles)
        sync_folder(folder)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"{folder}: tiles cannot be put there ({error.strerror}); check the folder and its free space", path=folder
        ) from error
    return tiles


def _sync(path: Path) -> None:
    if path.is_dir():
        sync_folder(path)
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())


def remove_others(tiles: Path) -> None:
    """Remove the tiles of pages that were replaced, and their folder if there are no others."""
    with suppress(OSError):  # it is not there, or cannot be read, or somebody has put something there
        for path in tiles.parent.iterdir():
            if path != tiles and _RUN.fullmatch(path.name) and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
        tiles.parent.rmdir()
