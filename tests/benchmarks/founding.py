"""Founding systems: does a preset paint the same picture in tiles as in one piece?

Every preset of the five founding systems is rendered twice at half a megapixel with its published formulas, optimizer
and steps: untiled, and in six tiles that agree. Losses are those of the whole canvas, as the sidecar has them. `chunks`
is also rendered as it is: in chunks that know nothing of each other.
"""

import tempfile
from pathlib import Path
from typing import Any

import click
from machine import Pair, inputs_of, pair_options, render, results_option, set_option, table, write_result

from muralist.pipeline.presets import load_settings

PRESETS = ("log0", "gcucurull", "prisma", "fermilab", "chunks")
WHOLE: dict[str, Any] = {"tile_grid": [1, 1], "consensus": True}
TILES: dict[str, Any] = {"tile_grid": [2, 3], "consensus": True, "overlap": 128}
LIMIT = 0.15  # apart from the untiled render's

Row = dict[str, Any]


def paint_preset(preset: str, pair: tuple[Path, Path], settings: dict[str, Any], out: Path) -> tuple[list[Row], Row]:
    """Paint a preset untiled and in tiles; return a row for each, and the last sidecar."""
    variants = {"untiled": WHOLE, "tiles": TILES, **({"as published": {}} if preset == "chunks" else {})}
    rows: list[Row] = []
    for variant, changes in variants.items():
        path = out / f"{preset}-{variant.replace(' ', '-')}.png"
        sidecar = render(*pair, path, preset=preset, overwrite=True, **{**settings, **changes})
        rows.append(_row(preset, variant, sidecar))
        click.echo(f"{path.name}: {sidecar['seconds']:.0f} s, total loss {rows[-1]['total']:.4g}")
    return [_judged(row, rows[0]) for row in rows], sidecar


def _row(preset: str, variant: str, sidecar: Row) -> Row:
    last, used = sidecar["levels"][-1], sidecar["settings"]
    terms = last["losses_last"]
    return {
        "preset": preset,
        "variant": variant,
        "width": sidecar["width"],
        "height": sidecar["height"],
        "tiles": last["tiles"],
        "steps": [level["steps"] for level in sidecar["levels"]],
        "total": sum(used[f"{name}_weight"] * loss for name, loss in terms.items()),
        **terms,
        "seam_score": sidecar["seam_score"],
        "seconds": sidecar["seconds"],
    }


def _judged(row: Row, untiled: Row) -> Row:
    ratios = {f"{name}_ratio": row[name] / untiled[name] for name in ("total", "style", "content")}
    return {**row, **ratios, "ok": all(abs(ratio - 1) <= LIMIT for ratio in ratios.values())}


def as_table(rows: list[Row]) -> str:
    """Lay the rows out for people."""
    columns = (
        "preset",
        "variant",
        "steps",
        "tiles",
        "total",
        "style",
        "content",
        "total_ratio",
        "style_ratio",
        "content_ratio",
    )
    names = {**{key: key.replace("_ratio", " / untiled") for key in columns}, "seam_score": "seam score"}
    names |= {"seconds": "seconds", "ok": f"all within {LIMIT:.0%}"}
    return table([{heading: row[key] for key, heading in names.items()} for row in rows])


@click.command()
@pair_options()
@click.option("--preset", "presets", multiple=True, default=PRESETS, help="Preset to render; repeatable.")
@click.option("--size", default=800, show_default=True, help="Long side of the paintings, px.")
@click.option("--most-steps", default=100_000, show_default=True, help="Make no more steps than this at any level.")
@click.option("--network", default="compact", show_default=True, help="Network to paint with.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep the paintings here; by default they are deleted.")
@set_option
@results_option
def main(pair: Pair, presets: tuple[str, ...], out: Path | None, results: Path, **options: Any) -> None:
    """Compare the founding systems' presets in tiles with the same untiled."""
    settings = {"size": options["size"], "network": options["network"], **options["settings"]}
    most: int = options["most_steps"]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for preset in presets:
            steps = [min(most, each) for each in load_settings(preset).steps]
            found, sidecar = paint_preset(preset, pair, {"steps": steps, **settings}, folder)
            rows += found
    result = {"inputs": inputs_of(sidecar), "set": options["settings"], "rows": rows}
    write_result(results, "founding", sidecar, result, as_table(rows))


if __name__ == "__main__":
    main()
