"""From weight files to networks: whether a file is the right one; what torchvision computes is the measure."""

import pytest
import torch
from facts import having
from layouts import JCJOHNSON, LAYOUTS, NARROW, TORCHVISION_VGG16, legacy, random_weights, zipped
from layouts import numbered as full_numbered
from safetensors.torch import save

from muralist.model.architecture import ARCHITECTURES, architecture
from muralist.model.errors import UnknownLayerError, UnknownNetworkError, WeightsError
from muralist.model.loading import load_network
from muralist.model.weight_files import WeightFile, find_weights

VGG19 = architecture("vgg19")
SHALLOW = [64, 64, "M", 128]  # to relu2_1, in torchvision's notation
LAYERS = ("relu1_1", "relu1_2", "relu2_1")


def torchvision_features(plan):
    from torchvision.models.vgg import make_layers  # takes as long as torch itself

    torch.manual_seed(0)
    return make_layers(plan, batch_norm=False).eval().requires_grad_(False)


def numbered(features):
    """Keys as torchvision writes them."""
    return {f"features.{key}": value for key, value in features.state_dict().items()}


def named(features):
    """Keys as muralist writes them."""
    convolutions = [module for module in features if isinstance(module, torch.nn.Conv2d)]
    return {
        f"conv{name}.{kind}": value
        for name, module in zip(VGG19.convolutions, convolutions, strict=False)
        for kind, value in module.state_dict().items()
    }


def found(path, content):
    path.write_bytes(content)
    return find_weights(VGG19, str(path))


def picture(side=48):
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def shallow():
    return torchvision_features(SHALLOW)


@pytest.fixture(scope="session")
def torchvision_file(tmp_path_factory):
    """Random weights up to conv5_1 under torchvision's keys, with the network they belong to."""
    from torchvision.models.vgg import cfgs

    features = torchvision_features(cfgs["E"][:-4])  # without conv5_2 and what follows
    path = tmp_path_factory.mktemp("weights") / "vgg19.pth"
    torch.save(numbered(features), path)
    yield path, features
    path.unlink()


def test_the_bundled_network_loads():
    """The compact network is beside the code, is the file that the table names, and computes."""
    row = architecture("compact")
    file = find_weights(row)
    features = load_network("compact", file, row.layers)(picture(), row.layers)
    assert file.published == "compact.safetensors"
    assert [f.shape[1] for f in features.values()] == [row.channels(layer) for layer in row.layers]
    assert all(f.isfinite().all() and f.max() > 0 for f in features.values())


def test_features_of_vgg19_are_torchvisions(torchvision_file):
    """With torchvision's own file every ReLU down to relu5_1 gives what torchvision's module gives."""
    path, features = torchvision_file
    layers = [name for name in VGG19.layers[: VGG19.layers.index("relu5_1") + 1] if name.startswith("relu")]
    given = load_network("vgg19", find_weights(VGG19, str(path)), layers)(picture(64), layers)
    x = (picture(64) - torch.tensor(VGG19.mean).view(3, 1, 1)) / torch.tensor(VGG19.std).view(3, 1, 1)
    wanted = []
    for module in features:
        x = module(x)
        wanted += [x.clone()] if isinstance(module, torch.nn.ReLU) else []
    for layer, value in zip(layers, wanted, strict=True):
        assert (given[layer] - value).abs().max() < 1e-5 * value.abs().max(), layer


@pytest.mark.parametrize("keys", [numbered, named])
@pytest.mark.parametrize("container", [save, zipped, legacy])
def test_every_kind_of_file_is_read(tmp_path, shallow, keys, container):
    """Safetensors, torch's zip and its old format, with either spelling of the keys, whatever the file is called."""
    network = load_network("vgg19", found(tmp_path / "weights.txt", container(keys(shallow))), LAYERS)
    assert torch.equal(network.get_buffer("conv2_1_weight"), shallow[5].weight)
    assert torch.equal(network.get_buffer("conv1_2_bias"), shallow[2].bias)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_training_snapshots_are_read(tmp_path, shallow, key):
    """The tensors may lie one level down, beside a count of epochs."""
    content = zipped({"epoch": 3, key: numbered(shallow)})
    network = load_network("vgg19", found(tmp_path / "w.pth", content), LAYERS)
    assert torch.equal(network.get_buffer("conv1_1_weight"), shallow[0].weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("container", [save, zipped])
def test_stored_number_types_become_float32(tmp_path, shallow, dtype, container):
    """Half precision saves space on disk only."""
    tensors = {key: value.to(dtype) for key, value in named(shallow).items()}
    network = load_network("vgg19", found(tmp_path / "w", container(tensors)), LAYERS)
    assert network.dtype == torch.float32
    assert torch.equal(network.get_buffer("conv2_1_weight"), shallow[5].weight.to(dtype).float())


def test_only_what_the_layers_need_is_looked_for(tmp_path, shallow):
    """A file that ends after conv2_1 serves relu1_2; for relu3_1 it is another network's."""
    file = found(tmp_path / "w", save(named(shallow)))
    assert load_network("vgg19", file, ["relu1_2"])(picture(), ["relu1_2"])["relu1_2"].shape == (1, 64, 48, 48)
    with pytest.raises(WeightsError, match=r"vgg19: conv2_2\.weight .*\(128, 128, 3"):
        load_network("vgg19", file, ["relu3_1", "relu1_1"])


def test_unknown_names_are_refused_before_the_file_is_read(tmp_path):
    """A wrong network or layer is told first, with the nearest right one."""
    nowhere = WeightFile(str(tmp_path / "nowhere"), "")
    with pytest.raises(UnknownNetworkError, match="'vgg19'"):
        load_network("vgg18", nowhere, LAYERS)
    with pytest.raises(UnknownLayerError, match=r"'relu5_[1-4]'"):
        load_network("vgg19", nowhere, ["relu5_7"])


def changed(tensors, name, change):
    return save({key: change(value).contiguous() if key == name else value for key, value in tensors.items()})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda w: w[:, :32],
            r"conv1_2\.weight .*\(64, 32, 3, 3\).*\(64, 64, 3, 3\).*--weights",
        ),
        (lambda w: w.int(), r"conv1_2\.weight .*torch\.int32"),
        (lambda w: w[..., 0], r"conv1_2\.weight .*\(64, 64, 3\),"),
        (lambda w: w.where(w < w.max(), torch.nan), r"conv1_2\.weight .*finite"),
        (lambda w: w.where(w < w.max(), torch.inf), r"conv1_2\.weight .*finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, shallow, change, problem):
    """A wrong shape and a value that is not finite are told with the tensor's name."""
    file = found(tmp_path / "w", changed(named(shallow), "conv1_2.weight", change))
    with pytest.raises(WeightsError, match=problem):
        load_network("vgg19", file, LAYERS)


def test_another_networks_file_is_refused():
    """The compact network's file is not VGG-19's; which one it is is told."""
    match = r"vgg19: conv1_1\.weight .*\(16, 3, 3, 3\), .*--network compact"
    with pytest.raises(WeightsError, match=match):
        load_network("vgg19", find_weights(architecture("compact")), LAYERS)


@pytest.mark.parametrize("layout", ["torchvision vgg16", "npz", "jcjohnson vgg16"])
def test_a_file_whose_first_tensors_fit_by_chance_is_refused(tmp_path, monkeypatch, layout):
    """VGG-16 and VGG-19 begin alike: the whole file decides, and the error says what it is."""
    for name, row in NARROW.items():
        monkeypatch.setitem(ARCHITECTURES, name, row)
    file = found(tmp_path / "w", LAYOUTS[layout].write(random_weights(NARROW["vgg16"])))
    with pytest.raises(WeightsError, match=r"vgg19: .*--network vgg16"):
        load_network("vgg19", file, ["relu1_1"])
    assert load_network("vgg16", file, ["relu1_1"]).architecture.name == "vgg16"


def test_values_that_are_not_needed_may_be_anything(tmp_path, monkeypatch):
    """One of torchvision's files has linear layers that are not numbers."""
    monkeypatch.setitem(ARCHITECTURES, "vgg16", NARROW["vgg16"])
    tensors = full_numbered(random_weights(NARROW["vgg16"]), TORCHVISION_VGG16, JCJOHNSON)
    assert tensors["classifier.1.weight"].isnan().all()
    file = found(tmp_path / "w", legacy(tensors))
    assert load_network("vgg16", file, ["conv5_3"])(picture(), ["conv5_3"])["conv5_3"].isfinite().all()


def test_pooling_and_padding_are_handed_on(shallow, tmp_path):
    """A network can be loaded with other pooling and padding than it was trained with."""
    file = found(tmp_path / "w", save(named(shallow)))
    network = load_network("vgg19", file, LAYERS, pooling="l2", padding="replicate", pool_rescale=True)
    assert (network.pooling, network.padding, network.pool_scale) == ("l2", "replicate", 0.78)
    usual = load_network("vgg19", file, LAYERS)
    assert (usual.pooling, usual.padding, usual.pool_scale) == ("max", "zeros", 1)


@pytest.mark.parametrize("meanwhile", ["changed", "deleted"])
def test_a_file_that_changed_since_it_was_found_is_refused(tmp_path, shallow, meanwhile):
    """All workers of a render must use the same weights."""
    file = found(tmp_path / "w", save(named(shallow)))
    if meanwhile == "changed":
        (tmp_path / "w").write_bytes(changed(named(shallow), "conv1_1.bias", torch.neg))
    else:
        (tmp_path / "w").unlink()
    cause = None if meanwhile == "changed" else FileNotFoundError
    with pytest.raises(WeightsError, check=having(cause, path=file.path)):
        load_network("vgg19", file, LAYERS)
