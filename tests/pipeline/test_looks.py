"""A contact sheet of looks: what is painted, and the commands that paint the same large."""

import html
import json
import re
import shlex

import pytest
from click.testing import CliRunner
from pictures import painting, photograph, save

from muralist.cli import main
from muralist.pipeline import looks as module
from muralist.pipeline.errors import OutputError, PictureError
from muralist.pipeline.looks import LOOKS, Look, paint_looks
from muralist.pipeline.presets import load_settings
from muralist.pipeline.records.journal import Journal
from muralist.pipeline.records.run_state import RunState
from muralist.pipeline.storage.run_folder import open_run

pytestmark = pytest.mark.integration


@pytest.fixture
def few(monkeypatch):
    """Two looks and one that cannot be painted, in a second."""
    quick = {"steps": [1], "base_size": 64}
    wrong = Look("none", "draft", {"network": "nothing"}, quick)
    monkeypatch.setattr(module, "LOOKS", (*(each._replace(quick=quick) for each in LOOKS[:2]), wrong))


def test_a_page_shows_what_was_painted(few, scheduler, tmp_path):
    """Each look is a picture with its command; what failed is named, on the page and to the caller."""
    content, style = save(tmp_path / "my photo.png", photograph()), save(tmp_path / "style.png", painting())
    page, failures = paint_looks(content, [style], tmp_path / "out", scheduler=scheduler, device="cpu")
    assert len(failures) == 1
    assert failures[0].startswith("none: unknown network 'nothing'")
    shown = re.findall(r'<img src="([^"]*)"', page.read_text())
    assert shown == ["strength-0.2.jpg", "strength-0.5.jpg"]
    assert re.findall(r'<a class="frame" href="([^"]*)"', page.read_text()) == shown
    for name, strength in zip(shown, (0.2, 0.5), strict=True):
        assert json.loads((tmp_path / "out" / f"{name}.json").read_text())["settings"]["strength"] == strength
    commands = [shlex.split(html.unescape(text)) for text in re.findall(r'data-copy="([^"]*)"', page.read_text())]
    assert commands[0] == [
        *("muralist", "render", str(content), "-s", str(style), "-o", "my photo-painted.tif"),
        *("--strength", "0.2"),
    ]
    assert paint_looks(content, [style], tmp_path / "out", scheduler=scheduler, device="cpu")[0] == page


def test_what_was_interrupted_does_not_stop_another_style(few, scheduler, tmp_path):
    """Looks in the same folder are of the pictures that were named last."""
    content, style = save(tmp_path / "photo.png", photograph()), save(tmp_path / "style.png", painting())
    output = tmp_path / "out" / "strength-0.2.jpg"
    output.parent.mkdir()
    with open_run(output, None, keep=True) as folder:
        Journal(folder, output, {"styles": [["another"]], "settings": {}}).write(RunState(device="cpu"))
    failures = paint_looks(content, [style], tmp_path / "out", scheduler=scheduler, device="cpu")[1]
    assert [failure.partition(":")[0] for failure in failures] == ["none"]
    assert output.is_file()


def test_all_looks_have_settings_that_are_good():
    """Every look's preset and settings make sense, small and large, and its name is its own."""
    assert len({look.name for look in LOOKS}) == len(LOOKS)
    for look in LOOKS:
        for settings in (look.settings, {**look.settings, **look.quick}):
            assert load_settings(look.preset, settings).network == "compact"


def test_a_page_of_somebody_else_is_refused(tmp_path):
    """A looks.html that muralist did not write is left alone; so is a file in place of the folder."""
    content = save(tmp_path / "a.png", photograph())
    (tmp_path / "looks.html").write_text("mine")
    with pytest.raises(OutputError, match=r"looks\.html: .*muralist"):
        paint_looks(content, [tmp_path / "b.png"], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file: .*\(File exists\)"):
        paint_looks(content, [tmp_path / "b.png"], tmp_path / "file")


def test_a_photograph_that_is_not_there_is_told_once(tmp_path):
    """Before a folder is made."""
    with pytest.raises(PictureError, match=r"a\.png"):
        paint_looks(tmp_path / "a.png", [tmp_path / "b.png"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_command_fails_where_a_look_failed(monkeypatch, tmp_path):
    """The page shows the others; the exit code says that something is missing. Devices are passed on."""
    failures: list[str] = []
    monkeypatch.setattr(module, "paint_looks", lambda *_, **flags: (tmp_path / f"{flags['device']}.html", failures))
    line = ["looks", "a.png", "-s", "b.png", "-o", "out", "--no-browser", "--device", "cpu"]
    for code in (0, 1):
        done = CliRunner().invoke(main, line)
        assert (done.exit_code, "cpu.html" in done.output) == (code, True)
        failures.append("none: no room")


def test_the_command_asks_for_a_style():
    """Without a style there is nothing to show."""
    assert CliRunner().invoke(main, ["looks", "a.png", "-o", "out"]).exit_code == 2
