"""Bleeding: how far a style goes over a hard edge, by `region_inset`, and what the inset costs.

A photograph is painted after either style, and then with a hard upright edge in the middle, left of which the one
counts and right of which the other. At every distance from the edge, the painting is written as a mixture of the two
that have one style: what it has of the style that belongs to the other side is what went over. How much is painted
there at all is its difference to the photograph, relative to that of the painting in the style that belongs there.
"""

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import find_picture, images_option, input_of, render, results_option, set_option, table, write_result
from PIL import Image

STRIPS = (0, 8, 16, 32, 64, 128)  # px from the edge, limits
REACH = 128  # px, within which what went over is added up


def pixels_of(path: Path) -> np.ndarray:
    """A painting, (height, width, 3) float in [0, 1]."""
    return np.asarray(Image.open(path).convert("RGB"), np.float64) / 255


def by_distance(values: np.ndarray) -> np.ndarray:
    """Sums of (height, width) over columns as far from the middle: (REACH,), both sides together."""
    columns, middle = values.sum(0), values.shape[1] // 2
    return np.asarray(columns[middle : middle + REACH] + columns[middle - REACH : middle][::-1])


def measures(painted: np.ndarray, left: np.ndarray, right: np.ndarray, photograph: np.ndarray) -> dict[str, Any]:
    """Say what went over the edge of a painting, and how much was painted beside it, by distance."""
    is_left = np.arange(painted.shape[1])[None, :, None] < painted.shape[1] // 2
    own, other = np.where(is_left, left, right), np.where(is_left, right, left)
    away = other - own
    over = by_distance(((painted - own) * away).sum(2)) / by_distance((away**2).sum(2))
    done = by_distance(abs(painted - photograph).sum(2)) / by_distance(abs(own - photograph).sum(2))
    strips = list(pairwise(STRIPS))
    return {
        "px of the other style": float(over.sum()),
        **{f"other style, {a} to {b} px": float(over[a:b].mean()) for a, b in strips},
        **{f"painted, {a} to {b} px": float(done[a:b].mean()) for a, b in strips},
    }


@click.command()
@click.option("--content", default="golden_gate", show_default=True)
@click.option("--styles", nargs=2, default=("wave", "the_scream"), show_default=True)
@click.option("--inset", "insets", multiple=True, type=float, default=(0.0, 0.25, 0.5, 1.0), show_default=True)
@click.option("--size", default=640, show_default=True, help="Long side, px.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where paintings are kept.")
@images_option
@results_option
@set_option
def main(
    content: str,
    styles: tuple[str, str],
    insets: tuple[float, ...],
    size: int,
    out: Path | None,
    images: Path,
    results: Path,
    settings: dict[str, Any],
) -> None:
    """Measure what goes over a hard edge."""
    photo, (first, second) = (
        find_picture(images, "content", content),
        [find_picture(images, "style", name) for name in styles],
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with Image.open(photo) as picture:
            mask = np.zeros((picture.height, picture.width), np.uint8)
        mask[:, mask.shape[1] // 2 :] = 255
        Image.fromarray(mask).save(folder / "right.png")
        options = {"size": size, "overwrite": True, **settings}
        render(photo, first, folder / "left-style.png", **options)
        render(photo, second, folder / "right-style.png", **options)
        left, right = pixels_of(folder / "left-style.png"), pixels_of(folder / "right-style.png")
        with Image.open(photo) as picture:
            resized = picture.convert("RGB").resize((left.shape[1], left.shape[0]), Image.Resampling.LANCZOS)
        rows = []
        for inset in insets:
            output, regions = folder / f"inset-{inset:g}.png", [f"{folder / 'right.png'}={second}"]
            sidecar = render(photo, first, output, regions=regions, region_inset=inset, **options)
            rows.append({"inset": inset, **measures(pixels_of(output), left, right, np.asarray(resized) / 255)})
            click.echo(str(rows[-1]))
    found = {"content": input_of(sidecar, "content"), "rows": rows}
    write_result(results, "bleeding", sidecar, found, table(rows))


if __name__ == "__main__":
    main()
