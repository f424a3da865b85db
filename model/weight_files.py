"""Where weight files lie, and how they get there. Imports torch only to download, so that planning stays instant."""

import hashlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from muralist.model.architecture import ARCHITECTURES, Architecture
from muralist.model.errors import WeightsError

BUNDLED = Path(__file__).resolve().parent / "weights"


@dataclass(frozen=True)
class WeightFile:
    """A weight file that was found: where it lies and the SHA-256 of its bytes."""

    path: str
    sha256: str


def find_weights(row: Architecture, path: str | None = None) -> WeightFile:
    """Find the weight file of a network, downloading it into torchvision's own cache if need be.

    Parameters
    ----------
    row : Architecture
    path : str, optional
        A file of the user's; any hash is accepted. Without it the file must be the published one.

    Raises
    ------
    WeightsError
        If the file is missing and cannot be had, or is not the published one.
    """
    if path is not None:
        return WeightFile(str(Path(path).resolve()), _sha256(Path(path)))
    found = _cached(row)
    sha256 = _sha256(found)
    if not sha256.startswith(row.sha256):
        raise WeightsError(
            str(found), f"its SHA-256 is {sha256[:16]}..., but {row.sha256[:16]}... was published; delete the file"
        )
    return WeightFile(str(found), sha256)


def cache_path(row: Architecture) -> Path:
    """Where the weight file of a network lies, or would: beside this module or in torchvision's own cache."""
    if row.url is None:
        return BUNDLED / row.file
    from torch import hub

    return Path(hub.get_dir()) / "checkpoints" / row.file


def _cached(row: Architecture) -> Path:
    target = cache_path(row)
    if row.url is not None and not target.exists():
        from torch import hub

        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            hub.download_url_to_file(row.url, str(target), hash_prefix=row.sha256, progress=False)
        except (OSError, RuntimeError, HTTPException) as error:
            raise WeightsError(
                str(target),
                f"not there, and {row.url} cannot be downloaded ({error}); fetch it elsewhere and put it there, or "
                f"name a copy with --weights FILE, or use --set network=compact, which comes with muralist",
            ) from error
    return target


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(str(path), f"cannot be read ({error.strerror}); name a weight file") from error


def installed() -> list[dict[str, Any]]:
    """Describe every network: facts as plain values, and whether its weight file is there."""
    return [
        {
            "name": row.name,
            "installed": cache_path(row).is_file(),
            "file": str(cache_path(row)),
            "url": row.url,
            "source": row.source,
            "licence": row.licence,
            "layers": row.layers,
            "operations_per_pixel": row.operations(row.layers),
        }
        for row in ARCHITECTURES.values()
    ]
