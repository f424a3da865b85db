"""How a poster is cut into panels that overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from ..tiling.grid import Span
from .errors import SettingsError
from .lengths import MAX_SIDE_MM, parse_length, parse_print, pixels_of

MARGIN_MM: Final = 10.0  # of a sheet, where printers do not print, and ticks and labels stand
_MOST_PANELS: Final = 2000


@dataclass(frozen=True)
class Plan:
    """Panels by row and column.

    Attributes
    ----------
    rows, cols : sequence of Span
        Of the poster, px.
    overlap : int
        px that neighbors share.
    sheet : (float, float) or None
        Height and width of a sheet, mm.
    """

    rows: Sequence[Span]
    cols: Sequence[Span]
    overlap: int
    dpi: float
    sheet: tuple[float, float] | None

    @property
    def count(self) -> int:
        """How many panels."""
        return len(self.rows) * len(self.cols)


def plan_panels(
    height: int, width: int, dpi: float, overlap: str, *, sheet: str | None = None, roll: str | None = None
) -> Plan:
    """Plan the panels of a poster of this size, in pixels, on sheets of a paper or lanes of a roll.

    Raises
    ------
    SettingsError
        If a sheet or roll is not wide enough for its overlap, or there would be thousands of panels.

    >>> plan = plan_panels(1000, 1000, 100, "10mm", roll="13cm")
    >>> [tuple(span) for span in plan.cols]
    [(0, 360), (321, 681), (642, 1000)]
    """
    if sheet is not None:
        return _on_sheets(height, width, sheet, overlap, dpi)
    return _on_roll(height, width, roll or "", overlap, dpi)


def _on_sheets(height: int, width: int, sheet: str, overlap: str, dpi: float) -> Plan:
    """Panels on sheets, turned in the way that takes fewer."""
    paper = parse_print(sheet, "sheet")
    ways = [paper.turned(shape) for shape in ((1, 2), (2, 1))]
    plans = [_cut(height, width, way, overlap, dpi, sheet) for way in dict.fromkeys(ways)]
    return min(plans, key=lambda plan: plan.count)


def _cut(height: int, width: int, sheet: tuple[float, float], overlap: str, dpi: float, name: str) -> Plan:
    shared = pixels_of(parse_length(overlap, "overlap"), dpi)
    areas = [pixels_of(max(0.0, side - 2 * MARGIN_MM), dpi) for side in sheet]
    if min(areas) < 2 * shared + 1:
        raise SettingsError(
            f"got sheet {name!r} and overlap {overlap!r}, wanted sheets more than twice as wide as the overlap within "
            f"margins of {MARGIN_MM:.0f} mm"
        )
    rows, cols = (_axis(side, area, shared) for side, area in zip((height, width), areas, strict=True))
    plan = Plan(rows, cols, shared, dpi, sheet)
    if plan.count > _MOST_PANELS:
        raise SettingsError(f"got {plan.count} panels, wanted at most {_MOST_PANELS}; use larger sheets")
    return plan


def _on_roll(height: int, width: int, roll: str, overlap: str, dpi: float) -> Plan:
    shared = pixels_of(parse_length(overlap, "overlap"), dpi)
    lane = pixels_of(parse_length(roll, "roll", MAX_SIDE_MM), dpi)
    if lane < 2 * shared + 1:
        raise SettingsError(
            f"got roll {roll!r} and overlap {overlap!r}, wanted a roll more than twice as wide as the overlap"
        )
    return Plan([Span(0, height)], _axis(width, lane, shared), shared, dpi, None)


def _axis(side: int, area: int, shared: int) -> list[Span]:
    """As few panels as fit, about equally long: none is a sliver."""
    count = max(1, ceil((side - shared) / (area - shared)))
    step = ceil((side - shared) / count)
    return [Span(start, min(start + step + shared, side)) for start in (index * step for index in range(count))]
