"""The record of how a painting was made, written beside it as `PAINTING.json`."""

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

from ...model.ways import usual_ways
from ...tiling.seams import Seams
from ..errors import OutputError
from ..output_files import write_file
from ..output_names import faces_path, sidecar_path
from ..pictures.images import Picture
from ..pictures.masks import Mask
from ..pictures.pages import fingerprint
from ..render_plan import RenderPlan
from ..styles import Style
from ..workers.cluster import Cluster
from .run_state import RunState

Sidecar = dict[str, Any]
LARGEST_SCORE = 1e6  # of a seam in a painting that changes nowhere else; JSON has no infinity
PACKAGES = ("muralist", "torch", "torchvision", "numpy", "dask", "distributed", "pillow", "pyvips", "tifffile")


def describe(
    plan: RenderPlan,
    state: RunState,
    cluster: Cluster,
    *,
    peak_rss: int,
    seams: Seams,
    borders: tuple[list[int], list[int]],
    forecast: dict[str, Any] | None,
) -> Sidecar:
    """Put the record together: plain values that JSON can hold, the keys that other tools rely on among them.

    Borders are those of tiles, px of the picture; the forecast is that of `muralist.pipeline.forecast.planned_by`.
    """
    sides = zip(("rows", "cols"), borders, (plan.final.height, plan.final.width), strict=True)
    return {
        "output": str(plan.output),
        "height": plan.final.height,
        "width": plan.final.width,
        "bit_depth": plan.bit_depth,
        "sheet": plan.sheet.as_dict(),
        "seam_score": round(min(seams.score, LARGEST_SCORE), 4),
        "seam_threshold": round(seams.threshold, 4) if isfinite(seams.threshold) else None,
        "tile_borders": {name: [line for line in lines if 0 < line < side] for name, lines, side in sides},
        "seconds": round(state.seconds, 3),
        "plan": forecast,
        "peak_rss_bytes": peak_rss,
        "levels": [asdict(report) for report in state.levels],
        "losses": [asdict(row) for row in state.losses],
        "snapshots": [asdict(snapshot) for snapshot in state.snapshots],
        "settings": plan.settings.model_dump(mode="json"),
        "inputs": _inputs(plan),
        "notices": [*plan.notices, *state.notices, *cluster.notices],
        "resumed": state.resumed,
        "identity": plan.identity,
        "network": {
            "name": plan.network.name,
            "weights": plan.weights.path,
            "sha256": plan.weights.sha256,
            "format": plan.weights.format,
            "published": plan.weights.published or None,
            "license": plan.weights.license,
        },
        "device": {
            "kind": cluster.device,
            "name": cluster.device_name,
            "precision": state.precision,
            "deterministic": not plan.settings.fast,
            **asdict(usual_ways(cluster.device)),
        },
        "workers": {
            "count": cluster.workers,
            "threads": cluster.threads,
            "scheduler": plan.settings.scheduler,
            "lost": cluster.lost,
            "tasks_run_again": cluster.again,
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def write_sidecar(output: Path, sidecar: Sidecar) -> None:
    """Write the record beside the output, whole.

    Raises
    ------
    OutputError
        If it cannot be written. The painting stays.
    """
    path, text = sidecar_path(output), json.dumps(sidecar, indent=2) + "\n"
    try:
        write_file(path, text.encode())
    except OutputError as error:
        raise OutputError(f"{error}; the painting itself is done, at {output}", path=path) from error


def _inputs(plan: RenderPlan) -> dict[str, Any]:
    styles = [
        {**_input(style.picture), "share": style.share, "scale": style.scale, **_regional(plan, style)}
        for style in plan.styles
    ]
    found: dict[str, Any] = {"content": _input(plan.content), "styles": styles}
    regions = plan.regions
    if regions is not None:
        masks = [(spec.mask, mask) for spec, mask in zip(regions.specs, regions.masks, strict=True)]
        if regions.strength_map is not None:
            masks.append(("strength map", regions.strength_map))
        masks += [("protected", mask) for mask in regions.protect.values()]
        found["masks"] = [{**_input(mask), "name": name} for name, mask in masks]
        if regions.faces is not None:  # detected faces are stored beside the painting
            filed = faces_path(plan.output)
            found["masks"][-1] |= {"path": str(filed), "sha256": fingerprint(filed)}
    return found if plan.init is None else {**found, "init": _input(plan.init)}


def _regional(plan: RenderPlan, style: Style) -> dict[str, Any]:
    """Which region a style is for, 0 being what no other claims."""
    return {} if plan.regions is None else {"region": style.region}


def _input(picture: Picture | Mask) -> dict[str, Any]:
    return {"path": str(picture.path), "sha256": picture.sha256, "height": picture.height, "width": picture.width}
