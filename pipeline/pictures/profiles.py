"""Color profiles of paintings: the photograph's, a standard one, or one from an ICC file."""

import struct
from pathlib import Path
from stat import S_ISREG
from typing import Final

import pyvips

from ..errors import SettingsError
from ..setting_types import PROFILES
from .metadata import is_usable

KEEP: Final = PROFILES[0]

# Adobe RGB (1998), section 4.3: red, green and blue under D50, and the curve.
_ADOBE_RGB: Final = {
    b"rXYZ": (0.60974, 0.31111, 0.01947),
    b"gXYZ": (0.20528, 0.62567, 0.06087),
    b"bXYZ": (0.14919, 0.06322, 0.74457),
}
_D50: Final = (0.9642, 1.0, 0.82491)
_ADOBE_CURVE: Final = 563  # 2.19921875 in 1/256

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
        "keep", "srgb", "p3", "adobergb", or the path of an ICC file.
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
    if wanted in PROFILES:
        usual = {"srgb": lambda: None, "p3": lambda: bytes(pyvips.Image.profile_load("p3")), "adobergb": adobe_rgb}
        return usual[wanted]()
    return _checked(_read(Path(wanted)), wanted)


def adobe_rgb() -> bytes:
    """A profile of the numbers of Adobe RGB (1998), an ICC profile of version 2.4 (ICC.1:2001-04)."""
    name = b"Compatible with Adobe RGB (1998)\0"
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, _ADOBE_CURVE)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78),
        b"cprt": b"text" + bytes(4) + b"No copyright\0",
        b"wtpt": b"XYZ " + bytes(4) + _xyz(_D50),
        **{tag: b"XYZ " + bytes(4) + _xyz(color) for tag, color in _ADOBE_RGB.items()},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body, start = b"", b"", _HEAD + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _xyz(_D50) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


def _xyz(numbers: tuple[float, float, float]) -> bytes:
    return struct.pack(">3i", *(round(number * 65536) for number in numbers))


def _read(path: Path) -> bytes:
    try:
        if not S_ISREG(path.stat().st_mode):
            raise SettingsError(
                f"profile: got {path}, which is not a regular file; wanted {', '.join(PROFILES)} or an ICC file"
            )
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise SettingsError(
            f"profile: got {path} ({error.strerror}), wanted {', '.join(PROFILES)} or an ICC file; check the path"
        ) from error


def _checked(icc: bytes, name: str) -> bytes:
    if len(icc) < _HEAD or icc[36:40] != b"acsp":
        raise SettingsError(
            f"profile: {name} is not a color profile; wanted an ICC file, such as one from a print shop"
        )
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
            f"profile: no color can be converted to {name}: it is damaged, or for input devices only; wanted a "
            "printer's output profile"
        )
    return icc
