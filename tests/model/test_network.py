"""Features of networks, against the same layers put together from `torch.nn`."""

import pytest
import torch
from torch import nn

from muralist.model.architecture import Architecture, architecture
from muralist.model.loading import load_network
from muralist.model.network import Network
from muralist.model.weight_files import find_weights

LAYERS = ("relu1_1", "relu1_2", "relu2_1", "relu3_1")


def small_row(padding="reflect", pooling="average"):
    return Architecture(
        name="small",
        blocks=((4, 5), (6,), (7,)),
        padding=padding,
        pooling=pooling,
        mean=(0.1, 0.2, 0.3),
        std=(0.5, 0.25, 0.2),
        file="",
        sha256="",
        url=None,
        licence="",
        source="",
    )


def random_weights(row, seed=0):
    rng = torch.Generator().manual_seed(seed)
    weights = {}
    for name, (fan_in, fan_out) in row.convolutions.items():
        weights[f"conv{name}.weight"] = torch.randn(fan_out, fan_in, 3, 3, generator=rng) / (9 * fan_in) ** 0.5
        weights[f"conv{name}.bias"] = 0.1 * torch.randn(fan_out, generator=rng)
    return weights


def picture(height=24, width=36, seed=1):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def expected(row, weights, x, pooling):
    """Features by modules of `torch.nn`, layer by layer."""
    pool = nn.AvgPool2d(2) if pooling == "average" else nn.MaxPool2d(2)
    x = (x - torch.tensor(row.mean).view(3, 1, 1)) / torch.tensor(row.std).view(3, 1, 1)
    features = {}
    for name, (fan_in, fan_out) in row.convolutions.items():
        if name in ("2_1", "3_1"):
            x = pool(x)
        convolution = nn.Conv2d(fan_in, fan_out, 3, padding=1, padding_mode=row.padding)
        convolution.load_state_dict({kind: weights[f"conv{name}.{kind}"] for kind in ("weight", "bias")})
        x = features[f"relu{name}"] = torch.relu(convolution(x))
    return features


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
@pytest.mark.parametrize("trained", ["average", "max"])
@pytest.mark.parametrize("chosen", ["average", "max", None])
def test_features_are_those_of_plain_modules(padding, trained, chosen):
    """Every padding and pooling, as trained or chosen, gives what `torch.nn` gives."""
    row = small_row(padding, trained)
    weights = random_weights(row)
    features = Network(row, weights, chosen)(picture(), LAYERS)
    torch.testing.assert_close(features, expected(row, weights, picture(), chosen or trained), rtol=1e-5, atol=1e-6)


def test_only_the_layers_asked_for_are_given():
    """A layer's features do not depend on which others are asked for, or in what order."""
    row = small_row()
    network = Network(row, random_weights(row))
    every = network(picture(), LAYERS)
    some = network(picture(), ["relu3_1", "relu1_2"])
    assert set(some) == {"relu3_1", "relu1_2"}
    assert all(torch.equal(some[layer], every[layer]) for layer in some)


def test_sizes_follow_the_strides():
    """Odd sides lose their last row or column at every pooling."""
    row = small_row()
    features = Network(row, random_weights(row))(picture(23, 30), LAYERS)
    assert [tuple(f.shape) for f in features.values()] == [(1, 4, 23, 30), (1, 5, 23, 30), (1, 6, 11, 15), (1, 7, 5, 7)]


def test_it_stops_after_the_deepest_layer_needed():
    """Weights of deeper convolutions are neither needed nor used."""
    row = small_row()
    shallow = {key: value for key, value in random_weights(row).items() if not key.startswith("conv3")}
    assert list(Network(row, shallow)(picture(), ["relu2_1"])) == ["relu2_1"]


def test_neither_the_picture_nor_the_weights_are_touched():
    """ReLU in place must not reach the caller's tensors, nor later changes to these the network."""
    row, before = small_row(), picture()
    weights = random_weights(row)
    network = Network(row, weights)
    features = network(before, LAYERS)
    weights["conv1_1.weight"].zero_()
    assert torch.equal(before, picture())
    torch.testing.assert_close(network(before, LAYERS), features)


def test_the_network_is_frozen_but_the_picture_is_not():
    """There is nothing to train, and gradients reach the pixels."""
    row = small_row()
    network, leaf = Network(row, random_weights(row)), picture().requires_grad_()
    network(leaf, ["relu3_1"])["relu3_1"].sum().backward()
    assert list(network.parameters()) == []
    assert leaf.grad.abs().sum() > 0


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_float64_passes_gradcheck(padding):
    """In double precision the gradient at the pixels is the slope of the features."""
    row = small_row(padding)
    network = Network(row, random_weights(row)).double()
    leaf = picture(8, 8).double().requires_grad_()
    assert network.dtype == torch.float64
    assert torch.autograd.gradcheck(lambda x: tuple(network(x, ["relu2_1", "relu3_1"]).values()), leaf)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_prepared_networks_agree_with_plain_ones(dtype, tolerance):
    """Channels last and bfloat16 change the compact network's features only by rounding; the number type is told."""
    row = architecture("compact")
    layers = ("relu1_1", "relu2_1", "relu3_1", "relu4_2", "relu5_1")
    plain = load_network("compact", find_weights(row), layers)(picture(64, 96), layers)
    network = load_network("compact", find_weights(row), layers).prepared("cpu", dtype)
    features = network(picture(64, 96), layers)
    assert network.dtype == dtype
    assert network.get_buffer("conv2_1_weight").is_contiguous(memory_format=torch.channels_last)
    for layer, wanted in plain.items():
        assert features[layer].dtype == dtype
        assert (features[layer].float() - wanted).norm() < tolerance * wanted.norm(), layer


@pytest.mark.parametrize("layer", ["relu1_2", "relu2_1", "relu3_2", "relu4_1", "relu5_1"])
def test_receptive_fields_are_what_gradients_show(layer):
    """One position of a layer gets its value from a square of pixels as large as the table says, and from no other."""
    row = architecture("compact")
    weights = {key: torch.full_like(value, 0.01) for key, value in random_weights(row).items()}
    leaf = torch.ones(1, 3, 320, 320, requires_grad=True)
    features = Network(row, weights)(leaf, [layer])[layer]
    features[0, 0, features.shape[2] // 2, features.shape[3] // 2].backward()
    reached = leaf.grad[0].abs().sum(0) > 0
    field = row.receptive_field(layer)
    assert (reached.any(0).sum(), reached.any(1).sum(), reached.sum()) == (field, field, field**2)


@pytest.mark.parametrize("name", ["relu1_1", "relu3_3", "relu5_1"])
def test_the_smallest_picture_is_large_enough(name):
    """A picture with the smallest allowed sides has features."""
    row = architecture("compact")
    network = load_network("compact", find_weights(row), [name])
    features = network(picture(row.minimum([name]), row.minimum([name])), [name])[name]
    assert features.shape[2:] == (2, 2)
