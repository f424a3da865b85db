"""Small pictures, painted on workers that run already."""

from pathlib import Path
from typing import Any

import pytest
from pictures import TINY, painting, photograph, save
from rendering import Render, render

from muralist.pipeline.records.sidecar import Sidecar


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a photograph and a style picture."""
    save(tmp_path / "photo.png", photograph())
    save(tmp_path / "style.png", painting())
    return tmp_path


@pytest.fixture
def paint(folder: Path, scheduler: str) -> Render:
    """A function that renders the folder's photograph, on workers that run already."""

    def call(
        output: str = "out.png", *, content: str = "photo.png", style: str | list[str] = "style.png", **changes: Any
    ) -> Sidecar:
        styles = folder / style if isinstance(style, str) else [folder / name for name in style]
        return render(folder / content, styles, folder / output, **TINY | {"scheduler": scheduler} | changes)

    return call
