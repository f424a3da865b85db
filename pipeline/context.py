"""What every task of a render gets, and what it returns: small, frozen, picklable, without torch."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ..model.architecture import architecture
from ..model.state import StateLayout
from ..model.weight_files import WeightFile
from .initialization import is_photograph
from .levels import Level
from .regions import RegionLayout
from .settings import Settings
from .storage.canvas import Canvas
from .storage.run_folder import RunFolder

START_SECONDS = 60.0  # that a worker takes at most to load torch and a network, and to read and file what it needs
SLOWEST_RATE = 2e9  # floating-point operations a second; a core of 2026 makes a hundred times as many


@dataclass(frozen=True)
class RenderContext:
    """One render. Two contexts are equal if they have the same folder.

    Attributes
    ----------
    shares : tuple of float
        Of the style pictures, summing to one in every region; empty if style does not count.
    device, precision : str
        Chosen once for all workers, so that it does not matter which worker paints which tile.
    priority : int
        Place among the pictures of a batch; tasks with a lower number are served first.
    regions : RegionLayout or None
        Of a picture that is not painted everywhere alike.
    """

    folder: RunFolder
    settings: Settings = field(compare=False)
    weights: WeightFile = field(compare=False)
    shares: tuple[float, ...] = field(compare=False)
    device: str = field(compare=False)
    precision: str = field(compare=False)
    priority: int = field(default=0, compare=False)
    regions: RegionLayout | None = field(default=None, compare=False)

    def slowest_seconds(self, pixels: int, steps: int = 0) -> float:
        """Seconds that a task on so many pixels takes at most, on the slowest machine: a measure before any other."""
        operations = architecture(self.settings.network).operations(self.settings.layers)
        return START_SECONDS + operations * pixels * (steps + 1) / SLOWEST_RATE

    @property
    def layout(self) -> StateLayout:
        """Which planes the state of a tile has."""
        return state_layout(self.settings)

    def canvas(self, level: Level, made: int) -> Canvas:
        """Give the canvas of a level after `made` rounds: the state, see `layout`."""
        layout, folder = self.layout, self.folder.round(level, made)
        return Canvas(self.folder.store, folder, level.grid, layout.planes, layout.painting, layout.bfloat16)

    def content(self, level: Level) -> Canvas:
        """Give the photograph on a level's canvas: one plane."""
        return Canvas(self.folder.store, self.folder.content(level), level.blocks, 1)

    def guidance(self, level: Level) -> Canvas:
        """Give what belongs to which region, see `muralist.pipeline.regions`; only where there are some."""
        assert self.regions is not None
        return Canvas(self.folder.store, self.folder.guidance(level), level.blocks, self.regions.planes)

    def start(self, level: Level) -> Canvas:
        """Give what a level starts from, which may be the photograph: one plane."""
        if is_photograph(self.settings):
            return self.content(level)
        return Canvas(self.folder.store, self.folder.start(level), level.blocks, 1)


def state_layout(settings: Settings) -> StateLayout:
    """Give the planes of a tile's state."""
    return StateLayout(settings.optimizer, settings.ema_decay > 0)


class TileResult(NamedTuple):
    """What a task on a tile gives back.

    Attributes
    ----------
    number : int
        Of the tile.
    fetched : int
        Bytes of the canvas that it had to fetch.
    replayed : bool
        Whether its round was a recorded one, see `muralist.model.graphs`.
    trouble : str
        Why rounds are not recorded any more; "" if they are, or are not meant to be.
    typical : bool
        Whether other tiles should take as long; not where nothing is painted.
    seconds : float
        It took.
    """

    number: int
    fetched: int = 0
    replayed: bool = False
    trouble: str = ""
    typical: bool = True
    seconds: float = 0.0


class TunedWeights(NamedTuple):
    """Weights of the terms that keep the photograph, which `strength` tunes."""

    content: float = 0.0
    luminance: float = 0.0


UNWEIGHTED: Final = TunedWeights()  # for measuring only


class Losses(NamedTuple):
    """The losses of a whole picture.

    Attributes
    ----------
    terms : dict str -> float
        Those that count, by name, unweighted.
    weights : dict str -> float
        Of the terms in the total.
    total : float
        What is minimized.
    regions : dict str -> list of float
        Terms of every region apart, by name; empty where the picture is one.
    """

    terms: dict[str, float]
    weights: dict[str, float]
    total: float
    regions: dict[str, list[float]]
