"""Manifests: lists of pictures, as CSV with a header or as JSON lines, each with a style and settings of its own.

A picture's keys are `content`, and if wanted `style` (several separated by `|`), `preset`, `output` and settings by
their names; in JSON lines settings may also stand under `settings`, and styles in a list. CSV cells are written as
after `--set`. An empty cell and a JSON null say nothing. Paths count from the manifest's folder, but `weights` as after
its flag.

Manifests may be untrusted: nothing in one may write outside the output folder, or choose where to connect or how much
of the machine to use.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Final

from ...model.errors import did_you_mean
from ..complaints import short
from ..errors import SettingsError
from ..presets import parse_value
from ..region_specs import FACES, parse_region
from ..setting_types import STARTS, can_name_file
from ..settings import Settings

MAX_BYTES: Final = 64 << 20
_OWN: Final = ("content", "style", "preset", "output")
_PHOTOGRAPH: Final = ("file", "filename", "image", "input", "path", "photo", "photograph", "picture")  # other words
_SEPARATOR: Final = re.compile("[;\t]")  # of columns, where a comma is a decimal one

_Record = tuple[str, dict[str, Any]]  # place, such as "list.csv:3", and content of a line


@dataclass(frozen=True)
class Entry:
    """A picture that was named, and what was said about it.

    Attributes
    ----------
    content : Path
        The photograph.
    place : str
        Where it was named: an argument, or a line of a manifest such as `list.csv:3`.
    folder : PurePath
        Where its painting goes, below the output folder.
    styles : tuple of Path, optional
        Its own, None for those of the command line.
    overrides : dict
        Settings that beat all others.
    output : str, optional
        Template of its painting's path below the output folder.
    """

    content: Path
    place: str
    folder: PurePath = field(default_factory=PurePath)
    styles: tuple[Path, ...] | None = None
    preset: str | None = None
    overrides: dict[str, object] = field(default_factory=dict)
    output: str | None = None


def is_manifest(path: Path) -> bool:
    """Say whether a file is a manifest, by its extension."""
    return path.suffix.lower() in _READERS


def read_manifest(path: Path) -> list[Entry]:
    """Read all entries of a manifest. Whether their pictures, styles and values are good is not looked at.

    Raises `SettingsError` if the file or one of its lines cannot be understood; the message begins with `file:line`.
    """
    records = _READERS[path.suffix.lower()](_text(path), str(path))
    if not (found := [_entry(path.parent, place, said) for place, said in records]):
        raise SettingsError(f"{path}: got no picture, wanted at least one line that names one")
    return found


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}), wanted a manifest") from None
    if len(data) > MAX_BYTES:
        raise SettingsError(f"{path}: got more than {MAX_BYTES >> 20} MiB, wanted a smaller manifest; split it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path}:{_line_at(data, error.start)}: got bytes that are not UTF-8; save it as UTF-8"
        ) from None


def _line_at(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


# --- CSV and JSON lines --------------------------------------------------------------------------


def _csv_records(text: str, name: str) -> Iterator[_Record]:
    rows = _csv_rows(text, name)
    place, header = next(rows, (f"{name}:1", []))
    if len(header) == 1 and (other := _SEPARATOR.search(header[0])):
        raise SettingsError(f"{place}: got columns separated by {other[0]!r}, wanted commas; save it with those")
    _check_keys(header, place)
    repeated = {key for key in header if header.count(key) > 1}
    if repeated or "content" not in header:
        got = f"{short(repeated.pop())} twice" if repeated else f"the columns {short(header)}"
        raise SettingsError(f"{place}: got {got}, wanted a header with the column 'content' and every column once")
    for place, cells in rows:
        if len(cells) != len(header):
            raise SettingsError(f"{place}: got {len(cells)} cells, wanted {len(header)} as in the header")
        said: dict[str, Any] = {key: cell for key, cell in zip(header, cells, strict=True) if cell.strip()}
        yield place, {key: _cell(key, cell, place) for key, cell in said.items()}


def _csv_rows(text: str, name: str) -> Iterator[tuple[str, list[str]]]:
    """Rows that are not blank, each with the line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    while True:
        place = f"{name}:{reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise SettingsError(f"{place}: cannot be read as CSV: {error}") from None
        if row is None:
            return
        if row:
            yield place, row


def _cell(key: str, cell: str, place: str) -> object:
    return cell if key in _OWN else parse_value(cell, f"{place}: {key}")


def _json_records(text: str, name: str) -> Iterator[_Record]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        try:
            found = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"{place}: cannot be read as JSON: {getattr(error, 'msg', error)}") from None
        if not isinstance(found, dict):
            raise SettingsError(f"{place}: got {short(found)}, wanted an object such as {{'content': 'photo.jpg'}}")
        yield place, _flat(found, place)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object without repeated keys, of which JSON would silently take the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is repeated")
    return found


def _flat(found: dict[str, Any], place: str) -> dict[str, Any]:
    """The keys of an object and, beside them, those under `settings`."""
    settings = found.pop("settings", {})
    if not isinstance(settings, dict):
        raise SettingsError(f"{place}: settings: got {short(settings)}, wanted an object of settings")
    for key in settings:
        if key in _OWN or key in found:
            raise SettingsError(f"{place}: settings: {key} does not belong there, or is given twice")
    _check_keys([*found, *settings], place)
    return {key: value for key, value in {**found, **settings}.items() if value is not None}


_READERS: Final[Mapping[str, Callable[[str, str], Iterator[_Record]]]] = {".csv": _csv_records, ".jsonl": _json_records}


# --- what a line says ----------------------------------------------------------------------------


def _check_keys(keys: Iterable[str], place: str) -> None:
    machine = Settings.names(scope="machine")
    known = [*_OWN, *(name for name in Settings.model_fields if name not in machine)]
    for key in keys:
        if key in machine:
            raise SettingsError(f"{place}: {key} applies to the whole batch, wanted it on the command line")
        if key not in known and key not in Settings.old_names():
            meant = did_you_mean("content" if key.lower() in _PHOTOGRAPH else key, known)
            problem = ", ".join(filter(None, [f"unknown key {short(key)}", meant]))
            raise SettingsError(f"{place}: {problem}")


def _entry(folder: Path, place: str, said: dict[str, Any]) -> Entry:
    texts = {key: _name(said[key], f"{place}: {key}") for key in ("content", "preset", "output") if key in said}
    if "content" not in texts:
        raise SettingsError(f"{place}: got no content, wanted the path of a photograph")
    return Entry(
        content=folder / texts["content"],
        place=place,
        folder=_mirrored(PurePath(texts["content"])),
        styles=_styles(folder, said["style"], f"{place}: style") if "style" in said else None,
        preset=_preset(folder, texts["preset"]) if "preset" in texts else None,
        overrides=_overrides(folder, place, {key: value for key, value in said.items() if key not in _OWN}),
        output=texts.get("output"),
    )


def _name(value: object, place: str) -> str:
    """A text that can be the name of a file."""
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"{place}: got {short(value)}, wanted a text")
    if not can_name_file(value):
        raise SettingsError(f"{place}: got {short(value)}, wanted a file name")
    return value


def _mirrored(content: PurePath) -> PurePath:
    """The folder of a photograph that lies below the manifest; others go straight into the output folder."""
    return PurePath() if content.is_absolute() or ".." in content.parts else content.parent


def _styles(folder: Path, value: object, place: str) -> tuple[Path, ...]:
    texts = value.split("|") if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise SettingsError(f"{place}: got {short(value)}, wanted the path of a painting, or several")
    return tuple(folder / _name(text, place).strip() for text in texts)


def _preset(folder: Path, preset: str) -> str:
    """A preset of ours by name, or a file."""
    path = PurePath(preset)
    return str(folder / path) if path.suffix or path.name != preset else preset


def _overrides(folder: Path, place: str, settings: dict[str, object]) -> dict[str, object]:
    for key, value in settings.items():
        if isinstance(value, str):
            _name(value, f"{place}: {key}")
    found = {
        key: _from(folder, key, value) if key in Settings.names(scope="picture") else value
        for key, value in settings.items()
    }
    init = settings.get("init")
    is_file = isinstance(init, str) and init.lower() not in STARTS
    return found | ({"init": str(folder / str(init))} if is_file else {})


def _from(folder: Path, key: str, masks: object) -> object:
    """Masks, and styles of regions, as they count from the manifest's folder; templates count from each photograph's.

    Mistakes are reported when the settings are combined.
    """
    if isinstance(masks, list):
        return [_from(folder, key, mask) for mask in masks]
    if not isinstance(masks, str) or masks == FACES:
        return masks
    if key != "regions":
        return _below(folder, masks)
    try:
        region = parse_region(masks)
    except SettingsError:
        return masks
    part = region.style_mask and _below(folder, region.style_mask)
    return str(replace(region, mask=_below(folder, region.mask), style=str(folder / region.style), style_mask=part))


def _below(folder: Path, mask: str) -> str:
    return mask if "{" in mask or mask == FACES else str(folder / mask)
