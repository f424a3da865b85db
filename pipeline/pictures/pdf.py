"""PDF files of pictures, written as rows arrive: every page shows one picture, with lines and texts on it.

Numbers on a page are points (1/72 inch) from its lower left corner, as in PDF (ISO 32000).
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from .encoded_rows import EncodedRows
    from .stored import Stored

POINTS_PER_INCH: Final = 72.0
_DEFAULT_DPI: Final = 300.0
_MOST_POINTS: Final = 14_400.0  # a side that all readers take; longer ones are counted in larger units
_UP: Final = 2  # PNG's filter: differences from the line above


class Rectangle(NamedTuple):
    """Left, bottom, right and top, points."""

    left: float
    bottom: float
    right: float
    top: float

    def scaled(self, unit: float) -> str:
        """As PDF spells it, in a unit of so many points."""
        return "[" + " ".join(f"{value / unit:.4f}" for value in self) + "]"


@dataclass(frozen=True)
class Page:
    """A page and what is where on it, in points.

    Attributes
    ----------
    picture : Rectangle
        Where the picture is.
    trim, bleed : Rectangle
        What is left when it is cut, and how far the picture may reach beyond.
    drawn : str
        What is drawn over the picture, as PDF's operators.
    """

    width: float
    height: float
    picture: Rectangle
    trim: Rectangle
    bleed: Rectangle
    drawn: str = ""

    @classmethod
    def of_picture(cls, height: int, width: int, dpi: tuple[float, float] | None) -> "Page":
        """A page that a picture fills, of so many pixels at so many dots per inch (horizontal, vertical)."""
        across, down = dpi or (_DEFAULT_DPI, _DEFAULT_DPI)
        whole = Rectangle(0, 0, width / across * POINTS_PER_INCH, height / down * POINTS_PER_INCH)
        return cls(whole.right, whole.top, whole, whole, whole)


class Pdf:
    """A PDF file under way.

    Parameters
    ----------
    file
        An open file of the operating system, empty; encoders write into it directly.
    encode
        Encodes samples as a JPEG of some quality into the file, at its end.
    """

    def __init__(self, file: BinaryIO, encode: Callable[[Any, BinaryIO, int], None]) -> None:
        self._file, self._encode = file, encode
        self._places: dict[int, int] = {}
        self._profiles: dict[bytes, int] = {}
        self._pages: list[int] = []
        self._catalog, self._tree, self._font = (self._new() for _ in range(3))
        file.write(b"%PDF-1.6\n%\xe2\xe3\xcf\xd3\n")

    def add_page(self, page: Page, picture: "EncodedRows | Stored", quality: int | None) -> None:
        """Write a page with a picture, as a JPEG of this quality, or without loss if that is None."""
        unit = max(1, ceil(max(page.width, page.height) / _MOST_POINTS))
        image = self._image(picture, quality)
        left, bottom, right, top = page.picture
        place = f"{right - left:.4f} 0 0 {top - bottom:.4f} {left:.4f} {bottom:.4f}"
        drawn = f"{1 / unit:.8f} 0 0 {1 / unit:.8f} 0 0 cm q {place} cm /Picture Do Q {page.drawn}"
        content = self._stream("", drawn.encode("cp1252", "replace"))
        number = self._new()
        boxes = {"MediaBox": Rectangle(0, 0, page.width, page.height), "BleedBox": page.bleed, "TrimBox": page.trim}
        told = " ".join(f"/{name} {box.scaled(unit)}" for name, box in boxes.items())
        resources = f"<< /XObject << /Picture {image} 0 R >> /Font << /Label {self._font} 0 R >> >>"
        self._write(
            number,
            f"<< /Type /Page /Parent {self._tree} 0 R {told} {f'/UserUnit {unit} ' if unit > 1 else ''}"
            f"/Resources {resources} /Contents {content} 0 R >>",
        )
        self._pages.append(number)

    def finish(self, xmp: bytes | None = None) -> None:
        """Write what holds the pages together, and what describes them."""
        metadata = "" if xmp is None else f" /Metadata {self._stream('/Type /Metadata /Subtype /XML', xmp)} 0 R"
        self._write(self._font, "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
        kids = " ".join(f"{number} 0 R" for number in self._pages)
        self._write(self._tree, f"<< /Type /Pages /Count {len(self._pages)} /Kids [{kids}] >>")
        self._write(self._catalog, f"<< /Type /Catalog /Pages {self._tree} 0 R{metadata}{self._intent()} >>")
        start, count = self._file.tell(), len(self._places) + 1
        table = "".join(f"{self._places[number]:010d} 00000 n \n" for number in range(1, count))
        self._file.write(
            f"xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n<< /Size {count} /Root {self._catalog} 0 R >>\n"
            f"startxref\n{start}\n%%EOF\n".encode()
        )

    def _intent(self) -> str:
        """The printer that the pages are meant for, if one of their profiles is a printer's."""
        profile = next((number for icc, number in self._profiles.items() if icc[12:16] == b"prtr"), None)
        if profile is None:
            return ""
        return (
            " /OutputIntents [<< /Type /OutputIntent /S /GTS_PDFX /OutputConditionIdentifier (Custom) "
            f"/Info (the printer of the color profile) /DestOutputProfile {profile} 0 R >>]"
        )

    def _image(self, picture: "EncodedRows | Stored", quality: int | None) -> int:
        height, width, channels = picture.shape
        profile = self._profile(picture.profile, channels)
        about = (
            f"/Type /XObject /Subtype /Image /Width {width} /Height {height} /BitsPerComponent 8 "
            f"/ColorSpace [/ICCBased {profile} 0 R] "
        )
        if quality is None:
            about += f"/Filter /FlateDecode /DecodeParms << /Predictor 15 /Colors {channels} /Columns {width} >>"
            with self._open_stream(about) as number:
                for piece in _deflated(picture):
                    self._file.write(piece)
            return number
        inverted = " /Decode [1 0 1 0 1 0 1 0]" if picture.is_cmyk else ""  # as Adobe has it, and so has everybody
        with self._open_stream(f"{about}/Filter /DCTDecode{inverted}") as number:
            self._file.flush()
            self._encode(picture, self._file, quality)
            self._file.seek(0, 2)
        return number

    def _profile(self, icc: bytes, channels: int) -> int:
        if icc not in self._profiles:
            self._profiles[icc] = self._stream(f"/N {channels} /Filter /FlateDecode", zlib.compress(icc))
        return self._profiles[icc]

    def _new(self) -> int:
        self._places[number := len(self._places) + 1] = 0
        return number

    def _write(self, number: int, body: str) -> None:
        self._places[number] = self._file.tell()
        self._file.write(f"{number} 0 obj\n{body}\nendobj\n".encode())

    def _stream(self, about: str, content: bytes) -> int:
        with self._open_stream(about) as number:
            self._file.write(content)
        return number

    @contextmanager
    def _open_stream(self, about: str) -> Iterator[int]:
        """A stream whose content is written to the file meanwhile; its length is told after it."""
        number, length = self._new(), self._new()
        self._places[number] = self._file.tell()
        self._file.write(f"{number} 0 obj\n<< {about} /Length {length} 0 R >>\nstream\n".encode())
        start = self._file.tell()
        yield number
        size = self._file.tell() - start
        self._file.write(b"\nendstream\nendobj\n")
        self._write(length, str(size))


def _deflated(picture: "EncodedRows | Stored") -> Iterator[bytes]:
    """All lines, as differences from the line above."""
    _, width, channels = picture.shape
    packing, above = zlib.compressobj(6), np.zeros(width * channels, np.uint8)
    for block in picture.row_blocks():
        lines = block.reshape(len(block), -1)
        different = lines - np.concatenate([above[None], lines[:-1]])
        yield packing.compress(np.pad(different, ((0, 0), (1, 0)), constant_values=_UP).data)
        above = lines[-1].copy()
    yield packing.flush()
