"""One small whole file of every kind that is read from users, in many ways of storing it; all of them are read."""

import io
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import brotli
import numpy as np
import pyvips
import tifffile
from camera_files import avif, dng, heic, jpeg_2000, jpeg_2000_planes, jpeg_xl, jpeg_xl_boxes, mosaic, psd
from handmade import ASCII, LONG, RATIONAL, SHORT, UNDEFINED, Value, chunk, gray_profile, png, profile_chunk, tiff
from layouts import LAYOUTS, NARROW, random_weights
from mutations import Damage, damaged, damaged_mat, damaged_png, damaged_text, damaged_zip
from pictures import deep, photograph, with_alpha
from PIL import ExifTags, Image, ImageCms

HEIGHT, WIDTH = 24, 40
PIXELS = photograph(HEIGHT, WIDTH)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


XMP = (
    b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"
  xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="52,31N" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
  tiff:Orientation="1" xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" crs:Exposure="1">
<dc:subject><rdf:Bag><rdf:li>boats</rdf:li><rdf:li>sea</rdf:li></rdf:Bag></dc:subject>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Harbor &amp; boats</rdf:li></rdf:Alt></dc:title>
<exif:GPSLongitude>13,24E</exif:GPSLongitude>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
    + b" " * 2000
)
IPTC = b"".join(
    b"\x1c" + struct.pack(">BBH", record, number, len(value)) + value
    for record, number, value in (
        *((1, 90, b"\x1b%G"), (2, 0, b"\0\4"), (2, 5, b"Harbor"), (2, 25, b"boats"), (2, 25, "Z\u00fcrich".encode())),
        *((2, 80, b"Ann"), (2, 90, b"Berlin"), (2, 101, b"Germany"), (2, 116, b"(c) Ann"), (2, 120, b"Boats at sea")),
    )
)


SLOPPY: dict[int, Value] = {
    254: (LONG, [1]),
    271: (ASCII, b"ACM"),
    274: (SHORT, [9]),
    282: (RATIONAL, [0, 0]),
    296: (SHORT, [129]),
    297: (SHORT, [3]),
    305: (ASCII, b"Acme".ljust(32, b"\0")),
    330: (LONG, [8, 8, 8]),
    700: (UNDEFINED, b'tiff:Orientation="6"'),
    34675: (UNDEFINED, b""),
}


class ValidFile(NamedTuple):
    """A whole file.

    Attributes
    ----------
    kind : str
        What reads it, see `foreign_files.READERS`.
    name : str
    content : bytes
    about : str
        The network of weights.
    damage : callable
        How to mutate it.
    """

    kind: str
    name: str
    content: bytes
    about: str = ""
    damage: Damage = damaged


def valid_files() -> list[ValidFile]:
    """All of them, always the same."""
    return [*_jpegs(), *_pngs(), *_tiffs(), *_webps(), *_of_cameras(), *_texts(), *_weights()]


def _exif() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "Maker", 6
    exif[ExifTags.Base.XResolution] = exif[ExifTags.Base.YResolution] = 300.0
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2026:01:02 03:04:05"
    return exif.tobytes()


def _saved(form: str, image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _jpegs() -> Iterator[ValidFile]:
    image, about = Image.fromarray(PIXELS), {"exif": _exif(), "icc_profile": ICC}
    files = {
        "baseline": _saved("JPEG", image),
        "progressive": _saved("JPEG", image, progressive=True),
        "gray": _saved("JPEG", image.convert("L"), optimize=True),
        "cmyk": _saved("JPEG", image.convert("CMYK")),
        "exif and profile": _saved("JPEG", image, **about),
        "xmp and iptc": _vips_with_blobs(),
        "progressive, exif": _saved("JPEG", image, progressive=True, exif=_exif(), restart_marker_blocks=2),
    }
    return (ValidFile("picture", f"{name}.jpg", content) for name, content in files.items())


def _vips_with_blobs() -> bytes:
    """A JPEG with XMP and IPTC, by libvips."""
    image = _vips(PIXELS, "srgb").copy()
    image.set_type(pyvips.GValue.blob_type, "xmp-data", XMP)
    iptc = b"Photoshop 3.0\x008BIM" + struct.pack(">HHI", 1028, 0, len(IPTC)) + IPTC + bytes(len(IPTC) % 2)
    image.set_type(pyvips.GValue.blob_type, "iptc-data", iptc)
    return bytes(image.jpegsave_buffer())


def _pngs() -> Iterator[ValidFile]:
    image = Image.fromarray(PIXELS)
    files = {
        "plain": _saved("PNG", image),
        "palette": _saved("PNG", image.quantize(16), transparency=3),
        "one bit": _saved("PNG", image.convert("1")),
        "alpha": _saved("PNG", Image.fromarray(with_alpha(PIXELS))),
        "gray 16": _saved("PNG", Image.fromarray(deep(PIXELS)[:, :, 0])),
        "exif and profile": _saved("PNG", image, exif=_exif(), icc_profile=ICC, dpi=(300, 300)),
        "16 bit": _vips(deep(PIXELS), "rgb16").pngsave_buffer(),
        "interlaced": _vips(PIXELS, "srgb").pngsave_buffer(interlace=True),
        "exif behind": png(PIXELS, after=chunk(b"eXIf", _exif().removeprefix(b"Exif\0\0"))),
        "exif as text": png(
            PIXELS, chunk(b"tEXt", b"Raw profile type exif\0\nexif\n%8d\n" % 999 + _exif().hex().encode())
        ),
        "colors by numbers": png(PIXELS, chunk(b"cICP", bytes([12, 13, 0, 1]))),
        "xmp": png(PIXELS, chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>')),
        "a profile that libpng drops": png(PIXELS[:, :, 0], profile_chunk(gray_profile(1.8, intent=1 << 24))),
    }
    return (ValidFile("picture", f"{name}.png", content, damage=damaged_png) for name, content in files.items())


def _vips(pixels: np.ndarray, interpretation: str) -> Any:
    return pyvips.Image.new_from_array(pixels, interpretation=interpretation)


def _tiffs() -> Iterator[ValidFile]:
    files = {
        "strips": _tiff(PIXELS, rowsperstrip=8),
        "tiled, deflate": _tiff(PIXELS, tile=(16, 16), compression="zlib", predictor=True),
        "16 bit": _tiff(deep(PIXELS), compression="zlib", description="about", iccprofile=ICC),
        "float": _tiff((PIXELS / 255).astype(np.float32), tile=(16, 16)),
        "big": _tiff(PIXELS, bigtiff=True, byteorder=">"),
        "pages": _tiff(np.stack([PIXELS, PIXELS]), photometric="rgb"),
        "planar": _tiff(np.moveaxis(PIXELS, 2, 0), planarconfig="separate"),
        "lzw": _vips(PIXELS, "srgb").tiffsave_buffer(compression="lzw"),
        "jpeg": _vips(PIXELS, "srgb").tiffsave_buffer(compression="jpeg", tile=True, tile_width=16, tile_height=16),
        "fax": _vips(PIXELS[:, :, 0], "b-w").tiffsave_buffer(compression="ccittfax4", bitdepth=1),
        "packbits": _vips(PIXELS, "srgb").tiffsave_buffer(compression="packbits"),
        "cmyk": _saved("TIFF", Image.fromarray(PIXELS).convert("CMYK")),
        "sloppy tags": tiff(PIXELS, tags=SLOPPY, by_number=False),
        "luma and color differences": tiff(PIXELS, 6, {530: (SHORT, [1, 1]), 529: (RATIONAL, [1, 2, 1, 4, 1, 4])}),
        "lab": tiff(PIXELS, 8),
        "lab 16": tiff(deep(PIXELS), 9),
        "spot colors": tiff(np.dstack([PIXELS, PIXELS, PIXELS]), 5, {338: (SHORT, [0, 2, 0, 0, 0])}),
        "premultiplied": tiff(with_alpha(PIXELS), tags={338: (SHORT, [1])}),
    }
    return (ValidFile("picture", f"{name}.tif", content) for name, content in files.items())


def _tiff(pixels: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **{"photometric": "rgb", "metadata": None, **options})
    return file.getvalue()


def _webps() -> Iterator[ValidFile]:
    image = Image.fromarray(PIXELS)
    files = {
        "lossy": _saved("WEBP", image),
        "lossless": _saved("WEBP", image, lossless=True),
        "alpha": _saved("WEBP", Image.fromarray(with_alpha(PIXELS))),
        "exif and profile": _saved("WEBP", image, exif=_exif(), icc_profile=ICC),
        "animated": _saved("WEBP", image, save_all=True, append_images=[image.rotate(180)]),
    }
    return (ValidFile("picture", f"{name}.webp", content) for name, content in files.items())


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


_PACKED = (b"brob", b"xml " + brotli.compress(bytes(1 << 26)))


def _of_cameras() -> Iterator[ValidFile]:
    """Files of phones, cameras and Photoshop; raw ones are larger, for LibRaw takes none so small."""
    planes = PIXELS.transpose(2, 0, 1)
    samples = mosaic(np.full((48, 64, 3), (4000, 9000, 6000), np.uint16))
    ycc, gif = Image.fromarray(PIXELS).convert("YCbCr"), Image.fromarray(with_alpha(PIXELS))
    files = {
        "plain.heic": heic(PIXELS, quality=50),
        "ten bits.heic": heic(deep(PIXELS), quality=50, exif=_exif(), icc_profile=ICC),
        "alpha.heic": heic(with_alpha(PIXELS), quality=50),
        "plain.avif": avif(PIXELS, exif=_exif(), icc_profile=ICC),
        "ten bits.avif": _vips(deep(PIXELS), "rgb16").heifsave_buffer(compression="av1", bitdepth=10, effort=0),
        "gray.avif": _saved("AVIF", Image.fromarray(PIXELS[:, :, 0]), subsampling="4:0:0", range="limited"),
        "lossless.jxl": jpeg_xl(PIXELS),
        "16 bit.jxl": jpeg_xl(deep(PIXELS)),
        "with boxes.jxl": jpeg_xl(deep(PIXELS)) + _box(b"xml ", XMP) + _box(b"Exif", bytes(4) + _exif()[6:]),
        "packed boxes.jxl": jpeg_xl_boxes(
            (b"brob", b"xml " + brotli.compress(XMP)),
            (b"brob", b"Exif" + brotli.compress(bytes(4) + _exif()[6:])),
            (b"jxlc", jpeg_xl(PIXELS)),
        ),
        "many packed boxes.jxl": jpeg_xl_boxes(*[_PACKED] * 2000, (b"jxlc", jpeg_xl(PIXELS))),
        "lossless.jp2": jpeg_2000(PIXELS, icc=ICC),
        "16 bit.jp2": jpeg_2000(deep(PIXELS)),
        "gray and alpha.jp2": jpeg_2000(with_alpha(PIXELS)[:, :, 2:]),
        "smaller channels.j2k": jpeg_2000_planes([PIXELS[:, :, 0], PIXELS[::2, ::2, 1], PIXELS[::2, ::2, 2]]),
        "lossy.jp2": _saved("JPEG2000", ycc, irreversible=True),
        "bare.j2k": _saved("JPEG2000", Image.fromarray(PIXELS), no_jp2=True),
        "transparent.gif": _saved("GIF", gif, save_all=True, append_images=[gif.rotate(180)]),
        "plain.bmp": _saved("BMP", Image.fromarray(PIXELS)),
        "palette.bmp": _saved("BMP", Image.fromarray(PIXELS).quantize(16)),
        "packed.psd": psd(planes, resources={1039: ICC, 1058: _exif()[6:]}, layers=-1),
        "large, 16 bit.psb": psd(deep(PIXELS).transpose(2, 0, 1), large=True, packed=False),
        "gray.dng": dng(samples),
    }
    return (ValidFile("picture", name, content) for name, content in files.items())


PRESETS = {
    "preset": """# A poster.
extends: draft
tile: 512
overlap: 128
steps: [200, 100, 60]
learning_rate: 0.02
style_layers: {relu1_1: 1.0, relu2_1: 2}
print_size: 60x90cm
for_network:
  compact:
    style_weight: 20
    tv_weight: 1e-3
""",
    "list": "size: 900\naspect: '4:3'\ncolor: statistics\nstyle_blend:\n  - 1\n  - 0.5\nseed: 7\ninit: blank\n",
}
ROWS: list[dict[str, object]] = [
    {"content": "a/cat.jpg", "style": "wave.jpg|monet.png", "output": "b/{stem}-{number}.png", "tile": 512},
    {"content": "dog.tif", "preset": "poster", "settings": {"steps": [200, 100], "style_layers": {"relu3_1": 2}}},
    {"content": "a/b/bird.png", "style": ["x.jpg"], "settings": {"init": "start.png", "aspect": "4:3", "size": None}},
]
CSV = """content,style,preset,output,tile,steps,init,style_layers,aspect
a/cat.jpg,wave.jpg|monet.png,draft,b/{stem}.png,512,"200,100",start.png,{relu3_1: 2},4:3
"dog, old.tif",wave.jpg,,,,[7],,,
a/b/bird.png,wave.jpg,poster,{folder}/{style}-{number}.{ext},,,blank,,
"""


def _texts() -> Iterator[ValidFile]:
    for name, text in PRESETS.items():
        yield ValidFile("preset", f"{name}.yaml", text.encode(), damage=damaged_text)
    yield ValidFile("manifest", "list.csv", CSV.encode(), damage=damaged_text)
    lines = "\n".join(map(json.dumps, ROWS)) + "\n"
    yield ValidFile("manifest", "list.jsonl", lines.encode(), damage=damaged_text)


def _weights() -> Iterator[ValidFile]:
    for name, layout in LAYOUTS.items():
        content = layout.write(random_weights(NARROW[layout.network]))
        kind = "zip" if content.startswith(b"PK") else "mat" if content.startswith(b"MATLAB") else ""
        damage: Callable[..., bytes] = {"zip": damaged_zip, "mat": damaged_mat, "": damaged}[kind]
        yield ValidFile("weights", f"{name}.weights", content, layout.network, damage)
