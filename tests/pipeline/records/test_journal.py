"""What an interrupted run goes on from: the same painting only, and exactly where it was."""

import json
import os
from pathlib import Path

import pytest

from muralist.pipeline.errors import OutputError
from muralist.pipeline.records import journal as module
from muralist.pipeline.records.identity import identity
from muralist.pipeline.records.journal import Journal
from muralist.pipeline.records.run_state import RunState
from muralist.pipeline.settings import Settings
from muralist.pipeline.storage.run_folder import JOURNAL, RunFolder

IDENTITY = identity(Settings(), "aa", [["bb"], ["cc", "dd"]], None, "ee")
STATE = RunState(device="cpu", precision="float32", halvings=1, notices=["said"], seconds=0.1)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """An empty run folder."""
    found = RunFolder.of(tmp_path / "poster.png", None)
    found.local_dir.mkdir()
    return found


def journal(folder: RunFolder, **changes: object) -> Journal:
    """A journal of a painting, perhaps of another one."""
    return Journal(folder, folder.local_dir.parent / "poster.png", IDENTITY | changes)


def test_without_a_journal_a_run_is_new(folder):
    """Nothing to go on with is no error."""
    assert journal(folder).resume() == RunState()
    assert not folder.is_resumable()


def test_a_run_goes_on_where_it_was(folder):
    """The last note counts; that it was resumed is counted, once it is noted again."""
    journal(folder).write(RunState())
    journal(folder).write(STATE)
    assert folder.is_resumable()
    assert os.listdir(folder.local_dir) == [JOURNAL]
    first, second = journal(folder).resume(), journal(folder).resume()
    assert first == second
    assert first.resumed == 1
    first.resumed = 0
    assert first == STATE
    second.notices.append("more")
    journal(folder).write(second)
    third = journal(folder).resume()
    assert (third.resumed, third.notices) == (2, ["said", "more"])


def test_a_journal_names_its_run(folder):
    """A finished painting says so, and which part of the folder its files are in."""
    for finished in (False, True):
        journal(folder).write(STATE, finished=finished)
        found = json.loads((folder.local_dir / JOURNAL).read_text())
        assert (found["run"], found["finished"]) == (folder.run, finished)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"content": "xx"}, "the photograph changed"),
        ({"styles": [["bb", "cc"], ["dd"]]}, "the style pictures changed"),
        ({"init": "xx"}, "the picture to start from changed"),
        ({"weights": "xx"}, "the network's weights changed"),
        ({"settings": IDENTITY["settings"] | {"tile": 512, "seed": 3}}, "tile was 1024, is 512; seed was 0, is 3"),
        ({"versions": IDENTITY["versions"] | {"torch": "9"}}, f"torch was {IDENTITY['versions']['torch']}, is 9"),
    ],
)
def test_another_painting_is_refused(folder, changes, said):
    """What differs is named, with both ways out, and the interrupted run is left as it is."""
    journal(folder).write(STATE)
    before = (folder.local_dir / JOURNAL).read_bytes()
    with pytest.raises(OutputError) as caught:
        journal(folder, **changes).resume()
    assert str(caught.value) == (
        f"{folder.local_dir.parent}/poster.png: an interrupted run of this painting had other inputs or settings: "
        f"{said}; rerun the original command to resume it, or start over with --restart"
    )
    assert caught.value.path == folder.local_dir.parent / "poster.png"
    assert (folder.local_dir / JOURNAL).read_bytes() == before
    assert journal(folder).resume().halvings == 1


def test_a_folder_of_another_layout_is_refused(folder, monkeypatch):
    """What an older muralist left is not taken for what this one files."""
    journal(folder).write(STATE)
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    with pytest.raises(OutputError, match=rf"\b{module.FORMAT - 1}, is {module.FORMAT};.*--restart"):
        journal(folder).resume()


DAMAGE = {
    "empty": lambda whole: b"",
    "cut short": lambda whole: whole[:-20],
    "zeros": lambda whole: bytes(len(whole)),
    "something else": lambda whole: b"[" * 100_000,
    "nothing": lambda whole: b"{}",
    "a number": lambda whole: b"1",
    "a bit": lambda whole: whole.replace(b'"halvings": 1', b'"halvings": 3'),
    "no course": lambda whole: json.dumps({**json.loads(whole), "course": None}).encode(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_journal_is_said(folder, damage):
    """Nothing of it is believed; the way out is named, and nothing is lost."""
    journal(folder).write(STATE)
    path = folder.local_dir / JOURNAL
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    for attempt in (journal(folder).resume, lambda: folder.is_resumable(), lambda: folder.is_resumable(restart=False)):
        with pytest.raises(OutputError, match=r"journal\.json: .*--restart") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert not folder.is_resumable(restart=True)
    assert path.exists()
