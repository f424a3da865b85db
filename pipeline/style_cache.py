"""Style statistics, cached on disk by what they were computed from."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load

from .hashes import json_hash
from .output_files import write_file

VERSION = 6  # to be raised when the statistics of the same picture would come out different


@dataclass(frozen=True)
class StyleCache:
    """The statistics of one style picture under one network, at any size.

    Attributes
    ----------
    folder : Path
        Shared by all renders; may be deleted at any time.
    origin : dict str -> str
        All that the statistics depend on but the size: hashes of the style picture and the weights, network,
        pooling, padding, layers, terms, number type, versions of the libraries, and what recolored the picture.
    """

    folder: Path
    origin: dict[str, str]

    def name(self, side: int) -> str:
        """Name of the file that keeps the statistics at a long side of `side` px."""
        return f"{json_hash({**self.origin, 'side': side, 'version': VERSION})}.safetensors"

    def fetch(self, side: int) -> bytes | None:
        """Give the file of the statistics if they are kept, and whole."""
        try:
            kept = (self.folder / self.name(side)).read_bytes()
            load(kept)
        except (OSError, SafetensorError):
            return None
        return kept

    def keep(self, side: int, file: bytes) -> None:
        """Keep a file of statistics. A cache that cannot be written is no reason to stop."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_file(self.folder / self.name(side), file)
        except OSError:
            return
