"""Checks the settings and styles of a batch command once, since a mistake in them would fail every picture."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from ...model.weight_files import find_weights
from ..initialization import init_file
from ..pictures.profiles import output_profile
from ..pictures.reading import read_size
from ..regions import mask_files, region_specs
from ..render_plan import network_of
from ..settings import Settings
from ..styles import style_files, style_specs
from .items import Item

_FILES: Final = ("regions", "style_mask", "strength_map", "protect", "init", "profile")  # settings that name some


def check_command(items: Sequence[Item], styles: Sequence[tuple[Path, ...]], settings: Settings) -> None:
    """Refuse a command with which pictures cannot be painted. What a manifest says of a picture is looked at later.

    Parameters
    ----------
    styles : sequence of tuple of Path
        The command's: each picture without its own is painted once after each of these.
    settings : Settings
        The command's.

    Raises
    ------
    MuralistError
        If a file that it names cannot be read, or its network, its styles and its settings do not suit each other.
    """
    unused = [name for name in _FILES if all(name in item.overrides for item in items)]
    settings = settings.model_copy(update={name: Settings.model_fields[name].default for name in unused})
    styles = [style for style in styles if any(item.styles == style for item in items)]
    files = [file for style in style_files(_styles(styles, settings)) for file in style]
    files += [path for path in mask_files(settings).values() if "{" not in str(path)]  # templates: of each photograph
    for path in filter(None, [*files, init_file(settings)]):
        read_size(path)
    output_profile(settings.profile, None)
    if any(item.preset is None and not item.overrides and item.styles in styles for item in items):
        find_weights(network_of(settings), settings.weights)
        if settings.active_style_layers and (styles[0] or not settings.regions):
            style_specs(settings, len(styles[0]))


def _styles(styles: Sequence[tuple[Path, ...]], settings: Settings) -> list[Path]:
    """Every style that counts, those of regions as well."""
    named = [*chain(*styles), *(Path(spec.style) for spec in region_specs(settings))]
    return named if settings.active_style_layers else []
