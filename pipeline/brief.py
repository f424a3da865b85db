"""What is settled about a render before any work: pictures, sizes, levels, weights. Refuses what cannot be."""

from dataclasses import dataclass
from pathlib import Path

from muralist.model.architecture import Architecture, architecture
from muralist.model.weight_files import WeightFile, find_weights
from muralist.pipeline.errors import OutputError, PictureError
from muralist.pipeline.images import Picture, crop_to_aspect
from muralist.pipeline.levels import Level, plan_levels
from muralist.pipeline.reading import read_picture
from muralist.pipeline.settings import Settings
from muralist.pipeline.sizes import DEFAULT_DPI, target_size
from muralist.pipeline.writing import check_output, output_formats


@dataclass(frozen=True)
class Brief:
    """One picture to be painted.

    Attributes
    ----------
    content, style : Picture
        The photograph, cropped if it is to be, and the style picture.
    output : Path
    settings : Settings
    network : Architecture
    weights : WeightFile
    levels : tuple of Level
    bit_depth : int
        Of the output: 8 or 16.
    dpi : (float, float) or None
        Of the output.
    """

    content: Picture
    style: Picture
    output: Path
    settings: Settings
    network: Architecture
    weights: WeightFile
    levels: tuple[Level, ...]
    bit_depth: int
    dpi: tuple[float, float] | None

    @property
    def final(self) -> Level:
        """The finest level, whose size is the painting's."""
        return self.levels[-1]

    @property
    def most_tiles(self) -> int:
        """Tiles of the level that has most."""
        return max(len(level.grid) for level in self.levels)


def make_brief(content: Path, style: Path, output: Path, settings: Settings, *, overwrite: bool = False) -> Brief:
    """Read the pictures and settle everything.

    Raises
    ------
    SettingsError, PictureError, OutputError, UnknownNetworkError, UnknownLayerError, WeightsError, TilingError
        With what was found, what was wanted, and what to do.
    """
    network = architecture(settings.network)
    layers = settings.layers
    network.check_layers(layers)
    asked_depth = None if settings.bit_depth == "auto" else settings.bit_depth
    check_output(output, overwrite=overwrite, bit_depth=asked_depth)
    _spare(content, style, output, overwrite)
    photograph, painting = (read_picture(path, settings.max_pixels) for path in (content, style))
    if min(painting.height, painting.width) < network.minimum(layers):
        raise PictureError(
            f"{style}: got a style picture of {painting.width} x {painting.height} px, wanted at least "
            f"{network.minimum(layers)} px a side",
            path=style,
        )
    sizes = settings.model_dump(include={"size", "print_size", "dpi", "fit"})
    target = target_size(photograph.height, photograph.width, **sizes)
    check_output(output, overwrite=overwrite, height=target.height, width=target.width)
    style_side = max(painting.height, painting.width)
    stride = network.stride(network.deepest(layers))
    levels = plan_levels(target.height, target.width, style_side, settings, stride, network.minimum(layers))
    for level in levels:
        level.grid.axes  # noqa: B018 -- refuses a tile too small for its overlap
    return Brief(
        photograph if target.crop_aspect is None else crop_to_aspect(photograph, target.crop_aspect),
        painting,
        output,
        settings,
        network,
        find_weights(network, settings.weights),
        levels,
        asked_depth or _depth_for(output, photograph.bit_depth),
        _dpi(settings, photograph),
    )


def _spare(content: Path, style: Path, output: Path, overwrite: bool) -> None:
    """Refuse to write over what the user did not mean to lose."""
    if output.resolve() in (content.resolve(), style.resolve()):
        raise OutputError(f"{output}: this is one of the pictures to be read; name another output", path=output)
    record = sidecar_path(output)
    if record.exists() and not overwrite:
        raise OutputError(f"{record}: exists already; use --overwrite to replace it, or another name", path=record)


def sidecar_path(output: Path) -> Path:
    """Name the sidecar of an output: `poster.tif` gets `poster.tif.json`."""
    return output.with_name(output.name + ".json")


def _depth_for(output: Path, wanted: int) -> int:
    depths = next(kind.bit_depths for kind in output_formats() if output.suffix.lower() in kind.extensions)
    return wanted if wanted in depths else max(depths)


def _dpi(settings: Settings, photograph: Picture) -> tuple[float, float] | None:
    if settings.dpi is not None or settings.print_size is not None:
        return (settings.dpi or DEFAULT_DPI,) * 2
    return photograph.dpi
