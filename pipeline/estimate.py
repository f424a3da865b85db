"""What a render will take: memory, disk, operations and, from a short benchmark, time."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, isqrt, prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from ..model.registry import PUBLISHED
from .bench import learn_speed, speed_here
from .context import state_layout
from .errors import SettingsError
from .initialization import is_photograph
from .lengths import MM_PER_INCH
from .levels import STYLE_TILE_PX, Level
from .pictures.array_file import ArrayFile
from .presets import load_settings
from .progress import counted
from .records.run_state import RunState
from .render_plan import RenderPlan, as_paths, plan_render
from .settings import Settings
from .speeds import EVALUATION_STEPS, conditions, usual_speeds
from .workers.cluster import Cluster
from .workers.local import WorkerLayout, local_shape
from .workers.machine import budget, gpu_memory

FLOAT, DOUBLE = 4, 8
OVERHEAD_BYTES = 16 << 10  # of a tile's files: headers, and blocks of the disk that are not full
PLANE_BYTES = 3 * FLOAT  # per pixel, of each plane of the state
CONTENT_BYTES = 3 * FLOAT
# Fitted to the peak resident memory of workers on tiles of 384 to 1536 px; see tests/benchmarks/memory.py.
WORKER_BYTES = 900 << 20
GPU_BYTES = 600 << 20  # that CUDA and its libraries take of a GPU's memory for every worker; not measured yet
DRIVER_BYTES = 170 << 20
ROW_BYTES = 8 << 10  # of the driver, per pixel of the painting's width: row blocks that are read, laid out and written
ACTIVATION_COPIES = 4.0
STYLE_COPIES = 1.4  # of the activations of a style picture, which nothing is kept of for a gradient
STATE_COPIES = 4
AHEAD_COPIES = 3  # of the state of every other tile that a worker has under way on a GPU, its features among them
GUIDANCE_BYTES = 3 * FLOAT + 2 * (FLOAT + DOUBLE)  # per pixel and region: masks, and numbers and weights of positions
LEARNED_SECONDS = 5  # of workers on a level, below which what it took is mostly their start
MEMORY_SHARE = 0.8  # of the memory that is free, what workers may plan with


def disk_bytes(plan: RenderPlan) -> int:
    """Most that the run folder holds at a time: a level with its rounds, or as it begins beside the one before."""
    aside = sum(pixels.nbytes for pixels in (plan.content.pixels, plan.content.alpha) if isinstance(pixels, ArrayFile))
    rounds = 3 if plan.settings.iterate == "best" else 2  # the best one, the last one, and the next
    painted = max(_level_bytes(plan, level, rounds) for level in plan.levels)
    begun = [sum(_level_bytes(plan, level, 1) for level in both) for both in pairwise(plan.levels)]
    return aside + int(max(painted, *begun, 0))


def _level_bytes(plan: RenderPlan, level: Level, rounds: int) -> float:
    """What a level has on disk besides the canvases of some rounds."""
    network, settings = plan.network, plan.settings
    kept = settings.active_content_layers
    features = sum(network.channels(name) * FLOAT / network.stride(name) ** 2 for name in kept)
    # A tile files its Gram matrices every round; the whole picture's stay, and so do the style picture's.
    grams = sum(network.channels(name) ** 2 * DOUBLE for name in settings.active_style_layers)
    files = (rounds + 1) * len(level.grid) + len(level.rounds) + 2 * len(plan.styles)
    pictures = 1 if level.index or is_photograph(settings) else 2
    pictures += 0 if plan.regions is None else plan.regions.planes
    return (
        (sum(_style_pixels(plan, level)) + pictures * level.pixels) * CONTENT_BYTES
        + filed_pixels(level) * rounds * state_bytes(settings)
        + level.tile_pixels * features
        + files * (grams + OVERHEAD_BYTES)
    )


def filed_pixels(level: Level) -> int:
    """Pixels of all tiles as they are filed, without what they read for context."""
    rows, cols = (sum(part.extent.length for part in axis) for axis in level.grid.axes)
    return rows * cols


def _style_pixels(plan: RenderPlan, level: Level) -> list[int]:
    return [prod(style.size(side)) for style, side in zip(plan.styles, level.style_sides, strict=True)]


def worker_bytes(plan: RenderPlan, itemsize: int) -> int:
    """Peak memory of a worker: torch itself, and the largest tile's activations and state, or a style picture's."""
    pixels = max(largest_tile(level) for level in plan.levels)
    activations = itemsize * plan.network.activations(plan.settings.layers)
    largest_style = max(max(_style_pixels(plan, level), default=0) for level in plan.levels)
    style = STYLE_COPIES * activations * min(largest_style, STYLE_TILE_PX**2)
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
    planes = 2 + (plan.settings.lbfgs_resolutions[-1] > 1)
    return plan.settings.lbfgs_history * planes * PLANE_BYTES if plan.settings.optimizer == "lbfgs" else 0


def state_bytes(settings: Settings) -> int:
    """Size of the state per pixel."""
    return state_layout(settings).planes * PLANE_BYTES


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
    if shape.gpus:  # whose memory it is, and tiles are halved where that is too little
        return
    workers, needed = shape.workers, worker_bytes(plan, FLOAT)
    available = MEMORY_SHARE * psutil.virtual_memory().available
    if workers * needed <= available:
        return
    history = history_bytes(plan)
    fitting = settings.lbfgs_history - ceil((needed - available / workers) / (history / settings.lbfgs_history))
    some = f"{counted(fitting, 'pair')} would fit: use --set lbfgs_history={fitting},"
    smaller = "a smaller --tile" if settings.tile_grid is None else "a finer tile_grid"
    raise SettingsError(
        f"L-BFGS with a history of {counted(settings.lbfgs_history, 'pair')} needs {_gib(workers * needed)} of memory "
        f"({counted(workers, 'worker')}, {_gib(history)} each for the history), but {_gib(available)} "
        f"can be used; {some if fitting > 0 else 'not one pair would fit: use'} {smaller} or fewer --workers"
    )


def _gib(number: float) -> str:
    return f"{number / 2**30:.1f} GiB"


def held_bytes(plan: RenderPlan, workers: int) -> int:
    """What a worker keeps of the files it wrote and read, at most its share of what `memory` allows."""
    canvas = max(2 * state_bytes(plan.settings) * filed_pixels(level) + level.pixels * CONTENT_BYTES for level in plan.levels)
    return min(budget(plan.settings) // 2, canvas) // workers


def driver_bytes(plan: RenderPlan) -> int:
    """Peak memory of the driver: pictures that are not on disk, and row blocks as wide as the painting."""
    pictures = [plan.content, *(style.picture for style in plan.styles), *filter(None, [plan.init])]
    stored = [picture.pixels for picture in pictures]
    if (regions := plan.regions) is not None:
        masks = (*regions.masks, regions.strength_map, regions.protect)
        stored += [mask.values for mask in masks if mask is not None]
    sources = sum(pixels.nbytes for pixels in stored if not isinstance(pixels, ArrayFile))
    return DRIVER_BYTES + sources + plan.final.width * ROW_BYTES


def largest_tile(level: Level) -> int:
    """Pixels of the largest tile."""
    rows, cols = (max(part.outer.length for part in axis) for axis in level.grid.axes)
    return rows * cols


def plan(
    photo: str | Path,
    style: str | Path | Sequence[str | Path],
    output: str | Path,
    settings: Settings | None = None,
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Estimate the time, memory and disk space of `render` with the same arguments, without painting.

    Parameters
    ----------
    photo, style, output, settings, overwrite
        As of `muralist.render`.

    Returns
    -------
    dict
        What `estimate` gives, and `notices`: what the user should know.

    Raises
    ------
    MuralistError
        For whatever `render` would refuse before it paints.
    """
    styles = as_paths(style)
    with TemporaryDirectory() as folder:
        plan = plan_render(
            Path(photo), styles, Path(output), settings or load_settings(), overwrite=overwrite, local_dir=Path(folder)
        )
        return {**estimate(plan), "notices": list(plan.notices)}


def estimate(plan: RenderPlan) -> dict[str, Any]:
    """Estimate a render. Time comes from a short benchmark of this machine, which is cached.

    Returns
    -------
    dict
        Plain values: a row per level, and totals. Bytes, seconds, floating-point operations.
    """
    check_memory(plan)
    _check_weights(plan)
    settings, shape = plan.settings, local_shape(plan.settings, plan.most_tiles)
    measured = speed_here(settings, shape, isqrt(max(largest_tile(level) for level in plan.levels)))
    operations = plan.network.operations(settings.layers)
    itemsize = 2 if measured["precision"] == "bfloat16" else FLOAT
    rows = [
        {
            "height": level.height,
            "width": level.width,
            "tiles": len(level.grid),
            "rounds": len(level.rounds),
            "steps": level.steps,
            "operations": operations * level.tile_pixels * level.steps,
            "seconds": _level_seconds(level, settings, shape.workers, measured["pixel_step_seconds"]),
        }
        for level in plan.levels
    ]
    return {
        "height": plan.final.height,
        "width": plan.final.width,
        "sheet": {**plan.sheet.as_dict(), "dpi": plan.sheet.dpi} if settings.print_size else None,
        "levels": rows,
        "workers": shape.workers,
        "threads": shape.threads,
        **measured,
        "worker_bytes": worker_bytes(plan, itemsize) + held_bytes(plan, shape.workers),
        "gpu": gpu_room(plan, shape, itemsize),
        "driver_bytes": driver_bytes(plan),
        "disk_bytes": disk_bytes(plan),
        "operations": sum(row["operations"] for row in rows),
        "seconds": sum(row["seconds"] for row in rows),
    }


def learn_speed_of(plan: RenderPlan, state: RunState, cluster: Cluster, precision: str) -> None:
    """Cache how fast the finest level was painted, if workers of this machine did it undisturbed and long enough."""
    settings, level, report = plan.settings, plan.final, state.levels[-1]
    disturbed = cluster.lost or cluster.again or state.resumed or report.halvings
    if settings.scheduler is not None or settings.precision != "auto" or disturbed:
        return
    if report.busy_seconds < LEARNED_SECONDS:
        return
    steps = report.steps + EVALUATION_STEPS * report.rounds
    seconds = report.busy_seconds / cluster.tiles / (level.tile_pixels * steps)
    shape, device = WorkerLayout(cluster.workers, cluster.threads), (cluster.device, cluster.device_name)
    learn_speed(settings, shape, device, precision, isqrt(largest_tile(level)), seconds)


def _check_weights(plan: RenderPlan) -> None:
    """Refuse a weight file that painting would fail with; one that was published for the network needs no look."""
    networks = {each.name: each.network for each in PUBLISHED}
    if networks.get(plan.weights.published) != plan.network.name:
        from ..model.loading import load_network  # loads torch, so not without need

        load_network(plan.network.name, plan.weights, plan.settings.layers)


def planned_by(plan: RenderPlan, cluster: Cluster, precision: str) -> dict[str, Any] | None:
    """Estimate the seconds of every level, if workers like these are in the cache: no benchmark is run now.

    Returns
    -------
    dict or None
        "seconds", a list, and "measured_on", a date.
    """
    settings, shape = plan.settings, WorkerLayout(cluster.workers, cluster.threads)
    if settings.scheduler is not None:
        return None
    facts = conditions(settings, shape, cluster.device, cluster.device_name)
    speed = usual_speeds().find(facts, precision, isqrt(max(largest_tile(level) for level in plan.levels)))
    if speed is None:
        return None
    pixel_step = speed.microseconds / 1e6
    seconds = [_level_seconds(level, settings, shape.workers, pixel_step) for level in plan.levels]
    return {"seconds": [round(each, 3) for each in seconds], "measured_on": speed.date}


def _level_seconds(level: Level, settings: Settings, workers: int, pixel_step_seconds: float) -> float:
    steps = level.steps + EVALUATION_STEPS * len(level.rounds)
    return _waves(level, workers) * largest_tile(level) * steps * pixel_step_seconds


def _waves(level: Level, workers: int) -> int:
    """How many tiles one worker paints, one after the other, in a round."""
    return -(-len(level.grid) // workers)


def _printed(sheet: dict[str, Any]) -> str:
    """What will be in the file, and what is left of it when it is cut."""
    top, left, bottom, right = sheet["trim"]
    sides = (sheet["width"], sheet["height"], right - left, bottom - top)
    width, height, across, down = (f"{side / sheet['dpi'] * MM_PER_INCH / 10:.1f}" for side in sides)
    told = f"printed   {sides[0]} x {sides[1]} px, {width} x {height} cm"
    return told if sides[:2] == sides[2:] else f"{told}, cut to {across} x {down} cm"


def table(found: dict[str, Any]) -> str:
    """Lay an estimate out as text."""
    lines = [f"{'level':>5} {'size, px':>15} {'tiles':>6} {'rounds':>6} {'steps':>6} {'Tflop':>9} {'seconds':>9}"]
    lines += [
        f"{number:>5} {row['width']:>7} x {row['height']:<5} {row['tiles']:>6} {row['rounds']:>6} {row['steps']:>6} "
        f"{row['operations'] / 1e12:>9.2f} {row['seconds']:>9.0f}"
        for number, row in enumerate(found["levels"], 1)
    ]
    measured = f"measured on {found['measured_on']}" if found["measured_on"] else "measured"
    if found["busy"] is not None:
        measured += f" while other programs took {found['busy']:.0%} of the processors; not cached"
    gib = {name: found[f"{name}_bytes"] / 2**30 for name in ("worker", "driver", "disk")}
    return "\n".join(
        [
            *lines,
            f"painting  {found['width']} x {found['height']} px",
            *([] if found["sheet"] is None else [_printed(found["sheet"])]),
            f"workers   {found['workers']} with {counted(found['threads'], 'thread')}, {found['device']}, "
            f"{found['precision']}, "
            f"{found['pixel_step_seconds'] * 1e6:.2f} microseconds per pixel and step ({measured})",
            f"memory    about {gib['driver']:.1f} GiB, and {gib['worker']:.1f} GiB for every worker",
            *_gpu_lines(found["gpu"]),
            f"disk      up to {gib['disk']:.1f} GiB while it is painted",
            f"time      about {found['seconds'] / 60:.1f} minutes",
        ]
    )


def _gpu_lines(room: dict[str, int] | None) -> list[str]:
    if room is None:
        return []
    return [
        f"GPU       about {_gib(room['bytes'])} for each of {counted(room['workers'], 'worker')}; "
        f"{_gib(room['free_bytes'])} are free, enough for --tile {room['tile']}"
    ]
