"""The order of a painting: levels coarse to fine, rounds within a level, tiles within a round.

The driver submits tasks, receives a few numbers and writes them to the journal. Pixels, features and Gram matrices pass
from task to task through the run folder. Tiles that a killed run had already stored are not painted again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeVar

from ..tiling.errors import TileTooSmallError
from .context import START_SECONDS, Losses, RenderContext, TunedWeights
from .errors import DeviceError, DeviceMemoryError
from .levels import Level
from .prepare_level import LevelInputs, prepare_level
from .progress import Progress, level_work
from .records.journal import Journal
from .records.losses import LossRecord, best, has_levelled_off
from .records.run_state import LevelReport, RunState
from .records.snapshots import Snapshot
from .strength import tuned_weights
from .words import counted
from .workers.cluster import Cluster

TILE_SECONDS = 1.0  # to add a tile's sums up, at most

T = TypeVar("T")


@dataclass
class RenderDriver:
    """Drives one painting from its first level to its last.

    Attributes
    ----------
    save : callable (level, rounds made) -> Snapshot
        Called where a snapshot is due.
    state : RunState
        How far it has come.
    """

    context: RenderContext
    planned: tuple[Level, ...]
    cluster: Cluster
    sources: LevelInputs
    progress: Progress
    journal: Journal
    save: Callable[[Level, int], Snapshot]
    state: RunState
    _clock: float = field(default_factory=time.perf_counter)

    @property
    def level(self) -> Level:
        """The level that is being painted."""
        return self.state.cut(self.planned)[len(self.state.levels)]

    def paint(self) -> tuple[Level, int]:
        """Paint all levels that are not finished. Return the last one and the round whose canvas is the painting.

        Raises
        ------
        DeviceError
            If an earlier run computed on another device or in another precision.
        DeviceMemoryError
            If memory runs out even with the smallest tiles.
        """
        self._check_device()
        self.progress.skip(sum(level_work(level) for level in self.planned[: len(self.state.levels)]))
        while len(self.state.levels) < len(self.planned):
            self._paint_level()
        return self.state.cut(self.planned)[-1], self.state.levels[-1].kept

    def _check_device(self) -> None:
        now, before = (self.context.device, self.context.precision), (self.state.device, self.state.precision)
        if self.state.device and now != before:
            raise DeviceError(
                f"this painting was begun on {' in '.join(before)}, but the workers now compute on "
                f"{' in '.join(now)}; resume it with --device {before[0]} --precision {before[1]}, or "
                "start over with --restart"
            )
        self.state.device, self.state.precision = now

    def _paint_level(self) -> None:
        level, current = self.level, self.state.current
        self.progress.start_level(level)
        if current.rows:
            self.progress.skip(level.steps_after(current.made) * level.tile_pixels)
        else:
            self._begin()
        while not self._ended():
            self._paint_round()
        self._finish()

    def _begin(self) -> None:
        """Lay the level out and prepare its tiles."""
        before = len(self.state.levels) - 1
        origin = (self.state.cut(self.planned)[before], self.state.levels[before].kept) if before >= 0 else None
        prepare_level(self.context, self.cluster, self.sources, self.level)
        self._record(self._surviving(lambda level: self._prepare(level, 0, origin)))
        if origin is not None:
            self.context.folder.remove_level(origin[0])

    def _paint_round(self) -> None:
        made, needed = self.state.current.made, self._needed()
        self._record(self._surviving(lambda level: self._advance(level, made)))
        for superseded in needed - self._needed():
            self.context.folder.remove_round(self.level, superseded)

    def _ended(self) -> bool:
        """Save a snapshot if one is due, then say whether the level's rounds are made or more do not help."""
        current, level = self.state.current, self.level
        step = level.first_step + level.steps_after(current.made)
        due = level.steps_after(current.made) in level.saves and current.made > 0
        if due and step not in [saved.step for saved in self.state.snapshots]:
            self.state.snapshots.append(self.save(level, current.made))
            self._note()
        levelled_off = has_levelled_off(current.rows, self.context.settings.early_stop)
        return current.made == len(level.rounds) or levelled_off or self.progress.ends_level(level)

    def _finish(self) -> None:
        """Measure the canvas that is kept, and close the level."""
        current, kept = self.state.current, self._kept()
        last = self._surviving(lambda level: self._measure(level, kept))
        self.tick()
        level = self.level
        if current.made < len(level.rounds):
            self.progress.skip((level.steps - level.steps_after(current.made)) * level.tile_pixels)
            self.progress.show_canvas(level, kept)
        asked = self.progress.ends_level(level)
        self.state.finish_level(LevelReport.of(level, current, kept, last, asked=asked))
        self.journal.write(self.state)

    @property
    def _tuned_weights(self) -> TunedWeights:
        """Weights of the content and luminance terms for what comes next."""
        painted = 1.0 if self.context.regions is None else self.context.regions.painted
        return tuned_weights(self.context.settings, [*self.state.losses, *self.state.current.rows], painted)

    def _kept(self) -> int:
        """The round whose canvas would be kept if the level ended now."""
        current = self.state.current
        return best(current.rows) if self.context.settings.iterate == "best" else current.made

    def _needed(self) -> set[int]:
        """The rounds whose canvases must stay: the last, which the next round starts from, and the one to keep."""
        return {self._kept(), self.state.current.made} if self.state.current.rows else set()

    # ------------------------------------------------------------------------------------------ what workers are asked

    def _prepare(self, level: Level, made: int, origin: tuple[Level, int] | None) -> Losses:
        self._everywhere(level, "prepare_tile", self.context.folder.round(level, made), made, origin)
        return self._add_up(level, made)

    def _advance(self, level: Level, made: int) -> Losses:
        """Make the round after `made`."""
        filed, steps = self.context.folder.round(level, made + 1), level.rounds[made]
        self._everywhere(level, "paint_tile", filed, made, self._tuned_weights, steps=steps)
        return self._add_up(level, made + 1)

    def _measure(self, level: Level, made: int) -> Losses:
        self._everywhere(level, "measure_tile", self.context.folder.measured(level, made), made)
        return self._add_up(level, made, measured=True)

    def _add_up(self, level: Level, made: int, *, measured: bool = False) -> Losses:
        arguments = (self.context, level, made, self._tuned_weights, measured)
        limit = START_SECONDS + TILE_SECONDS * len(level.grid)
        losses: Losses = self.cluster.call("add_up", *arguments, priority=self.context.priority, limit=limit)
        return losses

    def _everywhere(self, level: Level, task: str, filed: str, *arguments: Any, steps: int = 0) -> None:
        """Run a task on all tiles of a level whose sums are not yet in the folder `filed`."""
        done = self.context.folder.store.names(filed)
        numbers = [tile.index for tile in level.grid if f"{tile.index:06}" not in done]
        calls = [(self.context, level, number, *arguments) for number in numbers]
        affinities = [(self.context.folder.run, level.index, level.halvings, number) for number in numbers]
        pixels = [prod(level.grid[number].outer.shape) for number in numbers]
        limits = [self.context.slowest_seconds(each, steps) for each in pixels]
        waiting = sum(pixels)
        self.progress.skip(steps * (level.tile_pixels - waiting))
        for result in self.cluster.map(
            task, calls, priority=self.context.priority, affinities=affinities, limits=limits
        ):
            self.progress.advance(steps * prod(level.grid[result.number].outer.shape))
            self.state.current.fetched += result.fetched
            self.state.current.busy += result.seconds
            self.state.current.replayed += result.replayed
            self._tell_of(result.trouble)

    def _tell_of(self, trouble: str) -> None:
        notice = f"CUDA graphs could not be recorded, so operations are launched one by one: {trouble}"
        if trouble and notice not in self.state.notices:
            self.state.notices.append(notice)

    # ------------------------------------------------------------------------------------------------------ survival

    def _surviving(self, work: Callable[[Level], T]) -> T:
        """Do some work on the level; where memory runs out, halve its tiles and do it again."""
        while True:
            try:
                return work(self.level)
            except DeviceMemoryError as error:
                self._halve(error)

    def _halve(self, error: DeviceMemoryError) -> None:
        level = self.level
        while True:
            try:
                level = level.halved()
                self._recut(level)
            except TileTooSmallError:
                raise error from None
            except DeviceMemoryError:
                continue
            self.state.halvings = level.halvings
            tiles = counted(len(level.grid), "tile")
            self.state.notices.append(f"level {level.index + 1} was split into {tiles}: {error}")
            self._note()
            return

    def _recut(self, level: Level) -> None:
        """Store the level's canvases again, in smaller tiles."""
        for made in sorted(self._needed()):
            self._prepare(level, made, (self.level, made))

    def _record(self, losses: Losses) -> None:
        """Note the losses after a round, and with that the round as made."""
        self.tick()
        current = self.state.current
        current.rows.append(LossRecord.of(self.level, current.made + 1, losses, self.state.seconds))
        self.progress.show_losses(current.rows[-1])
        self._note()
        self.progress.show_canvas(self.level, current.made)

    def _note(self) -> None:
        self.tick()
        self.journal.write(self.state)

    def tick(self) -> None:
        """Count the time since the last tick."""
        now = time.perf_counter()
        self.state.current.seconds += now - self._clock
        self.state.seconds += now - self._clock
        self._clock = now
