"""The run folder, through which tasks exchange data: the names of its files, and how long it is kept.

Every file is written once, whole, by one task. So a task may run twice, for example after its worker died, and nothing
ever reads half a file. The folder is the only thing that tasks share. It outlives an interrupted render: the same
command finds it by the output's name and resumes.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ...model.atomic import check_writable
from ...model.errors import DivergedError
from ..errors import OutputError
from ..hashes import json_hash
from ..levels import Level
from ..output_files import is_own
from .store import START_OVER, Store

JOURNAL: Final = "journal.json"
PRIVATE: Final = 0o700  # nobody else may put links or files into a run folder

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class RunFolder:
    """Names inside the folder of one render. Arrays are dicts, in safetensors files.

    Attributes
    ----------
    base : Store
        The folder. Must be the same for every worker.
    local_dir : Path
        A folder on this machine for what only the driver needs; the same one if it is here.
    run : str
        Where in the folder the run's files are. No two runs have it in common: what a worker remembers of one that
        painted the same output before is not taken for this one's.
    resumed : bool
        Whether the run was interrupted and is resumed.
    """

    base: Store
    local_dir: Path
    run: str
    resumed: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, output: Path, scratch: str | None) -> "RunFolder":
        """Name the folder of an output: hidden beside it, or below `scratch`, where other outputs may have its name."""
        place = Path(os.path.realpath(output.parent), output.name)  # of a link itself: it is replaced, not followed
        beside = place.parent / f".{output.name}.muralist"
        run = uuid.uuid4().hex[:12]
        if scratch is None:
            return cls(Store(str(beside)), beside, run)
        digest = hashlib.sha256(os.fsencode(place)).hexdigest()
        base = Store(scratch) / f"{_plain(output.name)}-{digest[:12]}.muralist"
        return cls(base, base.local or beside, run)

    @property
    def store(self) -> Store:
        """The files of this run."""
        return self.base / self.run

    def write_journal(self, journal: Mapping[str, Any]) -> None:
        """Write the journal, whole: "run" and "finished", and what else JSON can hold."""
        self.base.write(JOURNAL, json.dumps({**journal, "sha256": json_hash(journal)}).encode())

    def read_journal(self) -> dict[str, Any] | None:
        """Read what `write_journal` wrote; None if there is none.

        Raises `OutputError` if it is damaged: empty, cut short, or not as it was written.
        """
        if not self.base.exists(JOURNAL):
            return None
        try:
            journal = json.loads(self.base.read(JOURNAL))
            digest = journal.pop("sha256")
            if digest == json_hash(journal):
                return dict(journal)
        except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
            pass
        raise OutputError(
            f"{self.base.root}/{JOURNAL}: damaged, or written by another version of muralist, so the interrupted run "
            f"cannot be resumed; {START_OVER}"
        )

    def find_interrupted(self) -> str | None:
        """Find the run that was interrupted here, if one was. Raises `OutputError` if its journal is damaged."""
        journal = self.read_journal()
        return None if journal is None or journal["finished"] else str(journal["run"])

    def is_resumable(self, *, restart: bool = False) -> bool:
        """Whether there is a run to resume. Raises `OutputError` if its journal is damaged, but with `restart`."""
        try:
            return self.find_interrupted() is not None
        except OutputError:
            if restart:
                return False
            raise

    def is_left(self) -> bool:
        """Whether anything is left of it here: it was kept, or its run was killed."""
        return any(os.path.lexists(path) for path in (self.local_dir, self._gone, self.lock))

    def check_owner(self) -> None:
        """Refuse a folder that somebody else may have put in our way, to have files written elsewhere.

        Raises
        ------
        OutputError
            If the folder, its lock or its name while it is deleted is a link, belongs to another user or cannot be
            looked at.
        """
        for path in (self.local_dir, self._gone, self.lock):
            try:
                facts = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise _nowhere(path.parent, error) from error
            if stat.S_ISLNK(facts.st_mode) or not is_own(facts, path.parent):
                found = "a link" if stat.S_ISLNK(facts.st_mode) else f"a file or folder of user {facts.st_uid}"
                raise OutputError(
                    f"{path}: this is {found}, wanted a file or folder that muralist made for you; somebody may "
                    "have planted it to redirect your files: remove it, or write into a folder of your own",
                    path=path,
                )

    @property
    def lock(self) -> Path:
        """The file that says who has the folder."""
        return self.local_dir.with_name(f"{self.local_dir.name}.lock")

    @property
    def _gone(self) -> Path:
        """The folder while it is being deleted."""
        return self.local_dir.with_name(f"{self.local_dir.name}.gone")

    def remove(self) -> None:
        """Delete the folder and all in it; under another name first, so that tasks still under way cannot add to it."""
        if self.base.local is None:
            self.base.remove(JOURNAL)  # first, so that a half-deleted run is not resumed
            self.base.remove("")
        shutil.rmtree(self._gone, ignore_errors=True)  # of a run that was killed while it did this
        with suppress(FileNotFoundError):
            os.rename(self.local_dir, self._gone)
        shutil.rmtree(self._gone, ignore_errors=True)

    def style(self, level: Level, number: int) -> str:
        """A style picture at the level's size: `pixels` (h, w, 3) and, if a part of it counts, `weights` (h, w)."""
        return f"{_level(level)}/style_{number:04}"

    def targets(self, level: Level, number: int) -> str:
        """Statistics of a style picture."""
        return f"{_level(level)}/targets_{number:04}"

    def content(self, level: Level) -> str:
        """Folder of the photograph on the level's canvas."""
        return f"{_level(level)}/content"

    def start(self, level: Level) -> str:
        """Folder of what the level starts from where it is not the photograph."""
        return f"{_level(level)}/start"

    def guidance(self, level: Level) -> str:
        """Folder of the guidance of regions on the level's canvas."""
        return f"{_level(level)}/guides"

    def features(self, level: Level, tile: int) -> str:
        """Features of the photograph under a tile."""
        return f"{_cut(level)}/features/{tile:06}"

    def round(self, level: Level, made: int) -> str:
        """Folder of the canvas after `made` rounds."""
        return f"{_cut(level)}/round_{made:04}"

    def sums(self, level: Level, made: int, tile: int) -> str:
        """A tile's share of the losses after `made` rounds. Written last: where it is, the tile's state is too."""
        return f"{self.round(level, made)}/{tile:06}"

    def total(self, level: Level, made: int) -> str:
        """The whole picture's losses after `made` rounds."""
        return f"{_cut(level)}/total_{made:04}"

    def measured(self, level: Level, made: int) -> str:
        """Folder of the losses of the canvas after `made` rounds, if it is the one that counts."""
        return f"{_cut(level)}/measured_{made:04}"

    def write(self, name: str, arrays: Arrays) -> None:
        """File some arrays under a name."""
        self.store.write(name, save({key: np.asarray(array, order="C") for key, array in arrays.items()}))

    def read(self, name: str) -> dict[str, np.ndarray]:
        """Read what `write` filed. Raises `OutputError` if the file is damaged."""
        try:
            return dict(load(self.store.read(name)))
        except SafetensorError as error:
            raise OutputError(f"{(self.store / name).root}: damaged ({error}); {START_OVER}") from error

    def remove_level(self, level: Level) -> None:
        """Delete what a level left behind."""
        self.store.remove(_level(level))

    def remove_round(self, level: Level, made: int) -> None:
        """Delete the canvas of a round."""
        self.store.remove(self.round(level, made))

    def forget_superseded(self, level: Level, made: int) -> None:
        """Drop from the cache what no task reads after `made` rounds: the round or, at first, the level before."""
        self.store.forget(self.round(level, made - 1) if made else f"level_{level.index - 1:02}")


def _plain(name: str) -> str:
    """Reduce a name to what every URL and file system accepts."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:100]


def _level(level: Level) -> str:
    return f"level_{level.index:02}"


def _cut(level: Level) -> str:
    """Tiles of another size have other files."""
    return f"{_level(level)}/cut_{level.halvings}"


@contextmanager
def open_run(output: Path, scratch: str | None, *, restart: bool = False, keep: bool = False) -> Iterator[RunFolder]:
    """Make the run folder of an output, or find the one that an interrupted run left; only one process may have it.

    Afterwards it is removed, unless it is to be kept, or the run was interrupted and can be resumed.

    Parameters
    ----------
    scratch : str or None
        Folder or fsspec URL to make the run folder in; None is beside the output.
    restart : bool
        Whether to start over even if there is a run to resume.
    keep : bool
        Whether to leave the folder after a success.

    Raises
    ------
    OutputError
        If the folder cannot be written to or is somebody else's, or another process is painting this output.
    """
    folder = RunFolder.of(output, scratch)
    folder.check_owner()
    with _only_one(folder.lock, output):
        interrupted = None if restart else folder.find_interrupted()
        if interrupted is None:
            folder.remove()
            _make(folder)
        folder = replace(folder, run=interrupted or folder.run, resumed=interrupted is not None)
        folder.local_dir.mkdir(PRIVATE, exist_ok=True)  # of a run that was interrupted elsewhere
        try:
            yield folder
        except BaseException as error:
            with suppress(OSError):  # of a store that is out of reach: the run stays, and `error` is what is told
                if isinstance(error, DivergedError) or not folder.is_resumable():  # the same would diverge again
                    folder.remove()
            raise
        if not keep:
            folder.remove()


def clean_stale(output: Path, scratch: str | None, *, restart: bool = False) -> None:
    """Remove what a killed or kept run left behind, but nothing that can be resumed.

    With `restart`, damaged runs are removed, too.
    """
    folder = RunFolder.of(output, scratch)
    if folder.is_left() and not folder.is_resumable(restart=restart):
        with open_run(output, scratch, restart=restart):
            pass


@contextmanager
def _only_one(path: Path, output: Path) -> Iterator[None]:
    """Hold a lock, which the system releases however this process ends."""
    lock = FileLock(path, timeout=0)
    try:
        check_writable(path.parent)  # FileLock would make folders, and wait for those that cannot be written to
        lock.acquire()
    except Timeout as error:
        raise OutputError(
            f"{output}: another muralist process is painting this; wait for it, or name another output", path=output
        ) from error
    except OSError as error:
        raise _nowhere(path.parent, error) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def _make(folder: RunFolder) -> None:
    try:
        folder.local_dir.mkdir(PRIVATE)
        if folder.store.local is not None:
            folder.store.local.mkdir()
    except OSError as error:
        raise _nowhere(folder.local_dir.parent, error) from error
    folder.base.check()


def _nowhere(parent: Path, error: OSError) -> OutputError:
    return OutputError(f"{parent}: cannot write to this folder ({error.strerror}); name another with --scratch")
