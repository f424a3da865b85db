"""Whatever a batch writes takes the place of nothing that it reads, and of nothing else that it writes."""

import os
from pathlib import Path
from typing import Any

import pytest

from muralist.pipeline.batch.collisions import check_collisions
from muralist.pipeline.batch.items import Item
from muralist.pipeline.errors import SettingsError
from muralist.pipeline.presets import load_settings


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Names count from an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def item(content: str, output: str, styles: tuple[str, ...] = ("style.png",), **overrides: Any) -> Item:
    """A picture that was named by itself."""
    return Item(1, Path(content), tuple(map(Path, styles)), None, overrides, Path.cwd() / output, content)


def check(*items: Item, manifests: tuple[str, ...] = (), **settings: Any) -> None:
    """Look at a batch with these settings, whose report lies in the folder out."""
    check_collisions(
        items,
        lambda item: load_settings("default", settings, (), item.overrides),
        Path("out/report.jsonl"),
        map(Path, manifests),
    )


@pytest.mark.parametrize(
    ("items", "manifests", "settings", "said"),
    [
        (
            [("out/a.png", "out/p/a.png"), ("out/b.png", "out/a.png")],
            (),
            {},
            "the painting of out/b.png (out/b.png) would overwrite HERE/out/a.png, which is an input or lies",
        ),
        (
            [("out/a.jpg.json", "b.jpg"), ("a.jpg", "out/a.jpg")],
            (),
            {},
            "the sidecar of a.jpg (a.jpg) would overwrite HERE/out/a.jpg.json, which is an input",
        ),
        (
            [("a.jpg", "out/a.jpg")],
            ("out/report.jsonl",),
            {},
            "the report would overwrite HERE/out/report.jsonl, which is an",
        ),
        ([("a.jpg", "out/a.png")], (), {"init": "out/a.png"}, "would overwrite HERE/out/a.png, which is an input"),
        (
            [("a.jpg", "out/a.png")],
            (),
            {"regions": ["sky.png=out/a.png"]},
            "would overwrite HERE/out/a.png, which is an input",
        ),
        ([("a.jpg", "out/a.png")], (), {"strength_map": "out/a.png"}, "overwrite HERE/out/a.png, which is an input"),
        (
            [("a.jpg", "out/a.png"), ("b.jpg", "out/a.png.faces.png")],
            (),
            {"protect": "faces"},
            "the mask of faces of a.jpg (a.jpg) and the painting of b.jpg (b.jpg) would both be written to",
        ),
        ([("a.jpg", "out/a.png")], (), {"weights": "out/a.png"}, "would overwrite HERE/out/a.png, which is an input"),
        (
            [("a.png", "out/a.png"), ("out/a-000001.png", "out/b.png")],
            (),
            {"snapshot_every": 1},
            "the snapshot of a.png (a.png) after 1 steps would overwrite HERE/out/a-000001.png, which is an input"
            "; choose",
        ),
        (
            [("a.png", "out/a.png"), ("b.png", "out/a-000050.png")],
            (),
            {"snapshot_every": 25},
            "the snapshot of a.png (a.png) after 50 steps would overwrite HERE/out/a-000050.png, "
            "which is the painting of b",
        ),
        (
            [("a.png", "out/a.png")],
            (),
            {"snapshot_every": 25, "init": "out/a-1000000.png"},
            "after 1000000 steps would overwrite HERE/out/a-1000000.png, which is an input",
        ),
    ],
)
def test_a_file_that_would_be_lost_is_named(here, items, manifests, settings, said):
    """With what would be written there, for what photograph, and where that was named."""
    with pytest.raises(SettingsError) as caught:
        check(*(item(*names) for names in items), manifests=manifests, **settings)
    assert said.replace("HERE", str(here)) in str(caught.value)


def test_links_hide_nothing(here):
    """A file has one place, whatever it is called."""
    Path("out").mkdir()
    Path("door").symlink_to("out")
    with pytest.raises(SettingsError, match=r"snapshot .*a-000001\.png.*--snapshot-every"):
        check(item("a.png", "out/a.png"), item("door/a-000001.png", "b.png"), snapshot_every=1)


def test_other_names_of_a_file_hide_nothing(here):
    """Nor where `A.PNG` is `a.png`."""
    Path("a.png").touch()
    os.link("a.png", "A.PNG")
    with pytest.raises(SettingsError, match=r"A\.PNG, which is an input"):
        check(item("a.png", "out/a.png"), item("b.png", "A.PNG"))


@pytest.mark.parametrize(
    "name", ["a-000015.png", "a-1.png", "a-0000010.png", "b-000010.png", "a-000010.jpg", "a-x.png"]
)
def test_other_names_are_free(name):
    """Of steps at which nothing is saved, spelled otherwise, of other outputs, or where nothing is saved."""
    check(item("a.png", "out/a.png"), item(f"out/{name}", "out/p/b.png"), snapshot_every=10)
    check(item("a.png", "out/a.png"), item("out/a-000010.png", "out/p/b.png"))


def test_settings_of_one_picture_count_for_it(here):
    """A manifest may have snapshots written of one picture alone; settings that make no sense are for later."""
    other = item("out/a-000010.png", "b.png", snapshot_every=3)
    check(item("a.png", "out/a.png", snapshot_every=3), other)
    check(item("a.png", "out/a.png", snapshot_every="often"), other)
    with pytest.raises(SettingsError, match=r"\b10 steps"):
        check(item("a.png", "out/a.png", snapshot_every=5), other)
