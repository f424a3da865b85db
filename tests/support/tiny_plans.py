"""Plans of tiny renders that are not painted."""

from pathlib import Path

from pictures import TINY, painting, photograph, save

from muralist.pipeline.presets import load_settings
from muralist.pipeline.render_plan import RenderPlan, plan_render


def paths(folder: Path) -> tuple[Path, Path, Path]:
    """Photograph, style picture and output."""
    return folder / "photo.png", folder / "style.png", folder / "out.png"


def planned(
    folder: Path, *, size: tuple[int, int] = (96, 128), style: tuple[int, int] = (80, 112), **settings
) -> RenderPlan:
    """Plan a tiny render with the given settings."""
    content, style_file, output = paths(folder)
    save(content, photograph(*size))
    save(style_file, painting(*style))
    return plan_render(content, style_file, output, load_settings(overrides=TINY | settings))
