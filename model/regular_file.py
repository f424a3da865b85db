"""Opens files that a user named, which may be pipes or devices."""

import errno
import os
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read. Raises `OSError` also for a pipe or a device, which may never begin, or never end."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "not a file")
    return path.open("rb")
