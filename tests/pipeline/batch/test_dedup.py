"""What is not painted again: what counts as painted already, and as the same picture."""

import hashlib
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from facts import having
from pictures import painting, photograph, save

from muralist.pipeline.batch.dedup import dedup_key, fingerprint, identity_of, painted_already
from muralist.pipeline.batch.items import Item
from muralist.pipeline.errors import OutputError, PictureError
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.presets import load_settings
from muralist.pipeline.render_plan import plan_render

IDENTITY = {"content": "aa", "styles": ["bb"], "settings": {"tile": 1024, "steps": [200, 100]}}


@pytest.fixture
def output(tmp_path):
    """An output that is there, with a sidecar that tells what it was painted from."""
    path = tmp_path / "a.png"
    path.write_bytes(b"painting")
    (tmp_path / "a.png.json").write_text(json.dumps({"width": 3, "identity": IDENTITY}))
    return path


@pytest.fixture
def item(tmp_path):
    """A photograph and a style to be painted."""
    content, style = save(tmp_path / "a.png", photograph()), save(tmp_path / "s.png", painting())
    return Item(1, content, (style,), None, {}, tmp_path / "out" / "a.png", "a.png")


def test_a_painting_of_the_same_is_painted_already(output):
    """It is skipped."""
    assert painted_already(output, IDENTITY) is True


def test_a_painting_that_is_not_there_is_not_painted(output):
    """A sidecar alone is no painting."""
    output.unlink()
    assert painted_already(output, IDENTITY) is False


def test_a_painting_of_something_else_is_kept(output):
    """The message says what differs and what to do."""
    other = {**IDENTITY, "content": "cc", "settings": {"tile": 512, "steps": [200, 100]}}
    with pytest.raises(OutputError) as caught:
        painted_already(output, other)
    assert str(caught.value) == (
        f"{output}: exists already, painted from other inputs or settings (the photograph changed; tile was 1024, is "
        "512); use --overwrite to replace it, or another name"
    )
    assert caught.value.path == output


@pytest.mark.parametrize(
    "record", [None, b"", b"{", b"\xff", b"[]", b"3", b"{}", b'{"identity": 3}', b'{"identity": null}', b"[" * 100_000]
)
def test_a_file_without_a_record_is_kept(output, record):
    """Nobody knows what it is: a file of the user's, or a painting whose sidecar is gone or damaged."""
    sidecar = output.with_name("a.png.json")
    sidecar.unlink()
    if record is not None:
        sidecar.write_bytes(record)
    with pytest.raises(OutputError, match="--overwrite", check=having(path=output)):
        painted_already(output, IDENTITY)


def test_a_link_that_leads_nowhere_is_something(output):
    """It would be replaced."""
    output.unlink()
    output.symlink_to("gone")
    assert painted_already(output, IDENTITY) is True
    output.with_name("a.png.json").unlink()
    with pytest.raises(OutputError, match="--overwrite"):
        painted_already(output, IDENTITY)


def key(item, settings, weights="ww"):
    """The key of an item."""
    return dedup_key(identity_of(item, settings, weights), item.output)


@pytest.mark.parametrize("own", [{}, {"style_weight": 0}, {"init": "{folder}/s.png", "tile": 512}])
def test_an_identity_is_that_of_the_plan(item, tmp_path, own):
    """What is foretold from file names is what the sidecar will hold, also for a folder of styles."""
    (tmp_path / "out").mkdir()
    (tmp_path / "both").mkdir()
    for name in ("b.png", "a.png"):
        save(tmp_path / "both" / name, painting(seed=ord(name[0])))
    item = replace(item, styles=(tmp_path / "both", *item.styles))
    settings = load_settings(own={name: str(value).format(folder=tmp_path) for name, value in own.items()})
    plan = plan_render(item.content, item.styles, item.output, settings)
    assert identity_of(item, settings, plan.weights.sha256) == plan.identity


def test_copies_are_alike(item, tmp_path):
    """Name, place, spelling of settings and of the extension do not count; a preset counts by what it sets."""
    copy = tmp_path / "copy.png"
    copy.write_bytes(item.content.read_bytes())
    other = replace(item, number=2, content=copy, output=tmp_path / "out" / "copy.PNG", place="list.csv:7")
    (tmp_path / "mine.yaml").write_text("tile: 512\n")
    assert key(item, load_settings(str(tmp_path / "mine.yaml"))) == key(other, load_settings(own={"tile": "512"}))


def test_what_makes_another_painting_makes_another_key(item, tmp_path):
    """Photograph, styles and their order, start, settings, weights and file format."""
    settings = load_settings()
    second = save(tmp_path / "t.png", painting(seed=5))
    (tmp_path / "both").mkdir()
    for path in (*item.styles, second):
        (tmp_path / "both" / path.name).write_bytes(path.read_bytes())
    start = load_settings(own={"init": str(tmp_path / "start.png")})
    before = [save(tmp_path / "start.png", photograph(seed=seed)) and key(item, start) for seed in (1, 2)]
    keys = [
        *before,
        key(item, settings),
        key(replace(item, content=second), settings),
        key(replace(item, styles=(second,)), settings),
        key(replace(item, styles=(*item.styles, second)), settings),
        key(replace(item, styles=(second, *item.styles)), settings),
        key(replace(item, styles=(tmp_path / "both",)), settings),
        key(item, load_settings("draft")),
        key(item, settings, "xx"),
        key(replace(item, output=tmp_path / "a.tif"), settings),
    ]
    assert len(set(keys)) == len(keys)


def test_styles_that_do_not_count_are_not_read(item, tmp_path):
    """As in a render: with a style weight of nothing, a style may even be missing."""
    settings = load_settings(own={"style_weight": 0})
    assert key(item, settings) == key(replace(item, styles=(tmp_path / "gone.png",)), settings)


def test_a_style_is_read_once(item, monkeypatch):
    """Until it changes: then its key is another."""
    settings, style = load_settings(), item.styles[0]
    before = key(item, settings)
    hashed, real = [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: hashed.append(file.name) or real(file, name))
    assert key(item, settings) == before
    assert hashed == []
    style.write_bytes(style.read_bytes() + b"more")
    assert key(item, settings) != before
    assert hashed == [str(style)]


def test_pictures_that_cannot_be_read_are_named(item, tmp_path):
    """Missing ones, folders, and pipes, which would be waited for without end."""
    os.mkfifo(tmp_path / "pipe.jpg")
    long = "x" * 5000
    for name, cause in (("gone.jpg", FileNotFoundError), (long, OSError), ("pipe.jpg", None), (".", None)):
        with pytest.raises(PictureError, check=having(cause, path=tmp_path / name)):
            fingerprint(tmp_path / name)
    with pytest.raises(PictureError, check=having(FileNotFoundError, path=tmp_path / "gone.jpg")):
        key(replace(item, styles=(tmp_path / "gone.jpg",)), load_settings())


def test_a_page_has_a_fingerprint_of_its_own(tmp_path):
    """The first page's is the file's; others differ, and are what reading finds."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 16, 16, 3), np.uint8), photometric="rgb", metadata=None)
    prints = [fingerprint(tmp_path / f"a.tif{page}") for page in ("", "#1", "#2")]
    assert prints[0] == prints[1] != prints[2]
    assert prints == [read_picture(tmp_path / f"a.tif{page}").sha256 for page in ("", "#1", "#2")]
