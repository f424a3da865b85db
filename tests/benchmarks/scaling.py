"""Scaling: one level of twelve tiles on one worker and on two, in turn, and how long the workers were not at work.

Every worker has one thread. What a worker does not spend on tiles is dask's share, and waiting: for the others at the
end of a round, and for the driver.
"""

import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import click
from machine import Pair, inputs_of, pair_options, render, results_option, set_option, table, write_result


def measure(paths: tuple[Path, ...], settings: dict[str, Any]) -> dict[str, Any]:
    """Render once; seconds of the level, and those that workers were in tasks, per worker."""
    sidecar = render(*paths, overwrite=True, **settings)
    level, workers = sidecar["levels"][0], sidecar["workers"]
    return {
        "sidecar": sidecar,
        "seconds": level["seconds"],
        "busy": level["busy_seconds"] / workers["count"],
        "fetched": level["fetched_bytes_per_round"],
        "tiles": level["tiles"],
    }


def summed_up(workers: int, runs: list[dict[str, Any]], single: list[dict[str, Any]]) -> dict[str, Any]:
    """Bring the repeats to medians; what is compared with one worker is what ran next to it."""
    seconds = [run["seconds"] for run in runs]
    ratios = [alone["seconds"] / several for alone, several in zip(single, seconds, strict=True)]
    return {
        "workers": workers,
        "tiles": runs[0]["tiles"],
        "s": statistics.median(seconds),
        "range": f"{min(seconds):.4g} to {max(seconds):.4g}",
        "times as fast": statistics.median(ratios),
        "from, to": f"{min(ratios):.3g} to {max(ratios):.3g}",
        "not in tasks": f"{statistics.median(1 - run['busy'] / run['seconds'] for run in runs):.1%}",
        "MiB fetched per round": runs[0]["fetched"] / 2**20,
    }


@click.command()
@pair_options()
@click.option("--size", default=1500, show_default=True, help="Long side of the painting, px.")
@click.option("--tile", default=512, show_default=True, help="Side of a tile, px.")
@click.option("--steps", default=20, show_default=True, help="Steps of the one level.")
@click.option("--workers", "counts", multiple=True, default=(1, 2), show_default=True, help="Repeatable.")
@click.option("--repeats", default=3, show_default=True, help="Times that everything is measured.")
@set_option
@results_option
def main(pair: Pair, counts: tuple[int, ...], results: Path, **options: Any) -> None:
    """Compare the time of a level on one worker and on several."""
    repeats, size, more = (options.pop(key) for key in ("repeats", "size", "settings"))
    common = {**options, "size": size, "base_size": size, "threads": 1, **more}
    runs: dict[int, list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        paths = (*pair, Path(folder, "o.png"))
        render(*paths, **{**common, "steps": 1, "workers": 1})  # fills the cache of style statistics
        for repeat in range(repeats):
            for workers in counts:
                runs[workers].append(measure(paths, {**common, "workers": workers}))
                click.echo(f"repeat {repeat + 1}, {workers} worker(s): {runs[workers][-1]['seconds']} s")
    rows = [summed_up(workers, runs[workers], runs[counts[0]]) for workers in counts]
    sidecar = runs[counts[-1]][-1]["sidecar"]
    result = {"inputs": inputs_of(sidecar), "settings": sidecar["settings"], "repeats": repeats, "rows": rows}
    write_result(results, "scaling", sidecar, result, table(rows))


if __name__ == "__main__":
    main()
