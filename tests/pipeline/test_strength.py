"""The content weight that is found for a strength."""

from dataclasses import replace

import pytest

from muralist.pipeline.records.losses import LossRecord
from muralist.pipeline.settings import Settings
from muralist.pipeline.strength import (
    FIRST_WEIGHT,
    LARGEST_FACTOR,
    SETTLING_STEPS,
    content_weight,
    wanted_content_loss,
)


def row(content: float = 0.4, weight: float = 5.0, level: int = 1, step: int = SETTLING_STEPS) -> LossRecord:
    """A look at the losses."""
    losses, weights = {"style": 0.01, "content": content}, {"style": 1000.0, "content": weight}
    return LossRecord(level, step, losses, weights, total=1.0)


ROW = row()


def test_an_explicit_weight_counts():
    """Whatever the losses are, a weight that was asked for stays."""
    assert content_weight(Settings(content_weight=3.5), [ROW]) == 3.5
    assert content_weight(Settings(content_weight=0.0), []) == 0.0


@pytest.mark.parametrize("rows", [[], [replace(ROW, losses={"style": 0.01}, weights={"style": 1000.0})]])
def test_nothing_known_is_the_first_weight(rows):
    """Before the first look, and where content does not count, the weight is the first one."""
    assert content_weight(Settings(), rows) == FIRST_WEIGHT


def test_the_start_tells_nothing():
    """A painting begins as the photograph: until strokes are there, its small content loss changes no weight."""
    assert content_weight(Settings(), [row(step=SETTLING_STEPS - 1, content=0.001)]) == 5.0


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_too_much_content_loss_raises_the_weight(strength):
    """Above what the strength asks for the weight rises, below it falls, at it stays; by at most a factor a round."""
    wanted, settings = wanted_content_loss(strength), Settings(strength=strength)
    weights = [content_weight(settings, [row(content=wanted * f)]) for f in (0.1, 0.9, 1.0, 1.1, 10.0)]
    assert weights == sorted(weights)
    assert weights[2] == pytest.approx(5.0)
    assert (weights[0], weights[-1]) == (5.0 / LARGEST_FACTOR, 5.0 * LARGEST_FACTOR)


def test_finer_levels_keep_the_weight():
    """What was found at the coarsest level is the weight of all others, whatever their losses."""
    rows = [ROW, row(level=2, content=0.9, weight=7.0)]
    assert content_weight(Settings(), rows) == 7.0


def test_more_strength_wants_more_content_loss():
    """The dial runs one way."""
    wanted = [wanted_content_loss(strength / 10) for strength in range(11)]
    assert wanted == sorted(set(wanted))
    assert 0 < wanted[0] < wanted[-1] < 1


def test_it_finds_the_loss_that_was_asked_for():
    """On pictures whose content loss answers to the weight in different ways, it ends at the wanted loss for all."""
    for scale, power in ((0.9, 0.3), (1.5, 0.5), (0.4, 0.2)):
        rows: list[LossRecord] = []
        for made in range(20):
            weight = content_weight(Settings(), rows)
            content = 0.0 if made == 0 else scale * weight**-power
            rows.append(row(step=10 * made, content=content, weight=weight))
        assert rows[-1].losses["content"] == pytest.approx(wanted_content_loss(0.5), rel=0.05)


def test_less_is_wanted_where_less_is_painted():
    """Where masks leave half of the picture as it is, half the content loss is at what is wanted."""
    wanted = wanted_content_loss(0.5)
    assert content_weight(Settings(), [row(content=wanted / 2)], painted=0.5) == pytest.approx(5.0)
    assert content_weight(Settings(), [row(content=wanted)], painted=0.5) > 5.0
