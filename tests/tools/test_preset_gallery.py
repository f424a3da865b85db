"""The docs page of presets is the one that the tool makes."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_up_to_date():
    """Tables are made of the presets as they are, and every picture is there."""
    spec = importlib.util.spec_from_file_location("preset_gallery", ROOT / "tools" / "preset_gallery.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    page = (ROOT / "docs" / "presets.md").read_text()
    assert tool.updated(page) == page
    assert [name for name in tool.pictured() if not (ROOT / "docs" / "presets" / f"{name}.jpg").is_file()] == []
