"""From settings to the terms of the loss."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..model.architecture import architecture
from ..model.losses.content import ContentTerm
from ..model.losses.means import MeansTerm
from ..model.losses.moments import MomentsTerm
from ..model.losses.style import StyleTerm
from ..model.losses.terms import LayerShape, LossTerm, PictureSize
from ..model.losses.variation import TotalVariationTerm
from ..model.objective import Objective
from .settings import Settings

# Terms that compare with style pictures, by name.
STYLE_TERMS: dict[str, type[MeansTerm]] = {"style": StyleTerm, "moments": MomentsTerm}


def objective(
    settings: Settings,
    targets: Mapping[str, np.ndarray],
    height: int,
    width: int,
    content_weight: float,
    metric: Mapping[str, np.ndarray] | None = None,
    regions: int = 1,
) -> Objective:
    """Make the objective of a picture of this size, px, with the network's metric if it has one."""
    arch = architecture(settings.network)
    pixels = height * width
    layers = {name: LayerShape(arch.channels(name), pixels / arch.stride(name) ** 2) for name in settings.layers}
    size = PictureSize(height, width, layers, settings.loss_pixels)
    terms: list[LossTerm] = []
    compared: dict[str, Any] = {"layers": settings.active_style_layers, "targets": targets, "regions": regions}
    if "style" in settings.style_terms:
        how: dict[str, Any] = {"formula": settings.style_loss, "metric": metric or {}}
        terms.append(StyleTerm(weight=settings.style_weight, size=size, **compared, **how))
    if "moments" in settings.style_terms:
        terms.append(MomentsTerm(weight=settings.moments_weight, size=size, **compared))
    if settings.active_content_layers:
        kept = settings.active_content_layers
        terms.append(ContentTerm(weight=content_weight, size=size, layers=kept, formula=settings.content_loss))
    if settings.tv_weight:
        weight, chroma = settings.tv_weight, settings.tv_chroma
        terms.append(TotalVariationTerm(weight=weight, size=size, formula=settings.tv_loss, chroma=chroma))
    return Objective(tuple(terms), size, settings.normalize_gradients)
