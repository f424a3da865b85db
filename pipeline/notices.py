"""Notices before painting: settings and inputs that will have no effect on the painting."""

from collections.abc import Sequence
from pathlib import Path

from .levels import Level
from .pictures.encoding import OUTPUT_EXTENSIONS, OUTPUT_FORMATS
from .pictures.formats import RAW
from .pictures.images import Picture
from .pictures.reading import kind_name
from .pictures.vips import full_scale
from .region_specs import FACES
from .regions import Regions, mask_files
from .setting_types import spelled
from .settings import Settings

_BLOCK_ROWS = 256


def unused(settings: Settings, styles: Sequence[Path], regions: Regions | None) -> list[str]:
    """Say which styles and masks do not count."""
    found = []
    if styles and not settings.active_style_layers:
        found.append("style_weight is 0: the style pictures do not count and are not read")
    if styles and regions is not None and not regions.has_rest:
        found.append(f"the regions cover the whole picture, so {styles[0]} is not used")
    if FACES in (settings.protect or ()) and (regions is None or regions.faces is None):
        found.append("no face was found, so none is protected")
    return found


def without_effect(settings: Settings, photograph: Picture, output: Path, profile: bytes | None) -> list[str]:
    """Say which settings change nothing, since what they are about is not there.

    Parameters
    ----------
    profile : bytes or None
        The output's; None: sRGB.
    """
    kind, is_lossless = OUTPUT_EXTENSIONS[output.suffix.lower()], settings.pdf_image == "lossless"
    is_pdf, has_size = kind.name == "PDF", any((settings.size, settings.width, settings.height, settings.print_size))
    rows = (
        ("fit", settings.print_size is not None, "a print size (--print)"),
        ("wrap_edge", settings.wrap is not None, "a wrap (--wrap)"),
        ("dpi", has_size, "a size, such as --print 60x90cm, but is noted in the file"),
        ("raw_exposure", settings.raw_exposure and kind_name(photograph.path) == RAW, "a raw photograph"),
        (
            "luminance_weight",
            settings.keeps_luminance or not settings.luminance_weight,
            "a content loss and a style loss; one of them has a weight of 0",
        ),
        ("region_fit", bool(mask_files(settings)), "masks"),
        ("intent", profile is not None, "a color profile other than sRGB (--profile)"),
        ("pdf_image", is_pdf, "a PDF as output"),
        ("quality", kind.is_lossy and not (is_pdf and is_lossless), "a lossy output, such as JPEG"),
    )
    return [
        f"{name} {spelled(value)} has no effect without {needed}"
        for name, counts, needed in rows
        if not counts and (value := getattr(settings, name)) != Settings.model_fields[name].default
    ]


def rounds_of_one_step(settings: Settings, levels: Sequence[Level]) -> str:
    """Say that snapshots end a round after every step, and what that does to L-BFGS; "" if they do not."""
    if settings.optimizer != "lbfgs" or settings.snapshot_every != 1 or max(level.steps for level in levels) < 2:
        return ""
    return (
        "snapshot_every 1 ends a round after every step, and L-BFGS, which learns from the change between two steps of "
        "a round, paints much worse; use 2 or more, or --optimizer adam"
    )


def lost_transparency(photograph: Picture, output: Path) -> str:
    """Say that an output cannot hold the photograph's transparency; "" if there is none, or it can."""
    kind, alpha = OUTPUT_EXTENSIONS[output.suffix.lower()], photograph.alpha
    tops = () if alpha is None or kind.holds_alpha else range(0, alpha.shape[0], _BLOCK_ROWS)
    if not any(alpha[top : top + _BLOCK_ROWS].min() < full_scale(alpha) for top in tops if alpha is not None):
        return ""
    able = ", ".join(each.name for each in OUTPUT_FORMATS if each.holds_alpha)
    return f"{output}: {kind.name} holds no transparency, so what is transparent is white; {able} can hold it"
