"""Operations of frozen networks: the same values and gradients as torch's own, with less kept and imported."""

import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from muralist.model.architecture import Convolution
from muralist.model.ops import MODES, TINY, average_pool, convolve, gradient_at, l2_pool, pad, pad_channels_last

STEPS = {
    "usual": Convolution("1", 4, 6),
    "strided": Convolution("1", 4, 6, kernel=11, stride=4),
    "even": Convolution("1", 4, 6, kernel=4),
    "grouped": Convolution("1", 4, 6, kernel=5, groups=2),
}


def noise(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def value_and_grad(function, x, grad):
    leaf = x.clone().requires_grad_()
    value = function(leaf)
    value.backward(grad(value))
    return value.detach(), leaf.grad


def assert_same(ours, theirs, x):
    def grad(value):
        return noise(*value.shape, dtype=value.dtype, seed=1)

    for found, wanted in zip(value_and_grad(ours, x, grad), value_and_grad(theirs, x, grad), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [(16, 20), (17, 23)])
@pytest.mark.parametrize("padding", ["reflect", "replicate", "zeros"])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_convolutions_are_those_of_torch(step, padding, size, masked):
    """With every padding, stride, group, size and way back, values and gradients agree with padding apart."""
    weight, bias = noise(*step.shape, seed=2), noise(6, seed=3)
    left, right = step.padding

    def plain(x):
        return F.conv2d(F.pad(x, (left, right) * 2, mode=MODES[padding]), weight, bias, step.stride, 0, 1, step.groups)

    assert_same(lambda x: convolve(x, weight, bias, step, padding, masked=masked), plain, noise(1, 4, *size))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("padding", ["reflect", "replicate"])
@pytest.mark.parametrize("sides", [(1, 1), (2, 2), (1, 2), (0, 3), (3, 0)], ids=str)
def test_padding_for_gpus_is_that_of_torch(sides, padding, count):
    """Any padding of any sides, in channels last."""
    x = noise(count, 4, 6, 5, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    found = pad_channels_last(x, sides, padding)
    assert torch.equal(found, F.pad(x, sides * 2, mode=MODES[padding]))
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("padding", ["reflect", "replicate", "zeros"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_padding_leaves_the_order_in_memory(padding, device):
    """Wherever it is done, here on a GPU that is only pretended: channels stay last."""
    with FakeTensorMode() if device == "cuda" else nullcontext():
        x = torch.empty(1, 4, 6, 5, device=device).contiguous(memory_format=torch.channels_last)
        assert pad(x, (1, 1), padding).is_contiguous(memory_format=torch.channels_last)


def test_convolutions_keep_nothing_but_their_weights():
    """Between forward and backward, no picture is kept: half of what torch would need."""
    kept = []
    weight = noise(*STEPS["usual"].shape)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        convolve(noise(1, 4, 16, 16).requires_grad_(), weight, noise(6), STEPS["usual"], "reflect")
    assert [x.data_ptr() for x in kept] == [weight.data_ptr()]


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2)])
@pytest.mark.parametrize("size", [(8, 12), (9, 13)])
def test_average_pooling_is_that_of_torch(size, kernel, stride):
    """Also where blocks overlap, and where the last row and column fill no block and get no gradient."""
    x = noise(1, 3, *size)
    assert_same(lambda x: average_pool(x, kernel, stride), lambda x: F.avg_pool2d(x, kernel, stride), x)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2)])
@pytest.mark.parametrize("size", [(8, 12), (9, 13)])
def test_l2_pooling_is_the_root_of_summed_squares(size, kernel, stride):
    """The same as written out with torch's own operations, and so is its gradient."""

    def written_out(x: Tensor) -> Tensor:
        return (F.avg_pool2d(x.square(), kernel, stride) * kernel**2 + TINY).sqrt()

    assert_same(lambda x: l2_pool(x, kernel, stride), written_out, noise(1, 3, *size))


def test_gradients_at_layers_reach_the_picture():
    """The gradient at the picture is that of the sum of gradient times feature, over the layers that are given one."""
    picture = noise(1, 2, 3, 4).requires_grad_()
    features = {"a": picture**2, "b": picture.sum(1, keepdim=True), "c": picture * 5}
    given = {"a": noise(1, 2, 3, 4, seed=1), "b": noise(1, 1, 3, 4, seed=2)}
    found = gradient_at(picture, features, given)
    torch.testing.assert_close(found, 2 * picture.detach() * given["a"] + given["b"])


PAINTS = """
import sys, torch
from muralist.model.architecture import architecture
from muralist.model.ops import gradient_at
from muralist.model.network import Network
row = architecture("compact")
weights = {f"conv{c.name}.{k}": torch.ones(s) for c in row.convolutions.values()
           for k, s in (("weight", c.shape), ("bias", (c.fan_out,)))}
leaf = torch.ones(1, 3, 32, 32, requires_grad=True)
features = Network(row, weights)(leaf, ["relu2_1"])
gradient_at(leaf, features, {k: f.detach() for k, f in features.items()})
sys.exit("sympy" in sys.modules)
"""


@pytest.mark.integration
def test_a_step_imports_no_sympy():
    """It takes seconds, in every worker, before the first step."""
    assert subprocess.run([sys.executable, "-c", PAINTS], check=False).returncode == 0
