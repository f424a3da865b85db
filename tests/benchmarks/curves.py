"""Curves: how far the losses come with how much work, for several ways to spend steps.

The same pair is painted with several schedules. What is compared is the whole picture's losses at full size, when the
painting is done, against the operations that were spent on all levels; and on the way, after every round at full size.
"""

import tempfile
from pathlib import Path
from typing import Any

import click
from machine import find_pair, images_option, inputs_of, render, results_option, set_option, table, write_result

from muralist.pipeline.presets import load_settings
from muralist.pipeline.render_plan import plan_render

PAIRS = ("golden_gate/starry_night", "chicago/the_scream")
SCHEDULES: dict[str, dict[str, Any]] = {
    "default": {},
    "half at full size": {"finest_steps": [60, 40, 25, 18, 12, 10]},
    "twice at full size": {"finest_steps": [240, 160, 100, 70, 50, 40]},
    "no more at full size": {"steps": [120, 80, 50, 25, 20, 15]},
    "all alike": {"steps": [40]},
    "one level": {"base_size": 8192, "steps": [60]},
    "no detail": {"detail": 0},
}

Row = dict[str, Any]


def paint(pair: tuple[Path, Path], schedule: dict[str, Any], settings: dict[str, Any]) -> tuple[Row, dict[str, Any]]:
    """Paint a pair with a schedule; what it took, what came out, and how the last level went."""
    options = {**settings, **schedule, "base_size": min(schedule.get("base_size", 192), settings["size"])}
    preset = options.pop("preset", "default")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "painting.png")
        sidecar = render(*pair, output, preset=preset, **options)
        plan = plan_render(*pair, output, load_settings(preset, options), overwrite=True, local_dir=Path(folder))
    cost = plan.network.operations(plan.settings.layers)
    spent = [cost * level.tile_pixels * level.steps for level in plan.levels]
    rows = [row for row in sidecar["losses"] if row["level"] == len(plan.levels)]
    step = cost * plan.final.tile_pixels
    curve = [
        {
            "tflop": (sum(spent[:-1]) + (row["step"] - rows[0]["step"]) * step) / 1e12,
            "seconds": row["seconds"],
            **row["losses"],
        }
        for row in rows
    ]
    last = sidecar["levels"][-1]
    return {
        "tflop": sum(spent) / 1e12,
        "seconds": rows[-1]["seconds"],
        "style": last["losses_last"]["style"],
        "content": last["losses_last"]["content"],
        "weights": rows[-1]["weights"],
        "curve": curve,
    }, sidecar


def as_row(schedule: str, run: Row, usual: Row) -> Row:
    """Lay a schedule out for people, relative to the default one, with its weights."""
    weights = usual["weights"]
    weighted = [sum(weights[name] * each[name] for name in ("style", "content")) for each in (run, usual)]
    return {
        "schedule": schedule,
        "Tflop / default": run["tflop"] / usual["tflop"],
        "s / default": run["seconds"] / usual["seconds"],
        "style loss / default": run["style"] / usual["style"],
        "content loss / default": run["content"] / usual["content"],
        "weighted / default": weighted[0] / weighted[1],
        "style loss at full size (s)": ", ".join(f"{at['style']:.2g} ({at['seconds']:.0f})" for at in run["curve"]),
    }


@click.command()
@images_option
@click.option("--pair", "pairs", multiple=True, default=PAIRS, show_default=True, help="CONTENT/STYLE; repeatable.")
@click.option("--schedule", "names", multiple=True, type=click.Choice(list(SCHEDULES)), help="Repeatable; all if none.")
@click.option("--size", default=1200, show_default=True, help="Long side of the paintings, px.")
@set_option
@results_option
def main(
    images: Path, pairs: tuple[str, ...], names: tuple[str, ...], size: int, results: Path, settings: dict[str, Any]
) -> None:
    """Compare what schedules reach with what they cost."""
    found, texts = {}, []
    for pair in pairs:
        paths = find_pair(images, *pair.split("/"))
        runs = {}
        for name in dict.fromkeys(("default", *(names or SCHEDULES))):
            runs[name], sidecar = paint(paths, SCHEDULES[name], {"size": size, **settings})
            click.echo(f"{pair}, {name}: {runs[name]['seconds']:.0f} s, style {runs[name]['style']:.4g}")
        rows = [as_row(name, run, runs["default"]) for name, run in runs.items()]
        found[pair] = {"inputs": inputs_of(sidecar), "runs": runs, "rows": rows}
        texts.append(f"{' / '.join(path.stem for path in paths)}\n\n{table(rows)}")
    write_result(results, "curves", sidecar, {"schedules": SCHEDULES, "pairs": found}, "\n\n".join(texts))


if __name__ == "__main__":
    main()
