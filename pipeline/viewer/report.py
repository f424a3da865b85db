"""The page of one picture: `poster.tif.report.html`, and its tiles in the folder `poster.tif.report` beside it.

Every page has its own folder of tiles, below that folder. The tiles are made in a private, locked folder, as a
painting's canvases are, then flushed to disk and moved as a whole. After that the page is replaced, and the old page's
tiles are removed last. So an opened page always finds all its tiles, even if a process was killed at any point.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import OutputError, PictureError, PipelineError
from ..output_names import report_path, sidecar_path
from ..pictures.array_file import allocator_in
from ..pictures.limits import ReadLimits
from ..pictures.reading import read_picture
from ..settings import Settings
from ..storage.run_folder import open_run
from ..workers.machine import budget, machine_memory
from .areas import find_areas
from .publish import Content, check_page, check_single_file, publish
from .record import read_record
from .register import find_photograph, in_register


def check_report(painting: Path, *, overwrite: bool) -> None:
    """Find out before any work whether the page of a picture can be written.

    Raises
    ------
    OutputError
        Says what is in the way and what to do.
    """
    page = report_path(painting)
    if painting.suffix.lower() == ".pdf":
        raise OutputError(
            f"{painting}: got a PDF, which a page cannot show, wanted a picture; name a .tif, or leave --report out",
            path=painting,
        )
    check_page(page, overwrite=overwrite)


def write_report(
    painting: Path,
    *,
    photograph: Path | None = None,
    page: Path | None = None,
    single_file: bool = False,
    overwrite: bool = False,
    memory: int | None = None,
) -> Path:
    """Write the page of a picture, of its record if it has one; return the page's path.

    Parameters
    ----------
    painting : Path
        Any picture that can be read.
    photograph : Path, optional
        What it was painted from, where the record does not say it, or not any more.
    page : Path, optional
        Where to write; by default beside the picture, see `report_path`.
    single_file : bool
        Whether to put the tiles into the page, too.
    overwrite : bool
        Whether an existing page may be replaced.
    memory : int, optional
        Bytes that pixels may take; larger pictures lie on the disk meanwhile. By default a quarter of the machine's.

    Raises
    ------
    PictureError, SettingsError, OutputError
        With what was found, what was wanted, and what to do.
    """
    page = page or report_path(painting)
    check_page(page, overwrite=overwrite)
    with open_run(page, None, restart=True) as folder:
        memory = memory or machine_memory() // 4
        limits = ReadLimits(memory=memory, folder=folder.local_dir)
        picture, record = read_picture(painting, limits), read_record(painting)
        if single_file:
            check_single_file(painting, picture)
        if record is not None and record.file_size != (picture.height, picture.width):
            height, width = record.file_size
            raise PictureError(
                f"{painting}: {picture.width} x {picture.height} px, but its sidecar says {width} x {height} px; the "
                "picture was changed: move the sidecar away to see the picture alone",
                path=painting,
            )
        fits = picture.height * picture.width * 3 <= memory
        local_dir = None if fits else folder.local_dir
        before = find_photograph(record, painting, photograph, limits)
        areas, notices = find_areas(record, painting, before, limits)
        with allocator_in(local_dir) as allocate:
            place = None if record is None else record.place
            left = None if before.picture is None else in_register(before.picture, picture, allocate, place)
            labels = ("Photograph", "Picture" if record is None and left is None else "Painting")
            told = (*before.notices, *notices)
            content = Content(painting, picture, record, left, labels, notices=told, areas=areas)
            publish(content, page, folder, single_file=single_file)
    return page


def without_record(painting: Path) -> str:
    """Say what a picture's page lacks if no sidecar lies beside its picture; "" if one does."""
    path = sidecar_path(painting)
    told = f"{painting}: its page says nothing of how it was made, since no sidecar {path.name} lies beside it"
    return "" if os.path.exists(path) else f"{told}; put it there, and write the page again with --overwrite"


def is_fresh(painting: Path) -> bool:
    """Say whether a picture has a page newer than itself, which may have its photograph's times, and its sidecar."""
    page = report_path(painting)
    try:
        written = page.stat().st_mtime_ns
        files = [file for file in (painting, sidecar_path(painting)) if os.path.exists(file)]
        return all(written >= file.stat().st_mtime_ns for file in files)
    except OSError:
        return False


@contextmanager
def viewed(painting: Path, photograph: Path | None = None) -> Iterator[Path]:
    """Give the page of a picture: the one beside it if that is up to date, else one that goes when the block ends.

    Raises
    ------
    PictureError, OutputError
        As `write_report`.
    """
    if not painting.name:  # `.` and `/`, which have no page
        raise PictureError(f"{painting}: this is a folder; name one picture in it", path=painting)
    if photograph is None and is_fresh(painting):
        yield report_path(painting)
        return
    with TemporaryDirectory(prefix="muralist-") as folder:
        yield write_report(painting, photograph=photograph, page=Path(folder) / report_path(painting).name)


def add_report(painting: Path, photograph: Path, settings: Settings) -> None:
    """Write the page of a painting that was just made.

    Raises `OutputError` if it cannot be written; the painting is there. Whoever interrupts is told so, too.
    """
    try:
        write_report(painting, photograph=photograph, overwrite=True, memory=budget(settings))
    except KeyboardInterrupt as stop:
        raise type(stop)(f"the painting is done; `muralist report {painting}` makes its page") from None
    except PipelineError as error:
        raise OutputError(
            f"{error}; the painting itself is done, and `muralist report` can still make its page",
            path=report_path(painting),
        ) from error
