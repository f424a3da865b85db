"""The tile optimizer: a render in tiles is the render in one piece, and the state that travels."""

from dataclasses import replace

import numpy as np
import pytest
from facts import having
from scenes import LBFGS, crop, one_tile, paint_alone, render, shallow_grid, shallow_scene, window

from muralist.model.errors import DivergedError
from muralist.model.optimizers import StepSchedule
from muralist.model.state import PIXELS, StateLayout
from muralist.model.statistics import total


@pytest.mark.integration
def test_render_in_tiles_is_the_render_in_one_piece():
    """At one step a round, a render in four tiles stays within 1e-3 of the untiled one: every pixel, every loss."""
    scene = shallow_scene()
    assert shallow_grid(scene).shape == (2, 2)
    # Larger steps would carry some feature across a kink of its ReLU in one render a step before the other.
    tiled, tiled_losses = render(scene, shallow_grid(scene), rounds=12, per_round=1, learning_rate=0.005)
    whole, whole_losses = render(scene, one_tile(scene), rounds=12, per_round=1, learning_rate=0.005)
    assert np.abs(whole[PIXELS] - scene.picture).mean() > 0.03
    moments = StateLayout("adam").kept
    np.testing.assert_allclose(tiled[: moments.start], whole[: moments.start], rtol=0, atol=1e-3)
    for plane in range(moments.start, moments.stop):
        np.testing.assert_allclose(tiled[plane], whole[plane], rtol=0, atol=1e-3 * np.abs(whole[plane]).max())
    assert tiled_losses == pytest.approx(whole_losses, rel=1e-3)


def test_lbfgs_lowers_the_loss():
    """In one piece, L-BFGS brings the loss down further than as many steps of Adam."""
    scene = shallow_scene()
    first = scene.losses(scene.picture)
    state, newton = render(scene, one_tile(scene), rounds=4, per_round=5, **LBFGS)
    _, adam = render(scene, one_tile(scene), rounds=4, per_round=5)
    assert len(state) == StateLayout("lbfgs").planes
    assert newton["total"] < 0.3 * first["total"]
    assert newton["total"] < adam["total"]


@pytest.mark.integration
@pytest.mark.parametrize("style_weight", [2.0, 200.0])
def test_lbfgs_in_tiles_ends_where_it_does_in_one_piece(style_weight):
    """With five steps a round, four tiles that each know their own curvature end near the untiled loss."""
    scene = shallow_scene().aiming_at(style_weight=style_weight)
    _, whole = render(scene, one_tile(scene), rounds=6, per_round=5, **LBFGS)
    _, tiled = render(scene, shallow_grid(scene), rounds=6, per_round=5, **LBFGS)
    assert tiled["total"] == pytest.approx(whole["total"], rel=0.15)


@pytest.mark.integration
def test_consensus_keeps_tiles_together_for_several_steps():
    """At five steps a round, consensus stays close to the untiled render; tiles left to themselves paint another."""
    scene = shallow_scene()
    whole, wanted = render(scene, one_tile(scene), rounds=2, per_round=5)
    agreed, agreed_losses = render(scene, shallow_grid(scene), rounds=2, per_round=5)
    alone, alone_losses = render(scene, shallow_grid(scene), rounds=2, per_round=5, consensus=False)
    drift = [float(np.abs(state[PIXELS] - whole[PIXELS]).mean()) for state in (agreed, alone)]
    assert agreed_losses["style"] == pytest.approx(wanted["style"], rel=0.1)
    assert agreed_losses["content"] == pytest.approx(wanted["content"], rel=0.05)
    assert alone_losses["style"] != pytest.approx(wanted["style"], rel=0.2)
    assert drift[0] < 0.02
    assert drift[1] > 2 * drift[0]


def test_moments_travel_from_round_to_round():
    """Two rounds of five steps are one round of ten, for all planes of the state and the sums."""
    scene = shallow_scene()
    state, sums = StateLayout().start(scene.picture), scene.measured(scene.picture, one_tile(scene))
    steps = StepSchedule(count=10, first=3, first_of_level=2, learning_rate=0.02)
    once, once_sums = paint_alone(scene, state, sums, steps)
    half, half_sums = paint_alone(scene, state, sums, replace(steps, count=5))
    twice, twice_sums = paint_alone(scene, half, half_sums, replace(steps, count=5, first=8, first_of_level=7))
    for plane in range(4):
        np.testing.assert_allclose(twice[plane], once[plane], rtol=0, atol=1e-9 * np.abs(once[plane]).max())
    np.testing.assert_allclose(twice_sums["style gram relu3_1"], once_sums["style gram relu3_1"], rtol=1e-7)
    half[StateLayout("adam").kept] = 0
    forgetful, _ = paint_alone(scene, half, half_sums, replace(steps, count=5, first=8, first_of_level=7))
    assert np.abs(forgetful[PIXELS] - once[PIXELS]).max() > 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_painting_is_pure(dtype):
    """A tile painted twice from the same arguments comes out bit by bit the same; the arguments are left alone."""
    scene = shallow_scene()
    state, sums = StateLayout().start(scene.picture.astype(dtype)), scene.measured(scene.picture, one_tile(scene))
    kept, gram = state.copy(), sums["style gram relu1_1"].copy()
    state.flags.writeable = False
    steps = StepSchedule(count=2, first=0, first_of_level=0, learning_rate=0.02)
    (first, first_sums), (second, second_sums) = (paint_alone(scene, state, sums, steps) for _ in range(2))
    assert first.dtype == dtype
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first_sums["style gram relu3_1"], second_sums["style gram relu3_1"])
    assert first_sums["tv 1 0"] == second_sums["tv 1 0"]
    np.testing.assert_array_equal(state, kept)
    np.testing.assert_array_equal(sums["style gram relu1_1"], gram)
    assert np.abs(first[PIXELS] - kept[PIXELS]).max() > 0.01


def test_sums_are_those_of_the_painted_tile():
    """What a round returns beside the state are the sums after its last step, which the next round starts from."""
    scene = shallow_scene()
    sums = scene.measured(scene.picture, one_tile(scene))
    steps = StepSchedule(count=2, first=0, first_of_level=0, learning_rate=0.02)
    state, found = paint_alone(scene, StateLayout().start(scene.picture), sums, steps)
    wanted = scene.measured(state[PIXELS], one_tile(scene))
    np.testing.assert_array_equal(found["style gram relu2_1"], wanted["style gram relu2_1"])
    assert found["content error relu2_2"] == wanted["content error relu2_2"]
    assert found["tv 1 0"] == wanted["tv 1 0"]


def test_painting_lowers_the_loss():
    """Some steps bring style and content losses down by a good part."""
    scene = shallow_scene()
    first = scene.losses(scene.picture)
    _, last = render(scene, one_tile(scene), rounds=1, per_round=10)
    assert last["style"] < 0.5 * first["style"]
    assert last["content"] < 0.5 * first["content"]


@pytest.mark.parametrize("rate", [0.02, 0.5])
def test_pixels_stay_in_range(rate):
    """Pixels and their average stay in [0, 1] and finite, however large the steps."""
    scene = shallow_scene()
    sums = scene.measured(scene.picture, one_tile(scene))
    steps = StepSchedule(count=4, first=0, first_of_level=0, learning_rate=rate)
    state, _ = paint_alone(scene, StateLayout().start(scene.picture), sums, steps)
    assert np.isfinite(state).all()
    for plane in (PIXELS, StateLayout().painting):
        assert state[plane].min() >= 0
        assert state[plane].max() <= 1
    assert (state[PIXELS] == 0).any()
    assert (state[PIXELS] == 1).any()


def test_a_broken_state_is_reported():
    """A tile with a pixel that is not a number is an error, not a black spot."""
    scene = shallow_scene()
    state, sums = StateLayout().start(scene.picture), scene.measured(scene.picture, one_tile(scene))
    state[PIXELS, 40, 50, 1] = np.nan
    with pytest.raises(DivergedError, check=having(step=0)):
        paint_alone(scene, state, sums, StepSchedule(3, first=0, first_of_level=0, learning_rate=0.02))


def test_tile_optimizers_see_only_their_tile():
    """What lies outside a tile's outer box reaches it through the sums alone."""
    scene, steps = shallow_scene(), StepSchedule(2, first=0, first_of_level=0, learning_rate=0.02)
    grid = shallow_grid(scene)
    tile, sums = grid[0], scene.measured(scene.picture, grid)
    arguments = scene.tile_content(tile), window(grid, tile)
    state = crop(StateLayout().start(scene.picture), tile.outer)
    same, _ = scene.tile_optimizer.paint(state, *arguments, sums, steps)
    other, _ = scene.tile_optimizer.paint(state, *arguments, total([sums, sums]), steps)
    alone, _ = scene.tile_optimizer.paint(state, *arguments, sums, steps, consensus=False)
    again, _ = scene.tile_optimizer.paint(
        state, *arguments, {n: 2 * v if "gram" in n else v for n, v in sums.items()}, steps, consensus=False
    )
    assert np.abs(other[PIXELS] - same[PIXELS]).max() > 1e-3
    np.testing.assert_array_equal(again, alone)
