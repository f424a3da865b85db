"""Estimates how much memory and disk space a render takes, and checks whether this machine has it."""

from itertools import pairwise
from math import ceil, isqrt, prod

import psutil

from ..model.state import PAIRS
from .context import state_layout
from .errors import SettingsError
from .initialization import is_photograph
from .levels import STYLE_TILE_PX, Level, at_level
from .pictures.array_file import ArrayFile
from .pictures.vips import Pixels
from .render_plan import RenderPlan
from .settings import Settings
from .storage.canvas import PLANE_BYTES, stored_bytes
from .words import counted, memory_size
from .workers.local import WorkerLayout, local_shape
from .workers.machine import budget, gpu_memory

FLOAT, DOUBLE = 4, 8
OVERHEAD_BYTES = 16 << 10  # of a tile's files: headers, and blocks of the disk that are not full
CONTENT_BYTES = PLANE_BYTES
# Fitted to the peak resident memory of workers on tiles of 384 to 1536 px; see tests/benchmarks/memory.py.
WORKER_BYTES = 900 << 20
GPU_BYTES = 600 << 20  # GPU memory that CUDA and its libraries take for every worker; not measured yet
DRIVER_BYTES = 120 << 20
ROW_BYTES = 26 << 10  # of the driver, per pixel of the painting's width: row blocks that are read, laid out and written
ACTIVATION_COPIES = 4.0
STYLE_COPIES = 1.4  # of the activations of a style picture, which nothing is kept of for a gradient
STYLE_BYTES = 24  # per pixel of a style picture, as it is and as its file holds it
STATE_COPIES = 4
AHEAD_COPIES = 3  # of the state of every other tile that a worker has under way on a GPU, its features among them
GUIDANCE_BYTES = 3 * FLOAT + 2 * (FLOAT + DOUBLE)  # per pixel and region: masks, and numbers and weights of positions
HELD_COPIES = 1.2  # of the files that a worker caches: not all that is dropped is given back at once
MEMORY_SHARE = 0.8  # of the memory that is free, what workers may plan with


def disk_bytes(plan: RenderPlan) -> int:
    """Peak size of the run folder, with the pictures in it that do not fit into memory."""
    return canvas_bytes(plan) + sum(pixels.nbytes for pixels in _pictures(plan) if isinstance(pixels, ArrayFile))


def canvas_bytes(plan: RenderPlan) -> int:
    """Peak size without these pictures: a level with its rounds, or one at its start together with the one before."""
    rounds = 3 if plan.settings.iterate == "best" else 2  # the best one, the last one, and the next
    painted = max(_level_bytes(plan, level, rounds) for level in plan.levels)
    begun = [sum(_level_bytes(plan, level, 1) for level in both) for both in pairwise(plan.levels)]
    return int(max([painted, *begun]))


def _pictures(plan: RenderPlan) -> list[Pixels | ArrayFile]:
    """The pixels and masks of all pictures that are read, in memory or filed."""
    pictures = [plan.content, *(style.picture for style in plan.styles), *filter(None, [plan.init])]
    masks = [style.mask for style in plan.styles] + list(plan.regions.all_masks if plan.regions else ())
    stored = [picture.pixels for picture in pictures] + [mask.values for mask in masks if mask is not None]
    return stored if plan.content.alpha is None else [*stored, plan.content.alpha]


def _level_bytes(plan: RenderPlan, level: Level, rounds: int) -> float:
    """What a level has on disk with the canvases of some rounds."""
    network, settings = plan.network, plan.settings
    kept = settings.active_content_layers
    features = sum(network.channels(name) * FLOAT / network.stride(name) ** 2 for name in kept)
    # A tile files its Gram matrices every round; the whole picture's stay, and so do the style picture's.
    grams = sum(network.channels(name) ** 2 * DOUBLE for name in settings.active_style_layers)
    of_tiles = (rounds + 1) * len(level.grid) + len(level.rounds)
    regions = 1 if plan.regions is None else plan.regions.count  # every tile files those of every region
    pictures = 1 if level.index or is_photograph(settings) else 2
    pictures += 0 if plan.regions is None else plan.regions.planes
    return (
        (sum(_style_pixels(plan, level)) + pictures * level.pixels) * CONTENT_BYTES
        + level.filed_pixels * rounds * _stored_state_bytes(settings)
        + level.tile_pixels * features
        + of_tiles * (regions * grams + OVERHEAD_BYTES)
        + 2 * len(plan.styles) * (grams + OVERHEAD_BYTES)
    )


def _style_pixels(plan: RenderPlan, level: Level) -> list[int]:
    return [prod(style.size(side)) for style, side in zip(plan.styles, level.style_sides, strict=True)]


def _largest_style(plan: RenderPlan) -> int:
    """Pixels of the largest style picture at the size of any level."""
    return max(max(_style_pixels(plan, level), default=0) for level in plan.levels)


def worker_bytes(plan: RenderPlan, itemsize: int) -> int:
    """Peak memory of a worker: torch itself, and the largest tile's (or a style picture's) activations and state."""
    pixels = max(largest_tile(level) for level in plan.levels)
    activations = itemsize * plan.network.activations(plan.settings.layers)
    largest_style = _largest_style(plan)
    style = STYLE_COPIES * activations * min(largest_style, STYLE_TILE_PX**2) + largest_style * STYLE_BYTES
    regions = 0 if plan.regions is None else plan.regions.count * pixels * GUIDANCE_BYTES
    return WORKER_BYTES + int(max(pixels * _pixel_bytes(plan, itemsize) + regions, style))


def _pixel_bytes(plan: RenderPlan, itemsize: int) -> float:
    """What painting a tile takes per pixel: activations, state, and the pairs of L-BFGS."""
    activations = itemsize * plan.network.activations(plan.settings.layers)
    return ACTIVATION_COPIES * activations + STATE_COPIES * state_bytes(plan.settings) + _pairs_bytes(plan)


def gpu_room(plan: RenderPlan, shape: WorkerLayout, itemsize: int) -> dict[str, int] | None:
    """Compare what workers take of a GPU's memory with what is free there, as estimated; None where that is not known.

    Returns
    -------
    dict
        "bytes" of each worker, "workers" on a GPU, "free_bytes" of the GPU that has least, and "tile", the side of the
        largest tiles that would fit, px.
    """
    free = gpu_memory(shape.gpus)
    if free is None:
        return None
    workers = -(-shape.workers // len(set(shape.gpus)))
    pixels = max(largest_tile(level) for level in plan.levels)
    per_pixel = _pixel_bytes(plan, itemsize) + (shape.tiles - 1) * AHEAD_COPIES * state_bytes(plan.settings)
    side = isqrt(max(0, int((free / workers - GPU_BYTES) / per_pixel)))
    side -= side % plan.network.max_stride(plan.settings.layers)
    return {"bytes": GPU_BYTES + int(pixels * per_pixel), "workers": workers, "free_bytes": free, "tile": side}


def history_bytes(plan: RenderPlan) -> int:
    """Memory of a worker for the pairs that L-BFGS remembers, on the largest tile; none for Adam."""
    return _pairs_bytes(plan) * max(largest_tile(level) for level in plan.levels)


def _pairs_bytes(plan: RenderPlan) -> int:
    """Per pixel of the finest level, of what L-BFGS remembers within a round: s, y and, unless it is y, B y."""
    planes = 2 + (at_level(plan.settings.lbfgs_resolutions, plan.final.index) > 1)
    return _pairs(plan) * planes * PLANE_BYTES if plan.settings.optimizer == "lbfgs" else 0


def _pairs(plan: RenderPlan) -> int:
    """Pairs that L-BFGS remembers at most: those that a round is given, and all but one step of the longest round."""
    longest = max(max(level.rounds, default=1) for level in plan.levels)
    return min(plan.settings.lbfgs_history, PAIRS + longest - 1)


def state_bytes(settings: Settings) -> int:
    """Size of the state per pixel, in memory."""
    return state_layout(settings).planes * PLANE_BYTES


def _stored_state_bytes(settings: Settings) -> int:
    """Size of the state per pixel, in files and where these are cached."""
    layout = state_layout(settings)
    return stored_bytes(layout.planes, layout.bfloat16)


def check_memory(plan: RenderPlan) -> None:
    """Refuse an L-BFGS history that does not fit into this machine's memory. On a scheduler, its workers' is not known.

    Raises
    ------
    SettingsError
        Saying what the history takes, how many pairs would fit, and what to do.
    """
    settings = plan.settings
    if settings.optimizer != "lbfgs" or settings.scheduler is not None:
        return
    shape = local_shape(settings, plan.most_tiles)
    if shape.gpus:  # the pairs are in GPU memory; if it is too small, tiles are halved
        return
    workers, needed = shape.workers, worker_bytes(plan, FLOAT)
    available = MEMORY_SHARE * psutil.virtual_memory().available
    if workers * needed <= available:
        return
    history, pairs = history_bytes(plan), _pairs(plan)
    fitting = pairs - ceil((needed - available / workers) / (history / pairs))
    some = f"{counted(fitting, 'pair')} would fit: use --set lbfgs_history={fitting},"
    smaller = "a smaller --tile" if settings.tile_grid is None else "a finer tile_grid"
    raise SettingsError(
        f"L-BFGS with a history of {counted(settings.lbfgs_history, 'pair')} needs {memory_size(workers * needed)} of "
        f"memory ({counted(workers, 'worker')}, {memory_size(history)} each for the history), but "
        f"{memory_size(available)} can be used; {some if fitting > 0 else 'not one pair would fit: use'} {smaller} or "
        "fewer --workers"
    )


def held_bytes(plan: RenderPlan, workers: int) -> int:
    """What a worker keeps of the files it wrote and read, at most its share of what `memory` allows."""
    canvas = max(
        2 * _stored_state_bytes(plan.settings) * level.filed_pixels + level.pixels * CONTENT_BYTES
        for level in plan.levels
    )
    return int(HELD_COPIES * min(budget(plan.settings) // 2, canvas) / workers)


def driver_bytes(plan: RenderPlan) -> int:
    """Peak memory of the driver: pictures that are not on disk, and row blocks as wide as the painting."""
    sources = sum(pixels.nbytes for pixels in _pictures(plan) if not isinstance(pixels, ArrayFile))
    return DRIVER_BYTES + sources + plan.final.width * ROW_BYTES + _largest_style(plan) * STYLE_BYTES


def largest_tile(level: Level) -> int:
    """Pixels of the largest tile."""
    rows, cols = (max(part.outer.length for part in axis) for axis in level.grid.axes)
    return rows * cols
