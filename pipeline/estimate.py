"""Estimates a render: operations, time (from a short benchmark), and memory and disk space (`space.py`)."""

from collections.abc import Sequence
from math import isqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..model.registry import PUBLISHED
from .arguments import checked
from .bench import speed_here
from .forecast import level_seconds
from .lengths import mm_of
from .presets import load_settings
from .records.journal import files_written
from .render_plan import RenderPlan, as_paths, plan_render
from .settings import Settings
from .space import FLOAT, check_memory, disk_bytes, driver_bytes, gpu_room, held_bytes, largest_tile, worker_bytes
from .storage.run_folder import RunFolder
from .viewer.report import check_report
from .words import counted, memory_size, spent
from .workers.local import local_shape


@checked
def plan(
    photo: str | Path,
    style: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    settings: Settings | None = None,
    *,
    overwrite: bool = False,
    report: bool = False,
    loss_plot: str | Path | None = None,
) -> dict[str, Any]:
    """Estimate the time, memory and disk space of `render` with the same arguments, without painting.

    Parameters
    ----------
    photo, style, output, settings, overwrite, report, loss_plot
        As of `muralist.render`. Without an output, a PNG is planned.

    Returns
    -------
    dict
        What `estimate` gives, and `notices`: what the user should know.

    Raises
    ------
    MuralistError
        For whatever `render` would refuse before it paints.
    """
    settings = settings or load_settings()
    with TemporaryDirectory() as folder:
        output = Path(folder) / "painting.png" if output is None else Path(output)
        if report:
            check_report(output, overwrite=overwrite)
        plan = plan_render(
            Path(photo),
            as_paths(style),
            output,
            settings,
            overwrite=overwrite,
            own=files_written(RunFolder.of(output, settings.scratch), restart=False),
            loss_plot=None if loss_plot is None else Path(loss_plot),
            local_dir=Path(folder),
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
            "seconds": level_seconds(level, settings, shape.workers, measured["pixel_step_seconds"]),
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


def _check_weights(plan: RenderPlan) -> None:
    """Refuse a weight file that painting would fail with; one that was published for the network needs no look."""
    networks = {each.name: each.network for each in PUBLISHED}
    if networks.get(plan.weights.published) != plan.network.name:
        from ..model.loading import load_network  # loads torch, so not without need

        load_network(plan.network.name, plan.weights, plan.settings.layers)


def _printed(sheet: dict[str, Any]) -> str:
    """Describe the size of the file, its size after trimming, and the size that is seen from the front."""
    whole = (sheet["width"], sheet["height"])
    trim, front = ((right - left, bottom - top) for top, left, bottom, right in (sheet["trim"], sheet["front"]))
    paper, cut, seen = (
        " x ".join(f"{mm_of(side, sheet['dpi']) / 10:.1f}" for side in sides) for sides in (whole, trim, front)
    )
    told = f"printed   {whole[0]} x {whole[1]} px, {paper} cm"
    told += "" if trim == whole else f", cut to {cut} cm"
    return told if front == trim else f"{told}, {seen} cm of it in front"


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
    driver, worker, disk = (memory_size(found[f"{name}_bytes"]) for name in ("driver", "worker", "disk"))
    return "\n".join(
        [
            *lines,
            f"painting  {found['width']} x {found['height']} px",
            *([] if found["sheet"] is None else [_printed(found["sheet"])]),
            f"workers   {found['workers']} with {counted(found['threads'], 'thread')}, {found['device']}, "
            f"{found['precision']}, "
            f"{found['pixel_step_seconds'] * 1e6:.2f} microseconds per pixel and step ({measured})",
            f"memory    about {driver}, and {worker} for every worker",
            *_gpu_lines(found["gpu"]),
            f"disk      up to {disk} while it is painted",
            f"time      about {spent(found['seconds'])}",
        ]
    )


def _gpu_lines(room: dict[str, int] | None) -> list[str]:
    if room is None:
        return []
    return [
        f"GPU       about {memory_size(room['bytes'])} for each of {counted(room['workers'], 'worker')}; "
        f"{memory_size(room['free_bytes'])} are free, enough for --tile {room['tile']}"
    ]
