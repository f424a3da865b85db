"""What a worker does: the only module of the pipeline that calls the model.

Every task reads what its arguments name, writes files of its own and returns next to nothing, so it may run anywhere,
twice, or again. A task on a tile returns the tile's number. The order of a level: `style_targets` for all style
pictures; `prepare_tile` for all tiles; then per round `add_up` and `paint_tile` for all tiles; at the end
`measure_tile` for all and `add_up`.
"""

import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from muralist.model.architecture import architecture
from muralist.model.loading import load_network
from muralist.model.network import Features, Network
from muralist.model.objective import Layer, Objective
from muralist.model.optimizers import Steps
from muralist.model.painter import Painter, to_tensor
from muralist.model.state import AVERAGE, LAST_STEP, MOMENT1, planes, start_state
from muralist.model.statistics import Sums, Window, style_sums
from muralist.model.weight_files import WeightFile
from muralist.pipeline.devices import best_precision, resolve_device
from muralist.pipeline.job import Job
from muralist.pipeline.levels import Level
from muralist.pipeline.run_folder import FINISHED, write_array, write_arrays, write_whole
from muralist.pipeline.settings import Settings
from muralist.pipeline.start import is_photograph
from muralist.tiling.grid import Box, Tile, TileGrid
from muralist.tiling.resample import linear, resample

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _load(settings: Settings, weights: WeightFile, device: str, precision: str) -> Network:
    network = load_network(
        settings.network,
        weights,
        settings.layers,
        pooling=None if settings.pooling == "network" else settings.pooling,
        padding=None if settings.padding == "network" else settings.padding,
        pool_rescale=settings.pool_rescale,
    )
    return network.prepared(device, DTYPES[precision])


@lru_cache(maxsize=1)
def _network(job: Job) -> Network:
    return _load(job.settings, job.weights, job.device, job.precision)


@lru_cache(maxsize=1)
def _painter(job: Job, index: int) -> Painter:
    level = job.levels[index]
    targets = _blended_targets(job, index)
    return Painter(_network(job), objective(job.settings, targets, level.grid.height, level.grid.width))


def _blended_targets(job: Job, index: int) -> dict[str, np.ndarray]:
    """Mean of all style pictures' statistics, by their shares."""
    blended: dict[str, np.ndarray] = {}
    for number, share in enumerate(job.shares):
        with np.load(job.folder.targets(index, number), allow_pickle=False) as targets:
            blended = {name: blended.get(name, 0) + share * targets[name] for name in targets}
    return blended


def objective(settings: Settings, targets: dict[str, np.ndarray], height: int, width: int) -> Objective:
    """Make the objective of a canvas."""
    row = architecture(settings.network)
    names = ("style_weight", "content_weight", "tv_weight", "style_loss", "content_loss", "tv_loss", "tv_chroma")
    return Objective(
        targets=targets,
        style_layers=settings.active_style_layers,
        content_layers=settings.active_content_layers,
        height=height,
        width=width,
        sizes={name: Layer(row.channels(name), height * width // row.stride(name) ** 2) for name in settings.layers},
        **settings.model_dump(include={*names, "loss_pixels", "normalize_gradients"}),
    )


def calibrate(settings: Settings, weights: WeightFile, threads: int, side: int = 512) -> dict[str, Any]:
    """Measure what a pixel costs per step here: the fastest of a few steps on a tile of noise, seconds."""
    device = resolve_device(settings.device)
    precision = best_precision(device) if settings.precision == "auto" else settings.precision
    torch.set_num_threads(threads)
    network = _load(settings, weights, device, precision)
    noise = np.random.default_rng(0).random((side, side, 3), np.float32)
    state = np.stack([noise] * planes(settings.optimizer, settings.history))  # L-BFGS remembers as much as it may
    state[LAST_STEP] = 0  # but for what it does once a round only
    window = Window.of(np.ones(side, np.float32), np.ones(side, np.float32), device)
    sizes = {name: network.architecture.channels(name) for name in settings.active_style_layers}
    targets: dict[str, np.ndarray] = {f"gram {name}": np.eye(n) for name, n in sizes.items()}
    targets |= {f"mean {name}": np.zeros(n) for name, n in sizes.items()}
    painter = Painter(network, objective(settings, targets, side, side))
    picture = to_tensor(state[AVERAGE], device)
    content = painter.content_features(picture)
    whole = painter.measure(picture, content, window)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        painter.paint(state, content, window, whole, Steps(2, 0, 0, 0.01, optimizer=settings.optimizer))
        seconds.append(time.perf_counter() - began)
    return {"device": device, "precision": precision, "pixel_step_seconds": min(seconds) / 2 / side**2}


def style_targets(job: Job, index: int, number: int) -> int:
    """Compute the statistics of a style picture, tile by tile, file them and return the picture's number."""
    picture = np.load(job.folder.style(index, number), mmap_mode="r")
    layers = tuple(job.settings.active_style_layers)
    row = architecture(job.settings.network)
    stride = row.stride(row.deepest(layers))
    grid = TileGrid(picture.shape[0], picture.shape[1], tile=1024, overlap=256, stride=stride)
    parts = [_style_sums(job, picture[tile.outer.inside(grid.box)], grid, tile, layers) for tile in grid]
    total = {name: sum(part[name] for part in parts) for name in parts[0]}
    means = {f"{what} {name}": total[f"{what} {name}"] / total[name] for name in layers for what in ("gram", "mean")}
    write_arrays(job.folder.targets(index, number), means)
    return number


@torch.no_grad()
def _style_sums(
    job: Job, patch: np.ndarray, grid: TileGrid, tile: Tile, layers: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Sums of f f^T ("gram LAYER"), of f ("mean LAYER") and of the weights ("LAYER") over a tile."""
    window = Window.of(*grid.window(tile), job.device)
    sums: dict[str, np.ndarray] = {}
    for name, f in _network(job)(to_tensor(patch, job.device), layers).items():
        found = (*style_sums(f, window), window.at(*f.shape[-2:]).sum())
        keys = (f"gram {name}", f"mean {name}", name)
        sums |= {key: value.cpu().double().numpy() for key, value in zip(keys, found, strict=True)}
    return sums


def prepare_tile(job: Job, index: int, number: int) -> int:
    """Start a level at one tile: its pixels and moments, the photograph's features, its share of the first losses."""
    level = job.levels[index]
    tile = level.grid[number]
    painter, window = _painter(job, index), _window(job, level, tile)
    content = _content(job, index, tile.outer)
    state = _first_state(job, index, tile.outer)
    features = painter.content_features(to_tensor(content, job.device))
    host = {name: f.contiguous().cpu() for name, f in features.items()}
    write_whole(job.folder.features(index, number), lambda part: part.write_bytes(save(host)))
    _file_sums(job, index, 0, number, painter.measure(to_tensor(state[AVERAGE], job.device), features, window))
    _file_state(job, index, 0, tile, state)
    return number


def paint_tile(job: Job, index: int, made: int, number: int) -> int:
    """Make a round's steps on one tile, after `made` rounds."""
    level = job.levels[index]
    tile = level.grid[number]
    settings = job.settings
    state, sums = _painter(job, index).paint(
        job.folder.canvas(index, level.grid, made)(tile.outer),
        _features(job, index, number),
        _window(job, level, tile),
        _read_sums(job.folder.total(index, made)),
        Steps(
            count=level.rounds[made],
            first=level.first_step + sum(level.rounds[:made]),
            first_of_level=sum(level.rounds[:made]),
            learning_rate=level.learning_rate,
            betas=settings.betas,
            average_decay=settings.average_decay,
            optimizer=settings.optimizer,
        ),
        settings.consensus,
    )
    _file_sums(job, index, made + 1, number, sums)
    _file_state(job, index, made + 1, tile, state)
    return number


def measure_tile(job: Job, index: int, number: int) -> int:
    """File one tile's share of the losses of the level's finished canvas."""
    level = job.levels[index]
    tile = level.grid[number]
    picture = job.folder.canvas(index, level.grid, FINISHED)(tile.outer)[AVERAGE]
    features, window = _features(job, index, number), _window(job, level, tile)
    sums = _painter(job, index).measure(to_tensor(picture, job.device), features, window)
    _file_sums(job, index, FINISHED, number, sums)
    return number


def add_up(job: Job, index: int, made: int) -> dict[str, float]:
    """Add up the sums of all tiles, in tile order, and return the whole picture's losses."""
    paths = (job.folder.sums(index, made, tile.index) for tile in job.levels[index].grid)
    total = Sums.total(_read_sums(path) for path in paths)
    _write_sums(job.folder.total(index, made), total)
    losses = _painter(job, index).objective.losses(total)
    terms = {"style": losses.style, "content": losses.content, "tv": losses.variation, "total": losses.total}
    return {name: value for name, value in terms.items() if value is not None}


def _content(job: Job, index: int, box: Box) -> np.ndarray:
    return _part(job.folder.content(index), job.levels[index], box)


def _start(job: Job, index: int, box: Box) -> np.ndarray:
    photograph = is_photograph(job.settings)
    return _part(job.folder.content(index) if photograph else job.folder.start(index), job.levels[index], box)


def _part(canvas: Path, level: Level, box: Box) -> np.ndarray:
    return np.array(np.load(canvas, mmap_mode="r")[box.inside(level.grid.box)])


def _first_state(job: Job, index: int, box: Box) -> np.ndarray:
    """State of a box before a level's first step. Adam's moments come along; what L-BFGS learnt would mislead."""
    settings = job.settings
    if not index:
        return start_state(_start(job, index, box), planes(settings.optimizer, settings.history))
    before, level = job.levels[index - 1], job.levels[index]
    read = job.folder.canvas(before.index, before.grid, FINISHED)
    pixels = resample(lambda part: read(part)[AVERAGE], before.frame, level.frame, box).clip(0, 1)
    if settings.optimizer == "lbfgs":
        return start_state(pixels, planes(settings.optimizer, settings.history))
    moments = resample(lambda part: read(part)[MOMENT1:], before.frame, level.frame, box, linear)
    return np.concatenate([pixels[None], pixels[None], moments])


def _window(job: Job, level: Level, tile: Tile) -> Window:
    return Window.of(*level.grid.window(tile), job.device)


def _features(job: Job, index: int, number: int) -> Features:
    loaded = load_file(job.folder.features(index, number), device=job.device)
    return {name: f.contiguous(memory_format=torch.channels_last) for name, f in loaded.items()}


def _file_state(job: Job, index: int, made: int, tile: Tile, state: np.ndarray) -> None:
    extent = state[(slice(None), *tile.extent.inside(tile.outer))]
    write_array(job.folder.state(index, made, tile.index), extent)


def _file_sums(job: Job, index: int, made: int, number: int, sums: Sums) -> None:
    _write_sums(job.folder.sums(index, made, number), sums)


def _write_sums(path: Path, sums: Sums) -> None:
    write_arrays(path, sums.arrays())


def _read_sums(path: Path) -> Sums:
    with np.load(path, allow_pickle=False) as file:
        return Sums.of_arrays(file)
