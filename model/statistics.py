"""Sums over the positions of a picture that are all the losses need, and that simply add up over tiles.

A `Sums` of a tile counts every position with the tile's blend weight, so the sums of all tiles added together are
those of the whole picture.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .network import Features
from .ways import GramProduct

MIXED_PRODUCT = hasattr(torch.ops.aten.mm, "dtype")  # since torch 2.8
CACHED_ROWS = 4096  # of positions: as many as a processor's cache holds in float32


@dataclass(frozen=True)
class Window:
    """Blend weights of a tile at pixel resolution, as two factors: `rows` (H,) and `cols` (W,), float32, in [0, 1]."""

    rows: Tensor
    cols: Tensor
    _at: dict[tuple[int, int], Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, rows: np.ndarray, cols: np.ndarray, device: str | torch.device = "cpu") -> "Window":
        """Make a window of NumPy factors."""
        return cls(*(torch.from_numpy(np.ascontiguousarray(w)).to(device) for w in (rows, cols)))

    @classmethod
    def full(cls, picture: Tensor) -> "Window":
        """Make the window of a picture that is its own only tile."""
        return cls(*(torch.ones(n, device=picture.device) for n in picture.shape[-2:]))

    def at(self, height: int, width: int) -> Tensor:
        """Average the weights over the blocks of pixels behind (height, width) feature positions: (positions,)."""
        if (height, width) not in self._at:
            rows, cols = (_blocks(w, n) for w, n in zip((self.rows, self.cols), (height, width), strict=True))
            self._at[height, width] = (rows[:, None] * cols).flatten()
        return self._at[height, width]

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


def style_sums(features: Tensor, window: Window, product: GramProduct = "float32") -> tuple[Tensor, Tensor]:
    """Sums over positions of w f f^T (C, C) and of w f (C,), at least float32 (Gatys et al. 2016, eq. 3).

    Parameters
    ----------
    features : Tensor (1, C, h, w)
    window : Window
    product : {"float32", "bfloat16"}
        "bfloat16" rounds w f to that, which changes nothing where a tile is not blended, if the features are bfloat16;
        others are multiplied as they are.
    """
    matrix, weights = positions(features), window.at(*features.shape[-2:])
    if product == "bfloat16" and matrix.dtype == torch.bfloat16:
        return _sums_of_rounded(matrix, matrix * weights.to(matrix.dtype)[:, None])
    parts = -(-len(matrix) // CACHED_ROWS) if matrix.device.type == "cpu" else 1
    gram = torch.zeros(matrix.shape[1], matrix.shape[1], dtype=wide(matrix.dtype), device=matrix.device)
    feature = torch.zeros_like(gram[0])
    for part, weight in zip(matrix.chunk(parts), weights.chunk(parts), strict=True):
        values = widened(part)
        weighted = values * weight.to(values.dtype)[:, None]
        gram.addmm_(weighted.T, values)
        feature += weighted.sum(0)
    return gram, feature


def _sums_of_rounded(matrix: Tensor, weighted: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of (positions, C) in bfloat16, added up in float32; where there is no such product, it is spelled out."""
    if matrix.device.type == "cuda" and MIXED_PRODUCT:
        gram = torch.mm(weighted.T, matrix, out_dtype=torch.float32)
    else:
        gram = weighted.float().T @ matrix.float()
    return gram, weighted.sum(0, dtype=torch.float32)


@dataclass(frozen=True)
class Sums:
    """What a picture, or a tile's share of it, adds to the losses. NumPy, so that it is cheap to move and to keep.

    Attributes
    ----------
    gram : dict layer -> ndarray (C, C), float64
        Sum of f f^T.
    feature : dict layer -> ndarray (C,), float64
        Sum of f.
    content_error, content_energy : dict layer -> float
        Sum of squared differences to the content's features, and of the content's squared features.
    variation : dict str -> float
        What `Variation.sums` gives.
    norms : dict str -> float
        L1 norms of the gradients at the features, if they were asked for.
    """

    gram: Mapping[str, np.ndarray]
    feature: Mapping[str, np.ndarray]
    content_error: Mapping[str, float]
    content_energy: Mapping[str, float]
    variation: Mapping[str, float]
    norms: Mapping[str, float] = field(default_factory=dict)

    def arrays(self) -> dict[str, np.ndarray]:
        """Give all values as named arrays, to be filed; `of_arrays` takes them back."""
        tables = {each.name: getattr(self, each.name) for each in fields(self)}
        return {f"{name} {key}": np.asarray(value) for name, table in tables.items() for key, value in table.items()}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Sums":
        """Put sums together again from what `arrays` gave."""
        tables: dict[str, dict[str, Any]] = {each.name: {} for each in fields(cls)}
        for name, value in arrays.items():
            table, _, key = name.partition(" ")
            tables[table][key] = value
        return cls(**tables)

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> "Sums":
        """Bring what is named as `arrays` names it to NumPy, in float64. A device is asked for all of it at once."""
        flat = torch.cat([value.flatten() for value in tensors.values()]).cpu().double().numpy()
        ends = np.cumsum([value.numel() for value in tensors.values()])
        parts = zip(tensors.items(), np.split(flat, ends[:-1]), strict=True)
        return cls.of_arrays({name: part.reshape(value.shape)[()] for (name, value), part in parts})

    @classmethod
    def total(cls, parts: Iterable["Sums"]) -> "Sums":
        """Add up, in the order given."""
        tables = (part.arrays() for part in parts)
        total = next(tables)
        for table in tables:  # one at a time: a poster has hundreds of tiles, and VGG's sums are megabytes
            total = {name: value + table[name] for name, value in total.items()}
        return cls.of_arrays(total)


def tile_sums(
    features: Features,
    content: Features,
    style_layers: Iterable[str],
    window: Window,
    product: GramProduct = "float32",
) -> dict[str, Tensor]:
    """Sum up what the losses need of one tile's features, named as `Sums.arrays` names it; `variation` is left out.

    Parameters
    ----------
    features : dict layer -> Tensor
        Of the picture; the style layers and those of `content`.
    content : dict layer -> Tensor
        Features of the photograph.
    style_layers : iterable of str
    window : Window
    product
        As of `style_sums`.
    """
    sums = {}
    for layer in style_layers:
        sums[f"gram {layer}"], sums[f"feature {layer}"] = style_sums(features[layer], window, product)
    for layer, p in content.items():
        sums[f"content_error {layer}"] = _square_sum(widened(features[layer]) - widened(p), window)
        sums[f"content_energy {layer}"] = _square_sum(widened(p), window)
    return sums


def wide(dtype: torch.dtype) -> torch.dtype:
    """Number type to add up in: float32 for what is narrower."""
    return torch.promote_types(dtype, torch.float32)


def widened(values: Tensor) -> Tensor:
    """Bring to float32 what is narrower."""
    return values.to(wide(values.dtype))


def _square_sum(values: Tensor, window: Window) -> Tensor:
    return positions(values).square().sum(1) @ window.at(*values.shape[-2:]).to(values.dtype)


def absolute_sum(values: Tensor, window: Window) -> Tensor:
    """Sum of w |v| over positions and channels of (1, C, h, w)."""
    wide = widened(positions(values))
    return wide.abs().sum(1) @ window.at(*values.shape[-2:]).to(wide.dtype)
