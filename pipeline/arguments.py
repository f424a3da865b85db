"""Checks the arguments of the public Python functions."""

import inspect
import re
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from types import UnionType
from typing import Any, Literal, ParamSpec, TypeVar, get_args, get_origin

from .complaints import one_line, short
from .errors import SettingsError
from .setting_types import can_name_file

P = ParamSpec("P")
R = TypeVar("R")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse arguments that are not of the types in a function's signature, or no file's name, as `SettingsError`."""
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **named: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **named).arguments
        except TypeError as error:  # its text does not name the function
            raise TypeError(f"{function.__name__}() {error}") from None
        for name, value in given.items():
            if not _suits(value, wanted := signature.parameters[name].annotation):
                is_name = isinstance(value, str | Path) and not can_name_file(str(value))
                told = "a file name" if is_name else f"{_spelled(wanted)}; see help(muralist.{function.__name__})"
                raise SettingsError(f"{name}: got {one_line(short(value))}, wanted {told}")
        return function(*args, **named)

    return call


def _suits(value: object, wanted: Any) -> bool:
    origin, parts = get_origin(wanted), get_args(wanted)
    if origin is UnionType:
        is_name = Path in parts and isinstance(value, str | Path)
        return any(_suits(value, part) for part in parts) and (not is_name or can_name_file(str(value)))
    if origin is Literal:
        return value in parts
    if origin is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str) and all(_suits(e, *parts) for e in value)
    if isinstance(value, bool) and wanted in (int, float):  # Python counts True as 1, which nobody means
        return False
    return isinstance(value, int | float if wanted is float else origin or wanted or type(None))


def _spelled(wanted: Any) -> str:
    """A type as in the code that names it.

    >>> from pathlib import Path
    >>> _spelled(str | Path), _spelled(int)
    ('str | Path', 'int')
    """
    text = wanted.__name__ if isinstance(wanted, type) else str(wanted)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)
