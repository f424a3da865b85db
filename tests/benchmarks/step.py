"""Step: what a pixel costs at a step, by network, number type and tile, and how near that is to what the device can do.

This is `muralist bench` with more tiles, written down. Other tools' steps are not run here: crowsonkb's
style-transfer-pytorch was measured on this bench before (design notes), VGG-19 at 384 x 288 px on one thread.
"""

from pathlib import Path
from typing import Any

import click
from machine import results_option, table, write_result

from muralist.pipeline.bench import bench

CROWSONKB = 24e-6  # seconds per pixel and step
LIMITS = {"vgg19": 0.5, "compact": 0.03}  # of that, wanted


def as_row(row: dict[str, Any]) -> dict[str, Any]:
    """Lay one measurement out for people."""
    ratio, limit = row["pixel_step_seconds"] / CROWSONKB, LIMITS.get(row["network"])
    return {
        "network": row["network"],
        "precision": row["precision"],
        "tile": row["tile"],
        "us per pixel and step": row["pixel_step_seconds"] * 1e6,
        "GFLOP/s": row["operations_rate"] / 1e9,
        "of matmul": f"{row['share_of_matmul']:.0%}",
        "of copy, at least": f"{row['share_of_copy']:.0%}",
        "/ crowsonkb": ratio,
        "wanted": "" if limit is None else f"at most {limit}",
    }


@click.command()
@click.option(
    "--network", "networks", multiple=True, default=("compact", "vgg19"), show_default=True, help="Repeatable."
)
@click.option(
    "--precision", "precisions", multiple=True, default=("auto", "float32"), show_default=True, help="Repeatable."
)
@click.option(
    "--tile", "sides", multiple=True, type=int, default=(256, 512, 1024), show_default=True, help="Repeatable."
)
@click.option("--workers", type=int, help="As of `muralist bench`.")
@click.option("--threads", type=int, help="As of `muralist bench`.")
@results_option
def main(
    networks: tuple[str, ...], precisions: tuple[str, ...], sides: tuple[int, ...], results: Path, **flags: Any
) -> None:
    """Measure steps."""
    found = bench(networks, precisions, sides, **flags)
    rows = [as_row(row) for row in found["rows"]]
    ran = {
        "device": {
            "kind": found["device"],
            "name": found["name"],
            "precision": " and ".join(dict.fromkeys(row["precision"] for row in rows)),
        },
        "workers": {"count": found["workers"], "threads": found["threads"]},
        "network": {"name": " and ".join(networks)},
    }
    best = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {precision}" for precision, rate in found["matmul_rates"].items())
    able = f"Matrices are multiplied at {best}; memory is copied at {found['copy_rate'] / 1e9:.1f} GB/s."
    write_result(
        results, "step", ran, {key: found[key] for key in found if key != "kept_in"}, f"{able}\n\n{table(rows)}"
    )


if __name__ == "__main__":
    main()
