"""Style pictures: one or several, or a folder that counts as one, each with its share of the style and its scale.

Colours are the pictures' own, or with `colours: statistics` the photograph's (`muralist.pipeline.pictures.colours`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..model.architecture import Architecture
from .errors import PictureError, SettingsError
from .pictures.colours import Recolouring, recolouring
from .pictures.formats import supported_inputs
from .pictures.images import Picture, resize
from .pictures.reading import read_picture
from .progress import counted
from .settings import Settings
from .workers.memory import budget


@dataclass(frozen=True, eq=False)
class Style:
    """One style picture.

    Attributes
    ----------
    picture : Picture
    share : float
        Of the style that is painted; the shares of all pictures sum to one.
    scale : float
        Size of its brush strokes, relative to the picture fitted to the level.
    least : int
        Smallest side the network can see, px.
    recolouring : Recolouring, optional
        What gives the picture the photograph's colours; None leaves it its own.
    """

    picture: Picture
    share: float
    scale: float
    least: int
    recolouring: Recolouring | None = None

    @property
    def side(self) -> int:
        """Long side of the picture as it is, px."""
        return max(self.picture.height, self.picture.width)

    def size(self, side: int) -> tuple[int, int]:
        """Height and width with a long side of `side`, no smaller than the network can see, px."""
        height, width = self.picture.height, self.picture.width
        scale = max(side / max(height, width), self.least / min(height, width))
        return round(height * scale), round(width * scale)

    def pixels(self, side: int) -> np.ndarray:
        """Give the picture at `size(side)`, recoloured if it is to be: (h, w, 3), float32 in [0, 1]."""
        resized = resize(self.picture.pixels, *self.size(side))
        return resized if self.recolouring is None else self.recolouring(resized)


def style_files(paths: Sequence[Path]) -> tuple[tuple[Path, ...], ...]:
    """List the pictures of every style: a file is its own, a folder's are those in it, by name, without subfolders.

    Raises
    ------
    PictureError
        If there is no picture in a folder.
    """
    return tuple(_pictures_in(path) if path.is_dir() else (path,) for path in paths)


def _pictures_in(folder: Path) -> tuple[Path, ...]:
    known = [extension for kind in supported_inputs() for extension in kind.extensions]
    try:
        found = sorted(path for path in folder.iterdir() if _is_picture(path, known))
    except OSError as error:
        raise PictureError(f"{folder}: cannot be listed ({error.strerror}); name the pictures", path=folder) from error
    if not found:
        raise PictureError(
            f"{folder}: got a style folder without pictures, wanted at least one file in it with the extension "
            f"{' '.join(known)}; put some there, or name a picture",
            path=folder,
        )
    return tuple(found)


def _is_picture(path: Path, extensions: Sequence[str]) -> bool:
    """Hidden files are what systems leave beside pictures."""
    return path.suffix.lower() in extensions and not path.name.startswith(".") and path.is_file()


def read_styles(
    files: Sequence[Sequence[Path]], photograph: Picture, settings: Settings, network: Architecture
) -> tuple[Style, ...]:
    """Read all style pictures, none if style does not count; the pictures of one style share its share equally.

    Parameters
    ----------
    files : sequence of sequence of Path
        The pictures of every style, from `style_files`.
    photograph : Picture
        Where the colours come from with `colours: statistics`.
    settings : Settings
    network : Architecture

    Raises
    ------
    SettingsError
        If there is no style, or `style_blend` or `style_scale` do not match the styles.
    PictureError
        If a picture cannot be read or is too small.
    """
    if not settings.active_style_layers:
        return ()
    least = network.minimum(settings.active_style_layers)
    shares, scales = _shares(settings, len(files)), _scales(settings, len(files))
    return tuple(
        _style(path, photograph, share / len(pictures), scale, settings, least)
        for pictures, share, scale in zip(files, shares, scales, strict=True)
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


def _scales(settings: Settings, count: int) -> tuple[float, ...]:
    scales = settings.style_scale
    if len(scales) not in (1, count):
        raise SettingsError(
            f"style_scale: got {counted(len(scales), 'scale')} for {counted(count, 'style')}, wanted one for all or "
            "one for each"
        )
    return scales * count if len(scales) == 1 else scales


@lru_cache(maxsize=8)  # a batch paints many photographs after the same pictures
def _picture(path: Path, _changed: tuple[int, int] | None, max_pixels: int, memory: int) -> Picture:
    return read_picture(path, max_pixels, decoder_memory=memory)


def _style(path: Path, photograph: Picture, share: float, scale: float, settings: Settings, least: int) -> Style:
    facts = path.stat() if path.is_file() else None  # what is wrong with a path is told where it is read
    picture = _picture(path, facts and (facts.st_mtime_ns, facts.st_size), settings.max_pixels, budget(settings))
    if min(picture.height, picture.width) < least:
        raise PictureError(
            f"{path}: got a style picture of {picture.width} x {picture.height} px, wanted at least {least} px a side",
            path=path,
        )
    matched = settings.colours == "statistics"
    return Style(picture, share, scale, least, recolouring(picture.pixels, photograph.pixels) if matched else None)
