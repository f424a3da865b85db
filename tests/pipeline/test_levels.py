"""The pyramid: sizes from coarse to fine, and the steps, rounds and style size of each."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muralist.pipeline.errors import SettingsError
from muralist.pipeline.levels import Level, plan_levels
from muralist.pipeline.settings import Settings

STRIDE, MINIMUM = 16, 32


def plan(height: int, width: int, *, style_side: int = 5000, **settings: object) -> tuple[Level, ...]:
    """The levels of a painting under a network of the usual stride."""
    return plan_levels(height, width, style_side, Settings(**settings), STRIDE, MINIMUM)


sides = st.integers(600, 9_000)  # shapes that `coarse` does not make too thin for the network
odd_sides = st.integers(MINIMUM, 20_000)


@given(sides, sides)
def test_the_coarsest_level_always_has_the_same_long_side(height, width):
    """A preview is the first level of the poster: its long side is `coarse`, whatever the final size."""
    first = plan(height, width, coarse=500)[0]
    assert max(first.height, first.width) == 500


@given(odd_sides, odd_sides, st.integers(64, 1024))
def test_levels_end_with_the_final_size_and_never_more_than_double(height, width, coarse):
    """The last level is the painting, and a side grows by a factor of at most two (plus rounding) but never shrinks."""
    levels = plan(height, width, coarse=coarse)
    assert (levels[-1].height, levels[-1].width) == (height, width)
    assert [level.index for level in levels] == list(range(len(levels)))
    for before, level in pairwise(levels):
        assert before.height <= level.height <= 2 * before.height + 1
        assert before.width <= level.width <= 2 * before.width + 1
        assert (before.height, before.width) != (level.height, level.width)


def test_sizes_are_spread_evenly():
    """The levels between the coarsest and the final one grow in proportion, without a small last step."""
    assert [level.width for level in plan(1000, 4000, coarse=1000)] == [1000, 2000, 4000]
    assert [level.width for level in plan(1000, 3000, coarse=1000)] == [1000, 1732, 3000]


@pytest.mark.parametrize("size", [(384, 384), (40, 384), (100, 50), (32, 32)])
def test_a_small_picture_is_one_level(size):
    """A painting no larger than the coarsest level is painted at its own size only."""
    (level,) = plan(*size, coarse=384)
    assert (level.height, level.width) == size


@pytest.mark.parametrize("size", [(40, 8000), (8000, 40), (32, 5000)])
def test_an_extreme_shape_keeps_the_minimum_of_the_network(size):
    """Where `coarse` would make the short side too small to be seen, the coarsest level is larger."""
    levels = plan(*size, coarse=64)
    assert min(levels[0].height, levels[0].width) == MINIMUM
    assert all(min(level.height, level.width) >= MINIMUM for level in levels)


@given(odd_sides, odd_sides, st.integers(0, 512))
def test_the_canvas_is_whole_strides_and_holds_picture_and_bleed(height, width, bleed):
    """A canvas is the picture with its bleed on every side, rounded up to the network's stride at the far end."""
    for level in plan(height, width, bleed=bleed):
        rows, cols = level.picture_box
        for span, side, canvas in ((rows, level.height, level.grid.height), (cols, level.width, level.grid.width)):
            assert canvas % STRIDE == 0
            assert (span.start, span.length) == (bleed, side)
            assert bleed <= canvas - span.stop < bleed + STRIDE
        assert level.frame == ((level.grid.height, level.grid.width), (level.height, level.width), bleed)
        assert level.pixels == level.grid.height * level.grid.width


@given(odd_sides, odd_sides)
def test_the_pixels_of_all_tiles_are_counted(height, width):
    """`tile_pixels`, which time and disk are estimated from, is the area that the network sees in a step."""
    level = plan(height, width, tile=1024, overlap=100)[-1]
    assert level.tile_pixels == sum(tile.outer.rows.length * tile.outer.cols.length for tile in level.grid)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=6), st.integers(1, 60))
def test_rounds_add_up_to_the_steps(steps, steps_per_round):
    """Rounds are full but for the last, the steps made before are counted, and the last value serves finer levels."""
    levels = plan(4000, 6000, coarse=200, steps=steps, steps_per_round=steps_per_round)
    made = 0
    for level in levels:
        assert level.steps == steps[min(level.index, len(steps) - 1)]
        assert sum(level.rounds) == level.steps
        assert all(count == steps_per_round for count in level.rounds[:-1])
        assert all(1 <= count <= steps_per_round for count in level.rounds)
        assert level.finished == len(level.rounds) + 1
        assert level.first_step == made
        made += level.steps


def test_without_consensus_a_level_is_one_round():
    """Independent tiles never agree on anything, so all steps of a level are one round; none is no round."""
    levels = plan(1000, 1500, coarse=750, steps=(200, 40), steps_per_round=10, consensus=False)
    assert [level.rounds for level in levels] == [(200,), (40,)]
    assert plan(100, 100, steps=0, consensus=False)[0].rounds == ()


@given(odd_sides, odd_sides, st.integers(MINIMUM, 4000), st.floats(0.05, 10))
def test_the_style_picture_is_scaled_along_but_never_enlarged(height, width, style_side, style_scale):
    """The style's long side is the level's times `style_scale`, and at most its own."""
    for level in plan(height, width, style_side=style_side, style_scale=style_scale):
        wanted = round(max(level.height, level.width) * style_scale)
        assert level.style_side == min(style_side, wanted)


def test_learning_rates_are_listed_like_steps():
    """Every level has its own learning rate; the last one serves all finer levels."""
    levels = plan(4000, 4000, coarse=500, learning_rate=(0.03, 0.02))
    assert [level.learning_rate for level in levels] == [0.03, 0.02, 0.02, 0.02]


@pytest.mark.parametrize("size", [(31, 1000), (1000, 31), (1, 1)])
def test_a_painting_below_the_minimum_is_refused(size):
    """The message tells the size that was found, the least that is wanted, and the way out."""
    with pytest.raises(SettingsError, match=rf"{size[1]} x {size[0]} px, wanted at least 32 px .* --size"):
        plan(*size)
