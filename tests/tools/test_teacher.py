"""Teachers and judges: networks whose heads say what their features are in VGG-19's space."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from muralist.model.architecture import architecture
from muralist.model.errors import ModelError, WeightsError

pytestmark = pytest.mark.integration

BLOCKS = {"1": 2, "2": 2, "3": 4, "4": 4, "5": 1}


@pytest.fixture
def encoder(tmp_path, encoder_tensors):
    """A compressed encoder's file: a training checkpoint."""
    torch.save({"epoch": 20, "model": encoder_tensors}, tmp_path / "16x.pth")
    return tmp_path / "16x.pth"


def test_an_encoder_in_the_compressed_format_is_adapted(encoder, encoder_tensors):
    """Merging the color convolution into the first changes no feature, and the heads are those of the file."""
    from teacher import LAYERS, STYLE_LAYERS, load_teacher

    picture = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    found, wanted = load_teacher(str(encoder)), {}
    given, tensors = found(picture, LAYERS), encoder_tensors
    x = F.conv2d(picture, tensors["conv0.weight"], tensors["conv0.bias"])
    for block, count in BLOCKS.items():
        for i in range(1, count + 1):
            x = F.pad(x, (1, 1, 1, 1), mode="reflect")
            x = F.relu(F.conv2d(x, tensors[f"conv{block}{i}.weight"], tensors[f"conv{block}{i}.bias"]))
            wanted[f"relu{block}_{i}"] = x
        x = F.max_pool2d(x, 2)
    for layer in LAYERS:
        torch.testing.assert_close(given[layer], wanted[layer], rtol=1e-4, atol=1e-5)
    for layer in STYLE_LAYERS:
        name = f"conv{layer[4]}1_aux"
        heads = torch.from_numpy(found.metric[layer])
        mapped = F.conv2d(given[layer], heads[:, :-1, None, None], heads[:, -1])
        by_file = F.conv2d(given[layer], tensors[f"{name}.weight"], tensors[f"{name}.bias"])
        torch.testing.assert_close(mapped, by_file)


def test_vgg19_can_teach(tmp_path):
    """torchvision's VGG-19, here without its values, is loaded from its file; its features are the space itself."""
    from teacher import STYLE_LAYERS, load_teacher
    from torchvision.models import vgg19

    with torch.device("meta"):
        tensors = vgg19(weights=None).state_dict()
    torch.save({name: torch.zeros(1).expand(each.shape) for name, each in tensors.items()}, tmp_path / "vgg19.pth")
    found = load_teacher("vgg19", str(tmp_path / "vgg19.pth"))
    assert found.architecture == architecture("vgg19")
    assert found.padding == "reflect"
    for layer in STYLE_LAYERS:
        channels = architecture("vgg19").channels(layer)
        np.testing.assert_array_equal(found.metric[layer], np.eye(channels, channels + 1))


@pytest.mark.parametrize("lost", ["conv0.weight", "conv11.weight", "conv51.bias", "conv42.weight", "conv31_aux.bias"])
def test_another_file_is_no_encoder(tmp_path, encoder_tensors, lost):
    """An encoder lacking a tensor, like any other state dict, is refused with the way to name its network."""
    from teacher import load_teacher

    save_file({key: value for key, value in encoder_tensors.items() if key != lost}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="--teacher vgg19 --teacher-weights FILE"):
        load_teacher(str(tmp_path / "w.safetensors"))


def test_an_unknown_teacher_is_refused():
    """The nearest name is offered."""
    from teacher import load_teacher

    with pytest.raises(ModelError, match="'vgg19'"):
        load_teacher("vgg18")
