"""The folder between two tasks: its names, who may have it, and how long it stays."""

import errno
import fcntl
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
from facts import having
from filelock import Timeout
from safetensors import SafetensorError

from muralist.model.errors import DivergedError
from muralist.pipeline import output_files
from muralist.pipeline.errors import OutputError
from muralist.pipeline.levels import plan_levels
from muralist.pipeline.settings import Settings
from muralist.pipeline.storage.run_folder import RunFolder, open_run

LEVELS = plan_levels(300, 400, [], Settings(tile=256, overlap=64, base_size=256), 16, 32)
ARRAYS = {"gram relu1_1": np.arange(12.0).reshape(3, 4), "pixels": np.ones((2, 3, 3), np.float32)}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where a painting is to be."""
    return tmp_path / "poster.tif"


def begin(folder: RunFolder, *, finished: bool = False) -> None:
    """Note that there is something to go on with, or that all is done, and file something."""
    folder.write("some", ARRAYS)
    folder.write_journal({"run": folder.run, "finished": finished})


def cut_short(output: Path, error: BaseException, scratch: str | None = None, *, begun: bool = True) -> RunFolder:
    """Leave the folder of a run that ended with an error, after it had begun or before."""
    seen = []

    def run() -> None:
        with open_run(output, scratch) as folder:
            seen.append(folder)
            begin(folder) if begun else folder.write("some", ARRAYS)
            raise error

    with pytest.raises(type(error)):
        run()
    return seen[0]


def interrupt(output: Path, scratch: str | None = None) -> RunFolder:
    """Leave the folder of a run that was interrupted."""
    return cut_short(output, KeyboardInterrupt(), scratch)


# --------------------------------------------------------------------------------------------------------------- names


def test_a_run_folder_is_hidden_beside_its_output(output):
    """The same output has the same folder, which a file manager does not show, and every run a part of its own."""
    first, second = (RunFolder.of(output, None) for _ in range(2))
    assert first.base == second.base
    assert first.local_dir == first.base.local == output.parent / ".poster.tif.muralist"
    assert first.store.local.parent == first.local_dir
    assert first.run != second.run


def test_outputs_of_one_name_do_not_meet_in_scratch(tmp_path):
    """Below a scratch folder, outputs of the same name in two folders have two folders."""
    scratch = tmp_path / "scratch"
    first, second = (RunFolder.of(tmp_path / name / "poster.tif", str(scratch)) for name in "ab")
    assert first.base != second.base
    for folder in (first, second):
        assert folder.base.local == folder.local_dir
        assert folder.local_dir.parent == scratch
        assert folder.local_dir.name.startswith("poster.tif-")
    again = RunFolder.of(tmp_path / "b" / ".." / "a" / "poster.tif", str(scratch))
    assert again.base == first.base


@pytest.mark.parametrize("name", ["photo[1].jpg", "a*b?#c::d.jpg", "caf\udce9.jpg", "日本.jpg", f"{'a' * 235}.jpg"])
def test_names_in_scratch_are_plain(tmp_path, bucket, name):
    """Whatever an output is called, its folder has a name that URLs and file systems take, of its own and removed."""
    output, other = tmp_path / name, tmp_path / name.replace(".jpg", "2.jpg")
    for scratch in (bucket, str(tmp_path)):
        places = {RunFolder.of(path, scratch).base.root.rpartition("/")[2] for path in (output, other)}
        assert len(places) == 2
        assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,126}", place) for place in places)
        interrupt(output, scratch)
        with open_run(output, scratch) as folder:
            assert folder.resumed
    assert fsspec.filesystem("memory").find("/bucket") == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("scratch", [None, "scratch"])
def test_a_link_is_an_output_like_others(tmp_path, scratch):
    """Its folder is beside it, and the same once the painting has taken its place, wherever it led."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "poster.tif").touch()
    output = tmp_path / "poster.tif"
    for target in (tmp_path / "elsewhere" / "poster.tif", tmp_path / "nowhere", output):
        output.symlink_to(target)
        before = RunFolder.of(output, scratch)
        output.unlink()
        assert RunFolder.of(output, scratch).base == before.base
        assert before.local_dir.parent == Path(scratch or tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    ways = [RunFolder.of(tmp_path / folder / "poster.tif", scratch).base for folder in ("link", "elsewhere")]
    assert ways[0] == ways[1]


def test_a_folder_elsewhere_has_a_part_here(output):
    """Where the folder is a URL, what only the driver needs is beside the output."""
    folder = RunFolder.of(output, "s3://bucket/runs")
    assert folder.base.root.startswith("s3://bucket/runs/poster.tif-")
    assert folder.local_dir == output.parent / ".poster.tif.muralist"


def test_the_names_in_a_folder_are_distinct_and_inside(output):
    """No two kinds of file, levels, rounds or tiles share a name; tiles of another size have other files."""
    folder = RunFolder.of(output, None)
    cuts = [each for level in LEVELS for each in (level, level.halved())]
    names = [
        *(method(level, n) for level in LEVELS for n in (0, 1) for method in (folder.style, folder.targets)),
        *(folder.features(level, tile) for level in cuts for tile in (0, 1)),
        *(method(level) for level in LEVELS for method in (folder.content, folder.start, folder.guidance)),
        *(method(level, made) for level in cuts for made in (0, 1) for method in (folder.total, folder.measured)),
        *(folder.sums(level, made, tile) for level in cuts for made in (0, 1) for tile in (0, 1)),
    ]
    assert len(set(names)) == len(names)
    assert all(not Path(name).is_absolute() and ".." not in Path(name).parts for name in names)


# ------------------------------------------------------------------------------------------------- how long it stays


def test_after_a_success_nothing_is_left(output):
    """A run folder is there as long as it is needed; then folder and lock are gone."""
    with open_run(output, None) as folder:
        assert folder.store.local.is_dir()
        assert not folder.is_resumable()
        begin(folder)
        assert folder.is_resumable()
    assert os.listdir(output.parent) == []


def test_a_folder_is_kept_if_asked(output):
    """With `keep` the folder stays after a success; the next run starts over all the same."""
    with open_run(output, None, keep=True) as folder:
        begin(folder, finished=True)
    assert os.listdir(output.parent) == [".poster.tif.muralist"]
    assert RunFolder.of(output, None).is_left()
    assert not RunFolder.of(output, None).is_resumable()
    with open_run(output, None) as second:
        assert not second.is_resumable()
        assert second.run != folder.run
        assert os.listdir(second.local_dir) == [second.run]
    assert os.listdir(output.parent) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device"), ZeroDivisionError()])
def test_what_was_begun_is_kept_when_something_goes_wrong(output, error):
    """Whatever stops a run, the next one goes on with its files, under its name."""
    folder = cut_short(output, error)
    assert os.listdir(output.parent) == [".poster.tif.muralist"]
    with open_run(output, None) as again:
        assert again == folder
        assert again.is_resumable()
        assert again.read("some").keys() == ARRAYS.keys()
    assert os.listdir(output.parent) == []


def test_what_was_not_begun_leaves_nothing(output):
    """A run that was refused before any work leaves neither folder nor lock."""
    cut_short(output, OutputError("no"), begun=False)
    assert os.listdir(output.parent) == []


def test_a_painting_that_diverged_is_not_gone_on_with(output):
    """The same command would diverge again, so nothing stays."""
    cut_short(output, DivergedError(3, 0.01))
    assert os.listdir(output.parent) == []


def test_a_run_can_be_begun_anew(output):
    """With `restart`, what was interrupted is deleted."""
    interrupted = interrupt(output)
    with open_run(output, None, restart=True) as folder:
        assert folder.run != interrupted.run
        assert not folder.is_resumable()
        assert os.listdir(folder.local_dir) == [folder.run]


def test_leftovers_of_a_killed_run_are_removed(output):
    """What was killed before its first note, or while it was deleted, cannot be resumed and goes."""
    left = RunFolder.of(output, None)
    gone = left.local_dir.with_name(f"{left.local_dir.name}.gone")
    for folder in (left.store.local, gone / "run"):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    with open_run(output, None) as folder:
        assert os.listdir(folder.local_dir) == [folder.run]
        assert not gone.exists()
    assert not left.is_left()


@pytest.mark.parametrize("ending", ["", ".gone", ".lock"])
def test_what_a_killed_run_left_is_seen(output, ending):
    """Be it killed before it removed the folder, while it did, or just after."""
    folder = RunFolder.of(output, None)
    assert not folder.is_left()
    folder.local_dir.with_name(f".poster.tif.muralist{ending}").touch()
    assert folder.is_left()


# ----------------------------------------------------------------------------------------------------- who may have it

HOLD = """
import sys
from pathlib import Path
from muralist.pipeline.storage.run_folder import open_run
with open_run(Path(sys.argv[1]), None):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_paint_one_output(output):
    """Another process that paints the output is told of; once it was killed, its lock is no obstacle."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, check=having(Timeout, path=output)):
            open_run(output, None).__enter__()
        with open_run(output.with_name("other.tif"), None) as elsewhere:
            assert elsewhere.local_dir.is_dir()
        other.kill()
    with open_run(output, None) as folder:
        assert folder.local_dir.is_dir()
    assert os.listdir(output.parent) == []


def test_nor_does_one_process_twice(output):
    """A picture that is named twice in a batch is painted by one of them; the other leaves its folder alone."""
    with open_run(output, None) as folder:
        begin(folder)
        with pytest.raises(OutputError, check=having(Timeout, path=output)), open_run(output, None):
            pass
        assert folder.is_resumable()
    assert os.listdir(output.parent) == []


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_file_system_without_locks(output, monkeypatch):
    """Where the system has none, the lock is the file itself, which goes with the run."""

    def fail(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", fail)
    with open_run(output, None) as folder:
        assert folder.local_dir.is_dir()
        with pytest.raises(OutputError, check=having(Timeout, path=output)):
            open_run(output, None).__enter__()
        assert folder.local_dir.is_dir()
    with open_run(output, None):
        pass
    assert os.listdir(output.parent) == []


@pytest.mark.parametrize("scratch", ["nowhere", "file", "loop"])
def test_a_scratch_folder_that_is_not_there(output, scratch):
    """A missing scratch folder is refused and not made; a file in its place is refused, and a link to itself."""
    (output.parent / "file").touch()
    (output.parent / "loop").symlink_to("loop")
    with (
        pytest.raises(OutputError, match=r"\((No|Too many).*\); .*--scratch"),
        open_run(output, str(output.parent / scratch)),
    ):
        pass
    assert sorted(os.listdir(output.parent)) == ["file", "loop"]


def test_a_folder_that_cannot_be_written_to(output):
    """A scratch folder of somebody else is refused with the system's reason."""
    with (
        pytest.raises(OutputError, match=r"/proc: .*\(.+\); .*--scratch"),
        open_run(output, "/proc"),
    ):
        pass
    assert os.listdir(output.parent) == []


# ------------------------------------------------------------------------------------------------- whose folder it is


@pytest.mark.parametrize("ending", ["", ".lock", ".gone"])
@pytest.mark.parametrize("restart", [False, True])
def test_a_link_in_place_of_a_run_folder_is_refused(output, tmp_path_factory, ending, restart):
    """Somebody may have planted it, with a journal behind it; nothing is written or removed there."""
    behind = tmp_path_factory.mktemp("behind")
    interrupted = interrupt(behind / output.name)
    elsewhere = interrupted.local_dir if not ending else behind / "new"
    link = output.with_name(f".poster.tif.muralist{ending}")
    link.symlink_to(elsewhere)
    before = sorted(behind.rglob("*"))
    with pytest.raises(OutputError, check=having(path=link)):
        open_run(output, None, restart=restart).__enter__()
    assert sorted(behind.rglob("*")) == before
    assert os.listdir(output.parent) == [link.name]


def test_a_run_folder_of_somebody_else_is_refused(output, monkeypatch):
    """Its owner could put links into it while we paint."""
    interrupt(output)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    monkeypatch.setattr(output_files, "check_writable", lambda _: owner + 1)
    with pytest.raises(OutputError, match=rf"user {owner},"):
        open_run(output, None).__enter__()


def test_a_mount_with_an_owner_of_its_own(output, monkeypatch):
    """Where the file system says that all we make belongs to another user, what belongs to that user is ours."""
    interrupted, owner = interrupt(output), os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with open_run(output, None) as folder:
        assert folder == interrupted
    assert os.listdir(output.parent) == []


def test_a_run_folder_is_private(output):
    """Nobody else may read or write what lies between two tasks."""
    with open_run(output, None) as folder:
        assert stat.S_IMODE(folder.local_dir.stat().st_mode) == 0o700


# ------------------------------------------------------------------------------------------------------ URLs and files


@pytest.fixture
def bucket() -> str:
    """An empty folder of fsspec's memory, which stands for an object store."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    return "memory://bucket/runs"


def test_a_folder_elsewhere_is_gone_on_with_and_removed(output, bucket):
    """What an interrupted run has in an object store is found by the next one, and is gone after it."""
    interrupted = interrupt(output, bucket)
    assert os.listdir(output.parent) == [".poster.tif.muralist"]
    with open_run(output, bucket) as folder:
        assert folder == interrupted
        np.testing.assert_array_equal(folder.read("some")["pixels"], ARRAYS["pixels"])
    assert fsspec.filesystem("memory").find("/bucket") == []
    assert os.listdir(output.parent) == []


def test_a_folder_elsewhere_that_was_not_begun_leaves_nothing(output, bucket):
    """Files of a run that was refused are removed from an object store too."""
    cut_short(output, ZeroDivisionError(), bucket, begun=False)
    assert fsspec.filesystem("memory").find("/bucket") == []
    assert os.listdir(output.parent) == []


def test_a_run_of_which_half_is_gone_is_not_resumed(output, bucket, monkeypatch):
    """Killed while it is deleted from an object store, a run has no journal any more, and the next one starts over."""
    interrupt(output, bucket).write("more", ARRAYS)
    system = fsspec.filesystem("memory")

    def stop(_, paths):
        system.rm_file(min(paths))
        if len(paths) > 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(system), "rm", stop)
        with pytest.raises(KeyboardInterrupt):
            open_run(output, bucket, restart=True).__enter__()
    assert not RunFolder.of(output, bucket).is_resumable()
    with open_run(output, bucket) as folder:
        assert not folder.resumed
    assert fsspec.filesystem("memory").find("/bucket") == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError(), DivergedError(3, 0.01)])
def test_a_store_that_is_away_hides_no_error(output, bucket, monkeypatch, error):
    """What ended a run is raised, also if the store answers no more; when it does again, the run goes on."""

    def fail(*_, **__):
        raise ConnectionError("no network")

    def run(patch):
        with open_run(output, bucket) as folder:
            begin(folder)
            for name in ("info", "cat_file", "find"):
                patch.setattr(type(fsspec.filesystem("memory")), name, fail)
            raise error

    with monkeypatch.context() as patch, pytest.raises(type(error)):
        run(patch)
    with open_run(output, bucket) as again:
        assert again.resumed


def test_the_part_here_is_made_anew(output, bucket):
    """Gone on with on another machine, a run has a place for what only the driver needs."""
    interrupt(output, bucket)
    RunFolder.of(output, bucket).local_dir.rmdir()
    with open_run(output, bucket) as folder:
        assert folder.is_resumable()
        assert folder.local_dir.is_dir()


def test_a_file_url_is_a_folder_here(output, tmp_path_factory):
    """A scratch folder may be written as a URL."""
    scratch = tmp_path_factory.mktemp("scratch")
    with open_run(output, scratch.as_uri()) as folder:
        assert folder.local_dir.parent == scratch
        begin(folder)
    assert os.listdir(scratch) == os.listdir(output.parent) == []


def test_arrays_come_back(output):
    """Arrays come back with their names, shapes, types and values, also those that are not contiguous."""
    with open_run(output, None) as folder:
        turned = ARRAYS | {"turned": ARRAYS["pixels"].T, "number": np.float64(3)}
        folder.write("some", turned)
        found = folder.read("some")
        assert found.keys() == turned.keys()
        for name, array in turned.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, np.shape(array))
            np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("content", [b"", b"half a", bytes(100)])
def test_damaged_arrays_are_said(output, content):
    """The file is named, and the way out."""
    with open_run(output, None) as folder:
        folder.store.write("some", content)
        with pytest.raises(OutputError, match=rf"{folder.run}/some: .*--restart", check=having(SafetensorError)):
            folder.read("some")


def test_rounds_and_levels_are_removed_one_by_one(output):
    """Removing a round keeps the level's other files, and removing a level, in all its cuts, keeps other levels."""
    first, second = LEVELS
    with open_run(output, None) as folder:
        files = [
            *(folder.sums(level, made, 0) for level in (first, second, second.halved()) for made in (0, 1)),
            *(folder.features(level, 0) for level in (first, second, second.halved())),
        ]
        for name in files:
            folder.write(name, ARRAYS)
        folder.remove_round(second, 0)
        left = [name for name in files if folder.store.exists(name)]
        assert left == [name for name in files if name != folder.sums(second, 0, 0)]
        folder.remove_level(second)
        left = [name for name in files if folder.store.exists(name)]
        assert left == [folder.sums(first, 0, 0), folder.sums(first, 1, 0), folder.features(first, 0)]
        folder.remove_round(first, 7)  # not there: nothing to do
        folder.remove_level(second)


def test_a_task_that_outlives_its_render_does_not_bring_the_folder_back(output):
    """After the folder was removed, a late task fails instead of leaving files that nobody removes."""
    with open_run(output, None) as folder:
        folder.write(folder.features(LEVELS[0], 0), ARRAYS)
    for name in (folder.features(LEVELS[0], 0), folder.features(LEVELS[0], 1), folder.style(LEVELS[1], 0)):
        with pytest.raises(FileNotFoundError):
            folder.write(name, ARRAYS)
    assert os.listdir(output.parent) == []
