"""Runs a batch: decides which photograph is painted next, and reports the result of each.

    names -> items -> what is not painted yet -> run folder, plan, painting (each in a thread) -> report

A large picture takes all workers; while a level has fewer tiles than there are workers, the next pictures use the rest.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, Final

from muralist.errors import MuralistError

from ...model.architecture import architecture
from ...model.weight_files import WeightFile, find_weights
from ..console import LOG, PROGRESS
from ..errors import ClusterError, DeviceMemoryError, OutputError, PipelineError, SettingsError
from ..output_files import copy_file, keep_times, make_folder
from ..output_names import faces_path, proof_path, sidecar_path
from ..pictures.pages import place_of
from ..pictures.reading import read_size
from ..presets import combined, load_settings
from ..progress import BatchBar, Progress
from ..records.batch_report import Report, Result, Status
from ..records.journal import Journal
from ..records.run_state import RunState
from ..records.sidecar import Sidecar, write_sidecar
from ..render import open_render, paint_picture
from ..settings import Settings
from ..sizes import target_of
from ..storage.run_folder import RunFolder, clean_stale, open_run
from ..viewer.facts import render_command
from ..viewer.live import Board
from ..viewer.report import add_report
from ..viewer.server import shown_live
from ..workers.cluster import Cluster, open_cluster
from .deadline import Deadline
from .dedup import dedup_key, identity_of, painted_already
from .items import Item

PASSING: Final = (ClusterError, DeviceMemoryError)  # what may be otherwise when tried again
ATTEMPTS: Final = 3
MANY: Final = 1 << 20  # tiles: as many workers as the machine has room for


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is to be painted.

    Attributes
    ----------
    preset : str
        For all pictures that a manifest gives none of their own.
    flags : mapping
        Settings from the command line, for all pictures.
    assignments : sequence of str
        The same as `key=value` texts.
    overwrite : bool
        Whether existing outputs that were made otherwise may be replaced; those that are up to date stay.
    restart : bool
        Whether to discard interrupted runs and start over.
    keep_run : bool
        Whether to leave run folders after a success.
    report : bool
        Whether to write a page about every painting, and one about the batch.
    """

    preset: str = "default"
    flags: Mapping[str, object] | None = None
    assignments: Sequence[str] = ()
    overwrite: bool = False
    restart: bool = False
    keep_run: bool = False
    report: bool = False

    def settings_of(self, item: Item) -> Settings:
        """Give the settings of a picture, from its preset and what a manifest says of it. Raises `SettingsError`."""
        preset = item.preset or self.preset
        foreign = item.preset is not None
        return load_settings(preset, self.flags, self.assignments, item.overrides, item.place, foreign=foreign)

    def command(self, item: Item) -> str:
        """Spell the command that paints a picture alone."""
        preset, said = item.preset or self.preset, combined(self.flags, self.assignments, item.overrides)
        network = said.get("network")
        unset = _unset(preset, network if isinstance(network, str) else None)
        settings = {name: value for name, value in said.items() if value is not None or name not in unset}
        return render_command(str(item.content), map(str, item.styles), str(item.output), preset, settings)


@dataclass(frozen=True)
class BatchItem:
    """A picture to be painted: its own settings, what tells it from others, its size, and which attempt this is."""

    item: Item
    settings: Settings
    key: str
    megapixels: float
    attempts: int = 1


@dataclass
class BatchDriver:
    """A running batch. One thread starts and closes pictures; each is painted in a thread of its own.

    Attributes
    ----------
    settings : Settings
        The batch's; settings about the machine are the same for all pictures.
    folder : RunFolder
        Of the batch as a whole, for what workers need.
    board : Board or None
        Of the page that shows what is painted.
    """

    items: Sequence[Item]
    settings: Settings
    options: BatchOptions
    deadline: Deadline
    folder: RunFolder
    report: Report
    bar: BatchBar
    board: Board | None = None

    def __post_init__(self) -> None:
        self._stack = ExitStack()
        self._cluster: Cluster | None = None
        self._passed_on = 0  # of the workers' notices
        self._weights: dict[tuple[str, str | None], WeightFile] = {}
        self._ended: dict[str, Result] = {}  # by key: what other pictures of the same key may be copied from
        self._duplicates: dict[str, list[Item]] = {}  # by key: pictures that wait for one under way
        self._items = {str(item.output): item for item in self.items}

    def run(self) -> None:
        """Paint what is to be painted."""
        running: dict[Future[Sidecar], BatchItem] = {}
        waiting, again = self._queue(), deque[BatchItem]()
        with ThreadPoolExecutor(max_workers=MANY) as pool, self._stack:  # workers stop first, and with them the threads
            while True:
                while len(running) < self._at_once:
                    queued = next(waiting, None) or self._next_of(again)
                    if queued is None:
                        break
                    running[pool.submit(self._paint, queued, self._workers())] = queued
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    again += self._close(running.pop(done), done)
                self._pass_on()

    def _workers(self) -> Cluster:
        """Give the workers, which are started for the first picture that needs them."""
        if self._cluster is None:
            weights, folder = self._weights_of(self.settings), self.folder
            opened = open_cluster(self.settings, folder.base, folder.local_dir, MANY, weights)
            self._cluster = self._stack.enter_context(opened)
        return self._cluster

    @property
    def _at_once(self) -> int:
        """Number of pictures in progress: one for every tile that workers can run, and one that is read or written."""
        return 1 if self._cluster is None else 1 + self._cluster.workers * self._cluster.tiles

    # ---------------------------------------------------------------------------------------- what is to be painted

    def _queue(self) -> Iterator[BatchItem]:
        """Take the items one by one; those that need no painting are told at once."""
        for item in self.items:
            try:
                queued = self._queue_item(item)
            except Exception as error:
                self._tell(_failed(item, error))
                continue
            if queued is not None:
                yield queued

    def _queue_item(self, item: Item) -> BatchItem | None:
        settings = self._settings_of(item)
        identity = identity_of(item, settings, self._weights_of(settings).sha256)
        key = dedup_key(identity, item.output)
        if self._is_painted(item, settings, identity):
            self._end(key, _result(item, "skipped", "painted already"))
        elif key in self._ended:
            self._copy(item, self._ended[key])
        elif key in self._duplicates:
            self._duplicates[key].append(item)
        else:
            queued = BatchItem(item, settings, key, _megapixels(item, settings))
            self._duplicates[key] = []
            return self._in_time(queued)
        return None

    def _is_painted(self, item: Item, settings: Settings, identity: dict[str, Any]) -> bool:
        """Whether nothing is to be painted; what a run that was killed at its very end left is removed then."""
        folder = RunFolder.of(item.output, settings.scratch)
        try:
            if folder.is_resumable(restart=self.options.restart) or not painted_already(item.output, identity):
                return False
        except OutputError:
            if self.options.overwrite:
                return False
            raise
        if not self.options.keep_run:
            clean_stale(item.output, settings.scratch, restart=self.options.restart)
        return True

    def _in_time(self, queued: BatchItem) -> BatchItem | None:
        if self.deadline.allows(queued.megapixels, datetime.now()):
            return queued
        self._end(queued.key, _result(queued.item, "left", "it would not be finished in time"))
        return None

    def _next_of(self, again: deque[BatchItem]) -> BatchItem | None:
        """Give a picture that is tried again, if there is time."""
        while again:
            if (queued := self._in_time(again.popleft())) is not None:
                return queued
        return None

    def _settings_of(self, item: Item) -> Settings:
        own = self.options.settings_of(item)
        return own.model_copy(update={name: getattr(self.settings, name) for name in own.names(scope="machine")})

    def _weights_of(self, settings: Settings) -> WeightFile:
        key = (settings.network, settings.weights)
        if key not in self._weights:
            self._weights[key] = find_weights(architecture(settings.network), settings.weights)
        return self._weights[key]

    # -------------------------------------------------------------------------------------------------- one picture

    def _paint(self, queued: BatchItem, cluster: Cluster) -> Sidecar:
        item, options = queued.item, self.options
        make_folder(item.output.parent)
        restart = options.restart and queued.attempts == 1
        with open_render(
            item.content,
            item.styles,
            item.output,
            queued.settings,
            overwrite=options.overwrite,
            restart=restart,
            keep_run=options.keep_run,
        ) as (plan, journal, state):
            name = item.output.name
            logged = Progress(plan.levels, batch_item=name)
            with shown_live(self.board, name, plan.levels, logged, cluster, item.number) as progress:
                sidecar = paint_picture(plan, journal, state, cluster, progress, item.number)
        if options.report:
            with suppress(PipelineError):  # tried again in the end, and told then
                add_report(item.output, item.content, queued.settings)
        return sidecar

    def _close(self, queued: BatchItem, done: Future[Sidecar]) -> list[BatchItem]:
        """Report a picture's result; return it if it is to be tried again, or another one in its place."""
        error = done.exception()
        if error is None:
            result = _painted(queued, done.result())
            self.deadline.learn(queued.megapixels, result.seconds)
        elif (gone := self._workers().failed) is not None:
            raise gone
        elif isinstance(error, PASSING) and queued.attempts < ATTEMPTS:
            return [replace(queued, attempts=queued.attempts + 1)]
        else:
            result = replace(_failed(queued.item, error), attempts=queued.attempts)
            if isinstance(error, OutputError):  # other outputs may still work
                self._tell(result)
                return self._instead_of(queued)
        self._end(queued.key, result)
        return []

    def _instead_of(self, queued: BatchItem) -> list[BatchItem]:
        """Return the next of the identical pictures that wait for one, if there is any, to be painted instead."""
        if waiting := self._duplicates[queued.key]:
            item = waiting.pop(0)
            return [replace(queued, item=item, settings=self._settings_of(item), attempts=1)]
        del self._duplicates[queued.key]
        return []

    def _end(self, key: str, result: Result) -> None:
        """Report a result, and copy the painting for identical pictures that wait for it."""
        self._tell(result)
        self._ended[key] = result
        for item in self._duplicates.pop(key, []):
            self._copy(item, result)

    def _copy(self, item: Item, first: Result) -> None:
        """Give a picture the painting of one that is the same."""
        own = replace(first, input=str(item.content), output=str(item.output), same_as=first.output)
        if first.status in ("failed", "left"):
            self._tell(own)
            return
        try:
            make_folder(item.output.parent)
            with open_run(item.output, self.settings.scratch, restart=self.options.restart) as folder:
                copy_painting(Path(first.output), item, folder, keep=self._settings_of(item).keep_times)
        except Exception as error:
            self._tell(_failed(item, error))
            return
        self._tell(replace(own, status="copied", reason=None, seconds=0.0, attempts=0))

    def _tell(self, result: Result) -> None:
        result = replace(result, command=self.options.command(self._items[result.output]))
        self.report.add(result)
        self.bar.show(result)
        if self.board is not None:
            self.board.tell(result)

    def _pass_on(self) -> None:
        """Pass on new notices about the workers."""
        for notice in self._workers().notices[self._passed_on :]:
            PROGRESS.warning(notice)
            self._passed_on += 1


@cache
def _unset(preset: str, network: str | None) -> frozenset[str]:
    """Settings that a preset leaves without a value; none of a preset that does not work."""
    with suppress(SettingsError):
        return frozenset(name for name, value in load_settings(preset, {"network": network}) if value is None)
    return frozenset()


def copy_painting(painting: Path, item: Item, folder: RunFolder, *, keep: bool) -> None:
    """Copy a painting for a photograph that is the same, with its sidecar, proof and mask of faces, without snapshots.

    Raises `OutputError` if the copy cannot be written, or something else was being painted there.
    """
    sidecar = json.loads(sidecar_path(painting).read_bytes())
    journal = Journal(folder, item.output, sidecar["identity"])
    journal.resume()
    beside = {str(name(painting)): name(item.output) for name in (sidecar_path, proof_path, faces_path)}
    files = [str(item.output), *map(str, beside.values())]
    journal.write(RunState(files=files))  # killed now, it is resumed
    copy_file(painting, item.output)
    for told in filter(None, [sidecar.get("proof"), *sidecar["inputs"].get("masks", ())]):
        if (own := beside.get(told["path"])) is not None:
            copy_file(Path(told["path"]), own)
            told["path"] = str(own)
    sidecar["inputs"]["content"]["path"] = str(item.content)
    copied = {"output": str(item.output), "same_as": str(painting), "snapshots": []}
    write_sidecar(item.output, {**sidecar, **copied})
    if keep:
        keep_times(place_of(item.content).file, item.output)


def _megapixels(item: Item, settings: Settings) -> float:
    """Size of the painting."""
    return prod(target_of(*read_size(item.content), settings).painted_size) / 1e6


def _painted(queued: BatchItem, sidecar: Sidecar) -> Result:
    last = sidecar["levels"][-1]
    facts = {name: sidecar[name] for name in ("seconds", "height", "width", "seam_score", "seam_threshold")}
    losses = {f"{name}_loss": last["losses_last"].get(name) for name in ("style", "content")}
    missing = ", ".join(queued.item.missing)
    reason = f"painted without {missing}: there is no such file" if missing else None
    return replace(_result(queued.item, "done", reason), attempts=queued.attempts, **facts, **losses)


def _failed(item: Item, error: BaseException) -> Result:
    """The result of a failed picture; for a bug, its traceback is logged, too."""
    if not isinstance(error, MuralistError):
        LOG.error("%s: failed because of a bug", item.content, exc_info=error)
    reason = " ".join(str(error).split()) or repr(error)
    return replace(_result(item, "failed", reason), error=type(error).__name__)


def _result(item: Item, status: Status, reason: str | None = None) -> Result:
    return Result(str(item.content), str(item.output), status, reason)
