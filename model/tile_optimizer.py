"""Optimizes the pixels of one tile for some steps, as a share of the whole picture's optimization.

Gram consensus: the style loss depends on other tiles only through the whole picture's Gram matrices (and means of
features, which are treated in the same way). The optimizer knows them as they were when the round began, and assumes
that the other tiles change as its own does:

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
from .graphs import Graphs, Tensors, Work
from .losses.terms import PICTURE, LossTerm, TileView
from .network import Features, Network
from .objective import Objective
from .ops import gradient_at
from .optimizers import Descent, Planes, StepSchedule
from .regions import ONE_REGION, Guidance
from .state import PIXELS
from .statistics import TileSums, Window, absolute_sum, as_sums, as_tensor, upcast, upcast_dtype
from .transfer import ENQUEUING, computed, upload

ATTEMPTS = 8
TINY = 1e-8  # added to a norm, as in jcjohnson's code: a zero gradient stays zero, whatever its weight
NORM = "norm "  # begins the names of gradients' norms among the sums


def to_tensor(pixels: np.ndarray, device: str | torch.device = "cpu") -> Tensor:
    """Turn (height, width, 3) into (1, 3, height, width), channels last in memory."""
    return upload(torch.from_numpy(np.array(pixels)), device)[None].permute(0, 3, 1, 2)


@dataclass(frozen=True)
class TileOptimizer:
    """Optimizes the tiles of one level.

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
        return torch.empty(0, dtype=upcast_dtype(self.network.dtype), device=self.network.device)

    @cached_property
    def goal(self) -> Objective:
        """The objective on the device."""
        return self.objective.on(self.like)

    @torch.no_grad()
    def content_features(self, content: Tensor) -> Features:
        """Compute what of the photograph the painting is to keep."""
        with ENQUEUING:
            return self._features(content, self.objective.content_layers)

    def _features(self, picture: Tensor, layers: tuple[str, ...]) -> Features:
        features: Features = self.network(picture, layers) if layers else {}
        return features

    @torch.no_grad()
    def measure(self, picture: Tensor, content: Features, window: Window) -> TileSums:
        """Sum up a tile's share of the losses."""
        return as_sums(computed(lambda: self._sums(picture, content, window)))

    def _sums(self, picture: Tensor, content: Features, window: Window) -> dict[str, Tensor]:
        features = self._features(picture, self.objective.layers)
        return self.objective.sums(TileView(picture, features, content, window, self.network.ways.gram))

    def paint(
        self,
        state: np.ndarray,
        content: Features,
        window: Window,
        whole: TileSums,
        steps: StepSchedule,
        consensus: bool = True,
    ) -> tuple[np.ndarray, TileSums]:
        """Make the steps of a round on one tile.

        Parameters
        ----------
        state : ndarray (planes, H, W, 3), float32
            Of the tile's `outer` box at the start of the round. Not changed.
        content : dict layer -> Tensor
            Features of the photograph under the tile.
        window : Window
            The tile's blend weights.
        whole : TileSums
            Of the whole picture at the start of the round.
        consensus : bool
            False: the tile's own Gram stands for the whole picture's.

        Returns
        -------
        state : ndarray (planes, H, W, 3), float32
        sums : TileSums
            The tile's share after the last step.

        Raises
        ------
        DivergedError
            If the gradient is not finite after `ATTEMPTS` halvings of the learning rate.
        """
        key, work, given = self.round_of(state, content, window, whole, steps, consensus)

        def attempt(numbers: Tensor) -> Tensors:
            return computed(lambda: self.graphs.run(self, key, work, given | {"numbers": numbers}))

        found = until_finite(attempt, steps, self.like)
        return found["state"].numpy(), as_sums({name: value for name, value in found.items() if " " in name})

    def round_of(
        self,
        state: np.ndarray,
        content: Features,
        window: Window,
        whole: TileSums,
        steps: StepSchedule,
        consensus: bool = True,
    ) -> tuple[Hashable, Work, dict[str, Tensor]]:
        """Prepare the part of `paint` that runs on the device.

        Returns
        -------
        key : hashable or None
            All that the work depends on besides its tensors. None if the work cannot be recorded: it uses norms of the
            round before, or regions (whose sizes differ from tile to tile), or waits for the device.
        work : callable (tensors) -> tensors
            Makes the steps and measures.
        given : dict
            What to give it, but for "numbers", see `until_finite`.
        """
        with ENQUEUING:  # so that no other thread makes it, too: a recording would lose the tensors it was made with
            goal = self.goal
        constants = tuple(goal.constants(whole).items())
        single = not any(name.startswith(NORM) for name in whole) and not window.guidance.parts
        key = (state.shape, steps.kind, consensus, constants) if single and not goal.waits else None
        given = (
            {"state": upload(torch.from_numpy(np.array(state)), self.like.device)}
            | {f"content {layer}": features for layer, features in content.items()}
            | {f"whole {name}": value for name, value in goal.statistics(whole).items()}
            | {"rows": window.rows, "cols": window.cols}
        )
        work = partial(self._round, whole=whole, steps=steps, consensus=consensus, guidance=window.guidance)
        return key, work, given

    @torch.no_grad()
    def _round(
        self, given: Tensors, whole: TileSums, steps: StepSchedule, consensus: bool, guidance: Guidance = ONE_REGION
    ) -> dict[str, Tensor]:
        """Make the steps of a round and measure, without reading any value from the device."""
        window = Window(given["rows"], given["cols"], guidance)
        content = {layer: given[f"content {layer}"] for layer in self.objective.content_layers}
        statistics = {name.removeprefix("whole "): each for name, each in given.items() if name.startswith("whole ")}
        gradient = RoundGradient(self, content, window, whole, consensus, statistics)
        state = tuple(plane[None].permute(0, 3, 1, 2) for plane in given["state"])
        planes, finite = descend(state, gradient, window.weights(), steps, given["numbers"])
        sums = self._sums(planes[PIXELS], content, window)
        kept = torch.stack([plane[0].permute(1, 2, 0) for plane in planes])
        return {"state": kept, "finite": finite, **sums, **gradient.norms}


class RoundGradient:
    """Gradient of the whole picture's loss at one tile's pixels, within one round.

    Remembers the tile's own statistics at the first call, which is the start of the round; and, if gradients are to be
    normalized, their norms, which are exact there. Norms of the whole picture are those of the round before.

    Parameters
    ----------
    optimizer, content, window, whole, consensus
        As of `TileOptimizer.paint`.
    statistics : dict str -> Tensor, optional
        Those of `whole`, if they are on the device already.
    """

    def __init__(
        self,
        optimizer: TileOptimizer,
        content: Features,
        window: Window,
        whole: TileSums,
        consensus: bool,
        statistics: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.network, self.goal = optimizer.network, optimizer.goal
        self.content, self.window, self.consensus = content, window, consensus
        self.whole, self.constants = whole, self.goal.constants(whole)
        self.statistics = self.goal.statistics(whole) if statistics is None else statistics
        self.offset: dict[str, Tensor] | None = None
        self.norms: dict[str, Tensor] = {}

    def __call__(self, picture: Tensor) -> Tensor:
        """Return the gradient of pixels * loss at a picture (1, 3, H, W)."""
        leaf = picture.detach().requires_grad_()
        with torch.enable_grad():
            features = self.network(leaf, self.goal.layers)
        with torch.no_grad():
            detached = {layer: f.detach() for layer, f in features.items()}
            at = self._gradients(TileView(picture, detached, self.content, self.window, self.network.ways.gram))
        at_pixels = at.pop(PICTURE, None)
        gradient = gradient_at(leaf, features, at)
        return gradient if at_pixels is None else gradient + at_pixels

    def _gradients(self, view: TileView) -> dict[str, Tensor]:
        """Gradients at the features of every layer and at the pixels, of all terms together."""
        statistics, total = self._estimate(view), dict[str, Tensor]()
        for term in self.goal.terms:
            for place, value in self._balanced(term, term.gradient(view, statistics, self.constants)).items():
                total[place] = total[place] + value if place in total else value
        return total

    def _estimate(self, view: TileView) -> dict[str, Tensor]:
        """Estimate the whole picture's statistics from the tile's own, of the regions that are in it."""
        own = self.goal.tile_statistics(view)
        if not self.consensus:
            return own
        if self.offset is None:
            self.offset = {name: self.statistics[name] - now for name, now in own.items()}
        return {name: now + self.offset[name] for name, now in own.items()}

    def _balanced(self, term: LossTerm, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        """Divide those at features by their L1 norms over the whole picture, if that is asked for."""
        if not self.goal.normalize_gradients or PICTURE in gradients:
            return gradients
        own = {layer: absolute_sum(gradient, self.window) for layer, gradient in gradients.items()}
        names = {layer: f"{NORM}{term.name} {layer}" for layer in gradients}
        self.norms = {names[layer]: norm for layer, norm in own.items()} | self.norms
        weights = {layer: self.goal.size.pixels * (term.weight * share) for layer, share in term.shares.items()}
        factors = {layer: weights[layer] / self._norm(names[layer], norm) for layer, norm in own.items()}
        return {layer: (upcast(value) * factors[layer]).to(value.dtype) for layer, value in gradients.items()}

    def _norm(self, name: str, own: Tensor) -> Tensor:
        """Norm over the whole picture; as if all tiles were like this one, where none was or it was zero."""
        whole = float(self.whole.get(name, 0))
        norm = torch.full_like(own, whole) if whole else own / self._share
        return norm.clamp(min=TINY)

    @property
    def _share(self) -> Tensor:
        """Share of the whole picture that is this tile's."""
        return self.window.rows.sum() * self.window.cols.sum() / self.goal.size.pixels


def until_finite(attempt: Callable[[Tensor], Tensors], steps: StepSchedule, like: Tensor) -> Tensors:
    """Make the steps of a round. If a gradient is not finite, make all of them again at half the learning rate.

    Whether all gradients were finite is read from the device only after the last step.

    Parameters
    ----------
    attempt : callable (Tensor (steps, 3)) -> tensors
        Makes the steps, given their `StepSchedule.numbers`, and says of each in "finite" whether its gradient is. What
        it returns is on the host.
    like : Tensor
        Of the number type and on the device of the numbers.

    Raises
    ------
    DivergedError
        If halving does not help, or the first gradient of the round is not finite.
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
    state: Planes, gradient: Callable[[Tensor], Tensor], weights: Tensor, steps: StepSchedule, numbers: Tensor
) -> tuple[Planes, Tensor]:
    """Make the steps, and say of every one whether the gradient it follows is finite: (steps,) bool."""
    grad = gradient(state[PIXELS])
    descent = Descent(state, weights, steps)
    finite = []
    for made in range(steps.count):
        grad = gradient(descent.pixels) if made else grad
        finite.append(grad.sum().isfinite())
        descent.step(grad, numbers[made])
    return descent.state, torch.stack(finite) if finite else grad.new_ones(0, dtype=torch.bool)
