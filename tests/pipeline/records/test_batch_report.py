"""Reports of a batch: a line for every picture at once, and what is said in the end."""

import errno
import json
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest
from facts import having

from muralist.pipeline.errors import OutputError
from muralist.pipeline.records.batch_report import Report, Result


def lines(path):
    """What a report holds."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_picture_gets_a_line_at_once(tmp_path):
    """With all that is known of it and when it ended, while the report is still open."""
    path = tmp_path / "report.jsonl"
    done = Result("a.jpg", "out/a.jpg", "done", None, None, 12.5, 1, 800, 600, 1.02, 1.1, 0.001, 0.5, None)
    with Report(path) as report:
        report.add(done)
        (row,) = lines(path)
        assert datetime.fromisoformat(row.pop("time")).tzinfo is not None
        assert row == asdict(done)
        report.add(Result("b.jpg", "out/b.jpg", "copied", same_as="out/a.jpg"))
        assert [row["status"] for row in lines(path)] == ["done", "copied"]
    assert [each.name for each in tmp_path.iterdir()] == ["report.jsonl"]


def test_outputs_are_told_from_the_reports_folder(tmp_path, monkeypatch):
    """A folder that is moved takes its report along; what lies elsewhere is told by its whole path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "painted").mkdir()
    inside, outside = str(tmp_path / "painted" / "sub" / "a.jpg"), str(tmp_path / "b.jpg")
    with Report(Path("painted") / "report.jsonl") as report:
        report.add(Result("a.jpg", inside, "copied", same_as=outside))
        report.add(Result("b.jpg", outside, "copied", same_as=inside))
    rows = [(row["output"], row["same_as"]) for row in lines(tmp_path / "painted" / "report.jsonl")]
    assert rows == [("sub/a.jpg", outside), (outside, "sub/a.jpg")]


def test_the_keys_of_a_line(tmp_path):
    """Other tools rely on them."""
    wanted = (
        "input output status reason error seconds attempts width height "
        "seam_score seam_threshold style_loss content_loss same_as command"
    )
    assert [field.name for field in fields(Result)] == wanted.split()
    with Report(tmp_path / "r.jsonl") as report:
        report.add(Result("a", "b", "left"))
    assert set(lines(tmp_path / "r.jsonl")[0]) == {*wanted.split(), "time"}


def test_an_old_report_stays_until_there_is_a_new_line(tmp_path):
    """A run that is refused takes nothing away; one that paints replaces it whole."""
    path = tmp_path / "report.jsonl"
    path.write_text("old\n")
    with Report(path):
        assert path.read_text() == "old\n"
    assert path.read_text() == "old\n"
    with Report(path) as report:
        report.add(Result("a.jpg", "b.jpg", "done"))
    assert [row["input"] for row in lines(path)] == ["a.jpg"]
    assert [each.name for each in tmp_path.iterdir()] == ["report.jsonl"]


def test_odd_names_are_written(tmp_path):
    """File names of any bytes and line breaks keep to their line."""
    names = ["ä\n\u2028.jpg", "\udcff.jpg"]
    with Report(tmp_path / "r.jsonl") as report:
        for name in names:
            report.add(Result(name, "out", "skipped"))
    assert [row["input"] for row in lines(tmp_path / "r.jsonl")] == names


def test_the_summary_counts(tmp_path):
    """What there was, in words, with the time it took."""
    clock = iter([100.0, 100.0 + 22_340]).__next__
    wanted = {"done": 812, "skipped": 40, "copied": 3, "failed": 2, "left": 143}
    with Report(tmp_path / "r.jsonl", clock) as report:
        for status, number in wanted.items():
            for _ in range(number):
                report.add(Result(f"{status}.jpg", "out", status, reason="why"))
    first, *rest = report.summary().splitlines()
    assert first == "812 painted, 40 skipped, 3 copied, 2 failed, 143 left for the next run, 6 h 12 min"
    assert rest == ["  failed: failed.jpg: why"] * 2


def test_names_forge_no_line_of_the_summary(tmp_path):
    """Whatever is in them is written out, once, and the reason is not said twice for it."""
    name = "a\x1b[2J\n  failed: b.jpg"
    with Report(tmp_path / "r.jsonl", count().__next__) as report:
        report.add(Result(name, "out", "failed", str(OutputError(f"{name}: broken"))))
        assert report.summary().splitlines()[1:] == [r"  failed: a\x1b[2J\n  failed: b.jpg: broken"]
    assert [row["input"] for row in lines(tmp_path / "r.jsonl")] == [name]


def test_only_some_failures_are_listed(tmp_path):
    """The report has all of them."""
    with Report(tmp_path / "r.jsonl", count().__next__) as report:
        for number in range(25):
            report.add(Result(f"{number}.jpg", "out", "failed", "broken", "PictureError"))
        first, *rest = report.summary().splitlines()
        assert first == "25 failed, 1 s"
        assert rest[:20] == [f"  failed: {number}.jpg: broken" for number in range(20)]
        assert rest[20:] == [f"  and 5 more, see {tmp_path / 'r.jsonl'}"]
        assert len(report.as_dict()["failures"]) == 25


def test_the_summary_as_plain_values(tmp_path):
    """For scripts: every count, also of nothing, and the failures."""
    failed = Result("a.jpg", "out", "failed", "broken", "PictureError", attempts=2)
    with Report(tmp_path / "r.jsonl", count().__next__) as report:
        assert report.summary() == "nothing painted, 1 s"
        report.add(failed)
        found = json.loads(json.dumps(report.as_dict()))
    counts = {"done": 0, "skipped": 0, "copied": 0, "failed": 1, "left": 0, "unsupported": 0}
    assert found == {"report": str(tmp_path / "r.jsonl"), **counts, "seconds": 2, "failures": [asdict(failed)]}


@pytest.mark.parametrize(("status", "code"), [("done", 0), ("skipped", 0), ("copied", 0), ("left", 0), ("failed", 1)])
def test_only_failures_fail(tmp_path, status, code):
    """What is left for the next run did not go wrong."""
    with Report(tmp_path / "r.jsonl") as report:
        assert report.exit_code == 0
        report.add(Result("a.jpg", "out", status))
        report.add(Result("b.jpg", "out", "done"))
        assert report.exit_code == code


def test_a_report_that_cannot_be_written_is_refused_at_once(tmp_path):
    """Before any work: no folder, a file in its place, a folder of its name."""
    (tmp_path / "file").touch()
    (tmp_path / "r.jsonl").mkdir()
    for path, cause in (
        (tmp_path / "gone" / "r.jsonl", FileNotFoundError),
        (tmp_path / "file" / "r.jsonl", NotADirectoryError),
        (tmp_path / "r.jsonl", None),
    ):
        with pytest.raises(OutputError, check=having(cause, path=path)):
            Report(path)


def too_large(error: BaseException) -> bool:
    """Whether the limit on the size of files is the cause."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EFBIG


def test_a_full_disk_is_said(tmp_path):
    """A line that could not be written is no line that was; nothing but whole lines is left behind."""
    done = Result("a.jpg", "out", "done")
    with limited(100), Report(tmp_path / "r.jsonl") as report, pytest.raises(OutputError, check=too_large):
        report.add(done)
    assert list(tmp_path.iterdir()) == []
    with limited(600), Report(tmp_path / "r.jsonl") as report:
        report.add(done)
        with pytest.raises(OutputError, check=too_large):
            report.add(replace(done, reason="x" * 600))
    assert lines(tmp_path / "r.jsonl")[0]["input"] == "a.jpg"


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Files may have so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_report_follows_no_link(tmp_path):
    """Neither one in its place, nor one that is put there while it grows."""
    path, precious = tmp_path / "r.jsonl", tmp_path / "precious"
    precious.write_text("mine")
    path.symlink_to(precious)
    with Report(path) as report:
        report.add(Result("a.jpg", "out", "done"))
        assert not path.is_symlink()
        path.unlink()
        path.symlink_to(precious)
        report.add(Result("b.jpg", "out", "done"))
    assert precious.read_text() == "mine"


def test_threads_write_whole_lines(tmp_path):
    """Pictures end at the same time."""
    with Report(tmp_path / "r.jsonl") as report, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: report.add(Result(str(n), "x" * 5000, "failed")), range(200)))
    assert {row["input"] for row in lines(tmp_path / "r.jsonl")} == set(map(str, range(200)))
    assert report.as_dict()["failed"] == 200
