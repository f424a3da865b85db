"""What tests of the command line share."""

from dataclasses import replace
from pathlib import Path

import pytest
from machines import Machine
from pictures import painting, photograph, save

from muralist.model import weight_files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a photograph and a style picture."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "photo.png", photograph())
    save(tmp_path / "style.png", painting())
    return tmp_path


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets as far as to start workers has not refused what should be."""
    monkeypatch.setattr("muralist.pipeline.render.open_cluster", lambda *_: pytest.fail("workers were started"))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """VGG-19 is registry where nobody answers, and there is an empty cache; where its file would go."""
    url = "http://127.0.0.1:9/vgg19-dcbb9e9d.pth"
    table = (replace(each, url=url) if each.name == "vgg19-dcbb9e9d.pth" else each for each in weight_files.PUBLISHED)
    monkeypatch.setattr(weight_files, "PUBLISHED", tuple(table))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A machine of a known speed that has never been measured."""
    machine = Machine()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("muralist.pipeline.bench.bench_workers", machine.crew)
    return machine
