"""Measured speeds on disk: found again by what they depend on, and never in the way."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from muralist.pipeline import speeds as module
from muralist.pipeline.presets import load_settings
from muralist.pipeline.speeds import Speed, Speeds, conditions, usual_speeds
from muralist.pipeline.workers.local import WorkerLayout

HERE = {"device": "cpu", "name": "Abacus 9", "workers": 2, "lively": True}
SPEED = Speed(HERE, "bfloat16", True, 512, 0.75, "2026-11-21")


@pytest.fixture(autouse=True)
def date_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day on which the speeds above are fresh."""
    monkeypatch.setattr(module, "today", lambda: date(2026, 11, 30))


@pytest.fixture
def speeds(tmp_path: Path) -> Speeds:
    """No speeds yet, in a folder that does not exist."""
    return Speeds(tmp_path / "home" / "muralist" / "speeds.json")


def test_what_was_kept_is_found(speeds):
    """A speed comes back as it was, also to another command, by conditions in any order."""
    assert speeds.find(HERE, "auto", 512) is None
    assert speeds.keep(SPEED)
    assert Speeds(speeds.file).find(dict(reversed(HERE.items())), "auto", 512) == SPEED
    assert [path.name for path in speeds.file.parent.iterdir()] == ["speeds.json"]


@pytest.mark.parametrize("part", HERE)
def test_every_condition_counts(speeds, part):
    """Another processor, or another number of workers, is another question; so is a condition nobody asked about."""
    speeds.keep(SPEED)
    assert speeds.find(HERE | {part: "another"}, "auto", 512) is None
    assert speeds.find({name: HERE[name] for name in HERE if name != part}, "auto", 512) is None


def test_the_precision_counts(speeds):
    """A precision is found by its name, and by `auto` if that is what it means there."""
    speeds.keep(SPEED)
    full = replace(SPEED, precision="float32", usual=False)
    assert speeds.find(HERE, "float32", 512) is None
    speeds.keep(full)
    assert speeds.find(HERE, "float32", 512) == full
    assert speeds.find(HERE, "auto", 512) == speeds.find(HERE, "bfloat16", 512) == SPEED


@pytest.mark.parametrize(
    ("side", "found"),
    [(100, None), (128, 256), (255, 256), (256, 256), (400, 512), (512, 512), (800, 1024), (4096, 1024)],
)
def test_the_nearest_side_is_found(speeds, side, found):
    """Of several sides the nearest answers, but none that is more than twice as large."""
    for each in (1024, 256, 512):
        speeds.keep(replace(SPEED, side=each))
    speed = speeds.find(HERE, "auto", side)
    assert (speed.side if speed else None) == found


@pytest.mark.parametrize(("kept", "side"), [(255, 512), (255, 4096), (64, 129)])
def test_a_small_tile_says_nothing_of_large_ones(speeds, kept, side):
    """What was measured on a tile less than half as large as would be measured now is no answer."""
    speeds.keep(replace(SPEED, side=kept))
    assert speeds.find(HERE, "auto", side) is None
    assert speeds.find(HERE, "auto", 2 * kept) is not None


def test_a_newer_speed_replaces_the_older(speeds):
    """The same question has one answer, the last; others stay."""
    others = [
        replace(SPEED, side=1024),
        replace(SPEED, precision="float32", usual=False),
        replace(SPEED, conditions={"device": "x"}),
    ]
    for speed in (*others, SPEED, replace(SPEED, microseconds=0.5, date="2027-01-01")):
        speeds.keep(speed)
    assert len(json.loads(speeds.file.read_text())) == 4
    assert speeds.find(HERE, "auto", 512).microseconds == 0.5


@pytest.mark.parametrize(("days", "found"), [(0, True), (module.KEPT_DAYS, True), (module.KEPT_DAYS + 1, False)])
def test_speeds_age(speeds, monkeypatch, days, found):
    """After a month a speed counts no more; one with a date that is none never did."""
    speeds.keep(SPEED)
    monkeypatch.setattr(module, "today", lambda: date.fromisoformat(SPEED.date) + timedelta(days=days))
    assert (speeds.find(HERE, "auto", 512) is not None) == found
    speeds.keep(replace(SPEED, date="yesterday"))
    assert speeds.find(HERE, "auto", 512) is None


def spoilt(**changes: object) -> str:
    """A file with a row that is not a speed."""
    return json.dumps([vars(SPEED) | changes])


@pytest.mark.parametrize(
    "text",
    [
        *("", "[", "null", "{}", "[3]", "\0\xff", spoilt(microseconds=0), spoilt(microseconds=-1), spoilt(side=0)),
        *(
            spoilt(microseconds=float("nan")),
            spoilt(microseconds=float("inf")),
            spoilt(conditions=[]),
            spoilt(date=None),
        ),
    ],
)
def test_a_damaged_file_is_replaced(speeds, text):
    """A file that is cut short or holds what is no speed tells nothing, and is written anew."""
    speeds.keep(SPEED)
    speeds.file.write_text(text, encoding="latin-1")
    assert speeds.find(HERE, "auto", 512) is None
    assert speeds.keep(SPEED)
    assert speeds.find(HERE, "auto", 512) == SPEED


@pytest.mark.parametrize("place", ["home", "home/muralist/speeds.json/x"])
def test_a_file_that_cannot_be_written_is_no_error(speeds, tmp_path, place):
    """Where something lies in the way, nothing is kept, which is told, and nothing is found."""
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("in the way")
    assert not speeds.keep(SPEED)
    assert speeds.find(HERE, "auto", 512) is None


def test_speeds_lie_in_the_cache_folder(monkeypatch, tmp_path):
    """They lie where style statistics do."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert usual_speeds().file == tmp_path / "muralist" / "speeds.json"


def depended_on(**changes: object) -> dict[str, object]:
    """The conditions under settings."""
    return dict(conditions(load_settings(overrides=changes), WorkerLayout(2, 3), "cpu", "Abacus 9"))


@pytest.mark.parametrize(
    "change",
    [
        {"network": "vgg19"},
        {"pooling": "max"},
        {"pool_rescale": True},
        {"padding": "zeros"},
        {"optimizer": "adam"},
        {"style_loss": "w2"},
        {"moments_weight": 30},
        {"tv_loss": "l1-sum"},
        {"normalize_gradients": True},
        {"style_layers": {"relu1_1": 1, "relu2_1": 1}},
        {"content_weight": 0},
    ],
)
def test_a_speed_depends_on_what_is_computed(change):
    """Whatever changes the work of a step is another condition."""
    assert depended_on(**change) != depended_on()


def test_a_speed_does_not_depend_on_the_rest(monkeypatch):
    """Weights, sizes and steps do not matter, nor a history that Adam has none of; versions do."""
    assert depended_on(content_weight=7, size=900, tile=2048, steps=3, precision="float32") == depended_on()
    adam = {"optimizer": "adam"}
    assert depended_on(lbfgs_history=4, **adam) == depended_on(lbfgs_history=5, **adam)
    assert depended_on(lbfgs_history=4) != depended_on(lbfgs_history=5)
    assert depended_on(lbfgs_resolutions=1) != depended_on()
    before = depended_on()
    assert {"device": "cpu", "name": "Abacus 9", "workers": 2, "threads": 3}.items() <= before.items()
    monkeypatch.setattr(module, "version", lambda package: "9.9")
    assert {name for name, value in depended_on().items() if value != before[name]} == {"torch", "muralist"}
