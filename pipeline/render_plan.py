"""Plans a render before any work: pictures, sizes, levels and weights. Refuses what cannot be painted."""

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..model.architecture import Architecture, architecture
from ..model.weight_files import WeightFile, find_weights
from .errors import OutputError, SettingsError
from .initialization import read_init, stretch_notice
from .input_files import InputFiles
from .lengths import DEFAULT_DPI
from .levels import Level, plan_levels
from .notices import lost_transparency, rounds_of_one_step, unused, without_effect
from .output_files import check_place, file_at, replaceable
from .output_names import faces_path, proof_path, sidecar_path
from .pictures.encoding import MOST_JPEG_SIDE, OUTPUT_EXTENSIONS
from .pictures.images import Picture, crop_to_aspect, with_surroundings
from .pictures.pages import fingerprint, place_of
from .pictures.profiles import KEEP, output_profile
from .pictures.reading import read_picture
from .pictures.sheets import Sheet
from .pictures.writing import check_output, check_side
from .records.identity import identity
from .records.losses import check_plot
from .records.snapshots import snapshot_paths
from .regions import Regions, read_regions
from .settings import Settings
from .sizes import TargetSize, sheet_of, target_of
from .styles import Style, read_region_styles, read_styles
from .workers.machine import reading_limits


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
    def files(self) -> list[Path]:
        """What is written in the end: the painting, its sidecar, and what else is asked for."""
        return _files(self.output, self.settings, self.loss_plot, self.regions)

    @property
    def most_tiles(self) -> int:
        """Tiles of the level that has most."""
        return max(len(level.grid) for level in self.levels)


def as_paths(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Give one path or several as a list. Raises `SettingsError` for an empty text, which would be this folder."""
    listed = [paths] if isinstance(paths, str | Path) else paths
    if "" in listed:
        raise SettingsError("style: got '', wanted a path")
    return [Path(path) for path in listed]


def plan_render(
    content: Path,
    style: Path | Sequence[Path],
    output: Path,
    settings: Settings,
    *,
    overwrite: bool = False,
    own: Collection[Path] | None = None,
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
    own : collection of Path, optional
        Files that an interrupted run of this output wrote: they may be replaced, and its snapshots; None if there was
        no such run.
    loss_plot : Path, optional
        Where to plot the losses.
    local_dir : Path, optional
        Folder for pictures that do not fit into memory; without one they are read into memory anyway.

    Raises
    ------
    SettingsError, PictureError, OutputError, UnknownNetworkError, UnknownLayerError, WeightsError, TilingError
        With what was found, what was wanted, and what to do.
    """
    network = network_of(settings)
    depth = None if settings.bit_depth == "auto" else settings.bit_depth
    profile = None if settings.profile == KEEP else output_profile(settings.profile, None)
    may_replace = replaceable(overwrite, own or ())
    check_output(output, overwrite=may_replace(output), bit_depth=depth, icc=profile)
    inputs = InputFiles.of(content, (style,) if isinstance(style, Path) else tuple(style), settings)
    _spare(inputs.paths, output, may_replace)
    if loss_plot is not None:
        check_plot(loss_plot, overwrite=may_replace(loss_plot))
    photograph = read_picture(content, reading_limits(settings, local_dir), exposure=settings.raw_exposure)
    profile = output_profile(KEEP, photograph.icc) if settings.profile == KEEP else profile
    _check_proof(settings, profile)
    init = read_init(settings, local_dir)
    target = target_of(photograph.height, photograph.width, settings)
    sheet = sheet_of(target, settings)
    check_side(output, max(sheet.height, sheet.width))
    _check_pdf(output, settings, sheet)

    def crop(picture: Picture) -> Picture:
        return painted_part(picture, target, local_dir)

    regions = read_regions(settings, photograph, crop, len(inputs.styles), local_dir)
    photograph = crop(photograph)
    longest = max(target.height, target.width) + 2 * target.painted
    styles, style_hashes = _read_all_styles(inputs, photograph, longest, regions, settings, network)
    levels = _plan_levels(target, styles, settings, network)
    files = _files(output, settings, loss_plot, regions)
    snapshots = snapshot_paths(output, levels)
    may_replace = replaceable(overwrite, () if own is None else [*own, *snapshots])
    _check_extras([*snapshots, *files[2:]], [*inputs.paths, *files[:2]], may_replace)
    weights = find_weights(network, settings.weights)
    notices = [
        *unused(settings, inputs.styles, regions),
        *without_effect(settings, photograph, output, profile),
        lost_transparency(photograph, output),
        rounds_of_one_step(settings, levels),
        "" if init is None else stretch_notice(init, levels[-1].height, levels[-1].width),
        *(style.falls_short(longest) for style in styles),
        *(told for each in (photograph, *(style.picture for style in styles), init) if each for told in each.notices),
    ]
    return RenderPlan(
        content=photograph,
        styles=styles,
        regions=regions,
        init=init,
        output=output,
        settings=settings,
        network=network,
        weights=weights,
        levels=levels,
        sheet=sheet,
        profile=profile,
        bit_depth=depth or _depth_for(output, photograph.bit_depth),
        dpi=_dpi(settings, photograph),
        notices=tuple(filter(None, dict.fromkeys(notices))),
        loss_plot=loss_plot,
        identity=identity(
            settings,
            photograph.sha256,
            style_hashes,
            None if init is None else init.sha256,
            weights.sha256,
            {what: fingerprint(path) for what, path in inputs.masks.items()},
        ),
    )


def _read_all_styles(
    inputs: InputFiles,
    photograph: Picture,
    longest: int,
    regions: Regions | None,
    settings: Settings,
    network: Architecture,
) -> tuple[tuple[Style, ...], list[list[str]]]:
    """Read all style pictures, for a painting with this long side, px; return those in use and the hashes of all."""
    has_rest = regions is None or regions.has_rest
    named = read_styles(inputs.style_files, photograph, settings, network) if inputs.styles or has_rest else ()
    apart = read_region_styles(inputs.region_files, inputs.regions, int(has_rest), photograph, settings, network)
    hashes = (style.picture.sha256 for style in (*named, *apart))
    grouped = [[next(hashes) for _ in pictures] for pictures in (*inputs.style_files, *inputs.region_files)]
    used = (*(named if has_rest else ()), *apart)
    _check_lengths(used, settings)
    return tuple(style.at_true_scale(settings.dpi or DEFAULT_DPI, longest) for style in used), grouped


def _plan_levels(
    target: TargetSize, styles: Sequence[Style], settings: Settings, network: Architecture
) -> tuple[Level, ...]:
    sides = [(style.side, style.scale) for style in styles]
    stride, least = network.max_stride(settings.layers), network.min_input(settings.layers)
    return plan_levels(*target.painted_size, sides, settings, stride, least)


def _files(output: Path, settings: Settings, loss_plot: Path | None, regions: Regions | None) -> list[Path]:
    proof = proof_path(output) if settings.proof else None
    faces = faces_path(output) if regions is not None and regions.faces is not None else None
    return [output, sidecar_path(output), *filter(None, [loss_plot, proof, faces])]


def _check_proof(settings: Settings, profile: bytes | None) -> None:
    if settings.proof and profile is None:
        raise SettingsError(
            f"proof needs a printer's profile: got profile {settings.profile}, which means sRGB here; name the "
            "printer's ICC file with --profile"
        )


def _check_pdf(output: Path, settings: Settings, sheet: Sheet) -> None:
    side = max(sheet.height, sheet.width)
    if output.suffix.lower() == ".pdf" and settings.pdf_image == "jpeg" and side > MOST_JPEG_SIDE:
        raise OutputError(
            f"{output}: a PDF stores pictures of up to {MOST_JPEG_SIDE} pixels a side as JPEG, this one has {side}; "
            "use --pdf-image lossless",
            path=output,
        )


def network_of(settings: Settings) -> Architecture:
    """Give the network that is to measure what counts. Raises what `plan_render` does for settings that it cannot."""
    _check_weights(settings)
    network = architecture(settings.network)
    network.check_layers(settings.layers)
    return network


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


def _check_lengths(styles: Sequence[Style], settings: Settings) -> None:
    """Refuse lengths where nothing says how long they are in pixels."""
    if settings.print_size is not None:
        return
    if any(style.width_mm is not None for style in styles):
        raise SettingsError(
            "got style_width without a print size, wanted both, so that strokes are as large as the original's; give "
            "one, such as --print 60x90cm"
        )
    if any(style.stroke is not None and style.stroke.is_mm for style in styles):
        raise SettingsError(
            "got a stroke width on paper without a print size, wanted one, such as --print 60x90cm, or a stroke in "
            "pixels, such as --stroke 24px"
        )


def _spare(inputs: Iterable[Path], output: Path, may_replace: Callable[[Path], bool]) -> None:
    """Refuse to overwrite a file that the user did not mean to lose."""
    record, read = sidecar_path(output), {file_at(place_of(path).file) for path in inputs}
    for path in (output, record):
        if file_at(path) in read:
            raise OutputError(f"{path}: this is an input file; name another output", path=output)
    if os.path.lexists(record) and not may_replace(record):
        raise OutputError(f"{record}: exists already; use --overwrite to replace it, or another name", path=record)


def _check_extras(extras: Iterable[Path], others: Iterable[Path], may_replace: Callable[[Path], bool]) -> None:
    """Refuse snapshots and a loss plot that cannot be written, or would meet each other or other files."""
    taken = {file_at(place_of(path).file) for path in others}
    for path in extras:
        if file_at(path) in taken:
            raise OutputError(f"{path}: this file is also an input or another output; name another", path=path)
        check_place(path, overwrite=may_replace(path))
        taken.add(file_at(path))


def _depth_for(output: Path, wanted: int) -> int:
    depths = OUTPUT_EXTENSIONS[output.suffix.lower()].bit_depths
    return wanted if wanted in depths else max(depths)


def _dpi(settings: Settings, photograph: Picture) -> tuple[float, float] | None:
    if settings.dpi is not None or settings.print_size is not None:
        return (settings.dpi or DEFAULT_DPI,) * 2
    return photograph.dpi
