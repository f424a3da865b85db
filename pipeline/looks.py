"""A contact sheet: one photograph painted small with several strengths and presets, to choose a look from.

It is a batch with a generated manifest, so that all looks share the workers, and finished ones are not painted again.
"""

import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from .batch.driver import BatchOptions
from .batch.run import REPORT, run_batch
from .output_files import check_place, make_folder, write_file
from .pictures.reading import read_size
from .viewer.facts import render_command
from .viewer.gallery import check_gallery
from .viewer.pages import render_page

SIZE: Final = 512  # px
PAGE: Final = "looks.html"
MANIFEST: Final = "looks.jsonl"
STRENGTHS: Final = (0.2, 0.5, 0.8)
# Few steps and one tile: a sheet is to be there while somebody waits.
QUICK: Final = {"steps": [80, 15], "level_ratio": 3, "steps_per_round": 10, "tile": 640}
QUICK_PRESET: Final = {
    **{"steps": [48, 12], "steps_per_round": 12, "base_size": SIZE // 2},
    **{"tile": 640, "precision": "auto"},
}
# Published looks that the bundled network paints, and what a few steps need: no mean over them.
PRESETS: Final[dict[str, dict[str, Any]]] = {"crowson-w2": {"steps": [40, 20], "ema_decay": 0}, "gatys-2016": {}}


class Look(NamedTuple):
    """One way to paint: its name, and the preset and settings that a long render takes from it."""

    name: str
    preset: str
    settings: dict[str, Any]
    quick: dict[str, Any]


LOOKS: Final = (
    *(Look(f"strength {strength}", "default", {"strength": strength}, QUICK) for strength in STRENGTHS),
    Look("the photograph's colors", "default", {"color": "statistics"}, QUICK),
    *(Look(name, name, {"network": "compact"}, {**QUICK_PRESET, **quick}) for name, quick in PRESETS.items()),
)


def paint_looks(content: Path, styles: Sequence[Path], output: Path, **flags: Any) -> tuple[Path, list[str]]:
    """Paint all looks that are not painted yet; return the page that shows them, and what failed.

    Parameters
    ----------
    content : Path
        The photograph.
    output : Path
        Folder; made if it is not there.
    **flags
        Settings for all of them.

    Raises
    ------
    MuralistError
        If something is wrong with all of them, such as the photograph.
    """
    read_size(content)
    make_folder(output)
    page, manifest = output / PAGE, output / MANIFEST
    check_gallery(page)
    check_place(manifest, overwrite=True)
    write_file(manifest, "".join(json.dumps(_line(look, content)) + "\n" for look in LOOKS).encode())
    # An interrupted run is discarded, since it may be of other pictures: painting takes only seconds.
    options = BatchOptions(flags={"size": SIZE, **flags}, overwrite=True, restart=True)
    run_batch([str(manifest)], styles, output, options, quiet=False)
    lines = [json.loads(line) for line in (output / REPORT).read_text().splitlines()]
    reasons = {Path(line["output"]).name: line["reason"] for line in lines if line["status"] == "failed"}
    shown = [_shown(look, content, styles, reasons) for look in LOOKS]
    title = f"{content.name} after {', '.join(style.name for style in styles)}"
    write_file(page, render_page("looks.html", ("copy.js",), {}, title=title, looks=shown, version=version("muralist")))
    return page, [f"{look['name']}: {look['reason']}" for look in shown if look["reason"]]


def _file(look: Look) -> str:
    return f"{look.name.replace(' ', '-').replace(chr(39), '')}.jpg"


def _line(look: Look, content: Path) -> dict[str, Any]:
    settings = {**look.settings, **look.quick}
    return {"content": os.path.abspath(content), "preset": look.preset, "output": _file(look), "settings": settings}


def _shown(look: Look, content: Path, styles: Sequence[Path], reasons: dict[str, str]) -> dict[str, Any]:
    output = f"{content.stem}-painted.tif"
    command = render_command(str(content), map(str, styles), output, look.preset, look.settings)
    reason = reasons.get(_file(look))
    return {"name": look.name, "image": None if reason else quote(_file(look)), "command": command, "reason": reason}
