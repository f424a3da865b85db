"""Reads files from strangers in a process of its own, with limits, so that a crash, a hang and a bomb are seen."""

import multiprocessing
import os
import re
import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from layouts import NARROW

from muralist.errors import MuralistError
from muralist.model.architecture import ARCHITECTURES, architecture
from muralist.model.loading import load_network
from muralist.model.weight_files import describe, find_weights
from muralist.pipeline.batch.items import find_items
from muralist.pipeline.errors import PictureError
from muralist.pipeline.initialization import BLANK, PHOTOGRAPH
from muralist.pipeline.pictures.carried import carried
from muralist.pipeline.pictures.exif import text_tags, without_thumbnail
from muralist.pipeline.pictures.limits import ReadLimits
from muralist.pipeline.pictures.metadata import is_usable
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.presets import load_settings

SECONDS = 10  # of processor time for one file
PATIENCE = 120  # seconds for one file whatever it waits for; also for the process to start
MEMORY = 1 << 30  # bytes that one file may take
NO_ROOM = r"llocate memory(?! for to read TIFF directory \(0 elements)"  # libtiff says so of an empty directory
MOST_PIXELS = 4_000_000


class Case(NamedTuple):
    """A file to be read.

    Attributes
    ----------
    kind : str
        Of `READERS`.
    path : Path
    about : str
        Which network a weight file is for; "local_dir" for a picture to be read into a file.
    """

    kind: str
    path: Path
    about: str = ""


class Outcome(NamedTuple):
    """What became of a file: "read", "refused", or something that may not happen; and what was said."""

    what: str
    said: str = ""


class Reader:
    """A process that reads files one after the other, and is started anew when one takes it down.

    Parameters
    ----------
    folder : Path
        Where it works and may file pixels; nothing else is to appear anywhere.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._near, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, self.folder), daemon=True)
        self._process.start()
        far.close()
        assert self._near.recv() == "ready"

    def read(self, case: Case) -> Outcome:
        """Read a file and tell what became of it."""
        self._near.send(case)
        try:
            if self._near.poll(PATIENCE):
                return Outcome(*self._near.recv())
            self._process.kill()
        except (EOFError, ConnectionError):
            pass
        self._process.join()
        code = self._process.exitcode
        self._start()
        return Outcome("hung" if code in (-signal.SIGPROF, -signal.SIGKILL) else "crashed", f"exit code {code}")

    def close(self) -> None:
        """End the process."""
        self._near.close()
        self._process.join(PATIENCE)


def _serve(far: Connection, folder: Path) -> None:
    os.chdir(folder)
    ARCHITECTURES.update(NARROW)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    far.send("ready")
    while True:
        try:
            case = far.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        found = _outcome(case, folder)
        signal.setitimer(signal.ITIMER_PROF, 0)
        far.send(tuple(found))


def _outcome(case: Case, folder: Path) -> Outcome:
    before = _peak()
    try:
        READERS[case.kind](case, folder)
        found = Outcome("read")
    except MuralistError as error:
        found = _refused(error)
    except BaseException:
        found = Outcome("failed", traceback.format_exc())
    if (taken := _peak() - before) > MEMORY:
        return Outcome("took too much memory", f"{taken} bytes")
    if left := list(folder.iterdir()):
        for path in left:
            path.unlink()
        return Outcome("left files behind", str(left))
    return found


def _refused(error: BaseException) -> Outcome:
    """A message is one line that harms no terminal, and memory that ran out is no reason."""
    if not (message := str(error)).isprintable():
        return Outcome("refused badly", repr(message))
    if any(isinstance(cause, MemoryError) or re.search(NO_ROOM, str(cause)) for cause in _causes(error)):
        return Outcome("ran out of memory", message)
    return Outcome("refused", message)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _peak() -> int:
    """Largest resident memory since the last call."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


# ------------------------------------------------------------------------------------------------------------ readers


def _picture(case: Case, folder: Path) -> None:
    """Read a picture and what else is read of one before it is written."""
    limits = ReadLimits(MOST_PIXELS, memory=1000, folder=folder) if case.about else ReadLimits(MOST_PIXELS)
    picture = read_picture(case.path, limits)
    try:
        assert picture.pixels[:].shape == (picture.height, picture.width, 3)
        text_tags(picture.exif)
        without_thumbnail(picture.exif or b"")
        is_usable(picture.icc or b"")
        for wanted in ("all", "copyright"):
            carried(picture, ["style.jpg"], wanted=wanted)
    finally:
        for path in folder.iterdir():
            path.unlink()


def _preset(case: Case, folder: Path) -> None:
    """Read settings, and the files that they name."""
    settings = load_settings(str(case.path))
    if settings.weights is not None:
        describe(Path(settings.weights))
    if settings.init not in (PHOTOGRAPH, BLANK):
        read_picture(settings.init, ReadLimits(MOST_PIXELS))


def _manifest(case: Case, folder: Path) -> None:
    """List the pictures of a manifest, which are not there, and their settings."""
    output = case.path.parent / "paintings"
    for item in find_items([str(case.path)], [], output):
        assert Path(os.path.normpath(item.output)).is_relative_to(output)
        load_settings(item.preset or "default", own=item.overrides, place=item.place)
        with suppress(PictureError):
            read_picture(item.content, ReadLimits(MOST_PIXELS))


def _weights(case: Case, folder: Path) -> None:
    row = architecture(case.about)
    load_network(row.name, find_weights(row, str(case.path)), row.layers)


def _turn(case: Case, folder: Path) -> None:
    while True:
        pass


def _fill(case: Case, folder: Path) -> None:
    held = bytearray(MEMORY + MEMORY // 4)
    for page in range(0, len(held), resource.getpagesize()):
        held[page] = 1


def _drop(case: Case, folder: Path) -> None:
    (folder / "dropped").touch()


READERS: dict[str, Callable[[Case, Path], None]] = {
    "picture": _picture,
    "preset": _preset,
    "manifest": _manifest,
    "weights": _weights,
    "abort": lambda case, folder: os.abort(),
    "turn": _turn,
    "fill": _fill,
    "drop": _drop,
}
