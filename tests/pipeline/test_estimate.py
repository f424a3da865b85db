"""What `plan` foretells, against what a render then does."""

import os
from dataclasses import fields
from math import isqrt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from pictures import TINY, painting, photograph, save
from rendering import render

from muralist.pipeline import estimate as module
from muralist.pipeline import render as render_module
from muralist.pipeline.errors import SettingsError
from muralist.pipeline.estimate import (
    check_memory,
    disk_bytes,
    driver_bytes,
    estimate,
    history_bytes,
    largest_tile,
    table,
    worker_bytes,
)
from muralist.pipeline.presets import load_settings
from muralist.pipeline.progress import Progress, counted
from muralist.pipeline.records.run_state import LevelReport, RunState
from muralist.pipeline.render_plan import RenderPlan, plan_render
from muralist.pipeline.speeds import EVALUATION_STEPS, Speed, conditions, today, usual_speeds
from muralist.pipeline.storage.run_folder import RunFolder
from muralist.pipeline.workers.local import WorkerLayout

pytestmark = pytest.mark.integration

MEASURED = {"device": "cpu", "precision": "float32", "pixel_step_seconds": 2e-6, "measured_on": None, "busy": None}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of a known speed."""
    monkeypatch.setattr(module, "speed_here", lambda *_: MEASURED)


def paths(folder: Path) -> tuple[Path, Path, Path]:
    """Photograph, style picture and output."""
    return folder / "photo.png", folder / "style.png", folder / "out.png"


def planned(
    folder: Path, *, size: tuple[int, int] = (96, 128), style: tuple[int, int] = (80, 112), **settings
) -> RenderPlan:
    """A tiny job, with the settings given."""
    content, style_file, output = paths(folder)
    save(content, photograph(*size))
    save(style_file, painting(*style))
    return plan_render(content, style_file, output, load_settings(overrides=TINY | settings))


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


def test_a_plan_tells_what_a_gpu_has_room_for(tmp_path, monkeypatch, measured):
    """The largest tile that is said to fit takes what is free for each worker of the GPU, one stride more would not."""
    assert estimate(planned(tmp_path))["gpu"] is None
    monkeypatch.setattr(module, "local_shape", lambda settings, tiles: WorkerLayout(5, 1, ("0", "1", "0", "1", "0")))
    monkeypatch.setattr(module, "gpu_memory", lambda gpus: 9 << 30)
    context = planned(tmp_path, tile=512)
    found = estimate(context)
    room = found["gpu"]
    assert (room["workers"], room["free_bytes"]) == (3, 9 << 30)
    per_pixel = (worker_bytes(context, 4) - module.WORKER_BYTES) / largest_tile(context.final)
    assert room["bytes"] == module.GPU_BYTES + int(per_pixel * largest_tile(context.final))
    for side, fits in ((room["tile"], True), (room["tile"] + 16, False)):
        assert (module.GPU_BYTES + per_pixel * side**2 <= 3 << 30) == fits
    assert f"3 workers; 9.0 GiB are free, enough for --tile {room['tile']}" in module.table(found)
    ahead = WorkerLayout(5, 2, ("0", "1", "0", "1", "0"))
    monkeypatch.setattr(module, "local_shape", lambda settings, tiles: ahead)
    assert room["bytes"] < estimate(context)["gpu"]["bytes"] < 1.2 * room["bytes"]  # a second tile is not computed yet
    monkeypatch.setattr(module, "gpu_memory", lambda gpus: 1 << 30)
    assert estimate(context)["gpu"]["tile"] == 0
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1))
    check_memory(context)  # what L-BFGS takes is the GPU's


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


def test_memory_grows_with_the_tile_and_the_picture(tmp_path):
    """Workers need memory for the largest tile, the driver for the pictures; half precision needs less."""
    small, large = planned(tmp_path), planned(tmp_path, tile=128)
    assert worker_bytes(large, 4) > worker_bytes(small, 4) > worker_bytes(small, 2) > 0
    assert driver_bytes(planned(tmp_path, size=(96, 128))) < driver_bytes(planned(tmp_path, size=(480, 640)))


def test_every_pair_of_lbfgs_counts(tmp_path):
    """A pair more is three planes more in a worker; on the disk L-BFGS keeps a plane less than Adam, and no pairs."""
    adam = planned(tmp_path, optimizer="adam", lbfgs_history=9)
    few, more = (planned(tmp_path, optimizer="lbfgs", lbfgs_history=pairs, lbfgs_resolutions=1) for pairs in (1, 4))
    pair = 2 * 3 * 4 * largest_tile(few.final)  # where planes of other sizes take no part
    assert worker_bytes(more, 4) - worker_bytes(few, 4) == 3 * pair
    assert history_bytes(few) == pair
    assert history_bytes(adam) == 0
    assert worker_bytes(planned(tmp_path, optimizer="lbfgs", lbfgs_history=4, lbfgs_resolutions=[2]), 4) - worker_bytes(
        more, 4
    ) == 4 * (pair / 2)
    assert disk_bytes(adam) < disk_bytes(more) == disk_bytes(few) < 1.3 * disk_bytes(adam)


def memory_of(bytes_: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine have so much memory that can be planned with, in bytes."""
    available = SimpleNamespace(available=bytes_ / module.MEMORY_SHARE, total=8 << 30)
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: available)


@pytest.mark.parametrize("fitting", [1, 19])
def test_a_history_that_does_not_fit_is_refused(tmp_path, monkeypatch, measured, fitting):
    """With room for fewer pairs than asked for, the message says how many; so many are accepted, one more is not."""
    wanted = {"optimizer": "lbfgs", "workers": 2, "tile": 128}
    room = 2 * worker_bytes(planned(tmp_path, lbfgs_history=fitting, **wanted), 4)
    memory_of(room + 100, monkeypatch)
    words = rf"\b20 pairs .* GiB .*2 workers, .*; {counted(fitting, 'pair')} .*--set lbfgs_history={fitting}, .*--tile"
    for check in (check_memory, estimate):
        with pytest.raises(SettingsError, match=words):
            check(planned(tmp_path, lbfgs_history=20, **wanted))
    with pytest.raises(SettingsError, match=words):
        render(*paths(tmp_path), **TINY | wanted, lbfgs_history=20)
    check_memory(planned(tmp_path, lbfgs_history=fitting, **wanted))
    with pytest.raises(SettingsError):
        check_memory(planned(tmp_path, lbfgs_history=fitting + 1, **wanted))
    assert sorted(os.listdir(tmp_path)) == ["photo.png", "style.png"]


def test_memory_without_room_for_a_pair(tmp_path, monkeypatch):
    """Where nothing fits, a smaller history is not offered; Adam, and other machines' workers, are not asked."""
    memory_of(1000, monkeypatch)
    with pytest.raises(SettingsError, match=r"^(?!.*--set lbfgs_history).*--tile .*--workers"):
        check_memory(planned(tmp_path, optimizer="lbfgs", lbfgs_history=1))
    with pytest.raises(SettingsError, match=r"tile_grid.*--workers"):
        check_memory(planned(tmp_path, optimizer="lbfgs", lbfgs_history=1, tile_grid=[2, 3]))
    check_memory(planned(tmp_path, optimizer="adam"))
    check_memory(planned(tmp_path, optimizer="lbfgs", scheduler="tcp://elsewhere:8786"))


def test_every_picture_counts(tmp_path):
    """The driver holds all style pictures and the one to start from, and the disk all styles at the level's size."""
    one = planned(tmp_path)
    other = save(tmp_path / "other.png", painting(200, 300))
    settings = load_settings(overrides=TINY | {"init": str(other), "noise_ratio": 0.5})
    files = [tmp_path / "style.png", other]
    both = plan_render(tmp_path / "photo.png", files, tmp_path / "out.png", settings)
    assert driver_bytes(both) - driver_bytes(one) == 2 * 200 * 300 * 3
    assert disk_bytes(both) > disk_bytes(one)


def folder_bytes(folder: Path) -> int:
    """Bytes on the disk of all files in a folder."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"base_size": 128, "style_scale": 10},
        {"steps": [24, 1], "steps_per_round": 2},
        {"iterate": "best", "learning_rate": 0.3, "steps": [1, 12], "steps_per_round": 2},
        {"optimizer": "lbfgs", "lbfgs_history": 3},
    ],
)
def test_the_disk_holds_no_more_than_foretold(tmp_path, monkeypatch, scheduler, change):
    """The run folder, watched after every tile and before a level is removed, stays below the estimate."""
    context = planned(tmp_path, style=(300, 400), scheduler=scheduler, **change)
    most = 0

    class Watching(Progress):
        def __init__(self, *_, **__):
            super().__init__()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def look(self):
            nonlocal most
            most = max(most, folder_bytes(tmp_path / ".out.png.muralist"))

        def advance(self, work):
            self.look()

    remove_level = RunFolder.remove_level

    def watched(folder, level):
        Watching().look()
        remove_level(folder, level)

    monkeypatch.setattr(render_module, "Bars", Watching)
    monkeypatch.setattr(RunFolder, "remove_level", watched)
    render(*paths(tmp_path), **TINY | {"scheduler": scheduler} | change, quiet=False)
    assert 0.3 * disk_bytes(context) < most <= disk_bytes(context)
    assert sorted(os.listdir(tmp_path)) == ["out.png", "out.png.json", "photo.png", "style.png"]


def test_the_table_has_a_line_per_level(tmp_path, measured):
    """The plan as text shows every level and the totals, in units that people use."""
    lines = table(estimate(planned(tmp_path))).splitlines()
    assert lines[0].split()[0] == "level"
    assert lines[1].split()[:6] == ["1", "64", "x", "48", "1", "2"]
    assert lines[2].split()[:6] == ["2", "128", "x", "96", "4", "2"]
    assert [line.split()[0] for line in lines[3:]] == ["painting", "workers", "memory", "disk", "time"]
    assert "1 with 1 thread, cpu, float32, 2.00 microseconds per pixel and step (measured)" in lines[4]
    assert " with 2 threads, " in table(estimate(planned(tmp_path, threads=2)))


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
