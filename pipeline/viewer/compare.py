"""A page that compares two paintings at the same position and zoom, and lists how their sidecars differ."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ..errors import PictureError
from ..pictures.array_file import allocator_in
from ..pictures.images import Picture
from ..pictures.limits import ReadLimits
from ..pictures.reading import read_picture
from ..storage.run_folder import open_run
from ..workers.machine import machine_memory
from .facts import differences
from .publish import Content, check_page, publish
from .pyramid import LOSSLESS
from .record import read_record
from .register import in_register

SHAPE_TOLERANCE: Final = 0.01  # by which width over height may differ, for sizes are whole pixels


def write_comparison(left: Path, right: Path, page: Path, *, overwrite: bool = False) -> Path:
    """Write a page that shows two pictures of one shape, the left one at the right one's size; return its path.

    Raises
    ------
    PictureError, OutputError
        With what was found, what was wanted, and what to do.
    """
    check_page(page, overwrite=overwrite)
    memory = machine_memory() // 4
    with open_run(page, None, restart=True) as folder:
        limits = ReadLimits(memory=memory, folder=folder.local_dir)
        before, after = read_picture(left, limits), read_picture(right, limits)
        _check_shapes(before, after)
        first, second = read_record(left), read_record(right)
        without = [path.name for path, record in ((left, first), (right, second)) if record is None]
        fits = after.height * after.width * 3 <= memory
        with allocator_in(None if fits else folder.local_dir) as allocate:
            content = Content(
                right,
                after,
                None,
                in_register(before, after, allocate),
                labels=_labels(left, right),
                left_form=LOSSLESS,
                title=" | ".join(_labels(left, right)),
                notices=tuple(f"{name} has no sidecar." for name in without),
                comparison=None if first is None or second is None else differences(first, second),
            )
            publish(content, page, folder)
    return page


@contextmanager
def compared(left: Path, right: Path) -> Iterator[Path]:
    """Give the page of two pictures, which goes when the block ends."""
    with TemporaryDirectory(prefix="muralist-") as folder:
        yield write_comparison(left, right, Path(folder) / "comparison.html")


def _check_shapes(left: Picture, right: Picture) -> None:
    shapes = [picture.width / picture.height for picture in (left, right)]
    if abs(shapes[0] / shapes[1] - 1) > SHAPE_TOLERANCE:
        sizes = " and ".join(f"{picture.width} x {picture.height} px" for picture in (left, right))
        raise PictureError(
            f"{left.path}: got pictures of {sizes}, wanted the same aspect ratio; crop one of them", path=left.path
        )


def _labels(left: Path, right: Path) -> tuple[str, str]:
    """Names, with their folders if they are the same."""
    first, second = (path.resolve() for path in (left, right))
    if first.name != second.name:
        return first.name, second.name
    return f"{first.parent.name}/{first.name}", f"{second.parent.name}/{second.name}"
