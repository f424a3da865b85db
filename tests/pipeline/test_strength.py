"""The weights that are found for a strength."""

from dataclasses import replace

import pytest

from muralist.pipeline.context import TunedWeights
from muralist.pipeline.records.losses import LossRecord
from muralist.pipeline.settings import Settings
from muralist.pipeline.strength import (
    LARGEST_FACTOR,
    SETTLING_STEPS,
    TUNED_LEVELS,
    TUNINGS,
    tuned_weights,
)

EACH = pytest.mark.parametrize("name", TUNINGS)


def rows(
    name: str, loss: float = 0.4, weight: float = 5.0, level: int = 1, step: int = SETTLING_STEPS
) -> list[LossRecord]:
    """Looks at the losses at the start of a level and so many steps later."""
    losses, weights = {"style": 0.01, name: loss}, {"style": 1000.0, name: weight}
    return [LossRecord(level, 100 * level + made, losses, weights, total=1.0) for made in (0, step)]


def weight_of(name: str, settings: Settings, rows: list[LossRecord], painted: float = 1.0) -> float:
    """Weight of a term for the next round."""
    return float(getattr(tuned_weights(settings, rows, painted), name))


@EACH
def test_an_explicit_weight_counts(name):
    """Whatever the losses are, a weight that was asked for stays."""
    assert weight_of(name, Settings(**{f"{name}_weight": 3.5}), rows(name)) == 3.5
    assert weight_of(name, Settings(**{f"{name}_weight": 0.0}), []) == 0.0


@pytest.mark.parametrize("known", [[], [LossRecord(1, 40, {"style": 0.01}, {"style": 1000.0}, total=1.0)]])
def test_nothing_known_is_the_first_weight(known):
    """Before the first look, and where a term does not count, its weight is the usual one, or that of the strength."""
    assert tuned_weights(Settings(), known) == TunedWeights(TUNINGS["content"].usual, TUNINGS["luminance"].usual)
    gentle, strong = (tuned_weights(Settings(strength=strength), known) for strength in (0.2, 0.8))
    assert gentle.content > 2 * TUNINGS["content"].usual > 4 * strong.content
    assert gentle.luminance > 2 * TUNINGS["luminance"].usual > 4 * strong.luminance


@EACH
def test_the_start_tells_nothing(name):
    """A level begins as the photograph, or with its detail: until strokes are there, its losses change no weight."""
    for level in (1, TUNED_LEVELS):
        early = rows(name, step=SETTLING_STEPS - 1, loss=0.001, level=level)
        assert weight_of(name, Settings(), [*rows(name, level=1), *early]) == 5.0


@EACH
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_too_much_loss_raises_the_weight(name, strength):
    """Above what the strength asks for the weight rises, below it falls, at it stays; by at most a factor a round."""
    wanted, settings = TUNINGS[name].wanted(strength), Settings(strength=strength)
    first = TUNINGS[name].first(strength)
    weights = [weight_of(name, settings, rows(name, wanted * f, weight=first)) for f in (0.1, 0.9, 1.0, 1.1, 10.0)]
    assert weights == pytest.approx([first * f for f in (1 / LARGEST_FACTOR, 0.9, 1.0, 1.1, LARGEST_FACTOR)])


@EACH
def test_a_loss_out_of_reach_raises_the_weight_only_so_far(name):
    """A loss that stays twice as high as wanted ends with twice the usual weight, and no more."""
    wanted, usual = TUNINGS[name].wanted(0.5), TUNINGS[name].usual
    assert weight_of(name, Settings(), rows(name, 2 * wanted, weight=1.9 * usual)) == pytest.approx(2 * usual)
    assert weight_of(name, Settings(), rows(name, 2 * wanted, weight=2.1 * usual)) == pytest.approx(2 * usual)


@EACH
def test_finer_levels_keep_the_weight(name):
    """What was found at the coarsest levels is the weight of all others, whatever their losses."""
    found = TUNINGS[name].usual
    tuned = [*rows(name), *rows(name, level=TUNED_LEVELS, loss=0.9, weight=found)]
    assert weight_of(name, Settings(), tuned) == found * LARGEST_FACTOR
    assert weight_of(name, Settings(), [*tuned, *rows(name, level=TUNED_LEVELS + 1, loss=0.9, weight=found)]) == found


@EACH
def test_more_strength_wants_more_loss(name):
    """Each loss that is wanted rises with strength."""
    wanted = [TUNINGS[name].wanted(strength / 10) for strength in range(11)]
    assert wanted == sorted(set(wanted))
    assert 0 < wanted[0] < wanted[-1] <= 1


@pytest.mark.parametrize(
    ("name", "scale", "power"),
    [
        ("content", 0.9, 0.3),
        ("content", 1.5, 0.5),
        ("content", 0.4, 0.2),
        ("luminance", 0.8, 0.3),
        ("luminance", 0.5, 0.25),
    ],
)
def test_weight_and_loss_end_in_proportion(name, scale, power):
    """However the loss answers to the weight, the weight settles where it is proportional to the loss."""
    seen = rows(name, loss=0.0, weight=TUNINGS[name].usual)[:1]
    for made in range(1, 25):
        weight = weight_of(name, Settings(), seen)
        loss = scale * weight**-power
        seen.append(replace(seen[0], step=100 + 10 * made, losses={name: loss}, weights={name: weight}))
    last, tuning = seen[-1], TUNINGS[name]
    assert last.weights[name] / tuning.usual == pytest.approx(last.losses[name] / tuning.wanted(0.5), rel=0.01)
    assert weight_of(name, Settings(), seen) == pytest.approx(last.weights[name], rel=0.01)


@EACH
def test_less_is_wanted_where_less_is_painted(name):
    """Where masks leave half of the picture as it is, half the loss is at what is wanted."""
    wanted, usual = TUNINGS[name].wanted(0.5), TUNINGS[name].usual
    assert weight_of(name, Settings(), rows(name, wanted / 2, weight=usual), painted=0.5) == pytest.approx(usual)
    assert weight_of(name, Settings(), rows(name, wanted, weight=usual), painted=0.5) > usual
