"""How large a painting becomes.

Sizes are ``(height, width)`` in pixels; a print size is the name of a paper, or two lengths and a unit in either order,
because the paper is turned to lie the way the photograph does, unless it says how it lies.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

from .errors import SettingsError

MAX_SIDE_PX: Final = 1_000_000
DEFAULT_DPI: Final = 300.0  # what print shops ask for
MAX_DPI: Final = 10_000.0
MAX_SIDE_MM: Final = 100_000.0  # a hundred metres: beyond it, somebody mistyped
MM_PER_INCH: Final = 25.4
MAX_ASPECT: Final = 100.0  # the network would see nothing of the short side

MAX_BORDER_MM: Final = 1000.0

Lies = Literal["landscape", "portrait"]
Edge = Literal["paint", "mirror", "color"]

_PAPERS_MM: Final = {
    **{"4a0": (1682, 2378), "2a0": (1189, 1682), "a0": (841, 1189), "a1": (594, 841), "a2": (420, 594)},
    **{"a3": (297, 420), "a4": (210, 297), "a5": (148, 210), "a6": (105, 148)},
    **{"b0": (1000, 1414), "b1": (707, 1000), "b2": (500, 707), "b3": (353, 500), "b4": (250, 353), "b5": (176, 250)},
    **{"letter": (215.9, 279.4), "legal": (215.9, 355.6), "tabloid": (279.4, 431.8)},
}
_LIES: Final = r"(?:\s+(landscape|portrait))?\s*"
_UNITS_MM: Final = {"mm": 1.0, "cm": 10.0, "in": MM_PER_INCH, "inch": MM_PER_INCH, '"': MM_PER_INCH}
_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_PRINT: Final = re.compile(rf'\s*{_NUMBER}\s*[x\u00d7]\s*{_NUMBER}\s*(mm|cm|inch|in|"){_LIES}', re.IGNORECASE)
_PAPER: Final = re.compile(rf"\s*([0-9]?[a-z]+[0-9]?){_LIES}", re.IGNORECASE)
_LENGTH: Final = re.compile(rf'\s*{_NUMBER}\s*(mm|cm|inch|in|")\s*', re.IGNORECASE)
_STROKE: Final = re.compile(rf'\s*{_NUMBER}\s*(mm|cm|inch|in|"|px)\s*', re.IGNORECASE)
_ASPECT: Final = re.compile(rf"\s*{_NUMBER}(?:\s*:\s*{_NUMBER})?\s*")


class Paper(NamedTuple):
    """A print size: two sides in the unit it was written in, that unit in millimetres, and how it lies."""

    a: float
    b: float
    unit_mm: float
    lies: Lies | None = None

    def turned(self, shape: tuple[float, float]) -> tuple[float, float]:
        """Height and width in millimetres; turned to lie as a picture of (height, width) does, if it does not say how.

        For a square picture it stays as written, width first.
        """
        wide, high = self.a * self.unit_mm, self.b * self.unit_mm
        height, width = shape
        if self.lies is None and height == width:
            return high, wide
        is_landscape = width > height if self.lies is None else self.lies == "landscape"
        return (min(wide, high), max(wide, high)) if is_landscape else (max(wide, high), min(wide, high))


class Stroke(NamedTuple):
    """A width of brush strokes, in pixels or, on paper, in millimetres."""

    length: float
    is_mm: bool

    def pixels(self, dpi: float) -> float:
        """The width in pixels of a painting that is printed with so many per inch."""
        return self.length / MM_PER_INCH * dpi if self.is_mm else self.length


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


def parse_print(text: str, what: str = "print size") -> Paper:
    """Read a print size such as ``A1``, ``60x90cm``, ``594x841mm``, ``24x36in``, ``24x36"`` or ``A2 landscape``.

    Messages call it `what`.

    Raises
    ------
    SettingsError
        If the text is neither the name of a paper nor two lengths and a unit, or a side is zero or longer than 100 m.

    >>> parse_print("60x90cm")
    Paper(a=60.0, b=90.0, unit_mm=10.0, lies=None)
    >>> parse_print('24 x 36"').unit_mm
    25.4
    >>> parse_print("A2 landscape")
    Paper(a=420, b=594, unit_mm=1.0, lies='landscape')
    """
    named = _PAPER.fullmatch(text)
    if named is not None and named[1].lower() in _PAPERS_MM:
        return Paper(*_PAPERS_MM[named[1].lower()], 1.0, _lies(named[2]))
    match = _PRINT.fullmatch(text)
    if match is None:
        known = " ".join(name.upper() if len(name) < 4 else name.title() for name in _PAPERS_MM)
        raise SettingsError(
            f"got {what} {text!r}, wanted two lengths and a unit (cm, mm, in) such as 60x90cm, or a paper "
            f"({known}), with landscape or portrait behind it or not"
        )
    paper = Paper(float(match[1]), float(match[2]), _UNITS_MM[match[3].lower()], _lies(match[4]))
    if not all(0 < side * paper.unit_mm <= MAX_SIDE_MM for side in paper[:2]):
        raise SettingsError(f"got {what} {text!r}, wanted sides longer than 0 and at most {MAX_SIDE_MM:.0f} mm")
    return paper


def _lies(text: str | None) -> Lies | None:
    if text is None:
        return None
    return "landscape" if text.lower() == "landscape" else "portrait"


def parse_length(text: str, what: str, longest_mm: float = MAX_BORDER_MM) -> float:
    """Read a length such as ``3mm``, ``4 cm`` or ``0.125in`` in millimetres; `what` it is of is for the message.

    Raises
    ------
    SettingsError
        If the text is not a number and a unit, or longer than `longest_mm`.

    >>> parse_length("3mm", "bleed"), parse_length("0.125 in", "bleed")
    (3.0, 3.175)
    """
    match = _LENGTH.fullmatch(text)
    found = float(match[1]) * _UNITS_MM[match[2].lower()] if match else 0
    if not 0 < found <= longest_mm:
        raise SettingsError(
            f"got {what} {text!r}, wanted a length above 0 and up to {longest_mm:.0f} mm, with its unit (mm, cm, in), "
            "such as 3mm"
        )
    return found


def parse_stroke(text: str, what: str) -> Stroke:
    """Read a width such as ``8mm``, ``0.5cm`` or ``24px``; `what` it is of is for the message.

    Raises
    ------
    SettingsError
        If the text is not a number and a unit, or absurd.

    >>> parse_stroke("8mm", "stroke").pixels(dpi=254)
    80.0
    >>> parse_stroke("24 px", "stroke").pixels(dpi=254)
    24.0
    """
    match = _STROKE.fullmatch(text)
    number, unit = (float(match[1]), match[2].lower()) if match else (0.0, "px")
    stroke = Stroke(number * _UNITS_MM.get(unit, 1), unit in _UNITS_MM)
    if not 0 < stroke.length <= (MAX_SIDE_MM if stroke.is_mm else MAX_SIDE_PX):
        raise SettingsError(
            f"got {what} {text!r}, wanted a width above 0 with its unit (mm, cm or in of a print, or px), such as 8mm "
            "or 24px"
        )
    return stroke


def pixels_of(length_mm: float, dpi: float) -> int:
    """A length on paper in whole pixels."""
    return round(length_mm / MM_PER_INCH * dpi)


def parse_aspect(text: str) -> float:
    """Read a shape such as ``4:3``, ``16:9`` or ``1.5`` as width over height.

    Raises
    ------
    SettingsError
        If the text is not one or two numbers, or one side is more than 100 times the other.

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
    """Refuse a width and a height that contradict an aspect by a pixel or more. Raises `SettingsError`."""
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
        width, height = (side * MM_PER_INCH / dpi / 10 for side in (size.width, size.height))
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
