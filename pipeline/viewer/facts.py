"""The text of a page about a painting: turns its sidecar into rows of text."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..errors import SettingsError
from ..lengths import mm_of
from ..presets import load_settings
from ..records.losses import LossRecord
from ..setting_types import spelled
from ..settings import Settings
from ..words import memory_size, spent
from .record import Input, Record, Setting

_PLAIN: Final = re.compile("(?!(?:null|true|false)$)[a-z][a-z0-9_-]*")  # texts that YAML takes as they are
_NONE: Final = ""  # of a table's cell


class Row(NamedTuple):
    """A name, its value, and what else there is to say."""

    name: str
    value: str
    note: str = ""


class Changed(NamedTuple):
    """A setting that is not as usual."""

    name: str
    value: str
    default: str


class Difference(NamedTuple):
    """What two paintings do not have in common."""

    name: str
    left: str
    right: str


def size_text(height: int, width: int, dpi: float | None) -> str:
    """Tell a size in pixels, and on paper where that is known.

    >>> size_text(4000, 6000, 300)
    '6000 x 4000 px · 24.0 megapixels · 50.8 x 33.9 cm at 300 dpi'
    """
    text = f"{width} x {height} px · {height * width / 1e6:.{1 if height * width >= 1e6 else 2}f} megapixels"
    if dpi is None:
        return text
    across, down = (mm_of(side, dpi) / 10 for side in (width, height))
    return f"{text} · {across:.1f} x {down:.1f} cm at {dpi:g} dpi"


def picture_facts(record: Record, painting: Path) -> dict[str, Any]:
    """Tell all that the page of a painting shows as text."""
    plan = record.plan if record.plan and len(record.plan.seconds) == len(record.levels) else None
    planned = plan.seconds if plan else [None] * len(record.levels)
    terms = list(dict.fromkeys(name for level in record.levels for name in level.losses_last))
    return {
        "seams": _seams(record),
        "terms": terms,
        "levels": [
            {
                "size": f"{level.width} x {level.height}",
                "tiles": level.tiles,
                "steps": level.steps if level.ended == "steps" else f"{level.steps}, {level.ended}",
                "time": spent(level.seconds),
                "planned": _NONE if seconds is None else spent(seconds),
                "losses": [_fall(level.losses_first.get(name), level.losses_last.get(name)) for name in terms],
            }
            for level, seconds in zip(record.levels, planned, strict=True)
        ],
        "steps": sum(level.steps for level in record.levels),
        "time": spent(record.seconds),
        "planned": spent(sum(plan.seconds)) if plan else _NONE,
        "plan_note": _plan_note(record, plan is not None),
        "changed": [Changed(name, *map(_spelled, values)) for name, values in _changed(record.settings).items()],
        "settings": [Row(name, _spelled(value)) for name, value in record.settings.items()],
        "command": command(record, painting),
        "origin": list(_origin(record)),
    }


def _seams(record: Record) -> dict[str, Any] | None:
    borders = record.tile_borders
    if borders is not None and not borders.rows and not borders.cols:
        return None
    score, threshold = record.seam_score, record.seam_threshold
    if threshold is None:
        return {"visible": False, "text": f"Seam score {score:.2f}; too few borders to tell it from chance."}
    visible = score > threshold
    told = "tile borders are visible" if visible else "tile borders are not visible"
    return {"visible": visible, "text": f"Seam score {score:.2f}: {told} (up to {threshold:.2f} is chance)."}


def _plan_note(record: Record, planned: bool) -> str:
    if not planned:
        return "No planned times: this machine had not been benchmarked when this was painted (muralist plan)."
    assert record.plan is not None
    more = "; it was interrupted and resumed" if record.resumed else ""
    return f"Planned from the speed measured on {record.plan.measured_on}{more}."


def _fall(first: float | None, last: float | None) -> tuple[str, ...]:
    """Parts that may stand below each other."""
    return (_NONE,) if first is None or last is None else (f"{first:.3g}", f"→ {last:.3g}")


@cache
def _usual(optimizer: Setting) -> dict[str, Setting]:
    """Settings of the default preset; some follow from the optimizer."""
    usual = load_settings()
    with suppress(SettingsError):  # one that this version does not know
        usual = load_settings(overrides={"optimizer": optimizer})
    return {**usual.model_dump(mode="json"), "optimizer": load_settings().optimizer}


def _changed(settings: Mapping[str, Setting]) -> dict[str, tuple[Setting, Setting]]:
    """Settings that are not usual, and what is."""
    optimizer = settings.get("optimizer")
    usual = _usual(optimizer if isinstance(optimizer, str) else None)
    return {name: (value, usual.get(name)) for name, value in settings.items() if value != usual.get(name)}


def _spelled(value: Setting) -> str:
    """Spell a value as in a preset."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_spelled(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_spelled, value))
    return "not set" if value is None else value if isinstance(value, str) else spelled(value)


def command(record: Record, painting: Path) -> str:
    """Spell the command that paints the same once more, elsewhere."""
    other = {name: value for name, (value, _) in _changed(record.settings).items()}
    styles = [style.path for style in record.inputs.styles]
    return render_command(record.inputs.content.path, styles, str(painting), "default", other)


def render_command(
    content: str, styles: Iterable[str], output: str, preset: str, settings: Mapping[str, object]
) -> str:
    """Spell a command for a shell.

    >>> render_command("a.jpg", ["s.jpg"], "b.jpg", "default", {"size": 900, "gps": True, "steps": [80, 40]})
    "muralist render a.jpg -s s.jpg -o b.jpg --size 900 --gps --set 'steps=[80, 40]'"
    """
    content = f"./{content}" if content.startswith("-") else content  # otherwise it would be read as an option
    words = ["muralist", "render", content, *chain.from_iterable(("-s", style) for style in styles), "-o", output]
    words += [] if preset == "default" else ["-p", preset]
    return shlex.join([*words, *chain.from_iterable(_given(*setting) for setting in settings.items())])


def _given(name: str, value: object) -> list[str]:
    """A setting as its flag, or else after `--set`."""
    on, _, off = Settings.flags().get(name, "").partition("/")
    if not on or value in (None, [], ()) or isinstance(value, dict) or isinstance(value, bool) != bool(off):
        return ["--set", f"{name}={_as_yaml(value)}"]
    if off:
        return [on if value else off]
    values = [str(each) for each in (value if isinstance(value, list | tuple) else [value])]
    return [word for each in (values if Settings.role(name).repeatable else [",".join(values)]) for word in (on, each)]


def _as_yaml(value: object) -> str:
    """A value as after `--set key=`: JSON is YAML, and most texts need no quotes."""
    return str(value) if isinstance(value, str) and _PLAIN.fullmatch(value) else json.dumps(value, default=str)


def _origin(record: Record) -> Iterator[Row]:
    yield _input("Photograph", record.inputs.content)
    for number, style in enumerate(record.inputs.styles, 1):
        share = f"share {style.share:.0%}, scale {style.scale:g}" if style.share and style.scale else ""
        yield _input("Style" if len(record.inputs.styles) == 1 else f"Style {number}", style, share)
    if record.inputs.init is not None:
        yield _input("Start", record.inputs.init)
    network = record.network
    yield Row(
        "Network",
        f"{network.get('name')}, {network.get('weights')}",
        f"license {network.get('license', network.get('licence'))}; SHA-256 {network.get('sha256')}",
    )
    device, workers = record.device, record.workers
    many = f"workers: {workers.get('count')}, threads each: {workers.get('threads')}, lost: {workers.get('lost')}"
    again = f"repeated tasks: {workers.get('tasks_run_again')}, resumed: {record.resumed}"
    where = f"{device.get('name')} ({device.get('kind')}, {device.get('precision')})"
    yield Row("Painted on", where, f"{many}; {again}")
    yield Row("Memory", f"{memory_size(record.peak_rss_bytes)} at most, all processes together")
    yield Row("Versions", ", ".join(f"{name} {version}" for name, version in record.versions.items()))


def _input(name: str, picture: Input, more: str = "") -> Row:
    note = "; ".join(filter(None, [f"{picture.width} x {picture.height} px", more, f"SHA-256 {picture.sha256}"]))
    return Row(name, picture.path, note)


def loss_rows(losses: Iterable[LossRecord]) -> tuple[list[dict[str, float | int | None]], list[str]]:
    """Give the weighted losses after every round, with time and level, and the terms that count, the total first."""
    rows: list[dict[str, float | int | None]] = []
    names = ["total"]
    for row in losses:
        terms = {name: loss if isfinite(loss) else None for name, loss in row.weighted().items()}
        names += [name for name in terms if name not in names]
        rows.append({**terms, "seconds": row.seconds, "level": row.level, "step": row.step})
    return rows, [name for name in names if name == "total" or any(row.get(name) for row in rows)]


def differences(left: Record, right: Record) -> list[Difference]:
    """Tell in what two records differ: what was made of what, how, and what came out."""
    sides = _compared(left), _compared(right)
    names = dict.fromkeys([*sides[0], *sides[1]])
    rows = [Difference(name, *(side.get(name, "not told") for side in sides)) for name in names]
    return [row for row in rows if row.left != row.right]


def _compared(record: Record) -> dict[str, str]:
    last = record.levels[-1] if record.levels else None
    styles = ", ".join(f"{style.path} ({style.sha256[:8]})" for style in record.inputs.styles)
    return {
        "photograph": f"{record.inputs.content.path} ({record.inputs.content.sha256[:8]})",
        "styles": styles,
        "size": f"{record.width} x {record.height} px",
        "seam score": f"{record.seam_score:.2f}",
        **{
            f"{'TV' if name == 'tv' else name} loss": f"{loss:.4g}"
            for name, loss in (last.losses_last if last else {}).items()
        },
        "time": spent(record.seconds),
        "network": _spelled(record.network.get("name")),
        "device": _spelled(record.device.get("name")),
        # The setting `size` is left out: it asks for what "size" above tells.
        **{name: _spelled(value) for name, value in record.settings.items() if name != "size"},
        **{f"version of {name}": number for name, number in record.versions.items()},
    }
