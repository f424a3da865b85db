"""The published weight files, as plain facts, and the path of each on this machine. Imports no torch."""

import os
from dataclasses import dataclass
from pathlib import Path

from .architecture import BYTES, Color

BUNDLED = Path(__file__).resolve().parent / "weights"


def cache_folder() -> Path:
    """Where torchvision keeps its weight files; muralist shares them."""
    usual = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"
    return Path(os.environ.get("TORCH_HOME", usual)).expanduser() / "hub" / "checkpoints"


@dataclass(frozen=True)
class PublishedFile:
    """A weight file as its author published it.

    Attributes
    ----------
    name : str
        Of the file. Two editions may share it.
    format : str
        As `muralist.model.formats.normalize` tells it.
    license : str
        Of the weights.
    page : str
        Where it is described and can be found.
    url : str
        Where it can be downloaded, if we may: that takes a hash as well.
    sha256, md5 : str
        Hash of the file, or its first hex digits; only where a source gives it.
    mean, std : tuple of float, optional
        What to subtract from and divide RGB in [0, 1] by, where the file's content does not tell.
    bundled : bool
        It comes with muralist.
    """

    name: str
    network: str
    format: str
    license: str
    page: str
    url: str = ""
    sha256: str = ""
    md5: str = ""
    mean: Color | None = None
    std: Color | None = None
    bundled: bool = False

    @property
    def local_path(self) -> Path:
        """Where the file lies, or would: beside this module or in torchvision's own cache."""
        return (BUNDLED if self.bundled else cache_folder()) / self.name

    @property
    def is_there(self) -> bool:
        """Whether a file lies there, as far as we may look."""
        return os.path.isfile(self.local_path)

    @property
    def hashed(self) -> bool:
        """Whether a copy can be told from the published file."""
        return bool(self.sha256 or self.md5)

    @property
    def hash(self) -> str:
        """The hash in words."""
        return f"SHA-256 {self.sha256[:16]}..." if self.sha256 else f"MD5 {self.md5}"

    def is_file_of(self, sha256: str, md5: str) -> bool:
        """Whether these are the file's hashes."""
        if self.sha256:
            return sha256.startswith(self.sha256)
        return bool(self.md5) and md5 == self.md5


VGG_LICENSE = "CC BY 4.0 (Visual Geometry Group, University of Oxford); trained on ImageNet"
BSD_LICENSE = "BSD-3-Clause (torchvision); trained on ImageNet"
TORCHVISION = "https://download.pytorch.org/models"
TORCHVISION_PAGE = "https://docs.pytorch.org/vision/stable/models"
MATCONVNET = "https://www.vlfeat.org/matconvnet"


def _digits(name: str) -> str:
    """First digits of the SHA-256 of a torch file, which its name tells."""
    return Path(name).stem.rpartition("-")[2]


def _torchvision(
    name: str, network: str, page: str = "vgg", mean: Color | None = None, std: Color | None = None
) -> PublishedFile:
    about, url, digits = f"{TORCHVISION_PAGE}/{page}.html", f"{TORCHVISION}/{name}", _digits(name)
    return PublishedFile(name, network, "torchvision", BSD_LICENSE, about, url, sha256=digits, mean=mean, std=std)


def _jcjohnson(name: str, network: str) -> PublishedFile:
    page, url = "https://github.com/jcjohnson/pytorch-vgg", f"https://web.eecs.umich.edu/~justincj/models/{name}"
    return PublishedFile(name, network, "jcjohnson", VGG_LICENSE, page, url, sha256=_digits(name))


def _matconvnet(name: str, network: str, md5: str, folder: str = "models") -> PublishedFile:
    page, url = f"{MATCONVNET}/pretrained", f"{MATCONVNET}/{folder}/{name}"
    return PublishedFile(name, network, "matconvnet", VGG_LICENSE, page, url, md5=md5)


# In the order in which a network's files are searched for. MD5 of the MatConvNet files as other projects give them.
PUBLISHED = (
    PublishedFile(
        "compact.safetensors",
        "compact",
        "safetensors",
        "MIT (distilled from VGG-19, CC BY 4.0; see compact.md beside the weights)",
        "muralist itself: install it again",
        sha256="2f4a7e04677d1f2e1454b00b9982043d9bf14d6ba0ec2179ba115601e1cbcbd8",
        bundled=True,
    ),
    _torchvision("vgg19-dcbb9e9d.pth", "vgg19"),
    _jcjohnson("vgg19-d01eb7cb.pth", "vgg19"),
    _matconvnet("imagenet-vgg-verydeep-19.mat", "vgg19", "106118b7cf60435e6d8e04f6a6dc3657"),
    _matconvnet("imagenet-vgg-verydeep-19.mat", "vgg19", "8ee3263992981a1d26e73b3ca028a123", "models/beta16"),
    PublishedFile(
        "vgg_conv.pth", "vgg19", "gatys", VGG_LICENSE, "https://github.com/leongatys/PytorchNeuralStyleTransfer"
    ),
    _torchvision("vgg16-397923af.pth", "vgg16"),
    _torchvision("vgg16_features-amdegroot-88682ab5.pth", "vgg16", mean=(0.48235, 0.45882, 0.40784), std=BYTES),
    _jcjohnson("vgg16-00b39a1b.pth", "vgg16"),
    _matconvnet("imagenet-vgg-verydeep-16.mat", "vgg16", "f72d927587ca4c97fbd165ec9cb9997f"),
    PublishedFile("vgg16_weights.npz", "vgg16", "npz", VGG_LICENSE, "https://www.cs.toronto.edu/~frossard/post/vgg16"),
    PublishedFile(
        "bvlc_alexnet.npy",
        "alexnet",
        "npy",
        "unrestricted (BAIR/BVLC); trained on ImageNet",
        "https://www.cs.toronto.edu/~guerzhoy/tf_alexnet",
    ),
    _torchvision("alexnet-owt-7be5be79.pth", "alexnet-owt", "alexnet"),
)
