"""Resampling box by box: the same whatever the boxes, and right at the picture's place in its canvas."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muralist.tiling.grid import Box, Span
from muralist.tiling.resample import Frame, cubic, linear, resample

STEADY = settings(derandomize=True, deadline=None)

KERNELS = pytest.mark.parametrize("kernel", [cubic, linear])
SIDES = st.integers(1, 40)


def plain(height: int, width: int) -> Frame:
    """A picture that fills its canvas."""
    return Frame((height, width), (height, width), 0)


def whole(frame: Frame) -> Box:
    """All of a frame's canvas."""
    return Box(Span(0, frame.canvas[0]), Span(0, frame.canvas[1]))


def noise(*shape: int) -> np.ndarray:
    """Random float32 pixels in [0, 1)."""
    return np.random.default_rng(0).random(shape, np.float32)


def enlarge(
    pixels: np.ndarray, source: Frame, target: Frame, kernel: Callable = cubic, box: Box | None = None
) -> np.ndarray:
    """Resample an array that lies in memory; nothing outside it may be read."""

    def read(part: Box) -> np.ndarray:
        assert part & whole(source) == part
        return pixels[(..., *part.inside(whole(source)), slice(None))]

    return resample(read, source, target, box or whole(target), kernel)


def centers(frame: Frame, axis: int) -> np.ndarray:
    """Where pixel centers of a canvas lie in its picture, as a share of the picture's side."""
    return (np.arange(frame.canvas[axis]) + 0.5 - frame.start) / frame.picture[axis]


def draw_function(frame: Frame, function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Sample a function of (down, across), shares of the picture, at every pixel of the canvas."""
    values = function(centers(frame, 0)[:, None], centers(frame, 1))
    return np.broadcast_to(values, frame.canvas).astype(np.float32)[..., None]


@KERNELS
@STEADY
@given(data=st.data())
def test_a_box_is_the_crop_of_the_whole(kernel, data):
    """Any box of any enlargement, with any margin, is that part of the whole to the last bit."""
    height, width, start = data.draw(SIDES), data.draw(SIDES), data.draw(st.integers(0, 9))
    source = Frame((height + 2 * start, width + 2 * start + 3), (height, width), start)
    sides = height * 2 - data.draw(st.integers(0, height - 1)), width + data.draw(st.integers(0, width))
    target = Frame((sides[0] + 2 * start + 1, sides[1] + 2 * start), sides, start)
    box = Box(
        *(
            Span(*sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))))
            for n in target.canvas
        )
    )
    pixels = noise(*source.canvas, 3)
    part = enlarge(pixels, source, target, kernel, box)
    assert part.dtype == np.float32
    np.testing.assert_array_equal(part, enlarge(pixels, source, target, kernel)[box.inside(whole(target))])


@KERNELS
def test_leading_axes_are_kept(kernel):
    """Planes of a state are resampled one by one."""
    state = noise(3, 11, 13, 3)
    grown = enlarge(state, plain(11, 13), plain(20, 26), kernel)
    assert grown.shape == (3, 20, 26, 3)
    for plane, alone in zip(grown, state, strict=True):
        np.testing.assert_array_equal(plane, enlarge(alone, plain(11, 13), plain(20, 26), kernel))


@KERNELS
@STEADY
@given(height=SIDES, width=SIDES, start=st.integers(0, 9))
def test_same_size_is_the_identity(kernel, height, width, start):
    """A canvas resampled to its own frame comes back bit by bit."""
    frame = Frame((height + 2 * start, width + 2 * start), (height, width), start)
    pixels = noise(*frame.canvas, 3)
    np.testing.assert_array_equal(enlarge(pixels, frame, frame, kernel), pixels)


@KERNELS
@STEADY
@given(height=SIDES, width=SIDES, more=st.integers(0, 40))
def test_a_constant_stays_constant(kernel, height, width, more):
    """The weights of every pixel sum to one, at edges too."""
    grown = enlarge(np.full((height, width, 1), 0.7, np.float32), plain(height, width), plain(height + more, width + 7))
    np.testing.assert_allclose(grown, 0.7, rtol=0, atol=1e-6)


@KERNELS
@pytest.mark.parametrize(("height", "width"), [(34, 46), (50, 31), (29, 60)])
def test_linear_ramps_are_kept(kernel, height, width):
    """Away from the edges, whose pixels are repeated, a ramp is the same ramp at every size."""
    source, target = plain(29, 31), plain(height, width)

    def ramp(down, across):
        return 0.3 * down + 0.6 * across

    grown = enlarge(draw_function(source, ramp), source, target, kernel)
    inner = (slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(grown[inner], draw_function(target, ramp)[inner], rtol=0, atol=1e-6)


def test_cubic_keeps_parabolas_and_linear_does_not():
    """The cubic kernel is exact to second order (Keys 1981), which tells it from every blurrier one."""
    source, target = plain(29, 31), plain(58, 47)

    def bowl(down, across):
        return down**2 - 0.5 * across**2 + down * across

    wanted = draw_function(target, bowl)[4:-4, 4:-4]
    found = {k: enlarge(draw_function(source, bowl), source, target, k)[4:-4, 4:-4] for k in (cubic, linear)}
    np.testing.assert_allclose(found[cubic], wanted, rtol=0, atol=1e-6)
    assert np.abs(found[linear] - wanted).max() > 1e-4


@KERNELS
@STEADY
@given(height=SIDES, width=SIDES, more=st.integers(0, 40))
def test_flipping_commutes(kernel, height, width, more):
    """Nothing is shifted: a flipped picture enlarged is the enlarged picture flipped."""
    source, target = plain(height, width), plain(height + more, width + more // 2)
    pixels = noise(height, width, 3)
    flipped = enlarge(pixels[::-1, ::-1], source, target, kernel)[::-1, ::-1]
    np.testing.assert_allclose(flipped, enlarge(pixels, source, target, kernel), rtol=0, atol=1e-5)


@STEADY
@given(height=SIDES, width=SIDES, more=st.integers(0, 40))
def test_linear_is_torch_bilinear(height, width, more):
    """Linear enlargement equals torch's bilinear one, edges included."""
    pixels = noise(height, width, 3)
    size = height + more, width + more // 3
    grown = torch.nn.functional.interpolate(
        torch.from_numpy(pixels).permute(2, 0, 1)[None], size, mode="bilinear", align_corners=False, antialias=False
    )
    found = enlarge(pixels, plain(height, width), plain(*size), linear)
    np.testing.assert_allclose(found, grown[0].permute(1, 2, 0).numpy(), rtol=0, atol=1e-5)


@STEADY
@given(height=SIDES, width=SIDES, more=st.integers(0, 40))
def test_linear_keeps_what_is_positive(height, width, more):
    """Linear enlargement never leaves the range of its source, as Adam's second moment needs; cubic may."""
    spikes = (noise(height, width, 1) > 0.8).astype(np.float32) * 1e6
    grown = enlarge(spikes, plain(height, width), plain(height + more, width + more), linear)
    assert grown.min() >= 0
    assert grown.max() <= spikes.max() * (1 + 1e-6)


def test_cubic_overshoots_at_a_spike():
    """Cubic enlargement rings at a hard edge, which is why moments are not resampled with it."""
    spike = np.zeros((9, 9, 1), np.float32)
    spike[4, 4] = 1
    assert enlarge(spike, plain(9, 9), plain(18, 18)).min() < -0.01


@KERNELS
@pytest.mark.parametrize("size", [(26, 40), (39, 60), (33, 47)])
@pytest.mark.parametrize("margins", [(8, 8), (8, 16), (5, 3)])
def test_a_picture_with_a_margin_lands_on_a_picture_with_one(kernel, size, margins):
    """What lies at some share of the picture's side still lies there, whatever the margins and the canvases' rests."""
    source = Frame((26 + 2 * margins[0] + 6, 40 + 2 * margins[0] + 1), (26, 40), margins[0])
    target = Frame((size[0] + 2 * margins[1] + 3, size[1] + 2 * margins[1]), size, margins[1])

    def ramp(down, across):
        return 0.3 * down - 0.6 * across

    grown = enlarge(draw_function(source, ramp), source, target, kernel)
    picture = tuple(slice(margins[1], margins[1] + n) for n in size)
    np.testing.assert_allclose(grown[picture], draw_function(target, ramp)[picture], rtol=0, atol=1e-6)


@KERNELS
def test_a_margin_that_grows_along_is_part_of_the_picture(kernel):
    """Where margin and picture grow by the same factor, their canvas is simply a larger picture."""
    source, target = Frame((30, 42), (14, 26), 8), Frame((60, 84), (28, 52), 16)
    pixels = noise(*source.canvas, 3)
    np.testing.assert_allclose(
        enlarge(pixels, source, target, kernel),
        enlarge(pixels, plain(30, 42), plain(60, 84), kernel),
        rtol=0,
        atol=1e-6,
    )


@KERNELS
def test_beyond_the_source_its_edge_is_repeated(kernel):
    """A target whose margin reaches farther than the source's canvas gets the nearest pixels."""
    grown = enlarge(noise(6, 5, 1), plain(6, 5), Frame((33, 31), (12, 10), 10), kernel)
    np.testing.assert_allclose(grown[:6], np.broadcast_to(grown[:1], (6, 31, 1)), atol=1e-6)
    np.testing.assert_allclose(grown[:, -6:], np.broadcast_to(grown[:, -1:], (33, 6, 1)), atol=1e-6)
