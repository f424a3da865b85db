"""L-BFGS on one tile for the steps of one round. It reads no values from the device, so nothing waits.

Nocedal 1980, without line search, as usual in neural style transfer. The two-loop recursion (Nocedal and Wright 2006,
algorithm 7.4) is computed in its compact form (Byrd, Nocedal and Schnabel 1994, theorem 2.2). With the steps s and the
changes y of the gradient g as columns of S and Y, oldest first, R the upper triangle of S^T Y and D its diagonal:

    p = R^-1 S^T g,    r = gamma (B g - B Y p),    direction = r + S R^-T (D p - Y^T r)

It is the same direction, from a few products with all pairs at once. Inner products weigh every pixel by the tile's
blend weight. A pair along which the gradient does not grow (s^T y <= 0) gets zero weight, but stays in the history:
leaving it out would mean reading a value, and so waiting for the device.

B is the start matrix. For several resolutions, let the change of the picture be a sum of planes at 1, 1/2, 1/4, ... of
its size, the coarser ones times a gain, and optimize all of them together: x = A z. That is L-BFGS on x that starts
from B = A A^T = 1 + gain^2 sum_k U_k U_k^T instead of the identity (U_k: bilinear enlargement by 2^k). Large areas
change color within a few steps, and nothing more has to be stored between rounds. B y is the change of B g.

The newest pairs are kept from round to round, blended like pixels. Both gradients of a pair belong to the same round,
while the other tiles did not change; otherwise y would also contain what other tiles did. So the last step of a round,
after which the round evaluates no gradient, makes no pair.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# In units of the color range, at a learning rate of 1:
FIRST_CHANGE = 0.01  # mean change of a value by the first step, when no scale is known yet
LARGEST_CHANGE = 0.05  # largest change of any value by any step: nothing else limits a step along a flat valley
# A trust region: the mean change of a value by a step, at most this many times that of the longest step remembered.
# Where a pair's curvature s^T y is just above zero, the quasi-Newton step is 10 to 30 times the usual one: noise.
GROWTH = 2.5
LEAST_CHANGE = 0.001  # mean change that is always allowed, so that steps can grow again
GAIN = 0.5  # of the coarser planes
TINY = 1e-30  # what is divided by, at least


class LBFGS:
    """Steps of one round.

    Parameters
    ----------
    pairs : sequence of (Tensor, Tensor), each (1, 3, H, W)
        Steps of earlier rounds and what the gradient changed along them, oldest first; zeros count for nothing.
    weights : Tensor (H, W)
        Blend weights of the tile, not all zero.
    history : int
        Most pairs to remember.
    resolutions : int
        Number of resolutions in the start matrix B; 1 is plain L-BFGS.

    Attributes
    ----------
    last_step : Tensor (1, 3, H, W)
        The last step as it was made, after clipping; zero if there was none.
    """

    def __init__(self, pairs: Sequence[tuple[Tensor, Tensor]], weights: Tensor, history: int, resolutions: int) -> None:
        newest = pairs[-history:]
        (like, _), self._history, self._made = newest[0], history, len(newest)
        self._start_matrix = StartMatrix(resolutions, like)
        self._weights = weights.to(like.dtype).repeat_interleave(3, 1)
        self._before: tuple[Tensor, Tensor] | None = None  # gradient and B times it, before the last step
        self.last_step = torch.zeros_like(like)
        # The pairs, in slots that are overwritten in turn: s, y and B y, and s^T y of every slot with every slot.
        self._s, self._y = (self._weights.new_empty(history, *self._weights.shape) for _ in range(2))
        self._by = self._y if resolutions == 1 else torch.empty_like(self._y)
        self._sy = torch.zeros(history, history, dtype=accum_dtype(like), device=like.device)
        self._step_sizes = torch.zeros_like(self._sy[0])  # mean change of a value by s
        self._gamma, self._total = (torch.ones_like(self._sy[0, 0]) for _ in range(2))  # B's factor; sum of weights
        for slot, (s, y) in enumerate(newest):
            self._s[slot], self._y[slot], self._by[slot] = _rows(s), _rows(y), _rows(self._start_matrix(y))

    def pairs(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """Return the newest pairs (1, 3, H, W) for the next round, oldest first; zeros for pairs that do not exist."""
        slots = [made % self._history for made in range(max(0, self._made - min(count, self._history)), self._made)]
        none = (torch.zeros_like(self.last_step),) * 2
        return [none] * (count - len(slots)) + [(_picture(self._s[slot]), _picture(self._y[slot])) for slot in slots]

    def step(self, pixels: Tensor, grad: Tensor, rate: Tensor | float) -> Tensor:
        """Return the pixels (1, 3, H, W) after a step, in [0, 1].

        Parameters
        ----------
        pixels, grad : Tensor (1, 3, H, W)
        rate : Tensor () or float
            Factor of the quasi-Newton step.
        """
        if self._before is None:  # inner products in units of the first gradient: squares may leave float32's range
            self._weights = self._weights / grad.abs().max().clamp(min=TINY)
            self._total = self._weights.sum(dtype=self._sy.dtype)
        direction, known = self._direction(_rows(grad), _rows(self._start_matrix(grad)))
        size = self._mean_change(direction)
        largest = (self._step_sizes.max() * (GROWTH / rate)).clamp(LEAST_CHANGE, LARGEST_CHANGE)
        limit = torch.where(known, (largest / size.clamp(min=TINY)).clamp(max=1), FIRST_CHANGE / size.clamp(min=TINY))
        change = direction.mul_(limit).clamp_(-LARGEST_CHANGE, LARGEST_CHANGE)
        moved = pixels.sub(_picture(change.mul_(rate))).clamp_(0, 1)
        self.last_step = moved - pixels
        return moved

    def _mean_change(self, step: Tensor) -> Tensor:
        return self._dots(step.abs()[None], self._weights[None])[0, 0] / self._total

    def _direction(self, grad: Tensor, smooth: Tensor) -> tuple[Tensor, Tensor]:
        """Inverse Hessian by the pairs, times the gradient (`smooth` is B g); and whether there are any pairs."""
        sg = self._remember(grad, smooth)
        count, turn = len(sg), -(self._made % self._history) if self._made > self._history else 0
        sy = self._sy[:count, :count].roll((turn, turn), (0, 1))  # oldest first
        curvature = sy.diagonal()
        known = curvature > 0
        r_matrix = torch.where(known & known[:, None], sy, torch.eye(count, dtype=sy.dtype, device=sy.device)).triu()
        p = torch.linalg.solve_triangular(r_matrix, torch.where(known, sg.roll(turn), 0)[:, None], upper=True)[:, 0]
        r = _combined(smooth, self._by[:count], -p.roll(-turn)).mul_(self._gamma)
        yr = self._dots(self._y[:count], (r * self._weights)[None])[:, 0].roll(turn)
        rest = torch.where(known, curvature * p - yr, 0)[:, None]
        q = torch.linalg.solve_triangular(r_matrix.T, rest, upper=False)[:, 0]
        return _combined(r, self._s[:count], q.roll(-turn)), known.any()

    def _remember(self, grad: Tensor, smooth: Tensor) -> Tensor:
        """Add the last step to the pairs (first, those of earlier rounds); return s^T g of every slot in use."""
        if self._before is None:
            new = slice(0, self._made)
        else:
            slot = self._made % self._history
            new = slice(slot, slot + 1)
            self._made += 1
            self._s[slot], self._y[slot] = _rows(self.last_step), grad - self._before[0]
            if self._by is not self._y:
                self._by[slot] = smooth - self._before[1]
        self._before = grad, smooth
        count = min(self._made, self._history)
        weighted = torch.cat((self._y[new], grad[None])).mul_(self._weights)
        dots = self._dots(self._s[:count], weighted)
        self._sy[:count, new] = dots[:, :-1]
        for slot in range(new.start, new.stop):
            self._step_sizes[slot] = self._mean_change(self._s[slot])
            curvature = self._sy[slot, slot]
            known = (curvature > 0) & curvature.isfinite()
            gamma = curvature / self._dots(self._by[slot][None], weighted[slot - new.start][None])[0, 0]
            self._gamma = torch.where(known, gamma, self._gamma)
            for values in (self._sy[slot], self._y[slot], self._by[slot]):  # of a pair that counts for nothing
                values.copy_(torch.where(known, values, 0))
        return dots[:, -1]

    def _dots(self, a: Tensor, b: Tensor) -> Tensor:
        """Inner products of (m, H, 3 W) and (n, H, 3 W): (m, n), added up over the rows in double precision."""
        by_row: Tensor = torch.bmm(a.transpose(0, 1), b.permute(1, 2, 0))
        return by_row.sum(0, dtype=self._sy.dtype)


class StartMatrix:
    """B = A A^T: a smoothing that reaches 2^resolutions px.

    Parameters
    ----------
    resolutions : int
        1 is the identity.
    like : Tensor (1, C, ...)
        Of the number type and on the device of what is to be multiplied.
    """

    def __init__(self, resolutions: int, like: Tensor) -> None:
        self.coarsest = 2 ** (resolutions - 1)
        self._hats = {2**k: _hat(2**k, like) for k in range(1, resolutions)}

    def __call__(self, values: Tensor) -> Tensor:
        """Multiply values (1, C, H, W)."""
        if not self._hats:
            return values
        height, width = values.shape[-2:]
        padded = F.pad(values, (0, -width % self.coarsest, 0, -height % self.coarsest))  # so that all sizes are whole
        size, margin = padded.shape[-2:], self.coarsest // 2
        mirrored, total = _mirrored(padded, margin), values.clone()
        if values.is_cuda:  # depthwise convolutions are fast and exact in channels-first layout only
            mirrored = mirrored.contiguous()
        for factor, hat in self._hats.items():
            rows, cols = (slice(margin - factor // 2, margin + n + factor // 2) for n in size)
            shrunk = F.conv2d(mirrored[..., rows, cols], hat, stride=factor, groups=len(hat))
            # Not F.interpolate: on a GPU with deterministic algorithms, it takes a slow path for the sake
            # of its gradient, which is not needed here.
            enlarged = torch.ops.aten.upsample_bilinear2d(shrunk, size, False)
            total.add_(enlarged[..., :height, :width], alpha=GAIN**2)
        return total


def _hat(factor: int, like: Tensor) -> Tensor:
    """Weights of the fine values around a coarse one in bilinear enlargement, for every channel by itself."""
    places = torch.arange(2 * factor, dtype=like.dtype, device=like.device)
    hat = 1 - (places + 0.5 - factor).abs() / factor
    return torch.outer(hat, hat).expand(like.shape[1], 1, -1, -1).contiguous()


def _mirrored(values: Tensor, margin: int) -> Tensor:
    """Mirror values by `margin` beyond their edges: an enlargement needs neighbors there."""
    for dim in (-2, -1) if margin else ():
        before, behind = (values.narrow(dim, start, margin).flip(dim) for start in (0, values.shape[dim] - margin))
        values = torch.cat((before, values, behind), dim)
    return values


def _rows(picture: Tensor) -> Tensor:
    """Lay (1, 3, H, W) out as (H, 3 W); no copy if it is channels last."""
    return picture[0].permute(1, 2, 0).flatten(1)


def _picture(rows: Tensor) -> Tensor:
    """Lay (H, 3 W) out as (1, 3, H, W), channels last; no copy."""
    return rows.view(1, len(rows), -1, 3).permute(0, 3, 1, 2)


def _combined(values: Tensor, rows: Tensor, factors: Tensor) -> Tensor:
    """Add rows (m, H, 3 W), each times a factor (m,), to values (H, 3 W)."""
    return torch.addmv(values.flatten(), rows.flatten(1).T, factors.to(values.dtype)).view_as(values)


def accum_dtype(like: Tensor) -> torch.dtype:
    """Number type for sums over many values and for the small matrices made of them: not every device has float64."""
    return torch.float32 if like.device.type == "mps" else torch.float64
