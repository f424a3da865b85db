"""Turns masks into guidance: where a picture is painted after which style, and how strongly.

Masks belong to the photograph. They are brought to every level's size and to a partition of unity: what no region
claims belongs to `--style`, and regions that claim more than a whole pixel share it. Guidance is a region's share of
every pixel, times how strongly it is painted there. Beside those of all regions lie the share of a pixel that is
painted in light only, and the share of the photograph that shows through in the end.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from .errors import PictureError, SettingsError
from .pictures.array_file import ArrayFile
from .pictures.faces import find_faces
from .pictures.images import Picture, resize, resize_rows, size_within
from .pictures.masks import Mask, mask_file, read_mask
from .region_specs import FACES, RegionSpec, parse_region
from .settings import Settings
from .workers.machine import reading_limits

EXTRA: Final = 2  # channels behind the guidance: light only, photograph
SHOWS_BELOW: Final = 0.25  # strength, below which the photograph begins to show through
LEAST_CLAIM: Final = 0.1  # share of a pixel that a region must have somewhere to be painted at all
_SMALL: Final = 256  # px, long side at which is looked whether anything is left to paint

Crop = Callable[[Picture], Picture]


@dataclass(frozen=True)
class RegionLayout:
    """What tasks must know of the regions of a picture.

    Attributes
    ----------
    count : int
        Regions, as many as there are guidance channels.
    planes : int
        Of three channels each, that guidance and what lies behind it take.
    painted : float
        How much of the photograph is given up for the style, as a share of what it would be without masks.
    styles : tuple of int
        The region of every style picture.
    """

    count: int
    planes: int
    painted: float
    styles: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of one picture.

    Attributes
    ----------
    masks : tuple of Mask
        One for each, cropped like the photograph.
    has_rest : bool
        Whether there is a first region, beside those, of what they do not claim.
    protect : dict of str to Mask
        What stays a photograph, with soft edges, by the names in the settings.
    faces : Mask or None
        The protected faces that were found, of the whole photograph.
    luminance : bool
        Whether the rest is painted in light only.
    painted : float
        What `measure_painted` found; everything, before.
    """

    specs: tuple[RegionSpec, ...]
    masks: tuple[Mask, ...]
    has_rest: bool
    strength_map: Mask | None
    protect: dict[str, Mask]
    faces: Mask | None
    luminance: bool
    painted: float = 1.0

    @property
    def count(self) -> int:
        """Regions that are painted, the rest first."""
        return len(self.specs) + self.has_rest

    @property
    def planes(self) -> int:
        """Planes of three channels that `channels` fill."""
        return -(-(self.count + EXTRA) // 3)

    @property
    def all_masks(self) -> tuple[Mask, ...]:
        """Every mask of the photograph; the faces that were found only as they are protected."""
        return *self.masks, *filter(None, [self.strength_map]), *self.protect.values()

    def layout(self, styles: Sequence[int]) -> RegionLayout:
        """Say what tasks must know, given the region of every style picture."""
        return RegionLayout(self.count, self.planes, self.painted, tuple(styles))

    def measure_painted(self) -> float:
        """Measure how much of the photograph is given up for the style, as a share of what it would be without masks.

        The content loss answers to about the root of what a style pulls with, see `muralist.pipeline.strength`.
        """
        shape = next((mask.height, mask.width) for mask in self.all_masks)
        height, width = size_within(_SMALL, *shape)
        guidance = self.channels(height, width, (0, height))[..., : self.count]
        return float(np.sqrt(guidance.sum(2)).mean())

    def channels(self, height: int, width: int, rows: tuple[int, int]) -> np.ndarray:
        """Give the guidance and, behind it, what is painted in light only and what shows through.

        Parameters
        ----------
        height, width : int
            Of the picture, px.
        rows : (int, int)
            Start and stop.

        Returns
        -------
        ndarray (rows, width, count + EXTRA), float32, at least 0
        """

        def at_size(mask: Mask) -> np.ndarray:
            return resize_rows(mask.values, height, width, rows)

        claims = np.zeros((rows[1] - rows[0], width, 0), np.float32)
        if self.masks:
            claims = np.dstack([at_size(mask) for mask in self.masks])
        shares = _with_rest(claims) if self.has_rest else self._without_gaps(claims, height, rows)
        rest = [RegionSpec("", "", color="luminance" if self.luminance else "style")] if self.has_rest else []
        specs = [*rest, *self.specs]
        guidance = shares * np.array([spec.strength for spec in specs], np.float32)
        if self.strength_map is not None:
            guidance *= at_size(self.strength_map)[..., None]
        shows = 1 - np.minimum(guidance.sum(2) / SHOWS_BELOW, 1)
        for mask in self.protect.values():
            protected = at_size(mask)
            guidance *= 1 - protected[..., None]
            shows = np.maximum(shows, protected)
        light = np.array([self._in_light(spec) for spec in specs], np.float32)
        return np.dstack([guidance, shares @ light, shows])

    def _without_gaps(self, claims: np.ndarray, height: int, rows: tuple[int, int]) -> np.ndarray:
        """Shares of masks that cover the picture; hairline gaps, too thin for a rest, go to the nearest regions."""
        total = claims.sum(2, keepdims=True)
        if (total == 0).any():
            small = size_within(_SMALL, self.masks[0].height, self.masks[0].width)
            near = [resize_rows(resize(mask.values, *small), height, claims.shape[1], rows) for mask in self.masks]
            claims = np.where(total == 0, np.dstack(near), claims)
            total = claims.sum(2, keepdims=True)
        return np.asarray(claims / total)

    def _in_light(self, spec: RegionSpec) -> bool:
        return self.luminance if spec.color is None else spec.color == "luminance"


def _with_rest(claims: np.ndarray) -> np.ndarray:
    """Shares of every pixel that add up to one, the rest first: (height, width, regions), float32."""
    total = claims.sum(2, keepdims=True)
    return np.concatenate([1 - np.minimum(total, 1), claims / np.maximum(total, 1)], axis=2)


def region_specs(settings: Settings) -> tuple[RegionSpec, ...]:
    """Regions with styles of their own; none if style does not count."""
    return tuple(map(parse_region, settings.regions or ())) if settings.active_style_layers else ()


def mask_names(settings: Settings) -> dict[str, str]:
    """Every mask of a painting, by what it is for."""
    specs = region_specs(settings)
    names = {f"region {number}": spec.mask for number, spec in enumerate(specs, 1)}
    names |= {f"style mask of region {n}": spec.style_mask for n, spec in enumerate(specs, 1) if spec.style_mask}
    names |= {f"style mask {number}": name for number, name in enumerate(settings.style_mask or (), 1)}
    if settings.strength_map is not None:
        names["strength map"] = settings.strength_map
    protected = (name for name in settings.protect or () if name != FACES)
    return names | {f"protected {number}": name for number, name in enumerate(protected, 1)}


def mask_files(settings: Settings) -> dict[str, Path]:
    """The file of every mask of a painting, by what it is for."""
    return {what: mask_file(name) for what, name in mask_names(settings).items()}


def read_regions(
    settings: Settings, photograph: Picture, crop: Crop, styles: int, folder: Path | None = None
) -> Regions | None:
    """Read the masks of a photograph, and find its faces if they are protected; None if it has none.

    Parameters
    ----------
    photograph : Picture
        Not cropped yet.
    crop : callable (Picture) -> Picture
        Crops a picture as the photograph is cropped.
    styles : int
        How many styles there are for what no region claims.
    folder : Path, optional
        As for `reading_limits`.

    Raises
    ------
    SettingsError
        If something is left without a style, or nothing is left to paint.
    PictureError
        If a mask cannot be read, is empty, or has another shape than the photograph.
    """
    specs = region_specs(settings)
    if not (specs or settings.strength_map or settings.protect):
        return None

    def mask(name: str) -> Mask:
        shape = photograph.height, photograph.width
        found = read_mask(name, reading_limits(settings, folder))
        return _cropped(fitted(found, name, shape, stretch=settings.region_fit), name, crop)

    masks = tuple(mask(spec.mask) for spec in specs)
    strength_map = None if settings.strength_map is None else mask(settings.strength_map)
    protect = {name: mask(name) for name in settings.protect or () if name != FACES}
    faces = find_faces(photograph) if FACES in (settings.protect or ()) else None
    if faces:
        protect[FACES] = replace(faces, values=crop(faces.picture).pixels)
    if not (specs or strength_map or protect):
        return None
    rest = _rest(masks)
    if rest >= LEAST_CLAIM and not styles and settings.active_style_layers:
        raise SettingsError(
            "got regions that leave part of the picture without a style, wanted one for it; name it with --style"
        )
    regions = Regions(
        specs,
        masks,
        rest >= LEAST_CLAIM,
        strength_map,
        {name: each.feathered() for name, each in protect.items()},
        faces,
        settings.color == "luminance",
    )
    painted = regions.measure_painted()
    if painted == 0:
        given = ", ".join(f"{flag} {value}" for flag, value in _given(settings))
        raise SettingsError(f"got masks that leave nothing to paint ({given}), wanted a strength above 0 somewhere")
    return replace(regions, painted=painted)


def _given(settings: Settings) -> Iterator[tuple[str, str]]:
    """What decides how strongly is painted where, by flags."""
    for name in ("regions", "strength_map", "protect"):
        value = getattr(settings, name) or ()
        for each in (value,) if isinstance(value, str) else value:
            yield Settings.flags()[name], each


def fitted(mask: Mask, name: str, shape: tuple[int, int], *, stretch: bool) -> Mask:
    """Give a mask of a picture's shape, within a pixel; another one only if it may be stretched.

    Raises `PictureError`.
    """
    (height, width), sides = shape, (mask.height, mask.width, *shape)
    if abs(mask.height * width / (mask.width * height) - 1) * min(sides) <= 1:
        return mask
    if not stretch:
        raise PictureError(
            f"{name}: got a mask of {mask.width} x {mask.height} px for a picture of {width} x {height} px, wanted "
            "the same shape; use --region-fit to stretch it",
            path=mask.path,
        )
    stretched = resize(mask.values, max(1, round(mask.width * height / width)), mask.width)
    return replace(mask, values=np.rint(stretched * 255).astype(np.uint8))


def _cropped(mask: Mask, name: str, crop: Crop) -> Mask:
    """The part of a mask that is to be painted, which must not be empty."""
    values = crop(mask.picture).pixels
    found = replace(mask, values=values)
    if not _highest(values):
        raise PictureError(f"{name}: got a mask that is black everywhere after cropping", path=mask.path)
    return found


def _highest(values: np.ndarray | ArrayFile) -> float:
    return max(float(values[top : top + 256].max()) for top in range(0, values.shape[0], 256))


def _rest(masks: Sequence[Mask]) -> float:
    """The largest share of any pixel that no mask claims, looked at in a small size."""
    if not masks:
        return 1.0
    size = size_within(_SMALL, masks[0].height, masks[0].width)
    claims = np.sum([resize(mask.values, *size) for mask in masks], axis=0)
    return float(1 - claims.min())
