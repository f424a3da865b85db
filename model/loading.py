"""Loads a network from a weight file, and checks that the file is complete and belongs to that network.

The format is detected from the file's content, never from its name; see `muralist.model.formats`. Weights may be stored
in any floating-point type; they are used as float32 until prepared.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from .architecture import Architecture, Padding, Pooling, architecture, parse_layer
from .errors import WeightsError
from .formats import Content, Weights, decode, detect, normalize, shapes, to_rgb
from .network import Network
from .weight_files import WeightFile, recognised


def load_network(
    name: str,
    file: WeightFile,
    layers: Collection[str],
    pooling: Pooling | None = None,
    padding: Padding | None = None,
    pool_rescale: bool = False,
) -> Network:
    """Load as much of a network as some layers need.

    Parameters
    ----------
    pooling, padding, pool_rescale
        As for `Network`.

    Raises
    ------
    UnknownNetworkError, UnknownLayerError
    WeightsError
        If the file has changed since it was found, is broken, or holds another network.
    """
    arch = architecture(name)
    arch.check_layers(layers)
    weights = select(arch, file, read(file), layers)
    keys = {layer: key for layer, key in metric_keys(layers).items() if key in weights.tensors}
    metric = {layer: weights.tensors[key].float().numpy() for layer, key in keys.items()}
    tensors = {key: value.float() for key, value in weights.tensors.items() if key.startswith("conv")}
    network = Network(
        arch, tensors, pooling, padding, pool_rescale=pool_rescale, mean=weights.mean, std=weights.std, metric=metric
    )
    return network.requires_grad_(False).eval()


def read(file: WeightFile) -> Content:
    """Read and parse a file that was found before.

    Raises `WeightsError` if it is gone, has changed since, or is broken.
    """
    try:
        content = file.local_path.read_bytes()
    except OSError as error:
        raise WeightsError(file.path, f"can no longer be read ({error.strerror}); start again") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise WeightsError(file.path, "has changed since the render began; start again")
    return decode(file.path, content)


def select(arch: Architecture, file: WeightFile, content: Content, layers: Collection[str]) -> Weights:
    """Take from a file's content what some layers of a network need, for RGB pictures.

    Raises `WeightsError` if it is not that network's, or not finite.
    """
    weights, needed = normalize(content, arch), _needed(arch, layers)
    needed |= _heads(arch, layers, weights.tensors)
    _check(arch, file.path, weights.tensors, needed, detect(content))
    known = recognised(file.sha256)
    if known is not None and known.mean is not None and known.std is not None:
        weights = replace(weights, mean=known.mean, std=known.std)
    return to_rgb(replace(weights, tensors={key: weights.tensors[key] for key in needed}), arch)


def _needed(arch: Architecture, layers: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that some layers need."""
    there = {f"conv{step.name}" for step, _ in arch.convolutions_for(layers)}
    return {key: shape for key, shape in shapes(arch).items() if key.partition(".")[0] in there}


def metric_keys(layers: Collection[str]) -> dict[str, str]:
    """Names of the tensors in which a weight file keeps the metric of some layers."""
    return {layer: f"metric.{parse_layer(layer)[0]}" for layer in layers}


def _heads(arch: Architecture, layers: Collection[str], tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the heads that the file has for some layers; how many rows they have is the file's choice."""
    there = {layer: key for layer, key in metric_keys(layers).items() if key in tensors}
    return {key: (*tensors[key].shape[:1], arch.channels(layer) + 1) for layer, key in there.items()}


def _check(
    arch: Architecture,
    path: str,
    tensors: Mapping[str, Tensor],
    needed: Mapping[str, tuple[int, ...]],
    fits: str | None,
) -> None:
    """Refuse another network's tensors, even where the first ones have the right shapes, and broken ones."""
    advice = f"it fits {fits}: use --network {fits}" if fits else "check --weights and network"
    for name, shape in needed.items():
        found = tuple(tensors[name].shape) if name in tensors else "missing"
        if found != shape:
            raise WeightsError(path, f"does not hold network {arch.name}: {name} is {found}, wanted {shape}; {advice}")
        if not tensors[name].is_floating_point():
            raise WeightsError(path, f"{name} holds {tensors[name].dtype}, wanted floating-point numbers; {advice}")
        if not torch.isfinite(tensors[name].float()).all():
            raise WeightsError(path, f"{name} holds values that are not finite; download the file again")
    if fits not in (None, arch.name):
        raise WeightsError(path, f"does not hold network {arch.name}: {advice}, or another file")
