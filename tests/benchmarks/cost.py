"""Cost: seconds per megapixel and step, tiled against untiled, and where the difference goes.

One level of one enlarged photograph is rendered untiled and in tiles, in turn, several times. After every render its
tasks are run again in a fresh process without dask, one after the other, with a clock on each part; what the render
took beyond that is dask's share. The process gets the workers' threads and allocator settings.
"""

import os
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import click
from in_process import seconds_here
from machine import Pair, apart, inputs_of, pair_options, render, results_option, set_option, table, write_result

from muralist.pipeline.lengths import MAX_SIDE_PX
from muralist.pipeline.presets import load_settings
from muralist.pipeline.render_plan import plan_render
from muralist.pipeline.workers.local import ALLOCATOR

LIMIT = 1.5  # times the untiled render's, at tile 1024


def measure(paths: tuple[Path, ...], settings: dict[str, Any]) -> dict[str, Any]:
    """Render through dask, then again without it."""
    sidecar = render(*paths, overwrite=True, **settings)
    return {"sidecar": sidecar, "parts": apart(seconds_here, paths, settings)}


def summed_up(runs: list[dict[str, Any]], paths: tuple[Path, ...], settings: dict[str, Any]) -> dict[str, Any]:
    """Bring the repeats of one tile size to medians; parts that are not accounted for are dask's."""
    sidecar = runs[0]["sidecar"]
    level = plan_render(*paths, load_settings("default", settings), overwrite=True).final
    seconds = [run["sidecar"]["levels"][0]["seconds"] for run in runs]
    work = sidecar["height"] * sidecar["width"] / 1e6 * level.steps
    parts = {label: statistics.median(run["parts"][label] for run in runs) for label in runs[0]["parts"]}
    parts["dask, and noise"] = statistics.median(seconds) - sum(parts.values())
    return {
        "tile": "untiled" if settings["tile"] == MAX_SIDE_PX else settings["tile"],
        "tiles": len(level.grid),
        "area_factor": level.tile_pixels / level.pixels,
        "rate": statistics.median(seconds) / work,
        "rate_range": [min(seconds) / work, max(seconds) / work],
        "optimizer_rate": parts["optimizer steps"] / (level.tile_pixels / 1e6 * level.steps),
        "outside_level": statistics.median(run["sidecar"]["seconds"] for run in runs) - statistics.median(seconds),
        "parts": {label: value / work for label, value in parts.items()},
    }


def as_text(rows: list[dict[str, Any]]) -> str:
    """Lay the result out for people: totals, then the parts of each total and their share of the overhead."""
    untiled = rows[0]
    totals = [
        {
            "tile": str(row["tile"]),
            "tiles": row["tiles"],
            "s per megapixel-step": row["rate"],
            "range": " to ".join(f"{end:.4g}" for end in row["rate_range"]),
            "/ untiled": row["rate"] / untiled["rate"],
            f"<= {LIMIT}": row["rate"] <= LIMIT * untiled["rate"],
            "painted / canvas area": row["area_factor"],
            "optimizer s per megapixel-step of tiles": row["optimizer_rate"],
            "s outside the level": row["outside_level"],
        }
        for row in rows
    ]
    parts = [{"part": label, **_shares(label, rows)} for label in untiled["parts"]]
    return f"{table(totals)}\n\nSeconds per megapixel-step, and change against untiled.\n\n{table(parts)}"


def _shares(label: str, rows: list[dict[str, Any]]) -> dict[str, str]:
    first, *others = ((row["tile"], row["parts"][label]) for row in rows)
    changes = {str(tile): f"{value:.4f} ({(value - first[1]) / rows[0]['rate']:+.1%})" for tile, value in others}
    return {"untiled": f"{first[1]:.4f} ({first[1] / rows[0]['rate']:.1%} of all)", **changes}


@click.command()
@pair_options()
@click.option("--size", default=2048, show_default=True, help="Long side of the painting, px.")
@click.option("--tile", "tiles", multiple=True, default=(1024, 512), show_default=True, help="Repeatable.")
@click.option("--steps", default=20, show_default=True, help="Steps of the one level.")
@click.option("--steps-per-round", default=10, show_default=True, help="Steps between two agreements.")
@click.option("--threads", default=2, show_default=True, help="Threads of the one worker.")
@click.option("--repeats", default=3, show_default=True, help="Times that everything is measured.")
@set_option
@results_option
def main(pair: Pair, tiles: tuple[int, ...], results: Path, **options: Any) -> None:
    """Compare the time of tiled and untiled renders."""
    os.environ |= ALLOCATOR  # for the process without dask; workers get it anyway
    repeats, size, more = (options.pop(key) for key in ("repeats", "size", "settings"))
    common = {**options, "size": size, "base_size": size, "workers": 1, **more}
    sides = [MAX_SIDE_PX, *tiles]
    runs: dict[int, list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        paths = (*pair, Path(folder, "o.png"))
        render(*paths, **{**common, "steps": 1})  # fills the cache of style statistics
        for repeat in range(repeats):
            for tile in sides:
                runs[tile].append(measure(paths, {**common, "tile": tile}))
                click.echo(f"repeat {repeat + 1}, tile {tile}: {runs[tile][-1]['sidecar']['levels'][0]['seconds']} s")
        rows = [summed_up(runs[tile], paths, {**common, "tile": tile}) for tile in sides]
    sidecar = runs[sides[-1]][-1]["sidecar"]
    result = {"inputs": inputs_of(sidecar), "settings": sidecar["settings"], "repeats": repeats, "rows": rows}
    write_result(results, "cost", sidecar, result, as_text(rows))


if __name__ == "__main__":
    main()
