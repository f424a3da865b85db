"""Single steps of the optimisers, on functions whose minimum is known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from muralist.model.optimizers import (
    FIRST_CHANGE,
    GAIN,
    LARGEST_CHANGE,
    LAST_GRADIENT,
    LAST_STEP,
    OPTIMIZERS,
    PAIRS,
    Planes,
    Steps,
    begin_round,
    end_round,
    start_matrix,
    take_step,
)
from muralist.model.state import AVERAGE, MOMENT1, PIXELS, PLANES, start_state

HEIGHT, WIDTH = 4, 5
SHAPE = (1, 3, HEIGHT, WIDTH)
WEIGHTS = torch.linspace(0.1, 1, HEIGHT, dtype=torch.float64)[:, None] * torch.linspace(1, 0.3, WIDTH)
ONES = torch.ones(HEIGHT, WIDTH, dtype=torch.float64)
ADAM = Steps(count=1, first=0, first_of_level=0, learning_rate=0.01)
LBFGS = Steps(count=1, first=0, first_of_level=0, learning_rate=1.0, optimizer="lbfgs")
Gradient = Callable[[Tensor], Tensor]


def noise(seed: int) -> Tensor:
    """Random float64 numbers in [0, 1) in the shape of a picture."""
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


TARGET = 0.4 + 0.2 * noise(1)
# Condition number 1000: the steepest direction is a thousand times steeper than the flattest.
STEEPNESS = torch.logspace(-1, 2, HEIGHT * WIDTH * 3, dtype=torch.float64).view(SHAPE)


def quadratic(picture: Tensor) -> Tensor:
    """Gradient of an ill-conditioned quadratic with its minimum inside the box."""
    return STEEPNESS * (picture - TARGET)


def grey(steps: Steps, value: float = 0.5) -> Planes:
    """A grey tile that nobody has painted yet, ready for its first round."""
    state = start_state(np.full((HEIGHT, WIDTH, 3), value), steps.optimizer)
    planes = tuple(torch.from_numpy(plane).permute(2, 0, 1)[None] for plane in state)
    return begin_round(planes, quadratic, steps)


def stepped(now: Planes, gradient: Gradient, steps: Steps, count: int, weights: Tensor = ONES) -> Planes:
    """The planes after some steps."""
    for made in range(count):
        now = take_step(now, gradient(now[PIXELS]), weights, steps, made, steps.learning_rate)
    return now


def torch_adam(count: int, betas: tuple[float, float]) -> Tensor:
    """The picture that torch's own Adam gives after some steps from grey."""
    leaf = torch.full(SHAPE, 0.5, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([leaf], lr=0.01, betas=betas, eps=1e-8)
    for _ in range(count):
        leaf.grad = quadratic(leaf.detach())
        optimiser.step()
    return leaf.detach()


@pytest.mark.parametrize("betas", [(0.9, 0.99), (0.5, 0.999)])
def test_adam_is_torch_adam(betas):
    """Steps that need no clipping are those of torch.optim.Adam."""
    found = stepped(grey(ADAM), quadratic, replace(ADAM, betas=betas), 25)
    wanted = torch_adam(25, betas)
    assert 0 < wanted.min() < wanted.max() < 1
    torch.testing.assert_close(found[PIXELS], wanted, rtol=0, atol=1e-12)


def reference(count: int, history: int, weights: Tensor) -> list[np.ndarray]:
    """The pictures that L-BFGS gives from grey, by the textbook: lists of pairs, two loops, a limit."""
    steepness, target, w = (value.numpy().reshape(-1) for value in (STEEPNESS, TARGET, weights.expand(SHAPE)))
    x, pairs, pictures, before = np.full(60, 0.5), [], [], None
    for _ in range(count):
        gradient = steepness * (x - target)
        if before is not None:
            s, y = x - before[0], gradient - before[1]
            pairs = [*pairs, (s, y)][-history:]
        q, alphas = gradient.copy(), []
        for s, y in reversed(pairs):
            alphas.insert(0, np.sum(w * s * q) / np.sum(w * s * y))
            q -= alphas[0] * y
        if pairs:
            s, y = pairs[-1]
            q *= np.sum(w * s * y) / np.sum(w * y * y)
        else:
            q *= FIRST_CHANGE / (np.sum(w * np.abs(q)) / np.sum(w))
        for (s, y), alpha in zip(pairs, alphas, strict=True):
            q += (alpha - np.sum(w * y * q) / np.sum(w * s * y)) * s
        q *= min(1, LARGEST_CHANGE / (np.sum(w * np.abs(q)) / np.sum(w)))
        before = x, gradient
        x = np.clip(x - q, 0, 1)
        pictures.append(x.reshape(SHAPE))
    return pictures


@pytest.mark.parametrize("weights", [ONES, WEIGHTS])
@pytest.mark.parametrize("history", [1, 3, 10])
def test_lbfgs_is_the_textbooks(history, weights):
    """Every step is that of the two-loop recursion over the last pairs, pixels counted by the tile's blend weights."""
    now, steps = grey(LBFGS), replace(LBFGS, history=history)
    for made, wanted in enumerate(reference(12, history, weights)):
        now = take_step(now, quadratic(now[PIXELS]), weights, steps, made, 1.0)
        np.testing.assert_allclose(now[PIXELS], wanted, rtol=0, atol=1e-9)
    assert len(now) == PAIRS + 2 * history


def test_lbfgs_is_torchs_where_nothing_limits_it():
    """From the second step on, steps of a well-behaved quadratic are those of torch.optim.LBFGS without line search."""
    steps = replace(LBFGS, history=5)
    now = stepped(grey(steps), quadratic, steps, 1)
    leaf = torch.full(SHAPE, 0.5, dtype=torch.float64, requires_grad=True)
    first = quadratic(leaf.detach())
    # torch's first step is min(1, 1 / |g|_1) * lr * g: this rate makes it ours.
    rate = FIRST_CHANGE / float(first.abs().mean()) / min(1.0, 1 / float(first.abs().sum()))
    optimiser = torch.optim.LBFGS([leaf], lr=rate, max_iter=1, history_size=5, tolerance_grad=0, tolerance_change=0)

    def closure() -> Tensor:
        leaf.grad = quadratic(leaf.detach())
        return leaf.new_zeros(())  # nobody looks at it

    optimiser.step(closure)
    torch.testing.assert_close(now[PIXELS], leaf.detach(), rtol=0, atol=1e-12)
    optimiser.param_groups[0]["lr"] = 1.0
    for made in range(1, 8):
        optimiser.step(closure)
        now = take_step(now, quadratic(now[PIXELS]), ONES, steps, made, 1.0)
        torch.testing.assert_close(now[PIXELS], leaf.detach(), rtol=0, atol=1e-8)


def test_lbfgs_finds_the_bottom_of_a_valley():
    """In a narrow valley that no axis follows, L-BFGS is further down after 100 steps than Adam after a thousand."""
    turn, _ = torch.linalg.qr(torch.randn(60, 60, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    hessian = turn * STEEPNESS.flatten() @ turn.T

    def slope(picture: Tensor) -> Tensor:
        return (hessian @ (picture - TARGET).flatten()).view(SHAPE)

    def above(picture: Tensor) -> float:
        return float((picture - TARGET).flatten() @ slope(picture).flatten())

    start = above(grey(ADAM)[PIXELS])
    newton = above(stepped(grey(LBFGS), slope, LBFGS, 100)[PIXELS])
    assert newton < 1e-5 * start
    assert newton < 0.1 * above(stepped(grey(ADAM), slope, ADAM, 1000)[PIXELS])


def test_moments_travel():
    """One round of ten steps of Adam is two of five, to the last bit and in all planes; forgetting would show."""
    once = stepped(grey(ADAM), quadratic, ADAM, 10)
    half = stepped(grey(ADAM), quadratic, ADAM, 5)
    later = replace(ADAM, first=5, first_of_level=5)
    twice = stepped(begin_round(end_round(half, ADAM), quadratic, ADAM), quadratic, later, 5)
    assert all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))
    blank = (half[PIXELS], half[AVERAGE], *(torch.zeros_like(plane) for plane in half[MOMENT1:]))
    forgetful = stepped(blank, quadratic, later, 5)
    assert (forgetful[PIXELS] - once[PIXELS]).abs().max() > 1e-4


def test_the_last_step_travels():
    """Two rounds of L-BFGS are one that remembers a single pair at the middle: the last step, and its gradient's."""
    half = stepped(grey(LBFGS), quadratic, LBFGS, 5)
    state = end_round(half, LBFGS)
    assert len(state) == PLANES["lbfgs"]
    again = begin_round(state, quadratic, LBFGS)
    torch.testing.assert_close(again[LAST_GRADIENT], half[LAST_GRADIENT], rtol=0, atol=1e-12)
    forgotten = half[:PAIRS]
    for a, b in zip(*(stepped(planes, quadratic, LBFGS, 3) for planes in (again, forgotten)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("steps", [ADAM, LBFGS])
def test_steps_change_nothing_in_place(steps):
    """A step makes new planes; the old ones and the gradient stay, so that it can be taken back."""
    now = stepped(grey(steps), quadratic, steps, 4)
    slope = quadratic(now[PIXELS])
    kept, kept_slope = [plane.clone() for plane in now], slope.clone()
    take_step(now, slope, ONES, replace(steps, first_of_level=4), 0, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(now, kept, strict=True))
    assert torch.equal(slope, kept_slope)


@pytest.mark.parametrize("steps", [replace(ADAM, learning_rate=0.9), LBFGS])
def test_pixels_are_clipped(steps):
    """Pixels that a minimum outside the colour range pulls stay within it, and the last step is the one really made."""
    now = stepped(grey(steps), lambda picture: picture - torch.where(TARGET > 0.5, 7.0, -7.0), steps, 12)
    assert set(now[PIXELS].unique().tolist()) == {0.0, 1.0}
    assert 0 <= now[AVERAGE].min() <= now[AVERAGE].max() <= 1
    if steps.optimizer == "lbfgs":
        assert not now[LAST_STEP].any()


def test_the_last_step_is_the_one_that_was_made():
    """What L-BFGS remembers of a step is where it ended, not where it would have gone without clipping."""
    now = grey(LBFGS, value=0.999)
    after = take_step(now, -torch.ones(SHAPE, dtype=torch.float64), ONES, LBFGS, 0, 1.0)
    assert torch.equal(after[PIXELS], torch.ones_like(after[PIXELS]))
    assert torch.equal(after[LAST_STEP], after[PIXELS] - now[PIXELS])


@pytest.mark.parametrize("weights", [ONES, WEIGHTS])
def test_the_first_step_has_a_size(weights):
    """Without any pair the step goes down the gradient, by a hundredth of the colour range on the weighted mean."""
    after = take_step(grey(LBFGS), 1e6 * quadratic(grey(LBFGS)[PIXELS]), weights, LBFGS, 0, 0.5)
    step = after[LAST_STEP]
    assert float((step.abs() * weights).sum() / weights.sum() / 3) == pytest.approx(0.5 * FIRST_CHANGE, rel=1e-9)
    ratio = step / quadratic(grey(LBFGS)[PIXELS])
    torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio.mean())))
    assert float(ratio.mean()) < 0


@pytest.mark.parametrize("weights", [ONES, WEIGHTS])
def test_steps_are_limited(weights):
    """Where the Newton step is a leap, the mean change is a tenth of the colour range times the learning rate."""
    pair = 0.001 * torch.ones(SHAPE, dtype=torch.float64)
    now = (*grey(LBFGS), pair, 1e-6 * pair)
    slope = torch.full(SHAPE, -1.0, dtype=torch.float64)  # the Newton step is 1e6
    for rate in (1.0, 0.5):
        after = take_step(now, slope, weights, replace(LBFGS, first_of_level=1), 0, rate)
        wanted = torch.full_like(slope, rate * LARGEST_CHANGE)
        torch.testing.assert_close(after[LAST_STEP], wanted, rtol=1e-9, atol=0)


def pairs_of(now: Planes) -> list[tuple[Tensor, Tensor]]:
    """The remembered steps and the changes of the gradient that they made, oldest first."""
    half = (len(now) - PAIRS) // 2
    return list(zip(now[PAIRS : PAIRS + half], now[PAIRS + half :], strict=True))


def test_pairs_are_remembered_oldest_first():
    """After every step the newest pair is the step before and what it changed; the oldest is dropped."""
    now, made, steps = grey(LBFGS), [], replace(LBFGS, history=2)
    for number in range(5):
        before = now
        now = take_step(now, quadratic(now[PIXELS]), ONES, steps, number, 1.0)
        if number:
            made.append((before[LAST_STEP], now[LAST_GRADIENT] - before[LAST_GRADIENT]))
    for (s, y), (wanted_s, wanted_y) in zip(pairs_of(now), made[-2:], strict=True):
        assert torch.equal(s, wanted_s)
        assert torch.equal(y, wanted_y)


def test_negative_curvature_is_not_remembered():
    """Where the gradient grows along the step taken, there is no minimum to jump to: only the other pairs count."""
    now = stepped(grey(LBFGS), quadratic, LBFGS, 4)
    slope = now[LAST_GRADIENT] - now[LAST_STEP]  # change = -step: curvature below zero
    after = take_step(now, slope, ONES, replace(LBFGS, first_of_level=4), 0, 1.0)
    for (s, y), (wanted_s, wanted_y) in zip(pairs_of(after), pairs_of(now), strict=True):
        assert torch.equal(s, wanted_s)
        assert torch.equal(y, wanted_y)
    assert torch.equal(after[LAST_GRADIENT], slope)


def test_a_hill_is_descended():
    """On a function that curves down everywhere L-BFGS walks down the gradient in steps of the first step's size."""
    now = grey(LBFGS)
    for number in range(4):
        slope = TARGET - now[PIXELS]
        now = take_step(now, slope, ONES, LBFGS, number, 1.0)
        torch.testing.assert_close(now[LAST_STEP], -FIRST_CHANGE * slope / slope.abs().mean(), rtol=1e-9, atol=1e-15)
    assert len(now) == PAIRS


@pytest.mark.parametrize("made", [0, 4])
@pytest.mark.parametrize("steps", [ADAM, LBFGS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_slope_no_step(steps, made, dtype):
    """A gradient that is exactly zero moves nothing (but for Adam's momentum) and makes no NaN, again and again."""
    now = stepped(grey(steps), quadratic, steps, made)
    now = tuple(plane.to(dtype) for plane in now)
    zero, weights = torch.zeros(SHAPE, dtype=dtype), ONES.to(dtype)
    for more in range(3):
        after = take_step(now, zero, weights, replace(steps, first=made, first_of_level=made), more, 1.0)
        assert all(plane.isfinite().all() for plane in after)
        if steps.optimizer == "lbfgs" or not made:
            assert torch.equal(after[PIXELS], now[PIXELS])
        now = after


@pytest.mark.parametrize("factor", [1e-25, 1e25])
def test_lbfgs_does_not_depend_on_units(factor):
    """In float32, losses so small or large that their squares leave its range give the same picture."""
    start = tuple(plane.float() for plane in grey(LBFGS))
    usual, other = (
        stepped(start, lambda picture, f=f: (quadratic(picture.double()) * f).float(), LBFGS, 6, ONES.float())
        for f in (1.0, factor)
    )
    torch.testing.assert_close(other[PIXELS], usual[PIXELS], rtol=0, atol=1e-3)


def test_the_average_follows_whatever_optimises():
    """The moving average is that of the pixels, and starts anew at the first step of a level."""
    for steps in (ADAM, LBFGS):
        now = stepped(grey(steps), quadratic, steps, 3)
        iterates = [stepped(grey(steps), quadratic, steps, count)[PIXELS] for count in (1, 2, 3)]
        torch.testing.assert_close(now[AVERAGE], torch.stack(iterates).mean(0), rtol=0, atol=1e-12)
        anew = take_step(now, quadratic(now[PIXELS]), ONES, replace(steps, first=3), 0, 0.01)
        assert torch.equal(anew[AVERAGE], anew[PIXELS])


def test_there_are_as_many_planes_as_are_needed():
    """A state has the planes its optimizer keeps, and every optimizer has a count."""
    assert set(PLANES) == set(OPTIMIZERS)
    for optimizer, count in PLANES.items():
        state = start_state(np.full((2, 3, 3), 0.5), optimizer)
        assert state.shape == (count, 2, 3, 3)
        assert (state[:2] == 0.5).all()
        assert not state[2:].any()


# --------------------------------------------------------------------------------------------- in several resolutions


def enlargement(height: int, width: int, factor: int) -> np.ndarray:
    """Bilinear enlargement by a factor as a matrix, made column by column from torch's own."""
    small = torch.eye(height // factor * (width // factor), dtype=torch.float64)
    pictures = small.view(-1, 1, height // factor, width // factor)
    large = torch.nn.functional.interpolate(pictures, size=(height, width), mode="bilinear")
    return large.flatten(1).T.numpy()


@pytest.mark.parametrize("resolutions", [1, 2, 3, 4])
def test_the_start_matrix_is_that_of_planes_optimized_together(resolutions):
    """It is A A^T, with A the sum of a picture's own plane and of coarser ones, enlarged and times the gain."""
    height, width = 8, 16
    parts = [np.eye(height * width)]
    parts += [GAIN * enlargement(height, width, 2**k) for k in range(1, resolutions)]
    together = np.hstack(parts)
    values = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    wanted = values.numpy().reshape(3, -1) @ (together @ together.T)
    np.testing.assert_allclose(start_matrix(values, resolutions).numpy().reshape(3, -1), wanted, rtol=0, atol=1e-12)


def test_the_start_matrix_suits_every_size():
    """Where a side is no multiple of the coarsest plane's, it is still symmetric and positive, and changes nothing."""
    basis = torch.eye(5 * 11, dtype=torch.float64).view(-1, 1, 5, 11)
    matrix = torch.stack([start_matrix(one[None], 4)[0].flatten() for one in basis])
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-12)
    assert torch.linalg.eigvalsh(matrix).min() >= 1 - 1e-12


def test_the_start_matrix_reaches_no_further_than_it_says():
    """A change shows within 2^resolutions pixels only, so a tile whose margin is that wide knows its values exactly."""
    values = torch.zeros(1, 1, 96, 96, dtype=torch.float64)
    values[..., 48, 48] = 1
    rows = start_matrix(values, 4)[0, 0].abs().sum(1).nonzero().flatten() - 48
    assert rows.abs().max() <= 2**4
    assert rows.abs().max() > 8


def test_several_resolutions_change_large_areas_sooner():
    """A wide bump is filled sooner from several resolutions than from pixels, whose start treats all scales alike."""
    side = 32
    rows = torch.linspace(-1, 1, side, dtype=torch.float64)
    bump = 0.3 * torch.exp(-4 * (rows[:, None].square() + rows.square())).expand(1, 3, side, side)

    def slope(picture: Tensor) -> Tensor:
        """Fine scales are steep, coarse ones flat: the Hessian is the squared Laplacian, and a little."""
        apart = picture - 0.4 - bump
        for _ in range(2):
            apart = 4 * apart - sum(apart.roll(shift, dim) for shift in (1, -1) for dim in (-1, -2))
        return apart + 0.01 * (picture - 0.4 - bump)

    def left(resolutions: int) -> float:
        steps = replace(LBFGS, resolutions=resolutions)
        state = start_state(np.full((side, side, 3), 0.4), "lbfgs")
        now = begin_round(tuple(torch.from_numpy(p).permute(2, 0, 1)[None] for p in state), slope, steps)
        now = stepped(now, slope, steps, 12, torch.ones(side, side, dtype=torch.float64))
        return float((now[PIXELS] - 0.4 - bump).square().mean())

    assert left(4) < 0.5 * left(1)
