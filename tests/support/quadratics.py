"""Gradients of functions whose minimum is known, for single steps of the optimizers."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from muralist.model.optimizers import Descent, StepSchedule

HEIGHT, WIDTH = 4, 5
SHAPE = (1, 3, HEIGHT, WIDTH)
WEIGHTS = torch.linspace(0.1, 1, HEIGHT, dtype=torch.float64)[:, None] * torch.linspace(1, 0.3, WIDTH)
ONES = torch.ones(HEIGHT, WIDTH, dtype=torch.float64)
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


def gray(steps: StepSchedule, value: float = 0.5) -> tuple[Tensor, ...]:
    """The state of a gray tile that nobody has painted yet, float64."""
    state = steps.layout.start(np.full((HEIGHT, WIDTH, 3), value))
    return tuple(torch.from_numpy(plane).permute(2, 0, 1)[None] for plane in state)


def begun(
    steps: StepSchedule,
    count: int,
    state: tuple[Tensor, ...] | None = None,
    weights: Tensor = ONES,
) -> Descent:
    """A round of `count` steps that is about to begin, from gray if no state is given."""
    return Descent(gray(steps) if state is None else state, weights, replace(steps, count=count))


def take(descent: Descent, steps: StepSchedule, made: int, grad: Tensor, rate: float | None = None) -> None:
    """Make a step of a round after `made` others."""
    numbers = replace(steps, count=made + 1).numbers(steps.learning_rate if rate is None else rate)[made]
    descent.step(grad, torch.tensor(numbers, dtype=grad.dtype))


def stepped(
    steps: StepSchedule,
    count: int,
    gradient: Gradient = quadratic,
    weights: Tensor = ONES,
    state: tuple[Tensor, ...] | None = None,
) -> Descent:
    """A round after all its steps."""
    descent = begun(steps, count, state, weights)
    for made in range(count):
        take(descent, steps, made, gradient(descent.pixels))
    return descent
