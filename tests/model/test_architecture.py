"""The table of networks: facts against torchvision and the papers, and lookups."""

import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from muralist.model.architecture import ARCHITECTURES, Convolution, LocalResponseNorm, Pool, architecture
from muralist.model.errors import DivergedError, UnknownLayerError, UnknownNetworkError, WeightsError

EVERY_LAYER = [(name, layer) for name, row in ARCHITECTURES.items() for layer in row.layers]


@pytest.mark.parametrize(
    ("name", "layer", "field", "halo", "stride", "channels"),
    [
        ("vgg19", "relu1_1", 3, 2, 1, 64),
        ("vgg19", "relu2_1", 10, 10, 2, 128),
        ("vgg19", "relu4_2", 84, 88, 8, 512),
        ("vgg19", "relu5_1", 156, 160, 16, 512),
        ("vgg19", "relu5_4", 252, 256, 16, 512),
        ("vgg19", "conv4_2", 84, 88, 8, 512),
        ("vgg16", "relu5_3", 196, 208, 16, 512),
        ("alexnet", "conv1", 11, 12, 4, 96),
        ("alexnet", "relu2", 51, 56, 8, 256),
        ("alexnet", "relu5", 163, 176, 16, 256),
        ("alexnet-owt", "conv3", 99, 112, 16, 384),
        ("compact", "relu1_1", 3, 2, 1, 16),
        ("compact", "relu5_1", 156, 160, 16, 192),
    ],
)
def test_layers_have_the_sizes_that_follow_from_their_convolutions(name, layer, field, halo, stride, channels):
    """Receptive field, halo, stride and width of layers worked out by hand."""
    row = architecture(name)
    assert (row.receptive_field(layer), row.halo([layer])) == (field, halo)
    assert (row.stride(layer), row.channels(layer)) == (stride, channels)


@pytest.mark.parametrize(("name", "layer"), EVERY_LAYER)
def test_a_halo_covers_the_receptive_field_and_keeps_the_stride(name, layer):
    """The halo is the least multiple of the stride that reaches every pixel a gradient comes from."""
    row = architecture(name)
    assert row.halo([layer]) % row.stride(layer) == 0
    assert 0 <= row.halo([layer]) - (row.receptive_field(layer) - 1) < row.stride(layer)


@pytest.mark.parametrize("name", ["compact", "vgg19", "vgg16"])
def test_the_deepest_layer_decides(name):
    """Halo, stride, smallest picture and operations of several layers are those of the deepest, in whatever order."""
    row = architecture(name)
    layers = ["relu3_1", "relu5_1", "conv5_1", "relu1_1"]
    assert row.max_stride(layers) == row.stride("relu5_1")
    assert row.halo(layers) == row.halo(["relu5_1"])
    assert row.min_input(layers) == 32
    assert row.operations(layers) == row.operations(["conv5_1"]) > row.operations(["relu3_1"])


def test_layers_of_smaller_pictures():
    """At half size a layer sees twice as far at twice the stride, for a quarter of the operations, which add up."""
    row = architecture("compact")
    assert (row.channels("relu4_1/2"), row.stride("relu4_1/2"), row.stride("relu2_1/8")) == (128, 16, 16)
    assert row.receptive_field("relu4_1/2") == 2 * row.receptive_field("relu4_1")
    assert row.halo(["relu5_1", "relu4_1/2"]) == 160
    assert row.min_input(["relu5_1", "relu4_1/2"]) == 32
    assert row.operations(["relu3_1/2"]) == row.operations(["relu3_1"]) / 4
    assert row.operations(["relu3_1", "relu2_1", "relu3_1/2", "relu1_1/2"]) == row.operations(["relu3_1"]) * 1.25


@pytest.mark.parametrize("factor", ["3", "1", "", "32"])
def test_factors_that_no_picture_is_shrunk_by(factor):
    """The error names the factors there are."""
    with pytest.raises(UnknownLayerError) as caught:
        architecture("compact").check_layers([f"relu1_1/{factor}"])
    assert (caught.value.layer, caught.value.known) == (
        f"relu1_1/{factor}",
        tuple(f"relu1_1/{n}" for n in (2, 4, 8, 16)),
    )


def test_no_layer_of_a_smaller_picture():
    """The network must have the layer itself."""
    with pytest.raises(UnknownLayerError) as caught:
        architecture("compact").check_layers(["relu6_1/2"])
    assert caught.value.known == architecture("compact").layers


@pytest.mark.parametrize(("layer", "side"), [("conv1", 5), ("relu1", 5), ("conv2", 24), ("conv3", 32), ("relu5", 32)])
def test_alexnets_smallest_picture_can_be_reflected(layer, side):
    """Its 11 × 11 convolution adds 4 px on a side, its 5 × 5 one 2 positions of 8 px, each of which needs one more."""
    assert architecture("alexnet").min_input([layer]) == architecture("alexnet-owt").min_input([layer]) == side


def test_compact_is_cheap():
    """A step costs about 107 thousand operations a pixel, one fourteenth of VGG-19's."""
    compact, vgg19 = (architecture(name).operations(["relu5_1"]) for name in ("compact", "vgg19"))
    assert compact == pytest.approx(107e3, rel=0.03)
    assert vgg19 / compact == pytest.approx(13.6, rel=0.03)


def test_operations_count_multiplications_and_additions():
    """The first layer multiplies and adds 3 × 3 × 3 numbers for each of 16 channels, forward and backward."""
    assert architecture("compact").operations(["relu1_1"]) == 2 * 2 * 27 * 16


@pytest.mark.parametrize(
    ("name", "layer", "products"),
    [
        ("alexnet", "conv1", 121 * 3 * 96 / 16),
        ("alexnet", "conv2", 121 * 3 * 96 / 16 + 25 * 48 * 256 / 64),
        ("alexnet", "relu5", 4356 / 2 + 9600 / 2 + 9 * (256 * 384 + 192 * 384 + 192 * 256) / 256),
        ("alexnet-owt", "relu2", 121 * 3 * 64 / 16 + 25 * 64 * 192 / 64),
        ("vgg16", "conv2_1", 9 * (3 * 64 + 64 * 64 + 64 * 128 / 4)),
        ("vgg19", "relu5_4", 1.5552e6 / 4),
        ("vgg16", "relu5_3", 1.223424e6 / 4),
    ],
)
def test_operations_count_groups_kernels_and_strides(name, layer, products):
    """Each product is a multiplication and an addition, forward and backward; a group sees its own channels only."""
    assert architecture(name).operations([layer]) == pytest.approx(4 * products)


@pytest.mark.parametrize(
    ("name", "layer", "values"),
    [
        ("compact", "conv1_1", 16),
        ("compact", "relu2_1", 16 + 24 + 32 / 4),
        ("vgg19", "relu3_1", 64 + 64 + (128 + 128) / 4 + 256 / 16),
        ("alexnet", "relu3", 96 / 16 + 256 / 64 + 384 / 256),
    ],
)
def test_traffic_passes_over_every_activation_five_times(name, layer, values):
    """Values of all convolutions up to the deepest layer, per pixel; bytes by their size."""
    row = architecture(name)
    layers = [layer, row.layers[0]]
    assert row.activations(layers) == values
    assert row.traffic(layers, 4) == 2 * row.traffic(layers, 2) == 5 * 4 * values


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("vgg19", "VGG19_Weights.IMAGENET1K_V1"),
        ("vgg16", "VGG16_Weights.IMAGENET1K_V1"),
        ("alexnet-owt", "AlexNet_Weights.IMAGENET1K_V1"),
    ],
)
def test_networks_are_torchvisions(name, published):
    """Convolutions and normalization are those that torchvision publishes."""
    from torchvision.models import get_model, get_weight  # takes as long as torch itself

    row, transform = architecture(name), get_weight(published).transforms()
    assert [*row.mean, *row.std] == [*transform.mean, *transform.std]
    with torch.device("meta"):
        modules = get_model(name.removesuffix("-owt")).features
    theirs = [m for m in modules if isinstance(m, nn.Conv2d)]
    for step, module in zip(row.convolutions.values(), theirs, strict=True):
        assert step.shape == tuple(module.weight.shape)
        assert (step.stride, step.groups) == (module.stride[0], module.groups)
    pools = [step.kernel for step in row.steps if isinstance(step, Pool)]
    assert pools == [m.kernel_size for m in modules if isinstance(m, nn.MaxPool2d)][:-1]


def test_alexnet_is_caffes():
    """Widths, groups and normalization are those of the Caffe model; its file stores half the channels of a group."""
    row = architecture("alexnet")
    shapes = [(96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3)]
    assert [step.shape for step in row.convolutions.values()] == shapes
    kinds = [type(step).__name__ for step in row.steps]
    assert kinds == ["Convolution", "LocalResponseNorm", "Pool"] * 2 + ["Convolution"] * 3
    assert row.steps[1] == LocalResponseNorm(size=5, alpha=1e-4, beta=0.75)
    assert row.steps[2] == Pool(kernel=3, stride=2)


def test_names_of_layers_are_in_order():
    """A layer is named after its block and its place in the block, before and after ReLU."""
    row = architecture("compact")
    assert row.layers[:5] == ("conv1_1", "relu1_1", "conv1_2", "relu1_2", "conv2_1")
    assert len(row.layers) == 2 * len(row.convolutions) == 26
    assert row.convolutions["4_1"] == Convolution("4_1", 64, 128)
    assert architecture("alexnet").layers == tuple(f"{kind}{i}" for i in range(1, 6) for kind in ("conv", "relu"))


@pytest.mark.parametrize(
    ("name", "meant"), [("vgg18", "vgg19"), ("compakt", "compact"), ("alexnet-own", "alexnet-owt"), ("resnet", None)]
)
def test_an_unknown_network_names_the_nearest(name, meant):
    """A wrong name of a network is answered with the nearest right one and all there are."""
    with pytest.raises(UnknownNetworkError, match=r"known: compact, vgg19, vgg16, alexnet, alexnet-owt$") as caught:
        architecture(name)
    assert (f"did you mean {meant!r}?" in str(caught.value)) == (meant is not None)


@pytest.mark.parametrize(
    ("layer", "meant"), [("relu42", "relu4_2"), ("relu3_5", "relu3_4"), ("conv4_22", "conv4_2"), ("21", None)]
)
def test_an_unknown_layer_names_the_nearest(layer, meant):
    """A wrong name of a layer is answered with the nearest right one of that network."""
    with pytest.raises(UnknownLayerError, match=r"compact.*: conv1_1, relu1_1, ") as caught:
        architecture("compact").check_layers(["relu1_1", layer])
    assert (f"did you mean {meant!r}?" in str(caught.value)) == (meant is not None)


@pytest.mark.parametrize(
    "error",
    [
        UnknownNetworkError("a", ("b",)),
        UnknownLayerError("a", "b", ("c",)),
        WeightsError("file", "is broken"),
        DivergedError(3, 0.1),
    ],
)
def test_errors_cross_processes(error):
    """An error raised in a worker says the same after pickling."""
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_planning_imports_no_torch():
    """The table can be read without waiting for torch."""
    code = "import sys, muralist.model.architecture, muralist.model.weight_files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
