"""One step of an optimizer on a tile: from pixels and a gradient to new pixels, and the optimizer's state.

Adam: Kingma and Ba 2015, algorithm 1. L-BFGS: see `lbfgs.py`; every level starts without pairs.
Pixels are clipped to [0, 1] after every step; this differs from tools that clip only at the end.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Protocol

from torch import Tensor

from .lbfgs import LBFGS
from .state import PAIRS, PIXELS, StateLayout

EPSILON = 1e-8

Planes = tuple[Tensor, ...]


@dataclass(frozen=True)
class StepSchedule:
    """Which steps to make.

    Attributes
    ----------
    count : int
        Steps of this round.
    first : int
        Steps made before, over all levels: for Adam's bias correction.
    first_of_level : int
        Steps made before at this level: for the moving average, which restarts at every level.
    learning_rate : float
        Adam: in units of the pixel range, per step. L-BFGS: factor of the quasi-Newton step.
    betas : (float, float)
        Decay of Adam's moments.
    ema_decay : float
        Decay of the moving average; a plain mean until 1 / (1 - decay) steps have been made.
    optimizer : str
        A key of `OPTIMIZERS`.
    history : int
        Pairs of steps and changes of the gradient that L-BFGS remembers.
    resolutions : int
        Number of resolutions in the start matrix of L-BFGS; 1 is plain L-BFGS.
    """

    count: int
    first: int
    first_of_level: int
    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.99)
    ema_decay: float = 0.9
    optimizer: str = "adam"
    history: int = 10
    resolutions: int = 1

    @property
    def kind(self) -> Hashable:
        """What a round of such steps does, but for the numbers."""
        return self.count, self.optimizer, self.betas, self.ema_decay, self.history, self.resolutions

    @property
    def layout(self) -> StateLayout:
        """Which planes a state has that such steps are made on."""
        return StateLayout(self.optimizer, self.ema_decay > 0)

    def numbers(self, rate: float) -> list[tuple[float, float, float]]:
        """What changes from step to step: factors of the step and of Adam's second moment, share of the new pixels."""
        beta1, beta2 = self.betas
        return [
            (
                rate / (1 - beta1 ** (self.first + made + 1)) if self.optimizer == "adam" else rate,
                1 / (1 - beta2 ** (self.first + made + 1)),
                max(1 - self.ema_decay, 1 / (self.first_of_level + made + 1)),
            )
            for made in range(self.count)
        ]


class Optimizer(Protocol):
    """What moves the pixels of one tile in one round."""

    @property
    def planes(self) -> Planes:
        """What is kept after a round, see `StateLayout.kept`."""

    def step(self, pixels: Tensor, grad: Tensor, factor: Tensor, other: Tensor) -> Tensor:
        """Return new pixels; `factor` and `other` are the first of `StepSchedule.numbers`."""


class Descent:
    """A tile's descent within one round.

    Parameters
    ----------
    state : tuple of Tensor (1, 3, H, W)
        See `muralist.model.state`. Not changed.
    weights : Tensor (H, W)
        Blend weights of the tile, not all zero.

    Attributes
    ----------
    pixels, average : Tensor (1, 3, H, W)
        Of the picture now.

    Raises
    ------
    ValueError
        If the state has other planes than the steps' layout.
    """

    def __init__(self, state: Planes, weights: Tensor, steps: StepSchedule) -> None:
        layout = steps.layout
        if len(state) != layout.planes:
            raise ValueError(f"got a state of {len(state)} planes, wanted {layout.planes} as of {layout}")
        self.pixels, self.average = state[PIXELS], state[layout.painting]
        self._steps = steps
        self._optimizer = OPTIMIZERS[steps.optimizer](state[layout.kept], weights, steps)

    @property
    def state(self) -> Planes:
        """What is kept after the round."""
        painting = (self.pixels, self.average) if self._steps.layout.averaged else (self.pixels,)
        return *painting, *self._optimizer.planes

    def step(self, grad: Tensor, numbers: Tensor) -> None:
        """Make one step down a gradient (1, 3, H, W); `numbers` (3,) are those of `StepSchedule.numbers` for it."""
        factor, other, share = numbers
        self.pixels = self._optimizer.step(self.pixels, grad, factor, other)
        self.average = self.average.lerp(self.pixels, share) if self._steps.ema_decay else self.pixels


class Adam:
    """Adam's moments."""

    def __init__(self, remembered: Planes, weights: Tensor, steps: StepSchedule) -> None:
        self.moment1, self.moment2 = remembered
        self.betas = steps.betas

    @property
    def planes(self) -> Planes:
        """Both moments."""
        return self.moment1, self.moment2

    def step(self, pixels: Tensor, grad: Tensor, factor: Tensor, other: Tensor) -> Tensor:
        """Return new pixels."""
        beta1, beta2 = self.betas
        self.moment1 = self.moment1.lerp(grad, 1 - beta1)
        self.moment2 = (self.moment2 * beta2).addcmul_(grad, grad, value=1 - beta2)
        scale = (self.moment2 * other).sqrt_().add_(EPSILON)
        return pixels.addcmul(self.moment1.div(scale), factor, value=-1).clamp_(0, 1)


class QuasiNewton:
    """L-BFGS, whose newest pairs travel from round to round."""

    def __init__(self, remembered: Planes, weights: Tensor, steps: StepSchedule) -> None:
        pairs = tuple(zip(remembered[::2], remembered[1::2], strict=True))
        self._lbfgs = LBFGS(pairs, weights, min(steps.history, PAIRS + max(0, steps.count - 1)), steps.resolutions)

    @property
    def planes(self) -> Planes:
        """Steps and what the gradient changed along them, in turn."""
        return tuple(plane for pair in self._lbfgs.pairs(PAIRS) for plane in pair)

    def step(self, pixels: Tensor, grad: Tensor, factor: Tensor, other: Tensor) -> Tensor:
        """Return new pixels."""
        return self._lbfgs.step(pixels, grad, factor)


OPTIMIZERS: Final[dict[str, Callable[..., Optimizer]]] = {"adam": Adam, "lbfgs": QuasiNewton}
