"""Names of the files that are written beside a painting."""

from pathlib import Path


def sidecar_path(output: Path) -> Path:
    """Name the sidecar of an output: `poster.tif` gets `poster.tif.json`."""
    return output.with_name(output.name + ".json")


def proof_path(output: Path) -> Path:
    """Name the soft proof of an output: `poster.tif` gets `poster.tif.proof.png`."""
    return output.with_name(output.name + ".proof.png")


def faces_path(output: Path) -> Path:
    """Name the mask of faces that are protected: `poster.tif` gets `poster.tif.faces.png`."""
    return output.with_name(output.name + ".faces.png")


def report_path(painting: Path) -> Path:
    """Name the page of a picture: `poster.tif` gets `poster.tif.report.html`."""
    return painting.with_name(painting.name + ".report.html")


def snapshot_path(output: Path, step: int) -> Path:
    """Name the snapshot of an output after some steps.

    >>> snapshot_path(Path("poster.tif"), 100).name
    'poster-000100.tif'
    """
    return output.with_name(f"{output.stem}-{step:06}{output.suffix}")


def snapshot_of(path: Path) -> tuple[Path, int] | None:
    """Say of which output, and after how many steps, a file would be the snapshot; None if of none.

    >>> snapshot_of(Path("a/poster-000100.tif"))
    (PosixPath('a/poster.tif'), 100)
    """
    stem, dash, digits = path.stem.rpartition("-")
    output = path.with_name(f"{stem}{path.suffix}") if stem and dash else path
    if not (digits.isascii() and digits.isdigit()) or snapshot_path(output, int(digits)) != path:
        return None
    return output, int(digits)
