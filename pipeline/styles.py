"""Style pictures: one or several, or a folder that counts as one, each with its share of the style and its scale.

Colors are the pictures' own, or with `color: statistics` the photograph's (`muralist.pipeline.pictures.colors`).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..model.architecture import Architecture
from .errors import PictureError, SettingsError
from .lengths import MAX_SIDE_MM, Stroke, parse_length, parse_stroke, pixels_of
from .pictures.colors import Recoloring, recoloring
from .pictures.formats import INPUT_EXTENSIONS
from .pictures.images import Picture, resize
from .pictures.limits import ReadLimits
from .pictures.masks import Mask, read_mask
from .pictures.reading import read_picture
from .pictures.strokes import stroke_width
from .region_specs import RegionSpec
from .regions import fitted
from .settings import Settings
from .words import counted
from .workers.machine import reading_limits


@dataclass(frozen=True, eq=False)
class Style:
    """One style picture.

    Attributes
    ----------
    share : float
        Of the style that is painted; the shares of all pictures sum to one.
    scale : float
        Size of its brush strokes, relative to the picture fitted to the level.
    min_side : int
        Smallest side the network can see, px.
    recoloring : Recoloring, optional
        What gives the picture the photograph's colors; None leaves it its own.
    region : int
        Which region it is painted in; 0 is the whole picture, or what no region claims.
    mask : Mask, optional
        The part of the picture that counts.
    width_mm : float, optional
        Width of the original painting.
    stroke : Stroke, optional
        How wide its brush strokes are to be.
    """

    picture: Picture
    share: float
    scale: float
    min_side: int
    recoloring: Recoloring | None = None
    region: int = 0
    mask: Mask | None = None
    width_mm: float | None = None
    stroke: Stroke | None = None

    @property
    def side(self) -> int:
        """Long side of the picture as it is, px."""
        return max(self.picture.height, self.picture.width)

    def at_true_scale(self, dpi: float, longest: int) -> "Style":
        """Give strokes the width that is asked for, or the size on paper that they have in the original.

        Parameters
        ----------
        dpi : float
            Of the print.
        longest : int
            Long side of the painting, px.

        Raises
        ------
        PictureError
            If strokes of a picture of one color are to have a width.
        """
        if self.stroke is not None:
            mask = None if self.mask is None else self.mask.values
            enlarged = self.stroke.pixels(dpi) / stroke_width(self.picture, mask)
        elif self.width_mm is not None:
            enlarged = pixels_of(self.width_mm, dpi) / self.picture.width
        else:
            return self
        return replace(self, scale=enlarged * self.side / longest)

    def falls_short(self, longest: int) -> str:
        """Say how much smaller or larger strokes become than asked for, if the picture is not so large; "" if not.

        `longest` is the long side of the painting, px.
        """
        wanted = self.scale * longest
        found = max(self.size(min(round(wanted), self.side)))
        if (self.stroke is None and self.width_mm is None) or abs(found - wanted) < max(1, wanted / 100):
            return ""
        share = f"{found / wanted:.0%}"
        if self.stroke is None:
            told = f"{share} as large as on the wall"
        else:
            told = f"about {self.stroke.times(found / wanted)} wide, {share} of the {self.stroke} that were asked for"
        limit = f"long side has {self.side} px instead of {wanted:.0f}"
        if found > wanted:
            limit = f"short side needs at least {self.min_side} px for the network"
        return f"{self.picture.path}: strokes will be {told}, since the picture's {limit}"

    def size(self, side: int) -> tuple[int, int]:
        """Height and width with a long side of `side`, no smaller than the network can see, px."""
        height, width = self.picture.height, self.picture.width
        scale = max(side / max(height, width), self.min_side / min(height, width))
        return round(height * scale), round(width * scale)

    def pixels(self, side: int) -> np.ndarray:
        """Give the picture at `size(side)`, recolored if it is to be: (h, w, 3), float32 in [0, 1]."""
        resized = resize(self.picture.pixels, *self.size(side))
        return resized if self.recoloring is None else self.recoloring(resized)

    def weights(self, side: int) -> np.ndarray | None:
        """Give the mask at `size(side)`: (h, w), float32 in [0, 1]; None if all of the picture counts."""
        return None if self.mask is None else resize(self.mask.values, *self.size(side))


def style_files(paths: Sequence[Path]) -> tuple[tuple[Path, ...], ...]:
    """List the pictures of every style: a file is its own, a folder's are those in it, by name, without subfolders.

    Raises `PictureError` if there is no picture in a folder.
    """
    return tuple(_pictures_in(path) if os.path.isdir(path) else (path,) for path in paths)


def _pictures_in(folder: Path) -> tuple[Path, ...]:
    try:
        found = sorted(path for path in folder.iterdir() if _is_picture(path))
    except OSError as error:
        raise PictureError(f"{folder}: cannot be listed ({error.strerror}); name the pictures", path=folder) from error
    if not found:
        raise PictureError(
            f"{folder}: got a style folder without pictures, wanted at least one file in it with the extension "
            f"{' '.join(INPUT_EXTENSIONS)}; put some there, or name a picture",
            path=folder,
        )
    return tuple(found)


def _is_picture(path: Path) -> bool:
    """Hidden files are what systems leave beside pictures."""
    return path.suffix.lower() in INPUT_EXTENSIONS and not path.name.startswith(".") and path.is_file()


def read_styles(
    files: Sequence[Sequence[Path]], photograph: Picture, settings: Settings, network: Architecture
) -> tuple[Style, ...]:
    """Read all style pictures, none if style does not count; the pictures of one style share its share equally.

    Parameters
    ----------
    files : sequence of sequence of Path
        The pictures of every style, from `style_files`.
    photograph : Picture
        Where the colors come from with `color: statistics`.

    Raises
    ------
    SettingsError
        If there is no style, or `style_blend`, `style_scale`, `style_mask`, `style_width` or `stroke` do not match the
        styles.
    PictureError
        If a picture or a mask cannot be read, is too small, or of another shape.
    """
    if not settings.active_style_layers:
        return ()
    return tuple(
        _style(path, spec, share / len(pictures), photograph, settings, network)
        for pictures, (share, spec) in zip(files, style_specs(settings, len(files)), strict=True)
        for path in pictures
    )


def style_specs(settings: Settings, count: int) -> list[tuple[float, RegionSpec]]:
    """Give the share of each of so many styles, and what is asked of it.

    Raises `SettingsError` if there is no style, or the settings do not match the styles.
    """
    shares = _shares(settings, count)
    scales, masks, widths, strokes = (
        _for_each(name, getattr(settings, name) or (None,), count)
        for name in ("style_scale", "style_mask", "style_width", "stroke")
    )
    return [
        (share, RegionSpec("", "", scale, style_mask=mask, width=width, stroke=stroke))
        for share, scale, mask, width, stroke in zip(shares, scales, masks, widths, strokes, strict=True)
    ]


def read_region_styles(
    files: Sequence[Sequence[Path]],
    specs: Sequence[RegionSpec],
    first: int,
    photograph: Picture,
    settings: Settings,
    network: Architecture,
) -> tuple[Style, ...]:
    """Read the style pictures of regions, which are numbered from `first` on; otherwise like `read_styles`."""
    return tuple(
        replace(
            _style(path, _as_elsewhere(spec, settings), 1 / len(pictures), photograph, settings, network), region=region
        )
        for region, (pictures, spec) in enumerate(zip(files, specs, strict=True), first)
        for path in pictures
    )


def _shares(settings: Settings, count: int) -> list[float]:
    if not count:
        raise SettingsError("got no style picture, wanted at least one; name it with --style")
    blend = settings.style_blend or (1.0,) * count
    if len(blend) != count:
        raise SettingsError(
            f"style_blend: got {counted(len(blend), 'share')} for {counted(count, 'style')}, wanted one for each; "
            "a folder of pictures counts as one style"
        )
    if not any(blend):
        raise SettingsError(f"style_blend: got {blend}, wanted at least one share above 0; or set style_weight=0")
    return [share / sum(blend) for share in blend]


def _for_each(name: str, values: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """One value for every style: the only one, or its own."""
    if len(values) not in (1, count):
        raise SettingsError(
            f"{name}: got {counted(len(values), name.removeprefix('style_'))} for {counted(count, 'style')}, wanted "
            "one for all or one for each"
        )
    return values * count if len(values) == 1 else values


@lru_cache(maxsize=8)  # a batch paints many photographs after the same pictures
def _picture(path: Path, _changed: tuple[int, int] | None, limits: ReadLimits) -> Picture:
    return read_picture(path, limits)


def _as_elsewhere(spec: RegionSpec, settings: Settings) -> RegionSpec:
    """A region whose strokes are as large as elsewhere, if it says nothing and there is one size elsewhere."""
    if spec.scale or spec.width or spec.stroke:
        return spec
    (scale, *others), (stroke, *more) = settings.style_scale, settings.stroke or (None,)
    return replace(spec, scale=None if others else scale, stroke=None if more else stroke)


def _style(
    path: Path, spec: RegionSpec, share: float, photograph: Picture, settings: Settings, network: Architecture
) -> Style:
    """Read a style picture that is to be as a region says."""
    facts = path.stat() if os.path.isfile(path) else None  # what is wrong with a path is told where it is read
    picture = _picture(path, facts and (facts.st_mtime_ns, facts.st_size), reading_limits(settings))
    min_side = network.min_input(settings.active_style_layers)
    if min(picture.height, picture.width) < min_side:
        raise PictureError(
            f"{path}: got a style picture of {picture.width} x {picture.height} px, wanted at least {min_side} px a "
            "side",
            path=path,
        )
    matched = (spec.color or settings.color) == "statistics"
    mask = None if spec.style_mask is None else _mask_of(picture, spec.style_mask, settings)
    return Style(
        picture,
        share,
        spec.scale or 1.0,
        min_side,
        recoloring(picture.pixels, photograph.pixels, None if mask is None else mask.values) if matched else None,
        mask=mask,
        width_mm=None if spec.width is None else parse_length(spec.width, "width", MAX_SIDE_MM),
        stroke=None if spec.stroke is None else parse_stroke(spec.stroke, "stroke"),
    )


def _mask_of(picture: Picture, name: str, settings: Settings) -> Mask:
    mask = read_mask(name, reading_limits(settings))
    return fitted(mask, name, (picture.height, picture.width), stretch=settings.region_fit)
