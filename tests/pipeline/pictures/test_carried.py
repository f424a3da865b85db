"""Tests of XMP and IPTC: what a painting gets of them, in every format, as other programs read it."""

import json
import re
import shutil
import struct
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.dom import minidom

import numpy as np
import pytest
import tifffile
from pictures import photograph
from PIL import ExifTags, Image
from valid_files import IPTC, XMP
from valid_files import _exif as exif_block

from muralist.pipeline.export import _left_out
from muralist.pipeline.pictures import iptc, xmp
from muralist.pipeline.pictures.carried import Carried, carried
from muralist.pipeline.pictures.exif import text_tags
from muralist.pipeline.pictures.images import Picture
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.pictures.writing import MOST_JPEG_METADATA, write_picture

PIXELS = photograph(24, 40)
EXTENSIONS = (".jpg", ".png", ".webp", ".tif")
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def picture(**about: Any) -> Picture:
    """A photograph with this metadata."""
    base = Picture(PIXELS, None, None, None, None, Path("photo.jpg"), "")
    return replace(base, **about)


def document(inside: str, outside: str = "") -> bytes:
    """An XMP document with these descriptions."""
    rdf = f'<rdf:RDF xmlns:rdf="{RDF}">{inside}</rdf:RDF>'
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{outside}{rdf}</x:xmpmeta>'.encode()


def written(folder: Path, extension: str, source: Picture, **options: Any) -> Path:
    """A painting of the photograph."""
    found = carried(source, ["wave.jpg", "wave.jpg"], **options)
    path = folder / f"painting{extension}"
    write_picture(path, PIXELS, exif=found.exif, xmp=found.xmp, iptc=found.iptc)
    return path


# ------------------------------------------------------------------------------------------------------------ in files


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_xmp_and_iptc_are_carried(tmp_path: Path, extension: str) -> None:
    """Into every format; a painting of the painting has them again, with a history of two events."""
    first = read_picture(written(tmp_path, extension, picture(xmp=XMP, iptc=IPTC)))
    assert first.xmp is not None
    for word in (b"Rating", b"boats", b"Harbor &amp; boats", b"(c) Ann", b"Boats at sea"):
        assert word in first.xmp
    for word in (b"GPS", b"52,31N", b"Orientation", b"Exposure"):
        assert word not in first.xmp
    assert (first.iptc is not None) == (extension in (".jpg", ".tif"))
    again = carried(first, ["monet.png"])
    assert again.xmp is not None
    assert [each.decode() for each in re.findall(rb"style of ([^<]+)<", again.xmp)] == ["wave.jpg", "monet.png"]
    assert again.xmp.count(datetime.now(UTC).date().isoformat().encode()) >= 1
    assert b"muralist 0." in again.xmp


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool (libimage-exiftool-perl) is not installed")
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_exiftool_reads_what_is_carried(tmp_path: Path, extension: str) -> None:
    """Another program finds title, caption, keywords, rating, names, rights and history, and no place at all."""
    path = written(tmp_path, extension, picture(xmp=XMP, iptc=IPTC, exif=exif_block()))
    found = exiftool(path)
    assert found["XMP:Rating"] == 4
    assert found["XMP:Title"] == "Harbor & boats"
    assert found["XMP:Description"] == "Boats at sea"
    assert found["XMP:Subject"] == ["boats", "sea"]
    assert (found["XMP:Creator"], found["XMP:Rights"]) == ("Ann", "(c) Ann")
    assert found["XMP:HistoryAction"] == "derived"
    assert found["XMP:HistoryParameters"] == "painted in the style of wave.jpg"
    if extension in (".jpg", ".tif"):
        assert found["IPTC:Keywords"] == ["boats", "Zürich"]
    assert not [key for key in found if re.search("GPS|City|Country|Location", key)]
    warning = found.get("ExifTool:Warning", "").removeprefix("[minor] ")
    assert warning in ("", "Improper EXIF header")  # libvips' in WebP, which is read all the same


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool (libimage-exiftool-perl) is not installed")
def test_exiftool_finds_places_where_they_are_wanted(tmp_path: Path) -> None:
    """With `--gps` coordinates and names of places stay."""
    found = exiftool(written(tmp_path, ".jpg", picture(xmp=XMP, iptc=IPTC, exif=exif_block()), places=True))
    assert found["IPTC:City"] == "Berlin"
    assert found["XMP:GPSLatitude"].startswith("52 deg 31'")
    assert found["EXIF:GPSLatitudeRef"].startswith("N")


def exiftool(path: Path) -> dict[str, Any]:
    """What exiftool says of a file, by group and name."""
    done = subprocess.run(["exiftool", "-j", "-G", str(path)], capture_output=True, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)[0]
    return found


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_only_copyright(tmp_path: Path, extension: str) -> None:
    """Names and rights stay, and nothing else; no history either."""
    exif = Image.Exif()
    exif[ExifTags.Base.Artist], exif[ExifTags.Base.Copyright], exif[ExifTags.Base.Make] = "Ann", "(c) Ann", "Maker"
    source = picture(xmp=XMP, iptc=IPTC, exif=exif.tobytes())
    found = read_picture(written(tmp_path, extension, source, wanted="copyright"))
    assert text_tags(found.exif) == {ExifTags.Base.Artist: b"Ann", ExifTags.Base.Copyright: b"(c) Ann"}
    assert found.xmp is not None
    assert b"(c) Ann" in found.xmp
    for word in (b"Rating", b"boats", b"muralist", b"History"):
        assert word not in found.xmp
    if found.iptc:
        assert {each.number for each in iptc.datasets(found.iptc) if each.record == 2} == {0, 80, 116}


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_no_metadata(tmp_path: Path, extension: str) -> None:
    """Nothing but pixels and their profile."""
    found = read_picture(written(tmp_path, extension, picture(xmp=XMP, iptc=IPTC, exif=exif_block()), wanted="none"))
    assert (found.exif, found.xmp, found.iptc, found.dpi) == (None, None, None, None)


@pytest.mark.parametrize("length", [MOST_JPEG_METADATA, 70_000])
def test_long_documents_in_a_jpeg(tmp_path: Path, length: int) -> None:
    """What is longer than a JPEG can hold is left out, whole, and told."""
    document, painting = b"<x>".ljust(length), tmp_path / "a.jpg"
    write_picture(painting, PIXELS, xmp=document)
    fits = length <= MOST_JPEG_METADATA
    assert read_picture(painting).xmp == (document if fits else None)
    assert len([*_left_out(painting, Carried(xmp=document))]) == (not fits)
    assert [*_left_out(tmp_path / "a.tif", Carried(xmp=document))] == []


def test_iptc_of_a_tiff(tmp_path: Path) -> None:
    """Photographs that are TIFFs hold it without Photoshop's wrapping."""
    tags = [(33723, 7, None, IPTC, True)]
    tifffile.imwrite(tmp_path / "a.tif", np.asarray(PIXELS), photometric="rgb", extratags=tags)
    assert read_picture(tmp_path / "a.tif").iptc == IPTC


# ----------------------------------------------------------------------------------------------------------------- XMP


@pytest.mark.parametrize(
    "inside",
    [
        '<rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="1"/>',
        '<rdf:Description xmlns:e="http://ns.adobe.com/exif/1.0/"><e:GPSLatitude>1</e:GPSLatitude></rdf:Description>',
        '<rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        "<dc:relation><rdf:Bag><rdf:li exif:GPSLatitude='1'/></rdf:Bag></dc:relation></rdf:Description>",
        '<rdf:Description xmlns:p="http://ns.adobe.com/photoshop/1.0/" p:City="1" p:Country="1"/>',
        '<rdf:Description xmlns:c="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"><c:Location>1</c:Location>'
        "</rdf:Description>",
        '<m:Thing xmlns:m="my:own" m:GPSLatitude="1"/>',
        '<rdf:Description xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" crs:Exposure="1"/>',
        '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="1"/>',
    ],
)
def test_places_and_facts_of_the_file_are_left_out(inside: str) -> None:
    """However they are spelled, and wherever they stand."""
    left = xmp.chosen(document(inside), places=False)
    assert left is None or (b"GPS" not in left and b">1<" not in left and b'"1"' not in left)


def test_what_stands_beside_is_left_out() -> None:
    """Of a document, the statements about the picture are kept, and nothing around them."""
    said = '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:title="Sea"/>'
    found = xmp.chosen(document(said, outside="<y>position 1 2</y>"), places=False)
    assert found is not None
    assert b'dc:title="Sea"' in found
    assert b"position" not in found


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<x",
        b"\0\0",
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + document("<rdf:Description/>"),
        document("<rdf:Description/>").decode().encode("utf-16"),
        document("<rdf:li>" * 100 + "</rdf:li>" * 100),
        document("<rdf:Description/>" * 30_000),
        document("<rdf:Description/>"),
    ],
)
def test_documents_that_read_as_absent(content: bytes) -> None:
    """Broken, dangerous, deep, huge or empty ones stop nothing; the history is written all the same."""
    assert xmp.chosen(content, places=True) is None
    assert b"style of wave.jpg" in (carried(picture(xmp=content), ["wave.jpg"]).xmp or b"")


def test_a_history_goes_on() -> None:
    """What happened to the photograph before stays, in its order."""
    event = "<rdf:Description xmlns:e='http://ns.adobe.com/xap/1.0/sType/ResourceEvent#' e:action='saved'/>"
    said = f"<xmpMM:History><rdf:Seq><rdf:li>{event}</rdf:li></rdf:Seq></xmpMM:History>"
    block = document(f'<rdf:Description xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/">{said}</rdf:Description>')
    found = (carried(picture(xmp=block), []).xmp or b"").decode()
    assert found.count("History>") == 2
    assert found.index("saved") < found.index("derived")


@pytest.mark.parametrize(("name", "told"), [("caf\udce9.jpg", r"caf\udce9.jpg"), ("a\1b.jpg", r"a\x01b.jpg")])
def test_styles_have_any_name(name: str, told: str) -> None:
    """What is no UTF-8, or no XML, is spelled out, so other programs read the document."""
    found = carried(picture(), [name]).xmp
    assert found is not None
    assert f"style of {told}<" in found.decode()
    minidom.parseString(found)


def test_iptc_does_not_overrule_xmp() -> None:
    """Where XMP says a title, it stays; what only IPTC says is added."""
    found = (carried(picture(xmp=XMP, iptc=IPTC), []).xmp or b"").decode()
    assert "Harbor &amp; boats" in found
    assert ">Harbor<" not in found
    assert "Zürich" not in found  # a keyword, of which XMP has its own
    only = (carried(picture(iptc=IPTC), []).xmp or b"").decode()
    assert ">Harbor<" in only
    assert "Zürich" in only


@pytest.mark.parametrize("stored", [b"Dusk\0", b"\x0bDusk", b"\x1f\x01Dusk\xef\xbf\xbf"])
def test_characters_that_xml_does_not_have(stored: bytes) -> None:
    """What old programs put around a text stays in IPTC alone; the document can be read, and has lost nothing."""
    block = b"\x1c" + struct.pack(">BBH", 2, 105, len(stored)) + stored
    found = carried(picture(xmp=XMP, iptc=block), ["a.jpg"])
    assert found.iptc == block
    assert found.xmp is not None
    minidom.parseString(found.xmp)
    assert all(text in found.xmp.decode() for text in (">Dusk<", "Harbor &amp; boats", "style of a.jpg"))


# ---------------------------------------------------------------------------------------------------------------- IPTC


def test_old_character_sets() -> None:
    """Without a statement, texts are UTF-8 if they can be, else Latin-1."""

    def said(value: bytes) -> list[str]:
        return iptc.texts(b"\x1c" + struct.pack(">BBH", 2, 120, len(value)) + value)["description"]

    assert said("é".encode()) == said("é".encode("latin-1")) == ["é"]


@pytest.mark.parametrize(
    "block", [b"", b"Photoshop 3.0\0", b"Photoshop 3.0\x008BIM", b"nothing", b"\x1c\2", b"\x1c\2\5\xff\xffabc"]
)
def test_broken_blocks_read_as_absent(block: bytes) -> None:
    """They stop nothing; nor does one that is wrapped in itself, over and over."""
    assert list(iptc.datasets(iptc.unwrapped(block))) == []
    for _ in range(1200):
        block = iptc.wrapped(block)
    assert list(iptc.datasets(iptc.unwrapped(block))) == []


def test_other_resources_are_passed_over() -> None:
    """Photoshop stores more than IPTC in the same place."""
    other = b"8BIM" + struct.pack(">H", 1036) + b"\3abc" + struct.pack(">I", 3) + b"xyz\0"
    wrapped = iptc.wrapped(IPTC)
    assert iptc.unwrapped(wrapped[:14] + other + wrapped[14:]) == IPTC
