"""The role of each setting, declared on its field; every list of settings is derived from it, see `Settings.names`."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from .errors import SettingsError

Group = Literal["picture", "look", "size and print", "regions", "machine", "run"]
PICTURE: Final = "picture"
LOOK: Final = "look"
SIZE: Final = "size and print"
REGIONS: Final = "regions"
MACHINE: Final = "machine"
RUN: Final = "run"


@dataclass(frozen=True)
class Role:
    """What a setting is about, and what depends on it.

    Attributes
    ----------
    group : str
        Heading of its flag in the help.
    flag : bool or str
        Whether it has a flag of its own, or how that is spelled where the setting's name does not tell; all others are
        set by `--set`.
    common : bool
        Whether `--help` shows the flag, or only `--help-all`.
    repeatable : bool
        Whether the flag may be given several times.
    scope : {"painting", "picture", "machine"}
        What it is about: paintings in general; one photograph or style picture, so that no preset may set it; or the
        machine, so that neither presets nor manifests may set it, only the user.
    identity : bool
        Whether the painting's bytes depend on it.
    export : bool
        Whether it affects only how a painting is written: an interrupted run can be resumed with another value.
    speed : bool
        Whether the time of a step depends on it, besides the layers.
    style_cache : bool
        Whether the statistics of a style picture depend on it, besides the layers.
    rivals : tuple of str
        Settings that exclude it, and that it excludes.
    was : str, optional
        Its name until the last release, which is accepted for one more.
    """

    group: Group
    flag: bool | str = False
    common: bool = False
    repeatable: bool = False
    scope: Literal["painting", "picture", "machine"] = "painting"
    identity: bool = True
    export: bool = False
    speed: bool = False
    style_cache: bool = False
    rivals: tuple[str, ...] = ()
    was: str | None = None

    def __call__(self, schema: dict[str, Any]) -> None:
        """Add itself to a field's JSON schema; this is how pydantic lets a field carry it."""
        schema.update(asdict(self))


def setting(
    default: Any,
    group: Group,
    description: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    **role: Any,
) -> Any:
    """Give a field of `Settings`.

    Parameters
    ----------
    default
        If it is not set.
    group : str
        See `Role`.
    description : str
        What it does, in a sentence or more; this is its help.
    ge, gt, le, lt : float, optional
        Limits.
    **role
        The other attributes of `Role`.
    """
    return Field(default, description=description, ge=ge, gt=gt, le=le, lt=lt, json_schema_extra=Role(group, **role))


def machine_setting(default: Any, description: str, **role: Any) -> Any:
    """Give a field that says where and how fast to compute, and changes nothing in the painting."""
    return setting(default, MACHINE, description, scope="machine", identity=False, **role)


@dataclass(frozen=True)
class Given:
    """What a setting was given as, and where that was written, such as ``poster.yaml:4``; no place means a flag."""

    value: object
    place: str = ""

    @property
    def where(self) -> str:
        """The place, as a message begins with it."""
        return f"{self.place}: " if self.place else ""


class WithRoles(BaseModel):
    """A model whose fields were made by `setting`: which of them have a role, a flag, or another name now."""

    @classmethod
    def role(cls, name: str) -> Role:
        """Give what a setting is for."""
        role = cls.model_fields[name].json_schema_extra
        assert isinstance(role, Role), f"{name}: this field was not made by `setting`"
        return role

    @classmethod
    @cache
    def names(cls, **role: object) -> frozenset[str]:
        """Give the names of all settings whose `Role` has these attributes.

        >>> from .settings import Settings
        >>> sorted(Settings.names(style_cache=True))
        ['fast', 'network', 'padding', 'pool_rescale', 'pooling']
        """
        wanted = role.items()
        return frozenset(name for name in cls.model_fields if wanted <= vars(cls.role(name)).items())

    @classmethod
    def rivals(cls, name: str) -> set[str]:
        """Give the settings that one takes the place of, and they its."""
        return {other for other in cls.model_fields if other in cls.role(name).rivals or name in cls.role(other).rivals}

    @classmethod
    @cache
    def old_names(cls) -> dict[str, str]:
        """Give the new name of every setting that had another one in the last release, by the old one."""
        return {was: name for name in cls.model_fields if (was := cls.role(name).was) is not None}

    @classmethod
    def new_name(cls, name: str, value: object) -> str:
        """Give the name that a setting has now; an old name that is another's now counts for a whole number only."""
        is_others = name in cls.model_fields and type(value) is not int
        return name if is_others else cls.old_names().get(name, name)

    @classmethod
    def with_new_names(cls, given: Mapping[str, Given], *, stacklevel: int = 4) -> dict[str, Given]:
        """Give settings by the names they have now; an old one is told as a `FutureWarning`.

        Raises `SettingsError` if one is given by both.
        """
        found: dict[str, Given] = {}
        for name, each in given.items():
            new = cls.new_name(name, each.value)
            if new != name:
                told = f"{each.where}{name} is called {new} now; write {new}: {each.value}"
                warnings.warn(told, FutureWarning, stacklevel=stacklevel)
            if new in found:
                raise SettingsError(f"{each.where}{new}: given twice, also by its old name, wanted it once")
            found[new] = each
        return found

    @classmethod
    @cache
    def flags(cls) -> dict[str, str]:
        """Give the flag of every setting that has one, such as ``--size``, and of a switch ``--gps/--no-gps``."""
        found = {}
        for name, field in cls.model_fields.items():
            flag = cls.role(name).flag
            word = flag.removeprefix("--") if isinstance(flag, str) else name.replace("_", "-")
            if flag:
                found[name] = f"--{word}/--no-{word}" if field.annotation is bool else f"--{word}"
        return found
