"""Every choice a painting depends on, with its default: the one place where defaults live.

The model is flat, so that ``--set key=value`` and a preset's lines read the same, and frozen, so
that the settings written beside a painting are the ones it was made with.
"""

import os
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from .region_specs import check_regions
from .sizes import (
    MAX_DPI,
    MAX_SIDE_MM,
    MAX_SIDE_PX,
    Edge,
    check_sides,
    parse_aspect,
    parse_length,
    parse_print,
)

T = TypeVar("T")

LONGEST_NAME: Final = 10_000  # bytes of a path; systems allow 4096 or less
MOST_PROCESSES: Final = 1024  # and threads, whatever machine it is; see also `muralist.pipeline.workers.local`
# What is taken of the machine, and whom it talks to: for its user alone to say, not for presets and manifests.
MACHINE_SETTINGS: Final = (
    *("scratch", "scheduler", "workers", "threads", "tls_ca", "tls_cert", "tls_key"),
    *("memory", "device", "fast", "max_pixels"),
)
# What belongs to one photograph or one style picture, so that no preset can say it.
PICTURE_SETTINGS: Final = ("regions", "strength_map", "protect", "style_mask")


def spelled(value: object) -> str:
    """Spell a default as a user would write it; "" for none.

    Examples
    --------
    >>> spelled((0.02, 1.0)), spelled({"relu4_2": 1.0}), spelled(True), spelled(None)
    ('0.02, 1', 'relu4_2: 1', 'true', '')
    """
    if isinstance(value, dict):
        return ", ".join(f"{key}: {weight:g}" for key, weight in value.items())
    if isinstance(value, tuple):
        return ", ".join(map(spelled, value))
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def explained(name: str) -> str:
    """Say what a setting does, and between which words it chooses if it does."""
    field = Settings.model_fields[name]
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
    return f"{field.description} One of: {', '.join(choices)}." if len(choices) > 1 else str(field.description)


def at_level(values: Sequence[T], level: int) -> T:
    """Value for a level, counted from 0 at the coarsest; the last one serves all finer levels.

    Examples
    --------
    >>> [at_level((200, 100, 40), level) for level in range(5)]
    [200, 100, 40, 40, 40]
    """
    return values[min(level, len(values) - 1)]


# pydantic words its complaints "Input should be ..."; so do these, and presets.py rewords them all alike.
def _wanted(what: str) -> PydanticCustomError:
    return PydanticCustomError("wanted", "Input should be {what}", {"what": what})


def _not_bool(value: object) -> object:
    """Python counts True as 1; nobody writes ``tile: true`` on purpose."""
    if isinstance(value, bool):
        raise _wanted("a number, not true or false")
    return value


def _as_list(value: object) -> object:
    """Let ``--set steps=200,100`` and ``steps: 200`` mean lists."""
    if isinstance(value, str):
        return value.split(",")
    if isinstance(value, int | float):
        return [value]
    if not isinstance(value, list | tuple) or not value:
        raise _wanted("one or more numbers, such as [0.5, 0.9]")
    return value


def _by_optimizer(**usual: object) -> BeforeValidator:
    """Where nothing is set, take what suits the optimizer, a setting before this one."""

    def choose(value: object, info: ValidationInfo) -> object:
        return usual[info.data.get("optimizer", "lbfgs")] if value is None else value

    return BeforeValidator(choose)


def _texts(value: object) -> object:
    """Let one text mean a list of one."""
    return [value] if isinstance(value, str) else value


def _are_regions(texts: tuple[str, ...]) -> tuple[str, ...]:
    check_regions(texts)
    return texts


def _pair(values: Sequence[object]) -> Sequence[object]:
    if len(values) != 2:
        raise _wanted("two numbers")
    return values


def _some_positive(weights: dict[str, float]) -> dict[str, float]:
    if not any(weight > 0 for weight in weights.values()):
        raise _wanted("layer names with weights, at least one of them above 0")
    return weights


def _positive(weights: dict[str, float]) -> dict[str, float]:
    return {layer: weight for layer, weight in weights.items() if weight > 0}


def can_name_file(text: str) -> bool:
    """Say whether a text can be a path: encoded, without NUL, and not so long that following it would take for ever."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return b"\0" not in encoded and len(encoded) <= LONGEST_NAME


def _name_of_file(text: str) -> str:
    if not can_name_file(text):
        raise _wanted("a text that can name a file")
    return text


def _digits_as_int(value: object) -> object:
    """A command line only has text: read "16" as 16."""
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,4}", value) else value


def _matching(pattern: str, what: str) -> Callable[[str], str]:
    """Check against a pattern, but complain in words."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise _wanted(what)
        return text

    return check


_HOST: Final = r"([^\s/:\[\]]+|\[[0-9A-Fa-f:.]+\])"  # a name, an IPv4 address, or an IPv6 one in brackets
_PORT: Final = r"0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"

Int = Annotated[int, BeforeValidator(_not_bool)]
Float = Annotated[float, BeforeValidator(_not_bool)]
Text = Annotated[str, AfterValidator(_matching("(?s).+", "a text of at least one character"))]
FileName = Annotated[Text, AfterValidator(_name_of_file)]
Weight = Annotated[Float, Field(ge=0)]
LayerWeights = Annotated[dict[Text, Weight], AfterValidator(_some_positive)]
Steps = Annotated[Int, Field(ge=0, le=100_000)]
Resolutions = Annotated[Int, Field(ge=1, le=6)]
Rate = Annotated[Float, Field(gt=0, le=1)]
Decay = Annotated[Float, Field(ge=0, lt=1)]
Share = Annotated[Float, Field(ge=0, le=1)]
StyleScale = Annotated[Float, Field(ge=0.05, le=10)]
Chunks = Annotated[Int, Field(ge=1, le=1000)]
StyleLoss = Literal[
    "relative", "gatys", "gatys-hw", "gatys-chw", "log0", "fermilab", "gcucurull", "prisma", "spst", "w2"
]
ContentLoss = Literal["relative", "gatys", "mse", "sum", "log0", "fermilab", "gcucurull", "prisma"]
TvLoss = Literal["l2", "l2-mean", "l2-sum", "l2-9point", "l1-mean", "l1-sum"]
BitDepth = Annotated[Literal["auto", 8, 16], BeforeValidator(_digits_as_int)]
Device = Annotated[
    str, AfterValidator(_matching(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"))
]
Memory = Annotated[ByteSize, BeforeValidator(_not_bool), Field(ge=1 << 20)]
Address = Annotated[
    str, AfterValidator(_matching(rf"(tcp|tls)://{_HOST}:{_PORT}", "an address such as tcp://host:8786"))
]
Certificate = Annotated[str, AfterValidator(_matching("(?s).+", "the path of a PEM file"))]

SUITS_OPTIMIZER: Any = None  # the default of settings that `_by_optimizer` chooses
EQUAL_STYLE_LAYERS: Final = {f"relu{block}_1": 1.0 for block in range(1, 6)}


class Settings(BaseModel):
    """The settings of one painting; see each field's description.

    Text that spells a number is read as one (YAML reads ``1e-3`` as text), but a truth value is
    never a number, a fraction never an integer, and no number is infinite or NaN.

    Raises
    ------
    pydantic.ValidationError
        Naming every field that is wrong. `muralist.pipeline.presets.load_settings` rewords it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    network: Text = Field("compact", description="Network whose features measure style and content.")
    weights: FileName | None = Field(
        None, description="File with the network's weights, or the name of a published one, instead of the usual one."
    )
    pooling: Literal["network", "max", "average", "l2"] = Field(
        "network", description="How the network shrinks its features; `network` pools as it was trained."
    )
    pool_rescale: bool = Field(
        False,
        description="Multiply what average and L2 pooling give, so that features stay as large as with max pooling.",
    )
    padding: Literal["network", "reflect", "replicate", "zeros"] = Field(
        "network", description="What the network sees beyond the canvas; `network` pads as it was trained."
    )
    style_layers: LayerWeights = Field(
        EQUAL_STYLE_LAYERS, description="Layers whose statistics describe the style, each with its weight."
    )
    content_layers: LayerWeights = Field(
        {"relu4_2": 1.0}, description="Layers whose features describe the content, each with its weight."
    )
    style_loss: StyleLoss = Field("relative", description="Formula of the style loss, see `model/losses/style.py`.")
    content_loss: ContentLoss = Field(
        "relative", description="Formula of the content loss, see `model/losses/content.py`."
    )
    tv_loss: TvLoss = Field("l2", description="Formula of the TV loss, see `model/losses/variation.py`.")
    style_weight: Weight = Field(1000.0, description="Weight of the style loss.")
    moments_weight: Weight = Field(
        0.0,
        description="Weight of the moments loss, which matches the distribution of every channel of the style layers, "
        "see `model/losses/moments.py`.",
    )
    strength: Share = Field(
        0.5,
        description="How strongly the style is painted, the same for every picture: 0 keeps the photograph, 1 gives "
        "way to the style.",
    )
    content_weight: Weight | None = Field(
        None, description="Weight of the content loss, instead of the one that is found for `strength`."
    )
    tv_weight: Weight = Field(50.0, description="Weight of the TV loss, which keeps grain out of calm paint.")
    tv_chroma: Weight = Field(19.0, description="How much more the TV loss counts specks of color than of light.")
    loss_pixels: Int | None = Field(
        None, ge=1, description="Losses that are sums over the picture count as if it had this many pixels."
    )
    normalize_gradients: bool = Field(
        False, description="Divide the gradient of every layer by its L1 norm, as jcjohnson's option of that name."
    )
    style_scale: Annotated[tuple[StyleScale, ...], BeforeValidator(_as_list)] = Field(
        (1.0,),
        description="Size of the brush strokes, relative to the style picture fitted to the level; one for all "
        "styles, or one for each.",
    )
    style_width: Annotated[tuple[Text, ...], BeforeValidator(_texts)] | None = Field(
        None,
        description="How wide the style picture is where it hangs, such as 92cm, one for all styles or one for each: "
        "with `print_size`, strokes on paper are then as large as on the wall. Instead of `style_scale`.",
    )
    style_blend: Annotated[tuple[Weight, ...], BeforeValidator(_as_list)] | None = Field(
        None, description="Shares of several styles, one for each; equal ones if not given."
    )
    style_mask: Annotated[tuple[FileName, ...], BeforeValidator(_texts)] | None = Field(
        None, description="Gray pictures, one for each style, white where that painting counts."
    )
    regions: Annotated[tuple[FileName, ...], BeforeValidator(_texts), AfterValidator(_are_regions)] | None = Field(
        None,
        description="What to paint after another style, as MASK=STYLE; repeatable. MASK is a gray picture, or one "
        "color of a color-coded one, labels.png#RRGGBB; what no region claims belongs to `style`. Options follow after "
        "commas: scale, strength (times that of the painting), color and style-mask.",
    )
    region_fit: bool = Field(False, description="Stretch masks of another shape than the photograph's to fit it.")
    region_inset: Share = Field(
        0.0,
        description="How far within a region's edge its style is measured, as a share of how far a layer sees: the "
        "more, the less of it goes over the edge.",
    )
    strength_map: FileName | None = Field(
        None, description="Gray picture: black keeps the photograph, white is painted as strongly as `strength` says."
    )
    protect: FileName | None = Field(
        None,
        description="Gray picture, white where the photograph is to show through, without an edge; or `faces`, for "
        "those that are found in it (extra `faces`).",
    )
    colours: Literal["style", "luminance", "statistics"] = Field(
        "style",
        description="Colours of the painting: the style's; the photograph's, with only light painted; or a style "
        "picture recoloured to the photograph's mean and covariance.",
    )

    init: FileName = Field(
        "content",
        description="What the painting starts from: `content`, `blank` (the network's mean colour) or a file.",
    )
    noise: Literal["uniform", "gaussian"] = Field("uniform", description="Distribution of the noise in the start.")
    noise_ratio: Share = Field(0.0, description="Share of noise in the start; 1 starts from noise alone.")
    noise_amplitude: Share = Field(
        0.078, description="Half width of uniform noise, deviation of gaussian, as a share of the colour range."
    )

    coarse: Int = Field(192, ge=64, le=8192, description="Long side of the coarsest level, in pixels.")
    level_ratio: Float = Field(
        2.0, ge=1.1, le=4, description="How many times as long a level's sides may be as those of the level before."
    )
    detail: Share = Field(
        1.0,
        description="Share of the photograph's finer detail that a level adds to the enlarged painting it starts from, "
        "where the content counts.",
    )
    steps: Annotated[tuple[Steps, ...], BeforeValidator(_as_list)] = Field(
        (150, 100, 60, 25, 20, 15),
        description="Optimiser steps per level, coarsest first; the last value serves all finer levels.",
    )
    optimizer: Literal["adam", "lbfgs"] = Field("lbfgs", description="Adam, or L-BFGS without line search.")
    learning_rate: Annotated[
        tuple[Rate, ...], BeforeValidator(_as_list), _by_optimizer(adam=(0.02, 0.02, 0.015), lbfgs=(1.0,))
    ] = Field(
        SUITS_OPTIMIZER,
        description="Size of a step per level, listed like `steps`. L-BFGS: a factor of its own step, by default 1. "
        "Adam: a share of the color range, by default 0.02, 0.02, 0.015.",
    )
    history: Int = Field(
        10, ge=1, le=100, description="Pairs of steps and gradients that L-BFGS remembers within a round."
    )
    lbfgs_resolutions: Annotated[tuple[Resolutions, ...], BeforeValidator(_as_list)] = Field(
        (4, 1),
        description="Sizes of the picture, each half the one before, at which L-BFGS looks for its steps at the same "
        "time, so that large areas change color in a few steps; per level, listed like `steps`; 1 is plain L-BFGS.",
    )
    average_decay: Annotated[Decay, _by_optimizer(adam=0.9, lbfgs=0.0)] = Field(
        SUITS_OPTIMIZER,
        description="Decay of the moving average over the steps, which calms the last ones; 0 takes the last step. By "
        "default 0.9 for Adam, 0 for L-BFGS.",
    )
    betas: Annotated[tuple[Decay, Decay], BeforeValidator(_pair), BeforeValidator(_as_list)] = Field(
        (0.9, 0.99), description="Decays of Adam's two moments."
    )
    keep: Literal["last", "best"] = Field(
        "last", description="Which canvas of a level counts: the last, or the one of least loss, looked at every round."
    )
    plateau: Share = Field(
        0.0, description="End a level once three rounds lowered the loss by less than this share; 0 never does."
    )
    consensus: bool = Field(True, description="Let all tiles agree on one style; false paints each tile on its own.")
    steps_per_round: Int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Steps after which the tiles of a level sync; few are exact, many are fast on a cluster. By "
        "default 10, and 25 in a level of one tile.",
    )

    # Before `tile` and `overlap`, which do not have to suit each other where chunks are asked for.
    chunks: Annotated[tuple[Chunks, Chunks], BeforeValidator(_pair), BeforeValidator(_as_list)] | None = Field(
        None, description="Rows and columns of tiles to cut every level into, instead of by `tile`."
    )
    tile: Int = Field(1024, ge=64, le=MAX_SIDE_PX, description="Side of a tile with its overlap, in pixels.")
    overlap: Int = Field(128, ge=0, description="Pixels that neighbouring tiles share and blend.")
    edge_margin: Int = Field(
        32,
        ge=0,
        le=512,
        description="Pixels painted beyond each edge of the picture and cut off, for the network's sake.",
    )

    raw_exposure: Float = Field(
        0.0, ge=-3, le=3, description="Stops to develop a raw photograph brighter by, or darker below 0."
    )
    size: Int | None = Field(None, ge=16, le=MAX_SIDE_PX, description="Long side of the painting, in pixels.")
    width: Int | None = Field(None, ge=16, le=MAX_SIDE_PX, description="Width of the painting, in pixels.")
    height: Int | None = Field(None, ge=16, le=MAX_SIDE_PX, description="Height of the painting, in pixels.")
    aspect: Text | None = Field(None, description="Crop the photograph around its centre to this shape, such as 4:3.")
    print_size: str | None = Field(
        None, description="Paper to fill, such as A1, 60x90cm, 24x36in or 'A2 landscape', instead of `size`."
    )
    dpi: Float | None = Field(
        None, gt=0, le=MAX_DPI, description="Dots per inch of the print; 300 if only `print_size` is given."
    )
    fit: Literal["fit", "crop"] = Field(
        "fit", description="Put the whole picture inside the paper, or crop it to fill the paper."
    )
    bleed: str | None = Field(
        None,
        description="How far the painting goes on beyond the print size on every side, to be cut off, such as 3mm or "
        "0.125in.",
    )
    crop_marks: bool = Field(False, description="Print marks on white around the picture that say where to cut.")
    wrap: str | None = Field(
        None, description="How far a canvas goes round the edges of its stretcher, such as 4cm, beyond the print size."
    )
    wrap_edge: Edge = Field(
        "paint",
        description="What goes round the edges: more of the painting, its mirror image, or the mean color of its edge.",
    )
    bit_depth: BitDepth = Field(
        "auto", description="Bits per colour channel; `auto` keeps the photograph's where the file format can."
    )
    quality: Int = Field(95, ge=1, le=100, description="Quality of lossy file formats, in percent.")
    max_file: Annotated[ByteSize, BeforeValidator(_not_bool), Field(ge=1 << 10)] | None = Field(
        None, description="Largest file to write, such as 128MB, with the best quality up to `quality` that fits."
    )
    profile: FileName = Field(
        "keep",
        description="Color profile of the painting's file: the photograph's (`keep`), `srgb`, `p3`, `adobergb`, or "
        "an ICC file, such as a print shop's for CMYK.",
    )
    intent: Literal["relative", "perceptual", "saturation", "absolute"] = Field(
        "relative", description="What becomes of colors that a profile does not have."
    )
    proof: bool = Field(
        False,
        description="Write a small picture of how the print will look beside it, and what share has other colors.",
    )
    pdf_image: Literal["jpeg", "lossless"] = Field("jpeg", description="How a PDF stores the painting.")
    metadata: Literal["all", "copyright", "none"] = Field(
        "all",
        description="What the painting gets of the photograph's EXIF, XMP and IPTC: all, and a line in its history; "
        "only creator and copyright; or none.",
    )
    gps: bool = Field(
        False, description="Carry the place where the photograph was taken over into the painting's metadata."
    )
    keep_times: bool = Field(False, description="Give the painting the photograph's file times.")
    max_pixels: Int = Field(2_000_000_000, ge=1, description="Refuse pictures of more pixels than this.")

    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Number format of the network; `auto` suits it to the device."
    )
    device: Device = Field("auto", description="Where to compute: auto, cpu, cuda, cuda:N or mps.")
    fast: bool = Field(
        False,
        description="Let a GPU try out and take the quickest ways to compute, TF32 among them; without, the same "
        "command gives the same bytes.",
    )
    workers: Int | None = Field(
        None, ge=1, le=MOST_PROCESSES, description="Worker processes; by default as many as suit the devices."
    )
    threads: Int | None = Field(
        None, ge=1, le=MOST_PROCESSES, description="Threads per worker on a CPU; by default its share of the cores."
    )
    scheduler: Address | None = Field(
        None, description="Address of a running dask scheduler, such as tcp://host:8786, to paint on its workers."
    )
    tls_ca: Certificate | None = Field(
        None, description="PEM file of the authority a tls:// scheduler must be signed by."
    )
    tls_cert: Certificate | None = Field(None, description="PEM file with this machine's certificate for tls://.")
    tls_key: Certificate | None = Field(
        None, description="PEM file with the key of that certificate, if apart from it."
    )
    scratch: FileName | None = Field(
        None,
        description="Folder or fsspec URL (s3://bucket/x) for intermediate canvases; by default beside the output.",
    )
    memory: Memory | None = Field(
        None,
        description="Memory for pictures and canvases, such as 4GiB; what does not fit stays on disk. By default a "
        "quarter of the machine's.",
    )
    save_every: Int | None = Field(
        None, ge=1, description="Write the painting as it is after every so many steps, beside the output."
    )
    seed: Int = Field(
        0,
        ge=0,
        lt=2**63,
        description="Seed of the noise in the start; without noise nothing is random.",
    )

    @property
    def style_terms(self) -> tuple[str, ...]:
        """The terms that compare with style pictures and count, by name."""
        weights = {"style": self.style_weight, "moments": self.moments_weight}
        return tuple(name for name, weight in weights.items() if weight and _positive(self.style_layers))

    @property
    def active_style_layers(self) -> dict[str, float]:
        """The layers that measure style, none if style does not count."""
        return _positive(self.style_layers) if self.style_terms else {}

    @property
    def active_content_layers(self) -> dict[str, float]:
        """The layers that measure content, none if content does not count."""
        return {} if self.content_weight == 0 else _positive(self.content_layers)

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that measures style or content."""
        return tuple({**self.active_style_layers, **self.active_content_layers})

    @field_validator("content_weight")
    @classmethod
    def _strength_suits_content_loss(cls, weight: float | None, info: ValidationInfo) -> float | None:
        formula = info.data.get("content_loss", "relative")
        if weight is None and formula != "relative":
            raise ValueError(
                f"strength asks for a relative content loss: got content_loss {formula} and no weight, wanted a "
                "content_weight, or content_loss relative"
            )
        return weight

    @field_validator("overlap")
    @classmethod
    def _overlap_suits_tile(cls, overlap: int, info: ValidationInfo) -> int:
        tile = info.data.get("tile")  # missing if it was itself refused
        if tile is not None and 2 * overlap >= tile and info.data.get("chunks") is None:
            raise ValueError(
                f"tile too small for its overlap: got tile {tile} and overlap {overlap}, "
                "wanted an overlap below half the tile"
            )
        return overlap

    @field_validator("aspect", mode="before")
    @classmethod
    def _aspect_is_text(cls, aspect: object) -> object:
        """YAML reads 1.5 as a number."""
        return str(aspect) if isinstance(aspect, int | float) and not isinstance(aspect, bool) else aspect

    @field_validator("aspect")
    @classmethod
    def _aspect_is_readable(cls, aspect: str | None, info: ValidationInfo) -> str | None:
        width, height = info.data.get("width"), info.data.get("height")
        if aspect is not None:
            parse_aspect(aspect)
            if width is not None and height is not None:
                check_sides(width, height, aspect)
        return aspect

    @field_validator("width", "height")
    @classmethod
    def _width_and_height_or_size(cls, side: int | None, info: ValidationInfo) -> int | None:
        if side is not None and info.data.get("size") is not None:
            raise ValueError(f"size and {info.field_name} exclude each other, wanted only one of them")
        return side

    @field_validator("print_size")
    @classmethod
    def _print_size_is_readable(cls, print_size: str | None) -> str | None:
        if print_size is not None:
            parse_print(print_size)
        return print_size

    @field_validator("style_width")
    @classmethod
    def _are_widths(cls, lengths: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for length in lengths or ():
            parse_length(length, "style_width", MAX_SIDE_MM)
        return lengths

    @field_validator("bleed", "wrap")
    @classmethod
    def _is_length(cls, length: str | None, info: ValidationInfo) -> str | None:
        if length is not None:
            parse_length(length, str(info.field_name))
        return length

    @field_validator("print_size")
    @classmethod
    def _print_size_or_size(cls, print_size: str | None, info: ValidationInfo) -> str | None:
        for other in ("size", "width", "height"):
            if print_size is not None and info.data.get(other) is not None:
                raise ValueError(f"{other} and print_size exclude each other, wanted only one of them")
        return print_size
