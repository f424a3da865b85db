"""Pages of files (`scan.tif#2` names the second page of `scan.tif`), and hashes that identify a page's content."""

import hashlib
import os
import re
import stat
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ..errors import PictureError
from ..hashes import file_hash

_NAME = re.compile(r"(?P<file>.+\.tiff?)#(?P<page>[0-9]{1,6})", re.IGNORECASE | re.DOTALL)


class Place(NamedTuple):
    """A file, and which of its pages is meant, from 1."""

    file: Path
    page: int

    @property
    def stem(self) -> str:
        """The file's name without extension, with the page if it is not the first."""
        return self.file.stem if self.page == 1 else f"{self.file.stem}-{self.page}"


def place_of(path: Path) -> Place:
    """The file and the page that a path names. A file that is really called so, with `#`, comes first.

    >>> place_of(Path("scan.tif#2")).page, place_of(Path("scan.png#2")).page
    (2, 1)
    """
    named = _NAME.fullmatch(path.name)
    if named is None or os.path.exists(path):
        return Place(path, 1)
    return Place(path.with_name(named["file"]), int(named["page"]))


def digest_of(digest: str, page: int) -> str:
    """What tells a page from others: of the first page, the file's own SHA-256."""
    return digest if page == 1 else hashlib.sha256(f"{digest}#{page}".encode()).hexdigest()


def fingerprint(path: Path) -> str:
    """Give what `Picture.sha256` will be; of a file that did not change since, without reading it again.

    Raises `PictureError` if it cannot be read or is no regular file: devices and pipes may never end.
    """
    file, page = place_of(path)
    try:
        facts = file.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise PictureError(f"{path}: this is not a regular file; name a picture", path=path)
        return digest_of(_digest(file, facts.st_mtime_ns, facts.st_size), page)
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror}); check the path", path=path) from error


@lru_cache(maxsize=4096)
def _digest(path: Path, _changed_ns: int, _size: int) -> str:
    return file_hash(path)
