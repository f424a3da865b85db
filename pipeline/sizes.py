"""How large a painting becomes.

Sizes are ``(height, width)`` in pixels; a print size is two lengths and a unit, in either order,
because the paper is turned to lie the way the photograph does.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from muralist.pipeline.errors import SettingsError

MAX_SIDE_PX: Final = 1_000_000
DEFAULT_DPI: Final = 300.0  # what print shops ask for
MAX_DPI: Final = 10_000.0
MAX_SIDE_MM: Final = 100_000.0  # a hundred metres: beyond it, somebody mistyped
MM_PER_INCH: Final = 25.4

_UNITS_MM: Final = {"mm": 1.0, "cm": 10.0, "in": MM_PER_INCH, "inch": MM_PER_INCH, '"': MM_PER_INCH}
_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_PRINT: Final = re.compile(rf'\s*{_NUMBER}\s*[x\u00d7]\s*{_NUMBER}\s*(mm|cm|inch|in|")\s*', re.IGNORECASE)


class Paper(NamedTuple):
    """A print size: two sides in the unit it was written in, and that unit in millimetres."""

    a: float
    b: float
    unit_mm: float


@dataclass(frozen=True)
class TargetSize:
    """The size of the finished painting.

    Attributes
    ----------
    height, width : int
        Size in pixels.
    crop_aspect : float or None
        Width over height of the centred part of the photograph to paint; None paints all of it.
    """

    height: int
    width: int
    crop_aspect: float | None = None


def parse_print(text: str) -> Paper:
    """Read a print size such as ``60x90cm``, ``594x841mm``, ``24x36in`` or ``24x36"``.

    Raises
    ------
    SettingsError
        If the text is not two lengths and a unit, or a side is zero or longer than 100 m.

    Examples
    --------
    >>> parse_print("60x90cm")
    Paper(a=60.0, b=90.0, unit_mm=10.0)
    >>> parse_print('24 x 36"').unit_mm
    25.4
    """
    match = _PRINT.fullmatch(text)
    if match is None:
        raise SettingsError(f"got print size {text!r}, wanted two lengths and a unit (cm, mm, in) such as 60x90cm")
    paper = Paper(float(match[1]), float(match[2]), _UNITS_MM[match[3].lower()])
    if not all(0 < side * paper.unit_mm <= MAX_SIDE_MM for side in paper[:2]):
        raise SettingsError(f"got print size {text!r}, wanted sides longer than 0 and at most {MAX_SIDE_MM:.0f} mm")
    return paper


def target_size(
    height: int,
    width: int,
    *,
    size: int | None = None,
    print_size: str | None = None,
    dpi: float | None = None,
    fit: Literal["fit", "crop"] = "fit",
) -> TargetSize:
    """Size of the painting of a photograph of ``height`` x ``width`` pixels.

    Parameters
    ----------
    height, width : int
        Size of the photograph, in pixels, as it is looked at (after its orientation tag).
    size : int, optional
        Long side of the painting, in pixels. Excludes ``print_size``.
    print_size : str, optional
        Paper to fill, see `parse_print`. It is turned to lie as the photograph does; for a square
        photograph it stays as written, width first. With neither, the photograph keeps its size.
    dpi : float, optional
        Dots per inch of the print, 300 unless told. Counts only with ``print_size``.
    fit : {"fit", "crop"}
        The largest painting that lies inside the paper, or the middle of the photograph filling it
        exactly. Counts only with ``print_size``.

    Raises
    ------
    SettingsError
        If a number makes no sense, or a side of the painting would exceed `MAX_SIDE_PX`.

    Examples
    --------
    >>> target_size(4000, 6000, print_size="60x90cm")
    TargetSize(height=7087, width=10630, crop_aspect=None)
    >>> target_size(4000, 6000, size=1500)
    TargetSize(height=1000, width=1500, crop_aspect=None)
    >>> target_size(3000, 4000, print_size="20x30in", dpi=10, fit="crop")
    TargetSize(height=200, width=300, crop_aspect=1.5)
    """
    if min(height, width) < 1:
        raise SettingsError(f"got a photograph of {width} x {height} px, wanted at least 1 px a side")
    if size is not None and print_size is not None:
        raise SettingsError(f"got size {size} and print size {print_size!r}, wanted only one of them")
    if print_size is not None:
        paper = _paper_pixels(print_size, DEFAULT_DPI if dpi is None else dpi, (height, width))
        return _fill(paper) if fit == "crop" else _inside(height, width, paper)
    return _scaled(height, width, max(height, width) if size is None else size)


def _paper_pixels(print_size: str, dpi: float, photo: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the paper in pixels, turned to lie as the photograph does."""
    if not 0 < dpi <= MAX_DPI:
        raise SettingsError(f"got {dpi:g} dpi, wanted more than 0 and at most {MAX_DPI:.0f}")
    a, b, unit_mm = parse_print(print_size)
    wide, high = (max(1, round(side * unit_mm / MM_PER_INCH * dpi)) for side in (a, b))
    height, width = photo
    turned = (width > height and high > wide) or (height > width and wide > high)
    return (wide, high) if turned else (high, wide)


def _fill(paper: tuple[int, int]) -> TargetSize:
    height, width = paper
    return _checked(height, width, crop_aspect=width / height)


def _inside(height: int, width: int, paper: tuple[int, int]) -> TargetSize:
    scale = min(paper[0] / height, paper[1] / width)
    return _checked(round(height * scale), round(width * scale))


def _scaled(height: int, width: int, long_side: int) -> TargetSize:
    if long_side < 1:
        raise SettingsError(f"got size {long_side}, wanted a long side of at least 1 px")
    scale = long_side / max(height, width)
    return _checked(round(height * scale), round(width * scale))


def _checked(height: int, width: int, crop_aspect: float | None = None) -> TargetSize:
    """Refuse absurd sizes; a very thin picture keeps a side of one pixel."""
    if max(height, width) > MAX_SIDE_PX:
        raise SettingsError(
            f"got a painting of {width} x {height} px, wanted at most {MAX_SIDE_PX} px a side: ask for fewer pixels"
        )
    return TargetSize(max(1, height), max(1, width), crop_aspect)
