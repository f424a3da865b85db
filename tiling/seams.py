"""How visible the borders between tiles are: a score, and a threshold that scores reach by chance without any seam.

Take a line between two pixel columns. For each block of `BLOCK` rows or a few more, all of about one size, take the
mean color of the `reach` columns left of the line minus that of the `reach` columns right of it; its square, summed
over the colors, is the block's *jump*. The score at one reach is the geometric mean of the jumps at the lines where
cores of neighboring tiles meet, divided by that at reference lines, `OFFSETS` pixels to either side of them, which see
the same part of the picture. Lines between rows likewise. The seam score is the largest over `REACHES`: a hard edge
shows at a reach of 1 px, a step in color that was feathered away over tens of pixels at a long reach.

Outlines of objects that happen to lie on a border are not seams. So the score is divided by the photograph's score at
the same lines, raised to the power `PHOTOGRAPH`: about as far as paintings follow their photographs.

With few borders, chance alone gives scores of 1.2 or 1.3. So the same score is computed for false borders,
`FALSE_OFFSETS` pixels to either side, with the same reference lines. Their median and their scatter about it (the
median of the distances, which is robust to an outline on some of them) give a threshold: only a score above it is a
seam.

The mean is geometric because jumps range over many powers of ten: in an arithmetic mean, the few blocks on outlines
would outweigh the many on plain areas, where a seam is visible. A tenth of the median nonzero reference jump is added
to each jump, so that blocks of one color count as small, not as zero.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .grid import Box, Span

Read = Callable[[Box], np.ndarray]
"""Gives any box of a picture as (h, w, 3), any number type."""

REACHES = (1, 8, 32)
OFFSETS = (-160, -112, -80, 80, 112, 160)
FALSE_OFFSETS = (-160, -144, -128, -112, -96, -80, 80, 96, 112, 128, 144, 160)
BLOCK = 64
PHOTOGRAPH = 0.5

_LEAST_FALSE = 6  # false borders that tell how far scores scatter
_DEVIATIONS = 2.6  # beyond the median that chance makes; of 50 random textures none came above 2.3
_TO_DEVIATION = 1.4826  # of a normal distribution, from the median of the distances
_AROUND = max(OFFSETS) + max(REACHES)
_BLOCKS_AT_ONCE = 64


class Seams(NamedTuple):
    """What was found at the borders.

    Attributes
    ----------
    score : float
        1.0 means that borders look like any other place; also where there are no borders.
    threshold : float
        Scores up to it are chance. 1.0 where there are no borders; infinite where there is too little to tell.
    """

    score: float
    threshold: float

    @property
    def visible(self) -> bool:
        """Whether there is more to see at the borders than chance makes."""
        return self.score > self.threshold


def find_seams(
    shape: tuple[int, int], read: Read, rows: Sequence[int], cols: Sequence[int], read_photograph: Read | None = None
) -> Seams:
    """Measure how much more a picture changes across tile borders than beside them.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the picture, px.
    read : Callable[[Box], ndarray (h, w, 3)]
        Gives any box of the picture, in any number type. Every stretch of a border is read once, 192 px to either side
        and about 4,096 px along, so a picture need not fit into memory.
    rows, cols : sequence of int
        First pixel row (column) below (right of) each border, px.
    read_photograph : Callable[[Box], ndarray (h, w, 3)], optional
        Gives any box of what was painted, at the same size.

    Notes
    -----
    Without seams, scores are 0.8 to 1.3 for random textures with 5,000 px of borders, and 0.9 to 1.8 for untiled
    paintings of a megapixel (1.0 to 4.3 without the photograph).
    """
    scores = _scores(shape, read, rows, cols)
    if 0 not in scores:
        return Seams(1.0, 1.0)
    if read_photograph is not None:
        for line, outlines in _scores(shape, read_photograph, rows, cols).items():
            scores[line] = [_beyond(score, outline) for score, outline in zip(scores[line], outlines, strict=True)]
    largest = {line: max(found) for line, found in scores.items()}
    return Seams(largest.pop(0), _threshold([*largest.values()]))


def _threshold(false: list[float]) -> float:
    """A threshold that scores like these rarely exceed by chance."""
    if len(false) < _LEAST_FALSE:
        return float("inf")
    logs = np.log(false)
    median = np.median(logs)
    deviation = _TO_DEVIATION * np.median(np.abs(logs - median))
    return float(np.exp(median + _DEVIATIONS * deviation))


def _beyond(score: float, outline: float) -> float:
    """The score without what the photograph's outlines at the tile borders add to it, if that is known."""
    if score == outline == float("inf"):  # neither changes anywhere else
        return 1.0
    return score / outline**PHOTOGRAPH if 0 < outline < float("inf") else score


def _scores(shape: tuple[int, int], read: Read, rows: Sequence[int], cols: Sequence[int]) -> dict[int, list[float]]:
    """The score at each of `REACHES`: by offset, 0 for the borders themselves and others for false ones."""

    def read_turned(box: Box) -> np.ndarray:
        return read(Box(box.cols, box.rows)).swapaxes(0, 1)

    borders = [_jumps(shape, read, col) for col in cols]
    borders += [_jumps((shape[1], shape[0]), read_turned, row) for row in rows]
    compared = {line: [[*_compared(borders, reach, line)] for reach in REACHES] for line in (0, *FALSE_OFFSETS)}
    return {line: [_score(pairs) for pairs in each] for line, each in compared.items() if any(each)}


def _compared(
    borders: list[dict[tuple[int, int], np.ndarray]], reach: int, line: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (jumps at the line, jumps at its reference lines) for every border that has reference lines."""
    for jumps in borders:
        beside = [jumps[reach, offset] for offset in OFFSETS if offset != line and (reach, offset) in jumps]
        if (reach, line) in jumps and beside:
            yield jumps[reach, line], np.concatenate(beside)


def _score(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    if not pairs:
        return 1.0
    at, beside = (np.concatenate(jumps) for jumps in zip(*pairs, strict=True))
    if not beside.any():
        return float("inf") if at.any() else 1.0
    floor = np.median(beside[beside > 0]) / 10
    return float(np.exp(np.log(at + floor).mean() - np.log(beside + floor).mean()))


def _jumps(shape: tuple[int, int], read: Read, border: int) -> dict[tuple[int, int], np.ndarray]:
    """Jumps of all blocks by reach and offset, at the lines about column `border` that are not too near the edge."""
    height, width = shape
    strip = Span(border - _AROUND, border + _AROUND) & Span(0, width)
    lines = {
        (reach, offset): border + offset - strip.start
        for reach, offset in itertools.product(REACHES, (0, *FALSE_OFFSETS))
        if reach <= border + offset <= width - reach
    }
    jumps: dict[tuple[int, int], list[np.ndarray]] = {key: [] for key in lines}
    for edges in _stretches(height) if lines else ():
        pixels = read(Box(Span(edges[0], edges[-1]), strip))
        for (reach, offset), line in lines.items():
            jumps[reach, offset].append(_jump(pixels, line, reach, np.subtract(edges, edges[0])))
    return {key: np.concatenate(parts) for key, parts in jumps.items()}


def _stretches(length: int) -> Iterator[list[int]]:
    """Yield the edges of the blocks of a border, some blocks at a time."""
    count = max(1, length // BLOCK)
    size, larger = divmod(length, count)
    edges = [size * block + min(block, larger) for block in range(count + 1)]
    for first in range(0, count, _BLOCKS_AT_ONCE):
        yield edges[first : first + _BLOCKS_AT_ONCE + 1]


def _jump(pixels: np.ndarray, line: int, reach: int, edges: np.ndarray) -> np.ndarray:
    """Jumps of the blocks of rows between `edges`, across the line before column `line`."""
    left = pixels[:, line - reach : line].mean(1, dtype=np.float64)
    right = pixels[:, line : line + reach].mean(1, dtype=np.float64)
    means = np.add.reduceat(left - right, edges[:-1]) / np.diff(edges)[:, None]
    jumps: np.ndarray = np.square(means).sum(1)
    return jumps
