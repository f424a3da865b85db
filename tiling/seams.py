"""How visible the borders between tiles are: one number, 1.0 when nothing is there.

Take a line between two pixel columns. For each block of `BLOCK` rows, take the mean colour of the `reach` columns left
of the line minus that of the `reach` columns right of it, and square it: the mean over blocks is the *jump* at that
line. The score at one reach is the sum of the jumps at the lines where cores of neighbouring tiles meet, divided by
the sum of the jumps at reference lines, `OFFSETS` pixels to either side of them, which see the same part of the
picture. Lines between rows likewise. The seam score is the largest over `REACHES`: a hard edge shows at a reach of
1 px, a step in colour that was feathered away over tens of pixels at a long reach.
"""

from collections.abc import Sequence

import numpy as np

REACHES = (1, 8, 32)
OFFSETS = (-160, -112, -80, 80, 112, 160)
BLOCK = 64


def seam_score(picture: np.ndarray, rows: Sequence[int], cols: Sequence[int]) -> float:
    """Measure how much more a picture changes across tile borders than beside them.

    Parameters
    ----------
    picture : ndarray (H, W, 3)
        Any number type.
    rows, cols : sequence of int
        First pixel row (column) below (right of) each border, px.

    Returns
    -------
    float
        1.0 means that borders look like any other place; also returned when there are no borders.
    """
    jumps = [_jumps(picture, cols, reach) + _jumps(picture.swapaxes(0, 1), rows, reach) for reach in REACHES]
    return max((_ratio(pairs) for pairs in jumps), default=1.0)


def _ratio(pairs: list[tuple[float, float]]) -> float:
    at, beside = (sum(column) for column in zip(*pairs, strict=True)) if pairs else (0.0, 0.0)
    return at / beside if beside > 0 else 1.0 if at == 0 else float("inf")


def _jumps(picture: np.ndarray, borders: Sequence[int], reach: int) -> list[tuple[float, float]]:
    """Return (jump at the border, mean jump at its reference lines) for every border that has reference lines."""
    pairs = []
    for border in borders:
        beside = [j for offset in OFFSETS if (j := _jump(picture, border + offset, reach)) is not None]
        at = _jump(picture, border, reach)
        if at is not None and beside:
            pairs.append((at, float(np.mean(beside))))
    return pairs


def _jump(picture: np.ndarray, line: int, reach: int) -> float | None:
    """Mean squared jump across the line before column `line`, over blocks of rows; None too near the edge."""
    if line < reach or line + reach > picture.shape[1]:
        return None
    left = picture[:, line - reach : line].mean(1, dtype=np.float64)
    right = picture[:, line : line + reach].mean(1, dtype=np.float64)
    step = left - right
    usable = max(1, len(step) // BLOCK) * BLOCK
    blocks = step[:usable].reshape(-1, min(BLOCK, len(step)), 3) if len(step) >= BLOCK else step[None]
    return float(np.mean(blocks.mean(1) ** 2))
