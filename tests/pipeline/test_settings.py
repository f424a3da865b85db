"""The settings model: defaults, limits, and what it reads as what."""

import json
import pickle
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from muralist.model.losses.content import CONTENT_LOSSES
from muralist.model.losses.style import STYLE_LOSSES
from muralist.model.losses.variation import TV_LOSSES
from muralist.model.optimizers import OPTIMIZERS
from muralist.pipeline.settings import ContentLoss, Settings, StyleLoss, TvLoss

DECAYS = st.floats(0, 1, exclude_max=True)
WEIGHTS = st.dictionaries(st.text(min_size=1), st.floats(0, 1e9), min_size=1).filter(
    lambda layers: any(layers.values())
)
VALID = st.fixed_dictionaries(
    {},
    optional={
        "style_layers": WEIGHTS,
        "style_weight": st.floats(0, allow_infinity=False),
        "moments_weight": st.floats(0, allow_infinity=False),
        "steps": st.lists(st.integers(0, 100_000), min_size=1),
        "learning_rate": st.lists(st.floats(0, 1, exclude_min=True), min_size=1),
        "betas": st.tuples(DECAYS, DECAYS),
        "ema_decay": DECAYS,
        "tile": st.integers(257, 16_384),
        "size": st.none() | st.integers(16, 1_000_000),
        "dpi": st.none() | st.floats(0, 10_000, exclude_min=True),
        "bit_depth": st.sampled_from(["auto", 8, 16]),
        "weights": st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
        "seed": st.integers(0, 2**63 - 1),
    },
)


def complaint(**values):
    """Message of the one complaint about some values."""
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    (details,) = caught.value.errors()
    return details["msg"]


def test_the_defaults_are_valid():
    """No settings at all is a complete set of settings."""
    names = [f"relu{n}_1" for n in range(1, 6)]
    assert Settings().style_layers == dict.fromkeys([*names, *(f"{name}/2" for name in names)], 1.0)


@pytest.mark.parametrize("key", Settings.model_fields)
def test_every_field_is_described_in_one_sentence(key):
    """The README and `muralist presets` show the descriptions."""
    description = Settings.model_fields[key].description
    assert description is not None
    assert description[0].isupper()
    assert description.endswith(".")
    assert "\n" not in description


@given(VALID)
def test_settings_survive_json_and_pickling(values):
    """What is written beside a painting, or sent to a worker, gives the same settings again."""
    settings = Settings(**values)
    assert Settings.model_validate(json.loads(json.dumps(settings.model_dump(mode="json")))) == settings
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_settings_are_frozen():
    """A setting cannot change under a running painting."""
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.tile = 512  # type: ignore[misc]


def test_default_mappings_are_not_shared():
    """Two sets of settings do not hold the same dictionary."""
    assert Settings().style_layers is not Settings().style_layers


@pytest.mark.parametrize(
    ("key", "written", "read"),
    [
        ("style_weight", "1e-3", 0.001),
        ("style_weight", 5, 5.0),
        ("tile", "512", 512),
        ("tile", 512.0, 512),
        ("steps", 7, (7,)),
        ("steps", "200, 100", (200, 100)),
        ("learning_rate", "1e-3", (0.001,)),
        ("betas", "0.5,0.9", (0.5, 0.9)),
        ("style_layers", {"relu1_1": "1e-2"}, {"relu1_1": 0.01}),
        ("style_layers", "relu1_1, relu2_1/2", {"relu1_1": 1, "relu2_1/2": 1}),
        ("content_layers", ["relu4_2"], {"relu4_2": 1}),
        ("bit_depth", "16", 16),
        ("profile", "sRGB", "srgb"),
        ("profile", "AdobeRGB", "adobergb"),
        ("profile", "Shop.icc", "Shop.icc"),
        ("profile", Path("Shop.icc"), "Shop.icc"),
        ("protect", Path("face.png"), ("face.png",)),
        ("protect", [Path("face.png"), "faces"], ("face.png", "faces")),
        ("init", "Content", "content"),
        ("init", "Blank.png", "Blank.png"),
        ("consensus", "off", False),
        ("device", "cuda:3", "cuda:3"),
        ("scheduler", "tls://[::1]:8786", "tls://[::1]:8786"),
        ("print_size", "24x36in", "24x36in"),
        ("aspect", "4:3", "4:3"),
        ("aspect", 1.5, "1.5"),
        ("aspect", 2, "2"),
        ("tile_grid", "2,3", (2, 3)),
    ],
)
def test_text_and_single_values_are_read(key, written, read):
    """Values come from YAML, command lines and Python: text stands for numbers and lists, a path for its text."""
    assert getattr(Settings(**{key: written}), key) == read


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tile", True, "a number, not true or false"),
        ("size", False, "a number, not true or false"),
        ("style_weight", True, "a number, not true or false"),
        ("steps", [True], "a number, not true or false"),
        ("steps", True, "a number, not true or false"),
        ("style_layers", {"relu1_1": True}, "a number, not true or false"),
        ("tile", 300.5, "valid integer, got a number with a fractional part"),
        ("steps", [1, 2.5], "valid integer, got a number with a fractional part"),
        ("style_weight", float("nan"), "finite"),
        ("tv_weight", "inf", "finite"),
        ("content_layers", {"relu4_2": float("inf")}, "finite"),
        ("learning_rate", [float("nan")], "finite"),
        ("style_layers", {}, "at least one of them above 0"),
        ("content_layers", {"relu4_2": 0}, "at least one of them above 0"),
        ("style_layers", {"": 1}, "a non-empty text"),
        ("style_layers", {"relu1_1": -1}, "greater than or equal to 0"),
        ("style_layers", ["relu1_1", 2], "valid dictionary"),
        ("style_layers", "relu1_1,relu1_1", "every layer once"),
        ("steps", [], "one or more numbers"),
        ("steps", {}, "one or more numbers"),
        ("steps", None, "one or more numbers"),
        ("steps", [-1], "greater than or equal to 0"),
        ("steps", [100_001], "less than or equal to 100000"),
        ("learning_rate", [0], "greater than 0"),
        ("learning_rate", [1.1], "less than or equal to 1"),
        ("betas", [0.5], "two numbers"),
        ("betas", [0.5, 0.9, 0.9], "two numbers"),
        ("betas", [0.5, 1], "less than 1"),
        ("ema_decay", 1, "less than 1"),
        ("style_scale", 0.01, "greater than or equal to 0.05"),
        ("style_scale", 11, "less than or equal to 10"),
        ("base_size", 63, "greater than or equal to 64"),
        ("base_size", 8193, "less than or equal to 8192"),
        ("steps_per_round", 0, "greater than or equal to 1"),
        ("steps_per_round", 1, "wanted 2 or more, or optimizer adam"),
        ("tile", "1e99", "valid integer"),
        ("tile", 1_000_001, "less than or equal to 1000000"),
        ("overlap", -1, "greater than or equal to 0"),
        ("edge_margin", 513, "less than or equal to 512"),
        ("size", 15, "greater than or equal to 16"),
        ("size", 1_000_001, "less than or equal to 1000000"),
        ("width", 15, "greater than or equal to 16"),
        ("height", 1_000_001, "less than or equal to 1000000"),
        ("aspect", "abc", "wanted width and height such as 4:3"),
        ("aspect", "0:3", "wanted sides above 0"),
        ("aspect", True, "valid string"),
        ("tile_grid", [2], "two numbers"),
        ("tile_grid", [0, 2], "greater than or equal to 1"),
        ("tile_grid", [2, 1001], "less than or equal to 1000"),
        ("print_size", "60x90", "wanted two lengths and a unit"),
        ("dpi", 0, "greater than 0"),
        ("dpi", 10_001, "less than or equal to 10000"),
        ("quality", 101, "less than or equal to 100"),
        ("max_pixels", 0, "greater than or equal to 1"),
        ("memory", "3KiB", "at least 1MiB, with its unit"),
        ("noise_ratio", 1.1, "less than or equal to 1"),
        ("snapshot_every", 0, "greater than or equal to 1"),
        ("workers", 0, "greater than or equal to 1"),
        ("threads", 0, "greater than or equal to 1"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", 2**63, "less than"),
        ("bit_depth", 12, "'auto', 8 or 16"),
        ("bit_depth", "12", "'auto', 8 or 16"),
        ("pooling", "min", "'max', 'average' or 'l2'"),
        ("fit", "Crop", "'fit' or 'crop'"),
        ("device", "gpu", "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"),
        ("device", "cuda:0\n", "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"),
        ("scheduler", "localhost:8786", "an address such as tcp://host:8786"),
        ("scheduler", "tcp://localhost", "an address such as tcp://host:8786"),
        ("scheduler", "tcp://[::1", "an address such as tcp://host:8786"),
        ("scheduler", "tcp://[::1]", "an address such as tcp://host:8786"),
        ("scheduler", "tcp://::1:8786", "an address such as tcp://host:8786"),
        ("scheduler", "tcp://]a[:8786", "an address such as tcp://host:8786"),
        ("scheduler", "tcp://localhost:65536", "an address such as tcp://host:8786"),
        ("scheduler", "tcp://localhost:0", "an address such as tcp://host:8786"),
        ("network", "", "a non-empty text"),
        ("weights", "a\0b", "a file name"),
        ("init", "\ud800", "a file name"),
        ("scratch", "a" * 20_000, "a file name"),
        ("weights", 3, "valid string"),
        ("scratch", "", "a non-empty text"),
        ("consensus", 3, "valid boolean"),
        ("tiel", 3, "not permitted"),
    ],
)
def test_wrong_values_are_refused(key, value, message):
    """Each limit gives exactly one complaint, and it says what was wanted."""
    assert message in complaint(**{key: value})


@pytest.mark.parametrize(("tile", "overlap"), [(256, 128), (64, 32), (100, 99)])
def test_a_tile_must_be_larger_than_two_overlaps(tile, overlap):
    """Otherwise three tiles would meet in one place."""
    assert "wanted an overlap below half the tile" in complaint(tile=tile, overlap=overlap)


def test_the_default_overlap_is_checked_too():
    """A small tile alone is enough to be wrong."""
    assert "wanted an overlap below half the tile" in complaint(tile=256)
    assert Settings(tile=257).overlap == 128


def test_a_tile_grid_needs_no_tile_that_suits_the_overlap():
    """With a grid of tiles `tile` does not count, so it cannot be too small; a refused one is one complaint."""
    assert Settings(tile=64, overlap=200, tile_grid=(2, 3)).tile_grid == (2, 3)
    assert "below half the tile" in complaint(tile=64, overlap=200, tile_grid=None)


def test_an_unreadable_tile_is_one_complaint():
    """The overlap is not measured against a tile that was refused."""
    assert "greater than or equal to 64" in complaint(tile=12)


def test_size_and_print_size_exclude_each_other():
    """A painting has one size."""
    assert "exclude each other" in complaint(size=1000, print_size="60x90cm")


@pytest.mark.parametrize("side", ["width", "height"])
def test_sides_exclude_other_sizes(side):
    """A width or a height is a size too; the two of them go together."""
    assert f"size and {side} exclude each other" in complaint(**{"size": 1000, side: 800})
    assert f"{side} and print_size exclude each other" in complaint(**{"print_size": "60x90cm", side: 800})
    assert Settings(width=800, height=600).height == 600


def test_sides_must_not_contradict_the_aspect():
    """Width, height and aspect together must agree; any two of them are fine."""
    assert "width 800 and height 500, which contradict aspect 4:3" in complaint(width=800, height=500, aspect="4:3")
    assert Settings(width=800, height=600, aspect="4:3").aspect == "4:3"
    assert Settings(width=800, aspect="4:3").height is None


@pytest.mark.parametrize(
    ("names", "table"),
    [
        (StyleLoss, STYLE_LOSSES),
        (ContentLoss, CONTENT_LOSSES),
        (TvLoss, TV_LOSSES),
        (Settings.model_fields["optimizer"].annotation, OPTIMIZERS),
    ],
)
def test_names_are_those_of_the_model(names, table):
    """What can be asked for is what the model has, no more and no less."""
    assert set(get_args(names)) == set(table)


@pytest.mark.parametrize("address", ["tcp://host:1", "tls://10.0.0.1:65535", "tcp://[::1]:8786", "tls://a-b.c_d:08786"])
def test_addresses_of_schedulers(address):
    """By name and by number, also of IPv6, in brackets."""
    assert Settings(scheduler=address).scheduler == address
