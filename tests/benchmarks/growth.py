"""Growth: what a pixel costs at a step, from one megapixel to a poster.

A photograph is enlarged to each size and rendered at one level, on this machine's usual workers. Counted are the rounds
after the first, in which workers touch their memory for the first time; the losses are measured after every round.
What the tiles of a large picture share is painted more than once, so cost is told per pixel of the picture and
per pixel that was painted.
"""

import tempfile
from pathlib import Path
from typing import Any

import click
from machine import (
    Pair,
    enlarge,
    input_of,
    pair_options,
    render,
    results_option,
    set_option,
    table,
    write_result,
)

from muralist.pipeline.pictures.reading import read_size
from muralist.pipeline.presets import load_settings
from muralist.pipeline.render_plan import plan_render

LARGEST = 8192  # long side of a coarsest level
LIMIT = 0.10  # apart from the cost of a picture's pixel at the largest size


def measure(paths: tuple[Path, Path, Path], settings: dict[str, Any]) -> dict[str, Any]:
    """Render at the photograph's own size; seconds of a step, and the pixels of picture and tiles."""
    sidecar = render(*paths, overwrite=True, **settings)
    with tempfile.TemporaryDirectory() as local_dir:
        final = plan_render(*paths, load_settings("default", settings), overwrite=True, local_dir=Path(local_dir)).final
    level, pixels = sidecar["levels"][-1], sidecar["height"] * sidecar["width"]
    first, *_, last = [row for row in sidecar["losses"] if row["level"] == len(sidecar["levels"])][1:]
    return {
        "megapixels": pixels / 1e6,
        "tiles": level["tiles"],
        "s": (last["seconds"] - first["seconds"]) / (last["step"] - first["step"]),
        "painted": final.tile_pixels,
        "picture": pixels,
        "outside": sidecar["seconds"] - sum(row["seconds"] for row in sidecar["levels"]),
        "sidecar": sidecar,
    }


def one_level(photograph: Path, steps: int) -> dict[str, Any]:
    """Give settings that make steps at full size only; there is no coarser level but for the largest pictures."""
    longest = max(read_size(photograph))
    return {"base_size": min(longest, LARGEST), "steps": [0, steps] if longest > LARGEST else [steps]}


def as_row(run: dict[str, Any], largest: dict[str, Any]) -> dict[str, Any]:
    """Lay one size out for people, relative to the largest."""
    cost, most = (each["s"] / each["picture"] for each in (run, largest))
    return {
        "megapixels": round(run["megapixels"], 1),
        "tiles": run["tiles"],
        "s per step": run["s"],
        "us per picture pixel and step": cost * 1e6,
        "/ largest": cost / most,
        f"within {LIMIT:.0%}": abs(cost / most - 1) <= LIMIT,
        "us per painted pixel and step": run["s"] / run["painted"] * 1e6,
        "writing, s per megapixel": run["outside"] / run["megapixels"],
    }


@click.command()
@pair_options("green_park")
@click.option("--megapixels", multiple=True, type=float, default=(1, 4, 16, 64), show_default=True, help="Repeatable.")
@click.option("--steps", default=30, show_default=True, help="Steps of the one level.")
@set_option
@results_option
def main(
    pair: Pair,
    megapixels: tuple[float, ...],
    steps: int,
    results: Path,
    settings: Any,
) -> None:
    """Compare the cost of a pixel at a step over picture sizes."""
    source, painted = pair
    runs = []
    for size in megapixels:
        with tempfile.TemporaryDirectory() as folder:
            photograph = Path(folder, "photograph.jpg")
            enlarge(source, size, photograph)
            paths = (photograph, painted, Path(folder, "painting.tif"))
            runs.append(measure(paths, {**one_level(photograph, steps), **settings}))
            click.echo(f"{size:g} megapixels: {runs[-1]['s']:.2f} s a step")
    rows = [as_row(run, runs[-1]) for run in runs]
    sidecar = runs[-1]["sidecar"]
    result = {"inputs": {"style": input_of(sidecar, "style")}, "settings": sidecar["settings"], "rows": rows}
    write_result(results, "growth", sidecar, result, table(rows))


if __name__ == "__main__":
    main()
