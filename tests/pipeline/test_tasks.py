"""What a worker does, called here on a tiny job: files in, files out, the same whoever asks and how often."""

import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pictures import MANY_LAYERS, TINY, contents, painting, photograph_rows, picture_box
from PIL import Image
from recorders import repeated

from muralist.model.architecture import architecture
from muralist.model.errors import DivergedError
from muralist.model.graphs import Graphs
from muralist.model.losses.luminance import LUMINANCE_LAYERS
from muralist.model.network import Features, Network
from muralist.model.regions import ONE_REGION, Part
from muralist.model.state import PIXELS
from muralist.model.statistics import Window, style_sums
from muralist.model.tile_optimizer import TileOptimizer, to_tensor
from muralist.model.weight_files import find_weights
from muralist.pipeline import tasks
from muralist.pipeline.context import RenderContext, TileResult, TunedWeights
from muralist.pipeline.errors import DeviceMemoryError
from muralist.pipeline.initialization import is_photograph
from muralist.pipeline.levels import Level, plan_levels
from muralist.pipeline.prepare_level import file_canvas, with_margin
from muralist.pipeline.regions import RegionLayout
from muralist.pipeline.settings import DEFAULT_STYLE_LAYERS, Settings
from muralist.pipeline.storage.byte_cache import CACHE, set_cache_limit
from muralist.pipeline.storage.canvas import stored_bytes
from muralist.pipeline.storage.run_folder import RunFolder

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("one_thread")]

SETTINGS = Settings(**TINY | MANY_LAYERS)
NETWORK = architecture(SETTINGS.network)
WEIGHTS = TunedWeights(2.0, 1.0)


def new_context(folder: Path, settings: Settings = SETTINGS, shares: tuple[float, ...] = (1.0,)) -> RenderContext:
    """A context as the driver makes it, with nothing filed yet."""
    run = RunFolder.of(folder / "out.png", None)
    run.store.local.mkdir(parents=True)
    return RenderContext(run, settings, find_weights(NETWORK), shares, "cpu", "float32")


def levels_of(context: RenderContext) -> tuple[Level, ...]:
    """The levels of the job's painting."""
    minimum = NETWORK.min_input(context.settings.layers)
    return plan_levels(96, 128, [(112, 1.0)] * len(context.shares), context.settings, 16, minimum)


def prepare_level(context: RenderContext, level: Level) -> None:
    """File what the driver files at the start of a level."""
    file_canvas(context.content(level), lambda rows: with_margin(photograph_rows, level, rows))
    if not is_photograph(context.settings):
        gray = np.full((level.grid.height, level.grid.width, 3), 0.25, np.float32)
        file_canvas(context.start(level), lambda rows: gray[slice(*rows)])
    for number in range(len(context.shares)):
        picture = painting(seed=number + 1).astype(np.float32) / 255
        context.folder.write(context.folder.style(level, number), {"pixels": picture})
        assert tasks.style_targets(context, level, number) == number


def everywhere(context: RenderContext, level: Level, task: str, filed: int, *arguments: Any) -> dict[str, float]:
    """Run a task on all tiles, last tile first, and add up."""
    for tile in reversed(list(level.grid)):
        assert getattr(tasks, task)(context, level, tile.index, *arguments).number == tile.index
    return tasks.add_up(context, level, filed, WEIGHTS, measured=task == "measure_tile")


def origin_of(context: RenderContext, level: Level) -> tuple[Level, int] | None:
    """The last canvas of the level before."""
    before = levels_of(context)[level.index - 1]
    return (before, len(before.rounds)) if level.index else None


def paint_level(context: RenderContext, level: Level) -> list[dict[str, float]]:
    """Paint a level as the driver would, but keep all rounds; the losses of each, and of the last canvas."""
    prepare_level(context, level)
    losses = [everywhere(context, level, "prepare_tile", 0, 0, origin_of(context, level))]
    losses += [everywhere(context, level, "paint_tile", made + 1, made, WEIGHTS) for made in range(len(level.rounds))]
    return [*losses, everywhere(context, level, "measure_tile", len(level.rounds), len(level.rounds))]


@dataclass(frozen=True)
class Done:
    """A context whose two levels are painted, and what each level's losses were."""

    context: RenderContext
    levels: tuple[Level, ...]
    losses: list[list[dict[str, float]]]


@pytest.fixture(scope="module")
def done(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Everything painted; all rounds are still there."""
    context = new_context(tmp_path_factory.mktemp("tasks"))
    return Done(context, levels_of(context), [paint_level(context, level) for level in levels_of(context)])


def test_painting_brings_the_losses_down(done):
    """Every round lowers the style loss, and the blended canvas is near the last round's tiles."""
    for losses in done.losses:
        style = [each.terms["style"] for each in losses[:-1]]
        assert all(after < before for before, after in pairwise(style))
        assert losses[-1].terms["style"] == pytest.approx(style[-1], rel=0.1)
        assert all(np.isfinite(value) for each in losses for value in [each.total, *each.terms.values()])


def test_a_level_starts_from_the_photograph(done):
    """Level 0 starts with the photograph itself: no content loss, nothing remembered."""
    context, level = done.context, done.levels[0]
    state = context.canvas(level, 0).read(level.grid.box)
    np.testing.assert_array_equal(state[PIXELS], context.content(level).read(level.grid.box)[0])
    assert not state[context.layout.kept].any()
    assert done.losses[0][0].terms["content"] == 0


def enlarged(plane: np.ndarray, width: int, height: int, filter: Image.Resampling) -> np.ndarray:
    """A plane (H, W) at another size, by Pillow."""
    return np.asarray(Image.fromarray(plane).resize((width, height), filter))


INSIDE = (slice(8, -8), slice(8, -8))  # Pillow repeats the picture's edge, we see the margin


@pytest.mark.parametrize(
    ("changes", "share"), [({}, 1.0), ({"detail": 0.25}, 0.25), ({"detail": 0.0}, 0.0), ({"content_weight": 0.0}, 0.0)]
)
def test_the_next_level_starts_from_the_one_before(done, changes, share):
    """Level 1 starts with level 0's painting, enlarged, and the share of what the photograph has beyond its own."""
    context = replace(done.context, settings=done.context.settings.model_copy(update=changes))
    before, level = done.levels
    everywhere(context, level, "prepare_tile", 9, 9, origin_of(context, level))
    large = context.canvas(level, 9).read(picture_box(level))
    small = context.canvas(before, len(before.rounds)).read_painting(picture_box(before))
    coarse, fine = (context.content(each).read(picture_box(each))[0] for each in done.levels)
    for channel in range(3):
        painted, seen = (
            enlarged(plane[..., channel], level.width, level.height, Image.Resampling.BICUBIC)
            for plane in (small, coarse)
        )
        wanted = (painted + share * (fine[..., channel] - seen)).clip(0, 1)
        np.testing.assert_allclose(large[PIXELS, :, :, channel][INSIDE], wanted[INSIDE], atol=1e-5)
    assert not large[context.layout.kept].any()  # what L-BFGS learned at another size would mislead


def test_the_next_level_goes_on_with_the_moments(tmp_path):
    """With Adam, level 1 starts with level 0's moments, enlarged linearly."""
    context = new_context(tmp_path, Settings(**TINY | MANY_LAYERS | {"optimizer": "adam"}))
    before, level = levels_of(context)
    for each in (before, level):
        paint_level(context, each)
    small = context.canvas(before, len(before.rounds)).read(picture_box(before))
    large = context.canvas(level, 0).read(picture_box(level))
    for channel in range(3):
        for moment in range(*context.layout.kept.indices(context.layout.planes)):
            plane = small[moment, :, :, channel]
            wanted = enlarged(plane, level.width, level.height, Image.Resampling.BILINEAR)
            found = large[moment, :, :, channel]
            np.testing.assert_allclose(found[INSIDE], wanted[INSIDE], atol=1e-5 * abs(plane).max())
    assert (large[-1] >= 0).all()
    assert large[-1].any()


def test_smaller_tiles_go_on_with_the_same_canvas(done):
    """Cut anew amid a level, tiles have the canvas as it was, moments and all, and nearly its losses."""
    context, level = done.context, replace(done.levels[1], tile=64)
    assert len(level.grid) > len(done.levels[1].grid)
    level = replace(level, tile=128, halvings=1)  # the same tiles
    file_canvas(context.content(level), lambda rows: with_margin(photograph_rows, level, rows))
    losses = everywhere(context, level, "prepare_tile", 1, 1, (done.levels[1], 1))
    before, after = (context.canvas(each, 1).read(level.grid.box) for each in (done.levels[1], level))
    rounded = len(before) - context.layout.bfloat16  # from here on
    np.testing.assert_allclose(after[:rounded], before[:rounded], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(after[rounded:], before[rounded:], rtol=2**-8)
    assert losses.terms["style"] == pytest.approx(done.losses[1][1].terms["style"], rel=0.05)
    everywhere(context, level, "paint_tile", 2, 1, WEIGHTS)


def test_tasks_may_run_twice(done):
    """Run again in another order, as after a worker died, every task files the same bytes."""
    context = done.context
    before = contents(context.folder.store.local)
    for level in done.levels:
        rounds = len(level.rounds)
        assert tasks.style_targets(context, level, 0) == 0
        for tile in level.grid:
            tasks.prepare_tile(context, level, tile.index, 0, origin_of(context, level))
            for made in reversed(range(rounds)):
                tasks.paint_tile(context, level, tile.index, made, WEIGHTS)
            tasks.measure_tile(context, level, tile.index, rounds)
        for made in range(rounds + 1):
            tasks.add_up(context, level, made, WEIGHTS)
        tasks.add_up(context, level, rounds, WEIGHTS, measured=True)
    after = contents(context.folder.store.local)
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []


def test_what_is_superseded_is_not_cached(tmp_path):
    """While a round is painted, a worker holds what it reads and writes: neither the round nor the level before."""
    context = new_context(tmp_path)
    coarse, fine = levels_of(context)
    set_cache_limit(1 << 30)
    try:
        paint_level(context, coarse)
        prepare_level(context, fine)
        for tile in fine.grid:
            tasks.prepare_tile(context, fine, tile.index, 0, origin_of(context, fine))
        tasks.add_up(context, fine, 0, WEIGHTS)
        assert cached_below(context, "level_00")
        for made in (0, 1):
            for tile in fine.grid:
                tasks.paint_tile(context, fine, tile.index, made, WEIGHTS)
            tasks.add_up(context, fine, made + 1, WEIGHTS)
            assert not cached_below(context, "level_00")
            assert cached_below(context, context.folder.round(fine, made))
            assert cached_below(context, context.folder.round(fine, made + 1))
        assert not cached_below(context, context.folder.round(fine, 0))
    finally:
        set_cache_limit(0)


def cached_below(context: RenderContext, folder: str) -> bool:
    """Whether files of a folder of the run are cached."""
    below = f"{context.folder.store.root}/{folder}/"
    return any(name.startswith(below) for name in CACHE._files)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_tasks_may_run_side_by_side(deterministic, tmp_path, device):
    """Threads of one worker, each with a tile, file the same bytes as one after the other, and count for themselves."""
    alone, together = (replace(new_context(tmp_path / name), device=device) for name in ("alone", "together"))
    results = {}
    for context, threads in ((alone, 1), (together, 3)):
        with ThreadPoolExecutor(threads) as pool:
            results[threads] = [
                result._replace(seconds=0, replayed=False)
                for level in levels_of(context)
                for result in _side_by_side(context, level, pool)
            ]
    assert results[1] == results[3]
    before, after = (contents(context.folder.store.local) for context in (alone, together))
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []


def _side_by_side(context: RenderContext, level: Level, pool: ThreadPoolExecutor) -> Iterator[TileResult]:
    """Paint a level as the driver would, the tiles of a round in threads."""
    prepare_level(context, level)
    tiles, filed = range(len(level.grid)), len(level.rounds)
    yield from pool.map(lambda n: tasks.prepare_tile(context, level, n, 0, origin_of(context, level)), tiles)
    tasks.add_up(context, level, 0, WEIGHTS)
    for made in range(filed):
        yield from pool.map(lambda n, made=made: tasks.paint_tile(context, level, n, made, WEIGHTS), tiles)
        tasks.add_up(context, level, made + 1, WEIGHTS)
    yield from pool.map(lambda n: tasks.measure_tile(context, level, n, filed), tiles)


def test_two_jobs_do_not_mix(done, tmp_path):
    """What a worker keeps between tasks belongs to one context: tasks of two jobs in turn are as if alone."""
    other, level = new_context(tmp_path, SETTINGS.model_copy(update={"style_weight": 1.0})), done.levels[0]
    prepare_level(other, level)
    everywhere(other, level, "prepare_tile", 0, 0, None)

    def state(context: RenderContext, made: int) -> bytes:
        canvas = context.canvas(level, made)
        return canvas.store.read(canvas.name(level.grid[0]))

    alone = state(done.context, 1)
    for context in (other, done.context):
        tasks.paint_tile(context, level, 0, 0, WEIGHTS)
    assert state(done.context, 1) == alone
    assert state(other, 0) == state(done.context, 0)
    assert state(other, 1) != alone


def test_tiles_tell_what_they_fetched(done):
    """Painting fetches a tile's outer box of its own file and its neighbors', in all planes; nothing else counts."""
    context, level = done.context, done.levels[1]
    for tile in level.grid:
        reached = sum(np.prod((each.extent & tile.outer).shape) for each in level.grid.touching(tile.outer))
        painted, measured = (
            tasks.paint_tile(context, level, tile.index, 0, WEIGHTS),
            tasks.measure_tile(context, level, tile.index, 2),
        )
        assert painted[:2] == (tile.index, reached * stored_bytes(context.layout.planes, context.layout.bfloat16))
        assert measured[:2] == (tile.index, 0)
        assert min(painted.seconds, measured.seconds) > 0


def test_tiles_leave_out_what_is_not_theirs(done):
    """A tile files its extent only, not its halo, in all planes: pixels in float32, what L-BFGS keeps in bfloat16."""
    context, level = done.context, done.levels[1]
    canvas = context.canvas(level, 1)
    assert len(level.grid) == 4
    for tile in level.grid:
        assert len(canvas.store.read(canvas.name(tile))) == (12 + 4 * 6) * np.prod(tile.extent.shape)
    assert any(tile.extent != tile.outer for tile in level.grid)


def test_without_masks_nothing_is_done_for_them(done, monkeypatch):
    """A picture without masks has no guidance and no regions, and no round asks for any."""
    context, level = done.context, done.levels[1]
    assert not context.folder.store.names(context.folder.guidance(level))
    assert tasks._window(context, level, level.grid[0]).guidance is ONE_REGION
    filed = context.folder.read(context.folder.sums(level, 1, 0))
    assert {name for name in filed if "gram" in name or "count" in name} == {
        *(f"style gram {layer}" for layer in SETTINGS.style_layers),
        "luminance gram luminance",
    }
    before = contents(context.folder.store.local)
    monkeypatch.setattr(Part, "of", lambda *given: pytest.fail("asked for a part of a region"))
    monkeypatch.setattr(Part, "add_to", lambda *given: pytest.fail("weighted by a region"))
    everywhere(context, level, "paint_tile", 1, 0, WEIGHTS)
    assert contents(context.folder.store.local) == before


def test_sums_of_tiles_are_sums_of_the_picture(done):
    """Grams added up over four tiles are those of its canvas in one pass, margin and all."""
    context, level = done.context, done.levels[1]
    canvas = context.canvas(level, 0).read_painting(level.grid.box)
    picture = to_tensor(canvas)
    with torch.no_grad():
        features = tasks._network_of(context)(picture, tuple(SETTINGS.style_layers))
    total = context.folder.read(context.folder.total(level, 0))
    for layer in ("relu1_1", "relu2_1"):  # deeper ones see beyond the short halo of these tiles
        whole = style_sums(features[layer], Window.full(picture))[0].numpy()
        found = total[f"style gram {layer}"]
        assert np.linalg.norm(found - whole) < 1e-2 * np.linalg.norm(whole)


@pytest.mark.parametrize("room", [1100, 700])
def test_style_statistics_do_not_depend_on_their_tiles(tmp_path, monkeypatch, room):
    """A style picture longer than one tile gives the Gram matrices of a single pass over it, in tiles that fit."""
    settings = Settings(**TINY | {"style_layers": DEFAULT_STYLE_LAYERS})
    context, picture = new_context(tmp_path, settings), painting(80, 2100).astype(np.float32) / 255
    level, layers = levels_of(context)[0], (*DEFAULT_STYLE_LAYERS, *LUMINANCE_LAYERS)
    context.folder.write(context.folder.style(level, 0), {"pixels": picture})
    whole, forward = to_tensor(picture), Network.forward
    with torch.no_grad():
        features = tasks._network_of(context)(whole, layers)

    def cramped(network: Network, seen: torch.Tensor, layers: Sequence[str]) -> Features:
        if seen.shape[-1] > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(network, seen, layers)

    monkeypatch.setattr(Network, "forward", cramped)
    tasks.style_targets(context, level, 0)
    targets = context.folder.read(context.folder.targets(level, 0))
    names = {layer: "luminance" if layer in LUMINANCE_LAYERS else "style" for layer in features}
    assert set(targets) == {f"{name} {what} {layer}" for what in ("gram", "mean") for layer, name in names.items()}
    for layer, f in features.items():
        wanted = style_sums(f, Window.full(whole))[0].numpy() / (f.shape[2] * f.shape[3])
        assert np.linalg.norm(targets[f"{names[layer]} gram {layer}"] - wanted) < 1e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize("rows", [6, 9])
def test_a_part_of_a_style_picture_counts_to_its_edge(tmp_path, rows):
    """Also where layers leave out what does not fill their stride: what is marked there counts, and nothing else."""
    context = new_context(tmp_path, Settings(**TINY | {"style_layers": DEFAULT_STYLE_LAYERS}))
    level, names = levels_of(context)[0], [f"style mean {layer}" for layer in DEFAULT_STYLE_LAYERS]
    picture = np.zeros((73, 96, 3), np.float32)
    picture[-9:] = np.random.default_rng(0).random((9, 96, 3)) / 2 + 0.5
    found = []
    for number, start in enumerate((73 - rows, 32)):
        weights = np.zeros(picture.shape[:2], np.float32)
        weights[start:] = 1
        weights[62:64] = max(0.01, weights[62, 0])  # as the filter that shrinks a mask leaves behind
        context.folder.write(context.folder.style(level, number), {"pixels": picture, "weights": weights})
        tasks.style_targets(context, level, number)
        found.append(context.folder.read(context.folder.targets(level, number)))
    for name in names:
        marked, most = (targets[name] for targets in found)
        assert np.isfinite(marked).all()
        assert np.linalg.norm(marked - most) > 0.05 * np.linalg.norm(most)


def exhausted(*_: object, **__: object) -> None:
    """Stand in for what has no memory left."""
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_style_picture_that_does_not_fit_is_named(tmp_path, monkeypatch):
    """Where not even the smallest tiles of a style picture fit, the error tells their size."""
    context = new_context(tmp_path)
    level = levels_of(context)[0]
    context.folder.write(context.folder.style(level, 0), {"pixels": painting().astype(np.float32) / 255})
    monkeypatch.setattr(Network, "forward", exhausted)
    with pytest.raises(DeviceMemoryError, match=r"memory .*style picture .*\b32 x 32 px; .*--workers"):
        tasks.style_targets(context, level, 0)


LOADED = "import pickle, sys; pickle.loads(bytes.fromhex(sys.argv[1])); print('torch' in sys.modules)"


def test_what_comes_home_does_not_bring_torch(done):
    """The driver, which unpickles what tasks give back or raise, stays small."""
    results = [tasks.measure_tile(done.context, done.levels[0], 0, 0), DeviceMemoryError("full"), DivergedError(1, 0.1)]
    command = [sys.executable, "-c", LOADED, pickle.dumps(results).hex()]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize("task", ["prepare_tile", "paint_tile", "measure_tile"])
def test_a_tile_that_does_not_fit_is_named(done, monkeypatch, task):
    """Out of memory, whichever task it was, becomes an error that tells the tile's size and what to do."""
    for name in ("paint", "measure"):
        monkeypatch.setattr(tasks.TileOptimizer, name, exhausted)
    context, level = done.context, done.levels[1]
    height, width = level.grid[3].outer.shape
    arguments = {"prepare_tile": (0, origin_of(context, level)), "paint_tile": (0, WEIGHTS), "measure_tile": (0,)}[task]
    with pytest.raises(DeviceMemoryError, match=rf"memory .*\b{width} x {height} px; .*--tile"):
        getattr(tasks, task)(context, level, 3, *arguments)


@pytest.mark.parametrize("task", ["prepare_tile", "paint_tile", "measure_tile", "style_targets"])
def test_recordings_give_way_where_memory_runs_out(done, monkeypatch, task):
    """Smaller tiles get the memory that recordings had."""
    recordings = Graphs(repeated)
    for _ in range(2):
        recordings.run(recordings, 0, lambda given: {}, {})
    assert recordings._recordings
    monkeypatch.setattr(tasks, "graphs", lambda device: recordings)
    for name in ("paint", "measure"):
        monkeypatch.setattr(tasks.TileOptimizer, name, exhausted)
    monkeypatch.setattr(Network, "forward", exhausted)
    context, level = done.context, done.levels[1]
    arguments = {
        "prepare_tile": (3, 0, origin_of(context, level)),
        "paint_tile": (3, 0, WEIGHTS),
        "measure_tile": (3, 0),
        "style_targets": (0,),
    }
    with pytest.raises(DeviceMemoryError):
        getattr(tasks, task)(context, level, *arguments[task])
    assert not recordings._recordings


def test_all_workers_give_memory_back_where_tiles_are_halved(monkeypatch):
    """Also those that had enough: once for each halving, recordings with it; a level in its own tiles costs nothing."""
    given, recordings = [], Graphs(repeated)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given.append(len(recordings._recordings)))
    monkeypatch.setattr(tasks, "graphs", lambda device: recordings)
    context = SimpleNamespace(device="cuda", folder=SimpleNamespace(run=object()))
    paint, tile = tasks._timed(lambda context, level, tile: TileResult(0)), SimpleNamespace(outer=np.zeros((2, 2)))
    for halvings, times in ((0, 0), (1, 1), (2, 2)):
        for _ in range(2):
            recordings.run(recordings, 0, lambda given: {}, {})
        for _ in range(3):
            paint(context, SimpleNamespace(grid=[tile], index=0, halvings=halvings), 0)
        assert given == [0] * times


# ------------------------------------------------------------------------- several styles, other starts, missing terms


def test_statistics_of_several_styles_are_blended(tmp_path):
    """What the tile optimizer follows is the mean of all style pictures' statistics, by their shares."""
    context = new_context(tmp_path, shares=(0.25, 0.75))
    level = levels_of(context)[0]
    prepare_level(context, level)
    first, second = (context.folder.read(context.folder.targets(level, number)) for number in (0, 1))
    blended = tasks._tile_optimizer(context, level).objective.terms[0].targets
    assert blended.keys() == first.keys() == second.keys()
    for name, found in blended.items():
        assert (first[name] != second[name]).any()
        np.testing.assert_allclose(found, 0.25 * first[name] + 0.75 * second[name], rtol=1e-12)


def test_a_start_that_was_filed_is_started_from(tmp_path):
    """Where painting does not start from the photograph, level 0 has the filed start, and a content loss at once."""
    context = new_context(tmp_path, SETTINGS.model_copy(update={"noise_ratio": 0.5}))
    level = levels_of(context)[0]
    prepare_level(context, level)
    first = everywhere(context, level, "prepare_tile", 0, 0, None)
    state = context.canvas(level, 0).read(level.grid.box)
    np.testing.assert_allclose(state[context.layout.painting], 0.25, atol=1e-7)
    assert not state[context.layout.kept].any()
    assert first.terms["content"] > 0


@pytest.mark.parametrize(("missing", "counts"), [("style", "content"), ("content", "style")])
def test_a_term_without_weight_is_not_computed(tmp_path, missing, counts):
    """Content alone and style alone are painted; the term that does not count has no features, statistics or loss."""
    changes = {f"{missing}_weight": 0.0, "noise_ratio": 1.0}
    context = new_context(tmp_path, SETTINGS.model_copy(update=changes), () if missing == "style" else (1.0,))
    level = levels_of(context)[0]
    prepare_level(context, level)
    first = everywhere(context, level, "prepare_tile", 0, 0, None)
    everywhere(context, level, "paint_tile", 1, 0, WEIGHTS)
    last = everywhere(context, level, "paint_tile", 2, 1, WEIGHTS)
    assert missing not in first.terms
    assert 0 < last.terms[counts] < first.terms[counts]
    assert set(tasks._features(context, level, level.grid[0])) == (set() if missing == "content" else {"relu4_2"})
    assert missing not in [term.name for term in tasks._tile_optimizer(context, level).objective.terms]


def test_moments_take_the_place_of_style(tmp_path):
    """With a weight of their own and none of style, moments alone are measured of the style picture, and painted."""
    context = new_context(tmp_path, SETTINGS.model_copy(update={"style_weight": 0.0, "moments_weight": 300.0}))
    level = levels_of(context)[0]
    prepare_level(context, level)
    assert {name.split()[0] for name in context.folder.read(context.folder.targets(level, 0))} == {
        "moments",
        "luminance",
    }
    first = everywhere(context, level, "prepare_tile", 0, 0, None)
    everywhere(context, level, "paint_tile", 1, 0, WEIGHTS)
    last = everywhere(context, level, "paint_tile", 2, 1, WEIGHTS)
    assert last.terms.keys() == {"moments", "content", "luminance", "tv"}
    assert last.weights["moments"] == 300
    assert last.terms["moments"] < first.terms["moments"]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, ("l2", "reflect", 1)),
        ({"pooling": "l2", "padding": "replicate", "pool_rescale": True}, ("l2", "replicate", 0.78)),
        ({"pooling": "max", "padding": "zeros"}, ("max", "zeros", 1)),
    ],
)
def test_pooling_and_padding_reach_the_network(tmp_path, changes, wanted):
    """`network` means as it was trained; anything else is heeded."""
    network = tasks._network_of(new_context(tmp_path, SETTINGS.model_copy(update=changes)))
    assert (network.pooling, network.padding, network.pool_scale) == wanted


def test_tiles_without_strength_are_not_painted(tmp_path, monkeypatch):
    """Where no guide is, a round makes no step: state and sums are filed as they were; others are painted."""
    context = replace(new_context(tmp_path), regions=RegionLayout(count=1, planes=1, painted=0.5, styles=(0,)))
    level = levels_of(context)[-1]
    guidance = np.zeros((level.grid.height, level.grid.width, 3), np.float32)
    guidance[:, :60, 0] = 1
    file_canvas(context.guidance(level), lambda rows: guidance[slice(*rows)])
    prepare_level(context, level)
    everywhere(context, level, "prepare_tile", 0, 0, None)
    painted = []
    paint = TileOptimizer.paint
    monkeypatch.setattr(TileOptimizer, "paint", lambda *given: painted.append(given[1].shape) or paint(*given))
    everywhere(context, level, "paint_tile", 1, 0, WEIGHTS)
    assert level.grid.shape == (2, 2)
    assert len(painted) == 2
    before, after = (context.canvas(level, made).read(level.grid.box)[PIXELS] for made in (0, 1))
    right = level.grid[0].extent.cols.stop
    np.testing.assert_allclose(after[:, right:], before[:, right:], atol=1e-6)  # blended once more
    assert (after != before)[:, :40].any(axis=2).mean() > 0.9
    filed = [context.folder.read(context.folder.sums(level, made, 1)) for made in (0, 1)]
    assert all((filed[0][name] == filed[1][name]).all() for name in filed[0])


def test_regions_have_the_targets_of_their_styles(tmp_path):
    """Every region follows its own style pictures, by their shares."""
    context = replace(new_context(tmp_path, shares=(1.0, 0.25, 0.75)), regions=RegionLayout(2, 2, 1.0, (0, 1, 1)))
    level = levels_of(context)[0]
    prepare_level(context, level)
    found = tasks._blended_targets(context, level)
    first, second, third = (context.folder.read(context.folder.targets(level, number)) for number in range(3))
    np.testing.assert_array_equal(found["style gram relu2_1"], first["style gram relu2_1"])
    wanted = 0.25 * second["style mean relu4_1"] + 0.75 * third["style mean relu4_1"]
    np.testing.assert_allclose(found["style mean relu4_1 1"], wanted, rtol=1e-12)
    assert len(found) == 2 * len(first)
