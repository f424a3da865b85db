"""What is settled about a render before any work: pictures, sizes, levels, weights. Refuses what cannot be."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..model.architecture import Architecture, architecture
from ..model.weight_files import WeightFile, find_weights
from .errors import OutputError, SettingsError
from .initialization import init_file, read_init, stretch_notice
from .lengths import DEFAULT_DPI
from .levels import Level, plan_levels
from .output_files import check_place
from .pictures.encoding import MOST_JPEG_SIDE, OUTPUT_EXTENSIONS
from .pictures.images import Picture, crop_to_aspect, with_surroundings
from .pictures.pages import fingerprint, place_of
from .pictures.profiles import BUILT_IN, KEEP, output_profile
from .pictures.reading import read_picture
from .pictures.sheets import Sheet
from .pictures.writing import check_output
from .records.identity import identity
from .records.losses import check_plot
from .records.snapshots import snapshot_paths
from .region_specs import FACES
from .regions import Regions, mask_files, read_regions, region_specs
from .settings import Settings
from .sizes import TargetSize, sheet_of, target_of
from .styles import Style, read_region_styles, read_styles, style_files
from .workers.machine import budget


@dataclass(frozen=True)
class RenderPlan:
    """One picture to be painted.

    Attributes
    ----------
    content : Picture
        The photograph, cropped if it is to be.
    styles : tuple of Style
        Every style picture that is painted after; none if style does not count.
    regions : Regions or None
        Where it is painted after which, and how strongly; None where it is all one.
    init : Picture or None
        The picture to start from, if it is a file.
    sheet : Sheet
        How the painting lies on what is printed.
    profile : bytes or None
        The color profile of the output; None: sRGB.
    bit_depth : int
        Of the output: 8 or 16.
    dpi : (float, float) or None
        Of the output.
    notices : tuple of str
        What the user should know before painting begins.
    loss_plot : Path or None
        Where to plot the losses.
    identity : dict
        All that the painting's bytes depend on, see `muralist.pipeline.records.identity`.
    """

    content: Picture
    styles: tuple[Style, ...]
    regions: Regions | None
    init: Picture | None
    output: Path
    settings: Settings
    network: Architecture
    weights: WeightFile
    levels: tuple[Level, ...]
    sheet: Sheet
    profile: bytes | None
    bit_depth: int
    dpi: tuple[float, float] | None
    notices: tuple[str, ...]
    loss_plot: Path | None
    identity: dict[str, Any]

    @property
    def final(self) -> Level:
        """The finest level, whose size is the painting's."""
        return self.levels[-1]

    @property
    def most_tiles(self) -> int:
        """Tiles of the level that has most."""
        return max(len(level.grid) for level in self.levels)


def as_paths(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Give one path or several as a list."""
    return [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]


def plan_render(
    content: Path,
    style: Path | Sequence[Path],
    output: Path,
    settings: Settings,
    *,
    overwrite: bool = False,
    loss_plot: Path | None = None,
    local_dir: Path | None = None,
) -> RenderPlan:
    """Read the pictures and settle everything.

    Parameters
    ----------
    content : Path
        The photograph.
    style : Path or sequence of Path
        One style, or several; a folder of pictures is one style.
    overwrite : bool
        Whether an existing output may be replaced, and snapshots and a loss plot.
    loss_plot : Path, optional
        Where to plot the losses.
    local_dir : Path, optional
        Folder for pictures that do not fit into memory; without one they are read into memory anyway.

    Raises
    ------
    SettingsError, PictureError, OutputError, UnknownNetworkError, UnknownLayerError, WeightsError, TilingError
        With what was found, what was wanted, and what to do.
    """
    _check_weights(settings)
    network = architecture(settings.network)
    layers = settings.layers
    network.check_layers(layers)
    asked_depth = None if settings.bit_depth == "auto" else settings.bit_depth
    profile = None if settings.profile == KEEP else output_profile(settings.profile, None)
    check_output(output, overwrite=overwrite, bit_depth=asked_depth, icc=profile)
    paths = (style,) if isinstance(style, Path) else tuple(style)
    files = style_files(paths) if settings.active_style_layers else ()
    specs, masks = region_specs(settings), mask_files(settings)
    region_files = style_files([Path(spec.style) for spec in specs])
    inputs = [content, *paths, *itertools.chain(*files, *region_files), *filter(None, [init_file(settings)])]
    inputs += masks.values()
    inputs += [] if settings.weights is None else [Path(settings.weights)]
    inputs += [] if settings.profile in BUILT_IN else [Path(settings.profile)]
    _spare(inputs, output, overwrite)
    if loss_plot is not None:
        check_plot(loss_plot, overwrite=overwrite)
    memory = None if local_dir is None else budget(settings) // 2  # the other half is for the workers
    photograph = read_picture(
        content,
        settings.max_pixels,
        memory=memory,
        folder=local_dir,
        decoder_memory=budget(settings),
        exposure=settings.raw_exposure,
    )
    profile = output_profile(KEEP, photograph.icc) if settings.profile == KEEP else profile
    if settings.proof and profile is None:
        raise SettingsError(
            f"proof shows how a print will look: got profile {settings.profile}, which means sRGB here, wanted a "
            "printer's; name its ICC file with --profile"
        )
    init = read_init(settings, memory=memory, folder=local_dir)
    target = target_of(photograph.height, photograph.width, settings)
    sheet = sheet_of(target, settings)
    check_output(output, overwrite=overwrite, height=sheet.height, width=sheet.width, bit_depth=asked_depth)
    _check_pdf(output, settings, sheet)
    regions = read_regions(
        settings,
        photograph,
        lambda picture: painted_part(picture, target, local_dir),
        len(paths),
        memory=memory,
        folder=local_dir,
    )
    photograph = painted_part(photograph, target, local_dir)
    found_faces = regions is not None and regions.faces is not None
    has_rest = regions is None or regions.has_rest
    named = read_styles(files, photograph, settings, network) if paths or has_rest else ()
    apart = read_region_styles(region_files, specs, int(has_rest), photograph, settings, network)
    longest = max(target.height, target.width) + 2 * target.painted
    dpi = settings.dpi or DEFAULT_DPI
    wanted = (*(named if has_rest else ()), *apart)
    _check_lengths(wanted, settings)
    styles = tuple(style.at_true_scale(dpi, longest) for style in wanted)
    stride = network.max_stride(layers)
    sides = [(each.side, each.scale) for each in styles]
    levels = plan_levels(*target.painted_size, sides, settings, stride, network.min_input(layers))
    for level in levels:
        level.grid.axes  # noqa: B018 -- refuses a tile too small for its overlap
    extras = [*snapshot_paths(output, levels), *filter(None, [loss_plot])]
    extras += [proof_path(output)] if settings.proof else []
    extras += [faces_path(output)] if found_faces else []
    _check_extras(extras, [*inputs, output, sidecar_path(output)], overwrite)
    weights = find_weights(network, settings.weights)
    hashes = (style.picture.sha256 for style in (*named, *apart))
    return RenderPlan(
        photograph,
        styles,
        regions,
        init,
        output,
        settings,
        network,
        weights,
        levels,
        sheet,
        profile,
        asked_depth or _depth_for(output, photograph.bit_depth),
        _dpi(settings, photograph),
        (
            *_notices(settings, paths, init, levels[-1], has_rest=has_rest),
            *(["no face was found, so none is protected"] if settings.protect == FACES and not found_faces else []),
            *filter(None, dict.fromkeys(style.falls_short(longest) for style in styles)),
            *_notices_of(photograph, *(s.picture for s in styles), init),
        ),
        loss_plot,
        identity(
            settings,
            photograph.sha256,
            [[next(hashes) for _ in pictures] for pictures in (*files, *region_files)],
            None if init is None else init.sha256,
            weights.sha256,
            {what: fingerprint(path) for what, path in masks.items()},
        ),
    )


def _check_pdf(output: Path, settings: Settings, sheet: Sheet) -> None:
    side = max(sheet.height, sheet.width)
    if output.suffix.lower() == ".pdf" and settings.pdf_image == "jpeg" and side > MOST_JPEG_SIDE:
        raise OutputError(
            f"{output}: a PDF stores pictures of up to {MOST_JPEG_SIDE} pixels a side as JPEG, this one has {side}; "
            "use --pdf-image lossless",
            path=output,
        )


def painted_part(photograph: Picture, target: TargetSize, folder: Path | None) -> Picture:
    """The part of a photograph that is to be painted; pixels on the disk are copied to a folder where that is needed.

    Raises `OutputError` if they cannot be filed there.
    """
    if target.painted:
        share = target.painted / target.height, target.painted / target.width
        return with_surroundings(photograph, target.crops, share, folder)
    for aspect in target.crops:
        photograph = crop_to_aspect(photograph, aspect)
    return photograph


def _check_weights(settings: Settings) -> None:
    if not settings.layers:
        raise SettingsError(
            "got style_weight 0 and content_weight 0, so there is nothing to paint; wanted at least one above 0"
        )


def _notices(
    settings: Settings, styles: Sequence[Path], init: Picture | None, final: Level, *, has_rest: bool
) -> tuple[str, ...]:
    unread = "style_weight is 0: the style pictures do not count and are not read"
    stretched = "" if init is None else stretch_notice(init, final.height, final.width)
    claimed = (
        f"the regions claim all of the picture, and nothing is left for {styles[0]}" if styles and not has_rest else ""
    )
    return tuple(filter(None, [unread if styles and not settings.active_style_layers else "", claimed, stretched]))


def _check_lengths(styles: Sequence[Style], settings: Settings) -> None:
    """Refuse lengths where nothing says how long they are in pixels."""
    if settings.print_size is not None:
        return
    if any(style.width_mm is not None for style in styles):
        raise SettingsError(
            "got the width of a style picture without a print size, wanted one for strokes as large as on the wall, "
            "such as --print 60x90cm"
        )
    if any(style.stroke is not None and style.stroke.is_mm for style in styles):
        raise SettingsError(
            "got a stroke on paper without a print size, wanted one, such as --print 60x90cm, or a stroke in pixels, "
            "such as --stroke 24px"
        )


def _notices_of(*pictures: Picture | None) -> list[str]:
    """What the pictures' files gave occasion to say, each once."""
    return list(dict.fromkeys(notice for picture in pictures if picture for notice in picture.notices))


def _spare(inputs: Iterable[Path], output: Path, overwrite: bool) -> None:
    """Refuse to write over what the user did not mean to lose."""
    record, read = sidecar_path(output), [place_of(path).file.resolve() for path in inputs]
    for path in (output, record):
        if path.resolve() in read:
            raise OutputError(f"{path}: this is one of the files to be read; name another output", path=output)
    if record.exists() and not overwrite:
        raise OutputError(f"{record}: exists already; use --overwrite to replace it, or another name", path=record)


def _check_extras(extras: Iterable[Path], others: Iterable[Path], overwrite: bool) -> None:
    """Refuse snapshots and a loss plot that cannot be written, or would meet each other or other files."""
    taken = {place_of(path).file.resolve() for path in others}
    for path in extras:
        if path.resolve() in taken:
            raise OutputError(
                f"{path}: this file is also to be read, or written with something else; name another", path=path
            )
        check_place(path, overwrite=overwrite)
        taken.add(path.resolve())


def sidecar_path(output: Path) -> Path:
    """Name the sidecar of an output: `poster.tif` gets `poster.tif.json`."""
    return output.with_name(output.name + ".json")


def proof_path(output: Path) -> Path:
    """Name the soft proof of an output: `poster.tif` gets `poster.tif.proof.png`."""
    return output.with_name(output.name + ".proof.png")


def faces_path(output: Path) -> Path:
    """Name the mask of faces that are protected: `poster.tif` gets `poster.tif.faces.png`."""
    return output.with_name(output.name + ".faces.png")


def _depth_for(output: Path, wanted: int) -> int:
    depths = OUTPUT_EXTENSIONS[output.suffix.lower()].bit_depths
    return wanted if wanted in depths else max(depths)


def _dpi(settings: Settings, photograph: Picture) -> tuple[float, float] | None:
    if settings.dpi is not None or settings.print_size is not None:
        return (settings.dpi or DEFAULT_DPI,) * 2
    return photograph.dpi
