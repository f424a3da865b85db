"""What `plan` foretells, against what a render then does."""

from dataclasses import fields
from math import isqrt
from typing import Any

import pytest
from pictures import TINY
from tiny_plans import planned

from muralist.pipeline import estimate as module
from muralist.pipeline.estimate import estimate, table
from muralist.pipeline.presets import load_settings
from muralist.pipeline.records.run_state import LevelReport, RunState
from muralist.pipeline.render_plan import RenderPlan, plan_render
from muralist.pipeline.space import largest_tile
from muralist.pipeline.speeds import EVALUATION_STEPS, Speed, conditions, today, usual_speeds
from muralist.pipeline.workers.local import WorkerLayout

pytestmark = pytest.mark.integration

MEASURED = {"device": "cpu", "precision": "float32", "pixel_step_seconds": 2e-6, "measured_on": None, "busy": None}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of a known speed."""
    monkeypatch.setattr(module, "speed_here", lambda *_: MEASURED)


def test_a_plan_tells_what_a_render_then_reports(painted, tmp_path, measured):
    """Sizes, tiles, rounds, steps, workers and threads are those of the sidecar."""
    found = estimate(plan_render(painted.content, painted.style, tmp_path / "out.png", load_settings(overrides=TINY)))
    done = painted.sidecar
    for key in ("height", "width", "tiles", "rounds", "steps"):
        assert [row[key] for row in found["levels"]] == [row[key] for row in done["levels"]]
    assert (found["height"], found["width"]) == (done["height"], done["width"])
    assert {key: found[key] for key in ("workers", "threads")} == {"workers": 1, "threads": 1}
    assert (done["workers"]["count"], done["workers"]["threads"]) == (1, 1)
    assert found["driver_bytes"] + found["worker_bytes"] == pytest.approx(done["peak_rss_bytes"], rel=1)


def test_time_is_the_measured_cost_of_all_tiles(tmp_path, measured):
    """One worker paints tile after tile; four workers paint four at a time. A look after each round is half a step."""
    found = estimate(planned(tmp_path))
    level = planned(tmp_path).final
    assert found["levels"][1]["seconds"] == pytest.approx(4 * largest_tile(level) * (3 + 2 / 2) * 2e-6)
    assert found["seconds"] == sum(row["seconds"] for row in found["levels"])
    shared = estimate(planned(tmp_path, workers=4))
    assert shared["levels"][1]["seconds"] == pytest.approx(found["levels"][1]["seconds"] / 4)
    assert shared["levels"][0]["seconds"] == found["levels"][0]["seconds"]  # one tile cannot be shared


def test_the_speed_is_that_of_the_largest_tile(tmp_path, monkeypatch):
    """The side of a square as large as the largest tile of all levels, and the workers that will paint it."""
    asked = []
    monkeypatch.setattr(module, "speed_here", lambda *arguments: asked.append(arguments) or MEASURED)
    context = planned(tmp_path, workers=4)
    estimate(context)
    assert [largest_tile(level) for level in context.levels] == [96 * 80, 96 * 80]
    assert asked == [(context.settings, WorkerLayout(4, 1), 87)]


def test_operations_are_the_network_times_pixels_times_steps(tmp_path, measured):
    """Twice the steps are twice the operations, and a level counts its tiles with their overlaps."""
    once, twice = estimate(planned(tmp_path)), estimate(planned(tmp_path, steps=[8, 6]))
    assert twice["operations"] == 2 * once["operations"] == 2 * sum(row["operations"] for row in once["levels"])
    context = planned(tmp_path)
    per_pixel = context.network.operations(context.settings.layers)
    assert once["levels"][1]["operations"] == per_pixel * context.final.tile_pixels * 3


def test_the_table_has_a_line_per_level(tmp_path, measured):
    """The plan as text shows every level and the totals, in units that people use."""
    lines = table(estimate(planned(tmp_path))).splitlines()
    assert lines[0].split()[0] == "level"
    assert lines[1].split()[:6] == ["1", "64", "x", "48", "1", "2"]
    assert lines[2].split()[:6] == ["2", "128", "x", "96", "4", "2"]
    assert [line.split()[0] for line in lines[3:]] == ["painting", "workers", "memory", "disk", "time"]
    assert "1 with 1 thread, cpu, float32, 2.00 microseconds per pixel and step (measured)" in lines[4]
    assert " with 2 threads, " in table(estimate(planned(tmp_path, threads=2)))


def test_the_table_says_what_a_gpu_has_room_for(tmp_path, monkeypatch, measured):
    """What workers take of it, what is free, and the largest tile."""
    room = {"bytes": 3 << 29, "workers": 3, "free_bytes": 9 << 30, "tile": 1536}
    monkeypatch.setattr(module, "gpu_room", lambda *_: room)
    lines = table(estimate(planned(tmp_path))).splitlines()
    assert "GPU       about 1.5 GiB for each of 3 workers; 9.0 GiB are free, enough for --tile 1536" in lines


def test_the_plan_says_what_will_be_printed(tmp_path, measured):
    """Of a print, the size of the file and what is left of it when it is cut, in centimeters."""
    plain = {"print_size": "4x3in", "dpi": 32}
    assert "printed   128 x 96 px, 10.2 x 7.6 cm\n" in table(estimate(planned(tmp_path, **plain)))
    about = table(estimate(planned(tmp_path, **plain, bleed="0.25in", wrap="0.5in", wrap_edge="mirror")))
    assert "painting  128 x 96 px\nprinted   176 x 144 px, 14.0 x 11.4 cm, cut to 12.7 x 10.2 cm\n" in about


def test_a_kept_speed_has_a_date(tmp_path, monkeypatch):
    """What was not measured now says when it was."""
    monkeypatch.setattr(module, "speed_here", lambda *_: MEASURED | {"measured_on": "2026-11-21"})
    assert "2.00 microseconds per pixel and step (measured on 2026-11-21)" in table(estimate(planned(tmp_path)))


class Workers:
    """What is asked of workers after a painting: two of one thread on a processor, none of which was lost."""

    workers, threads, tiles, device, device_name, lost, again = 2, 1, 1, "cpu", "Abacus 9", 0, 0


def run_state_of(context: RenderPlan, **changes: object) -> RunState:
    """A course whose last level took its workers half a microsecond per pixel and step."""
    level = context.final
    steps = level.steps + EVALUATION_STEPS * len(level.rounds)
    facts: dict[str, Any] = dict.fromkeys((field.name for field in fields(LevelReport)), 0)
    facts |= {"steps": level.steps, "rounds": len(level.rounds), "busy_seconds": level.tile_pixels * steps * 5e-7}
    return RunState(levels=[LevelReport(**facts | changes)])


def test_a_painting_says_how_fast_it_was(tmp_path, monkeypatch):
    """Seconds per pixel and step of the finest level are kept, if the painting was long and undisturbed."""
    monkeypatch.setattr(module, "LEARNED_SECONDS", 0)
    learned = []
    monkeypatch.setattr(module, "learn_speed", lambda *facts: learned.append(facts))
    context = planned(tmp_path, precision="auto")
    module.learn_speed_of(context, run_state_of(context), Workers(), "float32")
    ((settings, shape, device, precision, side, seconds),) = learned
    assert (settings, shape, device, precision) == (
        context.settings,
        WorkerLayout(2, 1),
        ("cpu", "Abacus 9"),
        "float32",
    )
    assert side == isqrt(largest_tile(context.final))
    assert seconds == pytest.approx(5e-7)
    shared = Workers()
    shared.tiles = 2
    module.learn_speed_of(context, run_state_of(context), shared, "float32")
    assert learned.pop()[-1] == pytest.approx(2.5e-7)
    again = Workers()
    again.lost = 1
    module.learn_speed_of(context, run_state_of(context), again, "float32")
    module.learn_speed_of(context, run_state_of(context, halvings=1), Workers(), "float32")
    module.learn_speed_of(
        planned(tmp_path), run_state_of(context), Workers(), "float32"
    )  # a precision that was asked for
    monkeypatch.setattr(module, "LEARNED_SECONDS", 1e9)
    module.learn_speed_of(context, run_state_of(context), Workers(), "float32")
    assert len(learned) == 1


def test_a_plan_says_that_it_was_measured_beside_others(tmp_path, monkeypatch):
    """A number that is not to be trusted is not told like one that is."""
    monkeypatch.setattr(module, "speed_here", lambda *_: MEASURED | {"busy": 0.6})
    assert "while other programs took 60% of the processors; not cached" in table(estimate(planned(tmp_path)))


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
