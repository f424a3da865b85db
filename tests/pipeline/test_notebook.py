"""A painting under way in a notebook."""

import base64
import inspect
import io
import sys

import nbformat
import numpy as np
import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from pictures import TINY, painting, photograph, save
from PIL import Image
from traitlets.config import Config

from muralist.pipeline import notebook as module
from muralist.pipeline.errors import PipelineError
from muralist.pipeline.events import Event
from muralist.pipeline.notebook import notebook


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """What an IPython shows, as a notebook would get it."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.display_pub = CapturingDisplayPublisher()
    yield shell.display_pub.outputs
    InteractiveShell.clear_instance()


def event(step, share):
    """An event whose canvas is a picture of its own."""
    losses = {"style": 0.012, "total": 3.4}
    return Event(
        "a.png", 2, 4, 300, 400, step, 80, share, 90.0, losses, _read=lambda side: painting(60, side, seed=step)
    )


def test_a_line_and_a_picture_change_in_place(outputs):
    """Below the cell there is one line and one picture, the newest; nothing is added to the notebook."""
    show = notebook(side=80)
    for step in (0, 10, 20):
        show(event(step, step / 80))
    line, picture = (made["transient"]["display_id"] for made in outputs[:2])
    assert [made.get("update", False) for made in outputs] == [False] * 2 + [True] * 6
    assert [made["transient"]["display_id"] for made in outputs] == [line, picture] * 4
    text = outputs[-2]["data"]["text/plain"]
    assert text.startswith("a.png: 25 % painted, about 2 min left · level 2/4, 400 x 300 px, step 20/80 · style 0.012")
    stored = base64.b64decode(outputs[-1]["data"]["image/jpeg"])
    shown = np.asarray(Image.open(io.BytesIO(stored))).astype(int)
    assert shown.shape == (60, 80, 3)
    assert abs(shown - painting(60, 80, seed=20)).mean() < 6


def test_pictures_cost_little(outputs, monkeypatch):
    """Where they take too long only the line changes, but for the first picture of a level and the last of all."""
    show = notebook()
    monkeypatch.setattr(module.Budget, "left", False)
    for step, share in ((0, 0.5), (10, 0.6), (20, 1)):
        show(event(step, share))
    pictures = [made for made in outputs if "image/jpeg" in made["data"]]
    assert (len(pictures), len(outputs)) == (2, 2 + 3 + 2)


def test_without_a_notebook_it_says_so(monkeypatch):
    """Plain Python, and one without IPython, are errors with what to do."""
    with pytest.raises(PipelineError, match=r"notebook\(\): .*Python"):
        notebook()
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(PipelineError, match=r"IPython .*muralist\[notebook\]"):
        notebook()


def test_a_notebook_that_paints(scheduler, tmp_path, monkeypatch):
    """In a real kernel, a cell that renders ends with one line, which says that all is painted, and the painting."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "photo.png", photograph())
    save(tmp_path / "style.png", painting())
    settings = {**TINY, "scheduler": scheduler}
    cell = f"""
        import muralist
        settings = muralist.load_settings(overrides={settings})
        show = muralist.notebook(side=128)
        result = muralist.render("photo.png", "style.png", "out.png", settings, on_progress=show)
    """
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(inspect.cleandoc(cell))])
    sockets = Config({"KernelManager": {"transport": "ipc"}})
    NotebookClient(notebook, kernel_name="python3", timeout=120, config=sockets).execute()
    line, picture = notebook.cells[0].outputs
    assert line.data["text/plain"].startswith("out.png: 100 % painted")
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.data["image/jpeg"]))))
    assert abs(shown.astype(int) - np.asarray(Image.open("out.png"))).mean() < 6
