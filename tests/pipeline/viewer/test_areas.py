"""Where regions and other masks lie on a painting: found by the record's hashes, outlined, named, shown and hidden."""

import json
from dataclasses import replace

import numpy as np
import pytest
from browser import address, check_axe, chromium, needs_chromium, visit
from pictures import TINY, painting, photograph, save
from rendering import render

from muralist.pipeline.pictures.images import crop_to_aspect
from muralist.pipeline.pictures.limits import ReadLimits
from muralist.pipeline.pictures.masks import read_mask
from muralist.pipeline.viewer.areas import find_areas
from muralist.pipeline.viewer.record import MaskInput, Size, read_record
from muralist.pipeline.viewer.register import Found
from muralist.pipeline.viewer.report import write_report

pytestmark = pytest.mark.integration

EVIL = "<img src=x onerror=alert(1)>.png"
WHOLE = Found(None, shape=(96, 128), crop=lambda picture: picture)


def box(top, bottom, left, right):
    """A mask that means a box."""
    mask = np.zeros((96, 128), np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


@pytest.fixture(scope="module")
def regional(scheduler, tmp_path_factory):
    """A painting in three styles, a part of it weaker, and another one not painted."""
    folder = tmp_path_factory.mktemp("regional")
    labels = np.zeros((96, 128, 3), np.uint8)
    labels[64:, 64:] = (255, 0, 0)
    frame = box(0, 96, 0, 56) - box(40, 56, 16, 40)  # with a hole
    masks = {
        "left": frame,
        "labels": labels,
        "spot": box(30, 50, 70, 90),
        "keep": box(8, 24, 100, 120),
        "map": 255 - box(60, 96, 0, 20),
    }
    pictures = {"photo": photograph(), "style": painting(), EVIL[:-4]: painting(seed=7), **masks}
    for name, pixels in pictures.items():
        save(folder / f"{name}.png", pixels)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = {
            "regions": [f"left.png={EVIL},strength=0.5", "labels.png#ff0000=style.png"],
            "strength_map": "map.png",
            "protect": ["spot.png", "keep.png"],
        }
        render("photo.png", "style.png", folder / "out.png", **TINY | {"scheduler": scheduler} | settings)
    return folder / "out.png"


def bounds(area):
    """First and last row and column of an area's outline."""
    points = np.concatenate(area.rings)
    return [*points.min(0), *points.max(0)]


def areas_of(painting, record=None, photograph=WHOLE):
    """The areas of a painting, and what there is to say."""
    return find_areas(record or read_record(painting), painting, photograph, ReadLimits())


def test_a_path_may_be_spelled_in_any_way(regional, monkeypatch):
    """A mask that was named with `./` is found, with and without a color."""
    monkeypatch.chdir(regional.parent)
    record = read_record(regional)
    regions = [f"./left.png={EVIL},strength=0.5", ".//labels.png#ff0000=style.png"]
    masks = [
        replaced(mask, {"left.png": "./left.png", "labels.png#ff0000": ".//labels.png#ff0000"})
        for mask in record.inputs.masks
    ]
    record = record.model_copy(
        update={
            "settings": {**record.settings, "regions": regions, "strength_map": "./map.png"},
            "inputs": record.inputs.model_copy(update={"masks": masks}),
        }
    )
    areas, notices = areas_of(regional, record)
    assert notices == ()
    assert len(areas) == 5


def replaced(mask, names):
    """A mask under another name."""
    return mask.model_copy(update={"name": names.get(mask.name, mask.name)})


def test_every_mask_is_an_area(regional):
    """Regions are where their masks are, named after their styles; so are a strength map and what is protected."""
    areas, notices = areas_of(regional)
    assert notices == ()
    assert [(area.name, area.note) for area in areas] == [
        (EVIL, "left.png, 41% of the painting, strength=0.5"),
        ("style.png", "labels.png#ff0000, 17% of the painting"),
        ("half the strength or less", "map.png, 6% of the painting"),
        ("stays a photograph", "spot.png, 3% of the painting"),
        ("stays a photograph", "keep.png, 3% of the painting"),
    ]
    wanted = [[0, 0, 96, 56], [64, 64, 96, 128], [60, 0, 96, 20], [30, 70, 50, 90], [8, 100, 24, 120]]
    for area, bound in zip(areas, wanted, strict=True):
        np.testing.assert_allclose(bounds(area), bound, atol=1)
    assert [len(area.rings) for area in areas] == [2, 1, 1, 1, 1]
    row, col = areas[0].heart
    assert 0 < col < 56
    assert not (40 <= row < 56 and 16 <= col < 40)
    assert len({area.color for area in areas}) == 5


def test_an_area_lies_where_its_crop_was_printed(regional):
    """Of a crop on a larger sheet, the outline is that of the crop, moved to its place."""
    record = read_record(regional).model_copy(update={"width": 96, "sheet": Size(height=116, width=136)})
    square = replace(WHOLE, crop=lambda picture: crop_to_aspect(picture, 1.0))
    areas, _ = areas_of(regional, record, square)
    np.testing.assert_allclose(bounds(areas[1]), [74, 68, 106, 116], atol=1)


def test_faces_are_an_area(regional):
    """Faces that were found are where the mask says that was filed beside the painting."""
    record = read_record(regional)
    mask = record.inputs.masks[-1]
    record.settings["protect"] = ["faces", "spot.png"]
    areas, _ = areas_of(regional, record)
    assert [(area.name, area.note) for area in areas[-2:]] == [
        ("stays a photograph", "spot.png, 3% of the painting"),
        ("stays a photograph", "keep.png, 3% of the painting"),
    ]
    record.inputs.masks[record.inputs.masks.index(mask)] = mask.model_copy(update={"sha256": "0"})
    assert areas_of(regional, record)[1] == (
        "Areas not shown, since their masks are missing or were changed: keep.png.",
    )


def test_one_protected_mask_may_be_recorded_as_a_text(regional):
    """Version 0.1.0 knew one mask."""
    record = read_record(regional)
    record.settings["protect"] = "spot.png"
    areas, notices = areas_of(regional, record)
    assert (areas[-1].note, notices) == ("spot.png, 3% of the painting", ())


def test_a_mask_that_means_little_has_no_outline(regional, tmp_path):
    """A mask that is nowhere half is told of, but not drawn; specks are left out."""
    faint = np.full((96, 128), 60, np.uint8)
    faint[10, 10] = 255
    name = str(save(tmp_path / "faint.png", faint))
    record = read_record(regional)
    mask = MaskInput(path=name, sha256=read_mask(name).sha256, height=96, width=128, name=name)
    record.settings["regions"], record.inputs.masks = [f"{name}=style.png"], [mask]
    ((area,), _) = areas_of(regional, record)
    assert (area.rings, area.heart) == ([], None)
    assert area.note == f"{name}, 24% of the painting, nowhere as much as half"


@pytest.fixture
def own(regional, tmp_path):
    """A copy of the painting and all that it was made from, for this test alone."""
    for path in regional.parent.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / regional.name


def test_what_is_gone_or_changed_is_told(own, monkeypatch):
    """Masks are found beside the painting; one that changed and one that is gone are named, not drawn."""
    monkeypatch.chdir("/")
    assert len(areas_of(own)[0]) == 5
    save(own.parent / "left.png", box(0, 10, 0, 10))
    (own.parent / "labels.png").unlink()
    areas, notices = areas_of(own)
    assert [area.name for area in areas] == ["half the strength or less", "stays a photograph", "stays a photograph"]
    assert notices == ("Areas not shown, since their masks are missing or were changed: left.png, labels.png#ff0000.",)
    (own.parent / "photo.png").unlink()
    page = write_report(own).read_text()
    assert "The regions are not shown: they lie on the photograph, which is not shown either." in page


@pytest.mark.parametrize("regions", [["left.png"], [7], 7, {"a": 1}])
def test_a_record_that_says_nothing_of_regions(own, regions):
    """Settings that are damaged cost the areas, not the page."""
    path = own.with_name("out.png.json")
    record = json.loads(path.read_text())
    record["settings"]["regions"] = regions
    path.write_text(json.dumps(record))
    page = write_report(own).read_text()
    assert "The regions are not shown: the sidecar&#39;s settings do not describe them" in page


@needs_chromium
def test_areas_in_a_browser(regional):
    """A button and a key show and hide the areas; names are text; it works in dark mode on a phone."""
    page = write_report(regional, overwrite=True)
    colors = [area.color for area in areas_of(regional)[0]]
    with chromium() as browser, visit(browser, address(page), width=390, color_scheme="dark") as seen:
        page = seen.page
        button = page.get_by_role("button", name="Regions")
        assert button.get_attribute("aria-pressed") == "false"
        before = inside(seen)
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        assert page.locator(".leaflet-tooltip.area").all_inner_texts() == [
            *(EVIL, "style.png", "half the strength or less", "stays a photograph", "stays a photograph")
        ]
        assert page.locator("img[onerror]").count() == 0
        tint = np.array([int(colors[1][at : at + 2], 16) for at in (1, 3, 5)])
        np.testing.assert_allclose(inside(seen), 0.75 * before + 0.25 * tint, atol=2)
        assert page.locator(".areas li").all_inner_texts()[1] == "style.png\nlabels.png#ff0000, 17% of the painting"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        check_axe(seen)
        page.keyboard.press("r")
        assert button.get_attribute("aria-pressed") == "false"
        np.testing.assert_array_equal(inside(seen), before)


def inside(seen):
    """The mean color of some pixels of the second region, right of the divider."""
    seen.page.evaluate("loupe.setSplit(0)")
    seen.page.wait_for_timeout(300)
    x, y = seen.page.evaluate("(p => [p.x, p.y])(loupe.map.latLngToContainerPoint([70, 70]))")
    return seen.pixels((round(x), round(y), 8, 8)).astype(float).mean((0, 1))
