"""Files are written whole or not at all, and nobody who may write into the folder has them written elsewhere."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from muralist.model import atomic as module
from muralist.model.atomic import atomic_write, check_writable, is_part


def write(path: Path, content: bytes) -> None:
    """Write a file."""
    with atomic_write(path) as file:
        file.write(content)


def test_a_file_is_there_once_it_is_whole(tmp_path):
    """Until then there is only one that says what it is, and afterwards only the file, as readable as others."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        assert sorted(map(is_part, os.listdir(tmp_path))) == [False, True]
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() == b"new"
    (tmp_path / "b").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt()])
def test_what_fails_leaves_what_was_there(tmp_path, error):
    """Whatever ends the block."""
    (tmp_path / "a").write_bytes(b"old")

    def fail() -> None:
        with atomic_write(tmp_path / "a") as file:
            file.write(b"new")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_link_is_replaced_not_followed(tmp_path):
    """What it leads to stays as it is."""
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / "a").symlink_to("precious")
    write(tmp_path / "a", b"new")
    assert (tmp_path / "precious").read_bytes() == b"mine"
    assert not (tmp_path / "a").is_symlink()


def test_the_other_name_is_nobody_elses(tmp_path, monkeypatch):
    """It is never the same; and were it guessed, a link of that name would be refused."""
    names = set()
    for _ in range(20):
        with atomic_write(tmp_path / "a"):
            names |= set(filter(is_part, os.listdir(tmp_path)))
    assert len(names) == 20
    monkeypatch.setattr(module.secrets, "token_hex", lambda _: "guessed")
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / f"{module.PREFIX}guessed{module.SUFFIX}").symlink_to("precious")
    for attempt in (lambda: write(tmp_path / "a", b"new"), lambda: check_writable(tmp_path)):
        with pytest.raises(FileExistsError):
            attempt()
    assert (tmp_path / "precious").read_bytes() == b"mine"


KILLED = """
import os, signal, sys
from pathlib import Path
from muralist.model.atomic import atomic_write
with atomic_write(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_processes_left_is_removed(tmp_path):
    """But nothing that is still being written, and nothing that only looks like it."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a")], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = os.listdir(tmp_path)
    os.mkfifo(tmp_path / f"{module.PREFIX}pipe{module.SUFFIX}")
    (tmp_path / f"{module.PREFIX}link{module.SUFFIX}").symlink_to("c")
    (tmp_path / "c").touch()
    with atomic_write(tmp_path / "b") as file:
        (under_way,) = [name for name in os.listdir(tmp_path) if is_part(name) and len(name) == len(left)]
        assert under_way != left
        write(tmp_path / "a", b"whole")
        assert under_way in os.listdir(tmp_path)
        file.write(b"whole")
    assert {"a", "b", "c"} == {name for name in os.listdir(tmp_path) if not is_part(name)}
    assert left not in os.listdir(tmp_path)


def test_a_file_taken_for_abandoned_is_made_anew(tmp_path, monkeypatch):
    """Another process may look between the moment a file is made and that when it has its lock."""
    taken = []

    def lock(*_: object) -> None:
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()

    monkeypatch.setattr(module.fcntl, "flock", lock)
    write(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["a"]


def test_folders_that_cannot_be_written_to_are_found_out(tmp_path):
    """Nothing stays of the trial."""
    assert check_writable(tmp_path) == os.geteuid()
    assert os.listdir(tmp_path) == []
    for folder in (tmp_path / "missing", Path("/proc")):
        with pytest.raises(OSError, match=r"No such file|denied|not permitted"):
            check_writable(folder)
