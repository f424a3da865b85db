"""Operations of frozen networks: they have gradients with respect to their inputs, never to weights.

torch has all of them. But its convolution keeps its padded input for the gradient of the weights, which is half of all
memory kept for the backward pass; and on a CPU, the backward pass of its average pooling takes three times as long as
its memory traffic would need.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from .architecture import Convolution, Padding

MODES = {"reflect": "reflect", "replicate": "replicate", "zeros": "constant"}
TINY = 1e-12  # below the root of L2 pooling, or else its gradient where all are zero would be infinite
Sides = tuple[int, int]  # positions added on the left and on top, and on the right and below


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor, step: Convolution, padding: Padding, *, masked: bool = False
) -> Tensor:
    """Pad and convolve (1, C, H, W), as `step` says; `masked` goes back as torch's own convolutions do."""
    result: Tensor = _Convolve.apply(x, weight, bias, step, padding, masked)
    return result


def average_pool(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Mean over blocks of `kernel` x `kernel` positions, `stride` apart; what does not fill a block is left out."""
    result: Tensor = _AveragePool.apply(x, kernel) if kernel == stride else F.avg_pool2d(x, kernel, stride)
    return result


def l2_pool(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Square root of the sum of squares over blocks of `kernel` x `kernel` positions, `stride` apart."""
    if kernel == stride:
        result: Tensor = _L2Pool.apply(x, kernel)
        return result
    return (F.avg_pool2d(x.square(), kernel, stride) * kernel**2 + TINY).sqrt()


def pad(x: Tensor, sides: Sides, padding: Padding) -> Tensor:
    """Pad (N, C, H, W), channels last, which it stays; nothing of it is kept for a gradient."""
    if not x.is_cuda or padding == "zeros":
        return F.pad(x, sides * 2, mode=MODES[padding])
    return pad_channels_last(x, sides, padding)


def pad_channels_last(x: Tensor, sides: Sides, padding: Padding) -> Tensor:
    """Pad by mirrored or repeated values. On CUDA, torch's way copies all to channels first, and the next step back."""
    (left, right), (count, channels, *size) = sides, x.shape
    height, width = (n + left + right for n in size)
    whole = x.new_empty(count, height, width, channels).permute(0, 3, 1, 2)
    whole[..., left : left + size[0], left : left + size[1]] = x
    for dim, part in ((-1, whole.narrow(-2, left, size[0])), (-2, whole)):
        end = left + x.shape[dim]
        if padding == "reflect":
            before, behind = part.narrow(dim, left + 1, left), part.narrow(dim, end - 1 - right, right)
        else:
            before, behind = part.narrow(dim, left, 1), part.narrow(dim, end - 1, 1)
        part.narrow(dim, 0, left).copy_(before.flip(dim) if left > 1 else before)
        part.narrow(dim, end, right).copy_(behind.flip(dim) if right > 1 else behind)
    return whole


def gradient_at(picture: Tensor, features: dict[str, Tensor], gradients: dict[str, Tensor]) -> Tensor:
    """Bring gradients at the features of layers back to the picture that the features were computed from.

    (`torch.autograd.grad` would take them, too, but imports sympy for it: seconds, in every worker.)
    """
    with torch.enable_grad():
        end = _InjectGrad.apply(list(gradients.values()), *(features[layer] for layer in gradients))
    return torch.autograd.grad(end, picture)[0]


class _Convolve(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, step: Convolution, padding: Padding, masked: bool
    ) -> Tensor:
        ctx.step, ctx.padding, ctx.back = step, padding, _back_masked if masked else _back_transposed
        inside, ctx.outside = _split(step.padding, padding)
        if any(ctx.outside):
            x = pad(x, ctx.outside, padding)
        ctx.shape, ctx.inside = x.shape[-2:], inside
        ctx.save_for_backward(weight)
        return F.conv2d(x, weight, bias, step.stride, inside, groups=step.groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        grad = ctx.back(gradients[0], weight, ctx.step, ctx.inside, ctx.shape)
        for dim in (-2, -1):
            grad = _folded(grad, dim, ctx.outside, ctx.padding)
        return grad, None, None, None, None, None


def _back_transposed(grad: Tensor, weight: Tensor, step: Convolution, inside: int, shape: torch.Size) -> Tensor:
    """Gradient at a convolution's input of this shape (height, width), as a transposed convolution."""
    left_out = [(n + 2 * inside - step.kernel) % step.stride for n in shape]
    return F.conv_transpose2d(grad, weight, None, step.stride, inside, left_out, step.groups)


def _back_masked(grad: Tensor, weight: Tensor, step: Convolution, inside: int, shape: torch.Size) -> Tensor:
    """Gradient at the input only, by torch's backward pass, which asks of the input no more than its shape."""
    like = grad.new_empty(()).expand(1, weight.shape[1] * step.groups, *shape)
    sides = ([step.stride] * 2, [inside] * 2, [1, 1])
    found: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        grad, like, weight, None, *sides, False, [0, 0], step.groups, [True, False, False]
    )
    return found[0]


def _split(sides: Sides, padding: Padding) -> tuple[int, Sides]:
    """What the convolution itself can add on either side, which saves a copy, and what must be added before."""
    return (sides[0], (0, 0)) if padding == "zeros" and sides[0] == sides[1] else (0, sides)


def _folded(grad: Tensor, dim: int, sides: Sides, padding: Padding) -> Tensor:
    """Add the gradient at what was added to where that came from."""
    left, right = sides
    size = grad.shape[dim] - left - right
    inner = grad.narrow(dim, left, size)
    before, behind = grad.narrow(dim, 0, left), grad.narrow(dim, left + size, right)
    if padding == "reflect":
        inner.narrow(dim, 1, left).add_(before.flip(dim))
        inner.narrow(dim, size - 1 - right, right).add_(behind.flip(dim))
    elif padding == "replicate":
        inner.narrow(dim, 0, 1).add_(before.sum(dim, keepdim=True))
        inner.narrow(dim, size - 1, 1).add_(behind.sum(dim, keepdim=True))
    return inner


class _AveragePool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, side: int) -> Tensor:
        ctx.side, ctx.shape = side, x.shape
        return F.avg_pool2d(x, side)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _spread(gradients[0] / ctx.side**2, ctx.side, ctx.shape), None


class _L2Pool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, side: int) -> Tensor:
        pooled = (F.avg_pool2d(x.square(), side) * side**2 + TINY).sqrt()
        ctx.side = side
        ctx.save_for_backward(x, pooled)
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, pooled = ctx.saved_tensors
        return _spread(gradients[0] / pooled, ctx.side, x.shape) * x, None


def _spread(blocks: Tensor, side: int, shape: torch.Size) -> Tensor:
    """Give every position of a block the block's value, and zero to those that no block holds."""
    spread = F.interpolate(blocks, scale_factor=side)
    below, right = (whole - n for whole, n in zip(shape[-2:], spread.shape[-2:], strict=True))
    return F.pad(spread, (0, right, 0, below)) if below or right else spread


class _InjectGrad(Function):
    """A number, always zero, whose gradients at the features are as given."""

    @staticmethod
    def forward(ctx: Any, gradients: list[Tensor], *features: Tensor) -> Tensor:
        ctx.gradients = gradients
        return features[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        return None, *ctx.gradients
