"""What a render is said to take of memory and disk, against what it takes."""

import os
from contextlib import nullcontext
from math import prod
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pictures import TINY, painting, photograph, save, with_alpha
from rendering import render
from tiny_plans import paths, planned

from muralist.pipeline import render as render_module
from muralist.pipeline import space as module
from muralist.pipeline.errors import SettingsError
from muralist.pipeline.estimate import estimate
from muralist.pipeline.presets import load_settings
from muralist.pipeline.progress import Progress
from muralist.pipeline.render_plan import plan_render
from muralist.pipeline.space import (
    canvas_bytes,
    check_memory,
    disk_bytes,
    driver_bytes,
    gpu_room,
    history_bytes,
    largest_tile,
    worker_bytes,
)
from muralist.pipeline.storage.run_folder import RunFolder
from muralist.pipeline.words import counted
from muralist.pipeline.workers.local import WorkerLayout

pytestmark = pytest.mark.integration


def test_what_a_gpu_has_room_for(tmp_path, monkeypatch):
    """The largest tile that is said to fit takes what is free for each worker of the GPU, one stride more would not."""
    plan, gpus = planned(tmp_path, tile=512), ("0", "1", "0", "1", "0")
    assert gpu_room(plan, WorkerLayout(5, 1), 4) is None
    monkeypatch.setattr(module, "gpu_memory", lambda gpus: 9 << 30)
    room = gpu_room(plan, WorkerLayout(5, 1, gpus), 4)
    assert (room["workers"], room["free_bytes"]) == (3, 9 << 30)
    per_pixel = (worker_bytes(plan, 4) - module.WORKER_BYTES) / largest_tile(plan.final)
    assert room["bytes"] == module.GPU_BYTES + int(per_pixel * largest_tile(plan.final))
    for side, fits in ((room["tile"], True), (room["tile"] + 16, False)):
        assert (module.GPU_BYTES + per_pixel * side**2 <= 3 << 30) == fits
    ahead = gpu_room(plan, WorkerLayout(5, 2, gpus), 4)
    assert room["bytes"] < ahead["bytes"] < 1.2 * room["bytes"]  # a second tile is not computed yet
    monkeypatch.setattr(module, "gpu_memory", lambda gpus: 1 << 30)
    assert gpu_room(plan, WorkerLayout(5, 1, gpus), 4)["tile"] == 0


def test_what_lbfgs_takes_of_a_gpu_is_no_memory_of_the_machine(tmp_path, monkeypatch):
    """However little the machine has, workers with a GPU are not refused."""
    monkeypatch.setattr(module, "local_shape", lambda settings, tiles: WorkerLayout(1, 1, ("0",)))
    memory_of(1, monkeypatch)
    check_memory(planned(tmp_path, optimizer="lbfgs"))


def test_memory_grows_with_the_tile_and_the_picture(tmp_path):
    """Workers need memory for the largest tile, the driver for the pictures; half precision needs less."""
    small, large = planned(tmp_path), planned(tmp_path, tile=128)
    assert worker_bytes(large, 4) > worker_bytes(small, 4) > worker_bytes(small, 2) > 0
    assert driver_bytes(planned(tmp_path, size=(96, 128))) < driver_bytes(planned(tmp_path, size=(480, 640)))


def test_every_pair_of_lbfgs_counts(tmp_path):
    """A pair more is three planes more in a worker; files hold two pairs, whatever the history: less than Adam's."""
    adam = planned(tmp_path, optimizer="adam", lbfgs_history=9, steps_per_round=4)
    plain = {"lbfgs_resolutions": 1, "steps_per_round": 4}
    few, more = (planned(tmp_path, optimizer="lbfgs", lbfgs_history=pairs, **plain) for pairs in (1, 4))
    pair = 2 * 3 * 4 * largest_tile(few.final)  # where planes of other sizes take no part
    assert worker_bytes(more, 4) - worker_bytes(few, 4) == 3 * pair
    assert history_bytes(few) == pair
    assert history_bytes(adam) == 0
    smooth = planned(tmp_path, optimizer="lbfgs", lbfgs_history=4, **plain | {"lbfgs_resolutions": [2]})
    assert worker_bytes(smooth, 4) - worker_bytes(more, 4) == 4 * (pair / 2)
    assert len(few.levels) == 2
    for resolutions, planes in (([1, 4, 1], 3), ([4, 1, 4], 2)):  # of the finest level, not the last in the list
        found = planned(tmp_path, lbfgs_history=1, lbfgs_resolutions=resolutions)
        assert history_bytes(found) == pair / 2 * planes
    assert disk_bytes(more) == disk_bytes(few) < disk_bytes(adam)


def memory_of(bytes_: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine have so much memory that can be planned with, in bytes."""
    available = SimpleNamespace(available=bytes_ / module.MEMORY_SHARE, total=8 << 30)
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: available)


@pytest.mark.parametrize("fitting", [1, 19])
def test_a_history_that_does_not_fit_is_refused(tmp_path, monkeypatch, fitting):
    """With room for fewer pairs than asked for, the message says how many; so many are accepted, one more is not."""
    wanted = {"optimizer": "lbfgs", "workers": 2, "tile": 128, "steps": [40, 3], "steps_per_round": 40}
    room = 2 * worker_bytes(planned(tmp_path, lbfgs_history=fitting, **wanted), 4)
    memory_of(room + 100, monkeypatch)
    words = rf"\b20 pairs .* GiB .*2 workers, .*; {counted(fitting, 'pair')} .*--set lbfgs_history={fitting}, .*--tile"
    for check in (check_memory, estimate):
        with pytest.raises(SettingsError, match=words):
            check(planned(tmp_path, lbfgs_history=20, **wanted))
    with pytest.raises(SettingsError, match=words):
        render(*paths(tmp_path), **TINY | wanted | {"lbfgs_history": 20})
    check_memory(planned(tmp_path, lbfgs_history=fitting, **wanted))
    with pytest.raises(SettingsError):
        check_memory(planned(tmp_path, lbfgs_history=fitting + 1, **wanted))
    assert sorted(os.listdir(tmp_path)) == ["photo.png", "style.png"]


def test_pairs_that_no_round_can_make_take_no_memory(tmp_path, monkeypatch):
    """A round of four steps makes three pairs, and is given two: a longer history is not refused for its length."""
    all_of_them, longer = (planned(tmp_path, lbfgs_history=pairs, steps_per_round=4) for pairs in (5, 100))
    assert worker_bytes(longer, 4) == worker_bytes(all_of_them, 4)
    memory_of(worker_bytes(all_of_them, 4) + 100, monkeypatch)
    check_memory(longer)
    memory_of(worker_bytes(planned(tmp_path, lbfgs_history=3, steps_per_round=4), 4) + 100, monkeypatch)
    with pytest.raises(SettingsError, match=r"--set lbfgs_history=3,"):
        check_memory(longer)


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
    """The driver holds all style pictures, the largest also at a level's size, and the picture to start from."""
    one = planned(tmp_path)
    other = save(tmp_path / "other.png", painting(200, 300))
    settings = load_settings(overrides=TINY | {"init": str(other), "noise_ratio": 0.5})
    files = [tmp_path / "style.png", other]
    both = plan_render(tmp_path / "photo.png", files, tmp_path / "out.png", settings)
    sizes = (zip(plan.styles, plan.final.style_sides, strict=True) for plan in (one, both))
    one_px, both_px = (max(prod(style.size(side)) for style, side in each) for each in sizes)
    assert driver_bytes(both) - driver_bytes(one) == 2 * 200 * 300 * 3 + 24 * (both_px - one_px)
    assert disk_bytes(both) > disk_bytes(one)


def test_transparency_and_style_masks_count(tmp_path):
    """The driver holds them as well; what does not fit into memory is on the disk, beside what painting adds."""
    plain = planned(tmp_path)
    save(tmp_path / "photo.png", with_alpha(photograph(96, 128)))
    save(tmp_path / "mask.png", np.full((80, 112), 255, np.uint8))
    settings = load_settings(overrides=TINY | {"style_mask": str(tmp_path / "mask.png")})
    assert driver_bytes(plan_render(*paths(tmp_path), settings)) - driver_bytes(plain) == 96 * 128 + 80 * 112
    save(tmp_path / "photo.png", with_alpha(photograph(600, 800)))
    settings = load_settings(overrides=TINY | {"memory": "1MiB", "size": 128})
    filed = plan_render(*paths(tmp_path), settings, local_dir=tmp_path)
    assert disk_bytes(filed) == canvas_bytes(filed) + 600 * 800 * 4
    assert canvas_bytes(filed) == disk_bytes(plain)


def test_every_region_files_gram_matrices_of_its_own(tmp_path):
    """Of every tile and round, as many times as there are regions."""
    save(tmp_path / "mask.png", np.full((96, 128), 255, np.uint8))
    region = f"{tmp_path}/mask.png={tmp_path}/style.png"
    one, many = (planned(tmp_path, style_layers={"relu5_1": 1}, regions=[region] * count) for count in (1, 16))
    grams = 15 * 3 * len(one.final.grid) * one.network.channels("relu5_1") ** 2 * 8
    assert disk_bytes(many) - disk_bytes(one) >= grams


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

    def look():
        nonlocal most
        most = max(most, folder_bytes(tmp_path / ".out.png.muralist"))

    class Watching(Progress):
        def advance(self, work):
            look()

    remove_level = RunFolder.remove_level
    monkeypatch.setattr(render_module, "Bars", lambda *_, **__: nullcontext(Watching()))
    monkeypatch.setattr(RunFolder, "remove_level", lambda *given: (look(), remove_level(*given)))
    render(*paths(tmp_path), **TINY | {"scheduler": scheduler} | change, quiet=False)
    assert 0.3 * disk_bytes(context) < most <= disk_bytes(context)
    assert sorted(os.listdir(tmp_path)) == ["out.png", "out.png.json", "photo.png", "style.png"]
