"""Rendering as most tests want it: a preset, settings as keywords, and the sidecar in return."""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from muralist.pipeline import render as module
from muralist.pipeline.presets import load_settings

HOW = set(signature(module.render).parameters)


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
