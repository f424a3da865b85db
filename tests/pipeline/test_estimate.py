"""What `plan` foretells, against what a render then does."""

import pytest
from pictures import TINY
from tiny_plans import planned

from muralist.pipeline import estimate as module
from muralist.pipeline.estimate import estimate, table
from muralist.pipeline.presets import load_settings
from muralist.pipeline.render_plan import plan_render
from muralist.pipeline.space import largest_tile
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
    assert lines[-1] == "time      about 0 s"
    assert "1 with 1 thread, cpu, float32, 2.00 microseconds per pixel and step (measured)" in lines[4]
    assert " with 2 threads, " in table(estimate(planned(tmp_path, threads=2)))


def test_the_table_says_what_a_gpu_has_room_for(tmp_path, monkeypatch, measured):
    """What workers take of it, what is free, and the largest tile."""
    room = {"bytes": 3 << 29, "workers": 3, "free_bytes": 9 << 30, "tile": 1536}
    monkeypatch.setattr(module, "gpu_room", lambda *_: room)
    lines = table(estimate(planned(tmp_path))).splitlines()
    assert "GPU       about 1.5 GiB for each of 3 workers; 9.0 GiB are free, enough for --tile 1536" in lines


def test_the_plan_says_what_will_be_printed(tmp_path, measured):
    """Of a print, the size of the file, what is left of it when it is cut, and what is in front, in centimeters."""
    plain = {"print_size": "4x3in", "dpi": 32}
    assert "printed   128 x 96 px, 10.2 x 7.6 cm\n" in table(estimate(planned(tmp_path, **plain)))
    about = table(estimate(planned(tmp_path, **plain, bleed="0.25in", wrap="0.5in", wrap_edge="mirror")))
    printed = "176 x 144 px, 14.0 x 11.4 cm, cut to 12.7 x 10.2 cm, 10.2 x 7.6 cm of it in front"
    assert f"painting  128 x 96 px\nprinted   {printed}\n" in about


def test_a_kept_speed_has_a_date(tmp_path, monkeypatch):
    """What was not measured now says when it was."""
    monkeypatch.setattr(module, "speed_here", lambda *_: MEASURED | {"measured_on": "2026-11-21"})
    assert "2.00 microseconds per pixel and step (measured on 2026-11-21)" in table(estimate(planned(tmp_path)))


def test_a_plan_says_that_it_was_measured_beside_others(tmp_path, monkeypatch):
    """A number that is not to be trusted is not told like one that is."""
    monkeypatch.setattr(module, "speed_here", lambda *_: MEASURED | {"busy": 0.6})
    assert "while other programs took 60% of the processors; not cached" in table(estimate(planned(tmp_path)))
