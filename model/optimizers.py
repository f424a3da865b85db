"""One step of an optimiser on a tile: from the planes of its state and a gradient to new planes, nothing in place.

Adam: Kingma and Ba 2015, algorithm 1. L-BFGS: Nocedal 1980, the two-loop recursion (Nocedal and Wright 2006,
algorithm 7.4), without line search, as neural style transfer uses it; inner products count every pixel with the tile's
blend weight, and every level starts without memory.
Pixels are clipped to [0, 1] after every step; differs from tools that clip only at the end.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

EPSILON = 1e-8
# At a learning rate of 1:
FIRST_CHANGE = 0.01  # mean change of a value by the first step of L-BFGS, which does not know any scale yet
LARGEST_CHANGE = 0.1  # and by any other, in units of the colour range: nothing else stops a step along a flat valley

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
    """

    count: int
    first: int
    first_of_level: int
    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.99)
    average_decay: float = 0.9
    optimizer: str = "adam"


def take_step(planes: Planes, slope: Tensor, weights: Tensor, steps: Steps, made: int, rate: float) -> Planes:
    """Make one step.

    Parameters
    ----------
    planes : tuple of Tensor (1, 3, H, W)
        As `muralist.model.state` says.
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
        taken, changes = [*taken[1:], last_step], [*changes[1:], change]
    step = _newton(slope, taken, changes, weights)
    size = float((step.abs() * weights).mean() / weights.mean())
    moved = (pixels - step * (rate * min(1.0, LARGEST_CHANGE / max(size, EPSILON)))).clamp_(0, 1)
    return moved, slope, moved - pixels, *taken, *changes


def _newton(slope: Tensor, taken: list[Tensor], changes: list[Tensor], weights: Tensor) -> Tensor:
    """Inverse Hessian, as the remembered pairs know it, times the gradient."""
    curvatures = [_dot(s, y, weights) for s, y in zip(taken, changes, strict=True)]
    known = [(s, y, c) for s, y, c in zip(taken, changes, curvatures, strict=True) if c > 0]
    if not known:
        return slope * (FIRST_CHANGE * weights.mean() / (slope.abs() * weights).mean().clamp(min=1e-30))
    direction, shares = slope, []
    for s, y, curvature in reversed(known):
        shares.append(_dot(s, direction, weights) / curvature)
        direction = direction.sub(y, alpha=shares[-1])
    s, y, _ = known[-1]
    unit = y / y.abs().max()  # squares of gradients may leave the range of float32
    direction = direction * (_dot(s, unit, weights) / _dot(y, unit, weights))
    for (s, y, curvature), share in zip(known, reversed(shares), strict=True):
        direction = direction.add(s, alpha=share - _dot(y, direction, weights) / curvature)
    return direction


def _dot(a: Tensor, b: Tensor, weights: Tensor) -> float:
    return float(((a * b).sum(1) * weights).sum())  # einsum takes twice as long, and adds up in a chain


OPTIMIZERS: dict[str, Callable[[Planes, Tensor, Tensor, Steps, int, float], Planes]] = {"adam": _adam, "lbfgs": _lbfgs}
