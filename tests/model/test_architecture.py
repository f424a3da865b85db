"""The table of networks: facts against torchvision and the papers, and lookups."""

import pickle
import subprocess
import sys

import pytest
from torchvision.models import VGG19_Weights
from torchvision.models.vgg import cfgs

from muralist.model.architecture import ARCHITECTURES, architecture
from muralist.model.errors import DivergedError, UnknownLayerError, UnknownNetworkError, WeightsError

EVERY_LAYER = [(name, layer) for name, row in ARCHITECTURES.items() for layer in row.layers]
PUBLISHED = VGG19_Weights.IMAGENET1K_V1


@pytest.mark.parametrize(
    ("name", "layer", "field", "halo", "stride", "channels"),
    [
        ("vgg19", "relu1_1", 3, 2, 1, 64),
        ("vgg19", "relu2_1", 10, 10, 2, 128),
        ("vgg19", "relu4_2", 84, 88, 8, 512),
        ("vgg19", "relu5_1", 156, 160, 16, 512),
        ("vgg19", "relu5_4", 252, 256, 16, 512),
        ("compact", "relu1_1", 3, 2, 1, 16),
        ("compact", "relu5_1", 132, 144, 16, 104),
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


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_deepest_layer_decides(name):
    """Halo, smallest picture and operations of several layers are those of the deepest, in whatever order."""
    row = architecture(name)
    layers = ["relu3_1", "relu5_1", "relu1_1"]
    assert row.deepest(layers) == "relu5_1"
    assert row.halo(layers) == row.halo(["relu5_1"])
    assert row.minimum(layers) == 32
    assert row.operations(layers) == row.operations(["relu5_1"]) > row.operations(["relu3_1"])


def test_compact_is_cheap():
    """A step costs about 60 thousand operations a pixel, one twenty-fifth of VGG-19's."""
    compact, vgg19 = (architecture(name).operations(["relu5_1"]) for name in ("compact", "vgg19"))
    assert compact == pytest.approx(60e3, rel=0.03)
    assert vgg19 / compact == pytest.approx(25, rel=0.06)


def test_operations_count_multiplications_and_additions():
    """The first layer multiplies and adds 3 × 3 × 3 numbers for each of 16 channels, forward and backward."""
    assert architecture("compact").operations(["relu1_1"]) == 2 * 2 * 27 * 16


def test_vgg19_is_torchvisions():
    """Address, hash, widths and normalisation are those that torchvision publishes."""
    row, transform = architecture("vgg19"), PUBLISHED.transforms()
    assert row.url == PUBLISHED.url
    assert row.url.endswith(f"/{row.file}")
    assert row.file == f"vgg19-{row.sha256}.pth"
    assert [*row.mean, *row.std] == [*transform.mean, *transform.std]
    assert [width for block in row.blocks for width in (*block, "M")] == cfgs["E"]


def test_names_of_layers_are_in_order():
    """A layer is named after its block and its place in the block."""
    row = architecture("compact")
    assert row.layers[:5] == ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1")
    assert len(row.layers) == len(row.convolutions) == 11
    assert row.convolutions["4_1"] == (64, 80)


@pytest.mark.parametrize(("name", "meant"), [("vgg16", "vgg19"), ("compakt", "compact"), ("VGG19 ", None)])
def test_an_unknown_network_names_the_nearest(name, meant):
    """A wrong name of a network is answered with the nearest right one and all there are."""
    with pytest.raises(UnknownNetworkError, match=r"known: compact, vgg19$") as caught:
        architecture(name)
    assert (f"did you mean {meant!r}?" in str(caught.value)) == (meant is not None)


@pytest.mark.parametrize(("layer", "meant"), [("relu42", "relu4_2"), ("relu3_4", "relu3_3"), ("21", None)])
def test_an_unknown_layer_names_the_nearest(layer, meant):
    """A wrong name of a layer is answered with the nearest right one of that network."""
    with pytest.raises(UnknownLayerError, match=r"network compact has no layer .*known: relu1_1, ") as caught:
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
