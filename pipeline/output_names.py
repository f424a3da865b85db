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
