"""Makes the terms of the loss from settings. Needs torch, so the driver does not import it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..model.architecture import architecture
from ..model.losses.content import ContentTerm
from ..model.losses.luminance import LUMINANCE_LAYERS, LuminanceTerm, luminance_layer
from ..model.losses.means import TargetTerm
from ..model.losses.moments import MomentsTerm
from ..model.losses.style import StyleTerm
from ..model.losses.terms import LayerShape, LossTerm, PictureSize
from ..model.losses.variation import TotalVariationTerm
from ..model.objective import Objective
from .context import TunedWeights
from .settings import Settings

# Terms whose targets are measured on style pictures, by name.
TARGET_TERMS: dict[str, type[TargetTerm]] = {
    "style": StyleTerm,
    "moments": MomentsTerm,
    "luminance": LuminanceTerm,
}


def measured_layers(settings: Settings) -> dict[str, Sequence[str]]:
    """Give the terms that count of those whose targets are measured on style pictures, and at which layers each is."""
    found: dict[str, Sequence[str]] = dict.fromkeys(settings.style_terms, tuple(settings.active_style_layers))
    if settings.keeps_luminance:
        arch, largest = architecture(settings.network), _largest_blocks(settings)
        found["luminance"] = tuple(layer for layer in LUMINANCE_LAYERS if arch.stride(layer) <= largest)
    return found


def _largest_blocks(settings: Settings) -> int:
    """Side of the blocks of pixels that luminance is taken of, px, at most: style pictures may be no larger."""
    return architecture(settings.network).max_stride(settings.active_style_layers)


def luminance_layers(settings: Settings, height: int, width: int) -> dict[str, float]:
    """Give the layer at which the luminance of a picture of this size, px, counts; none if it does not."""
    if not settings.keeps_luminance:
        return {}
    return {luminance_layer(height, width, _largest_blocks(settings)): 1.0}


def objective(
    settings: Settings,
    targets: Mapping[str, np.ndarray],
    height: int,
    width: int,
    tuned: TunedWeights,
    metric: Mapping[str, np.ndarray] | None = None,
    regions: int = 1,
) -> Objective:
    """Make the objective of a picture of this size, px, with the network's metric if it has one.

    `tuned` are the weights of the content and luminance terms.
    """
    arch = architecture(settings.network)
    luminance = luminance_layers(settings, height, width)
    layers = {
        name: LayerShape(arch.channels(name), (height // arch.stride(name)) * (width // arch.stride(name)))
        for name in (*settings.layers, *luminance)
    }
    size = PictureSize(height, width, layers, settings.loss_pixels)
    terms: list[LossTerm] = []
    compared: dict[str, Any] = {"size": size, "targets": targets, "regions": regions}
    styled = {"layers": settings.active_style_layers, **compared}
    if "style" in settings.style_terms:
        how: dict[str, Any] = {"formula": settings.style_loss, "metric": metric or {}}
        terms.append(StyleTerm(weight=settings.style_weight, **styled, **how))
    if "moments" in settings.style_terms:
        terms.append(MomentsTerm(weight=settings.moments_weight, **styled))
    if settings.active_content_layers:
        features = settings.active_content_layers
        terms.append(ContentTerm(weight=tuned.content, size=size, layers=features, formula=settings.content_loss))
    if luminance:
        terms.append(LuminanceTerm(weight=tuned.luminance, layers=luminance, **compared))
    if settings.tv_weight:
        weight, chroma = settings.tv_weight, settings.tv_chroma
        terms.append(TotalVariationTerm(weight=weight, size=size, formula=settings.tv_loss, chroma=chroma))
    return Objective(tuple(terms), size, settings.normalize_gradients)
