"""Finds, identifies and downloads weight files. Imports no torch, so that planning stays instant."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.request import Request, urlopen

from .architecture import ARCHITECTURES, Architecture
from .atomic import atomic_write
from .errors import WeightsError, choices
from .registry import PUBLISHED, PublishedFile
from .regular_file import open_regular

ZIP = b"PK\x03\x04"  # by which torch's archives are told from its older files


@dataclass(frozen=True)
class WeightFile:
    """A weight file that was found.

    Attributes
    ----------
    path, sha256 : str
        Where it lies, and the SHA-256 of its bytes.
    format : str
        Of a published file, its format; of another one, what its first bytes show: see `container`.
    published : str
        Name under which a file of this hash is published; empty if it is not known.
    """

    path: str
    sha256: str
    format: str = ""
    published: str = ""
    license: str = "unknown"

    @property
    def local_path(self) -> Path:
        """Where it lies on the machine that asks: a file that comes with muralist lies where muralist does."""
        bundled = [each.local_path for each in PUBLISHED if each.name == self.published and each.bundled]
        return bundled[0] if bundled else Path(self.path)


def find_weights(arch: Architecture, weights: str | None = None) -> WeightFile:
    """Find the weight file of a network, downloading it into torchvision's own cache if need be.

    Parameters
    ----------
    weights : str, optional
        A file of the user's, whatever its hash, or the name of a published one. Without it, the network's first
        published file: the same on every machine, whatever else lies there.

    Raises
    ------
    WeightsError
        If the file is missing and cannot be had, or a published one is not what was published.
    """
    if weights is None:
        usual = next(each.name for each in PUBLISHED if each.network == arch.name)
        return _installed([each for each in PUBLISHED if each.name == usual])
    named = [each for each in PUBLISHED if each.name == weights]
    if not named or os.path.exists(weights):
        return describe(Path(os.path.realpath(weights)))
    if named[0].network != arch.name:
        raise WeightsError(
            weights, f"holds network {named[0].network}, wanted {arch.name}; use --network {named[0].network}"
        )
    return _installed(named)


def describe(path: Path) -> WeightFile:
    """Hash a file and tell what it is. Raises `WeightsError` if it cannot be read."""
    try:
        with open_regular(path) as file:
            return _described(path, file)
    except OSError as error:
        known = choices(path.name, dict.fromkeys(each.name for each in PUBLISHED))
        raise WeightsError(
            str(path), f"cannot be read ({error.strerror}); name a weight file or a published one ({known})"
        ) from error


def recognised(sha256: str, md5: str = "") -> PublishedFile | None:
    """Return the published file that has a hash."""
    return next((each for each in PUBLISHED if each.is_file_of(sha256, md5)), None)


def container(file: BinaryIO) -> str:
    """Tell from its first bytes what a weight file is: "safetensors", "mat", "npz", "npy", or else "torch"."""
    file.seek(0)
    head = file.read(256)
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"MATLAB"):
        return "mat"
    if head.startswith(ZIP):  # the name of a zip's first member, behind a head of 30 bytes
        return "npz" if head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith(b".npy") else "torch"
    return "safetensors" if head[8:9] == b"{" else "torch"


def record(file: BinaryIO) -> dict[str, Any]:
    """Return what `muralist networks convert` wrote into the head of a safetensors file; nothing if it did not.

    Raises `ValueError` if the head is broken.
    """
    file.seek(0)
    size = int.from_bytes(file.read(8), "little")
    head = json.loads(file.read(min(size, 100_000_000)))  # the format's own limit
    metadata = head.get("__metadata__") if isinstance(head, dict) else None
    found = json.loads(str(metadata.get("muralist", "{}"))) if isinstance(metadata, dict) else {}
    if not isinstance(found, dict):
        raise ValueError("its metadata is not a mapping")
    return found


def installed() -> list[dict[str, Any]]:
    """Describe every network: facts as plain values, its published files, and which of them are there."""
    return [
        _network(arch, [each for each in PUBLISHED if each.network == name]) for name, arch in ARCHITECTURES.items()
    ]


def _network(arch: Architecture, files: Sequence[PublishedFile]) -> dict[str, Any]:
    there = [each for each in files if each.is_there]
    return {
        "name": arch.name,
        "installed": bool(there),
        "file": str((there or files)[0].local_path),
        "files": [
            {
                "name": each.name,
                "place": str(each.local_path),
                "there": each in there,
                "format": each.format,
                "license": each.license,
                "url": each.url or None,
                "page": each.page,
            }
            for each in files
        ],
        "source": arch.source,
        "layers": arch.layers,
        "operations_per_pixel": arch.operations(arch.layers),
    }


def _described(path: Path, file: io.BufferedReader) -> WeightFile:
    kind = container(file)
    sha256 = _digest(file, "sha256")
    known = recognised(sha256, _digest(file, "md5") if kind == "mat" else "")
    if known is not None:
        return WeightFile(str(path), sha256, known.format, known.name, known.license)
    license = "unknown"
    if kind == "safetensors":
        with suppress(ValueError, RecursionError):  # of a broken file, which is told when it is loaded
            written = record(file)
            license = str(written.get("license", written.get("licence", license)))  # spelled so by muralist 0.1
    return WeightFile(str(path), sha256, kind, license=license)


def _digest(file: io.BufferedReader | io.BufferedRandom, algorithm: str) -> str:
    file.seek(0)
    return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _installed(files: Sequence[PublishedFile]) -> WeightFile:
    """A published file, given by its editions: as it is there, or else downloaded."""
    chosen = next((each for each in files if each.is_there), None) or _download(files)
    found = describe(chosen.local_path)
    editions = [each for each in files if each.name == chosen.name and each.hashed]
    if editions and found.published != chosen.name:
        raise WeightsError(
            found.path,
            f"its SHA-256 is {found.sha256[:16]}..., but {' or '.join(each.hash for each in editions)} was published; "
            "delete the file",
        )
    return found


def _download(files: Sequence[PublishedFile]) -> PublishedFile:
    """Fetch the first edition that we can tell from another file."""
    chosen = next((each for each in files if each.url and each.hashed), None)
    if chosen is None:
        raise WeightsError(
            str(files[0].local_path),
            "missing; its hash is not known, so it cannot be downloaded automatically; get it from "
            f"{files[0].page} and put it there, or name a copy with --weights FILE{_also(files[0])}",
        )
    try:
        chosen.local_path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(chosen)
    except (OSError, ValueError, HTTPException) as error:
        raise WeightsError(
            str(chosen.local_path),
            f"not there, and {chosen.url} cannot be downloaded ({error}); download it by other means and put it "
            "there, or name a copy with --weights FILE, or use --network compact, which comes with "
            f"muralist{_also(chosen)}",
        ) from error
    return chosen


def _also(missing: PublishedFile) -> str:
    """Ending of a message: the network's other files that are there."""
    there = [each.name for each in PUBLISHED if each.network == missing.network and each.is_there]
    return f"; there are {', '.join(dict.fromkeys(there))}, which --weights accepts" if there else ""


def _fetch(chosen: PublishedFile) -> None:
    """Download beside its place and move it there once it is the right one: others may be looking, or downloading."""
    request = Request(chosen.url, headers={"User-Agent": "muralist"})
    with atomic_write(chosen.local_path) as file:
        with urlopen(request, timeout=60) as answer:
            shutil.copyfileobj(answer, file, 2**20)
        found = _digest(file, "sha256"), _digest(file, "md5")
        if not chosen.is_file_of(*found):
            raise ValueError(f"its hash differs: SHA-256 {found[0][:16]}..., wanted {chosen.hash}")
