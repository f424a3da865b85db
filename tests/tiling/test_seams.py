"""The seam score: about one where nothing is there, more the more there is to see."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest

from muralist.tiling import seams
from muralist.tiling.grid import Box
from muralist.tiling.seams import Seams, find_seams

pytestmark = pytest.mark.integration

SIDE = 1200
BORDERS = (400, 800)
STEP = 2 / 255
SEEDS = pytest.mark.parametrize("seed", range(4))


def reader(picture: np.ndarray, boxes: list[Box] | None = None) -> Callable[[Box], np.ndarray]:
    """Give boxes of a picture, and note which."""

    def read(box: Box) -> np.ndarray:
        (top, bottom), (left, right) = box
        assert 0 <= top < bottom <= picture.shape[0]
        assert 0 <= left < right <= picture.shape[1]
        if boxes is not None:
            boxes.append(box)
        return picture[top:bottom, left:right]

    return read


def score(picture: np.ndarray, rows, cols, photograph: np.ndarray | None = None) -> float:
    """Measure the seam score of a picture in memory."""
    return find_seams(
        picture.shape[:2], reader(picture), rows, cols, None if photograph is None else reader(photograph)
    ).score


@lru_cache(maxsize=16)
def texture(seed: int, blur: int = 8) -> np.ndarray:
    """A random picture (1200, 1200, 3), float32, read-only, without details smaller than `blur` px."""
    rng = np.random.default_rng(seed)
    picture = rng.standard_normal((SIDE, SIDE, 3))
    if blur > 1:
        wave = np.fft.rfft2(picture, axes=(0, 1))
        rows, cols = np.fft.fftfreq(SIDE)[:, None, None], np.fft.rfftfreq(SIDE)[:, None]
        wave *= np.exp(-2 * (np.pi * blur) ** 2 * (rows**2 + cols**2))
        picture = np.fft.irfft2(wave, (SIDE, SIDE), axes=(0, 1))
    picture = (0.5 + 0.1 * picture / picture.std()).astype(np.float32)
    picture.flags.writeable = False
    return picture


def landscape(seed: int) -> np.ndarray:
    """A calm sky above a busy ground, and a tower, with edges far harder than any seam, 80 px beside a border."""
    picture = texture(seed, blur=20) * 0.1 + 0.6
    picture[700:] += texture(seed + 100, blur=2)[700:] - 0.5
    picture[200:900, 480:512] = 0.1
    return picture


def with_step(picture: np.ndarray, size: float, feather: int = 1) -> np.ndarray:
    """All right of the first border a little brighter, over `feather` px."""
    ramp = np.clip((np.arange(SIDE) - BORDERS[0] + 0.5) / feather + 0.5, 0, 1)
    return picture + (size * ramp)[:, None].astype(np.float32)


def with_drift(picture: np.ndarray, size: float) -> np.ndarray:
    """Every one of nine tiles a little brighter or darker, as tiles are that were painted each on its own."""
    signs = np.array([[1, -1, 1], [-1, 1, 1], [1, -1, -1]])
    return picture + (size / 2 * signs.repeat(400, 0).repeat(400, 1))[..., None].astype(np.float32)


@SEEDS
@pytest.mark.parametrize("blur", [1, 3, 8, 20])
def test_no_seams(seed, blur):
    """Where there are no seams the score is about one, for fine and coarse textures."""
    assert 0.8 < score(texture(seed, blur), BORDERS, BORDERS) < 1.3


def found_in(picture: np.ndarray, rows, cols, photograph: np.ndarray | None = None) -> Seams:
    """What is found of seams in a picture in memory."""
    return find_seams(
        picture.shape[:2], reader(picture), rows, cols, photograph if photograph is None else reader(photograph)
    )


@SEEDS
@pytest.mark.parametrize("blur", [1, 8, 20])
@pytest.mark.parametrize(("rows", "cols"), [([], [400]), ([400], [600]), (BORDERS, BORDERS)])
def test_chance_is_no_seam(seed, blur, rows, cols):
    """Few borders score up to 1.5 where nothing is there, and never more than the threshold that is told with it."""
    found = found_in(texture(seed, blur), rows, cols)
    assert not found.visible
    assert found.threshold < 4


@SEEDS
def test_what_is_a_seam_is_above_the_threshold(seed):
    """Steps, hard and feathered, and drifting tiles are seen, a tower on false borders notwithstanding."""
    assert found_in(with_step(texture(seed, 8), STEP), [], BORDERS[:1]).visible
    assert found_in(with_step(texture(seed, 20), STEP), [], BORDERS[:1]).visible
    assert found_in(with_step(texture(seed, 1), 3 * STEP, 48), [], BORDERS[:1]).visible
    assert found_in(with_drift(landscape(seed), STEP), BORDERS, BORDERS).visible
    assert not found_in(landscape(seed), BORDERS, BORDERS).visible


@SEEDS
def test_the_photograph_counts_for_the_threshold_too(seed):
    """A seam beside a photograph's own outlines is seen, the photograph's outline on a border is not."""
    photograph = texture(seed, blur=8)
    assert found_in(with_step(photograph, 2 * STEP), [], BORDERS[:1], photograph).visible
    assert not found_in(photograph, [], BORDERS[:1], photograph).visible


def test_an_outline_with_nothing_beside_it():
    """A thing on a border is no seam where neither picture changes anywhere else; what only the painting has is one."""
    plain = np.full((400, 800, 3), 255, np.uint8)
    thing = plain.copy()
    thing[100:300, 390:420] = 0
    assert found_in(thing, [], [400], thing) == (1.0, 1.0)
    assert found_in(thing, [], [400], plain).visible


def test_thresholds_where_there_is_little():
    """No borders: nothing to see. Borders with too few places beside them: no answer, rather than a wrong one."""
    picture = np.random.default_rng(0).random((60, 400, 3))
    assert found_in(picture, [], []) == (1.0, 1.0)
    assert not found_in(picture, [], [0]).visible
    assert found_in(picture[:, :200], [], [100]).threshold == float("inf")
    flat = np.full((400, 500, 3), 0.3, np.float32)
    assert not found_in(flat, [200], [250]).visible
    flat[200:] += STEP
    assert found_in(flat, [200], [250]).visible


@SEEDS
@pytest.mark.parametrize("blur", [8, 20])
def test_a_hard_step(seed, blur):
    """A step of 2/255 along one border, far below the texture's own contrast of 25/255, is clearly seen."""
    picture = texture(seed, blur)
    clean, seam = (score(p, [], BORDERS[:1]) for p in (picture, with_step(picture, STEP)))
    assert seam > 1.5
    assert seam > 1.5 * clean


@SEEDS
@pytest.mark.parametrize("feather", [16, 48])
def test_a_feathered_step(seed, feather):
    """A step that was feathered away over tens of pixels is seen on fine texture, where the eye sees it too."""
    picture = texture(seed, blur=1)
    clean, seam = (score(p, [], BORDERS[:1]) for p in (picture, with_step(picture, 3 * STEP, feather)))
    assert seam > 1.5
    assert seam > 1.5 * clean


@SEEDS
def test_one_seam_among_many_borders(seed):
    """One seam is not averaged away by three borders that have none."""
    picture = with_step(texture(seed, blur=20), 2 * STEP)
    assert score(picture, BORDERS, BORDERS) > 1.5


@SEEDS
def test_things_in_the_picture_do_not_drown_a_seam(seed):
    """Drifting tiles are found in the sky although a tower beside a border has edges a hundred times as hard."""
    picture = landscape(seed)
    assert score(picture, BORDERS, BORDERS) < 1.3
    assert score(with_drift(picture, STEP), BORDERS, BORDERS) > 2


@pytest.mark.parametrize("feather", [1, 24])
def test_the_score_grows_with_the_step(feather):
    """The larger the step, the larger the score, hard or feathered."""
    picture = texture(seed=0, blur=3)
    scores = [score(with_step(picture, size * STEP, feather), [], BORDERS[:1]) for size in (2, 4, 8, 16)]
    assert scores == sorted(scores)
    assert scores[-1] > 4 * scores[0]


def test_rows_and_columns_are_treated_alike():
    """A picture on its side, with its borders, has the same score."""
    picture = with_step(texture(seed=0), STEP)[:1000]
    upright = score(picture, [300, 650], [400])
    assert score(picture.swapaxes(0, 1), [400], [300, 650]) == pytest.approx(upright, rel=1e-12)
    assert score(picture, [], [400]) != pytest.approx(upright)


def test_number_type_does_not_matter():
    """Bytes and floats of the same picture have the same score."""
    levels = np.round(255 * with_step(texture(seed=0), STEP)).clip(0, 255)
    wanted = score(levels, BORDERS, BORDERS)
    assert score(levels.astype(np.uint8), BORDERS, BORDERS) == pytest.approx(wanted, rel=1e-12)
    assert score(levels / 255, BORDERS, BORDERS) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("borders", [(), (0,), (300,), (2,)])
def test_no_borders(borders):
    """Without borders, or with none that has places to compare it with, the score is one."""
    assert score(np.random.default_rng(0).random((60, 70, 3)), borders, borders) == 1.0


def test_a_flat_picture():
    """One color has no seams; one color with a seam has nothing else."""
    flat = np.full((400, 500, 3), 0.3, np.float32)
    assert score(flat, [200], [250]) == 1.0
    flat[200:] += STEP
    assert score(flat, [200], [250]) == float("inf")


def test_small_pictures():
    """A picture with fewer rows than a block is one block, and borders a few pixels long are measured too."""
    strip = np.random.default_rng(0).random((20, 400, 3)) * 0.01
    strip[:, 200:] += 0.5
    assert score(strip, [], [200]) > 100


def test_only_strips_are_read():
    """Of a large picture only strips along the borders are read, each once, a stretch at a time."""
    color = np.broadcast_to(np.float32(0.5), (9000, 7000, 3))
    boxes: list[Box] = []
    assert find_seams(color.shape[:2], reader(color, boxes), [4000], [100, 3500]).score == 1.0
    across = [(0, 4136), (4136, 8232), (8232, 9000)]  # 64 blocks each, the first 40 of 65 rows
    along = [(0, 4120), (4120, 7000)]
    assert boxes == [
        *(Box(span, (0, 292)) for span in across),
        *(Box(span, (3308, 3692)) for span in across),
        *(Box((3808, 4192), span) for span in along),
    ]


def test_stretches_do_not_show(monkeypatch):
    """The score does not depend on how much of a border is read at once."""
    picture = with_step(texture(seed=0), STEP)[:1190]
    whole = score(picture, BORDERS, BORDERS)
    monkeypatch.setattr(seams, "_BLOCKS_AT_ONCE", 2)
    assert score(picture, BORDERS, BORDERS) == whole


def test_the_end_of_a_border_counts():
    """The last pixels of a border belong to a block as well, however they divide."""
    picture = np.random.default_rng(0).random((3 * seams.BLOCK - 1, 400, 3))
    clean = score(picture, [], [200])
    picture[2 * seams.BLOCK :, 200:] += 50
    assert score(picture, [], [200]) > 2 * clean


@SEEDS
def test_outlines_of_the_photograph_are_no_seams(seed):
    """A tower whose wall lies on a border is taken for a seam, unless the photograph shows that it was there before."""
    photograph = texture(seed, blur=8) * 0.2 + 0.4
    photograph[200:1000, BORDERS[0] :] += 0.3
    painting = photograph + (texture(seed + 50, blur=3) - 0.5) * 0.2
    alone, compared = (score(painting, BORDERS, BORDERS, control) for control in (None, photograph))
    assert alone > 2
    assert compared < 0.6 * alone


@SEEDS
def test_a_seam_shows_beside_any_photograph(seed):
    """Comparing with the photograph does not hide a seam that the photograph does not have."""
    photograph = texture(seed, blur=8)
    assert score(with_step(photograph, 2 * STEP), [], BORDERS[:1], photograph) > 1.5
