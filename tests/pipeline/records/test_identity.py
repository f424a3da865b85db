"""Identities: what is in them, and what is said about two that differ."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muralist.pipeline.records.identity import difference, identity
from muralist.pipeline.settings import Settings

IDENTITY = {
    **identity(Settings(), "aa", [["bb"], ["cc"]], None, "dd"),
    "versions": {"muralist": "1.0", "torch": "2.6"},
}
VALUES = st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2))


def changed(**values):
    """The identity with other values."""
    return {**IDENTITY, **values}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (changed(content="xx"), "the photograph changed"),
        (changed(styles=[["bb", "cc"]]), "the style pictures changed"),
        (changed(init="xx"), "the picture to start from changed"),
        (changed(weights="xx"), "the network's weights changed"),
        (changed(settings={**IDENTITY["settings"], "tile": 512}), "tile was 1024, is 512"),
        (changed(settings={**IDENTITY["settings"], "size": 900}), "size was not set, is 900"),
        (changed(settings={**IDENTITY["settings"], "weights": "vgg.mat"}), "weights was not set, is vgg.mat"),
        (
            changed(settings={**IDENTITY["settings"], "content_layers": {"relu3_2": 1.0}}),
            "content_layers.relu4_2 was 1.0, is not set; content_layers.relu3_2 was not set, is 1.0",
        ),
        (changed(versions={"muralist": "1.0", "torch": "2.7"}), "torch was 2.6, is 2.7"),
        (changed(versions=None), 'versions was {"muralist": "1.0", "torch": "2.6"}, is not set'),
        ({**IDENTITY, "run folder": 2}, "run folder was not set, is 2"),
        (changed(content="xx", weights="xx"), "the photograph changed; the network's weights changed"),
    ],
)
def test_what_differs_is_named(now, said):
    """Files by what they are, settings and versions by name with both values."""
    assert difference(IDENTITY, now) == said


FILES = {
    "init": "{}start.png",
    "weights": "{}vgg.mat",
    "strength_map": "{}map.png",
    "protect": "{}labels.png#ff0000",
    "style_mask": ["{}part.png"],
    "regions": ["{}labels.png#00ff00={}starry.jpg,scale=2,style-mask={}part.png#0000ff"],
}


def settings_in(folder: str, **changes: object) -> dict[str, object]:
    """Identity of settings whose files lie in a folder."""
    named = {
        name: [text.replace("{}", folder) for text in value] if isinstance(value, list) else value.format(folder)
        for name, value in FILES.items()
    }
    return identity(Settings(**{**named, **changes}), "aa", [["bb"]], "cc", "dd", {"region 1": "ee"})


def test_where_files_lie_makes_no_other_painting():
    """What is in a file counts, by its hash; what its name means besides, a mask's color, counts by itself."""
    assert difference(settings_in("a/"), settings_in("/b/c/")) == ""
    assert "protect was" in difference(settings_in("a/"), settings_in("a/", protect="a/labels.png#ff0001"))
    regions = ["a/labels.png#00ff00=a/starry.jpg,scale=1,style-mask=a/part.png#0000ff"]
    assert "regions was" in difference(settings_in("a/"), settings_in("a/", regions=regions))
    assert "protect was not set" in difference(settings_in("a/", protect=None), settings_in("a/"))


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"workers": 3},
        {"threads": 2},
        {"memory": "4GiB"},
        {"scratch": "/tmp"},
        {"scheduler": "tcp://a:1"},
        {"tls_ca": "b"},
    ],
)
def test_where_it_is_painted_does_not_count(elsewhere):
    """The bytes are the same on another machine, so an interrupted run may go on there."""
    assert identity(Settings(**elsewhere), "a", [["b"]], "c", "d") == identity(Settings(), "a", [["b"]], "c", "d")
    assert identity(Settings(tile=512), "a", [["b"]], "c", "d") != identity(Settings(), "a", [["b"]], "c", "d")


def test_nothing_is_said_about_equals():
    """Also after a way through JSON, and with a key that says nothing."""
    assert difference(IDENTITY, json.loads(json.dumps(IDENTITY))) == ""
    assert difference(IDENTITY, {**IDENTITY, "run folder": None}) == ""


@given(*[st.dictionaries(st.sampled_from(["content", "settings", "other"]), VALUES)] * 2)
def test_silence_means_equality(before, now):
    """Whatever the values, "" comes back exactly if nothing but nulls is different."""
    plain = [{key: value for key, value in each.items() if value is not None} for each in (before, now)]
    assert (difference(before, now) == "") == (plain[0] == plain[1])


def identified(**changes: object) -> dict[str, object]:
    """The identity of a painting with some settings."""
    return identity(Settings(**changes), "aa", [("bb",), ["cc", "dd"]], None, "ee")


def test_an_identity_is_plain():
    """Files are told by their hashes, style by style, and all of it can be written down and read again."""
    found = identified(style_blend=(1, 2), print_size="60x90cm")
    assert json.loads(json.dumps(found)) == found
    assert (found["content"], found["init"], found["weights"]) == ("aa", None, "ee")
    assert found["styles"] == [["bb"], ["cc", "dd"]]
    assert set(found["versions"]) == {"muralist", "torch", "numpy", "pillow", "libvips"}
    assert all(re.match(r"\d+\.\d+", number) for number in found["versions"].values())


@pytest.mark.parametrize(
    "changes",
    [{"tile": 512}, {"steps": (1,)}, {"gps": True}, {"bit_depth": 16}, {"device": "cpu"}, {"precision": "float32"}],
)
def test_what_the_bytes_depend_on_counts(changes):
    """Any setting that the file depends on is named where it differs."""
    (name,) = changes
    assert difference(identified(), identified(**changes)).startswith(f"{name} was ")
