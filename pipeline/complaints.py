"""Turns pydantic's errors about settings and arguments into messages in muralist's style."""

import reprlib
from collections.abc import Callable, Iterable
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..model.errors import did_you_mean

MAX_PROBLEMS: Final = 20  # that are told at once
_INTEGER, _NUMBER = "a whole number, without a unit", "a number, without a unit or %"
_WANTED: Final = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _INTEGER),
    **dict.fromkeys(("float_type", "float_parsing"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("byte_size", "byte_size_unit"), "bytes, with a unit or not, such as 128MB or 4GiB"),
    "string_type": "a text",
    "tuple_type": "one or more texts",
    "dict_type": "layers, such as relu3_1,relu4_1, or with a weight each, such as {{relu3_1: 1, relu4_1: 0.5}}",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
}


def told(error: ValidationError, known: Iterable[str], place: Callable[[str], str] = lambda key: "") -> str:
    """Tell all problems in a line.

    Parameters
    ----------
    known : iterable of str
        Names of all settings.
    place : callable
        Gives where a setting was written, such as ``draft.yaml:4: ``.
    """
    problems = [_told(details, known, place) for details in error.errors(include_url=False)]
    more = [f"and {len(problems) - MAX_PROBLEMS} more"] if len(problems) > MAX_PROBLEMS else []
    return "; ".join(problems[:MAX_PROBLEMS] + more)


def _told(details: ErrorDetails, known: Iterable[str], place: Callable[[str], str]) -> str:
    """One problem with its place: ``draft.yaml:4: tile: got 12, wanted ...``."""
    if not details["loc"]:  # of all of them together
        return one_line(_explained(details, known))
    key, *inside = details["loc"]
    name = ".".join([str(key), *(part for part in inside if isinstance(part, str))])
    explained = _explained(details, known)
    for own in (str(key), str(key).replace("_", " ")):  # which stands before it anyway
        explained = explained.replace(f"got {own} '", "got '", 1)
    return one_line(f"{place(str(key))}{name}: {explained}")


def _explained(details: ErrorDetails, known: Iterable[str]) -> str:
    """pydantic's message in our words."""
    if details["type"] == "extra_forbidden":
        return ", ".join(filter(None, ["unknown key", did_you_mean(str(details["loc"][0]), known)]))
    if details["type"] == "value_error":  # worded by ourselves
        return details["msg"].removeprefix("Value error, ")
    got = "nothing" if details["input"] is None else short(details["input"])
    if (wanted := _WANTED.get(details["type"])) is not None:
        return f"got {got}, wanted {wanted.format_map(details.get('ctx', {}))}"
    complaint = details["msg"].replace("Input should be", "wanted", 1)
    return f"got {got}, {complaint[0].lower()}{complaint[1:]}"


def short(value: object) -> str:
    """Spell a value, shortened."""
    return reprlib.repr(value)


def one_line(text: str) -> str:
    """Give a text without line breaks."""
    return " ".join(text.split())
