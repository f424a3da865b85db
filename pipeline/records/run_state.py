"""The state of a run: what an interrupted run resumes from, and what the sidecar records in the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import TypeAdapter

from ..context import Losses
from ..levels import Level
from .losses import LossRecord
from .snapshots import Snapshot


@dataclass(frozen=True)
class LevelReport:
    """One row of the sidecar's level table.

    Attributes
    ----------
    height, width : int
        Picture, px.
    halvings : int
        How often the tiles were halved because memory ran out, at this level or before.
    rounds, steps : int
        Made; fewer than planned where a level ended early.
    ended : {"steps", "plateau", "asked"}
        Whether all steps were made, more of them no longer helped, or somebody asked for the next level.
    kept : int
        The round whose canvas counts; 0 is what the level started from.
    seconds, busy_seconds : float
        Passed, and spent by all workers together on tiles.
    fetched_bytes_per_round : int
        Of the canvas, what all workers together had to fetch from storage or from other workers in a round.
    replayed : int
        Tiles' rounds that were replays of a recorded one, as a GPU does best.
    losses_first, losses_last : dict str -> float
        Of the whole picture, by name, unweighted: before the first step, and of the canvas that counts.
    region_losses : dict str -> list of float
        Of every region of the canvas that counts, by name, unweighted; empty where the picture is one.
    """

    height: int
    width: int
    tiles: int
    halvings: int
    rounds: int
    steps: int
    ended: str
    kept: int
    seconds: float
    busy_seconds: float
    fetched_bytes_per_round: int
    replayed: int
    losses_first: dict[str, float]
    losses_last: dict[str, float]
    region_losses: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, level: Level, current: "LevelState", kept: int, last: Losses, *, asked: bool = False) -> "LevelReport":
        """Put a row together from the state of a level and the losses of the canvas that counts."""
        return cls(
            height=level.height,
            width=level.width,
            tiles=len(level.grid),
            halvings=level.halvings,
            rounds=current.made,
            steps=level.steps_after(current.made),
            ended="steps" if current.made == len(level.rounds) else "asked" if asked else "plateau",
            kept=kept,
            seconds=round(current.seconds, 3),
            busy_seconds=round(current.busy, 3),
            fetched_bytes_per_round=current.fetched // max(1, current.made),
            replayed=current.replayed,
            losses_first=current.rows[0].losses,
            losses_last=last.terms,
            region_losses=last.regions,
        )


@dataclass
class LevelState:
    """The level that is being painted: the records of its losses; what `LevelReport` tells in the end, so far."""

    rows: list[LossRecord] = field(default_factory=list)
    seconds: float = 0.0
    busy: float = 0.0
    fetched: int = 0
    replayed: int = 0

    @property
    def made(self) -> int:
        """Rounds made."""
        return len(self.rows) - 1


@dataclass
class RunState:
    """How a painting went so far.

    Attributes
    ----------
    levels : list of LevelReport
        Of the levels that are finished.
    losses : list of LossRecord
        Of these levels.
    current : LevelState
        The level that is being painted.
    halvings : int
        How often the tiles of this level and those to come were halved.
    snapshots : list of Snapshot
        Written so far.
    files : list of str
        Absolute paths of all other files that the run has begun to write; a resumed run may replace them.
    device, precision : str
        Device and number type of the painting; "" before it starts.
    notices : list of str
        What the user should know about how it went.
    seconds : float
        It took so far.
    resumed : int
        How often the painting was resumed.
    """

    levels: list[LevelReport] = field(default_factory=list)
    losses: list[LossRecord] = field(default_factory=list)
    current: LevelState = field(default_factory=LevelState)
    halvings: int = 0
    snapshots: list[Snapshot] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    device: str = ""
    precision: str = ""
    notices: list[str] = field(default_factory=list)
    seconds: float = 0.0
    resumed: int = 0

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "RunState":
        """Restore a state from `dataclasses.asdict`."""
        return _PLAIN.validate_python(plain)

    def cut(self, planned: Sequence[Level]) -> tuple[Level, ...]:
        """Give the planned levels with their tiles halved as often as they were."""
        halvings = [report.halvings for report in self.levels]
        halvings += [self.halvings] * (len(planned) - len(halvings))
        return tuple(replace(level, halvings=number) for level, number in zip(planned, halvings, strict=True))

    def finish_level(self, report: LevelReport) -> None:
        """Close the level that was being painted."""
        self.levels.append(report)
        self.losses += self.current.rows
        self.current = LevelState()


_PLAIN: Final = TypeAdapter(RunState)
