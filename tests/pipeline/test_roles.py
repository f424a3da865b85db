"""Roles of settings: every field has one, and every list of settings follows from them."""

import re
from typing import get_args

import pytest

from muralist.pipeline.batch import manifest
from muralist.pipeline.errors import SettingsError
from muralist.pipeline.presets import load_settings
from muralist.pipeline.records.identity import identity
from muralist.pipeline.roles import Group, setting
from muralist.pipeline.settings import Settings
from muralist.pipeline.speeds import conditions
from muralist.pipeline.workers.local import WorkerLayout

MACHINE = {"scratch", "scheduler", "workers", "threads", "tls_ca", "tls_cert", "tls_key", "memory", "device", "fast"}


class More(Settings):
    """Settings with a field more for every role."""

    cooler: int = setting(
        3, "machine", "Fans.", flag=True, scope="machine", identity=False, speed=True, style_cache=True
    )
    stencil: str | None = setting(None, "regions", "A mask.", flag="--cut-out", scope="picture", repeatable=True)
    shiny: bool = setting(False, "look", "Varnish.", flag=True, rivals=("strength",))


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_field_has_its_role(name):
    """In a group of the help, with rivals that are there; what is common has a flag."""
    role = Settings.role(name)
    assert role.group in get_args(Group)
    assert set(role.rivals) <= set(Settings.model_fields)
    assert role.flag or not (role.common or role.repeatable)


def test_a_field_without_a_role_is_a_mistake():
    """Nothing is taken for granted about a setting."""

    class Bare(Settings):
        bare: int = 1

    with pytest.raises(AssertionError, match="bare"):
        Bare.names(scope="machine")


def test_what_is_for_the_user_alone_to_say():
    """No setting that takes of the machine, writes elsewhere or connects somewhere gets lost from the list."""
    assert Settings.names(scope="machine") == MACHINE | {"max_pixels"}
    assert Settings.names(scope="picture") == {"regions", "strength_map", "protect", "style_mask"}


def test_what_a_painting_does_not_depend_on():
    """Where it is painted, but for the devices, whose arithmetic differs; and the painting's file times."""
    assert Settings.names(identity=False) == MACHINE - {"device", "fast"} | {"max_pixels", "keep_times"}


def test_flags_are_spelled_as_their_settings():
    """A switch has two; few have another word."""
    flags = More.flags()
    assert (flags["cooler"], flags["stencil"], flags["shiny"]) == ("--cooler", "--cut-out", "--shiny/--no-shiny")
    usual = {name: flag for name, flag in Settings.flags().items() if not re.match(f"--{name.replace('_', '-')}", flag)}
    assert usual == {"print_size": "--print", "regions": "--region"}


@pytest.mark.parametrize(
    ("claim", "new"),
    [
        ({"scope": "machine"}, {"cooler"}),
        ({"scope": "picture"}, {"stencil"}),
        ({"identity": False}, {"cooler"}),
        ({"speed": True}, {"cooler"}),
        ({"style_cache": True}, {"cooler"}),
        ({"group": "look"}, {"shiny"}),
        ({"repeatable": True}, {"stencil"}),
    ],
)
def test_a_new_field_is_in_the_lists_of_its_role(claim, new):
    """And in no other; the others stay as they are."""
    assert More.names(**claim) == Settings.names(**claim) | new


def test_rivals_are_each_others():
    """One of two says it of both."""
    assert Settings.rivals("strength") == {"content_weight"}
    assert More.rivals("strength") == {"content_weight", "shiny"}
    assert More.rivals("shiny") == {"strength"}
    assert Settings.rivals("size") == {"print_size", "width", "height"}
    assert Settings.rivals("print_size") == {"size", "width", "height"}
    assert Settings.rivals("width") == Settings.rivals("height") == {"size", "print_size"}


def test_a_new_field_has_its_effects(tmp_path, monkeypatch):
    """It enters identity and speeds, and presets and manifests are refused it, without a list to write it into."""
    assert {"stencil", "shiny"} == identity(More(), "a", [], None, "b")["settings"].keys() - Settings.model_fields
    assert conditions(More(), WorkerLayout(1, 1), "cpu", "") == {
        **conditions(Settings(), WorkerLayout(1, 1), "cpu", ""),
        "cooler": 3,
    }
    for module in ("presets", "batch.manifest"):
        monkeypatch.setattr(f"muralist.pipeline.{module}.Settings", More)
    for name, value in (("cooler", 4), ("stencil", "a.png")):
        (tmp_path / "mine.yaml").write_text(f"{name}: {value}\n")
        with pytest.raises(SettingsError, match=f"mine.yaml:1: {name}: got {value!r} .*preset"):
            load_settings(str(tmp_path / "mine.yaml"))
        assert getattr(load_settings(overrides={name: value}), name) == value
    (tmp_path / "list.csv").write_text("content,cooler\na.jpg,4\n")
    with pytest.raises(SettingsError, match=r"cooler .*batch"):
        manifest.read_manifest(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("content,stencil\na.jpg,b.png\n")
    (entry,) = manifest.read_manifest(tmp_path / "list.csv")
    assert entry.overrides == {"stencil": str(tmp_path / "b.png")}
