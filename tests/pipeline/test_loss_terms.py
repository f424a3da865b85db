"""Which terms count, and where they are measured, by the settings."""

import pytest
import torch
from pictures import painting

from muralist.model.architecture import architecture
from muralist.model.loading import load_network
from muralist.model.losses.luminance import LUMINANCE_LAYERS
from muralist.model.losses.style import StyleTerm
from muralist.model.statistics import Window
from muralist.model.tile_optimizer import TileOptimizer, to_tensor
from muralist.model.weight_files import find_weights
from muralist.pipeline.context import TunedWeights
from muralist.pipeline.loss_terms import luminance_layers, measured_layers, objective
from muralist.pipeline.settings import Settings


@pytest.mark.parametrize(("deepest", "stride"), [("relu1_1", 1), ("relu2_1", 2), ("relu5_1", 16)])
def test_luminance_is_taken_of_blocks_that_style_pictures_have(deepest, stride):
    """A style picture is as large as the deepest style layer needs; larger blocks of it there may be none."""
    settings = Settings(style_layers={"relu1_1": 1, deepest: 1})
    known = [name for name in LUMINANCE_LAYERS if int(name.partition("/")[2] or 1) <= stride]
    assert list(measured_layers(settings)["luminance"]) == known
    assert luminance_layers(settings, 9000, 12000) == {known[-1]: 1.0}


@pytest.mark.parametrize(
    "settings",
    [
        Settings(luminance_weight=0),
        Settings(content_weight=5),
        Settings(content_weight=0, luminance_weight=2),
        Settings(style_weight=0),
    ],
)
def test_where_luminance_does_not_count(settings):
    """Without weight, beside a content weight that was asked for, and where photograph or style do not count."""
    assert "luminance" not in measured_layers(settings)
    assert list(measured_layers(settings)) == list(settings.measured_terms)
    assert luminance_layers(settings, 300, 400) == {}


def test_luminance_beside_a_content_weight():
    """Asked for, it counts beside a content weight."""
    settings = Settings(content_weight=5, luminance_weight=2, moments_weight=1)
    assert luminance_layers(settings, 128, 192) == {"luminance": 1.0}
    assert list(measured_layers(settings)) == list(settings.measured_terms) == ["style", "moments", "luminance"]


@pytest.mark.parametrize("shape", [(96, 128), (71, 133), (95, 127)])
def test_a_picture_has_its_own_style(shape):
    """Its style loss is zero, whether or not the strides of all layers fill it: every position counts, and once."""
    settings, row = Settings(luminance_weight=0), architecture("compact")
    network = load_network("compact", find_weights(row), settings.layers)
    picture = to_tensor(painting(*shape).astype("float32") / 255)
    window, targets = Window.full(picture), {}
    with torch.no_grad():
        features = network(picture, settings.layers)
        for layer in settings.active_style_layers:
            for kind, value in StyleTerm.measure(features[layer], window).items():
                targets[f"style {kind} {layer}"] = (value / features[layer][0, 0].numel()).numpy()
        goal = objective(settings, targets, *shape, TunedWeights(1.0), network.metric)
        sums = TileOptimizer(network, goal).measure(picture, features, window)
    assert goal.losses(sums)["style"] < 1e-9
