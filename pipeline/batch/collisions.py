"""Checks that no file written by a batch replaces a file that the batch reads, or another one that it writes.

Only names are compared, before anything is painted. Links are followed, since a file may have several names.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from muralist.errors import MuralistError

from ..errors import SettingsError
from ..input_files import files_named_in
from ..output_files import file_at
from ..output_names import faces_path, proof_path, sidecar_path, snapshot_of
from ..pictures.pages import place_of
from ..region_specs import FACES
from ..settings import Settings
from .items import Item
from .naming import UNIQUE

SettingsOf = Callable[[Item], Settings]


def check_collisions(items: Sequence[Item], settings_of: SettingsOf, report: Path, manifests: Iterable[Path]) -> None:
    """Refuse a batch in which one file would take the place of another.

    Parameters
    ----------
    settings_of : callable
        Gives the settings of an item. An item with invalid settings fails later, and neither reads nor writes.
    report : Path
        File for the batch's report.

    Raises
    ------
    SettingsError
        Naming the file, what would be written there, and what to do.
    """
    settings = _settings(items, settings_of)
    read = {_real(path) for item in items for path in (item.content, *item.styles)}
    read |= {_real(path) for each in settings if each for path in files_named_in(each)} | {*map(_real, manifests)}
    files_read = {file_at(Path(real)) for real in read}
    written = {_real(report): "the report"}
    for item, own in zip(items, settings, strict=True):
        _take(written, item.output, f"the painting of {_told(item)}")
        _take(written, sidecar_path(item.output), f"the sidecar of {_told(item)}")
        if own and own.proof:
            _take(written, proof_path(item.output), f"the proof of {_told(item)}")
        if own and FACES in (own.protect or ()):
            _take(written, faces_path(item.output), f"the mask of faces of {_told(item)}")
    for real, what in written.items():
        if {real, os.path.dirname(real)} & read or file_at(Path(real)) in files_read:  # a folder among them is a style
            raise SettingsError(
                f"{what} would overwrite {real}, which is an input or lies in a style folder; choose another output "
                "folder or --name"
            )
    by_output = {_real(item.output): (item, own) for item, own in zip(items, settings, strict=True)}
    for real in {*read, *written}:
        if (snapshot := snapshot_of(Path(real))) is None or (found := by_output.get(str(snapshot[0]))) is None:
            continue
        (item, own), step = found, snapshot[1]
        if own and own.snapshot_every and step and step % own.snapshot_every == 0:
            raise SettingsError(
                f"the snapshot of {_told(item)} after {step} steps would overwrite {real}, which is "
                f"{written.get(real, 'an input')}; choose another output folder or --name, or leave --snapshot-every "
                "out"
            )


def _told(item: Item) -> str:
    return f"{item.content} ({item.place})"


def _take(written: dict[str, str], path: Path, what: str) -> None:
    first = written.setdefault(_real(path), what)
    if first is not what:
        raise SettingsError(
            f"{first} and {what} would both be written to {path}; give them different names, for example with --name "
            f"'{UNIQUE}'"
        )


def _settings(items: Sequence[Item], settings_of: SettingsOf) -> list[Settings | None]:
    """Settings of every item. Most have the same, which are found once."""
    known: dict[str, Settings | None] = {}
    for item in items:
        if (key := _key(item)) not in known:
            known[key] = None
            with suppress(MuralistError):
                known[key] = settings_of(item)
    return [known[_key(item)] for item in items]


def _key(item: Item) -> str:
    return repr((item.preset, item.overrides))


def _real(path: Path) -> str:
    return os.path.realpath(place_of(path).file)
