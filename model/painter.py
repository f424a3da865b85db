"""The painter: optimizes the pixels of one tile for some steps, as a share of the whole picture's optimization.

Gram consensus: the style loss depends on other tiles only through the whole picture's Gram matrices (and means of
features, which go the same way). The painter knows them as they were when the round began and supposes that the other
tiles change as its own does:

    G_estimate = G_start + own Gram now - own Gram at the start

so at the first step of a round the gradient is exactly the whole picture's, wherever the tile's context reaches far
enough. Without consensus the tile takes its own Gram for the whole picture's: every tile becomes a picture of its own.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from .errors import DivergedError
from .frozen import gradient_at
from .graphs import Graphs, Tensors, Work
from .network import Features, Network
from .objective import Objective, as_tensor
from .optimizers import Descent, Planes, Steps
from .regions import ONE_REGION, Guides, Part
from .state import PIXELS
from .statistics import Sums, Window, absolute_sum, style_sums, tile_sums, wide, widened
from .style_losses import Distance, Statistics

ATTEMPTS = 8
TINY = 1e-30


def to_tensor(pixels: np.ndarray, device: str | torch.device = "cpu") -> Tensor:
    """Turn (height, width, 3) into (1, 3, height, width), channels last in memory."""
    return torch.from_numpy(np.array(pixels)).to(device)[None].permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Painter:
    """Paints tiles of one level.

    Attributes
    ----------
    network : Network
        On the device and in the number type to compute with.
    objective : Objective
        Of the whole level.
    graphs : Graphs
        Records rounds, if it can.
    """

    network: Network
    objective: Objective
    graphs: Graphs = field(default_factory=Graphs)

    @cached_property
    def like(self) -> Tensor:
        """A tensor in the number type of the features' sums: two Gram matrices differ by far less than they are."""
        return torch.empty(0, dtype=wide(self.network.dtype), device=self.network.device)

    @cached_property
    def distances(self) -> dict[str, Distance]:
        """The style term of every layer, with its targets on the device."""
        return self.objective.distances(self.like)

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
        return Sums.of_tensors(self._sums(picture, content, window))

    def _sums(self, picture: Tensor, content: Features, window: Window) -> dict[str, Tensor]:
        features, product = self._features(picture, self.objective.layers), self.network.ways.gram
        sums = tile_sums(features, content, self.objective.style_layers, window, product)
        variation = self.objective.variation.sums(picture, window)
        return sums | {f"variation {name}": value for name, value in variation.items()}

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
        key, work, given = self.round_of(state, content, window, whole, steps, consensus)

        def attempt(numbers: Tensor) -> Tensors:
            return self.graphs.run(self, key, work, given | {"numbers": numbers})

        with self.graphs.lock:
            found = until_finite(attempt, steps, self.like)
            sums = Sums.of_tensors({name: value for name, value in found.items() if " " in name})
            return found["state"].cpu().numpy(), sums

    def round_of(
        self, state: np.ndarray, content: Features, window: Window, whole: Sums, steps: Steps, consensus: bool = True
    ) -> tuple[Hashable, Work, dict[str, Tensor]]:
        """Make ready what `paint` does on the device.

        Returns
        -------
        key : hashable or None
            All that the work depends on beside its tensors; None where norms of the round before, or regions, which
            are of other sizes in every tile, are part of it.
        work : callable (tensors) -> tensors
            Makes the steps and measures.
        given : dict
            What to give it, but for "numbers", see `until_finite`.
        """
        energies = tuple((layer, float(energy)) for layer, energy in whole.content_energy.items())
        single = not whole.norms and not window.guides.parts
        key = (state.shape, steps.kind, consensus, energies) if single else None
        statistics = self.objective.statistics(whole, self.like)
        given = (
            {"state": torch.from_numpy(np.array(state)).to(self.like.device)}
            | {f"content {layer}": features for layer, features in content.items()}
            | {f"gram {name}": each.gram for name, each in statistics.items()}
            | {f"mean {name}": each.mean for name, each in statistics.items()}
            | {"rows": window.rows, "cols": window.cols}
        )
        work = partial(self._round, whole=whole, steps=steps, consensus=consensus, guides=window.guides)
        return key, work, given

    @torch.no_grad()
    def _round(
        self, given: Tensors, whole: Sums, steps: Steps, consensus: bool, guides: Guides = ONE_REGION
    ) -> dict[str, Tensor]:
        """Make the steps of a round and measure, without a look at any number."""
        window = Window(given["rows"], given["cols"], guides)
        content = {layer: given[f"content {layer}"] for layer in self.objective.content_layers}
        names = [name.removeprefix("gram ") for name in given if name.startswith("gram ")]
        statistics = {name: Statistics(given[f"gram {name}"], given[f"mean {name}"]) for name in names}
        gradient = RoundGradient(self, content, window, whole, consensus, statistics)
        state = tuple(plane[None].permute(0, 3, 1, 2) for plane in given["state"])
        planes, finite = descend(state, gradient, window.weights(), steps, given["numbers"])
        sums = self._sums(planes[PIXELS], content, window)
        norms = {f"norms {name}": value for name, value in gradient.norms.items()}
        kept = torch.stack([plane[0].permute(1, 2, 0) for plane in planes])
        return {"state": kept, "finite": finite, **sums, **norms}


class RoundGradient:
    """Gradient of the whole picture's loss at one tile's pixels, within one round.

    Remembers the tile's own statistics at the first call, which is the start of the round; and, if gradients are to be
    normalized, their norms, which are exact there. Norms of the whole picture are those of the round before.

    Parameters
    ----------
    painter, content, window, whole, consensus
        As of `Painter.paint`.
    statistics : dict term -> Statistics, optional
        Of `whole`, if they are on the device already.
    """

    def __init__(
        self,
        painter: Painter,
        content: Features,
        window: Window,
        whole: Sums,
        consensus: bool,
        statistics: Mapping[str, Statistics] | None = None,
    ) -> None:
        self.network, self.objective, self.distances = painter.network, painter.objective, painter.distances
        self.content, self.window, self.consensus = content, window, consensus
        self.whole = whole
        self.statistics = self.objective.statistics(whole, painter.like) if statistics is None else statistics
        self.offset: dict[str, Statistics] | None = None
        self.norms: dict[str, Tensor] = {}

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
            self.offset = {name: _difference(self.statistics[name], now) for name, now in own.items()}
        return {name: _sum(now, self.offset[name]) for name, now in own.items()}

    def _own(self, features: Tensor, part: Part | None) -> Statistics:
        count = self.window.part_at(part, *features.shape[-2:]).sum().clamp(min=TINY)  # a tile may be all margin
        sums = style_sums(features, self.window, part, self.network.ways.gram)
        return Statistics(*(value / count for value in sums))

    def _balanced(self, term: str, gradients: Features) -> Features:
        """Divide by the L1 norms over the whole picture, if that is asked for."""
        if not self.objective.normalize_gradients:
            return gradients
        own = {f"{term} {layer}": absolute_sum(gradient, self.window) for layer, gradient in gradients.items()}
        self.norms = own | self.norms
        factors = {layer: self._weight(term, layer) / self._norm(f"{term} {layer}", own) for layer in gradients}
        return {layer: (widened(value) * factors[layer]).to(value.dtype) for layer, value in gradients.items()}

    def _weight(self, term: str, layer: str) -> float:
        return self.objective.pixels * self.objective.weight_of(term, layer)

    def _norm(self, name: str, own: Mapping[str, Tensor]) -> Tensor:
        """Norm over the whole picture; as if all tiles were like this one, where none was or it was zero."""
        whole = float(self.whole.norms.get(name, 0))
        norm = torch.full_like(own[name], whole) if whole else own[name] / self._share
        return norm.clamp(min=TINY)

    @property
    def _share(self) -> Tensor:
        """Share of the whole picture that is this tile's."""
        return self.window.rows.sum() * self.window.cols.sum() / self.objective.pixels


def _sum(a: Statistics, b: Statistics) -> Statistics:
    return Statistics(a.gram + b.gram, a.mean + b.mean)


def _difference(a: Statistics, b: Statistics) -> Statistics:
    return Statistics(a.gram - b.gram, a.mean - b.mean)


def until_finite(attempt: Callable[[Tensor], Tensors], steps: Steps, like: Tensor) -> Tensors:
    """Make the steps of a round. If they meet a gradient that is not finite, make all of them again at half the rate.

    The device is asked once, after the last step, whether all gradients were finite; it need not wait for anything.

    Parameters
    ----------
    attempt : callable (Tensor (steps, 3)) -> tensors
        Makes the steps, given their `Steps.numbers`, and says of each in "finite" whether its gradient is.
    steps : Steps
    like : Tensor
        Of the number type and on the device of the numbers.

    Raises
    ------
    DivergedError
        If it does not help, or the first gradient of the round is not finite.
    """
    for halvings in range(ATTEMPTS + 1):
        rate = steps.learning_rate / 2**halvings
        found = attempt(as_tensor(np.array(steps.numbers(rate)), like))
        finite: list[bool] = found["finite"].tolist()
        if all(finite):
            return found
        if not finite[0]:
            break
    raise DivergedError(finite.index(False), rate)


@torch.no_grad()
def descend(
    state: Planes, gradient: Callable[[Tensor], Tensor], weights: Tensor, steps: Steps, numbers: Tensor
) -> tuple[Planes, Tensor]:
    """Make the steps, and say of every one whether the gradient it follows is finite: (steps,) bool."""
    weights = torch.where(weights.any(), weights, 1)  # a tile may lie in the margin alone
    grad = gradient(state[PIXELS])
    descent = Descent(state, gradient, weights, steps)
    finite = []
    for made in range(steps.count):
        grad = gradient(descent.pixels) if made else grad
        finite.append(grad.sum().isfinite())
        descent.step(grad, numbers[made])
    return descent.state, torch.stack(finite) if finite else grad.new_ones(0, dtype=torch.bool)
