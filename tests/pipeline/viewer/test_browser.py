"""The page of a picture in a real Chromium, opened from the disk: what it shows, by mouse, touch and keys."""

import json
import os
import re

import numpy as np
import pytest
from browser import address, check_axe, chromium, needs_chromium, settled, until, visit
from pictures import painting, photograph, save
from PIL import Image

from muralist.pipeline.records.batch_report import Result
from muralist.pipeline.viewer.gallery import write_gallery
from muralist.pipeline.viewer.report import write_report

pytestmark = [pytest.mark.integration, needs_chromium]

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests here."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A picture of 1500 x 1100 px, its photograph, and its page."""
    folder = tmp_path_factory.mktemp("large # 100%")
    picture = save(folder / "large.png", painting(1100, 1500), dpi=(200, 200))
    write_report(picture, photograph=save(folder / "photo.png", photograph(550, 750)))
    return picture


@pytest.fixture(scope="module")
def page_of_painting(painted, tmp_path_factory):
    """The page of a painting that was really painted, with its record; not in the folder that other tests look into."""
    return write_report(painted.output, page=tmp_path_factory.mktemp("page") / "poster.report.html")


def show(seen, row, col):
    """Show a place at 1:1, the painting alone."""
    seen.page.evaluate("([row, col]) => loupe.show(row, col)", [row, col])
    settled(seen)


def shown_at(seen, x, y):
    """The pixel (row, column) of the picture at a point of the window."""
    return seen.page.evaluate(
        "([x, y]) => { const p = loupe.map.containerPointToLatLng([x, y]); return [p.lat, p.lng]; }", [x, y]
    )


def report_of(picture):
    """Address of a picture's page."""
    return address(picture.with_name(f"{picture.name}.report.html"))


def test_one_to_one_shows_the_pixels_of_the_file(browser, large):
    """At 1:1 every pixel of the window is that of the file, across borders of tiles; at 400 % it is 4 x 4 large."""
    pixels = np.asarray(Image.open(large))
    with visit(browser, report_of(large)) as seen:
        show(seen, 520, 505)
        top, left = (round(each) for each in shown_at(seen, 100, 60))
        shown = seen.pixels((100, 60, 640, 560))
        np.testing.assert_array_equal(shown, pixels[top : top + 560, left : left + 640])
        seen.page.evaluate("loupe.map.setView([512, 512], loupe.map.getZoom() + 2, {animate: false})")
        settled(seen)
        top, left = shown_at(seen, 100, 60)
        start = round((np.ceil(left) - left) * 4), round((np.ceil(top) - top) * 4)
        shown = seen.pixels((100 + start[0], 60 + start[1], 400, 400))
        part = pixels[int(np.ceil(top)) :, int(np.ceil(left)) :][:100, :100]
        np.testing.assert_array_equal(shown, part.repeat(4, 0).repeat(4, 1))


def test_a_dense_screen_gets_a_pixel_for_a_pixel(browser, large):
    """On a phone with two pixels to each of CSS, 1:1 shows each pixel of the file once."""
    pixels = np.asarray(Image.open(large))
    with visit(browser, report_of(large), width=390, height=844, device_scale_factor=2, has_touch=True) as seen:
        show(seen, 520, 500)
        assert seen.page.inner_text("#zoom") == "100 %"
        top, left = (round(each) for each in shown_at(seen, 60, 60))
        shown = seen.pixels((60, 60, 250, 250))
        assert shown.shape == (500, 500, 3)
        np.testing.assert_array_equal(shown, pixels[top : top + 500, left : left + 500])


def test_the_divider_by_mouse_touch_and_keys(browser, large):
    """Left of the divider is the photograph, right of it the painting, however it was moved."""
    pixels = np.asarray(Image.open(large.parent / "photo.png").resize((1500, 1100), Image.Resampling.LANCZOS))
    with visit(browser, report_of(large), has_touch=True) as seen:
        divider = seen.page.locator("#divider")

        def share():
            return int(divider.get_attribute("aria-valuenow"))

        assert share() == 50
        show(seen, 520, 505)
        seen.page.evaluate("loupe.setSplit(0.5)")
        box = divider.bounding_box()
        seen.page.mouse.move(box["x"] + 22, 300)
        seen.page.mouse.down()
        seen.page.mouse.move(700, 320, steps=4)
        seen.page.mouse.up()
        assert share() == round(100 * 700 / 880)
        settled(seen)
        top, left = (round(each) for each in shown_at(seen, 100, 60))
        there = seen.pixels((100, 60, 500, 300)).astype(float)
        assert abs(there - pixels[top : top + 300, left : left + 500]).mean() < 4  # a JPEG of the photograph
        divider.focus()
        seen.page.keyboard.press("ArrowLeft")
        assert share() == round(100 * 700 / 880) - 2
        seen.page.keyboard.press("ArrowUp")
        seen.page.keyboard.press("ArrowUp")
        seen.page.keyboard.press("ArrowDown")
        assert share() == round(100 * 700 / 880)
        seen.page.keyboard.press("Home")
        assert share() == 0
        touch = seen.page.context.new_cdp_session(seen.page)
        for kind, x in (("touchStart", 5), ("touchMove", 120), ("touchMove", 264)):
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": 500}]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert share() == 30
        seen.page.keyboard.press("b")
        assert share() == 100
        seen.page.keyboard.press("b")
        assert share() == 0


def test_fingers_zoom_and_move_on_a_phone(browser, large):
    """Two fingers that part zoom in around their middle, two that close zoom out, one moves; the page itself stays."""
    phone = {"width": 390, "height": 844, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
    with visit(browser, report_of(large), **phone) as seen:
        touch = seen.page.context.new_cdp_session(seen.page)

        def move(*steps):
            """Put fingers down at the first places, move them over the others, and lift them."""
            kinds = ["touchStart", *(["touchMove"] * (len(steps) - 1)), "touchEnd"]
            for kind, places in zip(kinds, [*steps, []], strict=True):
                points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
                touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
                seen.page.wait_for_timeout(30)
            settled(seen)

        def zoom():
            return seen.page.evaluate("loupe.map.getZoom()")

        before, place = zoom(), shown_at(seen, 120, 250)
        move(*([(120 - by, 250), (120 + by, 250)] for by in (20, 25, 30, 35, 40)))
        until(seen, f"Math.abs(loupe.map.getZoom() - {before} - 1) < 0.02")
        np.testing.assert_allclose(shown_at(seen, 120, 250), place, atol=12)
        assert seen.page.evaluate("visualViewport.scale") == 1
        before, place = zoom(), shown_at(seen, 120, 250)
        move(*([(120 + by, 250)] for by in (0, -10, -25, -40, -50)))
        until(seen, f"loupe.map.containerPointToLatLng([70, 250]).lng > {place[1] - 30}")
        assert zoom() == before
        move(*([(120 - by, 250 - by), (120 + by, 250 + by)] for by in (40, 35, 30, 25, 20)))
        until(seen, f"Math.abs(loupe.map.getZoom() - {before} + 1) < 0.02")
        assert seen.page.evaluate("[visualViewport.scale, scrollY]") == [1, 0]


def test_keys_and_wheel_zoom_and_move(browser, large):
    """Plus, minus, arrows, 0 and the wheel do what they say, and the ruler tells millimeters on paper."""
    with visit(browser, report_of(large)) as seen:
        page = seen.page
        fit = page.evaluate("loupe.map.getZoom()")
        page.locator("#map").focus()
        page.keyboard.press("1")
        until(seen, "document.getElementById('zoom').textContent === '100 %'")
        before = page.evaluate("loupe.map.getCenter().lng")
        page.keyboard.press("ArrowRight")
        until(seen, f"loupe.map.getCenter().lng > {before} + 70")
        page.keyboard.press("+")
        until(seen, "document.getElementById('zoom').textContent === '200 %'")
        until(seen, "document.getElementById('scale').textContent === '5 mm on paper'")
        assert page.evaluate("getComputedStyle(document.getElementById('scale')).backgroundColor") != "rgba(0, 0, 0, 0)"
        width = page.evaluate("document.querySelector('#scale span').getBoundingClientRect().width")
        assert width == pytest.approx(5 / 25.4 * 200 * 2, abs=1)
        page.mouse.move(300, 300)
        page.mouse.wheel(0, 400)
        until(seen, "loupe.map.getZoom() < 1")
        page.wait_for_timeout(500)  # until the wheel has come to rest
        page.keyboard.press("0")
        until(seen, f"Math.abs(loupe.map.getZoom() - {fit}) < 0.001")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_serious_fault_for_those_who_do_not_see_well(browser, page_of_painting, width, scheme):
    """Axe finds nothing serious on the page of a painting, and nothing is wider than a phone."""
    with visit(browser, address(page_of_painting), width=width, color_scheme=scheme) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        for details in seen.page.locator("summary").all():
            details.click()
        check_axe(seen)
        ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 384) == (scheme == "dark")


def test_a_painting_tells_how_it_was_made(browser, page_of_painting, painted):
    """Seams and parts lead to 1:1, tiles are drawn on demand, losses are curves, and the command can be copied."""
    with visit(browser, address(page_of_painting)) as seen:
        page = seen.page
        names = page.locator("#places button").all_inner_texts()
        assert [name.split("\n")[0] for name in names] == [
            *("Seam 1", "Seam 2", "Seam 3", "Seam 4"),
            *("Middle", "Finest detail", "Calmest area"),
        ]
        page.keyboard.press("s")
        assert page.inner_text("#zoom") == "100 %"
        assert page.locator("#places button").nth(0).get_attribute("aria-pressed") == "true"
        lines = page.locator("#map path").count()
        page.keyboard.press("g")
        assert page.locator("#map path").count() == lines + 2
        assert "Losses over" in page.locator("#chart svg[role=img]").get_attribute("aria-label")
        assert page.locator("#chart path.total").count() == 2  # and its sample in the legend
        shown = page.locator("#levels + div tbody tr").all_inner_texts()
        assert [text.split("\t")[0] for text in shown] == ["64 x 48", "128 x 96"]
        assert page.locator("dl.pairs").nth(0).locator("dt").all_inner_texts()[:3] == [
            "style_layers",
            "content_layers",
            "base_size",
        ]
        page.get_by_role("button", name="Copy the command").click()
        page.get_by_role("button", name="Copied").wait_for()
        command = page.locator("[data-copy]").get_attribute("data-copy")
        assert command.startswith(f"muralist render {painted.content} -s {painted.style} -o ")


def test_a_single_file_needs_nothing_beside_it(browser, painted, tmp_path):
    """A page with everything in it shows the painting from an empty folder."""
    page = write_report(painted.output, page=tmp_path / "alone.html", single_file=True)
    assert os.listdir(tmp_path) == ["alone.html"]
    pixels = np.asarray(Image.open(painted.output))
    with visit(browser, address(page)) as seen:
        show(seen, 48, 64)
        top, left = shown_at(seen, 0, 0)
        np.testing.assert_array_equal(seen.pixels((round(-left), round(-top), 128, 96)), pixels)


def test_a_page_without_its_folder_says_so(browser, painted, tmp_path):
    """Whoever copies the page alone is told what is missing."""
    page = write_report(painted.output, page=tmp_path / "a.report.html")
    with visit(browser, address(page)) as seen:
        settled(seen)
        assert seen.page.locator("#missing").count() == 0
    (tmp_path / "b").mkdir()
    with visit(browser, address(page.rename(tmp_path / "b" / "a.report.html"))) as seen:
        assert "the folder a.report," in seen.page.locator("#missing").inner_text()
        seen.faults.clear()  # files that are not there


def test_names_from_strangers_are_text(browser, tmp_path):
    """A picture whose name is markup, an error in the batch's report, and what a record says, are shown as they are."""
    picture = save(tmp_path / f"{EVIL}.png", painting(80, 112))
    page = write_report(picture)
    with visit(browser, address(page)) as seen:
        assert seen.page.inner_text("h1") == f"{EVIL}.png"
        assert seen.page.locator("img[onerror]").count() == 0
    rows = [
        Result(EVIL, str(picture), "done", seam_score=1.5, seam_threshold=1.2, width=112, height=80, command=EVIL),
        Result("</script><script>alert(2)</script>", "", "failed", f"{EVIL}: broken", "PictureError"),
    ]
    lines = [json.dumps({**vars(row), "time": "2026-11-28T03:00:00+00:00"}) for row in rows]
    (tmp_path / "report.jsonl").write_text("\n".join(lines))
    gallery, notices = write_gallery(tmp_path / "report.jsonl")
    assert notices == []
    with visit(browser, address(gallery)) as seen:
        assert seen.page.locator(".reason").inner_text() == f"{EVIL}: broken"
        assert seen.page.locator("img[onerror]").count() == 0
        seen.page.get_by_role("link", name=f"{EVIL}.png").click()
        seen.page.wait_for_selector("#map img.leaflet-tile-loaded")
        assert seen.page.inner_text("h1") == f"{EVIL}.png"
