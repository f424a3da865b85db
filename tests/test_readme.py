"""What the README and the pages that came out of it say is what muralist does."""

import importlib.util
import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PYTHON = (ROOT / "docs" / "python.md").read_text()
QUICK = "size=96, base_size=64, steps=[2, 1], workers=1"


def test_settings_table_is_up_to_date() -> None:
    """The table of settings is the one that tools/settings_table.py lays out."""
    spec = importlib.util.spec_from_file_location("settings_table", ROOT / "tools" / "settings_table.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.table() in (ROOT / "docs" / "settings.md").read_text()


def test_readme_is_read_in_a_minute() -> None:
    """The README has at most 150 lines, none longer than a screen is wide; details are in docs/."""
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 130


@pytest.mark.integration
def test_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The examples in docs/python.md run as they stand, and print what they say."""
    monkeypatch.chdir(tmp_path)
    with Image.open(ROOT / "examples" / "painting.jpg") as painting:
        painting.resize((96, 72)).save("photo.jpg")
        painting.crop((0, 0, 160, 120)).save("painting.jpg")
    render, watch = re.findall(r"```python\n(.*?)```", PYTHON, re.DOTALL)
    small = render.replace('"size": 800', f"**dict({QUICK})")
    assert small != render
    exec(compile(small, "python.md", "exec"), {"__name__": "__main__"})
    said = re.fullmatch(r"\(96, 72\) (\S+) (\S+)\n", capsys.readouterr().out)
    assert said is not None
    assert all(float(number) > 0 for number in said.groups())
    with Image.open("small.png") as shown:
        assert shown.size == (200, 150)
    small = watch.replace("size=800", QUICK).replace("out.png", "b.png")
    assert small != watch
    exec(compile(small, "python.md", "exec"), {"__name__": "__main__"})
    assert re.fullmatch(r"100%, style loss \d\.\d+", capsys.readouterr().out.splitlines()[-1])
