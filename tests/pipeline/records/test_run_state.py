"""How a painting went: what is told of a level, and a way through JSON that changes nothing."""

import json
from dataclasses import asdict, replace

import pytest

from muralist.pipeline.context import Losses
from muralist.pipeline.levels import plan_levels
from muralist.pipeline.records.losses import LossRecord
from muralist.pipeline.records.run_state import LevelReport, LevelState, RunState
from muralist.pipeline.records.snapshots import Snapshot
from muralist.pipeline.settings import Settings

SETTINGS = Settings(base_size=128, steps=(10,), steps_per_round=4, tile=256, overlap=64, optimizer="adam")
LEVELS = plan_levels(300, 500, [], SETTINGS, 16, 32)


def losses(style: float, tv: float, total: float) -> Losses:
    """Losses of a picture in two regions."""
    return Losses({"style": style, "tv": tv}, {"style": 2.0, "tv": 3.0}, total, {"style": [style, 2 * style]})


def row(level: int, rounds: int, total: float) -> LossRecord:
    """A look at the losses; the terms are not round numbers, and content does not count."""
    return LossRecord.of(LEVELS[level], rounds, losses(total / 3, total / 7, total), seconds=1.5)


def run_state() -> RunState:
    """A run in the middle of its second level."""
    found = RunState(device="cpu", precision="float32", notices=["halved"], seconds=1 / 3, resumed=2)
    found.current = LevelState(
        [row(0, made, 1 / (made + 1)) for made in range(4)], seconds=0.1, busy=0.25, fetched=3001
    )
    found.finish_level(LevelReport.of(LEVELS[0], found.current, 2, losses(0.1, 0.2, 0.8)))
    found.halvings = 1
    found.current = LevelState([row(1, made, 2 / (made + 1)) for made in range(2)], seconds=1.5, fetched=77)
    found.snapshots.append(Snapshot("poster-000010.png", 10, 77, 128))
    return found


def test_a_way_through_json_changes_nothing():
    """What is read back is the same to the last bit, of the same types."""
    for each in (run_state(), RunState()):
        assert RunState.of(json.loads(json.dumps(asdict(each)))) == each


def test_a_report_tells_how_a_level_went():
    """Rounds, steps and losses are those of the looks; what was fetched is shared out among the rounds."""
    (report,) = run_state().levels
    assert (report.height, report.width, report.tiles) == (77, 128, len(LEVELS[0].grid))
    assert (report.rounds, report.steps, report.ended, report.kept) == (3, 10, "steps", 2)
    assert (report.seconds, report.busy_seconds, report.fetched_bytes_per_round) == (0.1, 0.25, 1000)
    assert report.losses_first == {"style": 1 / 3, "tv": 1 / 7}
    assert report.losses_last == {"style": 0.1, "tv": 0.2}
    assert report.region_losses == {"style": [0.1, 0.2]}


@pytest.mark.parametrize(("made", "ended"), [(0, "plateau"), (2, "plateau"), (3, "steps")])
def test_a_level_that_ended_early_says_so(made, ended):
    """Only where all rounds were made did a level end with its steps."""
    current = LevelState([row(0, number, 1.0) for number in range(made + 1)], fetched=5)
    report = LevelReport.of(LEVELS[0], current, 0, losses(0.1, 0.2, 0.8))
    assert (report.rounds, report.steps, report.ended) == (made, LEVELS[0].steps_after(made), ended)
    assert report.fetched_bytes_per_round == 5 // max(1, made)


def test_a_level_that_is_not_begun_has_no_look():
    """The look at the start is no round."""
    assert LevelState().made == -1
    assert LevelState([row(0, 0, 2.0)]).made == 0


def test_finishing_a_level_closes_its_looks():
    """Looks at the losses move from the level to the painting, and the next level begins with none."""
    found = run_state()
    looks, report = list(found.current.rows), found.levels[0]
    found.finish_level(report)
    assert found.losses[-2:] == looks
    assert found.current == LevelState()
    assert found.levels == [report, report]


def test_levels_are_cut_as_they_were_painted():
    """Finished levels keep their tiles; this one and those to come have tiles halved as often as memory ran out."""
    found = run_state()
    found.halvings = 2
    assert [level.halvings for level in found.cut(LEVELS)] == [0, *[2] * (len(LEVELS) - 1)]
    assert [replace(level, halvings=0) for level in found.cut(LEVELS)] == list(LEVELS)
