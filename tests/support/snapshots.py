"""Photographs as files: what they show, what cameras write into them, and what an independent reader finds."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

EXTENSIONS = [".jpg", ".png", ".webp", ".tif"]
LOSSLESS = [".png", ".tif"]
MODEL, DATE = ExifTags.Base.Model, ExifTags.Base.DateTime


def photograph(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth picture (height, width, 3) uint8 without symmetry, which survives lossy formats well."""
    rows, columns = np.mgrid[0:height, 0:width]
    channels = [rows / height, columns / width, (rows / height + columns / width) / 2]
    return np.round(np.dstack(channels) * 200 + 20).astype(np.uint8)


def deep_photograph(height: int = 48, width: int = 64) -> np.ndarray:
    """Like `photograph`, in uint16 with low bytes that eight bits cannot hold."""
    return (photograph(height, width).astype(np.uint16) << 8) + np.arange(width, dtype=np.uint16)[None, :, None]


def camera_exif(orientation: int = 1) -> bytes:
    """An EXIF block as a camera writes it: text, exposure, and facts about the old pixels."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[MODEL] = "Box Brownie"
    exif[DATE] = "1900:02:01 10:00:00"
    exif[ExifTags.Base.Copyright] = "© Zoë".encode()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = IFDRational(1, 125)
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] = 4000
    return exif.tobytes()


def profile(name: str) -> bytes:
    """One of libvips' built-in profiles."""
    return bytes(pyvips.Image.profile_load(name))


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    """The path, after Pillow has saved the image there."""
    image.save(path, **options)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds hardly any pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    framed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def exif_of(path: Path) -> Image.Exif:
    """The EXIF that an independent reader finds in a file."""
    with Image.open(path) as image:
        return image.getexif()
