"""Encoding by libvips, in a thread of its own, of what is read row by row in this one."""

import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import pyvips

from .bands import Samples, as_png
from .metadata import embed
from .stored import Stored


def stream(samples: Samples | Stored, save: Callable[[Any], None]) -> None:
    """Have libvips encode in a thread what is read in this one, where Ctrl-C and errors of the rows arise."""
    near, far = socket.socketpair()
    with far, ThreadPoolExecutor(1) as encoder:
        saving = encoder.submit(_encode, far, samples, save)
        with near:  # closed, it ends the picture
            _feed(near, as_png(samples))
        saving.result()


def _encode(stream: socket.socket, samples: Samples | Stored, save: Callable[[Any], None]) -> None:
    try:
        source = pyvips.Source.new_from_descriptor(stream.fileno())
        image = pyvips.Image.pngload_source(source, access="sequential", fail_on="error")
        if samples.is_cmyk:  # which a PNG carries as red, green, blue and alpha
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
    """Where libvips is to write: into the open file, for its name may have become somebody else's."""
    return pyvips.Target.new_to_descriptor(file.fileno())
