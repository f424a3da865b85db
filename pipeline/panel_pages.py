"""The PDF of a mural's panels: an overview, then a panel per page, with ticks in the margin where neighbors overlap."""

from collections.abc import Sequence
from typing import BinaryIO, Final

import numpy as np
from PIL import Image

from ..model.errors import printable
from .lengths import MM_PER_INCH, mm_of
from .panel_plan import MARGIN_MM, Plan
from .pictures.encoding import encode_jpeg
from .pictures.images import size_within
from .pictures.pdf import POINTS_PER_INCH, Page, Pdf, Rectangle
from .pictures.stored import Stored

_TICK_MM, _LABEL_POINTS, _LABEL_MM = 6.0, 8, 3.0
_OVERVIEW_SIDE: Final = 1200  # px
_POINTS_PER_MM: Final = POINTS_PER_INCH / MM_PER_INCH


def write_pages(file: BinaryIO, picture: Stored, plan: Plan, name: str, quality: int | None) -> None:
    """Write a PDF of a poster's panels, as JPEGs of this quality, or without loss if that is None.

    Parameters
    ----------
    file : BinaryIO
        Open, and empty.
    plan : Plan
        On sheets.
    name : str
        The poster's, for labels.
    """
    pdf = Pdf(file, encode_jpeg)
    shown = picture.at_depth(8)
    pdf.add_page(*_overview(shown, plan, name), quality)
    for row, rows in enumerate(plan.rows):
        for col, cols in enumerate(plan.cols):
            part = shown.part(slice(*rows), slice(*cols))
            pdf.add_page(_page(plan, row, col, name), part, quality)
    pdf.finish()


def _page(plan: Plan, row: int, col: int, name: str) -> Page:
    """A sheet with a panel in its upper left corner, ticks where neighbors overlap, and a label below."""
    assert plan.sheet is not None
    rows, cols = plan.rows[row], plan.cols[col]
    high, wide = (side * _POINTS_PER_MM for side in plan.sheet)
    margin, scale = MARGIN_MM * _POINTS_PER_MM, POINTS_PER_INCH / plan.dpi
    width, height, shared = ((n * scale) for n in (cols.length, rows.length, plan.overlap))
    place = Rectangle(margin, high - margin - height, margin + width, high - margin)
    across = [place.left, place.right]
    across += [place.left + shared] if col else []
    across += [place.right - shared] if col < len(plan.cols) - 1 else []
    down = [place.bottom, place.top]
    down += [place.top - shared] if row else []
    down += [place.bottom + shared] if row < len(plan.rows) - 1 else []
    notes = [f"row {row + 1} of {len(plan.rows)}, column {col + 1} of {len(plan.cols)}, {name}"]
    if col or row:
        sides = " and ".join([*(["left"] if col else []), *(["upper"] if row else [])])
        notes.append(f"lay its {sides} edge over the neighbor, tick on tick")
    label = _text(place.left + shared + _LABEL_MM * _POINTS_PER_MM, _LABEL_MM * _POINTS_PER_MM, " - ".join(notes))
    whole = Rectangle(0, 0, wide, high)
    return Page(wide, high, place, place, whole, f"{_ticks(place, across, down)} {label}")


def _ticks(place: Rectangle, across: Sequence[float], down: Sequence[float]) -> str:
    """Short lines beside the panel that prolong its edges, and those of its neighbors."""
    length, gap = _TICK_MM * _POINTS_PER_MM, 0.5 * _POINTS_PER_MM
    lines = []
    for x in across:
        lines += [
            (x, place.top + gap, x, place.top + gap + length),
            (x, place.bottom - gap, x, place.bottom - gap - length),
        ]
    for y in down:
        lines += [
            (place.left - gap, y, place.left - gap - length, y),
            (place.right + gap, y, place.right + gap + length, y),
        ]
    drawn = " ".join(f"{x:.3f} {y:.3f} m {to_x:.3f} {to_y:.3f} l S" for x, y, to_x, to_y in lines)
    return f"0 G 0.3 w {drawn}"


def _text(x: float, y: float, text: str, points: float = _LABEL_POINTS) -> str:
    spelled = printable(text).replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"0 g BT /Label {points:g} Tf {x:.3f} {y:.3f} Td ({spelled}) Tj ET"


def _overview(picture: Stored, plan: Plan, name: str) -> tuple[Page, Stored]:
    """A sheet with the whole poster, small, and the panels' borders and numbers on it."""
    assert plan.sheet is not None
    height, width, _ = picture.shape
    small = _shrunk(picture)
    high, wide = (side * _POINTS_PER_MM for side in plan.sheet)
    margin = MARGIN_MM * _POINTS_PER_MM
    scale = min((wide - 2 * margin) / width, (high - 3 * margin) / height)
    place = Rectangle(margin, high - margin - height * scale, margin + width * scale, high - margin)
    lines, labels = [], []
    for row, rows in enumerate(plan.rows):
        for col, cols in enumerate(plan.cols):
            left, bottom = place.left + cols.start * scale, place.top - rows.stop * scale
            size = cols.length * scale, rows.length * scale
            lines.append(f"{left:.3f} {bottom:.3f} {size[0]:.3f} {size[1]:.3f} re S")
            points = max(4.0, min(14.0, size[0] / 5, size[1] / 3))
            labels.append((left + 2, bottom + 2, f"{row + 1}/{col + 1}", points))
    boxes = " ".join(lines)
    numbers = " ".join(_number(x, y, text, points) for x, y, text, points in labels)
    paper = " x ".join(f"{side:.0f}" for side in reversed(plan.sheet))
    across, down = (mm_of(side, plan.dpi) / 10 for side in (width, height))
    told = f"{name}: {across:.1f} x {down:.1f} cm on {plan.count} sheets of {paper} mm, {plan.dpi:g} dpi; row/column"
    label = _text(margin, place.bottom - margin / 2, told)
    whole = Rectangle(0, 0, wide, high)
    return Page(wide, high, place, whole, whole, f"1 G 1.2 w {boxes} 0 G 0.4 w {boxes} {numbers} {label}"), small


def _number(x: float, y: float, text: str, points: float) -> str:
    """A text on white."""
    ground = f"1 g {x:.3f} {y:.3f} {0.62 * points * len(text):.3f} {points:.3f} re f"
    return f"{ground} {_text(x + 1, y + 0.15 * points, text, points)}"


def _shrunk(picture: Stored) -> Stored:
    """The picture in its own numbers, at most `_OVERVIEW_SIDE` px long, a plane at a time."""
    height, width, channels = picture.shape
    step = max(1, max(height, width) // (2 * _OVERVIEW_SIDE))
    coarse = np.concatenate([block[::step, ::step] for block in picture.row_blocks(16 * step)])
    rows, cols = size_within(_OVERVIEW_SIDE, *coarse.shape[:2])
    planes = [np.asarray(Image.fromarray(coarse[:, :, channel]).resize((cols, rows))) for channel in range(channels)]
    return Stored(np.dstack(planes), picture.profile, None, 8)
