"""The tasks that workers run. This is the only module of the pipeline that calls the model while painting.

Every task reads the files that its arguments name, writes its own files and returns very little, so it may run on any
worker, and more than once. The order of a level: `style_targets` for all style pictures; `prepare_tile` for all tiles;
then per round `add_up` and `paint_tile` for all tiles; at the end `measure_tile` for all and `add_up`.
"""

import time
from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from threading import RLock
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ..model.architecture import architecture
from ..model.graphs import Graphs, cuda_graphs
from ..model.loading import load_network
from ..model.network import Features, Network
from ..model.optimizers import StepSchedule
from ..model.regions import ONE_REGION, Guidance, guidance_of, region_key
from ..model.statistics import Window, as_sums, total
from ..model.tile_optimizer import TileOptimizer, to_tensor
from ..model.transfer import ENQUEUING, computed, upload
from ..model.ways import usual_ways
from ..model.weight_files import WeightFile
from ..tiling.grid import Box, Tile, TileGrid
from ..tiling.resample import cubic, linear, resample
from .context import UNWEIGHTED, Losses, RenderContext, TileResult, TunedWeights
from .errors import DeviceMemoryError
from .levels import STYLE_TILE_PX, Level, at_level
from .loss_terms import TARGET_TERMS, luminance_layers, measured_layers, objective
from .settings import Settings
from .storage.canvas import Canvas
from .storage.store import fetched
from .workers.devices import give_memory_back, memory_errors

Kernel = Callable[[np.ndarray], np.ndarray]
P = ParamSpec("P")
T = TypeVar("T")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _once(most: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Cache a function's last results, up to a number; each is computed once, even if several threads ask for it."""
    lock = RLock()

    def kept(make: Callable[P, T]) -> Callable[P, T]:
        cached = lru_cache(most)(make)

        @wraps(cached)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            with lock:
                return cached(*args, **kwargs)  # type: ignore[arg-type]  # that it can be hashed is not known

        return call

    return kept


@_once(4)
def _load(
    name: str, weights: WeightFile, layers: tuple[str, ...], ways: tuple[Any, ...], device: str, precision: str
) -> Network:
    pooling, padding, rescale = ways
    network = load_network(
        name,
        weights,
        layers,
        pooling=None if pooling == "network" else pooling,
        padding=None if padding == "network" else padding,
        pool_rescale=rescale,
    )
    with ENQUEUING:
        return network.prepared(device, DTYPES[precision], usual_ways(device))


def _network(settings: Settings, weights: WeightFile, device: str, precision: str) -> Network:
    """Load the network, once for all pictures of a batch that are painted with it."""
    ways = (settings.pooling, settings.padding, settings.pool_rescale)
    return _load(settings.network, weights, settings.layers, ways, device, precision)


def _network_of(context: RenderContext) -> Network:
    return _network(context.settings, context.weights, context.device, context.precision)


@_once(16)  # levels of pictures that are painted side by side
def _tile_optimizer(context: RenderContext, level: Level, tuned: TunedWeights = UNWEIGHTED) -> TileOptimizer:
    """Make the optimizer of a level's tiles; for measuring only, weights are not needed."""
    network, targets = _network_of(context), _blended_targets(context, level)
    regions = 1 if context.regions is None else context.regions.count
    height, width = level.grid.box.shape
    goal = objective(context.settings, targets, height, width, tuned, network.metric, regions)
    return TileOptimizer(network, goal, graphs(context.device))


@_once(1)
def graphs(device: str) -> Graphs:
    """Return the recordings of this worker's rounds, for all levels and pictures."""
    return cuda_graphs(device) if usual_ways(device).graphs else Graphs()


def _give_back(device: str) -> None:
    """Free the memory that recordings and torch's cache hold for tiles of the old size; smaller ones may need it."""
    with ENQUEUING:
        graphs(device).clear()
        give_memory_back(device)


@_once(16)
def _give_back_once(device: str, run: str, level: int, halvings: int) -> None:
    """Do so once after a level's tiles were halved, so that the worker that ran out of memory gets some."""
    _give_back(device)


def _blended_targets(context: RenderContext, level: Level) -> dict[str, np.ndarray]:
    """Mean of the style pictures' statistics, by their shares, for every region."""
    blended: dict[str, np.ndarray] = {}
    for number, share in enumerate(context.shares):
        region = 0 if context.regions is None else context.regions.styles[number]
        targets = context.folder.read(context.folder.targets(level, number))
        named = {region_key(name, region): targets[name] for name in sorted(targets)}
        blended |= {name: blended.get(name, 0) + share * value for name, value in named.items()}
    return blended


def style_targets(context: RenderContext, level: Level, number: int) -> int:
    """Compute the statistics of a style picture, tile by tile, file them and return the picture's number."""
    filed = context.folder.read(context.folder.style(level, number))
    picture, weights = filed["pixels"], filed.get("weights")
    if weights is not None:  # layers leave out pixels at the bottom and right: pad, to keep marks there
        stride = architecture(context.settings.network).max_stride(context.settings.active_style_layers)
        more = [(0, -side % stride) for side in weights.shape]
        picture = np.pad(picture, [*more, (0, 0)], mode="symmetric")
        weights = np.pad(weights, more, mode="symmetric")
    whole = _style_total(context, picture, weights, STYLE_TILE_PX)
    means = {name: value / whole[name.rpartition(" ")[2]] for name, value in whole.items() if " " in name}
    context.folder.write(context.folder.targets(level, number), means)
    return number


def _style_total(
    context: RenderContext, picture: np.ndarray, weights: np.ndarray | None, side: int
) -> dict[str, np.ndarray]:
    """Sums over all tiles of a style picture, or over smaller ones where memory runs out.

    Tiles share what a position sees beyond itself on either side, so every position is as in the whole picture.
    """
    network, layers = architecture(context.settings.network), context.settings.active_style_layers
    stride = network.max_stride(layers)
    reach = min(-(-network.halo(layers) // (2 * stride)), side // (4 * stride)) * stride
    grid = TileGrid(picture.shape[0], picture.shape[1], tile=side, overlap=2 * reach, stride=stride, halo=reach)
    try:
        with memory_errors("a style picture in tiles of {1} x {0} px".format(*grid[0].outer.shape), context.device):
            return total(_style_sums(context, picture, weights, grid, tile) for tile in grid)
    except DeviceMemoryError:
        _give_back(context.device)
        if side // 2 < max(2 * stride, network.min_input(layers)):
            raise
    return _style_total(context, picture, weights, side // 2)


@torch.no_grad()
def _style_sums(
    context: RenderContext,
    picture: np.ndarray,
    weights: np.ndarray | None,
    grid: TileGrid,
    tile: Tile,
) -> dict[str, np.ndarray]:
    """Sums that every term takes, named as its means are, and of the weights ("LAYER") over a tile."""
    terms = measured_layers(context.settings)
    layers = tuple({layer: None for measured in terms.values() for layer in measured})
    place, guidance = tile.outer.inside(grid.box), ONE_REGION
    if weights is not None:
        guidance = _guidance_of(context, weights[None, *place], layers)
    window = Window.of(*grid.window(tile), context.device, guidance)
    network, seen = _network_of(context), to_tensor(picture[place], context.device)

    def sums() -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        for layer, f in network(seen, layers).items():
            ((_, part),) = guidance.at(layer)
            found[layer] = window.part_at(part, *f.shape[-2:]).sum()
            for name in (name for name, measured in terms.items() if layer in measured):
                values = TARGET_TERMS[name].measure(f, window, part, usual_ways(context.device).gram)
                found |= {f"{name} {kind} {layer}": value for kind, value in values.items()}
        return found

    return as_sums(computed(sums))


def _timed(task: Callable[..., TileResult]) -> Callable[..., TileResult]:
    """Pass a task its tile instead of the tile's number, time it, and name the tile if memory runs out."""

    @wraps(task)
    def run(context: RenderContext, level: Level, number: int, *arguments: Any) -> TileResult:
        began, tile = time.perf_counter(), level.grid[number]
        if level.halvings:
            _give_back_once(context.device, context.folder.run, level.index, level.halvings)
        try:
            with memory_errors("a tile of {1} x {0} px".format(*tile.outer.shape), context.device):
                result = task(context, level, tile, *arguments)
        except DeviceMemoryError:
            _give_back(context.device)
            raise
        return result._replace(seconds=time.perf_counter() - began)

    return run


@_timed
def prepare_tile(
    context: RenderContext, level: Level, tile: Tile, made: int, origin: tuple[Level, int] | None
) -> TileResult:
    """Prepare a tile: store the photograph's features, the tile's first state and its share of the losses.

    Parameters
    ----------
    made : int
        Rounds the state counts as having made: 0 at the start of a level.
    origin : (Level, int) or None
        The canvas that the state is taken from: the level before, or this one in larger tiles; None for neither.
    """
    tile_optimizer = _tile_optimizer(context, level)
    content = context.content(level).read(tile.outer)[0]
    state = _first_state(context, level, tile, origin, content)
    features = tile_optimizer.content_features(to_tensor(content, context.device))
    host = computed(lambda: {name: f.contiguous() for name, f in features.items()})
    context.folder.store.write(context.folder.features(level, tile.index), save_tensors(host))
    sums = tile_optimizer.measure(
        to_tensor(state[context.layout.painting], context.device), features, _window(context, level, tile)
    )
    _file(context, level, made, tile, state, sums)
    return TileResult(tile.index)


@_timed
def paint_tile(context: RenderContext, level: Level, tile: Tile, made: int, tuned: TunedWeights) -> TileResult:
    """Make a round's steps on one tile, after `made` rounds."""
    settings, before = context.settings, fetched()
    context.folder.forget_superseded(level, made)
    state = context.canvas(level, made).read(tile.outer)
    moved, window = fetched() - before, _window(context, level, tile)
    if window.guidance.is_empty:  # nothing is painted here
        before_it = context.folder.read(context.folder.sums(level, made, tile.index))
        _file(context, level, made + 1, tile, state, before_it)
        return TileResult(tile.index, moved, typical=False)
    tile_optimizer = _tile_optimizer(context, level, tuned)
    state, sums = tile_optimizer.paint(
        state,
        _features(context, level, tile),
        window,
        context.folder.read(context.folder.total(level, made)),
        StepSchedule(
            count=level.rounds[made],
            first=level.first_step + level.steps_after(made),
            first_of_level=level.steps_after(made),
            learning_rate=level.learning_rate,
            betas=settings.betas,
            ema_decay=settings.ema_decay,
            optimizer=settings.optimizer,
            history=settings.lbfgs_history,
            resolutions=at_level(settings.lbfgs_resolutions, level.index),
        ),
        settings.consensus,
    )
    _file(context, level, made + 1, tile, state, sums)
    return TileResult(tile.index, moved, tile_optimizer.graphs.replayed, tile_optimizer.graphs.trouble)


@_timed
def measure_tile(context: RenderContext, level: Level, tile: Tile, made: int) -> TileResult:
    """File one tile's share of the losses of the canvas after `made` rounds, as it is when blended."""
    picture = context.canvas(level, made).read_painting(tile.outer)
    features, window = _features(context, level, tile), _window(context, level, tile)
    sums = _tile_optimizer(context, level).measure(to_tensor(picture, context.device), features, window)
    context.folder.write(f"{context.folder.measured(level, made)}/{tile.index:06}", sums)
    return TileResult(tile.index)


def add_up(context: RenderContext, level: Level, made: int, tuned: TunedWeights, measured: bool = False) -> Losses:
    """Add up the sums of all tiles, in tile order, and return the whole picture's losses.

    Parameters
    ----------
    made : int
        After how many rounds.
    tuned : TunedWeights
        Of the content and luminance terms in the total loss.
    measured : bool
        Add up what `measure_tile` filed. Otherwise the total is filed, for the next round.
    """
    folder = context.folder
    filed = (folder.measured if measured else folder.round)(level, made)
    sums = total(folder.read(f"{filed}/{tile.index:06}") for tile in level.grid)
    if not measured:
        folder.write(folder.total(level, made), sums)
    goal = _tile_optimizer(context, level, tuned).objective
    losses, weights = goal.losses(sums), {term.name: term.weight for term in goal.terms}
    regions = goal.region_losses(sums) if context.regions is not None and context.regions.count > 1 else {}
    return Losses(losses, weights, goal.total(losses), regions)


def _first_state(
    context: RenderContext, level: Level, tile: Tile, origin: tuple[Level, int] | None, content: np.ndarray
) -> np.ndarray:
    """State of a tile's outer box. Adam's moments are kept; L-BFGS's pairs of another size would mislead.

    An enlarged painting lacks detail that was too small for the level before. The photograph's detail is added instead,
    as from one level of a Laplacian pyramid (Burt and Adelson 1983) to the next.
    """
    layout = context.layout
    if origin is None:
        return layout.start(context.start(level).read(tile.outer)[0])
    before, canvas = origin[0], context.canvas(*origin)
    if before.index == level.index:
        return canvas.read(tile.outer)
    pixels = _enlarged(canvas, before, level, tile.outer, slice(canvas.painting, canvas.painting + 1), cubic)[0]
    if context.settings.detail and context.settings.active_content_layers:
        coarser = _enlarged(context.content(before), before, level, tile.outer, slice(None), cubic)[0]
        pixels += context.settings.detail * (content - coarser)
    state = layout.start(pixels.clip(0, 1))
    if layout.optimizer != "lbfgs":
        state[layout.kept] = _enlarged(canvas, before, level, tile.outer, layout.kept, linear)
    return state


def _enlarged(canvas: Canvas, before: Level, level: Level, box: Box, part: slice, kernel: Kernel) -> np.ndarray:
    return resample(lambda there: canvas.read(there, part), before.frame, level.frame, box, kernel)


def _window(context: RenderContext, level: Level, tile: Tile) -> Window:
    """Give the tile's blend weights, and which region is where."""
    return Window.of(*level.grid.window(tile), context.device, _guidance(context, level, tile))


def _guidance(context: RenderContext, level: Level, tile: Tile) -> Guidance:
    """Give what of the tile belongs to which region."""
    if context.regions is None:
        return ONE_REGION
    arch, layers = architecture(context.settings.network), tuple(context.settings.active_style_layers)
    insets = {name: round(context.settings.region_inset * arch.receptive_field(name) / 2) for name in layers}
    layers += tuple(luminance_layers(context.settings, *level.grid.box.shape))
    box = tile.outer.grown(max(insets.values(), default=0)) & level.grid.box
    planes = context.guidance(level).read(box)
    return _guidance_of(
        context,
        np.concatenate(planes, 2)[..., : context.regions.count].transpose(2, 0, 1),
        layers,
        insets,
        tile.outer.inside(box),
    )


def _guidance_of(
    context: RenderContext,
    masks: np.ndarray,
    layers: tuple[str, ...],
    insets: Mapping[str, int] | None = None,
    place: tuple[slice, slice] = (slice(None), slice(None)),
) -> Guidance:
    arch = architecture(context.settings.network)
    strides = {name: arch.stride(name) for name in layers}
    there = upload(torch.from_numpy(np.ascontiguousarray(masks)), context.device)
    with ENQUEUING:  # waits for the number of positions, which decides what is computed
        return guidance_of(there, strides, insets or {}, place)


def _features(context: RenderContext, level: Level, tile: Tile) -> Features:
    loaded = load_tensors(context.folder.store.read(context.folder.features(level, tile.index)))
    there = {name: upload(f, context.device) for name, f in loaded.items()}
    with ENQUEUING:
        return {name: f.contiguous(memory_format=torch.channels_last) for name, f in there.items()}


def _file(
    context: RenderContext, level: Level, made: int, tile: Tile, state: np.ndarray, sums: Mapping[str, np.ndarray]
) -> None:
    """File a tile's state, then its sums, which say that it is done."""
    context.canvas(level, made).write(tile, state[(slice(None), *tile.extent.inside(tile.outer))])
    context.folder.write(context.folder.sums(level, made, tile.index), sums)
