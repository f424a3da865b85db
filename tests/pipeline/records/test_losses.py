"""The losses over the steps: which canvas is best, when a level ends, and how they are shown."""

import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import pytest
from facts import having
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from muralist.pipeline.context import Losses
from muralist.pipeline.errors import OutputError
from muralist.pipeline.levels import plan_levels
from muralist.pipeline.records.losses import LossRecord, best, check_plot, has_levelled_off, loss_line, write_plot
from muralist.pipeline.settings import Settings

TOTALS = st.lists(st.floats(0, 1e12), min_size=1, max_size=12)


def row(level: int, step: int, style: float, content: float, total: float, weight: float) -> LossRecord:
    """A look at the losses with a weight of the content."""
    return LossRecord(level, step, {"style": style, "content": content}, {"style": 1000, "content": weight}, total)


ROWS = [
    row(1, 0, 0.9, 0.0, 900.0, 3.0),
    row(1, 10, 0.5, 0.1, 500.2, 2.0),
    row(2, 10, 0.6, 0.2, 600.4, 2.0),
    row(2, 15, 0.4, 0.3, 400.6, 2.0),
]


def test_a_row_says_where_it_was_looked():
    """A row counts levels from 1 and steps over the run; it has the terms that count, and their weights."""
    level = plan_levels(64, 300, [], Settings(steps=(7, 5), steps_per_round=2, base_size=150), 16, 32)[1]
    found = LossRecord.of(level, 2, Losses({"content": 0.25}, {"content": 2.0}, 0.5, {}), seconds=1.2345)
    terms = {"losses": {"content": 0.25}, "weights": {"content": 2.0}, "total": 0.5}
    assert asdict(found) == {"level": 2, "step": 11, **terms, "seconds": 1.234}
    assert found == LossRecord(2, 11, **terms)
    assert found.named() == {"content": 0.25, "total": 0.5}
    assert found.weighted() == {"content": 0.5, "total": 0.5}
    assert loss_line(found, 2) == "step     11  level 2/2  content 0.25  total 0.5"


def rows_of(totals: list[float]) -> list[LossRecord]:
    """Looks at a loss that counts once."""
    return [LossRecord(1, step, {"style": total}, {"style": 1.0}, total) for step, total in enumerate(totals)]


@given(TOTALS)
def test_the_best_is_the_first_of_the_least(totals):
    """No total is less than the best one's, and none before it is as small."""
    found = best(rows_of(totals))
    assert totals[found] == min(totals)
    assert all(total > min(totals) for total in totals[:found])


def test_a_lighter_weight_is_no_progress():
    """While `strength` tunes a weight, canvases are compared by the same weights."""
    falling = [row(1, step, 0.5, 0.4, 500 + 0.4 * weight, weight) for step, weight in enumerate((20, 15, 10, 8, 6))]
    assert best(falling) == 0
    assert has_levelled_off(falling, 0.001)
    rising = [row(1, step, 0.5 - step / 100, 0.4, 0.0, 2.0**step) for step in range(5)]
    assert best(rising) == 4
    assert not has_levelled_off(rising, 0.001)


@pytest.mark.parametrize(
    ("totals", "share", "ends"),
    [
        ([10.0], 1.0, False),
        ([10.0, 10.0, 10.0], 1.0, False),  # three rounds are a start and three more looks
        ([10.0, 10.0, 10.0, 10.0], 0.01, True),
        ([10.0, 10.0, 10.0, 10.0], 0.0, False),
        ([10.0, 11.0, 12.0, 13.0], 0.0, False),
        ([10.0, 9.8, 9.5, 9.1], 0.1, True),
        ([10.0, 9.8, 9.5, 9.0], 0.1, False),
        ([10.0, 5.0, 9.0, 9.0, 9.0], 0.1, True),  # worse than the best is no progress
        ([10.0, 5.0, 9.0, 4.0, 9.0], 0.1, False),
        ([0.0, 0.0, 0.0, 0.0], 0.5, False),  # nothing left to lower a share of
    ],
)
def test_a_level_has_levelled_off(totals, share, ends):
    """Three rounds that together lower the best total by less than the share of it are the end; by just it, not."""
    assert has_levelled_off(rows_of(totals), share) is ends


@pytest.mark.parametrize("extension", [".png", ".svg", ".PDF"])
def test_a_plot_is_written_in_each_format(tmp_path, extension):
    """Every format is written whole, with nothing beside it."""
    path = tmp_path / f"loss{extension}"
    check_plot(path, overwrite=False)
    write_plot(path, ROWS)
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[extension.lower()]
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


def test_a_plot_has_a_curve_per_term_that_counts(tmp_path):
    """The legend names terms with their weights, and the total; a term that does not count is left out."""
    write_plot(tmp_path / "loss.svg", ROWS)
    text = (tmp_path / "loss.svg").read_text()
    for words in ("style, weight 1000", "content, weight 2", "total", "loss, weighted"):
        assert f"<!-- {words} -->" in text
    assert "<!-- tv" not in text


@pytest.mark.parametrize("rows", [ROWS[:1], [row(1, 0, 0.0, 0.0, 0.0, 0.0)]])
def test_a_plot_of_next_to_nothing(tmp_path, rows):
    """A render without steps, or losses of zero that a log axis cannot show, still give a picture and no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_plot(tmp_path / "loss.png", rows)
    with Image.open(tmp_path / "loss.png") as image:
        assert min(image.size) > 500


def test_plotting_leaves_no_global_state(tmp_path):
    """pyplot, which keeps figures and picks a window system, is not even imported."""
    write_plot(tmp_path / "loss.png", ROWS)
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize(
    ("name", "facts", "cause"),
    [
        ("loss", r" \.png \.svg \.pdf", None),
        ("loss.jpg", r"'\.jpg'; .* \.png \.svg \.pdf", None),
        ("there.png", "--overwrite", None),
        ("folder.png", "folder.png", None),
        ("nowhere/loss.png", "/nowhere;", FileNotFoundError),
    ],
)
def test_a_plot_that_cannot_be_written_is_found_out_before(tmp_path, name, facts, cause):
    """A wrong extension, something in the way and a missing folder are told before any work."""
    (tmp_path / "there.png").write_bytes(b"precious")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match=facts, check=having(cause, path=tmp_path / name)):
        check_plot(tmp_path / name, overwrite=False)
    check_plot(tmp_path / "there.png", overwrite=True)
    assert (tmp_path / "there.png").read_bytes() == b"precious"


def test_a_plot_that_fails_at_the_end_says_that_the_painting_is_done(tmp_path):
    """The folder vanished meanwhile: one clean error."""
    path = Path(tmp_path, "gone", "deep", "loss.png")
    with pytest.raises(OutputError, check=having(OutputError, path=path)):
        write_plot(path, ROWS)
