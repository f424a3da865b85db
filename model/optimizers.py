"""One step of an optimizer on a tile: from the planes of its state and a gradient to new planes, nothing in place.

Adam: Kingma and Ba 2015, algorithm 1. L-BFGS: Nocedal 1980, the two-loop recursion (Nocedal and Wright 2006,
algorithm 7.4), without line search, as neural style transfer uses it; inner products count every pixel with the tile's
blend weight, and every level starts without memory.
Pixels are clipped to [0, 1] after every step; differs from tools that clip only at the end.

L-BFGS in several resolutions: let the change of the picture be a sum of planes at 1, 1/2, 1/4, ... of its size, the
coarser ones times a gain, and optimize all of them together: x = A z. That is L-BFGS on x whose two loops start from
A A^T = 1 + gain^2 sum_k U_k U_k^T instead of the identity (U_k: bilinear enlargement by 2^k). Large areas change color
within a few steps, and nothing more has to be stored.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-8
# At a learning rate of 1:
FIRST_CHANGE = 0.01  # mean change of a value by the first step of L-BFGS, which does not know any scale yet
LARGEST_CHANGE = 0.1  # and by any other, in units of the colour range: nothing else stops a step along a flat valley
GAIN = 0.5  # of the coarser planes

# Of what L-BFGS has within a round; the last step and the steps and changes of the gradient that follow, oldest first.
LAST_GRADIENT, LAST_STEP, PAIRS = 2, 3, 4

Planes = tuple[Tensor, ...]


@dataclass(frozen=True)
class Steps:
    """Which steps to make.

    Attributes
    ----------
    count : int
        Steps of this round.
    first : int
        Steps made before, over all levels: for Adam's bias correction.
    first_of_level : int
        Steps made before at this level: for the moving average and L-BFGS, which start anew at every level.
    learning_rate : float
        Adam: in units of the pixel range, per step. L-BFGS: factor of the quasi-Newton step.
    betas : (float, float)
        Decay of Adam's moments.
    average_decay : float
        Decay of the moving average; a plain mean until 1 / (1 - decay) steps have been made.
    optimizer : str
        A key of `OPTIMIZERS`.
    history : int
        Pairs of steps and changes of the gradient that L-BFGS remembers.
    resolutions : int
        At how many sizes of the picture L-BFGS starts to look for its steps; 1 is plain L-BFGS.
    """

    count: int
    first: int
    first_of_level: int
    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.99)
    average_decay: float = 0.9
    optimizer: str = "adam"
    history: int = 10
    resolutions: int = 1


def take_step(planes: Planes, slope: Tensor, weights: Tensor, steps: Steps, made: int, rate: float) -> Planes:
    """Make one step.

    Parameters
    ----------
    planes : tuple of Tensor (1, 3, H, W)
        Adam's state, see `muralist.model.state`; for L-BFGS what `begin_round` gives.
    slope : Tensor (1, 3, H, W)
        Gradient at the pixels.
    weights : Tensor (H, W)
        Blend weights of the tile.
    steps : Steps
    made : int
        Steps of this round made before.
    rate : float
        Learning rate, no larger than `steps` has it.
    """
    pixels, *remembered = OPTIMIZERS[steps.optimizer](planes, slope, weights, steps, made, rate)
    average = planes[1].lerp(pixels, max(1 - steps.average_decay, 1 / (steps.first_of_level + made + 1)))
    return pixels, average, *remembered


def _adam(planes: Planes, slope: Tensor, weights: Tensor, steps: Steps, made: int, rate: float) -> Planes:
    pixels, _, moment1, moment2 = planes
    beta1, beta2 = steps.betas
    number = steps.first + made + 1
    moment1 = moment1.lerp(slope, 1 - beta1)
    moment2 = (moment2 * beta2).addcmul_(slope, slope, value=1 - beta2)
    scale = (moment2 / (1 - beta2**number)).sqrt_().add_(EPSILON)
    return pixels.addcdiv(moment1, scale, value=-rate / (1 - beta1**number)).clamp_(0, 1), moment1, moment2


def _lbfgs(planes: Planes, slope: Tensor, weights: Tensor, steps: Steps, made: int, rate: float) -> Planes:
    pixels, _, last_slope, last_step, *pairs = planes
    half = len(pairs) // 2
    taken, changes = pairs[:half], pairs[half:]
    change = slope - last_slope
    if _dot(last_step, change, weights) > 0:
        taken, changes = [*taken, last_step][-steps.history :], [*changes, change][-steps.history :]
    step = _newton(slope, taken, changes, weights, steps.resolutions)
    size = float((step.abs() * weights).mean() / weights.mean())
    moved = (pixels - step * (rate * min(1.0, LARGEST_CHANGE / max(size, EPSILON)))).clamp_(0, 1)
    return moved, slope, moved - pixels, *taken, *changes


def _newton(slope: Tensor, taken: list[Tensor], changes: list[Tensor], weights: Tensor, resolutions: int) -> Tensor:
    """Inverse Hessian, as the remembered pairs know it, times the gradient."""
    curvatures = [_dot(s, y, weights) for s, y in zip(taken, changes, strict=True)]
    known = [(s, y, c) for s, y, c in zip(taken, changes, curvatures, strict=True) if c > 0]
    if not known:
        direction = start_matrix(slope, resolutions)
        return direction * (FIRST_CHANGE * weights.mean() / (direction.abs() * weights).mean().clamp(min=1e-30))
    direction, shares = slope, []
    for s, y, curvature in reversed(known):
        shares.append(_dot(s, direction, weights) / curvature)
        direction = direction.sub(y, alpha=shares[-1])
    s, y, _ = known[-1]
    unit = y / y.abs().max()  # squares of gradients may leave the range of float32
    scale = _dot(s, unit, weights) / _dot(y, start_matrix(unit, resolutions), weights)
    direction = start_matrix(direction, resolutions) * scale
    for (s, y, curvature), share in zip(known, reversed(shares), strict=True):
        direction = direction.add(s, alpha=share - _dot(y, direction, weights) / curvature)
    return direction


def start_matrix(values: Tensor, resolutions: int) -> Tensor:
    """Multiply by A A^T, what L-BFGS in several resolutions starts from: a smoothing that reaches 2^resolutions px.

    Parameters
    ----------
    values : Tensor (1, 3, H, W)
    resolutions : int
        1 gives the values back.
    """
    height, width = values.shape[-2:]
    step = 2 ** (resolutions - 1)
    padded = F.pad(values, (0, -width % step, 0, -height % step))  # so that every size is a whole number
    total = padded
    for k in range(1, resolutions):
        total = total.add(_enlarged_shrunk(padded, 2**k), alpha=GAIN**2)
    return total[..., :height, :width]


def _enlarged_shrunk(values: Tensor, factor: int) -> Tensor:
    """U U^T of some values: the transpose of bilinear enlargement, then the enlargement."""
    small = [n // factor for n in values.shape[-2:]]
    shrunk = torch.ops.aten.upsample_bilinear2d_backward(values, values.shape[-2:], [*values.shape[:2], *small], False)
    return F.interpolate(shrunk, size=values.shape[-2:], mode="bilinear")


def begin_round(state: Planes, gradient: Callable[[Tensor], Tensor], steps: Steps) -> Planes:
    """Make ready for a round's steps: the planes that `take_step` is given first, from a state's.

    L-BFGS takes the gradient before its last step again: the change of a gradient tells something within one objective
    only, and between two rounds the other tiles have moved as well.
    """
    if steps.optimizer != "lbfgs":
        return state
    pixels, average, last_step = state
    last_gradient = gradient(pixels - last_step) if last_step.any() else torch.zeros_like(last_step)
    return pixels, average, last_gradient, last_step


def end_round(planes: Planes, steps: Steps) -> Planes:
    """Give the state that is kept after a round: L-BFGS forgets its pairs, which the next round would not fit."""
    return (*planes[:LAST_GRADIENT], planes[LAST_STEP]) if steps.optimizer == "lbfgs" else planes


def _dot(a: Tensor, b: Tensor, weights: Tensor) -> float:
    return float(((a * b).sum(1) * weights).sum())  # einsum takes twice as long, and adds up in a chain


OPTIMIZERS: dict[str, Callable[[Planes, Tensor, Tensor, Steps, int, float], Planes]] = {"adam": _adam, "lbfgs": _lbfgs}
