"""Skipping: what a picture costs of which a part is not painted, by tiles and processor time.

The same level is painted with strength maps of which the left part is black, all in this process, without dask. Tiles
that lie in the black altogether take no steps; what remains of them is that their features and losses are measured.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from in_process import without_dask
from machine import find_pair, images_option, input_of, render, results_option, table, write_result
from PIL import Image


def paint(photo: Path, style: Path, folder: Path, black: float, **settings: Any) -> tuple[dict[str, Any], Any]:
    """Paint with the left share of the picture black in its strength map."""
    without_dask()
    with Image.open(photo) as picture:
        mask = np.full((picture.height, picture.width), 255, np.uint8)
    mask[:, : round(black * mask.shape[1])] = 0
    Image.fromarray(mask).save(folder / "map.png")
    from muralist.model.tile_optimizer import TileOptimizer

    rounds, once = [0], TileOptimizer.paint

    def counted(*arguments: Any) -> Any:
        rounds[0] += 1
        return once(*arguments)

    TileOptimizer.paint = counted  # type: ignore[method-assign]
    began = time.process_time()
    sidecar = render(photo, style, folder / "out.png", overwrite=True, strength_map=str(folder / "map.png"), **settings)
    took = time.process_time() - began
    TileOptimizer.paint = once  # type: ignore[method-assign]
    tiles = sidecar["levels"][-1]["tiles"]
    return {"black": f"{black:.0%}", "tiles": tiles, "rounds of tiles": rounds[0], "s": took}, sidecar


@click.command()
@click.option("--size", default=640, show_default=True, help="Long side, px.")
@click.option("--steps", default=20, show_default=True)
@click.option("--black", "shares", multiple=True, type=float, default=(0.0, 0.5, 0.75), show_default=True)
@images_option
@results_option
def main(size: int, steps: int, shares: tuple[float, ...], images: Path, results: Path) -> None:
    """Measure what is saved where nothing is painted."""
    photo, style = find_pair(images, "golden_gate", "wave")
    one_level = {"base_size": 8192, "steps": [steps], "tile": 192, "overlap": 64}
    here = {"workers": 1, "threads": 1, "device": "cpu", "size": size, **one_level}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        paint(photo, style, Path(folder), 0.0, **here | {"steps": [1]})  # loads the network and fills caches
        for black in shares:
            row, sidecar = paint(photo, style, Path(folder), black, **here)
            rows.append({**row, "s / all painted": row["s"] / (rows[0]["s"] if rows else row["s"])})
    write_result(results, "skipping", sidecar, {"content": input_of(sidecar, "content"), "rows": rows}, table(rows))


if __name__ == "__main__":
    main()
