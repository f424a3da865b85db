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
MAX_ASPECT: Final = 100.0  # the network would see nothing of the short side

_UNITS_MM: Final = {"mm": 1.0, "cm": 10.0, "in": MM_PER_INCH, "inch": MM_PER_INCH, '"': MM_PER_INCH}
_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_PRINT: Final = re.compile(rf'\s*{_NUMBER}\s*[x\u00d7]\s*{_NUMBER}\s*(mm|cm|inch|in|")\s*', re.IGNORECASE)
_ASPECT: Final = re.compile(rf"\s*{_NUMBER}(?:\s*:\s*{_NUMBER})?\s*")


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
    crops : tuple of float
        Shapes (width over height) that the photograph is cropped to around its centre, one after the other; none
        paints all of it.
    """

    height: int
    width: int
    crops: tuple[float, ...] = ()


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


def parse_aspect(text: str) -> float:
    """Read a shape such as ``4:3``, ``16:9`` or ``1.5`` as width over height.

    Raises
    ------
    SettingsError
        If the text is not one or two numbers, or one side is more than 100 times the other.

    Examples
    --------
    >>> parse_aspect("3:4"), parse_aspect("1.5")
    (0.75, 1.5)
    """
    match = _ASPECT.fullmatch(text)
    if match is None:
        raise SettingsError(f"got aspect {text!r}, wanted width and height such as 4:3, or their ratio such as 1.5")
    width, height = float(match[1]), float(match[2] or 1)
    if not 0 < width <= MAX_ASPECT * height or not height <= MAX_ASPECT * width:
        raise SettingsError(f"got aspect {text!r}, wanted sides above 0, neither over {MAX_ASPECT:.0f} times the other")
    return width / height


def check_sides(width: int, height: int, aspect: str) -> None:
    """Refuse a width and a height that contradict an aspect by a pixel or more.

    Raises
    ------
    SettingsError
    """
    ratio = parse_aspect(aspect)
    if abs(width / ratio - height) >= 1 and abs(height * ratio - width) >= 1:
        raise SettingsError(
            f"got width {width} and height {height}, which contradict aspect {aspect}; leave one of the three out"
        )


def target_size(
    photo_height: int,
    photo_width: int,
    *,
    size: int | None = None,
    width: int | None = None,
    height: int | None = None,
    aspect: str | None = None,
    print_size: str | None = None,
    dpi: float | None = None,
    fit: Literal["fit", "crop"] = "fit",
) -> TargetSize:
    """Size of the painting of a photograph.

    With neither `size`, `width`, `height` nor `print_size`, the photograph keeps its size.

    Parameters
    ----------
    photo_height, photo_width : int
        Size of the photograph, in pixels, as it is looked at (after its orientation tag).
    size : int, optional
        Long side of the painting, in pixels. Excludes `width`, `height` and `print_size`.
    width, height : int, optional
        Of the painting, in pixels. One alone: the other follows the photograph, cropped to `aspect`. Both: exactly so,
        cropped to that shape. Exclude `print_size`.
    aspect : str, optional
        Shape to crop the photograph to first, see `parse_aspect`.
    print_size : str, optional
        Paper to fill, see `parse_print`. It is turned to lie as the photograph does; for a square
        photograph it stays as written, width first.
    dpi : float, optional
        Dots per inch of the print, 300 unless told. Counts only with `print_size`.
    fit : {"fit", "crop"}
        The largest painting that lies inside the paper, or the middle of the photograph filling it
        exactly. Counts only with `print_size`.

    Raises
    ------
    SettingsError
        If a number makes no sense, two contradict each other, or a side of the painting would exceed `MAX_SIDE_PX`.

    Examples
    --------
    >>> target_size(4000, 6000, print_size="60x90cm")
    TargetSize(height=7087, width=10630, crops=())
    >>> target_size(4000, 6000, size=1500)
    TargetSize(height=1000, width=1500, crops=())
    >>> target_size(3000, 4000, print_size="20x30in", dpi=10, fit="crop")
    TargetSize(height=200, width=300, crops=(1.5,))
    >>> target_size(4000, 6000, width=800, aspect="4:3")
    TargetSize(height=600, width=800, crops=(1.3333333333333333,))
    """
    if min(photo_height, photo_width) < 1:
        raise SettingsError(f"got a photograph of {photo_width} x {photo_height} px, wanted at least 1 px a side")
    _check_rivals(size, print_size, width, height)
    crops = () if aspect is None else (parse_aspect(aspect),)
    shape = _cropped(photo_height, photo_width, *crops)
    if print_size is not None:
        paper = _paper_pixels(print_size, DEFAULT_DPI if dpi is None else dpi, shape)
        return _fill(paper, crops) if fit == "crop" else _inside(shape, paper, crops)
    if width is not None and height is not None:
        return _exactly(height, width, aspect)
    return _checked(*_scaled(shape, size, width, height), crops)


def _check_rivals(size: int | None, print_size: str | None, width: int | None, height: int | None) -> None:
    given = {"size": size, "print size": print_size, "width or height": width or height}
    names = [f"{name} {value!r}" for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise SettingsError(f"got {' and '.join(names)}, wanted only one of them")


def _cropped(height: int, width: int, *crops: float) -> tuple[float, float]:
    """Height and width of the largest part of a photograph that has an aspect, if one is wanted; unrounded."""
    aspect = crops[0] if crops else width / height
    return min(height, width / aspect), min(width, height * aspect)


def _paper_pixels(print_size: str, dpi: float, shape: tuple[float, float]) -> tuple[int, int]:
    """Height and width of the paper in pixels, turned to lie as the photograph does."""
    if not 0 < dpi <= MAX_DPI:
        raise SettingsError(f"got {dpi:g} dpi, wanted more than 0 and at most {MAX_DPI:.0f}")
    a, b, unit_mm = parse_print(print_size)
    wide, high = (max(1, round(side * unit_mm / MM_PER_INCH * dpi)) for side in (a, b))
    height, width = shape
    turned = (width > height and high > wide) or (height > width and wide > high)
    return (wide, high) if turned else (high, wide)


def _fill(paper: tuple[int, int], crops: tuple[float, ...]) -> TargetSize:
    height, width = paper
    return _checked(height, width, (*crops, width / height))


def _inside(shape: tuple[float, float], paper: tuple[int, int], crops: tuple[float, ...]) -> TargetSize:
    scale = min(paper[0] / shape[0], paper[1] / shape[1])
    return _checked(round(shape[0] * scale), round(shape[1] * scale), crops)


def _exactly(height: int, width: int, aspect: str | None) -> TargetSize:
    """Both sides as asked for; they say the shape more exactly than the aspect does."""
    if min(height, width) < 1:
        raise SettingsError(f"got width {width} and height {height}, wanted sides of at least 1 px")
    if aspect is not None:
        check_sides(width, height, aspect)
    return _checked(height, width, (width / height,))


def _scaled(shape: tuple[float, float], size: int | None, width: int | None, height: int | None) -> tuple[int, int]:
    """Height and width of a shape whose long side, width or height is given; as it is if none is."""
    sides = {"size": (size, max(shape)), "width": (width, shape[1]), "height": (height, shape[0])}
    for name, (wanted, side) in sides.items():
        if wanted is not None:
            if wanted < 1:
                raise SettingsError(f"got {name} {wanted}, wanted at least 1 px")
            return round(shape[0] * wanted / side), round(shape[1] * wanted / side)
    return round(shape[0]), round(shape[1])


def _checked(height: int, width: int, crops: tuple[float, ...] = ()) -> TargetSize:
    """Refuse absurd sizes; a very thin picture keeps a side of one pixel."""
    if max(height, width) > MAX_SIDE_PX:
        raise SettingsError(
            f"got a painting of {width} x {height} px, wanted at most {MAX_SIDE_PX} px a side: ask for fewer pixels"
        )
    return TargetSize(max(1, height), max(1, width), crops)
