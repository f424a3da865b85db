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


def as_it_was(sidecar: dict) -> dict:
    """A record of a painting without the losses that muralist 0.1 did not have."""
    record = copy.deepcopy(sidecar)
    for losses in (each for row in record["losses"] for each in (row["losses"], row["weights"])):
        losses.pop("luminance")
    for losses in (level[f"losses_{when}"] for level in record["levels"] for when in ("first", "last")):
        losses.pop("luminance")
    return record


def former(sidecar: dict) -> dict:
    """A record as muralist 0.1 wrote it: a field for each of three losses, and weights in the settings."""
    record, names = copy.deepcopy(sidecar), ("style", "content", "tv")
    for level in record["levels"]:
        both = {when: level.pop(f"losses_{when}") for when in ("first", "last")}
        level |= {f"{name}_loss_{when}": both[when].get(name) for when in both for name in names}
        level["region_style_losses"] = level.pop("region_losses").get("style", [])
    for row in record["losses"]:
        losses, weights = row.pop("losses"), row.pop("weights")
        row |= {**{name: losses.get(name) for name in names}, "content_weight": weights.get("content")}
    return record


def test_a_former_record_is_read(painted, tmp_path):
    """A record with a field for every loss tells the same as one that has them by name."""
    found = []
    today = as_it_was(painted.sidecar)
    for record in (today, former(today)):
        (tmp_path / "poster.png.json").write_text(json.dumps(record))
        found.append(read_record(tmp_path / "poster.png"))
    assert found[0] == found[1]
    assert loss_rows(found[1].losses)[1] == ["total", "style", "content", "tv"]


def test_a_term_that_does_not_count_is_left_out(painted, tmp_path):
    """Where a former record has no number for a loss, today's has none of that name; regions have theirs."""
    record = former(painted.sidecar)
    record["levels"][-1] |= {"tv_loss_first": None, "tv_loss_last": None, "region_style_losses": [0.1, 0.2]}
    record["losses"][-1] |= {"tv": None}
    (tmp_path / "poster.png.json").write_text(json.dumps(record))
    found = read_record(tmp_path / "poster.png")
    assert found.levels[-1].losses_last.keys() == found.losses[-1].losses.keys() == {"style", "content"}
    assert found.levels[-1].region_losses == {"style": [0.1, 0.2]}


@pytest.mark.parametrize("written", [dict, former])
def test_anything_in_any_place(painted, tmp_path, written):
    """With each value of a record replaced by nasty ones, the facts of a page are plain text, or the record refused."""
    record, refused, made = written(painted.sidecar), 0, 0
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
            json.dumps([picture_facts(found, picture), loss_rows(found.losses)], allow_nan=False)
            made += 1
    assert min(refused, made) > 60


def test_a_record_deeper_than_any_is_refused(tmp_path):
    """Nesting without end is refused, and so is what is no JSON."""
    for text in ("[" * 100_000, "{", "", "7"):
        (tmp_path / "a.png.json").write_text(text)
        with pytest.raises(PictureError, match=r"a\.png\.json: "):
            read_record(tmp_path / "a.png")


def test_text_is_escaped_and_printable(painted, tmp_path):
    """What is put into a page is text in it, with control codes written out."""
    facts = {
        "name": NASTY[0],
        "size": "",
        "labels": ["Painting"],
        "layers": [],
        "areas": [],
        "notices": [],
        "facts": None,
    }
    page = render_page("picture.html", (), {"x": NASTY[0]}, title="t", comparison=None, version="0", **facts).decode()
    assert "<h1>&lt;b&gt;&amp;&#34;&#39;\\u202e\\x1b[2J\\ud800</h1>" in page
    assert "\\u003cb\\u003e\\u0026" in page
