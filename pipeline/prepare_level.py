"""Stores what a level needs before it is painted: photograph and starting picture on its canvas, style statistics.

Pictures are read in row blocks, so that no canvas has to fit into memory, except the start of the coarsest level.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..model.architecture import architecture
from ..tiling.grid import Span
from .console import LOG
from .context import RenderContext
from .initialization import is_photograph, start_canvas
from .levels import Level
from .storage.canvas import Canvas
from .style_cache import StyleCache
from .workers.cluster import Cluster

ReadRows = Callable[[int, int, Span], np.ndarray]


@dataclass(frozen=True)
class StyleSource:
    """One style picture.

    Attributes
    ----------
    pixels : callable (long side) -> ndarray (h, w, 3), float32
        The picture at any size up to its own.
    weights : callable (long side) -> ndarray (h, w), float32, or None
        How much every pixel counts; None if all do alike.
    """

    pixels: Callable[[int], np.ndarray]
    cache: StyleCache
    weights: Callable[[int], np.ndarray | None] = lambda side: None


@dataclass(frozen=True)
class LevelInputs:
    """What is painted, from what, and after what.

    Attributes
    ----------
    content : callable (height, width, rows) -> ndarray (rows, width, 3), float32
        Some rows of the photograph at any size.
    init : callable (height, width, rows) -> ndarray (rows, width, 3), float32
        The same of what the coarsest level starts from, but for noise.
    guidance : callable (height, width, rows) -> ndarray (rows, width, channels), float32, or None
        The same of the guidance of regions.
    """

    content: ReadRows
    init: ReadRows
    styles: tuple[StyleSource, ...]
    guidance: ReadRows | None = None


def prepare_level(context: RenderContext, cluster: Cluster, sources: LevelInputs, level: Level) -> None:
    """File what the tasks of a level read."""
    file_canvas(context.content(level), lambda rows: with_margin(sources.content, level, rows))
    if (guidance := sources.guidance) is not None:
        file_canvas(context.guidance(level), lambda rows: in_threes(with_margin(guidance, level, rows)))
    if level.index == 0 and not is_photograph(context.settings):
        init = with_margin(sources.init, level, level.grid.box.rows)  # whole: noise is drawn once, from top to bottom
        start = start_canvas(init, architecture(context.settings.network).mean, context.settings)
        file_canvas(context.start(level), lambda rows: start[slice(*rows)])
    _prepare_styles(context, cluster, sources.styles, level)


def file_canvas(canvas: Canvas, read: Callable[[Span], np.ndarray]) -> None:
    """File a canvas in blocks; rows (h, W, 3 * planes) are asked for in order, each once."""
    across = len(canvas.grid.axes[1])
    for row, part in enumerate(canvas.grid.axes[0]):
        pixels = read(part.core)
        for tile in map(canvas.grid.__getitem__, range(row * across, (row + 1) * across)):
            canvas.write(tile, np.stack(np.split(pixels[:, slice(*tile.extent.cols)], canvas.planes, axis=2)))


def in_threes(channels: np.ndarray) -> np.ndarray:
    """Fill channels (h, w, n) up to a multiple of three, which planes have."""
    return np.pad(channels, ((0, 0), (0, 0), (0, -channels.shape[2] % 3)))


def _prepare_styles(context: RenderContext, cluster: Cluster, styles: Sequence[StyleSource], level: Level) -> None:
    files = [context.folder.targets(level, number) for number in range(len(styles))]
    jobs = list(zip(styles, level.style_sides, files, strict=True))
    missing = [
        number for number, (style, side, file) in enumerate(jobs) if not _fetch(context, style.cache, side, file)
    ]
    for number in missing:
        style, side, _ = jobs[number]
        weights = style.weights(side)
        counting = {} if weights is None else {"weights": weights}
        context.folder.write(context.folder.style(level, number), {"pixels": style.pixels(side), **counting})
    limits = [context.slowest_seconds(level.style_sides[number] ** 2) for number in missing]
    calls = [(context, level, number) for number in missing]
    for number in cluster.map("style_targets", calls, priority=context.priority, limits=limits):
        style, side, file = jobs[number]
        style.cache.keep(side, context.folder.store.read(file))


def _fetch(context: RenderContext, cache: StyleCache, side: int, name: str) -> bool:
    """Take statistics from the cache, if they are there."""
    kept = cache.fetch(side)
    LOG.debug("style statistics at %s px: %s", side, "computed" if kept is None else "from the cache")
    if kept is not None:
        context.folder.store.write(name, kept)
    return kept is not None


def with_margin(read: ReadRows, level: Level, rows: Span) -> np.ndarray:
    """Read rows of a level's canvas from a picture, which is mirrored at its edges until it fills the canvas."""
    down = mirrored(np.arange(*rows) - level.edge_margin, level.height)
    across = mirrored(np.arange(level.grid.width) - level.edge_margin, level.width)
    needed = Span(int(down.min()), int(down.max()) + 1)
    return np.asarray(read(level.height, level.width, needed)[np.ix_(down - needed.start, across)])


def mirrored(places: np.ndarray, length: int) -> np.ndarray:
    """Fold places on an axis back into it as between two mirrors, which lie on its first and last pixel.

    >>> mirrored(np.arange(-2, 6), 3).tolist()
    [2, 1, 0, 1, 2, 1, 0, 1]
    """
    period = max(1, 2 * (length - 1))
    folded = places % period
    return np.asarray(np.minimum(folded, period - folded) if length > 1 else folded)
