"""The painter: optimises the pixels of one tile for some steps, as a share of the whole picture's optimisation.

Gram consensus: the style loss depends on other tiles only through the whole picture's Gram matrices (and means of
features, which go the same way). The painter knows them as they were when the round began and supposes that the other
tiles change as its own does:

    G_estimate = G_start + own Gram now - own Gram at the start

so at the first step of a round the gradient is exactly the whole picture's, wherever the tile's context reaches far
enough. Without consensus the tile takes its own Gram for the whole picture's: every tile becomes a picture of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from muralist.model.errors import DivergedError
from muralist.model.frozen import gradient_at
from muralist.model.network import Features, Network
from muralist.model.objective import Objective, as_tensor
from muralist.model.optimizers import Descent, Planes, Steps
from muralist.model.regions import Part
from muralist.model.state import PIXELS
from muralist.model.statistics import Sums, Window, absolute_sum, measure, style_sums, wide
from muralist.model.style_losses import Statistics

ATTEMPTS = 8
TINY = 1e-30


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
        return self._features(content, tuple(self.objective.content_layers))

    def _features(self, picture: Tensor, layers: tuple[str, ...]) -> Features:
        features: Features = self.network(picture, layers) if layers else {}
        return features

    @torch.no_grad()
    def measure(self, picture: Tensor, content: Features, window: Window) -> Sums:
        """Sum up a tile's share of the losses."""
        features = self._features(picture, self.objective.layers)
        sums = measure(features, content, self.objective.style_layers, window)
        return replace(sums, variation=self.objective.variation.sums(picture, window))

    def paint(
        self, state: np.ndarray, content: Features, window: Window, whole: Sums, steps: Steps, consensus: bool = True
    ) -> tuple[np.ndarray, Sums]:
        """Make some steps on one tile.

        Parameters
        ----------
        state : ndarray (planes, H, W, 3), float32
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
        state : ndarray (planes, H, W, 3), float32
        sums : Sums
            The tile's share after the last step.

        Raises
        ------
        DivergedError
            If the gradient is not finite after `ATTEMPTS` halvings of the learning rate.
        """
        device = window.rows.device
        gradient = RoundGradient(self, content, window, whole, consensus)
        planes = _descend(tuple(to_tensor(plane, device) for plane in state), gradient, steps)
        sums = replace(self.measure(planes[PIXELS], content, window), norms=gradient.norms)
        return np.stack([plane[0].permute(1, 2, 0).cpu().numpy() for plane in planes]), sums


class RoundGradient:
    """Gradient of the whole picture's loss at one tile's pixels, within one round.

    Remembers the tile's own statistics at the first call, which is the start of the round; and, if gradients are to be
    normalised, their norms, which are exact there. Norms of the whole picture are those of the round before.
    """

    def __init__(self, painter: Painter, content: Features, window: Window, whole: Sums, consensus: bool) -> None:
        self.network, self.objective = painter.network, painter.objective
        self.content, self.window, self.consensus = content, window, consensus
        self.whole = whole
        # In the number type of the features' sums: two Gram matrices differ by far less than they are.
        self.like = torch.empty(0, dtype=wide(self.network.dtype), device=window.rows.device)
        self.distances = self.objective.distances(self.like)
        self.offset: dict[str, Statistics] | None = None
        self.norms: dict[str, float] = {}

    def __call__(self, picture: Tensor) -> Tensor:
        """Return the gradient of pixels * loss at a picture (1, 3, H, W)."""
        leaf = picture.detach().requires_grad_()
        with torch.enable_grad():
            features = self.network(leaf, self.objective.layers)
        with torch.no_grad():
            at = self._feature_gradients({layer: f.detach() for layer, f in features.items()})
        gradient = gradient_at(leaf, features, at)
        return gradient + self.objective.variation_gradient(picture) if self.objective.tv_weight else gradient

    def _feature_gradients(self, features: Features) -> Features:
        gradients = self._balanced(
            "content", self.objective.content_gradients(self.whole.content_energy, features, self.content)
        )
        slopes = {name: now.slope(self.distances[name]) for name, now in self._estimate(features).items()}
        style = self._balanced("style", self.objective.style_gradients(slopes, features, self.window.guides))
        for layer, value in style.items():
            gradients[layer] = gradients[layer] + value if layer in gradients else value
        return gradients

    def _estimate(self, features: Features) -> dict[str, Statistics]:
        """Estimate the whole picture's statistics from the tile's own, of the regions that are in it."""
        own = {
            name: self._own(features[layer], part)
            for layer in self.objective.style_layers
            for name, part in self.window.guides.terms(layer)
            if part is None or not part.is_empty
        }
        if not self.consensus:
            return own
        if self.offset is None:
            whole = self.objective.statistics(self.whole, self.like)
            self.offset = {name: _difference(whole[name], now) for name, now in own.items()}
        return {name: _sum(now, self.offset[name]) for name, now in own.items()}

    def _own(self, features: Tensor, part: Part | None) -> Statistics:
        count = self.window.part_at(part, *features.shape[-2:]).sum().clamp(min=TINY)  # a tile may be all margin
        return Statistics(*(value / count for value in style_sums(features, self.window, part)))

    def _balanced(self, term: str, gradients: Features) -> Features:
        """Divide by the L1 norms over the whole picture, if that is asked for."""
        if not self.objective.normalize_gradients:
            return gradients
        own = {f"{term} {layer}": absolute_sum(gradient, self.window) for layer, gradient in gradients.items()}
        self.norms = own | self.norms
        return {
            layer: gradient * (self._weight(term, layer) / self._norm(f"{term} {layer}", own))
            for layer, gradient in gradients.items()
        }

    def _weight(self, term: str, layer: str) -> float:
        return self.objective.pixels * self.objective.weight_of(term, layer)

    def _norm(self, name: str, own: Mapping[str, float]) -> float:
        """Norm over the whole picture; as if all tiles were like this one, where none was or it was zero."""
        whole = float(self.whole.norms.get(name, 0))
        return max(whole or own[name] / self._share, TINY)

    @property
    def _share(self) -> float:
        """Share of the whole picture that is this tile's."""
        return float(self.window.rows.sum() * self.window.cols.sum()) / self.objective.pixels


def _sum(a: Statistics, b: Statistics) -> Statistics:
    return Statistics(a.gram + b.gram, a.mean + b.mean)


def _difference(a: Statistics, b: Statistics) -> Statistics:
    return Statistics(a.gram - b.gram, a.mean - b.mean)


@torch.no_grad()
def _descend(state: Planes, gradient: RoundGradient, steps: Steps) -> Planes:
    """Make the steps. If they lead to a gradient that is not finite, make all of them again at half the rate.

    The device is asked once whether all was finite, after the last step: it need never wait for the answer.
    """
    for halvings in range(ATTEMPTS + 1):
        rate = steps.learning_rate / 2**halvings
        planes, finite = _attempt(state, gradient, steps, as_tensor(np.array(steps.numbers(rate)), state[PIXELS]))
        if steps.count == 0 or bool(finite.all()):
            return planes
        step = finite.tolist().index(False)
        if step == 0:  # the round itself begins with it
            break
    raise DivergedError(step, rate)


def _attempt(state: Planes, gradient: RoundGradient, steps: Steps, numbers: Tensor) -> tuple[Planes, Tensor]:
    """Make the steps, and say of every one whether the gradient it follows is finite: (count,) bool."""
    weights = gradient.window.weights()
    weights = torch.where(weights.any(), weights, 1)
    grad, finite = gradient(state[PIXELS]), []
    descent = Descent(state, gradient, weights, steps)
    for made in range(steps.count):
        grad = gradient(descent.pixels) if made else grad
        finite.append(grad.sum().isfinite())
        descent.step(grad, numbers[made])
    return descent.state, torch.stack(finite)
