"""What the README says is what muralist does."""

import importlib.util
import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_settings_table_is_up_to_date() -> None:
    """The table of settings is the one that tools/settings_table.py lays out."""
    spec = importlib.util.spec_from_file_location("settings_table", ROOT / "tools" / "settings_table.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.table() in README


def test_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example under "From Python" runs as it stands and prints a seam score and a loss."""
    monkeypatch.chdir(tmp_path)
    with Image.open(ROOT / "examples" / "painting.jpg") as painting:
        painting.resize((96, 72)).save("photo.jpg")
        painting.crop((0, 0, 160, 120)).save("painting.jpg")
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    small = example.replace("size=800", "size=96, coarse=64, steps=[2, 1], edge_margin=16")
    assert small != example
    exec(compile(small, "README.md", "exec"), {"__name__": "__main__"})
    seam_score, style_loss = map(float, capsys.readouterr().out.split())
    assert seam_score > 0
    assert style_loss > 0
    assert Path("out.png").exists()


def test_pictures_and_files_are_there() -> None:
    """Every file that the README links to is in the repository."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
