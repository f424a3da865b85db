"""L-BFGS: the textbook's steps, on functions whose minimum is known, and the matrix it starts from."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from quadratics import ONES, SHAPE, STEEPNESS, TARGET, WEIGHTS, begun, gray, noise, quadratic, stepped, take
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from muralist.model import lbfgs as lbfgs_module
from muralist.model.lbfgs import FIRST_CHANGE, GAIN, GROWTH, LARGEST_CHANGE, LEAST_CHANGE, StartMatrix
from muralist.model.lbfgs import LBFGS as Newton
from muralist.model.optimizers import StepSchedule
from muralist.model.state import PAIRS, PIXELS, StateLayout

ADAM = StepSchedule(count=1, first=0, first_of_level=0, learning_rate=0.01)
LBFGS = StepSchedule(count=1, first=0, first_of_level=0, learning_rate=1.0, optimizer="lbfgs")


def two_loops(pairs: list[tuple[np.ndarray, ...]], gradient: np.ndarray, w: np.ndarray, start: np.ndarray):
    """Nocedal and Wright 2006, algorithm 7.4, over flat pairs (s, y), oldest first; `start` is the start matrix."""
    q, alphas = gradient.copy(), []
    for s, y in reversed(pairs):
        alphas.insert(0, np.sum(w * s * q) / np.sum(w * s * y))
        q -= alphas[0] * y
    r = start @ q
    if pairs:
        s, y = pairs[-1]
        r *= np.sum(w * s * y) / np.sum(w * y * (start @ y))
    for (s, y), alpha in zip(pairs, alphas, strict=True):
        r += (alpha - np.sum(w * y * r) / np.sum(w * s * y)) * s
    return r


def start_of(resolutions: int) -> np.ndarray:
    """The start matrix, written out for flat pictures."""
    basis = torch.eye(TARGET.numel(), dtype=torch.float64).view(-1, *SHAPE)
    return np.stack([StartMatrix(resolutions, one)(one).numpy().reshape(-1) for one in basis], axis=1)


def limited(step: np.ndarray, pairs: list[tuple[np.ndarray, ...]], w: np.ndarray) -> np.ndarray:
    """A flat step, its weighted mean limited by the pairs' longest step, and every value; without a pair, the first."""
    size, *before = (np.sum(w * np.abs(each)) / np.sum(w) for each in (step, *(s for s, _ in pairs)))
    factor = FIRST_CHANGE / size
    if pairs:
        factor = min(1, np.clip(GROWTH * max(before), LEAST_CHANGE, LARGEST_CHANGE) / size)
    return np.clip(factor * step, -LARGEST_CHANGE, LARGEST_CHANGE)


def reference(count: int, history: int, resolutions: int, weights: Tensor) -> list[np.ndarray]:
    """The pictures that L-BFGS gives from gray, by the textbook: lists of pairs, two loops, limits."""
    steepness, target, w = (value.numpy().reshape(-1) for value in (STEEPNESS, TARGET, weights.expand(SHAPE)))
    x, pairs, pictures, before, start = np.full(60, 0.5), [], [], None, start_of(resolutions)
    for _ in range(count):
        gradient = steepness * (x - target)
        if before is not None:
            pairs = [*pairs, (x - before[0], gradient - before[1])][-history:]
        q = two_loops(pairs, gradient, w, start)
        before = x, gradient
        x = np.clip(x - limited(q, pairs, w), 0, 1)
        pictures.append(x.reshape(SHAPE))
    return pictures


@pytest.mark.parametrize("weights", [ONES, WEIGHTS])
@pytest.mark.parametrize("resolutions", [1, 3])
@pytest.mark.parametrize("history", [1, 3, 10])
def test_it_is_the_textbooks(history, resolutions, weights):
    """Every step is that of the two-loop recursion over the last pairs, pixels counted by the tile's blend weights."""
    steps = replace(LBFGS, history=history, resolutions=resolutions)
    now = begun(steps, 12, weights=weights)
    for made, wanted in enumerate(reference(12, history, resolutions, weights)):
        take(now, steps, made, quadratic(now.pixels))
        np.testing.assert_allclose(now.pixels, wanted, rtol=0, atol=1e-9)


@pytest.fixture
def unlimited(monkeypatch):
    """Steps as long as they come, but for the first."""
    for name in ("LARGEST_CHANGE", "GROWTH"):
        monkeypatch.setattr(lbfgs_module, name, 1e9)


@pytest.mark.usefixtures("unlimited")
def test_it_is_torchs_where_nothing_limits_it():
    """From the second step on, steps of a well-behaved quadratic are those of torch.optim.LBFGS without line search."""
    steps = replace(LBFGS, history=5)
    now = begun(steps, 8)
    take(now, steps, 0, quadratic(now.pixels))
    leaf = torch.full(SHAPE, 0.5, dtype=torch.float64, requires_grad=True)
    first = quadratic(leaf.detach())
    # torch's first step is min(1, 1 / |g|_1) * lr * g: this rate makes it ours.
    rate = FIRST_CHANGE / float(first.abs().mean()) / min(1.0, 1 / float(first.abs().sum()))
    optimizer = torch.optim.LBFGS([leaf], lr=rate, max_iter=1, history_size=5, tolerance_grad=0, tolerance_change=0)

    def closure() -> Tensor:
        leaf.grad = quadratic(leaf.detach())
        return leaf.new_zeros(())  # nobody looks at it

    optimizer.step(closure)
    torch.testing.assert_close(now.pixels, leaf.detach(), rtol=0, atol=1e-12)
    optimizer.param_groups[0]["lr"] = 1.0
    for made in range(1, 8):
        optimizer.step(closure)
        take(now, steps, made, quadratic(now.pixels))
        torch.testing.assert_close(now.pixels, leaf.detach(), rtol=0, atol=1e-8)


def test_it_finds_the_bottom_of_a_valley():
    """In a narrow valley that no axis follows, L-BFGS is further down after 100 steps than Adam after a thousand."""
    turn, _ = torch.linalg.qr(torch.randn(60, 60, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    hessian = turn * STEEPNESS.flatten() @ turn.T

    def grad(picture: Tensor) -> Tensor:
        return (hessian @ (picture - TARGET).flatten()).view(SHAPE)

    def above(picture: Tensor) -> float:
        return float((picture - TARGET).flatten() @ grad(picture).flatten())

    start = above(gray(ADAM)[PIXELS])
    newton = above(stepped(LBFGS, 100, grad).pixels)
    assert newton < 1e-5 * start
    assert newton < 0.1 * above(stepped(ADAM, 1000, grad).pixels)


def made_pairs(steps: StepSchedule, count: int, weights: Tensor) -> list[tuple[np.ndarray, ...]]:
    """The pairs (s, y) of a round of so many steps, flat, oldest first: its last step makes none."""
    pictures = [gray(steps)[PIXELS], *(stepped(steps, made, weights=weights).pixels for made in range(1, count))]
    pairs = [(after - before, quadratic(after) - quadratic(before)) for before, after in pairwise(pictures)]
    return [tuple(value.numpy().reshape(-1) for value in pair) for pair in pairs]


@pytest.mark.parametrize("weights", [ONES, WEIGHTS])
@pytest.mark.parametrize("resolutions", [1, 3])
@pytest.mark.parametrize("history", [1, 10])
def test_the_newest_pairs_travel(history, resolutions, weights):
    """A round begins with the newest pairs of the one before, and with none where that made no two steps."""
    steps = replace(LBFGS, history=history, resolutions=resolutions)
    for count in (1, 2, 5):
        half = stepped(steps, count, weights=weights).state
        assert len(half) == steps.layout.planes
        again = begun(replace(steps, first_of_level=count), 1, half, weights)
        take(again, steps, 0, quadratic(again.pixels))
        pairs, w = made_pairs(steps, count, weights)[-min(history, PAIRS) :], weights.expand(SHAPE).numpy().reshape(-1)
        step = two_loops(pairs, quadratic(half[PIXELS]).numpy().reshape(-1), w, start_of(resolutions))
        wanted = (half[PIXELS].numpy() - limited(step, pairs, w).reshape(SHAPE)).clip(0, 1)
        np.testing.assert_allclose(again.pixels, wanted, rtol=0, atol=1e-9)


def test_pairs_travel_through_rounds_that_make_none():
    """Rounds of single steps have no two gradients to compare, and hand on what they were given."""
    half = stepped(LBFGS, 4).state
    later = stepped(replace(LBFGS, first_of_level=4), 1, state=half).state
    kept = LBFGS.layout.kept
    assert all(plane.any() for plane in half[kept])
    assert all(torch.equal(a, b) for a, b in zip(half[kept], later[kept], strict=True))


def test_a_step_is_remembered_as_it_was_made():
    """What L-BFGS remembers of a step is where it ended, not where it would have gone without clipping."""
    now = begun(LBFGS, 2, gray(LBFGS, value=0.999))
    before = now.pixels
    take(now, LBFGS, 0, -torch.ones(SHAPE, dtype=torch.float64))
    after = now.pixels
    take(now, LBFGS, 1, -0.5 * torch.ones(SHAPE, dtype=torch.float64))
    assert torch.equal(after, torch.ones_like(after))
    step, change = now.state[-2:]
    assert torch.equal(step, after - before)
    assert torch.equal(change, 0.5 * torch.ones_like(change))


def gentle(picture: Tensor) -> Tensor:
    """Gradient of a quadratic that is nowhere so much steeper than on the mean that a single value is limited."""
    return STEEPNESS**0.25 * (picture - TARGET)


@pytest.mark.parametrize("weights", [ONES, WEIGHTS])
def test_the_first_step_has_a_size(weights):
    """Without any pair the step goes down the gradient, by a hundredth of the color range on the weighted mean."""
    now, grad = begun(LBFGS, 1, weights=weights), 1e6 * gentle(gray(LBFGS)[PIXELS])
    take(now, LBFGS, 0, grad, rate=0.5)
    step = now.pixels - gray(LBFGS)[PIXELS]
    assert float((step.abs() * weights).sum() / weights.sum() / 3) == pytest.approx(0.5 * FIRST_CHANGE, rel=1e-9)
    ratio = step / grad
    torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio.mean())))
    assert float(ratio.mean()) < 0


def newton(s: Tensor, y: Tensor, weights: Tensor = ONES, count: int = 3) -> Newton:
    """L-BFGS that begins with a pair."""
    return Newton([(s, y)], weights, count, 1)


@pytest.mark.parametrize("weights", [ONES, WEIGHTS])
@pytest.mark.parametrize("rate", [1.0, 0.5])
@pytest.mark.parametrize("last", [1e-5, 0.004, 0.04])
def test_steps_are_limited(weights, rate, last):
    """A huge Newton step is cut to a few times the longest step remembered, within a least and a largest change."""
    pair, grad = last * torch.ones(SHAPE, dtype=torch.float64), torch.full(SHAPE, -1.0, dtype=torch.float64)
    short = 0.1 * pair
    lbfgs = Newton([(pair, 1e-6 * pair), (short, 1e-6 * short)], weights, 3, 1)  # the Newton step is 1e6
    lbfgs.step(gray(LBFGS)[PIXELS], grad, rate)
    wanted = {1e-5: rate * LEAST_CHANGE, 0.004: GROWTH * last, 0.04: rate * LARGEST_CHANGE}[last]
    torch.testing.assert_close(lbfgs.last_step, torch.full_like(grad, wanted), rtol=1e-7, atol=0)


@pytest.mark.parametrize("known", [True, False])
def test_single_values_are_limited(known):
    """A value far steeper than all others moves by a twentieth of the color range times the learning rate at most."""
    pair, grad = known * 0.001 * torch.ones(SHAPE, dtype=torch.float64), torch.full(SHAPE, -0.001, dtype=torch.float64)
    grad[0, 1, 2, 3] *= 1000
    lbfgs = newton(pair, pair)  # where there is a pair, the Newton step is the gradient
    lbfgs.step(gray(LBFGS)[PIXELS], grad, 0.5)
    others = lbfgs.last_step[grad == -0.001]
    assert float(lbfgs.last_step.max()) == pytest.approx(0.5 * LARGEST_CHANGE, rel=1e-9)
    assert float(others.min()) == pytest.approx(float(others.max()))
    assert 0 < float(others.min()) < 0.002


@pytest.mark.usefixtures("unlimited")
def test_a_pair_of_negative_curvature_does_not_count():
    """Where the gradient grows along the step taken, there is no minimum to jump to: only the other pairs count."""
    pixels, good, bad = gray(LBFGS)[PIXELS], 0.01 * (noise(2) - 0.5), 0.01 * (noise(3) - 0.5)
    grads = quadratic(pixels), quadratic(pixels) - 0.1 * bad
    lbfgs = newton(good, STEEPNESS * good)
    lbfgs.step(pixels, grads[0], 1.0)
    lbfgs.last_step = bad
    lbfgs.step(pixels, grads[1], 1.0)
    wanted = newton(good, STEEPNESS * good)
    wanted.step(pixels, grads[1], 1.0)
    torch.testing.assert_close(lbfgs.last_step, wanted.last_step, rtol=1e-9, atol=1e-15)
    lbfgs.last_step = good  # a pair that counts again, after one that does not
    lbfgs.step(pixels, grads[1] + STEEPNESS * good, 1.0)
    wanted.last_step = good
    wanted.step(pixels, grads[1] + STEEPNESS * good, 1.0)
    torch.testing.assert_close(lbfgs.last_step, wanted.last_step, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_pair_that_is_not_finite_does_not_count(value):
    """Where the gradient changed by what is not finite, the step is the first one's."""
    pixels, step, none = gray(LBFGS)[PIXELS], 0.01 * noise(2), torch.zeros(SHAPE, dtype=torch.float64)
    change = STEEPNESS * step
    change[0, 1, 2, 3] = value
    lbfgs, fresh = (Newton([pair], ONES, 3, 2) for pair in ((step, change), (none, none)))
    assert torch.equal(lbfgs.step(pixels, quadratic(pixels), 1.0), fresh.step(pixels, quadratic(pixels), 1.0))


def test_a_hill_is_descended():
    """On a function that curves down everywhere L-BFGS walks down the gradient in steps of the first step's size."""
    now = begun(LBFGS, 4)
    for made in range(4):
        before = now.pixels
        grad = TARGET - before
        take(now, LBFGS, made, grad)
        wanted = -FIRST_CHANGE * grad / grad.abs().mean()
        torch.testing.assert_close(now.pixels - before, wanted, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("factor", [1e-25, 1e25])
def test_it_does_not_depend_on_units(factor):
    """In float32, losses so small or large that their squares leave its range give the same picture."""
    usual, other = (
        stepped(
            replace(LBFGS, resolutions=2),
            6,
            lambda picture, f=f: (quadratic(picture.double()) * f).float(),
            ONES.float(),
            tuple(plane.float() for plane in gray(LBFGS)),
        )
        for f in (1.0, factor)
    )
    torch.testing.assert_close(other.pixels, usual.pixels, rtol=0, atol=1e-3)


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
    found = StartMatrix(resolutions, values)(values)
    np.testing.assert_allclose(found.numpy().reshape(3, -1), wanted, rtol=0, atol=1e-12)


def test_the_start_matrix_suits_every_size():
    """Where a side is no multiple of the coarsest plane's, it is still symmetric and positive, and changes nothing."""
    basis = torch.eye(5 * 11, dtype=torch.float64).view(-1, 1, 1, 5, 11)
    start_matrix = StartMatrix(4, basis[0])
    matrix = torch.stack([start_matrix(one)[0].flatten() for one in basis])
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-12)
    assert torch.linalg.eigvalsh(matrix).min() >= 1 - 1e-12
    assert torch.equal(basis.view(55, 55), torch.eye(55, dtype=torch.float64))


def test_the_start_matrix_reaches_no_further_than_it_says():
    """A change shows within 2^resolutions pixels only, so a tile whose margin is that wide knows its values exactly."""
    values = torch.zeros(1, 1, 96, 96, dtype=torch.float64)
    values[..., 48, 48] = 1
    rows = StartMatrix(4, values)(values)[0, 0].abs().sum(1).nonzero().flatten() - 48
    assert rows.abs().max() <= 2**4
    assert rows.abs().max() > 8


def test_the_start_matrix_takes_the_short_way_on_a_gpu():
    """Also where results are to be the same every time: one operation enlarges, not a dozen that gather values."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with FakeTensorMode(), Operations() as done:
            values = torch.empty(1, 3, 24, 40, device="cuda")
            assert StartMatrix(4, values)(values).shape == values.shape
    finally:
        torch.use_deterministic_algorithms(False)
    assert done.names.count("aten.upsample_bilinear2d.default") == 3
    assert not any("index" in name for name in done.names)


class Operations(TorchDispatchMode):
    """Notes the names of operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Note it."""
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_several_resolutions_change_large_areas_sooner():
    """A wide bump is filled sooner from several resolutions than from pixels, whose start treats all scales alike."""
    side = 32
    rows = torch.linspace(-1, 1, side, dtype=torch.float64)
    bump = 0.3 * torch.exp(-4 * (rows[:, None].square() + rows.square())).expand(1, 3, side, side)

    def grad(picture: Tensor) -> Tensor:
        """Fine scales are steep, coarse ones flat: the Hessian is the squared Laplacian, and a little."""
        apart = picture - 0.4 - bump
        for _ in range(2):
            apart = 4 * apart - sum(apart.roll(shift, dim) for shift in (1, -1) for dim in (-1, -2))
        return apart + 0.01 * (picture - 0.4 - bump)

    def left(resolutions: int) -> float:
        state = StateLayout("lbfgs").start(np.full((side, side, 3), 0.4))
        now = stepped(
            replace(LBFGS, resolutions=resolutions),
            12,
            grad,
            torch.ones(side, side, dtype=torch.float64),
            tuple(torch.from_numpy(p).permute(2, 0, 1)[None] for p in state),
        )
        return float((now.pixels - 0.4 - bump).square().mean())

    assert left(4) < 0.5 * left(1)
