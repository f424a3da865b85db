"""What can be wrong with a network, its weights or a painting."""

from collections.abc import Iterable
from difflib import get_close_matches

from muralist.errors import MuralistError


class ModelError(MuralistError):
    """Base of everything that `muralist.model` raises on purpose."""


def printable(text: str) -> str:
    r"""Escape line breaks and terminal control characters: names in untrusted files may contain anything.

    >>> printable("a\nb\x1b[2J")
    'a\\nb\\x1b[2J'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known name most similar to a mistyped one; "" if none is similar. Case is ignored.

    >>> did_you_mean("Overlapp", ["tile", "overlap"])
    "did you mean 'overlap'?"
    """
    by_lower = {each.lower(): each for each in known}
    nearest = get_close_matches(name.lower(), by_lower, 1)
    return f"did you mean {by_lower[nearest[0]]!r}?" if nearest else ""


def choices(name: str, known: Iterable[str]) -> str:
    """List the known names, the most similar one first."""
    known = list(known)
    return f"{did_you_mean(name, known)} known: {', '.join(known)}".lstrip()


class UnknownNetworkError(ModelError, ValueError):
    """No network has this name."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name, known)
        self.name, self.known = name, known

    def __str__(self) -> str:
        return f"unknown network {self.name!r}; {choices(self.name, self.known)}"


class UnknownLayerError(ModelError, ValueError):
    """The network has no layer of this name."""

    def __init__(self, layer: str, network: str, known: tuple[str, ...]) -> None:
        super().__init__(layer, network, known)
        self.layer, self.network, self.known = layer, network, known

    def __str__(self) -> str:
        return f"network {self.network} has no layer {self.layer!r}; {choices(self.layer, self.known)}"


class WeightsError(ModelError, ValueError):
    """A weight file is missing, broken, or belongs to another network.

    Parameters
    ----------
    path : str
        The file.
    problem : str
        What was found, what was wanted and what to do.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.problem}")


class DivergedError(ModelError, ArithmeticError):
    """The gradient of a tile stayed non-finite although the step was reduced again and again.

    Parameters
    ----------
    step : int
        Step of the round, from 0.
    learning_rate : float
        The last one tried.
    """

    def __init__(self, step: int, learning_rate: float) -> None:
        super().__init__(step, learning_rate)
        self.step, self.learning_rate = step, learning_rate

    def __str__(self) -> str:
        return (
            f"the optimization diverged: the gradient at step {self.step} of a round is not finite, even at a learning "
            f"rate of {self.learning_rate:.2g}; use --precision float32, a lower learning_rate or smaller loss "
            "weights"
        )
