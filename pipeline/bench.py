"""How fast this machine paints: measured for `muralist bench`, and for `plan` where nothing was measured before.

Rates are summed over all workers; microseconds per pixel and step are per worker, with all workers running.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from statistics import fmean
from typing import Any

import psutil

from ..model.architecture import architecture
from .console import LOG
from .errors import DeviceError, SettingsError
from .presets import load_settings
from .progress import watched
from .settings import Settings
from .speeds import USUAL_SIDE, Speed, conditions, today, usual_speeds
from .words import counted, memory_size
from .workers.bench_workers import CallAll, bench_workers
from .workers.local import WorkerLayout, local_shape, lost_gpus
from .workers.machine import cpu_name, has_metal

ITEM_BYTES = {"auto": 2, "bfloat16": 2, "float32": 4}  # of a value, at least
BUSY_SHARE = 0.25  # of the processors that other programs may take while a benchmark is cached
MANY_TILES = 1 << 30  # as many as would keep any machine busy

Facts = dict[str, str]


def speed_here(settings: Settings, shape: WorkerLayout, side: int) -> dict[str, Any]:
    """Tell how fast this machine paints: from the cache, or by a short benchmark.

    The benchmark is cached, unless other programs were busy: the result would be wrong once they end.

    Parameters
    ----------
    shape : WorkerLayout
        Of the workers.
    side : int
        Of the largest tile, px.

    Returns
    -------
    dict
        "device", "precision", "pixel_step_seconds", "measured_on", a date, None for now, and "busy", the share of the
        processors that other programs took, None where it was little or does not matter.

    Raises
    ------
    DeviceError, DeviceMemoryError, ClusterError
    """
    speeds = usual_speeds()
    kept = speeds.find(conditions(settings, shape, *_device(settings, shape)), settings.precision, side)
    speed, busy = (kept, None) if kept else _measured_shortly(settings, shape, min(side, USUAL_SIDE))
    if kept is None and busy is None:
        speeds.keep(speed)
    return {
        "device": speed.conditions["device"],
        "precision": speed.precision,
        "pixel_step_seconds": speed.microseconds / 1e6,
        "measured_on": kept.date if kept else None,
        "busy": busy,
    }


def _computed() -> tuple[float, float, float]:
    """Seconds that all processors had so far, were used, and were used by this program and what it started."""
    times, here = psutil.cpu_times(), psutil.Process()
    had = sum(times) - getattr(times, "guest", 0) - getattr(times, "guest_nice", 0)  # guest time is part of user time
    own = 0.0
    for process in (here, *here.children(recursive=True)):
        with suppress(psutil.Error):  # it is gone
            own += process.cpu_times().user + process.cpu_times().system
    return had, had - times.idle - getattr(times, "iowait", 0), own


def _busy(before: tuple[float, float, float]) -> float | None:
    """Share of the processors that other programs took since then; None if it is small."""
    had, used, own = (now - then for now, then in zip(_computed(), before, strict=True))
    share = (used - own) / had if had > 0 else 0.0
    return share if share > BUSY_SHARE else None


def _device(settings: Settings, shape: WorkerLayout) -> tuple[str, str]:
    """Kind and name of the device that workers will find; only GPUs need torch for that."""
    if settings.device == "cpu" or (settings.device == "auto" and not shape.gpus and not has_metal()):
        return "cpu", cpu_name()
    from .workers.devices import device_name, resolve_device

    device = resolve_device(settings.device)
    _tell_lost_gpus(shape, device)
    return device, device_name(device)


def _tell_lost_gpus(shape: WorkerLayout, device: str) -> None:
    if notice := lost_gpus(shape, device):
        LOG.warning(notice)


def _measured_shortly(settings: Settings, shape: WorkerLayout, side: int) -> tuple[Speed, float | None]:
    """The speed, and the share of the processors that other programs took meanwhile, if it is not small."""
    with bench_workers(shape, settings.device) as call_all:
        facts, before = call_all("facts")[0], _computed()
        speed = _measured(call_all, facts, _settled(settings, facts), shape, side)
        return speed, _busy(before)


def _settled(settings: Settings, facts: Facts) -> Settings:
    """Put the precision that suits the device in place of `auto`."""
    return settings.model_copy(update={"precision": facts["precision"]}) if settings.precision == "auto" else settings


def _measured(call_all: CallAll, facts: Facts, settings: Settings, shape: WorkerLayout, side: int) -> Speed:
    return Speed(
        conditions(settings, shape, facts["device"], facts["name"]),
        settings.precision,
        usual=settings.precision == facts["precision"],
        side=side,
        microseconds=fmean(call_all("pixel_step_seconds", settings, settings.precision, side)) * 1e6,
        date=f"{today():%Y-%m-%d}",
    )


def bench(
    networks: Sequence[str], precisions: Sequence[str], sides: Sequence[object], **flags: object
) -> dict[str, Any]:
    """Measure how fast this machine paints with the default preset, and keep it for `plan`. No weight file is needed.

    Parameters
    ----------
    networks, precisions : sequence of str
        As in the settings.
    sides : sequence
        Of tiles, px.
    **flags
        The settings `device`, `workers` and `threads`.

    Returns
    -------
    dict
        Plain values: the machine, a row per network, precision and side, and the file they are kept in or None.
        Seconds, bytes, floating-point operations; shares of the machine's own rates.

    Raises
    ------
    SettingsError, UnknownNetworkError
        If something is not known, or a tile certainly does not fit into memory.
    DeviceError
        If the device is not there, or does not compute in a precision that was asked for.
    DeviceMemoryError, ClusterError
        If a tile turned out not to fit.
    """
    wanted = [
        load_settings("default", {**flags, "network": network, "precision": precision, "tile": side, "overlap": 0})
        for network in networks
        for precision in precisions
        for side in sides
    ]
    shape = local_shape(wanted[0], MANY_TILES)
    for settings in wanted:
        architecture(settings.network).check_layers(settings.layers)
        _check_room(settings, shape)
    with bench_workers(shape, wanted[0].device) as call_all:
        return _measure_all(call_all, wanted, shape)


def _check_room(settings: Settings, shape: WorkerLayout) -> None:
    """Refuse a tile whose activations alone are more than this machine's memory. (What a GPU has is not known here.)"""
    if shape.gpus or settings.device not in ("auto", "cpu"):
        return
    per_pixel = ITEM_BYTES[settings.precision] * architecture(settings.network).activations(settings.layers)
    needed = shape.workers * per_pixel * settings.tile**2
    free = psutil.virtual_memory().available
    if needed > free:
        raise SettingsError(
            f"a tile of {settings.tile} x {settings.tile} px takes more than {memory_size(needed)} of memory with "
            f"network {settings.network} ({counted(shape.workers, 'worker')}), but {memory_size(free)} are free; "
            "use a smaller --tile or fewer --workers"
        )


def _measure_all(call_all: CallAll, wanted: Sequence[Settings], shape: WorkerLayout) -> dict[str, Any]:
    facts, speeds = call_all("facts")[0], usual_speeds()
    _tell_lost_gpus(shape, facts["device"])
    trials = _distinct([_settled(settings, facts) for settings in wanted])
    _check_precisions(trials, facts)
    machine = _machine(call_all, facts, shape, {settings.precision for settings in trials})
    rows, kept = [], True
    for settings in watched(trials, _told):
        speed = _measured(call_all, facts, settings, shape, settings.tile)
        rows.append(_row(settings, speed, machine))
        kept = speeds.keep(speed) and kept
    return {**machine, "rows": rows, "kept_in": str(speeds.file) if kept else None}


def _distinct(trials: Sequence[Settings]) -> list[Settings]:
    return list({_told(settings): settings for settings in trials}.values())


def _told(settings: Settings) -> str:
    return f"{settings.network}, {settings.precision}, {settings.tile} px"


def _check_precisions(trials: Sequence[Settings], facts: Facts) -> None:
    for settings in trials:
        if settings.precision not in ("float32", facts["precision"]):
            raise DeviceError(
                f"{facts['name']} ({facts['device']}) does not compute in {settings.precision}, "
                f"wanted --precision {facts['precision']} or auto"
            )


def _machine(call_all: CallAll, facts: Facts, shape: WorkerLayout, precisions: Collection[str]) -> dict[str, Any]:
    """Peak rates of this machine."""
    return {
        "device": facts["device"],
        "name": facts["name"],
        "workers": shape.workers,
        "threads": shape.threads,
        "copy_rate": sum(call_all("copy_rate")),
        "matmul_rates": {precision: sum(call_all("matmul_rate", precision)) for precision in sorted(precisions)},
    }


def _row(settings: Settings, speed: Speed, machine: dict[str, Any]) -> dict[str, Any]:
    network, pixel_steps = architecture(settings.network), machine["workers"] / speed.microseconds * 1e6
    operations = pixel_steps * network.operations(settings.layers)
    traffic = pixel_steps * network.traffic(settings.layers, ITEM_BYTES[speed.precision])
    return {
        "network": settings.network,
        "precision": speed.precision,
        "tile": speed.side,
        "pixel_step_seconds": speed.microseconds / 1e6,
        "operations_rate": operations,
        "share_of_matmul": operations / machine["matmul_rates"][speed.precision],
        "traffic_rate": traffic,
        "share_of_copy": traffic / machine["copy_rate"],
    }


def table(found: dict[str, Any]) -> str:
    """Format the results as text. The last two columns are shares of the rates of matmul and (at least) of copy."""
    workers, threads = (counted(found[f"{noun}s"], noun) for noun in ("worker", "thread"))
    products = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in found["matmul_rates"].items())
    lines = [
        f"{'network':<11} {'precision':<9} {'tile':>5} {'us/px/step':>10} {'GFLOP/s':>8} {'matmul':>7} {'copy':>7}"
    ]
    lines += [
        f"{row['network']:<11} {row['precision']:<9} {row['tile']:>5} {row['pixel_step_seconds'] * 1e6:>10.3f} "
        f"{row['operations_rate'] / 1e9:>8.0f} {row['share_of_matmul']:>7.0%} {row['share_of_copy']:>7.0%}"
        for row in found["rows"]
    ]
    kept = found["kept_in"]
    return "\n".join(
        [
            f"device    {found['name']} ({found['device']}), {workers} with {threads}",
            f"matmul    {products}",
            f"copy      {found['copy_rate'] / 1e9:.1f} GB/s",
            "",
            *lines,
            "",
            f"cached in {kept}, for muralist plan"
            if kept
            else "not cached, since muralist's cache folder is not writable",
        ]
    )
