"""Every published layout gives the features of the same weights loaded directly; nothing else is read or executed."""

import io
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts import (
    LAYOUTS,
    NARROW,
    Evil,
    legacy,
    matconvnet,
    npy,
    npz,
    old_npy,
    random_weights,
    vgg_features,
    zipped,
)
from safetensors.torch import save
from scipy.io import savemat

from muralist.model import formats, registry, weight_files
from muralist.model.architecture import ARCHITECTURES, architecture
from muralist.model.errors import WeightsError
from muralist.model.formats import decode, detect, normalize
from muralist.model.loading import load_network
from muralist.model.registry import PublishedFile
from muralist.model.weight_files import describe, find_weights


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """All networks but the bundled one have a sixteenth of their channels."""
    for name, row in NARROW.items():
        monkeypatch.setitem(ARCHITECTURES, name, row)


def picture(height=64, width=48):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def assert_equal_features(given, wanted):
    for layer, value in wanted.items():
        assert (given[layer] - value).abs().max() < 1e-4 * value.abs().max(), layer


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_features_are_those_of_the_same_weights(tmp_path, layout):
    """In each layout, every layer before and after ReLU is what plain torch gives for the input the weights expect."""
    row = architecture(layout.network)
    weights = random_weights(row)
    (tmp_path / "some file").write_bytes(layout.write(weights))
    network = load_network(row.name, find_weights(row, str(tmp_path / "some file")), row.layers)
    wanted = layout.features(weights, picture())
    assert list(wanted) == list(row.layers)
    assert_equal_features(network(picture(), row.layers), wanted)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_network_and_the_format_are_told(layout):
    """Content alone tells which network a file holds, and in which layout."""
    content = decode("file", layout.write(random_weights(architecture(layout.network))))
    assert detect(content) == layout.network
    assert normalize(content, architecture(layout.network)).format == layout.format


def test_a_torch_file_of_the_compact_network_keeps_its_input(tmp_path):
    """Flat keys mean Gatys's convention for VGG only."""
    row = architecture("compact")
    whole = decode("", (registry.BUNDLED / "compact.safetensors").read_bytes()).tensors
    (tmp_path / "w.pth").write_bytes(zipped(dict(whole)))
    layers = ["conv1_1", "relu5_1"]
    given = load_network("compact", find_weights(row, str(tmp_path / "w.pth")), layers)(picture(), layers)
    assert_equal_features(given, load_network("compact", find_weights(row), layers)(picture(), layers))


def test_a_published_files_input_goes_by_its_hash(tmp_path, monkeypatch):
    """One of torchvision's files looks like the others but expects other colors: the hash tells."""
    layout, row = LAYOUTS["torchvision vgg16"], architecture("vgg16")
    weights = random_weights(row)
    path = tmp_path / "w.pth"
    path.write_bytes(layout.write(weights))
    amdegroot = next(each for each in weight_files.PUBLISHED if "amdegroot" in each.name)
    known = PublishedFile(
        *("w.pth", "vgg16", "torchvision", "free", "page"),
        sha256=describe(path).sha256[:8],
        mean=amdegroot.mean,
        std=amdegroot.std,
    )
    monkeypatch.setattr(weight_files, "PUBLISHED", (known,))
    given = load_network("vgg16", find_weights(row, str(path)), row.layers)(picture(), row.layers)
    x = 255 * (picture() - torch.tensor([0.48235, 0.45882, 0.40784]).view(3, 1, 1))
    assert_equal_features(given, vgg_features(weights, x))


def test_the_mean_of_a_matconvnet_file_is_its_own(tmp_path):
    """A mean color other than the usual one is heeded, and so is a mean picture's."""
    weights = random_weights(architecture("vgg19"))
    for old in (True, False):
        content = decode("file", matconvnet(weights, old=old, mean=(120.0, 110.0, 100.0)))
        assert content.mean == pytest.approx((120 / 255, 110 / 255, 100 / 255))


# ------------------------------------------------------------------------------------------------------------- refused


def refused(content, match):
    with pytest.raises(WeightsError, match=match) as caught:
        decode("some file", content)
    assert caught.value.path == "some file"
    assert "\n" not in str(caught.value)


BROKEN = {
    "empty": b"",
    "text": b"hello world\n",
    "web page": b"<!DOCTYPE html><html><title>404 Not Found</title></html>",
    "JSON": b'{"file": {"a": 1}}',
    "list": zipped([torch.zeros(1)]),
    "tensor": zipped(torch.zeros(1)),
    "no names": zipped({0: torch.zeros(1)}),
    "deep": zipped({"net": {"a": torch.zeros(1)}}),
    "sparse": zipped({"a": torch.eye(2).to_sparse()}),
    "without numbers": zipped({"a": torch.zeros(1, device="meta")}),
    "another pickle": pickle.dumps({"a": 1}, protocol=4),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_files_that_hold_no_tensors_are_refused(content):
    """Whatever a file is, the error names it and what was wanted, in one line."""
    refused(content, "is not a complete safetensors file or torch state dict of tensors .*; download it again")


@pytest.mark.parametrize("write", [zipped, legacy])
def test_a_metric_takes_no_more_than_its_file(write):
    """How many rows it has is the file's choice, so each number has to be there."""
    refused(write({"metric.relu1_1": torch.zeros(1).expand(10**9, 17)}), r"metric\.relu1_1 .*for each place")


def test_one_array_by_many_names_takes_no_more_than_is_admitted():
    """Every name gets a copy, so they count."""
    large, small = np.zeros((1, 1, 512, 512), np.float32), np.zeros(512, np.float32)
    refused(npy({}, {f"conv{number}": [large, small] for number in range(200)}), "unpacks to .*wanted at most")


@pytest.mark.parametrize("mean", [(float("nan"), 1.0, 1.0), (1e30, 1.0, 1.0)])
def test_mean_colors_that_are_none_are_refused(mean):
    """Pictures minus such a mean would be no pictures."""
    weights = random_weights(NARROW["vgg19"])
    refused(matconvnet(weights, old=False, mean=mean), "mean color")


@pytest.mark.parametrize(
    "name",
    [
        *("torchvision vgg19", "torchvision vgg19, old", "safetensors", "gatys"),
        *("matconvnet", "matconvnet, old", "matconvnet, plain", "npz", "npy", "npy, old"),
    ],
)
def test_truncated_files_are_refused(name):
    """A download that broke off is told from a whole file, wherever it ends."""
    whole = LAYOUTS[name].write(random_weights(architecture(LAYOUTS[name].network)))
    for end in [1, 7, 100, 127, 129, *range(0, len(whole) - 1, 1 + len(whole) // 20), len(whole) - 1]:
        refused(whole[:end], "is not a complete")


ALEXNET = random_weights(NARROW["alexnet"])


@pytest.mark.parametrize(
    "write",
    [
        lambda evil: zipped({"conv1_1.weight": torch.zeros(1), "x": evil}),
        lambda evil: legacy({"conv1_1.weight": torch.zeros(1), "x": evil}),
        lambda evil: pickle.dumps({"x": evil}, protocol=2),
        lambda evil: npy(ALEXNET, {"x": evil}),
        lambda evil: npy(ALEXNET, {"conv1": evil}),
        lambda evil: old_npy(ALEXNET, {"x": evil}),
    ],
    ids=["torch", "old torch", "pickle", "npy", "npy layer", "old npy"],
)
def test_nothing_in_a_file_is_executed(tmp_path, write):
    """A pickle that would run code is refused, and has not run any."""
    target = tmp_path / "broken in"
    content = write(Evil(target))
    refused(content, r"some file: would run (posix|nt)\.mkdir when it is read, wanted arrays only; do not trust")
    assert not target.exists()
    pickle.loads(pickle.dumps(Evil(target)))
    assert target.exists(), "the object does nothing evil, so the test tests nothing"


@pytest.mark.parametrize("module", ["builtins\neval", "numpy\nload", "numpy.core.multiarray\nfromfile", "os\nsystem"])
def test_a_pickle_may_name_arrays_only(module):
    """NumPy's own functions are refused as well, but for those that an array is made of."""
    head = npy({})[: npy({}).index(b"\n") + 1]
    name = module.replace("\n", r"\.")
    refused(head + f"c{module}\n(S'x'\ntR.".encode(), f"would run {name} when it is read, wanted arrays only; do not")


@pytest.mark.parametrize("value", [torch.nn.Linear(1, 1), {"a": print}], ids=["module", "function"])
def test_a_torch_file_may_hold_tensors_only(value):
    """A network saved whole is code as well; torch's advice to read it all the same is not passed on."""
    refused(zipped(value), r"some file: would run [\w.]+ when it is read, wanted arrays only; do not trust this file$")


def test_an_npz_that_holds_a_pickle_is_refused(tmp_path):
    """NumPy would unpickle an array of objects."""
    file = io.BytesIO()
    np.savez(file, conv1_1_W=np.array([Evil(tmp_path / "broken in")], dtype=object))
    refused(file.getvalue(), "is not a complete NumPy archive of layers .*OBJECT array")
    assert not (tmp_path / "broken in").exists()


def test_a_plain_array_is_refused():
    """An array is no mapping of layers."""
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    refused(file.getvalue(), "holds an array of float64, wanted a mapping of layers to weights; check --weights")


def test_layers_of_another_shape_are_refused():
    """A layer that is not a weight of four axes and a bias is told."""
    file = io.BytesIO()
    np.save(file, np.array({"conv1": [np.zeros((2, 2)), np.zeros(2)]}, dtype=object), allow_pickle=True)
    refused(file.getvalue(), "is not a complete NumPy file of layers .*axes")


def layer(**facts):
    made = np.empty((1, 1), object)
    made[0, 0] = facts
    return made


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"x": np.zeros(3)}, "'layers'"),
        ({"layers": np.zeros(3)}, "only integers"),
        ({"layers": layer(type="conv", name="conv1_1")}, "'filters'"),
        ({"layers": layer(type="relu")}, "'meta'"),
        ({"layers": layer(type="relu"), "meta": {"a": 1}}, "'normalization'"),
        ({"layers": layer(type="relu"), "normalization": {"averageImage": np.zeros(2)}}, "reshape"),
    ],
)
def test_other_mat_files_are_refused(content, problem):
    """A MAT file without MatConvNet's structure is told from one with it."""
    file = io.BytesIO()
    savemat(file, content)
    refused(file.getvalue(), f"is not a complete MatConvNet file .*{problem}")


def test_newer_mat_files_are_refused():
    """Version 7.3 is another format; what to do is told."""
    newer = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF"
    refused(newer, "is a MAT file of version 7.3, wanted version 5; save it")


def archive(name, size):
    """A zip whose only member says that it unpacks to `size` bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(name, bytes(1000))
    content = bytearray(file.getvalue())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", size)
    return bytes(content)


@pytest.mark.parametrize("name", ["conv1_1_W.npy", "archive/data.pkl"])
def test_archives_that_unpack_to_too_much_are_refused(monkeypatch, name):
    """A small file that says it becomes a huge one is refused before anything is unpacked, and so is any other."""
    refused(archive(name, 2**31), r"unpacks to 2048 MiB, wanted at most 16; download it again")
    monkeypatch.setattr(formats, "MOST_BYTES", 2**20)
    refused(archive(name, 2**21), r"unpacks to 2 MiB, wanted at most 1; download it again")


def variable(declared, inner=14, data=bytes(1000)):
    """A MAT file with one compressed variable that says it unpacks to `declared` bytes."""
    packed = zlib.compress(struct.pack("<II", inner, declared) + data)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    return head + struct.pack("<II", 15, len(packed)) + packed


def test_mat_files_that_unpack_to_too_much_are_refused(monkeypatch):
    """Also where several variables are too much together, or a variable holds more or less than it says."""
    refused(variable(2**30), "unpacks to 1024 MiB, wanted at most 16; download it again")
    refused(variable(2**23), "a compressed variable is not as long as it says")
    monkeypatch.setattr(formats, "MOST_BYTES", 1500)
    refused(variable(1000) + variable(1000)[128:], "unpacks to 0 MiB, wanted at most 0; download it again")
    bomb = struct.pack("<IIIIII", 6, 8, 6, 0, 0, 0) + struct.pack("<II", 9, 2**31) + bytes(10**6)
    refused(variable(64, data=bomb), "a compressed variable is not as long as it says")
    refused(variable(64, inner=15), "holds an element of type 15, wanted a matrix")


def opcodes(*parts):
    """A pickle of protocol 2."""
    return b"\x80\x02" + b"".join(parts) + b"."


HEX = b"c_codecs\nencode\n(h\x00X\x03\x00\x00\x00hextRq\x00"
TUPLES = b"h\x00h\x00\x86q\x00"
HARMFUL = {
    "room for objects": opcodes(b"cnumpy\nndarray\n(J\x00\x00\x00\x40X\x01\x00\x00\x00OtR"),
    "doubled forty times": opcodes(b"X\x01\x00\x00\x00aq\x00", 40 * HEX),
    "a type that is never spelled": opcodes(b"cnumpy\ndtype\n)q\x00", 40 * TUPLES, b"\x85R"),
    "a key that is never hashed": opcodes(b"}q\x01)q\x00", 40 * TUPLES, b"Ns"),
    "a set that is never hashed": b"\x80\x04\x8f()q\x00" + 40 * TUPLES + b"\x90.",
    "a mapping that is never hashed": opcodes(b"(" + b")q\x00", 40 * TUPLES, b"Nd"),
    "no numbers": npy({"conv1.weight": torch.zeros(1, 1, 1, 1), "conv1.bias": torch.zeros(1)}).replace(b"f4", b"V4"),
}


@pytest.mark.parametrize("harm", HARMFUL.values(), ids=HARMFUL)
def test_a_pickle_of_arrays_takes_no_more_than_it_holds(harm):
    """Where NumPy's own reader would take all memory, or Python compute for ever, nothing is taken."""
    head = b"" if harm.startswith(b"\x93") else npy({})[: npy({}).index(b"\n") + 1]
    tracemalloc.start()
    try:
        refused(head + harm, "is not a complete NumPy file of layers")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("container", [zipped, legacy])
def test_a_torch_file_may_name_what_tensors_are_made_by_and_no_more(container):
    """torch would double a text forty times, for it runs no code."""
    content = container({"a": b"x"})  # bytes are pickled as a call of `encode`
    refused(content, "would run _codecs.encode when it is read, wanted arrays only; do not trust this file")


@pytest.mark.parametrize("names", [TUPLES, TUPLES.replace(b"q\x00", b"\x80\x02q\x01h\x01q\x00")])
def test_a_torch_file_is_not_hashed_for_ever(names):
    """torch takes anything for a key. A tuple may be used again, such as a setting of optimizers, but not so often."""
    content = opcodes(b"}q\x01)q\x00", 40 * names, b"Ns")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", content)
    refused(file.getvalue(), r"is not a complete safetensors .*\(the same tuples again and again\)")
    betas = (0.9, 0.99)
    assert decode("", zipped({"model": {"a": torch.ones(1)}, "groups": 30 * [[betas]]})).tensors["a"] == 1


def test_what_a_file_names_is_told_in_one_harmless_line():
    """The name of a function may hold line breaks and codes that steer a terminal."""
    content = pickle.dumps({"x": Evil(Path("x"))}, protocol=2).replace(b"mkdir", b"a\x1b[2Jb")
    refused(content, r"would run (posix|nt)\.a\\x1b\[2Jb when it is read")


def test_an_archive_is_no_larger_than_its_bytes():
    """An array that claims more values than there are is refused, and no room is made for it."""
    file = io.BytesIO()
    np.savez(file, conv1_1_W=np.zeros((1, 1, 1, 1), np.float32))
    with zipfile.ZipFile(file) as archive:
        content = archive.read("conv1_1_W.npy").replace(b"(1, 1, 1, 1), }       ", b"(1, 1, 1, 99999999), }")
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("conv1_1_W.npy", content)
    refused(file.getvalue(), "is not a complete NumPy archive of layers .*buffer is smaller")


def test_a_broken_head_of_an_array_is_refused():
    """NumPy raises errors of Python's own tokenizer, which are no ValueError."""
    refused(npy({}).replace(b"}", b"(", 1), "is not a complete NumPy file of layers")


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ('{"mean": [0.5, 0.5, 0.5]}', "its metadata has std None"),
        ('{"mean": [0.5, 0.5], "std": [1.0, 1.0, 1.0]}', r"its metadata has mean \[0\.5, 0\.5\], wanted three numbers"),
        ('{"mean": [0.5, 0.5, 0.5], "std": [1.0, 0.0, 1.0]}', r"has std \[1\.0, 0\.0, 1\.0\], wanted .* above 0"),
        ('{"mean": "black", "std": [1.0, 1.0, 1.0]}', "its metadata has mean black"),
        ('{"mean": [NaN, 0.5, 0.5], "std": [1.0, 1.0, 1.0]}', "its metadata has mean"),
        ("[]", "is not a complete safetensors .*its metadata is not a mapping"),
        ("{", "is not a complete safetensors"),
    ],
)
def test_a_broken_record_is_refused(record, problem):
    """What `convert` wrote into a file must make sense."""
    refused(save({"conv1_1.weight": torch.zeros(1)}, {"muralist": record}), problem)


def test_foreign_metadata_is_nothing_to_us():
    """Other tools write metadata of their own."""
    content = decode("", save({"conv1_1.weight": torch.zeros(1)}, {"format": "pt", "mean": "x"}))
    assert (content.mean, content.std) == (None, None)


def test_big_endian_arrays_are_read():
    """NumPy files may come from any machine."""
    weights = random_weights(architecture("vgg16"))
    arrays = {key: np.asarray(value) for key, value in np.load(io.BytesIO(npz(weights))).items()}
    file = io.BytesIO()
    np.savez(file, **{key: value.astype(value.dtype.newbyteorder(">")) for key, value in arrays.items()})
    tensors = decode("", file.getvalue()).tensors
    assert all(torch.equal(tensors[key], value) for key, value in weights.items())
