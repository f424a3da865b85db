"""Sums over the positions of a picture: named arrays that are all the losses need, and that add up over tiles.

Sums of a tile count every position with the tile's blend weight, so the sums of all tiles added together are
those of the whole picture.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .regions import ONE_REGION, Guidance, Part
from .transfer import upload
from .ways import GramProduct

TileSums = Mapping[str, np.ndarray]  # float64, in NumPy, so that they are cheap to move and to keep
MIXED_PRODUCT = hasattr(torch.ops.aten.mm, "dtype")  # since torch 2.8
CACHED_ROWS = 4096  # of positions: as many as a processor's cache holds in float32


@dataclass(frozen=True)
class Window:
    """Blend weights of a tile at pixel resolution, as two factors: `rows` (H,) and `cols` (W,), float32, in [0, 1].

    `guidance` says what of the tile belongs to which region.
    """

    rows: Tensor
    cols: Tensor
    guidance: Guidance = ONE_REGION
    _at: dict[tuple[int, int], Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(
        cls, rows: np.ndarray, cols: np.ndarray, device: str | torch.device = "cpu", guidance: Guidance = ONE_REGION
    ) -> "Window":
        """Make a window of NumPy factors."""
        down, across = (upload(torch.from_numpy(np.ascontiguousarray(w)), device) for w in (rows, cols))
        return cls(down, across, guidance)

    @classmethod
    def full(cls, picture: Tensor) -> "Window":
        """Make the window of a picture that is its own only tile."""
        rows, cols = (torch.ones(n, device=picture.device) for n in picture.shape[-2:])
        return cls(rows, cols)

    def at(self, height: int, width: int) -> Tensor:
        """Average the weights over the blocks of pixels behind (height, width) feature positions: (positions,)."""
        if (height, width) not in self._at:
            rows, cols = (_blocks(w, n) for w, n in zip((self.rows, self.cols), (height, width), strict=True))
            self._at[height, width] = (rows[:, None] * cols).flatten()
        return self._at[height, width]

    def part_at(self, part: Part | None, height: int, width: int) -> Tensor:
        """Weights of a region's positions of (height, width), or of all: (n,)."""
        weights = self.at(height, width)
        return weights if part is None else part.of_positions(weights) * part.weights.to(weights.dtype)

    def weights(self) -> Tensor:
        """Lay the weights out as a picture: (H, W)."""
        return self.rows[:, None] * self.cols


def _blocks(weights: Tensor, count: int) -> Tensor:
    stride = 2 ** int(np.log2(len(weights) / count))
    return F.avg_pool1d(weights[None, : count * stride], stride)[0]


def positions(features: Tensor) -> Tensor:
    """Lay features (1, C, h, w) out as a matrix (positions, C); no copy when they are channels last."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def laid_out_like(features: Tensor, matrix: Tensor) -> Tensor:
    """Turn a matrix (positions, C) back into features (1, C, h, w)."""
    height, width = features.shape[-2:]
    return matrix.view(1, height, width, -1).permute(0, 3, 1, 2)


def style_sums(
    features: Tensor, window: Window, part: Part | None = None, product: GramProduct = "float32"
) -> tuple[Tensor, Tensor]:
    """Sums over positions of w f f^T (C, C) and of w f (C,), at least float32 (Gatys et al. 2016, eq. 3).

    Parameters
    ----------
    features : Tensor (1, C, h, w)
    part : Part, optional
        Of the one region that counts.
    product : {"float32", "bfloat16"}
        "bfloat16" rounds w f to that, which changes nothing where a tile is not blended, if the features are bfloat16;
        others are multiplied as they are.
    """
    if product == "bfloat16" and features.dtype == torch.bfloat16:
        matrix, weights = _taken(features, window, part)
        return _sums_of_rounded(matrix, (matrix * weights[:, None]).to(matrix.dtype))
    channels = features.shape[1]
    gram = torch.zeros(channels, channels, dtype=upcast_dtype(features.dtype), device=features.device)
    feature = torch.zeros_like(gram[0])
    for values, weight in row_blocks(features, window, part):
        weighted = values * weight[:, None]
        gram.addmm_(weighted.T, values)
        feature += weighted.sum(0)
    return gram, feature


def row_blocks(features: Tensor, window: Window, part: Part | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Give positions (n, C), at least float32, with their weights (n,): as many at a time as a cache holds on a CPU."""
    matrix, weights = _taken(features, window, part)
    parts = max(1, -(-len(matrix) // CACHED_ROWS)) if matrix.device.type == "cpu" else 1
    for some, weight in zip(matrix.chunk(parts), weights.chunk(parts), strict=True):
        values = upcast(some)
        yield values, weight.to(values.dtype)


def _taken(features: Tensor, window: Window, part: Part | None) -> tuple[Tensor, Tensor]:
    """Positions (n, C) of a part, or all, and their weights (n,)."""
    matrix, weights = positions(features), window.part_at(part, *features.shape[-2:])
    return (matrix if part is None else part.of_positions(matrix)), weights


def _sums_of_rounded(matrix: Tensor, weighted: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of (positions, C) in bfloat16, added up in float32; where there is no such product, it is spelled out."""
    if matrix.device.type == "cuda" and MIXED_PRODUCT:
        gram = torch.mm(weighted.T, matrix, out_dtype=torch.float32)
    else:
        gram = weighted.float().T @ matrix.float()
    return gram, weighted.sum(0, dtype=torch.float32)


def as_sums(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Turn sums that are on the host into NumPy's, in float64."""
    return {name: value.double().numpy() for name, value in tensors.items()}


def total(parts: Iterable[TileSums]) -> dict[str, np.ndarray]:
    """Add up the sums of tiles, in the order given; a tile that is not painted has no norms of gradients."""
    added: dict[str, np.ndarray] = {}
    for table in parts:  # one at a time: a poster has hundreds of tiles, and VGG's sums are megabytes
        added |= {name: added[name] + value if name in added else value for name, value in table.items()}
    return added


def as_tensor(values: np.ndarray, like: Tensor) -> Tensor:
    """Bring values to a tensor's number type and device, in this order: not every device has float64."""
    return upload(torch.from_numpy(np.asarray(values)).to(like.dtype), like.device)


def upcast_dtype(dtype: torch.dtype) -> torch.dtype:
    """Number type to add up in: float32 for what is narrower."""
    return torch.promote_types(dtype, torch.float32)


def upcast(values: Tensor) -> Tensor:
    """Bring to float32 what is narrower."""
    return values.to(upcast_dtype(values.dtype))


def absolute_sum(values: Tensor, window: Window) -> Tensor:
    """Sum of w |v| over positions and channels of (1, C, h, w)."""
    wide = upcast(positions(values))
    return wide.abs().sum(1) @ window.at(*values.shape[-2:]).to(wide.dtype)
