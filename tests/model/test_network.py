"""Features of networks, against the same layers put together from `torch.nn`."""

import pytest
import torch
from layouts import NARROW, alexnet_features, random_weights
from torch import nn

from muralist.model.architecture import ARCHITECTURES, Architecture, architecture, vgg
from muralist.model.loading import load_network
from muralist.model.network import Network
from muralist.model.weight_files import find_weights

LAYERS = ("relu1_1", "relu1_2", "relu2_1", "relu3_1")


def small_row(padding="reflect", pooling="average"):
    return Architecture(
        name="small",
        steps=vgg(((4, 5), (6,), (7,))),
        padding=padding,
        pooling=pooling,
        mean=(0.1, 0.2, 0.3),
        std=(0.5, 0.25, 0.2),
        source="",
    )


def picture(height=24, width=36, seed=1):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


class L2Pool(nn.Module):
    """Norms of blocks of 2 × 2."""

    def forward(self, x):
        """Pool (1, C, H, W)."""
        return (
            nn.functional.unfold(x.transpose(0, 1), 2, stride=2)
            .square()
            .sum(1)
            .sqrt()
            .view(1, x.shape[1], x.shape[2] // 2, x.shape[3] // 2)
        )


POOLS = {"average": nn.AvgPool2d(2), "max": nn.MaxPool2d(2), "l2": L2Pool()}


def expected(row, weights, x, pooling, padding=None):
    """Features by modules of `torch.nn`, layer by layer."""
    x = (x - torch.tensor(row.mean).view(3, 1, 1)) / torch.tensor(row.std).view(3, 1, 1)
    features = {}
    for name, step in row.convolutions.items():
        if name in ("2_1", "3_1"):
            x = POOLS[pooling](x)
        convolution = nn.Conv2d(step.fan_in, step.fan_out, 3, padding=1, padding_mode=padding or row.padding)
        convolution.load_state_dict({kind: weights[f"conv{name}.{kind}"] for kind in ("weight", "bias")})
        features[f"conv{name}"] = convolution(x)
        x = features[f"relu{name}"] = torch.relu(features[f"conv{name}"])
    return features


@pytest.mark.parametrize("padding", ["reflect", "replicate", "zeros"])
@pytest.mark.parametrize("trained", ["average", "max"])
@pytest.mark.parametrize("chosen", ["average", "max", "l2", None])
def test_features_are_those_of_plain_modules(padding, trained, chosen):
    """Every padding and pooling, as trained or chosen, gives what `torch.nn` gives, before and after ReLU."""
    row = small_row(padding, trained)
    weights = random_weights(row)
    features = Network(row, weights, chosen)(picture(), row.layers)
    wanted = expected(row, weights, picture(), chosen or trained)
    torch.testing.assert_close(features, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chosen", ["reflect", "replicate", "zeros"])
def test_padding_can_be_chosen(chosen):
    """A network can pad otherwise than it was trained."""
    row = small_row("zeros" if chosen == "reflect" else "reflect")
    weights = random_weights(row)
    features = Network(row, weights, padding=chosen)(picture(), row.layers)
    wanted = expected(row, weights, picture(), "average", chosen)
    torch.testing.assert_close(features, wanted, rtol=1e-5, atol=1e-5)


def test_zeros_are_the_mean_color():
    """A picture of the mean color has no border where the padding is zeros, and one of another color has."""
    row = small_row("zeros")
    network = Network(row, random_weights(row))
    for color, flat in ((row.mean, True), ((1.0, 1.0, 1.0), False)):
        plain = torch.tensor(color).view(1, 3, 1, 1).expand(1, 3, 16, 16)
        features = network(plain, ["conv1_1"])["conv1_1"]
        assert ((features - features[..., 8:9, 8:9]).abs().max() < 1e-6) == flat


@pytest.mark.parametrize(("pooling", "factor"), [("average", 2), ("l2", 0.78), ("max", 1)])
def test_rescaling_multiplies_what_pooling_gives(pooling, factor):
    """With one pooling on the way and no bias behind it, features before ReLU grow by the published factor."""
    row = small_row()
    weights = random_weights(row)
    weights["conv2_1.bias"].zero_()
    plain, scaled = (Network(row, weights, pooling, pool_rescale=s)(picture(), ["conv2_1"]) for s in (False, True))
    torch.testing.assert_close(scaled["conv2_1"], factor * plain["conv2_1"])


def test_l2_pooling_has_a_gradient_where_all_is_zero():
    """Windows of zeros are common behind ReLU; their gradient is zero, not infinite."""
    row = small_row(pooling="l2")
    weights = {key: value.abs().neg() for key, value in random_weights(row).items()}
    leaf = torch.ones(1, 3, 16, 16, requires_grad=True)
    features = Network(row, weights)(leaf, ["relu1_2", "conv2_1"])
    features["conv2_1"].sum().backward()
    assert features["relu1_2"].abs().max() == 0
    assert torch.equal(leaf.grad, torch.zeros_like(leaf))


def test_features_before_relu_are_not_changed_by_it():
    """A convolution's features keep their negative values, and their gradient, when ReLU's are wanted as well."""
    row = small_row()
    network, leaf = Network(row, random_weights(row)), picture().requires_grad_()
    both = network(leaf, ["conv1_2", "relu1_2", "conv3_1"])
    assert both["conv1_2"].min() < 0
    assert torch.equal(both["conv1_2"].relu(), both["relu1_2"])
    alone = network(leaf, ["conv1_2"])["conv1_2"]
    (given,), (wanted,) = (torch.autograd.grad(f.square().sum(), leaf) for f in (both["conv1_2"], alone))
    assert torch.equal(given, wanted)


def test_no_layers_give_no_features():
    """A painting of content alone asks for no style."""
    row = small_row()
    assert Network(row, random_weights(row))(picture(), []) == {}


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


def test_layers_of_a_smaller_picture():
    """They are those of the picture with every block of pixels in one; odd sides lose their rest."""
    row = small_row()
    network, given = Network(row, random_weights(row)), picture(26, 30)
    features = network(given, ["relu2_1/2", "relu2_1", "conv1_2/4"])
    assert set(features) == {"relu2_1/2", "relu2_1", "conv1_2/4"}
    for layer, scale in (("relu2_1", 1), ("relu2_1", 2), ("conv1_2", 4)):
        shrunk = given[..., : 26 // scale * scale, : 30 // scale * scale]
        shrunk = shrunk.unflatten(3, (-1, scale)).unflatten(2, (-1, scale)).mean((3, 5))
        wanted = network(shrunk, [layer])[layer]
        torch.testing.assert_close(features[layer if scale == 1 else f"{layer}/{scale}"], wanted)


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


@pytest.mark.parametrize("padding", ["reflect", "replicate", "zeros"])
@pytest.mark.parametrize("pooling", ["average", "l2"])
def test_float64_passes_gradcheck(padding, pooling):
    """In double precision the gradient at the pixels is the features' derivative."""
    row = small_row(padding, pooling)
    network = Network(row, random_weights(row)).double()
    leaf = picture(8, 8).double().requires_grad_()
    assert network.dtype == torch.float64
    assert torch.autograd.gradcheck(lambda x: tuple(network(x, ["conv2_1", "relu3_1", "relu2_1/2"]).values()), leaf)


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


# ------------------------------------------------------------------------------------------------------------ geometry

EVERY = {name: NARROW.get(name, row) for name, row in ARCHITECTURES.items()}
SEEN = [
    *(
        ("compact", layer)
        for layer in ("relu1_2", "conv2_1", "relu3_2", "relu4_1", "relu5_1", "relu3_1/2", "conv2_1/4")
    ),
    *(("alexnet", layer) for layer in ("conv1", "relu2", "conv3", "relu5")),
    ("alexnet-owt", "relu5"),
]


@pytest.mark.parametrize(("name", "layer"), SEEN)
def test_receptive_fields_are_what_gradients_show(name, layer):
    """One position of a layer gets its value from a square of pixels as large as the table says, and from no other."""
    row = EVERY[name]
    weights = {key: torch.full_like(value, 0.01) for key, value in random_weights(row).items()}
    leaf = torch.ones(1, 3, 320, 320, requires_grad=True)
    features = Network(row, weights, "average")(leaf, [layer])[layer]
    features[0, 0, features.shape[2] // 2, features.shape[3] // 2].backward()
    reached = leaf.grad[0].abs().sum(0) > 0
    field = row.receptive_field(layer)
    assert (reached.any(0).sum(), reached.any(1).sum(), reached.sum()) == (field, field, field**2)


@pytest.mark.parametrize("pooling", ["average", "max", "l2"])
@pytest.mark.parametrize("padding", ["reflect", "replicate", "zeros"])
@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("alexnet", ("conv1", "relu3")),
        ("alexnet-owt", ("relu5",)),
        ("vgg16", ("relu3_1",)),
        ("compact", ("relu3_1", "relu2_1/4")),
    ],
)
def test_a_tiles_gradient_is_the_whole_pictures(name, layers, padding, pooling):
    """At pixels deeper in a tile than the halo, the gradient of a sum over positions is the whole picture's."""
    row = EVERY[name]
    network = Network(row, random_weights(row), pooling, padding).double()
    halo, stride = row.halo(layers), row.max_stride(layers)
    inner, start = 2 * stride, 3 * stride
    side = inner + 2 * halo
    whole = torch.rand(1, 3, side + 5 * stride, side + 5 * stride, generator=torch.Generator().manual_seed(2)).double()

    def gradient(x):
        leaf = x.clone().requires_grad_()
        sum(f.square().sum() for f in network(leaf, layers).values()).backward()
        return leaf.grad

    tile = (..., slice(start, start + side), slice(start, start + side))
    core = (..., slice(halo, halo + inner), slice(halo, halo + inner))
    given, wanted = gradient(whole[tile])[core], gradient(whole)[tile][core]
    assert wanted.abs().max() > 0
    torch.testing.assert_close(given, wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("padding", ["reflect", "replicate", "zeros"])
def test_positions_are_shares_of_the_picture(name, padding):
    """Every layer has a position for every stride pixels, wherever a picture of whole strides is cut."""
    row = EVERY[name]
    features = Network(row, random_weights(row), padding=padding)(picture(96, 64), row.layers)
    for layer, feature in features.items():
        assert feature.shape[2:] == (96 // row.stride(layer), 64 // row.stride(layer))
        assert feature.shape[1] == row.channels(layer)


@pytest.mark.parametrize("name", EVERY)
def test_the_smallest_pictures_are_large_enough(name):
    """A picture with the smallest allowed sides has every layer; one pixel less cannot be reflected."""
    row = EVERY[name]
    network = Network(row, random_weights(row), padding="reflect")
    for layer in row.layers:
        side = row.min_input([layer])
        assert network(picture(side, side), [layer])[layer].numel() > 0
        with pytest.raises(RuntimeError):
            network(picture(side - 1, side), [layer])


@pytest.mark.parametrize("name", ["alexnet", "alexnet-owt"])
def test_alexnet_is_what_plain_torch_makes_of_it(name):
    """Groups, local response normalization, large kernels and overlapping pooling, with zeros and max pooling."""
    row = EVERY[name]
    weights = random_weights(row, gain=20)  # large enough for the normalization to matter
    x = (picture(64, 96) - torch.tensor(row.mean).view(3, 1, 1)) / torch.tensor(row.std).view(3, 1, 1)
    wanted = alexnet_features(weights, x, 2 if name == "alexnet" else 1, normalized=name == "alexnet")
    given = Network(row, weights)(picture(64, 96), row.layers)
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-4 * float(wanted["relu5"].max()))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("pooling", ["average", "max", "l2"])
def test_every_network_computes_in_half_precision(name, pooling):
    """In bfloat16 and channels last, features differ by rounding only."""
    row = EVERY[name]
    plain, half = (Network(row, random_weights(row), pooling) for _ in range(2))
    half = half.prepared("cpu", torch.bfloat16)
    leaf = picture(64, 64).requires_grad_()
    wanted, given = (network(leaf, [row.layers[-1]])[row.layers[-1]] for network in (plain, half))
    assert given.dtype == torch.bfloat16
    assert (given.float() - wanted).norm() < 0.05 * wanted.norm()
    given.float().square().sum().backward()
    assert leaf.grad.isfinite().all()


@pytest.mark.gpu
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("pooling", ["average", "max", "l2"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.05)])
def test_a_gpu_gives_the_same_features(name, pooling, dtype, tolerance, monkeypatch):
    """On a GPU, in either number type, features and their gradient are those of the CPU but for rounding."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # as in a worker without `--fast`
    row = EVERY[name]
    layer, weights = row.layers[-1], random_weights(row)
    leaf = picture(64, 64).requires_grad_()
    wanted = Network(row, weights, pooling)(leaf, [layer])[layer]
    given = Network(row, weights, pooling).prepared("cuda", dtype)(leaf.cuda(), [layer])[layer].cpu().float()
    assert (given - wanted).norm() < tolerance * wanted.norm()
    grads = [torch.autograd.grad(feature.square().sum(), leaf)[0] for feature in (wanted, given)]
    assert (grads[1] - grads[0]).norm() < 10 * tolerance * grads[0].norm()
