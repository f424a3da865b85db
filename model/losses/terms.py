"""What a term of the loss is: sums over tiles, its value from the whole picture's sums, its gradient at one tile.

Sums of all tiles added together are the whole picture's. The name of every sum begins with that of its term, such as
"style gram relu3_1", "content error relu4_2" or "tv 1 0".
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Self

from torch import Tensor

from ..network import Features
from ..statistics import TileSums, Window
from ..ways import GramProduct

PICTURE: Final = "picture"  # key of a gradient at the pixels, instead of at a layer's features


@dataclass(frozen=True)
class LayerShape:
    """Size of a layer over a whole picture."""

    channels: int
    positions: int


@dataclass(frozen=True)
class PictureSize:
    """Size of a whole picture.

    Attributes
    ----------
    height, width : int
        px.
    layers : mapping layer -> LayerShape
    loss_pixels : int, optional
        Size that losses which grow with the picture count it as.
    """

    height: int
    width: int
    layers: Mapping[str, LayerShape] = field(default_factory=dict)
    loss_pixels: int | None = None

    @property
    def pixels(self) -> int:
        """Pixels of the whole picture."""
        return self.height * self.width

    @property
    def sum_scale(self) -> float:
        """Factor of losses that are sums over the picture."""
        return (self.loss_pixels or self.pixels) / self.pixels


@dataclass(frozen=True)
class TileView:
    """One tile, as a term sees it.

    Attributes
    ----------
    picture : Tensor (1, 3, H, W)
    features, content : dict layer -> Tensor (1, C, h, w)
        Of the picture, and of the photograph under it.
    window : Window
        Blend weights, and which region is where.
    product
        Number type of products of features, see `muralist.model.ways`.
    """

    picture: Tensor
    features: Features
    content: Features
    window: Window
    product: GramProduct = "float32"


@dataclass(frozen=True, kw_only=True)
class LossTerm(ABC):
    """A term of the loss for one picture size.

    Attributes
    ----------
    name : str
        In sums and records; its weight is the setting `NAME_weight`.
    compares : bool
        Whether it needs the photograph's features.
    layers : mapping layer -> float
        Whose features it needs, with weights of any positive scale.
    """

    name: ClassVar[str]
    compares: ClassVar[bool] = False
    weight: float
    size: PictureSize
    layers: Mapping[str, float] = field(default_factory=dict)

    @property
    def shares(self) -> dict[str, float]:
        """Layer weights that sum to one."""
        total = sum(self.layers.values())
        return {layer: weight / total for layer, weight in self.layers.items()}

    @property
    def waits(self) -> bool:
        """Whether its gradient makes the host wait for the device, so that no round can be recorded."""
        return False

    def on(self, like: Tensor) -> Self:
        """Give the term for gradients on the device and in the number type of `like`."""
        return self

    @abstractmethod
    def sums(self, view: TileView) -> dict[str, Tensor]:
        """Sum up what a tile adds to the whole picture."""

    @abstractmethod
    def value(self, sums: TileSums) -> float:
        """Compute the loss of a whole picture, unweighted, from its sums."""

    def region_values(self, sums: TileSums) -> list[float]:
        """Compute the loss of every region apart; empty for a term that has none."""
        return []

    def statistics(self, sums: TileSums) -> dict[str, Tensor]:
        """Give what the gradient depends on of the whole picture, which all tiles change."""
        return {}

    def tile_statistics(self, view: TileView) -> dict[str, Tensor]:
        """Give the same of one tile, as far as it has a share in it."""
        return {}

    def constants(self, sums: TileSums) -> dict[str, float]:
        """Give what the gradient depends on of the whole picture, which no tile changes."""
        return {}

    @abstractmethod
    def gradient(
        self, view: TileView, statistics: Mapping[str, Tensor], constants: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Compute the gradient of pixels * weight * loss of the whole picture at a tile, without reading a number.

        Parameters
        ----------
        statistics, constants
            Of the whole picture, as `statistics` and `constants` give them.

        Returns
        -------
        dict layer or `PICTURE` -> Tensor
            Shaped like the features, or like the picture.
        """
