"""A painting with real tasks, in this process: cut short anywhere and resumed, out of memory, ended early."""

import math
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import TINY, painting, photograph_rows
from PIL import Image
from recorders import refusing, repeated

from muralist.model.architecture import architecture
from muralist.model.graphs import Graphs
from muralist.model.weight_files import find_weights
from muralist.pipeline import strength, tasks
from muralist.pipeline.context import RenderContext
from muralist.pipeline.errors import DeviceError, DeviceMemoryError
from muralist.pipeline.levels import Level, plan_levels
from muralist.pipeline.painting import RenderDriver
from muralist.pipeline.prepare_level import LevelInputs, StyleSource
from muralist.pipeline.progress import Progress, level_work
from muralist.pipeline.records.journal import Journal
from muralist.pipeline.records.run_state import RunState
from muralist.pipeline.records.snapshots import Snapshot
from muralist.pipeline.regions import RegionLayout
from muralist.pipeline.settings import Settings
from muralist.pipeline.storage.run_folder import open_run
from muralist.pipeline.storage.store import Store
from muralist.pipeline.style_cache import StyleCache
from muralist.tiling.grid import Span

pytestmark = pytest.mark.integration

# Two levels: 64 px in one tile, 128 px in two; three rounds and four. The network's first layers are quick.
QUICK = TINY | {"tile": 128, "overlap": 16, "steps": [6, 8]}
SETTINGS = Settings(**QUICK)
NETWORK = architecture(SETTINGS.network)
WEIGHTS = find_weights(NETWORK)
TASKS, PREPARED = 30, 2  # in all; and before the first look at the losses, with which a painting is begun


def style(side: int) -> np.ndarray:
    """The style picture at any size."""
    picture = Image.fromarray(painting())
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(picture, np.float32) / 255


Watch = Callable[[str, tuple[Any, ...]], object]


class InProcess:
    """Stands in for the workers: runs the tasks themselves in this process, a map's in any order.

    Attributes
    ----------
    watch : callable (task, arguments)
        Called before every task; what it raises, the task raises.
    done : list of (str, tuple)
        The tasks that were run, without the context.
    """

    def __init__(self, watch: Watch = lambda *_: None) -> None:
        self.watch, self.done = watch, []

    def call(self, task: str, *arguments: Any, priority: int = 0, limit: float = 1) -> Any:
        """Run one task."""
        assert 0 < limit < math.inf
        self.watch(task, arguments)
        self.done.append((task, arguments[1:]))
        return getattr(tasks, task)(*arguments)

    def map(
        self,
        task: str,
        calls: Sequence[tuple[Any, ...]],
        priority: int = 0,
        affinities: Sequence[Any] | None = None,
        limits: Sequence[float] = (),
    ) -> Iterator[Any]:
        """Run a task once per tuple of arguments; of each it has to be known how long it may take."""
        assert len(limits) == len(calls)
        assert affinities is None or len(set(affinities)) == len(calls)
        shuffled = random.Random(len(self.done)).sample(calls, len(calls))
        return (self.call(task, *arguments) for arguments in shuffled)


class Counting(Progress):
    """Counts the work that is left."""

    def __init__(self, levels: Sequence[Level]) -> None:
        super().__init__(levels)
        self.left = sum(level_work(level) for level in levels)

    def advance(self, work: int) -> None:
        """Count some work as done."""
        self.left -= work


@dataclass(frozen=True)
class Painted:
    """What came out: the files of the canvas that counts, and how it went."""

    level: Level
    canvas: list[bytes]
    state: RunState
    left: int
    saved: list[tuple[int, int, bytes]]


HALF = RegionLayout(count=1, planes=1, painted=0.5, styles=(0,))


def half(height: int, width: int, rows: Span) -> np.ndarray:
    """Guidance of which the left half is painted; the photograph shows in the right one."""
    channels = np.zeros((rows.length, width, 3), np.float32)
    channels[:, : width // 2, 0] = channels[:, width // 2 :, 2] = 1
    return channels


def paint(
    output: Path,
    workers: InProcess,
    settings: Settings = SETTINGS,
    *,
    device: str = "cpu",
    precision: str = "float32",
    regions: RegionLayout | None = None,
) -> Painted:
    """Paint, or go on with what was cut short; with regions, the left half."""
    stride, minimum = NETWORK.max_stride(settings.layers), NETWORK.min_input(settings.layers)
    levels = plan_levels(96, 128, [(112, 1.0)], settings, stride, minimum)
    with open_run(output, None, keep=True) as folder:
        journal = Journal(folder, output, {"settings": settings.model_dump(mode="json")})
        context = RenderContext(folder, settings, WEIGHTS, (1.0,), device, precision, regions=regions)
        cache = StyleCache(output.with_suffix(".cache"), {})
        saved = []

        def save(level: Level, made: int) -> Snapshot:
            saved.append((level.index, made, context.canvas(level, made).read(level.grid.box).tobytes()))
            return Snapshot("a picture", level.first_step + level.steps_after(made), level.height, level.width)

        guidance = None if regions is None else half
        sources = LevelInputs(photograph_rows, photograph_rows, (StyleSource(style, cache),), guidance)
        progress = Counting(levels)
        under_way = RenderDriver(context, levels, workers, sources, progress, journal, save, journal.resume())
        level, kept = under_way.paint()
        canvas = context.canvas(level, kept)
        files = [canvas.store.read(canvas.name(tile)) for tile in level.grid]
        journal.write(under_way.state, finished=True)
        return Painted(level, files, under_way.state, progress.left, saved)


def after(number: int) -> Watch:
    """Whoever watches with this interrupts when so many tasks were run."""
    left = iter(range(number))

    def watch(*_: object) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return watch


def cut_short(output: Path, workers: InProcess, settings: Settings = SETTINGS) -> InProcess:
    """Paint until it is interrupted."""
    with pytest.raises(KeyboardInterrupt):
        paint(output, workers, settings)
    return workers


def in_pieces(
    output: Path,
    tasks_each: int,
    settings: Settings,
    watch: Watch = lambda *_: None,
    regions: RegionLayout | None = None,
) -> Painted:
    """Paint, interrupted again and again after so many tasks, until it is done."""
    for _ in range(100):
        interrupt = after(tasks_each)
        try:
            workers = InProcess(lambda *task, now=interrupt: (now(), watch(*task)))
            return paint(output, workers, settings, regions=regions)
        except KeyboardInterrupt:
            continue
    pytest.fail("it gets nowhere")


@pytest.fixture(scope="module", autouse=True)
def as_in_a_worker(one_thread: None) -> Iterator[None]:
    """One thread, and no waiting for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@dataclass(frozen=True)
class Whole:
    """A painting that nobody disturbed, and its tasks."""

    painted: Painted
    tasks: list[tuple[str, tuple[Any, ...]]]


@pytest.fixture(scope="module")
def whole(as_in_a_worker: None, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The painting that others are compared with."""
    workers = InProcess()
    return Whole(paint(tmp_path_factory.mktemp("whole") / "out.png", workers), workers.done)


def assert_same(found: Painted, wanted: Painted) -> None:
    """The same bytes, losses and levels; but for the time it took."""
    assert found.canvas == wanted.canvas
    assert found.state.losses == wanted.state.losses
    assert found.state.snapshots == wanted.state.snapshots
    told = [
        [{**asdict(row), "seconds": 0, "busy_seconds": 0, "fetched_bytes_per_round": 0} for row in each.state.levels]
        for each in (found, wanted)
    ]
    assert told[0] == told[1]


def test_a_painting_that_nobody_disturbs(whole):
    """Every level has its report, the losses fall, and each task is run once."""
    state = whole.painted.state
    found = [(row.tiles, row.rounds, row.steps, row.ended) for row in state.levels]
    assert found == [(1, 3, 6, "steps"), (2, 4, 8, "steps")]
    assert all(row.losses_last["style"] < row.losses_first["style"] for row in state.levels)
    looks = [(row.level, row.step) for row in state.losses]
    assert looks == [*((1, step) for step in range(0, 7, 2)), *((2, step) for step in range(6, 15, 2))]
    assert all(row.fetched_bytes_per_round > 0 for row in state.levels)
    assert (state.resumed, state.halvings, state.notices, whole.painted.left) == (0, 0, [], 0)
    assert len({(task, str(arguments)) for task, arguments in whole.tasks}) == len(whole.tasks) == TASKS


def test_canvases_that_are_not_needed_any_more_are_removed(tmp_path):
    """A finished painting leaves the last level's last canvas, until its run folder goes."""
    paint(tmp_path / "out.png", InProcess())
    (run,) = (path for path in (tmp_path / ".out.png.muralist").iterdir() if path.is_dir())
    assert [path.name for path in run.iterdir()] == ["level_01"]
    assert [path.name for path in (run / "level_01" / "cut_0").glob("round_*")] == ["round_0004"]


# ------------------------------------------------------------------------------------------------------- interrupted


@pytest.mark.parametrize("number", range(TASKS))
def test_a_painting_cut_short_is_gone_on_with(whole, tmp_path, number):
    """Stopped after any number of tasks, the same call ends with the same bytes and losses; none is run twice."""
    before, again = cut_short(tmp_path / "out.png", InProcess(after(number))), InProcess()
    found = paint(tmp_path / "out.png", again)
    assert_same(found, whole.painted)
    begun = number > PREPARED
    assert (found.state.resumed, found.left) == (begun, 0)
    run = [(task, str(arguments)) for task, arguments in before.done[0 if begun else number :] + again.done]
    painted = [task for task in run if task[0] != "add_up"]
    assert len(painted) == len(set(painted))
    assert len(run) <= TASKS + 1  # one sum may be added up twice


def test_a_level_that_is_not_left_after_all_has_its_own_losses(whole, tmp_path, monkeypatch):
    """Left early on a page, interrupted while its losses were measured, and then painted to its end."""

    def interrupt(task: str, arguments: tuple[Any, ...]) -> None:
        if task == "add_up" and arguments[-1]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Counting, "ends_level", lambda _, level: level.index == 0)
        assert cut_short(tmp_path / "out.png", InProcess(interrupt)).done[-1][0] == "measure_tile"
    assert_same(paint(tmp_path / "out.png", InProcess()), whole.painted)


@pytest.mark.parametrize("number", range(1, 66, 8))
def test_a_driver_killed_at_any_file_goes_on(whole, tmp_path, monkeypatch, number):
    """Stopped where any file was to be written or removed, a task's or the journal's, it ends with the same bytes."""
    output, interrupt = tmp_path / "out.png", after(number)
    with monkeypatch.context() as patch:
        for name in ("write", "remove"):
            patch.setattr(Store, name, watched(getattr(Store, name), interrupt))
        cut_short(output, InProcess())
    assert_same(paint(output, InProcess()), whole.painted)


def watched(function: Callable[..., Any], watch: Watch) -> Callable[..., Any]:
    """Give a function that asks first."""

    def call(*arguments: Any) -> Any:
        watch("", arguments)
        return function(*arguments)

    return call


WAYS = {
    "best": {"iterate": "best", "optimizer": "adam", "learning_rate": [0.9, 0.9], "ema_decay": 0, "steps": [5, 4]},
    "early_stop": {"early_stop": 1, "steps": [9, 5], "steps_per_round": 2},
    "snapshots": {"snapshot_every": 2},
    "adam": {"optimizer": "adam"},
    "little history": {"lbfgs_history": 2},
    "noise": {"noise_ratio": 0.5},
    "alone": {"consensus": False},
    "no steps": {"steps": [3, 0]},
}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_the_way_of_painting(tmp_path, way):
    """Interrupted after every few tasks, each way ends with the bytes, losses and snapshots of an undisturbed one."""
    settings = Settings(**QUICK | WAYS[way])
    wanted = paint(tmp_path / "whole.png", InProcess(), settings)
    for tasks_each in (3, 5):
        found = in_pieces(tmp_path / f"pieces-{tasks_each}.png", tasks_each, settings)
        assert found.state.resumed > 1
        assert_same(found, wanted)
        assert found.left == wanted.left == 0


@pytest.mark.parametrize("name", strength.TUNINGS)
def test_the_weights_for_a_strength_are_found_again(tmp_path, monkeypatch, name):
    """They move at the coarsest levels, stay at all others, and are the same ones after interruptions."""
    monkeypatch.setattr(strength, "SETTLING_STEPS", 1)
    monkeypatch.setattr(strength, "TUNED_LEVELS", 1)
    settings = SETTINGS.model_copy(update={"strength": 0.9})
    wanted = paint(tmp_path / "whole.png", InProcess(), settings)
    weights = [[row.weights[name] for row in wanted.state.losses if row.level == level] for level in (1, 2)]
    assert weights[0][:2] == [strength.TUNINGS[name].first(0.9)] * 2
    assert len({*weights[0][1:], weights[1][0]}) == 4  # another after every round
    assert set(weights[1]) == {weights[1][0]}
    assert_same(in_pieces(tmp_path / "pieces.png", 3, settings), wanted)


def test_snapshots_show_the_canvas_as_it_is(tmp_path):
    """A snapshot is due after every so many steps of the run; when it is resumed, none is left out."""
    settings = SETTINGS.model_copy(update={"snapshot_every": 4})
    whole = paint(tmp_path / "whole.png", InProcess(), settings)
    assert [(level, made) for level, made, _ in whole.saved] == [(0, 2), (1, 1), (1, 3)]
    assert [(row.step, row.height) for row in whole.state.snapshots] == [(4, 48), (8, 96), (12, 96)]
    for number in (5, 14, 20):
        output = tmp_path / f"{number}.png"
        cut_short(output, InProcess(after(number)), settings)
        again = paint(output, InProcess(), settings)
        assert again.saved == whole.saved[len(whole.saved) - len(again.saved) :] != []
        assert again.state.snapshots == whole.state.snapshots


def test_the_best_canvas_is_kept_until_it_is_needed(tmp_path):
    """Where rounds get worse, the canvas of the best one is what counts at the end, also across an interruption."""
    settings = Settings(**QUICK | WAYS["best"])
    found = in_pieces(tmp_path / "out.png", 4, settings)
    for number, row in enumerate(found.state.levels, 1):
        totals = [look.total for look in found.state.losses if look.level == number]
        assert totals[row.kept] == min(totals)
        assert row.kept < row.rounds


@pytest.mark.parametrize("now", [{"device": "cuda"}, {"precision": "bfloat16"}])
def test_another_device_does_not_go_on(whole, tmp_path, now):
    """Bytes would not be the same; what was begun stays, and goes on where it was begun."""
    output = tmp_path / "out.png"
    cut_short(output, InProcess(after(20)))
    workers = InProcess()
    words = rf"cpu in float32, .* {now.get('device', 'cpu')} in {now.get('precision', 'float32')}; .*--restart"
    with pytest.raises(DeviceError, match=words):
        paint(output, workers, **now)
    assert workers.done == []
    assert_same(paint(output, InProcess()), whole.painted)


# ------------------------------------------------------------------------------------------------------ out of memory

# 128 px in four tiles of 64 px and more; steps enough to compare losses.
ROOMY = Settings(**QUICK | {"steps": (6, 6), "optimizer": "adam", "style_layers": {"relu1_1": 1, "relu3_1": 1}})


def too_large(side: int, *names: str, since: int = 0) -> Watch:
    """Whoever watches with this has no memory for tiles of more than `side` px in some tasks, after so many rounds."""

    def watch(task: str, arguments: tuple[Any, ...]) -> None:
        if task in names and (level := arguments[1]) and arguments[3] >= since:
            height, width = level.grid[arguments[2]].outer.shape
            if max(height, width) > side:
                raise DeviceMemoryError(f"no memory for {width} x {height} px")

    return watch


@pytest.fixture(scope="module")
def roomy(as_in_a_worker: None, tmp_path_factory: pytest.TempPathFactory) -> Painted:
    """A painting whose tiles all fit into memory."""
    return paint(tmp_path_factory.mktemp("roomy") / "out.png", InProcess(), ROOMY)


@pytest.mark.parametrize(
    ("task", "since"),
    [("prepare_tile", 0), ("paint_tile", 0), ("paint_tile", 1), ("measure_tile", 0), ("measure_tile", 1)],
)
def test_out_of_memory_tiles_are_halved(roomy, tmp_path, task, since):
    """Whatever a tile is too large for, smaller ones go on from there with nearly the same losses, and that is said."""
    found = paint(tmp_path / "out.png", InProcess(too_large(80, task, since=since)), ROOMY)
    assert [(row.halvings, row.tiles) for row in found.state.levels] == [(1, 4), (1, 9)]
    (notice,) = found.state.notices
    assert notice == "level 1 was split into 4 tiles: no memory for 96 x 80 px"
    for row, wanted in zip(found.state.levels, roomy.state.levels, strict=True):
        assert row.losses_last.keys() == {"style", "content", "luminance", "tv"}
        assert row.losses_last == pytest.approx(wanted.losses_last, rel=0.05)
    looks = [[(row.level, row.step) for row in each.state.losses] for each in (found, roomy)]
    assert looks[0] == looks[1]


@pytest.mark.parametrize("watch", [lambda *_: None, too_large(120, "paint_tile", since=1)], ids=["roomy", "halved"])
def test_regions_are_gone_on_with(tmp_path, watch):
    """Interrupted again and again, and with tiles halved, a masked painting has the bytes of one go."""
    wanted = paint(tmp_path / "whole.png", InProcess(watch), ROOMY, regions=HALF)
    assert_same(in_pieces(tmp_path / "pieces.png", 7, ROOMY, watch, regions=HALF), wanted)


def test_memory_runs_out_in_the_middle(roomy, tmp_path):
    """Where a finer level is too large, the coarser ones stay as they were, and its first rounds stand."""
    workers = InProcess(too_large(120, "paint_tile", since=2))
    found = paint(tmp_path / "out.png", workers, ROOMY)
    assert [(row.halvings, row.tiles) for row in found.state.levels] == [(0, 1), (1, 9)]
    assert found.state.losses[:7] == roomy.state.losses[:7]
    painted = [arguments for task, arguments in workers.done if task == "paint_tile"]
    rounds = [(level.index, level.halvings, made) for level, _, made, _ in painted]
    assert sorted({(index, halvings, made) for index, halvings, made in rounds if index}) == [
        (1, 0, 0),
        (1, 0, 1),
        (1, 1, 2),
    ]


def test_tiles_are_halved_until_they_fit(roomy, tmp_path):
    """Where half is still too large, a quarter is tried, without a word about half."""
    watch = too_large(48, "prepare_tile", "paint_tile", since=1)
    found = paint(tmp_path / "out.png", InProcess(watch), ROOMY)
    assert [row.halvings for row in found.state.levels] == [2, 2]
    (notice,) = found.state.notices
    assert notice.startswith("level 1 was split into 20 tiles: no memory for 96 x 80 px")
    for row, wanted in zip(found.state.levels, roomy.state.levels, strict=True):
        assert row.losses_last["style"] == pytest.approx(wanted.losses_last["style"], rel=0.1)


def test_a_start_that_was_filed_is_cut_too(tmp_path):
    """Memory may run out before the first look at a painting that starts from something else than the photograph."""
    settings = ROOMY.model_copy(update={"noise_ratio": 1.0})
    wanted = paint(tmp_path / "whole.png", InProcess(), settings)
    found = paint(tmp_path / "out.png", InProcess(too_large(80, "prepare_tile")), settings)
    assert found.state.halvings == 1
    assert found.state.losses[0].total == pytest.approx(wanted.state.losses[0].total, rel=0.02)


@pytest.mark.parametrize("changes", [{"iterate": "last"}, {"iterate": "best"}, {"noise_ratio": 0.5}])
@pytest.mark.parametrize("watch", [too_large(120, "paint_tile", since=1), too_large(80, "prepare_tile")])
def test_halved_tiles_are_gone_on_with(tmp_path, changes, watch):
    """Interrupted again and again before, while and after tiles were halved, the bytes are those of one go."""
    settings, tasks_each = ROOMY.model_copy(update=changes), 7
    wanted = paint(tmp_path / "whole.png", InProcess(watch), settings)
    found = in_pieces(tmp_path / "pieces.png", tasks_each, settings, watch)
    assert found.state.halvings == 1
    assert_same(found, wanted)
    assert found.state.notices == wanted.state.notices


def test_the_smallest_tiles_that_do_not_fit_are_an_error(whole, tmp_path):
    """Where no tile is small enough, the worker's reason comes out; with more memory, the same call goes on."""
    output = tmp_path / "out.png"
    with pytest.raises(DeviceMemoryError, match="96 x 80 px"):
        paint(output, InProcess(too_large(10, "paint_tile", "prepare_tile", since=1)))
    found = paint(output, InProcess())
    assert found.state.resumed == 1
    assert_same(found, whole.painted)


def test_replayed_rounds_are_counted(tmp_path, monkeypatch):
    """A round of a kind that was painted twice is a replay, of the same bytes; the levels' reports count them."""
    plain = paint(tmp_path / "plain.png", InProcess())
    graphs = Graphs(repeated)
    monkeypatch.setattr(tasks, "graphs", lambda device: graphs)
    replayed = paint(tmp_path / "replayed.png", InProcess())
    assert replayed.canvas == plain.canvas
    assert [row.replayed for row in plain.state.levels] == [0, 0]
    # Three rounds on one tile and four on two, all of a level of one kind.
    assert [row.replayed for row in replayed.state.levels] == [3 - 1, 4 * 2 - 1]
    assert replayed.state.notices == []


def test_rounds_that_cannot_be_recorded_are_told_once(tmp_path, monkeypatch):
    """Where recording fails, the painting is the same, and a notice says why it took longer."""
    graphs = Graphs(refusing)
    monkeypatch.setattr(tasks, "graphs", lambda device: graphs)
    found = paint(tmp_path / "out.png", InProcess())
    assert found.canvas == paint(tmp_path / "plain.png", InProcess()).canvas
    assert [row.replayed for row in found.state.levels] == [0, 0]
    (notice,) = found.state.notices
    assert notice.startswith("CUDA graphs could not be recorded")
    assert notice.endswith("operation not permitted when stream is capturing")
