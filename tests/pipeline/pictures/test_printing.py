"""Tests of files for print shops: profiles, CMYK, PDF, sizes of files, proofs."""

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pikepdf
import pytest
import pyvips
from facts import having
from handmade import gray_profile, profile
from pictures import deep, photograph, with_alpha
from PIL import ExifTags, Image, ImageCms

from muralist.pipeline.errors import OutputError, SettingsError
from muralist.pipeline.pictures.metadata import is_usable
from muralist.pipeline.pictures.pdf import Page, Rectangle
from muralist.pipeline.pictures.profiles import channels_of, output_profile
from muralist.pipeline.pictures.proof import soft_proof
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.pictures.writing import check_output, write_picture
from muralist.pipeline.pictures.xmp import with_texts

PIXELS = photograph(96, 128)
CMYK = bytes(pyvips.Image.profile_load("cmyk"))
P3 = bytes(pyvips.Image.profile_load("p3"))


def as_littlecms_does(pixels: np.ndarray, icc: bytes, mode: str, intent: int = 1) -> np.ndarray:
    """Pixels in a profile, by littlecms without its shortcuts."""
    flags = ImageCms.Flags.NOOPTIMIZE | (ImageCms.Flags.BLACKPOINTCOMPENSATION if mode == "CMYK" else 0)
    target = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), target, "RGB", mode, intent, flags)
    return np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), transform))


# ------------------------------------------------------------------------------------------------------------ profiles


def test_profiles_by_name_and_file(tmp_path: Path) -> None:
    """The photograph's is kept if RGB pixels can be converted to it; sRGB needs none; files are read."""
    assert output_profile("keep", P3) == P3
    assert output_profile("keep", CMYK) is None
    assert output_profile("keep", b"junk") is None
    assert output_profile("keep", None) is None
    assert output_profile("srgb", P3) is None
    assert output_profile("p3", None) == P3
    (tmp_path / "press.icc").write_bytes(CMYK)
    assert output_profile(str(tmp_path / "press.icc"), P3) == CMYK
    assert (channels_of(CMYK), channels_of(P3), channels_of(None)) == (4, 3, 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"junk" * 50, "ICC"),
        (CMYK[:12] + b"scnr" + CMYK[16:], "scanner"),
        (CMYK[:12] + b"link" + CMYK[16:], "link"),
        (gray_profile(2.2), "GRAY.*RGB.*CMYK"),
        (profile({}, b"RGB "), ""),
    ],
)
def test_profiles_that_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """Profiles of the wrong class or color space, and files that are none, are called what they are."""
    (tmp_path / "a.icc").write_bytes(content)
    with pytest.raises(SettingsError, match=rf"{tmp_path}/a\.icc\b.*{words}"):
        output_profile(str(tmp_path / "a.icc"), None)


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    """A name that is none of ours is a file; devices are none."""
    with pytest.raises(SettingsError, match=r"adobe .*keep, srgb, p3, adobergb"):
        output_profile("adobe", None)
    with pytest.raises(SettingsError, match=rf"{tmp_path}, .*keep, srgb, p3, adobergb"):
        output_profile(str(tmp_path), None)


def test_adobe_rgb(tmp_path: Path) -> None:
    """The profile that is computed has Adobe RGB's colors: sRGB's red is 219 of its own, gray keeps its light."""
    icc = output_profile("adobergb", None)
    assert icc is not None
    colors = np.array([[[255, 0, 0], [0, 255, 0], [255, 255, 255]]], np.uint8)
    write_picture(tmp_path / "a.tif", colors, icc=icc)
    found = np.asarray(Image.open(tmp_path / "a.tif")).astype(int)[0]
    assert np.abs(found - [[219, 0, 0], [144, 255, 60], [255, 255, 255]]).max() <= 1
    assert np.abs(read_picture(tmp_path / "a.tif").pixels[:].astype(int) - colors).max() <= 1


@pytest.mark.parametrize(("intent", "number"), [("perceptual", 0), ("relative", 1), ("saturation", 2), ("absolute", 3)])
@pytest.mark.parametrize("icc", [CMYK, P3])
def test_intents_as_littlecms_has_them(tmp_path: Path, icc: bytes, intent: str, number: int) -> None:
    """Of a photograph's colors, inks and lights come out as littlecms makes them by itself."""
    write_picture(tmp_path / "a.tif", PIXELS, icc=icc, intent=intent)
    found = pyvips.Image.new_from_file(str(tmp_path / "a.tif")).numpy()
    wanted = as_littlecms_does(PIXELS, icc, "CMYK" if icc == CMYK else "RGB", number)
    assert np.abs(found.astype(int) - wanted).max() <= 2


def test_intents_differ(tmp_path: Path) -> None:
    """What is asked for reaches the conversion."""
    assert is_usable(CMYK)
    found = {}
    for intent in ("relative", "absolute"):
        write_picture(tmp_path / "a.tif", PIXELS, icc=CMYK, intent=intent)
        found[intent] = np.asarray(Image.open(tmp_path / "a.tif")).astype(int)
    assert np.abs(found["relative"] - found["absolute"]).max() > 3


@pytest.mark.parametrize("extension", [".tif", ".jpg"])
def test_cmyk_as_littlecms_makes_it(tmp_path: Path, extension: str) -> None:
    """Inks are littlecms' within a step (and what JPEG changes), with the profile in the file."""
    path = tmp_path / f"a{extension}"
    write_picture(path, PIXELS, icc=CMYK, quality=100)
    with Image.open(path) as image:
        assert image.mode == "CMYK"
        assert image.info["icc_profile"] == CMYK
        found = np.asarray(image).astype(int)
    assert np.abs(found - as_littlecms_does(PIXELS, CMYK, "CMYK")).max() <= (1 if extension == ".tif" else 6)


def test_cmyk_in_sixteen_bits(tmp_path: Path) -> None:
    """A TIFF of 16 bits has the same inks, finer."""
    write_picture(tmp_path / "a.tif", deep(PIXELS), icc=CMYK, bit_depth=16)
    image = pyvips.Image.new_from_file(str(tmp_path / "a.tif"))
    assert (image.format, image.bands, image.interpretation) == ("ushort", 4, "cmyk")
    assert len(np.unique(image.numpy())) > 300


def test_transparent_cmyk_is_white(tmp_path: Path) -> None:
    """Inks have no alpha: what is transparent gets none."""
    alpha = np.zeros(PIXELS.shape[:2], np.uint8)
    write_picture(tmp_path / "a.tif", PIXELS, alpha=alpha, icc=CMYK)
    assert np.asarray(Image.open(tmp_path / "a.tif")).max() <= 2


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.avif"])
def test_formats_without_cmyk(tmp_path: Path, name: str) -> None:
    """They are refused before painting, with those that can."""
    with pytest.raises(OutputError, match=r"CMYK.* \.jpg \.tif \.pdf"):
        check_output(tmp_path / name, overwrite=False, icc=CMYK)


def test_avif(tmp_path: Path) -> None:
    """AVIF is written, with profile and alpha, and read again, by Pillow too."""
    write_picture(tmp_path / "a.avif", PIXELS, alpha=with_alpha(PIXELS)[:, :, 3], icc=P3, quality=98)
    found = read_picture(tmp_path / "a.avif")
    assert (found.icc, found.alpha is not None) == (P3, True)
    assert np.abs(found.pixels[:].astype(int) - PIXELS).mean() < 3
    with Image.open(tmp_path / "a.avif") as image:
        assert image.size == (128, 96)


# ----------------------------------------------------------------------------------------------------------------- PDF


def shown(path: Path, dpi: int) -> np.ndarray:
    """The page, by poppler."""
    subprocess.run(["pdftoppm", "-r", str(dpi), "-png", "-singlefile", path, path.with_suffix("")], check=True)
    return np.asarray(Image.open(path.with_suffix(".png")).convert("RGB")).astype(int)


@pytest.mark.parametrize("is_lossless", [False, True])
@pytest.mark.parametrize("icc", [None, P3, CMYK])
def test_a_pdf_shows_the_picture(tmp_path: Path, is_lossless: bool, icc: bytes | None) -> None:
    """One page at true size, sound for qpdf, with the picture's numbers in it, and looking right by poppler."""
    path = tmp_path / "a.pdf"
    write_picture(path, PIXELS, icc=icc, dpi=(96, 96), is_lossless=is_lossless, quality=97, xmp=b"<x/>")
    with pikepdf.open(path) as pdf:
        assert pdf.check_pdf_syntax() == []
        assert len(pdf.pages) == 1
        assert [float(n) for n in pdf.pages[0].mediabox] == [0, 0, 96, 72]
        assert pdf.Root.Metadata.read_bytes() == b"<x/>"
        image = pdf.pages[0].Resources.XObject.Picture
        assert image.ColorSpace[1].read_bytes() == (icc or bytes(pyvips.Image.profile_load("srgb")))
        if is_lossless:
            wanted = PIXELS if icc is None else as_littlecms_does(PIXELS, icc, "CMYK" if icc == CMYK else "RGB")
            found = np.asarray(pikepdf.PdfImage(image).as_pil_image()).astype(int)
            assert np.abs(found - wanted).max() <= (0 if icc is None else 2)
    if shutil.which("pdftoppm"):
        looks = shown(path, 96)
        assert looks.shape == PIXELS.shape
        assert np.abs(looks - PIXELS).mean() < (4 if icc is None else 25)  # inks cannot do all of it


def test_boxes_of_a_pdf(tmp_path: Path) -> None:
    """Trim and bleed are told; a page longer than readers take is counted in larger units."""
    page = Page(
        20_000, 7000, Rectangle(0, 0, 20_000, 7000), Rectangle(100, 100, 19_900, 6900), Rectangle(50, 50, 19_950, 6950)
    )
    write_picture(tmp_path / "a.pdf", PIXELS, page=page)
    with pikepdf.open(tmp_path / "a.pdf") as pdf:
        found = pdf.pages[0]
        assert found.UserUnit == 2
        assert [float(n) for n in found.mediabox] == [0, 0, 10_000, 3500]
        assert [float(n) for n in found.TrimBox] == [50, 50, 9950, 3450]
        assert [float(n) for n in found.BleedBox] == [25, 25, 9975, 3475]


@pytest.mark.parametrize(("icc", "is_printers"), [(CMYK, True), (P3, False)])
def test_the_intent_of_a_pdf(tmp_path: Path, icc: bytes, is_printers: bool) -> None:
    """A printer's profile is also named as what the file is meant for."""
    write_picture(tmp_path / "a.pdf", PIXELS, icc=icc)
    with pikepdf.open(tmp_path / "a.pdf") as pdf:
        intents = pdf.Root.get("/OutputIntents", pikepdf.Array())
        found = [bytes(each.DestOutputProfile.read_bytes()) for each in intents]
        assert found == ([icc] if is_printers else [])


def test_a_pdf_without_resolution(tmp_path: Path) -> None:
    """It is 300 dpi; alpha is laid on white."""
    write_picture(tmp_path / "a.pdf", PIXELS, alpha=np.zeros(PIXELS.shape[:2], np.uint8), is_lossless=True)
    with pikepdf.open(tmp_path / "a.pdf") as pdf:
        assert float(pdf.pages[0].mediabox[2]) == pytest.approx(128 * 72 / 300, abs=1e-3)
        image = pikepdf.PdfImage(pdf.pages[0].Resources.XObject.Picture).as_pil_image()
        assert (np.asarray(image) == 255).all()


@pytest.mark.parametrize("xmp", [None, with_texts(None, {"rights": ["mine"]})])
def test_a_pdf_says_whose_picture_it_is(tmp_path: Path, xmp: bytes | None) -> None:
    """It holds no EXIF, whose texts are in its XMP, where that says nothing else."""
    exif = Image.Exif()
    exif[ExifTags.Base.Artist], exif[ExifTags.Base.Copyright] = "Zoë".encode(), "© Zoë\0".encode("latin-1")
    write_picture(tmp_path / "a.pdf", PIXELS, exif=exif.tobytes(), xmp=xmp)
    with pikepdf.open(tmp_path / "a.pdf") as pdf, pdf.open_metadata(update_docinfo=False) as found:
        assert (found["dc:creator"], found["dc:rights"]) == (["Zoë"], "© Zoë" if xmp is None else "mine")
        assert "dc:description" not in found
    write_picture(tmp_path / "a.pdf", PIXELS)
    with pikepdf.open(tmp_path / "a.pdf") as pdf:
        assert "/Metadata" not in pdf.Root


class Noise:
    """A large picture that is nowhere in memory."""

    shape, dtype = (6000, 6000, 3), np.dtype(np.uint8)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return np.random.default_rng(rows.start).integers(0, 256, (rows.stop - rows.start, *self.shape[1:]), np.uint8)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel's account of memory is read")
@pytest.mark.parametrize("is_lossless", [False, True])
def test_a_large_pdf_takes_little_memory(tmp_path: Path, is_lossless: bool) -> None:
    """It is written as its rows come: 36 megapixels, 108 MB, take less than their size."""

    def peak() -> int:
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

    write_picture(tmp_path / "a.pdf", Noise()[0:64], is_lossless=is_lossless)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    write_picture(tmp_path / "a.pdf", Noise(), is_lossless=is_lossless)
    assert peak() - before < 100_000_000


# --------------------------------------------------------------------------------------------------- sizes, and proofs


@pytest.mark.parametrize("extension", [".jpg", ".webp", ".avif", ".pdf"])
def test_the_best_quality_that_fits(tmp_path: Path, extension: str) -> None:
    """Of all qualities, the best one whose file is not larger is taken, and told."""
    path = tmp_path / f"a{extension}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    assert write_picture(path, noise, quality=90) == 90
    whole = path.stat().st_size
    quality = write_picture(path, noise, quality=90, max_bytes=whole * 2 // 3)
    assert 1 <= quality < 90
    assert path.stat().st_size <= whole * 2 // 3
    write_picture(path, noise, quality=quality + 1)
    assert path.stat().st_size > whole * 2 // 3
    assert write_picture(path, noise, quality=90, max_bytes=whole) == 90


@pytest.mark.parametrize(("name", "facts"), [("a.tif", r" \d\d\.\d KB "), ("a.png", r" \d\d\.\d KB "), ("a.jpg", "")])
def test_what_cannot_be_made_smaller(tmp_path: Path, name: str, facts: str) -> None:
    """Lossless formats have no quality, and there is an end to it; nothing is left behind."""
    with pytest.raises(OutputError, match=facts + r".*max_file 0\.3 KB", check=having(path=tmp_path / name)):
        write_picture(tmp_path / name, PIXELS, max_bytes=300)
    assert list(tmp_path.iterdir()) == []


def test_a_soft_proof() -> None:
    """Bright green is beyond a press, gray is not; what is shown is what littlecms makes of it there and back."""
    green, gray = (np.full((8, 8, 3), color, np.uint8) for color in ((0, 255, 0), (120, 120, 120)))
    shown_green, share = soft_proof(green, CMYK, "relative")
    assert share == 1
    assert shown_green[0, 0, 1] < 220
    shown_gray, share = soft_proof(gray, CMYK, "relative")
    assert share == 0
    assert np.abs(shown_gray.astype(int) - 120).max() < 25
