"""Two paintings under one loupe: what the page shows, and what is refused."""

import json
import re

import pytest
from browser import chromium, needs_chromium, visit
from click.testing import CliRunner
from pictures import painting, save

from muralist.cli import main
from muralist.pipeline.errors import PictureError
from muralist.pipeline.viewer.compare import compared, write_comparison


@pytest.fixture
def two(painted, tmp_path):
    """A painting, and a larger one of the same name that was made with other settings."""
    paths = [tmp_path / folder / "poster.png" for folder in ("first", "second")]
    record = painted.sidecar
    for path, side, strength in zip(paths, (96, 192), (0.5, 0.8), strict=True):
        path.parent.mkdir()
        save(path, painting(side, side * 4 // 3))
        facts = {"height": side, "width": side * 4 // 3, "tile_borders": None, "sheet": None}
        facts["settings"] = record["settings"] | {"strength": strength}
        path.with_name("poster.png.json").write_text(json.dumps(record | facts))
    return paths


def rows_of(page):
    """What differs, as the page tells it."""
    found = re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td></tr>', page.read_text())
    return {name: (left, right) for name, left, right in found}


def test_what_differs_is_told(two, tmp_path):
    """Settings and facts that are not the same are rows; those that are, are not."""
    page = write_comparison(*two, tmp_path / "page.html")
    assert rows_of(page) == {"size": ("128 x 96 px", "256 x 192 px"), "strength": ("0.5", "0.8")}
    assert "<h1>first/poster.png | second/poster.png</h1>" in page.read_text()


def test_losses_are_named_as_elsewhere(two, tmp_path):
    """TV is an abbreviation."""
    sidecar = two[1].with_name("poster.png.json")
    record = json.loads(sidecar.read_text())
    record["levels"][-1]["losses_last"] |= {"tv": 5.0, "style": 6.0}
    sidecar.write_text(json.dumps(record))
    rows = rows_of(write_comparison(*two, tmp_path / "page.html"))
    assert (rows["TV loss"][1], rows["style loss"][1]) == ("5", "6")


def test_a_picture_without_a_record_is_shown(two, tmp_path):
    """Where one has no record, that is said, and nothing is compared; a page for a moment goes with it."""
    two[1].with_name("poster.png.json").unlink()
    with compared(*two) as page:
        assert "poster.png has no sidecar." in page.read_text()
        assert rows_of(page) == {}
    assert not page.exists()


def test_a_painting_differs_in_nothing_from_itself(two, tmp_path):
    """The same painting twice is shown, and nothing is told to differ."""
    page = write_comparison(two[0], two[0], tmp_path / "page.html")
    assert rows_of(page) == {}
    assert "Nothing that the records tell." in page.read_text()


def test_pictures_of_two_shapes_are_refused(two, tmp_path):
    """What cannot lie over each other is refused, with both sizes."""
    save(two[0], painting(100, 200))
    with pytest.raises(PictureError, match=r"200 x 100 px.*256 x 192 px"):
        write_comparison(*two, tmp_path / "page.html")


@needs_chromium
def test_the_command_and_its_page(two, tmp_path):
    """`muralist compare` keeps a page where it is told to; it has a divider that is named for both pictures."""
    words = ["compare", *map(str, two), "-o", str(tmp_path / "page.html"), "--no-browser"]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.stdout.strip()) == (0, (tmp_path / "page.html").as_uri())
    assert "exists already; use --overwrite" in CliRunner().invoke(main, words).output
    with chromium() as browser, visit(browser, done.stdout.strip(), width=390) as seen:
        name = seen.page.locator("#divider").get_attribute("aria-label")
        assert name == "Divider between first/poster.png and second/poster.png"
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
