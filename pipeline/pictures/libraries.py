"""Versions of the libraries that read, resize and write pictures."""

from importlib.metadata import version

import pyvips


def library_versions() -> dict[str, str]:
    """Give the versions by name. Of libvips, the library itself counts, not its binding."""
    return {"pillow": version("pillow"), "libvips": ".".join(str(pyvips.version(part)) for part in range(3))}
