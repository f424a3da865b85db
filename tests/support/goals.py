"""A goal in plain values, as tests choose and change them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from muralist.model.losses.content import ContentTerm
from muralist.model.losses.style import StyleTerm
from muralist.model.losses.terms import PICTURE, LayerShape, LossTerm, PictureSize, TileView
from muralist.model.losses.variation import TotalVariationTerm
from muralist.model.objective import Objective
from muralist.model.statistics import Window


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Style, content and TV; a term without layers or weight is left out. Targets are named "gram relu1_1"."""

    targets: Mapping[str, np.ndarray]
    style_layers: Mapping[str, float]
    content_layers: Mapping[str, float]
    style_weight: float
    content_weight: float
    tv_weight: float
    height: int
    width: int
    sizes: Mapping[str, LayerShape]
    metric: Mapping[str, np.ndarray] = field(default_factory=dict)
    style_loss: str = "relative"
    content_loss: str = "relative"
    tv_loss: str = "l2"
    tv_chroma: float = 0.0
    loss_pixels: int | None = None
    normalize_gradients: bool = False
    regions: int = 1

    @property
    def size(self) -> PictureSize:
        """Of the picture."""
        return PictureSize(self.height, self.width, self.sizes, self.loss_pixels)

    @property
    def style(self) -> StyleTerm:
        """The style term."""
        return StyleTerm(
            weight=self.style_weight,
            size=self.size,
            layers=self.style_layers,
            targets={f"style {name}": value for name, value in self.targets.items()},
            regions=self.regions,
            formula=self.style_loss,
            metric=self.metric,
        )

    @property
    def content(self) -> ContentTerm:
        """The content term."""
        layers = self.content_layers
        return ContentTerm(weight=self.content_weight, size=self.size, layers=layers, formula=self.content_loss)

    @property
    def tv(self) -> TotalVariationTerm:
        """The TV term."""
        return TotalVariationTerm(weight=self.tv_weight, size=self.size, formula=self.tv_loss, chroma=self.tv_chroma)

    @property
    def objective(self) -> Objective:
        """All of them."""
        counts = {"style": self.style_layers, "content": self.content_layers, "tv": self.tv_weight}
        terms: tuple[LossTerm, ...] = (self.style, self.content, self.tv)
        return Objective(tuple(t for t in terms if counts[t.name]), self.size, self.normalize_gradients)

    def tv_gradient(self, picture: Tensor) -> Tensor:
        """Gradient of pixels * weight * TV at a picture."""
        return self.tv.gradient(TileView(picture, {}, {}, Window.full(picture)), {}, {})[PICTURE]
