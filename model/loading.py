"""From a weight file to a network. What a file is is told by its content, never by its name; nothing in it is executed.

A file is a safetensors file or a torch state dict; its keys are muralist's own (`conv1_1.weight`) or torchvision's
(`features.0.weight`). Weights may be stored in any floating-point type; they are used as float32 until prepared.
"""

import hashlib
import io
import pickle
import struct
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from muralist.model.architecture import Architecture, Pooling, architecture
from muralist.model.errors import WeightsError
from muralist.model.network import Network
from muralist.model.weight_files import WeightFile

# torch's restricted unpickler follows a broken file until it trips over one of these.
BROKEN = (
    *(pickle.UnpicklingError, struct.error, EOFError, RuntimeError, ValueError),
    *(LookupError, TypeError, AttributeError, AssertionError, OverflowError),
)


def load_network(name: str, file: WeightFile, layers: Collection[str], pooling: Pooling | None = None) -> Network:
    """Load as much of a network as some layers need.

    Raises
    ------
    UnknownNetworkError, UnknownLayerError
    WeightsError
        If the file changed since it was found, is broken, or holds another network.
    """
    row = architecture(name)
    row.check_layers(layers)
    content = _read(file.path)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise WeightsError(file.path, "has changed since the render began; start again")
    tensors = _renamed(row, read_tensors(file.path, content))
    needed = _needed(row, layers)
    _check(row, file.path, tensors, needed)
    return Network(row, {name: tensors[name].float() for name in needed}, pooling).requires_grad_(False).eval()


def read_tensors(path: str, content: bytes) -> dict[str, Tensor]:
    """Parse the bytes of a weight file.

    Raises
    ------
    WeightsError
        If they are neither safetensors nor a plain torch state dict, or end too early.
    """
    try:
        return load(content) if content[8:9] == b"{" else _state_dict(content)
    except (SafetensorError, *BROKEN) as error:
        what = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise WeightsError(
            path, f"is not a whole safetensors file or torch state dict of tensors ({what}); fetch it again"
        ) from error


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(path, f"cannot be read any more ({error.strerror}); start again") from error


def _state_dict(content: bytes) -> dict[str, Tensor]:
    """Unpickle tensors; those of a training checkpoint lie one level down."""
    found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if isinstance(found, Mapping):
        found = found.get("state_dict", found.get("model", found))
    if not isinstance(found, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()
    ):
        raise ValueError(f"holds a {type(found).__name__}, not a mapping of names to tensors")
    return dict(found)


def _renamed(row: Architecture, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bring torchvision's numbered names to ours: a convolution, its ReLU and each pooling count one."""
    numbers, number, block = {}, 0, "1"
    for name in row.convolutions:
        number += name.split("_")[0] != block
        block = name.split("_")[0]
        numbers[f"features.{number}"] = f"conv{name}"
        number += 2
    parts = ((key.rpartition("."), value) for key, value in tensors.items())
    return {f"{numbers.get(stem, stem)}.{kind}": value for (stem, _, kind), value in parts}


def _needed(row: Architecture, layers: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that the deepest layer needs."""
    last = row.layers.index(row.deepest(layers))
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (fan_in, fan_out) in list(row.convolutions.items())[: last + 1]:
        shapes |= {f"conv{name}.weight": (fan_out, fan_in, 3, 3), f"conv{name}.bias": (fan_out,)}
    return shapes


def _check(row: Architecture, path: str, tensors: Mapping[str, Tensor], needed: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in needed.items():
        found = tuple(tensors[name].shape) if name in tensors else "missing"
        if found != shape:
            raise WeightsError(
                path,
                f"does not hold network {row.name}: {name} is {found}, wanted {shape}; check --weights and network",
            )
        if not torch.isfinite(tensors[name].float()).all():
            raise WeightsError(path, f"{name} holds values that are not finite; fetch the file again")
