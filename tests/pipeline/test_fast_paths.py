"""Quicker ways to compute end where the slow one does: whole pictures' losses, not single operations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pictures import MANY_LAYERS, painting, photograph, save
from pictures import TINY as SMALL
from rendering import render

from muralist.model import network as module
from muralist.model.architecture import architecture
from muralist.model.loading import load_network
from muralist.model.ops import TINY
from muralist.model.optimizers import StepSchedule
from muralist.model.state import StateLayout
from muralist.model.statistics import Window, positions
from muralist.model.tile_optimizer import TileOptimizer, to_tensor
from muralist.model.weight_files import find_weights
from muralist.pipeline.context import TunedWeights
from muralist.pipeline.loss_terms import objective
from muralist.pipeline.settings import Settings

pytestmark = pytest.mark.integration

MANY = {"steps": [20, 10], "steps_per_round": 5, "size": 128, "optimizer": "adam", "content_weight": 6}
UNTILED = {"tile": 1024, "overlap": 128}
LOSSES = ("style", "content")


@pytest.fixture
def paint(tmp_path, scheduler):
    """A function that renders a small picture and returns the losses of the canvas that counts."""
    pictures = save(tmp_path / "photo.png", photograph()), save(tmp_path / "style.png", painting())

    def render_with(**changes):
        settings = {**SMALL, **MANY_LAYERS, **MANY, "scheduler": scheduler, **changes}
        last = render(*pictures, tmp_path / "out.png", overwrite=True, **settings)["levels"][-1]
        return {name: last["losses_last"][name] for name in LOSSES}

    return render_with


def test_bfloat16_reaches_the_losses_of_float32(paint):
    """Tiled and untiled, the losses in bfloat16 are within 3 % of those in float32; and they are worth comparing."""
    begun = paint(steps=[0, 0])
    for changes in ({}, UNTILED):
        full, half = (paint(precision=name, **changes) for name in ("float32", "bfloat16"))
        assert full != half
        assert full["style"] < 0.5 * begun["style"]
        for name in LOSSES:
            assert half[name] == pytest.approx(full[name], rel=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_our_operations_end_where_those_of_torch_do(monkeypatch, dtype):
    """Twenty steps with torch's own convolution and pooling end within 3 % of those with ours, in either type."""
    ours = descent(dtype)
    monkeypatch.setattr(module, "convolve", plain_convolution)
    monkeypatch.setitem(module.POOLS, "l2", lambda x, kernel, stride: (F.avg_pool2d(x**2, kernel) * 4 + TINY).sqrt())
    plain = descent(dtype)
    assert ours["style"] == pytest.approx(plain["style"], rel=0.03)
    assert ours["content"] == pytest.approx(plain["content"], rel=0.03)


def plain_convolution(x, weight, bias, step, padding, masked):
    left, right = step.padding
    return F.conv2d(F.pad(x, (left, right) * 2, mode=padding), weight, bias, step.stride, 0, 1, step.groups)


def descent(dtype):
    """Losses of a small photograph after twenty steps of the bundled network, in one tile."""
    settings, row = Settings(content_weight=6), architecture("compact")
    network = load_network("compact", find_weights(row), settings.layers).prepared("cpu", dtype)
    content, style = (pixels.astype(np.float32) / 255 for pixels in (photograph(), painting()))
    goal = objective(settings, targets(network, style, settings), *content.shape[:2], TunedWeights(6.0), network.metric)
    tile_optimizer = TileOptimizer(network, goal)
    window = Window.full(to_tensor(content))
    features = tile_optimizer.content_features(to_tensor(content))
    whole = tile_optimizer.measure(to_tensor(content), features, window)
    begun = tile_optimizer.objective.losses(whole)
    _, sums = tile_optimizer.paint(StateLayout().start(content), features, window, whole, StepSchedule(20, 0, 0, 0.04))
    losses = tile_optimizer.objective.losses(sums)
    assert losses["style"] < 0.5 * begun["style"]
    return losses


def targets(network, style, settings):
    """Statistics of a style picture in one piece."""
    with torch.no_grad():
        features = network(to_tensor(style), settings.active_style_layers)
    matrices = {layer: positions(f).double().numpy() for layer, f in features.items()}
    grams = {f"style gram {layer}": f.T @ f / len(f) for layer, f in matrices.items()}
    return grams | {f"style mean {layer}": f.mean(0) for layer, f in matrices.items()}
