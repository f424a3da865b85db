"""The steps of a round: averages, and gradients that are not finite."""

import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import (
    smooth,
)
from torch import Tensor

from muralist.model.errors import DivergedError, ModelError
from muralist.model.optimizers import Planes, StepSchedule
from muralist.model.state import PIXELS, StateLayout
from muralist.model.tile_optimizer import descend, to_tensor, until_finite

AVERAGE = StateLayout().painting
TARGET = torch.from_numpy(smooth(4, 5, seed=9)).permute(2, 0, 1)[None] * 0.2 + 0.4
Gradient = Callable[[Tensor], Tensor]


def towards_target(picture: Tensor) -> Tensor:
    """A gradient that depends on where the picture is."""
    return picture - TARGET


def failing(*calls: int, value: float = torch.nan) -> Gradient:
    """A gradient with one value that is not finite, at the calls numbered so (from 0)."""
    made = iter(range(1000))

    def call(picture: Tensor) -> Tensor:
        grad = towards_target(picture)
        if next(made) in calls:
            grad[0, 1, 2, 3] = value
        return grad

    return call


def descended(gradient: Gradient, steps: StepSchedule, state: Planes | None = None) -> Planes:
    """The state's planes after some steps, from gray if no state is given."""
    gray = steps.layout.start(np.full((4, 5, 3), 0.5))
    begun = tuple(to_tensor(plane) for plane in gray) if state is None else state

    def attempt(numbers: Tensor) -> dict[str, Tensor]:
        planes, finite = descend(begun, gradient, torch.ones(4, 5), steps, numbers)
        return {"finite": finite, **{str(number): plane for number, plane in enumerate(planes)}}

    found = until_finite(attempt, steps, TARGET)
    return tuple(found[str(number)] for number in range(steps.layout.planes))


def test_lbfgs_compares_gradients_of_one_round_only():
    """What other tiles did between two rounds is no curvature: the change of a gradient is that of the step alone."""
    steps = StepSchedule(count=12, first=0, first_of_level=0, learning_rate=0.3, optimizer="lbfgs")
    before = descended(towards_target, steps)
    again = replace(steps, count=1, first_of_level=12)
    after = descended(lambda picture: towards_target(picture) + 0.002, again, before)
    # The Hessian is the identity: one pair that says so makes the step the gradient itself.
    wanted = before[PIXELS] - 0.3 * (towards_target(before[PIXELS]) + 0.002)
    torch.testing.assert_close(after[PIXELS], wanted, rtol=0, atol=1e-9)


def torch_adam(rates: list[float]) -> list[Tensor]:
    """The pictures that torch's own Adam gives after each step from gray."""
    leaf = torch.full((1, 3, 4, 5), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([leaf], betas=(0.9, 0.99), eps=1e-8)
    pictures = []
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        leaf.grad = towards_target(leaf.detach())
        optimizer.step()
        pictures.append(leaf.detach().clone())
    return pictures


def test_average_is_a_plain_mean_at_first_and_decays_later():
    """The average is the mean of all iterates for ten steps at a decay of 0.9, then forgets a tenth a step."""
    iterates = torch_adam([0.01] * 12)
    for count in (1, 4, 10):
        found = descended(towards_target, StepSchedule(count, first=0, first_of_level=0, learning_rate=0.01))
        torch.testing.assert_close(found[AVERAGE], torch.stack(iterates[:count]).mean(0), rtol=0, atol=1e-12)
    wanted = torch.stack(iterates[:10]).mean(0)
    for iterate in iterates[10:]:
        wanted = 0.9 * wanted + 0.1 * iterate
    found = descended(towards_target, StepSchedule(12, first=0, first_of_level=0, learning_rate=0.01))
    torch.testing.assert_close(found[AVERAGE], wanted, rtol=0, atol=1e-12)


def test_average_starts_anew_at_every_level():
    """The first step of a level overwrites the average that was brought along, whatever was done before."""
    found = descended(towards_target, StepSchedule(1, first=400, first_of_level=0, learning_rate=0.01))
    assert torch.equal(found[AVERAGE], found[PIXELS])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_round_into_the_unknown_is_made_again(value, optimizer):
    """Where a gradient is not finite, all of the round is made again at half the rate; nothing of it is left."""
    steps = StepSchedule(6, first=0, first_of_level=0, learning_rate=0.01, optimizer=optimizer)
    found = descended(failing(3, value=value), steps)
    for plane, wanted in zip(found, descended(towards_target, replace(steps, learning_rate=0.005)), strict=True):
        assert torch.equal(plane, wanted)


def test_the_rate_is_halved_until_it_helps():
    """One halving after the other is tried, until all gradients of a round are finite."""
    found = descended(failing(1, 7, 8, 11), StepSchedule(5, first=0, first_of_level=0, learning_rate=0.01))
    torch.testing.assert_close(found[PIXELS], torch_adam([0.01 / 8] * 5)[-1], rtol=0, atol=1e-12)


def test_divergence_is_reported_with_its_facts():
    """A gradient that stays broken ends the round: step, last rate and a way out, also on the other side of a wire."""
    steps = StepSchedule(9, first=0, first_of_level=0, learning_rate=0.01)
    with pytest.raises(DivergedError, match=r"\b4\b.*\b3\.9e-05\b.*--precision") as caught:
        descended(failing(*(call for call in range(1000) if call % 9 == 4)), steps)
    assert (caught.value.step, caught.value.learning_rate) == (4, 0.01 / 2**8)
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, ModelError)
    assert isinstance(again, ArithmeticError)
    assert (again.step, again.learning_rate, str(again)) == (4, 0.01 / 2**8, str(caught.value))


def test_divergence_at_the_first_step_of_a_round():
    """Where the round itself starts from a broken gradient there is nothing to take back."""
    with pytest.raises(DivergedError) as caught:
        descended(failing(0), StepSchedule(9, first=20, first_of_level=20, learning_rate=0.01))
    assert (caught.value.step, caught.value.learning_rate) == (0, 0.01)
