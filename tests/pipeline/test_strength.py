"""The weights that are found for a strength."""

import pytest

from muralist.pipeline.records.losses import LossRecord
from muralist.pipeline.settings import Settings
from muralist.pipeline.strength import DIALS, LARGEST_FACTOR, SETTLING_STEPS, KeptWeights, kept_weights

EACH = pytest.mark.parametrize("name", DIALS)


def row(name: str, loss: float = 0.4, weight: float = 5.0, level: int = 1, step: int = SETTLING_STEPS) -> LossRecord:
    """A look at the losses."""
    losses, weights = {"style": 0.01, name: loss}, {"style": 1000.0, name: weight}
    return LossRecord(level, step, losses, weights, total=1.0)


def weight_of(name: str, settings: Settings, rows: list[LossRecord], painted: float = 1.0) -> float:
    """Weight of a term for the next round."""
    return float(getattr(kept_weights(settings, rows, painted), name))


@EACH
def test_an_explicit_weight_counts(name):
    """Whatever the losses are, a weight that was asked for stays."""
    assert weight_of(name, Settings(**{f"{name}_weight": 3.5}), [row(name)]) == 3.5
    assert weight_of(name, Settings(**{f"{name}_weight": 0.0}), []) == 0.0


@pytest.mark.parametrize("rows", [[], [LossRecord(1, 40, {"style": 0.01}, {"style": 1000.0}, total=1.0)]])
def test_nothing_known_is_the_first_weight(rows):
    """Before the first look, and where a term does not count, its weight is the first one."""
    assert kept_weights(Settings(), rows) == KeptWeights(DIALS["content"].first, DIALS["luminance"].first)


@EACH
def test_the_start_tells_nothing(name):
    """A painting begins as the photograph: until strokes are there, its losses change no weight."""
    assert weight_of(name, Settings(), [row(name, step=SETTLING_STEPS - 1, loss=0.001)]) == 5.0


@EACH
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_too_much_loss_raises_the_weight(name, strength):
    """Above what the strength asks for the weight rises, below it falls, at it stays; by at most a factor a round."""
    wanted, settings = DIALS[name].wanted(strength), Settings(strength=strength)
    weights = [weight_of(name, settings, [row(name, loss=wanted * f)]) for f in (0.1, 0.9, 1.0, 1.1, 10.0)]
    assert weights == sorted(weights)
    assert weights[2] == pytest.approx(5.0)
    assert (weights[0], weights[-1]) == (5.0 / LARGEST_FACTOR, 5.0 * LARGEST_FACTOR)


@EACH
def test_finer_levels_keep_the_weight(name):
    """What was found at the coarsest level is the weight of all others, whatever their losses."""
    rows = [row(name), row(name, level=2, loss=0.9, weight=7.0)]
    assert weight_of(name, Settings(), rows) == 7.0


@EACH
def test_more_strength_wants_more_loss(name):
    """The dial runs one way."""
    wanted = [DIALS[name].wanted(strength / 10) for strength in range(11)]
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
def test_it_finds_the_loss_that_was_asked_for(name, scale, power):
    """On pictures whose loss answers to the weight in different ways, it ends at the wanted loss for all."""
    rows: list[LossRecord] = []
    for made in range(20):
        weight = weight_of(name, Settings(), rows)
        loss = 0.0 if made == 0 else scale * weight**-power
        rows.append(row(name, step=10 * made, loss=loss, weight=weight))
    assert rows[-1].losses[name] == pytest.approx(DIALS[name].wanted(0.5), rel=0.05)


@EACH
def test_less_is_wanted_where_less_is_painted(name):
    """Where masks leave half of the picture as it is, half the loss is at what is wanted."""
    wanted = DIALS[name].wanted(0.5)
    assert weight_of(name, Settings(), [row(name, loss=wanted / 2)], painted=0.5) == pytest.approx(5.0)
    assert weight_of(name, Settings(), [row(name, loss=wanted)], painted=0.5) > 5.0
