"""All settings of a painting and their defaults, which are defined nowhere else.

The model is flat, so that ``--set key=value`` and a preset's lines read the same, and frozen, so
that the settings written beside a painting are the ones it was made with.
"""

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, ValidationError, ValidationInfo, field_validator, model_validator

from .complaints import told
from .errors import SettingsError
from .lengths import MAX_DPI, MAX_SIDE_PX, check_sides
from .roles import LOOK, MACHINE, PICTURE, REGIONS, RUN, SIZE, Given, WithRoles, machine_setting, setting
from .setting_types import (
    Address,
    Aspect,
    BitDepth,
    Border,
    Certificate,
    ContentLoss,
    Decay,
    Device,
    Edge,
    FileName,
    Float,
    Int,
    LayerWeights,
    Listed,
    MaxFile,
    Memory,
    Named,
    Pair,
    PrintSize,
    Profile,
    Rate,
    Regions,
    Resolutions,
    Share,
    Start,
    Steps,
    Stroke,
    StyleLoss,
    StyleScale,
    StyleWidth,
    Text,
    TileCount,
    TvLoss,
    Weight,
    by_optimizer,
)

MOST_PROCESSES: Final = 1024  # limit of processes and of threads on any machine; see `muralist.pipeline.workers.local`


def exclusion(name: str, other: str) -> str:
    """Say that of two settings only one can be given."""
    return f"{name} and {other} exclude each other, wanted only one of them"


DERIVED: Any = None  # the default of settings that depend on another one
DEFAULT_STEPS: Final = (120, 80, 15, 10)  # forms and colors first; then each level is only a start for the next
DEFAULT_FINEST_STEPS: Final = (120, 80, 50, 35, 25, 20)
# The layers of Gatys et al., at full and at half size: half size covers forms up to twice as large.
DEFAULT_STYLE_LAYERS: Final = {f"relu{block}_1{size}": 1.0 for size in ("", "/2") for block in range(1, 6)}


def _positive(weights: dict[str, float]) -> dict[str, float]:
    return {layer: weight for layer, weight in weights.items() if weight > 0}


def _derive_finest_steps(value: object, info: ValidationInfo) -> object:
    """If the finest level's steps are not set, take `steps` if that is set, otherwise the default."""
    steps = info.data.get("steps", DEFAULT_STEPS)
    return (DEFAULT_FINEST_STEPS if steps == DEFAULT_STEPS else steps) if value is None else value


class Settings(WithRoles):
    """The settings of one painting; see each field's description.

    Text that spells a number is read as one (YAML reads ``1e-3`` as text), but a truth value is
    never a number, a fraction never an integer, and no number is infinite or NaN.

    Raises
    ------
    SettingsError
        Naming every field that is wrong. `model_validate` raises pydantic's own `ValidationError` instead.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    if not TYPE_CHECKING:  # type checkers know the arguments from the fields

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise SettingsError(told(error, type(self).model_fields)) from None

        __init__.__pydantic_base_init__ = True  # otherwise `model_validate` would call it

    network: Text = setting(
        "compact",
        LOOK,
        "Network that measures style and content.",
        flag=True,
        common=True,
        speed=True,
        style_cache=True,
    )
    weights: FileName | None = setting(
        None,
        LOOK,
        "Weight file of the network, or the name of a published one, instead of the default one.",
        flag=True,
    )
    pooling: Literal["network", "max", "average", "l2"] = setting(
        "network",
        LOOK,
        "Pooling of the network; `network` is what it was trained with.",
        speed=True,
        style_cache=True,
    )
    pool_rescale: bool = setting(
        False,
        LOOK,
        "Scale up the output of average and L2 pooling to the magnitude that max pooling gives.",
        speed=True,
        style_cache=True,
    )
    padding: Literal["network", "reflect", "replicate", "zeros"] = setting(
        "network",
        LOOK,
        "Padding at the edges of the canvas; `network` is what it was trained with.",
        speed=True,
        style_cache=True,
    )
    style_layers: LayerWeights = setting(
        DEFAULT_STYLE_LAYERS,
        LOOK,
        "Layers whose statistics describe the style, such as `relu3_1,relu4_1`, or each with a weight, such as "
        "`{relu3_1: 1, relu4_1: 0.5}`. `relu4_1/2` is relu4_1 of the picture at half its size; /4, /8 and /16 work, "
        "too.",
    )
    content_layers: LayerWeights = setting(
        {"relu4_2": 1.0}, LOOK, "Layers whose features describe the content, written like `style_layers`."
    )
    style_loss: StyleLoss = setting(
        "gram-w2", LOOK, "Formula of the style loss, see `model/losses/style.py`.", speed=True
    )
    content_loss: ContentLoss = setting("relative", LOOK, "Formula of the content loss, see `model/losses/content.py`.")
    tv_loss: TvLoss = setting("vectorial", LOOK, "Formula of the TV loss, see `model/losses/variation.py`.", speed=True)
    style_weight: Weight = setting(1000.0, LOOK, "Weight of the style loss.")
    moments_weight: Weight = setting(
        0.0,
        LOOK,
        "Weight of the moments loss, which matches the distribution of every channel of the style layers, see "
        "`model/losses/moments.py`.",
    )
    strength: Share = setting(
        0.5,
        LOOK,
        "Strength of the style, 0 to 1. 0 keeps the photograph's shapes, but not its colors; 1 leaves little of the "
        "photograph. A value means the same for every picture.",
        flag=True,
        common=True,
    )
    content_weight: Weight | None = setting(
        None, LOOK, "Weight of the content loss, instead of one tuned to `strength`.", rivals=("strength",)
    )
    luminance_weight: Weight | None = setting(
        None,
        LOOK,
        "Weight of the luminance loss, which keeps light and dark where the photograph has them, instead of one "
        "tuned to `strength`. If only `content_weight` is given, this is 0.",
    )
    tv_weight: Weight = setting(60.0, LOOK, "Weight of the total variation (TV) loss, which smooths out grain.")
    tv_chroma: Weight = setting(
        30.0,
        LOOK,
        "In the TV losses `l2` and `vectorial`, how much more changes of color count than those of lightness.",
    )
    loss_pixels: Int | None = setting(
        None, LOOK, "Scale losses that are sums over the picture to a picture of this many pixels.", ge=1
    )
    normalize_gradients: bool = setting(
        False,
        LOOK,
        "Divide the gradient of every layer by its L1 norm, like jcjohnson's option of that name.",
        speed=True,
    )
    style_scale: Listed[StyleScale] = setting(
        (1.0,),
        LOOK,
        "Size of the brush strokes. "
        "Relative to the style picture fitted to the level; one for all styles, or one for each.",
        flag=True,
        common=True,
    )
    style_width: StyleWidth | None = setting(
        None,
        LOOK,
        "Width of the original painting, such as 92cm; one for all styles, or one for each. With "
        "`print_size`, strokes on paper are as large as the original's. Instead of `style_scale`.",
        flag=True,
        repeatable=True,
        rivals=("style_scale",),
    )
    stroke: Stroke | None = setting(
        None,
        LOOK,
        "Width of the brush strokes, such as 24px, or 8mm on paper with `print_size`; one for all styles or one for "
        "each. Instead of `style_scale` and `style_width`.",
        flag=True,
        repeatable=True,
        rivals=("style_scale", "style_width"),
    )
    style_blend: Listed[Weight] | None = setting(
        None, LOOK, "Shares of several styles, one for each. By default they are equal.", flag=True
    )
    style_mask: Named[FileName] | None = setting(
        None,
        REGIONS,
        "Masks, one for all styles or one for each: white where the style is taken from.",
        flag=True,
        repeatable=True,
        scope="picture",
    )
    regions: Regions | None = setting(
        None,
        REGIONS,
        "Region in another style, MASK=STYLE; repeatable. MASK is a gray picture, or one color of a color-coded "
        "picture, labels.png#RRGGBB; what lies in no region follows `style`. Options follow, separated by "
        "commas: scale, width or stroke (as `style_scale`, `style_width` and `stroke`), strength (times that of the "
        "painting), color and style-mask.",
        flag="--region",
        common=True,
        repeatable=True,
        scope="picture",
    )
    region_fit: bool = setting(
        False, REGIONS, "Stretch masks that have another aspect ratio than the photograph.", flag=True
    )
    region_inset: Share = setting(
        0.0,
        REGIONS,
        "How far inside a region's edge its style is measured, as a share of how far each layer sees. A larger share "
        "lets less style cross the edge.",
    )
    strength_map: FileName | None = setting(
        None,
        REGIONS,
        "Gray picture: black keeps the photograph, white is painted as strongly as `strength` says.",
        flag=True,
        scope="picture",
    )
    protect: Named[FileName] | None = setting(
        None,
        REGIONS,
        "Parts left unpainted: mask or `faces`; repeatable. A mask is a gray picture, white where the "
        "photograph shows through; its edges are softened. `faces` detects faces (needs the extra `faces`).",
        flag=True,
        common=True,
        repeatable=True,
        scope="picture",
    )
    color: Literal["style", "luminance", "statistics"] = setting(
        "style",
        LOOK,
        "Where the colors come from. `style`: from the style picture. `luminance`: from the photograph, only "
        "lightness is painted. `statistics`: from the style picture, recolored to the photograph's mean and "
        "covariance.",
        flag=True,
        common=True,
        was="colours",
    )

    init: Start = setting(
        "content",
        LOOK,
        "What the painting starts from: `content`, `blank` (the network's mean color) or a file.",
        flag=True,
    )
    noise: Literal["uniform", "gaussian"] = setting(
        "uniform", LOOK, "Distribution of the noise in the starting picture."
    )
    noise_ratio: Share = setting(0.0, LOOK, "Share of noise in the starting picture; 1 is noise alone.", flag=True)
    noise_amplitude: Share = setting(
        0.078,
        LOOK,
        "Half width of uniform noise, or standard deviation of gaussian noise, as a share of the color range.",
    )

    base_size: Int = setting(192, LOOK, "Long side of the coarsest level, in pixels.", ge=64, le=8192, was="coarse")
    level_ratio: Float = setting(
        2.0, LOOK, "Largest ratio between the sides of a level and those of the level before.", ge=1.1, le=4
    )
    detail: Share = setting(
        1.0,
        LOOK,
        "Share of the photograph's fine detail that is added to the enlarged painting at the start of a level, if "
        "the content loss counts.",
    )
    steps: Listed[Steps] = setting(
        DEFAULT_STEPS,
        LOOK,
        "Optimizer steps per level, coarsest first; the last value applies to all finer ones. The finest level follows "
        "`finest_steps`.",
    )
    finest_steps: Annotated[Listed[Steps], BeforeValidator(_derive_finest_steps)] = setting(
        DERIVED,
        LOOK,
        "Optimizer steps of the finest level, instead of those in `steps`, by the number of levels: a painting of "
        "three levels takes the third value, and the last value applies to any larger number. By default "
        f"{', '.join(map(str, DEFAULT_FINEST_STEPS))}, or the same as `steps` if that is set.",
    )
    optimizer: Literal["adam", "lbfgs"] = setting(
        "lbfgs", LOOK, "Adam, or L-BFGS without line search.", flag=True, speed=True
    )
    learning_rate: Annotated[Listed[Rate], by_optimizer(adam=(0.02, 0.02, 0.015), lbfgs=(1.0,))] = setting(
        DERIVED,
        LOOK,
        "Learning rate per level, listed like `steps`. L-BFGS: a factor of its own step, by default 1. Adam: a share "
        "of the color range, by default 0.02, 0.02, 0.015.",
    )
    lbfgs_history: Int = setting(
        10, LOOK, "Pairs of steps and gradients that L-BFGS remembers within a round.", ge=1, le=100, was="history"
    )
    lbfgs_resolutions: Listed[Resolutions] = setting(
        (4, 2),
        LOOK,
        "Number of resolutions, each half the one before, at which L-BFGS works at the same time, so that large "
        "areas change color in a few steps. Per level, listed like `steps`; 1 is plain L-BFGS.",
    )
    ema_decay: Annotated[Decay, by_optimizer(adam=0.9, lbfgs=0.0)] = setting(
        DERIVED,
        LOOK,
        "Decay of the exponential moving average over the steps, which evens out the last ones; 0 turns it off. By "
        "default 0.9 for Adam, 0 for L-BFGS.",
        was="average_decay",
    )
    betas: Pair[Decay] = setting((0.9, 0.99), LOOK, "Decays of Adam's two moments.")
    iterate: Literal["last", "best"] = setting(
        "last",
        LOOK,
        "Keep the last iterate of a level, or the one with the lowest loss (checked every round).",
        was="keep",
    )
    early_stop: Share = setting(
        0.0,
        LOOK,
        "End a level once its last three rounds together lowered the loss by less than this share; 0 turns this off.",
        was="plateau",
    )
    consensus: bool = setting(
        True, LOOK, "Let all tiles agree on one style; false paints each tile on its own.", flag=True
    )
    steps_per_round: Int | None = setting(
        None,
        LOOK,
        "Steps between syncs of a level's tiles. Fewer are more exact, more are faster on a cluster; L-BFGS needs at "
        "least 2. By default 5 with L-BFGS, 10 with Adam, and 25 in a level of one tile (12 in the two coarsest, where "
        "the weights for `strength` are tuned).",
        ge=1,
        le=10_000,
        flag=True,
    )

    # Must come before `tile` and `overlap`: their check against each other does not apply if `tile_grid` is given.
    tile_grid: Pair[TileCount] | None = setting(
        None,
        LOOK,
        "Rows and columns of tiles that every level is cut into, instead of tiles of a given size.",
        was="chunks",
    )
    tile: Int = setting(
        1024,
        LOOK,
        "Side of a tile with its overlap, in pixels; in the last row and column up to 31 px more.",
        ge=64,
        le=MAX_SIDE_PX,
        flag=True,
    )
    overlap: Int = setting(
        128,
        LOOK,
        "Pixels that neighboring tiles share; a quarter of them is blended, the rest is context.",
        ge=0,
        flag=True,
    )
    edge_margin: Int = setting(
        0,
        LOOK,
        "Pixels painted beyond each edge of the picture and cut off. They hide what networks paint at edges, but take "
        "a part of the style with them.",
        ge=0,
        le=512,
        was="bleed",
    )

    raw_exposure: Float = setting(
        0.0,
        PICTURE,
        "Exposure correction for raw photographs, in stops: positive is brighter, negative darker.",
        ge=-3,
        le=3,
        flag=True,
    )
    size: Int | None = setting(
        None,
        SIZE,
        "Long side in pixels, by default the photograph's.",
        ge=16,
        le=MAX_SIDE_PX,
        flag=True,
        common=True,
    )
    width: Int | None = setting(
        None, SIZE, "Width of the painting, in pixels.", ge=16, le=MAX_SIDE_PX, flag=True, rivals=("size",)
    )
    height: Int | None = setting(
        None, SIZE, "Height of the painting, in pixels.", ge=16, le=MAX_SIDE_PX, flag=True, rivals=("size",)
    )
    aspect: Aspect | None = setting(
        None, SIZE, "Crop to this ratio around the center, such as 4:3.", flag=True, common=True
    )
    print_size: PrintSize | None = setting(
        None,
        SIZE,
        "Size on paper, such as A1, 60x90cm or 24x36in. Also 'A2 landscape'. Instead of `size`.",
        flag="--print",
        common=True,
        rivals=("size", "width", "height"),
    )
    dpi: Float | None = setting(
        None, SIZE, "Dots per inch of the print. 300 if only `print_size` is given.", gt=0, le=MAX_DPI, flag=True
    )
    fit: Literal["fit", "crop"] = setting(
        "fit", SIZE, "Put the whole picture inside the paper, or crop it to fill the paper.", flag=True
    )
    bleed: Border | None = setting(
        None,
        SIZE,
        "How far the painting extends beyond the print size on every side, to be trimmed, such as 3mm or 0.125in.",
        flag=True,
    )
    crop_marks: bool = setting(
        False, SIZE, "Add crop marks on a white margin around the picture.", flag=True, export=True
    )
    wrap: Border | None = setting(
        None,
        SIZE,
        "How far a canvas wraps around the edges of its stretcher, beyond the print size, such as 4cm.",
        flag=True,
    )
    wrap_edge: Edge = setting(
        "paint",
        SIZE,
        "What the wrapped edges show: more of the painting, its mirror image, or the mean color of its edge.",
        flag=True,
    )
    bit_depth: BitDepth = setting(
        "auto",
        PICTURE,
        "Bits per color channel; `auto` keeps the photograph's where the file format can.",
        flag=True,
        export=True,
    )
    quality: Int = setting(
        95, PICTURE, "Quality of lossy file formats, in percent.", ge=1, le=100, flag=True, export=True
    )
    max_file: MaxFile | None = setting(
        None,
        PICTURE,
        "Largest file to write, such as 128MB; `quality` is lowered until it fits.",
        flag=True,
        export=True,
    )
    profile: Profile = setting(
        "keep",
        SIZE,
        "Color profile of the painting's file: the photograph's (`keep`), `srgb`, `p3`, `adobergb`, or "
        "an ICC file, such as a print shop's for CMYK.",
        flag=True,
        export=True,
    )
    intent: Literal["relative", "perceptual", "saturation", "absolute"] = setting(
        "relative",
        SIZE,
        "Rendering intent: what happens to colors outside the profile's gamut.",
        flag=True,
        export=True,
    )
    proof: bool = setting(
        False,
        SIZE,
        "Also write a soft proof (a small picture of how the print will look), and report what share of the colors "
        "will change.",
        flag=True,
        export=True,
    )
    pdf_image: Literal["jpeg", "lossless"] = setting(
        "jpeg", SIZE, "How a PDF stores the painting.", flag=True, export=True
    )
    metadata: Literal["all", "copyright", "none"] = setting(
        "all",
        PICTURE,
        "What to copy of the photograph's EXIF, XMP and IPTC: all, with a line added to the history; only "
        "creator and copyright; or none.",
        flag=True,
        export=True,
    )
    gps: bool = setting(
        False, PICTURE, "Keep the photograph's GPS data in the painting's metadata.", flag=True, export=True
    )
    keep_times: bool = setting(
        False, PICTURE, "Copy the photograph's file times to the painting.", flag=True, identity=False
    )
    max_pixels: Int = machine_setting(2_000_000_000, "Refuse pictures of more pixels than this.", ge=1)

    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", MACHINE, "Number format of the network; `auto` chooses what suits the device.", flag=True
    )
    device: Device = setting(
        "auto",
        MACHINE,
        "Device to compute on. One of: auto, cpu, cuda, cuda:N, mps.",
        flag=True,
        common=True,
        scope="machine",
    )
    fast: bool = setting(
        False,
        MACHINE,
        "Let a GPU use the fastest algorithms it finds, including TF32. Without this, the same command gives "
        "the same bytes on the same kind of machine.",
        flag=True,
        scope="machine",
        speed=True,
        style_cache=True,
    )
    workers: Int | None = machine_setting(
        None,
        "Worker processes. By default as many as suit the devices.",
        ge=1,
        le=MOST_PROCESSES,
        flag=True,
        common=True,
    )
    threads: Int | None = machine_setting(
        None,
        "Threads per worker. On a CPU they work on one tile, by default with the worker's share of the "
        "cores; on a GPU each has a tile of its own, by default two.",
        ge=1,
        le=MOST_PROCESSES,
        flag=True,
    )
    scheduler: Address | None = machine_setting(
        None, "Address of a running dask scheduler, such as tcp://host:8786, to paint on its workers.", flag=True
    )
    tls_ca: Certificate | None = machine_setting(
        None, "PEM file of the authority a tls:// scheduler must be signed by.", flag=True
    )
    tls_cert: Certificate | None = machine_setting(
        None, "PEM file with this machine's certificate for tls://.", flag=True
    )
    tls_key: Certificate | None = machine_setting(
        None, "PEM file with the key of that certificate, if it is a separate file.", flag=True
    )
    scratch: FileName | None = machine_setting(
        None,
        "Folder or URL for intermediate canvases. "
        "URLs are fsspec's, such as s3://bucket/x. By default beside the output.",
        flag=True,
        common=True,
    )
    memory: Memory | None = machine_setting(
        None,
        "Memory for pictures and canvases, such as 4GiB. "
        "What does not fit stays on disk. By default a quarter of the machine's.",
        flag=True,
        common=True,
    )
    snapshot_every: Int | None = setting(
        None,
        RUN,
        "Write a snapshot beside the output every so many steps. A round ends there, so the painting differs a little; "
        "with L-BFGS, a snapshot after every step makes it much worse.",
        ge=1,
        flag=True,
        was="save_every",
    )
    seed: Int = setting(
        0,
        LOOK,
        "Seed of the noise in the starting picture; without noise, nothing is random.",
        ge=0,
        lt=2**63,
        flag=True,
    )

    @property
    def style_terms(self) -> tuple[str, ...]:
        """Names of the terms that compare with style pictures and have a weight."""
        weights = {"style": self.style_weight, "moments": self.moments_weight}
        return tuple(name for name, weight in weights.items() if weight and _positive(self.style_layers))

    @property
    def active_style_layers(self) -> dict[str, float]:
        """The layers that measure style; none if the style loss has no weight."""
        return _positive(self.style_layers) if self.style_terms else {}

    @property
    def active_content_layers(self) -> dict[str, float]:
        """The layers that measure content; none if the content loss has no weight."""
        return {} if self.content_weight == 0 else _positive(self.content_layers)

    @property
    def keeps_luminance(self) -> bool:
        """Whether the luminance loss has a weight."""
        weight = self.luminance_weight
        counts = self.content_weight is None if weight is None else weight > 0
        return counts and bool(self.active_content_layers and self.active_style_layers)

    @property
    def measured_terms(self) -> tuple[str, ...]:
        """Names of the terms whose targets are measured on style pictures."""
        return (*self.style_terms, "luminance") if self.keeps_luminance else self.style_terms

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer of the network that measures style or content."""
        return tuple({**self.active_style_layers, **self.active_content_layers})

    @model_validator(mode="before")
    @classmethod
    def _have_new_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = {name: Given(value) for name, value in values.items()}
        return {name: each.value for name, each in cls.with_new_names(given, stacklevel=5).items()}

    @field_validator("content_weight")
    @classmethod
    def _strength_suits_content_loss(cls, weight: float | None, info: ValidationInfo) -> float | None:
        formula = info.data.get("content_loss", "relative")
        if weight is None and formula != "relative":
            raise ValueError(
                f"strength works only with content_loss relative, got content_loss {formula}, maybe a preset's; leave "
                "strength out, or give a content_weight, such as --set content_weight=5, or content_loss relative"
            )
        return weight

    @field_validator("steps_per_round")
    @classmethod
    def _rounds_suit_optimizer(cls, steps: int | None, info: ValidationInfo) -> int | None:
        if steps == 1 and info.data.get("optimizer") == "lbfgs":
            raise ValueError(
                "got rounds of 1 step with L-BFGS, which learns from the change between two steps of a round; "
                "wanted 2 or more, or optimizer adam"
            )
        return steps

    @field_validator("overlap")
    @classmethod
    def _overlap_suits_tile(cls, overlap: int, info: ValidationInfo) -> int:
        tile = info.data.get("tile")  # missing if its own value was refused
        if tile is not None and 2 * overlap >= tile and info.data.get("tile_grid") is None:
            raise ValueError(f"got tile {tile} and overlap {overlap}, wanted an overlap below half the tile")
        return overlap

    @field_validator("aspect")
    @classmethod
    def _aspect_suits_sides(cls, aspect: str | None, info: ValidationInfo) -> str | None:
        width, height = info.data.get("width"), info.data.get("height")
        if aspect is not None and width is not None and height is not None:
            check_sides(width, height, aspect)
        return aspect

    @field_validator("content_weight", "width", "height", "print_size", "style_width", "stroke")
    @classmethod
    def _excludes_its_rivals(cls, value: object, info: ValidationInfo) -> object:
        name = str(info.field_name)
        for rival in cls.role(name).rivals if value is not None else ():
            usual = cls.model_fields[rival].default
            if info.data.get(rival, usual) != usual:
                raise ValueError(exclusion(rival, name))
        return value
