"""Weight files: finding, checking and reading them; what torchvision computes is the measure."""

import hashlib
import io
import os
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save
from torchvision.models.vgg import cfgs, make_layers

from muralist.model.architecture import architecture
from muralist.model.errors import UnknownLayerError, UnknownNetworkError, WeightsError
from muralist.model.loading import load_network
from muralist.model.weight_files import WeightFile, cache_path, find_weights, installed

VGG19 = architecture("vgg19")
SHALLOW = [64, 64, "M", 128]  # to relu2_1, in torchvision's notation
LAYERS = ("relu1_1", "relu1_2", "relu2_1")


def torchvision_features(plan):
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


def zipped(tensors):
    file = io.BytesIO()
    torch.save(tensors, file)
    return file.getvalue()


def legacy(tensors):
    file = io.BytesIO()
    torch.save(tensors, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


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
    features = torchvision_features(cfgs["E"][:-4])  # without conv5_2 and what follows
    path = tmp_path_factory.mktemp("weights") / "vgg19.pth"
    torch.save(numbered(features), path)
    yield path, features
    path.unlink()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where the published file belongs in torch's cache, which is empty; no proxy answers for an address."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    return cache_path(VGG19)


def test_the_bundled_network_loads():
    """The compact network is beside the code, is the file that the table names, and computes."""
    row = architecture("compact")
    file = find_weights(row)
    features = load_network("compact", file, row.layers)(picture(), row.layers)
    assert file.sha256 == row.sha256
    assert [f.shape[1] for f in features.values()] == [row.channels(layer) for layer in row.layers]
    assert all(f.isfinite().all() and f.max() > 0 for f in features.values())


def test_features_of_vgg19_are_torchvisions(torchvision_file):
    """With torchvision's own file every ReLU down to relu5_1 gives what torchvision's module gives."""
    path, features = torchvision_file
    layers = VGG19.layers[: VGG19.layers.index("relu5_1") + 1]
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
def test_training_checkpoints_are_read(tmp_path, shallow, key):
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
    with pytest.raises(WeightsError, match=r"not hold network vgg19: conv2_2\.weight is missing, wanted \(128, 128, 3"):
        load_network("vgg19", file, ["relu3_1", "relu1_1"])


def test_unknown_names_are_refused_before_the_file_is_read(tmp_path):
    """A wrong network or layer is told first, with the nearest right one."""
    nowhere = WeightFile(str(tmp_path / "nowhere"), "")
    with pytest.raises(UnknownNetworkError, match="did you mean 'vgg19'"):
        load_network("vgg18", nowhere, LAYERS)
    with pytest.raises(UnknownLayerError, match="did you mean 'relu5_"):
        load_network("vgg19", nowhere, ["relu5_7"])


BROKEN = {
    "empty": b"",
    "text": b"hello world\n",
    "web page": b"<!DOCTYPE html><html><title>404 Not Found</title></html>",
    "JSON": b'{"file": {"a": 1}}',
    "list": zipped([torch.zeros(1)]),
    "tensor": zipped(torch.zeros(1)),
    "module": zipped(torch.nn.Linear(1, 1)),
    "no names": zipped({0: torch.zeros(1)}),
    "deep": zipped({"net": {"a": torch.zeros(1)}}),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_files_that_hold_no_tensors_are_refused(tmp_path, content):
    """Whatever a file is, the error names it and what was wanted, in one line."""
    with pytest.raises(WeightsError, match="not a whole safetensors file or torch state dict") as caught:
        load_network("vgg19", found(tmp_path / "w.pth", content), LAYERS)
    assert caught.value.path == str(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("container", [save, zipped, legacy])
def test_truncated_files_are_refused(tmp_path, container):
    """A download that broke off is told from a whole file, wherever it ends."""
    content = container({"conv1_1.weight": torch.zeros(2, 3, 3, 3), "conv1_1.bias": torch.zeros(2)})
    for end in range(0, len(content) - 1, 1 + len(content) // 50):
        with pytest.raises(WeightsError, match="not a whole"):
            load_network("vgg19", found(tmp_path / "w", content[:end]), ["relu1_1"])


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("container", [zipped, legacy, lambda tensors: pickle.dumps(tensors, protocol=2)])
def test_nothing_in_a_file_is_executed(tmp_path, shallow, container):
    """A pickle that would run code is refused, and has not run any."""
    content = container({**numbered(shallow), "features.99.weight": Evil(tmp_path / "broken in")})
    with pytest.raises(WeightsError, match="not a whole"):
        load_network("vgg19", found(tmp_path / "w.pth", content), LAYERS)
    assert not (tmp_path / "broken in").exists()
    torch.load(io.BytesIO(zipped(Evil(tmp_path / "broken in"))), weights_only=False)
    assert (tmp_path / "broken in").exists(), "the file does nothing evil, so the test tests nothing"


def changed(tensors, name, change):
    return save({key: change(value).contiguous() if key == name else value for key, value in tensors.items()})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda w: w[:, :32],
            r"conv1_2\.weight is \(64, 32, 3, 3\), wanted \(64, 64, 3, 3\); check --weights and network",
        ),
        (lambda w: w[..., 0], r"conv1_2\.weight is \(64, 64, 3\), wanted"),
        (lambda w: w.where(w < w.max(), torch.nan), r"conv1_2\.weight holds values that are not finite; fetch"),
        (lambda w: w.where(w < w.max(), torch.inf), r"conv1_2\.weight holds values that are not finite; fetch"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, shallow, change, problem):
    """A wrong shape and a value that is not finite are told with the tensor's name."""
    file = found(tmp_path / "w", changed(named(shallow), "conv1_2.weight", change))
    with pytest.raises(WeightsError, match=problem):
        load_network("vgg19", file, LAYERS)


def test_another_networks_file_is_refused():
    """The compact network's file is not VGG-19's."""
    with pytest.raises(WeightsError, match=r"does not hold network vgg19: conv1_1\.weight is \(16, 3, 3, 3\)"):
        load_network("vgg19", find_weights(architecture("compact")), LAYERS)


@pytest.mark.parametrize("meanwhile", ["changed", "deleted"])
def test_a_file_that_changed_since_it_was_found_is_refused(tmp_path, shallow, meanwhile):
    """All workers of a render must use the same weights."""
    file = found(tmp_path / "w", save(named(shallow)))
    if meanwhile == "changed":
        (tmp_path / "w").write_bytes(changed(named(shallow), "conv1_1.bias", torch.neg))
    else:
        (tmp_path / "w").unlink()
    with pytest.raises(
        WeightsError, match=r"(has changed since the render began|cannot be read any more .*); start again"
    ):
        load_network("vgg19", file, LAYERS)


@pytest.mark.parametrize("what", ["nothing", "folder"])
def test_a_path_without_a_file_is_refused(tmp_path, what):
    """A missing file of the user's is told before anything is computed."""
    path = tmp_path if what == "folder" else tmp_path / "nothing"
    with pytest.raises(WeightsError, match=r"cannot be read \(.*\); name a weight file"):
        find_weights(VGG19, str(path))


def test_a_wrong_file_in_the_cache_is_refused(cache):
    """torch trusts a file's name; muralist does not."""
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"something else")
    with pytest.raises(
        WeightsError, match=r"SHA-256 is [0-9a-f]{16}\.\.\., but dcbb9e9d\.\.\. was published; delete"
    ) as caught:
        find_weights(VGG19)
    assert caught.value.path == str(cache)


def test_weights_are_downloaded_once(cache, tmp_path, shallow):
    """The published file lands in torch's cache under its own name, and is taken from there afterwards."""
    source = tmp_path / "published.pth"
    source.write_bytes(zipped(numbered(shallow)))
    row = replace(VGG19, url=source.as_uri(), sha256=hashlib.sha256(source.read_bytes()).hexdigest()[:8])
    file = find_weights(row)
    source.unlink()
    assert find_weights(row) == file
    assert file.path == str(cache)
    assert load_network("vgg19", file, LAYERS).dtype == torch.float32


def test_a_download_of_something_else_is_refused(cache, tmp_path):
    """A file that is not the published one does not get into the cache."""
    (tmp_path / "portal.html").write_text("please log in")
    with pytest.raises(WeightsError, match=r"cannot be downloaded .*hash"):
        find_weights(replace(VGG19, url=(tmp_path / "portal.html").as_uri()))
    assert list(cache.parent.iterdir()) == []


def test_without_a_connection_the_ways_out_are_named(cache):
    """The error names the address, where the file belongs, --weights and the network that needs no download."""
    url = "http://127.0.0.1:9/vgg19.pth"
    with pytest.raises(WeightsError, match=r"--weights FILE.*network=compact") as caught:
        find_weights(replace(VGG19, url=url))
    assert str(caught.value).startswith(f"{cache}: not there, and {url} cannot be downloaded (")


def test_a_cache_that_cannot_be_made_is_told(cache):
    """A file where the cache's folder belongs gives the same error as no connection."""
    cache.parent.parent.parent.mkdir()
    cache.parent.parent.write_text("in the way")
    with pytest.raises(WeightsError, match=r"cannot be downloaded .*--weights FILE"):
        find_weights(VGG19)


def test_what_is_installed_is_told(cache):
    """The bundled network is always there; VGG-19 is once its file is in the cache."""
    assert {row["name"]: row["installed"] for row in installed()} == {"compact": True, "vgg19": False}
    cache.parent.mkdir(parents=True)
    cache.touch()
    assert {row["name"]: row["file"] for row in installed() if row["installed"]}["vgg19"] == str(cache)
