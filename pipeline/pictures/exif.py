"""EXIF blocks: reads values from them, and removes parts without moving anything else.

A block is what JPEG, PNG and WebP hold (``b"Exif\\0\\0"`` and a small TIFF structure). A TIFF file is its own EXIF; six
of its text tags are translated to and from such a block. Broken metadata never stops a picture: it is treated as
absent.
"""

import logging
import math
import re
import struct
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import tifffile
from PIL import ExifTags, Image

# tifffile tells of every broken tag on the standard error stream.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

Dpi = tuple[float, float]
"""Resolution in dots per inch, (horizontal, vertical)."""

TEXT_TAGS = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
)
"""The tags that a TIFF file keeps: text about the photograph, nothing about how its pixels were stored."""

_IN_XMP: dict[int, str] = {
    ExifTags.Base.ImageDescription: "description",
    ExifTags.Base.Artist: "creator",
    ExifTags.Base.Copyright: "rights",
}
_EXIF_PREFIX = b"Exif\0\0"
# What tifffile (also for ImageJ, OME-TIFF and whole-slide scanners) takes for a statement of shape and pages.
_OF_LAYOUT = re.compile(
    r'\{.*"shape":|shape=|ImageJ=|SCIFIO=|<MetaData>|Aperio |state\.|SIMPLE .*END\s*$'
    r"|.*(?:OME>|</scn>|scanimage\.SI.*)\s*$",
    re.DOTALL,
)
# Long, and understood by the camera's maker alone; and directories that are not copied.
_OF_THE_CAMERA = (ExifTags.Base.MakerNote, ExifTags.IFD.Interop)
_DOTS_PER_INCH = {2: 1.0, 3: 2.54}  # by ResolutionUnit: 2 is inch, 3 is centimetre
_BROKEN_EXIF = (SyntaxError, struct.error, ValueError, TypeError, KeyError, OSError, ZeroDivisionError)
_BYTE_ORDER = {b"II*\0": "<", b"MM\0*": ">"}  # by the first bytes of a TIFF structure
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_OF_THE_PIXELS = (
    *(ExifTags.Base.XResolution, ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit),
    *(ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength, ExifTags.Base.BitsPerSample, ExifTags.Base.Compression),
    *(ExifTags.Base.PhotometricInterpretation, ExifTags.Base.SamplesPerPixel, ExifTags.Base.PlanarConfiguration),
    *(ExifTags.Base.StripOffsets, ExifTags.Base.RowsPerStrip, ExifTags.Base.StripByteCounts),
)
"""What is true of the photograph's file alone, in the first directory."""
_MAY_HOLD_PLACES = (ExifTags.Base.XMLPacket, ExifTags.Base.IPTCNAA, ExifTags.Base.ImageResources)
_NOTES_WITH_PLACES = (b"Panasonic\0", b"LEICA\0")  # country, state, city and landmark
_JPEG = b"\xff\xd8\xff"
_MOST_DIRECTORIES = 16  # cameras write four


class _Entry(NamedTuple):
    """A directory's entry, as stored and understood; `value` is where a value of more than four bytes lies."""

    stored: bytes
    tag: int
    type: int
    number: int
    value: int

    @property
    def nbytes(self) -> int:
        return _BYTES_OF_TYPE.get(self.type, 0) * self.number


def dpi_of_exif(exif: bytes | None) -> Dpi | None:
    """The resolution that an EXIF block states, or None."""
    return dpi_of_tags(main_tags(exif))


def dpi_of_tags(tags: Mapping[int, Any]) -> Dpi | None:
    """The resolution that tags of EXIF or TIFF state, or None."""
    scale = _DOTS_PER_INCH.get(tags.get(ExifTags.Base.ResolutionUnit, 2))
    horizontal = _positive(tags.get(ExifTags.Base.XResolution))
    vertical = _positive(tags.get(ExifTags.Base.YResolution))
    if scale is None or horizontal is None or vertical is None:
        return None
    return (round(horizontal * scale, 2), round(vertical * scale, 2))


def without_thumbnail(exif: bytes) -> bytes:
    """The EXIF block without what applies to the photograph's file only.

    That is its second directory, which holds a thumbnail, a maker's note that holds a preview, how the pixels were
    stored, and the resolution, which libvips would prefer to the one it is given. Everything else stays in its place; a
    broken block is returned unchanged.
    """
    prefix = _EXIF_PREFIX if exif.startswith(_EXIF_PREFIX) else b""
    block = bytearray(exif[len(prefix) :])
    order = "<" if block[:2] == b"II" else ">"
    try:
        (directory,) = struct.unpack_from(order + "I", block, 4)
        link = _link(directory, _entries(block, order, directory))
        block[link : link + 4] = bytes(4)
        _drop(block, order, directory, lambda entry: entry.tag in _OF_THE_PIXELS)
    except struct.error:
        return exif
    with suppress(struct.error):
        for directory in _directories(block, order):
            for entry in _drop(block, order, directory, lambda entry: _JPEG in _note(block, entry)):
                _wipe(block, entry.value, entry.nbytes)
    return prefix + bytes(block)


def without_gps(exif: bytes) -> bytes | None:
    """The EXIF block without the place at which the photograph was taken; all else stays where it lies.

    That is the position, XMP and IPTC, which belong elsewhere, and the notes of makers who name places. Every directory
    is searched: readers follow a link to a position wherever it is, not only in the first directory, where it belongs.

    Returns
    -------
    bytes or None
        None if the block is broken, since other readers might find a position in it.
    """
    prefix = _EXIF_PREFIX if exif.startswith(_EXIF_PREFIX) else b""
    block = bytearray(exif[len(prefix) :])
    order = _BYTE_ORDER.get(bytes(block[:4]))
    if order is None:
        return None
    try:
        for directory in _directories(block, order):
            for entry in _drop(block, order, directory, lambda entry: _tells_place(block, entry)):
                if entry.tag != ExifTags.IFD.GPSInfo:
                    _wipe(block, entry.value, entry.nbytes)
                elif entry.value:  # 0: none
                    _wipe_directory(block, order, entry.value)
    except struct.error:
        return None
    return prefix + bytes(block)


def _directories(block: bytearray, order: str) -> list[int]:
    """Where the directories lie that are linked in a chain, or as EXIF and interoperability directories."""
    found: list[int] = []
    links = list(struct.unpack_from(order + "I", block, 4))
    while links:
        directory = links.pop()
        if directory == 0 or directory in found:
            continue
        found.append(directory)
        if len(found) > _MOST_DIRECTORIES:
            raise struct.error("directories without end")
        entries = _entries(block, order, directory)
        links += [entry.value for entry in entries if entry.tag in (ExifTags.IFD.Exif, ExifTags.IFD.Interop)]
        links += struct.unpack_from(order + "I", block, _link(directory, entries))
    return found


def _entries(block: bytearray, order: str, directory: int) -> list[_Entry]:
    (count,) = struct.unpack_from(order + "H", block, directory)
    places = range(directory + 2, directory + 2 + 12 * count, 12)
    return [_Entry(bytes(block[p : p + 12]), *struct.unpack_from(order + "HHII", block, p)) for p in places]


def _link(directory: int, entries: list[_Entry]) -> int:
    """Where a directory's link to the next one lies."""
    return directory + 2 + 12 * len(entries)


def _tells_place(block: bytearray, entry: _Entry) -> bool:
    in_note = _note(block, entry).startswith(_NOTES_WITH_PLACES)
    return in_note or entry.tag in (ExifTags.IFD.GPSInfo, *_MAY_HOLD_PLACES)


def _note(block: bytearray, entry: _Entry) -> bytes:
    """What the camera's maker has noted, if that is what the entry is about."""
    is_note = entry.tag == ExifTags.Base.MakerNote and entry.nbytes > 4
    return bytes(block[entry.value : entry.value + entry.nbytes]) if is_note else b""


def _drop(block: bytearray, order: str, directory: int, is_dropped: Callable[[_Entry], bool]) -> list[_Entry]:
    """Take entries out of a directory, and give them back; what they consist of stays."""
    entries = _entries(block, order, directory)
    link = _link(directory, entries)
    following = block[link : link + 4]
    dropped = [entry for entry in entries if is_dropped(entry)]
    kept = [entry.stored for entry in entries if entry not in dropped]
    stored = struct.pack(order + "H", len(kept)) + b"".join(kept) + following
    block[directory : link + 4] = stored.ljust(link + 4 - directory, b"\0")
    return dropped


def _wipe(block: bytearray, start: int, length: int) -> None:
    """Overwrite a value, if it is not in its entry, as far as it lies in the block."""
    if length > 4:
        block[start : start + length] = bytes(len(block[start : start + length]))


def _wipe_directory(block: bytearray, order: str, directory: int) -> None:
    entries = _entries(block, order, directory)
    spans = [(directory, _link(directory, entries))]
    spans += [(entry.value, entry.value + entry.nbytes) for entry in entries if entry.nbytes > 4]
    for start, stop in spans:
        if stop > len(block):
            raise struct.error("a value beyond the end")
        block[start:stop] = bytes(stop - start)


def text_tags(exif: bytes | None) -> dict[int, bytes]:
    """The `TEXT_TAGS` of an EXIF block, as the bytes stored in the file, but no description of a file's layout."""
    tags = main_tags(exif)
    if not tags.get(ExifTags.Base.DateTime):  # when it was taken, where nothing says when the file was changed
        tags[ExifTags.Base.DateTime] = _tags(exif, ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal)
    # Pillow decodes EXIF text as Latin-1, so this gives the stored bytes back whatever they mean.
    found = {int(tag): tags[tag] for tag in TEXT_TAGS if isinstance(tags.get(tag), str)}
    return {tag: text.encode("latin-1") for tag, text in found.items() if not _states_layout(tag, text)}


def texts(exif: bytes | None) -> dict[str, list[str]]:
    """What an EXIF block says of the picture and its rights, under the names that XMP has for it."""
    found = text_tags(exif)
    return {name: [_decoded(found[tag])] for tag, name in _IN_XMP.items() if found.get(tag, b"").strip(b"\0 ")}


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def exif_of_tiff(path: Path, page: int = 1) -> bytes | None:
    """An EXIF block of the `TEXT_TAGS` of a page of a TIFF file and when it was taken; None if that is nothing."""
    exif = Image.Exif()
    try:
        with tifffile.TiffFile(path) as tiff:
            found = tiff.pages.get(page - 1)
            stored = found.tags if isinstance(found, tifffile.TiffPage) else tiff.pages.first.tags
            for tag in TEXT_TAGS:
                value = stored.valueof(int(tag))
                if isinstance(value, str) and value and not _states_layout(tag, value):
                    exif[tag] = value.encode()
            directory = stored.valueof(int(ExifTags.IFD.Exif))
            taken = directory.get("DateTimeOriginal") if isinstance(directory, dict) else None
            if isinstance(taken, str) and taken:
                exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: taken}
    except (tifffile.TiffFileError, IndexError, *_BROKEN_EXIF):
        return None
    return exif.tobytes() if len(exif) else None


def exif_of_raw(file: BinaryIO) -> bytes | None:
    """What a raw photograph that is built like a TIFF says of how and where it was taken, or None if it is not."""
    stored, exif = Image.Exif(), Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of tags that are cut short
            file.seek(0)
            stored.load_from_fp(file)
            for tag in TEXT_TAGS:
                if isinstance(stored.get(tag), str):
                    exif[tag] = stored[tag].encode("latin-1")  # as in the file, see `text_tags`
            for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
                found = {tag: value for tag, value in stored.get_ifd(directory).items() if tag not in _OF_THE_CAMERA}
                if found:
                    exif.get_ifd(directory).update(found)
            return exif.tobytes() if len(exif) else None
    except _BROKEN_EXIF:
        return None


def _states_layout(tag: int, text: str) -> bool:
    """Whether a description tells programs how the photograph's file is built, which the painting's is not."""
    return tag == ExifTags.Base.ImageDescription and _OF_LAYOUT.match(text) is not None


def rights_of(exif: bytes) -> bytes | None:
    """An EXIF block of nothing but artist and copyright, or None if it states neither."""
    found, kept = text_tags(exif), Image.Exif()
    for tag in (ExifTags.Base.Artist, ExifTags.Base.Copyright):
        if tag in found:
            kept[tag] = found[tag]  # as stored: Pillow would write other letters than ASCII as question marks
    return kept.tobytes() if len(kept) else None


def main_tags(exif: bytes | None) -> dict[int, Any]:
    """Tags of the block's first directory; empty for no block or a broken one."""
    return _tags(exif)


def _tags(exif: bytes | None, directory: int | None = None) -> dict[int, Any]:
    """Tags of a directory of the block, by default the first; empty if there is none or it is broken."""
    if not exif:
        return {}
    block = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about blocks that are cut short
            block.load(exif)
            return dict(block if directory is None else block.get_ifd(directory))
    except _BROKEN_EXIF:
        return {}


def _positive(value: Any) -> float | None:
    """The value as a positive finite number, or None: EXIF fractions may be 0/0."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None
