"""The page of a batch: `report.html` beside `report.jsonl`. It lists every picture, and can be searched and sorted."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from ...model.errors import printable
from ..errors import OutputError, PictureError, PipelineError
from ..output_files import check_place, write_file
from ..output_names import report_path
from ..records.batch_report import WORDS, Result
from ..words import spent
from .facts import Row
from .pages import is_our_page, render_page
from .publish import tiles_path
from .pyramid import THUMBNAIL
from .report import is_fresh, write_report

SCRIPTS: Final = ("copy.js", "gallery.js")
PAINTED: Final = ("done", "skipped", "copied")
TOLD: Final = 20  # pages that could not be made, of which the page says why
_LINE: Final = TypeAdapter(dict[str, Any])
_RESULT: Final = TypeAdapter(Result)


def gallery_path(report: Path) -> Path:
    """Name the page of a batch: `report.jsonl` has `report.html`."""
    return report.with_suffix(".html")


def check_gallery(page: Path) -> None:
    """Refuse to replace a page that is not one of ours: nobody was asked about it. Raises `OutputError`."""
    check_place(page, overwrite=True)
    if os.path.exists(page) and not is_our_page(page):
        raise OutputError(f"{page}: this page is not muralist's; move it away, or name another folder", path=page)


def write_gallery(report: Path, *, pages: bool = False, memory: int | None = None) -> tuple[Path, list[str]]:
    """Write the page of a batch from its report; return the page's path, and what the user should know.

    Parameters
    ----------
    report : Path
        A `report.jsonl` (`muralist.pipeline.records.batch_report`) together with the paintings, wherever they are now.
    pages : bool
        Whether to write the page of every painting in the report's folder that has none, or one older than itself.
    memory : int, optional
        As for `write_report`.

    Raises
    ------
    PictureError, OutputError
        If the report cannot be read or the page not be written.
    """
    page = gallery_path(report)
    check_gallery(page)
    folder = Path(os.path.abspath(page.parent))
    rows, times = _read(report, folder)
    notices = []
    for row in rows if pages else ():
        if row.status in PAINTED and not is_fresh(Path(row.output)):
            try:
                _check_inside(Path(row.output), folder)
                write_report(Path(row.output), overwrite=True, memory=memory)
            except PipelineError as error:
                notices.append(f"no page: {error}")
    write_file(
        page,
        render_page(
            "gallery.html",
            SCRIPTS,
            {"rows": [_shown(row, folder) for row in rows]},
            title=f"{folder.name} · muralist",
            name=folder.name,
            summary=_summary(rows, times),
            notices=notices[:TOLD],
            version=version("muralist"),
        ),
    )
    return page, notices


def _check_inside(painting: Path, folder: Path) -> None:
    if not Path(os.path.realpath(painting)).is_relative_to(os.path.realpath(folder)):
        raise OutputError(
            f"{painting}: not in {folder}, wanted a painting in the folder of the report; run `muralist report` for "
            "the painting itself, or rerun the batch if its folder was moved",
            path=painting,
        )


def _read(report: Path, folder: Path) -> tuple[list[Result], list[datetime | None]]:
    """All results, with outputs in a folder, and when each came; None where that is not told."""
    try:
        lines = report.read_bytes().splitlines()
    except OSError as error:
        raise PictureError(
            f"{report}: cannot be read ({error.strerror}), wanted the report of a batch; name its output folder",
            path=report,
        ) from error
    rows, times = list[Result](), list[datetime | None]()
    for number, line in enumerate(lines, 1):
        try:
            found = _LINE.validate_python(json.loads(line))
            when = found.pop("time", None)
            row = _RESULT.validate_python(found)
            rows.append(replace(row, output=row.output and str(folder / row.output)))
            times.append(None if when is None else datetime.fromisoformat(when))
        except (ValidationError, ValueError, TypeError, RecursionError) as error:
            raise PictureError(
                f"{report}:{number}: not a line of a batch's report; repair or remove it", path=report
            ) from error
    return rows, times


def _shown(row: Result, folder: Path) -> dict[str, Any]:
    """What the page needs of a picture, short: there may be ten thousand."""
    told = (
        "status",
        "reason",
        "seconds",
        "width",
        "height",
        "seam_score",
        "seam_threshold",
        "style_loss",
        "content_loss",
        "command",
    )
    facts = {name: value for name, value in asdict(row).items() if name in told and value is not None}
    facts["name"] = printable(_relative(row.output, folder) or row.input)
    facts["input"] = printable(row.input)
    if row.reason is not None:
        facts["reason"] = row.reason.removeprefix(f"{facts['input']}: ")  # the page shows the input anyway
    if row.output and os.path.exists(page := report_path(Path(row.output))):
        facts["page"] = _url(page, folder)
        thumbnails = sorted(tiles_path(page).glob(f"*/{THUMBNAIL}"), key=lambda path: path.stat().st_mtime_ns)
        facts |= {"thumbnail": _url(thumbnails[-1], folder)} if thumbnails else {}
    return facts


def _relative(path: str, folder: Path) -> str:
    return os.path.relpath(path, folder) if path else ""


def _url(path: Path, folder: Path) -> str:
    return quote(os.fsencode(_relative(str(path), folder)))


def _summary(rows: Sequence[Result], times: Sequence[datetime | None]) -> list[Row]:
    """The night in a few words."""
    ends = [(time.timestamp(), row.seconds) for time, row in zip(times, rows, strict=True) if time is not None]
    counts = Counter(row.status for row in rows)
    done = [row for row in rows if row.status == "done"]
    facts = [Row(WORDS[status], str(number)) for status, number in counts.most_common()]
    if done and ends:
        passed = max(end for end, _ in ends) - min(end - seconds for end, seconds in ends)
        megapixels = sum((row.width or 0) * (row.height or 0) for row in done) / 1e6
        facts += [
            Row("from first to last", spent(passed)),
            Row("median per picture", spent(median(row.seconds for row in done))),
            Row("megapixels", f"{megapixels:,.1f}"),
        ]
    scores = [(row.seam_score, row.seam_threshold) for row in rows if row.seam_score and row.seam_threshold]
    if scores:
        facts.append(Row("with visible seams", str(sum(score > threshold for score, threshold in scores))))
    return facts
