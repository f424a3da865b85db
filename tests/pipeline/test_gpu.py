"""What only a machine with a GPU can show; run with `pytest -m gpu`."""

import pytest
from pictures import TINY, painting, photograph, save
from rendering import render

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
