"""Masks of many photographs, named by a template: `{stem}.sky.png` is looked for beside every photograph.

If a photograph has no such file, it is painted without that mask.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ...model.errors import choices
from ..errors import SettingsError
from ..pictures.masks import mask_file
from ..pictures.pages import place_of
from ..region_specs import parse_region
from ..settings import Settings
from .items import Item

FIELDS: Final = ("stem", "folder")
_FIELD: Final = re.compile(r"\{([^{}]*)\}")


def with_own_masks(items: Sequence[Item], settings: Settings) -> list[Item]:
    """Give every item the masks that lie beside its photograph, and leave those out that are masks of others.

    Parameters
    ----------
    settings : Settings
        The batch's; those of a manifest come first.

    Raises
    ------
    SettingsError
        If a template has a field that is none, or a region cannot be read.
    """
    found, masks = [], set()
    for item in items:
        filled = _Filled(item.content)
        asked = {**settings.model_dump(include=set(settings.names(scope="picture"))), **item.overrides}
        try:
            own = {"regions": filled.regions(asked["regions"])}
            own |= {"strength_map": filled.one(asked["strength_map"]), "protect": filled.all(asked["protect"])}
        except SettingsError as error:
            raise SettingsError(f"{item.place}: {error}") from None
        if filled.names:
            own = {name: value for name, value in own.items() if value != asked[name]}
            item = replace(item, overrides={**item.overrides, **own}, missing=tuple(filled.missing))
        found.append(item)
        masks |= {os.path.realpath(mask_file(name)) for name in filled.names}
    return [item for item in found if os.path.realpath(item.content) not in masks]


class _Filled:
    """Templates filled in for one photograph: the names that came out, and the files that are not there."""

    def __init__(self, photograph: Path) -> None:
        self.place = place_of(photograph)
        self.names: list[str] = []
        self.missing: list[str] = []

    def one(self, mask: object) -> object:
        """A mask's name; None if it is not there."""
        if not isinstance(mask, str) or not _FIELD.search(mask):
            return mask
        fields = {"stem": self.place.stem, "folder": Path(os.path.abspath(self.place.file)).parent.name}
        for field in _FIELD.findall(mask):
            if field not in fields:
                raise SettingsError(f"got mask {mask!r}; {choices(field, [f'{{{name}}}' for name in FIELDS])}")
        name = str(self.place.file.parent / _FIELD.sub(lambda found: fields[found[1]], mask))
        self.names.append(name)
        if os.path.isfile(mask_file(name)):
            return name
        self.missing.append(Path(name).name)
        return None

    def all(self, masks: object) -> object:
        """The names of the masks that are there; None if there are none."""
        if not isinstance(masks, str | list | tuple):
            return masks
        named = map(self.one, [masks] if isinstance(masks, str) else masks)
        return tuple(name for name in named if name is not None) or None

    def regions(self, texts: object) -> object:
        """Regions whose masks are there; None if there are none."""
        listed = [texts] if isinstance(texts, str) else texts
        if not isinstance(listed, list | tuple) or not all(isinstance(text, str) for text in listed):
            return texts  # from a manifest; mistakes are reported when the settings are combined
        wanted = [parse_region(text) for text in listed]
        named = [(spec, self.one(spec.mask)) for spec in wanted]
        return [str(replace(spec, mask=str(name))) for spec, name in named if name is not None] or None
