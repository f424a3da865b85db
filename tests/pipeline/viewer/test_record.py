"""Records from strangers: whatever is in them, a page is made of it or it is refused in a line."""

import copy
import json
from collections.abc import Iterator

import pytest

from muralist.pipeline.errors import PictureError
from muralist.pipeline.viewer.facts import loss_rows, picture_facts
from muralist.pipeline.viewer.pages import render_page
from muralist.pipeline.viewer.record import read_record

NASTY = ("<b>&\"'\u202e\x1b[2J\ud800", -1, 0, 1e308, 1 << 62, None, [], {}, True, [[]] * 3, {"a": None})


def places(value: object, way: tuple = ()) -> Iterator[tuple]:
    """Ways to all that is in a record; of a list, to the first and the last."""
    yield way
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*way, key))
    elif isinstance(value, list) and value:
        for index in {0, len(value) - 1}:
            yield from places(value[index], (*way, index))


def test_anything_in_any_place(painted, tmp_path):
    """With each value of a record replaced by nasty ones, the facts of a page are plain text, or the record refused."""
    record, refused, made = painted.sidecar, 0, 0
    picture = tmp_path / "poster.png"
    for number, way in enumerate(way for way in places(record) if way):
        for value in (NASTY[number * step % len(NASTY)] for step in (1, 3)):
            changed = copy.deepcopy(record)
            place = changed
            for step in way[:-1]:
                place = place[step]
            place[way[-1]] = value
            (tmp_path / "poster.png.json").write_text(json.dumps(changed))
            try:
                found = read_record(picture)
            except PictureError:
                refused += 1
                continue
            json.dumps([picture_facts(found, picture), loss_rows(found.losses, found.settings)], allow_nan=False)
            made += 1
    assert min(refused, made) > 60


def test_a_record_deeper_than_any_is_refused(tmp_path):
    """Nesting without end is refused, and so is what is no JSON."""
    for text in ("[" * 100_000, "{", "", "7"):
        (tmp_path / "a.png.json").write_text(text)
        with pytest.raises(PictureError, match=r"a\.png\.json: not the record of a painting"):
            read_record(tmp_path / "a.png")


def test_text_is_escaped_and_printable(painted, tmp_path):
    """What is put into a page is text in it, with control codes written out."""
    facts = {"name": NASTY[0], "size": "", "labels": ["Painting"], "layers": [], "notices": [], "facts": None}
    page = render_page("picture.html", (), {"x": NASTY[0]}, title="t", comparison=None, version="0", **facts).decode()
    assert "<h1>&lt;b&gt;&amp;&#34;&#39;\\u202e\\x1b[2J\\ud800</h1>" in page
    assert "\\u003cb\\u003e\\u0026" in page
