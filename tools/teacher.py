"""Networks to learn from and to judge by: torchvision's VGG-19, or an encoder that was compressed from it."""

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from muralist.model.architecture import ARCHITECTURES, Architecture, architecture, vgg
from muralist.model.errors import ModelError, WeightsError
from muralist.model.formats import decode
from muralist.model.loading import load_network
from muralist.model.network import Network
from muralist.model.weight_files import find_weights

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYER = "relu4_2"
LAYERS = (*STYLE_LAYERS, CONTENT_LAYER)


def load_teacher(teacher: str, weights: str | None = None) -> Network:
    """Load a network whose `metric` says what its features are in the space of VGG-19's.

    Parameters
    ----------
    teacher : str
        Name of a network that muralist knows, whose features are that space, or a file with a compressed encoder.
    weights : str, optional
        File with the weights of the network named; the published ones if not given.

    Raises
    ------
    ModelError
        If there is no such network, or the file is missing, broken or something else.

    Notes
    -----
    It pads by reflection, whatever it was trained with: crops are cut out of pictures, and zeros around them would be
    features of the cut.
    """
    if teacher in ARCHITECTURES:
        network = load_network(teacher, find_weights(architecture(teacher), weights), LAYERS)
        network.metric = {
            layer: np.eye(network.architecture.channels(layer), dtype=np.float32) for layer in STYLE_LAYERS
        }
        network.metric = {layer: np.pad(eye, ((0, 0), (0, 1))) for layer, eye in network.metric.items()}
    elif Path(teacher).exists():
        network = compressed_encoder(teacher, decode(teacher, Path(teacher).read_bytes()).tensors)
    else:
        architecture(teacher)  # raises, naming the nearest match
    network.padding = "reflect"
    return network


def compressed_encoder(path: str, tensors: Mapping[str, Tensor]) -> Network:
    """Adapt an encoder of H. Wang et al., "Collaborative Distillation for Ultra-Resolution ...", 2020.

    Its tensors are conv0 (1 x 1: from RGB in [0, 1] to what VGG expects), conv11, conv12, conv21, ... conv51, and 1 x 1
    heads conv11_aux, ... conv51_aux that map the features of the style layers to VGG-19's. As every tensor is padded by
    reflection, conv0 and conv11 are one convolution.

    Raises
    ------
    WeightsError
        If the tensors are none of such an encoder.
    """
    weights = {
        re.sub(r"conv(\d)(\d)\.", r"conv\1_\2.", key): value.float()
        for key, value in tensors.items()
        if re.fullmatch(r"conv[1-5][1-4]\.(weight|bias)", key)
    }
    try:
        first, mix, shift = weights["conv1_1.weight"], tensors["conv0.weight"].float(), tensors["conv0.bias"].float()
        weights["conv1_1.bias"] = weights["conv1_1.bias"] + first.sum((2, 3)) @ shift
        weights["conv1_1.weight"] = torch.einsum("omyx,mi->oiyx", first, mix[:, :, 0, 0])
        metric = {layer: _head(tensors, layer) for layer in STYLE_LAYERS}
        network = Network(_compressed_row(weights), weights, metric=metric).requires_grad_(False).eval()
        features = network(torch.zeros(1, 3, 64, 64), LAYERS)  # tensors that are missing or do not fit fail here
        for layer, heads in metric.items():
            heads[:, :-1] @ features[layer][0, :, 0, 0].numpy()
    except (LookupError, RuntimeError, AttributeError, ValueError, ModelError) as error:
        raise WeightsError(
            path,
            "is no compressed encoder with conv0, conv11, ... conv51 and heads conv11_aux, ... conv51_aux; for another "
            "file name its network: --teacher vgg19 --teacher-weights FILE",
        ) from error
    return network


def _head(tensors: Mapping[str, Tensor], layer: str) -> np.ndarray:
    """Heads (rows, C + 1) of a layer; the last column is the constant's."""
    name = f"conv{layer[4]}{layer[6]}_aux"
    weight, bias = tensors[f"{name}.weight"].float()[:, :, 0, 0], tensors[f"{name}.bias"].float()
    return torch.cat([weight, bias[:, None]], 1).numpy()


def _compressed_row(weights: Mapping[str, Tensor]) -> Architecture:
    widths = {key[4:7]: len(value) for key, value in sorted(weights.items()) if key.endswith("bias")}
    blocks = tuple(tuple(widths[name] for name in names) for _, names in groupby(widths, key=lambda name: name[0]))
    row = replace(
        architecture("vgg19"), name="compressed", steps=vgg(blocks), padding="reflect", mean=(0, 0, 0), std=(1, 1, 1)
    )
    row.check_layers(LAYERS)
    return row
