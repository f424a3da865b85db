"""What tests of reading share: turned pictures, and files that are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muralist.pipeline.errors import PictureError
from muralist.pipeline.pictures.limits import ReadLimits
from muralist.pipeline.pictures.reading import read_picture

# What lies in a file, and how it is upright, by EXIF orientation.
STORED = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
UPRIGHT = {
    1: STORED,
    2: STORED[:, ::-1],
    3: STORED[::-1, ::-1],
    4: STORED[::-1],
    5: STORED.T,
    6: STORED[::-1].T,
    7: STORED[::-1, ::-1].T,
    8: STORED.T[::-1],
}


def refused(path: Path, *wanted: str, **options: Any) -> None:
    """Reading fails with one line that names the path and the given words."""
    with pytest.raises(PictureError) as caught:
        read_picture(path, ReadLimits(**options))
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.path == path
    for words in (str(path), *wanted):
        assert words in message
