"""Types of settings: how text and numbers are read, and error messages for what is refused."""

import os
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from .lengths import MAX_SIDE_MM, parse_aspect, parse_length, parse_print, parse_stroke
from .region_specs import check_regions

T = TypeVar("T")

PROFILES: Final = ("keep", "srgb", "p3", "adobergb")  # that need no file
STARTS: Final = ("content", "blank")
LONGEST_NAME: Final = 10_000  # bytes of a path; systems allow 4096 or less


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


def by_optimizer(**usual: object) -> BeforeValidator:
    """Where nothing is set, take what suits the optimizer, a setting before this one."""

    def choose(value: object, info: ValidationInfo) -> object:
        return usual[info.data.get("optimizer", "lbfgs")] if value is None else value

    return BeforeValidator(choose)


def _texts(value: object) -> object:
    """Let one text, or one path, mean a list of one."""
    return [value] if isinstance(value, str | os.PathLike) else value


def _path_as_text(value: object) -> object:
    """Python has objects for paths."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _are_regions(texts: tuple[str, ...]) -> tuple[str, ...]:
    check_regions(texts)
    return texts


def _pair(values: Sequence[object]) -> Sequence[object]:
    if len(values) != 2:
        raise _wanted("two numbers")
    return values


def _equal_weights(value: object) -> object:
    """Let ``--set style_layers=relu3_1,relu4_1`` and a list of layers mean a weight of 1 for each."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return value
    weights = {name.strip(): 1.0 for name in names}
    if len(weights) < len(names):
        raise _wanted("every layer once, or with a weight each, such as {relu3_1: 1, relu4_1: 0.5}")
    return weights


def _some_positive(weights: dict[str, float]) -> dict[str, float]:
    if not any(weight > 0 for weight in weights.values()):
        raise _wanted("layer names with weights, at least one of them above 0")
    return weights


def _of_bytes(least: int, what: str) -> Callable[[ByteSize], ByteSize]:
    """Refuse fewer bytes; a number alone may have been meant in GiB."""

    def check(size: ByteSize) -> ByteSize:
        if size < least:
            raise _wanted(what)
        return size

    return check


def can_name_file(text: str) -> bool:
    """Say whether a text can be a path: encodable, without NUL, and not so long that resolving it takes forever."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return b"\0" not in encoded and len(encoded) <= LONGEST_NAME


def _name_of_file(text: str) -> str:
    if not can_name_file(text):
        raise _wanted("a file name")
    return text


def _or_word(*words: str) -> BeforeValidator:
    """Let some words be written in any case."""
    return BeforeValidator(lambda text: text.lower() if isinstance(text, str) and text.lower() in words else text)


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


def _readable(parse: Callable[[str, str], object]) -> AfterValidator:
    """Refuse a text, or a tuple of them, that cannot be parsed; the parser is given the setting's name as well."""

    def check(value: Any, info: ValidationInfo) -> Any:
        for text in (value,) if isinstance(value, str) else value:
            parse(text, str(info.field_name))
        return value

    return AfterValidator(check)


def _number_as_text(value: object) -> object:
    """YAML reads 1.5 as a number."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_HOST: Final = r"([^\s/:\[\]]+|\[[0-9A-Fa-f:.]+\])"  # a name, an IPv4 address, or an IPv6 one in brackets
_PORT: Final = r"0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"

Int = Annotated[int, BeforeValidator(_not_bool)]
Float = Annotated[float, BeforeValidator(_not_bool)]
Text = Annotated[str, AfterValidator(_matching("(?s).+", "a non-empty text"))]
FileName = Annotated[Text, AfterValidator(_name_of_file), BeforeValidator(_path_as_text)]
Profile = Annotated[FileName, _or_word(*PROFILES)]
Start = Annotated[FileName, _or_word(*STARTS)]
Weight = Annotated[Float, Field(ge=0)]
LayerWeights = Annotated[dict[Text, Weight], BeforeValidator(_equal_weights), AfterValidator(_some_positive)]
Steps = Annotated[Int, Field(ge=0, le=100_000)]
Resolutions = Annotated[Int, Field(ge=1, le=6)]
Rate = Annotated[Float, Field(gt=0, le=1)]
Decay = Annotated[Float, Field(ge=0, lt=1)]
Share = Annotated[Float, Field(ge=0, le=1)]
StyleScale = Annotated[Float, Field(ge=0.05, le=10)]
TileCount = Annotated[Int, Field(ge=1, le=1000)]
StyleLoss = Literal[
    "gram-w2", "relative", "gatys", "gatys-hw", "gatys-chw", "log0", "fermilab", "gcucurull", "prisma", "spst", "w2"
]
ContentLoss = Literal["relative", "gatys", "mse", "sum", "log0", "fermilab", "gcucurull", "prisma"]
TvLoss = Literal["l2", "vectorial", "l2-mean", "l2-sum", "l2-9point", "l1-mean", "l1-sum"]
Edge = Literal["paint", "mirror", "color"]
BitDepth = Annotated[Literal["auto", 8, 16], BeforeValidator(_digits_as_int)]
Device = Annotated[
    str, AfterValidator(_matching(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"))
]
Memory = Annotated[
    ByteSize,
    BeforeValidator(_not_bool),
    AfterValidator(_of_bytes(1 << 20, "at least 1MiB, with its unit, such as 4GiB")),
]
Address = Annotated[
    str, AfterValidator(_matching(rf"(tcp|tls)://{_HOST}:{_PORT}", "an address such as tcp://host:8786"))
]
Certificate = Annotated[str, AfterValidator(_matching("(?s).+", "the path of a PEM file"))]
MaxFile = Annotated[
    ByteSize,
    BeforeValidator(_not_bool),
    AfterValidator(_of_bytes(1 << 10, "at least 1KiB, with its unit, such as 128MB")),
]
Listed = Annotated[tuple[T, ...], BeforeValidator(_as_list)]
Pair = Annotated[tuple[T, T], BeforeValidator(_pair), BeforeValidator(_as_list)]
Named = Annotated[tuple[T, ...], BeforeValidator(_texts)]
Regions = Annotated[Named[FileName], AfterValidator(_are_regions)]
Aspect = Annotated[Text, _readable(lambda text, _: parse_aspect(text)), BeforeValidator(_number_as_text)]
PrintSize = Annotated[str, _readable(lambda text, _: parse_print(text))]
Border = Annotated[str, _readable(parse_length)]
StyleWidth = Annotated[Named[Text], _readable(lambda text, name: parse_length(text, name, MAX_SIDE_MM))]
Stroke = Annotated[Named[Text], _readable(parse_stroke)]


def spelled(value: object) -> str:
    """Spell a default as a user would write it; "" for none.

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
