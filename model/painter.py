"""The painter: optimises the pixels of one tile for some steps, as a share of the whole picture's optimisation.

Gram consensus: the style loss depends on other tiles only through the whole picture's Gram matrices. The painter
knows them as they were when the round began and supposes that the other tiles change as its own does:

    G_estimate = G_start + own Gram now - own Gram at the start

so at the first step of a round the gradient is exactly the whole picture's, wherever the tile's context reaches far
enough. Without consensus the tile takes its own Gram for the whole picture's: every tile becomes a picture of its own.

Adam: Kingma and Ba 2015, algorithm 1; pixels are clipped to [0, 1] after every step.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from muralist.model.errors import DivergedError
from muralist.model.network import Features, Network
from muralist.model.objective import Objective, like
from muralist.model.state import PIXELS
from muralist.model.statistics import Sums, Window, gram_sum, measure

EPSILON = 1e-8
ATTEMPTS = 8


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
        Steps made before at this level: for the moving average, which starts anew at every level.
    learning_rate : float
        In units of the pixel range, per step.
    betas : (float, float)
        Decay of Adam's moments.
    average_decay : float
        Decay of the moving average; a plain mean until 1 / (1 - decay) steps have been made.
    """

    count: int
    first: int
    first_of_level: int
    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.99)
    average_decay: float = 0.9


def to_tensor(pixels: np.ndarray, device: str | torch.device = "cpu") -> Tensor:
    """Turn (height, width, 3) into (1, 3, height, width), channels last in memory."""
    return torch.from_numpy(np.array(pixels)).to(device).permute(2, 0, 1)[None]


@dataclass(frozen=True)
class Painter:
    """Paints tiles of one level.

    Attributes
    ----------
    network : Network
        On the device and in the number type to compute with.
    objective : Objective
        Of the whole level.
    """

    network: Network
    objective: Objective

    @torch.no_grad()
    def content_features(self, content: Tensor) -> Features:
        """Compute what of the photograph the painting is to keep."""
        features: Features = self.network(content, self.objective.content_layers)
        return features

    @torch.no_grad()
    def measure(self, picture: Tensor, content: Features, window: Window) -> Sums:
        """Sum up a tile's share of the losses."""
        features = self.network(picture, self.objective.layers)
        return measure(picture, features, content, self.objective.style_layers, window)

    def paint(
        self, state: np.ndarray, content: Features, window: Window, whole: Sums, steps: Steps, consensus: bool = True
    ) -> tuple[np.ndarray, Sums]:
        """Make some steps on one tile.

        Parameters
        ----------
        state : ndarray (4, H, W, 3), float32
            Of the tile's `outer` box at the start of the round. Not changed.
        content : dict layer -> Tensor
            Features of the photograph under the tile.
        window : Window
            The tile's blend weights.
        whole : Sums
            Of the whole picture at the start of the round.
        steps : Steps
        consensus : bool
            False: the tile's own Gram stands for the whole picture's.

        Returns
        -------
        state : ndarray (4, H, W, 3), float32
        sums : Sums
            The tile's share after the last step.

        Raises
        ------
        DivergedError
            If the gradient is not finite after `ATTEMPTS` halvings of the learning rate.
        """
        device = window.rows.device
        planes = [to_tensor(plane, device) for plane in state]
        gradient = RoundGradient(self, content, window, whole, consensus)
        _descend(planes, gradient, steps)
        sums = self.measure(planes[PIXELS], content, window)
        return np.stack([plane[0].permute(1, 2, 0).cpu().numpy() for plane in planes]), sums


class RoundGradient:
    """Gradient of the whole picture's loss at one tile's pixels, within one round.

    Remembers the tile's own Gram at the first call, which is the start of the round.
    """

    def __init__(self, painter: Painter, content: Features, window: Window, whole: Sums, consensus: bool) -> None:
        self.network, self.objective = painter.network, painter.objective
        self.content, self.window, self.consensus = content, window, consensus
        self.energy = whole.content_energy
        self.whole = {layer: gram / self.objective.positions[layer] for layer, gram in whole.gram.items()}
        self.offset: dict[str, Tensor] | None = None

    def __call__(self, picture: Tensor) -> Tensor:
        """Return the gradient of pixels * loss at a picture (1, 3, H, W)."""
        leaf = picture.detach().requires_grad_()
        with torch.enable_grad():
            features = self.network(leaf, self.objective.layers)
        with torch.no_grad():
            at = self._feature_gradients({layer: f.detach() for layer, f in features.items()})
        (gradient,) = torch.autograd.grad([features[layer] for layer in at], leaf, list(at.values()))
        return gradient + self.objective.variation_gradient(picture) if self.objective.tv_weight else gradient

    def _feature_gradients(self, features: Features) -> Features:
        gradients = self.objective.content_gradients(self.energy, features, self.content)
        for layer, value in self.objective.style_gradients(self._estimate(features), features).items():
            gradients[layer] = gradients[layer] + value if layer in gradients else value
        return gradients

    def _estimate(self, features: Features) -> dict[str, Tensor]:
        """Estimate the whole picture's mean Grams from the tile's own."""
        own = {layer: self._own(features[layer]) for layer in self.objective.style_layers}
        if not self.consensus:
            return own
        if self.offset is None:
            self.offset = {layer: like(self.whole[layer], gram) - gram for layer, gram in own.items()}
        return {layer: gram + self.offset[layer] for layer, gram in own.items()}

    def _own(self, features: Tensor) -> Tensor:
        return gram_sum(features, self.window) / self.window.at(*features.shape[-2:]).sum()


@torch.no_grad()
def _descend(planes: list[Tensor], gradient: RoundGradient, steps: Steps) -> None:
    """Make the steps in place. Where a step leads to a gradient that is not finite, redo it with half the rate."""
    rate = steps.learning_rate
    before: list[Tensor] | None = None
    last: Tensor | None = None
    slope: Tensor | None = None
    for i in range(steps.count):
        last, slope = slope, gradient(planes[PIXELS])
        for _ in range(ATTEMPTS):
            if torch.isfinite(slope.sum()) or before is None or last is None:
                break
            rate /= 2
            _restore(planes, before)
            _adam(planes, last, steps, i - 1, rate)
            slope = gradient(planes[PIXELS])
        if not torch.isfinite(slope.sum()):
            raise DivergedError(i, rate)
        before = [plane.clone() for plane in planes]
        _adam(planes, slope, steps, i, rate)


def _restore(planes: list[Tensor], before: list[Tensor]) -> None:
    for plane, saved in zip(planes, before, strict=True):
        plane.copy_(saved)


def _adam(planes: list[Tensor], slope: Tensor, steps: Steps, i: int, rate: float) -> None:
    pixels, average, moment1, moment2 = planes
    beta1, beta2 = steps.betas
    made = steps.first + i + 1
    moment1.lerp_(slope, 1 - beta1)
    moment2.mul_(beta2).addcmul_(slope, slope, value=1 - beta2)
    scale = (moment2 / (1 - beta2**made)).sqrt_().add_(EPSILON)
    pixels.addcdiv_(moment1, scale, value=-rate / (1 - beta1**made)).clamp_(0, 1)
    average.lerp_(pixels, max(1 - steps.average_decay, 1 / (steps.first_of_level + i + 1)))
