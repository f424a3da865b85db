"""Whole commands as processes of their own, cut short at any moment: the same command resumes, and nothing is lost."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from crews import until
from pictures import TINY, assignments, contents, painting, photograph, save

from muralist.cli import main

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into other processes' environments"),
]

COMMANDS = ["render", "batch"]
LOCAL = ["scheduler", "own workers"]
ONE = "own worker"  # starts with half the work
# What another run may change in a sidecar.
OTHERWISE = ("seconds", "peak_rss_bytes", "resumed", "notices", "workers")
RESUMABLE = "muralist: interrupted; rerun the same command to resume\n"

# The command line, which kills itself before it changes the names of files for the nth time since it began to give a
# file the name LAST; and which can write no file larger than LIMIT.
PROGRAM = """
import os, resource, signal, sys

last, left, limit = os.environ.get("LAST"), int(os.environ.get("NTH", 0)), os.environ.get("LIMIT")
begun = False

def watch(event, arguments):
    global begun, left
    if event in ("os.rename", "os.remove", "os.rmdir"):
        begun = begun or event == "os.rename" and os.path.basename(arguments[1]) == last
        left -= begun
        if begun and left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

if last:
    sys.addaudithook(watch)
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
from muralist.cli import main
main()
"""


@dataclass(frozen=True)
class Trial:
    """A command and all it may leave: what it paints, caches and stores for a while lies below its folder.

    Attributes
    ----------
    folder : Path
    arguments : tuple of str
    """

    folder: Path
    arguments: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("out", "tmp", "cache"):
            (self.folder / name).mkdir(parents=True)

    def start(self, **environment: str) -> "subprocess.Popen[str]":
        """Start the command, in a process group of its own."""
        own = {"TMPDIR": str(self.folder / "tmp"), "XDG_CACHE_HOME": str(self.folder / "cache")}
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", PROGRAM, *self.arguments]
        new = {"cwd": self.folder / "out", "env": os.environ | own | environment, "start_new_session": True}
        return subprocess.Popen(command, **pipes, **new)

    def run(self, **environment: str) -> tuple[int, str]:
        """Run the command to its end; exit code and standard error."""
        with self.start(**environment) as process:
            said = process.communicate(timeout=240)[1]
        return process.returncode, said

    def processes(self) -> list[psutil.Process]:
        """Processes that the command started, whatever they are, also if it is gone."""
        return [each for each in psutil.process_iter() if _environ(each).get("TMPDIR") == str(self.folder / "tmp")]

    @property
    def made(self) -> dict[str, Any]:
        """What was painted, by name; of sidecars, what does not depend on the course of things."""
        files = {name: content for name, content in contents(self.folder / "out").items() if name != "report.jsonl"}
        return {name: self._comparable(file) if name.endswith(".json") else file for name, file in files.items()}

    def sidecar(self, name: str) -> dict[str, Any]:
        """What lies beside a painting."""
        return dict(json.loads((self.folder / "out" / f"{name}.json").read_text()))

    @property
    def left(self) -> dict[str, bytes | None]:
        """What lies in the system's temporary folder and in the cache."""
        return {name: content for name, content in contents(self.folder).items() if name.startswith(("tmp", "cache"))}

    @property
    def rows(self) -> dict[str, list[Any]]:
        """The looks at the losses that were noted in journals of runs under way, by output."""
        # (Folders on their way out are called otherwise.)
        places = (self.folder / "out").rglob(".*.muralist/journal.json")
        journals = {path.parent: json.loads(path.read_text()) for path in places}
        return {
            str((folder.parent / folder.name[1:].removesuffix(".muralist")).relative_to(self.folder / "out")): (
                found["course"]["losses"] + found["course"]["current"]["rows"]
            )
            for folder, found in journals.items()
            if not found["finished"]
        }

    @property
    def report(self) -> list[dict[str, Any]]:
        """The lines of a batch's report."""
        return [json.loads(line) for line in (self.folder / "out" / "report.jsonl").read_text().splitlines()]

    def _comparable(self, sidecar: bytes) -> list[str]:
        found = json.loads(sidecar.decode().replace(str(self.folder), "FOLDER"))
        for level in found["levels"]:
            del level["seconds"], level["busy_seconds"], level["fetched_bytes_per_round"]
        for look in found["losses"]:
            del look["seconds"]
        del found["settings"]["scheduler"], found["settings"]["workers"]
        return json.dumps({key: value for key, value in found.items() if key not in OTHERWISE}, indent=1).splitlines()


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}


@dataclass(frozen=True)
class Trials:
    """The pictures that all trials share, and how each command ends if nothing interrupts it."""

    folder: Path
    scheduler: str

    def __post_init__(self) -> None:
        (self.folder / "photos" / "sub").mkdir(parents=True)
        save(self.folder / "style.png", painting())
        save(self.folder / "photos" / "a.png", photograph())
        for number, name in enumerate(["b.png", "sub/c.png", "sub/d.png"], 1):
            save(self.folder / "photos" / name, photograph(64, 48, seed=min(number, 2)))  # the last two are the same

    def new(self, command: str, workers: str = "scheduler") -> Trial:
        """A trial of a command in a folder of its own."""
        what = {
            "render": ["photos/a.png", "-o", "a.png", "--loss-lines", "--quiet"],
            "batch": ["photos", "-o", ".", "--quiet"],
        }[command]
        words = [str(self.folder / word) if word.startswith("photos") else word for word in what]
        where = {"scheduler": {"scheduler": self.scheduler}, "own workers": {"workers": 2}, ONE: {"workers": 1}}
        settings = assignments(TINY | where[workers])
        folder = self.folder / f"trial-{len(list(self.folder.iterdir()))}"
        return Trial(folder, (command, *words, "-s", str(self.folder / "style.png"), *settings))

    @cached_property
    def _whole(self) -> dict[tuple[str, str], tuple[Trial, float]]:
        return {}

    def whole(self, command: str, workers: str = "scheduler") -> tuple[Trial, float]:
        """The trial of a command that nothing interrupted, and how many seconds it took."""
        if (command, workers) not in self._whole:
            trial, start = self.new(command, workers), time.monotonic()
            assert trial.run()[0] == 0
            self._whole[command, workers] = trial, time.monotonic() - start
            assert_clean(trial)
        return self._whole[command, workers]


@pytest.fixture(scope="module")
def trials(scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """Pictures and a scheduler for all trials."""
    return Trials(tmp_path_factory.mktemp("trials"), scheduler)


def assert_clean(trial: Trial) -> None:
    """No process is left, nothing in the system's temporary folder, and no hidden file anywhere."""
    until(lambda: not trial.processes())
    assert list(trial.folder.rglob(".*")) == []
    assert list((trial.folder / "tmp").iterdir()) == []


def assert_resumed(trial: Trial, whole: Trial) -> None:
    """The same command ends as if nothing had interrupted it, repeats no more than it must, and leaves nothing."""
    noted, painted = trial.rows, _finished(trial)
    code, said = trial.run()
    if code != 0:  # it was killed when all was done, but for tidying up
        assert (code, said.count("\n"), "exists already" in said) == (1, 1, True), said
        assert set(trial.made) == set(painted)
    elif trial.arguments[0] == "render":
        looks = len(whole.sidecar("a.png")["losses"])
        assert said.count("\n") == looks - len(noted.get("a.png", [])), said
    assert set(trial.made) == set(whole.made)
    for name, file in whole.made.items():
        assert trial.made[name] == file, name
    for output, rows in noted.items():
        assert trial.sidecar(output)["losses"][: len(rows)] == rows
    assert {name: _stamp(trial, name) for name in painted} == painted
    assert trial.left == whole.left
    assert_clean(trial)


def _finished(trial: Trial) -> dict[str, tuple[int, int]]:
    """Paintings and sidecars that nothing is to be done about, and what would change if they were written again."""
    files, under_way = contents(trial.folder / "out"), trial.rows
    done = [name for name in files if f"{name}.json" in files and name not in under_way]
    return {file: _stamp(trial, file) for name in done for file in (name, f"{name}.json")}


def _stamp(trial: Trial, name: str) -> tuple[int, int]:
    facts = (trial.folder / "out" / name).stat()
    return facts.st_ino, facts.st_mtime_ns


def kill_after(trial: Trial, seconds: float, *, group: bool) -> bool:
    """Run a command for some time, then kill it, or all its processes, as the end of a session's power does.

    Returns whether it was still running.
    """
    with trial.start() as process:
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL) if group else process.kill()
    return process.returncode == -signal.SIGKILL


def moment(number: int, of: int) -> float:
    """A random moment in one of several equal parts of a run, as a share of it; the same at every run."""
    return (number + random.Random(number).random()) / of


# -------------------------------------------------------------------------------------------------------------- kill -9


def killed(trials: Trials, command: str, workers: str, share: float, *, group: bool) -> None:
    """Kill a command, run it again, and compare."""
    _, seconds = trials.whole(command, workers)
    while not kill_after(trial := trials.new(command, workers), share * seconds, group=group):
        share *= 0.9  # it was quicker than the first one
    assert_resumed(trial, trials.whole(command)[0])


@pytest.mark.parametrize(
    ("command", "number", "of"), [*(("render", n, 5) for n in range(5)), ("batch", 1, 3), ("batch", 2, 3)]
)
def test_killed_at_any_moment(trials, command, number, of):
    """The driver is killed while workers of somebody else's work for it."""
    killed(trials, command, "scheduler", moment(number, of), group=False)


@pytest.mark.parametrize(
    ("command", "workers", "group"),
    [("render", ONE, False), *(pytest.param(each, "own workers", True, marks=pytest.mark.slow) for each in COMMANDS)],
)
def test_killed_with_workers_of_its_own(trials, command, workers, group):
    """They end by themselves, or are killed with it."""
    killed(trials, command, workers, 0.8, group=group)


@pytest.mark.slow
@pytest.mark.parametrize("workers", LOCAL)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("number", range(10))
def test_killed_at_every_tenth_of_its_run(trials, command, number, workers):
    """Forty moments, from the start of Python to the removal of the run folder."""
    killed(trials, command, workers, moment(number, 10), group=bool(number % 2))


@pytest.mark.parametrize(
    ("command", "last", "nth"),
    [
        ("render", "a.png", 1),  # the painting is there
        ("render", "a.png", 6),  # the folder is being removed
        ("batch", "a.png", 6),
        ("batch", "d.png", 1),  # which is a copy
        *(pytest.param("render", "a.png", nth, marks=pytest.mark.slow) for nth in (0, 2, 3, 4, 5, 7, 12, 20, 30)),
        *(pytest.param("batch", "a.png", nth, marks=pytest.mark.slow) for nth in (0, 1, 2, 3, 4, 5, 7, 12, 20, 30)),
        *(pytest.param("batch", "d.png", nth, marks=pytest.mark.slow) for nth in (0, 2, 3, 4, 5, 7)),
    ],
)
def test_killed_at_the_very_end(trials, command, last, nth):
    """Between any two changes of names, from that of a finished painting to the last one of all."""
    trial, (whole, _) = trials.new(command), trials.whole(command)
    assert trial.run(LAST=last, NTH=str(nth))[0] == -signal.SIGKILL
    assert_resumed(trial, whole)


# ------------------------------------------------------------------------------------------------- Ctrl-C and SIGTERM


@pytest.mark.parametrize(
    ("command", "workers", "signum"),
    [
        ("render", ONE, signal.SIGINT),
        ("batch", "scheduler", signal.SIGTERM),
        pytest.param("render", "scheduler", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("batch", "own workers", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("batch", "own workers", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_asked_to_stop(trials, command, workers, signum):
    """One line says what to do, the exit code is a shell's, and of what was begun only the run folder stays."""
    trial, (whole, _) = trials.new(command, workers), trials.whole(command)
    with trial.start() as process:
        until(lambda: any("journal.json" in files for _, _, files in os.walk(trial.folder)), 240)  # folders come and go
        os.killpg(process.pid, signum)  # as a terminal does
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signum
    assert [line for line in said.splitlines() if not line.startswith("step ")] == [RESUMABLE.strip()]
    until(lambda: not trial.processes())
    hidden = [path.name for path in trial.folder.rglob(".*") if ".muralist" not in str(path.parent)]
    assert hidden
    assert all(name.endswith(".png.muralist") for name in hidden)
    assert list((trial.folder / "tmp").iterdir()) == []
    assert_resumed(trial, whole)


def test_sigterm_is_as_it_was_afterwards(monkeypatch):
    """Whoever calls the command line from Python keeps what is to happen then."""
    before = signal.getsignal(signal.SIGTERM)
    assert CliRunner().invoke(main, ["presets"]).exit_code == 0
    assert signal.getsignal(signal.SIGTERM) is before


# -------------------------------------------------------------------------------------------------------- a full disk


@pytest.mark.parametrize(
    ("command", "workers", "limit"),
    [
        ("batch", "scheduler", 40_000),  # bytes of a file: less than the driver files
        pytest.param("render", "own workers", 200_000, marks=pytest.mark.slow),  # less than a worker files of a tile
        pytest.param("render", "scheduler", 40_000, marks=pytest.mark.slow),
        pytest.param("batch", "own workers", 200_000, marks=pytest.mark.slow),
    ],
)
def test_a_full_disk(trials, command, workers, limit):
    """Whoever is refused room, the driver at once or a worker later: a line says so, and with room the same goes on."""
    trial, (whole, _) = trials.new(command, workers), trials.whole(command)
    code, said = trial.run(LIMIT=str(limit))
    assert (code, "Traceback" in said) == (1, False), said
    assert "the disk is full; free some space and rerun the command to resume" in said + str(_reasons(trial))
    until(lambda: not trial.processes())
    assert_resumed(trial, whole)


def _reasons(trial: Trial) -> list[str]:
    return [row["reason"] for row in trial.report] if trial.arguments[0] == "batch" else []
