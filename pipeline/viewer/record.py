"""Reads the sidecar of a painting for a page. It may be of any age and untrusted, so all of it is validated."""

import json
import os
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Final

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from ...model.regular_file import open_regular
from ...tiling.grid import Box, Span
from ..errors import PictureError
from ..output_names import sidecar_path
from ..records.losses import LossRecord
from ..records.run_state import LevelReport
from ..settings import Settings

MAX_BYTES: Final = 64 << 20

Plain = bool | int | float | str | None
Setting = Plain | list[Plain] | dict[str, Plain]


class Input(BaseModel):
    """A picture that was read; size in px."""

    path: str
    sha256: str
    height: int
    width: int
    share: float | None = None
    scale: float | None = None


class MaskInput(Input):
    """A mask, and what it is for: a region's name of it, "strength map" or "protected"."""

    name: str


class Inputs(BaseModel):
    """What a painting was made from."""

    content: Input
    styles: list[Input] = []
    init: Input | None = None
    masks: list[MaskInput] = []


class Borders(BaseModel):
    """First pixel row below, and column right of, each border of the finest level's tiles, px of the painting."""

    rows: list[int]
    cols: list[int]

    def placed(self, place: Box) -> tuple[list[int], list[int]]:
        """Give rows and columns of the file, in which the painting has a place."""
        return [row + place.rows.start for row in self.rows], [col + place.cols.start for col in self.cols]


class Size(BaseModel):
    """px."""

    height: int
    width: int


class Plan(BaseModel):
    """Seconds that each level was expected to take, judged by a speed that was measured on a day."""

    seconds: list[float]
    measured_on: str


_FORMER_TERMS: Final = ("style", "content", "tv")


def _losses_by_name(level: object) -> object:
    """A level of a record of before December 2026, which has a field for every loss, as it is written today."""
    if not isinstance(level, dict) or "losses_last" in level:
        return level
    found = {name: {term: level.get(f"{term}_loss_{name}") for term in _FORMER_TERMS} for name in ("first", "last")}
    named = {f"losses_{name}": {k: v for k, v in losses.items() if v is not None} for name, losses in found.items()}
    regions = level.get("region_style_losses")
    return {**level, **named, "region_losses": {"style": regions} if regions else {}}


def _row_by_name(row: object, settings: object) -> object:
    """The same of a loss record, whose weights were in the settings."""
    if not isinstance(row, dict) or "losses" in row:
        return row
    losses = {term: row[term] for term in _FORMER_TERMS if row.get(term) is not None}
    known = {**(settings if isinstance(settings, dict) else {}), "content_weight": row.get("content_weight")}
    return {**row, "losses": losses, "weights": {term: known.get(f"{term}_weight") or 0.0 for term in losses}}


class Record(BaseModel):
    """What a sidecar tells, as `muralist.pipeline.records.sidecar.describe` puts it together.

    `tile_borders`, `plan` and `sheet` are None in records of before November 2026.
    """

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    bit_depth: int
    seam_score: float
    seam_threshold: float | None = None
    seconds: float
    peak_rss_bytes: int
    levels: list[LevelReport]
    losses: list[LossRecord]
    settings: dict[str, Setting]
    inputs: Inputs
    notices: list[str]
    resumed: int
    network: dict[str, Plain]
    device: dict[str, Plain]
    workers: dict[str, Plain]
    versions: dict[str, str]
    tile_borders: Borders | None = None
    plan: Plan | None = None
    sheet: Size | None = None

    @property
    def file_size(self) -> tuple[int, int]:
        """Height and width of the picture file: of the painting, and what is printed around it, px."""
        return (self.height, self.width) if self.sheet is None else (self.sheet.height, self.sheet.width)

    @property
    def place(self) -> Box:
        """Where the painting is in the file: in its middle."""
        top, left = ((whole - side) // 2 for whole, side in zip(self.file_size, (self.height, self.width), strict=True))
        return Box(Span(top, top + self.height), Span(left, left + self.width))

    @model_validator(mode="before")
    @classmethod
    def _is_of_today(cls, plain: object) -> object:
        if not isinstance(plain, dict):
            return plain
        levels, rows = plain.get("levels"), plain.get("losses")
        former: dict[str, object] = {}
        if isinstance(levels, list):
            former["levels"] = [_losses_by_name(level) for level in levels]
        if isinstance(rows, list):
            former["losses"] = [_row_by_name(row, plain.get("settings")) for row in rows]
        return {**plain, **former}

    @field_validator("settings")
    @classmethod
    def _have_new_names(cls, settings: dict[str, Setting]) -> dict[str, Setting]:
        return {Settings.new_name(name, value): value for name, value in settings.items()}

    @model_validator(mode="after")
    def _sheet_has_room(self) -> "Record":
        if min(self.place.rows.start, self.place.cols.start) < 0:
            raise ValueError(f"sheet: got {self.sheet}, wanted one as large as the painting")
        return self

    @model_validator(mode="after")
    def _borders_lie_inside(self) -> "Record":
        for lines, side in (
            ((self.tile_borders.rows, self.height), (self.tile_borders.cols, self.width)) if self.tile_borders else ()
        ):
            if any(a >= b for a, b in pairwise([0, *lines, side])):
                raise ValueError(f"tile_borders: got {lines[:10]}, wanted ascending numbers between 0 and {side}")
        return self


def read_record(painting: Path) -> Record | None:
    """Read the record beside a painting; None if there is none.

    Raises `PictureError` if it is damaged, or something else.
    """
    path = sidecar_path(painting)
    if not os.path.exists(path):  # also if the name is too long for a file
        return None
    try:
        with open_regular(path) as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PictureError(
            f"{path}: cannot be read ({error.strerror}), wanted a painting's sidecar", path=path
        ) from error
    if len(text) > MAX_BYTES:
        raise PictureError(f"{path}: more than {MAX_BYTES >> 20} MiB, wanted a painting's sidecar", path=path)
    try:
        return Record.model_validate(json.loads(text, parse_float=_finite, parse_int=_small, parse_constant=_finite))
    except (ValueError, RecursionError) as error:
        raise PictureError(
            f"{path}: not the sidecar of a painting: {_told(error)}; repair it, or move it away to see the painting "
            "alone",
            path=path,
        ) from error


def _finite(text: str) -> float:
    if not isfinite(number := float(text)):
        raise ValueError(f"got the number {text}, wanted a finite one")
    return number


def _small(text: str) -> int:
    """Such as sizes, times and bytes are."""
    if abs(number := int(text)) >= 1 << 63:
        raise ValueError(f"got a number of {len(text)} digits, wanted a smaller one")
    return number


def _told(error: ValueError | RecursionError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
