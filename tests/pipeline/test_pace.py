"""How far a painting is, and how long the rest takes."""

import pytest

from muralist.pipeline.levels import plan_levels
from muralist.pipeline.pace import Pace
from muralist.pipeline.presets import load_settings
from muralist.pipeline.progress import level_work

LEVELS = plan_levels(900, 1200, [], load_settings(overrides={"base_size": 300, "steps": [20, 10, 5]}), 16, 64)


def test_what_is_left_follows_from_the_rate():
    """Each level takes what is left of its work, at the rate since the start."""
    now = [0.0]
    pace = Pace(LEVELS, lambda: now[0])
    works = [level_work(level) for level in LEVELS]
    assert (pace.share, pace.left) == (0, None)
    pace.start()
    now[0] = 10
    assert pace.left is None  # nothing done, no rate
    pace.advance(works[0] // 2)
    rate = works[0] // 2 / 10
    assert pace.left == pytest.approx([(works[0] - works[0] // 2) / rate, *(work / rate for work in works[1:])])
    pace.advance(sum(works) - works[0] // 2)
    assert (pace.share, sum(pace.left)) == (1, 0)


def test_what_an_earlier_run_did_makes_no_rate():
    """Work before the start counts as done, not as quick; a later start changes nothing."""
    now = [100.0]
    pace = Pace(LEVELS, lambda: now[0])
    first = level_work(LEVELS[0])
    pace.advance(first)
    pace.start()
    now[0] += 10
    pace.advance(level_work(LEVELS[1]))
    pace.start()
    assert pace.left == pytest.approx([0, 0, level_work(LEVELS[2]) / level_work(LEVELS[1]) * 10])


def test_what_is_left_out_makes_no_rate():
    """The rest of a level that is left out counts as done, not as quick: the others take as long as before."""
    now = [0.0]
    pace = Pace(LEVELS, lambda: now[0])
    works = [level_work(level) for level in LEVELS]
    pace.start()
    pace.advance(works[0])
    now[0] = 10
    pace.advance(works[1] // 4)
    now[0] += 10 * (works[1] // 4) / works[0]
    before = pace.left
    pace.skip(works[1] - works[1] // 4)
    assert pace.left == pytest.approx([0, 0, before[2]])
    assert before[2] == pytest.approx(10 * works[2] / works[0])
    assert pace.share == pytest.approx((works[0] + works[1]) / sum(works))
