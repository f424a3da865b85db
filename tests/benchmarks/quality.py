"""Quality: does a painting made in tiles come out like one made whole?

Every pair is painted untiled (the truth), in tiles that agree (consensus), and in independent tiles, with the same
settings otherwise. Losses are those of the whole canvas at the last level, as the sidecar has them: added up from
tiles. The seam score of the untiled painting is taken along the lines where the tiles would meet.
"""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import click
from machine import (
    Pair,
    find_pair,
    images_option,
    inputs_of,
    render,
    results_option,
    set_option,
    table,
    write_result,
)

from muralist.pipeline.lengths import MAX_SIDE_PX
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.presets import load_settings
from muralist.pipeline.render_plan import plan_render
from muralist.tiling.seams import find_seams

PAIRS = ("golden_gate/starry_night", "chicago/the_scream", "tubingen/composition_vii")
UNTILED = {"tile": MAX_SIDE_PX}
VARIANTS: dict[str, dict[str, Any]] = {"untiled": UNTILED, "consensus": {}, "independent": {"consensus": False}}
STYLE_LIMIT = 1.15  # times the untiled render's
CONTENT_LIMIT = 0.03  # apart from the untiled render's

Settings = dict[str, Any]


def paint_pair(pair: Pair, settings: Settings, out: Path, label: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Paint a pair all three ways; return a row for each, and the consensus render's sidecar."""
    sidecars, rows = {}, []
    for variant, changes in VARIANTS.items():
        path = out / f"{label}-{'-'.join(p.stem for p in pair)}-{variant}.png"
        sidecars[variant] = render(*pair, path, overwrite=True, **{**settings, **changes})
        rows.append(_row(pair, variant, path, sidecars[variant], settings))
        click.echo(f"{path.name}: {sidecars[variant]['seconds']:.0f} s")
    return [_judged(row, rows[0]) for row in rows], sidecars["consensus"]


def _row(pair: Pair, variant: str, path: Path, sidecar: dict[str, Any], settings: Settings) -> dict[str, Any]:
    last = sidecar["levels"][-1]
    return {
        "pair": " / ".join(p.stem for p in pair),
        "variant": variant,
        "width": sidecar["width"],
        "height": sidecar["height"],
        "tiles": last["tiles"],
        "steps": [level["steps"] for level in sidecar["levels"]],
        "style_loss": last["losses_last"]["style"],
        "content_loss": last["losses_last"]["content"],
        "seam_score": untiled_seams(pair, path, settings) if variant == "untiled" else sidecar["seam_score"],
        "seconds": sidecar["seconds"],
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def untiled_seams(pair: Pair, painting: Path, settings: Settings) -> float:
    """Seam score of a painting along the lines where tiles would have met."""
    options = dict(settings)
    plan = plan_render(*pair, painting, load_settings(options.pop("preset"), options), overwrite=True)
    lines = ([part.core.start - plan.final.edge_margin for part in axis[1:]] for axis in plan.final.grid.axes)
    pixels = read_picture(painting).pixels
    return round(find_seams(pixels.shape[:2], lambda box: pixels[slice(*box.rows), slice(*box.cols)], *lines).score, 4)


def _judged(row: dict[str, Any], untiled: dict[str, Any]) -> dict[str, Any]:
    """Add what the row is relative to the untiled render, and whether that is good enough."""
    ratios = {f"{key}_ratio": row[key] / untiled[key] for key in ("style_loss", "content_loss")}
    return {
        **row,
        **ratios,
        "style_ok": ratios["style_loss_ratio"] <= STYLE_LIMIT,
        "content_ok": abs(ratios["content_loss_ratio"] - 1) <= CONTENT_LIMIT,
    }


def as_table(rows: list[dict[str, Any]]) -> str:
    """Lay the rows out for people."""
    names = {
        "pair": "pair",
        "variant": "variant",
        "tiles": "tiles",
        "style_loss": "style loss",
        "style_loss_ratio": "/ untiled",
        "content_loss": "content loss",
        "content_loss_ratio": "/ untiled ",
        "seam_score": "seam score",
        "seconds": "seconds",
        "style_ok": f"style <= {STYLE_LIMIT}",
        "content_ok": f"content within {CONTENT_LIMIT:.0%}",
    }
    return table([{heading: row[key] for key, heading in names.items()} for row in rows])


@click.command()
@images_option
@click.option("--pair", "names", multiple=True, default=PAIRS, help="CONTENT/STYLE by beginning of name; repeatable.")
@click.option("--size", default=1280, show_default=True, help="Long side of the paintings, px.")
@click.option("--tile", default=512, show_default=True, help="Side of a tile, px.")
@click.option("--steps-per-round", default=5, show_default=True, help="Steps between two agreements.")
@click.option("--preset", default="default", show_default=True, help="Preset of all renders.")
@click.option("--one-level", is_flag=True, help="Also paint the first pair at one level, from the photograph.")
@click.option("--one-level-steps", default=120, show_default=True, help="Steps of that level.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep the paintings here; by default they are deleted.")
@set_option
@results_option
def main(images: Path, names: tuple[str, ...], out: Path | None, results: Path, **options: Any) -> None:
    """Compare consensus and independent tiles with the untiled render."""
    one_level, steps, more = (options.pop(key) for key in ("one_level", "one_level_steps", "settings"))
    settings = {**options, **more}
    pairs = [find_pair(images, *name.split("/")) for name in names]
    result: dict[str, Any] = {"inputs": [], "pyramid": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for pair in pairs:
            rows, sidecar = paint_pair(pair, settings, folder, "pyramid")
            result["pyramid"] += rows
            result["inputs"] += [inputs_of(sidecar)]
            result["settings"] = sidecar["settings"]
        text = f"Whole pyramid, tile {options['tile']}.\n\n{as_table(result['pyramid'])}"
        if one_level:
            single = {**settings, "base_size": options["size"], "steps": [steps]}
            result["one_level"], _ = paint_pair(pairs[0], single, folder, "one-level")
            text += f"\n\nOne level, {steps} steps from the photograph.\n\n{as_table(result['one_level'])}"
    write_result(results, "quality", sidecar, result, text)


if __name__ == "__main__":
    main()
