"""What a painting is worth by measures that no network it was painted with has a part in.

The judge is a compressed VGG-19 with heads into VGG-19's own feature space (`tools/teacher.py`); it is no part of
muralist. Pictures are (height, width, 3) float32, sRGB, in [0, 1].
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity

from muralist.model.losses.style import STYLE_LOSSES, GramStats, in_metric
from muralist.model.network import Features, Network
from muralist.model.statistics import Window, style_sums
from muralist.model.tile_optimizer import to_tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from teacher import CONTENT_LAYER, LAYERS, STYLE_LAYERS, load_teacher

DIRECTIONS = 64  # along which distributions of colors are compared
COLORS = 20_000  # quantiles that are compared


def load_judge(file: Path) -> Network:
    """Load the judge from a compressed encoder's file."""
    return load_teacher(str(file))


def measures(judge: Network, painting: np.ndarray, style: np.ndarray, photograph: np.ndarray) -> dict[str, float]:
    """Judge a painting.

    Parameters
    ----------
    judge : Network
        From `load_judge`.
    painting, style, photograph : ndarray (h, w, 3)
        The style picture at the painting's long side or its own, the photograph at the painting's size.

    Returns
    -------
    dict
        `style`: squared distance of Gram matrices in VGG-19's space, relative to the style's, mean over five layers
        and over full and half size. `content`: squared error of relu4_2 relative to the photograph's. `palette`: mean
        distance of Lab colors to the style's (sliced Wasserstein-1, in Lab units). `grain_light`, `grain_color`: energy
        of the finest band of a Laplacian pyramid, relative to the style's. `legibility`: SSIM of light with the
        photograph at a quarter of the size.
    """
    sizes = [(painting, style, photograph), tuple(shrunk(each, 2) for each in (painting, style, photograph))]
    found = [_losses(judge, *pictures) for pictures in sizes]
    lab, lab_style = rgb2lab(painting), rgb2lab(style)
    grain, grain_style = _grain(lab), _grain(lab_style)
    return {
        "style": float(np.mean([each["style"] for each in found])),
        "content": found[0]["content"],
        "palette": _palette(lab, lab_style),
        "grain_light": grain[0] / grain_style[0],
        "grain_color": grain[1] / grain_style[1],
        "legibility": _legibility(painting, photograph),
    }


def shrunk(picture: np.ndarray, factor: int) -> np.ndarray:
    """Shrink a picture, every channel on its own."""
    height, width = (max(1, n // factor) for n in picture.shape[:2])
    channels = [
        Image.fromarray(np.ascontiguousarray(picture[..., i], np.float32)).resize(
            (width, height), Image.Resampling.LANCZOS
        )
        for i in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels], -1).clip(0, 1)


@torch.no_grad()
def _losses(judge: Network, painting: np.ndarray, style: np.ndarray, photograph: np.ndarray) -> dict[str, float]:
    features, wanted = _features(judge, painting), _features(judge, style)
    kept = judge(to_tensor(photograph), (CONTENT_LAYER,))[CONTENT_LAYER]
    distances = [_style_distance(judge.metric, layer, features, wanted) for layer in STYLE_LAYERS]
    error = (features[CONTENT_LAYER] - kept).square().mean() / kept.square().mean()
    return {"style": float(np.mean(distances)), "content": float(error)}


def _features(judge: Network, picture: np.ndarray) -> Features:
    features: Features = judge(to_tensor(picture.astype(np.float32)), LAYERS)
    return features


def _style_distance(metric: Mapping[str, np.ndarray], layer: str, features: Features, wanted: Features) -> float:
    now, target = _statistics(features[layer]), _statistics(wanted[layer])
    distance = in_metric(STYLE_LOSSES["relative"], torch.from_numpy(metric[layer]).double(), target)
    return float(distance(now))


def _statistics(features: torch.Tensor) -> GramStats:
    gram, mean = style_sums(features.double(), Window.full(features))
    count = features.shape[-2] * features.shape[-1]
    return GramStats(gram / count, mean / count)


def _palette(lab: np.ndarray, lab_style: np.ndarray) -> float:
    directions = np.random.default_rng(0).normal(size=(3, DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    places = np.linspace(0, 1, COLORS)
    ours, theirs = (np.quantile(each.reshape(-1, 3) @ directions, places, axis=0) for each in (lab, lab_style))
    return float(np.abs(ours - theirs).mean())


def _grain(lab: np.ndarray) -> tuple[float, float]:
    """Energy of the finest band, of light and of color: what shrinking to half and enlarging again loses."""
    band = np.stack([_finest(lab[..., i]) for i in range(3)], -1)
    return float(np.square(band[..., 0]).mean()), float(np.square(band[..., 1:]).mean())


def _finest(channel: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(channel, np.float32))
    small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    return channel - np.asarray(small.resize(picture.size, Image.Resampling.BICUBIC))


def _legibility(painting: np.ndarray, photograph: np.ndarray) -> float:
    ours, theirs = (rgb2lab(shrunk(each, 4))[..., 0] for each in (painting, photograph))
    return float(structural_similarity(ours, theirs, data_range=100.0))
