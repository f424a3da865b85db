"""Converted weight files give the features of what they were made from."""

import json

import pytest
import torch
from facts import having
from layouts import LAYOUTS, NARROW, TORCHVISION_VGG16, numbered, random_weights, zipped
from safetensors import safe_open
from safetensors.torch import load_file, save

from muralist.model import weight_files
from muralist.model.architecture import ARCHITECTURES, architecture
from muralist.model.conversion import convert
from muralist.model.errors import UnknownNetworkError, WeightsError
from muralist.model.loading import load_network
from muralist.model.registry import PublishedFile
from muralist.model.weight_files import describe, find_weights


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """All networks but the bundled one have a sixteenth of their channels."""
    for name, row in NARROW.items():
        monkeypatch.setitem(ARCHITECTURES, name, row)


def features(path, name):
    row = architecture(name)
    picture = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    return load_network(name, find_weights(row, str(path)), row.layers)(picture, row.layers)


def written(tmp_path, layout):
    path = tmp_path / "weights.of.somebody"
    path.write_bytes(layout.write(random_weights(NARROW[layout.network])))
    return path


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_converted_file_gives_the_same_features(tmp_path, layout):
    """In every layout, bit for bit; and once more when the converted file is converted."""
    source, target, again = written(tmp_path, layout), tmp_path / "w.safetensors", tmp_path / "again.safetensors"
    facts = convert(source, target)
    convert(target, again)
    wanted = features(source, layout.network)
    for path in (target, again):
        given = features(path, layout.network)
        assert all(torch.equal(given[name], value) for name, value in wanted.items())
    assert (facts["network"], facts["format"]) == (layout.network, layout.format)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, target.name, again.name])


def test_a_converted_file_says_what_it_is(tmp_path):
    """Names and number types are ours and the file's; the metadata is what was reported."""
    source, target = written(tmp_path, LAYOUTS["npy"]), tmp_path / "w.safetensors"
    facts = convert(source, target)
    with safe_open(target, "pt") as file:
        found = json.loads(file.metadata()["muralist"])
    assert found == json.loads(json.dumps(facts))
    assert found["mean"] == [123 / 255, 117 / 255, 104 / 255]
    assert found["source"] == source.name
    assert found["source_sha256"] == describe(source).sha256
    assert found["license"] == "unknown"
    tensors = load_file(target)
    assert list(tensors) == sorted(random_weights(NARROW["alexnet"]))
    assert {value.dtype for value in tensors.values()} == {torch.float32}


def test_half_precision_stays_half(tmp_path):
    """A converted file is not larger than it must be."""
    whole = {key: value.half() for key, value in random_weights(NARROW["vgg19"]).items()}
    (tmp_path / "w").write_bytes(save(whole))
    convert(tmp_path / "w", tmp_path / "w.safetensors")
    assert {value.dtype for value in load_file(tmp_path / "w.safetensors").values()} == {torch.float16}


def test_a_published_files_facts_are_kept(tmp_path, monkeypatch):
    """License, published name and input of a file whose hash is known go into the converted one."""
    source, target = written(tmp_path, LAYOUTS["torchvision vgg16"]), tmp_path / "w.safetensors"
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.5, 0.25)
    sha256 = describe(source).sha256
    known = PublishedFile("p.pth", "vgg16", "torchvision", "free", "page", sha256=sha256, mean=mean, std=std)
    monkeypatch.setattr(weight_files, "PUBLISHED", (known,))
    facts = convert(source, target)
    assert (facts["source"], facts["license"], facts["mean"]) == ("p.pth", "free", mean)
    assert describe(target).license == "free"
    network = load_network("vgg16", describe(target), ["relu1_1"])
    assert (network.mean, network.std) == (mean, std)


def test_a_network_can_be_named(tmp_path):
    """Tensors that are none of a network's do not matter if the network is named; otherwise the file is unknown."""
    tensors = numbered(random_weights(NARROW["vgg16"]), TORCHVISION_VGG16, (0, 3, 6))
    (tmp_path / "w").write_bytes(zipped(tensors | {"features.99.weight": torch.zeros(1)}))
    with pytest.raises(WeightsError, match=r"--network$"):
        convert(tmp_path / "w", tmp_path / "w.safetensors")
    assert convert(tmp_path / "w", tmp_path / "w.safetensors", "vgg16")["network"] == "vgg16"


def test_the_wrong_network_is_refused(tmp_path):
    """A name that does not fit the tensors, or is none, writes nothing."""
    source, target = written(tmp_path, LAYOUTS["gatys"]), tmp_path / "w.safetensors"
    with pytest.raises(WeightsError, match=r"vgg16.*--network vgg19"):
        convert(source, target, "vgg16")
    with pytest.raises(UnknownNetworkError, match="'vgg19'"):
        convert(source, target, "vgg18")
    assert not target.exists()


def test_nothing_is_written_over_by_mistake(tmp_path):
    """An existing file is replaced only if that is asked for, and the source never."""
    source, target = written(tmp_path, LAYOUTS["npz"]), tmp_path / "w.safetensors"
    target.write_bytes(b"precious")
    with pytest.raises(WeightsError, match="--overwrite"):
        convert(source, target)
    assert target.read_bytes() == b"precious"
    with pytest.raises(WeightsError, check=having(path=str(source))):
        convert(source, source, overwrite=True)
    convert(source, target, overwrite=True)
    assert features(target, "vgg16")


def test_what_cannot_be_read_or_written_is_told(tmp_path):
    """A missing or broken source, a missing folder, and a folder in the target's place."""
    source = written(tmp_path, LAYOUTS["npz"])
    with pytest.raises(WeightsError, check=having(FileNotFoundError, path=str(tmp_path / "nothing"))):
        convert(tmp_path / "nothing", tmp_path / "w.safetensors")
    (tmp_path / "broken").write_bytes(source.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="NumPy"):
        convert(tmp_path / "broken", tmp_path / "w.safetensors")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    for target in (tmp_path / "folder", tmp_path / "nowhere" / "w.safetensors"):
        with pytest.raises(WeightsError, check=having(OSError, path=str(target))):
            convert(source, target, overwrite=True)
    assert sorted(tmp_path.iterdir()) == before
