"""Chooses which of a photograph's metadata is copied to its painting."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Literal

from ...model.errors import printable
from . import iptc, xmp
from .exif import rights_of, without_gps
from .images import Picture

Wanted = Literal["all", "copyright", "none"]
"""All there is, only creator and copyright, or nothing."""


@dataclass(frozen=True)
class Carried:
    """Metadata for a painting's file: blocks of EXIF, XMP and IPTC-IIM, None for those it is not to have."""

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None


def carried(photograph: Picture, styles: Sequence[str], *, wanted: Wanted = "all", places: bool = False) -> Carried:
    """Choose what a painting gets.

    What IPTC-IIM says is also said in XMP, since PNG and WebP hold that alone. With "all", the history in XMP gets an
    event of today.

    Parameters
    ----------
    styles : sequence of str
        Names of the files whose style was painted.
    wanted : {"all", "copyright", "none"}
    places : bool
        Whether to keep where the photograph was taken: coordinates, and names of places.
    """
    if wanted == "none":
        return Carried()
    rights_only = wanted == "copyright"
    about = iptc.chosen(photograph.iptc or b"", places=places, rights_only=rights_only)
    document = xmp.chosen(photograph.xmp, places=places, rights_only=rights_only)
    document = xmp.with_texts(document, iptc.texts(about))
    if not rights_only:
        document = xmp.with_event(document, f"muralist {version('muralist')}", _painted_as(styles), _today())
    return Carried(_exif(photograph.exif, places=places, rights_only=rights_only), document, about or None)


def _painted_as(styles: Sequence[str]) -> str:
    return f"painted in the style of {', '.join(map(printable, dict.fromkeys(styles)))}" if styles else "painted"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _exif(exif: bytes | None, *, places: bool, rights_only: bool) -> bytes | None:
    if exif is None:
        return None
    if rights_only:
        return rights_of(exif)
    return exif if places else without_gps(exif)
