"""What the benchmarks share: where they ran, which pictures they used, and how results are written down."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial, wraps
from importlib.metadata import version
from math import sqrt
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

from rendering import render as render  # noqa: E402

Pair = tuple[Path, Path]
Command = Callable[..., Any]

images_option = click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=HERE.parents[2] / "shared" / "images",
    help="Folder with content/ and style/.",
)
results_option = click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=HERE / "results",
    help="Where NAME-DEVICE.json and .md are written.",
)
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    callback=lambda context, option, pairs: dict(pair.split("=", 1) for pair in pairs),
    help="Any other setting of the renders; repeatable.",
)


def find_picture(images: Path, kind: str, name: str) -> Path:
    """Find the only picture of a kind (content, style) whose file name begins with `name`."""
    found = sorted((images / kind).glob(f"{name}*"))
    if len(found) != 1:
        raise click.UsageError(f"wanted one picture {images / kind / name}*, found {len(found)}")
    return found[0]


def find_pair(images: Path, content: str, style: str) -> Pair:
    """Find a photograph and a style picture by the beginnings of their names."""
    return find_picture(images, "content", content), find_picture(images, "style", style)


def pair_options(content: str = "tubingen", style: str = "starry_night") -> Callable[[Command], Command]:
    """Give a benchmark the options `--images`, `--content` and `--style`; it takes the two files as `pair`."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_pair(images: Path, content: str, style: str, **options: Any) -> None:
            command(pair=find_pair(images, content, style), **options)

        option = partial(click.option, show_default=True)
        photograph = option("--content", default=content, help="Photograph, by beginning of its name.")
        painting = option("--style", default=style, help="Style picture, by beginning of its name.")
        return images_option(photograph(painting(with_pair)))

    return decorate


def apart(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function in a process of its own: on Linux a process that was large makes its children count as large."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments, **options).result()


def enlarge(source: Path, megapixels: float, target: Path) -> None:
    """Write a photograph at another size."""
    from PIL import Image

    with Image.open(source) as picture:
        scale = sqrt(megapixels * 1e6 / (picture.width * picture.height))
        size = round(picture.width * scale), round(picture.height * scale)
        picture.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(target, quality=95)


def input_of(sidecar: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Name a picture of a render by its file name, size and hash; where it lay is nobody's business."""
    inputs = sidecar["inputs"]
    entry = inputs["styles"][0] if kind == "style" else inputs[kind]
    return {**entry, "path": Path(entry["path"]).name}


def inputs_of(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """Name both pictures of a render."""
    return {kind: input_of(sidecar, kind) for kind in ("content", "style")}


def describe() -> dict[str, Any]:
    """Say where and when this runs, and on which state of the source."""
    from muralist.pipeline.records.sidecar import PACKAGES
    from muralist.pipeline.workers.devices import cpu_name  # loads torch, so not before the renders

    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--", ":/", f":(exclude){HERE / 'results'}")),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def _git(*arguments: str) -> str:
    found = subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay rows out as a Markdown table; the first row's keys are the heading."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([_cell(row[key]) for key in rows[0]] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_result(folder: Path, name: str, sidecar: Mapping[str, Any], result: Mapping[str, Any], text: str) -> None:
    """Write `NAME-DEVICE.json` and `.md`; device, workers and network are those of a render's sidecar."""
    ran = {**describe(), **{key: sidecar[key] for key in ("device", "workers")}, "network": sidecar["network"]["name"]}
    path = folder / f"{name}-{sidecar['device']['kind'].replace(':', '')}"
    folder.mkdir(parents=True, exist_ok=True)
    record = {"benchmark": name, "machine": ran, **result}
    path.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(f"# {name}\n\n{_where(ran)}\n\n{text}\n", encoding="utf-8")
    click.echo(f"\n{text}\n\nwritten to {path}.json and .md")


def _where(ran: Mapping[str, Any]) -> str:
    device, workers, changes = ran["device"], ran["workers"], " with changes" if ran["uncommitted_changes"] else ""
    facts = (
        f"{ran['date']}, commit {ran['commit'][:10]}{changes}",
        f"{device['name']} ({device['kind']}, {device['precision']}), {ran['cores']} cores",
        f"{workers['count']} worker(s) x {workers['threads']} thread(s)",
        f"network {ran['network']}, torch {ran['versions']['torch']}",
        f"load average {ran['load_average'][0]} at the end",
    )
    return "; ".join(facts) + "."
