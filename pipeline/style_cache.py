"""Style statistics that were computed before, kept on disk by what they were computed from."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from zipfile import is_zipfile

from muralist.pipeline.run_folder import write_whole

VERSION = 2  # to be raised when the statistics of the same picture would come out different


@dataclass(frozen=True)
class StyleCache:
    """The statistics of one style picture under one network, at any size.

    Attributes
    ----------
    folder : Path
        Shared by all renders; may be deleted at any time.
    origin : dict str -> str
        All that the statistics depend on but the size: hashes of the style picture and the weights, network,
        pooling, padding, layers, number type, and what recoloured the picture.
    """

    folder: Path
    origin: dict[str, str]

    def path(self, side: int) -> Path:
        """Where the statistics at a long side of `side` px are kept."""
        key = json.dumps({**self.origin, "side": side, "version": VERSION}, sort_keys=True)
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.npz"

    def fetch(self, side: int, target: Path) -> bool:
        """Copy statistics to `target` if they are kept; say whether they were."""
        kept = self.path(side)
        if not is_zipfile(kept):  # nor a damaged one: an .npz is a zip, whose directory comes last
            return False
        write_whole(target, lambda part: shutil.copyfile(kept, part))
        return True

    def keep(self, side: int, source: Path) -> None:
        """Keep a copy of the statistics in `source`. A cache that cannot be written is no reason to stop."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.path(side), lambda part: shutil.copyfile(source, part))
        except OSError:
            return
