"""Where to look: at the border that shows, and at parts that differ."""

import numpy as np
from pictures import painting, photograph

from muralist.pipeline.pictures.array_file import allocator_in
from muralist.pipeline.viewer.places import telling_parts, worst_seams


def noise(height, width):
    """Gray grain, float32, the same everywhere."""
    random = np.random.default_rng(3)
    return (0.5 + 0.05 * random.standard_normal((height, width, 3))).astype(np.float32).clip(0, 1)


def test_the_border_that_shows_comes_first():
    """Of all borders of a grid the one with a step in color is the first, and the only visible one."""
    pixels = noise(900, 900)
    fading = np.sin(np.linspace(0, np.pi, 300))[:, None] * np.linspace(1, 0, 300)
    pixels[300:600, 450:750] += 0.15 * fading[:, :, None].astype(np.float32)  # from a step at column 450
    seams = worst_seams(pixels, [300, 600], [450])
    assert seams[0][:4] == (300, 450, 600, 450)
    assert [seam.visible for seam in seams] == [True, False, False, False, False]
    assert seams[0].score > 3 * seams[0].threshold
    assert len(seams) == 5  # of seven


def test_an_outline_of_the_photograph_is_no_seam():
    """A step that the photograph has as well scores less than without the photograph."""
    pixels = noise(600, 600)
    pixels[:, 300:] += 0.1
    alone, beside = (worst_seams(pixels, [], [300], other)[0] for other in (None, pixels))
    assert beside.score < alone.score / 2


def test_pixels_may_lie_in_a_file(tmp_path):
    """A picture on the disk has the same seams as one in memory; one without borders has none."""
    pixels = painting(300, 400)
    with allocator_in(tmp_path) as allocate:
        stored = allocate("pixels", pixels.shape, pixels.dtype)
        stored[0:300, 0:400] = pixels
        assert worst_seams(stored, [150], [200], stored) == worst_seams(pixels, [150], [200], pixels)
    assert worst_seams(pixels, [], []) == []


def test_parts_are_the_middle_the_finest_and_the_calmest():
    """Grain in one corner is the finest detail, a plane of one color the calmest area."""
    pixels = photograph(320, 480)
    pixels[:80, :120] = np.random.default_rng(0).integers(0, 2, (80, 120, 1)) * 255
    pixels[-80:, -120:] = 128
    middle, finest, calmest = telling_parts(pixels)
    assert middle == ("Middle", 160, 240)
    assert (finest.row < 80, finest.col < 120) == (True, True)
    assert (calmest.row > 240, calmest.col > 360) == (True, True)
    assert telling_parts(pixels[:1, :1])[0] == ("Middle", 0, 0)
