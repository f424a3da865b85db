"""How fast machines paint: benchmarks, cached on disk by what they depend on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

from platformdirs import user_cache_path
from pydantic import Field, TypeAdapter

from .output_files import write_file
from .settings import Settings
from .workers.local import WorkerLayout

USUAL_SIDE: Final = 512  # px; larger tiles are painted about as fast
KEPT_DAYS: Final = 30  # after which a machine is measured again: drivers, libraries and habits change
EVALUATION_STEPS: Final = 0.5  # what evaluating the losses costs: a forward pass alone

Conditions = Mapping[str, str | int | bool]


@dataclass(frozen=True)
class Speed:
    """How fast one worker paints while all of a machine's paint.

    Attributes
    ----------
    conditions : mapping str -> plain value
        All that it depends on but precision and side, see `conditions`.
    usual : bool
        Whether the precision is what `auto` chooses there.
    side : int
        Of the tile, px.
    microseconds : float
        Per pixel and step.
    date : str
        When it was measured, such as 2026-11-21.
    """

    conditions: Conditions
    precision: str
    usual: bool
    side: Annotated[int, Field(gt=0)]
    microseconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    date: str

    @property
    def is_fresh(self) -> bool:
        """Whether it was measured so recently that it still counts."""
        try:
            return today() - date.fromisoformat(self.date) <= timedelta(days=KEPT_DAYS)
        except ValueError:
            return False

    def replaces(self, other: "Speed") -> bool:
        """Say whether this is a newer answer to the same question."""
        mine, theirs = ((each.conditions, each.precision, each.side) for each in (self, other))
        return mine == theirs

    def serves(self, conditions: Conditions, precision: str, side: int) -> bool:
        """Say whether this tells how fast tiles of `side` px are painted: small ones are slower than large ones."""
        suits = self.usual if precision == "auto" else self.precision == precision
        alike = min(side, USUAL_SIDE) / 2 <= self.side <= 2 * side
        return suits and alike and self.conditions == conditions


KEPT: Final = TypeAdapter(list[Speed])


@dataclass(frozen=True)
class Speeds:
    """The speeds kept in a file, which may be deleted at any time."""

    file: Path

    def find(self, conditions: Conditions, precision: str, side: int) -> Speed | None:
        """Find the speed of the tile that is most like one of `side` px; `precision` is as in the settings."""
        serving = [speed for speed in self._read() if speed.serves(conditions, precision, side)]
        return min(serving, key=lambda speed: abs(speed.side - side), default=None)

    def keep(self, new: Speed) -> bool:
        """Keep a speed, and say whether that was possible. A file that cannot be written is no reason to stop."""
        speeds = [*(old for old in self._read() if not new.replaces(old)), new]
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_file(self.file, KEPT.dump_json(speeds, indent=1))
        except OSError:
            return False
        return True

    def _read(self) -> list[Speed]:
        """All that are fresh; none if the file is damaged, which is then replaced."""
        try:
            return [speed for speed in KEPT.validate_json(self.file.read_bytes()) if speed.is_fresh]
        except (OSError, ValueError):
            return []


def today() -> date:
    """Return the date here."""
    return date.today()


def usual_speeds() -> Speeds:
    """Return the speeds kept in muralist's cache folder."""
    return Speeds(user_cache_path("muralist") / "speeds.json")


def conditions(settings: Settings, shape: WorkerLayout, device: str, name: str) -> Conditions:
    """Gather what a worker's speed depends on but precision and side.

    Parameters
    ----------
    shape : WorkerLayout
        Of all workers of the machine.
    device, name : str
        Kind of device and what it is called.
    """
    lbfgs = {"lbfgs_history": settings.lbfgs_history, "lbfgs_resolutions": settings.lbfgs_resolutions[-1]}
    return {
        "device": device,
        "name": name,
        "workers": shape.workers,
        "threads": shape.threads,
        **settings.model_dump(include=set(settings.names(speed=True))),
        **(lbfgs if settings.optimizer == "lbfgs" else {}),
        "style_layers": " ".join(sorted(settings.active_style_layers)),
        "style_terms": " ".join(settings.style_terms),
        "content_layers": " ".join(sorted(settings.active_content_layers)),
        **{package: version(package) for package in ("torch", "muralist")},
    }
