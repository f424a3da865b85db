"""The pyramid: sizes from coarse to fine, and the steps, rounds and style size of each."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from facts import having
from hypothesis import given
from hypothesis import strategies as st
from pictures import picture_box

from muralist.pipeline.errors import SettingsError
from muralist.pipeline.levels import Level, plan_levels
from muralist.pipeline.settings import Settings
from muralist.tiling.errors import TileTooSmallError

STRIDE, MINIMUM = 16, 32
SEVERAL = {"base_size": 400, "tile": 256, "overlap": 64}  # tiles, in a picture of 100 x 400 px


def plan(
    height: int, width: int, *, styles: Sequence[tuple[int, float]] = ((5000, 1.0),), **settings: object
) -> tuple[Level, ...]:
    """The levels of a painting under a network of the usual stride."""
    return plan_levels(height, width, styles, Settings(**settings), STRIDE, MINIMUM)


sides = st.integers(600, 9_000)  # shapes that `base_size` does not make too thin for the network
odd_sides = st.integers(MINIMUM, 20_000)


@given(sides, sides)
def test_the_coarsest_level_always_has_the_same_long_side(height, width):
    """A preview is the first level of the poster: its long side is `base_size`, whatever the final size."""
    first = plan(height, width, base_size=500)[0]
    assert max(first.height, first.width) == 500


@given(odd_sides, odd_sides, st.integers(64, 1024))
def test_levels_end_with_the_final_size_and_never_more_than_double(height, width, coarse):
    """The last level is the painting, and a side grows by a factor of at most two (plus rounding) but never shrinks."""
    levels = plan(height, width, base_size=coarse)
    assert (levels[-1].height, levels[-1].width) == (height, width)
    assert [level.index for level in levels] == list(range(len(levels)))
    for before, level in pairwise(levels):
        assert before.height <= level.height <= 2 * before.height + 1
        assert before.width <= level.width <= 2 * before.width + 1
        assert (before.height, before.width) != (level.height, level.width)


def test_sizes_are_spread_evenly():
    """The levels between the coarsest and the final one grow in proportion, without a small last step."""
    assert [level.width for level in plan(1000, 4000, base_size=1000)] == [1000, 2000, 4000]
    assert [level.width for level in plan(1000, 3000, base_size=1000)] == [1000, 1732, 3000]


@pytest.mark.parametrize("size", [(384, 384), (40, 384), (100, 50), (32, 32)])
def test_a_small_picture_is_one_level(size):
    """A painting no larger than the coarsest level is painted at its own size only."""
    (level,) = plan(*size, base_size=384)
    assert (level.height, level.width) == size


@pytest.mark.parametrize("size", [(40, 8000), (8000, 40), (32, 5000)])
def test_an_extreme_shape_keeps_the_minimum_of_the_network(size):
    """Where `base_size` would make the short side too small to be seen, the coarsest level is larger."""
    levels = plan(*size, base_size=64)
    assert min(levels[0].height, levels[0].width) == MINIMUM
    assert all(min(level.height, level.width) >= MINIMUM for level in levels)


@given(odd_sides, odd_sides, st.integers(0, 512))
def test_the_canvas_is_the_picture_and_its_margin(height, width, margin):
    """A canvas is the picture with its margin on every side, and nothing more, whatever the network's stride."""
    for level in plan(height, width, edge_margin=margin):
        rows, cols = picture_box(level)
        for span, side, canvas in ((rows, level.height, level.grid.height), (cols, level.width, level.grid.width)):
            assert (span.start, span.length, canvas) == (margin, side, side + 2 * margin)
        assert level.frame == ((level.grid.height, level.grid.width), (level.height, level.width), margin)
        assert level.pixels == level.grid.height * level.grid.width


@given(odd_sides, odd_sides)
def test_the_pixels_of_all_tiles_are_counted(height, width):
    """`tile_pixels`, which time and disk are estimated from, is the area that the network sees in a step."""
    level = plan(height, width, tile=1024, overlap=100)[-1]
    assert level.tile_pixels == sum(tile.outer.rows.length * tile.outer.cols.length for tile in level.grid)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=6), st.integers(1, 60))
def test_rounds_add_up_to_the_steps(steps, steps_per_round):
    """Rounds are full but for the last, the steps made before are counted, and the last value serves finer levels."""
    levels = plan(4000, 6000, base_size=200, steps=steps, steps_per_round=steps_per_round, optimizer="adam")
    made = 0
    for level in levels:
        assert level.steps == steps[min(level.index, len(steps) - 1)]
        assert sum(level.rounds) == level.steps
        assert all(count == steps_per_round for count in level.rounds[:-1])
        assert all(1 <= count <= steps_per_round for count in level.rounds)
        assert [level.steps_after(n) for n in (0, len(level.rounds))] == [0, level.steps]
        assert level.first_step == made
        made += level.steps


@pytest.mark.parametrize(
    ("given", "steps", "of_one_level"),
    [
        ({}, (120, 80, 15, 10, 25), 120),
        ({"steps": (30, 20)}, (30, 20, 20, 20, 20), 30),
        ({"finest_steps": (90, 70)}, (120, 80, 15, 10, 70), 90),
        ({"steps": (30, 20), "finest_steps": 50}, (30, 20, 20, 20, 50), 50),
    ],
)
def test_the_finest_level_has_steps_of_its_own(given, steps, of_one_level):
    """By default it has more than a level that is enlarged afterwards; what is set for all levels counts for it."""
    assert tuple(level.steps for level in plan(1800, 2400, **given)) == steps
    assert [level.steps for level in plan(100, 100, **given)] == [of_one_level]


@pytest.mark.parametrize(
    ("steps", "steps_per_round", "rounds"),
    [
        (60, 10, (2, 3, 5, 10, 10, 10, 10, 5, 3, 2)),
        (25, 10, (2, 3, 5, 10, 3, 2)),
        (20, 4, (2, 2, 4, 4, 4, 2, 2)),
        (18, 5, (2, 3, 5, 6, 2)),
        (7, 10, (2, 3, 2)),
        (11, 10, (2, 7, 2)),
        (5, 10, (5,)),
        (4, 10, (2, 2)),
        (3, 10, (3,)),
        (2, 10, (2,)),
        (3, 2, (2, 1)),
        (0, 10, ()),
    ],
)
def test_rounds_of_lbfgs_are_short_at_both_ends(steps, steps_per_round, rounds):
    """Tiles meet after 2 and 5 steps as well, and as long before the end; never more often than every step."""
    (level,) = plan(100, 400, steps=steps, steps_per_round=steps_per_round, **SEVERAL)
    assert len(level.grid) > 1
    assert level.rounds == rounds


@pytest.mark.parametrize(
    ("asked", "alone", "several", "of_adam"),
    [
        (None, (25, 15), (2, 3, 5, 5, 5, 5, 5, 5, 3, 2), (10, 10, 10, 10)),
        (20, (20, 20), (2, 3, 15, 15, 3, 2), (20, 20)),
    ],
)
def test_a_tile_alone_has_longer_rounds(asked, alone, several, of_adam):
    """A tile that nobody has to agree with has longer rounds, none of them short, unless their steps are asked for."""
    assert plan(100, 100, steps=40, steps_per_round=asked, content_weight=9)[0].rounds == alone
    assert plan(100, 400, steps=40, steps_per_round=asked, **SEVERAL)[0].rounds == several
    assert plan(100, 400, steps=40, steps_per_round=asked, **SEVERAL | {"optimizer": "adam"})[0].rounds == of_adam


def test_rounds_are_shorter_while_weights_are_tuned():
    """`strength` finds its weights from round to round of the coarsest levels; a given weight needs no search."""
    assert [level.rounds for level in plan(768, 768, steps=30)] == [(12, 12, 6), (12, 12, 6), (25, 5)]
    assert [level.rounds for level in plan(768, 768, steps=30, content_weight=9)] == [(25, 5)] * 3


def test_without_consensus_a_level_is_one_round():
    """Independent tiles never agree on anything, so all steps of a level are one round; none is no round."""
    levels = plan(1000, 1500, base_size=750, steps=(200, 40), steps_per_round=10, consensus=False)
    assert [level.rounds for level in levels] == [(200,), (40,)]
    assert plan(100, 100, steps=0, consensus=False)[0].rounds == ()


@given(st.lists(st.integers(0, 300), min_size=1, max_size=6), st.integers(1, 60), st.integers(1, 400), st.booleans())
def test_rounds_are_cut_where_a_snapshot_is_due(steps, steps_per_round, snapshot_every, consensus):
    """A round ends after every so many steps of the run and every so many of the level, and nowhere else."""
    settings = {
        "steps": steps,
        "steps_per_round": steps_per_round,
        "snapshot_every": snapshot_every,
        "consensus": consensus,
    }
    settings["optimizer"] = "adam"
    levels = plan(4000, 6000, base_size=200, **settings)
    for level in levels:
        ends = [level.steps_after(made) for made in range(1, len(level.rounds) + 1)]
        of_run = [end for end in range(1, level.steps + 1) if (level.first_step + end) % snapshot_every == 0]
        of_level = list(range(steps_per_round, level.steps + 1, steps_per_round))
        assert list(level.saves) == of_run
        assert ends == sorted({*of_run, *of_level, *([level.steps] if level.steps else [])})


@pytest.mark.parametrize("look", [{"snapshot_every": 1000}, {"iterate": "best"}, {"early_stop": 0.01}])
def test_looks_make_rounds_of_independent_tiles(look):
    """Where the canvas has to be looked at on the way, independent tiles have rounds too."""
    (level,) = plan(100, 100, steps=20, steps_per_round=8, consensus=False, **look)
    assert level.rounds == (8, 8, 4)


def test_chunks_are_the_grid_of_every_level():
    """Every level is cut into so many rows and columns, but for chunks below the network's minimum."""
    levels = plan(300, 900, base_size=128, tile_grid=(2, 3), overlap=0)
    assert [level.grid.shape for level in levels] == [(1, 3), (2, 3), (2, 3), (2, 3)]
    assert all(min(tile.outer.shape) >= MINIMUM for level in levels for tile in level.grid)
    assert sum(tile.outer.shape[0] * tile.outer.shape[1] for tile in levels[-1].grid) == levels[-1].pixels


@given(odd_sides, odd_sides, st.lists(st.tuples(st.integers(MINIMUM, 4000), st.floats(0.05, 10)), max_size=3))
def test_style_pictures_are_scaled_along_but_never_enlarged(height, width, styles):
    """Every style picture's long side is the level's times its own scale, and at most its own."""
    for level in plan(height, width, styles=styles):
        wanted = [round(max(level.height, level.width) * scale) for _, scale in styles]
        assert level.style_sides == tuple(min(side, fitted) for (side, _), fitted in zip(styles, wanted, strict=True))


def test_learning_rates_are_listed_like_steps():
    """Every level has its own learning rate; the last one serves all finer levels."""
    levels = plan(4000, 4000, base_size=500, learning_rate=(0.03, 0.02))
    assert [level.learning_rate for level in levels] == [0.03, 0.02, 0.02, 0.02]


@pytest.mark.parametrize("size", [(31, 1000), (1000, 31), (1, 1)])
def test_a_painting_below_the_minimum_is_refused(size):
    """The message tells the size that was found, the least that is wanted, and the way out."""
    with pytest.raises(SettingsError, match=rf"{size[1]} x {size[0]} px, .*\b32 px .*--size"):
        plan(*size)


# ------------------------------------------------------------------------------------------------------- smaller tiles


@given(sides, sides, st.sampled_from([None, (1, 1), (2, 3), (1, 5)]))
def test_half_the_tile_is_at_least_twice_as_many(height, width, tile_grid):
    """Halving cuts the same canvas into more and smaller tiles, and changes nothing else."""
    level = plan(height, width, tile=1024, overlap=64, tile_grid=tile_grid)[-1]
    halved = level.halved()
    assert halved.halvings > level.halvings == 0
    assert replace(halved, halvings=0) == level
    assert (halved.grid.height, halved.grid.width, halved.frame) == (level.grid.height, level.grid.width, level.frame)
    assert len(halved.grid) > len(level.grid)
    largest = [max(max(tile.outer.shape) for tile in each.grid) for each in (level, halved)]
    assert largest[1] < largest[0]


def test_tiles_are_halved_again_and_again():
    """A tile of 1024 px becomes 512, 256 and 128 px; smaller than two overlaps it may not be."""
    level = plan(3000, 4000, tile=1024, overlap=64)[-1]
    sides = []
    for _ in range(3):
        level = level.halved()
        sides.append(max(max(tile.outer.shape) for tile in level.grid))
    assert all(found <= wanted + 15 for found, wanted in zip(sides, (512, 256, 128), strict=True))
    with pytest.raises(TileTooSmallError, check=having(tile=64, overlap=64)):
        level.halved()


def test_what_fits_one_tile_is_halved_until_it_does_not():
    """A small canvas under a large tile is cut at once, not halved to no effect."""
    level = plan(200, 200, tile=2048, overlap=32)[-1]
    assert len(level.grid) == 1
    assert level.halved().halvings == 4
    assert level.halved().grid.shape == (2, 2)


def test_no_tile_is_smaller_than_the_network_can_see():
    """Neither at first, nor where tiles of `tile_grid` are halved, of which the first is not always the smallest."""
    with pytest.raises(SettingsError, match=r"got tiles of 64 px, wanted at least 128 px .* --tile 128 or more"):
        plan_levels(300, 400, [], Settings(tile=64, overlap=0, base_size=300), 64, 128)
    level = plan_levels(117, 64, [], Settings(tile=90, overlap=6, tile_grid=(3, 1), base_size=192), 32, 64)[-1]
    with pytest.raises(TileTooSmallError):
        level.halved()


def test_chunks_are_halved_too():
    """Twice as many rows and columns of tile_grid, as long as the network can see each."""
    level = plan(300, 900, base_size=1000, tile_grid=(2, 3), overlap=0)[-1].halved()
    assert level.grid.shape == (4, 6)
    level = level.halved()
    assert level.grid.shape == (8, 12)
    with pytest.raises(TileTooSmallError):
        level.halved()
