"""Names of paintings, from templates such as `{stem}-{style}.{ext}`: always below the output folder."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from string import Formatter
from typing import Final

from ...model.errors import choices
from ..complaints import short
from ..errors import SettingsError
from ..pictures.encoding import OUTPUT_EXTENSIONS
from ..setting_types import can_name_file

FIELDS: Final = ("stem", "style", "preset", "ext", "number", "folder")
DEFAULT: Final = "{stem}.{ext}"
WITH_STYLE: Final = "{stem}-{style}.{ext}"
UNIQUE: Final = "{stem}-{number}.{ext}"
OTHERWISE: Final = "png"  # for photographs whose extension is none that can be written


def writable(suffix: str) -> bool:
    """Say whether an extension such as ".tif" is of a format that can be written."""
    return suffix.lower() in OUTPUT_EXTENSIONS


@dataclass(frozen=True)
class Template:
    """A template of names.

    Attributes
    ----------
    text : str
        A relative path with `FIELDS` in braces; no field has a separator in it, so folders are only those written out.
    place : str
        Where it was written, for messages.

    Raises
    ------
    SettingsError
        If there are other fields in it, or more than names of fields.
    """

    text: str
    place: str = "--name"

    def __post_init__(self) -> None:
        for _, field, form, conversion in self._parts():
            if field is not None and (field not in FIELDS or form or conversion):
                raise SettingsError(
                    f"{self.place}: got {self.text!r}, wanted fields by their plain names, without formats; "
                    + choices(field, [f"{{{name}}}" for name in FIELDS])
                )

    def path(self, fields: Mapping[str, str]) -> PurePath:
        """Fill the fields in.

        Raises `SettingsError` if the result leads out of its folder or is no name of a picture that can be written.
        """
        filled = "".join(
            literal + ("" if field is None else _plain(fields[field])) for literal, field, _, _ in self._parts()
        )
        if not all(map(_is_name, filled.split("/"))):
            raise SettingsError(f"{self.place}: got {filled!r}, wanted a path below the output folder, without '..'")
        if not can_name_file(filled):
            raise SettingsError(f"{self.place}: got {short(filled)}, wanted a file name")
        if not writable(PurePath(filled).suffix):
            known = " ".join(OUTPUT_EXTENSIONS)
            raise SettingsError(f"{self.place}: got {filled!r}, wanted a name that ends in one of {known}")
        return PurePath(filled)

    def _parts(self) -> list[tuple[str, str | None, str | None, str | None]]:
        try:
            return list(Formatter().parse(self.text))
        except ValueError as error:
            raise SettingsError(
                f"{self.place}: got {self.text!r} ({error}), wanted fields in braces such as {DEFAULT}"
            ) from None


def _plain(text: str) -> str:
    """A text as part of a file name."""
    text = re.sub(r"[/\\\0]", "_", text)
    return text if text.strip(".") else text.replace(".", "_") or "_"


def _is_name(part: str) -> bool:
    return part not in ("", ".", "..") and "\0" not in part


def below(output: Path, path: PurePath, place: str) -> Path:
    """Give the absolute path of a painting, made sure to lie in the output folder whatever links lead through it.

    Raises `SettingsError` if it does not.
    """
    root = Path(os.path.abspath(output))
    real = Path(os.path.realpath(root / path))
    if ".." in path.parts or not real.is_relative_to(os.path.realpath(root)):
        raise SettingsError(f"{place}: {path} leads out of the output folder {output}, wanted a path that stays in it")
    return root / path
