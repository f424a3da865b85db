"""What is left of EXIF without the position: everything else."""

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from muralist.pipeline.pictures.exif import rights_of, without_gps, without_thumbnail
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.pictures.writing import write_picture

GPS, EXIF, INTEROP = ExifTags.IFD.GPSInfo, ExifTags.IFD.Exif, ExifTags.IFD.Interop
MODEL, PADDING = ExifTags.Base.Model, 0xEA1C
MAGIC = {"<": b"II*\0", ">": b"MM\0*"}
PICTURE = Image.fromarray(np.full((8, 8, 3), 99, np.uint8))
# Numbers that nothing else in a file consists of, in both byte orders.
DEGREES = (987654321, 16777213)
TRACES = [struct.pack(order + "I", number) for order in "<>" for number in DEGREES] + [b"WGS-84-TRACE"]


def camera_exif(position: bool = True) -> Image.Exif:
    """EXIF as a telephone writes it: camera, lens, date, and maybe the position."""
    exif = Image.Exif()
    exif[MODEL] = "Box Brownie"
    exif[ExifTags.Base.Copyright] = "© Zoë".encode()
    taken = exif.get_ifd(EXIF)
    taken[ExifTags.Base.DateTimeOriginal] = "1900:02:01 10:00:00"
    taken[ExifTags.Base.LensModel] = "Meniscus 100 mm"
    taken[ExifTags.Base.ExposureTime] = IFDRational(1, 125)
    taken[INTEROP] = {1: "R98"}
    if position:
        where = exif.get_ifd(GPS)
        where[ExifTags.GPS.GPSLatitudeRef] = "N"
        where[ExifTags.GPS.GPSLatitude] = (IFDRational(*DEGREES), IFDRational(3, 1), IFDRational(7, 1))
        where[ExifTags.GPS.GPSMapDatum] = "WGS-84-TRACE"
    return exif


def loaded(block: bytes) -> Image.Exif:
    """What Pillow understands of a block."""
    exif = Image.Exif()
    exif.load(block)
    return exif


def found(exif: Image.Exif) -> list[object]:
    """The facts about camera and date that are to survive."""
    taken = exif.get_ifd(EXIF)
    tags = ExifTags.Base.DateTimeOriginal, ExifTags.Base.LensModel, ExifTags.Base.ExposureTime
    return [exif.get(MODEL), exif.get(ExifTags.Base.Copyright), *map(taken.get, tags)]


def handmade(order: str = ">") -> bytes:
    """A block made by hand: a model's name, a position with text, and one more entry behind it."""
    text = b"WGS-84-TRACE"
    where = struct.pack(order + "HHHII4x", 1, ExifTags.GPS.GPSMapDatum, 2, len(text), 68)
    main = [(MODEL, 2, 4, b"Box\0"), (GPS, 4, 1, struct.pack(order + "I", 50)), (PADDING, 7, 4, b"last")]
    entries = b"".join(struct.pack(order + "HHI", *entry) + value for *entry, value in main)
    return MAGIC[order] + struct.pack(order + "IH", 8, len(main)) + entries + bytes(4) + where + text


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_files_without_the_position(tmp_path: Path, extension: str) -> None:
    """A painting of a photograph that tells its place tells all but that; without asking for it, that too."""
    path = tmp_path / f"photograph{extension}"
    PICTURE.save(path, exif=camera_exif())
    exif = read_picture(path).exif
    assert exif is not None
    for name, block in {"with": exif, "without": without_gps(exif)}.items():
        painting = tmp_path / f"{name}{extension}"
        write_picture(painting, np.asarray(PICTURE), exif=block)
        content = painting.read_bytes()
        with Image.open(painting) as image:
            assert found(image.getexif()) == found(loaded(camera_exif().tobytes()))
            assert (image.getexif().get_ifd(GPS) != {}) == (name == "with")
        assert any(trace in content for trace in TRACES) == (name == "with")


def test_tiff_never_carries_a_position(tmp_path: Path) -> None:
    """Of a TIFF photograph only texts are kept, and into a TIFF only texts are written."""
    PICTURE.save(tmp_path / "photograph.tif", exif=camera_exif())
    from_tiff = read_picture(tmp_path / "photograph.tif").exif
    assert from_tiff is not None
    assert loaded(from_tiff)[MODEL] == "Box Brownie"
    assert GPS not in loaded(from_tiff)
    write_picture(tmp_path / "painting.tif", np.asarray(PICTURE), exif=camera_exif().tobytes())
    with Image.open(tmp_path / "painting.tif") as image:
        assert image.getexif()[MODEL] == "Box Brownie"
        assert not image.getexif().get_ifd(GPS)
    assert not any(trace in (tmp_path / "painting.tif").read_bytes() for trace in TRACES)


LAYOUTS = {
    "shape": '{"shape": [8, 8, 3]}',
    "shape and more": '{"axes": "YXS", "shape": [8, 8, 3]}',
    "old shape": "shape=(8, 8, 3)",
    "ImageJ": "ImageJ=1.53t\nimages=3\nslices=3\n",
    "OME": '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"></OME>',
    "OME with a prefix": '<?xml version="1.0"?>\n<ome:OME></ome:OME>\n',
    "Leica": '<?xml version="1.0"?><scn><collection/></scn>',
    "MetaSeries": "<MetaData><PlaneInfo/></MetaData>",
    "Aperio": "Aperio Image Library v12\r\n8x8 [0,0 8x8]",
    "FITS": "SIMPLE  =  T\nBITPIX = 8\nEND",
}


@pytest.mark.parametrize("name", list(LAYOUTS))
@pytest.mark.parametrize(("source", "target"), [(".tif", ".tif"), (".tif", ".jpg"), (".jpg", ".tif")])
def test_descriptions_of_layout_are_left_out(tmp_path: Path, name: str, source: str, target: str) -> None:
    """A painting does not state that it is built as the photograph's file was; other texts stay."""
    if source == ".tif":
        tags = [(271, "s", 0, "Acme", True)]
        tifffile.imwrite(
            tmp_path / "a.tif",
            np.asarray(PICTURE),
            photometric="rgb",
            description=LAYOUTS[name],
            metadata=None,
            extratags=tags,
        )
    else:
        exif = Image.Exif()
        exif[ExifTags.Base.ImageDescription], exif[ExifTags.Base.Make] = LAYOUTS[name], "Acme"
        PICTURE.save(tmp_path / "a.jpg", exif=exif)
    exif_block = read_picture(tmp_path / f"a{source}").exif
    write_picture(tmp_path / f"b{target}", np.zeros((4, 5, 3), np.uint8), exif=exif_block)
    with Image.open(tmp_path / f"b{target}") as image:
        assert ExifTags.Base.ImageDescription not in image.getexif()
        assert image.getexif()[ExifTags.Base.Make] == "Acme"


@pytest.mark.parametrize("ome", [False, True])
def test_other_readers_do_not_warn_of_paintings(tmp_path: Path, caplog: pytest.LogCaptureFixture, ome: bool) -> None:
    """The painting of a picture by tifffile opens without a word."""
    name = "a.ome.tif" if ome else "a.tif"
    tifffile.imwrite(tmp_path / name, np.asarray(PICTURE), photometric="rgb")
    write_picture(tmp_path / f"b{name[1:]}", np.zeros((40, 50, 3), np.uint8), exif=read_picture(tmp_path / name).exif)
    with caplog.at_level(0, "tifffile"):
        assert tifffile.imread(tmp_path / f"b{name[1:]}").shape == (40, 50, 3)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "text", ["The shape of things", "A {good} day", "<3 my dog", "OME> by night, from Rome", "Sunset"]
)
def test_descriptions_by_people_stay(tmp_path: Path, text: str) -> None:
    """What people write about a picture is kept."""
    tifffile.imwrite(tmp_path / "a.tif", np.asarray(PICTURE), photometric="rgb", description=text, metadata=None)
    write_picture(tmp_path / "b.tif", np.asarray(PICTURE), exif=read_picture(tmp_path / "a.tif").exif)
    with Image.open(tmp_path / "b.tif") as image:
        assert image.getexif()[ExifTags.Base.ImageDescription] == text


@pytest.mark.parametrize("prefix", [b"Exif\0\0", b""])
def test_the_block_itself(prefix: bytes) -> None:
    """The block keeps its length and all other facts; of the position not a number is left."""
    block = prefix + camera_exif().tobytes().removeprefix(b"Exif\0\0")
    stripped = without_gps(block)
    assert stripped is not None
    assert stripped.startswith(prefix)
    assert len(stripped) == len(block)
    assert found(loaded(stripped)) == found(loaded(block))
    assert loaded(stripped).get_ifd(EXIF)[INTEROP] == loaded(block).get_ifd(EXIF)[INTEROP]
    assert sum(trace in block for trace in TRACES) == 3
    assert not any(trace in stripped for trace in TRACES)
    assert without_gps(stripped) == stripped


def test_a_block_without_position_stays() -> None:
    """Where there is no position nothing changes."""
    block = camera_exif(position=False).tobytes()
    assert without_gps(block) == block


@pytest.mark.parametrize("order", "<>")
def test_both_byte_orders(order: str) -> None:
    """Blocks of either byte order lose their position and keep the entries before and behind it."""
    stripped = without_gps(handmade(order))
    assert stripped is not None
    assert b"WGS" not in stripped
    assert dict(loaded(stripped)) == {MODEL: "Box", PADDING: b"last"}


@pytest.mark.parametrize("nest", [EXIF, INTEROP])
def test_a_position_in_another_directory(nest: int) -> None:
    """A position is found where it does not belong: linked from the EXIF or interoperability directory."""
    block = handmade()
    inner = block[8:50].replace(struct.pack(">H", MODEL), struct.pack(">H", 0x9000))
    outer = struct.pack(">HHHII", 1, nest, 4, 1, len(block)) + bytes(4)
    start = len(block) + len(inner)
    stripped = without_gps(block[:4] + struct.pack(">I", start) + block[8:] + inner + outer)
    assert stripped is not None
    assert b"WGS" not in stripped
    assert struct.pack(">H", GPS) not in stripped[len(block) : start]


def test_a_link_to_nowhere_is_no_position() -> None:
    """Some cameras write a link of 0 for "no position"; it is taken out, the rest stays."""
    stripped = without_gps(handmade().replace(struct.pack(">I", 50), bytes(4), 1))
    assert stripped is not None
    assert dict(loaded(stripped)) == {MODEL: "Box", PADDING: b"last"}


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"no EXIF at all, but long enough",
        handmade()[:30],  # the first directory is cut off
        handmade()[:55],  # the position's directory is
        handmade()[:70],  # the position's text is
        handmade().replace(struct.pack(">I", 50), b"\xff\xff\xff\xff"),
    ],
)
def test_broken_blocks_are_dropped(block: bytes) -> None:
    """Of a block that is not understood nothing is kept, rather than a position."""
    assert without_gps(block) is None


def test_directories_without_end_are_dropped() -> None:
    """A chain of directories that a stranger made to keep us busy is not followed for long."""
    chain = b"".join(struct.pack(">HI", 0, 8 + 6 * (i + 1)) for i in range(1000))
    assert without_gps(b"MM\0*" + struct.pack(">I", 8) + chain + bytes(6)) is None
    circle = struct.pack(">HI", 0, 8)
    assert without_gps(b"MM\0*" + struct.pack(">I", 8) + circle) is not None


XMP_IN_EXIF = b'<rdf:Description exif:GPSLatitude="48,51.5N" photoshop:City="Paris-TRACE"/>'


@pytest.mark.parametrize("tag", [ExifTags.Base.XMLPacket, ExifTags.Base.IPTCNAA, ExifTags.Base.ImageResources])
@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_places_in_other_blocks_within(tmp_path: Path, tag: int, extension: str) -> None:
    """XMP, IPTC and Photoshop's resources within EXIF go with the position, and all else stays."""
    exif = camera_exif(position=False)
    exif[tag] = XMP_IN_EXIF
    stripped = without_gps(exif.tobytes())
    assert stripped is not None
    assert len(stripped) == len(exif.tobytes())
    write_picture(tmp_path / f"a{extension}", np.asarray(PICTURE), exif=stripped)
    for content in (stripped, (tmp_path / f"a{extension}").read_bytes()):
        assert b"TRACE" not in content
        assert b"Box Brownie" in content


NOTE = struct.pack("<HHHI4sI", 1, 0x6D, 7, 4, b"ROM\0", 0)


@pytest.mark.parametrize(
    ("note", "without_place", "without_preview"),
    [
        (b"Panasonic\0\0\0" + NOTE, False, True),
        (b"LEICA\0\0\0" + NOTE, False, True),
        (b"QVC\0\0\0" + NOTE + b"\xff\xd8\xff\xe0" + bytes(99), True, False),
        (b"Acme\0\0\0" + NOTE, True, True),
    ],
    ids=["Panasonic", "Leica", "preview", "other"],
)
def test_notes_of_the_maker(note: bytes, without_place: bool, without_preview: bool) -> None:
    """One that may name the place goes with the position, one that holds a preview always, others stay."""
    exif = camera_exif()
    exif.get_ifd(EXIF)[ExifTags.Base.MakerNote] = note
    block = exif.tobytes()
    stripped = without_gps(block)
    assert stripped is not None
    for kept, found in ((without_place, stripped), (without_preview, without_thumbnail(block))):
        assert len(found) == len(block)
        assert (note in found) == kept
        assert (NOTE in found) == kept
        assert (loaded(found).get_ifd(EXIF).get(ExifTags.Base.MakerNote) == note) == kept
        assert loaded(found).get_ifd(EXIF)[ExifTags.Base.LensModel] == "Meniscus 100 mm"


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_how_the_photographs_pixels_were_stored(tmp_path: Path, extension: str) -> None:
    """Size, strips and the like, as in the EXIF of a scanner, are not the painting's."""
    exif = camera_exif()
    layout = {256: 4000, 257: 3000, 258: (8, 8, 8), 259: 1, 262: 2, 273: (8, 16), 277: 3, 278: 99, 279: (8, 8), 284: 1}
    for tag, value in layout.items():
        exif[tag] = value
    write_picture(tmp_path / f"a{extension}", np.asarray(PICTURE), exif=exif.tobytes())
    with Image.open(tmp_path / f"a{extension}") as image:
        assert not layout.items() & dict(image.getexif()).items()
        assert image.getexif()[MODEL] == "Box Brownie"


@pytest.mark.parametrize("text", ["© Jürgen Groß", "© 写真家"])
def test_names_of_any_letters(tmp_path: Path, text: str) -> None:
    """Artist and copyright alone are the bytes that the photograph has."""
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = exif[ExifTags.Base.Copyright] = text.encode()
    rights = rights_of(exif.tobytes())
    assert rights is not None
    assert {text.encode("latin-1") for text in loaded(rights).values()} == {text.encode()}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_never_reveals_the_position(data: st.DataObject) -> None:
    """However a block is damaged, it comes back without what Pillow would read as a position, or not at all."""
    block = bytearray(camera_exif().tobytes())
    for place in data.draw(st.lists(st.integers(6, len(block) - 1), max_size=4)):
        block[place] = data.draw(st.integers(0, 255))
    stripped = without_gps(bytes(block))
    if stripped is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                position = loaded(stripped).get_ifd(GPS)
            except Exception:  # Pillow gives up where we do not; then it reads no position either
                position = {}
        assert not position


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize(("unit", "stated"), [(1, 1.0), (2, 72.0), (3, 28.0)])
def test_the_photographs_resolution_is_not_the_paintings(
    tmp_path: Path, extension: str, unit: int, stated: float
) -> None:
    """A camera's 72 dpi, or its lack of a unit, give way to what the painting is printed at."""
    block = Image.Exif()
    block[ExifTags.Base.XResolution] = block[ExifTags.Base.YResolution] = stated
    block[ExifTags.Base.ResolutionUnit] = unit
    path = tmp_path / f"a.{extension}"
    write_picture(path, np.zeros((32, 48, 3), np.uint8), exif=block.tobytes(), dpi=(240, 240))
    with Image.open(path) as image:
        found = image.getexif()
    assert float(found[ExifTags.Base.XResolution]) == pytest.approx(240)
    assert found[ExifTags.Base.ResolutionUnit] == 2
    assert read_picture(path).dpi == pytest.approx((240, 240), abs=0.1)
