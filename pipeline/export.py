"""From a canvas in the run folder to a picture file, in row blocks, so that no painting has to fit into memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..tiling.grid import Box, Span
from ..tiling.seams import Seams, find_seams
from .levels import Level
from .output_files import keep_times
from .pictures.array_file import ArrayFile
from .pictures.carried import Carried, carried
from .pictures.colors import with_chroma_of
from .pictures.images import resize, resize_rows, size_within
from .pictures.pages import place_of
from .pictures.pdf import POINTS_PER_INCH, Page, Rectangle
from .pictures.proof import LONGEST_SIDE, soft_proof
from .pictures.sheets import Place, Sheet
from .pictures.vips import Pixels, Rows
from .pictures.writing import MOST_JPEG_METADATA, write_picture
from .render_plan import RenderPlan
from .storage.canvas import Canvas

BLOCK_ROWS = 64


@dataclass(frozen=True)
class FinalImage:
    """The painting of a level as whole numbers of the output's bit depth, read part by part.

    Attributes
    ----------
    canvas, content : Canvas
        The painting, and the photograph at the same size.
    guidance : Canvas or None
        Of regions, if it has some.
    """

    plan: RenderPlan
    level: Level
    canvas: Canvas
    content: Canvas
    guidance: Canvas | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, 3."""
        return self.level.height, self.level.width, 3

    @property
    def dtype(self) -> np.dtype:
        """uint8 or uint16."""
        return np.dtype(f"uint{self.plan.bit_depth}")

    @property
    def sheet(self) -> Sheet | None:
        """What the finished painting lies on; None for one on the way, which is written alone."""
        return self.plan.sheet if self.level.index == self.plan.final.index else None  # its tiles may have been halved

    @property
    def borders(self) -> tuple[list[int], list[int]]:
        """First pixel row below, and column right of, each border between the cores of tiles, px of the picture."""
        rows, cols = ([part.core.start - self.level.edge_margin for part in axis[1:]] for axis in self.level.grid.axes)
        return rows, cols

    def __getitem__(self, rows: slice) -> np.ndarray:
        out = np.empty((len(range(*rows.indices(self.shape[0]))), *self.shape[1:]), self.dtype)
        start, stop, _ = rows.indices(self.shape[0])
        for top in range(start, stop, BLOCK_ROWS):
            block = Span(top, min(top + BLOCK_ROWS, stop))
            out[block.start - start : block.stop - start] = self.read(Box(block, Span(0, self.shape[1])))
        return out

    def read(self, box: Box) -> np.ndarray:
        """Read a box of the picture: (h, w, 3)."""
        pixels = self.canvas.read_painting(self._place(box))
        if self.guidance is not None and self.plan.regions is not None:
            pixels = self._by_region(box, pixels, self.guidance, self.plan.regions.count)
        elif self.plan.settings.color == "luminance":
            pixels = with_chroma_of(self.photograph(box), pixels)
        return np.asarray(np.rint(pixels.clip(0, 1) * np.iinfo(self.dtype).max), self.dtype)

    def _by_region(self, box: Box, pixels: np.ndarray, guidance: Canvas, count: int) -> np.ndarray:
        """Paint in light only where that is asked for, and let the photograph show through where it is to."""
        channels, photograph = np.concatenate(guidance.read(self._place(box)), axis=2), self.photograph(box)
        light, shows = channels[..., count, None], channels[..., count + 1, None]
        if light.any():
            pixels = pixels + light * (with_chroma_of(photograph, pixels) - pixels)
        return np.asarray(pixels + shows * (photograph - pixels))

    def photograph(self, box: Box) -> np.ndarray:
        """Read the same box of the photograph: (h, w, 3), float32 in [0, 1]."""
        return np.asarray(self.content.read(self._place(box))[0])

    def _place(self, box: Box) -> Box:
        """A box of the picture on the canvas."""
        return Box(*(Span(span.start + self.level.edge_margin, span.stop + self.level.edge_margin) for span in box))


@dataclass(frozen=True)
class _Alpha:
    """The photograph's alpha at the painting's size, read in rows."""

    stored: Pixels | ArrayFile
    shape: tuple[int, int]

    @property
    def dtype(self) -> np.dtype:
        """float32."""
        return np.dtype(np.float32)

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        return resize_rows(self.stored, *self.shape, (start, stop))


def write_painting(finished: FinalImage, path: Path) -> tuple[str, ...]:
    """Write a painting with what belongs into its file: alpha, profile, EXIF, XMP, IPTC, resolution.

    Returns
    -------
    tuple of str
        What the user should know of how it was written.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    plan, content = finished.plan, finished.plan.content
    settings, styles = plan.settings, [style.picture.path.name for style in plan.styles]
    metadata = carried(content, styles, wanted=settings.metadata, places=settings.gps)
    pixels: Rows = finished
    alpha: Rows | None = None if content.alpha is None else _Alpha(content.alpha, finished.shape[:2])
    sheet = finished.sheet
    if sheet is not None:
        pixels, alpha = sheet.laid_out(pixels), alpha and sheet.laid_out(alpha)
    quality = write_picture(
        path,
        pixels,
        alpha=alpha,
        icc=plan.profile,
        intent=settings.intent,
        exif=metadata.exif,
        xmp=metadata.xmp,
        iptc=metadata.iptc,
        dpi=plan.dpi,
        bit_depth=plan.bit_depth,
        quality=settings.quality,
        page=page_of(sheet) if sheet is not None and settings.print_size else None,
        is_lossless=settings.pdf_image == "lossless",
        max_bytes=settings.max_file,
    )
    if settings.keep_times:
        keep_times(place_of(content.path).file, path)
    told = [f"{path}: written with quality {quality} instead of {settings.quality}, to stay within max_file"]
    return (*(told if quality != settings.quality else []), *_left_out(path, metadata))


def _left_out(path: Path, metadata: Carried) -> Iterator[str]:
    """What has no room in a JPEG."""
    for name, block in (("XMP", metadata.xmp), ("IPTC", metadata.iptc)):
        if block and len(block) > MOST_JPEG_METADATA and path.suffix.lower() in (".jpg", ".jpeg"):
            yield f"{path}: left out {len(block)} bytes of {name}, too many for a JPEG; .tif and .png can hold them"


def write_proof(finished: FinalImage, path: Path, icc: bytes) -> dict[str, Any]:
    """Write a small picture of how the painting will look in print; return what the sidecar says of it.

    Raises `OutputError` if it cannot be written.
    """
    small = resize(cast(Pixels, finished), *size_within(LONGEST_SIDE, *finished.shape[:2]))
    shown, share = soft_proof(np.rint(small * 255).astype(np.uint8), icc, finished.plan.settings.intent)
    write_picture(path, shown)
    return {"path": str(path), "out_of_gamut": round(share, 4)}


def page_of(sheet: Sheet) -> Page:
    """The page of a PDF that a sheet fills."""

    def rectangle(place: Place) -> Rectangle:
        edges = (place.left, sheet.height - place.bottom, place.right, sheet.height - place.top)
        return Rectangle(*(edge / sheet.dpi * POINTS_PER_INCH for edge in edges))

    whole = rectangle(Place(0, 0, sheet.height, sheet.width))
    return Page(whole.right, whole.top, whole, rectangle(sheet.trim_box), rectangle(sheet.bleed_box))


def score_seams(finished: FinalImage) -> Seams:
    """Say how much more a painting changes across the borders of its tiles than beside them."""
    return find_seams(finished.shape[:2], finished.read, *finished.borders, finished.photograph)
