"""Workers that would paint another picture, or cannot reach what they need: real ones, refused or left out."""

import hashlib
import os
import re
from importlib.metadata import version

import pytest
import torch
from crews import WEIGHTS, another_worker, opened
from pictures import TINY

from muralist.model.weight_files import WeightFile
from muralist.pipeline.errors import ClusterError, DeviceError
from muralist.pipeline.settings import Settings
from muralist.pipeline.storage.store import Store
from muralist.pipeline.workers.cluster import open_cluster
from muralist.pipeline.workers.requirements import without_build

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("package", ["muralist", "torch"])
def test_a_worker_of_another_version_is_refused(scheduler, tmp_path, package):
    """It is named with both versions and what to do; a build label of torch does not matter."""
    here = without_build(version(package))
    preload = f"""
import importlib.metadata as metadata
def version(name, usual=metadata.version):
    return "0.0.1+cu0" if name == "{package}" else usual(name) + "+other"
metadata.version = version
"""
    message = rf"^worker tcp://\S+ on \S+ has {package} 0\.0\.1\+cu0, .*{here};"
    with (
        another_worker(scheduler, tmp_path, preload),
        pytest.raises(ClusterError, match=message),
        opened(tmp_path, scheduler=scheduler),
    ):
        pass


def test_a_worker_without_the_package_is_refused(scheduler, tmp_path):
    """A worker of another environment says so before anything of ours is loaded there."""
    preload = """
import importlib.metadata as metadata
def version(name):
    raise metadata.PackageNotFoundError(name)
metadata.version = version
"""
    with (
        another_worker(scheduler, tmp_path, preload),
        pytest.raises(ClusterError, match=rf"on \S+ has muralist .*installed, .*{version('muralist')};"),
        opened(tmp_path, scheduler=scheduler),
    ):
        pass


def test_a_worker_that_is_broken_is_refused(scheduler, tmp_path):
    """Whatever goes wrong there is said in one line."""
    with (
        another_worker(scheduler, tmp_path, "import sys; sys.modules['torch'] = None"),
        pytest.raises(ClusterError, match=r"worker .*\(ModuleNotFoundError: .*torch .*\)"),
        opened(tmp_path, scheduler=scheduler),
    ):
        pass


def test_a_worker_with_other_weights_is_refused(scheduler, tmp_path):
    """The hash of the file as the worker sees it counts; that it is missing is said, too."""
    path = tmp_path / "weights.safetensors"
    weights = WeightFile(str(path), hashlib.sha256(b"mine").hexdigest())
    path.write_bytes(b"others")
    settings, store = Settings(**TINY | {"scheduler": scheduler}), Store(str(tmp_path))
    with (
        pytest.raises(ClusterError, match=rf"worker .*{path} \(SHA-256 .*, wanted .*\)"),
        open_cluster(settings, store, tmp_path, 1, weights),
    ):
        pass
    path.unlink()
    with (
        pytest.raises(ClusterError, match=rf"worker .*{path}; .*--weights"),
        open_cluster(settings, store, tmp_path, 1, weights),
    ):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("root", ["run", "memory://run"])
def test_a_worker_that_does_not_see_the_store_is_refused(scheduler, tmp_path, monkeypatch, root):
    """A folder or URL that means something else to a worker is named with the worker, its host and the way out."""
    monkeypatch.chdir(tmp_path)  # the worker runs elsewhere, so that the same name is another folder
    (tmp_path / "run").mkdir()
    with (
        pytest.raises(ClusterError, match=rf"worker tcp://\S+ on \S+ .*{root} \(No.* --scratch"),
        open_cluster(Settings(**TINY | {"scheduler": scheduler}), Store(root), tmp_path, 1, WEIGHTS),
    ):
        pass
    assert os.listdir(tmp_path / "run") == []


def test_any_store_that_all_workers_see_will_do(object_store, tmp_path):
    """Nothing is left in a bucket."""
    store = Store(object_store)
    settings = Settings(**TINY | {"device": "cuda:77"})  # on this machine, whose new workers know the server
    with pytest.raises(DeviceError, match="cuda:77 "), open_cluster(settings, store, tmp_path, 1, WEIGHTS):
        pass
    assert store.names("") == set()


def test_workers_without_the_device_are_left_out(scheduler, tmp_path, fake_tasks):
    """One GPU machine among others is used alone, whether the device was asked for or not, and the others are named."""
    preload = """
import contextlib
import torch
torch.cuda.is_available = lambda: True
torch.cuda.device_count = lambda: 1
torch.cuda.get_device_name = lambda device: "Pretended GPU"
torch.cuda.is_bf16_supported = lambda **_: True
torch.cuda.get_device_capability = lambda device: (9, 0)
torch.cuda.device = contextlib.nullcontext
"""
    reasons = {"auto": "computes on cpu, the others on cuda", "cuda": "has no cuda, which others have"}
    with another_worker(scheduler, tmp_path, preload) as able:
        for device, reason in reasons.items():
            with opened(tmp_path, scheduler=scheduler, device=device, precision="auto") as cluster:
                facts = (cluster.workers, cluster.device, cluster.device_name, cluster.precision)
                assert facts == (1, "cuda", "Pretended GPU", "bfloat16")
                assert set(cluster.map("pid", [()] * 4)) == {able.pid}
                (notice,) = cluster.notices
                assert re.fullmatch(rf"worker tcp://\S+ on \S+ {reason}; it is left out", notice)
        with opened(tmp_path, scheduler=scheduler, device="cpu") as cluster:
            assert (cluster.workers, cluster.device, cluster.notices) == (2, "cpu", [])


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch finds the GPUs of this machine")
def test_gpus_that_torch_does_not_find_are_told(tmp_path, monkeypatch):
    """Where the driver is too old for torch, it is said that only a core beside the GPU paints."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with opened(tmp_path, device="auto") as cluster:
        (notice,) = cluster.notices
    assert re.search(r"GPUs \(0\), .*torch \S+ can use none .*--device cpu", notice)


def test_a_device_that_no_worker_has_is_refused(scheduler, tmp_path):
    """Asking for a GPU that is not there fails before anything is painted."""
    with (
        pytest.raises(DeviceError, match="cuda:77 "),
        opened(tmp_path, scheduler=scheduler, device="cuda:77"),
    ):
        pass
    assert os.listdir(tmp_path) == []
