"""Parses regions: `MASK=STYLE`, followed by options in which the region differs, such as `,scale=1.5`."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from ..model.errors import choices
from .errors import SettingsError
from .lengths import MAX_SIDE_MM, parse_length, parse_stroke

MOST_REGIONS: Final = 16
FACES: Final = "faces"  # what `protect` may say instead of the name of a mask
COLORS: Final = ("style", "luminance", "statistics")
_PARTS: Final = re.compile(r"((?:[^=]|==)*)=(?!=)(.*)", re.DOTALL)
EXAMPLE: Final = "sky.png=starry.jpg,scale=1.5,strength=0.7,color=luminance"


@dataclass(frozen=True)
class RegionSpec:
    """A region as it was asked for.

    Attributes
    ----------
    mask : str
        Path of a gray picture, or of a color-coded one with `#RRGGBB`.
    style : str
        Path of a painting, or of a folder of some.
    scale : float or None
        Size of the brush strokes; None is as elsewhere.
    strength : float
        Times the painting's strength.
    color : str or None
        One of `COLORS`; None is as elsewhere.
    style_mask : str or None
        Mask of the part of the painting that counts.
    width : str or None
        Width of the original painting, for strokes as large as in the original; instead of a scale.
    stroke : str or None
        How wide brush strokes are to be; instead of a scale.
    """

    mask: str
    style: str
    scale: float | None = None
    strength: float = 1.0
    color: str | None = None
    style_mask: str | None = None
    width: str | None = None
    stroke: str | None = None

    def __str__(self) -> str:
        """Write the region as `parse_region` reads it."""
        return ",".join([f"{self.mask.replace('=', '==')}={self.style}", *self.options])

    @property
    def options(self) -> list[str]:
        """The options that differ from the defaults, as `name=value`."""
        values = {name: getattr(self, name.replace("-", "_")) for name in _OPTIONS}
        usual = {field.name.replace("_", "-"): field.default for field in fields(self)}
        return [f"{name}={value}" for name, value in values.items() if value != usual[name]]


def parse_region(text: str) -> RegionSpec:
    """Read a region.

    Raises
    ------
    SettingsError
        If a mask or a style is missing, or an option is unknown.

    >>> parse_region("sky.png=starry.jpg,scale=1.5").scale
    1.5
    >>> str(parse_region("sky.png=starry.jpg,strength=0.5"))
    'sky.png=starry.jpg,strength=0.5'
    >>> parse_region("day==1/sky.png=starry.jpg").mask  # a = in the mask's path is doubled
    'day=1/sky.png'
    """
    parts = _PARTS.fullmatch(text)
    mask, rest = (parts[1].replace("==", "="), parts[2]) if parts else (text, "")
    style, *options = rest.split(",")
    while options and "=" not in options[0]:  # a comma in the style's name
        style = f"{style},{options.pop(0)}"
    for part, what in ((mask, "mask"), (style, "style")):
        if not part.strip():
            raise SettingsError(f"got region {text!r} without a {what}, wanted MASK=STYLE, such as {EXAMPLE}")
    found: dict[str, Any] = {}
    for option in options:
        name, _, value = option.partition("=")
        if name not in _OPTIONS:
            raise SettingsError(f"got region {text!r}, wanted options such as {EXAMPLE}; {choices(name, _OPTIONS)}")
        if name.replace("-", "_") in found:
            raise SettingsError(f"got region {text!r} with {name} twice, wanted it once")
        found[name.replace("-", "_")] = _OPTIONS[name](value, f"got region {text!r}, wanted a {name}")
    sizes = [name for name in ("scale", "width", "stroke") if name in found]
    if len(sizes) > 1:
        raise SettingsError(f"got region {text!r} with {' and '.join(sizes)}, wanted only one of them")
    return RegionSpec(mask, style, **found)


def _between(low: float, high: float) -> Callable[[str, str], float]:
    def read(text: str, wanted: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not low <= number <= high:  # true for NaN, too
            raise SettingsError(f"{wanted} from {low:g} to {high:g}")
        return number

    return read


def _length(read: Callable[[str], object], such_as: str) -> Callable[[str, str], str]:
    def checked(text: str, wanted: str) -> str:
        try:
            read(text)
        except SettingsError:
            raise SettingsError(f"{wanted} such as {such_as}") from None
        return text

    return checked


def _color(text: str, wanted: str) -> str:
    if text not in COLORS:
        raise SettingsError(f"{wanted}, one of {', '.join(COLORS)}")
    return text


def _name(text: str, wanted: str) -> str:
    if not text.strip():
        raise SettingsError(f"{wanted} to be the path of a picture")
    return text


_OPTIONS: Final[dict[str, Callable[[str, str], Any]]] = {
    "scale": _between(0.05, 10),
    "strength": _between(0, 2),
    "color": _color,
    "style-mask": _name,
    "width": _length(lambda text: parse_length(text, "width", MAX_SIDE_MM), "92cm"),
    "stroke": _length(lambda text: parse_stroke(text, "stroke"), "8mm or 24px"),
}


def check_regions(texts: Sequence[str]) -> None:
    """Refuse regions that cannot be read, and too many of them. Raises `SettingsError`."""
    if len(texts) > MOST_REGIONS:
        raise SettingsError(f"got {len(texts)} regions, wanted at most {MOST_REGIONS}; merge those of the same style")
    for text in texts:
        parse_region(text)
