"""What a setting is for, said once, on its field: every list of settings follows from it, see `Settings.names`."""

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from pydantic import Field

Group = Literal["picture", "look", "size and print", "regions", "machine", "run"]
PICTURE: Final = "picture"
LOOK: Final = "look"
SIZE: Final = "size and print"
REGIONS: Final = "regions"
MACHINE: Final = "machine"
RUN: Final = "run"


@dataclass(frozen=True)
class Role:
    """What a setting is for.

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
        machine, so that only its user may, and neither presets nor manifests.
    identity : bool
        Whether the painting's bytes depend on it.
    speed : bool
        Whether the time of a step depends on it, beside the layers.
    style_cache : bool
        Whether the statistics of a style picture depend on it, beside the layers.
    rivals : tuple of str
        Settings that it takes the place of, and they its.
    was : str, optional
        Its name until the last release, which is understood for one more.
    """

    group: Group
    flag: bool | str = False
    common: bool = False
    repeatable: bool = False
    scope: Literal["painting", "picture", "machine"] = "painting"
    identity: bool = True
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
