"""Small files made by hand to take all memory, to compute for ever, to run code, or to lead elsewhere."""

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from camera_files import avif, dng, heic, jpeg_2000
from handmade import chunk
from layouts import Evil, legacy, npy, old_npy, zipped
from PIL import Image
from safetensors.torch import save

SIDE = 60_000
PIXEL_SIDE = 1900  # of pictures with few enough pixels
SMALL = np.full((16, 16, 3), 99, np.uint8)


class Hostile(NamedTuple):
    """A file that has to be refused; the fields are as in `valid_files.ValidFile`."""

    kind: str
    name: str
    content: bytes
    about: str = ""


def hostiles(canary: Path) -> list[Hostile]:
    """All of them; what would run code would make a folder at `canary`."""
    return [*_pictures(), *_presets(), *_manifests(), *_weights(canary)]


# ----------------------------------------------------------------------------------------------------------- pictures


def _pictures() -> Iterator[Hostile]:
    files = {
        "bomb.png": png(SIDE, SIDE),
        "interlaced bomb.png": png(SIDE, SIDE, interlace=1),
        "wide.png": png(2**31 - 1, 1),
        "no pixels.png": png(PIXEL_SIDE, PIXEL_SIDE),
        "many texts.png": png(8, 8, beside=200 * _packed_text(b"XML:com.adobe.xmp", bytes((1 << 24) - 1))),
        "many chunks and texts.png": png(
            8, 8, beside=(1 << 20) * chunk(b"tEXt", b"") + 60 * _packed_text(b"a", b"x" * ((1 << 24) - 1))
        ),
        "many broken texts.png": png(8, 8, beside=800 * _packed_text(b"Raw profile type exif", b"-" * ((1 << 24) - 1))),
        "spaces.png": png(8, 8, beside=_packed_text(b"Raw profile type exif", b"exif\n1" + b" " * 200_000 + b"!")),
        "bomb.tif": tiff({256: SIDE, 257: SIDE}),
        "negative.tif": tiff({256: 2**32 - 1, 257: 2**32 - 1}),
        "huge tile.tif": tiff({322: 2**17, 323: 2**15, 324: 200, 325: 2**30}),
        "channels.tif": tiff({277: 65535}),
        "strip beyond the end.tif": tiff({273: 2**32 - 1, 279: 2**32 - 1}),
        "directory that is its own next.tif": b"II*\0" + struct.pack("<IHI", 8, 0, 8),
        "directories in a ring.tif": _ring(100_000),
        "directory of BigTIFF.tif": struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, 2**63),
        "directories without end.tif": _chain(100_000),
        "a directory without end.tif": b"II*\0" + struct.pack("<IH", 8, 65535),
        "a huge value.tif": tiff({338: 0}).replace(struct.pack("<HHI", 338, 4, 1), struct.pack("<HHI", 338, 3, 2**31)),
        "a raw photograph.tif": tiff({262: 32803}),
        "many samples.tif": tiff({262: 2, 277: 65535, 338: 0}),
        "more samples.tif": tiff({262: 2, 277: 10**8}),
        "sub-directories without end.tif": _sub_directories(1_000_000),
        "bomb.webp": webp(16_384, 16_384),
        "bomb.jpg": jpeg(65_500, progressive=False),
        "progressive bomb.jpg": jpeg(65_500, progressive=True),
        "too short.jpg": jpeg(PIXEL_SIDE, progressive=True),
        "bomb.jxl": b"\xff\x0a" + _jxl_size(2**30 - 1, 2**30 - 1),
        "bomb.jp2": _grown(jpeg_2000(SMALL), struct.pack(">II", 16, 16), struct.pack(">II", SIDE, SIDE)),
        "no pixels.jp2": _grown(
            jpeg_2000(SMALL), struct.pack(">II", 16, 16), struct.pack(">II", PIXEL_SIDE, PIXEL_SIDE)
        ),
        "a huge box.jp2": jpeg_2000(SMALL).replace(b"\0\0\0-jp2h", b"\xff\xff\xff-jp2h"),
        "kinds of items.heic": heic(SMALL, exif=b"Exif\0\0II*\0").replace(b"Exif\0", b"\xa5xif\0"),
        "kinds of texts.heic": heic(SMALL, xmp=b"<x/>").replace(b"application/", b"\xa5pplication/"),
        "bomb.heic": _grown(
            heic(SMALL), b"ispe" + struct.pack(">III", 0, 64, 64), b"ispe" + struct.pack(">III", 0, SIDE, SIDE)
        ),
        "bomb.avif": _grown(
            avif(SMALL), b"ispe" + struct.pack(">III", 0, 16, 16), b"ispe" + struct.pack(">III", 0, SIDE, SIDE)
        ),
        "bomb.gif": b"GIF89a"
        + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
        + b","
        + struct.pack("<4HB", 0, 0, 65535, 65535, 0),
        "bomb.bmp": b"BM"
        + struct.pack("<IHHI", 0, 0, 0, 54)
        + struct.pack("<IIIHHIIIIII", 40, SIDE, SIDE, 1, 24, *[0] * 6),
        "bomb.psd": struct.pack(">4sH6xHIIHHIIIH", b"8BPS", 1, 3, 30_000, 30_000, 8, 3, 0, 0, 0, 0),
        "channels.psd": struct.pack(">4sH6xHIIHHIIIH", b"8BPS", 1, 65535, 1900, 1900, 8, 3, 0, 0, 0, 1),
        "rows.psd": struct.pack(">4sH6xHIIHHIIIH", b"8BPS", 1, 56, 300_000, 300_000, 8, 3, 0, 0, 0, 0),
        "packed rows.psd": struct.pack(">4sH6xHIIHHIIIH", b"8BPS", 1, 56, 300_000, 1, 8, 3, 0, 0, 0, 1)
        + b"\0\2" * 56 * 300_000,
        "sections without end.psb": struct.pack(">4sH6xHIIHHIIQ", b"8BPS", 2, 3, 8, 8, 8, 3, 0, 0, 2**63) + bytes(99),
        "bomb.dng": dng(np.zeros((48, 64), np.uint16), {256: (4, [SIDE]), 257: (4, [SIDE])}),
        "no pixels.dng": dng(np.zeros((48, 64), np.uint16), {256: (4, [PIXEL_SIDE]), 257: (4, [PIXEL_SIDE])}),
    }
    return (Hostile("picture", name, content) for name, content in files.items())


def _jxl_size(height: int, width: int) -> bytes:
    """The size of a JPEG XL file, in thirty bits each."""
    bits = 0 | 3 << 1 | (height - 1) << 3 | 0 << 33 | 3 << 36 | (width - 1) << 38
    return bits.to_bytes(20, "little")


def _grown(content: bytes, size: bytes, other: bytes) -> bytes:
    """The file with another size in its head."""
    assert size in content
    return content.replace(size, other, 1)


def png(width: int, height: int, interlace: int = 0, beside: bytes = b"") -> bytes:
    """A head that claims this size, other chunks, and no pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + head + beside + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def _packed_text(keyword: bytes, text: bytes) -> bytes:
    return chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(text, 9))


def tiff(tags: dict[int, int]) -> bytes:
    """A gray picture of 64 x 64 pixels in one strip of no data, but for these tags."""
    found = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 273: 200, 277: 1, 278: 64, 279: 100} | tags
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(found.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(found)) + entries + bytes(200)


def _chain(count: int) -> bytes:
    """A thumbnail's directory, and empty ones that each name the next, up to one behind the end."""
    first = tiff({254: 1, 262: 32803})
    return (
        first[:-204]
        + struct.pack("<I", len(first))
        + first[-200:]
        + b"".join(struct.pack("<HI", 0, len(first) + 6 * i) for i in range(1, count))
    )


def _sub_directories(count: int) -> bytes:
    """A raw photograph's directory that names itself so many times as one below it."""
    found = {256: 64, 257: 64, 262: 32803, 330: 100}
    entries = b"".join(struct.pack("<HHII", tag, 4, count if tag == 330 else 1, n) for tag, n in found.items())
    return (b"II*\0" + struct.pack("<IH", 8, len(found)) + entries).ljust(100, b"\0") + struct.pack("<I", 8) * count


def _ring(count: int) -> bytes:
    """Empty directories, each naming the next one, and the last the first."""
    return b"II*\0" + struct.pack("<I", 8) + b"".join(struct.pack("<HI", 0, 8 + 6 * i) for i in (*range(1, count), 0))


def webp(width: int, height: int) -> bytes:
    """A lossy picture's head that claims this size."""
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = (
        b"WEBPVP8X"
        + struct.pack("<II", 10, 0)
        + canvas
        + b"VP8 "
        + struct.pack("<I", 10)
        + b"\0\0\0\x9d\x01\x2a"
        + b"\xff\x3f" * 2
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(side: int, *, progressive: bool) -> bytes:
    """A whole picture of 64 x 64 pixels that claims to be larger."""
    file = io.BytesIO()
    Image.fromarray(np.full((64, 64), 99, np.uint8)).save(file, "JPEG", progressive=progressive)
    content = bytearray(file.getvalue())
    at = content.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(content)


# -------------------------------------------------------------------------------------------------------------- texts


def _presets() -> Iterator[Hostile]:
    laughs = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20))
    texts = {
        "a billion laughs": "a0: &a0 [x]\n" + laughs,
        "an alias of itself": "style_layers: &a {relu1_1: *a}",
        "nested": "steps: " + "[" * 60_000,
        "nested mappings": "".join(" " * i + "a:\n" for i in range(300)),
        "code": "tile: !!python/object/apply:os.mkdir [canary]",
        "many keys": "".join(f"a{i}: 1\n" for i in range(8000)),
        "many numbers": "style_blend: [" + "-1," * 20_000 + "]",
        "a long number": "seed: " + "9" * 60_000,
        "more than enough": "#" * 2**20,
        "somewhere to write": "scratch: /tmp/elsewhere",
        "somebody to ask": "scheduler: tcp://example.org:8786",
        "somebody to ask, for a network": "for_network: {compact: {scheduler: 'tcp://example.org:8786'}}",
        "a hundred thousand workers": "workers: 100000",
        "all memory": "memory: 900TiB",
        "any picture": "max_pixels: 9000000000000000000",
        "a device": "extends: /dev/zero",
        "a start without end": "init: /dev/zero",
        "weights without end": "weights: /dev/zero",
        "an impossible name": 'extends: "a\\0.yaml"',
        "impossible weights": 'weights: "a\\0b"',
        "an impossible start": 'init: "a\\0b"',
        "half a character": 'init: "\\ud800"',
        "a long way": "extends: " + "a/" * 30_000 + "b.yaml",
        "a long way to weights": "weights: " + "a/" * 30_000 + "b",
        "colors of a terminal": '"\\e[2J": 1',
    }
    return (Hostile("preset", f"{name}.yaml", text.encode()) for name, text in texts.items())


def _manifests() -> Iterator[Hostile]:
    rows = {
        "up": '{"content": "a.jpg", "output": "../../up.png"}',
        "elsewhere": '{"content": "a.jpg", "output": "/tmp/elsewhere.png"}',
        "up by its name": '{"content": "a.jpg", "output": "{stem}/../../up.png"}',
        "an attribute": '{"content": "a.jpg", "output": "{stem.__class__}.png"}',
        "an impossible name": '{"content": "a\\u0000.jpg"}',
        "an impossible output": '{"content": "a.jpg", "output": "a\\u0000.png"}',
        "half a character": '{"content": "\\ud800.jpg"}',
        "somewhere to write": '{"content": "a.jpg", "settings": {"scratch": "/tmp/elsewhere"}}',
        "somebody to ask": '{"content": "a.jpg", "scheduler": "tcp://example.org:8786"}',
        "a preset without beginning": '{"content": "a.jpg", "preset": "/dev/stdin"}',
        "nested": "[" * 100_000,
        "a long number": '{"content": "a.jpg", "seed": ' + "9" * 100_000 + "}",
        "a long way": '{"content": "a.jpg", "output": "' + "a/" * 500_000 + 'b.png"}',
        "a short template of a long name": '{"content": "'
        + "a" * 3000
        + '.jpg", "output": "'
        + "{stem}/" * 1600
        + '.png"}',
    }
    yield from (Hostile("manifest", f"{name}.jsonl", text.encode()) for name, text in rows.items())
    yield Hostile("manifest", "laughs.csv", b'content,steps\na.jpg,"[&a [1], *a, *a]"\n')
    yield Hostile("manifest", "up.csv", b"content,output\na.jpg,../up.png\n")
    yield Hostile("manifest", "quote.csv", b'content\n"' + b"a" * 1_000_000)


# ------------------------------------------------------------------------------------------------------------ weights


def _weights(canary: Path) -> Iterator[Hostile]:
    evil = Evil(canary)
    doubled = b"X\x01\0\0\0aq\0" + 40 * b"c_codecs\nencode\n(h\0X\x03\0\0\0hextRq\0"
    hashed = b"})q\0" + 40 * b"h\0h\0\x86q\0" + b"Ns"
    room = b"cnumpy\nndarray\n(J\0\0\0\x7fX\x01\0\0\0OtR"
    head = npy({})[: npy({}).index(b"\n") + 1]
    files = {
        "code.pth": zipped({"conv1_1.weight": evil}),
        "code, old.pth": legacy({"conv1_1.weight": evil}),
        "code.pkl": pickle.dumps(evil, protocol=2),
        "code, new.pkl": pickle.dumps(evil),
        "code.npy": npy({}, {"conv1": evil}),
        "code, old.npy": old_npy({}, {"conv1": evil}),
        "code.npz": _npz_of_objects(evil),
        "code.mat": b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\x01IM" + pickle.dumps(evil),
        "code.safetensors": struct.pack("<Q", 1000) + b"{" + pickle.dumps(evil),
        "code in metadata.safetensors": save({"a": torch.zeros(1)}, {"muralist": pickle.dumps(evil, 0).decode()}),
        "bomb.pth": _zip("archive/data.pkl", bytes(10**8)),
        "bomb.npz": _zip("conv1_1_W.npy", bytes(10**8)),
        "bomb.mat": _mat(10**8),
        "doubled.npy": head + b"\x80\x02" + doubled + b".",
        "doubled.pth": _zip("archive/data.pkl", b"\x80\x02" + doubled + b"."),
        "never hashed.npy": head + b"\x80\x02" + hashed + b".",
        "never hashed.pth": _zip("archive/data.pkl", b"\x80\x02" + hashed + b"."),
        "never hashed, old.pth": 3 * b"\x80\x02N." + b"\x80\x02" + hashed + b".",
        "never hashed under other names.pth": _zip(
            "archive/data.pkl", b"\x80\x02" + hashed.replace(b"\x86q\0", b"\x86\x80\x02q\1h\1q\0") + b"."
        ),
        "room.npy": head + b"\x80\x02" + room + b".",
        "huge head.safetensors": struct.pack("<Q", 2**63) + b'{"a":{}}',
        "huge tensor.safetensors": _safetensors(
            '{"a":{"dtype":"F32","shape":[4294967295,4294967295],"data_offsets":[0,4]}}'
        ),
        "nested.safetensors": _safetensors('{"a":' + "[" * 100_000),
        "huge storage.pth": zipped({"a": torch.zeros(3)}).replace(b"K\x03", b"K\xff"),
    }
    return (Hostile("weights", name, content, "vgg19") for name, content in files.items())


def _npz_of_objects(value: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, conv1_1_W=np.array([value], dtype=object))
    return file.getvalue()


def _zip(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def _mat(size: int) -> bytes:
    """A compressed variable of nothing but zeros."""
    packed = zlib.compress(struct.pack("<II", 14, size) + bytes(size), 1)
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\x01IM" + struct.pack("<II", 15, len(packed)) + packed


def _safetensors(head: str) -> bytes:
    return struct.pack("<Q", len(head)) + head.encode() + bytes(4)
