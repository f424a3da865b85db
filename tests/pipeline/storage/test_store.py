"""Files that are whole or not there, in a folder, in an object store, and in memory."""

import errno
import mmap
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from facts import having
from hypothesis import given
from hypothesis import strategies as st

from muralist.pipeline.errors import OutputError
from muralist.pipeline.storage import store as module
from muralist.pipeline.storage.byte_cache import CACHE, ByteCache, set_cache_limit
from muralist.pipeline.storage.store import Store, fetched

CONTENT = np.random.default_rng(0).bytes(10_000)
SPANS = [(5000, 5010), (0, 10_000), (9990, 10_000), (10, 20), (20, 30), (15, 25), (7, 7), (0, 1)]


@pytest.fixture(params=["folder", "URL of a folder", "cached", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind; on "cached" with everything kept in memory."""
    if request.param == "s3":
        yield Store(request.getfixturevalue("object_store")) / uuid.uuid4().hex
    else:
        set_cache_limit(1 << 20 if request.param == "cached" else 0)
        yield Store(tmp_path.as_uri() if request.param == "URL of a folder" else str(tmp_path))
        set_cache_limit(0)


@pytest.fixture
def holding() -> Iterator[int]:
    """How many bytes this process keeps in memory during a test."""
    set_cache_limit(1000)
    yield 1000
    set_cache_limit(0)


def run(script: str, *arguments: str, **environment: str) -> str:
    """What a script prints in a process of its own."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_parts_are_written_one_behind_the_other(store):
    """Bytes, memory views and arrays of any type and shape come back as the bytes that they are."""
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    store.write("a", b"head", memoryview(b"body"), numbers, np.float64(3), np.zeros((0, 2)))
    assert store.read("a") == b"headbody" + numbers.tobytes() + np.float64(3).tobytes()
    store.write("empty")
    assert store.read("empty") == b""
    assert store.exists("empty")


def test_a_part_that_is_not_contiguous_is_refused(store):
    """A view with gaps is a mistake of the caller and leaves no file."""
    with pytest.raises((TypeError, ValueError)):
        store.write("a", np.zeros((4, 4))[:, 1:3])
    assert not store.exists("a")
    assert store.names("") == set()


@pytest.mark.parametrize("name", ["a", "b/a", "b/c/d/a"])
def test_folders_are_made_as_needed(store, name):
    """A file may lie in folders that nobody made, and a second file beside it."""
    store.write(name, CONTENT)
    store.write(name + "2", b"2")
    assert store.read(name) == CONTENT
    assert store.read(name + "2") == b"2"


def test_a_file_that_is_written_again_is_replaced(store):
    """The journal has one name; what is read is what was written last, also if it was held before."""
    for content in (b"first", CONTENT * 200, b"", b"last"):
        store.write("a", content)
        assert store.read("a") == content


def test_ranges_come_in_the_order_asked(store):
    """Ranges that overlap, touch, repeat, are empty or go back are the slices of the file."""
    store.write("a", CONTENT)
    assert [bytes(part) for part in store.ranges("a", SPANS)] == [CONTENT[first:last] for first, last in SPANS]
    assert store.ranges("a", []) == []


@pytest.mark.parametrize("span", [(9_999, 10_001), (20_000, 20_001)])
def test_a_file_that_is_too_short_is_an_error(store, span):
    """A file that somebody cut is not taken for one with fewer pixels."""
    store.write("a", CONTENT)
    with pytest.raises(OutputError, match=r"/a: .*--restart"):
        store.ranges("a", [(0, 10), span])


def test_a_missing_file_is_not_found(store):
    """Asked for what is not there, a store says so in the way of the standard library, with its name."""
    for ask in (lambda: store.read("b/missing"), lambda: store.ranges("missing", [(0, 1)])):
        with pytest.raises(FileNotFoundError, match="missing"):
            ask()
    assert not store.exists("b/missing")
    assert store.names("b") == set()
    store.remove("b/missing")


def test_names_are_those_of_files_directly_in_a_folder(store):
    """Neither folders nor what lies in them are listed, nor another folder whose name begins the same."""
    for name in ("a/1", "a/2", "a/b/3", "ab/4", "5"):
        store.write(name, b"")
    assert store.names("a") == {"1", "2"}
    assert store.names("") == {"5"}
    assert store.names("a/1") == set()
    assert not store.exists("a")


def test_a_removed_folder_is_gone_with_all_in_it(store):
    """Removing takes a file, a folder or everything, and nothing whose name only begins the same."""
    for name in ("a/1", "a/b/2", "ab/3", "4", "44"):
        store.write(name, b"content")
    store.remove("a")
    store.remove("4")
    assert [store.exists(name) for name in ("a/1", "a/b/2", "ab/3", "4", "44")] == [False, False, True, False, True]
    with pytest.raises(FileNotFoundError):
        store.read("a/1")
    store.remove("")
    store.remove("")
    assert not store.exists("ab/3")


@pytest.mark.parametrize("name", ["a[1]", "a*b", "a?b", "[!a]"])
def test_no_name_is_a_pattern(store, name):
    """What an odd name would match as a pattern stays."""
    others = ["a1/1", "aXb/1", "b/1"]
    for file in (f"{name}/1", f"{name}/c/2", *others):
        store.write(file, b"content")
    below = store / name
    assert below.names("") == {"1"}
    below.remove("1")
    assert not below.exists("1")
    assert below.read("c/2") == b"content"
    store.remove(name)
    assert [below.exists("c/2"), *(store.exists(file) for file in others)] == [False, True, True, True]


def test_a_sub_folder_is_a_store(store):
    """The same file has a longer name above, and removing the sub-folder from above removes it."""
    store.write("a/b/1", CONTENT)
    below = store / "a" / "b"
    assert below.read("1") == CONTENT
    assert below == store / "a/b"
    below.write("2", b"2")
    assert store.names("a/b") == {"1", "2"}
    store.remove("a")
    assert not below.exists("1")


def test_other_processes_see_the_same_files(store):
    """A store goes to another process as a pickle; what that writes is seen here, in a folder listed before."""
    store.write("a/1", CONTENT)
    assert store.names("a") == {"1"}
    assert not store.exists("a/2")
    script = "import pickle, sys; s = pickle.loads(bytes.fromhex(sys.argv[1])); s.write('a/2', s.read('a/1'))"
    run(script, pickle.dumps(store).hex())
    assert store.names("a") == {"1", "2"}
    assert store.read("a/2") == CONTENT


FORKED = """
import os, sys
from muralist.pipeline.storage.store import Store
store = Store(sys.argv[1])
store.write("a", b"content")
child = os.fork()
if child == 0:
    os._exit(0 if store.read("a") == b"content" and store.names("") == {"a"} else 1)
print(os.waitpid(child, 0)[1])
"""


def test_a_forked_process_makes_its_own_connection(store):
    """Workers that are forked after the store was used can use it."""
    assert run(FORKED, store.root).strip() == "0"


def test_threads_share_a_store(store):
    """Several threads write, read and list at once, and each gets what belongs to its name."""

    def use(number: int) -> bool:
        content = CONTENT[number:]
        store.write(f"{number % 3}/{number}", content)
        return store.read(f"{number % 3}/{number}") == content and str(number) in store.names(str(number % 3))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(40)))


def test_a_check_leaves_nothing(store):
    """A store that can be used passes and is as empty as before."""
    store.check()
    assert store.names("") == set()


def test_what_was_fetched_is_counted(store):
    """Reading counts a file's bytes, ranges those that were asked for; nothing counts that was held."""
    store.write("a", CONTENT)
    before = fetched()
    store.read("a")
    store.ranges("a", [(0, 10), (5000, 5005)])
    assert fetched() - before == (0 if CACHE.limit else 10_015)


# In a folder


def test_a_store_knows_its_folder():
    """Paths and file:// URLs are folders of this machine; other URLs are not."""
    assert Store("/data/run").local == Path("/data/run")
    assert Store("file:///data/a%20run").local == Path("/data/a run")
    assert (Store("s3://bucket") / "run").local is None


def test_a_file_has_its_name_only_when_it_is_on_the_disk(tmp_path, monkeypatch):
    """The content is brought to the disk before it gets its name, and the name itself and new folders' afterwards."""
    done = []
    sync, replace = os.fsync, os.replace

    def fsync(file: int) -> None:
        sync(file)
        done.append(re.sub("-[0-9a-f]{16}", "", os.path.relpath(os.readlink(f"/proc/self/fd/{file}"), tmp_path)))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *names: (replace(*names), done.append("replace")))
    Store(str(tmp_path)).write("a/b/1.bin", CONTENT)
    assert done == [".", "a", "a/b/.muralist.part", "replace", "a/b"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch, error):
    """Whatever stops a writer, what was there before stays, and no part of the new file is left."""
    store = Store(str(tmp_path))
    store.write("a", b"old")

    def fail(file: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        store.write("a", b"new")
    assert os.listdir(tmp_path) == ["a"]
    assert store.read("a") == b"old"


LIMITED = """
import errno, resource, signal, sys
from muralist.pipeline.storage.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for size in (50_001, 10_000_000):
    try:
        Store(sys.argv[1]).write("a", bytes(size))
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def test_a_write_that_fails_midway_says_why(tmp_path):
    """The system's reason reaches the caller, so that a full disk can be told from a bug."""
    assert run(LIMITED, str(tmp_path)).split() == ["EFBIG", "EFBIG"]
    assert os.listdir(tmp_path) == []


def test_files_have_the_usual_permissions(tmp_path):
    """Whoever may read what lies beside them may read them."""
    (tmp_path / "usual").touch()
    Store(str(tmp_path)).write("a", b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_task_that_outlives_its_render_does_not_bring_the_folder_back(tmp_path):
    """After the folder was removed, a late task fails instead of leaving files that nobody removes."""
    (tmp_path / "run").mkdir()
    store = Store(str(tmp_path / "run"))
    store.write("level/1", CONTENT)
    store.remove("")
    for name in ("level/2", "3"):
        with pytest.raises(FileNotFoundError):
            store.write(name, CONTENT)
    assert os.listdir(tmp_path) == []


WRITE_FOREVER = """
import sys
from muralist.pipeline.storage.store import Store
store = Store(sys.argv[1])
while True:
    for letter in (b"a", b"b"):
        store.write("file", letter * 3_000_000)
        print("written", flush=True)
"""


def test_a_killed_writer_leaves_no_half_file(tmp_path):
    """Whoever reads while a process writes and is killed at any moment gets a whole file of one writing."""
    store = Store(str(tmp_path))
    for attempt in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"written\n"
            end = time.monotonic() + 0.2 + 0.013 * attempt
            while time.monotonic() < end:
                _assert_whole(store)
            writer.send_signal(signal.SIGKILL)
        _assert_whole(store)
    assert store.names("") == {"file"}


def _assert_whole(store: Store) -> None:
    content = store.read("file")
    assert len(content) == 3_000_000
    assert content in (content[:1] * len(content), b"")


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    """Before any work the user hears which folder it is, what is wrong with it and what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"none: .*--scratch", check=having(FileNotFoundError)):
        Store(str(tmp_path / "none")).check()
    with pytest.raises(OutputError, match=r"file: .*--scratch", check=having(NotADirectoryError)):
        Store(str(tmp_path / "file")).check()


# Elsewhere

CHECK = """
import pickle, sys
from muralist.pipeline.errors import OutputError
from muralist.pipeline.storage.store import Store
if sys.argv[2:]:
    sys.modules[sys.argv[2]] = None
try:
    Store(sys.argv[1]).check()
except OutputError as error:
    print(pickle.loads(pickle.dumps(error)))
"""


def test_large_objects_come_back(object_store):
    """An object that goes up in several pieces is one object."""
    large = np.random.default_rng(1).bytes(60 << 20)
    store = Store(object_store) / "large"
    store.write("a", large[:1000], large[1000:])
    assert store.read("a") == large
    assert store.ranges("a", [(59 << 20, (59 << 20) + 5)]) == [large[59 << 20 : (59 << 20) + 5]]
    store.remove("")


def test_an_emptied_bucket_stays(object_store):
    """Removing everything from a bucket removes what is in it and not the bucket, which others may have made."""
    bucket = Store(object_store.rpartition("/")[0])
    bucket.write("a", b"")
    bucket.remove("")
    bucket.check()


def test_a_missing_bucket_is_refused(object_store):
    """A bucket is not made by the way."""
    with pytest.raises(OutputError, match=r"s3://nobodys/run: .*bucket.*--scratch"):
        Store("s3://nobodys/run").check()


def test_a_missing_package_is_named():
    """Without the package that an URL needs, the user hears how to install it."""
    assert run(CHECK, "s3://bucket/run", "s3fs") == (
        "s3://bucket/run: s3fs is not installed; pip install 'muralist[s3]'\n"
    )
    assert run(CHECK, "abfs://bucket/run", "adlfs").startswith("abfs://bucket/run: Install adlfs")


def test_an_unknown_protocol_is_refused():
    """A mistyped URL is no folder."""
    with pytest.raises(OutputError, match=r"s4://bucket: .*\bs4; .*s3://"):
        Store("s4://bucket").check()


def test_an_endpoint_that_does_not_answer_is_named(object_store):
    """Botocore's error becomes one line, in the process that has it and in the one that is told."""
    said = run(CHECK, "s3://bucket/run", AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1")
    assert re.fullmatch(r"s3://bucket/run: EndpointConnectionError: .*127\.0\.0\.1:9.*; check the address, .*\n", said)


class _Forbidding(BaseHTTPRequestHandler):
    """Answers every upload as S3 does where the key has no rights."""

    protocol_version = "HTTP/1.1"  # in which a client asks before it sends
    answer = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"

    def do_PUT(self) -> None:
        """Refuse."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(403)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_missing_rights_are_named(object_store):
    """A key that may not write is told from an address that is wrong."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Forbidding) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        said = run(CHECK, "s3://bucket/run", AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert said == "s3://bucket/run: not permitted (Access Denied); check the credentials and their rights\n"


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60)).map(lambda t: (t[0], t[0] + t[1]))), st.integers(0, 9)
)
def test_merged_ranges_cover_what_is_asked_and_little_more(spans, gap):
    """Every range lies in one that is fetched; those are apart by more than the gap, and begin and end where asked."""
    merged = module._merged(spans, gap)
    asked = [span for span in spans if span[0] < span[1]]
    assert all(any(first <= a and b <= last for first, last in merged) for a, b in asked)
    assert all(after[0] - before[1] > gap for before, after in pairwise(merged))
    assert {first for first, _ in merged} <= {first for first, _ in asked}
    assert {last for _, last in merged} <= {last for _, last in asked}


# In memory


def test_files_that_are_held_are_not_read_again(tmp_path, holding):
    """What was written or read is there without its file, whole and in ranges."""
    store = Store(str(tmp_path))
    store.write("written", b"one")
    (tmp_path / "read").write_bytes(b"two")
    assert store.read("read") == b"two"
    for name in ("written", "read"):
        (tmp_path / name).unlink()
    before = fetched()
    assert [store.read("written"), store.read("read")] == [b"one", b"two"]
    assert [bytes(part) for part in store.ranges("read", [(1, 3), (0, 1)])] == [b"wo", b"t"]
    assert store.exists("read")
    assert fetched() == before


def test_nothing_is_held_unless_asked_for(tmp_path):
    """At first every reading goes to the file, and an empty file is not held either."""
    store = Store(str(tmp_path))
    store.write("a", b"content")
    store.write("empty")
    for name in ("a", "empty"):
        (tmp_path / name).unlink()
        assert not store.exists(name)


def test_a_file_that_was_not_written_is_not_held(tmp_path, holding):
    """After a failure, what is read is what is on the disk."""
    store = Store(str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        store.write("a", b"content")
    assert not store.exists("a")


def test_a_file_larger_than_the_limit_is_not_held(tmp_path, holding):
    """It takes nobody's place, either."""
    store = Store(str(tmp_path))
    store.write("small", b"small")
    store.write("large", bytes(holding + 1))
    for name in ("small", "large"):
        (tmp_path / name).unlink()
    assert [store.exists("small"), store.exists("large")] == [True, False]


def test_a_system_without_large_pages_holds_files_too(monkeypatch):
    """A kernel that was built without them says EINVAL."""

    class Block(mmap.mmap):
        def madvise(self, *_):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(mmap, "mmap", Block)
    held = ByteCache(10)
    held.put("a", b"abc")
    assert held.get("a") == b"abc"


def test_the_least_recently_used_goes_first():
    """What was asked for a moment ago stays when something new needs the room."""
    held = ByteCache(10)
    for key in ("a", "b", "c"):
        held.put(key, b"abc")
    assert held.get("a") == b"abc"
    held.put("d", b"abc")
    assert [held.get(key) for key in ("a", "b", "c", "d")] == [b"abc", None, b"abc", b"abc"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 12))), st.integers(0, 20))
def test_the_limit_is_kept(puts, limit):
    """However files come and are replaced, they never take more than the limit, and the last is there if it fits."""
    held = ByteCache(limit)
    for key, size in puts:
        held.put(key, bytes(size))
        kept = [content for content in map(held.get, "abcdef") if content is not None]
        assert sum(map(len, kept)) <= limit
        assert held.get(key) == (bytes(size) if 0 < size <= limit else None)


def test_a_smaller_limit_is_kept_at_once():
    """Memory is given back when less of it may be used."""
    held = ByteCache(10)
    held.put("a", b"12345")
    held.put("b", b"12345")
    held.resize(5)
    assert [held.get("a"), held.get("b")] == [None, b"12345"]
    held.resize(0)
    assert held.get("b") is None


def test_a_folder_is_forgotten_with_all_in_it():
    """What is removed is not held, however the folder's name is written, and what begins the same stays."""
    held = ByteCache(100)
    for key in ("/run/a/1", "/run/a/b/2", "/run/ab", "/run/a"):
        held.put(key, b"x")
    held.drop("/run/a/")
    assert [held.get(key) for key in ("/run/a/1", "/run/a/b/2", "/run/ab")] == [None, None, b"x"]
    held.drop("/run/a")
    assert held.get("/run/a") is None
