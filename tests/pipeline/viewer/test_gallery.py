"""The page of a batch: what it lists, what is refused, and what a real Chromium shows of ten thousand pictures."""

import json
import os
import re

import pytest
from browser import address, check_axe, chromium, needs_chromium, visit
from click.testing import CliRunner
from facts import having
from pictures import painting, save

from muralist.cli import main
from muralist.pipeline.errors import OutputError, PictureError
from muralist.pipeline.output_names import report_path
from muralist.pipeline.records.batch_report import Report, Result
from muralist.pipeline.viewer.gallery import write_gallery
from muralist.pipeline.viewer.report import write_report

LINKS = ("page", "thumbnail")


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
    assert rows[0]["page"] == "a%20b/100%25.png.report.html"
    assert re.fullmatch(r"a%20b/100%25\.png\.report/[0-9a-f]{12}/thumbnail\.jpg", rows[0]["thumbnail"])
    assert rows[1] == {
        **{"name": "bad.jpg", "input": "bad.jpg", "status": "failed", "reason": "broken", "seconds": 0.0},
        "command": "muralist render bad.jpg",
    }
    summary = re.findall(r"<dt>(.*)</dt><dd>(.*)</dd>", page.read_text())
    assert summary == [
        *(("painted", "1"), ("failed", "1"), ("from first to last", "2 min")),
        *(("median per picture", "1 min"), ("megapixels", "0.0"), ("with visible seams", "1")),
    ]


def test_names_that_are_not_utf_8(old_folder):
    """They are listed as they are spelled out elsewhere, and led to."""
    painted = old_folder / os.fsdecode(b"p\xe9.png")
    save(old_folder / "p.png", painting()).rename(painted)
    done = Result(os.fsdecode(b"a\xe9.jpg"), str(painted), "done", width=112, height=80)
    page, notices = write_gallery(write(old_folder, done), pages=True)
    (row,) = rows_of(page)
    assert (row["name"], row["input"], notices) == (r"p\udce9.png", r"a\udce9.jpg", [])
    assert row["page"] == "p%E9.png.report.html"


def test_a_line_without_a_time_is_not_taken_for_another(tmp_path):
    """How long the night was follows from lines that tell when they came, each with its own seconds."""
    long, short = (Result(f"{name}.jpg", f"{name}.png", "done", seconds=s) for name, s in (("a", 7200), ("b", 60)))
    report = write(tmp_path, long, short)
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    lines[0].pop("time")
    report.write_text("".join(json.dumps(line) + "\n" for line in lines))
    page, _ = write_gallery(report)
    assert dict(re.findall(r"<dt>(.*)</dt><dd>(.*)</dd>", page.read_text()))["from first to last"] == "1 min"


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


def test_a_picture_is_not_led_to_the_page_of_another(tmp_path):
    """`a.png` and `a.tif` have pages of their own."""
    for name in ("a.png", "a.tif"):
        save(tmp_path / name, painting())
    write_report(tmp_path / "a.tif")
    page, _ = write_gallery(write(tmp_path, Result("x", "a.png", "done"), Result("y", "a.tif", "done")))
    assert [row.get("page") for row in rows_of(page)] == [None, "a.tif.report.html"]


def test_a_folder_that_was_moved_has_its_pages(tmp_path):
    """Paintings are found beside the report wherever it is now, and no page is written elsewhere, whatever it names."""
    before, elsewhere = tmp_path / "before", tmp_path / "else"
    for folder in (before / "sub", elsewhere):
        folder.mkdir(parents=True)
    painted, strange = (save(folder, painting()) for folder in (before / "sub" / "a.png", elsewhere / "where.png"))
    with Report(before / "report.jsonl") as report:
        report.add(Result("a", str(painted), "done"))
        report.add(Result("b", str(strange), "done"))
        report.add(Result("c", "../else/where.png", "done"))
    before.rename(now := tmp_path / "now")
    page, notices = write_gallery(now / "report.jsonl", pages=True)
    assert [row.get("page") for row in rows_of(page)] == ["sub/a.png.report.html", None, None]
    wanted = "where.png: not in {now}, wanted a painting in the folder of the report"
    assert [wanted.format(now=now) in notice for notice in notices] == [True, True]
    assert sorted(os.listdir(tmp_path)) == ["else", "now"]
    assert os.listdir(elsewhere) == ["where.png"]
    now.rename(tmp_path / "later")
    assert all((tmp_path / "later" / rows_of(tmp_path / "later" / "report.html")[0][link]).exists() for link in LINKS)


@pytest.mark.parametrize(
    "line", ["7", "{", "[" * 100_000, '{"input": "a"}', '{"input": "a", "output": "b", "status": "eaten"}']
)
def test_a_line_that_makes_no_sense_is_named(tmp_path, line):
    """A report that somebody else wrote is refused by the line."""
    report = write(tmp_path, Result("a", "b", "done"))
    report.write_text(f"{report.read_text()}{line}\n")
    with pytest.raises(PictureError, match=r"report\.jsonl:2: "):
        write_gallery(report)


def test_somebody_elses_page_stays(tmp_path):
    """A report.html that muralist did not write is not replaced; one of ours is."""
    report = write(tmp_path, Result("a", "b", "left"))
    write_gallery(report)
    write_gallery(report)
    (tmp_path / "report.html").write_text("<h1>My thesis</h1>")
    with pytest.raises(OutputError, match=r"report\.html: .*muralist"):
        write_gallery(report)


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_a_page_that_cannot_be_read_stays(ordinary_user):
    """Nobody can say whose it is."""
    report = write(ordinary_user, Result("a", "b", "left"))
    (ordinary_user / "report.html").touch(0)
    with pytest.raises(OutputError, check=having(path=ordinary_user / "report.html")):
        write_gallery(report)


def test_an_output_whose_name_is_too_long_has_no_page(tmp_path):
    """The line of a report that names a file that no file system can hold is listed like any other."""
    page, _ = write_gallery(write(tmp_path, Result("a.jpg", "x" * 300 + ".png", "failed", "name too long")))
    assert [row.keys() & LINKS for row in rows_of(page)] == [set()]


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
    assert (wrong.exit_code, "single_file applies" in wrong.output) == (2, True)


# -------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests here."""
    with chromium() as found:
        yield found


def many(folder, count):
    """A batch's report of so many pictures."""
    for number in range(count):
        name, facts = f"{number:05}.jpg", {"seam_score": 1 + number % 10 / 10, "seam_threshold": 1.5, "seconds": number}
        failed = {"status": "failed", "reason": "damaged"} if number % 25 == 7 else facts
        row = Result(
            f"photos/{name}", str(folder / "out" / name), "done", width=60, height=40, command=f"muralist {number}"
        )
        yield json.dumps({**vars(row), **failed, "time": "2026-11-28T03:00:00+00:00"})


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """The page of a batch of ten thousand."""
    report = tmp_path_factory.mktemp("night") / "report.jsonl"
    report.write_text("\n".join(many(report.parent, 10_000)))
    return write_gallery(report)[0]


@needs_chromium
def test_ten_thousand_pictures_open_at_once(browser, night):
    """The page of ten thousand pictures is there within two seconds, failures first, and is searched and sorted."""
    with visit(browser, address(night)) as seen:
        page = seen.page
        assert page.evaluate("performance.getEntriesByType('navigation')[0].loadEventStart") < 2000
        assert page.locator("#pictures li").count() == 60
        assert page.locator("#pictures li.failed").count() == 60
        assert page.inner_text("#page") == "Page 1 of 167"
        page.locator("#after").click()
        assert page.inner_text("#page") == "Page 2 of 167"
        page.select_option("#sort", "seconds")
        assert page.locator("#pictures b").first.inner_text() == "out/09999.jpg"
        page.fill("#search", "0123")
        assert page.inner_text("#found") == "11 of 10000 pictures"
        page.select_option("#status", "failed")
        assert page.locator("#pictures b").all_inner_texts() == ["out/01232.jpg"]
        assert page.locator("#pictures [data-copy]").get_attribute("data-copy") == "muralist 1232"
        page.get_by_role("button", name="Copy the command for out/01232.jpg").click()
        page.get_by_text("Copied").wait_for()


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_pictures_are_not_cropped(browser, tmp_path, width):
    """A tall picture is seen as a whole, however wide its frame is."""
    write_report(save(tmp_path / "a.png", painting()[:, :30]))
    page, _ = write_gallery(write(tmp_path, Result("x", "a.png", "done", width=30, height=80)))
    with visit(browser, address(page), width=width) as seen:
        frame, image = (seen.page.locator(place).bounding_box() for place in (".frame", ".frame img"))
        assert image["y"] >= frame["y"] - 1
        assert image["y"] + image["height"] <= frame["y"] + frame["height"] + 1


@needs_chromium
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_of_a_batch_has_no_serious_fault(browser, night, width, scheme):
    """Axe finds nothing serious on the page of a batch, and nothing is wider than a phone."""
    with visit(browser, address(night), width=width, color_scheme=scheme) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        check_axe(seen)
