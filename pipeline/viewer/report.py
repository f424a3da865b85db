"""The page of one picture: `poster.report.html`, and its tiles in the folder `poster.report` beside it.

A page names a folder of tiles of its own, below that folder. They are made in a private folder with a lock, as a
painting's canvases are, then brought to the disk and moved as a whole; the page takes its place after that, and the
tiles of the page before it go last. So whoever opens a page finds all its tiles, whenever a process was killed.
"""

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote

from muralist.pipeline.errors import OutputError, PictureError, PipelineError, SettingsError
from muralist.pipeline.pictures.images import Picture
from muralist.pipeline.pictures.rasters import Raster, room_in
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.pictures.samples import Pixels
from muralist.pipeline.pictures.writing import check_place, write_file
from muralist.pipeline.settings import Settings
from muralist.pipeline.storage.run_folder import RunFolder, open_run
from muralist.pipeline.viewer.facts import loss_rows, picture_facts, size_text
from muralist.pipeline.viewer.pages import render_page
from muralist.pipeline.viewer.places import telling_parts, worst_seams
from muralist.pipeline.viewer.pyramid import (
    LOSSLESS,
    LOSSY,
    OVERLAP,
    THUMBNAIL,
    TILE,
    Pyramid,
    cut_pyramid,
    write_thumbnail,
)
from muralist.pipeline.viewer.record import Record, read_record
from muralist.pipeline.viewer.register import find_photograph, in_register
from muralist.pipeline.viewer.tile_folder import check_folder, move_tiles, remove_others
from muralist.pipeline.workers.memory import budget, machine_memory

SUFFIX: Final = ".report.html"
SINGLE_FILE_PIXELS: Final = 8_000_000  # of what is put into one file: some 20 MB
SCRIPTS: Final = ("leaflet.js", "loupe.js", "chart.js", "copy.js", "picture.js")


def report_path(painting: Path) -> Path:
    """Name the page of a picture: `poster.tif` gets `poster.report.html`.

    >>> report_path(Path("out/poster.tif")).name
    'poster.report.html'
    """
    return painting.with_name(painting.stem + SUFFIX)


def tiles_path(page: Path) -> Path:
    """Name the folder of a page's tiles: `poster.report.html` has `poster.report`."""
    return page.with_suffix("")


def check_report(painting: Path, *, overwrite: bool) -> None:
    """Find out before any work whether the page of a picture can be written.

    Raises
    ------
    OutputError
        Says what is in the way and what to do.
    """
    page = report_path(painting)
    check_place(page, overwrite=overwrite)
    check_folder(tiles_path(page))


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
    check_place(page, overwrite=overwrite)
    if not single_file:
        check_folder(tiles_path(page))
    with open_run(page, None, restart=True) as folder:
        memory = memory or machine_memory() // 4
        make = partial(read_picture, memory=memory, folder=folder.aside)
        picture, record = make(painting), read_record(painting)
        if single_file and picture.height * picture.width > SINGLE_FILE_PIXELS:
            raise SettingsError(
                f"{painting}: {picture.width} x {picture.height} px in one file, wanted at most "
                f"{SINGLE_FILE_PIXELS / 1e6:g} megapixels; leave --single-file out"
            )
        if record is not None and (record.height, record.width) != (picture.height, picture.width):
            raise PictureError(
                f"{painting}: {picture.width} x {picture.height} px, but its record tells of {record.width} x "
                f"{record.height} px; the picture was changed: move the record away to see it alone",
                path=painting,
            )
        before = find_photograph(record, painting, photograph, make)
        fits = picture.height * picture.width * 3 <= memory
        with room_in(None if fits else folder.aside) as room:
            left = None if before.picture is None else in_register(before.picture, picture, room)
            content = _Content(painting, picture, record, left, before.notices)
            _publish(content, page, folder, single_file)
    return page


# --- the page ------------------------------------------------------------------------------------


def is_fresh(painting: Path) -> bool:
    """Say whether a picture has a page that was written after it."""
    try:
        return report_path(painting).stat().st_mtime_ns >= painting.stat().st_mtime_ns
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
    if photograph is None and is_fresh(painting):
        yield report_path(painting)
        return
    with TemporaryDirectory(prefix="muralist-") as folder:
        yield write_report(painting, photograph=photograph, page=Path(folder) / report_path(painting).name)


def add_report(painting: Path, photograph: Path, settings: Settings) -> None:
    """Write the page of a painting that was just made.

    Raises
    ------
    OutputError
        If it cannot be written; the painting is there.
    """
    try:
        write_report(painting, photograph=photograph, overwrite=True, memory=budget(settings))
    except PipelineError as error:
        raise OutputError(
            f"{error}; the painting itself is done, and `muralist report` makes its page", path=report_path(painting)
        ) from error


@dataclass(frozen=True)
class _Content:
    """All that a page is made of."""

    painting: Path
    picture: Picture
    record: Record | None
    left: Pixels | Raster | None
    notices: tuple[str, ...]


def _publish(content: _Content, page: Path, folder: RunFolder, single_file: bool) -> None:
    made = folder.aside / "tiles"
    made.mkdir()
    right = cut_pyramid(content.picture.pixels, made / "painting", LOSSLESS)
    left = None if content.left is None else cut_pyramid(content.left, made / "photograph", LOSSY)
    if single_file:
        write_file(page, _page(content, _inlined(right), _inlined(left) if left else None))
        return
    write_thumbnail(right, made / THUMBNAIL)
    home = move_tiles(made, tiles_path(page), folder.run)
    place = f"{quote(os.fsencode(home.parent.name))}/{home.name}"
    try:
        write_file(page, _page(content, _linked(right, place), _linked(left, place) if left else None))
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    remove_others(home)


def _page(content: _Content, right: dict[str, Any], left: dict[str, Any] | None) -> bytes:
    picture, record = content.picture, content.record
    dpi = picture.dpi[0] if picture.dpi else None
    data: dict[str, Any] = {
        "height": picture.height,
        "width": picture.width,
        "dpi": dpi,
        "tile": TILE,
        "overlap": OVERLAP,
        "right": right,
        "left": left,
        "parts": [part._asdict() for part in telling_parts(picture.pixels if content.left is None else content.left)],
    }
    notices = list(content.notices)
    if record is not None:
        rows, terms = loss_rows(record.losses, record.settings)
        marks = [row["seconds"] for before, row in pairwise(rows) if row["level"] != before["level"]]
        data |= {"losses": rows, "terms": terms, "marks": marks}
        notices += record.notices
        if record.tile_borders is not None:
            rows_cols = record.tile_borders.rows, record.tile_borders.cols
            seams = worst_seams(picture.pixels, *rows_cols, content.left)
            data |= {
                "borders": record.tile_borders.model_dump(),
                "seams": [seam._asdict() for seam in seams],
                "seams_show": record.seam_threshold is not None and record.seam_score > record.seam_threshold,
            }
    return render_page(
        "picture.html",
        SCRIPTS,
        data,
        title=f"{content.painting.name} · muralist",
        name=content.painting.name,
        size=size_text(picture.height, picture.width, dpi),
        labels=["Painting"] if left is None else ["Photograph", "Painting"],
        notices=notices,
        facts=None if record is None else picture_facts(record, content.painting),
        comparison=None,
        version=version("muralist"),
    )


def _linked(pyramid: Pyramid, place: str) -> dict[str, Any]:
    return {"path": f"{place}/{pyramid.folder.name}", "extension": pyramid.extension, "levels": pyramid.levels}


def _inlined(pyramid: Pyramid) -> dict[str, Any]:
    kind = {"jpg": "jpeg"}.get(pyramid.extension, pyramid.extension)
    tiles = {
        name: f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
        for name, path in pyramid.tiles().items()
    }
    return {"inline": tiles, "levels": pyramid.levels}
