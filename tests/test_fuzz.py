"""Files from strangers: whatever is in one, it is read or refused in one line; nothing hangs, crashes or is written.

Every file is read by the function that reads it for users, in a process of its own with limits (`foreign_files`). A
failure names the file, which lies where pytest keeps its folders until three runs later; the same seed makes it again.
"""

import random
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pytest
from foreign_files import Case, Outcome, Reader
from hostile import hostiles
from pictures import contents
from valid_files import ValidFile, valid_files

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="the kernel's account of a process' memory is read"),
]

PROCESSES = 2
SEED = "1"
TIMES = 12  # that every whole file is mutated
HARMLESS = ("read", "refused")

Read = Callable[[Iterable[Case]], list[Outcome]]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Read]:
    """A function that has files read and gives the outcomes in order; in the end, that nothing was written."""
    root = tmp_path_factory.mktemp("readers")
    homes = ("TMPDIR", "HOME", "XDG_CACHE_HOME")
    with pytest.MonkeyPatch.context() as patch:
        for name in homes:
            (root / name).mkdir()
            patch.setenv(name, str(root / name))
        for name in ("OMP_NUM_THREADS", "VIPS_CONCURRENCY"):
            patch.setenv(name, "1")
        readers = [Reader(root / f"reader {number}") for number in range(PROCESSES)]
        free: SimpleQueue[Reader] = SimpleQueue()
        for reader in readers:
            free.put(reader)

        def read_one(case: Case) -> Outcome:
            reader = free.get()
            try:
                return reader.read(case)
            finally:
                free.put(reader)

        with ThreadPoolExecutor(PROCESSES) as pool:
            yield lambda cases: list(pool.map(read_one, cases))
        for reader in readers:
            reader.close()
    assert set(contents(root)) == {*homes, *(reader.folder.name for reader in readers)}


def test_whole_files_are_read(read: Read, tmp_path: Path) -> None:
    """What is mutated below is well before, pictures in memory and in files alike."""
    cases = [
        case for number, each in enumerate(valid_files()) for case in filed(each, each.content, tmp_path / f"{number}")
    ]
    outcomes = read(cases)
    assert {
        case.path.name: outcome for case, outcome in zip(cases, outcomes, strict=True) if outcome.what != "read"
    } == {}


def test_mutated_files_are_read_or_refused(read: Read, tmp_path: Path) -> None:
    """Hundreds of files with flipped bits, huge numbers, parts that are missing or twice there, and strange names."""
    tally = fuzzed(read, tmp_path, SEED, TIMES)
    assert sum(map(Counter.total, tally.values())) > 500
    for kind, outcomes in tally.items():
        for what in HARMLESS:  # or the mutations would test nothing
            assert outcomes[what] > 0.1 * outcomes.total(), f"too few {kind} were {what}: {dict(outcomes)}"


@pytest.mark.slow
def test_many_more_mutated_files_are_read_or_refused(read: Read, tmp_path: Path) -> None:
    """The same twenty times, with other seeds every time."""
    seed = random.SystemRandom().randrange(10**6)
    for turn in range(20):
        fuzzed(read, tmp_path / f"{turn}", f"{seed} {turn}", TIMES)
        shutil.rmtree(tmp_path / f"{turn}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "what"),
    [("abort", "crashed"), ("turn", "hung"), ("fill", "took too much memory"), ("drop", "left files behind")],
)
def test_harm_is_noticed(read: Read, tmp_path: Path, kind: str, what: str) -> None:
    """A reader that crashes, computes for ever, takes all memory or leaves a file is told from one that is well."""
    assert [outcome.what for outcome in read([Case(kind, tmp_path / "file")] * 2)] == [what, what]


def test_hostile_files_are_refused(read: Read, tmp_path: Path) -> None:
    """Bombs, loops, code and names that lead elsewhere; none is read, none does what it was made for."""
    made = hostiles(tmp_path / "canary")
    cases = [case for number, each in enumerate(made) for case in filed(each, each.content, tmp_path / f"{number}")]
    before = contents(tmp_path)
    outcomes = read(cases)
    assert {
        case.path.name: outcome for case, outcome in zip(cases, outcomes, strict=True) if outcome.what != "refused"
    } == {}
    assert contents(tmp_path) == before


def filed(each: ValidFile, content: bytes, folder: Path) -> list[Case]:
    """A file's content in a folder of its own, to be read in all ways there are."""
    folder.mkdir()
    path = folder / each.name
    path.write_bytes(content)
    return [Case(each.kind, path, about) for about in (("", "aside") if each.kind == "picture" else (each.about,))]


def fuzzed(read: Read, folder: Path, seed: str, times: int) -> dict[str, Counter[str]]:
    """Count outcomes by kind of file, none of them harmful; pictures are read in memory and in files by turns."""
    found = valid_files()
    folder.mkdir(exist_ok=True)
    cases = []
    for number, each in enumerate(found):
        others = [other.content for other in found if suffix(other.name) == suffix(each.name)]
        for turn in range(times * (1 if each.kind in ("picture", "weights") else 5)):  # of texts there are few
            rng = random.Random(f"{seed} {each.name} {turn}")
            content = each.damage(each.content, rng, rng.choice(others))
            cases.append(filed(each, content, folder / f"{number}-{turn}")[turn % 2 if each.kind == "picture" else 0])
    before = contents(folder)
    tally: dict[str, Counter[str]] = defaultdict(Counter)
    harm = {}
    for case, outcome in zip(cases, read(cases), strict=True):
        tally[suffix(case.path.name)][outcome.what] += 1
        if outcome.what not in HARMLESS:
            harm[str(case.path)] = outcome
    sys.stdout.write(f"seed {seed}: { {kind: dict(outcomes) for kind, outcomes in tally.items()} }\n")
    assert harm == {}, f"with seed {seed}"
    assert contents(folder) == before
    return tally


def suffix(name: str) -> str:
    """Which files count together."""
    return Path(name).suffix
