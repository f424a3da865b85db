"""What only a machine with a GPU can show; run with `pytest -m gpu`."""

import pytest
import torch
from pictures import TINY, painting, photograph, save
from rendering import render

from muralist.model.architecture import ARCHITECTURES
from muralist.model.ways import Ways, usual_ways
from muralist.pipeline.calibration import tile_of_noise
from muralist.pipeline.events import Event
from muralist.pipeline.presets import load_settings

pytestmark = pytest.mark.gpu


@pytest.fixture
def paint(tmp_path):
    """A function that renders a small picture on a device and returns the sidecar."""
    save(tmp_path / "photo.png", photograph())
    save(tmp_path / "style.png", painting())
    return lambda device, **changes: render(
        tmp_path / "photo.png",
        tmp_path / "style.png",
        tmp_path / f"{device}.png",
        **TINY | {"device": device} | changes,
    )


def test_a_gpu_paints_what_a_cpu_paints(paint):
    """In float32 the whole picture's losses on a GPU are within 3 % of those on a CPU."""
    cpu, gpu = (paint(device, precision="float32")["levels"][-1] for device in ("cpu", "cuda"))
    for loss in ("style", "content"):
        assert gpu["losses_last"][loss] == pytest.approx(cpu["losses_last"][loss], rel=0.03)


def test_half_precision_on_a_gpu_reaches_the_same_losses(paint):
    """In bfloat16 the whole picture's losses on a GPU are within 3 % of those in float32."""
    full, half = (paint("cuda", precision=name, overwrite=True)["levels"][-1] for name in ("float32", "bfloat16"))
    for loss in ("style", "content"):
        assert half["losses_last"][loss] == pytest.approx(full["losses_last"][loss], rel=0.03)


SEVERAL_TILES = {"base_size": 256, "steps": [6], "overwrite": True}  # four at one level, so that rounds are recorded


def test_the_same_bytes_whoever_paints(paint, tmp_path):
    """One worker with a tile at a time, with three, and two with two each paint the same picture, mostly by replays."""
    painted = set()
    for workers, threads in ((1, 1), (1, 1), (1, 3), (2, 2)):
        sidecar = paint("cuda", workers=workers, threads=threads, **SEVERAL_TILES)
        assert not any("could not be recorded" in notice for notice in sidecar["notices"])
        assert (sidecar["workers"]["count"], sidecar["workers"]["threads"]) == (workers, threads)
        assert sidecar["levels"][-1]["replayed"] > 0
        painted.add((tmp_path / "cuda.png").read_bytes())
    assert len(painted) == 1


def test_a_painting_is_resumed(paint, tmp_path):
    """Cut short after a round and painted on, in other workers, it has the bytes that it has at once."""
    paint("cuda", **SEVERAL_TILES)
    wanted = (tmp_path / "cuda.png").read_bytes()
    (tmp_path / "cuda.png").unlink()

    def cut_short(event: Event) -> None:
        if event.step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paint("cuda", on_progress=cut_short, **SEVERAL_TILES)
    sidecar = paint("cuda", threads=2, **SEVERAL_TILES)
    assert sidecar["resumed"] == 1
    assert (tmp_path / "cuda.png").read_bytes() == wanted


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")  # torch says so once, when it is set
@pytest.mark.parametrize("ways", [usual_ways("cuda"), Ways()], ids=["recorded", "as usual"])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_tile_waits_for_its_result_alone(ways, optimizer):
    """From the first upload to the last download, a round never makes the host wait for all that the GPU has to do."""
    tile_optimizer, arguments = tile_of_noise(
        load_settings("default", {"optimizer": optimizer}), "cuda", "bfloat16", 128, ways
    )
    for _ in range(3):
        tile_optimizer.paint(*arguments)
    torch.cuda.set_sync_debug_mode("error")
    try:
        tile_optimizer.paint(*arguments)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert tile_optimizer.graphs.replayed == ways.graphs
    assert not tile_optimizer.graphs.trouble


def test_another_than_the_first_gpu_records_its_rounds():
    """A recording is made on the device that computes, whichever is current, and whichever recorded before."""
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    for device in ("cuda:0", "cuda:1"):
        tile_optimizer, (state, *others) = tile_of_noise(
            load_settings("default"), device, "bfloat16", 128, usual_ways(device)
        )
        states = [tile_optimizer.paint(each, *others)[0] for each in (state, state, state[:, ::-1].copy(), state)]
        assert tile_optimizer.graphs.replayed
        assert (states[2] != states[0]).any()
        assert (states[3] == states[0]).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_tile_has_the_same_bytes_every_time(deterministic, name):
    """Painted as usual, recorded and replayed, a tile is the same, with every network as it was trained."""
    tile_optimizer, arguments = tile_of_noise(
        load_settings("default", {"network": name}), "cuda", "bfloat16", 256, usual_ways("cuda")
    )
    states = [tile_optimizer.paint(*arguments)[0] for _ in range(4)]
    assert tile_optimizer.graphs.replayed
    assert [(state == states[0]).all() for state in states] == [True] * 4
