"""Color profiles that paintings are written in: the photograph's, a usual one, or a print shop's from a file."""

from pathlib import Path
from stat import S_ISREG
from typing import Final

import pyvips

from muralist.pipeline.errors import SettingsError
from muralist.pipeline.pictures.metadata import is_usable

KEEP: Final = "keep"
BUILT_IN: Final = (KEEP, "srgb", "p3")
"""What needs no file."""

_MOST_BYTES: Final = 1 << 25
_HEAD: Final = 128
_SPACES: Final = {b"RGB ": 3, b"CMYK": 4}
_CLASSES: Final = {
    b"scnr": "a scanner",
    b"link": "a link between devices",
    b"abst": "an effect",
    b"nmcl": "named colors",
}


def channels_of(icc: bytes | None) -> int:
    """How many numbers a color of this profile has: 3 of RGB, also without a profile, or 4 of CMYK."""
    return 3 if icc is None else _SPACES.get(icc[16:20], 3)


def output_profile(wanted: str, photograph: bytes | None) -> bytes | None:
    """Find the profile for a painting.

    Parameters
    ----------
    wanted : str
        "keep", "srgb", "p3", or the path of an ICC file.
    photograph : bytes or None
        The photograph's profile, for "keep"; one that is no output profile for RGB does not count.

    Returns
    -------
    bytes or None
        None: sRGB.

    Raises
    ------
    SettingsError
        If a file is no profile that pictures can be converted to.
    """
    if wanted == KEEP:
        return photograph if photograph and channels_of(photograph) == 3 and is_usable(photograph) else None
    if wanted in BUILT_IN:
        return None if wanted == "srgb" else bytes(pyvips.Image.profile_load(wanted))
    return _checked(_read(Path(wanted)), wanted)


def _read(path: Path) -> bytes:
    try:
        if not S_ISREG(path.stat().st_mode):
            raise SettingsError(f"profile: got {path}, which is no file; wanted keep, srgb, p3 or an ICC file")
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise SettingsError(
            f"profile: got {path} ({error.strerror}), wanted keep, srgb, p3 or an ICC file; check the path"
        ) from error


def _checked(icc: bytes, name: str) -> bytes:
    if len(icc) < _HEAD or icc[36:40] != b"acsp":
        raise SettingsError(f"profile: {name} is no color profile; wanted an ICC file, such as a print shop offers")
    kind, space = icc[12:16], icc[16:20]
    if kind in _CLASSES:
        raise SettingsError(
            f"profile: {name} is a profile of {_CLASSES[kind]}, wanted one of a printer, a screen or a color space"
        )
    if space not in _SPACES:
        told = space.decode("latin-1").strip()
        raise SettingsError(f"profile: {name} is a profile for {told} colors, wanted one for RGB or CMYK")
    if not is_usable(icc):
        raise SettingsError(
            f"profile: nothing can be converted to {name}: it is damaged, or leads in the other direction only; wanted "
            "one that a printer gives to its customers"
        )
    return icc
