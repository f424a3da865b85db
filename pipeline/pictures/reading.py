"""Reads picture files into the sRGB working space. Everything wrong with a file is a `PictureError`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import numpy as np
import pyvips

from ..errors import OutputError, PictureError
from ..hashes import file_hash
from ..words import memory_size, url_in
from .array_file import Allocator, ArrayFile, allocator_in
from .exif import exif_of_tiff
from .formats import kind_of
from .images import Picture
from .iptc import unwrapped
from .limits import DEFAULT_LIMITS, ReadLimits
from .metadata import blob, can_convert_from, is_srgb, srgb_profile, stated_dpi, stated_orientation, without_profile
from .opened import Asked, Opened, damaged
from .pages import digest_of, place_of
from .stored import Stored
from .vips import DTYPE, INTERPRETATION, VIPS_SCALE, Pixels, at_depth, each_row_block, one_line

_COLOR_BANDS = {"b-w": 1, "grey16": 1, "srgb": 3, "rgb16": 3, "scrgb": 3, "cmyk": 4}

# A JPEG takes at least one bit for every block of 8 x 8 pixels.
_JPEG_PIXELS_PER_BYTE = 512

# What a decoder holds of a sample if it holds the whole picture: a JPEG's coefficients have 16 bits, and of a WebP
# 7.5 bytes a pixel were seen. libpng keeps samples as they are.
_DECODED_BYTES = {"jpeg": 2, "webp": 3}

# Float files should stay in [0, 1]. A resampled one overshoots a little; one that goes to 255 means something else.
_FLOAT_TOLERANCE = 0.5


def read_picture(path: str | Path, limits: ReadLimits = DEFAULT_LIMITS, *, exposure: float = 0.0) -> Picture:
    """Read a picture file of any kind of `INPUT_FORMATS` into the sRGB working space.

    Gray, palette, 1-bit, CMYK and Lab files become RGB. An embedded color profile is applied (relative colorimetric);
    without one, or one that cannot be applied, the numbers are taken as sRGB, CMYK as libvips' built-in press profile.
    Files with more than 8 bits become 16 bits. The EXIF orientation is applied to the pixels. Of a file with several
    pages or frames the first is read, of a TIFF any page, as `scan.tif#2`. Raw photographs are developed.

    Float TIFFs must hold values in [0, 1] and become 16-bit. Without a profile the values are taken as
    sRGB-encoded, the way tifffile, scikit-image and most photo editors hand them on (libvips would take them as
    linear light and give a brighter picture). Small overshoots are clipped.

    JPEG, PNG, TIFF and PSD are decoded in row blocks. Of all others, and of interlaced PNG and progressive JPEG, the
    decoder itself holds the whole picture (6 to 25 bytes a pixel), and of a TIFF a strip or a row of tiles, which may
    be as large, whatever `limits.memory` says; `limits.decoder_memory` is its limit.

    Parameters
    ----------
    path
        The file, of a TIFF with or without a page.
    limits
        How large it may be, and what reading it may take.
    exposure
        How many stops brighter than usual to develop a raw photograph.

    Raises
    ------
    PictureError
        If the file is missing, unreadable, no picture, damaged, cut short, too large, or of a kind not supported.
    OutputError
        If the pixels cannot be filed: a full disk. Like after any error, nothing is left in `limits.folder`.
    """
    path = Path(path)
    file, page = place_of(path)
    with _reading(path), _opened(path, exposure) as opened:
        image = opened.image
        _check_size(image, path, limits.max_pixels)
        _check_length(image, path)
        _check_decoder(opened, path, limits.decoder_memory)
        if opened.decode is not None:
            image = opened.decode()
            _check_size(image, path, limits.max_pixels)  # a decoder may find more than the header says
        _check_samples(image, path)
        exif = blob(image, "exif-data") or exif_of_tiff(file, page)
        orientation = stated_orientation(image, exif)
        icc = blob(image, "icc-profile-data")
        notices: tuple[str, ...] = ()
        if icc and not can_convert_from(icc, _COLOR_BANDS[image.interpretation]):
            icc, image, notices = None, without_profile(image), (_no_profile(image, path),)
        dpi = stated_dpi(image, exif, sideways=orientation in _SIDEWAYS)
        xmp, iptc = blob(image, "xmp-data"), unwrapped(blob(image, "iptc-data") or b"")
        digest = digest_of(file_hash(file), page)
        ready = _to_srgb(_float_as_16_bit(image, path) if image.format == "float" else image)
        with allocator_in(_folder_for(ready, limits)) as allocate:
            parts: dict[str, slice | int] = {f"{digest}-pixels": slice(3)}
            parts |= {f"{digest}-alpha": 3} if ready.bands == 4 else {}
            pixels, *alpha = _decoded(ready, orientation, allocate, parts)
    return Picture(
        pixels=pixels,
        alpha=alpha[0] if alpha else None,
        icc=icc,
        exif=exif,
        dpi=dpi,
        path=path,
        sha256=digest,
        xmp=xmp,
        iptc=iptc or None,
        notices=notices,
    )


def read_size(path: Path) -> tuple[int, int]:
    """Read height and width of a picture as it is looked at, px, from its header alone.

    Raises `PictureError` if the file is missing, unreadable or no picture.
    """
    with _reading(path), _opened(path) as opened:
        image = opened.image
        sideways = stated_orientation(image, blob(image, "exif-data")) in _SIDEWAYS
        return (image.width, image.height) if sideways else (image.height, image.width)


def kind_name(path: Path) -> str:
    """Name the kind of a picture file, as in `INPUT_FORMATS`. Raises `PictureError` if it cannot be read or is none."""
    with _reading(path), place_of(path).file.open("rb") as file:
        return kind_of(file, path).name


def read_stored(path: Path, limits: ReadLimits) -> Stored:
    """Read a picture as it is stored: its own numbers, 8 or 16 bits, in its own profile, RGB or CMYK.

    Gray becomes RGB, and what is transparent white.

    Raises
    ------
    PictureError, OutputError
        As `read_picture`, and for float samples.
    """
    with _reading(path), _opened(path) as opened:
        _check_size(opened.image, path, limits.max_pixels)
        _check_decoder(opened, path, limits.decoder_memory)
        image = opened.image if opened.decode is None else opened.decode()
        _check_samples(image, path)
        if image.format == "float":
            raise PictureError(f"{path}: float samples are for painting; export it in 8 or 16 bits", path=path)
        exif, icc = blob(image, "exif-data"), blob(image, "icc-profile-data")
        colors, orientation = _COLOR_BANDS[image.interpretation], stated_orientation(image, exif)
        if icc and not can_convert_from(icc, colors):
            icc, image = None, without_profile(image)
        dpi = stated_dpi(image, exif, sideways=orientation in _SIDEWAYS)
        if colors == 1 or (colors == 4 and not icc):
            image, icc = _to_srgb(image), None
        if image.bands > (4 if icc and colors == 4 else 3):
            full = VIPS_SCALE[image.format]
            image = image.flatten(background=0 if colors == 4 and icc else full, max_alpha=full)  # no ink is white
        with allocator_in(_folder_for(image, limits)) as allocate:
            (pixels,) = _decoded(image, orientation, allocate, {"stored": slice(None)})
    return Stored(pixels, icc or srgb_profile(), dpi)


_READ_ERRORS: dict[type[OSError], str] = {
    FileNotFoundError: "there is no such file; check the path",
    NotADirectoryError: "there is no such file; check the path",
    IsADirectoryError: "this is a folder; name one picture in it",
    PermissionError: "no permission to read this file; change its permissions or copy it elsewhere",
}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what the operating system and libvips raise into a `PictureError`."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        reason = _READ_ERRORS.get(type(error), f"cannot be read ({error.strerror})")
        if (url := url_in(path)) and isinstance(error, FileNotFoundError):
            raise PictureError(
                f"{url}: URLs are not read; download the picture and give its path", path=path
            ) from error
        raise PictureError(f"{path}: {reason}", path=path) from error
    except pyvips.Error as error:
        raise damaged(path, one_line(error)) from error
    except UnicodeDecodeError as error:  # the message quotes bytes of the file that pyvips cannot decode
        pyvips.vips_lib.vips_error_clear()
        raise damaged(path, "the decoder's message is not readable text") from error


@contextmanager
def _opened(path: Path, exposure: float = 0.0) -> Iterator[Opened]:
    """The picture, of which only the header has been read."""
    place = place_of(path)
    if not S_ISREG(mode := place.file.stat().st_mode) and not S_ISDIR(mode):  # it may never begin, or never end
        raise PictureError(f"{path}: this is not a regular file; name a picture", path=path)
    with place.file.open("rb", buffering=0) as file:
        kind = kind_of(file, path)
        file.seek(0)
        with kind.open(file, path, Asked(place.page, exposure)) as opened:
            yield opened


def _check_size(image: Any, path: Path, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise PictureError(
            f"{path}: {image.width} x {image.height} pixels are {image.width * image.height}, more than max_pixels = "
            f"{max_pixels}; if you do want this picture, raise max_pixels",
            path=path,
        )


def _check_decoder(opened: Opened, path: Path, limit: int | None) -> None:
    """Refuse a picture of which the decoder would hold more than the limit."""
    needed, image = opened.needs or _held_by_libvips(opened.image), opened.image
    if limit is not None and needed > limit:
        raise PictureError(
            f"{path}: decoding {image.width} x {image.height} px takes {memory_size(needed)} of memory at once, as "
            f"it is stored (progressive JPEG, interlaced PNG, TIFF in large strips or tiles, and all kinds but JPEG, "
            f"PNG, TIFF and PSD), but {memory_size(limit)} may be taken; allow more with --memory, or convert it to "
            "baseline JPEG, PNG without interlacing, or TIFF in small tiles",
            path=path,
        )


def _held_by_libvips(image: Any) -> int:
    """Bytes that libvips holds of a picture that it cannot decode in row blocks; 0 if it can."""
    loader = str(image.get("vips-loader")) if image.get_typeof("vips-loader") else ""
    whole = loader.startswith("webp") or (image.get_typeof("interlaced") and image.get("interlaced"))
    if not whole:
        return 0
    return int(image.width * image.height * image.bands * _DECODED_BYTES.get(loader[:4], DTYPE[image.format].itemsize))


def _check_length(image: Any, path: Path) -> None:
    """Refuse a JPEG too short for its size. libvips makes gray of what is missing, however much it is."""
    if image.get_typeof("vips-loader") and str(image.get("vips-loader")).startswith("jpeg"):
        wanted, found = image.width * image.height // _JPEG_PIXELS_PER_BYTE, path.stat().st_size
        if found < wanted:
            raise PictureError(
                f"{path}: damaged: {found} bytes, wanted {wanted} at least for {image.width} x {image.height} pixels; "
                "copy or export it again",
                path=path,
            )


def _check_samples(image: Any, path: Path) -> None:
    colors = _COLOR_BANDS.get(image.interpretation)
    if colors is None or image.bands - colors not in (0, 1) or image.format not in VIPS_SCALE:
        raise PictureError(
            f"{path}: {image.bands} channels of {image.format} samples ({image.interpretation}) are not supported; "
            "export it as gray, RGB or CMYK, with at most one alpha channel, in 8 or 16 bits or 32-bit float",
            path=path,
        )


def _float_as_16_bit(image: Any, path: Path) -> Any:
    """Float samples in [0, 1] as 16 bits. To be sure that they are, all are looked at first, from the file."""
    with _opened(path) as same:
        low, high, total = same.image.stats().numpy()[0, :3]  # over all channels; NaN does not show in the first two
    if not np.isfinite([low, high, total]).all():
        raise PictureError(f"{path}: holds NaN or infinite values; export it again with finite ones", path=path)
    if low < -_FLOAT_TOLERANCE or high > 1 + _FLOAT_TOLERANCE:
        raise PictureError(
            f"{path}: float values from {low:g} to {high:g}, wanted 0 to 1; rescale it, or export it in 16 bits",
            path=path,
        )
    return at_depth(image, 16).copy(interpretation="grey16" if image.bands < 3 else "rgb16")


def _no_profile(image: Any, path: Path) -> str:
    taken = "standard CMYK" if image.interpretation == "cmyk" else "sRGB"
    return f"{path}: its color profile is damaged or does not match its channels; they are read as {taken}"


def _to_srgb(image: Any) -> Any:
    if alpha := image.bands - _COLOR_BANDS[image.interpretation]:  # libvips would scale it, and not always right
        colors = image.extract_band(0, n=image.bands - alpha)
        return _to_srgb(colors).bandjoin(image.extract_band(image.bands - alpha))
    depth = 16 if image.format == "ushort" else 8
    is_cmyk = image.interpretation == "cmyk"
    if not is_cmyk and not image.get_typeof("icc-profile-data"):
        return image.colourspace(INTERPRETATION[depth])
    if depth == 16 and image.bands == 3 and not is_srgb(image.get("icc-profile-data")):
        # In one go, Little CMS would interpolate 16 bits on a coarse grid.
        light = image.icc_import(embedded=True, intent="relative", pcs="xyz")
        return light.icc_export(output_profile="srgb", intent="relative", pcs="xyz", depth=16)
    return image.icc_transform(
        "srgb", embedded=True, input_profile="cmyk" if is_cmyk else "srgb", intent="relative", depth=depth
    )


def _folder_for(image: Any, limits: ReadLimits) -> Path | None:
    """Where the pixels of a libvips image are to be filed; None if they fit into memory."""
    taken, memory = image.width * image.height * image.bands * DTYPE[image.format].itemsize, limits.memory
    if memory is None or taken <= memory:
        return None
    if limits.folder is None:
        raise ValueError(f"got a picture that takes more than {memory} bytes and no folder, wanted one to file it in")
    return limits.folder


_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: np.swapaxes(stored, 0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(np.swapaxes(stored, 0, 1), 2),
    8: np.rot90,
}
_SIDEWAYS, _BACKWARDS = (5, 6, 7, 8), (3, 4, 6, 7)  # rows become columns; the first come last


def _decoded(
    image: Any, orientation: int, allocate: Allocator, parts: Mapping[str, slice | int]
) -> list[Pixels | ArrayFile]:
    """Parts of an image's channels, each filed under its name, turned as the orientation asks for.

    Orientation 1 and unknown ones change nothing.
    """
    shape = (image.height, image.width)[:: -1 if orientation in _SIDEWAYS else 1]
    channels = np.arange(image.bands)
    found = [allocate(name, (*shape, *channels[part].shape), DTYPE[image.format]) for name, part in parts.items()]
    upright = _UPRIGHT.get(orientation, np.asarray)

    def take(top: int, block: Pixels) -> None:
        place = _place_of(top, len(block), image.height, orientation)
        for pixels, part in zip(found, parts.values(), strict=True):
            pixels[place] = upright(block[:, :, part])

    each_row_block(image, take)
    return found


def _place_of(top: int, rows: int, height: int, orientation: int) -> tuple[slice, slice]:
    """Where so many stored rows lie in the picture as it is looked at."""
    start = height - top - rows if orientation in _BACKWARDS else top
    part = slice(start, start + rows)
    return (slice(None), part) if orientation in _SIDEWAYS else (part, slice(None))
