"""Rendering as most tests want it: a preset, settings as keywords, and the sidecar in return."""

import os
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from muralist.pipeline import render as module
from muralist.pipeline.presets import load_settings
from muralist.pipeline.records.sidecar import Sidecar

HOW = set(signature(module.render).parameters)
Render = Callable[..., Sidecar]


def render(
    photo: str | Path,
    style: str | Path | Sequence[str | Path],
    output: str | Path,
    preset: str = "default",
    assignments: Sequence[str] = (),
    **given: Any,
) -> dict[str, Any]:
    """Render; what is no argument of `muralist.render` is a setting."""
    how = {name: given.pop(name) for name in HOW & set(given)}
    settings = load_settings(preset, given, assignments)
    return dict(module.render(photo, style, output, settings, **how).sidecar)


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(os.listdir(folder))
