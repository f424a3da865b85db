"""How visible the borders between tiles are: one number, 1.0 when nothing is there.

Take a line between two pixel columns. For each block of `BLOCK` rows, take the mean colour of the `reach` columns left
of the line minus that of the `reach` columns right of it; its square, summed over the colours, is the block's *jump*.
The score at one reach is the geometric mean of the jumps at the lines where cores of neighbouring tiles meet, divided
by that at reference lines, `OFFSETS` pixels to either side of them, which see the same part of the picture. Lines
between rows likewise. The seam score is the largest over `REACHES`: a hard edge shows at a reach of 1 px, a step in
colour that was feathered away over tens of pixels at a long reach.

Outlines of things that happen to lie on a border are no seams. What the photograph does there, compared in the same
way, is therefore taken off, to the power `PHOTOGRAPH`: about as far as paintings follow their photographs.

The mean is geometric because jumps range over many powers of ten: in an arithmetic one the few blocks on the outlines
of things drown the many on plain ground, where a seam is seen. A tenth of the median reference jump that is not zero is
added to each, so that blocks of one colour count as small, not as nothing.
"""

from collections.abc import Iterator, Sequence

import numpy as np

REACHES = (1, 8, 32)
OFFSETS = (-160, -112, -80, 80, 112, 160)
BLOCK = 64
PHOTOGRAPH = 0.5


def seam_score(
    picture: np.ndarray, rows: Sequence[int], cols: Sequence[int], photograph: np.ndarray | None = None
) -> float:
    """Measure how much more a picture changes across tile borders than beside them.

    Parameters
    ----------
    picture : ndarray (H, W, 3)
        Any number type.
    rows, cols : sequence of int
        First pixel row (column) below (right of) each border, px.
    photograph : ndarray (H, W, 3), optional
        What was painted, at the same size.

    Returns
    -------
    float
        1.0 means that borders look like any other place; also returned when there are no borders. Chance makes it
        0.8 to 1.3 for random textures with 5,000 px of borders and no seams, and 0.9 to 1.8 for untiled paintings of
        a megapixel (1.0 to 4.3 without the photograph).
    """
    usual = {reach: float(_usual(photograph, rows, cols, reach) ** PHOTOGRAPH) for reach in REACHES}
    return max(_score(picture, rows, cols, reach) / usual[reach] for reach in REACHES)


def _usual(photograph: np.ndarray | None, rows: Sequence[int], cols: Sequence[int], reach: int) -> float:
    """The score that outlines on the borders give by themselves; 1 where there is nothing to compare."""
    score = 1.0 if photograph is None else _score(photograph, rows, cols, reach)
    return score if 0 < score < float("inf") else 1.0


def _score(picture: np.ndarray, rows: Sequence[int], cols: Sequence[int], reach: int) -> float:
    pairs = [*_jumps(picture, cols, reach), *_jumps(picture.swapaxes(0, 1), rows, reach)]
    if not pairs:
        return 1.0
    at, beside = (np.concatenate(jumps) for jumps in zip(*pairs, strict=True))
    if not beside.any():
        return float("inf") if at.any() else 1.0
    floor = np.median(beside[beside > 0]) / 10
    return float(np.exp(np.log(at + floor).mean() - np.log(beside + floor).mean()))


def _jumps(picture: np.ndarray, borders: Sequence[int], reach: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (jumps at the border, jumps at its reference lines) for every border that has reference lines."""
    for border in borders:
        at, *beside = (_jump(picture, border + offset, reach) for offset in (0, *OFFSETS))
        beside = [jumps for jumps in beside if len(jumps)]
        if len(at) and beside:
            yield at, np.concatenate(beside)


def _jump(picture: np.ndarray, line: int, reach: int) -> np.ndarray:
    """Jumps of all blocks of rows across the line before column `line`; none too near the picture's edge."""
    if line < reach or line + reach > picture.shape[1]:
        return np.empty(0)
    left = picture[:, line - reach : line].mean(1, dtype=np.float64)
    right = picture[:, line : line + reach].mean(1, dtype=np.float64)
    blocks = np.array_split(left - right, max(1, len(left) // BLOCK))
    return np.array([np.square(block.mean(0)).sum() for block in blocks])
