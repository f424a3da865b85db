"""What a worker does, called here on a tiny job: files in, files out, the same whoever asks and how often."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import TINY, contents, painting, photograph
from PIL import Image

from muralist.model.architecture import architecture
from muralist.model.painter import to_tensor
from muralist.model.state import AVERAGE, MOMENT1, MOMENT2, PIXELS
from muralist.model.statistics import Window, style_sums
from muralist.model.weight_files import find_weights
from muralist.pipeline import tasks
from muralist.pipeline.errors import DeviceError
from muralist.pipeline.job import Job
from muralist.pipeline.levels import plan_levels
from muralist.pipeline.painting import with_bleed
from muralist.pipeline.run_folder import FINISHED, RunFolder, write_array
from muralist.pipeline.settings import Settings
from muralist.pipeline.start import is_photograph

SETTINGS = Settings(**TINY)
NETWORK = architecture(SETTINGS.network)


def new_job(folder: Path, settings: Settings = SETTINGS, shares: tuple[float, ...] = (1.0,)) -> Job:
    """A job as the driver makes it, with nothing filed yet."""
    levels = plan_levels(96, 128, [(112, 1.0)] * len(shares), settings, 16, NETWORK.minimum(settings.layers))
    return Job(RunFolder.create(folder, "out.png"), settings, find_weights(NETWORK), levels, shares, "cpu", "float32")


def lay_out(job: Job, index: int) -> None:
    """File what the driver files at the start of a level."""
    level = job.levels[index]
    pixels = photograph()
    resized = Image.fromarray(pixels).resize((level.width, level.height), Image.Resampling.BOX)
    write_array(job.folder.content(index), with_bleed(np.asarray(resized, np.float32) / 255, level))
    if not is_photograph(job.settings):
        write_array(job.folder.start(index), np.full((level.grid.height, level.grid.width, 3), 0.25, np.float32))
    for number in range(len(job.shares)):
        write_array(job.folder.style(index, number), painting(seed=number + 1).astype(np.float32) / 255)
        tasks.style_targets(job, index, number)


def everywhere(job: Job, index: int, task: str, filed: int, *made: int) -> dict[str, float]:
    """Run a task on all tiles, last tile first, and add up."""
    for number in reversed(range(len(job.levels[index].grid))):
        assert getattr(tasks, task)(job, index, *made, number) == number
    return tasks.add_up(job, index, filed)


def paint_level(job: Job, index: int) -> list[dict[str, float]]:
    """Paint a level as the driver would, but keep all rounds; the losses of each, and of the finished canvas."""
    lay_out(job, index)
    losses = [everywhere(job, index, "prepare_tile", 0)]
    level = job.levels[index]
    losses += [everywhere(job, index, "paint_tile", made + 1, made) for made in range(len(level.rounds))]
    last, finished = (job.folder.state(index, made, 0).parent for made in (len(level.rounds), FINISHED))
    shutil.copytree(last, finished)
    return [*losses, everywhere(job, index, "measure_tile", FINISHED)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in a worker; results are the same bytes only for the same number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Done:
    """A job whose two levels are painted, and what each level's losses were."""

    job: Job
    losses: list[list[dict[str, float]]]


@pytest.fixture(scope="module")
def done(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Everything painted; all rounds are still there."""
    job = new_job(tmp_path_factory.mktemp("tasks"))
    return Done(job, [paint_level(job, index) for index in range(len(job.levels))])


def test_painting_brings_the_losses_down(done):
    """Every round lowers the style loss, and the finished canvas is near the last round's."""
    for losses in done.losses:
        style = [each["style"] for each in losses[:-1]]
        assert all(after < before for before, after in pairwise(style))
        assert losses[-1]["style"] < style[0]
        assert all(np.isfinite(value) for each in losses for value in each.values())


def test_a_level_starts_from_the_photograph(done):
    """Level 0 starts with the photograph itself: no content loss, no moments, average and pixels alike."""
    job = done.job
    state = job.folder.canvas(0, job.levels[0].grid, 0)(job.levels[0].grid.box)
    np.testing.assert_array_equal(state[PIXELS], np.load(job.folder.content(0)))
    np.testing.assert_array_equal(state[AVERAGE], state[PIXELS])
    assert not state[MOMENT1:].any()
    assert done.losses[0][0]["content"] == 0


def enlarged(plane: np.ndarray, width: int, height: int, filter: Image.Resampling) -> np.ndarray:
    """A plane (H, W) at another size, by Pillow."""
    return np.asarray(Image.fromarray(plane).resize((width, height), filter))


def test_the_next_level_starts_from_the_finished_one(done):
    """Level 1 starts with level 0's average, enlarged with a cubic filter, and with its moments, enlarged linearly."""
    job = done.job
    before, level = job.levels
    small = job.folder.canvas(0, before.grid, FINISHED)(before.picture_box)
    large = job.folder.canvas(1, level.grid, 0)(level.picture_box)
    inside = (slice(8, -8), slice(8, -8))  # Pillow repeats the picture's edge, we see the bleed
    for channel in range(3):
        wanted = enlarged(small[AVERAGE, :, :, channel], level.width, level.height, Image.Resampling.BICUBIC).clip(0, 1)
        np.testing.assert_allclose(large[AVERAGE, :, :, channel][inside], wanted[inside], atol=1e-5)
        for moment in (MOMENT1, MOMENT2):
            plane = small[moment, :, :, channel]
            wanted = enlarged(plane, level.width, level.height, Image.Resampling.BILINEAR)
            found = large[moment, :, :, channel]
            np.testing.assert_allclose(found[inside], wanted[inside], atol=1e-5 * abs(plane).max())
    np.testing.assert_array_equal(large[PIXELS], large[AVERAGE])
    assert (large[MOMENT2] >= 0).all()
    assert large[MOMENT2].any()


def test_tasks_may_run_twice(done):
    """Run again in another order, as after a worker died, every task files the same bytes."""
    job = done.job
    folder = Path(job.folder.path)
    before = contents(folder)
    for level in job.levels:
        assert tasks.style_targets(job, level.index, 0) == 0
        for number in range(len(level.grid)):
            tasks.prepare_tile(job, level.index, number)
            for made in reversed(range(len(level.rounds))):
                tasks.paint_tile(job, level.index, made, number)
            tasks.measure_tile(job, level.index, number)
        for made in (*range(len(level.rounds) + 1), FINISHED):
            tasks.add_up(job, level.index, made)
    after = contents(folder)
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []


def test_two_jobs_do_not_mix(done, tmp_path):
    """What a worker keeps between tasks belongs to one job: tasks of two jobs in turn are as if alone."""
    other = new_job(tmp_path, SETTINGS.model_copy(update={"style_weight": 1.0}))
    lay_out(other, 0)
    everywhere(other, 0, "prepare_tile", 0)
    file = done.job.folder.state(0, 1, 0)
    alone = file.read_bytes()
    for job in (other, done.job):
        tasks.paint_tile(job, 0, 0, 0)
    assert file.read_bytes() == alone
    assert other.folder.state(0, 0, 0).read_bytes() == done.job.folder.state(0, 0, 0).read_bytes()
    assert other.folder.state(0, 1, 0).read_bytes() != alone


def test_tiles_leave_out_what_is_not_theirs(done):
    """A tile files its extent only, not its halo, in four planes of float32."""
    job, level = done.job, done.job.levels[1]
    assert len(level.grid) == 4
    for tile in level.grid:
        stored = np.load(job.folder.state(1, 1, tile.index), mmap_mode="r")
        assert stored.shape == (4, *tile.extent.shape, 3)
        assert stored.dtype == np.float32
    assert any(tile.extent != tile.outer for tile in level.grid)


def test_sums_of_tiles_are_sums_of_the_picture(done):
    """The added-up Gram matrices of a level of four tiles are those of its canvas in one pass of the network."""
    job, level = done.job, done.job.levels[1]
    canvas = job.folder.canvas(1, level.grid, FINISHED)(level.grid.box)[AVERAGE]
    picture = to_tensor(canvas)
    with torch.no_grad():
        features = tasks._network(job)(picture, tuple(SETTINGS.style_layers))
    with np.load(job.folder.total(1, FINISHED)) as total:
        for layer in ("relu1_1", "relu2_1"):  # deeper ones see beyond the short halo of these tiles
            whole = style_sums(features[layer], Window.full(picture))[0].numpy()
            found = total[f"gram {layer}"]
            assert np.linalg.norm(found - whole) < 1e-2 * np.linalg.norm(whole)


def test_style_statistics_do_not_depend_on_their_tiles(tmp_path):
    """A style picture longer than one tile gives the Gram matrices of a single pass over it."""
    job = new_job(tmp_path)
    picture = painting(80, 2100).astype(np.float32) / 255
    write_array(job.folder.style(0, 0), picture)
    tasks.style_targets(job, 0, 0)
    whole = to_tensor(picture)
    with torch.no_grad():
        features = tasks._network(job)(whole, tuple(SETTINGS.style_layers))
    with np.load(job.folder.targets(0, 0)) as targets:
        assert set(targets) == {f"{what} {layer}" for what in ("gram", "mean") for layer in SETTINGS.style_layers}
        for layer, f in features.items():
            wanted = style_sums(f, Window.full(whole))[0].numpy() / (f.shape[2] * f.shape[3])
            assert np.linalg.norm(targets[f"gram {layer}"] - wanted) < 2e-3 * np.linalg.norm(wanted)


def test_mirrored_bleed():
    """The photograph lies inside its canvas, and the pixels around it are its mirror image."""
    level = plan_levels(40, 50, [], SETTINGS, 16, 32)[0]
    pixels = np.random.default_rng(0).random((40, 50, 3))
    canvas = with_bleed(pixels, level)
    assert canvas.shape == (level.grid.height, level.grid.width, 3)
    rows, cols = level.picture_box
    np.testing.assert_array_equal(canvas[rows.start : rows.stop, cols.start : cols.stop], pixels)
    np.testing.assert_array_equal(canvas[rows.start - 1], canvas[rows.start + 1])
    np.testing.assert_array_equal(canvas[:, cols.stop], canvas[:, cols.stop - 2])


def test_a_bleed_wider_than_the_picture():
    """A bleed may be wider than a small picture: it is mirrored again and again."""
    level = plan_levels(32, 33, [], SETTINGS.model_copy(update={"bleed": 200}), 16, 32)[0]
    pixels = np.random.default_rng(0).random((32, 33, 3))
    canvas = with_bleed(pixels, level)
    np.testing.assert_array_equal(canvas[200:232, 200:233], pixels)
    np.testing.assert_array_equal(canvas[138:170, 200:233], pixels)  # twice mirrored


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_there_is_refused(monkeypatch, device):
    """Asking for a GPU on a machine without one names the device and the way out."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=rf"device {device} is not there on .*; use --device auto"):
        tasks.resolve_device(device)
    assert tasks.resolve_device("auto") == "cpu"
    assert tasks.resolve_device("cpu") == "cpu"


def test_only_gpus_that_are_there_have_numbers(monkeypatch):
    """With one GPU, number 0 is accepted, number 1 refused, and "auto" takes it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert tasks.resolve_device("cuda:0") == "cuda:0"
    assert tasks.resolve_device("auto") == "cuda"
    with pytest.raises(DeviceError, match="cuda:1 is not there"):
        tasks.resolve_device("cuda:1")


def test_a_worker_says_what_it_is(tmp_path):
    """Facts are plain values, among them whether the run folder is seen."""
    facts = tasks.worker_facts(str(tmp_path), "cpu")
    assert facts["sees_folder"] is True
    assert facts["device"] == "cpu"
    assert facts["torch"] == torch.__version__
    assert facts["device_name"]
    assert facts["precision"] in tasks.DTYPES
    assert tasks.worker_facts(str(tmp_path / "elsewhere"), "cpu")["sees_folder"] is False


# ------------------------------------------------------------------------- several styles, other starts, missing terms


def test_statistics_of_several_styles_are_blended(tmp_path):
    """What the painter follows is the mean of all style pictures' statistics, by their shares."""
    job = new_job(tmp_path, shares=(0.25, 0.75))
    lay_out(job, 0)
    first, second = (dict(np.load(job.folder.targets(0, number))) for number in (0, 1))
    blended = tasks._painter(job, 0).objective.targets
    assert blended.keys() == first.keys() == second.keys()
    for name, found in blended.items():
        assert (first[name] != second[name]).any()
        np.testing.assert_allclose(found, 0.25 * first[name] + 0.75 * second[name], rtol=1e-12)


def test_a_start_that_was_filed_is_started_from(tmp_path):
    """Where painting does not start from the photograph, level 0 has the filed start, and a content loss at once."""
    job = new_job(tmp_path, SETTINGS.model_copy(update={"noise_ratio": 0.5}))
    lay_out(job, 0)
    first = everywhere(job, 0, "prepare_tile", 0)
    state = job.folder.canvas(0, job.levels[0].grid, 0)(job.levels[0].grid.box)
    np.testing.assert_allclose(state[: AVERAGE + 1], 0.25, atol=1e-7)
    assert not state[MOMENT1:].any()
    assert first["content"] > 0


@pytest.mark.parametrize(("missing", "counts"), [("style", "content"), ("content", "style")])
def test_a_term_without_weight_is_not_computed(tmp_path, missing, counts):
    """Content alone and style alone are painted; the term that does not count has no features, statistics or loss."""
    changes = {f"{missing}_weight": 0.0, "noise_ratio": 1.0}
    job = new_job(tmp_path, SETTINGS.model_copy(update=changes), () if missing == "style" else (1.0,))
    lay_out(job, 0)
    first = everywhere(job, 0, "prepare_tile", 0)
    everywhere(job, 0, "paint_tile", 1, 0)
    last = everywhere(job, 0, "paint_tile", 2, 1)
    assert missing not in first
    assert 0 < last[counts] < first[counts]
    assert set(tasks._features(job, 0, 0)) == (set() if missing == "content" else {"relu4_2"})
    assert bool(tasks._painter(job, 0).objective.targets) == (missing == "content")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, ("average", "reflect", 1)),
        ({"pooling": "l2", "padding": "replicate", "pool_rescale": True}, ("l2", "replicate", 0.78)),
        ({"pooling": "max", "padding": "zeros"}, ("max", "zeros", 1)),
    ],
)
def test_pooling_and_padding_reach_the_network(tmp_path, changes, wanted):
    """`network` means as it was trained; anything else is heeded."""
    network = tasks._network(new_job(tmp_path, SETTINGS.model_copy(update=changes)))
    assert (network.pooling, network.padding, network.pool_scale) == wanted
