"""Weight files in the exact layouts of the published ones, of narrower networks; and their features by plain torch."""

import io
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from scipy.io import savemat
from torch import Tensor

from muralist.model.architecture import ARCHITECTURES, Architecture, Convolution
from muralist.model.network import Network

Tensors = Mapping[str, Tensor]
CAFFE_MEAN = (123.68, 116.779, 103.939)
TORCHVISION_VGG19 = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
TORCHVISION_VGG16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
TORCHVISION_ALEXNET = (0, 3, 6, 8, 10)


def narrow(row: Architecture, by: int = 16) -> Architecture:
    """The same network with a sixteenth of the channels."""
    steps = []
    for step in row.steps:
        if isinstance(step, Convolution):
            fan_in = step.fan_in if step.fan_in == 3 else step.fan_in // by
            step = replace(step, fan_in=fan_in, fan_out=step.fan_out // by)
        steps.append(step)
    return replace(row, steps=tuple(steps))


NARROW = {name: narrow(row) for name, row in ARCHITECTURES.items() if name != "compact"}


def random_weights(row: Architecture, seed: int = 0, gain: float = 1.0) -> dict[str, Tensor]:
    """Weights of a network, of a size that keeps features alive."""
    rng = torch.Generator().manual_seed(seed)
    weights = {}
    for name, step in row.convolutions.items():
        fan = step.shape[1] * step.kernel**2
        weights[f"conv{name}.weight"] = gain * torch.randn(step.shape, generator=rng) * (2 / fan) ** 0.5
        weights[f"conv{name}.bias"] = 0.1 * torch.randn(step.fan_out, generator=rng)
    return weights


def random_network(row: Architecture) -> Network:
    """A network with such weights, in float64."""
    return Network(row, random_weights(row, seed=5)).prepared("cpu", torch.float64)


# ------------------------------------------------------------------------------------------------------------- layouts


def zipped(tensors: object) -> bytes:
    """A file as `torch.save` writes it."""
    file = io.BytesIO()
    torch.save(tensors, file)
    return file.getvalue()


def legacy(tensors: object) -> bytes:
    """A file as `torch.save` wrote it before torch 1.6."""
    file = io.BytesIO()
    torch.save(tensors, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def numbered(weights: Tensors, numbers: tuple[int, ...], classifier: tuple[int, ...]) -> dict[str, Tensor]:
    """Keys of a `torch.nn.Sequential`, with linear layers behind the convolutions."""
    names = list(dict.fromkeys(key.partition(".")[0] for key in weights))
    places = dict(zip(names, numbers, strict=True))
    found = {f"features.{places[key.partition('.')[0]]}.{key.partition('.')[2]}": w for key, w in weights.items()}
    for number in classifier:
        found[f"classifier.{number}.weight"] = torch.full((2, 3), torch.nan)
        found[f"classifier.{number}.bias"] = torch.ones(2)
    return found


def hwio(weight: Tensor) -> np.ndarray:
    """Height, width, in, out."""
    return np.ascontiguousarray(weight.numpy().transpose(2, 3, 1, 0))


def pairs(weights: Tensors) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Weight, as height, width, in, out, and bias of every convolution."""
    names = dict.fromkeys(key.partition(".")[0] for key in weights)
    return {name: (hwio(weights[f"{name}.weight"]), weights[f"{name}.bias"].numpy()) for name in names}


def npz(weights: Tensors) -> bytes:
    """The archive of D. Frossard: convolutions, then linear layers."""
    arrays = {f"{name}_{kind}": a for name, pair in pairs(weights).items() for kind, a in zip("Wb", pair, strict=True)}
    file = io.BytesIO()
    np.savez(file, **arrays, fc6_W=np.zeros((5, 4), np.float32), fc6_b=np.zeros(4, np.float32))
    return file.getvalue()


def npy(weights: Tensors, extra: Mapping[str, Any] | None = None) -> bytes:
    """A pickled dictionary of layers, as NumPy writes it now."""
    file = io.BytesIO()
    np.save(file, _layers(weights, extra), allow_pickle=True)
    return file.getvalue()


def old_npy(weights: Tensors, extra: Mapping[str, Any] | None = None) -> bytes:
    """The same as Python 2 and NumPy 1 wrote it: old names, texts that are bytes, 0 and 1 for truth."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    _Python2Pickler(file, protocol=2).dump(_layers(weights, extra))
    return file.getvalue()


def _layers(weights: Tensors, extra: Mapping[str, Any] | None) -> np.ndarray:
    layers = {name: list(pair) for name, pair in pairs(weights).items()}
    layers["fc6"] = [np.zeros((5, 4), np.float32), np.zeros(4, np.float32)]
    return np.array(layers | dict(extra or {}), dtype=object)


class _Python2Pickler(pickle._Pickler):
    """Writes what Python 2 and NumPy 1 wrote."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, data: bytes) -> None:
        self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)
        self.memoize(data)

    def save_str(self, text: str) -> None:
        self.save_bytes(text.encode("latin1"))

    def save_bool(self, truth: bool) -> None:
        self.save_long(int(truth))

    def save_long(self, number: int) -> None:
        pickle._Pickler.save_long(self, number)

    def save_global(self, what: Any, name: str | None = None) -> None:
        module = (what.__module__ or "").replace("numpy._core", "numpy.core")
        self.write(f"c{module}\n{what.__qualname__}\n".encode())
        self.memoize(what)

    dispatch |= {bytes: save_bytes, str: save_str, bool: save_bool, type: save_global}


def matconvnet(weights: Tensors, *, old: bool, mean: tuple[float, ...] = CAFFE_MEAN, compress: bool = True) -> bytes:
    """A MatConvNet file: `filters`, `biases` and a mean picture, or, later, `weights` and a mean color."""
    layers: list[dict[str, Any]] = []
    block = "1"
    for name, (weight, bias) in pairs(weights).items():
        if name[4] != block:
            block = name[4]
            layers.append({"type": "pool", "name": f"pool{block}", "stride": [2.0, 2.0], "method": "max"})
        layers.append({"name": name, "type": "conv", "pad": np.ones(4), "stride": np.ones(2)})
        if old:
            layers[-1] |= {"filters": weight, "biases": bias[None]}
        else:
            layers[-1] |= {"weights": _cells([weight, bias[:, None]]), "opts": np.empty((0, 0), object)}
        layers.append({"type": "relu", "name": f"relu{name[4:]}"})
    layers.append({"name": "fc6", "type": "conv", "filters": np.zeros((7, 7, 2, 2)), "biases": np.zeros((1, 2))})
    color = np.array(mean, np.float32).reshape(1, 1, 3)
    file = io.BytesIO()
    about: dict[str, Any] = {"keepAspect": 1.0, "averageImage": np.tile(color, (224, 224, 1)) if old else color}
    found = {"normalization": about} if old else {"meta": {"normalization": about, "classes": {"name": "cat"}}}
    savemat(file, {"layers": _cells(layers), **found}, do_compression=compress)
    return file.getvalue()


def _cells(values: list[Any]) -> np.ndarray:
    cells = np.empty((1, len(values)), object)
    for i, value in enumerate(values):
        cells[0, i] = value
    return cells


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


# ------------------------------------------------------------------------------------------- features, by plain torch


def vgg_features(weights: Tensors, x: Tensor) -> dict[str, Tensor]:
    """Features of VGG with zero padding and max pooling."""
    features, block = {}, "1"
    for name in dict.fromkeys(key.partition(".")[0] for key in weights):
        if name[4] != block:
            x, block = F.max_pool2d(x, 2), name[4]
        x = F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)
        features[name] = x
        x = features[name.replace("conv", "relu")] = x.relu()
    return features


def alexnet_features(weights: Tensors, x: Tensor, groups: int = 2, normalized: bool = True) -> dict[str, Tensor]:
    """Features of AlexNet with zero padding and max pooling, every step to a whole share of the picture."""
    features = {}
    for i, (pad, stride) in enumerate([((3, 4), 4), ((2, 2), 1), ((1, 1), 1), ((1, 1), 1), ((1, 1), 1)], 1):
        shares = groups if i in (2, 4, 5) else 1
        x = F.pad(x, (*pad, *pad))
        x = F.conv2d(x, weights[f"conv{i}.weight"], weights[f"conv{i}.bias"], stride, groups=shares)
        features[f"conv{i}"] = x
        x = features[f"relu{i}"] = x.relu()
        if i <= 2:
            x = F.local_response_norm(x, 5, 1e-4, 0.75, 1.0) if normalized else x
            x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), mode="replicate"), 3, 2)
    return features


def caffe(picture: Tensor, mean: tuple[float, ...] = CAFFE_MEAN) -> Tensor:
    """RGB 0..255 without its mean."""
    return 255 * picture - torch.tensor(mean).view(3, 1, 1)


def imagenet(picture: Tensor) -> Tensor:
    """What torchvision's networks are given."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (picture - mean) / std


def bgr(picture: Tensor) -> Tensor:
    """Blue first."""
    return picture.flip(1)


@dataclass(frozen=True)
class Layout:
    """A published layout.

    Attributes
    ----------
    network, format : str
    write : callable
        From weights, as the layout's network has them, to the bytes of a file.
    features : callable
        From the same weights and an RGB picture in [0, 1] to the features.
    """

    network: str
    format: str
    write: Callable[[Tensors], bytes]
    features: Callable[[Tensors, Tensor], dict[str, Tensor]]


def _torchvision(container: Callable[[Any], bytes], numbers: tuple[int, ...]) -> Callable[[Tensors], bytes]:
    classifier = (1, 4, 6) if numbers == TORCHVISION_ALEXNET else (0, 3, 6)
    return lambda weights: container(numbered(weights, numbers, classifier))


def _vgg(prepare: Callable[[Tensor], Tensor]) -> Callable[[Tensors, Tensor], dict[str, Tensor]]:
    return lambda weights, picture: vgg_features(weights, prepare(picture))


GATYS_MEAN = tuple(255 * v for v in (0.48501961, 0.45795686, 0.40760392))
BVLC_MEAN = (123.0, 117.0, 104.0)
JCJOHNSON = (1, 4, 6)
LAYOUTS = {
    "torchvision vgg19": Layout("vgg19", "torchvision", _torchvision(zipped, TORCHVISION_VGG19), _vgg(imagenet)),
    "torchvision vgg19, old": Layout("vgg19", "torchvision", _torchvision(legacy, TORCHVISION_VGG19), _vgg(imagenet)),
    "torchvision vgg16": Layout("vgg16", "torchvision", _torchvision(zipped, TORCHVISION_VGG16), _vgg(imagenet)),
    "torchvision in safetensors": Layout("vgg19", "torchvision", _torchvision(save, TORCHVISION_VGG19), _vgg(imagenet)),
    "torchvision alexnet": Layout(
        "alexnet-owt",
        "torchvision",
        _torchvision(legacy, TORCHVISION_ALEXNET),
        lambda weights, picture: alexnet_features(weights, imagenet(picture), groups=1, normalized=False),
    ),
    "safetensors": Layout("vgg19", "safetensors", lambda weights: save(dict(weights)), _vgg(imagenet)),
    "matconvnet": Layout("vgg19", "matconvnet", lambda weights: matconvnet(weights, old=False), _vgg(caffe)),
    "matconvnet, old": Layout("vgg19", "matconvnet", lambda weights: matconvnet(weights, old=True), _vgg(caffe)),
    "matconvnet, plain": Layout(
        "vgg16", "matconvnet", lambda weights: matconvnet(weights, old=True, compress=False), _vgg(caffe)
    ),
    "npz": Layout("vgg16", "npz", npz, _vgg(caffe)),
    "npy": Layout("alexnet", "npy", npy, lambda w, picture: alexnet_features(w, bgr(caffe(picture, BVLC_MEAN)))),
    "npy, old": Layout("alexnet", "npy", old_npy, lambda w, p: alexnet_features(w, bgr(caffe(p, BVLC_MEAN)))),
    "gatys": Layout("vgg19", "gatys", legacy, _vgg(lambda picture: bgr(caffe(picture, GATYS_MEAN)))),
    "jcjohnson vgg19": Layout(
        "vgg19",
        "jcjohnson",
        lambda weights: legacy(numbered(weights, TORCHVISION_VGG19, JCJOHNSON)),
        _vgg(lambda picture: bgr(caffe(picture))),
    ),
    "jcjohnson vgg16": Layout(
        "vgg16",
        "jcjohnson",
        lambda weights: legacy(numbered(weights, TORCHVISION_VGG16, JCJOHNSON)),
        _vgg(lambda picture: bgr(caffe(picture))),
    ),
}
