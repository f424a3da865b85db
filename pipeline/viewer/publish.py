"""Writes a page and its tiles from aligned pictures: which files, in which order, and where."""

import base64
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from ...model.errors import printable
from ...tiling.grid import Box
from ..errors import OutputError, SettingsError
from ..output_files import check_place, write_file
from ..pictures.array_file import ArrayFile
from ..pictures.images import Picture
from ..pictures.vips import Pixels
from ..storage.run_folder import RunFolder
from .areas import Area
from .facts import Difference, loss_rows, picture_facts, size_text
from .pages import render_page
from .places import telling_parts, worst_seams
from .pyramid import LOSSLESS, LOSSY, OVERLAP, THUMBNAIL, TILE, Pyramid, cut_pyramid, write_thumbnail
from .record import Record
from .tile_folder import check_folder, move_tiles, remove_others

SINGLE_FILE_PIXELS: Final = 8_000_000  # of what is put into one file: some 20 MB
SCRIPTS: Final = ("leaflet.js", "loupe.js", "chart.js", "copy.js", "picture.js")


def tiles_path(page: Path) -> Path:
    """Name the folder of a page's tiles: `poster.tif.report.html` has `poster.tif.report`."""
    return page.with_suffix("")


def check_page(page: Path, *, overwrite: bool) -> None:
    """Find out before any work whether a page and its tiles can be written. Raises `OutputError`."""
    if page.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{page}: got extension {page.suffix!r}, wanted .html for a page", path=page)
    check_place(page, overwrite=overwrite)
    check_folder(tiles_path(page))


class Layer(NamedTuple):
    """Lines and areas over a picture, which a button or a key shows and hides.

    Attributes
    ----------
    name, key : str
        On the button, and the key; not one that the viewer has already.
    told : str
        What it shows.
    lines : list of list of (row, column)
        px of the picture.
    """

    name: str
    key: str
    told: str
    lines: list[list[tuple[int, int]]]
    areas: Sequence[Area] = ()


@dataclass(frozen=True)
class Content:
    """All that a page is made of.

    Attributes
    ----------
    left : (H, W, 3) or None
        Another picture in register, to be seen left of the divider.
    labels : (str, str)
        Of the left one and of the picture.
    left_form : str
        In which its tiles are stored, see `muralist.pipeline.viewer.pyramid`.
    comparison : list of Difference or None
        How the two came about otherwise.
    areas : sequence of Area
        Of its masks.
    """

    painting: Path
    picture: Picture
    record: Record | None
    left: Pixels | ArrayFile | None
    labels: tuple[str, str] = ("Photograph", "Painting")
    left_form: str = LOSSY
    title: str = ""
    notices: tuple[str, ...] = ()
    comparison: list[Difference] | None = None
    areas: Sequence[Area] = ()


def check_single_file(path: Path, picture: Picture) -> None:
    """Refuse a picture that is too large for one file. Raises `SettingsError`."""
    if picture.height * picture.width > SINGLE_FILE_PIXELS:
        raise SettingsError(
            f"{path}: {picture.width} x {picture.height} px in one file, wanted at most "
            f"{SINGLE_FILE_PIXELS / 1e6:g} megapixels; leave --single-file out"
        )


def publish(content: Content, page: Path, folder: RunFolder, *, single_file: bool = False) -> None:
    """Write a page and its tiles, which are made in a run's folder; those of the page before it go last.

    Raises `OutputError` if something cannot be written; then the page is as it was.
    """
    made = folder.local_dir / "tiles"
    made.mkdir()
    right = cut_pyramid(content.picture.pixels, made / "painting", LOSSLESS, content.picture.alpha)
    left = None if content.left is None else cut_pyramid(content.left, made / "photograph", content.left_form)
    if single_file:
        write_file(page, _page(content, page, _inlined(right), _inlined(left) if left else None))
        remove_others(tiles_path(page) / folder.run)
        return
    write_thumbnail(right, made / THUMBNAIL)
    tiles = move_tiles(made, tiles_path(page), folder.run)
    place = f"{quote(os.fsencode(tiles.parent.name))}/{tiles.name}"
    try:
        write_file(page, _page(content, page, _linked(right, place), _linked(left, place) if left else None))
    except BaseException:
        shutil.rmtree(tiles, ignore_errors=True)
        raise
    remove_others(tiles)


def _page(content: Content, page: Path, right: dict[str, Any], left: dict[str, Any] | None) -> bytes:
    picture, record = content.picture, content.record
    dpi = picture.dpi[0] if picture.dpi else None
    data: dict[str, Any] = {
        "folder": printable(tiles_path(page).name),
        "height": picture.height,
        "width": picture.width,
        "dpi": dpi,
        "tile": TILE,
        "overlap": OVERLAP,
        "right": right,
        "left": left,
        "parts": [part._asdict() for part in telling_parts(picture.pixels if content.left is None else content.left)],
    }
    notices, layers = list(content.notices), list[Layer]()
    if record is not None:
        losses, terms = loss_rows(record.losses)
        marks = [row["seconds"] for before, row in pairwise(losses) if row["level"] != before["level"]]
        data |= {"losses": losses, "terms": terms, "marks": marks}
        notices += record.notices
        if record.tile_borders is not None:
            rows, cols = record.tile_borders.placed(record.place)
            layers += _tiles(rows, cols, record.place)
            seams = worst_seams(picture.pixels, rows, cols, content.left, record.place)
            data |= {
                "seams": [seam._asdict() for seam in seams],
                "seams_show": record.seam_threshold is not None and record.seam_score > record.seam_threshold,
            }
    if content.areas:
        layers.append(Layer("Regions", "r", "regions, and what else masks are about", [], content.areas))
    return render_page(
        "picture.html",
        SCRIPTS,
        {**data, "layers": [_as_data(layer) for layer in layers]},
        title=f"{content.title or content.painting.name} · muralist",
        name=content.title or content.painting.name,
        size=size_text(picture.height, picture.width, dpi),
        labels=content.labels[-1:] if left is None else content.labels,
        notices=notices,
        layers=layers,
        facts=None if record is None else picture_facts(record, content.painting),
        areas=content.areas,
        comparison=content.comparison,
        version=version("muralist"),
    )


def _tiles(rows: Sequence[int], cols: Sequence[int], place: Box) -> list[Layer]:
    (top, bottom), (left, right) = place
    lines = [*([(row, left), (row, right)] for row in rows), *([(top, col), (bottom, col)] for col in cols)]
    return [Layer("Tiles", "g", "borders of tiles", lines)] if lines else []


def _as_data(layer: Layer) -> dict[str, Any]:
    return {**layer._asdict(), "areas": [area._asdict() for area in layer.areas]}


def _linked(pyramid: Pyramid, place: str) -> dict[str, Any]:
    return {"path": f"{place}/{pyramid.folder.name}", "extension": pyramid.extension, "levels": pyramid.levels}


def _inlined(pyramid: Pyramid) -> dict[str, Any]:
    kind = {"jpg": "jpeg"}.get(pyramid.extension, pyramid.extension)
    tiles = {
        name: f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
        for name, path in pyramid.tiles().items()
    }
    return {"inline": tiles, "levels": pyramid.levels}
