"""Finds all files that a render reads, by name, before reading any of them."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from .initialization import init_file
from .region_specs import RegionSpec
from .regions import mask_files, region_specs
from .setting_types import PROFILES
from .settings import Settings
from .styles import style_files


@dataclass(frozen=True)
class InputFiles:
    """The files that a render reads.

    Attributes
    ----------
    styles : tuple of Path
        As they were named; a folder of pictures is one.
    style_files, region_files : tuple of tuple of Path
        Pictures of every style, and of every region's; no styles where style does not count.
    masks : dict str -> Path
        By what they are for.
    paths : tuple of Path
        All of these, and others of which only the settings know.
    """

    styles: tuple[Path, ...]
    style_files: tuple[tuple[Path, ...], ...]
    regions: tuple[RegionSpec, ...]
    region_files: tuple[tuple[Path, ...], ...]
    masks: dict[str, Path]
    paths: tuple[Path, ...]

    @classmethod
    def of(cls, content: Path, styles: tuple[Path, ...], settings: Settings) -> "InputFiles":
        """Find the files. Raises `PictureError` where there is none."""
        files = style_files(styles) if settings.active_style_layers else ()
        specs, masks = region_specs(settings), mask_files(settings)
        region_files = style_files([Path(spec.style) for spec in specs])
        paths = (content, *styles, *itertools.chain(*files, *region_files), *files_named_in(settings))
        return cls(styles, files, specs, region_files, masks, paths)


def files_named_in(settings: Settings) -> list[Path]:
    """Files that the settings name: where to start from, weights, a profile, masks, and styles of regions."""
    profile = None if settings.profile in PROFILES else settings.profile
    regions = [spec.style for spec in region_specs(settings)]
    named = [init_file(settings), settings.weights, profile, *mask_files(settings).values(), *regions]
    return [Path(each) for each in named if each is not None]
