"""Regions, strength maps and protection: what belongs where, what is refused, and what a painting becomes."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pictures import MANY_LAYERS, TINY, assignments, painting, photograph, save
from PIL import Image
from rendering import render
from skimage import data

from muralist.cli import main
from muralist.pipeline.batch.dedup import identity_of
from muralist.pipeline.batch.items import Item
from muralist.pipeline.errors import PictureError, SettingsError
from muralist.pipeline.pictures.colors import with_chroma_of
from muralist.pipeline.pictures.images import Picture, crop_to_aspect
from muralist.pipeline.pictures.pages import fingerprint
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.prepare_level import in_threes
from muralist.pipeline.presets import load_settings
from muralist.pipeline.records.identity import difference
from muralist.pipeline.region_specs import MOST_REGIONS, RegionSpec, parse_region
from muralist.pipeline.regions import Regions, mask_files, read_regions
from muralist.pipeline.render_plan import plan_render
from muralist.pipeline.settings import Settings
from muralist.pipeline.space import disk_bytes, driver_bytes, worker_bytes

LEFT = np.zeros((96, 128), np.uint8)
LEFT[:, :64] = 255
BOX = np.zeros((96, 128), np.uint8)
BOX[30:60, 80:120] = 255


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photograph, two style pictures and some masks, in the folder that tests run in."""
    masks = {"left": LEFT, "right": 255 - LEFT, "box": BOX, "wide": LEFT[:40], "dark": np.full_like(LEFT, 60)}
    for name, pixels in {"photo": photograph(), "style": painting(), "other": painting(seed=7), **masks}.items():
        save(tmp_path / f"{name}.png", pixels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(styles: int = 1, crop: Callable[[Picture], Picture] = lambda picture: picture, **settings: Any) -> Regions:
    """Regions of the photograph."""
    found = read_regions(Settings(**settings), read_picture(Path("photo.png")), crop, styles)
    assert found is not None
    return found


def channels(regions: Regions, height: int = 96, width: int = 128) -> np.ndarray:
    """All channels at a size."""
    return regions.channels(height, width, (0, height))


# ------------------------------------------------------------------------------------ as it is written


def test_regions_are_read_as_they_are_written():
    """Mask, style and options, in any order; commas may be in names; what is written is read again."""
    text = "a b.png#00ff00=two, three.jpg,strength=0.5,scale=2,color=luminance,style-mask=m.png"
    wanted = RegionSpec("a b.png#00ff00", "two, three.jpg", 2.0, 0.5, "luminance", "m.png")
    assert parse_region(text) == wanted
    assert parse_region(str(wanted)) == wanted
    assert str(parse_region("a=b")) == "a=b"


NAMES = st.text("ab=,{}/. #", min_size=1).filter(str.strip)


@given(
    mask=NAMES,
    style=st.text("ab=/. ", min_size=1).filter(lambda name: name.strip() and name[0] != "="),
    scale=st.sampled_from([None, 0.5, 1.0, 2.0]),
    strength=st.sampled_from([0.0, 1.0, 1.5]),
    style_mask=st.none() | st.sampled_from(["m.png", "m=1.png"]),
)
def test_a_region_that_is_written_is_read_as_the_same(**options):
    """Whatever the mask is called, and where an option says what is usual: a scale of 1 is not that of the painting."""
    region = RegionSpec(**options)
    assert parse_region(str(region)) == region


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sky.png", ("region 'sky.png' without a style", "MASK=STYLE, such as")),
        ("=a.jpg", ("without a mask",)),
        ("sky.png==a.jpg", ("without a style",)),
        ("sky.png= ,scale=2", ("without a style",)),
        ("a=b,scal=2", ("did you mean 'scale'", "strength")),
        ("a=b,scale=2,scale=3", ("scale twice",)),
        ("a=b,scale=big", ("wanted a scale from 0.05 to 10",)),
        ("a=b,strength=nan", ("wanted a strength from 0 to 2",)),
        ("a=b,color=red", ("wanted a color, one of style, luminance, statistics",)),
        ("a=b,style-mask=", ("wanted a style-mask to be the path",)),
    ],
)
def test_what_is_no_region(text, parts):
    """A mask without style, a style without mask and options that are none are told with what was wanted."""
    with pytest.raises(SettingsError) as caught:
        parse_region(text)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_masks_of_a_painting_are_listed():
    """Every file is named with what it is for; where style does not count, regions have none."""
    settings = {"regions": ["a.png#ff0000=s.jpg,style-mask=m.png"], "strength_map": "b.png", "style_mask": "c.png"}
    settings |= {"protect": ["d.png", "faces", "e.png#ffffff"]}
    wanted = {"region 1": "a.png", "style mask of region 1": "m.png", "style mask 1": "c.png", "strength map": "b.png"}
    wanted |= {"protected 1": "d.png", "protected 2": "e.png"}
    assert mask_files(Settings(**settings)) == {what: Path(name) for what, name in wanted.items()}
    assert mask_files(Settings()) == {}


# ---------------------------------------------------------------------------------- what belongs where


def test_no_masks_are_no_regions(folder):
    """A picture without masks has no guidance at all, and none are filed."""
    for settings in (Settings(region_fit=True), Settings(protect="faces")):  # there is no face in it
        assert read_regions(settings, read_picture(Path("photo.png")), lambda picture: picture, 1) is None


@pytest.mark.parametrize("shape", [(96, 128), (33, 44), (200, 267)])
def test_regions_are_a_partition_of_unity(folder, shape):
    """At every size the regions and what they leave share every pixel, also where two of them want the same."""
    found = channels(read(regions=["left.png=other.png", "box.png=style.png", "dark.png=style.png"]), *shape)
    assert found.shape == (*shape, 4 + 2)
    np.testing.assert_allclose(found[..., :4].sum(2), 1, atol=1e-6)
    assert found.min() >= 0
    assert not found[..., 4:].any()


def test_what_no_region_claims_is_the_rest(folder):
    """The first guide is what is left; where regions claim everything, there is none."""
    found = channels(read(regions=["left.png=other.png"]))
    np.testing.assert_array_equal(found[..., 0], 1 - LEFT / 255)
    np.testing.assert_array_equal(found[..., 1], LEFT / 255)
    whole = read(0, regions=["left.png=other.png", "right.png=style.png"])
    assert (whole.count, whole.has_rest, whole.painted) == (2, False, pytest.approx(1, abs=1e-3))
    np.testing.assert_allclose(channels(whole)[..., 0], LEFT / 255, atol=1e-6)


@pytest.mark.parametrize(("size", "gap"), [((3000, 4000), 1), ((750, 1000), 0)])
def test_a_hairline_that_nobody_claims_is_painted(folder, size, gap):
    """Where two masks miss each other by a pixel of a large picture, no line of the photograph shows."""
    left, right = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    left[:, : size[1] // 2], right[:, size[1] // 2 + gap :] = 255, 255
    for name, mask in (("l", left), ("r", right)):
        save(folder / f"{name}.png", mask)
    regions = read(0, regions=["l.png=other.png", "r.png=style.png"])
    found = regions.channels(*size, (0, 4))
    assert not regions.has_rest
    assert not found[..., 3].any()
    np.testing.assert_allclose(found[..., :2].sum(2), 1, atol=1e-6)
    assert found[:, 10, 0].min() == found[:, -10, 1].min() == 1


def test_rows_are_cut_out_of_the_whole(folder):
    """Rows that are asked for alone are the same as together."""
    regions = read(regions=["box.png=other.png,strength=0.5"], protect="left.png", strength_map="dark.png")
    np.testing.assert_array_equal(regions.channels(80, 107, (13, 37)), channels(regions, 80, 107)[13:37])


def test_strength_is_times_strength(folder):
    """A region's strength and the strength map scale the guidance, and little strength lets the photograph through."""
    found = channels(read(regions=["left.png=other.png,strength=0.5"], strength_map="dark.png"))
    assert found[50, 100, 0] == pytest.approx(60 / 255)
    assert found[50, 20, 1] == pytest.approx(30 / 255)
    assert found[50, 20, 3] == pytest.approx(1 - 30 / 255 / 0.25, abs=1e-5)
    none = read(regions=["left.png=other.png,strength=0"])
    assert not channels(none)[:, :60, :2].any()
    assert (channels(none)[:, :60, 3] == 1).all()
    assert none.painted == pytest.approx(0.5, abs=0.02)


def test_what_is_protected_is_not_painted(folder):
    """A protected part has no guide, and the photograph shows through there, and a little less around it."""
    found = channels(read(protect="box.png"))
    assert (found[35:55, 85:115, 2] > 0.95).all()
    assert (found[35:55, 85:115, 0] < 0.05).all()
    np.testing.assert_allclose(found[..., 0] + found[..., 2], 1, atol=1e-6)
    assert not found[:, :60, 2].any()


def test_color_is_by_region(folder):
    """What is painted in light only is a region's own, and otherwise as the setting says."""
    assert (channels(read(regions=["left.png=other.png,color=luminance"]))[..., 2] == LEFT / 255).all()
    others = read(regions=["left.png=other.png,color=style", "box.png=style.png"], color="luminance")
    np.testing.assert_allclose(channels(others)[..., 3], 1 - LEFT / 255, atol=1e-6)


def test_masks_are_cropped_like_the_photograph(folder):
    """A photograph that is cropped to its middle has the middle of its masks, whatever their size."""
    save(folder / "small.png", LEFT[::2, ::2])
    square = read(crop=lambda picture: crop_to_aspect(picture, 1.0), regions=["small.png=other.png"])
    assert square.masks[0].values.shape == (48, 48)
    assert (square.masks[0].values == LEFT[::2, ::2][:, 8:56]).all()


def test_channels_fill_planes():
    """Channels are filled up with zeros to a multiple of three."""
    assert in_threes(np.ones((2, 3, 4))).sum(2).tolist() == [[4.0] * 3] * 2
    assert in_threes(np.ones((2, 3, 4))).shape[2] == 6
    assert in_threes(np.ones((2, 3, 3))).shape[2] == 3


@pytest.mark.parametrize(
    ("styles", "settings", "error", "parts"),
    [
        (
            0,
            {"regions": ["left.png=other.png"]},
            SettingsError,
            ("leave part of the picture without a style", "--style"),
        ),
        (0, {"protect": "left.png"}, SettingsError, ("name it with --style",)),
        (1, {"regions": ["wide.png=other.png"]}, PictureError, ("wide.png: got a mask of 128 x 40 px", "--region-fit")),
        (1, {"strength_map": "wide.png"}, PictureError, ("wide.png: got a mask of 128 x 40 px",)),
        (1, {"protect": "white.png"}, SettingsError, ("leave nothing to paint", "--protect white.png")),
        (1, {"regions": ["none.png=other.png"]}, PictureError, ("none.png: there is no such file",)),
        (
            1,
            {"regions": ["edge.png=other.png"], "cut": 1},
            PictureError,
            ("edge.png: got a mask that is black everywhere after",),
        ),
    ],
)
def test_masks_that_do_not_fit(folder, styles, settings, error, parts):
    """Masks of another shape, that leave nothing or something without a style, are refused in one line."""
    save(folder / "white.png", np.full_like(LEFT, 255))
    edge = np.zeros_like(LEFT)
    edge[:, :5] = 255
    save(folder / "edge.png", edge)
    crop = (lambda picture: crop_to_aspect(picture, 1.0)) if settings.pop("cut", 0) else lambda picture: picture
    with pytest.raises(error) as caught:
        read(styles, crop, **settings)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_other_shapes_are_stretched_if_that_is_asked_for(folder):
    """A mask of another shape is stretched to the photograph's."""
    found = channels(read(regions=["wide.png=other.png"], region_fit=True))
    np.testing.assert_allclose(found[..., 1], LEFT / 255, atol=0.01)


# ------------------------------------------------------------------------------------------- paintings


@pytest.fixture
def paint(folder: Path, scheduler: str) -> Callable[..., tuple[np.ndarray, dict[str, Any]]]:
    """A function that renders the photograph and gives painting and sidecar."""

    def call(output: str, style: str | list[str] = "style.png", **changes: Any) -> tuple[np.ndarray, dict[str, Any]]:
        sidecar = render("photo.png", style, output, **TINY | MANY_LAYERS | {"scheduler": scheduler} | changes)
        return np.asarray(Image.open(output)).astype(int), sidecar

    return call


def test_regions_are_painted_after_their_styles(paint):
    """Halves after two styles are nearer the paintings in those styles than the other way round."""
    halves, sidecar = paint("halves.png", regions=["left.png=other.png"], steps=[8, 4])
    first, _ = paint("first.png", steps=[8, 4])
    other, _ = paint("other-all.png", "other.png", steps=[8, 4])
    for columns, near, far in ((slice(0, 48), other, first), (slice(80, 128), first, other)):
        distances = [abs(halves - each)[:, columns].mean() for each in (near, far)]
        assert distances[0] < 0.6 * distances[1]
    styles = [(Path(style["path"]).name, style["region"]) for style in sidecar["inputs"]["styles"]]
    assert styles == [("style.png", 0), ("other.png", 1)]
    assert [mask["name"] for mask in sidecar["inputs"]["masks"]] == ["left.png"]
    last = sidecar["levels"][-1]
    assert last["losses_last"]["style"] < last["losses_first"]["style"]
    halves = last["region_losses"]["style"]
    assert last["losses_last"]["style"] == pytest.approx(np.mean(halves), rel=0.01)


def test_regions_of_one_style_are_that_style(paint):
    """Two halves after the same picture are nearly the painting in one; that nothing is left for a style is told."""
    both = ["left.png=style.png", "right.png=style.png"]
    halves, sidecar = paint("halves.png", "other.png", regions=both, lbfgs_resolutions=4, steps=[2, 1])
    whole, _ = paint("whole.png", lbfgs_resolutions=4, steps=[2, 1])
    assert abs(halves - whole).mean() < 0.3 * abs(whole - photograph()).mean()
    assert any("other.png is not used" in notice for notice in sidecar["notices"])
    assert {style["path"] for style in sidecar["inputs"]["styles"]} == {"style.png"}


def test_the_photograph_shows_through(paint):
    """Where it is protected, or has no strength, the photograph's own pixels come back; elsewhere it is painted."""
    protected, _ = paint("protected.png", protect="box.png", steps=[1])
    np.testing.assert_array_equal(protected[34:56, 84:116], photograph()[34:56, 84:116])
    assert abs(protected - photograph())[:, :60].mean() > 1
    unpainted, _ = paint("unpainted.png", strength_map="right.png", steps=[1])
    np.testing.assert_array_equal(unpainted[:, :60], photograph()[:, :60])
    assert abs(unpainted - photograph())[:, 70:].mean() > 1


@pytest.mark.parametrize("strong", ["left.png", "right.png"])
def test_gradients_are_normalized_beside_what_is_not_painted(paint, strong):
    """Tiles without strength have no gradients to divide by, whether they are added up first or last."""
    painted, sidecar = paint("out.png", strength_map=strong, normalize_gradients=True, optimizer="adam", steps=[1, 4])
    columns = slice(None, 60) if strong == "right.png" else slice(68, None)
    np.testing.assert_array_equal(painted[:, columns], photograph()[:, columns])
    last = sidecar["levels"][-1]
    assert last["losses_last"]["style"] < last["losses_first"]["style"]


def test_only_light_is_painted_where_that_is_asked_for(paint):
    """A region in light only has the photograph's chroma, as far as there is room for it; the rest has its own."""
    light, _ = paint("light.png", regions=["left.png=style.png,color=luminance"], steps=[3, 2])
    away = abs(with_chroma_of(photograph() / 255, light / 255) * 255 - light)
    assert away[:, :60].max() < 2
    assert away[:, 68:].mean() > 2


def test_faces_are_kept(paint, folder):
    """A face that is found keeps its pixels, and its mask lies beside the painting and can be given back."""
    portrait = data.astronaut()[:300, 50:400]
    save(folder / "photo.png", portrait)
    few = {"steps": [2, 1], "tile": 512}
    found, sidecar = paint("faces.png", protect="faces", **few)
    (mask,) = sidecar["inputs"]["masks"]
    assert (mask["path"], mask["sha256"]) == ("faces.png.faces.png", fingerprint(Path("faces.png.faces.png")))
    np.testing.assert_array_equal(found[90:150, 150:200], portrait[90:150, 150:200])
    assert abs(found - portrait)[:, :60].mean() > 1
    again, _ = paint("again.png", protect="faces.png.faces.png", **few)
    assert abs(again - found).max() <= 1


def test_masks_protect_together(paint, folder):
    """Several masks and faces keep all that any of them keeps."""
    portrait = data.astronaut()[:300, 50:400]
    save(folder / "photo.png", portrait)
    corner, other = np.zeros((300, 350), np.uint8), np.zeros((300, 350), np.uint8)
    corner[:80, :80], other[220:, :80] = 255, 255
    save(folder / "corner.png", corner)
    save(folder / "other.png", other)
    names = ["faces", "corner.png", "other.png"]
    found, sidecar = paint("out.png", protect=names, steps=[2, 1], tile=512)
    assert sidecar["settings"]["protect"] == names
    masks = [(mask["path"], mask["name"]) for mask in sidecar["inputs"]["masks"]]
    assert masks == [(name, "protected") for name in ("corner.png", "other.png", "out.png.faces.png")]
    for rows, cols in ((slice(90, 150), slice(150, 200)), (slice(70), slice(70)), (slice(230, None), slice(70))):
        np.testing.assert_array_equal(found[rows, cols], portrait[rows, cols])
    assert abs(found - portrait)[100:200, :60].mean() > 1


def test_faces_need_scikit_image(folder, monkeypatch):
    """Without the extra, the message says what to install; without a face, that none was found."""
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(SettingsError, match=r"pip install 'muralist\[faces\]'"):
        read(protect="faces")
    monkeypatch.undo()
    plan = plan_render(
        folder / "photo.png", folder / "style.png", folder / "out.png", Settings(**TINY, protect="faces")
    )
    assert (plan.notices, plan.regions) == (("no face was found, so none is protected",), None)


def test_a_part_of_a_style_picture(paint, folder):
    """A style picture of two halves, one of them masked, is its other half; the masked statistics are kept apart."""
    pair = np.hstack([painting(), painting(seed=7)])
    save(folder / "pair.png", pair)
    mask = np.zeros(pair.shape[:2], np.uint8)
    mask[:, 112:] = 255
    save(folder / "mask.png", mask)
    part, _ = paint("part.png", "pair.png", style_mask="mask.png", style_scale=2, steps=[2, 1])
    whole, _ = paint("whole.png", "pair.png", style_scale=2, steps=[2, 1])
    other, _ = paint("half.png", "other.png", steps=[2, 1])
    assert abs(part - other).mean() < 0.6 * abs(whole - other).mean()


def test_a_mask_that_changed_is_another_painting(folder):
    """What a painting depends on includes its masks, by what is in them, so that no other one is resumed."""
    settings = load_settings(overrides=TINY | {"regions": ["box.png=other.png"], "protect": "left.png"})

    def identity() -> dict[str, Any]:
        return plan_render(Path("photo.png"), Path("style.png"), Path("out.png"), settings).identity

    before = identity()
    assert before["masks"].keys() == {"region 1", "protected 1"}
    assert len(before["styles"]) == 2
    item = Item(1, Path("photo.png"), (Path("style.png"),), None, {}, folder / "out.png", "photo.png")
    assert identity_of(item, settings, before["weights"]) == before
    save(folder / "box.png", LEFT)
    assert difference(before, identity()) == "a mask changed"


def run(*words: str) -> Any:
    """What the command line says to a render."""
    return CliRunner().invoke(
        main, ["render", "photo.png", "-s", "style.png", "-o", "out.png", *assignments(TINY), *words]
    )


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--region", "left.png=none.png"], ("none.png: there is no such file",)),
        (["--region", "left.png"], ("regions: got region 'left.png' without a style",)),
        (["--region", "photo.png=other.png"], ("photo.png: got a colored picture",)),
        (["--region", "left.png#00ff00=other.png"], ("left.png#00ff00: no pixel",)),
        (["--region", "empty.png=other.png"], ("empty.png: got a mask that is black everywhere",)),
        (["--strength-map", "empty.png"], ("empty.png: got a mask that is black everywhere",)),
        (["--protect", "empty.png"], ("empty.png: got a mask that is black everywhere",)),
        (["--region", "wide.png=other.png"], ("wide.png: got a mask of 128 x 40 px", "--region-fit")),
        (["--region", "=other.png"], ("regions: got region '=other.png' without a mask",)),
        (["--region", "big.png=other.png", "--set", "max_pixels=20000"], ("big.png: 400 x 300 pixels", "max_pixels")),
        (["--protect", "big.png", "--set", "max_pixels=20000"], ("big.png: 400 x 300 pixels", "max_pixels")),
        (["--stroke", "8mm", "--style-scale", "1"], ("stroke: style_scale and stroke exclude each other",)),
        (["--region", "left.png=other.png,stroke=8mm"], ("got a stroke width on paper without a print size",)),
        (["--region", "left.png=other.png"] * 50, ("got 50 regions, wanted at most 16",)),
        (["--style-mask", "left.png", "--style-mask", "box.png"], ("style_mask: got 2 masks for 1 style",)),
        (["--style-mask", "wide.png"], ("wide.png: got a mask of 128 x 40 px", "--region-fit")),
        (["--protect", "wide.png"], ("wide.png: got a mask of 128 x 40 px", "--region-fit")),
        (["--strength-map", "out.png"], ("out.png: this is an input file",)),
        (["-p", "masks.yaml"], ("masks.yaml:1: protect", "masks belong to one picture")),
    ],
)
def test_the_command_line_refuses(folder, words, parts):
    """Every mistake is one clear line, before any work, and leaves nothing behind."""
    (folder / "masks.yaml").write_text("protect: left.png\n")
    save(folder / "empty.png", np.zeros_like(LEFT))
    save(folder / "big.png", np.full((300, 400), 255, np.uint8))
    before = sorted(folder.iterdir())
    done = run(*words)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert all(part in line for part in parts), line
    assert sorted(folder.iterdir()) == before


def test_a_part_without_style_is_refused(folder):
    """Without `--style`, what no region claims has no style: one line, before any work."""
    before = sorted(folder.iterdir())
    done = CliRunner().invoke(main, ["render", "photo.png", "-o", "out.png", "--region", "left.png=other.png"])
    assert (done.exit_code, sorted(folder.iterdir())) == (1, before)
    (line,) = done.stderr.splitlines()
    assert "leave part of the picture without a style, wanted one for it; name it with --style" in line


def test_sixteen_regions_are_foreseen(folder):
    """As many regions as there may be take more memory and disk than none, in the plan."""
    paths = Path("photo.png"), Path("style.png"), Path("out.png")
    many, none = (
        plan_render(*paths, Settings(**TINY, size=2000, regions=regions))
        for regions in (["dark.png=other.png"] * MOST_REGIONS, None)
    )
    for foreseen in (lambda plan: worker_bytes(plan, 4), disk_bytes, driver_bytes):
        assert foreseen(many) > foreseen(none)
