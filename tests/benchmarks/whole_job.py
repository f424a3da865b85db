"""Whole job: where the time of a whole job goes, from the command to the files, and how soon it begins.

A poster is rendered with muralist's own defaults. Its tasks run without dask in a fresh process, one after the other,
with a clock on each part (`in_process.py`). Reading, laying out, blending, filing and encoding are what is not
painting: wanted below 15 % of the time. Starting up is measured apart, on the commands a user types.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from in_process import profile_here
from machine import Pair, apart, enlarge, input_of, pair_options, results_option, set_option, table, write_result

from muralist.pipeline.workers.local import ALLOCATOR

PAINTING = ("optimizer steps", "other in paint_tile", "style statistics", "measure losses", "add up Grams")
LIMIT = 0.15  # of the time, what is not painting
HELP_SECONDS, ROUND_SECONDS = 0.3, 10


def command() -> list[str]:
    """Give the installed `muralist`."""
    return [str(Path(sys.executable).with_name("muralist"))]


def seconds_of_help(repeats: int) -> float:
    """Median time of `muralist --help`, with Python keeping compiled modules as it does unless told otherwise."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run([*command(), "--help"], capture_output=True, check=True, env=kept)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def seconds_to_the_first_round(pair: tuple[Path, Path], output: Path) -> float:
    """Time from the command until the losses after two steps are told, on workers of this machine."""
    options = ["render", pair[0], "-s", pair[1], "-o", output, "--loss-lines", "--quiet", "--steps-per-round", "2"]
    began = time.perf_counter()
    with subprocess.Popen([*command(), *map(str, options)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not re.match(r"step +2 ", line := process.stderr.readline()):
            assert line, "the command ended before a round was made"
        took = time.perf_counter() - began
        process.terminate()
    return took


def as_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Lay the parts of the job out for people, the longest first."""
    total, parts = found["total"], found["parts"]
    left = {"start, hashes, sidecar": total - sum(parts.values())}
    rows = sorted({**parts, **left}.items(), key=lambda part: -part[1])
    return [{"part": label, "s": seconds, "share": f"{seconds / total:.1%}"} for label, seconds in rows]


def as_text(found: dict[str, Any]) -> str:
    """Lay the result out for people: how soon it begins, then where the time goes."""
    starts = [
        {"what": "muralist --help", "s": found["help"], "wanted": f"below {HELP_SECONDS}"},
        {"what": "command to second step", "s": found["first_round"], "wanted": f"below {ROUND_SECONDS}"},
    ]
    other = f"Not painting: {found['other']:.1%} of {found['total']:.0f} s (wanted below {LIMIT:.0%})."
    return f"{table(starts)}\n\n{other}\n\n{table(as_rows(found))}"


@click.command()
@pair_options("green_park")
@click.option("--megapixels", default=24.0, show_default=True, help="Size of photograph and painting.")
@click.option("--threads", default=2, show_default=True, help="Threads of the one process.")
@set_option
@results_option
def main(pair: Pair, megapixels: float, results: Path, **options: Any) -> None:
    """Say where the time of a poster goes."""
    os.environ |= ALLOCATOR  # for the process without dask; workers get it anyway
    source, painted = pair
    with tempfile.TemporaryDirectory() as folder:
        photograph, output = Path(folder, "photograph.jpg"), Path(folder, "painting.tif")
        enlarge(source, megapixels, photograph)
        found = {
            "help": seconds_of_help(5),
            "first_round": seconds_to_the_first_round(pair, Path(folder, "first.png")),
        }
        settings = {"workers": 1, "threads": options["threads"], **options["settings"]}
        found |= apart(profile_here, (photograph, painted, output), settings)
    sidecar = found.pop("sidecar")
    found["other"] = 1 - sum(found["parts"][label] for label in PAINTING) / found["total"]
    result = {"inputs": {"style": input_of(sidecar, "style")}, "settings": sidecar["settings"], **found}
    write_result(results, "whole-job", sidecar, result, as_text(found))


if __name__ == "__main__":
    main()
