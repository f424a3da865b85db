"""Tools are scripts beside the package: they are found by their folder, as when they are run."""

from pathlib import Path

import pytest
import torch

TOOLS = Path(__file__).resolve().parents[2] / "tools"
WIDTHS = {"1": [16, 16], "2": [32, 32], "3": [64] * 4, "4": [128] * 4, "5": [128]}


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the tools, on the path that modules are imported from."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return TOOLS


@pytest.fixture(scope="module", autouse=True)
def few_threads(one_thread: None) -> None:
    """Tensors as small as these gain nothing from more threads, and lose much on a busy machine."""


@pytest.fixture(scope="session")
def encoder_tensors() -> dict[str, torch.Tensor]:
    """Random tensors named as in a compressed encoder's file; conv0 turns RGB round and shifts it, as VGG's does."""
    rng = torch.Generator().manual_seed(0)
    tensors = {"conv0.weight": 2 * torch.eye(3).flip(0)[:, :, None, None], "conv0.bias": torch.tensor([-1.1, -1, -0.9])}
    fan_in = 3
    for block, widths in WIDTHS.items():
        for i, width in enumerate(widths, 1):
            spread = (2 / 9 / fan_in) ** 0.5
            tensors[f"conv{block}{i}.weight"] = spread * torch.randn(width, fan_in, 3, 3, generator=rng)
            tensors[f"conv{block}{i}.bias"] = 0.1 * torch.randn(width, generator=rng)
            fan_in = width
        heads = 2 * widths[0]
        tensors[f"conv{block}1_aux.weight"] = torch.randn(heads, widths[0], 1, 1, generator=rng) / widths[0] ** 0.5
        tensors[f"conv{block}1_aux.bias"] = 0.1 * torch.randn(heads, generator=rng)
    return tensors
