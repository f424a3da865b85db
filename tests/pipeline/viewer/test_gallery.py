"""The page of a batch as a file: what it lists, and what is refused."""

import json
import re

import pytest
from click.testing import CliRunner
from pictures import painting, save

from muralist.cli import main
from muralist.pipeline.errors import OutputError, PictureError
from muralist.pipeline.records.report import Result
from muralist.pipeline.viewer.gallery import write_gallery
from muralist.pipeline.viewer.report import report_path, write_report


def write(folder, *rows):
    """A batch's report with these lines."""
    lines = [json.dumps({**vars(row), "time": f"2026-11-28T03:0{n}:00+00:00"}) for n, row in enumerate(rows)]
    (folder / "report.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder / "report.jsonl"


def rows_of(page):
    """What a page hands to its script."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text())[1])["rows"]


def test_every_picture_is_listed_with_its_page(tmp_path):
    """Lines of the report, in order, with links relative to the page to pages and thumbnails that are there."""
    (tmp_path / "a b").mkdir()
    first = save(tmp_path / "a b" / "100%.png", painting())
    write_report(first)
    done = Result("photo.jpg", str(first), "done", seconds=60, width=112, height=80, seam_score=2, seam_threshold=1.5)
    failed = Result("bad.jpg", str(tmp_path / "bad.jpg"), "failed", "broken", command="muralist render bad.jpg")
    page, notices = write_gallery(write(tmp_path, done, failed))
    rows = rows_of(page)
    assert notices == []
    assert [row["name"] for row in rows] == ["a b/100%.png", "bad.jpg"]
    assert rows[0]["page"] == "a%20b/100%25.report.html"
    assert re.fullmatch(r"a%20b/100%25\.report/[0-9a-f]{12}/thumbnail\.jpg", rows[0]["thumbnail"])
    assert rows[1] == {
        **{"name": "bad.jpg", "input": "bad.jpg", "status": "failed", "reason": "broken", "seconds": 0.0},
        "command": "muralist render bad.jpg",
    }
    summary = re.findall(r"<dt>(.*)</dt><dd>(.*)</dd>", page.read_text())
    assert summary == [
        *(("painted", "1"), ("failed", "1"), ("from first to last", "2 min")),
        *(("for a picture, the median", "1 min"), ("megapixels", "0.0"), ("with visible seams", "1")),
    ]


def test_pages_that_are_missing_are_made(tmp_path):
    """On demand a page is written for every painting without one, or one that is older; what cannot be is told."""
    old, new = (save(tmp_path / f"{name}.png", painting()) for name in ("old", "new"))
    write_report(new)
    before = report_path(new).stat().st_mtime_ns
    gone = str(tmp_path / "gone.png")
    rows = [Result("x", str(path), "skipped") for path in (old, new, gone)]
    page, notices = write_gallery(write(tmp_path, *rows), pages=True)
    assert [bool(row.get("page")) for row in rows_of(page)] == [True, True, False]
    assert report_path(new).stat().st_mtime_ns == before
    assert notices == [f"no page: {gone}: there is no such file; check the path"]


@pytest.mark.parametrize("line", ["7", "{", '{"input": "a"}', '{"input": "a", "output": "b", "status": "eaten"}'])
def test_a_line_that_makes_no_sense_is_named(tmp_path, line):
    """A report that somebody else wrote is refused by the line."""
    report = write(tmp_path, Result("a", "b", "done"))
    report.write_text(f"{report.read_text()}{line}\n")
    with pytest.raises(PictureError, match=r"report\.jsonl:2: not a line of a batch's report; repair or remove it"):
        write_gallery(report)


def test_somebody_elses_page_stays(tmp_path):
    """A report.html that muralist did not write is not replaced; one of ours is."""
    report = write(tmp_path, Result("a", "b", "left"))
    write_gallery(report)
    write_gallery(report)
    (tmp_path / "report.html").write_text("<h1>My thesis</h1>")
    with pytest.raises(OutputError, match=r"report\.html: this is not a page of muralist; move it away"):
        write_gallery(report)


def test_the_command_takes_a_folder(tmp_path):
    """`muralist report FOLDER` writes the batch's page; a folder without a report, and options for one picture, are
    refused.
    """
    missing = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert (missing.exit_code, "report.jsonl: cannot be read (No such file" in missing.output) == (1, True)
    write(tmp_path, Result("a", str(tmp_path / "b.png"), "done"))
    done = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'report.html'}\n")
    assert done.stderr == f"muralist: no page: {tmp_path / 'b.png'}: there is no such file; check the path\n"
    wrong = CliRunner().invoke(main, ["report", str(tmp_path), "--single-file"])
    assert (wrong.exit_code, "is for the page of one picture" in wrong.output) == (2, True)
