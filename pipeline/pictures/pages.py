"""Pages of files: `scan.tif#2` names the second page of `scan.tif`."""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

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

    Examples
    --------
    >>> place_of(Path("scan.tif#2")).page, place_of(Path("scan.png#2")).page
    (2, 1)
    """
    named = _NAME.fullmatch(path.name)
    if named is None or path.exists():
        return Place(path, 1)
    return Place(path.with_name(named["file"]), int(named["page"]))


def digest_of(digest: str, page: int) -> str:
    """What tells a page from others: of the first page, the file's own SHA-256."""
    return digest if page == 1 else hashlib.sha256(f"{digest}#{page}".encode()).hexdigest()
