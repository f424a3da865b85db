"""Presets, and how a painting's settings are combined.

A preset is a flat YAML file of settings; ``extends: NAME`` starts it from another one, and settings below
``for_network: NETWORK:`` apply to that network only. Each source overrides those before it: defaults, preset,
command-line flags, ``--set`` assignments. Every mistake is a `SettingsError` that says where it is:
``file:line: key: got ..., wanted ...``.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from ..model.architecture import ARCHITECTURES
from ..model.errors import UnknownLayerError, choices
from ..model.regular_file import open_regular
from .arguments import checked
from .complaints import one_line, short, told
from .errors import SettingsError
from .region_specs import FACES
from .roles import Given
from .settings import Settings, exclusion

CONFIGS: Final = Path(__file__).resolve().parents[1] / "configs"
MAX_BYTES: Final = 1 << 16  # twenty times the longest of ours; PyYAML takes two seconds for so much
MAX_SIDECAR_BYTES: Final = 1 << 23  # of JSON, which is read fast
MAX_DEPTH: Final = 8  # settings need 3; the limit is for files made to exhaust the reader

# The later of these to be set takes the others' place: a flag --size must beat a preset's print_size.
_RIVALS: Final = {name: Settings.rivals(name) for name in Settings.model_fields}
# What a later preset or the command line takes away beside: weights belong to their network, a height to its width,
# the finest level's steps to the others'.
_REPLACED: Final = _RIVALS | {
    "network": {"weights"},
    "steps": {"finest_steps"},
    "width": _RIVALS["width"] | {"height"},
    "height": _RIVALS["height"] | {"width"},
}
# A default can only turn wrong because of another setting, so that one is to blame.
_BLAME: Final = {"overlap": "tile"}


_Layer = dict[str, Given]


def preset_names() -> list[str]:
    """Names of the presets that come with muralist."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def preset_text(preset: str) -> str:
    """Text of a preset, given by name or as the path of a file.

    Raises `SettingsError` if there is no such preset, or it is not a readable text file of at most 64 KiB.
    """
    return _read(_find(preset))


@checked
def load_settings(
    preset: str | Path = "default",
    overrides: Mapping[str, object] | None = None,
    assignments: Sequence[str] = (),
    own: Mapping[str, object] | None = None,
    place: str = "",
    *,
    foreign: bool = False,
) -> Settings:
    """Combine settings from a preset, flags, assignments and a manifest; later sources override earlier ones.

    Parameters
    ----------
    preset : str or path
        Name of a preset, or the path of a preset or of a painting's sidecar (anything with a folder or a suffix).
    overrides : mapping, optional
        Values of command-line flags; None means the flag was not given.
    assignments : sequence of str
        ``key=value`` texts, with the value in YAML. A list or mapping replaces the old value
        as a whole.
    own : mapping, optional
        What a manifest sets for one picture.
    place : str
        Where it does, such as ``list.csv:3``.
    foreign : bool
        Whether a manifest named the preset. Errors then show a file's contents only if it is a preset, since
        a stranger may name any file; the same holds for files that a preset extends.

    Raises
    ------
    SettingsError
        In one line. A file or an assignment that cannot be parsed is reported alone; wrong keys
        and values are all reported together.

    >>> load_settings(overrides={"tile": 512, "size": None}, assignments=["learning_rate=1e-3"]).learning_rate
    (0.001,)
    """
    preset = str(preset)
    said = list(map(Settings.with_new_names, _said(overrides, assignments, own, place)))
    _check_exclusive(said)
    layers = list(map(Settings.with_new_names, _preset_layers(preset, foreign=foreign)))
    network = _merged([*layers, *said], {}).get("network", Given(Settings.model_fields["network"].default))
    layers = [part for layer in layers for part in _for(network.value, layer)]
    layers = list(map(Settings.with_new_names, layers))
    _check_harmless(layers, set().union(*said))
    settings = _validated(_merged([*layers, *said], _REPLACED))
    _check_network(settings, preset, layers)
    return settings


def combined(
    overrides: Mapping[str, object] | None, assignments: Sequence[str], own: Mapping[str, object]
) -> dict[str, object]:
    """Give what flags, assignments and a manifest set together, as of `load_settings`: each setting once."""
    said = [
        {Settings.new_name(key, entry.value): entry for key, entry in layer.items()}
        for layer in _said(overrides, assignments, own)
    ]
    return {key: entry.value for key, entry in _merged(said, _REPLACED).items()}


# --- sources -------------------------------------------------------------------------------------


def _said(
    overrides: Mapping[str, object] | None,
    assignments: Sequence[str],
    own: Mapping[str, object] | None,
    place: str = "",
) -> list[_Layer]:
    """What the command line sets, and a manifest."""
    flags = {key: Given(value) for key, value in (overrides or {}).items() if value is not None}
    return [
        _merged([flags, *map(_assignment, assignments)], _RIVALS),
        {key: Given(value, place) for key, value in (own or {}).items()},
    ]


def _preset_layers(preset: str, *, foreign: bool) -> list[_Layer]:
    """The settings of a preset and of those it extends, the most basic first."""
    layers: list[_Layer] = []
    chain = [_find(preset)]
    while True:
        parse = _parse_foreign if foreign or len(chain) > 1 else _parse_own
        layers.insert(0, parse(_read(chain[-1]), str(chain[-1])))
        extends = layers[0].pop("extends", None)
        if extends is None:
            return layers
        chain.append(_extended(extends, chain))


def _for(network: object, layer: _Layer) -> list[_Layer]:
    """A preset's settings, and on top of them those that it has for one network only."""
    entry = layer.pop("for_network", Given({}))
    if not isinstance(entry.value, dict) or not all(isinstance(part, dict) for part in entry.value.values()):
        got = f"{entry.where}for_network: got {short(entry.value)}"
        raise SettingsError(f"{got}, wanted networks with settings each, such as {{compact: {{style_weight: 20}}}}")
    for name in entry.value:
        if name not in ARCHITECTURES:
            known = choices(name, ARCHITECTURES)
            raise SettingsError(f"{entry.where}for_network: unknown network {name!r}; {known}")
    return [layer, {key: Given(value, entry.place) for key, value in entry.value.get(str(network), {}).items()}]


def _check_harmless(layers: Iterable[_Layer], said: set[str]) -> None:
    """Refuse presets with settings about the machine, where to write or connect, or a single picture.

    Presets are shared, and apply to many pictures. A sidecar has its painting's masks, which are ignored where they are
    `said` anew.
    """
    for layer in layers:
        for key, entry in layer.items():
            if key in Settings.names(scope="machine") and entry.value not in (None, Settings.model_fields[key].default):
                raise SettingsError(
                    f"{entry.where}{key}: got {short(entry.value)} in a preset, where it is not allowed; use its "
                    f"flag or --set {key}=..."
                )
            is_mask = key in Settings.names(scope="picture") and entry.value not in (None, FACES, [FACES])
            if is_mask and key not in said:
                raise SettingsError(
                    f"{entry.where}{key}: got {short(entry.value)} in a preset, but masks belong to one picture; "
                    f"name them on the command line or in a manifest, or leave them out with --set {key}=null"
                )


def _check_network(settings: Settings, preset: str, layers: Iterable[_Layer]) -> None:
    """Refuse another network than a preset's where that does not have the layers that are measured."""
    own = _merged(layers, {}).get("network", Given(settings.network)).value
    if settings.network != own and {settings.network, own} <= ARCHITECTURES.keys():
        for layer in settings.layers:
            if not _has(settings.network, layer) and _has(str(own), layer):
                raise SettingsError(
                    f"preset {preset} is for network {own}, got {settings.network}, which has no layer {layer}; leave "
                    "--network out, or set style_layers and content_layers as well"
                )


def _has(network: str, layer: str) -> bool:
    try:
        ARCHITECTURES[network].check_layers((layer,))
    except UnknownLayerError:
        return False
    return True


def _check_exclusive(layers: Iterable[_Layer]) -> None:
    """Refuse settings that exclude each other, given side by side, even where one has its usual value.

    Presets may have them: a painting's settings, written out, name all of them.
    """
    for layer in layers:
        given = {key for key, entry in layer.items() if entry.value is not None and key in Settings.model_fields}
        for key in sorted(given):
            for rival in sorted(given.intersection(Settings.role(key).rivals)):
                raise SettingsError(f"{layer[key].where}{key}: {exclusion(rival, key)}")


def _extended(extends: Given, chain: list[Path]) -> Path:
    """Preset named by an ``extends`` line; a path counts from the folder of the file it stands in."""
    if not isinstance(extends.value, str):
        raise SettingsError(f"{extends.place}: extends: got {short(extends.value)}, wanted the name of a preset")
    try:
        path = _find(extends.value, chain[-1].parent)
    except SettingsError as error:
        raise SettingsError(f"{extends.place}: extends: {error}") from None
    if os.path.abspath(path) in map(os.path.abspath, chain):
        loop = " -> ".join(file.name for file in [*chain, path])
        raise SettingsError(f"{extends.place}: extends: the preset extends itself ({loop}), remove one of these lines")
    return path


def _find(preset: str, folder: Path = Path()) -> Path:
    path = Path(preset)
    if path.suffix or path.name != preset:
        return folder / path
    names = preset_names()
    if preset not in names:
        if preset and os.path.isfile(folder / f"{preset}.yaml"):
            raise SettingsError(f"unknown preset {preset!r}; for the file, write {preset}.yaml")
        raise SettingsError(f"unknown preset {preset!r}; {choices(preset, names)}, or name a .yaml file")
    return CONFIGS / f"{preset}.yaml"


def _read(path: Path) -> str:
    limit = MAX_SIDECAR_BYTES if path.suffix.lower() == ".json" else MAX_BYTES
    try:
        with open_regular(path) as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{path}: cannot be read ({reason}), wanted a preset file") from None
    if len(data) > limit:
        raise SettingsError(f"{path}: got more than {limit} bytes, wanted a preset of a few lines")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: got bytes that are not UTF-8, wanted a text file") from None


def _assignment(text: str) -> _Layer:
    key, equals, value = text.partition("=")
    if not (equals and key.strip()):
        raise SettingsError(f"--set: got {text!r}, wanted key=value")
    key = key.strip()
    return {key: Given(parse_value(value, f"--set: {key}"), "--set")}


def parse_value(text: str, source: str) -> object:
    """Read the value of a setting, written as after ``--set key=``, which is as in YAML.

    Raises `SettingsError` if it cannot be read; the message begins with `source`.
    """
    return _load(text, source, numbered=False)[1]


# --- YAML ----------------------------------------------------------------------------------------


# What an unquoted text means, as in YAML 1.2; YAML 1.1 would read 010 as 8, 1:30 as 90 and 1e-3 as text.
_PLAIN_VALUES: Final = {
    None: [
        ("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)\Z")),
        ("tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
        ("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*)\Z")),
        ("tag:yaml.org,2002:float", re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z")),
    ]
}


class _Loader(yaml.SafeLoader):
    """YAML without what a page of settings never needs.

    That is anchors and aliases, which can make a small file huge, tags, deep nesting, and repeated
    keys, of which YAML would silently take the last.
    """

    depth = 0
    yaml_implicit_resolvers = _PLAIN_VALUES

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if event.anchor is not None or getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(None, None, "anchors, aliases and tags are not allowed", event.start_mark)
        if self.depth == MAX_DEPTH:
            raise yaml.MarkedYAMLError(None, None, "nested too deeply", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(None, None, "a key must be a name", key.start_mark)
            key.tag = self.DEFAULT_SCALAR_TAG  # a key is a name, even one that looks like a number
            if key.value in lines:
                problem = f"repeated key {key.value!r}, first on line {lines[key.value]}"
                raise yaml.MarkedYAMLError(None, None, problem, key.start_mark)
            lines[key.value] = _line(key)
        return node


def _load(text: str, source: str, *, numbered: bool = True) -> tuple[yaml.Node | None, Any]:
    """The YAML node of a text, which knows its lines, and its value."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if numbered and error.problem_mark else ""
        raise SettingsError(one_line(f"{source}{line}: cannot be read as YAML: {error.problem}")) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise SettingsError(one_line(f"{source}: cannot be read as YAML: {error}")) from None


def _parse(text: str, source: str) -> _Layer:
    """The settings in a preset's text; an empty file changes nothing."""
    if len(text) > MAX_BYTES:
        raise SettingsError(f"{source}: got more than {MAX_BYTES} bytes, wanted a preset of a few lines")
    node, values = _load(text, source)
    if node is None or values is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise SettingsError(f"{source}:{_line(node)}: got {short(values)}, wanted lines of the form 'key: value'")
    return {key.value: Given(values[key.value], f"{source}:{_line(key)}") for key, _ in node.value}


def _parse_foreign(text: str, source: str) -> _Layer:
    """The same of a file that a stranger may have named; if it is no preset, nothing else is said."""
    try:
        layer = _parse(text, source)
    except SettingsError:
        layer = {"": Given(None)}
    if layer.keys() <= {*Settings.model_fields, *Settings.old_names(), "extends", "for_network"}:
        return layer
    raise SettingsError(
        f"{source}: this is not a preset, wanted a file of settings; if it is yours, `muralist presets {source}` "
        "says more"
    )


def _parse_own(text: str, source: str) -> _Layer:
    """The settings in a preset's text, or in a painting's sidecar, without those of the machine."""
    try:
        found = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and "identity" in found and isinstance(settings := found.get("settings"), dict):
        machine = Settings.names(scope="machine")
        return {key: Given(value, source) for key, value in settings.items() if key not in machine}
    return _parse(text, source)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


# --- bringing together ---------------------------------------------------------------------------


def _merged(layers: Iterable[_Layer], replaces: Mapping[str, set[str]]) -> _Layer:
    """All layers as one, the later ones on top; a key also takes the place of those it `replaces`."""
    merged: _Layer = {}
    for layer in layers:
        given = [key for key, entry in layer.items() if entry.value is not None]
        replaced = set().union(*(replaces.get(key, ()) for key in given))
        merged = {key: entry for key, entry in merged.items() if key not in replaced} | layer
    return merged


def _validated(entries: _Layer) -> Settings:
    def place(key: str) -> str:
        entry = entries.get(key) or entries.get(_BLAME.get(key, ""))
        return entry.where if entry else ""

    try:
        return Settings.model_validate({key: entry.value for key, entry in entries.items()})
    except ValidationError as error:
        raise SettingsError(told(error, Settings.model_fields, place)) from None
