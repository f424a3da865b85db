"""Computes the size of a painting. Sizes are ``(height, width)`` in pixels."""

from dataclasses import dataclass, field, replace
from typing import Literal

from .errors import SettingsError
from .lengths import (
    DEFAULT_DPI,
    MAX_DPI,
    MAX_SIDE_PX,
    check_sides,
    mm_of,
    parse_aspect,
    parse_length,
    parse_print,
    pixels_of,
)
from .pictures.sheets import MARK_MARGIN_MM, Sheet
from .setting_types import Edge
from .settings import Settings


@dataclass(frozen=True)
class TargetSize:
    """The size of the finished painting.

    Attributes
    ----------
    height, width : int
        Size of what will be seen, in pixels.
    crops : tuple of float
        Shapes (width over height) that the photograph is cropped to around its center, one after the other; none
        paints all of it.
    bleed, wrap : int
        Pixels on every side: first what goes round the edges of a stretcher, beyond it what is cut off.
    is_painted : bool
        Whether those are painted, too, and not made of the finished painting.
    """

    height: int
    width: int
    crops: tuple[float, ...] = ()
    bleed: int = field(default=0, repr=False)
    wrap: int = field(default=0, repr=False)
    is_painted: bool = field(default=True, repr=False)

    @property
    def border(self) -> int:
        """Pixels on every side that are not seen from the front."""
        return self.bleed + self.wrap

    @property
    def painted(self) -> int:
        """Those of them that are painted."""
        return self.border if self.is_painted else 0

    @property
    def painted_size(self) -> tuple[int, int]:
        """Height and width of all that is painted."""
        return self.height + 2 * self.painted, self.width + 2 * self.painted


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
    bleed: str | None = None,
    wrap: str | None = None,
    wrap_edge: Edge = "paint",
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
    bleed, wrap : str, optional
        Lengths, see `parse_length`, that a print is larger on every side than what will be seen. Only with
        `print_size`.
    wrap_edge : {"paint", "mirror", "color"}
        What is there where there is a wrap: painting, the finished painting's mirror image, or a color.

    Raises
    ------
    SettingsError
        If a number makes no sense, two contradict each other, or a side of the painting would exceed `MAX_SIDE_PX`.

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
        density = DEFAULT_DPI if dpi is None else dpi
        paper = _paper_pixels(print_size, density, shape)
        found = _fill(paper, crops) if fit == "crop" else _inside(shape, paper, crops)
        return _bordered(found, bleed, wrap, wrap_edge, density)
    for name, length in (("bleed", bleed), ("wrap", wrap)):
        if length is not None:
            raise SettingsError(f"got {name} {length!r} without a print size, wanted one, such as --print 60x90cm")
    if width is not None and height is not None:
        return _exactly(height, width, aspect)
    return _checked(*_scaled(shape, size, width, height), crops)


def target_of(height: int, width: int, settings: Settings) -> TargetSize:
    """Size of the painting of a photograph of this size, px. Raises `SettingsError`."""
    names = {"size", "width", "height", "aspect", "print_size", "dpi", "fit", "bleed", "wrap", "wrap_edge"}
    return target_size(height, width, **settings.model_dump(include=names))


def sheet_of(target: TargetSize, settings: Settings) -> Sheet:
    """How a painting of this size lies on what is printed. Raises `SettingsError`."""
    if settings.crop_marks and settings.print_size is None:
        raise SettingsError("got crop_marks without a print size, wanted one, such as --print 60x90cm")
    dpi = settings.dpi or DEFAULT_DPI
    margin = pixels_of(MARK_MARGIN_MM, dpi) if settings.crop_marks else 0
    return Sheet(target.height, target.width, target.bleed, target.wrap, settings.wrap_edge, margin, dpi)


def _check_rivals(size: int | None, print_size: str | None, width: int | None, height: int | None) -> None:
    given = {"size": size, "print size": print_size, "width or height": width or height}
    names = [f"{name} {value!r}" for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise SettingsError(f"got {' and '.join(names)}, wanted only one of them")


def _cropped(height: int, width: int, *crops: float) -> tuple[float, float]:
    """Height and width of the largest part of a photograph that has an aspect, if one is wanted; unrounded."""
    if not crops:
        return height, width
    return min(height, width / crops[0]), min(width, height * crops[0])


def _paper_pixels(print_size: str, dpi: float, shape: tuple[float, float]) -> tuple[int, int]:
    """Height and width of the paper in pixels, turned to lie as the photograph does."""
    if not 0 < dpi <= MAX_DPI:
        raise SettingsError(f"got {dpi:g} dpi, wanted more than 0 and at most {MAX_DPI:.0f}")
    height, width = (max(1, pixels_of(side, dpi)) for side in parse_print(print_size).turned(shape))
    return height, width


def _bordered(size: TargetSize, bleed: str | None, wrap: str | None, edge: Edge, dpi: float) -> TargetSize:
    """The size with what goes round a stretcher, and what is cut off.

    Raises `SettingsError` if the wrap is wider than half the picture, or the whole too large.
    """
    around, beyond = (
        0 if text is None else pixels_of(parse_length(text, what), dpi)
        for what, text in (("wrap", wrap), ("bleed", bleed))
    )
    if 2 * around > min(size.height, size.width):
        width, height = (mm_of(side, dpi) / 10 for side in (size.width, size.height))
        raise SettingsError(
            f"got wrap {wrap} for a picture of {width:.1f} x {height:.1f} cm, wanted at most half its shorter side"
        )
    if around + beyond > min(size.height, size.width):
        raise SettingsError(f"got bleed {bleed}, wanted less: with the wrap, no more than the picture's shorter side")
    found = replace(size, bleed=beyond, wrap=around, is_painted=wrap is None or edge == "paint")
    _checked(found.height + 2 * found.border, found.width + 2 * found.border)
    return found


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
