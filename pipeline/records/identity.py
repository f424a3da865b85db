"""The identity of a painting: everything its bytes depend on, as plain values, and how two identities differ.

An identity is a dict that JSON can hold: `content`, `init`, `weights` and `profile` (SHA-256), `styles` (a list of
lists of them), `masks` (a dict of them), `settings` and `versions` (dicts). Two paintings with the same identity have
the same bytes, except for the date in the history of their metadata.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Final

from ..initialization import init_file
from ..pictures.libraries import library_versions
from ..pictures.masks import mask_file
from ..pictures.profiles import output_profile
from ..region_specs import FACES, parse_region
from ..setting_types import PROFILES
from ..settings import Settings

_FILE: Final = "a file"
PACKAGES: Final = ("muralist", "torch", "numpy")

_CHANGED: Final = {
    "content": "the photograph changed",
    "styles": "the style pictures changed",
    "init": "the picture to start from changed",
    "weights": "the network's weights changed",
    "profile": "the color profile changed",
    "masks": "a mask changed",
}


def identity(
    settings: Settings,
    content: str,
    styles: Sequence[Sequence[str]],
    init: str | None,
    weights: str,
    masks: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Put an identity together.

    Parameters
    ----------
    content, init, weights : str
        SHA-256 of the photograph, of the picture to start from if there is one, and of the network's weights.
    styles : sequence of sequence of str
        SHA-256 of the pictures of every style.
    masks : mapping str -> str, optional
        SHA-256 of the file of every mask, by what it is for.

    Raises
    ------
    SettingsError
        If the settings name a file of a color profile that is none.
    """
    named = settings.profile not in PROFILES
    profile = hashlib.sha256(output_profile(settings.profile, None) or b"").hexdigest() if named else None
    return {
        **({"profile": profile} if profile else {}),
        **({"masks": dict(masks)} if masks else {}),
        "content": content,
        "styles": [list(style) for style in styles],
        "init": init,
        "weights": weights,
        "settings": _without_names(settings),
        "versions": {name: version(name) for name in PACKAGES} | library_versions(),
    }


def _without_names(settings: Settings) -> dict[str, Any]:
    """Settings as plain values, without the paths of files, whose content is hashed; a mask's color stays."""
    plain = settings.model_dump(mode="json", exclude=set(settings.names(identity=False)))
    files = {"init": init_file(settings), "weights": settings.weights}
    files |= {"profile": None if settings.profile in PROFILES else settings.profile}
    plain |= {name: _FILE for name, file in files.items() if file is not None}
    plain |= {"strength_map": _color(settings.strength_map)} if settings.strength_map else {}
    plain |= {name: [*map(_color, plain[name])] for name in ("style_mask", "protect") if plain[name]}
    plain |= {"regions": [*map(_region, settings.regions)]} if settings.regions else {}
    return plain


def _color(mask: str) -> str:
    return mask if mask == FACES else f"{_FILE}{mask.removeprefix(str(mask_file(mask)))}"


def _region(text: str) -> str:
    spec = parse_region(text)
    part = spec.style_mask and _color(spec.style_mask)
    return str(replace(spec, mask=_color(spec.mask), style=_FILE, style_mask=part))


def difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Say in one line in what two identities differ; "" if they do not. A missing value is the same as null.

    >>> difference({"content": "ab", "settings": {"tile": 1024}}, {"content": "cd", "settings": {"tile": 512}})
    'the photograph changed; tile was 1024, is 512'
    """
    return "; ".join(_differences(before, now, ()))


def _differences(before: object, now: object, place: tuple[str, ...]) -> Iterator[str]:
    if before == now:
        return
    if len(place) == 1 and place[0] in _CHANGED:
        yield _CHANGED[place[0]]
    elif isinstance(before, dict) and isinstance(now, dict):
        for key in {**before, **now}:
            yield from _differences(before.get(key), now.get(key), (*place, key))
    else:
        yield f"{'.'.join(place[1:] or place)} was {_spelled(before)}, is {_spelled(now)}"


def _spelled(value: object) -> str:
    return "not set" if value is None else value if isinstance(value, str) else json.dumps(value)
