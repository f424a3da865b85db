"""Lengths, papers and shapes as they are written: `60x90cm`, `A2 landscape`, `3mm`, `24px`, `4:3`."""

import re
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

_PAPERS_MM: Final = {
    **{"4a0": (1682, 2378), "2a0": (1189, 1682), "a0": (841, 1189), "a1": (594, 841), "a2": (420, 594)},
    **{"a3": (297, 420), "a4": (210, 297), "a5": (148, 210), "a6": (105, 148)},
    **{"b0": (1000, 1414), "b1": (707, 1000), "b2": (500, 707), "b3": (353, 500), "b4": (250, 353), "b5": (176, 250)},
    **{"letter": (215.9, 279.4), "legal": (215.9, 355.6), "tabloid": (279.4, 431.8)},
}
_LIES: Final = r"(?:\s+(landscape|portrait))?\s*"
_UNITS_MM: Final = {"mm": 1.0, "cm": 10.0, **dict.fromkeys(("inches", "inch", "in", '"'), MM_PER_INCH)}
_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_UNIT: Final = f"({'|'.join(_UNITS_MM)})"
_PRINT: Final = re.compile(rf"\s*{_NUMBER}\s*{_UNIT}?\s*[x\u00d7]\s*{_NUMBER}\s*{_UNIT}{_LIES}", re.IGNORECASE)
_PAPER: Final = re.compile(rf"\s*([0-9]?[a-z]+[0-9]?){_LIES}", re.IGNORECASE)
_LENGTH: Final = re.compile(rf"\s*{_NUMBER}\s*{_UNIT}\s*", re.IGNORECASE)
_STROKE: Final = re.compile(rf"\s*{_NUMBER}\s*(?:{_UNIT}|px)\s*", re.IGNORECASE)
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

    def times(self, factor: float) -> "Stroke":
        """Give a width that is so many times as large."""
        return self._replace(length=self.length * factor)

    def __str__(self) -> str:
        """Write it as people do, such as ``8 mm``, to a tenth below 10.

        >>> str(Stroke(6.34, is_mm=False)), str(Stroke(120, is_mm=True))
        ('6.3 px', '120 mm')
        """
        return f"{self.length:.{1 if self.length < 10 else 0}f} {'mm' if self.is_mm else 'px'}"


def parse_print(text: str, what: str = "print size") -> Paper:
    """Read a print size such as ``A1``, ``60x90cm``, ``60cm x 90cm``, ``24x36in``, ``24x36"`` or ``A2 landscape``.

    Messages call it `what`.

    Raises
    ------
    SettingsError
        If the text is neither the name of a paper nor two lengths and a unit, or a side is zero or longer than 100 m.

    >>> parse_print("60x90cm")
    Paper(a=60.0, b=90.0, unit_mm=10.0, lies=None)
    >>> parse_print('24 x 36"').unit_mm, parse_print("60cm x 90cm").unit_mm
    (25.4, 10.0)
    >>> parse_print("A2 landscape")
    Paper(a=420, b=594, unit_mm=1.0, lies='landscape')
    """
    named = _PAPER.fullmatch(text)
    if named is not None and named[1].lower() in _PAPERS_MM:
        return Paper(*_PAPERS_MM[named[1].lower()], 1.0, _lies(named[2]))
    match = _PRINT.fullmatch(text)
    if match is None or (match[2] and match[2].lower() != match[4].lower()):
        known = " ".join(name.upper() if len(name) < 4 else name.title() for name in _PAPERS_MM)
        raise SettingsError(
            f"got {what} {text!r}, wanted two lengths and a unit (mm, cm, in) such as 60x90cm, or a paper ({known}), "
            "optionally followed by landscape or portrait"
        )
    paper = Paper(float(match[1]), float(match[3]), _UNITS_MM[match[4].lower()], _lies(match[5]))
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
    number, unit = (float(match[1]), (match[2] or "px").lower()) if match else (0.0, "px")
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


def mm_of(pixels: int, dpi: float) -> float:
    """Pixels as a length on paper.

    >>> mm_of(600, 300)
    50.8
    """
    return pixels / dpi * MM_PER_INCH


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
