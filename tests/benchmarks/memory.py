"""Memory and disk: what renders of growing size really take, beside what the plan foresees.

Each render is `muralist render` in a process of its own, of a photograph enlarged beforehand to the painting's size.
While it runs, the resident memory of the process (the driver) and of its descendants (the workers), and the size of
its run folder, are sampled; the sidecar's `peak_rss_bytes`, which the system counts, is the cross-check.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from machine import Pair, apart, enlarge, inputs_of, pair_options, results_option, set_option, table, write_result
from sampling import watch

MIB = 1 << 20


def foresee(content: Path, style: Path, output: Path, sidecar: dict[str, Any]) -> dict[str, int]:
    """Say what the estimate expects of a render that was made, bytes."""
    from muralist.pipeline import space
    from muralist.pipeline.render_plan import plan_render
    from muralist.pipeline.settings import Settings

    settings, workers = Settings(**sidecar["settings"]), sidecar["workers"]["count"]
    with tempfile.TemporaryDirectory() as local_dir:
        plan = plan_render(content, style, output, settings, overwrite=True, local_dir=Path(local_dir))
    itemsize = 2 if sidecar["device"]["precision"] == "bfloat16" else 4
    return {
        "worker": space.worker_bytes(plan, itemsize) + space.held_bytes(plan, workers),
        "driver": space.driver_bytes(plan),
        "disk": space.disk_bytes(plan),
        "largest_tile_pixels": max(space.largest_tile(level) for level in plan.levels),
        "final_pixels": plan.final.pixels,
        "final_tile_pixels": plan.final.tile_pixels,
    }


def measure(content: Path, style: Path, settings: dict[str, Any], interval: float, ending: str) -> dict[str, Any]:
    """Render a photograph at its own size and bring together what was measured and what was foreseen."""
    with tempfile.TemporaryDirectory() as folder:
        output, scratch = Path(folder, f"painting.{ending}"), Path(folder, "scratch")
        scratch.mkdir()
        command = [Path(sys.executable).with_name("muralist"), "render", content, "-s", style, "-o", output, "--quiet"]
        pairs = {**settings, "scratch": scratch}.items()
        command += [part for key, value in pairs for part in ("--set", f"{key}={value}")]
        peaks = watch([str(part) for part in command], scratch, interval)
        sidecar = json.loads(Path(f"{output}.json").read_text(encoding="utf-8"))
        return {"sidecar": sidecar, "measured": peaks, "foreseen": apart(foresee, content, style, output, sidecar)}


def as_row(run: dict[str, Any]) -> dict[str, Any]:
    """Lay one render out for people: MiB, and what was measured relative to what was foreseen."""
    sidecar, measured, foreseen = (run[key] for key in ("sidecar", "measured", "foreseen"))
    pairs = {
        name: f"{measured[name] / MIB:.0f} / {foreseen[name] / MIB:.0f} ({measured[name] / foreseen[name]:.2f})"
        for name in ("worker", "driver", "disk")
    }
    return {
        "megapixels": sidecar["height"] * sidecar["width"] / 1e6,
        "tile": str(sidecar["settings"]["tile"]),
        "tiles": sidecar["levels"][-1]["tiles"],
        "peak RSS, sampled": f"{measured['together'] / MIB:.0f}",
        "peak RSS, sidecar": f"{sidecar['peak_rss_bytes'] / MIB:.0f}",
        **pairs,
        "seconds": sidecar["seconds"],
    }


@click.command()
@pair_options("green_park")
@click.option("--megapixels", "sizes", multiple=True, default=(1.0, 4.0, 24.0), show_default=True, help="Repeatable.")
@click.option("--tile", "tiles", multiple=True, default=(1024,), show_default=True, help="Repeatable.")
@click.option("--steps", default=12, show_default=True, help="Steps per level.")
@click.option("--steps-per-round", default=12, show_default=True, help="More than the pairs that L-BFGS remembers.")
@click.option("--interval", default=0.05, show_default=True, help="Seconds between samples.")
@click.option("--format", "ending", default="png", show_default=True, help="Extension of the painting.")
@click.option("--name", default="memory", show_default=True, help="Name of the result.")
@set_option
@results_option
def main(
    pair: Pair,
    sizes: tuple[float, ...],
    tiles: tuple[int, ...],
    ending: str,
    name: str,
    results: Path,
    **options: Any,
) -> None:
    """Measure peak memory and disk of renders."""
    source, style = pair
    interval, more = options.pop("interval"), options.pop("settings")
    runs = []
    for megapixels in sizes:
        with tempfile.TemporaryDirectory() as folder:
            content = Path(folder, source.name).with_suffix(".jpg")
            apart(enlarge, source, megapixels, content)
            runs += [measure(content, style, {**options, "tile": tile, **more}, interval, ending) for tile in tiles]
        click.echo(f"{megapixels:g} megapixels: {runs[-1]['sidecar']['seconds']:.0f} s")
    sidecar = runs[-1]["sidecar"]
    text = (
        f"MiB; of worker (the largest), driver and disk: measured / foreseen.\n\n{table([as_row(run) for run in runs])}"
    )
    write_result(results, name, sidecar, {"runs": [as_record(run) for run in runs]}, text)


def as_record(run: dict[str, Any]) -> dict[str, Any]:
    """Keep of one render what others can use."""
    sidecar = run["sidecar"]
    kept = {key: sidecar[key] for key in ("height", "width", "levels", "peak_rss_bytes", "seconds", "workers")}
    settings = {key: value for key, value in sidecar["settings"].items() if key != "scratch"}
    about = {"inputs": inputs_of(sidecar), "settings": settings}
    return {**kept, **about, "measured": run["measured"], "foreseen": run["foreseen"]}


if __name__ == "__main__":
    main()
