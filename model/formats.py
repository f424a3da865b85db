"""What a weight file holds: its tensors, and what its network expects of a picture. Nothing in a file is executed.

Every published format has its own names, order of axes and input: `parse` reads the container, `understand` brings
its tensors to muralist's names (`conv1_1.weight`, ...) and axes (out, in, height, width), and says what to subtract
from and divide RGB in [0, 1] by. Weights for BGR are turned round in `rgb`, so that pictures never are.

| format | container | keys | input |
|---|---|---|---|
| torchvision | torch or safetensors | `features.N.weight`, `classifier.0...` | the network's mean and std, RGB |
| jcjohnson | torch or safetensors | the same, but `classifier.1...` | 0..255 minus the Caffe mean, BGR |
| gatys | torch | `conv1_1.weight` of a VGG network | 0..255 minus its mean, BGR |
| safetensors | safetensors | `conv1_1.weight` | as `convert` wrote; else the network's own, RGB |
| torch | torch | `conv1_1.weight` of another network | the network's own, RGB |
| matconvnet | MAT version 5 | struct `layers`; height, width, in, out | 0..255 minus `averageImage`, RGB |
| npz | zip of .npy | `conv1_1_W`, `conv1_1_b`; height, width, in, out | 0..255 minus the Caffe mean, RGB |
| npy | pickle in .npy | {`conv1`: [weights, bias]}; height, width, in, out | 0..255 minus the Caffe mean, BGR |
"""

import io
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from muralist.model.architecture import ARCHITECTURES, BYTES, CAFFE_MEAN, Architecture, Colour, Convolution, Pool
from muralist.model.errors import WeightsError
from muralist.model.matfile import read_mat, unpacked_size
from muralist.model.weight_files import container, record

MOST_BYTES = 4 * 2**30  # that a file may say it unpacks to; the largest published one holds a seventh

# What the readers trip over in a broken file.
BROKEN = (
    *(pickle.UnpicklingError, struct.error, zlib.error, zipfile.BadZipFile, SafetensorError),
    *(EOFError, OSError, RuntimeError, ValueError, MemoryError),
    *(LookupError, TypeError, AttributeError, AssertionError, OverflowError),
)
KINDS = {
    "npy": "NumPy file of layers",
    "npz": "NumPy archive of layers",
    "mat": "MatConvNet file",
    "torch": "safetensors file or torch state dict of tensors",
    "safetensors": "safetensors file or torch state dict of tensors",
}
GATYS_MEAN: Colour = (0.48501961, 0.45795686, 0.40760392)
BGR = ("jcjohnson", "gatys", "npy")


@dataclass(frozen=True)
class Content:
    """What a container holds.

    Attributes
    ----------
    container : str
        As `muralist.model.weight_files.container` tells it.
    tensors : mapping str -> Tensor
        Under the file's own keys in a torch or safetensors file; otherwise under muralist's, axes in order.
    mean, std : tuple of float, optional
        Where the file tells them.
    """

    container: str
    tensors: Mapping[str, Tensor]
    mean: Colour | None = None
    std: Colour | None = None


@dataclass(frozen=True)
class Weights:
    """A file's content, taken for one network's.

    Attributes
    ----------
    tensors : mapping str -> Tensor
        Under muralist's names: convolutions, and whatever else is there. May be the wrong ones.
    format : str
    mean, std : tuple of float
        What the network subtracts from and divides RGB in [0, 1] by.
    """

    tensors: Mapping[str, Tensor]
    format: str
    mean: Colour
    std: Colour


class Refused(ValueError):
    """A file that is whole, but not to be read."""


def parse(path: str, content: bytes) -> Content:
    """Read the bytes of a weight file.

    Raises
    ------
    WeightsError
        If they are of no known kind, end too early, would run code, or unpack to more than 4 GiB.
    """
    kind = container(io.BytesIO(content))
    try:
        return READERS[kind](content)
    except Refused as error:
        raise WeightsError(path, str(error)) from error
    except BROKEN as error:
        what = re.split(r"\. |\n", str(error) or type(error).__name__)[0][:120]
        raise WeightsError(path, f"is not a whole {KINDS[kind]} ({what}); fetch it again") from error


def understand(content: Content, row: Architecture) -> Weights:
    """Take a file's content for a network's."""
    tensors = _renamed(row, content.tensors)
    kind = _format(content, row)
    known: dict[str, tuple[Colour, Colour]] = {
        "jcjohnson": (CAFFE_MEAN, BYTES),
        "gatys": (GATYS_MEAN, BYTES),
        "npz": (CAFFE_MEAN, BYTES),
        "npy": (row.mean if row.std == BYTES else CAFFE_MEAN, BYTES),
    }
    mean, std = known.get(kind, (row.mean, row.std))
    return Weights(tensors, kind, content.mean or mean, content.std or std)


def rgb(weights: Weights, row: Architecture) -> Weights:
    """Turn round the first convolution of weights that were made for blue, green and red."""
    if weights.format not in BGR:
        return weights
    first = f"conv{next(iter(row.convolutions))}.weight"
    return replace(weights, tensors={**weights.tensors, first: weights.tensors[first].flip(1)})


def shapes(row: Architecture) -> dict[str, tuple[int, ...]]:
    """Map the names of a network's tensors to their shapes, in order."""
    found: dict[str, tuple[int, ...]] = {}
    for name, step in row.convolutions.items():
        found |= {f"conv{name}.weight": step.shape, f"conv{name}.bias": (step.fan_out,)}
    return found


def fitting(content: Content) -> str | None:
    """Name the network whose convolutions these are, all of them and no others."""
    for row in ARCHITECTURES.values():
        tensors = understand(content, row).tensors
        found = {key: tuple(value.shape) for key, value in tensors.items() if key.startswith(("conv", "features."))}
        if found == shapes(row):
            return row.name
    return None


def _format(content: Content, row: Architecture) -> str:
    if content.container == "mat":
        return "matconvnet"
    if any(key.startswith("features.") for key in content.tensors):
        # Caffe's VGG has no dropout before its first linear layer; torchvision's AlexNet does, its VGG does not.
        ported = "classifier.1.weight" in content.tensors and row.name.startswith("vgg")
        return "jcjohnson" if ported else "torchvision"
    return "gatys" if content.container == "torch" and row.name.startswith("vgg") else content.container


def _renamed(row: Architecture, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring torchvision's numbered names to ours: a convolution, its ReLU and each pooling count one."""
    numbers, number = {}, 0
    for step in row.steps:
        if isinstance(step, Convolution):
            numbers[f"features.{number}"] = f"conv{step.name}"
        number += 2 if isinstance(step, Convolution) else isinstance(step, Pool)
    parts = ((key.rpartition("."), value) for key, value in tensors.items())
    return {f"{numbers.get(stem, stem)}.{kind}": value for (stem, _, kind), value in parts}


# ------------------------------------------------------------------------------------------------- torch, safetensors


def _safetensors(content: bytes) -> Content:
    tensors = load(content)
    found = record(io.BytesIO(content))
    if "mean" not in found and "std" not in found:
        return Content("safetensors", tensors)
    return Content("safetensors", tensors, _colour(found, "mean"), _colour(found, "std"))


def _colour(found: Mapping[str, Any], key: str) -> Colour:
    values: Any = found.get(key)
    numbers = isinstance(values, list) and all(isinstance(value, float) and isfinite(value) for value in values)
    if numbers and len(values) == 3 and (key == "mean" or min(values) > 0):
        return values[0], values[1], values[2]
    raise Refused(f"its record has {key} {values}, wanted three numbers, for std above 0; convert the file again")


def _torch(content: bytes) -> Content:
    """Unpickle tensors; those of a training checkpoint lie one level down."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        _check_archive(content)
    found = _unpickled(content)
    if isinstance(found, Mapping):
        found = found.get("state_dict", found.get("model", found))
    if not isinstance(found, Mapping) or not all(isinstance(key, str) and _is_dense(v) for key, v in found.items()):
        raise ValueError(f"holds a {type(found).__name__}, not a mapping of names to dense tensors")
    return Content("torch", dict(found))


def _unpickled(content: bytes) -> Any:
    """What torch's reader of tensors, which runs nothing, makes of a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch tells the authors of files what is out of date in them
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose text goes on to tell how to read the file all the same
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            raise _runs_code(named[1]) from error
        raise ValueError("holds no pickle of tensors") from error


def _is_dense(value: object) -> bool:
    """Whether a value is a tensor whose numbers are there, one for each place."""
    if not isinstance(value, Tensor) or value.is_nested or value.is_quantized:
        return False
    return value.layout == torch.strided and value.device.type == "cpu"


def _runs_code(name: str) -> Refused:
    return Refused(f"would run {name} when it is read, wanted arrays only; do not trust this file")


# -------------------------------------------------------------------------------------------------------------- NumPy


def _npz(content: bytes) -> Content:
    _check_archive(content)
    tensors: dict[str, Tensor] = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        for key in file.files:
            if match := re.fullmatch(r"(conv\d+_\d+)_([Wb])", key):
                name, kind = match.groups()
                tensors |= _weight(name, file[key]) if kind == "W" else _bias(name, file[key])
    return Content("npz", tensors)


def _npy(content: bytes) -> Content:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = read(file)
    if not dtype.hasobject:
        raise Refused(f"holds an array of {dtype}, wanted a mapping of layers to weights; check --weights")
    found = _LayersUnpickler(file, encoding="latin1").load().item()
    layers = {str(name): pair for name, pair in found.items() if str(name).startswith("conv")}
    tensors: dict[str, Tensor] = {}
    for name, (weight, bias) in layers.items():
        tensors |= _weight(name, weight) | _bias(name, bias)
    return Content("npy", tensors)


def _dtype(name: str, align: object, copy: object) -> np.dtype[Any]:
    """Make a number type; Python 2 wrote 0 and 1 for the truth values that NumPy wants now."""
    return np.dtype(name, align=bool(align), copy=bool(copy))


def _arrays() -> dict[tuple[str, str], Any]:
    """All that a pickle of arrays may name, in NumPy's old spelling: they make arrays and bytes, nothing else."""
    import _codecs

    rebuild = np.empty(0).__reduce__()[0]
    return {
        ("numpy.core.multiarray", "_reconstruct"): rebuild,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): _dtype,
        ("_codecs", "encode"): _codecs.encode,
    }


# The unpickler written in Python: the one in C allocates whatever index a broken file names.
class _LayersUnpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        key = module.replace("numpy._core", "numpy.core"), name
        if key not in ALLOWED:
            raise _runs_code(f"{module}.{name}")
        return ALLOWED[key]


ALLOWED = _arrays()


def _native(array: object) -> np.ndarray:
    """A copy whose bytes are in this machine's order."""
    array = np.asarray(array)
    return np.array(array, array.dtype.newbyteorder("="), order="C")


def _weight(name: str, array: object) -> dict[str, Tensor]:
    """Height, width, in, out become out, in, height, width."""
    return {f"{name}.weight": torch.from_numpy(_native(np.transpose(np.asarray(array), (3, 2, 0, 1))))}


def _bias(name: str, array: object) -> dict[str, Tensor]:
    return {f"{name}.bias": torch.from_numpy(_native(array).reshape(-1))}


def _check_archive(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        _check_size(sum(member.file_size for member in archive.infolist()))


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise Refused(f"unpacks to {size / 2**30:.1f} GiB, wanted at most {MOST_BYTES / 2**30:.0f}; fetch it again")


# ----------------------------------------------------------------------------------------------------------- MatConvNet


def _mat(content: bytes) -> Content:
    if content.startswith(b"MATLAB 7.3"):
        raise Refused("is a MAT file of version 7.3, wanted version 5; save it in MATLAB again, with -v7")
    _check_size(unpacked_size(content))
    found = read_mat(content)
    tensors: dict[str, Tensor] = {}
    for layer in found["layers"]:
        if layer["type"] == "conv" and layer["name"].startswith("conv"):
            weight, bias = layer["weights"] if "weights" in layer else (layer["filters"], layer["biases"])
            tensors |= _weight(layer["name"], weight) | _bias(layer["name"], bias)
    about = found["normalization"] if "normalization" in found else found["meta"]["normalization"]
    mean = np.asarray(about["averageImage"], float).reshape(-1, 3).mean(0) / 255
    return Content("mat", tensors, (float(mean[0]), float(mean[1]), float(mean[2])), BYTES)


READERS = {"safetensors": _safetensors, "torch": _torch, "npz": _npz, "npy": _npy, "mat": _mat}
