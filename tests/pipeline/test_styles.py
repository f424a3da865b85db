"""One style, several, or a folder: which pictures are read, what share and scale each has, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
from facts import having
from pictures import painting, photograph, save

from muralist.model.architecture import architecture
from muralist.pipeline.errors import PictureError, SettingsError
from muralist.pipeline.pictures.images import resize
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.pictures.strokes import stroke_width
from muralist.pipeline.presets import load_settings
from muralist.pipeline.region_specs import parse_region
from muralist.pipeline.render_plan import plan_render
from muralist.pipeline.settings import Settings
from muralist.pipeline.styles import Style, read_region_styles, read_styles, style_files

NETWORK = architecture("compact")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A photograph, two style pictures and a folder of three, with other things in it."""
    save(tmp_path / "photo.png", photograph())
    for number in (1, 2):
        save(tmp_path / f"style{number}.png", painting(80, 112, seed=number))
    several = tmp_path / "several"
    (several / "below.png").mkdir(parents=True)
    save(several / "below.png" / "deeper.png", painting())
    for name in ("c.png", "a.JPG", "b.tif"):
        save(several / name, painting(seed=ord(name[0])), format={"G": "JPEG", "f": "TIFF", "g": "PNG"}[name[-1]])
    (several / "notes.txt").write_text("not a picture")
    (several / "._c.png").write_bytes(b"what macOS leaves on other disks")
    return tmp_path


def read(folder: Path, *names: str, **settings: object) -> tuple[Style, ...]:
    """Read styles by their names in the folder."""
    photo = read_picture(folder / "photo.png")
    return read_styles(style_files([folder / name for name in names]), photo, Settings(**settings), NETWORK)


def told(styles: tuple[Style, ...]) -> list[tuple[str, float, float]]:
    """Name, share and scale of every style picture."""
    return [(style.picture.path.name, style.share, style.scale) for style in styles]


def test_one_style_is_all_of_it(folder):
    """A single style has a share of 1 whatever blend was given, and the scale of the settings."""
    assert told(read(folder, "style1.png")) == [("style1.png", 1, 1)]
    assert told(read(folder, "style1.png", style_blend=[7], style_scale=0.5)) == [("style1.png", 1, 0.5)]


def test_shares_are_normalized_and_equal_if_not_given(folder):
    """Shares sum to one; without `style_blend` all styles count the same."""
    assert told(read(folder, "style1.png", "style2.png")) == [("style1.png", 0.5, 1), ("style2.png", 0.5, 1)]
    blended = read(folder, "style1.png", "style2.png", style_blend="3,1", style_scale="1,2")
    assert told(blended) == [("style1.png", 0.75, 1), ("style2.png", 0.25, 2)]
    assert told(read(folder, "style2.png", "style1.png", style_blend=[0, 2]))[0] == ("style2.png", 0, 1)


def test_a_folder_is_one_style(folder):
    """The pictures right in a folder, by name, share its share; hidden files, others and subfolders do not count."""
    found = read(folder, "several", "style1.png", style_blend=[3, 2], style_scale=[0.5, 2])
    assert [(name, scale) for name, _, scale in told(found)] == [
        ("a.JPG", 0.5),
        ("b.tif", 0.5),
        ("c.png", 0.5),
        ("style1.png", 2),
    ]
    assert [share for _, share, _ in told(found)] == pytest.approx([0.2, 0.2, 0.2, 0.4])


def test_a_folder_without_pictures_is_refused(folder):
    """An empty style folder, or one with other files only, is told with the extensions that were looked for."""
    (folder / "empty").mkdir()
    for make in (lambda: None, lambda: (folder / "empty" / "notes.txt").write_text("hello")):
        make()
        with pytest.raises(PictureError, match=r"empty: .*\.png"):
            read(folder, "style1.png", "empty")


def test_a_folder_that_cannot_be_listed_is_refused(folder, monkeypatch):
    """What the system says about a folder is told."""

    def fail(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", fail)
    with pytest.raises(PictureError, check=having(PermissionError, path=folder / "several")):
        read(folder, "several")


def test_a_bad_picture_in_a_folder_is_named(folder):
    """A file that only calls itself a picture is refused by its own name."""
    (folder / "several" / "d.png").write_text("hello")
    with pytest.raises(PictureError, match="PNG", check=having(path=folder / "several" / "d.png")):
        read(folder, "several")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"style_blend": [1]}, r"style_blend: .*\b1 share\b.*\b2 styles"),
        ({"style_blend": [1, 2, 3]}, r"style_blend: .*\b3 shares\b.*\b2 styles"),
        ({"style_blend": [0, 0]}, "style_blend: .*style_weight=0"),
        ({"style_scale": [1, 2, 3]}, r"style_scale: .*\b3 scales\b.*\b2 styles"),
    ],
)
def test_blends_and_scales_that_do_not_match_are_refused(folder, settings, words):
    """Counts are those of the styles, where a folder counts once, and not all shares are 0."""
    with pytest.raises(SettingsError, match=words):
        read(folder, "several", "style1.png", **settings)


def test_no_style_at_all(folder):
    """Without a style there is nothing to paint after, unless style does not count; then nothing is read."""
    with pytest.raises(SettingsError, match=r"--style$"):
        read(folder)
    assert read(folder, style_weight=0) == ()
    assert read(folder, "none.png", style_weight=0) == ()


def test_the_minimum_is_that_of_the_style_layers(folder):
    """A style picture must be large enough for the layers that measure style, whatever measures content."""
    save(folder / "small.png", painting(20, 200))
    with pytest.raises(PictureError, match=r"small\.png: .*200 x 20 px.*64 px"):
        read(folder, "style1.png", "small.png")
    (style,) = read(folder, "small.png", style_layers={"relu1_1": 1}, content_layers={"relu5_1": 1})
    assert style.min_side <= 20


def test_pixels_fit_the_level_and_keep_the_minimum(folder):
    """The long side is what was asked for, but the short side never falls below what the network can see."""
    save(folder / "long.png", painting(80, 800))
    (style,) = read(folder, "long.png")
    assert style.side == 800
    assert (style.size(800), style.size(720), style.size(200)) == ((80, 800), (72, 720), (64, 640))
    assert style.pixels(720).shape == (72, 720, 3)
    np.testing.assert_array_equal(style.pixels(800), resize(style.picture.pixels, 80, 800))


def test_colors_are_matched_if_asked_for(folder):
    """With `color: statistics` the pixels come recolored, with the photograph's mean; else as they are."""
    (own,), (matched,) = (read(folder, "style1.png", color=color) for color in ("luminance", "statistics"))
    assert own.recoloring is None
    photo = photograph() / 255
    assert np.abs(own.pixels(112).mean((0, 1)) - photo.mean((0, 1))).max() > 0.05
    np.testing.assert_allclose(matched.pixels(112).mean((0, 1)), photo.mean((0, 1)), atol=0.02)  # a little is clipped
    assert matched.pixels(112).dtype == np.float32


def test_strokes_as_large_as_on_the_wall(folder):
    """The scale makes the style picture as wide on paper as where it hangs, whichever side is the longer one."""
    save(folder / "tall.png", painting(112, 80))
    wide, tall = read(folder, "style1.png", "tall.png", style_width=["92cm", "254mm"])
    assert wide.at_true_scale(dpi=254, longest=4600).scale == pytest.approx(9200 / 4600)
    assert tall.at_true_scale(dpi=100, longest=700).scale == pytest.approx(1000 * 112 / 80 / 700)
    (usual,) = read(folder, "style1.png", style_scale=1.5)
    assert usual.at_true_scale(dpi=254, longest=4600).scale == 1.5


def test_widths_are_for_prints(folder):
    """A width needs a print, and too few pixels for it are told with how large strokes will be."""
    paths = folder / "photo.png", folder / "style1.png", folder / "out.png"
    with pytest.raises(SettingsError, match=r"style_width .*--print "):
        plan_render(*paths, Settings(style_width="92cm"))
    with pytest.raises(SettingsError, match=r"style_width: .*2 widths .*1 style"):
        plan_render(*paths, Settings(style_width=["92cm", "40cm"], print_size="10x15cm", dpi=50))
    plan = plan_render(*paths, Settings(style_width="30cm", print_size="10x15cm", dpi=50))
    (told,) = [notice for notice in plan.notices if "on the wall" in notice]
    assert (
        "strokes will be 19% as large as on the wall, since the picture's long side has 112 px instead of 591" in told
    )
    assert plan.final.style_sides == (112,)


@pytest.mark.parametrize("width", ["92", "0cm", "wide", "900m"])
def test_what_is_no_width(width):
    """A width is a length with a unit."""
    with pytest.raises(ValueError, match="style_width"):
        Settings(style_width=width)


def test_strokes_are_as_wide_as_asked_for(folder):
    """The scale brings the strokes that were measured to the width that is asked for, on paper or in pixels."""
    (measured,) = (stroke_width(read_picture(folder / "style1.png")),)
    on_paper, in_pixels = read(folder, "style1.png", "style2.png", stroke=["8mm", "24px"])
    assert on_paper.at_true_scale(dpi=254, longest=1000).scale == pytest.approx(80 / measured * 112 / 1000)
    other = stroke_width(read_picture(folder / "style2.png"))
    assert in_pixels.at_true_scale(dpi=254, longest=1000).scale == pytest.approx(24 / other * 112 / 1000)


def test_strokes_that_cannot_be_as_wide(folder):
    """On paper strokes need a print; what the picture's size does not allow is told; one color has none."""
    paths = folder / "photo.png", folder / "style1.png", folder / "out.png"
    with pytest.raises(SettingsError, match=r"--print .*--stroke 24px"):
        plan_render(*paths, Settings(stroke="8mm"))
    brief = plan_render(*paths, Settings(stroke="8mm", print_size="10x15cm", dpi=254))
    (told,) = [notice for notice in brief.notices if "strokes" in notice]
    assert re.search(
        r"strokes will be about 0\.[0-9] mm wide, [0-9]% of the 8\.0 mm that were asked for, since the picture's long "
        r"side has 112 px instead of [0-9]{4}",
        told,
    )
    assert brief.final.style_sides == (112,)
    (told,) = [notice for notice in plan_render(*paths, Settings(stroke="0.5px")).notices if "strokes" in notice]
    assert re.search(
        r"about [1-9]\.[0-9] px wide, [1-9][0-9]{2}% of the 0\.5 px .* short side needs at least [0-9]+ px", told
    )
    assert not [notice for notice in plan_render(*paths, Settings(stroke="3px")).notices if "strokes" in notice]
    save(folder / "flat.png", np.full((80, 112, 3), 90, np.uint8))
    with pytest.raises(PictureError, check=having(path=folder / "flat.png")):
        plan_render(paths[0], folder / "flat.png", paths[2], Settings(stroke="3px"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"stroke": "8"}, "^stroke: got '8', "),
        ({"stroke": "0px"}, "^stroke: got '0px', "),
        ({"stroke": "8mm", "style_scale": 2}, "style_scale and stroke"),
        ({"stroke": "8mm", "style_scale": 1}, "style_scale and stroke"),
        ({"stroke": "8mm", "style_width": "9cm"}, "style_width and stroke"),
        ({"style_scale": [1, 2], "style_width": "9cm"}, "style_scale and style_width"),
        ({"style_scale": 1, "style_width": "9cm"}, "style_scale and style_width"),
    ],
)
def test_strokes_have_one_size(settings, told):
    """A stroke is a width with a unit, and scale, width and stroke exclude each other."""
    with pytest.raises(SettingsError, match=told):
        load_settings(overrides=settings)


def test_the_later_size_of_strokes_counts():
    """A flag beats what a preset says about the size of strokes in other words; the last assignment counts."""
    chosen = load_settings(overrides={"style_scale": 2}, assignments=["stroke=8px"])
    assert (chosen.stroke, chosen.style_scale) == (("8px",), (1.0,))


def test_a_region_has_strokes_of_its_own(folder):
    """A region's strokes are as wide as it says, and as elsewhere where it says nothing."""
    specs = [parse_region(f"m.png=x{size}") for size in ("", ",stroke=3px", ",scale=2")]
    files, photo = style_files([folder / "style1.png"]) * 3, read_picture(folder / "photo.png")
    found = read_region_styles(files, specs, 1, photo, Settings(stroke="8px"), NETWORK)
    assert [each.stroke and each.stroke.length for each in found] == [8, 3, None]
    assert found[2].scale == 2


def test_a_region_has_a_style_of_its_own(folder):
    """A region's picture has the scale, the colors and the part that the region says, and the settings' otherwise."""
    save(folder / "mask.png", np.full((80, 112), 255, np.uint8))
    specs = [parse_region(f"m.png=x,scale=2,color=statistics,style-mask={folder}/mask.png"), parse_region("m.png=x")]
    files = style_files([folder / "style1.png", folder / "several"])
    photo, settings = read_picture(folder / "photo.png"), Settings(style_scale=0.5)
    first, *others = read_region_styles(files, specs, 1, photo, settings, NETWORK)
    assert (first.region, first.share, first.scale, first.recoloring is None) == (1, 1, 2, False)
    assert first.weights(112).shape == (80, 112)
    assert [(each.region, each.scale, each.weights(112)) for each in others] == [(2, 0.5, None)] * 3
    assert sum(each.share for each in others) == pytest.approx(1)
