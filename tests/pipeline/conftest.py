"""What tests of the pipeline share."""

import pytest


@pytest.fixture
def preset(tmp_path):
    """A function that writes a preset file and gives its path."""

    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write
