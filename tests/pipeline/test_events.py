"""What a caller is told while a picture is painted."""

import numpy as np
import pytest
from pictures import TINY, painting, photograph, save
from rendering import render

from muralist.pipeline.viewer import overview as module
from muralist.pipeline.viewer.overview import overview
from muralist.tiling.grid import Box, Span


def test_every_round_is_an_event(scheduler, tmp_path):
    """A render tells every canvas with its size, steps, share and losses, and the last one is what it writes."""
    content, style = save(tmp_path / "photo.png", photograph()), save(tmp_path / "style.png", painting())
    events, seen = [], []

    def note(event):
        events.append(event)
        seen.append(event.pixels(64))

    settings = TINY | {"scheduler": scheduler, "steps": [4, 2], "steps_per_round": 2}
    sidecar = render(content, style, tmp_path / "out.png", on_progress=note, **settings)
    told = [(event.level, event.levels, event.width, event.height, event.step, event.steps) for event in events]
    assert told == [(1, 2, 64, 48, step, 4) for step in (0, 2, 4)] + [(2, 2, 128, 96, step, 2) for step in (0, 2)]
    assert [event.name for event in events] == ["out.png"] * 5
    shares = [event.share for event in events]
    assert (shares[0], shares[-1]) == (0, 1)
    assert shares == sorted(shares)
    assert events[0].seconds_left is None
    assert events[1].seconds_left > 0
    assert events[-1].seconds_left == 0
    totals = [event.losses["total"] for event in events]
    assert totals == [row["total"] for row in sidecar["losses"]]
    assert {picture.shape for picture in seen} == {(48, 64, 3)}
    written = np.asarray(module.Image.open(tmp_path / "out.png").resize((64, 48), module.Image.Resampling.BOX))
    np.testing.assert_array_equal(seen[-1], written)


def test_what_a_callback_raises_ends_the_painting(scheduler, tmp_path):
    """A bug in a callback is the caller's to see; the same call goes on with what was painted."""
    content, style = save(tmp_path / "photo.png", photograph()), save(tmp_path / "style.png", painting())

    def fail(event):
        if event.step == 2:
            raise ZeroDivisionError

    settings = TINY | {"scheduler": scheduler, "steps": [4, 2], "steps_per_round": 2}
    with pytest.raises(ZeroDivisionError):
        render(content, style, tmp_path / "out.png", on_progress=fail, **settings)
    steps = []
    sidecar = render(
        content, style, tmp_path / "out.png", on_progress=lambda event: steps.append(event.step), **settings
    )
    assert (steps, sidecar["resumed"]) == ([4, 0, 2], 1)


class Canvas:
    """Pixels of 16 bits that are read as those of a canvas, and counted."""

    def __init__(self, height, width):
        self.pixels = painting(height, width).astype(np.uint16) * 257
        self.shape, self.rows = self.pixels.shape, 0

    def read(self, box):
        self.rows += box.rows.length
        return self.pixels[slice(*box.rows), slice(*box.cols)]


def test_a_large_canvas_is_shrunk_from_a_few_rows(monkeypatch):
    """As many rows are read as are shown; a small canvas is read whole, and none is enlarged."""
    canvas = Canvas(300, 400)
    wanted = canvas.pixels.mean((0, 1)) / 257
    for largest, rows in ((400, 300), (200, 75)):
        monkeypatch.setattr(module, "LARGEST", largest)
        canvas.rows = 0
        small = overview(canvas, 100)
        assert (small.shape, small.dtype, canvas.rows) == ((75, 100, 3), np.uint8, rows)
        assert abs(small.mean((0, 1)) - wanted).max() < 3
    assert overview(canvas, 1000).shape == (300, 400, 3)
    np.testing.assert_array_equal(overview(canvas, 1000), canvas.read(Box(Span(0, 300), Span(0, 400))) // 257)
