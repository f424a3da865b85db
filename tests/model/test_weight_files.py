"""Weight files: which are published, where they are looked for, and how they get there."""

import hashlib
import io
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from facts import having
from layouts import matconvnet, npy, random_weights
from safetensors.torch import save
from torch import hub, zeros
from torch import save as save_pickled

from muralist.model import registry, weight_files
from muralist.model.architecture import ARCHITECTURES, BYTES, architecture
from muralist.model.errors import WeightsError
from muralist.model.registry import PUBLISHED
from muralist.model.weight_files import WeightFile, container, describe, find_weights, installed

VGG19, ALEXNET = architecture("vgg19"), architecture("alexnet")
BY_NAME = {each.name: each for each in PUBLISHED}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torchvision's cache, which is empty; no proxy answers for an address."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def publish(monkeypatch):
    """A function that changes published files: each name given with what is different."""

    def change(**files):
        monkeypatch.setattr(
            weight_files,
            "PUBLISHED",
            tuple(replace(each, **files.get(each.name.partition("-")[0], {})) for each in PUBLISHED),
        )

    return change


# ----------------------------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize(
    "name",
    [
        "VGG19_Weights.IMAGENET1K_V1",
        "VGG16_Weights.IMAGENET1K_V1",
        "VGG16_Weights.IMAGENET1K_FEATURES",
        "AlexNet_Weights.IMAGENET1K_V1",
    ],
)
def test_torchvisions_files_are_as_torchvision_says(name):
    """Address, hash and normalization."""
    from torchvision.models import get_weight  # takes as long as torch itself

    weights = get_weight(name)
    file = BY_NAME[weights.url.rpartition("/")[2]]
    row, transform = architecture(file.network), weights.transforms()
    assert file.url == weights.url
    assert file.name.endswith(f"-{file.sha256}.pth")
    assert [*(file.mean or row.mean), *(file.std or row.std)] == [*transform.mean, *transform.std]


def test_the_table_makes_sense():
    """Every network has files; only those with a hash are downloaded; those of one name are of one network."""
    assert {each.network for each in PUBLISHED} == set(ARCHITECTURES)
    assert all(each.hashed for each in PUBLISHED if each.url or each.bundled)
    assert all(each.license and each.page for each in PUBLISHED)
    assert len({(each.name, each.network) for each in PUBLISHED}) == len(BY_NAME)
    first = {each.network: each.name for each in reversed(PUBLISHED)}
    assert (first["vgg19"], first["vgg16"]) == ("vgg19-dcbb9e9d.pth", "vgg16-397923af.pth")
    assert BY_NAME["vgg16_features-amdegroot-88682ab5.pth"].std == BYTES


@pytest.mark.parametrize("variables", [{"TORCH_HOME": "/a"}, {"XDG_CACHE_HOME": "/b"}, {"HOME": "/c"}])
def test_the_cache_is_torchs(monkeypatch, variables):
    """torch's own folder, without importing torch."""
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(registry.cache_folder()) == f"{hub.get_dir()}/checkpoints"


def test_a_download_of_torchs_is_found(monkeypatch, tmp_path):
    """The folder is the one that torch itself puts weights into."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    save_pickled({}, tmp_path / "w.pth")
    hub.load_state_dict_from_url((tmp_path / "w.pth").as_uri(), progress=False)
    assert (registry.cache_folder() / "w.pth").is_file()


# --------------------------------------------------------------------------------------------------------- description


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (save({"a": zeros(1)}), "safetensors"),
        (b"MATLAB 5.0 MAT-file", "mat"),
        (b"MATLAB 7.3 MAT-file", "mat"),
        (npy({}), "npy"),
        (b"PK\x03\x04" + bytes(22) + b"\x0d\0\0\0conv1_1_W.npy", "npz"),
        (b"PK\x03\x04" + bytes(22) + b"\x08\0\0\0data.pkl", "torch"),
        (b"\x80\x02", "torch"),
        (b"", "torch"),
    ],
)
def test_containers_are_told_by_their_first_bytes(content, kind):
    """No name of a file is needed, and no whole file."""
    assert container(io.BytesIO(content)) == kind


def test_a_file_is_described(tmp_path):
    """Its hash and container are found out; without a known hash its license is unknown."""
    (tmp_path / "w").write_bytes(npy({}))
    wanted = WeightFile(str(tmp_path / "w"), hashlib.sha256(npy({})).hexdigest(), "npy", "", "unknown")
    assert describe(tmp_path / "w") == wanted
    assert pickle.loads(pickle.dumps(wanted)) == wanted


def test_published_files_are_recognised_wherever_they_are(tmp_path, publish):
    """By SHA-256, and MatConvNet's by MD5, whatever they are called."""
    mat, torch_file = matconvnet(random_weights(architecture("compact")), old=True), b"some torch file"
    (tmp_path / "a").write_bytes(mat)
    (tmp_path / "b").write_bytes(torch_file)
    sha256 = hashlib.sha256(torch_file).hexdigest()
    publish(imagenet={"md5": hashlib.md5(mat).hexdigest()}, vgg19={"sha256": sha256[:8]})
    first, second = (find_weights(VGG19, str(tmp_path / name)) for name in "ab")
    assert (first.published, first.format) == ("imagenet-vgg-verydeep-19.mat", "matconvnet")
    assert first.license.startswith("CC BY 4.0")
    assert (second.published, second.format) == ("vgg19-dcbb9e9d.pth", "torchvision")
    assert second.license.startswith("BSD")


@pytest.mark.parametrize(
    ("content", "license"),
    [
        (save({"a": zeros(1)}, {"muralist": '{"license": "free"}'}), "free"),
        (save({"a": zeros(1)}, {"muralist": '{"licence": "as in 0.1"}'}), "as in 0.1"),
        (save({"a": zeros(1)}, {"muralist": '["free"]'}), "unknown"),
        (save({"a": zeros(1)}, {"format": "pt"}), "unknown"),
        (bytes(8) + b"{", "unknown"),
        (b"\xff" * 8 + b"{" * 100_000, "unknown"),
        (b"\xff" * 8 + b'{"a":' * 100_000, "unknown"),
        (b"\x14" + bytes(7) + b'{"__metadata__": 12}', "unknown"),
    ],
)
def test_the_license_of_a_converted_file_is_read(tmp_path, content, license):
    """What `convert` knew stays known; a broken head is not our matter here."""
    (tmp_path / "w").write_bytes(content)
    assert describe(tmp_path / "w").license == license


# ------------------------------------------------------------------------------------------------------------- finding


@pytest.mark.parametrize("what", ["nothing", "folder"])
def test_a_path_without_a_file_is_refused(tmp_path, what):
    """A missing file of the user's is told before anything is computed."""
    path = tmp_path if what == "folder" else tmp_path / "nothing"
    with pytest.raises(WeightsError, check=having(OSError, path=str(path))):
        find_weights(VGG19, str(path))


def test_a_pipe_is_no_weight_file(tmp_path):
    """Nothing is read where reading might wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, check=having(OSError, path=str(tmp_path / "pipe"))):
        find_weights(VGG19, str(tmp_path / "pipe"))


def test_a_wrong_name_is_answered_with_the_nearest(cache):
    """The names of published files are told."""
    with pytest.raises(WeightsError, match=r"'vgg16_weights\.npz'.*: compact\.safetensors, "):
        find_weights(architecture("vgg16"), "vgg16_weight.npz")


def test_a_published_name_is_looked_for_in_the_cache(cache):
    """A name without a folder is that of a file in torchvision's cache; one whose hash is unknown is taken as it is."""
    cache.mkdir(parents=True)
    (cache / "bvlc_alexnet.npy").write_bytes(npy({}))
    named = find_weights(ALEXNET, "bvlc_alexnet.npy")
    assert named == find_weights(ALEXNET)
    assert (named.path, named.format, named.published) == (str(cache / "bvlc_alexnet.npy"), "npy", "")


def test_a_file_of_that_name_beside_us_comes_first(cache, tmp_path, monkeypatch):
    """What is a path is a path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vgg_conv.pth").write_bytes(b"mine")
    assert find_weights(VGG19, "vgg_conv.pth").path == str(tmp_path / "vgg_conv.pth")


def test_a_published_name_of_another_network_is_refused(cache):
    """The name alone tells that it cannot be right."""
    with pytest.raises(WeightsError, match=r"vgg16.*vgg19.*--network vgg16"):
        find_weights(VGG19, "vgg16-397923af.pth")


@pytest.mark.parametrize("asked", [None, "bvlc_alexnet.npy"])
def test_what_cannot_be_checked_is_not_downloaded(cache, asked):
    """Without a known hash the error says where the file is found and where it belongs."""
    match = r"https://www\.cs\.toronto\.edu.*--weights"
    with pytest.raises(WeightsError, match=match) as caught:
        find_weights(ALEXNET, asked)
    assert caught.value.path == str(cache / "bvlc_alexnet.npy")
    assert not cache.exists()


def test_weights_do_not_depend_on_what_else_is_there(cache, publish):
    """Without a name, a network's first file it is; others that are there are only told."""
    cache.mkdir(parents=True)
    (cache / "vgg_conv.pth").write_bytes(b"gatys")
    publish(vgg19={"url": "file:///nowhere/vgg19.pth"})
    with pytest.raises(WeightsError, match=r"vgg19-dcbb9e9d.*vgg_conv\.pth.*--weights"):
        find_weights(VGG19)
    content = b"torchvision"
    publish(vgg19={"sha256": hashlib.sha256(content).hexdigest()})
    (cache / "vgg19-dcbb9e9d.pth").write_bytes(content)
    assert find_weights(VGG19).published == "vgg19-dcbb9e9d.pth"


def test_a_wrong_file_in_the_cache_is_refused(cache):
    """torch trusts a file's name; muralist does not."""
    cache.mkdir(parents=True)
    (cache / "vgg19-dcbb9e9d.pth").write_bytes(b"something else")
    match = r"SHA-256.* [0-9a-f]{16}\.\.\..* dcbb9e9d\.\.\."
    with pytest.raises(WeightsError, match=match) as caught:
        find_weights(VGG19)
    assert caught.value.path == str(cache / "vgg19-dcbb9e9d.pth")


def test_either_edition_of_a_name_will_do(cache, publish):
    """Two MatConvNet files have the same name; each is right, and a third one is not."""
    name = "imagenet-vgg-verydeep-19.mat"
    cache.mkdir(parents=True)
    (cache / name).write_bytes(b"MATLAB something else")
    with pytest.raises(WeightsError, match=r"MD5 106118b7\w+.*MD5 8ee32639\w+"):
        find_weights(VGG19, name)
    publish(imagenet={"md5": hashlib.md5(b"MATLAB something else").hexdigest()})
    assert find_weights(VGG19, name).published == name


# --------------------------------------------------------------------------------------------------------- downloading


def test_weights_are_downloaded_once(cache, tmp_path, publish):
    """The published file lands in torch's cache under its own name, and is taken from there afterwards."""
    source = tmp_path / "published.pth"
    source.write_bytes(b"torchvision")
    publish(vgg19={"url": source.as_uri(), "sha256": hashlib.sha256(b"torchvision").hexdigest()[:8]})
    file = find_weights(VGG19)
    source.unlink()
    assert find_weights(VGG19) == file
    assert file.path == str(cache / "vgg19-dcbb9e9d.pth")
    assert [path.name for path in cache.iterdir()] == ["vgg19-dcbb9e9d.pth"]


def test_a_named_file_is_downloaded_and_its_md5_checked(cache, tmp_path, publish):
    """MatConvNet's files are known by MD5."""
    source = tmp_path / "published.mat"
    source.write_bytes(b"MATLAB 5.0")
    publish(imagenet={"url": source.as_uri(), "md5": hashlib.md5(b"MATLAB 5.0").hexdigest()})
    assert find_weights(VGG19, "imagenet-vgg-verydeep-19.mat").published == "imagenet-vgg-verydeep-19.mat"


@pytest.mark.parametrize("name", ["vgg19-dcbb9e9d.pth", "imagenet-vgg-verydeep-19.mat"])
def test_a_download_of_something_else_is_refused(cache, tmp_path, publish, name):
    """A file that is not the published one does not get into the cache."""
    (tmp_path / "portal.html").write_text("please log in")
    url = {"url": (tmp_path / "portal.html").as_uri()}
    publish(vgg19=url, imagenet=url)
    with pytest.raises(WeightsError, match=r"SHA-256 .*, wanted (SHA|MD5)"):
        find_weights(VGG19, name)
    assert list(cache.iterdir()) == []


def test_without_a_connection_the_ways_out_are_named(cache, publish):
    """The error names the address, where the file belongs, --weights and the network that needs no download."""
    url = "http://127.0.0.1:9/vgg19.pth"
    publish(vgg19={"url": url})
    with pytest.raises(WeightsError, match=r"--weights FILE.*--network compact") as caught:
        find_weights(VGG19)
    assert str(caught.value).startswith(f"{cache / 'vgg19-dcbb9e9d.pth'}: not there, and {url} cannot be downloaded (")
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_made_is_told(cache):
    """A file where the cache's folder belongs gives the same error as no connection."""
    cache.parent.parent.mkdir()
    cache.parent.write_text("in the way")
    with pytest.raises(WeightsError, match="--weights FILE", check=having(OSError)):
        find_weights(VGG19)


def test_damage_to_the_bundled_network_is_noticed(tmp_path, monkeypatch):
    """The file beside the code must be the one of the table, and be there."""
    monkeypatch.setattr(registry, "BUNDLED", tmp_path)
    with pytest.raises(WeightsError, check=having(path=str(tmp_path / "compact.safetensors"))):
        find_weights(architecture("compact"))
    (tmp_path / "compact.safetensors").write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"SHA-256 2f4a7e04677d1f2e\.\.\."):
        find_weights(architecture("compact"))


def test_a_cache_that_cannot_be_is_empty(monkeypatch):
    """A name too long for a folder does not end the list."""
    monkeypatch.setenv("TORCH_HOME", "/tmp/" + "x" * 300)
    assert {row["name"] for row in installed() if row["installed"]} == {"compact"}


def test_what_is_installed_is_told(cache):
    """The bundled network is always there; another one is once one of its files is in the cache."""
    assert {row["name"] for row in installed() if row["installed"]} == {"compact"}
    cache.mkdir(parents=True)
    (cache / "vgg_conv.pth").touch()
    row = next(row for row in installed() if row["name"] == "vgg19")
    assert (row["installed"], row["file"]) == (True, str(cache / "vgg_conv.pth"))
    assert [each["name"] for each in row["files"] if each["there"]] == ["vgg_conv.pth"]
    assert [each["place"] for each in row["files"]] == [str(cache / each["name"]) for each in row["files"]]


def test_looking_for_weights_imports_no_torch():
    """The driver stays small and quick."""
    code = (
        "import sys; from muralist.model.weight_files import find_weights, installed; installed()\n"
        "from muralist.model.architecture import architecture\n"
        "find_weights(architecture('compact')); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_comes_with_muralist_lies_where_muralist_does(tmp_path):
    """The bundled file is found beside the package of whoever asks; any other file lies where it was found."""
    bundled = find_weights(architecture("compact"))
    elsewhere = replace(bundled, path="/opt/another/python/compact.safetensors")
    assert elsewhere.local_path == bundled.local_path == Path(bundled.path)
    assert WeightFile("/data/mine.pth", "5af1").local_path == Path("/data/mine.pth")
