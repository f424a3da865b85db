"""Finds pictures that need not be painted: those painted before, and those identical to another one."""

import json
import os
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..hashes import json_hash
from ..initialization import init_file
from ..input_files import InputFiles
from ..output_names import sidecar_path
from ..pictures.pages import fingerprint
from ..records.identity import difference, identity
from ..settings import Settings
from .items import Item


def painted_already(output: Path, now: dict[str, Any]) -> bool:
    """Say whether a painting is there that has this identity.

    Parameters
    ----------
    now : dict
        Its identity as it would be painted now; compared with the one in the sidecar.

    Raises
    ------
    OutputError
        If the output is there and was made otherwise, or has no sidecar that tells.
    """
    if not os.path.lexists(output):
        return False
    before = _identity_of(output)
    differs = "no sidecar says from what" if before is None else difference(before, now)
    if differs:
        raise OutputError(
            f"{output}: exists already, painted from other inputs or settings ({differs}); use --overwrite to replace "
            "it, or another name",
            path=output,
        )
    return True


def _identity_of(output: Path) -> dict[str, Any] | None:
    """What a sidecar says; None if there is none that says it."""
    try:
        found = json.loads(sidecar_path(output).read_bytes())["identity"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def identity_of(item: Item, settings: Settings, weights: str) -> dict[str, Any]:
    """Give the identity of a painting that is to be, without decoding a picture: the one its plan will have.

    Parameters
    ----------
    settings : Settings
        The item's, from its preset and overrides.
    weights : str
        SHA-256 of the network's weights.

    Raises
    ------
    PictureError
        If a picture cannot be read.
    """
    inputs, init = InputFiles.of(item.content, item.styles, settings), init_file(settings)
    return identity(
        settings,
        fingerprint(item.content),
        [[fingerprint(path) for path in files] for files in (*inputs.style_files, *inputs.region_files)],
        None if init is None else fingerprint(init),
        weights,
        {what: fingerprint(path) for what, path in inputs.masks.items()},
    )


def dedup_key(painting: dict[str, Any], output: Path) -> str:
    """Give a key that two paintings share if their files will have the same bytes: same identity, same format."""
    return json_hash([painting, output.suffix.lower()])
