"""Cuts a poster into overlapping panels (sheets, or lanes of a roll) that are glued together to a mural.

Panels have the poster's exact pixel values, so together they are the poster.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from .errors import OutputError, SettingsError
from .lengths import MAX_DPI, mm_of
from .output_files import check_place, file_at, writing
from .panel_pages import write_pages
from .panel_plan import plan_panels
from .pictures.limits import ReadLimits
from .pictures.reading import read_stored
from .pictures.stored import Stored
from .pictures.writing import write_stored
from .presets import load_settings
from .workers.machine import budget

QUALITY: Final = 95


def cut_panels(
    poster: Path,
    output: Path,
    *,
    sheet: str | None = None,
    roll: str | None = None,
    overlap: str = "10mm",
    dpi: float | None = None,
    quality: int = QUALITY,
    lossless: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Cut a poster into panels.

    Parameters
    ----------
    poster : Path
        Any picture that can be read.
    output : Path
        For sheets a PDF; for a roll a .tif, which gets a number: `panels.tif` becomes `panels-1.tif` and so on.
    sheet : str, optional
        Paper of every panel, see `parse_print`; it is turned so that fewer are needed. Excludes `roll`.
    roll : str, optional
        Width of a roll, see `parse_length`; every panel is a lane of the whole height.
    overlap : str
        What neighbors share.
    dpi : float, optional
        Dots per inch, instead of what the poster states.
    quality : int
        Of JPEGs in a PDF. Not for a roll.
    lossless : bool
        Whether to store panels in a PDF without loss. Not for a roll.
    overwrite : bool
        Whether existing files may be replaced.

    Returns
    -------
    dict
        `files`, `panels`, `rows`, `columns`, and `width_mm` and `height_mm` of the whole.

    Raises
    ------
    SettingsError, PictureError, OutputError
    """
    if (sheet is None) == (roll is None):
        raise SettingsError(f"got {'sheet and roll' if sheet else 'neither sheet nor roll'}, wanted one of them")
    if roll and (lossless or quality != QUALITY):
        raise SettingsError("got quality or lossless for lanes of a roll, which are TIFFs without loss; leave them out")
    _check_name(output, ".pdf" if sheet else ".tif")
    settings = load_settings()
    memory = budget(settings)
    check_place(output, overwrite=True)
    with TemporaryDirectory(dir=output.parent, prefix=".muralist-panels-") as folder:
        picture = read_stored(poster, ReadLimits(settings.max_pixels, memory, Path(folder), memory))
        density = _density(poster, picture, dpi)
        height, width, _ = picture.shape
        plan = plan_panels(height, width, density, overlap, sheet=sheet, roll=roll)
        files = [output] if sheet else [_numbered(output, number, plan.count) for number in range(1, plan.count + 1)]
        for path in files:
            if file_at(path) == file_at(poster):
                raise OutputError(f"{path}: this is the poster itself; name another output", path=path)
            check_place(path, overwrite=overwrite)
        if sheet:
            with writing(output) as file:
                write_pages(file, picture, plan, poster.name, None if lossless else quality)
        else:
            for path, cols in zip(files, plan.cols, strict=True):
                write_stored(path, picture.part(slice(0, height), slice(*cols)), (density, density))
    return {
        "files": [str(path) for path in files],
        "panels": plan.count,
        "rows": len(plan.rows),
        "columns": len(plan.cols),
        "height_mm": round(mm_of(height, density), 1),
        "width_mm": round(mm_of(width, density), 1),
    }


def _check_name(output: Path, wanted: str) -> None:
    if output.suffix.lower() != wanted:
        what = "sheets" if wanted == ".pdf" else "lanes of a roll"
        raise OutputError(f"{output}: got extension {output.suffix!r}, wanted {wanted} for {what}", path=output)


def _numbered(output: Path, number: int, count: int) -> Path:
    return output.with_stem(f"{output.stem}-{number:0{len(str(count))}}")


def _density(poster: Path, picture: Stored, dpi: float | None) -> float:
    """Dots per inch."""
    found = dpi if dpi is not None else picture.dpi[0] if picture.dpi else None
    if found is None:
        raise SettingsError(f"{poster}: it states no resolution for printing; give one with --dpi")
    if not 0 < found <= MAX_DPI:
        raise SettingsError(f"got {found:g} dpi, wanted more than 0 and at most {MAX_DPI:.0f}")
    return float(found)
