"""What a painting teaches of how fast it goes, and what the next one is told by that."""

from dataclasses import fields
from math import isqrt
from typing import Any

import numpy as np
import pytest
from pictures import save
from tiny_plans import planned

from muralist.pipeline import forecast as module
from muralist.pipeline.records.run_state import LevelReport, RunState
from muralist.pipeline.render_plan import RenderPlan
from muralist.pipeline.space import largest_tile
from muralist.pipeline.speeds import EVALUATION_STEPS, Speed, Speeds, conditions, today, usual_speeds
from muralist.pipeline.workers.local import WorkerLayout

pytestmark = pytest.mark.integration


class Workers:
    """What is asked of workers after a painting: two of one thread on a processor, none of which was lost."""

    workers, threads, tiles, device, device_name, lost, again = 2, 1, 1, "cpu", "Abacus 9", 0, 0


def run_state_of(context: RenderPlan, **changes: object) -> RunState:
    """A run whose last level took its workers half a microsecond per pixel and step."""
    level = context.final
    steps = level.steps + EVALUATION_STEPS * len(level.rounds)
    facts: dict[str, Any] = dict.fromkeys((field.name for field in fields(LevelReport)), 0)
    facts |= {"steps": level.steps, "rounds": len(level.rounds), "busy_seconds": level.tile_pixels * steps * 5e-7}
    return RunState(levels=[LevelReport(**facts | changes)])


def test_a_painting_says_how_fast_it_was(tmp_path, monkeypatch):
    """Seconds per pixel and step of the finest level are kept, if the painting was long and undisturbed."""
    monkeypatch.setattr(module, "LEARNED_SECONDS", 0)
    learned = []
    monkeypatch.setattr(Speeds, "keep", lambda _, speed: learned.append(speed))
    context = planned(tmp_path, precision="auto")
    module.learn_speed_of(context, run_state_of(context), Workers(), "float32")
    (speed,) = learned
    assert speed.conditions == conditions(context.settings, WorkerLayout(2, 1), "cpu", "Abacus 9")
    assert (speed.precision, speed.usual, speed.side) == ("float32", True, isqrt(largest_tile(context.final)))
    assert speed.microseconds == pytest.approx(0.5)
    shared = Workers()
    shared.tiles = 2
    module.learn_speed_of(context, run_state_of(context), shared, "float32")
    assert learned.pop().microseconds == pytest.approx(0.25)
    again = Workers()
    again.lost = 1
    module.learn_speed_of(context, run_state_of(context), again, "float32")
    module.learn_speed_of(context, run_state_of(context, halvings=1), Workers(), "float32")
    module.learn_speed_of(
        planned(tmp_path), run_state_of(context), Workers(), "float32"
    )  # a precision that was asked for
    mask = save(tmp_path / "half.png", np.repeat([[0, 255]], 48, 0).repeat(64, 1).repeat(2, 0).astype(np.uint8))
    masked = planned(tmp_path, precision="auto", strength_map=str(mask))
    module.learn_speed_of(masked, run_state_of(masked), Workers(), "float32")
    monkeypatch.setattr(module, "LEARNED_SECONDS", 1e9)
    module.learn_speed_of(context, run_state_of(context), Workers(), "float32")
    assert len(learned) == 1


def test_a_record_has_the_plan_of_workers_that_were_measured(tmp_path):
    """Of workers that were measured before, seconds of every level are foretold; of others, and elsewhere, nothing."""
    context = planned(tmp_path, precision="auto")
    assert module.planned_by(context, Workers(), "float32") is None
    facts = conditions(context.settings, WorkerLayout(2, 1), "cpu", "Abacus 9")
    usual_speeds().keep(Speed(facts, "float32", usual=True, side=96, microseconds=0.5, date=f"{today():%Y-%m-%d}"))
    found = module.planned_by(context, Workers(), "float32")
    waves = [-(-len(level.grid) // 2) for level in context.levels]
    wanted = [
        wave * largest_tile(level) * (level.steps + 0.5 * len(level.rounds)) * 5e-7
        for wave, level in zip(waves, context.levels, strict=True)
    ]
    assert found["seconds"] == pytest.approx(wanted, abs=5e-4)
    assert found["measured_on"] == f"{today():%Y-%m-%d}"
    elsewhere = planned(tmp_path, precision="auto", scheduler="tcp://127.0.0.1:1")
    assert module.planned_by(elsewhere, Workers(), "float32") is None
