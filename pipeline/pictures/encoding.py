"""The kinds of picture files that can be written, and their encoders.

libvips encodes in its own thread the rows that are read in the calling thread; TIFF is written by tifffile, PDF by our
own code.
"""

import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyvips
import tifffile

from .encoded_rows import EncodedRows, as_png
from .exif import texts
from .metadata import Extras, as_tiff_tags, embed, kept, with_metadata
from .pdf import Page, Pdf
from .stored import Stored
from .vips import Pixels, one_line
from .xmp import with_texts

MOST_JPEG_SIDE = 65500
_TIFF_TILE = 512
# Classic TIFF ends at 4 GiB. BigTIFF is read by fewer programs, so it is used only near that.
_BIGTIFF_BYTES = int(3.5 * 2**30)
# A JPEG with Huffman codes of its own is a tenth smaller, but its encoder holds the picture, 12 bytes a pixel.
_OPTIMISED_PIXELS = 2**24


@dataclass(frozen=True)
class OutputFormat:
    """A kind of file that can be written, and its limits; `max_side` is in pixels, None for no limit that matters."""

    name: str
    extensions: tuple[str, ...]
    bit_depths: tuple[int, ...]
    max_side: int | None
    holds_cmyk: bool
    holds_alpha: bool
    is_lossy: bool
    save: Callable[[EncodedRows, BinaryIO, Extras], None]


def stream(samples: EncodedRows | Stored, save: Callable[[Any], None]) -> None:
    """Have libvips encode in a thread. Rows are read in the calling thread, where Ctrl-C and their errors arise."""
    near, far = socket.socketpair()
    with far, ThreadPoolExecutor(1) as encoder:
        saving = encoder.submit(_encode, far, samples, save)
        with near:  # closed, it ends the picture
            _feed(near, as_png(samples))
        saving.result()


def _encode(stream: socket.socket, samples: EncodedRows | Stored, save: Callable[[Any], None]) -> None:
    try:
        source = pyvips.Source.new_from_descriptor(stream.fileno())
        image = pyvips.Image.pngload_source(source, access="sequential", fail_on="error")
        if samples.is_cmyk:  # the PNG holds the inks as red, green, blue and alpha
            image = image.copy(interpretation="cmyk")
        save(embed(image, samples.profile))
    finally:
        stream.shutdown(socket.SHUT_RDWR)  # libvips has a descriptor of its own that may stay open


def _feed(stream: socket.socket, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        try:
            stream.sendall(piece)
        except ConnectionError:  # the encoder has ended, and knows why
            return


def target_in(file: BinaryIO) -> Any:
    """A libvips target that writes into the open file, since its name may by now belong to another file."""
    return pyvips.Target.new_to_descriptor(file.fileno())


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn libvips' errors into an OSError that says the same in a line."""
    try:
        yield
    except pyvips.Error as error:
        raise OSError(one_line(error)) from error


def encode_jpeg(samples: EncodedRows | Stored, file: BinaryIO, quality: int) -> None:
    """Encode samples at the end of an open file, without metadata and profile."""
    with plain_errors():
        stream(samples, lambda image: image.jpegsave_target(target_in(file), keep="none", **_jpeg(samples, quality)))


def _jpeg(samples: EncodedRows | Stored, quality: int) -> dict[str, Any]:
    is_small = samples.shape[0] * samples.shape[1] <= _OPTIMISED_PIXELS
    return {"Q": quality, "subsample_mode": "off", "optimize_coding": is_small}


def _save_by(saver: str, samples: EncodedRows, file: BinaryIO, extras: Extras, **how: Any) -> None:
    """Have one of libvips' savers write samples and metadata."""
    stream(
        samples, lambda image: getattr(with_metadata(image, extras), saver)(target_in(file), keep=kept(extras), **how)
    )


def _save_jpeg(samples: EncodedRows, file: BinaryIO, extras: Extras) -> None:
    _save_by("jpegsave_target", samples, file, extras, **_jpeg(samples, extras.quality))


def _save_png(samples: EncodedRows, file: BinaryIO, extras: Extras) -> None:
    _save_by("pngsave_target", samples, file, extras, compression=3, filter="up")


def _save_webp(samples: EncodedRows, file: BinaryIO, extras: Extras) -> None:
    _save_by("webpsave_target", samples, file, extras, Q=extras.quality, exact=True)  # colors under full transparency


def _save_avif(samples: EncodedRows, file: BinaryIO, extras: Extras) -> None:
    how = {"compression": "av1", "Q": extras.quality, "effort": 4, "subsample_mode": "off"}
    _save_by("heifsave_target", samples, file, extras, **how)


def _save_pdf(samples: EncodedRows, file: BinaryIO, extras: Extras) -> None:
    page = extras.page or Page.of_picture(samples.shape[0], samples.shape[1], extras.dpi)
    pdf = Pdf(file, encode_jpeg)
    pdf.add_page(page, samples, None if extras.is_lossless else extras.quality)
    pdf.finish(with_texts(extras.xmp, texts(extras.exif)))  # of EXIF, which a PDF does not hold


def save_tiff(samples: EncodedRows | Stored, file: BinaryIO, extras: Extras) -> None:
    height, width, channels = samples.shape
    tile = (_tile_side(height), _tile_side(width))
    resolution: dict[str, Any] = {"resolution": extras.dpi, "resolutionunit": "INCH"} if extras.dpi else {}
    tifffile.imwrite(
        file,
        _tiles(samples, tile),
        shape=samples.shape,
        dtype=samples.dtype,
        bigtiff=samples.dtype.itemsize * height * width * channels > _BIGTIFF_BYTES,
        photometric="separated" if samples.is_cmyk else "rgb",
        extrasamples=["unassalpha"] if samples.has_alpha else None,
        tile=tile,
        compression="zlib",
        predictor=True,
        buffersize=0,  # a tile for each thread at a time; usual is half a gigabyte
        iccprofile=samples.profile,
        metadata=None,
        software=False,
        extratags=as_tiff_tags(extras),
        **resolution,
    )


def _tile_side(side: int) -> int:
    """TIFF wants multiples of 16, and libvips refuses to read tiles much larger than the picture."""
    return min(_TIFF_TILE, -(-side // 16) * 16)


def _tiles(samples: EncodedRows | Stored, tile: tuple[int, int]) -> Iterator[Pixels]:
    """Tiles in row order, those at the right and lower edge as small as they are."""
    for block in samples.row_blocks(tile[0]):
        for left in range(0, block.shape[1], tile[1]):
            yield block[:, left : left + tile[1]]
        del block  # before the next is read


OUTPUT_FORMATS = (
    OutputFormat(
        "JPEG",
        (".jpg", ".jpeg"),
        (8,),
        MOST_JPEG_SIDE,
        holds_cmyk=True,
        holds_alpha=False,
        is_lossy=True,
        save=_save_jpeg,
    ),
    OutputFormat("PNG", (".png",), (8, 16), None, holds_cmyk=False, holds_alpha=True, is_lossy=False, save=_save_png),
    OutputFormat("WebP", (".webp",), (8,), 16383, holds_cmyk=False, holds_alpha=True, is_lossy=True, save=_save_webp),
    OutputFormat(
        "TIFF", (".tif", ".tiff"), (8, 16), None, holds_cmyk=True, holds_alpha=True, is_lossy=False, save=save_tiff
    ),
    OutputFormat("AVIF", (".avif",), (8,), 16384, holds_cmyk=False, holds_alpha=True, is_lossy=True, save=_save_avif),
    OutputFormat("PDF", (".pdf",), (8,), None, holds_cmyk=True, holds_alpha=False, is_lossy=True, save=_save_pdf),
)
"""The kinds of file that `write_picture` writes, chosen by the extension of a file's name."""

OUTPUT_EXTENSIONS = {extension: kind for kind in OUTPUT_FORMATS for extension in kind.extensions}
