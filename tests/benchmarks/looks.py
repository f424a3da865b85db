"""Looks: how good are the paintings, by a judge that did not paint them?

Every pair is painted by two checkouts in turn, this one and one to compare with (`--baseline`, the Python of its
environment), at their defaults, and both are judged (`judge.py`). `--strength` paints every pair at more strengths.
Each painting is a process of its own, as a user would start it.
"""

import json
import subprocess
import sys
import tempfile
from itertools import pairwise
from math import exp, log
from pathlib import Path
from typing import Any

import click
import numpy as np
from judge import load_judge, measures
from machine import find_pair, images_option, results_option, set_option, table, write_result

from muralist.pipeline.pictures.images import resize
from muralist.pipeline.pictures.reading import read_picture

PAIRS = (
    "tubingen/starry_night",
    "tubingen/the_scream",
    "tubingen/shipwreck",
    "tubingen/composition_vii",
    "golden_gate/wave",
    "chicago/the_scream",
    "newyork/composition_vii",
    "flowers/udnie",
    "sailboat/wave",
    "blossom/brushstrokes",
    "newyork/mosaic",
    "green_park/peasant",
)
MEASURES = ("style", "content", "palette", "grain_light", "grain_color", "legibility")
# Geometric means over all pairs, relative to the baseline; legibility the other way round.
LIMITS = {"style": 0.08, "content": 0.7, "palette": 0.55, "grain_light": 0.6, "grain_color": 0.7, "legibility": 1.0}
TIME_LIMIT = 1.2
RUN = "import sys; from muralist.cli import main; main(sys.argv[1:])"


def paint(python: str, pair: tuple[Path, Path], out: Path, options: list[str]) -> dict[str, Any]:
    """Paint a pair with one checkout's command; return its sidecar."""
    arguments = ["render", str(pair[0]), "-s", str(pair[1]), "-o", str(out), "--overwrite", "--json", *options]
    done = subprocess.run([python, "-P", "-c", RUN, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{python}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def judged(judge: Any, pair: tuple[Path, Path], painting: Path) -> dict[str, float]:
    """Judge a painting's file against its photograph and its style picture, both at the painting's size."""
    pixels = _pixels(painting)
    photograph = resize(read_picture(pair[0]).pixels, *pixels.shape[:2])
    style = read_picture(pair[1]).pixels
    scale = min(1.0, max(pixels.shape[:2]) / max(style.shape[:2]))
    return measures(judge, pixels, resize(style, *(round(n * scale) for n in style.shape[:2])), photograph)


def _pixels(path: Path) -> np.ndarray:
    pixels = read_picture(path).pixels
    return resize(pixels, *pixels.shape[:2])  # float32 in [0, 1]


def geometric_mean(values: list[float]) -> float:
    """Geometric mean of positive numbers.

    >>> round(geometric_mean([1.0, 4.0]), 9)
    2.0
    """
    return exp(sum(map(log, values)) / len(values))


def summary(rows: list[dict[str, Any]], timed: bool) -> list[dict[str, Any]]:
    """What the new paintings are relative to the baseline's, over all pairs; seconds only of the same hour."""
    found = []
    for name, limit in LIMITS.items():
        ratios = [row["new"][name] / row["baseline"][name] for row in rows]
        mean = geometric_mean(ratios)
        good = mean >= limit if name == "legibility" else mean <= limit
        extremes = {"best": min(ratios), "worst": max(ratios)}
        found.append({"measure": name, "geometric mean": mean, **extremes, "wanted": limit, "reached": good})
    if timed:
        times = geometric_mean([row["new"]["seconds"] / row["baseline"]["seconds"] for row in rows])
        ends = {"best": "", "worst": "", "wanted": TIME_LIMIT, "reached": times <= TIME_LIMIT}
        found.append({"measure": "seconds", "geometric mean": times, **ends})
    return found


def as_table(rows: list[dict[str, Any]]) -> str:
    """Lay the pairs out for people: new, and what it is relative to the baseline."""
    lines = []
    for row in rows:
        line: dict[str, Any] = {"pair": row["pair"]}
        for name in MEASURES:
            line[name] = row["new"][name]
            line[f"/ {name}"] = row["new"][name] / row["baseline"][name]
        lines.append(line | {"seam score": row["new"]["seam_score"], "seconds": row["new"]["seconds"]})
    return table(lines)


def curves(rows: list[dict[str, Any]]) -> str:
    """Lay out for people what every strength makes of a pair, and of all in the geometric mean."""
    lines = []
    for row in rows:
        at = {each["strength"]: each for each in sorted(row["curve"], key=lambda each: each["strength"])}
        lines.append(
            {f"{name} {strength:g}": each[name] for name in ("style", "content") for strength, each in at.items()}
        )
    mean = {key: geometric_mean([line[key] for line in lines]) for key in lines[0]}
    names = [row["pair"] for row in rows]
    return table([{"pair": name, **line} for name, line in zip([*names, "all"], [*lines, mean], strict=True)])


def as_text(rows: list[dict[str, Any]], timed: bool) -> str:
    """Lay everything out for people."""
    found = f"{table(summary(rows, timed))}\n\n{as_table(rows)}"
    if rows[0]["curve"]:
        found += f"\n\nStyle distance and content error by strength.\n\n{curves(rows)}"
        found += f"\n\nMore strength is never less style nor more content: {_monotonous(rows)} of {len(rows)} pairs."
    return found


@click.command()
@images_option
@click.option("--judge", type=click.Path(exists=True, path_type=Path), required=True, help="Compressed encoder's file.")
@click.option(
    "--baseline",
    required=True,
    help="Python of the environment of the checkout to compare with; or an earlier run's JSON, to compare with its "
    "baseline again, but for the seconds.",
)
@click.option("--pair", "names", multiple=True, default=PAIRS, help="CONTENT/STYLE by beginning of name; repeatable.")
@click.option("--size", default=1200, show_default=True, help="Long side of the paintings, px.")
@click.option("--tile", default=512, show_default=True, help="Side of a tile, px.")
@click.option("--strength", "strengths", multiple=True, type=float, help="Also paint at this strength; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep the paintings here; by default they are deleted.")
@click.option("--name", "result", default="looks", show_default=True, help="What the result's files are called.")
@set_option
@results_option
def main(
    images: Path,
    judge: Path,
    baseline: str,
    names: tuple[str, ...],
    size: int,
    tile: int,
    strengths: tuple[float, ...],
    out: Path | None,
    result: str,
    settings: dict[str, str],
    results: Path,
) -> None:
    """Judge this checkout's paintings beside another's."""
    network, rows = load_judge(judge), []
    earlier = _earlier_baseline(Path(baseline), size, tile) if baseline.endswith(".json") else {}
    common = ["--size", str(size), "--tile", str(tile)]
    own = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            pair = find_pair(images, *name.split("/"))
            row: dict[str, Any] = {"pair": name, "curve": []}
            tasks = [("new", sys.executable, own)]
            if earlier:
                row["baseline"] = earlier[name]
            else:
                tasks.insert(0, ("baseline", baseline, []))
            for label, python, options in tasks:
                path = folder / f"{name.replace('/', '-')}-{label}.png"
                row[label] = _painted(network, python, pair, path, [*common, *options])
            if strengths:
                row["curve"].append({"strength": row["new"]["sidecar"]["settings"]["strength"], **row["new"]})
            for strength in strengths:
                path = folder / f"{name.replace('/', '-')}-{strength}.png"
                options = [*common, *own, "--strength", str(strength)]
                row["curve"].append({"strength": strength, **_painted(network, sys.executable, pair, path, options)})
            rows.append(row)
            click.echo(json.dumps({key: row[key] for key in ("pair", "new", "baseline")}))
    sidecar = row["new"].pop("sidecar")
    for each in rows:
        for part in (each["new"], each["baseline"], *each["curve"]):
            part.pop("sidecar", None)
    text = as_text(rows, timed=not earlier)
    write_result(results, result, sidecar, {"size": size, "tile": tile, "pairs": rows}, text)


def _earlier_baseline(file: Path, size: int, tile: int) -> dict[str, Any]:
    """The baseline's measures by pair, from an earlier run at the same size."""
    found = json.loads(file.read_text())
    if (found["size"], found["tile"]) != (size, tile):
        raise click.ClickException(f"{file}: size {found['size']} and tile {found['tile']}, wanted {size} and {tile}")
    return {row["pair"]: row["baseline"] for row in found["pairs"]}


def _painted(judge: Any, python: str, pair: tuple[Path, Path], path: Path, options: list[str]) -> dict[str, Any]:
    sidecar = paint(python, pair, path, options)
    facts = {key: sidecar[key] for key in ("seconds", "seam_score")}
    return {**judged(judge, pair, path), **facts, "sidecar": sidecar}


def _monotonous(rows: list[dict[str, Any]]) -> int:
    """Count the pairs whose style distance falls and whose content error rises all along the curve."""
    curves = [sorted(row["curve"], key=lambda each: each["strength"]) for row in rows]
    return sum(
        all(a["style"] >= b["style"] and a["content"] <= b["content"] for a, b in pairwise(curve)) for curve in curves
    )


if __name__ == "__main__":
    main()
