"""What every task of a render needs to know. Small, frozen, picklable."""

from dataclasses import dataclass, field

from muralist.model.weight_files import WeightFile
from muralist.pipeline.levels import Level
from muralist.pipeline.run_folder import RunFolder
from muralist.pipeline.settings import Settings


@dataclass(frozen=True)
class Job:
    """One render. Two jobs are equal if they have the same folder.

    Attributes
    ----------
    folder : RunFolder
    settings : Settings
    weights : WeightFile
    levels : tuple of Level
    shares : tuple of float
        Of the style pictures, summing to one; empty if style does not count.
    device, precision : str
        Chosen once for all workers, so that it does not matter who paints which tile.
    """

    folder: RunFolder
    settings: Settings = field(compare=False)
    weights: WeightFile = field(compare=False)
    levels: tuple[Level, ...] = field(compare=False, repr=False)
    shares: tuple[float, ...] = field(compare=False)
    device: str = field(compare=False)
    precision: str = field(compare=False)
