"""Single steps of the optimizers, on functions whose minimum is known; those of L-BFGS alone are in test_lbfgs.py."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from quadratics import ONES, SHAPE, TARGET, begun, gray, quadratic, stepped, take
from torch import Tensor

from muralist.model.optimizers import OPTIMIZERS, StepSchedule
from muralist.model.state import KEPT, PIXELS

ADAM = StepSchedule(count=1, first=0, first_of_level=0, learning_rate=0.01)
LBFGS = StepSchedule(count=1, first=0, first_of_level=0, learning_rate=1.0, optimizer="lbfgs")


def torch_adam(count: int, betas: tuple[float, float]) -> Tensor:
    """The picture that torch's own Adam gives after some steps from gray."""
    leaf = torch.full(SHAPE, 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([leaf], lr=0.01, betas=betas, eps=1e-8)
    for _ in range(count):
        leaf.grad = quadratic(leaf.detach())
        optimizer.step()
    return leaf.detach()


@pytest.mark.parametrize("betas", [(0.9, 0.99), (0.5, 0.999)])
def test_adam_is_torch_adam(betas):
    """Steps that need no clipping are those of torch.optim.Adam."""
    found = stepped(replace(ADAM, betas=betas), 25)
    wanted = torch_adam(25, betas)
    assert 0 < wanted.min() < wanted.max() < 1
    torch.testing.assert_close(found.pixels, wanted, rtol=0, atol=1e-12)


def test_moments_travel():
    """One round of ten steps of Adam is two of five, to the last bit and in all planes; forgetting would show."""
    once = stepped(ADAM, 10).state
    half = stepped(ADAM, 5).state
    later = replace(ADAM, first=5, first_of_level=5)
    twice = stepped(later, 5, state=half).state
    assert len(once) == ADAM.layout.planes
    assert all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))
    moments = ADAM.layout.kept
    blank = (*half[: moments.start], *(torch.zeros_like(plane) for plane in half[moments]))
    forgetful = stepped(later, 5, state=blank)
    assert (forgetful.pixels - once[PIXELS]).abs().max() > 1e-4


@pytest.mark.parametrize("steps", [ADAM, LBFGS])
def test_steps_leave_what_they_were_given(steps):
    """Neither a state nor a gradient is changed, so that a whole round can be made again."""
    state = stepped(steps, 4).state
    steps = replace(steps, first_of_level=4)
    grads = [quadratic(state[PIXELS]), quadratic(state[PIXELS] + 0.1)]
    kept = [value.clone() for value in (*state, *grads)]
    descent = begun(steps, 2, state)
    for made, grad in enumerate(grads):
        take(descent, steps, made, grad)
    assert all(torch.equal(a, b) for a, b in zip((*state, *grads), kept, strict=True))
    assert not torch.equal(descent.pixels, state[PIXELS])


@pytest.mark.parametrize("steps", [replace(ADAM, learning_rate=0.9), LBFGS])
def test_pixels_are_clipped(steps):
    """Pixels that a minimum outside the color range pulls stay within it; steps are remembered as made."""
    steps = replace(steps, ema_decay=0.9)
    now = stepped(steps, 20, lambda picture: picture - torch.where(TARGET > 0.5, 7.0, -7.0))
    assert set(now.pixels.unique().tolist()) == {0.0, 1.0}
    assert 0 <= now.average.min() <= now.average.max() <= 1
    if steps.optimizer == "lbfgs":
        assert not now.state[-2].any()


@pytest.mark.parametrize("made", [0, 4])
@pytest.mark.parametrize("steps", [ADAM, LBFGS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_gradient_no_step(steps, made, dtype):
    """A gradient that is exactly zero moves nothing (but for Adam's momentum) and makes no NaN, again and again."""
    state = tuple(plane.to(dtype) for plane in stepped(steps, made).state)
    zero, steps = torch.zeros(SHAPE, dtype=dtype), replace(steps, first=made, first_of_level=made)
    now = begun(steps, 3, state, ONES.to(dtype))
    for more in range(3):
        before = now.pixels
        take(now, steps, more, zero)
        assert all(plane.isfinite().all() for plane in now.state)
        if steps.optimizer == "lbfgs" or not made:
            assert torch.equal(now.pixels, before)


@pytest.mark.parametrize("steps", [ADAM, LBFGS])
def test_the_average_follows_whatever_optimizes(steps):
    """The moving average is that of the pixels, starts anew at the first step of a level, and is them without decay."""
    now = stepped(steps, 3)
    iterates = [stepped(steps, count).pixels for count in (1, 2, 3)]
    torch.testing.assert_close(now.average, torch.stack(iterates).mean(0), rtol=0, atol=1e-12)
    for anew in (replace(steps, first=3), replace(steps, ema_decay=0.0, first=3, first_of_level=3)):
        pixels, average, *kept = now.state
        found = stepped(anew, 1, state=(pixels, average, *kept) if anew.ema_decay else (pixels, *kept))
        assert torch.equal(found.average, found.pixels)


def test_there_are_as_many_planes_as_are_needed():
    """A state has the planes its optimizer keeps, every optimizer says how many, and an average where there is one."""
    assert set(KEPT) == set(OPTIMIZERS)
    for optimizer, kept in KEPT.items():
        for decay in (0.9, 0.0):
            steps = StepSchedule(1, 0, 0, 1.0, optimizer=optimizer, ema_decay=decay)
            pictures = 1 + (decay > 0)
            state = steps.layout.start(np.full((2, 3, 3), 0.5))
            assert state.shape == (pictures + kept, 2, 3, 3)
            assert (state[:pictures] == 0.5).all()
            assert not state[pictures:].any()
            assert steps.layout.painting == pictures - 1
            assert len(stepped(steps, 1, state=gray(steps)).state) == pictures + kept
            with pytest.raises(ValueError, match=rf"\b{pictures + kept + 1}\b.*\b{pictures + kept}\b"):
                begun(steps, 1, (*gray(steps), gray(steps)[PIXELS]))
