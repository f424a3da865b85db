"""How wide brush strokes are: strokes that are drawn with a known width, in any size, and on what surrounds them."""

from pathlib import Path

import numpy as np
import pytest
from facts import having
from PIL import Image, ImageDraw

from muralist.pipeline.errors import PictureError
from muralist.pipeline.pictures.images import Picture
from muralist.pipeline.pictures.strokes import stroke_width

LONG, HIGH = 640, 480
PAINTING = Path(__file__).resolve().parents[3] / "examples" / "painting.jpg"


def drawn(width: int, seed: int = 0) -> np.ndarray:
    """Strokes six times as long as wide, along a flow, in colors that go from dark to bright over the picture."""
    random = np.random.default_rng(seed)
    picture = Image.new("RGB", (LONG, HIGH))
    draw = ImageDraw.Draw(picture)
    for _ in range(3 * LONG * HIGH // width**2):
        x, y = random.random(2) * picture.size
        angle = np.sin(x / 160) + np.cos(y / 120) + 0.2 * random.normal()
        paint = np.array([40 + 180 * (y / HIGH) ** 2, 120 + 60 * np.sin(x / 240), 200 - 150 * y / HIGH])
        along = 3 * width * np.array([np.cos(angle), np.sin(angle)])
        color = tuple(int(value) for value in (paint + 18 * random.normal(size=3)).clip(0, 255))
        draw.line([(x - along[0], y - along[1]), (x + along[0], y + along[1])], fill=color, width=width)
    return np.asarray(picture)


def picture_of(pixels: np.ndarray) -> Picture:
    """A picture of these pixels."""
    return Picture(pixels, None, None, None, None, Path("strokes.png"), "")


@pytest.mark.parametrize("width", [5, 8, 12, 20])
def test_strokes_of_a_known_width(width):
    """The width that strokes were drawn with is found within a fifth, whatever the light behind them."""
    assert stroke_width(picture_of(drawn(width))) == pytest.approx(width, rel=0.2)


def test_a_picture_twice_as_large_has_strokes_twice_as_wide():
    """The measure goes with the picture's size, also beyond the size at which it is taken; turning changes nothing."""
    small = drawn(8)
    large = np.asarray(Image.fromarray(small).resize((2 * LONG, 2 * HIGH), Image.Resampling.BICUBIC))
    found = stroke_width(picture_of(small))
    assert stroke_width(picture_of(large)) == pytest.approx(2 * found, rel=0.1)
    assert stroke_width(picture_of(np.ascontiguousarray(np.rot90(small)))) == pytest.approx(found, rel=1e-3)


def test_a_part_has_strokes_as_wide_as_the_whole():
    """How much of a picture is seen does not change how wide its strokes are."""
    whole = drawn(8)
    found = stroke_width(picture_of(whole))
    for cut in (whole[:HIGH, : LONG // 2], whole[HIGH // 2 :, LONG // 2 :], whole[:160, :160]):
        assert stroke_width(picture_of(np.ascontiguousarray(cut))) == pytest.approx(found, rel=0.2)


def test_strokes_among_smaller_and_larger_things():
    """Bands on a slope of light, with grain on them, are as wide as they were drawn, in a part as in the whole."""
    random = np.random.default_rng(4)
    rows, cols = np.mgrid[:HIGH, :LONG]
    light = (
        90 + 60 * np.sin(cols / 150) + 50 * np.cos(rows / 130) + 45 * (rows // 10 % 2) + random.normal(0, 8, rows.shape)
    )
    pixels = np.repeat(light.clip(0, 255).astype(np.uint8)[..., None], 3, 2)
    for cut in (pixels, pixels[: HIGH // 2, : LONG // 2], pixels[:120, :160]):
        assert stroke_width(picture_of(np.ascontiguousarray(cut))) == pytest.approx(10, rel=0.25)


def test_a_part_of_a_painting_has_its_strokes():
    """Whatever else is in a real painting, half of it has strokes about as wide as all of it."""
    whole = np.asarray(Image.open(PAINTING).convert("RGB"))
    found = stroke_width(picture_of(whole))
    assert 7 < found < 15  # by eye; they were drawn with brushes of 7 to 64 px, the finest last
    for part in (whole[:, : whole.shape[1] // 2], whole[whole.shape[0] // 2 :]):
        assert stroke_width(picture_of(np.ascontiguousarray(part))) == pytest.approx(found, rel=0.3)


def test_the_background_is_no_stroke():
    """Strokes on paper are as wide as they are, also where most of the picture is paper."""
    pixels = np.full((HIGH, LONG, 3), 240, np.uint8)
    pixels[:160] = drawn(8)[:160]
    assert stroke_width(picture_of(pixels)) == pytest.approx(8, rel=0.3)


def test_only_what_a_mask_means_is_measured():
    """Of a picture with narrow strokes on the left and wide ones on the right, a mask has those of its half."""
    both = np.where(np.arange(LONG)[None, :, None] < LONG // 2, drawn(5), drawn(20))
    mask = np.zeros((HIGH, LONG), np.uint8)
    mask[:, : LONG // 2] = 255
    narrow, wide = (stroke_width(picture_of(both), values) for values in (mask, 255 - mask))
    assert (narrow, wide) == (pytest.approx(5, rel=0.25), pytest.approx(20, rel=0.25))


def test_one_color_has_no_strokes():
    """Where there is nothing but a color, no width is made up."""
    with pytest.raises(PictureError, check=having(path=Path("strokes.png"))):
        stroke_width(picture_of(np.full((40, 60, 3), 99, np.uint8)))


def stripes(one: tuple[int, int, int], other: tuple[int, int, int]) -> np.ndarray:
    """Stripes of two colors, 10 px wide."""
    return np.where((np.arange(LONG) // 10 % 2 == 0)[None, :, None], one, other).repeat(HIGH, 0).astype(np.uint8)


def test_colors_of_equal_brightness_are_told_apart():
    """Red beside blue is no picture of one color."""
    assert stroke_width(picture_of(stripes((200, 60, 40), (40, 60, 200)))) == pytest.approx(10, rel=0.1)


def test_a_part_of_one_color_is_refused():
    """Where it counts, there are no strokes to be measured."""
    pixels, mask = stripes((200, 60, 40), (40, 60, 100)), np.zeros((HIGH, LONG), np.uint8)
    pixels[:200, :200] = 90
    mask[20:180, 20:180] = 255
    with pytest.raises(PictureError, match="one color"):
        stroke_width(picture_of(pixels), mask)
