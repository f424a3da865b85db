"""Sums over the positions of a picture that are all the losses need, and that simply add up over tiles.

A `Sums` of a tile counts every position with the tile's blend weight, so the sums of all tiles added together are
those of the whole picture.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from muralist.model.network import Features


@dataclass(frozen=True)
class Window:
    """Blend weights of a tile at pixel resolution, as two factors: `rows` (H,) and `cols` (W,), float32, in [0, 1]."""

    rows: Tensor
    cols: Tensor

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
        rows, cols = (_blocks(w, n) for w, n in zip((self.rows, self.cols), (height, width), strict=True))
        return (rows[:, None] * cols).flatten()


def _blocks(weights: Tensor, count: int) -> Tensor:
    stride = 2 ** int(np.log2(len(weights) / count))
    return F.avg_pool1d(weights[None, : count * stride], stride)[0]


def positions(features: Tensor) -> Tensor:
    """Lay features (1, C, h, w) out as a matrix (positions, C); no copy when they are channels last."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def gram_sum(features: Tensor, window: Window) -> Tensor:
    """Sum of w f f^T over positions: (C, C), at least float32 (Gatys et al. 2016, eq. 3, without the factor 2).

    Parameters
    ----------
    features : Tensor (1, C, h, w)
    window : Window
    """
    matrix = _widened(positions(features))
    weights = window.at(*features.shape[-2:]).to(matrix.dtype)
    return (matrix * weights[:, None]).T @ matrix


@dataclass(frozen=True)
class Sums:
    """What a picture, or a tile's share of it, adds to the losses. NumPy, so that it is cheap to move and to keep.

    Attributes
    ----------
    gram : dict layer -> ndarray (C, C), float64
        Sum of f f^T.
    content_error, content_energy : dict layer -> float
        Sum of squared differences to the content's features, and of the content's squared features.
    variation, chroma : float
        Sum of squared differences between neighbouring pixels; and of what of them is not a difference in grey.
    """

    gram: Mapping[str, np.ndarray]
    content_error: Mapping[str, float]
    content_energy: Mapping[str, float]
    variation: float
    chroma: float

    def arrays(self) -> dict[str, np.ndarray]:
        """Give all values as named arrays, to be filed; `of_arrays` takes them back."""
        tables = {"gram": self.gram, "content_error": self.content_error, "content_energy": self.content_energy}
        flat = {f"{table} {layer}": np.asarray(value) for table, row in tables.items() for layer, value in row.items()}
        return {**flat, "variation": np.asarray(self.variation), "chroma": np.asarray(self.chroma)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Sums":
        """Put sums together again from what `arrays` gave."""

        def table(wanted: str) -> dict[str, np.ndarray]:
            keys = (key.split() for key in arrays)
            return {layer: arrays[f"{name} {layer}"] for name, *rest in keys if name == wanted for layer in rest}

        errors, energies = ({k: float(v) for k, v in table(f"content_{what}").items()} for what in ("error", "energy"))
        return cls(table("gram"), errors, energies, float(arrays["variation"]), float(arrays["chroma"]))

    @classmethod
    def total(cls, parts: Iterable["Sums"]) -> "Sums":
        """Add up, in the order given."""
        first, *rest = parts
        total = first
        for part in rest:
            total = cls(
                {layer: g + part.gram[layer] for layer, g in total.gram.items()},
                {layer: e + part.content_error[layer] for layer, e in total.content_error.items()},
                {layer: e + part.content_energy[layer] for layer, e in total.content_energy.items()},
                total.variation + part.variation,
                total.chroma + part.chroma,
            )
        return total


def measure(
    picture: Tensor, features: Features, content: Features, style_layers: Iterable[str], window: Window
) -> Sums:
    """Sum up everything the losses need of one tile.

    Parameters
    ----------
    picture : Tensor (1, 3, H, W)
    features : dict layer -> Tensor
        Of the picture; the style layers and those of `content`.
    content : dict layer -> Tensor
        Features of the photograph.
    style_layers : iterable of str
    window : Window
    """
    return Sums(
        {layer: gram_sum(features[layer], window).cpu().double().numpy() for layer in style_layers},
        {layer: _square_sum(_widened(features[layer]) - _widened(p), window) for layer, p in content.items()},
        {layer: _square_sum(_widened(p), window) for layer, p in content.items()},
        sum(_square_sum(d, window) for d in differences(picture)),
        sum(_square_sum(chroma(d), window) for d in differences(picture)),
    )


def _widened(values: Tensor) -> Tensor:
    """Bring to float32 what is narrower."""
    return values if values.dtype == torch.float64 else values.float()


def _square_sum(values: Tensor, window: Window) -> float:
    return float(positions(values).square().sum(1) @ window.at(*values.shape[-2:]).to(values.dtype))


def differences(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Differences to the next pixel below and to the right, zero beyond the edge: two like the picture."""
    down = F.pad(picture[..., 1:, :] - picture[..., :-1, :], (0, 0, 0, 1))
    right = F.pad(picture[..., 1:] - picture[..., :-1], (0, 1, 0, 0))
    return down, right


def chroma(difference: Tensor) -> Tensor:
    """What of a difference in colour (1, 3, H, W) is not a difference in grey."""
    return difference - difference.mean(1, keepdim=True)
