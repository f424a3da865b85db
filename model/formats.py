"""Reads weight files: their tensors, and the mean and scale that a network expects. Nothing in a file is executed.

Every published format has its own names, order of axes and input. `decode` reads the container. `normalize` brings
its tensors to muralist's names (`conv1_1.weight`, ...) and axes (out, in, height, width), and determines what to
subtract from and divide RGB in [0, 1] by. `to_rgb` reorders weights for BGR, so that pictures stay RGB.

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
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import isfinite, prod
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor

from .architecture import ARCHITECTURES, BYTES, CAFFE_MEAN, Architecture, Color, Convolution, Pool
from .errors import WeightsError
from .matfile import read_mat, unpacked_size
from .weight_files import ZIP, container, record

# What a file may say it unpacks to. Numbers of a network hardly shrink when they are packed; zeros do, a thousandfold.
MOST_BYTES = 4 * 2**30  # the largest published file holds a seventh
MOST_TIMES, FEW_BYTES = 16, 2**24
MOST_MEAN, MOST_STD = 1e3, 1e6  # of colors
MOST_TUPLES_AGAIN = 40  # A tuple of the same tuple twice, and so on, takes forever to hash: see `_check_pickle`.

KINDS = {
    "npy": "NumPy file of layers",
    "npz": "NumPy archive of layers",
    "mat": "MatConvNet file",
    "torch": "safetensors file or torch state dict of tensors",
    "safetensors": "safetensors file or torch state dict of tensors",
}
GATYS_MEAN: Color = (0.48501961, 0.45795686, 0.40760392)
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
    mean: Color | None = None
    std: Color | None = None


@dataclass(frozen=True)
class Weights:
    """A file's content, interpreted as weights of one network.

    Attributes
    ----------
    tensors : mapping str -> Tensor
        Under muralist's names: convolutions, and whatever else is there. They may belong to another network.
    mean, std : tuple of float
        What the network subtracts from and divides RGB in [0, 1] by.
    """

    tensors: Mapping[str, Tensor]
    format: str
    mean: Color
    std: Color


class Refused(ValueError):
    """A file that is complete, but must not be read."""


def decode(path: str, content: bytes) -> Content:
    """Read the bytes of a weight file.

    Raises
    ------
    WeightsError
        If their format is unknown, or they are truncated, would run code, or unpack to more than 4 GiB or 16 times
        their size.
    """
    kind = container(io.BytesIO(content))
    try:
        return _with_sound_colors(READERS[kind](content))
    except Refused as error:
        raise WeightsError(path, str(error)) from error
    except Exception as error:  # torch, NumPy, safetensors and zlib raise whatever they trip over
        what = re.split(r"\. |\n", str(error) or type(error).__name__)[0][:120]
        raise WeightsError(path, f"is not a complete {KINDS[kind]} ({what}); download it again") from error


def _with_sound_colors(content: Content) -> Content:
    """Return the content; refuse a mean or deviation that would not give finite pixels."""
    mean, std = content.mean or (0.0,), content.std or (1.0,)
    sound = [abs(value) <= MOST_MEAN for value in mean] + [1 / MOST_STD <= value <= MOST_STD for value in std]
    if not all(sound):
        raise Refused(f"states a mean color of {mean} and a deviation of {std} for colors in [0, 1]; download it again")
    return content


def normalize(content: Content, arch: Architecture) -> Weights:
    """Interpret a file's content as weights of a network."""
    tensors = _renamed(arch, content.tensors)
    kind = _format(content, arch)
    known: dict[str, tuple[Color, Color]] = {
        "jcjohnson": (CAFFE_MEAN, BYTES),
        "gatys": (GATYS_MEAN, BYTES),
        "npz": (CAFFE_MEAN, BYTES),
        "npy": (arch.mean if arch.std == BYTES else CAFFE_MEAN, BYTES),
    }
    mean, std = known.get(kind, (arch.mean, arch.std))
    return Weights(tensors, kind, content.mean or mean, content.std or std)


def to_rgb(weights: Weights, arch: Architecture) -> Weights:
    """Reorder the first convolution of weights that were made for BGR."""
    if weights.format not in BGR:
        return weights
    first = f"conv{next(iter(arch.convolutions))}.weight"
    return replace(weights, tensors={**weights.tensors, first: weights.tensors[first].flip(1)})


def shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    """Map the names of a network's tensors to their shapes, in order."""
    found: dict[str, tuple[int, ...]] = {}
    for name, step in arch.convolutions.items():
        found |= {f"conv{name}.weight": step.shape, f"conv{name}.bias": (step.fan_out,)}
    return found


def detect(content: Content) -> str | None:
    """Name the network whose convolutions these are, all of them and no others."""
    for arch in ARCHITECTURES.values():
        tensors = normalize(content, arch).tensors
        found = {key: tuple(value.shape) for key, value in tensors.items() if key.startswith(("conv", "features."))}
        if found == shapes(arch):
            return arch.name
    return None


def _format(content: Content, arch: Architecture) -> str:
    if content.container == "mat":
        return "matconvnet"
    if any(key.startswith("features.") for key in content.tensors):
        # Caffe's VGG has no dropout before its first linear layer; torchvision's AlexNet does, its VGG does not.
        ported = "classifier.1.weight" in content.tensors and arch.name.startswith("vgg")
        return "jcjohnson" if ported else "torchvision"
    return "gatys" if content.container == "torch" and arch.name.startswith("vgg") else content.container


def _renamed(arch: Architecture, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring torchvision's numbered names to ours: a convolution, its ReLU and each pooling count one."""
    numbers, number = {}, 0
    for step in arch.steps:
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
    return Content("safetensors", tensors, _color(found, "mean"), _color(found, "std"))


def _color(found: Mapping[str, Any], key: str) -> Color:
    values: Any = found.get(key)
    numbers = isinstance(values, list) and all(isinstance(value, float) and isfinite(value) for value in values)
    if numbers and len(values) == 3 and (key == "mean" or min(values) > 0):
        return values[0], values[1], values[2]
    raise Refused(f"its metadata has {key} {values}, wanted three numbers, for std above 0; convert the file again")


def _torch(content: bytes) -> Content:
    """Unpickle tensors; those of a training snapshot lie one level down."""
    if content.startswith(ZIP):
        _check_archive(content)
        _check_pickle(io.BytesIO(_pickled(content)))
    else:
        file = io.BytesIO(content)
        for _ in range(5):
            _check_pickle(file)
    found = _unpickled(content)
    if isinstance(found, Mapping):
        found = found.get("state_dict", found.get("model", found))
    if not isinstance(found, Mapping) or not all(isinstance(key, str) and _is_dense(v) for key, v in found.items()):
        raise ValueError(f"holds a {type(found).__name__}, not a mapping of names to dense tensors")
    for key, value in found.items():  # of others, the network says how large they are
        if key.startswith("metric.") and value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise Refused(f"has {key} of {tuple(value.shape)}, wanted a number in the file for each place")
    return Content("torch", dict(found))


def _unpickled(content: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about outdated features of a file
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its text also explains how to read the file anyway
        raise ValueError("holds no pickle of tensors") from error


# All that pickles of tensors name. torch's reader of tensors runs nothing either, but knows more, some of which, such
# as `_codecs.encode`, makes gigabytes of a small file.
TENSORS = re.compile(
    r"collections\.(OrderedDict|Counter)|torch\.(Size|device|\w+Storage)|torch\.storage\.\w+Storage"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|parameter)|torch\.nn\.parameter\.Parameter"
)


def _check_pickle(file: io.BytesIO) -> None:
    """Refuse a pickle that names anything but what tensors are made by, or holds tuples in tuples without end."""
    tuples, again, on_top = set(), 0, False
    for code, value, _ in pickletools.genops(file):
        if code.name in ("GLOBAL", "INST"):
            _check_name(str(value).replace(" ", "."))
        elif code.name.endswith("PUT"):
            tuples |= {value} if on_top else set()
        elif code.name != "PROTO":
            on_top = value in tuples if code.name.endswith("GET") else code.name.startswith("TUPLE")
            again += on_top and code.name.endswith("GET")
        if again > MOST_TUPLES_AGAIN:
            raise ValueError("the same tuples again and again")


def _check_name(name: str) -> None:
    if TENSORS.fullmatch(name):
        return
    if name.startswith("torch._utils."):
        raise ValueError(f"holds objects made by {name}, not dense tensors")
    raise _runs_code(name)


def _pickled(content: bytes) -> bytes:
    """The only pickle in an archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        return archive.read(name)


def _is_dense(value: object) -> bool:
    """Whether a value is a tensor whose numbers are there, one for each place."""
    if not isinstance(value, Tensor) or value.is_nested or value.is_quantized:
        return False
    return value.layout == torch.strided and value.device.type == "cpu"


def _runs_code(name: str) -> Refused:
    return Refused(f"would run {name[:60]} when it is read, wanted arrays only; do not trust this file")


# -------------------------------------------------------------------------------------------------------------- NumPy


def _npz(content: bytes) -> Content:
    _check_archive(content)
    tensors: dict[str, Tensor] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.namelist():
            if match := re.fullmatch(r"(conv\d+_\d+)_([Wb])\.npy", member):
                name, array = match[1], _array(archive.read(member))
                tensors |= _weight(name, array) if match[2] == "W" else _bias(name, array)
    return Content("npz", tensors)


def _array(content: bytes) -> np.ndarray:
    """The numbers of a .npy file, no more than there are bytes for, and no objects."""
    file = io.BytesIO(content)
    shape, by_columns, dtype = _head(file)
    numbers = np.frombuffer(content, dtype, prod(shape), file.tell())
    return numbers.reshape(shape, order="F" if by_columns else "C")


def _head(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns about files written by Python 2
        return read(file)


def _npy(content: bytes) -> Content:
    file = io.BytesIO(content)
    _, _, dtype = _head(file)
    if not dtype.hasobject:
        raise Refused(f"holds an array of {dtype}, wanted a mapping of layers to weights; check --weights")
    (layers,) = _LayersUnpickler(file, encoding="latin1").load().objects
    tensors: dict[str, Tensor] = {}
    size = 0
    for name, pair in layers.items():
        if name.startswith("conv"):
            weight, bias = pair
            size += weight.size + bias.size  # names may share an array, which each gets a copy of
            _check_size(size, content)
            tensors |= _weight(name, weight.numbers) | _bias(name, bias.numbers)
    return Content("npy", tensors)


class _Type:
    """A pickled type of numbers or objects."""

    def __init__(self, name: object, *_: object) -> None:
        if not (isinstance(name, str) and re.fullmatch("[fiu][1248]|O8?", name)):
            raise ValueError("an array of something other than numbers")
        self.name = name

    def take(self, state: tuple[Any, ...]) -> None:
        self.name = (">" if state[1] == ">" else "<") + self.name


class _Array:
    """A pickled array: of numbers, no more than there are bytes for, or of objects."""

    def __init__(self, *_: object) -> None:
        self.objects: list[Any] = []
        self._shape: tuple[int, ...] = (0,)
        self._kind, self._by_columns, self._data = "<f4", False, b""

    def take(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_columns, data = state
        if "O" in kind.name:
            self.objects = data
        else:
            self._shape, self._kind, self._by_columns, self._data = shape, kind.name, by_columns, data

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self._shape) * np.dtype(self._kind).itemsize

    @property
    def numbers(self) -> np.ndarray:
        """Made only of arrays that are asked for: any number of them may be of the same data."""
        raw = self._data.encode("latin1") if isinstance(self._data, str) else self._data
        return np.frombuffer(raw, self._kind).reshape(self._shape, order="F" if self._by_columns else "C")


class _Layers(dict[str, Any]):
    """A pickled dictionary. Its keys must be texts: nested tuples can be crafted that take forever to hash."""

    def __setitem__(self, key: str, value: object) -> None:
        if not isinstance(key, str):
            raise ValueError(f"a key is a {type(key).__name__}, wanted a name")
        super().__setitem__(key, value)


# All that a pickle of arrays may name, in NumPy's old spelling. NumPy's own would make as much room as a file asks for.
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),
}


# The unpickler written in Python: the one in C makes room for whatever index a broken file names.
class _LayersUnpickler(pickle._Unpickler):
    stack: list[Any]
    append: Callable[[object], None]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code: step
        for code, step in pickle._Unpickler.dispatch.items()
        if bytes([code]) not in (pickle.DICT, pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET)
    }

    def find_class(self, module: str, name: str) -> Any:
        key = module.replace("numpy._core", "numpy.core"), name
        if key not in ALLOWED:
            raise _runs_code(f"{module}.{name}")
        return ALLOWED[key]

    def load_empty_dictionary(self) -> None:
        self.append(_Layers())

    def load_build(self) -> None:
        state = self.stack.pop()
        self.stack[-1].take(state)

    dispatch |= {pickle.EMPTY_DICT[0]: load_empty_dictionary, pickle.BUILD[0]: load_build}


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
        _check_size(sum(member.file_size for member in archive.infolist()), content)


def _check_size(size: int, content: bytes) -> None:
    most = min(MOST_BYTES, max(FEW_BYTES, MOST_TIMES * len(content)))
    if size > most:
        raise Refused(f"unpacks to {size >> 20} MiB, wanted at most {most >> 20}; download it again")


# ----------------------------------------------------------------------------------------------------------- MatConvNet


def _mat(content: bytes) -> Content:
    if content.startswith(b"MATLAB 7.3"):
        raise Refused("is a MAT file of version 7.3, wanted version 5; save it in MATLAB again, with -v7")
    _check_size(unpacked_size(content), content)
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
